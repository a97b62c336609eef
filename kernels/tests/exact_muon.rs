//! Muon: equal to its reference bit for bit, and what it is meant to be.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::{numbers, pools};
use murmur_kernels::exact::{Level, Muon, MuonMatrix, MuonStep, POLYNOMIALS, Pool, ShapeError};
use murmur_kernels::reference;

const STEP: MuonStep = MuonStep { lr: 0.02, momentum: 0.95, decay: 3e-4, scale: 0.7 };

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// One step of one matrix.
fn step(
    muon: &mut Muon,
    pool: &Pool,
    settings: &MuonStep,
    shape: [usize; 2],
    [params, momentum]: [&mut [f32]; 2],
    grads: &[f32],
) -> Result<(), ShapeError> {
    muon.step(pool, settings, &mut [MuonMatrix { shape, params, momentum, grads }])
}

/// Parameters and momentum after three steps.
fn trained(pool: &Pool, shape: [usize; 2], flip: bool) -> [Vec<f32>; 2] {
    let len = shape[0] * shape[1];
    let (mut params, mut momentum, mut muon) = (turned(&numbers(1, len), shape, flip), vec![0.0; len], Muon::default());
    let sides = if flip { [shape[1], shape[0]] } else { shape };
    for stream in 2..5 {
        let grads = turned(&numbers(stream, len), shape, flip);
        step(&mut muon, pool, &STEP, sides, [&mut params, &mut momentum], &grads).unwrap();
    }
    [params, momentum]
}

/// The matrix, or its transpose.
fn turned(values: &[f32], [rows, columns]: [usize; 2], flip: bool) -> Vec<f32> {
    if !flip {
        return values.to_vec();
    }
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[test]
fn every_instruction_set_and_number_of_threads_equals_the_reference() {
    for shape in [[1, 1], [3, 5], [5, 3], [40, 40], [17, 64], [300, 20], [20, 300], [270, 310]] {
        let len = shape[0] * shape[1];
        let (mut params, mut momentum) = (numbers(1, len), vec![0.0; len]);
        for step in 0..3 {
            reference::muon(&STEP, shape, &mut params, &mut momentum, &numbers(2 + step, len));
        }
        for pool in pools() {
            let fast = trained(&pool, shape, false);
            assert!(bits(&fast[0]) == bits(&params) && bits(&fast[1]) == bits(&momentum), "{pool:?} {shape:?}");
        }
    }
}

#[test]
fn a_matrix_and_its_transpose_take_the_same_steps() {
    let pool = Pool::single(Level::active());
    for shape in [[8, 24], [24, 8], [33, 33]] {
        let [straight, flipped] = [false, true].map(|flip| trained(&pool, shape, flip));
        for (straight, flipped) in straight.iter().zip(&flipped) {
            // The norm is summed in another order, and three steps of 0.02 make little of it.
            let apart =
                turned(straight, shape, true).iter().zip(flipped).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "{shape:?}: {apart}");
        }
    }
}

#[test]
fn a_step_is_about_orthogonal_and_points_along_the_gradient() {
    let (pool, shape) = (Pool::single(Level::active()), [24, 60]);
    let (mut params, mut momentum, grads) = (vec![0.0; 24 * 60], vec![0.0; 24 * 60], numbers(1, 24 * 60));
    let settings = MuonStep { lr: 1.0, decay: 0.0, ..STEP };
    step(&mut Muon::default(), &pool, &settings, shape, [&mut params, &mut momentum], &grads).unwrap();
    let scale = (60f32 / 24.0).sqrt();
    let rows: Vec<&[f32]> = params.chunks(60).collect();
    for (i, one) in rows.iter().enumerate() {
        for (j, other) in rows.iter().enumerate() {
            let product: f32 = one.iter().zip(*other).map(|(x, y)| x * y / (scale * scale)).sum();
            let allowed = if i == j { 0.4..1.4 } else { -0.35..0.35 };
            assert!(allowed.contains(&product), "rows {i} and {j}: {product}");
        }
    }
    assert!(params.iter().zip(&grads).map(|(p, g)| p * g).sum::<f32>() < 0.0, "against the gradient");
}

#[test]
fn nothing_but_decay_happens_without_a_gradient() {
    let (pool, mut params, mut momentum) = (Pool::single(Level::active()), vec![2.0; 12], vec![0.0; 12]);
    step(&mut Muon::default(), &pool, &STEP, [3, 4], [&mut params, &mut momentum], &[0.0; 12]).unwrap();
    assert!(params.iter().all(|&value| value == 2.0 * (1.0 - STEP.decay)) && momentum == [0.0; 12]);
}

#[test]
fn sides_that_do_not_fit_are_refused() {
    let pool = Pool::single(Level::active());
    let (mut params, mut momentum) = (vec![0.0; 12], vec![0.0; 11]);
    let taken = step(&mut Muon::default(), &pool, &STEP, [3, 4], [&mut params, &mut momentum], &[0.0; 12]);
    assert!(taken.is_err());
}

#[test]
fn matrices_that_step_together_take_the_same_steps_as_each_alone() {
    let shapes = [[24, 60], [60, 24], [17, 17], [0, 4], [100, 3]];
    let numbers_of = |stream| shapes.map(|shape| numbers(stream, shape[0] * shape[1]));
    let (mut alone, mut momenta, grads) = (numbers_of(1), numbers_of(2), numbers_of(3));
    let single = Pool::single(Level::active());
    for (i, shape) in shapes.into_iter().enumerate() {
        let moved = [&mut alone[i][..], &mut momenta[i][..]];
        step(&mut Muon::default(), &single, &STEP, shape, moved, &grads[i]).unwrap();
    }
    for pool in pools() {
        let (mut params, mut momenta) = (numbers_of(1), numbers_of(2));
        let each = params.iter_mut().zip(&mut momenta).zip(&grads).zip(shapes);
        let mut matrices: Vec<MuonMatrix<'_>> =
            each.map(|(((params, momentum), grads), shape)| MuonMatrix { shape, params, momentum, grads }).collect();
        Muon::default().step(&pool, &STEP, &mut matrices).unwrap();
        assert!(params.iter().zip(&alone).all(|(together, alone)| bits(together) == bits(alone)), "{pool:?}");
    }
}

/// A reflection of all columns: `(I − 2·v·vᵀ / vᵀv) · matrix`.
fn reflected(matrix: &[f64], side: usize, v: &[f64]) -> Vec<f64> {
    let scale = 2.0 / v.iter().map(|x| x * x).sum::<f64>();
    let along = |column: usize| (0..side).map(|row| v[row] * matrix[row * side + column]).sum::<f64>() * scale;
    let along: Vec<f64> = (0..side).map(along).collect();
    (0..side * side).map(|place| matrix[place] - v[place / side] * along[place % side]).collect()
}

/// A matrix with these singular values, whose singular vectors are those of some reflections.
fn with_singular_values(values: &[f64]) -> Vec<f64> {
    let side = values.len();
    let mut matrix: Vec<f64> =
        (0..side * side).map(|place| if place / side == place % side { values[place % side] } else { 0.0 }).collect();
    for seed in 1..5 {
        let v: Vec<f64> = numbers(seed, side).into_iter().map(f64::from).collect();
        matrix = reflected(&matrix, side, &v);
        matrix = (0..side * side).map(|place| matrix[place % side * side + place / side]).collect();
    }
    matrix
}

#[test]
fn singular_values_from_two_thousandths_on_become_about_one() {
    let side = 48;
    let values: Vec<f64> = (0..side).map(|i| 0.0024f64.powf(i as f64 / (side - 1) as f64)).collect();
    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let polynomial = |x: f64, coefficients: [f32; 5]| {
        coefficients.into_iter().rev().fold(0.0, |sum, coefficient| sum * x * x + f64::from(coefficient)) * x
    };
    let expected: Vec<f64> = values.iter().map(|x| POLYNOMIALS.into_iter().fold(x / norm, polynomial)).collect();
    for (value, becomes) in values.iter().zip(&expected).filter(|(value, _)| **value / norm > 0.0019) {
        assert!((0.66..1.16).contains(becomes), "{value} becomes {becomes}");
    }
    let expected = with_singular_values(&expected);
    let grads: Vec<f32> = with_singular_values(&values).into_iter().map(|value| value as f32).collect();
    let (mut params, mut momentum) = (vec![0.0; side * side], vec![0.0; side * side]);
    let settings = MuonStep { lr: 1.0, momentum: 0.0, decay: 0.0, scale: 1.0 };
    let pool = Pool::single(Level::active());
    step(&mut Muon::default(), &pool, &settings, [side, side], [&mut params, &mut momentum], &grads).unwrap();
    let apart = params.iter().zip(&expected).map(|(moved, expected)| (f64::from(*moved) + expected).abs());
    let apart = apart.fold(0.0, f64::max);
    assert!(apart < 0.01, "{apart} from what exact arithmetic gives");
}

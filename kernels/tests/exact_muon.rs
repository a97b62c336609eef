//! Muon: equal to its reference bit for bit, and what it is meant to be.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::{numbers, pools};
use murmur_kernels::exact::{Level, Matrix, Muon, MuonStep, Pool, Scratch, Start, matmul, matmul_symmetric};
use murmur_kernels::reference;

const STEP: MuonStep = MuonStep { lr: 0.02, momentum: 0.95, decay: 3e-4, scale: 0.7 };

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Parameters and momentum after three steps.
fn trained(pool: &Pool, shape: [usize; 2], flip: bool) -> [Vec<f32>; 2] {
    let len = shape[0] * shape[1];
    let (mut params, mut momentum, mut muon) = (turned(&numbers(1, len), shape, flip), vec![0.0; len], Muon::default());
    let sides = if flip { [shape[1], shape[0]] } else { shape };
    for step in 0..3 {
        let grads = turned(&numbers(2 + step, len), shape, flip);
        muon.step(pool, &STEP, sides, [&mut params, &mut momentum], &grads).unwrap();
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
    for shape in [[1, 1], [3, 5], [5, 3], [40, 40], [17, 64], [300, 20], [20, 300]] {
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
            // Only the norm is summed in another order.
            let apart =
                turned(straight, shape, true).iter().zip(flipped).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{shape:?}: {apart}");
        }
    }
}

#[test]
fn a_step_is_about_orthogonal_and_points_along_the_gradient() {
    let (pool, shape) = (Pool::single(Level::active()), [24, 60]);
    let (mut params, mut momentum, grads) = (vec![0.0; 24 * 60], vec![0.0; 24 * 60], numbers(1, 24 * 60));
    let step = MuonStep { lr: 1.0, decay: 0.0, ..STEP };
    Muon::default().step(&pool, &step, shape, [&mut params, &mut momentum], &grads).unwrap();
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
    Muon::default().step(&pool, &STEP, [3, 4], [&mut params, &mut momentum], &[0.0; 12]).unwrap();
    assert!(params.iter().all(|&value| value == 2.0 * (1.0 - STEP.decay)) && momentum == [0.0; 12]);
}

#[test]
fn sides_that_do_not_fit_are_refused() {
    let pool = Pool::single(Level::active());
    let (mut params, mut momentum) = (vec![0.0; 12], vec![0.0; 11]);
    let step = Muon::default().step(&pool, &STEP, [3, 4], [&mut params, &mut momentum], &[0.0; 12]);
    assert!(step.is_err());
}

#[test]
fn a_symmetric_product_is_the_lower_triangle_of_the_whole_one_and_its_mirror_image() {
    for pool in pools() {
        for [n, k] in [[1, 1], [7, 3], [64, 300], [97, 40], [200, 513], [3, 0], [0, 3]] {
            let (a, b) = (numbers(1, n * k), numbers(2, k * n));
            let (left, right) = (Matrix::new(&a, n, k).unwrap(), Matrix::new(&b, k, n).unwrap());
            let (mut whole, mut half, mut scratch) = (vec![9.0; n * n], vec![7.0; n * n], Scratch::default());
            matmul(&pool, left, right, Start::Zero, &mut whole, &mut scratch).unwrap();
            matmul_symmetric(&pool, left, right, &mut half, &mut scratch).unwrap();
            for (i, j) in (0..n).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                let lower = whole[i * n + j].to_bits();
                assert!([half[i * n + j], half[j * n + i]].map(f32::to_bits) == [lower; 2], "{pool:?} {n} {k} {i} {j}");
            }
        }
    }
}

//! Products equal a plain loop, bit for bit, on every instruction set and any number of threads.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::{numbers, pools};
use murmur_kernels::exact::{Matrix, Pool, Scratch, Start, matmul};

/// Steps of a block.
const BLOCK: usize = 256;

/// Each block of steps is summed from zero; the blocks are added in ascending order, the first to what was held, if anything.
fn plain(
    a: Matrix<'_>,
    b: Matrix<'_>,
    at: impl Fn(&str, usize, usize) -> f32,
    held: impl Fn(usize) -> Option<f32>,
) -> Vec<u32> {
    let ([m, k], [_, n]) = (a.shape(), b.shape());
    let element = |i, j| {
        let mut total = held(i * n + j);
        for first in (0..k).step_by(BLOCK) {
            let mut sum = 0.0;
            for step in first..k.min(first + BLOCK) {
                sum = at("a", i, step).mul_add(at("b", step, j), sum);
            }
            total = Some(total.map_or(sum, |total| total + sum));
        }
        total.unwrap_or(0.0).to_bits()
    };
    (0..m * n).map(|place| element(place / n, place % n)).collect()
}

fn check(pool: &Pool, [m, n, k]: [usize; 3], flip: [bool; 2], start: Start) {
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let stored = |values, [rows, columns]: [usize; 2], flip: bool| {
        if flip {
            Matrix::new(values, columns, rows).unwrap().transposed()
        } else {
            Matrix::new(values, rows, columns).unwrap()
        }
    };
    let (left, right) = (stored(&a, [m, k], flip[0]), stored(&b, [k, n], flip[1]));
    let at = |which: &str, row: usize, column: usize| match (which, flip) {
        ("a", [false, _]) => a[row * k + column],
        ("a", [true, _]) => a[column * m + row],
        (_, [_, false]) => b[row * n + column],
        (_, [_, true]) => b[column * k + row],
    };
    let mut out = numbers(3, m * n);
    let before = out.clone();
    let held = |place: usize| (start == Start::Current).then(|| before[place]);
    matmul(pool, left, right, start, &mut out, &mut Scratch::default()).unwrap();
    let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
    assert!(bits == plain(left, right, at, held), "{pool:?} {m}×{n}×{k} {flip:?} {start:?}");
}

#[test]
fn every_shape_and_transpose_equals_the_plain_loop() {
    let shapes = [
        [1, 1, 1],
        [12, 32, 8],
        [13, 33, 7],
        [5, 17, 300],
        [100, 70, 257],
        [0, 3, 4],
        [3, 0, 4],
        [3, 4, 0],
        [9, 50, 256],
        [97, 96, 513],
        [6, 7, 1100],
        [101, 403, 100],
        [195, 49, 97],
    ];
    for pool in pools() {
        for shape in shapes {
            for flip in [[false, false], [true, false], [false, true], [true, true]] {
                check(&pool, shape, flip, Start::Zero);
                check(&pool, shape, flip, Start::Current);
            }
        }
    }
}

#[test]
fn zeros_have_the_sign_of_a_sum_from_plus_zero_and_no_number_is_no_number() {
    let product = |pool: &Pool, a: f32, b: f32, start, held: f32| {
        let (a, b, mut out) = (vec![a; 300], vec![b; 300], [held]);
        let (a, b) = (Matrix::new(&a, 1, 300).unwrap(), Matrix::new(&b, 300, 1).unwrap());
        matmul(pool, a, b, start, &mut out, &mut Scratch::default()).unwrap();
        out[0]
    };
    for pool in &pools() {
        for (a, held, start) in [(-0.0, -0.0, Start::Zero), (-0.0, -0.0, Start::Current), (0.0, 5.0, Start::Zero)] {
            assert_eq!(product(pool, a, 1.0, start, held).to_bits(), 0, "{pool:?} {a} {start:?}");
        }
        // Too small for any number, and below zero: rounded once, that is minus zero, which nothing in the profile turns.
        assert_eq!(product(pool, -1e-30, 1e-30, Start::Zero, 1.0).to_bits(), (-0.0f32).to_bits(), "{pool:?}");
        assert!(product(pool, f32::NAN, 0.0, Start::Zero, 0.0).is_nan(), "{pool:?}");
        assert!(product(pool, 0.0, 0.0, Start::Current, f32::NAN).is_nan(), "{pool:?}");
        assert_eq!(product(pool, f32::NAN, 0.0, Start::Zero, f32::NAN).to_bits() & 0x7f80_0000, 0x7f80_0000);
    }
}

#[test]
fn a_shape_that_no_slice_has_does_not_wrap_around_to_one() {
    let half = 1 << (usize::BITS / 2);
    let refused = Matrix::new(&[], half, half).unwrap_err();
    assert_eq!(refused.to_string(), format!("matrix: [0] does not fit [{half}, {half}]"));
    assert!(Matrix::strided(&[0.0; 4], half + 1, 4, half).is_err());
    let (tall, wide) = (Matrix::new(&[], half, 0).unwrap(), Matrix::new(&[], 0, half).unwrap());
    let refused = matmul(&pools()[0], tall, wide, Start::Zero, &mut [], &mut Scratch::default()).unwrap_err();
    assert_eq!(refused.to_string(), format!("matmul: [0] does not fit [{half}, {half}]"));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let (pool, values) = (&pools()[0], [0.0; 12]);
    let a = Matrix::new(&values, 3, 4).unwrap();
    let error = matmul(pool, a, a, Start::Zero, &mut [0.0; 9], &mut Scratch::default()).unwrap_err();
    assert_eq!(error.to_string(), "matmul: [4] does not fit [3]");
    assert!(Matrix::new(&values, 3, 5).is_err());
    assert!(Matrix::strided(&values, 3, 4, 5).is_err());
    assert!(matmul(pool, a, a.transposed(), Start::Zero, &mut [0.0; 8], &mut Scratch::default()).is_err());
}

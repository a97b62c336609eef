//! Products equal a plain loop, bit for bit, on every instruction set and any number of threads.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::{numbers, pools};
use murmur_kernels::exact::{Matrix, Pool, Scratch, Start, matmul};

fn plain(a: Matrix<'_>, b: Matrix<'_>, at: impl Fn(&str, usize, usize) -> f32, start: &[f32]) -> Vec<u32> {
    let ([m, k], [_, n]) = (a.shape(), b.shape());
    let sum = |i, j| (0..k).fold(start[i * n + j], |sum, s| at("a", i, s).mul_add(at("b", s, j), sum));
    (0..m * n).map(|place| sum(place / n, place % n).to_bits()).collect()
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
    let held = if start == Start::Zero { vec![0.0; m * n] } else { out.clone() };
    matmul(pool, left, right, start, &mut out, &mut Scratch::default()).unwrap();
    let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
    assert!(bits == plain(left, right, at, &held), "{pool:?} {m}×{n}×{k} {flip:?} {start:?}");
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
        [97, 96, 513],
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
fn shapes_that_do_not_fit_are_named() {
    let (pool, values) = (&pools()[0], [0.0; 12]);
    let a = Matrix::new(&values, 3, 4).unwrap();
    let error = matmul(pool, a, a, Start::Zero, &mut [0.0; 9], &mut Scratch::default()).unwrap_err();
    assert_eq!(error.to_string(), "matmul: [4] does not fit [3]");
    assert!(Matrix::new(&values, 3, 5).is_err());
    assert!(Matrix::strided(&values, 3, 4, 5).is_err());
    assert!(matmul(pool, a, a.transposed(), Start::Zero, &mut [0.0; 8], &mut Scratch::default()).is_err());
}

//! Functions are as exact as `exact::math` says, and defined everywhere.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::numbers;
use murmur_kernels::exact::{Function, Level, Pool, map};

fn of(f: Function, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    map(&Pool::single(Level::best()), f, x, &mut out).unwrap();
    out
}

/// The largest error over `x`, in units of the last place of the true value.
fn ulps(f: Function, truth: fn(f64) -> f64, x: &[f32]) -> f64 {
    let error = |(x, y): (&f32, f32)| {
        let expected = truth(f64::from(*x));
        let unit = f64::from((expected as f32).abs().next_up()) - f64::from((expected as f32).abs());
        (f64::from(y) - expected).abs() / unit
    };
    x.iter().zip(of(f, x)).map(error).fold(0.0, f64::max)
}

fn spread(low: f32, high: f32) -> Vec<f32> {
    numbers(5, 200_000).iter().map(|x| low + (x + 2.0) / 4.0 * (high - low)).collect()
}

#[test]
fn errors_in_the_last_place_are_as_stated() {
    let logs: Vec<f32> = spread(-87.0, 88.0).into_iter().map(f32::exp).collect();
    for (f, truth, x, most) in [
        (Function::Exp, f64::exp as fn(f64) -> f64, spread(-86.9, 88.7), 1.5),
        (Function::Ln, f64::ln, logs, 1.5),
        (Function::Ln, f64::ln, spread(0.5, 2.0), 1.5),
        (Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), spread(-80.0, 20.0), 3.0),
        (Function::Tanh, f64::tanh, spread(-10.0, 10.0), 2.0),
        (Function::Tanh, f64::tanh, spread(-0.7, 0.7), 2.0),
        (Function::Rsqrt, |x| 1.0 / x.sqrt(), spread(1e-3, 1e3), 1.5),
    ] {
        let error = ulps(f, truth, &x);
        assert!(error <= most, "{f:?}: {error} ulp");
    }
}

#[test]
fn sine_and_cosine_are_close_in_units_of_one() {
    for (f, truth) in [(Function::Sin, f64::sin as fn(f64) -> f64), (Function::Cos, f64::cos)] {
        for x in [spread(-8.0, 8.0), spread(-8192.0, 8192.0)] {
            let error = |(x, y): (&f32, f32)| (truth(f64::from(*x)) - f64::from(y)).abs() / f64::from(f32::EPSILON);
            let most = x.iter().zip(of(f, &x)).map(error).fold(0.0, f64::max);
            assert!(most <= 2.0, "{f:?}: {most}");
        }
    }
}

/// The error function by its series; the standard library has none.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn the_error_function_is_close() {
    let error = ulps(Function::Erf, erf, &spread(-3.5, 3.5));
    assert!(error <= 3.0, "{error} ulp");
    assert_eq!(of(Function::Erf, &[9.0, -9.0, 0.0, f32::INFINITY]), [1.0, -1.0, 0.0, 1.0]);
}

#[test]
fn the_ends_of_each_range_are_defined() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    assert_eq!(of(Function::Exp, &[0.0, -0.0, inf, -inf, 89.0, -87.0]), [1.0, 1.0, inf, 0.0, inf, 0.0]);
    assert_eq!(of(Function::Ln, &[1.0, 0.0, -0.0, inf]), [0.0, -inf, -inf, inf]);
    assert!(of(Function::Ln, &[-1.0, nan, -inf]).iter().all(|y| y.is_nan()));
    assert!((of(Function::Ln, &[1e-40])[0] + 92.103_4).abs() < 1e-4, "subnormal");
    assert_eq!(of(Function::Tanh, &[inf, -inf, 0.0, 50.0]), [1.0, -1.0, 0.0, 1.0]);
    assert_eq!(of(Function::Sigmoid, &[inf, -inf, 0.0]), [1.0, 0.0, 0.5]);
    for f in Function::ALL {
        assert!(of(f, &[nan])[0].is_nan(), "{f:?}");
        assert_eq!(of(f, &[]), [0.0; 0], "{f:?}");
    }
}

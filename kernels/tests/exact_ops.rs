//! Every operation of the exact profile gives one hash everywhere, and is what its formula says.
#![allow(clippy::unwrap_used)]

mod exact_support;

use exact_support::{numbers, pools};
use murmur_kernels::exact::conformance::{EXPECTED, conformance, vectors};
use murmur_kernels::exact::{
    Activation, Conv, ConvScratch, Level, MOMENTS, Matrix, Norm, NormGrads, Pool, Rope, Scratch, ShapeError, Start,
    Turn, activate, activate_backward, linear_grads, linear_scratch, matmul, norm, norm_backward, norm_scratch, swiglu,
    swiglu_backward,
};

#[test]
fn one_hash_on_every_instruction_set_and_number_of_threads() {
    for pool in pools() {
        let shown: Vec<_> =
            vectors(&pool).iter().map(|(name, hash)| format!("{name} {}", &hash.to_hex()[..8])).collect();
        assert_eq!(conformance(&pool), EXPECTED, "{pool:?}: {shown:?}");
    }
}

fn pool() -> Pool {
    Pool::single(Level::best())
}

fn close(got: &[f32], expected: impl Iterator<Item = f64>, what: &str) {
    let mut count = 0;
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() <= 1e-5 * (1.0 + expected.abs()),
            "{what} {i}: {got}, not {expected}"
        );
        count += 1;
    }
    assert_eq!(count, got.len(), "{what}");
}

/// The sum over rows as the profile has it: sixteen at a time from zero, then neighbours in pairs until one is left.
fn column_sum(column: &[f32]) -> f32 {
    let mut sums: Vec<f32> = column.chunks(16).map(|group| group.iter().fold(0.0, |sum, value| sum + value)).collect();
    while sums.len() > 1 {
        sums = sums.chunks(2).map(|pair| pair.iter().copied().reduce(|a, b| a + b).unwrap()).collect();
    }
    sums.first().copied().unwrap_or(0.0)
}

#[test]
fn sums_over_rows_equal_the_plain_tree() {
    for pool in pools() {
        for rows in [0, 1, 15, 16, 17, 48, 64, 65, 130, 1000] {
            let (n, mut scratch) = (21, Scratch::default());
            let (x, grad) = (numbers(1, rows), numbers(2, rows * n));
            let (mut grad_weight, mut grad_bias, mut groups) =
                (vec![0.0; n], vec![1.0; n], vec![0.0; linear_scratch(rows, n)]);
            let factors = [Matrix::new(&x, rows, 1).unwrap(), Matrix::new(&grad, rows, n).unwrap()];
            linear_grads(&pool, factors, [&mut grad_weight, &mut grad_bias], &mut groups, &mut scratch).unwrap();
            let column = |c: usize| (0..rows).map(|row| grad[row * n + c]).collect::<Vec<_>>();
            let expected: Vec<f32> = (0..n).map(|c| column_sum(&column(c))).collect();
            assert_eq!(grad_bias, expected, "{pool:?} {rows}");
        }
    }
}

/// Values to a few units in the last place, below zero as well: an error of the last place in `t` is `t` of them in the result.
#[test]
fn gelu_and_silu_and_their_slopes_follow_the_formula() {
    let x: Vec<f32> = numbers(1, 4001).iter().map(|x| x * 6.0).collect();
    let gelu = |x: f64| silu_of(x, 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3)));
    for (f, truth) in [(Activation::Gelu, &gelu as &dyn Fn(f64) -> f64), (Activation::Silu, &silu)] {
        let (mut out, mut grad) = (vec![0.0; x.len()], vec![1.0; x.len()]);
        activate(&pool(), f, &x, &mut out).unwrap();
        activate_backward(&pool(), f, &x, &mut grad).unwrap();
        for ((x, out), grad) in x.iter().map(|&x| f64::from(x)).zip(&out).zip(&grad) {
            let (value, rise) = (truth(x), slope(truth, x));
            assert!((f64::from(*out) - value).abs() < 1e-6 * value.abs().max(1e-2), "{f:?} {x}: {out}, not {value}");
            assert!((f64::from(*grad) - rise).abs() < 1e-6, "{f:?} {x}: {grad}, not {rise}");
        }
        let ends = [0.0, -0.0, 1e30, -1e30, f32::NAN];
        let mut out = [1.0; 5];
        activate(&pool(), f, &ends, &mut out).unwrap();
        assert_eq!(out[..4], [0.0, 0.0, 1e30, 0.0], "{f:?}");
        assert!(out[4].is_nan(), "{f:?}");
    }
}

fn silu_of(x: f64, t: f64) -> f64 {
    x / (1.0 + (-t).exp())
}

fn silu(x: f64) -> f64 {
    silu_of(x, x)
}

fn slope(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    (f(x + 1e-5) - f(x - 1e-5)) / 2e-5
}

#[test]
fn swiglu_and_its_gradient_follow_the_formula() {
    let [gate, x, grad] = [1, 2, 3].map(|seed| numbers(seed, 101));
    let (mut out, mut by_gate, mut by_x) = (vec![0.0; 101], vec![0.0; 101], vec![0.0; 101]);
    swiglu(&pool(), &gate, &x, &mut out).unwrap();
    swiglu_backward(&pool(), [&gate, &x, &grad], [&mut by_gate, &mut by_x]).unwrap();
    let at = |i: usize| [f64::from(gate[i]), f64::from(x[i]), f64::from(grad[i])];
    close(&out, (0..101).map(|i| silu(at(i)[0]) * at(i)[1]), "value");
    close(&by_x, (0..101).map(|i| silu(at(i)[0]) * at(i)[2]), "slope of x");
    close(&by_gate, (0..101).map(|i| slope(silu, at(i)[0]) * at(i)[1] * at(i)[2]), "slope of the gate");
}

fn rms(x: &[f64], gain: &[f32]) -> Vec<f64> {
    let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(gain).map(|(x, gain)| x * f64::from(*gain) / (square + 1e-5).sqrt()).collect()
}

#[test]
fn rms_norm_and_its_gradient_follow_the_formula() {
    let (rows, d) = (70, 21);
    let (x, gain, grad) = (numbers(1, rows * d), numbers(2, d), numbers(3, rows * d));
    let (mut out, mut moments) = (vec![0.0; rows * d], vec![0.0; rows * MOMENTS]);
    norm(&pool(), Norm::Rms, &x, [&gain, &[]], &mut out, &mut moments).unwrap();
    let (mut grad_x, mut grad_gain) = (vec![0.0; rows * d], vec![0.0; d]);
    let grads = NormGrads { x: &mut grad_x, gain: &mut grad_gain, bias: &mut [] };
    let mut scratch = vec![0.0; norm_scratch(rows, d)];
    norm_backward(&pool(), Norm::Rms, [&x, &gain, &moments, &grad], grads, &mut scratch).unwrap();
    let row = |r: usize| x[r * d..][..d].iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let weight = |i: usize| f64::from(grad[i]);
    close(&out, (0..rows).flat_map(|r| rms(&row(r), &gain)), "value");
    let by_x = |place: usize| {
        let (r, c) = (place / d, place % d);
        let moved = |to: f64| {
            let mut row = row(r);
            row[c] = to;
            rms(&row, &gain).iter().enumerate().map(|(i, y)| y * weight(r * d + i)).sum::<f64>()
        };
        slope(moved, row(r)[c])
    };
    close(&grad_x, (0..rows * d).map(by_x), "slope of x");
    let ones = vec![1.0; d];
    let by_gain = |c: usize| (0..rows).map(|r| rms(&row(r), &ones)[c] * weight(r * d + c)).sum::<f64>();
    close(&grad_gain, (0..d).map(by_gain), "slope of the gain");
}

#[test]
fn rotary_positions_turn_by_the_angle_and_back() {
    let (seq, width) = (4096, 10);
    let x = numbers(1, seq * width);
    let rope = Rope::new(&pool(), seq, width, 10_000f64.ln()).unwrap();
    let mut turned = x.clone();
    rope.turn(&pool(), Turn::Forward, &mut turned, seq, width).unwrap();
    let expected = |place: usize| {
        let (position, c) = (place / width, place % width);
        let (pair, half) = (c % 5, place - c);
        let angle = position as f64 * 10_000f64.powf(-2.0 * pair as f64 / width as f64);
        let (first, second) = (f64::from(x[half + pair]), f64::from(x[half + pair + 5]));
        let (sin, cos) = angle.sin_cos();
        if c < 5 { first * cos - second * sin } else { first * sin + second * cos }
    };
    close(&turned, (0..seq * width).map(expected), "turned");
    rope.turn(&pool(), Turn::Back, &mut turned, seq, width).unwrap();
    close(&turned, x.iter().map(|&x| f64::from(x)), "back");
    assert!(Rope::new(&pool(), 4, 3, 1.0).is_err());
    assert!(rope.turn(&pool(), Turn::Forward, &mut turned, seq, 7).is_err());
}

/// A convolution by its definition, in `f64`.
fn convolved(conv: &Conv, x: &[f32], weight: &[f32]) -> Vec<f64> {
    let [high, wide] = conv.out();
    let mut out = Vec::new();
    for place in 0..conv.batch * high * wide * conv.filters {
        let (f, place) = (place % conv.filters, place / conv.filters);
        let (image, y, across) = (place / (high * wide), place / wide % high, place % wide);
        let mut sum = 0.0;
        for tap in 0..conv.kernel[0] * conv.kernel[1] * conv.channels {
            let (c, tap_at) = (tap % conv.channels, tap / conv.channels);
            let row = (y * conv.stride[0] + tap_at / conv.kernel[1]).wrapping_sub(conv.padding[0]);
            let column = (across * conv.stride[1] + tap_at % conv.kernel[1]).wrapping_sub(conv.padding[1]);
            if row < conv.size[0] && column < conv.size[1] {
                let at = ((image * conv.size[0] + row) * conv.size[1] + column) * conv.channels + c;
                sum += f64::from(x[at]) * f64::from(weight[tap * conv.filters + f]);
            }
        }
        out.push(sum);
    }
    out
}

#[test]
fn convolution_and_its_gradient_follow_the_definition() {
    for (size, kernel, stride, padding) in
        [([5, 6], [3, 3], [1, 1], [1, 1]), ([1, 17], [1, 4], [1, 2], [0, 3]), ([7, 4], [2, 3], [3, 1], [0, 0])]
    {
        let conv = Conv { batch: 2, size, channels: 3, filters: 2, kernel, stride, padding };
        let (x, weight) = (numbers(1, 2 * size[0] * size[1] * 3), numbers(2, kernel[0] * kernel[1] * 6));
        let expected = convolved(&conv, &x, &weight);
        let (mut out, mut scratch) = (vec![0.0; expected.len()], ConvScratch::default());
        conv.forward(&pool(), [&x, &weight], &mut out, &mut scratch).unwrap();
        close(&out, expected.iter().copied(), "value");
        let grad = numbers(3, out.len());
        let (mut grad_x, mut grad_weight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        conv.backward(&pool(), [&x, &weight, &grad], [&mut grad_x, &mut grad_weight], &mut scratch).unwrap();
        let pulled = |x: &[f32], weight: &[f32]| -> f64 {
            convolved(&conv, x, weight).iter().zip(&grad).map(|(y, grad)| y * f64::from(*grad)).sum()
        };
        // The result is linear in each factor, so a step of one gives the slope.
        let moved = |values: &[f32], i: usize| {
            let mut values = values.to_vec();
            values[i] += 1.0;
            values
        };
        let start = pulled(&x, &weight);
        let close_enough = |got: f32, expected: f64| (f64::from(got) - expected).abs() < 1e-3;
        for (i, &got) in grad_x.iter().enumerate() {
            assert!(close_enough(got, pulled(&moved(&x, i), &weight) - start), "{conv:?} image {i}");
        }
        for (i, &got) in grad_weight.iter().enumerate() {
            assert!(close_enough(got, pulled(&x, &moved(&weight, i)) - start), "{conv:?} weight {i}");
        }
    }
}

/// More outputs than are computed at a time: the sums over them are still those of one product.
#[test]
fn a_convolution_of_many_outputs_has_the_bits_of_one_product() {
    let conv =
        Conv { batch: 2, size: [25, 24], channels: 3, filters: 5, kernel: [3, 4], stride: [1, 1], padding: [1, 2] };
    let ([high, wide], depth) = (conv.out(), 36);
    let outputs = 2 * high * wide;
    assert!(outputs > 1100, "several slabs");
    let (x, weight, grad) = (numbers(1, 2 * 25 * 24 * 3), numbers(2, depth * 5), numbers(3, outputs * 5));
    let source = |output: usize, number: usize| {
        let (image, y, across) = (output / (high * wide), output / wide % high, output % wide);
        let (tap, channel) = (number / 3, number % 3);
        let row = (y + tap / 4).checked_sub(1).filter(|row| *row < 25)?;
        let column = (across + tap % 4).checked_sub(2).filter(|column| *column < 24)?;
        Some(((image * 25 + row) * 24 + column) * 3 + channel)
    };
    let patches: Vec<f32> =
        (0..outputs * depth).map(|i| source(i / depth, i % depth).map_or(0.0, |at| x[at])).collect();
    let matrix = |values, rows, columns| Matrix::new(values, rows, columns).unwrap();
    let product = |a: Matrix<'_>, b: Matrix<'_>| {
        let mut out = vec![0.0; a.shape()[0] * b.shape()[1]];
        matmul(&pool(), a, b, Start::Zero, &mut out, &mut Scratch::default()).unwrap();
        out
    };
    let (patched, weights, grads) =
        (matrix(&patches, outputs, depth), matrix(&weight, depth, 5), matrix(&grad, outputs, 5));
    let mut pulled = vec![0.0; x.len()];
    for (i, value) in product(grads, weights.transposed()).into_iter().enumerate() {
        source(i / depth, i % depth).into_iter().for_each(|at| pulled[at] += value);
    }
    for threads in [1, 3] {
        let pool = Pool::new(Level::best(), threads).unwrap();
        let (mut out, mut grad_x, mut grad_weight) =
            (vec![0.0; outputs * 5], vec![0.0; x.len()], vec![0.0; weight.len()]);
        let mut scratch = ConvScratch::default();
        conv.forward(&pool, [&x, &weight], &mut out, &mut scratch).unwrap();
        conv.backward(&pool, [&x, &weight, &grad], [&mut grad_x, &mut grad_weight], &mut scratch).unwrap();
        assert_eq!(out, product(patched, weights));
        assert_eq!(grad_weight, product(patched.transposed(), grads));
        assert_eq!(grad_x, pulled);
    }
}

#[test]
fn operations_refuse_shapes_that_do_not_fit_by_name() {
    let refused: ShapeError = swiglu(&pool(), &[0.0; 3], &[0.0; 4], &mut [0.0; 4]).unwrap_err();
    assert_eq!(refused.to_string(), "swiglu: [3, 4] does not fit [4, 4]");
    let short = norm(&pool(), Norm::Layer, &[0.0; 6], [&[1.0; 4], &[]], &mut [0.0; 6], &mut [0.0; 2]);
    assert_eq!(short.unwrap_err().op, "norm");
}

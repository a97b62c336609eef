//! Row-wise operations on slices: normalization, GELU, cross-entropy.
//!
//! Sums run over 16 lanes that are then added as a tree, so the order does not depend on the instruction set. Nothing is
//! fused into a multiply-add.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};

use crate::learn::model::Token;

type Values = FloatTensor<Flex>;

/// As in GPT-2.
const NORM_EPSILON: f32 = 1e-5;

const LANES: usize = 16;

/// Mean and reciprocal deviation of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    mean: f32,
    inverse: f32,
}

/// Row-major values of a tensor that is laid out so.
pub(super) fn slice(tensor: &Values) -> &[f32] {
    tensor.as_slice::<f32>().expect("operands are made contiguous before they are read")
}

/// A tensor of these values.
pub(super) fn tensor(values: Vec<f32>, shape: &Shape) -> Values {
    Values::from_data(TensorData::new(values, shape.clone()))
}

fn width(tensor: &Values) -> usize {
    let shape = tensor.layout().shape();
    shape[shape.num_dims() - 1]
}

/// The sum of `term(i)` for `i` below `len`.
fn sum(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += term(start + lane);
        }
    }
    for i in whole..len {
        lanes[i - whole] += term(i);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `eˣ` to within two units in the last place between −87 and 88, constant beyond; NaN stays NaN.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`; a polynomial for `eʳ` (Cephes, `expf`), and `2ⁿ` by its exponent bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4 * r + 1.398_2e-3;
    let p = (((p * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 1.666_666_5e-1) * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

/// The normed rows, and each row's moments for the backward pass.
pub(super) fn norm(x: &Values, gain: &Values, bias: &Values) -> (Values, Vec<Moments>) {
    let d = width(x);
    let contiguous = x.to_contiguous();
    let (gain, bias) = (slice(gain), slice(bias));
    let mut normed = Vec::with_capacity(slice(&contiguous).len());
    let row = |row: &[f32]| {
        let moments = moments(row);
        let scaled = |value: f32| (value - moments.mean) * moments.inverse;
        normed.extend(row.iter().zip(gain).zip(bias).map(|((value, gain), bias)| scaled(*value) * gain + bias));
        moments
    };
    let moments = slice(&contiguous).chunks_exact(d).map(row).collect();
    (tensor(normed, x.layout().shape()), moments)
}

fn moments(row: &[f32]) -> Moments {
    let mean = sum(row.len(), |i| row[i]) / row.len() as f32;
    let variance = sum(row.len(), |i| (row[i] - mean) * (row[i] - mean)) / row.len() as f32;
    Moments { mean, inverse: 1.0 / (variance + NORM_EPSILON).sqrt() }
}

/// Gradients of the input, the gain and the bias.
pub(super) fn norm_backward(x: &Values, gain: &Values, moments: &[Moments], grad: &Values) -> [Values; 3] {
    let d = width(x);
    let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
    let (gain_values, mut grad_x) = (slice(gain), Vec::with_capacity(slice(&x).len()));
    let (mut grad_gain, mut grad_bias) = (vec![0.0; d], vec![0.0; d]);
    let mut normed = vec![0.0; d];
    let mut pulled = vec![0.0; d];
    for ((row, grad), moments) in slice(&x).chunks_exact(d).zip(slice(&grad).chunks_exact(d)).zip(moments) {
        for i in 0..d {
            normed[i] = (row[i] - moments.mean) * moments.inverse;
            pulled[i] = grad[i] * gain_values[i];
            grad_gain[i] += grad[i] * normed[i];
            grad_bias[i] += grad[i];
        }
        let mean = sum(d, |i| pulled[i]) / d as f32;
        let along = sum(d, |i| pulled[i] * normed[i]) / d as f32;
        grad_x.extend(
            pulled.iter().zip(&normed).map(|(pulled, normed)| (pulled - mean - normed * along) * moments.inverse),
        );
    }
    let vector = gain.layout().shape();
    [tensor(grad_x, x.layout().shape()), tensor(grad_gain, vector), tensor(grad_bias, vector)]
}

/// GELU, `x·σ(2√(2/π)·(x + 0.044715·x³))`, and its slope at each value.
pub(super) fn gelu(x: &Values) -> (Values, Values) {
    const RATE: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;
    let contiguous = x.to_contiguous();
    let values = slice(&contiguous);
    let (mut y, mut slopes) = (vec![0.0; values.len()], vec![0.0; values.len()]);
    for ((x, y), slope) in values.iter().zip(&mut y).zip(&mut slopes) {
        let share = 1.0 / (1.0 + exp(-RATE * (x + CUBE * x * x * x)));
        *y = x * share;
        *slope = share + *y * (1.0 - share) * (RATE * (1.0 + 3.0 * CUBE * x * x));
    }
    let shape = x.layout().shape();
    (tensor(y, shape), tensor(slopes, shape))
}

/// Mean cross-entropy `[1]`, and its slope at each score.
pub(super) fn cross_entropy(scores: &Values, targets: &[Token]) -> (Values, Values) {
    let vocab = width(scores);
    let contiguous = scores.to_contiguous();
    let mut slopes = slice(&contiguous).to_vec();
    let each = 1.0 / targets.len() as f32;
    let mut total = 0.0;
    for (row, &target) in slopes.chunks_exact_mut(vocab).zip(targets) {
        let target = usize::from(target);
        let score = row[target];
        let (best, mass) = softmax_weights(row);
        total += f64::from(best - score) + f64::from(mass).ln();
        let scale = each / mass;
        row.iter_mut().for_each(|weight| *weight *= scale);
        row[target] -= each;
    }
    let mean = (total / targets.len() as f64) as f32;
    (tensor(vec![mean], &Shape::new([1])), tensor(slopes, scores.layout().shape()))
}

/// Replaces scores by `e^(score − best)`; returns the best score and the sum.
pub(super) fn softmax_weights(row: &mut [f32]) -> (f32, f32) {
    let best = row.iter().fold(f32::NEG_INFINITY, |best, &score| if score > best { score } else { best });
    row.iter_mut().for_each(|score| *score = exp(*score - best));
    (best, sum(row.len(), |i| row[i]))
}

/// `slopes · grad`, where `grad` has one value or as many as `slopes`.
pub(super) fn scaled(mut slopes: Values, grad: &Values) -> Values {
    let grad = grad.to_contiguous();
    match slice(&grad) {
        [1.0] => {}
        [one] => slopes.storage_mut::<f32>().iter_mut().for_each(|slope| *slope *= one),
        many => slopes.storage_mut::<f32>().iter_mut().zip(many).for_each(|(slope, grad)| *slope *= grad),
    }
    slopes
}

/// `shares · (grad − Σ shares·grad) · scale`: the backward pass of a softmax of scaled scores, in place of `grad`.
pub(super) fn softmax_backward(shares: &[f32], grad: &mut [f32], scale: f32) {
    let mean = sum(shares.len(), |i| shares[i] * grad[i]);
    grad.iter_mut().zip(shares).for_each(|(grad, share)| *grad = share * (*grad - mean) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere_and_keeps_nan() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) > 0.0 && exp(f32::INFINITY).is_finite());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sums_of_every_length_are_whole() {
        for len in 0..70 {
            assert_eq!(sum(len, |i| i as f32), (len * len.saturating_sub(1) / 2) as f32);
        }
    }
}

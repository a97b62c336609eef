//! Conformance vectors: one hash for every operation, over outputs for stated inputs.
//!
//! A machine that gives [`EXPECTED`] has the profile; one that does not must not take part in an exact run. Inputs come from
//! [`uniform`], stream 1 for the first and so on, scaled to [−4, 4); lengths are no multiples of the vector width. A NaN counts as
//! one NaN, whichever it is.

use super::activation::{Activation, activate, activate_backward, swiglu, swiglu_backward};
use super::attention::Attention;
use super::buffer::Buffer;
use super::conv::{Conv, ConvScratch};
use super::embedding::{embed, embed_backward};
use super::linear::{After, linear, linear_grads, linear_scratch};
use super::map::{Function, map};
use super::matmul::{Matrix, Scratch, ShapeError, Start, matmul};
use super::muon::{Muon, MuonMatrix, MuonStep};
use super::norm::{MOMENTS, Norm, NormGrads, norm, norm_backward, norm_scratch};
use super::pool::Pool;
use super::random::uniform;
use super::rope::{Rope, Turn};
use super::softmax::{cross_entropy, softmax};

/// The hash of all vectors in this version of the profile, in hexadecimal.
pub const EXPECTED: &str = "0c3efd529fd3241e6b651fd63e29ae233d8166c3edaa92ba36bd15ea90c96f22";

/// One operation's name and the hash of what it gives here.
pub type Vector = (&'static str, blake3::Hash);

/// Computes every vector.
pub fn vectors(pool: &Pool) -> Vec<Vector> {
    let named = |name, vector: fn(&Pool) -> Result<Vec<f32>, ShapeError>| {
        let values = vector(pool).expect("the shapes of a conformance vector fit");
        (name, hash(&values))
    };
    vec![
        named("functions", functions),
        named("matmul", products),
        named("linear", layers),
        named("norm", norms),
        named("activation", activations),
        named("softmax", rows),
        named("attention", mixing),
        named("embedding", tables),
        named("rope", turns),
        named("conv", images),
        named("muon", steps),
    ]
}

/// The one hash over all vectors: equal to [`EXPECTED`] on every machine that has the profile.
pub fn conformance(pool: &Pool) -> String {
    let mut all = blake3::Hasher::new();
    for (name, hash) in vectors(pool) {
        all.update(name.as_bytes()).update(hash.as_bytes());
    }
    all.finalize().to_hex().to_string()
}

fn hash(values: &[f32]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
        hasher.update(&bits.to_le_bytes());
    }
    hasher.finalize()
}

/// `len` numbers between −4 and 4.
fn input(stream: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    uniform(stream, 0, &mut values);
    values.iter_mut().for_each(|value| *value = *value * 8.0 - 4.0);
    values
}

fn tokens(count: usize, vocab: u8) -> Vec<u8> {
    input(9, count).iter().map(|&x| ((x + 4.0) * 1000.0) as u32 as u8 % vocab).collect()
}

fn functions(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let awkward = [
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MIN_POSITIVE,
        1e-40,
        -1e-40,
        f32::MAX,
        f32::MIN,
        88.72,
        -86.99,
    ];
    let mut x: Vec<f32> =
        [1.0, 20.0, 1e-3, 100.0].iter().flat_map(|scale| input(1, 333).into_iter().map(move |x| x * scale)).collect();
    x.extend(awkward);
    let mut all = Vec::new();
    for f in Function::ALL {
        let mut out = vec![0.0; x.len()];
        map(pool, f, &x, &mut out)?;
        all.extend(out);
    }
    Ok(all)
}

fn products(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (m, n, k) = (37, 53, 601);
    let (a, b, mut out) = (input(1, m * k), input(2, k * n), input(3, m * n));
    let mut scratch = Scratch::default();
    matmul(pool, Matrix::new(&a, m, k)?, Matrix::new(&b, k, n)?, Start::Current, &mut out, &mut scratch)?;
    let mut turned = vec![0.0; m * n];
    let (left, right) = (Matrix::new(&a, k, m)?.transposed(), Matrix::new(&b, n, k)?.transposed());
    matmul(pool, left, right, Start::Zero, &mut turned, &mut scratch)?;
    out.extend(turned);
    Ok(out)
}

fn layers(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (m, k, n) = (130, 19, 35);
    let (x, weight, bias, residual) = (input(1, m * k), input(2, k * n), input(3, n), input(4, m * n));
    let (x, weight) = (Matrix::new(&x, m, k)?, Matrix::new(&weight, k, n)?);
    let (mut out, mut scratch) = (vec![0.0; m * n], Scratch::default());
    linear(pool, x, weight, After::Residual(&bias, &residual), &mut out, &mut scratch)?;
    let (mut grad_weight, mut grad_bias, mut groups) =
        (vec![0.0; k * n], vec![0.0; n], vec![0.0; linear_scratch(m, n)]);
    let grads = [&mut grad_weight[..], &mut grad_bias[..]];
    linear_grads(pool, [x, Matrix::new(&out, m, n)?], grads, &mut groups, &mut scratch)?;
    Ok([out, grad_weight, grad_bias].concat())
}

fn norms(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (rows, d) = (131, 77);
    let (x, gain, bias, grad) = (input(1, rows * d), input(2, d), input(3, d), input(4, rows * d));
    let mut all = Vec::new();
    for (which, bias) in [(Norm::Layer, &bias[..]), (Norm::Rms, &[])] {
        let (mut out, mut moments, mut grad_x) = (vec![0.0; rows * d], vec![0.0; rows * MOMENTS], grad.clone());
        norm(pool, which, &x, [&gain, bias], &mut out, &mut moments)?;
        let (mut grad_gain, mut grad_bias) = (vec![0.0; d], vec![0.0; bias.len()]);
        let grads = NormGrads { x: &mut grad_x, gain: &mut grad_gain, bias: &mut grad_bias };
        norm_backward(pool, which, [&x, &gain, &moments, &grad], grads, &mut vec![0.0; norm_scratch(rows, d)])?;
        all.extend([out, moments, grad_x, grad_gain, grad_bias].concat());
    }
    Ok(all)
}

fn activations(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (x, y, grad) = (input(1, 999), input(2, 999), input(3, 999));
    let mut all = Vec::new();
    for f in [Activation::Gelu, Activation::Silu] {
        let (mut out, mut slopes) = (vec![0.0; 999], grad.clone());
        activate(pool, f, &x, &mut out)?;
        activate_backward(pool, f, &x, &mut slopes)?;
        all.extend([out, slopes].concat());
    }
    let (mut out, mut first, mut second) = (vec![0.0; 999], vec![0.0; 999], vec![0.0; 999]);
    swiglu(pool, &x, &y, &mut out)?;
    swiglu_backward(pool, [&x, &y, &grad], [&mut first, &mut second])?;
    all.extend([out, first, second].concat());
    Ok(all)
}

fn rows(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (count, width) = (67, 91);
    let (mut shares, mut scores, mut losses) = (input(1, count * width), input(2, count * width), vec![0.0; count]);
    softmax(pool, &mut shares, width)?;
    let loss = cross_entropy(pool, &mut scores, &tokens(count, 91), &mut losses)?;
    Ok([shares, scores, losses, vec![loss]].concat())
}

fn mixing(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (mut all, mut scratch) = (Vec::new(), Buffer::default());
    for (batch, seq, heads, width) in [(2, 83, 3, 11), (1, 300, 1, 5)] {
        let (sizes, one) = (Attention { batch, seq, heads, width }, batch * seq * heads * width);
        let (qkv, grad) = (input(1, 3 * one), input(2, one));
        let (mut mixed, mut grad_qkv) = (vec![0.0; one], vec![0.0; 3 * one]);
        sizes.forward(pool, &qkv, &mut mixed, &mut scratch)?;
        sizes.backward(pool, [&qkv, &grad], &mut grad_qkv, &mut scratch)?;
        all.extend([mixed, grad_qkv].concat());
    }
    Ok(all)
}

fn tables(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (vocab, seq, d) = (29, 13, 21);
    let (table, positions, tokens) = (input(1, vocab * d), input(2, seq * d), tokens(5 * seq, 29));
    let (mut out, mut grad_table, mut grad_positions) =
        (vec![0.0; 5 * seq * d], vec![0.0; vocab * d], vec![0.0; seq * d]);
    embed(pool, [&table, &positions], &tokens, seq, &mut out)?;
    embed_backward(pool, &out, &tokens, seq, [&mut grad_table, &mut grad_positions])?;
    Ok([out, grad_table, grad_positions].concat())
}

fn turns(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (seq, width, heads) = (70, 22, 3);
    let (rope, mut x) = (Rope::new(pool, seq, width, 9.210_340_371_976_184)?, input(1, 2 * seq * width * heads));
    rope.turn(pool, Turn::Forward, &mut x, seq, width * heads)?;
    let mut back = x.clone();
    rope.turn(pool, Turn::Back, &mut back, seq, width * heads)?;
    x.extend(back);
    Ok(x)
}

fn images(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let conv =
        Conv { batch: 2, size: [9, 7], channels: 3, filters: 5, kernel: [3, 2], stride: [2, 1], padding: [1, 1] };
    let [high, wide] = conv.out();
    let (x, weight, grad) = (input(1, 2 * 9 * 7 * 3), input(2, 3 * 2 * 3 * 5), input(3, 2 * high * wide * 5));
    let (mut out, mut scratch) = (vec![0.0; grad.len()], ConvScratch::default());
    conv.forward(pool, [&x, &weight], &mut out, &mut scratch)?;
    let (mut grad_x, mut grad_weight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    conv.backward(pool, [&x, &weight, &grad], [&mut grad_x, &mut grad_weight], &mut scratch)?;
    Ok([out, grad_x, grad_weight].concat())
}

fn steps(pool: &Pool) -> Result<Vec<f32>, ShapeError> {
    let (settings, mut muon) = (MuonStep { lr: 0.02, momentum: 0.95, decay: 3e-4, scale: 0.5 }, Muon::default());
    let mut all = Vec::new();
    for shape in [[24, 60], [60, 24], [37, 37], [19, 300]] {
        let len = shape[0] * shape[1];
        let (mut params, mut momentum) = (input(1, len), vec![0.0; len]);
        for stream in 2..5 {
            let grads = input(stream, len);
            let matrix = MuonMatrix { shape, params: &mut params, momentum: &mut momentum, grads: &grads };
            muon.step(pool, &settings, &mut [matrix])?;
        }
        all.extend([params, momentum].concat());
    }
    Ok(all)
}

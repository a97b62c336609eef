//! The operations by name, forward and backward, with the order of their inputs and results.

use murmur_kernels::exact::{
    Activation, After, Attention, Buffer, Conv, ConvScratch, MOMENTS, Matrix, Norm, NormGrads, Pool, Rope, Scratch,
    ShapeError, Start, Turn, activate, activate_backward, cross_entropy, embed, embed_backward, linear,
    linear_backward, linear_grads, linear_scratch, matmul, norm, norm_backward, norm_scratch, softmax, swiglu,
    swiglu_backward,
};
use murmur_kernels::{AdamW, adamw, global_norm};

use crate::Inputs;

/// What to compute of which results, over and over.
type Work = Box<dyn FnMut(&Pool, &mut [Buffer]) -> Result<(), ShapeError> + Send>;

/// An operation with its inputs.
pub(crate) struct Case {
    /// What it computes.
    pub(crate) outs: Vec<Buffer>,
    /// Results that it works on in place, and what they hold before each call.
    pub(crate) starts: Vec<(usize, Buffer)>,
    /// Forward and backward.
    pub(crate) work: Work,
}

impl Case {
    fn new(sizes: &[usize], work: impl FnMut(&Pool, &mut [Buffer]) -> Result<(), ShapeError> + Send + 'static) -> Self {
        let outs = sizes.iter().map(|&size| Buffer::zeros(size)).collect();
        Self { outs, starts: Vec::new(), work: Box::new(work) }
    }

    fn starting(self, starts: Vec<(usize, Buffer)>) -> Self {
        Self { starts, ..self }
    }
}

/// The operation of this name.
pub(crate) fn case(name: &str, dimensions: &[usize], inputs: &mut Inputs, pool: &Pool) -> Case {
    match (name, dimensions) {
        ("matmul", &[m, n, k, flip_a, flip_b]) => product([m, n, k], [flip_a, flip_b], inputs),
        ("linear", &[m, k, n]) => layer([m, k, n], inputs),
        ("attention", &[batch, seq, heads, width]) => mixing(Attention { batch, seq, heads, width }, inputs),
        ("layer_norm", &[rows, d]) => normed(Norm::Layer, rows, d, inputs),
        ("rms_norm", &[rows, d]) => normed(Norm::Rms, rows, d, inputs),
        ("softmax", &[rows, width]) => {
            let case = Case::new(&[rows * width], move |pool, outs| softmax(pool, &mut outs[0], width));
            case.starting(vec![(0, inputs.take(rows * width))])
        }
        ("gelu", &[len]) => activation(Activation::Gelu, len, inputs),
        ("silu", &[len]) => activation(Activation::Silu, len, inputs),
        ("swiglu", &[len]) => gated(len, inputs),
        ("rope", &[batch, seq, heads, width]) => turns([batch, seq, heads, width], inputs, pool),
        ("embedding", &[vocab, batch, seq, d]) => tables([vocab, batch, seq, d], inputs),
        ("cross_entropy", &[rows, width]) => surprise(rows, width, inputs),
        ("conv", &[batch, side, channels, filters, kernel, padding]) => {
            let [size, kernel, padding] = [side, kernel, padding].map(|n| [n; 2]);
            images(Conv { batch, size, channels, filters, kernel, stride: [1; 2], padding }, inputs)
        }
        ("adamw", &[len, steps]) => optimizer(len, steps, false, inputs),
        ("clip_adamw", &[len, steps]) => optimizer(len, steps, true, inputs),
        ("norm", &[len]) => {
            let grads = inputs.take(len);
            Case::new(&[1], move |_, outs| {
                outs[0][0] = global_norm(&grads);
                Ok(())
            })
        }
        _ => panic!("no operation {name} with {} dimensions", dimensions.len()),
    }
}

/// In: `a`, `b`, as stored. Out: the product.
fn product([m, n, k]: [usize; 3], [flip_a, flip_b]: [usize; 2], inputs: &mut Inputs) -> Case {
    let (a, b, mut scratch) = (inputs.take(m * k), inputs.take(k * n), Scratch::default());
    Case::new(&[m * n], move |pool, outs| {
        let (a, b) = (stored(&a, m, k, flip_a)?, stored(&b, k, n, flip_b)?);
        matmul(pool, a, b, Start::Zero, &mut outs[0], &mut scratch)
    })
}

fn stored(values: &[f32], rows: usize, columns: usize, flip: usize) -> Result<Matrix<'_>, ShapeError> {
    match flip {
        0 => Matrix::new(values, rows, columns),
        _ => Ok(Matrix::new(values, columns, rows)?.transposed()),
    }
}

/// In: `x`, weight `[k, n]`, bias, gradient of the result. Out: the result, gradients of `x`, weight and bias.
fn layer([m, k, n]: [usize; 3], inputs: &mut Inputs) -> Case {
    let [x, weight, bias, grad] = [m * k, k * n, n, m * n].map(|len| inputs.take(len));
    let (mut scratch, mut groups) = (Scratch::default(), vec![0.0; linear_scratch(m, n)]);
    Case::new(&[m * n, m * k, k * n, n], move |pool, outs| {
        let [out, grad_x, grad_weight, grad_bias] = outs else { unreachable!("four sizes") };
        let (x, weight, grad) = (Matrix::new(&x, m, k)?, Matrix::new(&weight, k, n)?, Matrix::new(&grad, m, n)?);
        linear(pool, x, weight, After::Bias(&bias), out, &mut scratch)?;
        linear_backward(pool, [grad, weight], None, grad_x, &mut scratch)?;
        linear_grads(pool, [x, grad], [grad_weight, grad_bias], &mut groups, &mut scratch)
    })
}

/// In: queries, keys and values `[batch, seq, 3, heads, width]`, gradient of the result. Out: the result, gradient of the first.
fn mixing(sizes: Attention, inputs: &mut Inputs) -> Case {
    let one = sizes.batch * sizes.seq * sizes.heads * sizes.width;
    let (qkv, grad, mut scratch) = (inputs.take(3 * one), inputs.take(one), Buffer::default());
    Case::new(&[one, 3 * one], move |pool, outs| {
        sizes.forward(pool, &qkv, &mut outs[0], &mut scratch)?;
        sizes.backward(pool, [&qkv, &grad], &mut outs[1], &mut scratch)
    })
}

/// In: `x`, gain, bias (of LayerNorm), gradient of the result. Out: the result, gradients of the others.
fn normed(which: Norm, rows: usize, d: usize, inputs: &mut Inputs) -> Case {
    let biases = if which == Norm::Layer { d } else { 0 };
    let [x, gain, bias, grad] = [rows * d, d, biases, rows * d].map(|len| inputs.take(len));
    let [mut moments, mut scratch] = [rows * MOMENTS, norm_scratch(rows, d)].map(Buffer::zeros);
    let case = Case::new(&[rows * d, rows * d, d, biases], move |pool, outs| {
        let [out, grad_x, grad_gain, grad_bias] = outs else { unreachable!("four sizes") };
        norm(pool, which, &x, [&gain, &bias], out, &mut moments)?;
        let grads = NormGrads { x: grad_x, gain: grad_gain, bias: grad_bias };
        norm_backward(pool, which, [&x, &gain, &moments, &grad], grads, &mut scratch)
    });
    case.starting(vec![(1, Buffer::zeros(rows * d))])
}

/// In: `x`, gradient of the result. Out: the result, gradient of `x`.
fn activation(f: Activation, len: usize, inputs: &mut Inputs) -> Case {
    let (x, grad) = (inputs.take(len), inputs.take(len));
    let case = Case::new(&[len; 2], move |pool, outs| {
        activate(pool, f, &x, &mut outs[0])?;
        activate_backward(pool, f, &x, &mut outs[1])
    });
    case.starting(vec![(1, grad)])
}

/// In: gate, `x`, gradient of the result. Out: the result, gradients of gate and `x`.
fn gated(len: usize, inputs: &mut Inputs) -> Case {
    let [gate, x, grad] = [len; 3].map(|len| inputs.take(len));
    Case::new(&[len; 3], move |pool, outs| {
        let [out, grad_gate, grad_x] = outs else { unreachable!("three sizes") };
        swiglu(pool, &gate, &x, out)?;
        swiglu_backward(pool, [&gate, &x, &grad], [grad_gate, grad_x])
    })
}

/// In: `x` `[batch, seq, heads, width]`, gradient of the result. Out: the result, gradient of `x`.
fn turns([batch, seq, heads, width]: [usize; 4], inputs: &mut Inputs, pool: &Pool) -> Case {
    /// Of 10,000.
    const LN_BASE: f64 = 9.210_340_371_976_184;
    let (row, len) = (heads * width, batch * seq * heads * width);
    let rope = Rope::new(pool, seq, width, LN_BASE).expect("the width is even");
    let case = Case::new(&[len; 2], move |pool, outs| {
        rope.turn(pool, Turn::Forward, &mut outs[0], seq, row)?;
        rope.turn(pool, Turn::Back, &mut outs[1], seq, row)
    });
    case.starting((0..2).map(|place| (place, inputs.take(len))).collect())
}

/// In: table, positions `[seq, d]`, gradient of the result, tokens. Out: the result, gradients of both tables.
fn tables([vocab, batch, seq, d]: [usize; 4], inputs: &mut Inputs) -> Case {
    let rows = batch * seq;
    let [table, positions, grad] = [vocab * d, seq * d, rows * d].map(|len| inputs.take(len));
    let tokens = inputs.take_tokens(rows);
    Case::new(&[rows * d, vocab * d, seq * d], move |pool, outs| {
        let [out, grad_table, grad_positions] = outs else { unreachable!("three sizes") };
        embed(pool, [&table, &positions], &tokens, seq, out)?;
        embed_backward(pool, &grad, &tokens, seq, [grad_table, grad_positions])
    })
}

/// In: scores, targets. Out: the mean loss, gradient of the scores.
fn surprise(rows: usize, width: usize, inputs: &mut Inputs) -> Case {
    let (scores, targets) = (inputs.take(rows * width), inputs.take_tokens(rows));
    let mut losses = vec![0.0; rows];
    let case = Case::new(&[1, rows * width], move |pool, outs| {
        outs[0][0] = cross_entropy(pool, &mut outs[1], &targets, &mut losses)?;
        Ok(())
    });
    case.starting(vec![(1, scores)])
}

/// In: images `[batch, height, width, channels]`, weight, gradient of the result. Out: the result, gradients of images and weight.
fn images(conv: Conv, inputs: &mut Inputs) -> Case {
    let image = conv.batch * conv.size[0] * conv.size[1] * conv.channels;
    let weights = conv.kernel[0] * conv.kernel[1] * conv.channels * conv.filters;
    let result = conv.batch * conv.out()[0] * conv.out()[1] * conv.filters;
    let [x, weight, grad] = [image, weights, result].map(|len| inputs.take(len));
    let mut scratch = ConvScratch::default();
    Case::new(&[result, image, weights], move |pool, outs| {
        let [out, grad_x, grad_weight] = outs else { unreachable!("three sizes") };
        conv.forward(pool, [&x, &weight], out, &mut scratch)?;
        conv.backward(pool, [&x, &weight, &grad], [grad_x, grad_weight], &mut scratch)
    })
}

/// In: parameters, both moments, gradient. Out: parameters and moments, which each call moves on. Clipped to a norm of one or not.
fn optimizer(len: usize, steps: usize, clipped: bool, inputs: &mut Inputs) -> Case {
    const SETTINGS: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
    let starts = [len; 3].map(|len| inputs.take(len));
    let (grads, mut step) = (inputs.take(len), steps as u64);
    let mut case = Case::new(&[len; 3], move |_, outs| {
        let [params, m, v] = outs else { unreachable!("three sizes") };
        step += 1;
        let scale = if clipped { (1.0 / global_norm(&grads)).min(1.0) } else { 1.0 };
        adamw(&SETTINGS, step, params, &grads, m, v, scale);
        Ok(())
    });
    case.outs = starts.into();
    case
}

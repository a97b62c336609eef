//! The CPU's side of the cases.

use murmur_kernels::exact::{self, Activation, Attention, Level, Matrix, Norm, Pool, Scratch, ShapeError, Start};
use murmur_kernels::{AdamW, Direction, TopK, Weight};

use super::bits;
use super::machine::{Machine, Out, Product, Tables};
use crate::GpuError;
use crate::kernels::Plan;

impl From<ShapeError> for GpuError {
    fn from(error: ShapeError) -> Self {
        Self::Shape { op: error.op, left: error.left, right: error.right }
    }
}

/// A factor `[rows, columns]` that may be stored transposed.
fn factor(values: &[f32], [rows, columns]: [usize; 2], transposed: bool) -> Result<Matrix<'_>, ShapeError> {
    if transposed { Ok(Matrix::new(values, columns, rows)?.transposed()) } else { Matrix::new(values, rows, columns) }
}

impl Machine for Pool {
    fn product(&self, job: Product<'_>) -> Out {
        let [batch, m, n, k] = job.sizes;
        let mut out = job.start.map_or_else(|| vec![0.0; batch * m * n], <[f32]>::to_vec);
        let start = if job.start.is_some() { Start::Current } else { Start::Zero };
        for i in 0..batch {
            let a = factor(&job.a[i * m * k..][..m * k], [m, k], job.transposed[0])?;
            let b = factor(&job.b[i * k * n..][..k * n], [k, n], job.transposed[1])?;
            exact::matmul(self, a, b, start, &mut out[i * m * n..][..m * n], &mut Scratch::default())?;
        }
        // A GPU does it by each of its plans.
        Ok(bits(&out).repeat(Plan::ALL.len()))
    }

    fn norm(&self, which: Norm, x: &[f32], gain: &[f32], bias: &[f32]) -> Out {
        let (mut out, mut moments) = (vec![0.0; x.len()], vec![0.0; x.len() / gain.len() * exact::MOMENTS]);
        exact::norm(self, which, x, [gain, bias], &mut out, &mut moments)?;
        Ok([bits(&out), bits(&moments)].concat())
    }

    fn norm_backward(&self, which: Norm, x: &[f32], gain: &[f32], bias: bool, grad: &[f32]) -> Out {
        let (d, rows) = (gain.len(), x.len() / gain.len());
        let (mut out, mut moments) = (vec![0.0; x.len()], vec![0.0; rows * exact::MOMENTS]);
        exact::norm(self, which, x, [gain, &[]], &mut out, &mut moments)?;
        let (mut grad_x, mut grad_gain) = (vec![1.0; x.len()], vec![0.0; d]);
        let mut grad_bias = vec![0.0; if bias { d } else { 0 }];
        let grads = exact::NormGrads { x: &mut grad_x, gain: &mut grad_gain, bias: &mut grad_bias };
        let mut scratch = vec![0.0; exact::norm_scratch(rows, d)];
        exact::norm_backward(self, which, [x, gain, &moments, grad], grads, &mut scratch)?;
        Ok([bits(&grad_x), bits(&grad_gain), bits(&grad_bias)].concat())
    }

    fn activate(&self, f: Activation, x: &[f32], grad: &[f32]) -> Out {
        let (mut out, mut grad) = (vec![0.0; x.len()], grad.to_vec());
        exact::activate(self, f, x, &mut out)?;
        exact::activate_backward(self, f, x, &mut grad)?;
        Ok([bits(&out), bits(&grad)].concat())
    }

    fn softmax(&self, scores: &[f32], width: usize) -> Out {
        let mut scores = scores.to_vec();
        exact::softmax(self, &mut scores, width)?;
        Ok(bits(&scores))
    }

    fn cross_entropy(&self, scores: &[f32], targets: &[u8]) -> Out {
        let mut scores = scores.to_vec();
        let loss = exact::cross_entropy(self, &mut scores, targets, &mut vec![0.0; targets.len()])?;
        Ok([bits(&[loss]), bits(&scores)].concat())
    }

    fn attention(&self, sizes: Attention, qkv: &[f32], grad: &[f32]) -> Out {
        let (mut mixed, mut grad_qkv) = (vec![0.0; grad.len()], vec![0.0; qkv.len()]);
        let mut scratch = exact::Buffer::default();
        sizes.forward(self, qkv, &mut mixed, &mut scratch)?;
        sizes.backward(self, [qkv, grad], &mut grad_qkv, &mut scratch)?;
        Ok([bits(&mixed), bits(&grad_qkv)].concat())
    }

    fn embed(&self, tables: Tables<'_>, grad: &[f32]) -> Out {
        let Tables { table, positions, tokens, seq } = tables;
        let mut out = vec![0.0; grad.len()];
        exact::embed(self, [table, positions], tokens, seq, &mut out)?;
        let (mut grad_table, mut grad_positions) = (vec![0.0; table.len()], vec![0.0; positions.len()]);
        exact::embed_backward(self, grad, tokens, seq, [&mut grad_table, &mut grad_positions])?;
        Ok([bits(&out), bits(&grad_table), bits(&grad_positions)].concat())
    }

    fn adamw(&self, h: &AdamW, start: [&[f32]; 3], grads: &[Vec<f32>], scale: f32) -> Out {
        let [mut p, mut m, mut v] = start.map(<[f32]>::to_vec);
        let fuses = self.level().name() != Level::UNFUSED.name();
        let adamw = if fuses { murmur_kernels::adamw } else { murmur_kernels::adamw_unfused };
        for (step, grads) in (1..).zip(grads) {
            adamw(h, step, &mut p, grads, &mut m, &mut v, scale);
        }
        Ok([bits(&p), bits(&m), bits(&v)].concat())
    }

    fn global_norm(&self, grads: &[f32]) -> Out {
        Ok(bits(&[murmur_kernels::global_norm(grads)]))
    }

    fn compress(&self, k: TopK, beta: f32, [start, end, residual]: [&[f32]; 3]) -> Out {
        let (mut residual, mut payload) = (residual.to_vec(), Vec::new());
        let norm = murmur_kernels::compress(k, beta, start, end, &mut residual, &mut payload);
        let norm = norm.expect("a case's vectors are finite");
        Ok([bits(&residual), payload.into_iter().map(u32::from).collect(), super::words(norm.0.cast_signed())].concat())
    }

    fn fold(&self, k: TopK, payload: &[u8], direction: Direction, state: &[i64]) -> Out {
        let mut state = state.to_vec();
        murmur_kernels::fold(k, payload, Weight::ONE, direction, &mut state).expect("a case's payload is sound");
        let mut parameters = vec![0.0; state.len()];
        murmur_kernels::to_f32(&state, &mut parameters);
        Ok([state.into_iter().flat_map(super::words).collect(), bits(&parameters)].concat())
    }
}

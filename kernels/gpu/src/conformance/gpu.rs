//! The GPU's side of the cases.

use murmur_kernels::exact::{Activation, Attention, MOMENTS, Norm};
use murmur_kernels::{AdamW, Direction, TopK, Weight};

use super::bits;
use super::machine::{Machine, Out, Product, Tables};
use crate::kernels::{self, CompressError, Factor, FoldError, Plan, Start};
use crate::{Buffer, Gpu, GpuError};

/// A factor `[batch, rows, columns]` that may be stored transposed.
fn factor(values: &Buffer, [batch, rows, columns]: [usize; 3], transposed: bool) -> Result<Factor<'_>, GpuError> {
    if transposed {
        Ok(Factor::new(values, batch, columns, rows)?.transposed())
    } else {
        Factor::new(values, batch, rows, columns)
    }
}

impl Gpu {
    fn bits(&self, buffers: &[&Buffer]) -> Out {
        let parts: Result<Vec<_>, GpuError> = buffers.iter().map(|buffer| self.read(buffer)).collect();
        Ok(bits(&parts?.concat()))
    }
}

impl Machine for Gpu {
    fn product(&self, job: Product<'_>) -> Out {
        let [batch, m, n, k] = job.sizes;
        let (a, b) = (self.upload(job.a), self.upload(job.b));
        let room = || job.start.map_or_else(|| self.room(batch * m * n), |start| self.upload(start));
        let start = if job.start.is_some() { Start::Current } else { Start::Zero };
        let (a, b) = (factor(&a, [batch, m, k], job.transposed[0])?, factor(&b, [batch, k, n], job.transposed[1])?);
        let outs = Plan::ALL.map(|plan| {
            let out = room();
            kernels::matmul_by(self, plan, a, b, start, &out).map(|()| out)
        });
        let outs = outs.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.bits(&outs.iter().collect::<Vec<_>>())
    }

    fn norm(&self, which: Norm, x: &[f32], gain: &[f32], bias: &[f32]) -> Out {
        let (rows, affine) = (x.len() / gain.len(), self.upload(&[gain, bias].concat()));
        let (out, moments) = (self.room(x.len()), self.room(rows * MOMENTS));
        kernels::norm(self, which, &self.upload(x), &affine, gain.len(), [&out, &moments])?;
        self.bits(&[&out, &moments])
    }

    fn norm_backward(&self, which: Norm, x: &[f32], gain: &[f32], bias: bool, grad: &[f32]) -> Out {
        let (d, rows) = (gain.len(), x.len() / gain.len());
        let (out, moments, affine) = (self.room(x.len()), self.room(rows * MOMENTS), self.room(2 * d));
        let grad_x = self.upload(&vec![1.0; x.len()]);
        let (x, gain, grad) = (self.upload(x), self.upload(gain), self.upload(grad));
        kernels::norm(self, which, &x, &gain, d, [&out, &moments])?;
        kernels::norm_backward(self, which, [&x, &gain, &moments, &grad], [&grad_x, &affine])?;
        let mut all = self.bits(&[&grad_x, &affine])?;
        if !bias {
            all.truncate(x.len() + d);
        }
        Ok(all)
    }

    fn activate(&self, f: Activation, x: &[f32], grad: &[f32]) -> Out {
        let (x, grad, out) = (self.upload(x), self.upload(grad), self.room(x.len()));
        kernels::activate(self, f, &x, &out)?;
        kernels::activate_backward(self, f, &x, &grad)?;
        self.bits(&[&out, &grad])
    }

    fn softmax(&self, scores: &[f32], width: usize) -> Out {
        let scores = self.upload(scores);
        kernels::softmax(self, &scores, width)?;
        self.bits(&[&scores])
    }

    fn cross_entropy(&self, scores: &[f32], targets: &[u8]) -> Out {
        let scores = self.upload(scores);
        let loss = kernels::cross_entropy(self, &scores, targets)?;
        Ok([bits(&[loss]), self.bits(&[&scores])?].concat())
    }

    fn attention(&self, sizes: Attention, qkv: &[f32], grad: &[f32]) -> Out {
        let (mixed, grad_qkv) = (self.room(grad.len()), self.room(qkv.len()));
        let (qkv, grad) = (self.upload(qkv), self.upload(grad));
        kernels::attention(self, sizes, &qkv, &mixed)?;
        kernels::attention_backward(self, sizes, [&qkv, &grad], &grad_qkv)?;
        self.bits(&[&mixed, &grad_qkv])
    }

    fn embed(&self, tables: Tables<'_>, grad: &[f32]) -> Out {
        let (table, positions) = (self.upload(tables.table), self.upload(tables.positions));
        let (out, grad) = (self.room(grad.len()), self.upload(grad));
        kernels::embed(self, [&table, &positions], tables.tokens, tables.seq, &out)?;
        let (grad_table, grad_positions) = (self.room(table.len()), self.room(positions.len()));
        kernels::embed_backward(self, &grad, tables.tokens, tables.seq, [&grad_table, &grad_positions])?;
        self.bits(&[&out, &grad_table, &grad_positions])
    }

    fn adamw(&self, h: &AdamW, start: [&[f32]; 3], grads: &[Vec<f32>], scale: f32) -> Out {
        let [p, m, v] = start.map(|values| self.upload(values));
        for (step, grads) in (1..).zip(grads) {
            kernels::adamw(self, h, step, [&p, &self.upload(grads), &m, &v], scale)?;
        }
        self.bits(&[&p, &m, &v])
    }

    fn global_norm(&self, grads: &[f32]) -> Out {
        Ok(bits(&[kernels::global_norm(self, &self.upload(grads))?]))
    }

    fn compress(&self, k: TopK, beta: f32, vectors: [&[f32]; 3]) -> Out {
        let [start, end, mut residual] = vectors.map(|values| self.upload(values));
        let mut payload = Vec::new();
        match kernels::compress(self, k, beta, [&start, &end], &mut residual, &mut payload) {
            Ok(norm) => {
                let bytes = payload.into_iter().map(u32::from).collect();
                Ok([self.bits(&[&residual])?, bytes, super::words(norm.0.cast_signed())].concat())
            }
            // A device whose arithmetic is wrong may end here; an empty result is not the CPU's.
            Err(CompressError::Codec(_)) => Ok(Vec::new()),
            Err(CompressError::Gpu(error)) => Err(error),
        }
    }

    fn fold(&self, k: TopK, payload: &[u8], direction: Direction, state: &[i64]) -> Out {
        let (device, parameters) = (kernels::upload_state(self, state), self.room(state.len()));
        match kernels::fold(self, k, payload, Weight::ONE, direction, &device) {
            Err(FoldError::Gpu(error)) => return Err(error),
            Err(FoldError::Codec(_)) => return Ok(Vec::new()),
            Ok(()) => kernels::to_f32(self, &device, &parameters)?,
        }
        Ok([self.words(&device)?, self.bits(&[&parameters])?].concat())
    }
}

//! The replica on burn's flex backend, which runs on any CPU.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Gpt, forward};
use crate::learn::model::{Architecture, Batch, Layout, ModelConfigError, Replica, ReplicaError, Token, fused};

/// A byte-level GPT computed by burn.
///
/// Its numeric profile is *class*: flex gives the same bits on one thread and on many, but picks its kernels by
/// the CPU's instruction set, so bits are promised only between equal [`class`](Replica::class) names.
#[derive(Debug)]
pub struct BurnReplica {
    config: Gpt,
    layout: Layout,
    device: Device,
}

impl BurnReplica {
    /// A replica of this shape on the flex device.
    ///
    /// # Errors
    /// An impossible shape.
    pub fn new(config: Gpt) -> Result<Self, ModelConfigError> {
        config.check()?;
        Ok(Self { config, layout: config.layout(), device: Device::flex() })
    }

    /// One leaf per tensor of the layout, flattened.
    fn leaves(&self, params: &[f32], device: &Device) -> Vec<Tensor<1>> {
        let leaf = |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
        self.layout.entries().iter().map(|entry| leaf(&params[entry.range()])).collect()
    }

    fn loss_of(&self, leaves: &[Tensor<1>], batch: &Batch, device: &Device) -> Tensor<1> {
        let shape = [batch.size, batch.context];
        let scores =
            forward::logits(&self.config, &self.layout, leaves, forward::token_tensor(&batch.inputs, shape, device));
        fused::cross_entropy(scores, batch.targets.clone())
    }

    fn check_params(&self, params: &[f32]) -> Result<(), ReplicaError> {
        self.check_length("params", params.len())
    }

    fn check_length(&self, what: &'static str, given: usize) -> Result<(), ReplicaError> {
        let expected = self.layout.params();
        if given == expected { Ok(()) } else { Err(ReplicaError::Length { what, given, expected }) }
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), ReplicaError> {
        let Batch { size, context, inputs, targets } = batch;
        let full = size * context;
        let fits = full > 0 && *context <= self.config.context && inputs.len() == full && targets.len() == full;
        let error = ReplicaError::Batch { size: *size, context: *context, limit: self.config.context };
        if fits { Ok(()) } else { Err(error) }
    }
}

impl Replica for BurnReplica {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn loss_and_grad(&mut self, params: &[f32], batch: &Batch, grad: &mut [f32]) -> Result<f32, ReplicaError> {
        self.check_params(params)?;
        self.check_length("grad", grad.len())?;
        self.check_batch(batch)?;
        let device = self.device.clone().autodiff();
        let leaves: Vec<_> = self.leaves(params, &device).into_iter().map(Tensor::require_grad).collect();
        let loss = self.loss_of(&leaves, batch, &device);
        let mut grads = loss.backward();
        for (entry, leaf) in self.layout.entries().iter().zip(&leaves) {
            let part =
                leaf.grad_remove(&mut grads).ok_or_else(|| backend(&format!("{} has no gradient", entry.name)))?;
            copy_out(part, &mut grad[entry.range()])?;
        }
        first(loss)
    }

    fn loss(&mut self, params: &[f32], batch: &Batch) -> Result<f32, ReplicaError> {
        self.check_params(params)?;
        self.check_batch(batch)?;
        first(self.loss_of(&self.leaves(params, &self.device), batch, &self.device))
    }

    fn logits(&mut self, params: &[f32], tokens: &[Token]) -> Result<Vec<f32>, ReplicaError> {
        self.check_params(params)?;
        let tail = &tokens[tokens.len().saturating_sub(self.config.context)..];
        let batch = ReplicaError::Batch { size: 1, context: tail.len(), limit: self.config.context };
        let last = tail.len().checked_sub(1).ok_or(batch)?;
        let leaves = self.leaves(params, &self.device);
        let tokens = forward::token_tensor(tail, [1, tail.len()], &self.device);
        let scores = forward::logits(&self.config, &self.layout, &leaves, tokens).narrow(1, last, 1);
        let vocab = self.config.vocabulary().size();
        let mut values = vec![0.0; vocab];
        copy_out(scores.reshape([vocab]), &mut values)?;
        Ok(values)
    }

    fn class(&self) -> String {
        let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
        format!("burn-flex/{version}/{os}/{arch}/{}", simd_level())
    }

    fn device(&self) -> String {
        "cpu, burn flex".to_owned()
    }
}

/// Bytes of the buffers of a step on `[sequences, positions]`: much the same as the exact replica's, and the shares of attention
/// whole: of every layer for the way back, and once more for their gradient.
pub fn burn_step_bytes(config: &Gpt, [sequences, positions]: [u64; 2]) -> u64 {
    let [layers, heads] = [config.layers, config.heads].map(|number| number as u64);
    let shares = sequences.saturating_mul(4 * positions * positions * heads * (layers + 1));
    config.exact_step_bytes([sequences, positions]).saturating_add(shares)
}

/// The widest instruction set that flex's matrix product may pick on this machine.
fn simd_level() -> &'static str {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "baseline"
}

fn backend(message: &str) -> ReplicaError {
    ReplicaError::Backend(message.to_owned())
}

fn first(tensor: Tensor<1>) -> Result<f32, ReplicaError> {
    let mut value = [0.0];
    copy_out(tensor, &mut value)?;
    Ok(value[0])
}

fn copy_out(tensor: Tensor<1>, into: &mut [f32]) -> Result<(), ReplicaError> {
    let data = tensor.try_into_data().map_err(|error| backend(&error.to_string()))?;
    let values = data.as_slice::<f32>().map_err(|error| backend(&format!("{error:?}")))?;
    into.copy_from_slice(values);
    Ok(())
}

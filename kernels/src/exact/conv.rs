//! Convolution in two dimensions (one, with a height of one), as a product with the patches of the image.
//!
//! Images are `[batch, height, width, channels]`, weights `[kernel height · kernel width · channels, filters]`. Each output is a
//! sum in ascending order of kernel row, kernel column and channel, in blocks of 256 as in any product; what lies outside takes part as
//! `+0`. The gradient of an image adds, for each value, the patches it is in, in ascending order of outputs.

use super::buffer::Buffer;
use super::matmul::{Matrix, Scratch, ShapeError, Start, matmul};
use super::pool::Pool;
use super::rows::GROUP;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Channels of an image.
    pub channels: usize,
    /// Channels of the result.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps between outputs, down and across.
    pub stride: [usize; 2],
    /// Zeros around the image, above and below, left and right.
    pub padding: [usize; 2],
}

/// Memory of a convolution; keep one and pass it to each call.
#[derive(Clone, Debug, Default)]
pub struct ConvScratch {
    patches: Buffer,
    product: Scratch,
}

impl Conv {
    /// Height and width of the result; zero where the kernel does not fit.
    pub fn out(&self) -> [usize; 2] {
        let along = |i: usize| {
            let room = (self.size[i] + 2 * self.padding[i]).checked_sub(self.kernel[i]);
            room.map_or(0, |room| room / self.stride[i].max(1) + 1)
        };
        [along(0), along(1)]
    }

    fn rows(&self) -> usize {
        self.batch * self.out()[0] * self.out()[1]
    }

    fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    fn check(&self, op: &'static str, x: usize, weight: usize, out: usize) -> Result<(), ShapeError> {
        let image = self.batch * self.size[0] * self.size[1] * self.channels;
        ShapeError::unless_equal(
            op,
            &[x, weight, out],
            &[image, self.depth() * self.filters, self.rows() * self.filters],
        )
    }

    /// `out = conv(x, weight)`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn forward(
        &self,
        pool: &Pool,
        [x, weight]: [&[f32]; 2],
        out: &mut [f32],
        scratch: &mut ConvScratch,
    ) -> Result<(), ShapeError> {
        self.check("conv", x.len(), weight.len(), out.len())?;
        self.gather(pool, x, &mut scratch.patches);
        let patches = Matrix::new(&scratch.patches, self.rows(), self.depth())?;
        let weight = Matrix::new(weight, self.depth(), self.filters)?;
        matmul(pool, patches, weight, Start::Zero, out, &mut scratch.product)
    }

    /// Gradients of image and weight, written over `grad_x` and `grad_weight`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn backward(
        &self,
        pool: &Pool,
        [x, weight, grad]: [&[f32]; 3],
        [grad_x, grad_weight]: [&mut [f32]; 2],
        scratch: &mut ConvScratch,
    ) -> Result<(), ShapeError> {
        self.check("conv_backward", x.len(), weight.len(), grad.len())?;
        self.check("conv_backward", grad_x.len(), grad_weight.len(), grad.len())?;
        let (rows, depth) = (self.rows(), self.depth());
        self.gather(pool, x, &mut scratch.patches);
        let ConvScratch { patches, product } = scratch;
        let grad = Matrix::new(grad, rows, self.filters)?;
        matmul(pool, Matrix::new(patches, rows, depth)?.transposed(), grad, Start::Zero, grad_weight, product)?;
        let weight = Matrix::new(weight, depth, self.filters)?;
        matmul(pool, grad, weight.transposed(), Start::Zero, patches, product)?;
        self.scatter(patches, grad_x);
        Ok(())
    }

    /// The patch of each output: `[rows, depth]`.
    fn gather(&self, pool: &Pool, x: &[f32], patches: &mut Buffer) {
        let (depth, channels) = (self.depth(), self.channels);
        let patches = patches.fit(self.rows() * depth);
        if patches.is_empty() {
            return;
        }
        pool.chunks(patches, GROUP * depth, |group, patches| {
            for (i, patch) in patches.chunks_exact_mut(depth).enumerate() {
                for (tap, place) in patch.chunks_exact_mut(channels).enumerate() {
                    match self.source(group * GROUP + i, tap) {
                        Some(at) => place.copy_from_slice(&x[at..at + channels]),
                        None => place.fill(0.0),
                    }
                }
            }
        });
    }

    /// Adds the patches back to where they came from.
    fn scatter(&self, patches: &[f32], x: &mut [f32]) {
        x.fill(0.0);
        if self.depth() == 0 {
            return;
        }
        for (row, patch) in patches.chunks_exact(self.depth()).enumerate() {
            for (tap, values) in patch.chunks_exact(self.channels).enumerate() {
                if let Some(at) = self.source(row, tap) {
                    x[at..at + self.channels].iter_mut().zip(values).for_each(|(x, value)| *x += value);
                }
            }
        }
    }

    /// Where in the images a tap of an output's patch is; nothing outside of them.
    fn source(&self, row: usize, tap: usize) -> Option<usize> {
        let [_, across] = self.out();
        let (image, place) = (row / (self.out()[0] * across), row % (self.out()[0] * across));
        let along = |i: usize, out: usize, tap: usize| {
            let at = (out * self.stride[i].max(1) + tap).checked_sub(self.padding[i])?;
            (at < self.size[i]).then_some(at)
        };
        let y = along(0, place / across, tap / self.kernel[1])?;
        let x = along(1, place % across, tap % self.kernel[1])?;
        Some(((image * self.size[0] + y) * self.size[1] + x) * self.channels)
    }
}

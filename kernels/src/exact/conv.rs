//! Convolution in two dimensions (one, with a height of one), as a product with the patches of the image.
//!
//! Images are `[batch, height, width, channels]`, weights `[kernel height · kernel width · channels, filters]`. Each output is a
//! sum in ascending order of kernel row, kernel column and channel, in blocks of 256 as in any product; what lies outside takes part as
//! `+0`. The gradient of an image adds, for each value, the patches it is in, in ascending order of outputs.

use core::ops::Range;

use super::buffer::Buffer;
use super::matmul::{DEPTH, Matrix, Scratch, ShapeError, Start, matmul};
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

/// Outputs whose patches are made at a time: few enough to stay in the second-level cache. A whole block of a sum over outputs.
const SLAB: usize = DEPTH;

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
        let ConvScratch { patches, product } = scratch;
        let weight = Matrix::new(weight, self.depth(), self.filters)?;
        for (slab, out) in self.slabs().zip(out.chunks_mut(SLAB * self.filters.max(1))) {
            let patches = self.gather(pool, &slab, x, patches);
            matmul(pool, Matrix::new(patches, slab.len(), self.depth())?, weight, Start::Zero, out, product)?;
        }
        Ok(())
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
        let depth = self.depth();
        let ConvScratch { patches, product } = scratch;
        let weight = Matrix::new(weight, depth, self.filters)?.transposed();
        grad_x.fill(0.0);
        grad_weight.fill(0.0);
        for (slab, grad) in self.slabs().zip(grad.chunks(SLAB * self.filters.max(1))) {
            let grad = Matrix::new(grad, slab.len(), self.filters)?;
            let patches = self.gather(pool, &slab, x, patches);
            let turned = Matrix::new(patches, slab.len(), depth)?.transposed();
            let start = if slab.start == 0 { Start::Zero } else { Start::Current };
            matmul(pool, turned, grad, start, grad_weight, product)?;
            matmul(pool, grad, weight, Start::Zero, patches, product)?;
            self.scatter(&slab, patches, grad_x);
        }
        Ok(())
    }

    /// The outputs, some at a time.
    fn slabs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows();
        (0..rows).step_by(SLAB).map(move |first| first..rows.min(first + SLAB))
    }

    /// The patch of each output of a slab: `[outputs, depth]`.
    fn gather<'a>(&self, pool: &Pool, slab: &Range<usize>, x: &[f32], patches: &'a mut Buffer) -> &'a mut [f32] {
        let depth = self.depth();
        let patches = patches.fit(slab.len() * depth);
        if depth > 0 {
            pool.chunks(patches, GROUP * depth, |group, patches| {
                for (i, patch) in patches.chunks_exact_mut(depth).enumerate() {
                    patch.fill(0.0);
                    for (part, at) in self.insides(slab.start + group * GROUP + i) {
                        let values = &x[at..at + part.len()];
                        patch[part].copy_from_slice(values);
                    }
                }
            });
        }
        patches
    }

    /// Adds the patches of a slab back to where they came from.
    fn scatter(&self, slab: &Range<usize>, patches: &[f32], x: &mut [f32]) {
        for (row, patch) in slab.clone().zip(patches.chunks_exact(self.depth().max(1))) {
            for (part, at) in self.insides(row) {
                let places = &mut x[at..at + part.len()];
                places.iter_mut().zip(&patch[part]).for_each(|(x, value)| *x += value);
            }
        }
    }

    /// For each row of the kernel that an output sees: the numbers of its patch that lie inside the image, and where in the images
    /// they are.
    fn insides(&self, output: usize) -> impl Iterator<Item = (Range<usize>, usize)> + use<> {
        let Self { size, channels, kernel, padding, .. } = *self;
        let [high, wide] = self.out();
        let (image, place) = (output / (high * wide), output % (high * wide));
        let first = [place / wide * self.stride[0].max(1), place % wide * self.stride[1].max(1)];
        let inside = |i: usize| {
            let taps = [padding[i], padding[i] + size[i]].map(|edge| edge.saturating_sub(first[i]).min(kernel[i]));
            taps[0]..taps[1]
        };
        let across = inside(1);
        let down = if across.is_empty() { 0..0 } else { inside(0) };
        down.map(move |tap| {
            let (y, x) = (first[0] + tap - padding[0], first[1] + across.start - padding[1]);
            let from = (tap * kernel[1] + across.start) * channels;
            (from..from + across.len() * channels, ((image * size[0] + y) * size[1] + x) * channels)
        })
    }
}

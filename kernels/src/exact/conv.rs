//! Convolution in two dimensions (one, with a height of one), as a product with the patches of the image.
//!
//! Images are `[batch, height, width, channels]`, weights `[kernel height · kernel width · channels, filters]`. Each output is a
//! sum in ascending order of kernel row, kernel column and channel, in blocks of 256 as in any product; what lies outside takes part as
//! `+0`. The gradient of an image adds, for each value, the patches it is in, in ascending order of outputs.

use core::cell::RefCell;
use core::ops::Range;

use super::buffer::Buffer;
use super::matmul::{DEPTH, Matrix, Scratch, ShapeError};
use super::pool::Pool;

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

/// Patches that one thread makes at a time, or half the columns of them: few enough that the product finds them in the second-level
/// cache.
const SOME: usize = 96;

thread_local! {
    /// The patches that this thread works on.
    static PATCHES: RefCell<Buffer> = RefCell::default();
}

/// Memory of a convolution; keep one and pass it to each call.
#[derive(Clone, Debug, Default)]
pub struct ConvScratch {
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
        let depth = self.depth();
        if depth == 0 {
            out.fill(0.0);
            return Ok(());
        }
        let weight = scratch.product.factor(pool, Matrix::new(weight, depth, self.filters)?);
        pool.chunks(out, SOME * self.filters, |task, out| {
            let rows = out.len() / self.filters;
            PATCHES.with_borrow_mut(|room| {
                let patches = room.fit(rows * depth);
                self.gather(task * SOME, 0..depth, x, patches);
                weight.multiply(pool.level(), matrix(patches, [rows, depth]), out, true);
            });
        });
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
        self.backward_image(pool, [weight, grad], grad_x, &mut scratch.product)?;
        self.backward_weight(pool, [x, grad], grad_weight, &mut scratch.product)
    }

    /// An image is one task: within it the patches are added in ascending order.
    fn backward_image(
        &self,
        pool: &Pool,
        [weight, grad]: [&[f32]; 2],
        grad_x: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError> {
        let ([high, wide], depth, filters) = (self.out(), self.depth(), self.filters);
        let (outs, image) = (high * wide, self.size[0] * self.size[1] * self.channels);
        let weight = scratch.factor(pool, Matrix::new(weight, depth, filters)?.transposed());
        pool.chunks(grad_x, image, |index, grad_x| {
            grad_x.fill(0.0);
            let grad = &grad[index * outs * filters..][..outs * filters];
            for (some, grad) in grad.chunks(SOME * filters.max(1)).enumerate() {
                let rows = grad.len() / filters;
                PATCHES.with_borrow_mut(|room| {
                    let patches = room.fit(rows * depth);
                    weight.multiply(pool.level(), matrix(grad, [rows, filters]), patches, true);
                    self.scatter(index * outs + some * SOME, patches, index * image, grad_x);
                });
            }
        });
        Ok(())
    }

    /// Some columns of the patches are one task, over all outputs.
    fn backward_weight(
        &self,
        pool: &Pool,
        [x, grad]: [&[f32]; 2],
        grad_weight: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), ShapeError> {
        let (rows, depth, filters) = (self.rows(), self.depth(), self.filters);
        if rows == 0 {
            grad_weight.fill(0.0);
            return Ok(());
        }
        let grad = scratch.factor(pool, Matrix::new(grad, rows, filters)?);
        let some = depth.div_ceil(pool.threads() * depth.div_ceil(2 * SOME * pool.threads()).max(1));
        pool.chunks(grad_weight, some * filters, |task, out| {
            let columns = task * some..task * some + out.len() / filters;
            for first in (0..rows).step_by(DEPTH) {
                let shape = [DEPTH.min(rows - first), columns.len()];
                PATCHES.with_borrow_mut(|room| {
                    let patches = room.fit(shape[0] * shape[1]);
                    self.gather(first, columns.clone(), x, patches);
                    grad.from(first).multiply(pool.level(), matrix(patches, shape).transposed(), out, first == 0);
                });
            }
        });
        Ok(())
    }

    /// Some columns of the patches of the outputs from `first` on: `[outputs, columns]`.
    fn gather(&self, first: usize, columns: Range<usize>, x: &[f32], patches: &mut [f32]) {
        for (output, patch) in (first..).zip(patches.chunks_exact_mut(columns.len().max(1))) {
            let mut done = 0;
            for (part, at) in self.insides(output) {
                let inside = part.start.max(columns.start)..part.end.min(columns.end);
                if inside.is_empty() {
                    continue;
                }
                let place = inside.start - columns.start..inside.end - columns.start;
                patch[done..place.start].fill(0.0);
                patch[place.clone()].copy_from_slice(&x[at + inside.start - part.start..][..inside.len()]);
                done = place.end;
            }
            patch[done..].fill(0.0);
        }
    }

    /// Adds the patches of the outputs from `first` on back to where they came from; `x` begins at so many numbers of the images.
    fn scatter(&self, first: usize, patches: &[f32], begin: usize, x: &mut [f32]) {
        for (output, patch) in (first..).zip(patches.chunks_exact(self.depth().max(1))) {
            for (part, at) in self.insides(output) {
                let places = &mut x[at - begin..][..part.len()];
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

fn matrix(values: &[f32], [rows, columns]: [usize; 2]) -> Matrix<'_> {
    Matrix::new(values, rows, columns).expect("as many numbers as the caller has just asked for")
}

//! The inner optimizer of hidden matrices: Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made
//! orthogonal.
//!
//! A step moves a matrix along the orthogonal matrix nearest to its Nesterov momentum `U`, so that all directions that the
//! gradient shows learn equally fast. That matrix is `U·(UᵀU)^(−1/2)`, approximated by odd polynomials of low degree, one
//! after the other ([`POLYNOMIALS`]), which take singular values from two thousandths on to between 0.67 and 1.15.
//!
//! Departures from the common implementations:
//! - The polynomials are applied to the Gram matrix `G = X·Xᵀ` (of the shorter side), whose powers are all symmetric and
//!   commute, and `X` is multiplied once at the end. A symmetric product takes half the work.
//! - Three polynomials of degree nine instead of five of degree five: twelve symmetric products instead of seventeen, and as far a reach.

mod lines;
mod orthogonal;

pub use orthogonal::POLYNOMIALS;

use super::matmul::ShapeError;
use super::pool::Pool;
use super::simd::{Kernel, LANES, Level, Simd};
use orthogonal::Workspace;

/// Numbers that are asked for ahead: gradients, momentum and parameters come from afar, and the machine guesses no further than a page.
const AHEAD: usize = 1024;

/// The settings of one step of [`Muon`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonStep {
    /// How far the step goes: the length of each of the orthogonal matrix's rows or columns, before the scale by shape. Unit of the parameters.
    pub lr: f32,
    /// Decay of the momentum, 0 ≤ μ < 1; 0.95 is usual.
    pub momentum: f32,
    /// Share of each parameter that decays in this step: the learning rate that decay follows × the weight decay.
    pub decay: f32,
    /// Multiplies the gradient first (1.0: no clipping).
    pub scale: f32,
}

/// A matrix that takes a step. Each slice is `[rows, columns]`.
#[derive(Debug)]
pub struct MuonMatrix<'a> {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its parameters.
    pub params: &'a mut [f32],
    /// Their momentum.
    pub momentum: &'a mut [f32],
    /// Their gradient.
    pub grads: &'a [f32],
}

impl MuonMatrix<'_> {
    fn check(&self) -> Result<(), ShapeError> {
        let lens = [self.params.len(), self.momentum.len(), self.grads.len()];
        lens.into_iter().try_for_each(|len| ShapeError::unless_filled("muon", len, self.shape))
    }
}

/// Memory of the optimizer: make one and use it for every step.
#[derive(Clone, Debug, Default)]
pub struct Muon {
    /// One for each thread.
    workspaces: Vec<Workspace>,
}

impl Muon {
    /// Bytes of memory that steps take on each thread that works on a matrix of these sides.
    pub fn bytes(shape: [usize; 2]) -> usize {
        Workspace::bytes(shape)
    }

    /// One optimizer step of each matrix, in place. Threads take whole matrices.
    ///
    /// With `g = scale · grads`: `m ← fma(μ, m, g)`, `u = fma(μ, m, g)`, `o` its orthogonal matrix, and
    /// `params ← fma(−lr · √(long / short), o, params · (1 − decay))`, where long and short are the sides of the matrix: a step
    /// moves outputs by about as much whatever the shape.
    ///
    /// # Errors
    /// The shape of a matrix does not fit. Nothing has been changed then.
    pub fn step(
        &mut self,
        pool: &Pool,
        settings: &MuonStep,
        matrices: &mut [MuonMatrix<'_>],
    ) -> Result<(), ShapeError> {
        matrices.iter().try_for_each(MuonMatrix::check)?;
        self.workspaces.resize_with(pool.threads().max(self.workspaces.len()), Workspace::default);
        pool.share(&mut self.workspaces, matrices, |workspace, matrix| {
            let done = step(workspace, pool.level(), settings, matrix);
            done.expect("the shapes have been checked");
        });
        Ok(())
    }
}

fn step(
    workspace: &mut Workspace,
    level: Level,
    settings: &MuonStep,
    matrix: &mut MuonMatrix<'_>,
) -> Result<(), ShapeError> {
    let MuonStep { lr, momentum: mu, decay, scale } = *settings;
    let MuonMatrix { shape, params, momentum, grads } = matrix;
    if grads.is_empty() {
        return Ok(());
    }
    let direction = workspace.matrix.fit(grads.len());
    level.run(Nesterov { mu, scale, grads, momentum, direction });
    let [short, long] = [shape[0].min(shape[1]), shape[0].max(shape[1])];
    let (rate, keep) = (lr * ((long as f64 / short as f64).sqrt() as f32), 1.0 - decay);
    workspace.orthogonalize(level, *shape, params, |orthogonal, params| {
        level.run(Move { rate, keep, orthogonal, params });
    })
}

/// Momentum and direction of some parameters.
struct Nesterov<'a> {
    mu: f32,
    scale: f32,
    grads: &'a [f32],
    momentum: &'a mut [f32],
    direction: &'a mut [f32],
}

impl Kernel for Nesterov<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mu, scale) = (s.splat(self.mu), s.splat(self.scale));
        let places = self.momentum.chunks_mut(LANES).zip(self.direction.chunks_mut(LANES));
        for ((momentum, direction), grads) in places.zip(self.grads.chunks(LANES)) {
            s.prefetch_read(grads.as_ptr().wrapping_add(AHEAD));
            s.prefetch_read(momentum.as_ptr().wrapping_add(AHEAD));
            let gradient = s.mul(s.get(&grads[..momentum.len()]), scale);
            let next = s.fma(mu, s.get(momentum), gradient);
            s.put(next, momentum);
            s.put(s.fma(mu, next, gradient), direction);
        }
    }
}

/// The step of some parameters.
struct Move<'a> {
    rate: f32,
    keep: f32,
    orthogonal: &'a [f32],
    params: &'a mut [f32],
}

impl Kernel for Move<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rate, keep) = (s.splat(-self.rate), s.splat(self.keep));
        for (params, orthogonal) in self.params.chunks_mut(LANES).zip(self.orthogonal.chunks(LANES)) {
            s.prefetch_read(params.as_ptr().wrapping_add(AHEAD));
            let kept = s.mul(s.get(params), keep);
            s.put(s.fma(rate, s.get(&orthogonal[..params.len()]), kept), params);
        }
    }
}

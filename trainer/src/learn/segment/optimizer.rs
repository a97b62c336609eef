//! The inner optimizer: which of its rules moves which parameters.

use core::ops::Range;

use murmur_kernels::exact::{Muon, MuonMatrix, MuonStep, Pool};
use murmur_kernels::{self as kernels, AdamW, Carry, CarryShape, adamw};

use crate::learn::model::Layout;

/// How far the optimizer goes in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// AdamW, for all parameters or for those outside hidden matrices. Decay of hidden matrices follows its learning rate
    /// under Muon, too.
    pub adamw: AdamW,
    /// Learning rate of Muon, for hidden matrices.
    pub muon_lr: f32,
    /// Decay of Muon's momentum.
    pub muon_momentum: f32,
}

impl Rates {
    /// With both learning rates scaled.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        let adamw = AdamW { lr: self.adamw.lr * factor, ..self.adamw };
        Self { adamw, muon_lr: self.muon_lr * factor, ..self }
    }
}

/// The optimizer of a run, for one model. What it remembers between steps is in the [`Carry`].
pub struct Optimizer {
    parts: Vec<Part>,
    shape: CarryShape,
    muon: Muon,
    pool: Pool,
}

/// Parameters that one rule moves.
#[derive(Debug, PartialEq)]
enum Part {
    /// AdamW; `second` are the places of their second moments in the carry.
    AdamW { params: Range<usize>, second: Range<usize>, decays: bool },
    /// Muon, one matrix.
    Muon { params: Range<usize>, shape: [usize; 2] },
}

impl Optimizer {
    /// The optimizer called `which` for a model of this layout; `pool` is what Muon computes with.
    pub fn new(which: kernels::Optimizer, layout: &Layout, pool: Pool) -> Self {
        let (parts, second_moments) = parts(which, layout);
        let shape = CarryShape { optimizer: which, params: layout.params(), second_moments };
        Self { parts, shape, muon: Muon::default(), pool }
    }

    /// Shape of the carries it works on.
    pub fn carry_shape(&self) -> CarryShape {
        self.shape
    }

    /// One step, in place. `scale` multiplies the gradient first.
    ///
    /// # Shapes
    /// `params`, `grad`: `[params]`; `carry` of [`Self::carry_shape`].
    ///
    /// # Panics
    /// If a length differs: a bug of the caller.
    pub fn step(&mut self, rates: &Rates, carry: &mut Carry, params: &mut [f32], grad: &[f32], scale: f32) {
        let Self { parts, shape, muon, pool } = self;
        assert_eq!(carry.shape(), *shape, "a carry of this optimizer and model");
        carry.steps += 1;
        let Carry { steps, m, v, .. } = carry;
        let Rates { adamw: rule, muon_lr: lr, muon_momentum: mu } = *rates;
        let mut matrices = Vec::new();
        let (mut params, mut momenta) = (params, &mut m[..]);
        for part in &*parts {
            let range = part.params();
            let (own, behind) = params.split_at_mut(range.len());
            let (momentum, momenta_behind) = momenta.split_at_mut(range.len());
            (params, momenta) = (behind, momenta_behind);
            let grads = &grad[range.clone()];
            match part {
                Part::AdamW { second, decays, .. } => {
                    let rule = AdamW { weight_decay: if *decays { rule.weight_decay } else { 0.0 }, ..rule };
                    adamw(&rule, *steps, own, grads, momentum, &mut v[second.clone()], scale);
                }
                Part::Muon { shape, .. } => matrices.push(MuonMatrix { shape: *shape, params: own, momentum, grads }),
            }
        }
        let settings = MuonStep { lr, momentum: mu, decay: rule.lr * rule.weight_decay, scale };
        let fits = "a matrix of the layout has the lengths that its shape says";
        muon.step(pool, &settings, &mut matrices).expect(fits);
    }
}

impl Part {
    fn params(&self) -> &Range<usize> {
        match self {
            Self::AdamW { params, .. } | Self::Muon { params, .. } => params,
        }
    }
}

/// Shape of the carries of the optimizer `which` for a model of this layout.
pub fn carry_shape(which: kernels::Optimizer, layout: &Layout) -> CarryShape {
    CarryShape { optimizer: which, params: layout.params(), second_moments: parts(which, layout).1 }
}

/// All parameters in order, neighbours under one rule together; and how many have a second moment.
fn parts(which: kernels::Optimizer, layout: &Layout) -> (Vec<Part>, usize) {
    let (mut parts, mut second_moments) = (Vec::new(), 0);
    for entry in layout.entries() {
        let (range, with_muon) = (entry.range(), which == kernels::Optimizer::Muon);
        if let [rows, columns] = entry.shape[..]
            && with_muon
            && entry.role.is_hidden_matrix()
        {
            parts.push(Part::Muon { params: range, shape: [rows, columns] });
            continue;
        }
        // Under Muon nothing else decays: what is left are tables of tokens and positions, the head, gains and biases.
        let decay = entry.role.decays() && !with_muon;
        let end = second_moments + range.len();
        match parts.last_mut() {
            Some(Part::AdamW { params, second, decays }) if *decays == decay => {
                (params.end, second.end) = (range.end, end);
            }
            Some(_) | None => parts.push(Part::AdamW { params: range, second: second_moments..end, decays: decay }),
        }
        second_moments = end;
    }
    (parts, second_moments)
}

#[cfg(test)]
mod tests {
    use murmur_kernels::Optimizer::{AdamW as ByAdamW, Muon as ByMuon};

    use super::*;
    use crate::learn::model::{Architecture, gpt::Gpt};

    #[test]
    fn every_parameter_is_in_one_part_and_every_second_moment_too() {
        let layout = Gpt::tiny().layout();
        for which in kernels::Optimizer::ALL {
            let (parts, second_moments) = parts(which, &layout);
            let seconds = parts.iter().filter_map(|part| match part {
                Part::AdamW { params, second, .. } => Some((params.len(), second.clone())),
                Part::Muon { .. } => None,
            });
            let last = seconds.fold(0, |end, (params, second)| {
                assert_eq!((second.start, second.len()), (end, params));
                second.end
            });
            assert_eq!(last, second_moments);
            let end = parts.iter().map(Part::params).fold(0, |end, range| {
                assert_eq!(range.start, end);
                range.end
            });
            assert_eq!(end, layout.params());
        }
    }

    #[test]
    fn muon_moves_hidden_matrices_and_they_have_no_second_moment() {
        let layout = Gpt::tiny().layout();
        let (by_muon, second_moments) = parts(ByMuon, &layout);
        let shapes: Vec<_> = by_muon
            .iter()
            .filter_map(|part| match part {
                Part::Muon { shape, .. } => Some(*shape),
                Part::AdamW { .. } => None,
            })
            .collect();
        assert_eq!(shapes, [[8, 24], [8, 8], [8, 32], [32, 8]], "the four of the one block, and not the head");
        assert_eq!(second_moments, layout.params() - (8 * 24 + 8 * 8 + 2 * 8 * 32));
        assert_eq!(carry_shape(ByAdamW, &layout), CarryShape::adamw(layout.params()));
    }
}

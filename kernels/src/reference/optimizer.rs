//! The optimizer step and the norm, by the definition.

use crate::AdamW;
use crate::adamw::power;
use crate::exact::{MuonStep, POLYNOMIALS};

/// The twin of [`crate::adamw`], one named quantity a line.
pub fn adamw(h: &AdamW, step: u64, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], scale: f32) {
    for i in 0..params.len() {
        let gradient = grads[i] * scale;
        m[i] = between(h.beta1, m[i], gradient);
        v[i] = between(h.beta2, v[i], gradient * gradient);
        let first = m[i] * (1.0 / (1.0 - power(h.beta1, step))) as f32;
        let second = v[i] * (1.0 / (1.0 - power(h.beta2, step))) as f32;
        let decayed = params[i] * (1.0 - f64::from(h.lr) * f64::from(h.weight_decay)) as f32;
        params[i] = decayed - h.lr * (first / (second.sqrt() + h.epsilon));
    }
}

/// `beta · old + (1 − beta) · new`, by one fused step from the number that counts more.
fn between(beta: f64, old: f32, new: f32) -> f32 {
    if beta < 0.5 { (beta as f32).mul_add(old - new, new) } else { ((1.0 - beta) as f32).mul_add(new - old, old) }
}

/// The twin of [`crate::global_norm`]: sixteen sums of every sixteenth square, then a tree.
pub fn global_norm(grads: &[f32]) -> f32 {
    let every_sixteenth = |lane| grads.iter().skip(lane).step_by(16).map(|&g| f64::from(g));
    let mut sums: Vec<f64> = (0..16).map(|lane| every_sixteenth(lane).fold(0.0, |sum, g| sum + g * g)).collect();
    while sums.len() > 1 {
        let (low, high) = sums.split_at(sums.len() / 2);
        sums = low.iter().zip(high).map(|(a, b)| a + b).collect();
    }
    sums[0].sqrt() as f32
}

/// The twin of [`crate::exact::Muon::step`], with whole products.
///
/// # Panics
/// If a slice is shorter than `rows · columns`.
pub fn muon(h: &MuonStep, [rows, columns]: [usize; 2], params: &mut [f32], momentum: &mut [f32], grads: &[f32]) {
    let gradient: Vec<f32> = grads.iter().map(|g| g * h.scale).collect();
    momentum.iter_mut().zip(&gradient).for_each(|(m, &g)| *m = h.momentum.mul_add(*m, g));
    let nesterov: Vec<f32> = momentum.iter().zip(&gradient).map(|(&m, &g)| h.momentum.mul_add(m, g)).collect();
    let inverse = 1.0 / (global_norm(&nesterov) + 1e-12);
    let x = Dense { side: [rows, columns], values: nesterov.iter().map(|u| u * inverse).collect() };
    let short = if rows <= columns { x.clone() } else { x.turned() };
    let orthogonal = inverse_root(&short.times(&short.turned()).symmetric()).times(&short);
    let orthogonal = if rows <= columns { orthogonal } else { orthogonal.turned() };
    let rate = h.lr * ((rows.max(columns) as f64 / rows.min(columns) as f64).sqrt() as f32);
    for (p, o) in params.iter_mut().zip(orthogonal.values) {
        *p = (-rate).mul_add(o, *p * (1.0 - h.decay));
    }
}

/// The product of the polynomials, each of the Gram matrix of what the ones before it left.
fn inverse_root(gram: &Dense) -> Dense {
    let mut gram = gram.clone();
    let mut product: Option<Dense> = None;
    for [a, b, c, d, e] in POLYNOMIALS {
        let squared = gram.times(&gram).symmetric();
        let high = squared.combined([e, d], &gram, c);
        let polynomial = squared.times(&high).symmetric().combined([1.0, b], &gram, a);
        gram = polynomial.times(&polynomial.times(&gram).symmetric()).symmetric();
        product = Some(product.map_or(polynomial.clone(), |before| polynomial.times(&before).symmetric()));
    }
    product.expect("there are polynomials")
}

/// A matrix of `side[0]` rows and `side[1]` columns.
#[derive(Clone)]
struct Dense {
    side: [usize; 2],
    values: Vec<f32>,
}

impl Dense {
    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.side[1] + column]
    }

    fn made([rows, columns]: [usize; 2], of: impl Fn(usize, usize) -> f32) -> Self {
        let values = (0..rows * columns).map(|place| of(place / columns, place % columns)).collect();
        Self { side: [rows, columns], values }
    }

    fn turned(&self) -> Self {
        Self::made([self.side[1], self.side[0]], |row, column| self.at(column, row))
    }

    /// `fma(x, self, y · other)`, and a number more on the diagonal.
    fn combined(&self, [x, y]: [f32; 2], other: &Self, diagonal: f32) -> Self {
        Self::made(self.side, |row, column| {
            let sum = x.mul_add(self.at(row, column), y * other.at(row, column));
            if row == column { sum + diagonal } else { sum }
        })
    }

    /// The lower triangle on both sides.
    fn symmetric(&self) -> Self {
        Self::made(self.side, |row, column| self.at(row.max(column), row.min(column)))
    }

    /// Each block of 256 steps is summed from zero; the blocks are added.
    fn times(&self, other: &Self) -> Self {
        let depth = self.side[1];
        let block = |row, column, from: usize| {
            let steps = from..depth.min(from + 256);
            steps.fold(0.0f32, |sum, step| self.at(row, step).mul_add(other.at(step, column), sum))
        };
        Self::made([self.side[0], other.side[1]], |row, column| {
            let blocks = (0..depth).step_by(256).map(|from| block(row, column, from));
            blocks.reduce(|total, sum| total + sum).unwrap_or(0.0)
        })
    }
}

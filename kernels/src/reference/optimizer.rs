//! The optimizer step and the norm, by the definition.

use crate::AdamW;
use crate::adamw::power;

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

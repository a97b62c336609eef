//! The model computes what it should, the same every time.
#![allow(clippy::unwrap_used)]

use super::{BurnReplica, Gpt};
use crate::learn::model::{Architecture, Batch, Replica, ReplicaError, Token};

const CONFIG: Gpt = Gpt { layers: 2, heads: 2, d_model: 8, context: 16 };

fn batch(step: usize) -> Batch {
    let byte = |i: usize| (i * i + 7 * i + step) as u8 % 32 + 96;
    let (size, context) = (4, 16);
    Batch::in_a_row(size, context, &(0..=size * context).map(byte).collect::<Vec<u8>>())
}

fn setting() -> (BurnReplica, Vec<f32>, Vec<f32>) {
    let params = CONFIG.initial_params(&[0; 32]);
    let grad = vec![0.0; params.len()];
    (BurnReplica::new(CONFIG).unwrap(), params, grad)
}

/// Ten steps of plain gradient descent.
fn ten_losses() -> Vec<f32> {
    let (mut replica, mut params, mut grad) = setting();
    let step = |step| {
        let loss = replica.loss_and_grad(&params, &batch(step), &mut grad).unwrap();
        params.iter_mut().zip(&grad).for_each(|(param, grad)| *param -= 0.1 * grad);
        loss
    };
    (0..10).map(step).collect()
}

/// Pinned on an AVX-512 machine. Another numeric class may differ in the last bits, never by more than rounding.
const PINNED: [f32; 10] =
    [5.942085, 5.8132997, 5.9355583, 5.7631493, 5.765528, 5.539871, 5.6431694, 5.430648, 5.592848, 5.4228554];

#[test]
fn ten_losses_are_pinned() {
    let losses = ten_losses();
    let close = losses.iter().zip(PINNED).all(|(loss, pinned)| (loss - pinned).abs() < 1e-4);
    assert!(close, "{losses:?}");
}

#[test]
fn the_same_losses_come_out_bit_for_bit() {
    let bits = || ten_losses().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(), bits());
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    // Large enough that burn splits its matrix products.
    let config = Gpt { layers: 1, heads: 4, d_model: 128, context: 64 };
    let params = config.initial_params(&[0; 32]);
    let inputs: Vec<Token> = (0..512).map(|i| Token(i * 31 % 97)).collect();
    let targets = inputs.iter().map(|token| Token(token.0 + 1)).collect();
    let batch = Batch { size: 8, context: 64, inputs, targets };
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut grad = vec![0.0; params.len()];
        let loss =
            pool.install(|| BurnReplica::new(config).unwrap().loss_and_grad(&params, &batch, &mut grad)).unwrap();
        (loss.to_bits(), grad.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    assert!(bits(1) == bits(2) && bits(1) == bits(3));
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let (mut replica, mut params, mut grad) = setting();
    replica.loss_and_grad(&params, &batch(0), &mut grad).unwrap();
    for entry in replica.layout().entries().to_vec() {
        // A step along the tensor's own gradient, which changes the loss by far more than rounding does.
        let slope = grad[entry.range()].iter().map(|g| g * g).sum::<f32>().sqrt();
        let mut loss_at = |distance: f32| {
            let moved = |params: &mut [f32], by: f32| {
                params.iter_mut().zip(&grad[entry.range()]).for_each(|(param, g)| *param += by * g / slope);
            };
            moved(&mut params[entry.range()], distance);
            let loss = replica.loss(&params, &batch(0)).unwrap();
            moved(&mut params[entry.range()], -distance);
            loss
        };
        let distance = (2e-3 / slope).min(1e-2);
        let measured = (loss_at(distance) - loss_at(-distance)) / (2.0 * distance);
        let tolerance = 0.01 * slope + 2e-4;
        assert!((measured - slope).abs() < tolerance, "{}: {measured} against {slope}", entry.name);
    }
}

#[test]
fn loss_alone_agrees_with_loss_and_gradient() {
    let (mut replica, params, mut grad) = setting();
    let with_grad = replica.loss_and_grad(&params, &batch(0), &mut grad).unwrap();
    let alone = replica.loss(&params, &batch(0)).unwrap();
    assert!((with_grad - alone).abs() < 1e-5, "{with_grad} against {alone}");
}

#[test]
fn the_logits_give_the_loss() {
    let (mut replica, params, _) = setting();
    let scores = replica.logits(&params, &batch(0).inputs[..16]).unwrap();
    let one = |target: u32| {
        let (inputs, targets) = (batch(0).inputs[..16].to_vec(), vec![Token(target); 16]);
        Batch { size: 1, context: 16, inputs, targets }
    };
    // Changing only the last target changes the loss by the difference of two scores over the context.
    let mut other = one(100);
    *other.targets.last_mut().unwrap() = Token(101);
    let difference = replica.loss(&params, &other).unwrap() - replica.loss(&params, &one(100)).unwrap();
    assert!((16.0 * difference - (scores[100] - scores[101])).abs() < 1e-3);
}

#[test]
fn a_position_sees_only_its_past() {
    let (mut replica, params, _) = setting();
    // How much better 10 than 20 does as the second byte, whatever follows it.
    let mut preference = |tail: u32| {
        let mut loss = |target: u32| {
            let mut inputs = vec![Token(tail); 16];
            inputs[..2].copy_from_slice(&[Token(65), Token(66)]);
            let mut targets = vec![Token(0); 16];
            targets[1] = Token(target);
            replica.loss(&params, &Batch { size: 1, context: 16, inputs, targets }).unwrap()
        };
        16.0 * (loss(10) - loss(20))
    };
    let preferences = [1, 2].map(&mut preference);
    assert!(preferences[0].abs() > 0.01, "{preferences:?}");
    assert!((preferences[0] - preferences[1]).abs() < 1e-4, "{preferences:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (mut replica, params, mut grad) = setting();
    let short = replica.loss_and_grad(&params[1..], &batch(0), &mut grad);
    assert!(matches!(short, Err(ReplicaError::Length { what: "params", .. })));
    let short = replica.loss_and_grad(&params, &batch(0), &mut grad[1..]);
    assert!(matches!(short, Err(ReplicaError::Length { what: "grad", .. })));
    let ragged = replica.loss(&params, &Batch { size: 5, ..batch(0) });
    assert!(matches!(ragged, Err(ReplicaError::Batch { size: 5, .. })));
    assert!(matches!(replica.logits(&params, &[]), Err(ReplicaError::Batch { .. })));
}

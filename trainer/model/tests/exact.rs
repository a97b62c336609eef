//! The exact replica computes the model, and the same bits every time, everywhere.
#![allow(clippy::unwrap_used)]

mod reference;

use murmur_kernels::exact::{Level, Pool};
use murmur_model::gpt::{ExactReplica, Gpt};
use murmur_model::{Architecture, Batch, Replica, ReplicaError, Token};

const CONFIG: Gpt = Gpt { layers: 2, heads: 2, d_model: 8, context: 16 };

fn batch(step: usize) -> Batch {
    let byte = |i: usize| (i * i + 7 * i + step) as u8 % 32 + 96;
    let (size, context) = (4, 16);
    Batch::in_a_row(size, context, &(0..=size * context).map(byte).collect::<Vec<u8>>())
}

fn replica(config: Gpt) -> ExactReplica {
    ExactReplica::new(config, Pool::single(Level::best())).unwrap()
}

/// Parameters with no gain left at one and no bias at zero, so that each takes part.
fn params(config: &Gpt) -> Vec<f32> {
    let mut params = config.initial_params(&[0; 32]);
    let mut state = 1u32;
    for value in &mut params {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value += ((state >> 8) as f32 / (1u32 << 24) as f32 - 0.5) * 0.1;
    }
    params
}

#[test]
fn the_loss_and_every_gradient_agree_with_a_slow_reference_in_f64() {
    for config in [CONFIG, Gpt { layers: 1, heads: 3, d_model: 27, context: 70 }] {
        let (params, mut replica) = (params(&config), replica(config));
        let mut grad = vec![f32::NAN; params.len()];
        let batch = Batch { size: 64 * 5 / config.context, ..long(config.context) };
        let loss = replica.loss_and_grad(&params, &batch, &mut grad).unwrap();
        let exact: Vec<f64> = params.iter().map(|&value| f64::from(value)).collect();
        let expected = reference::loss(&config, replica.layout(), &exact, &batch);
        assert!((f64::from(loss) - expected).abs() < 1e-6, "{loss} against {expected}");
        for entry in replica.layout().entries() {
            for salt in 0..3 {
                // The slope along a random direction in this tensor alone.
                let along = |i: usize| if (i * 2_654_435_761 + salt * 40_503) >> 7 & 1 == 0 { 1.0 } else { -1.0 };
                let slope: f64 = entry.range().map(|i| along(i) * f64::from(grad[i])).sum();
                let step = 1e-5;
                let moved = |by: f64| {
                    let mut params = exact.clone();
                    entry.range().for_each(|i| params[i] += by * along(i));
                    reference::loss(&config, replica.layout(), &params, &batch)
                };
                let measured = (moved(step) - moved(-step)) / (2.0 * step);
                let tolerance = 2e-4 * (measured.abs() + 0.1);
                assert!((measured - slope).abs() < tolerance, "{} {measured} against {slope}", entry.name);
            }
        }
    }
}

/// Enough sequences of `context` bytes, cut to size by the caller.
fn long(context: usize) -> Batch {
    let size = 64 * 5 / context;
    let byte = |i: usize| (i * i * 31 + 7 * i) as u8;
    Batch::in_a_row(size, context, &(0..=size * context).map(byte).collect::<Vec<u8>>())
}

/// The bits of three steps of gradient descent.
fn three_steps(config: Gpt, batch: &Batch, pool: Pool) -> (Vec<u32>, Vec<u32>) {
    let mut replica = ExactReplica::new(config, pool).unwrap();
    let (mut params, mut losses) = (params(&config), Vec::new());
    let mut grad = vec![0.0; params.len()];
    for _ in 0..3 {
        losses.push(replica.loss_and_grad(&params, batch, &mut grad).unwrap().to_bits());
        params.iter_mut().zip(&grad).for_each(|(param, grad)| *param -= 0.1 * grad);
    }
    (losses, params.into_iter().map(f32::to_bits).collect())
}

#[test]
fn neither_the_instruction_set_nor_the_threads_change_a_bit() {
    let config = Gpt { layers: 1, heads: 2, d_model: 40, context: 80 };
    let batch = long(80);
    let expected = three_steps(config, &batch, Pool::single(Level::SCALAR));
    for level in Level::available() {
        for threads in [1, 2, 3] {
            let got = three_steps(config, &batch, Pool::new(level, threads).unwrap());
            assert!(got == expected, "{} with {threads} threads", level.name());
        }
    }
}

#[test]
fn loss_alone_is_the_loss_of_loss_and_gradient() {
    let (params, mut replica) = (params(&CONFIG), replica(CONFIG));
    let mut grad = vec![0.0; params.len()];
    let with_grad = replica.loss_and_grad(&params, &batch(0), &mut grad).unwrap();
    assert_eq!(replica.loss(&params, &batch(0)).unwrap().to_bits(), with_grad.to_bits());
}

#[test]
fn the_logits_give_the_loss() {
    let (params, mut replica) = (params(&CONFIG), replica(CONFIG));
    let inputs = batch(0).inputs[..16].to_vec();
    let scores = replica.logits(&params, &inputs).unwrap();
    let mut loss = |last: u32| {
        let mut targets = vec![Token(100); 16];
        targets[15] = Token(last);
        replica.loss(&params, &Batch { size: 1, context: 16, inputs: inputs.clone(), targets }).unwrap()
    };
    let difference = loss(101) - loss(100);
    assert!((16.0 * difference - (scores[100] - scores[101])).abs() < 1e-3);
}

#[test]
fn a_position_sees_only_its_past() {
    let config = Gpt { context: 200, ..CONFIG };
    let (params, mut replica) = (params(&config), replica(config));
    let mut scores = |tail: Token| {
        let mut inputs = vec![tail; 200];
        inputs[..100].fill(Token(7));
        let targets = (0..200).map(|i| if i < 100 { Token(3) } else { tail }).collect();
        let mut grad = vec![0.0; params.len()];
        replica.loss_and_grad(&params, &Batch { size: 1, context: 200, inputs, targets }, &mut grad).unwrap();
        let mut first = batch(0).inputs[..16].to_vec();
        first.push(tail);
        replica.logits(&params, &first[..16]).unwrap()
    };
    assert_eq!(scores(Token(1)), scores(Token(2)), "what came before leaves no trace in the buffers");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (params, mut replica) = (params(&CONFIG), replica(CONFIG));
    let mut grad = vec![0.0; params.len()];
    let short = replica.loss_and_grad(&params[1..], &batch(0), &mut grad);
    assert!(matches!(short, Err(ReplicaError::Length { what: "params", .. })));
    let short = replica.loss_and_grad(&params, &batch(0), &mut grad[1..]);
    assert!(matches!(short, Err(ReplicaError::Length { what: "grad", .. })));
    let ragged = replica.loss(&params, &Batch { size: 5, ..batch(0) });
    assert!(matches!(ragged, Err(ReplicaError::Batch { size: 5, .. })));
    let empty = replica.loss(&params, &Batch { size: 0, context: 0, inputs: vec![], targets: vec![] });
    assert!(matches!(empty, Err(ReplicaError::Batch { .. })));
    assert!(matches!(replica.logits(&params, &[]), Err(ReplicaError::Batch { .. })));
    let mut small = ExactReplica::with_vocab(CONFIG, 96, Pool::single(Level::best())).unwrap();
    let zeros = vec![0.0; small.layout().params()];
    assert!(matches!(small.loss(&zeros, &batch(0)), Err(ReplicaError::Batch { .. })), "a token beyond the vocabulary");
}

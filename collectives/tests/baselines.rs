//! Every method of training in rounds: what a round does to the parameters, whatever the order of messages.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use murmur_collectives::Collective;
use murmur_collectives::baseline::{
    Averaged, Baseline, Contribution, Demo, Gather, Message, Method, Nesterov, Pairs, Ring, Server, Sign, SparseLoco,
    Subtract,
};

const PARAMETERS: usize = 1000;

type Make = fn(usize) -> Box<dyn Method + Send>;

const METHODS: [(&str, Make); 6] = [
    ("all-reduce", |_| Box::new(Averaged::new(Ring::default(), Box::new(Subtract { rate: 1.0 })))),
    ("diloco", |_| Box::new(Averaged::new(Ring::default(), Box::new(Nesterov::new(0.7, 0.9))))),
    ("server", |_| Box::new(Server::new(Box::new(Subtract { rate: 1.0 })))),
    ("sparseloco", |_| {
        Box::new(Averaged::new(Gather::new(SparseLoco::new(64, 0.95)), Box::new(Subtract { rate: 1.0 })))
    }),
    ("demo", |_| {
        let codec = Demo::new(&[[20, 50]], 32, 0.999);
        Box::new(Averaged::new(Gather::new(codec), Box::new(Sign::new(Box::new(|_| 1e-3), 0.1))))
    }),
    ("noloco", |_| Box::new(Pairs::new(0.7, 0.5, 0.7, [1; 32]))),
];

/// Some vector of each rank and round.
fn vector(rank: usize, round: u32) -> Vec<f32> {
    let value = |index: usize| ((index * 31 + rank * 17 + round as usize * 7) % 64) as f32 / 64.0 - 0.5;
    (0..PARAMETERS).map(value).collect()
}

fn swarm(make: Make, peers: usize) -> Vec<Baseline> {
    (0..peers).map(|rank| Baseline::new(make(rank), rank, peers, vec![1.0; PARAMETERS])).collect()
}

/// Rounds in which messages are delivered from one end of the queue or the other.
fn train(swarm: &mut [Baseline], rounds: u32, last_first: bool) {
    for round in 0..rounds {
        let mut queue: VecDeque<(usize, Message)> = VecDeque::new();
        for (rank, peer) in swarm.iter_mut().enumerate() {
            assert!(peer.is_ready());
            peer.submit(Contribution { vector: vector(rank, round), tokens: 10 });
            queue.extend(std::iter::from_fn(|| peer.poll()).map(|message| (rank, message)));
        }
        while let Some((from, message)) = if last_first { queue.pop_back() } else { queue.pop_front() } {
            let peer = &mut swarm[message.to];
            peer.handle((from, message.bytes));
            assert_eq!(peer.failure(), None);
            let rank = message.to;
            queue.extend(std::iter::from_fn(|| peer.poll()).map(|message| (rank, message)));
        }
        assert!(swarm.iter_mut().all(Collective::is_ready), "round {round} ends");
    }
}

#[test]
fn a_round_of_every_method_ends_alike_in_any_order_of_messages() {
    for (name, make) in METHODS {
        for peers in [1, 2, 3, 4] {
            let (mut one, mut other) = (swarm(make, peers), swarm(make, peers));
            train(&mut one, 5, false);
            train(&mut other, 5, true);
            for (one, other) in one.iter().zip(&other) {
                assert_eq!(one.parameters(), other.parameters(), "{name}, {peers} peers");
                assert_eq!(one.clock(), 5 * 10 * peers as u64);
                assert_ne!(one.parameters(), vec![1.0; PARAMETERS], "{name}");
            }
            if name != "noloco" {
                assert!(one.iter().all(|peer| peer.parameters() == one[0].parameters()), "{name}, {peers} peers");
            }
        }
    }
}

#[test]
fn the_dense_methods_subtract_the_mean() {
    for (name, make) in [METHODS[0], METHODS[2]] {
        let mut swarm = swarm(make, 3);
        train(&mut swarm, 1, false);
        let vectors: Vec<_> = (0..3).map(|rank| vector(rank, 0)).collect();
        for (index, parameter) in swarm[1].parameters().iter().enumerate() {
            let mean = vectors.iter().map(|vector| vector[index]).sum::<f32>() / 3.0;
            assert!((parameter - (1.0 - mean)).abs() < 1e-6, "{name} {index}");
        }
    }
}

#[test]
fn pairs_come_closer_when_nobody_learns() {
    let start = |rank: usize| vec![rank as f32; PARAMETERS];
    let make = || Box::new(Pairs::new(0.7, 0.5, 0.7, [1; 32]));
    let mut swarm: Vec<_> = (0..4).map(|rank| Baseline::new(make(), rank, 4, start(rank))).collect();
    let spread = |swarm: &[Baseline]| {
        let firsts: Vec<f32> = swarm.iter().map(|peer| peer.parameters()[0]).collect();
        firsts.iter().copied().fold(f32::MIN, f32::max) - firsts.iter().copied().fold(f32::MAX, f32::min)
    };
    for _ in 0..30 {
        let mut queue = Vec::new();
        for (rank, peer) in swarm.iter_mut().enumerate() {
            peer.submit(Contribution { vector: vec![0.0; PARAMETERS], tokens: 1 });
            queue.extend(std::iter::from_fn(|| peer.poll()).map(|message| (rank, message)));
        }
        queue.into_iter().for_each(|(from, message)| swarm[message.to].handle((from, message.bytes)));
    }
    assert!(spread(&swarm) < 0.1, "{}", spread(&swarm));
    let mean = swarm.iter().map(|peer| peer.parameters()[0]).sum::<f32>() / 4.0;
    assert!((mean - 1.5).abs() < 1e-3, "{mean}");
}

#[test]
fn a_message_that_makes_no_sense_ends_the_round_with_its_sender() {
    let mut peer = Baseline::new(METHODS[2].1(0), 0, 2, vec![1.0; PARAMETERS]);
    peer.submit(Contribution { vector: vector(0, 0), tokens: 1 });
    let mut other = Baseline::new(METHODS[2].1(1), 1, 2, vec![1.0; 3]);
    other.submit(Contribution { vector: vec![0.0; 3], tokens: 1 });
    let short = other.poll().unwrap();
    peer.handle((1, short.bytes));
    assert_eq!(peer.failure().unwrap().from, 1);
    assert!(!peer.is_ready() && peer.snapshot().is_none());
}

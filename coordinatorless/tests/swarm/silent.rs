//! Five failures that a well-known system reports as success. Each is tried here, and must be seen or be without effect.

use core::time::Duration;

use murmur_collectives::{Body, Entry, Header};
use murmur_coordinatorless::{Digest, Event, Item, Message};
use murmur_kernels::{TopK, compress};

use crate::net::{Net, PARAMETERS, World};

fn trained(seed: u64, peers: usize) -> Net {
    let mut net = Net::new(World::calm(seed), peers, peers);
    (0..peers).for_each(|peer| net.start(peer));
    net.train(2);
    net.pass(Duration::from_secs(2));
    net
}

/// The next entry of peer 2, an update like its last but changed, with that payload.
fn next_of_2(net: &Net, payload: Vec<u8>, change: impl Fn(&mut Header)) -> Item {
    let log = net.nodes[&0].fold().log();
    let author = net.id(2);
    let last = log.last_update(&author).expect("an update").entry.clone();
    let mut update = last.update().expect("an update").clone();
    update.segment += 1;
    update.carry_before = update.carry_after;
    update.payload = murmur_collectives::Hash(murmur_kernels::blob_root(&payload));
    update.payload_bytes = u32::try_from(payload.len()).expect("short");
    let mut header = last.to_header();
    (header.seq, header.previous) = (log.version().count(&author), log.head(&author));
    (header.base, header.body) = (log.version().to_components(), Body::Update(update));
    change(&mut header);
    Item { entry: Entry::sign(net.identity(2), header).to_wire(), payload: Some(payload) }
}

fn last_payload(net: &Net) -> Vec<u8> {
    let record = net.nodes[&0].fold().log().last_update(&net.id(2)).cloned().expect("an update");
    record.payload.expect("held").to_vec()
}

fn offer(net: &mut Net, item: Item) {
    net.inject(2, 0, Message::Entries { items: vec![item] }.encode());
}

fn was_refused(net: &Net, before: u64) -> bool {
    net.updates(0) == before && net.has_event(0, |event| matches!(event, Event::BadInput { .. }))
}

/// A peer dies in the middle of a round. There, survivors keep different values and each reports success. Here what it
/// sent is in everyone's sum or in nobody's, and unequal states of equal sets would be told.
#[test]
fn a_partial_average_is_never_reported_as_success() {
    for seed in 0..6 {
        let mut net = trained(seed, 4);
        net.author(1);
        net.pass(Duration::from_millis(20 + 15 * seed)); // some have it, some have not
        net.kill(1);
        net.author(0);
        net.pass(Duration::from_secs(30));
        let versions: Vec<_> = [0, 2, 3].iter().map(|peer| net.nodes[peer].fold().log().version().clone()).collect();
        assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}\n{}", net.describe());
        assert_eq!(net.roots(&[]).len(), 1, "seed {seed}");
        assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::Diverged { .. })), "seed {seed}");
        assert!(net.nodes[&0].roots_compared().0 > 0, "equality was looked at, not assumed");
    }
}

/// One NaN there makes every parameter of every peer NaN. Here nothing on the wire can say NaN: not the encoder, which
/// refuses it, nor the payload's bits, whichever they are.
#[test]
fn nan_poisons_nobody() {
    let (start, mut end) = (vec![0.0f32; PARAMETERS], vec![0.01f32; PARAMETERS]);
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        end[77] = poison;
        let (mut residual, mut payload) = (vec![0.0; PARAMETERS], Vec::new());
        let top = TopK::new(64).expect("in range");
        assert!(compress(top, 0.9, &start, &end, &mut residual, &mut payload).is_err(), "{poison}");
    }
    // Every bit pattern in the place of a chunk's scale: refused, or finite and small.
    let mut finite = 0;
    for pattern in [0x7fc0_0000u32, 0x7f80_0000, 0xff80_0000, 0xffff_ffff, 0x7fff_ffff, 0x0000_0001] {
        let mut net = trained(9, 3);
        let (before, mut payload) = (net.updates(0), last_payload(&net));
        payload[..4].copy_from_slice(&pattern.to_le_bytes());
        let item = next_of_2(&net, payload, |_| ());
        offer(&mut net, item);
        assert!(net.nodes[&0].fold().parameters().iter().all(|value| value.is_finite() && value.abs() < 100.0));
        finite += u64::from(net.updates(0) == before);
    }
    assert!(finite > 0, "some of these are refused");
}

/// A weight of 10¹² in a message wins outright there. Here an author has no say: the weight follows from the set, tokens
/// beyond the rules are refused, and no entry weighs more than the rules allow.
#[test]
fn a_self_declared_weight_is_refused() {
    for tokens in [101, 1_000_000_000_000, u64::MAX] {
        let mut net = trained(10, 3);
        let before = net.updates(0);
        let item = next_of_2(&net, last_payload(&net), |header| {
            if let Body::Update(update) = &mut header.body {
                update.tokens = tokens;
            }
        });
        offer(&mut net, item);
        assert!(was_refused(&net, before), "{tokens} tokens");
    }
    let net = trained(10, 3);
    let most = net.rules().alpha_start_q16;
    assert!(net.nodes[&0].fold().log().records().all(|record| record.applied.q16() <= most));
}

/// There a newcomer loads the state of whoever claims the highest priority, and one false epoch puts everybody out of
/// step. Here a claim is a digest that nothing bears out: the clock does not move, nobody leaves step, the state stays.
#[test]
fn a_self_declared_epoch_or_priority_moves_nobody() {
    let mut net = trained(11, 4);
    let log = net.nodes[&0].fold().log();
    let mut vector = log.version().to_components();
    vector.iter_mut().for_each(|component| component.count = u32::MAX);
    let (clock, root) = (net.nodes[&0].fold().clock(), net.roots(&[]));
    let digest = Digest {
        run: net.run_id(),
        number: 1000,
        whole: true,
        set: murmur_collectives::Hash([5; 32]),
        heads: vec![[1; 8]; vector.len()],
        vector,
        root: murmur_collectives::Hash([6; 32]),
        idle: false,
        finishing: false,
        reply: true,
        lost: false,
        epoch: 0,
        frontier: murmur_collectives::Hash::NONE,
    };
    for honest in [0, 1, 2] {
        net.inject(3, honest, Message::Digest(Box::new(digest.clone())).encode());
    }
    net.pass(Duration::from_secs(120));
    assert_eq!((net.nodes[&0].fold().clock(), net.roots(&[3])), (clock, root));
    net.train(2);
    net.pass(Duration::from_secs(10));
    assert_eq!(net.roots(&[]).len(), 1, "training went on\n{}", net.describe());
    assert_eq!(net.updates(0), 4 * 4);
}

/// There a decoder's error is swallowed, and the round reports success with none of the result. Here every payload cut
/// short, bent or empty is refused as a whole, its sender is named, and the sum is as if it had never come.
#[test]
fn a_decode_error_is_never_swallowed() {
    type Spoil = fn(&mut Vec<u8>);
    // The first three are what the author signed; the last was bent on its way.
    let cases: [(Spoil, bool); 4] = [
        (Vec::clear, true),
        (|payload| payload.truncate(payload.len() / 2), true),
        (|payload| payload.push(0), true),
        (|payload| payload[9] ^= 255, false),
    ];
    for (case, (spoil, signed)) in cases.into_iter().enumerate() {
        let mut net = trained(12, 3);
        let (before, roots) = (net.updates(0), net.roots(&[]));
        let (whole, mut spoilt) = (last_payload(&net), last_payload(&net));
        spoil(&mut spoilt);
        let mut item = next_of_2(&net, if signed { spoilt.clone() } else { whole }, |_| ());
        item.payload = Some(spoilt);
        offer(&mut net, item);
        assert!(was_refused(&net, before), "case {case}");
        assert_eq!(net.roots(&[]), roots, "case {case}");
    }
}

//! What a newcomer holds while it fetches a final state: that state once, beside the one it began with; and none of
//! either in memory if its host has another place for states.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::{cell::Cell, collections::VecDeque, net::SocketAddr};

use murmur_collectives::{Cells, Hash, Identity, ONE_Q16, Rules, State};
use murmur_coordinatorless::{Config, Draft, Input, Node, Output, Reach, Setup, Stored, Time};
use murmur_kernels::{TopK, compress, from_f32};

/// Counts what is held of what was asked for while [`COUNTS`] is set.
struct Counting;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    if COUNTS.try_with(Cell::get).unwrap_or(false) {
        let held = HELD.get() + bytes;
        HELD.set(held);
        MOST.set(MOST.get().max(held));
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted<T>(what: impl FnOnce() -> T) -> T {
    COUNTS.set(true);
    let result = what();
    COUNTS.set(false);
    result
}

/// What `what` holds or lets go is none of what is counted.
fn uncounted<T>(what: impl FnOnce() -> T) -> T {
    let before = COUNTS.replace(false);
    let result = what();
    COUNTS.set(before);
    result
}

/// Half a million parameters: a state of four mebibytes, far more than all else that a peer of two holds.
const PARAMETERS: usize = 1 << 19;
const STATE_BYTES: i64 = PARAMETERS as i64 * 8;

fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

fn rules() -> Rules {
    Rules {
        parameters: PARAMETERS as u64,
        top: 16,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16 * 2,
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        token_budget: 1_000_000,
        audit_rate_q16: 0,
        audit_quorum: 2,
        span: 1,
        frontier_every_tokens: 300,
        class: None,
        founders: vec![Node::founder(&identity(1))],
    }
}

/// Integers that are not counted, as if they were in a file.
#[derive(Debug)]
struct Elsewhere(Vec<i64>);

impl core::ops::Deref for Elsewhere {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl core::ops::DerefMut for Elsewhere {
    fn deref_mut(&mut self) -> &mut [i64] {
        &mut self.0
    }
}

impl Cells for Elsewhere {
    fn zeros(&self) -> Box<dyn Cells> {
        uncounted(|| Box::new(Self(vec![0; self.0.len()])))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        uncounted(|| self.0 = Vec::new());
    }
}

/// θ₀, in memory or elsewhere.
fn genesis(in_memory: bool) -> State {
    let state = || from_f32(&vec![0.5; PARAMETERS]).expect("finite");
    if in_memory { state().into() } else { uncounted(|| State::new(Elsewhere(state()))) }
}

fn node(n: u8, in_memory: bool) -> Node {
    Node::new(Setup {
        manifest: vec![1],
        run: Hash([9; 32]),
        rules: rules(),
        genesis: genesis(in_memory),
        identity: identity(n),
        class: Hash([7; 32]),
        config: Config::default(),
        seed: n.into(),
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

fn draft(node: &Node, n: u8) -> Input {
    let end: Vec<f32> = (0..PARAMETERS).map(|i| ((i % 97) as f32 + f32::from(n)) * 1e-5).collect();
    let (start, mut residual, mut payload) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS], Vec::new());
    compress(TopK::new(16).expect("in range"), 0.9, &start, &end, &mut residual, &mut payload).expect("finite");
    Input::Author(Box::new(Draft {
        views: vec![(0, node.fold().log().version().clone())],
        epoch: node.fold().epochs().number(),
        frontier: node.fold().epochs().newest().frontier.name(),
        segment: node.fold().log().segments(&node.id()),
        steps: 10,
        payload: payload.into(),
        top: TopK::new(16).expect("in range"),
        loss_micronats: 1,
        trace: Hash([1; 32]),
        carry_before: Hash::NONE,
        carry: Some(vec![n; 64].into()),
    }))
}

/// Messages that `node` wants sent; everything else it says is dropped where it was made.
fn said(node: &mut Node) -> VecDeque<Vec<u8>> {
    let mut messages = VecDeque::new();
    while let Some(output) = node.poll_output() {
        if let Output::Send { bytes, .. } = output {
            messages.push_back(bytes);
        }
    }
    messages
}

fn introduce(node: &mut Node, now: Time, other: u8) {
    let address = SocketAddr::from(([127, 0, 0, 1], other.into()));
    node.handle(now, Input::Connected { peer: identity(other).peer_id(), address, reach: Reach::Direct });
}

/// The most bytes that a newcomer held at once until it had caught up with a final frontier.
fn most_held_while_catching_up(in_memory: bool) -> i64 {
    let mut founder = node(1, true);
    let mut now = Time::default();
    for n in 0..7 {
        let input = draft(&founder, n);
        founder.handle(now, input);
        while let Some(at) = founder.poll_timeout().filter(|at| at.0 < now.0 + 1_000_000) {
            founder.handle_timeout(at);
            said(&mut founder);
        }
        now = Time(now.0 + 1_000_000);
    }
    let epoch = founder.fold().epochs().number();
    assert!(epoch >= 1, "something is final");

    HELD.set(0);
    MOST.set(0);
    let mut newcomer = counted(|| node(2, in_memory));
    introduce(&mut founder, now, 2);
    counted(|| introduce(&mut newcomer, now, 1));
    for _ in 0..20_000 {
        if newcomer.is_caught_up() {
            break;
        }
        for bytes in said(&mut founder) {
            counted(|| newcomer.handle(now, Input::Message { from: identity(1).peer_id(), bytes: bytes.clone() }));
        }
        for bytes in counted(|| said(&mut newcomer)) {
            founder.handle(now, Input::Message { from: identity(2).peer_id(), bytes });
        }
        now = Time(now.0 + 1000);
        founder.handle_timeout(now);
        counted(|| newcomer.handle_timeout(now));
    }
    assert!(newcomer.is_caught_up());
    assert_eq!((newcomer.fold().epochs().number(), newcomer.state_root()), (epoch, founder.state_root()));
    MOST.get()
}

#[test]
fn a_state_is_held_once_while_it_is_fetched() {
    let most = most_held_while_catching_up(true);
    println!("at most {:.2} states of {STATE_BYTES} bytes were held at once", most as f64 / STATE_BYTES as f64);
    assert!(most < STATE_BYTES * 9 / 4, "the state it began with, the one it fetched, and little else: {most} bytes");
    assert!(most > STATE_BYTES * 3 / 2, "two states are there at one time, or nothing was counted");
}

#[test]
fn a_state_that_is_held_elsewhere_takes_no_memory() {
    let most = most_held_while_catching_up(false);
    println!("at most {:.2} states of {STATE_BYTES} bytes were in memory at once", most as f64 / STATE_BYTES as f64);
    assert!(most < STATE_BYTES / 4, "messages, entries and hashes, but no state: {most} bytes");
    assert!(most > 0, "nothing was counted");
}

//! The steady state of a step asks for no memory: every buffer has its size after the first step.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use murmur_kernels::exact::{Level, Pool};
use murmur_kernels::{AdamW, adamw, global_norm};
use murmur_model::gpt::{ExactReplica, Gpt};
use murmur_model::{Architecture, Batch, Replica};

/// Counts what each thread asks for: the test harness has threads of its own.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending asks for memory after its counter is gone; that is nobody's step.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_step_after_the_first_asks_for_memory() {
    let config = Gpt { layers: 2, heads: 2, d_model: 40, context: 80 };
    let bytes: Vec<u8> = (0..=4 * 80).map(|i| (i * i + 7 * i) as u8).collect();
    let batch = Batch::in_a_row(4, 80, &bytes);
    let optimizer = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
    for level in Level::available() {
        let mut params = config.initial_params(&[0; 32]);
        let [mut grad, mut m, mut v] = [(); 3].map(|()| vec![0.0; params.len()]);
        let mut replica = ExactReplica::new(config, Pool::single(level)).unwrap();
        let mut asked = Vec::with_capacity(8);
        for step in 1..=8 {
            let before = ASKED.get();
            replica.loss_and_grad(&params, &batch, &mut grad).unwrap();
            let norm = global_norm(&grad);
            adamw(&optimizer, step, &mut params, &grad, &mut m, &mut v, 1.0 / norm);
            asked.push(ASKED.get() - before);
        }
        assert!(asked[0] > 0, "{}: the first step fills the buffers, or nothing is counted: {asked:?}", level.name());
        assert!(asked[1..].iter().all(|&count| count == 0), "{}: {asked:?}", level.name());
    }
}

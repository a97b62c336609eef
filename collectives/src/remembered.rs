//! Proofs that were checked and found right, remembered: for simulations, where many peers live on one thread and each
//! checks the same signatures. A peer of its own checks each only once, so there the memory is off.
//!
//! Remembered is the hash of everything a check depends on, and only that it held: the memory changes how long a check
//! takes, never what it says.

use std::{cell::RefCell, collections::BTreeSet};

use crate::Hash;

const CONTEXT: &str = "murmuration remembered proof v1";

/// Two generations: when the young one is full, the old one is forgotten.
#[derive(Default)]
struct Memory {
    most: usize,
    young: BTreeSet<Hash>,
    old: BTreeSet<Hash>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// From now on this thread remembers the newest `most` to twice as many proofs that held. 0, as at first: none.
pub fn remember_proofs(most: usize) {
    MEMORY.with_borrow_mut(|memory| *memory = Memory { most, ..Memory::default() });
}

/// Whether `check` holds, from memory if this thread remembers that it did. `statement` must hold everything that `check`
/// depends on, each part of fixed length but the last.
pub fn holds(statement: &[&[u8]], check: impl FnOnce() -> bool) -> bool {
    if MEMORY.with_borrow(|memory| memory.most == 0) {
        return check();
    }
    let name = Hash::of(CONTEXT, &statement.concat());
    let known = |memory: &Memory| memory.young.contains(&name) || memory.old.contains(&name);
    if MEMORY.with_borrow(known) {
        return true;
    }
    let held = check();
    if held {
        MEMORY.with_borrow_mut(|memory| memory.keep(name));
    }
    held
}

impl Memory {
    fn keep(&mut self, name: Hash) {
        if self.young.len() >= self.most {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_is_not_checked_again_and_what_did_not_is() {
        remember_proofs(2);
        assert!(holds(&[b"a"], || true) && holds(&[b"a"], || panic!("it is remembered")));
        assert!(!holds(&[b"b"], || false) && holds(&[b"b"], || true));
        (0..4u8).for_each(|n| assert!(holds(&[&[n]], || true)));
        assert!(!holds(&[b"a"], || false), "it was long ago");
        remember_proofs(0);
        assert!(!holds(&[b"b"], || false), "nothing is remembered");
    }
}

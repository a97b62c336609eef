//! What a node that starts takes from its disk, and how the set begins at a final frontier.

use murmur_collectives::{Fold, State};

use crate::{
    Output, StoredEntry,
    node::{
        Node, Stored,
        catch_up::{Replacement, Restored, read_checkpoint},
        replication::{Room, checked},
    },
};

impl Node {
    /// Puts back what was on disk.
    pub(crate) fn restore(&mut self, stored: Stored) {
        let Stored { entries, compacted, fetched, signing: _, head, carries } = stored;
        let head = head.and_then(checked);
        // First of all: the log may have lost its end, and then this peer would sign its newest position a second time, a fork.
        head.iter().for_each(|(entry, _)| self.catch_up.expect_own(entry.seq() + 1));
        // Without these chunks a state that was half fetched is fetched from its beginning.
        self.transfer.resume_from(fetched);
        match compacted {
            Some((proof, state)) => self.restore_compacted(&proof, state, entries),
            None => self.replication.put_back(&mut self.set, entries.into_iter().filter_map(checked)),
        }
        // Without them no auditor could replay this peer's newest updates, and its next segment would start without moments and
        // residual.
        for bytes in carries {
            self.own_carries.keep(bytes, self.core.config.carries_kept);
        }
        // If the log has lost the head, no other peer may hold it: without this the own chain could never go on.
        if let Some((entry, payload)) = head {
            self.replication.hold(entry, payload, Room::of(&self.core));
        }
        // Last: entries that waited for others in the log, and the head, are tried when all of it is in the set.
        self.with_replication(|machine, cx| machine.retry(cx.net.core));
    }

    /// Puts back what [`Output::Compact`] stored and what was appended since.
    fn restore_compacted(&mut self, proof: &[u8], state: State, entries: Vec<StoredEntry>) {
        let Some(Restored { replacement, later }) = read_checkpoint(&self.set.fold, proof, state, entries) else {
            // Its parts do not belong together: everything comes again from the network.
            self.core.outputs.push_back(Output::Reset);
            return;
        };
        // Before the later entries: they continue chains whose beginnings only the frontier has.
        self.replace_fold(replacement);
        self.replication.put_back(&mut self.set, later);
        // A peer that began to fetch this frontier before the restart can go on.
        self.transfer.serve_final(&self.set);
    }

    /// Lets the set begin at a final frontier; gives the old fold back. Finality adopts the certificates first: what it knows
    /// of the epoch under way is about the old set.
    pub(crate) fn replace_fold(&mut self, Replacement { fold, chain }: Replacement) -> Fold {
        self.with_finality(|finality, cx| finality.adopt(cx, chain));
        core::mem::replace(&mut self.set.fold, fold)
    }
}

//! What a digest shows when it is compared with the own set: forks, and states that differ although the sets are equal.

use murmur_collectives::PeerId;

use super::{Context, Event, Replication, Work, knowledge::Claims, later};
use crate::{Digest, Want, message::Request};

impl Replication {
    /// Looks for forks and for differences in state, then has the final frontiers compared, and answers.
    pub(super) fn compare_with(&mut self, cx: &mut Context<'_>, from: PeerId, digest: &Digest) {
        look_for_forks(cx, from, digest);
        let is_fork_hidden = self.compare_states(cx, from, digest);
        cx.net.core.raise(Event::EpochTold { peer: from, epoch: digest.epoch, frontier: digest.frontier });
        if digest.reply || is_fork_hidden {
            later(cx.net.core, Work::SayDigest { to: from, reply: is_fork_hidden, lost: is_fork_hidden });
        }
    }

    /// Compares the states if the sets are equal. True if they only look so, and the digest does not say where they differ.
    fn compare_states(&mut self, cx: &mut Context<'_>, from: PeerId, digest: &Digest) -> bool {
        let Some(Claims { vector, .. }) = self.claims(&from) else { return false };
        if digest.epoch != cx.set.fold.epochs().number()
            || vector.is_empty()
            || vector != cx.set.fold.log().version()
            || cx.mode.is_staging
        {
            return false;
        }
        if cx.set.holding().set != digest.set {
            return !digest.whole;
        }
        let ours = cx.set.state_root();
        if ours == digest.root {
            self.roots_compared.0 += 1;
        } else {
            self.roots_compared.1 += 1;
            cx.net.core.tell(crate::Event::Diverged { peer: from, theirs: digest.root, ours });
        }
        false
    }
}

/// Requests the newest entry of every chain whose head differs from the one held here for the same count.
fn look_for_forks(cx: &mut Context<'_>, from: PeerId, digest: &Digest) {
    for (component, head) in digest.vector.iter().zip(&digest.heads) {
        let held = cx.set.fold.log().head_at(&component.author, component.count);
        if held.is_some_and(|hash| hash.prefix() != *head && *head != [0; 8]) {
            let want = Want { author: component.author, from: component.count - 1, count: 1, payloads: false };
            cx.net.request(from, Request::Entries(want));
        }
    }
}

#[cfg(test)]
mod tests {
    use murmur_collectives::Hash;

    use super::super::testing::{enrolment, id, item, pair};
    use super::*;

    #[test]
    fn equal_sets_with_another_state_are_told_of() {
        let (mut one, mut two) = pair();
        one.learn(2, 10);
        two.learn(1, 10);
        two.hear(1, &one.say(2));
        assert_eq!(two.machine.roots_compared(), (1, 0));

        let digest = Digest { root: Hash([1; 32]), ..one.say(2) };
        two.hear(1, &digest);
        assert_eq!(two.machine.roots_compared(), (1, 1));
    }

    #[test]
    fn another_branch_of_a_chain_is_requested() {
        let (mut one, mut two) = pair();
        one.learn(2, 10);
        two.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&enrolment(10, 1, &[]))]));
        two.sent();
        two.hear(1, &one.say(2));
        let want = Want { author: id(10), from: 0, count: 1, payloads: false };
        assert_eq!(two.sent(), [(id(1), crate::Message::Want(want))]);
        assert_eq!(two.machine.roots_compared(), (0, 0), "the sets only look equal");
    }
}

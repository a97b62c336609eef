//! Driving rounds: beginning one, ending one that cannot decide any more, and holding work back meanwhile.

use std::collections::BTreeSet;

use core::time::Duration;

use murmur_collectives::{Patience, PeerId, Rounds};

use super::{Context, Finality, Joining, pacemaker::round_lasts};
use crate::{Time, node::context::Core};

/// From this round on a proposal is accepted although it excludes, for good, something that is held here. Before, its
/// proposer may still receive that; but a voter that insisted for ever could keep a swarm from deciding.
pub(super) const INSISTS_UNTIL_ROUND: u32 = 3;

impl Finality {
    /// Whether too many tokens are not final for this peer to add an update.
    pub(crate) fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let tokens = cx.tokens_since_final();
        self.backpressure.is_stalled(cx.core(), tokens, self.rules.frontier_every_tokens)
    }

    fn round_lasts(&self, core: &Core) -> Duration {
        round_lasts(&core.config, self.consensus.begun().map_or(0, Rounds::round))
    }

    /// When this voter's turn to propose comes in the present round.
    pub(super) fn turn_at(&self, core: &Core) -> Option<Time> {
        let has_offer = self.consensus.has_acceptable_offer();
        self.consensus.begun().and_then(|_| self.pacemaker.turn_at(&core.config, self.round_lasts(core), has_offer))
    }

    pub(super) fn next_round_deadline(&self, core: &Core) -> Option<Time> {
        if !self.pacemaker.is_running() {
            return self.epoch_start.hurries_at().filter(|_| self.decision.is_none());
        }
        let has_proposed = self.consensus.begun().is_some_and(Rounds::has_proposed);
        let turn = self.turn_at(core).filter(|at| *at > core.now && !has_proposed);
        self.pacemaker.next_deadline(turn)
    }

    /// Ends the present round if its time is over, or sooner if it cannot decide any more; and tells votes again.
    pub(super) fn round_due(&mut self, cx: &mut Context<'_>) {
        let Some(began) = self.pacemaker.began_at().filter(|_| cx.joining == Joining::CaughtUp) else { return };
        let rounds = self.consensus.rounds(cx);
        let has_offers = rounds.has_proposed() || rounds.proposed_now().next().is_some();
        let is_over = self.pacemaker.is_over(cx.now());
        if is_over && !has_offers {
            // Nobody could propose. Peers that go on to the next round alone would be in another one than the first peer
            // that can propose again, and would not count its votes.
            self.pacemaker.extend_round(cx.now(), self.round_lasts(cx.core()));
            self.note_lost_round(cx);
        } else if is_over || self.is_split(cx, began) {
            self.note_lost_round(cx);
            let rounds = self.consensus.rounds(cx);
            rounds.next_round();
            rounds.follow();
            self.begin_round(cx);
            self.consensus.forget_rejections();
        }
        if self.pacemaker.is_retelling_due(cx.now(), cx.config()) {
            self.retell_votes(cx);
        }
    }

    pub(super) fn begin_round(&mut self, cx: &mut Context<'_>) {
        self.pacemaker.begin_round(cx.now(), self.round_lasts(cx.core()));
        // A neighbour may not be known to membership yet.
        let live: BTreeSet<PeerId> = cx.live_members().into_iter().chain(cx.net.peers()).collect();
        let fading = cx.is_fading(&self.rules);
        let rounds = self.consensus.rounds(cx);
        // When weights fade, authors that are no voters have turns, too. Peers may differ in who they take for live; then
        // two turns fall together, which costs a round and nothing else.
        let rivals = live.iter().filter(|peer| fading || rounds.previous().weight(peer) > 0);
        self.pacemaker.set_rank(rounds.rank(rivals));
    }

    pub(super) fn patience(&self, cx: &Context<'_>) -> Patience {
        self.pacemaker.patience(cx.now(), cx.config())
    }

    /// Whether the prevotes of a late round are split so that none of its proposals can get a quorum any more. For the time of
    /// a first round every silent voter is taken to vote yet; after that, only live ones are.
    fn is_split(&mut self, cx: &mut Context<'_>, began: Time) -> bool {
        if self.consensus.rounds(cx).round() < INSISTS_UNTIL_ROUND && !cx.is_fading(&self.rules) {
            return false;
        }
        let live = cx.live_members();
        let only_live = cx.now() >= began + cx.config().round_timeout;
        self.consensus.rounds(cx).is_split(|peer| !only_live || live.contains(peer))
    }

    fn note_lost_round(&mut self, cx: &mut Context<'_>) {
        let tokens = cx.tokens_since_final();
        self.backpressure.round_lost(cx.core(), tokens, self.rules.frontier_every_tokens);
    }
}

//! The SWIM library: its settings, the calls to it, and the actions that it asks for.
//!
//! The library has no clock and sends nothing itself. Each call collects its actions in [`SwimEffects`], and
//! [`Membership`] carries them out when the call has returned.

use core::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

use foca::{Notification, PeriodicParams, Timer};
use murmur_collectives::PeerId;

use super::{Context, Membership, Role, card::Card, codec, frames};
use crate::Swim;

/// The actions that the library asked for during one call.
#[derive(Default)]
pub(super) struct SwimEffects {
    frames: Vec<(PeerId, Vec<u8>)>,
    timers: Vec<(Timer<Card>, Duration)>,
    changes: Vec<(PeerId, bool)>,
    /// Other members declared this peer down.
    called_dead: bool,
}

impl foca::Runtime<Card> for SwimEffects {
    fn notify(&mut self, notification: Notification<'_, Card>) {
        match notification {
            Notification::MemberUp(card) => self.changes.push((card.peer, true)),
            Notification::MemberDown(card) => self.changes.push((card.peer, false)),
            Notification::Defunct => self.called_dead = true,
            Notification::Rename(..) | Notification::Active | Notification::Idle | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Card, data: &[u8]) {
        self.frames.push((to.peer, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Card>, after: Duration) {
        self.timers.push((event, after));
    }
}

impl Membership {
    /// Calls the library and carries out the actions that it asked for.
    pub(super) fn run_swim(
        &mut self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Membership, &mut SwimEffects) -> Result<(), foca::Error>,
    ) -> Result<(), foca::Error> {
        let mut effects = SwimEffects::default();
        let outcome = ask(self, &mut effects);
        if effects.called_dead && self.role == Role::Member {
            self.renew_card(cx, 0, &mut effects);
        }
        self.apply_effects(cx, effects);
        outcome
    }

    /// Replaces this process's card by a newer one that overrides it.
    pub(super) fn renew_card(&mut self, cx: &mut Context<'_>, objects_to: u64, effects: &mut SwimEffects) {
        let old = self.own;
        self.replace_card(cx, old.renewals.saturating_add(1), old.objects_to.max(objects_to), effects);
    }

    /// Signs a card of this start with the given numbers, and makes it this process's card.
    pub(super) fn replace_card(
        &mut self,
        cx: &mut Context<'_>,
        renewals: u32,
        objects_to: u64,
        effects: &mut SwimEffects,
    ) {
        let old = self.own;
        let card = Card::sign(&cx.core.identity, self.run, old.incarnation, renewals, objects_to);
        self.own = card.with_address(old.address);
        let own = self.own;
        // This can only fail for an unchanged card.
        let _ = self.foca.change_identity(own, effects);
    }

    /// Carries out the actions that the library asked for: timers, frames, and changes of members, in this order.
    pub(super) fn apply_effects(&mut self, cx: &mut Context<'_>, effects: SwimEffects) {
        for (timer, after) in effects.timers {
            self.timers_set += 1;
            self.timers.insert((cx.core.now + after, self.timers_set), timer);
        }
        for (to, mut frame) in effects.frames {
            let to = self.redirect_gossip(cx, to, &mut frame);
            let mut bytes = Vec::with_capacity(frame.len() + 1);
            bytes.push(frames::SWIM);
            bytes.extend_from_slice(&frame);
            self.send_datagram(cx, to, bytes);
        }
        let changed = !effects.changes.is_empty();
        for (peer, up) in effects.changes {
            self.on_member_changed(cx, peer, up);
        }
        if changed {
            self.rescale();
            cx.connectivity.look_around_soon(cx.core.now);
        }
    }
}

/// The library's settings. `scale` is the binary logarithm of the swarm's size, rounded down.
///
/// If every member that receives an update sends it `log2 N + 3` times, about `N · e^-(log2 N + 3)` members do not
/// receive it. With one datagram in seven lost, that is less than a tenth of a member in a swarm of any size, and
/// probes make up for it. The time to refute a suspicion grows with log N, as in memberlist.
pub(super) fn library_config(settings: &Swim, scale: u32) -> foca::Config {
    let some = |count: usize| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
    let periodic = |frequency, count| Some(PeriodicParams { frequency, num_members: some(count) });
    let transmissions = u8::try_from((scale + 3).max(6)).unwrap_or(u8::MAX);
    foca::Config {
        probe_period: settings.probe_every,
        probe_rtt: settings.probe_rtt,
        num_indirect_probes: some(settings.indirect_probes),
        max_transmissions: NonZeroU8::new(transmissions).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: settings.suspicion * (scale * 3 / 10).max(1),
        remove_down_after: Some(settings.forget_after),
        max_packet_size: some(codec::FRAME_BYTES),
        notify_down_members: true,
        periodic_announce: periodic(settings.announce_every, 1),
        // Healing a partition needs new connections, which `view` makes.
        periodic_announce_to_down_members: None,
        periodic_gossip: periodic(settings.gossip_every, settings.gossip_fanout),
    }
}

//! Incoming datagrams: the checks that a frame, its sender and each of its updates must pass before the library
//! receives it.

use foca::{Member, Message, State};
use murmur_collectives::PeerId;

use super::{Card, Context, Event, Membership, Role, codec::Frame, swim::SwimEffects};
use crate::Event as Told;

/// The first byte of a SWIM frame.
pub(crate) const SWIM: u8 = 0;

/// The first byte of a frame with the newest card of the receiver that the sender knows.
const CARD: u8 = 1;

impl Membership {
    /// Takes a datagram from a connected peer; only membership uses datagrams.
    pub(crate) fn on_datagram(&mut self, cx: &mut Context<'_>, from: PeerId, bytes: &[u8]) {
        if self.role != Role::Member {
            return;
        }
        cx.connectivity.neighbours_mut().heard(&from, cx.core.now);
        if !cx.limits.admit_datagram(cx.core, &from) {
            return;
        }
        let read = match bytes.split_first() {
            _ if bytes.len() > crate::DATAGRAM_BYTES_MAX => Err("a datagram too long"),
            Some((&SWIM, frame)) => self.on_swim_frame(cx, from, frame),
            Some((&CARD, card)) => self.on_card_frame(cx, from, card),
            Some(_) | None => Err("a datagram of an unknown kind"),
        };
        if let Err(reason) = read {
            cx.limits.strike(cx.core, from, reason.to_owned());
        }
    }

    /// Checks a SWIM frame and hands the accepted parts to the library. An error is an offence of the sender.
    fn on_swim_frame(&mut self, cx: &mut Context<'_>, from: PeerId, bytes: &[u8]) -> Result<(), &'static str> {
        let mut frame = Frame::read(bytes).map_err(|_| "a malformed membership frame")?;
        if frame.header.src.peer != from || frame.header.dst.peer != cx.core.id() {
            return Err("a membership frame from or for another peer");
        }
        if frame.header.dst.incarnation == self.own.incarnation {
            cx.core.raise(Event::Vouched(from));
        }
        frame.header.src = self.authenticate(&frame.header.src)?;
        if self.refuse_outdated(cx, &frame.header.src) {
            return Ok(());
        }
        if !self.has_room(cx.core.config.neighbours_max) && !self.knows(&from) {
            return Ok(());
        }
        let is_new = !self.knows(&from);
        frame.header.src = frame.header.src.with_address(cx.connectivity.address_of(&from));
        self.learn(cx, frame.header.src, from);
        let mut silent = Vec::new();
        if is_new && !matches!(frame.header.message, Message::Announce | Message::Gossip) {
            silent.push(Member::new(frame.header.src, frame.header.src_incarnation, State::Alive));
        }
        let is_feed = frame.header.message == Message::Feed;
        let updates = core::mem::take(&mut frame.updates);
        for update in updates {
            let is_silent = is_feed && update.state() == State::Alive && !self.knows(&update.id().peer);
            if let Some(card) = self.accept_update(cx, &update, from)? {
                let accepted = if is_silent { &mut silent } else { &mut frame.updates };
                accepted.push(Member::new(card, update.incarnation(), update.state()));
            }
        }
        self.add_silently(cx, silent);
        let clean = frame.write();
        self.run_swim(cx, |membership, effects| membership.foca.handle_data(&clean, effects))
            .map_err(|_| "a membership frame that makes no sense")
    }

    /// Adds members without gossiping them. If they were gossiped, each peer that joins a large swarm would send
    /// updates about all of its members to everyone.
    ///
    /// Two kinds of members need no gossip. Members that a feed lists have been in the swarm for a while. A sender of
    /// any other frame than an announcement or gossip has announced itself to others already.
    fn add_silently(&mut self, cx: &mut Context<'_>, members: Vec<Member<Card>>) {
        if !members.is_empty() {
            // This can only fail for this peer itself, which is not among the members.
            let _ = self
                .run_swim(cx, |membership, effects| membership.foca.apply_many(members.into_iter(), false, effects));
        }
    }

    /// Verifies a card's signature. If a card with the same name was verified before, its signature is used instead,
    /// so that this peer never passes on a signature that it did not verify.
    fn authenticate(&self, card: &Card) -> Result<Card, &'static str> {
        match self.card(&card.peer).filter(|known| *known == card) {
            Some(known) => Ok(card.with_signature_of(known)),
            None if card.is_genuine(self.run) => Ok(*card),
            None => Err("a forged member card"),
        }
    }

    /// Stores an authenticated card and its address.
    fn learn(&mut self, cx: &mut Context<'_>, card: Card, from: PeerId) {
        self.store_card(card);
        if let Some(address) = card.address {
            self.learn_address(cx, card.peer, address);
            cx.connectivity.note_introducer(card.peer, from);
        }
    }

    /// Whether this peer knows a newer card of the sender. If so it sends that card back: the sender restarted with
    /// an older number, or another process uses its key.
    fn refuse_outdated(&mut self, cx: &mut Context<'_>, card: &Card) -> bool {
        let is_outdated = self.card(&card.peer).is_some_and(|known| known.rank() > card.rank());
        if is_outdated {
            self.show_card(cx, card.peer);
        }
        is_outdated
    }

    /// Sends `peer` the newest card of it that this process knows, if any.
    pub(crate) fn show_card(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if let Some(card) = self.card(&peer).copied() {
            let mut bytes = vec![CARD];
            card.put(&mut bytes);
            self.send_datagram(cx, peer, bytes);
        }
    }

    /// Takes the newest card of this process that the sender knows. An error is an offence of the sender.
    fn on_card_frame(&mut self, cx: &mut Context<'_>, from: PeerId, mut bytes: &[u8]) -> Result<(), &'static str> {
        let card = Card::take(&mut bytes).map_err(|_| "a malformed member card")?;
        if card.peer != cx.core.id() || !bytes.is_empty() {
            return Err("a card of another peer");
        }
        if card == self.own {
            cx.core.raise(Event::Vouched(from));
        }
        self.accept_update(cx, &Member::alive(card), from).map(|_| ())
    }

    /// Checks one update of a frame, and returns the card that the library may receive.
    fn accept_update(
        &mut self,
        cx: &mut Context<'_>,
        update: &Member<Card>,
        from: PeerId,
    ) -> Result<Option<Card>, &'static str> {
        let card = *update.id();
        if card == self.own {
            return Ok(Some(self.own));
        }
        if self.card(&card.peer).is_some_and(|known| known.rank() > card.rank()) {
            return Ok(None); // an outdated update changes nothing, so its signature need not be verified
        }
        let card = self.authenticate(&card)?;
        if card.peer == cx.core.id() {
            self.on_own_card(cx, &card);
            return Ok(None);
        }
        let alive = update.state() == State::Alive;
        // A suspicion passes even so: it must spread until it reaches the suspected member, which then refutes it.
        if update.state() == State::Down && self.heard_recently(cx, &card.peer) {
            return Ok(None);
        }
        let accepted = self.knows(&card.peer) || (alive && self.has_room(0));
        if accepted {
            self.learn(cx, card, from);
        }
        Ok(accepted.then_some(card))
    }

    /// Handles an authenticated card with this peer's own key that is not its present card.
    fn on_own_card(&mut self, cx: &mut Context<'_>, card: &Card) {
        let own = self.own;
        if card.incarnation < own.incarnation && card.objects_to >= own.incarnation {
            if !self.is_second() {
                self.stop_as_second();
                cx.core.raise(Event::Second);
            }
        } else if card.incarnation > own.incarnation && own.objects_to < card.incarnation {
            let mut effects = SwimEffects::default();
            self.renew_card(cx, card.incarnation, &mut effects);
            self.apply_effects(cx, effects);
            cx.core.tell(Told::Usurped);
        } else if card.rank() > own.rank() {
            // The card is this process's own, from before a restart without a new incarnation.
            let mut effects = SwimEffects::default();
            self.replace_card(cx, card.renewals.saturating_add(1), own.objects_to.max(card.objects_to), &mut effects);
            self.apply_effects(cx, effects);
        }
    }
}

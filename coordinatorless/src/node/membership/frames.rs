//! Datagrams that come in: who may say what about whom.

use foca::{Member, Message, State};
use murmur_collectives::PeerId;

use super::{Card, Context, Event, Heard, Membership, Standing, codec::Frame};
use crate::Event as Told;

/// First byte of a SWIM frame.
pub(crate) const SWIM: u8 = 0;

/// First byte of a frame with the newest card of the receiver's own that the sender knows.
const CARD: u8 = 1;

impl Membership {
    /// Membership alone travels by datagram.
    pub(crate) fn on_datagram(&mut self, cx: &mut Context<'_>, from: PeerId, bytes: &[u8]) {
        if self.standing != Standing::Member {
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

    fn on_swim_frame(&mut self, cx: &mut Context<'_>, from: PeerId, bytes: &[u8]) -> Result<(), &'static str> {
        let mut frame = Frame::read(bytes).map_err(|_| "a malformed membership frame")?;
        if frame.header.src.peer != from || frame.header.dst.peer != cx.core.id() {
            return Err("a membership frame of or for somebody else");
        }
        if frame.header.dst.incarnation == self.own.incarnation {
            cx.core.raise(Event::Vouched(from));
        }
        frame.header.src = self.prove(&frame.header.src)?;
        if self.outdated(cx, &frame.header.src) {
            return Ok(());
        }
        if !self.has_room(cx.core.config.neighbours_max) && !self.knows(&from) {
            return Ok(());
        }
        let is_new = !self.knows(&from);
        frame.header.src = frame.header.src.seen_at(cx.connectivity.address_of(&from));
        self.learn(cx, frame.header.src, from);
        let mut old = Vec::new();
        if is_new && !matches!(frame.header.message, Message::Announce | Message::Gossip) {
            old.push(Member::new(frame.header.src, frame.header.src_incarnation, State::Alive));
        }
        let is_feed = frame.header.message == Message::Feed;
        let updates = core::mem::take(&mut frame.updates);
        for update in updates {
            let is_old = is_feed && update.state() == State::Alive && !self.knows(&update.id().peer);
            if let Some(card) = self.believes(cx, &update, from)? {
                let believed = if is_old { &mut old } else { &mut frame.updates };
                believed.push(Member::new(card, update.incarnation(), update.state()));
            }
        }
        self.take_old_news(cx, old);
        let clean = frame.write();
        self.swim(cx, |membership, heard| membership.foca.handle_data(&clean, heard))
            .map_err(|_| "a membership frame that makes no sense")
    }

    /// Takes in members that are news to nobody but this peer, so that they are not told again: whoever joins a large swarm
    /// would tell everyone of everyone. These are, of those never heard of before, the ones that a feed lists, as they are of
    /// long standing, and a sender that neither announces itself nor gossips, as it has announced itself to others.
    fn take_old_news(&mut self, cx: &mut Context<'_>, members: Vec<Member<Card>>) {
        if !members.is_empty() {
            // It could fail only for this peer itself, which is not among them.
            let _ = self.swim(cx, |membership, heard| membership.foca.apply_many(members.into_iter(), false, heard));
        }
    }

    /// Checks a card's signature, unless one with the same name has been checked before: then that one's signature stands,
    /// so that nobody passes on one that was never looked at.
    fn prove(&self, card: &Card) -> Result<Card, &'static str> {
        match self.card(&card.peer).filter(|known| *known == card) {
            Some(known) => Ok(card.proven_by(known)),
            None if card.is_genuine(self.run) => Ok(*card),
            None => Err("a forged member card"),
        }
    }

    /// Keeps a proven card and the address in it.
    fn learn(&mut self, cx: &mut Context<'_>, card: Card, from: PeerId) {
        self.keep(card);
        if let Some(address) = card.address {
            self.hear_of(cx, card.peer, address);
            cx.connectivity.note_introducer(card.peer, from);
        }
    }

    /// Whether a newer card of the sender is known. If so the sender is shown it: it restarted with an older number, or
    /// somebody else uses its key.
    fn outdated(&mut self, cx: &mut Context<'_>, card: &Card) -> bool {
        let is_outdated = self.card(&card.peer).is_some_and(|known| known.rank() > card.rank());
        if is_outdated {
            self.show_card(cx, card.peer);
        }
        is_outdated
    }

    /// Shows `peer` the newest card of its own that is known here, if one is.
    pub(crate) fn show_card(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if let Some(card) = self.card(&peer).copied() {
            let mut bytes = vec![CARD];
            card.put(&mut bytes);
            self.send_datagram(cx, peer, bytes);
        }
    }

    fn on_card_frame(&mut self, cx: &mut Context<'_>, from: PeerId, mut bytes: &[u8]) -> Result<(), &'static str> {
        let card = Card::take(&mut bytes).map_err(|_| "a malformed member card")?;
        if card.peer != cx.core.id() || !bytes.is_empty() {
            return Err("a card that concerns somebody else");
        }
        if card == self.own {
            cx.core.raise(Event::Vouched(from));
        }
        self.believes(cx, &Member::alive(card), from).map(|_| ())
    }

    /// The card of an update that may reach the library.
    fn believes(
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
            return Ok(None); // old news needs no proof
        }
        let card = self.prove(&card)?;
        if card.peer == cx.core.id() {
            self.on_own_card(cx, &card);
            return Ok(None);
        }
        let alive = update.state() == State::Alive;
        // A suspicion passes, so that it spreads until the suspect hears of it and denies it.
        if update.state() == State::Down && self.hears(cx, &card.peer) {
            return Ok(None);
        }
        let believed = self.knows(&card.peer) || (alive && self.has_room(0));
        if believed {
            self.learn(cx, card, from);
        }
        Ok(believed.then_some(card))
    }

    /// A proven card of this peer's own key that is not its present one.
    fn on_own_card(&mut self, cx: &mut Context<'_>, card: &Card) {
        let own = self.own;
        if card.incarnation < own.incarnation && card.objects_to >= own.incarnation {
            if !self.is_second() {
                self.stop_as_second();
                cx.core.raise(Event::Second);
            }
        } else if card.incarnation > own.incarnation && own.objects_to < card.incarnation {
            let mut heard = Heard::default();
            self.renew_card(cx, card.incarnation, &mut heard);
            self.follow_up(cx, heard);
            cx.core.tell(Told::Usurped);
        } else if card.rank() > own.rank() {
            // Its own, from before a restart that did not get a new number.
            let mut heard = Heard::default();
            self.replace_card(cx, card.renewals.saturating_add(1), own.objects_to.max(card.objects_to), &mut heard);
            self.follow_up(cx, heard);
        }
    }
}

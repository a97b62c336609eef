//! Gossip: a new entry is announced by name, and whoever lacks it requests it.

use murmur_collectives::{Entry, PeerId, Record};

use super::{Context, Event, Replication};
use crate::{EntryName, Item, Message, Want, message::ANSWER_BYTES};

/// Entries requested at once.
pub(crate) const WANT_MAX: u32 = 64;

/// Entries named in one announcement, at most.
const ANNOUNCE_MAX: usize = 1024;

impl Replication {
    /// Announces a new entry to a few neighbours that are not known to hold it.
    pub(super) fn announce(&mut self, cx: &mut Context<'_>, entry: Box<Entry>) {
        let name = EntryName { author: entry.author(), seq: entry.seq() };
        let holds = |peer: &PeerId| self.known(peer).is_none_or(|known| known.contains(&name.author, name.seq));
        let lacking = cx.net.near().filter(|peer| *peer != name.author && !holds(peer));
        let mut targets: Vec<PeerId> = lacking.collect();
        while targets.len() > cx.net.core.config.fanout {
            let at = cx.net.core.below(targets.len());
            targets.swap_remove(at);
        }
        for peer in targets {
            cx.net.send(peer, &Message::Announce { entries: vec![name] });
        }
        cx.net.core.raise(Event::Applied(entry));
    }

    /// A neighbour announced entries: what is lacking of them will be pulled.
    pub(crate) fn on_announce(&mut self, cx: &mut Context<'_>, from: PeerId, entries: &[EntryName]) {
        if entries.len() > ANNOUNCE_MAX {
            return cx.net.strike(from, format!("{} entries announced at once", entries.len()));
        }
        for name in entries {
            self.note(cx, &from, name.author, name.seq.saturating_add(1));
        }
    }

    /// Answers a request for a stretch of a chain. What does not fit into one answer is requested again.
    pub(crate) fn on_want(&self, cx: &mut Context<'_>, from: PeerId, want: Want) {
        let log = cx.set.fold.log();
        // Of what was excluded the newest is enough: it shows that all before it is out, too.
        let late = log.excluded(&want.author).filter(|entry| entry.seq() >= want.from);
        let mut items: Vec<Item> =
            late.map(|entry| Item { entry: entry.to_wire(), payload: None }).into_iter().collect();
        let mut bytes = 0;
        for record in log.from(&want.author, want.from).iter().take(want.count.min(WANT_MAX) as usize) {
            let item = answer(record, if want.payloads { cx.net.core.config.payload_in_message_max } else { 0 });
            bytes += item.entry.header.len() + item.payload.as_ref().map_or(0, Vec::len);
            if bytes > ANSWER_BYTES && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        cx.net.send(from, &Message::Entries { items });
    }
}

/// An entry with its payload, unless that is longer than `payload_max`.
fn answer(record: &Record, payload_max: usize) -> Item {
    let payload = record.payload.as_deref().filter(|bytes| bytes.len() <= payload_max).map(<[u8]>::to_vec);
    Item { entry: record.entry.to_wire(), payload }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, ME, enrolment, id, item};
    use super::*;

    #[test]
    fn an_entry_is_announced_to_a_few_that_lack_it_and_neither_to_its_sender_nor_to_its_author() {
        let mut bench = Bench::new(&[1, 2, 3, 4, 5, 6, 10]);
        bench.core.config.fanout = 3;
        let entry = enrolment(10, 0, &[]);
        bench.act(|machine, cx| machine.on_announce(cx, id(2), &[EntryName { author: id(10), seq: 0 }]));
        bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&entry)]));
        let sent = bench.sent();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|(_, message)| matches!(message, Message::Announce { .. })));
        assert!([1, 2, 10].iter().all(|peer| sent.iter().all(|(to, _)| *to != id(*peer))));
    }

    #[test]
    fn a_request_is_answered_with_what_is_held_and_else_with_nothing() {
        let mut bench = Bench::new(&[1]);
        let own = enrolment(ME, 0, &[]);
        bench.act(|machine, cx| drop(machine.insert_own(cx, own.clone(), None)));
        bench.sent();
        for (from, items) in [(0, vec![item(&own)]), (1, vec![])] {
            let want = Want { author: id(ME), from, count: 9, payloads: true };
            bench.act(|machine, cx| machine.on_want(cx, id(1), want));
            assert_eq!(bench.sent(), [(id(1), Message::Entries { items })]);
        }
    }
}

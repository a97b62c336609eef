//! Payloads of entries that are in the set without them. A peer that began at a final frontier got the entries below it as
//! headers; to remove updates that turn out void it needs their payloads, which are requested of random neighbours.

use std::sync::Arc;

use murmur_collectives::PeerId;

use super::{Context, Replication, long::long_payload, pending::Arrival, pull::OpenRequest};
use crate::{Want, message::Request};

impl Replication {
    /// Has payloads requested of entries that are in the set without them.
    pub(crate) fn want_payloads(&mut self, names: &[(PeerId, u32)]) {
        for name in names {
            self.payloads.entry(*name).or_insert(None);
        }
    }

    /// Another frontier is the newest: what still needs a payload names it again.
    pub(crate) fn forget_wanted_payloads(&mut self) {
        self.payloads.clear();
    }

    /// Takes the payload of an entry that is in the set without it. True if that is what came.
    pub(super) fn take_payload(&mut self, cx: &mut Context<'_>, arrival: &Arrival) -> bool {
        let name = (arrival.entry.author(), arrival.entry.seq());
        let (true, Some(payload)) = (self.payloads.contains_key(&name), &arrival.payload) else { return false };
        self.supply(cx, name, payload.clone(), arrival.from);
        true
    }

    /// Gives a payload that is wanted to the entry that lacks it.
    pub(super) fn supply(
        &mut self,
        cx: &mut Context<'_>,
        name: (PeerId, u32),
        payload: Arc<[u8]>,
        from: Option<PeerId>,
    ) {
        match cx.set.fold.supply_payload(&name.0, name.1, payload) {
            Ok(()) => {
                self.payloads.remove(&name);
                self.pending.grow(name.0);
            }
            Err(refused) => from.into_iter().for_each(|peer| cx.net.strike(peer, refused.to_string())),
        }
    }

    /// Requests payloads that nobody was asked for.
    pub(super) fn pull_payloads(&mut self, cx: &mut Context<'_>) {
        let log = cx.set.fold.log();
        let is_missing = |author: &PeerId, seq| log.record(author, seq).is_some_and(|record| record.payload.is_none());
        self.payloads.retain(|(author, seq), _| is_missing(author, *seq));
        if self.payloads.is_empty() {
            return;
        }
        let open = self.payloads.iter().filter(|(_, request)| request.is_none());
        let open: Vec<(PeerId, u32)> = open.map(|(name, _)| *name).collect();
        let peers: Vec<PeerId> = cx.net.peers().collect();
        for (author, seq) in open.into_iter().filter(|_| !peers.is_empty()) {
            let record = cx.set.fold.log().record(&author, seq);
            if let Some((root, bytes)) = record.and_then(|record| long_payload(&record.entry, &cx.net.core.config)) {
                self.long.want((author, seq), root, bytes);
                continue;
            }
            let to = peers[cx.net.core.below(peers.len())];
            let want = Request::Entries(Want { author, from: seq, count: 1, payloads: true });
            self.payloads.insert((author, seq), Some(OpenRequest { to, deadline: cx.net.overdue_at(&want) }));
            cx.net.request(to, want);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, enrolment, id, item};
    use super::*;

    #[test]
    fn a_payload_is_requested_until_its_entry_is_gone_or_has_it() {
        let mut bench = Bench::new(&[1]);
        bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&enrolment(10, 0, &[]))]));
        bench.sent();
        bench.machine.want_payloads(&[(id(10), 0), (id(11), 0)]);

        bench.act(Replication::pull);
        let want = crate::Message::Want(Want { author: id(10), from: 0, count: 1, payloads: true });
        assert_eq!(bench.sent(), [(id(1), want.clone())], "the other entry is not in the set");
        bench.act(Replication::pull);
        assert_eq!(bench.sent(), []);

        bench.pass(bench.core.config.request_timeout * 10);
        bench.act(Replication::requests_due);
        bench.act(Replication::pull);
        assert_eq!(bench.sent(), [(id(1), want)]);

        bench.machine.forget_wanted_payloads();
        assert_eq!(bench.machine.awaited(), (0, 0));
    }
}

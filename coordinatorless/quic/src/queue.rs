//! The send queue of one peer: bounded, and ordered by priority.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// The priority of a message. Messages of a higher priority overtake others, in the queue and inside the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Version vectors, announcements, requests: small messages on which others depend.
    Control,
    /// Update headers and verdicts.
    Header,
    /// Update payloads.
    Payload,
    /// Chunks of states and carries: large messages that can wait.
    Bulk,
}

impl Priority {
    const ALL: [Self; 4] = [Self::Control, Self::Header, Self::Payload, Self::Bulk];

    /// QUIC's stream priority: higher goes first.
    pub(crate) fn stream(self) -> i32 {
        -(self as i32)
    }

    /// Messages of this priority in flight at once. The large kinds get few, so that a receiver that stalls them
    /// still has streams and window left for the small kinds.
    fn in_flight_max(self) -> usize {
        match self {
            Self::Control | Self::Header => 16,
            Self::Payload => 8,
            Self::Bulk => 4,
        }
    }

    /// The part of a limit up to which messages of this priority are queued, so that a queue full of bulk still has room for
    /// control.
    fn share(self, limit: usize) -> usize {
        match self {
            Self::Control | Self::Header => limit,
            Self::Payload => limit - limit / 4,
            Self::Bulk => limit / 2,
        }
    }
}

/// The outcome of [`SendQueue::push`]. A message that was not queued is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    Full,
    Closed,
}

/// The queue of one peer. A message counts against the limits from `push` until it is acknowledged or lost.
#[derive(Debug)]
pub(crate) struct SendQueue {
    bytes_max: usize,
    messages_max: usize,
    state: Mutex<State>,
    changed: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    lanes: [VecDeque<Bytes>; 4],
    in_flight: [usize; 4],
    bytes: usize,
    messages: usize,
    closed: bool,
}

impl State {
    /// The message of the highest priority that may be sent now.
    fn pop(&mut self) -> Option<(Priority, Bytes)> {
        let State { lanes, in_flight, .. } = self;
        Priority::ALL.into_iter().find_map(|priority| {
            let lane = priority as usize;
            let message = (in_flight[lane] < priority.in_flight_max()).then(|| lanes[lane].pop_front()).flatten()?;
            in_flight[lane] += 1;
            Some((priority, message))
        })
    }
}

impl SendQueue {
    pub(crate) fn new(bytes_max: usize, messages_max: usize) -> Self {
        let state = Mutex::new(State::default());
        Self { bytes_max, messages_max, state, changed: Notify::new(), emptied: Notify::new() }
    }

    /// Adds `message`, or refuses it. Never waits.
    pub(crate) fn push(&self, priority: Priority, message: Bytes) -> Pushed {
        let mut state = self.lock();
        if state.closed {
            return Pushed::Closed;
        }
        let bytes = state.bytes.saturating_add(message.len());
        if bytes > priority.share(self.bytes_max) || state.messages >= priority.share(self.messages_max) {
            return Pushed::Full;
        }
        state.bytes = bytes;
        state.messages += 1;
        state.lanes[priority as usize].push_back(message);
        drop(state);
        self.changed.notify_one();
        Pushed::Queued
    }

    /// Waits for the next message to send. Cancel-safe.
    pub(crate) async fn next(self: &Arc<Self>) -> InFlight {
        loop {
            if let Some((priority, message)) = self.lock().pop() {
                return InFlight { queue: self.clone(), priority, message };
            }
            self.changed.notified().await;
        }
    }

    /// Takes no more messages; those that are queued are still sent.
    pub(crate) fn finish(&self) {
        self.lock().closed = true;
    }

    /// Takes no more messages and drops those that are queued. Returns how many it dropped.
    pub(crate) fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let dropped: Vec<Bytes> = state.lanes.iter_mut().flat_map(std::mem::take).collect();
        state.bytes -= dropped.iter().map(Bytes::len).sum::<usize>();
        state.messages -= dropped.len();
        drop(state);
        self.emptied.notify_waiters();
        dropped.len()
    }

    /// Returns once no message is queued or in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().messages == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn release(&self, priority: Priority, bytes: usize) {
        let mut state = self.lock();
        state.in_flight[priority as usize] -= 1;
        state.bytes -= bytes;
        state.messages -= 1;
        drop(state);
        self.changed.notify_one();
        self.emptied.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the queue")
    }
}

/// A message in flight. Dropping it frees its share of the queue.
#[derive(Debug)]
pub(crate) struct InFlight {
    queue: Arc<SendQueue>,
    pub(crate) priority: Priority,
    pub(crate) message: Bytes,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.queue.release(self.priority, self.message.len());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn queue(bytes_max: usize, messages_max: usize) -> Arc<SendQueue> {
        Arc::new(SendQueue::new(bytes_max, messages_max))
    }

    #[tokio::test]
    async fn urgent_messages_overtake_and_equals_keep_their_order() {
        let queue = queue(100, 100);
        for (priority, text) in
            [(Priority::Bulk, "d"), (Priority::Payload, "c"), (Priority::Control, "a"), (Priority::Control, "b")]
        {
            assert_eq!(queue.push(priority, text.into()), Pushed::Queued);
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(queue.next().await.message.clone());
        }
        assert_eq!(order, ["a", "b", "c", "d"]);
    }

    #[tokio::test]
    async fn bytes_count_until_the_message_is_no_longer_in_flight() {
        let queue = queue(10, 100);
        assert_eq!(queue.push(Priority::Control, vec![0; 10].into()), Pushed::Queued);
        assert_eq!(queue.push(Priority::Control, vec![0; 1].into()), Pushed::Full);
        let in_flight = queue.next().await;
        assert_eq!(queue.push(Priority::Control, vec![0; 1].into()), Pushed::Full);
        drop(in_flight);
        assert_eq!(queue.push(Priority::Control, vec![0; 10].into()), Pushed::Queued);
    }

    #[test]
    fn bulk_fills_half_and_control_still_fits() {
        let queue = queue(1 << 20, 8);
        let pushed: Vec<_> = (0..5).map(|_| queue.push(Priority::Bulk, Bytes::new())).collect();
        assert_eq!(pushed, [Pushed::Queued, Pushed::Queued, Pushed::Queued, Pushed::Queued, Pushed::Full]);
        assert_eq!(queue.push(Priority::Control, Bytes::new()), Pushed::Queued);
    }

    #[tokio::test]
    async fn stalled_bulk_does_not_hold_back_control() {
        let queue = queue(1000, 1000);
        for _ in 0..10 {
            queue.push(Priority::Bulk, "bulk".into());
        }
        let mut stalled = Vec::new();
        while let Some((priority, _)) = queue.lock().pop() {
            stalled.push(priority);
        }
        assert_eq!(stalled.len(), Priority::Bulk.in_flight_max());
        queue.push(Priority::Control, "now".into());
        assert_eq!(queue.next().await.message, "now");
    }

    #[tokio::test]
    async fn a_closed_queue_is_drained_when_the_last_message_in_flight_ends() {
        let queue = queue(100, 100);
        queue.push(Priority::Control, "gone".into());
        let in_flight = queue.next().await;
        queue.push(Priority::Control, "forgotten".into());
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.push(Priority::Control, "late".into()), Pushed::Closed);
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.drained().await }
        });
        drop(in_flight);
        waiting.await.unwrap();
        assert_eq!(queue.lock().bytes, 0);
    }
}

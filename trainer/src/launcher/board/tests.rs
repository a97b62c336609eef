//! Rounds, rates, bytes and departures, from reports alone.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::protocol::sample_reports as sample;

const SECOND: Duration = Duration::from_secs(1);

fn board() -> Board {
    let mut board = Board::new(4);
    (0..4).for_each(|index| board.started(index, sample::started(index)));
    assert!(board.ready());
    board.begin(10 * SECOND);
    board
}

/// Four peers finish their `seq`-th segments at `now`; the set grows by each.
fn segments(board: &mut Board, seq: u64, now: Duration) -> Vec<Round> {
    let set_tokens = |index: u64| seq * 4_000 + (index + 1) * 1_000;
    let report = |index: u64| Segment { set_tokens: set_tokens(index), ..sample::segment(seq) };
    (0..4).filter_map(|index| board.segment(index as usize, report(index), now, None)).collect()
}

#[test]
fn a_round_is_one_segment_of_every_live_peer() {
    let mut board = board();
    assert_eq!(segments(&mut board, 0, 11 * SECOND).len(), 1);
    let rounds = segments(&mut board, 1, 13 * SECOND);
    let [round] = rounds.as_slice() else { panic!("one round, not {}", rounds.len()) };
    assert_eq!((round.number, round.tokens, round.peers), (2, 8_000, 4));
    assert_eq!(round.tokens_per_second, 4_000.0 / 2.0);
    assert_eq!(round.tokens_per_second_self, 10.0 * 100.0 / 0.5);
    assert_eq!(round.loss, 4.9);
    assert_eq!(round.val_loss, Some(4.5));
    assert_eq!(round.seconds, 3.0);
    assert_eq!(round.eta_seconds, Some((80_000.0 - 8_000.0) / 2_000.0));
    assert_eq!(round.bytes_sent, 4 * 120_000);
    assert_eq!(round.audits, Audits { passed: 1, failed: 0 });
}

#[test]
fn dense_bytes_follow_the_formula() {
    let mut board = board();
    (0..5).for_each(|seq| drop(segments(&mut board, seq, (11 + u32::try_from(seq).unwrap()) * SECOND)));
    let expected = allreduce_bytes(20_000, 4, 4, 100, 1_000_000);
    assert!((board.bytes_allreduce / expected - 1.0).abs() < 1e-12);
}

#[test]
fn a_time_limit_may_end_the_run_first() {
    let mut board = board();
    (0..3).for_each(|index| {
        let early = Segment { set_tokens: 1_000 * (index + 1), ..sample::segment(0) };
        assert_eq!(board.segment(index as usize, early, 11 * SECOND, None), None);
    });
    let round = board.segment(3, sample::segment(0), 11 * SECOND, Some(5 * SECOND)).unwrap();
    assert_eq!(round.eta_seconds, Some(5.0));
}

#[test]
fn the_rest_go_on_when_one_dies() {
    let mut board = board();
    segments(&mut board, 0, 11 * SECOND);
    let told = board.gone(0, "killed by signal 9").unwrap();
    assert_eq!((told.kind, told.detail.as_str()), (EventKind::Departed, "killed by signal 9"));
    assert_eq!(told.peer_id, sample::peer_id(0));
    let dead = sample::event(EventKind::Departed, &sample::peer_id(0));
    assert_eq!(board.event(1, dead, 12 * SECOND), None, "it has been told");
    let alone = Segment { set_tokens: 7_000, peers: 2, ..sample::segment(1) };
    let round = board.segment(1, alone, 12 * SECOND, None);
    assert_eq!(round, None, "a round is 4000 tokens until the next one begins");
    let round = board.segment(2, Segment { set_tokens: 8_000, peers: 2, ..sample::segment(1) }, 12 * SECOND, None);
    // The fourth has not noticed yet.
    assert_eq!(round.unwrap().peers, 4);
    assert_eq!(board.next_round_at, 8_000 + 4 * 1_000);
    assert_eq!(board.bytes_sent(), 60_000 * 2 + 120_000 * 2, "what the dead one sent still counts");
}

#[test]
fn a_finished_peer_leaves_without_news() {
    let mut board = board();
    board.finished(2, sample::finished(2));
    assert_eq!(board.gone(2, "exit 0"), None);
}

#[test]
fn a_joiner_counts_from_the_set_it_starts_with() {
    let mut board = Board::new(1);
    board.started(0, sample::started(0));
    board.begin(SECOND);
    let first = Segment { clock: 50_000, set_tokens: 55_000, peers: 4, seconds: 1.0, ..sample::segment(0) };
    let round = board.segment(0, first, 7 * SECOND, None).unwrap();
    assert_eq!((round.peers, round.tokens_per_second), (5, 5_000.0));
    assert_eq!(round.bytes_allreduce, allreduce_bytes(5_000, 5, 1, 100, 1_000_000));
}

#[test]
fn a_board_is_ready_when_every_peer_is_up_or_gone() {
    let mut board = Board::new(2);
    board.started(0, sample::started(0));
    assert!(!board.ready());
    assert_eq!(board.gone(1, "exit 1"), None, "no peer had reported it yet");
    assert!(board.ready());
}

#[test]
fn no_round_ends_before_the_first_screen() {
    let mut board = Board::new(2);
    board.started(0, sample::started(0));
    assert_eq!(board.segment(0, sample::segment(0), SECOND, None), None);
    board.started(1, sample::started(1));
    board.begin(2 * SECOND);
    assert!(board.segment(0, sample::segment(1), 3 * SECOND, None).is_some());
}

#[test]
fn a_visitor_that_reconnects_at_once_never_left() {
    let mut board = board();
    let visitor = sample::peer_id(9);
    let event = |kind| sample::event(kind, &visitor);
    assert!(board.event(0, event(EventKind::Joined), SECOND).is_some());
    assert_eq!(board.event(0, event(EventKind::Departed), 2 * SECOND), None);
    assert_eq!(board.event(0, event(EventKind::Joined), 3 * SECOND), None);
    assert_eq!(board.overdue(60 * SECOND), []);
    assert_eq!(board.event(0, event(EventKind::Departed), 61 * SECOND), None);
    assert_eq!(board.overdue(62 * SECOND), []);
    let told = board.overdue(64 * SECOND);
    assert_eq!((told.len(), told[0].kind), (1, EventKind::Departed));
    assert_eq!(board.overdue(65 * SECOND), [], "once");
}

#[test]
fn departures_while_draining_are_no_news() {
    let mut board = board();
    let visitor = sample::peer_id(9);
    assert!(board.event(0, sample::event(EventKind::Joined, &visitor), SECOND).is_some());
    board.event(0, sample::event(EventKind::Departed, &visitor), 2 * SECOND);
    board.draining();
    assert_eq!(board.overdue(60 * SECOND), []);
}

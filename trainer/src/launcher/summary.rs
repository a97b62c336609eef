//! The end of a run: one row per local peer, totals, and the verdict whether all state roots agree.

use std::{collections::BTreeSet, path::Path};

use super::board::{Board, Seat, mean};
use crate::{
    error::{Exit, Failure, shell::shell_word},
    observe::views::{Agreement, Row, Summary, hex_start},
    protocol::{Ages, Finished, Started},
};

/// The result after `seconds` of training; `None` when no peer finished.
pub(super) fn summary(board: &Board, run_id: &str, state_dir: &str, seconds: f64) -> Option<Summary> {
    let finished = || board.seats.iter().filter_map(|seat| seat.finished.as_ref());
    let evicted: BTreeSet<_> = finished().flat_map(|finished| finished.evicted.iter().cloned()).collect();
    let sound: Vec<_> = finished().filter(|finished| !evicted.contains(&finished.peer_id)).collect();
    // When every local peer was evicted, their states are all there is to show.
    let shown = if sound.is_empty() { finished().collect() } else { sound.clone() };
    let first = shown.first()?;
    let had_ended = shown.iter().all(|finished| finished.steps_self == 0 && finished.reason == "budget");
    let grown = if had_ended { 0 } else { board.tokens - board.tokens_start.min(board.tokens) };
    Some(Summary {
        run_id: run_id.to_owned(),
        state_dir: state_dir.to_owned(),
        peers: board.seats.iter().filter(|seat| seat.started.is_some()).count(),
        survivors: sound.len(),
        tokens: shown.iter().map(|finished| finished.tokens_set).max().unwrap_or(0),
        updates: shown.iter().map(|finished| finished.updates).max().unwrap_or(0),
        loss_first: loss(board, &evicted, first_loss),
        loss_final: loss(board, &evicted, last_loss),
        val_loss: weighted_loss(&shown),
        state_root: first.state_root.clone(),
        agreement: agreement(&shown),
        comparisons: shown.iter().fold((0, 0), |(equal, different), finished| {
            (equal + finished.roots_matched, different + finished.roots_differed)
        }),
        bytes_sent: board.bytes_sent(),
        bytes_allreduce: board.bytes_allreduce,
        payload_bits_per_param: mean(shown.iter().map(|finished| finished.payload_bits_per_param)).unwrap_or(0.0),
        staleness_tokens: staleness(&shown),
        audits: board.audits(),
        evicted: evicted.into_iter().collect(),
        had_ended,
        checkpoint: shown.iter().find_map(|finished| finished.checkpoint.clone()),
        seconds,
        tokens_per_second: grown as f64 / seconds.max(1e-3),
        rows: board.seats.iter().filter_map(row).collect(),
    })
}

/// Nothing when the run ended well; else why not.
pub(super) fn verdict(summary: &Summary) -> Result<(), Failure> {
    if summary.survivors == 0 {
        return Err(Failure::new(Exit::Evicted, "every peer of this machine was evicted"));
    }
    match summary.agreement {
        Agreement::Equal => Ok(()),
        Agreement::Broken => Err(Failure::new(Exit::Bug, "peers hold the same updates and different states")
            .because(format!("their state roots are in the table; the run is {}", hex_start(&summary.run_id)))),
        Agreement::Unsettled => Err(Failure::new(Exit::TryAgain, "peers ended with different sets of updates")
            .because("some of the last updates did not reach everyone in time")
            .hint(format!("murmur run --resume {} lets them settle.", shell_word(Path::new(&summary.state_dir))))),
    }
}

/// Compares the ends of several peers.
pub(super) fn agreement(finished: &[&Finished]) -> Agreement {
    let distinct = |text: fn(&Finished) -> &str| finished.iter().map(|end| text(end)).collect::<BTreeSet<_>>().len();
    if distinct(|end| &end.version) > 1 {
        Agreement::Unsettled
    } else if distinct(|end| &end.state_root) > 1 {
        Agreement::Broken
    } else {
        Agreement::Equal
    }
}

/// The mean of one loss per sound peer.
fn loss(board: &Board, evicted: &BTreeSet<String>, of: fn(&Seat) -> Option<f64>) -> f64 {
    let is_sound = |started: &Started| !evicted.contains(&started.peer_id);
    let sound = board.seats.iter().filter(|seat| seat.started.as_ref().is_some_and(is_sound));
    mean(sound.filter_map(of)).unwrap_or(f64::NAN)
}

fn first_loss(seat: &Seat) -> Option<f64> {
    let finished = seat.finished.as_ref().filter(|finished| finished.steps_self > 0);
    finished.map(|finished| finished.loss_first).or(seat.loss_first)
}

fn last_loss(seat: &Seat) -> Option<f64> {
    let finished = seat.finished.as_ref().filter(|finished| finished.steps_self > 0);
    finished.map(|finished| finished.loss_last).or(seat.newest.as_ref().map(|segment| segment.loss))
}

fn weighted_loss(finished: &[&Finished]) -> f64 {
    let bytes: u64 = finished.iter().map(|finished| finished.val_bytes).sum();
    let sum: f64 = finished.iter().map(|finished| finished.val_loss * finished.val_bytes as f64).sum();
    sum / bytes as f64
}

fn staleness(finished: &[&Finished]) -> Option<(f64, u64)> {
    let mut ages = Ages::default();
    finished.iter().for_each(|finished| ages.add_all(&finished.ages));
    Some((ages.mean()?, ages.quantile(0.95)?))
}

fn row(seat: &Seat) -> Option<Row> {
    let started = seat.started.as_ref()?;
    let (segment, finished) = (seat.newest.as_ref(), seat.finished.as_ref());
    let received = segment.map(|segment| segment.bytes_received).max(finished.map(|finished| finished.bytes_received));
    let updates = finished.map(|finished| finished.seq).or(segment.map(|segment| segment.seq + 1));
    let tokens = finished.map(|finished| finished.tokens_self).or(segment.map(|segment| segment.tokens_self));
    let unfinished = if seat.lost.is_some() { "lost" } else { "gone" };
    Some(Row {
        petname: started.petname.clone(),
        end: finished.map_or(unfinished, |finished| &finished.reason).to_owned(),
        updates: updates.unwrap_or(0),
        tokens: tokens.unwrap_or(0),
        loss: last_loss(seat),
        bytes_sent: seat.bytes_sent(),
        bytes_received: received.unwrap_or(0),
        state_root: finished.map(|finished| finished.state_root.clone()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{observe::views::Audits, protocol::sample_reports as sample};

    fn board(ends: &[Finished]) -> Board {
        let mut board = Board::new(ends.len());
        (0..ends.len()).for_each(|index| board.started(index, sample::started(index)));
        board.begin(std::time::Duration::ZERO);
        ends.iter().enumerate().for_each(|(index, end)| board.finished(index, end.clone()));
        board
    }

    fn summary(ends: &[Finished]) -> Summary {
        super::summary(&board(ends), &"0f".repeat(32), "/tmp/run", 10.0).unwrap()
    }

    #[test]
    fn equal_roots_end_well() {
        let summary = summary(&[sample::finished(0), sample::finished(1)]);
        assert_eq!(summary.agreement, Agreement::Equal);
        assert!(verdict(&summary).is_ok());
        assert_eq!((summary.peers, summary.survivors, summary.tokens, summary.updates), (2, 2, 80_000, 80));
        assert_eq!((summary.loss_first, summary.loss_final), (5.5, 2.4));
        assert_eq!(summary.tokens_per_second, 8_000.0);
        assert_eq!(summary.bytes_sent, 2_400_000);
        assert_eq!(summary.audits, Audits { passed: 7, failed: 0 });
        assert_eq!(summary.staleness_tokens, Some((280.0, 992)), "the second is rounded down");
    }

    #[test]
    fn the_validation_loss_is_weighted_by_bytes() {
        let more = Finished { val_loss: 3.5, val_bytes: 3_000, ..sample::finished(1) };
        assert_eq!(summary(&[sample::finished(0), more]).val_loss, (2.5 + 3.0 * 3.5) / 4.0);
    }

    #[test]
    fn different_roots_for_one_set_are_a_bug_and_different_sets_are_not() {
        let root = Finished { state_root: "bb".repeat(32), ..sample::finished(1) };
        let broken = verdict(&summary(&[sample::finished(0), root.clone()])).unwrap_err();
        assert_eq!(broken.exit(), Exit::Bug);
        let set = Finished { version: "dd".repeat(32), ..root };
        let unsettled = verdict(&summary(&[sample::finished(0), set])).unwrap_err();
        assert_eq!(unsettled.exit(), Exit::TryAgain);
    }

    #[test]
    fn an_evicted_peer_has_no_say() {
        let cheat = sample::peer_id(1);
        let honest = Finished { evicted: vec![cheat.clone()], ..sample::finished(0) };
        let evicted = Finished {
            evicted: vec![cheat.clone()],
            state_root: "bb".repeat(32),
            loss_last: 99.0,
            reason: "evicted".to_owned(),
            ..sample::finished(1)
        };
        let summary = summary(&[honest, evicted.clone()]);
        assert!(verdict(&summary).is_ok());
        assert_eq!((summary.survivors, summary.evicted), (1, vec![cheat.clone()]));
        assert_eq!(summary.loss_final, 2.4);
        assert_eq!(summary.rows[1].end, "evicted");
        let alone = Finished { peer_id: sample::peer_id(0), evicted: vec![sample::peer_id(0)], ..evicted };
        assert_eq!(verdict(&self::summary(&[alone])).unwrap_err().exit(), Exit::Evicted);
    }

    #[test]
    fn a_killed_peer_keeps_its_row_and_its_bytes() {
        let mut board = board(&[sample::finished(0), sample::finished(1)]);
        board.seats[1].finished = None;
        board.segment(1, sample::segment(3), std::time::Duration::ZERO, None);
        let summary = super::summary(&board, "", "", 1.0).unwrap();
        assert_eq!((summary.peers, summary.survivors), (2, 1));
        assert_eq!(summary.rows[1].end, "gone");
        assert_eq!((summary.rows[1].updates, summary.rows[1].tokens), (4, 4_000));
        assert_eq!(summary.bytes_sent, 1_200_000 + 240_000);
        assert!(verdict(&summary).is_ok());
    }

    #[test]
    fn no_finished_peer_is_no_summary() {
        assert_eq!(super::summary(&Board::new(2), "", "", 1.0), None);
    }
}

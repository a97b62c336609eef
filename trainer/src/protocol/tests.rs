//! Every report survives a round trip, and the schema strings are the documented ones.
#![allow(clippy::unwrap_used)]

use super::sample_reports as sample;
use super::*;

#[test]
fn every_report_survives_a_round_trip() {
    let all = [
        (Report::Started(sample::started(0)), "murmur.peer.started/1"),
        (Report::Segment(sample::segment(3)), "murmur.peer.segment/1"),
        (Report::Folded(Folded { author: sample::peer_id(1), seq: 7, at_us: u64::MAX }), "murmur.peer.folded/1"),
        (Report::Excluded(Excluded { counts: [(sample::peer_id(1), 7)].into() }), "murmur.peer.excluded/1"),
        (Report::Event(sample::event(EventKind::Joined, "ab")), "murmur.peer.event/1"),
        (Report::Finished(sample::finished(0)), "murmur.peer.finished/1"),
        (Report::Error(sample::fault()), "murmur.peer.error/1"),
    ];
    for (report, schema) in all {
        let line = report.to_line();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["schema"], schema);
        assert_eq!(Report::from_line(&line).unwrap(), report);
    }
}

#[test]
fn a_loss_that_is_not_a_number_is_still_a_report() {
    let mut segment = sample::segment(0);
    segment.loss = f64::NAN;
    let line = Report::Segment(segment).to_line();
    assert!(line.contains("\"loss\":null"));
    assert!(matches!(Report::from_line(&line).unwrap(), Report::Segment(read) if read.loss.is_nan()));
}

#[test]
fn an_unknown_schema_is_refused() {
    assert!(Report::from_line(r#"{"schema":"murmur.peer.segment/2"}"#).is_err());
    assert!(Report::from_line("hello").is_err());
}

#[test]
fn every_event_kind_is_written_as_its_name() {
    use EventKind as K;
    let kinds = [K::Joined, K::Departed, K::AuditPassed, K::AuditFailed, K::Evicted];
    let more = [K::Diverged, K::CaughtUp, K::BadInput, K::Checkpoint, K::SetAside, K::Banned, K::Usurped];
    let others = [K::Final, K::Stalled, K::PortMap, K::Unfinished];
    for kind in kinds.into_iter().chain(more).chain(others) {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
    }
}

#[test]
fn commands_survive_a_round_trip() {
    let address = "[::1]:4500".parse().unwrap();
    for command in [Command::Connect(address), Command::Begin, Command::Drain, Command::Halt] {
        assert_eq!(command.to_string().parse(), Ok(command));
    }
    assert!("connect nowhere".parse::<Command>().is_err());
    assert!("dance".parse::<Command>().is_err());
}

//! The first screen fits, round lines parse, JSON has every promised key, and results come last.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    error::Exit,
    observe::views::{Agreement, Audits, Row},
    protocol::{EventKind, sample_reports as sample},
};

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pages(format: Format) -> (Output, Page, Page) {
    let (stdout, stderr) = (Page::default(), Page::default());
    (Output::to(format, Box::new(stdout.clone()), Box::new(stderr.clone())), stdout, stderr)
}

fn opening(joined: bool) -> Opening {
    Opening {
        ticket: "murmur1aeaa".to_owned(),
        join: "murmur join murmur1aeaa --data '/my text'".to_owned(),
        run_id: "0f".repeat(32),
        state_dir: "/tmp/run".to_owned(),
        peers: (0..4).map(sample::started).collect(),
        joined,
    }
}

fn round() -> Round {
    Round {
        number: 12,
        tokens: 737_280,
        loss: 2.913,
        val_loss: None,
        tokens_per_second_self: 1310.0,
        tokens_per_second: 5240.0,
        peers: 4,
        bytes_sent: 1_234_567,
        bytes_allreduce: 246_913_400.0,
        audits: Audits { passed: 7, failed: 1 },
        seconds: 61.0,
        eta_seconds: Some(250.0),
    }
}

fn summary() -> Summary {
    Summary {
        run_id: "0f".repeat(32),
        state_dir: "/tmp/run".to_owned(),
        peers: 4,
        survivors: 4,
        tokens: 80_000,
        updates: 80,
        loss_first: 5.5,
        loss_final: 2.4,
        val_loss: 2.5,
        state_root: "aa".repeat(32),
        agreement: Agreement::Equal,
        comparisons: (12, 0),
        bytes_sent: 1_000_000,
        bytes_allreduce: 2e8,
        staleness_tokens: Some((900.0, 2_560)),
        payload_bits_per_param: 0.15,
        audits: Audits { passed: 7, failed: 0 },
        evicted: vec![sample::peer_id(3)],
        had_ended: false,
        checkpoint: Some("/tmp/run/peer-0/checkpoint-1.safetensors".to_owned()),
        seconds: 10.0,
        tokens_per_second: 8000.0,
        rows: vec![Row {
            petname: "calm-heron-0000".to_owned(),
            end: "budget".to_owned(),
            updates: 20,
            tokens: 20_000,
            loss: Some(2.4),
            bytes_sent: 250_000,
            bytes_received: 250_000,
            state_root: Some("aa".repeat(32)),
        }],
    }
}

#[test]
fn the_first_screen_has_at_most_eight_lines_and_says_what_matters() {
    let (mut output, stdout, stderr) = pages(Format::Text);
    output.opening(&opening(false));
    let text = stdout.text();
    assert!(text.lines().count() <= 8, "{text}");
    let parts =
        ["calm-heron-0003", "cpu", "40.0 MB", "1.0 M parameters", "murmur join murmur1aeaa", "/metrics", "Ctrl-C"];
    parts.into_iter().for_each(|part| assert!(text.contains(part), "{part} is missing in:\n{text}"));
    assert_eq!(stderr.text(), "");
}

#[test]
fn a_volunteer_reads_what_leaves_the_machine() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.opening(&opening(true));
    assert!(stdout.text().lines().count() <= 8);
    assert!(stdout.text().contains("nothing else leaves this machine"));
}

#[test]
fn a_round_line_is_pairs_of_key_and_value() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.round(&round());
    assert_eq!(
        stdout.text(),
        "round=12 tokens=737280 loss=2.913 val=- tok_s_self=1310 tok_s_swarm=5240 peers=4 sent=1.2MB \
         reduction=200.0x audits=7+1 eta=4m10s\n"
    );
    assert!(stdout.text().split_whitespace().all(|pair| pair.split('=').count() == 2));
}

#[test]
fn json_is_one_object_a_line_with_its_schema() {
    let (mut output, stdout, stderr) = pages(Format::Json);
    output.opening(&opening(false));
    output.round(&round());
    let happening = EventLine {
        kind: EventKind::Departed,
        peer_id: sample::peer_id(1),
        petname: "calm-heron-0001".to_owned(),
        detail: "killed by signal 9".to_owned(),
    };
    output.event(&happening);
    output.summary(&summary());
    let text = stdout.text();
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schemas: Vec<_> = objects.iter().map(|object| object["schema"].as_str().unwrap()).collect();
    assert_eq!(schemas, ["murmur.started/1", "murmur.round/1", "murmur.event/1", "murmur.summary/1"]);
    for key in ["petname", "peer_id", "pid", "address", "metrics", "state_dir"] {
        assert!(!objects[0]["peers"][3][key].is_null(), "{key}");
    }
    assert!(text.lines().all(|line| line.starts_with("{\"schema\":\"murmur.")));
    assert_eq!(objects[0]["ticket"], "murmur1aeaa");
    assert_eq!(objects[1]["val_loss"], Value::Null);
    assert_eq!(objects[2]["kind"], "departed");
    assert_eq!(stderr.text(), "");
}

#[test]
fn the_summary_has_every_promised_key() {
    let object = json::summary(&summary());
    let promised = [
        "peers",
        "tokens",
        "updates",
        "loss_first",
        "loss_final",
        "val_loss",
        "state_root",
        "state_roots_equal",
        "bytes_sent",
        "bytes_allreduce",
        "reduction",
        "payload_bits_per_param",
        "staleness_tokens_mean",
        "staleness_tokens_p95",
        "audits",
        "evicted",
        "seconds",
        "tokens_per_second",
    ];
    promised.into_iter().for_each(|key| assert!(!object[key].is_null(), "{key}"));
    assert_eq!(object["state_roots_equal"], true);
    assert_eq!(object["reduction"], 200.0);
    assert_eq!(object["audits"]["passed"], 7);
    let broken = json::summary(&Summary { agreement: Agreement::Broken, ..summary() });
    assert_eq!(broken["state_roots_equal"], false);
}

#[test]
fn the_text_summary_gives_the_verdict() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.summary(&summary());
    let text = stdout.text();
    let parts = [
        "calm-heron-0000",
        "last loss: a peer's mean training loss",
        "All 4 state roots agree",
        "200 times more",
        "7 passed, 0 failed",
        "murmur sample",
    ];
    parts.into_iter().for_each(|part| assert!(text.contains(part), "{part} is missing in:\n{text}"));
}

#[test]
fn a_failure_is_the_last_object_unless_the_result_is() {
    let failure = || Failure::new(Exit::NoPeers, "no peer answered");
    let (mut output, stdout, stderr) = pages(Format::Json);
    output.failure(failure());
    let object: Value = serde_json::from_str(stdout.text().lines().last().unwrap()).unwrap();
    assert_eq!((object["schema"].as_str(), object["code"].as_u64()), (Some("murmur.error/1"), Some(40)));
    assert!(stderr.text().contains("no peer answered"));
    let (mut output, stdout, _) = pages(Format::Json);
    output.summary(&summary());
    output.failure(failure());
    assert_eq!(stdout.text().lines().count(), 1);
}

#[test]
fn a_reader_that_left_is_noticed() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut output = Output::to(Format::Text, Box::new(Gone), Box::new(io::sink()));
    assert_eq!(output.end_of_output(), None);
    output.round(&round());
    assert!(output.end_of_output().is_some_and(|why| why.contains("Nobody reads")));
    assert!(output.check().is_ok(), "it is no error to read only the beginning");
}

#[test]
fn an_output_that_cannot_be_written_is_no_reader_that_left() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut output = Output::to(Format::Json, Box::new(Full), Box::new(io::sink()));
    output.round(&round());
    assert!(output.end_of_output().is_some_and(|why| why.contains("cannot be written")));
    assert_eq!(output.check().unwrap_err().exit(), Exit::DiskFull);
}

#[test]
fn a_finished_run_that_is_resumed_says_that_there_is_nothing_to_do() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.summary(&Summary { had_ended: true, loss_first: f64::NAN, loss_final: f64::NAN, ..summary() });
    assert!(stdout.text().contains("Nothing to do") && !stdout.text().contains("NaN"), "{}", stdout.text());
}

#[test]
fn what_was_not_saved_is_not_offered() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.summary(&Summary { checkpoint: None, ..summary() });
    assert!(!stdout.text().contains("murmur sample"), "{}", stdout.text());
}

#[test]
fn a_path_in_a_printed_command_is_one_word() {
    let (mut output, stdout, _) = pages(Format::Text);
    output.summary(&Summary { state_dir: "/my runs/1".to_owned(), ..summary() });
    assert!(stdout.text().contains("--state-dir '/my runs/1' "), "{}", stdout.text());
}

#[test]
fn amounts_are_short() {
    assert_eq!([0, 999, 1_000, 2_500_000].map(bytes), ["0 B", "999 B", "1.0 kB", "2.5 MB"]);
    assert_eq!([7.0, 1_234.0, 3.2e6].map(short), ["7", "1.2 k", "3.2 M"]);
    assert_eq!([0.4, 59.0, 185.0, 7_440.0].map(duration), ["0s", "59s", "3m05s", "2h04m"]);
}

#[test]
fn the_schema_comes_first_whatever_else_there_is() {
    assert_eq!(line(&serde_json::json!({ "a": 1, "schema": "s/1" })), r#"{"schema":"s/1","a":1}"#);
    assert_eq!(line(&serde_json::json!({ "schema": "s/1" })), r#"{"schema":"s/1"}"#);
    assert_eq!(line(&serde_json::json!([1])), "[1]");
}

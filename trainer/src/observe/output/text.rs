//! The same for people: a first screen of eight lines, `key=value` lines, a table and a verdict.

use std::path::Path;

use super::table::{Column, table, terminal_width};
use crate::error::shell::shell_word;
use crate::observe::views::{
    Agreement, EventLine, Opening, Round, Row, Summary, count, hex_start, petname_of, reduction,
};

/// The first screen, at most eight lines.
pub(super) fn opening(opening: &Opening) -> String {
    let Some(first) = opening.peers.first() else {
        return String::new();
    };
    let names: Vec<_> = opening.peers.iter().map(|peer| peer.petname.as_str()).collect();
    let run = hex_start(&opening.run_id);
    let more = match opening.peers.len() {
        0 | 1 => String::new(),
        peers => format!("  (and {} more)", peers - 1),
    };
    let who = format!("{} in run {run}: {}", count(names.len(), "peer"), names.join(", "));
    let data = format!(
        "{}, {} to learn from, {} held out",
        first.data,
        bytes(first.train_bytes),
        bytes(first.validation_bytes)
    );
    let model = format!(
        "byte-level GPT, {} parameters, {} tokens in all",
        short(first.params as f64),
        short(first.run_tokens as f64)
    );
    let share = if opening.joined {
        ("shares", "model updates, your public key and your IP address; nothing else leaves this machine".to_owned())
    } else {
        ("join", opening.join.clone())
    };
    let lines = [
        ("run", who),
        ("device", format!("{} ({})", first.device, first.class)),
        ("data", data),
        ("model", model),
        share,
        ("metrics", format!("{}{more}", first.metrics)),
        ("state", opening.state_dir.clone()),
        ("stop", "Ctrl-C once finishes and settles; twice stops at once".to_owned()),
    ];
    lines.map(|(label, text)| format!("{label:<8} {text}")).join("\n")
}

/// One stable line: `key=value`, separated by spaces, `-` for what is not known.
pub(super) fn round(round: &Round) -> String {
    let times = reduction(round.bytes_allreduce, round.bytes_sent);
    [
        format!("round={}", round.number),
        format!("tokens={}", round.tokens),
        format!("loss={:.3}", round.loss),
        format!("val={}", known(round.val_loss, |loss| format!("{loss:.3}"))),
        format!("tok_s_self={:.0}", round.tokens_per_second_self),
        format!("tok_s_swarm={:.0}", round.tokens_per_second),
        format!("peers={}", round.peers),
        format!("sent={}", bytes(round.bytes_sent).replace(' ', "")),
        format!("reduction={}", known(times, |times| format!("{times:.1}x"))),
        format!("audits={}+{}", round.audits.passed, round.audits.failed),
        format!("eta={}", known(round.eta_seconds, duration)),
    ]
    .join(" ")
}

/// One line: what happened to whom.
pub(super) fn event(event: &EventLine) -> String {
    let colon = if event.detail.is_empty() { "" } else { ": " };
    format!("{} {}{colon}{}", event.kind.name(), event.petname, event.detail)
}

/// The table of peers, the totals, and the verdict.
pub(super) fn summary(summary: &Summary) -> String {
    let table = rows(&summary.rows, terminal_width());
    if summary.had_ended {
        let tokens = short(summary.tokens as f64);
        let ended = format!(
            "Nothing to do: the run had ended before, with {tokens} tokens. {:.3} nats/byte on held-out text.",
            summary.val_loss
        );
        return [String::new(), table, ended, verdict(summary), sample(summary)].join("\n");
    }
    let loss = format!(
        "Loss went from {:.2} to {:.2} nats/byte, {:.3} on held-out text, with {} tokens in {} ({} tokens/s).",
        summary.loss_first,
        summary.loss_final,
        summary.val_loss,
        short(summary.tokens as f64),
        duration(summary.seconds),
        short(summary.tokens_per_second),
    );
    [
        String::new(),
        table,
        LOSSES.to_owned(),
        loss,
        traffic(summary),
        verification(summary),
        verdict(summary),
        sample(summary),
    ]
    .join("\n")
}

/// What to do with the model, if one was kept.
fn sample(summary: &Summary) -> String {
    match summary.checkpoint {
        Some(_) => {
            let folder = shell_word(Path::new(&summary.state_dir));
            format!("murmur sample --state-dir {folder} --prompt \"fn main\" writes with it.")
        }
        None => "No checkpoint of the final model was written.".to_owned(),
    }
}

/// Under the table: a loss of one segment is not the model's, and a round does not measure again.
const LOSSES: &str = "last loss: a peer's mean training loss in its last segment. val= in the lines above: measured now and then, \
    and repeated until the next time.";

/// The columns of the table per peer.
const COLUMNS: [Column; 8] = [
    Column::text("peer", 0),
    Column::text("end", 0),
    Column::number("updates", 3),
    Column::number("tokens", 0),
    Column::number("last loss", 0),
    Column::number("sent", 0),
    Column::number("received", 4),
    Column::text("state root", 0),
];

fn rows(rows: &[Row], width: Option<usize>) -> String {
    let cells = |row: &Row| {
        vec![
            row.petname.clone(),
            row.end.clone(),
            row.updates.to_string(),
            row.tokens.to_string(),
            known(row.loss, |loss| format!("{loss:.3}")),
            bytes(row.bytes_sent),
            bytes(row.bytes_received),
            row.state_root.as_deref().map_or("-", hex_start).to_owned(),
        ]
    };
    table(&COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>(), width)
}

fn traffic(summary: &Summary) -> String {
    let age = |(mean, p95): (f64, u64)| {
        format!(" Updates joined {} tokens of others late, 95 % of them at most {}.", short(mean), short(p95 as f64))
    };
    let age = summary.staleness_tokens.map(age).unwrap_or_default();
    let payload = format!("Payloads took {:.3} bit per parameter.{age}", summary.payload_bits_per_param);
    match reduction(summary.bytes_allreduce, summary.bytes_sent) {
        Some(times) => format!(
            "Sent {}; a dense all-reduce after every step would have sent {}, {times:.0} times more. {payload}",
            bytes(summary.bytes_sent),
            bytes(summary.bytes_allreduce as u64),
        ),
        None => format!("Sent {}. {payload}", bytes(summary.bytes_sent)),
    }
}

fn verification(summary: &Summary) -> String {
    let evicted: Vec<_> = summary.evicted.iter().map(|id| petname_of(id)).collect();
    let evicted = if evicted.is_empty() { "nobody".to_owned() } else { evicted.join(", ") };
    format!("Audits: {} passed, {} failed; evicted: {evicted}.", summary.audits.passed, summary.audits.failed)
}

fn verdict(summary: &Summary) -> String {
    let (peers, root) = (summary.survivors, hex_start(&summary.state_root));
    let updates = summary.updates;
    match summary.agreement {
        _ if peers == 0 => "No peer of this machine is left in the model.".to_owned(),
        Agreement::Equal if peers == 1 => format!(
            "State root {root} after {updates} updates; equal to a neighbour's {} times, different {} times.",
            summary.comparisons.0, summary.comparisons.1
        ),
        Agreement::Equal => {
            format!("All {peers} state roots agree: {root} after the same {updates} updates, bit for bit.")
        }
        Agreement::Broken => "State roots DIFFER for the same updates: this is a bug.".to_owned(),
        Agreement::Unsettled => "State roots differ, because the peers ended with different updates.".to_owned(),
    }
}

fn known<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// `950 B`, `1.2 MB`: powers of 1000.
pub(crate) fn bytes(bytes: u64) -> String {
    let scaled = |unit: f64, name: &str| format!("{:.1} {name}", bytes as f64 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => scaled(1e3, "kB"),
        1_000_000..1_000_000_000 => scaled(1e6, "MB"),
        1_000_000_000..1_000_000_000_000 => scaled(1e9, "GB"),
        _ => scaled(1e12, "TB"),
    }
}

/// `950`, `1.2 M`.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1} k", n / 1e3),
        n if n < 1e9 => format!("{:.1} M", n / 1e6),
        n => format!("{:.1} G", n / 1e9),
    }
}

/// `42s`, `3m05s`, `2h04m`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

//! `murmur status` and `murmur peers`: the runs of this machine, asked of each peer on loopback.

use serde_json::{Value, json};

use super::arguments::StatusArgs;
use crate::{
    error::{Exit, Failure},
    observe::{
        output::{Column, Output, bytes, short, table, terminal_width},
        status::{Found, Neighbour, Status, StepsStatus, ask, find},
        views::{count, hex_start},
    },
    run::state_dir,
};

/// What was found: the peers that answered, those that run and did not, and how many do not run.
struct Census {
    answered: Vec<Status>,
    silent: Vec<Found>,
    idle: usize,
}

/// One line per peer of this machine that runs.
///
/// # Errors
/// [`Exit::Config`] when this account has no folder to look in; [`Exit::Data`] when the folder that was named does not exist.
pub(super) fn status(arguments: &StatusArgs, output: &mut Output) -> Result<(), Failure> {
    let census = census(arguments)?;
    remark(&census, output);
    let object = json!({
        "schema": "murmur.status/1", "peers": census.answered, "not_answering": folders(&census), "idle": census.idle,
    });
    output.result(&status_text(&census.answered), &object);
    Ok(())
}

/// One line per neighbour of each.
///
/// # Errors
/// As [`status`].
pub(super) fn peers(arguments: &StatusArgs, output: &mut Output) -> Result<(), Failure> {
    let census = census(arguments)?;
    remark(&census, output);
    let of = |status: &Status| json!({ "peer_id": status.peer_id, "petname": status.petname, "run_id": status.run_id, "neighbours": status.neighbours });
    let object = json!({ "schema": "murmur.peers/1", "peers": census.answered.iter().map(of).collect::<Vec<_>>() });
    output.result(&peers_table(&census.answered), &object);
    Ok(())
}

fn census(arguments: &StatusArgs) -> Result<Census, Failure> {
    let root = arguments.state_dir.clone().map_or_else(state_dir::default_root, Ok)?;
    if let Some(named) = arguments.state_dir.as_ref().filter(|named| !named.is_dir()) {
        return Err(Failure::new(Exit::Data, format!("there is no folder {}", named.display()))
            .at("--state-dir")
            .hint("Name the folder that a run printed as `state`. Without --state-dir all runs of this account are shown."));
    }
    let (running, idle): (Vec<Found>, Vec<Found>) = find(&root).into_iter().partition(|found| found.runs);
    let mut census = Census { answered: Vec::new(), silent: Vec::new(), idle: idle.len() };
    for found in running {
        match found.http.and_then(|http| ask(http).ok()) {
            Some(status) => census.answered.push(status),
            None => census.silent.push(found),
        }
    }
    Ok(census)
}

fn folders(census: &Census) -> Vec<Value> {
    census.silent.iter().map(|found| json!(found.folder.to_string_lossy())).collect()
}

fn remark(census: &Census, output: &mut Output) {
    for found in &census.silent {
        output.note(&format!("The peer in {} runs but does not answer.", found.folder.display()));
    }
    if census.answered.is_empty() && census.silent.is_empty() {
        output.note(&format!("No peer runs here; {} could be started again.", count(census.idle, "peer")));
    }
}

/// The columns of `murmur status`.
const STATUS: [Column; 11] = [
    Column::text("peer", 0),
    Column::text("run", 4),
    Column::text("doing", 0),
    Column::number("loss", 0),
    Column::number("held out", 0),
    Column::number("own", 6),
    Column::text("set", 0),
    Column::text("final", 5),
    Column::text("neighbours", 1),
    Column::number("sent", 2),
    Column::number("received", 3),
];

/// The columns of `murmur peers`.
const PEERS: [Column; 5] = [
    Column::text("peer", 0),
    Column::text("neighbour", 0),
    Column::text("address", 1),
    Column::text("reached", 0),
    Column::text("membership", 2),
];

/// The table, and below it why segments are as long as they are.
fn status_text(peers: &[Status]) -> String {
    let steps = peers.iter().filter_map(|peer| Some(format!("{}: {}", peer.petname, steps(peer.steps.as_ref()?))));
    [status_table(peers)].into_iter().chain(steps).collect::<Vec<_>>().join("\n")
}

/// `8 steps a segment (5 to 100), what the link carries: …`.
fn steps(status: &StepsStatus) -> String {
    let uplink = status.uplink_bytes_per_second.map_or_else(
        || "faster than can be measured".to_owned(),
        |uplink| format!("{}/s, {:.2} s for them", bytes(uplink), status.link_seconds),
    );
    let allowed =
        if status.least == status.most { String::new() } else { format!(" ({} to {})", status.least, status.most) };
    let denser = if status.top < status.top_most { format!(" (up to {})", status.top_most) } else { String::new() };
    format!(
        "{}{allowed}, {} of 4096 parameters{denser}, {}: a step takes {:.3} s, a segment sends {} (payload {}), {}, up-link {uplink}",
        count(status.steps as usize, "step"),
        status.top,
        status.reason.words(),
        status.step_seconds,
        bytes(status.segment_bytes),
        bytes(status.payload_bytes),
        count(status.peers as usize, "neighbour"),
    )
}

fn status_table(peers: &[Status]) -> String {
    let cells = |peer: &Status| {
        vec![
            peer.petname.clone(),
            hex_start(&peer.run_id).to_owned(),
            peer.phase.words().to_owned(),
            loss(peer.loss),
            loss(peer.validation_loss),
            short(peer.tokens_self as f64),
            format!("{} of {}", short(peer.set.tokens as f64), short(peer.set.tokens_budget as f64)),
            format!("{} (epoch {})", short(peer.set.final_tokens as f64), peer.set.final_epoch),
            neighbours(&peer.neighbours),
            bytes(peer.bytes_sent),
            bytes(peer.bytes_received),
        ]
    };
    show(&STATUS, &peers.iter().map(cells).collect::<Vec<_>>())
}

fn peers_table(peers: &[Status]) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let cells = |peer: &Status, neighbour: &Neighbour| {
        vec![
            peer.petname.clone(),
            neighbour.petname.clone(),
            known(&neighbour.address),
            way(neighbour),
            known(&neighbour.member),
        ]
    };
    let rows = peers.iter().flat_map(|peer| peer.neighbours.iter().map(move |neighbour| cells(peer, neighbour)));
    show(&PEERS, &rows.collect::<Vec<_>>())
}

/// Nothing where there is nothing to show.
fn show(columns: &[Column], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { table(columns, rows, terminal_width()) }
}

fn way(neighbour: &Neighbour) -> String {
    match (&neighbour.reach, &neighbour.relay) {
        (Some(reach), Some(relay)) => format!("{reach} by {relay}"),
        (Some(reach), None) => reach.clone(),
        (None, _) => "-".to_owned(),
    }
}

fn loss(loss: Option<f64>) -> String {
    loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.3}"))
}

/// `5: 3 direct, 2 relayed`; only the number where it is not known how they are reached.
fn neighbours(neighbours: &[Neighbour]) -> String {
    let ways = ["direct", "punched", "relayed"].map(|way| {
        let many = neighbours.iter().filter(|neighbour| neighbour.reach.as_deref() == Some(way)).count();
        (many > 0).then(|| format!("{many} {way}"))
    });
    let ways = ways.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if ways.is_empty() { neighbours.len().to_string() } else { format!("{}: {ways}", neighbours.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{StepsReason, fixture_of_steps as fixture};

    #[test]
    fn the_length_of_segments_is_explained() {
        let linked = fixture();
        assert_eq!(
            steps(&linked),
            "8 steps (5 to 100), 64 of 4096 parameters (up to 4096), what the link carries: a step takes 0.080 s, a segment \
            sends 159.0 kB (payload 52.0 kB), 3 neighbours, up-link 250.0 kB/s, 0.64 s for them"
        );
        let set = StepsStatus {
            steps: 1,
            least: 1,
            most: 1,
            top_most: 64,
            reason: StepsReason::Set,
            uplink_bytes_per_second: None,
            ..linked
        };
        assert!(
            steps(&set).starts_with("1 step, 64 of 4096 parameters, set: ")
                && steps(&set).ends_with("up-link faster than can be measured")
        );
    }

    #[test]
    fn ways_are_counted() {
        let one = |reach: Option<&str>| Neighbour {
            peer_id: String::new(),
            petname: String::new(),
            address: None,
            reach: reach.map(str::to_owned),
            relay: None,
            member: None,
        };
        assert_eq!(neighbours(&[one(None), one(None)]), "2");
        assert_eq!(
            neighbours(&[one(Some("direct")), one(Some("relayed")), one(Some("direct"))]),
            "3: 2 direct, 1 relayed"
        );
    }
}

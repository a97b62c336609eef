//! Shaped links from a shell.
//!
//! `cargo run --release -p murmur --example links -- run PROFILE PEERS COMMAND…` runs a command once for each peer, each in a
//! namespace behind such a link, and waits for all, or until one fails; `{rank}`, `{peers}`, `{address}` and `{first}` (the address of peer 0) stand
//! for what they say. Ends with 1 if one of them failed, and with 0 and the reason where links cannot be shaped. Needs root.

use std::{
    process::{Child, ExitCode},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use murmur::bench::links::{LinkProfile, Namespaces, NoLinks, PEERS_MAX};
use serde_json::json;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", profile, peers, _, ..] => match peers.parse() {
            Ok(peers) if (1..=PEERS_MAX).contains(&peers) => run(profile, peers, &words[3..]),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("links run PROFILE PEERS COMMAND…, with 1 to {PEERS_MAX} peers");
    ExitCode::from(2)
}

fn run(profile: &str, peers: usize, words: &[String]) -> ExitCode {
    let profile = match LinkProfile::named(profile) {
        Ok(profile) => profile,
        Err(unknown) => {
            eprintln!("{unknown}");
            return ExitCode::from(2);
        }
    };
    let links = match Namespaces::create(profile, peers) {
        Ok(links) => links,
        Err(NoLinks::Missing(why)) => {
            println!("skipped: {why}");
            return ExitCode::SUCCESS;
        }
        Err(failed @ NoLinks::Failed { .. }) => {
            eprintln!("{failed}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("{} peers behind {} links, by {}", peers, profile.name, links.method());
    let mut started = Vec::new();
    for rank in 0..peers {
        match start(&links, rank, peers, words) {
            Ok(child) => started.push(child),
            Err(error) => {
                eprintln!("cannot start `{}`: {error}", words[0]);
                return ExitCode::FAILURE;
            }
        }
    }
    let good = wait(&mut started);
    let sent: Vec<_> = (0..peers).map(|rank| links.sent_bytes(rank)).collect();
    println!("{}", json!({ "profile": profile.name, "sent_ip_bytes": sent, "good": good }));
    ExitCode::from(u8::from(!good))
}

/// Waits until all have ended well, or one has not, or this program is told to end. What is left ends with the links.
fn wait(started: &mut [Child]) -> bool {
    static TOLD: AtomicBool = AtomicBool::new(false);
    // Without a handler it ends at once, and the next one tidies up.
    let _ = ctrlc::set_handler(|| TOLD.store(true, Relaxed));
    while !TOLD.load(Relaxed) {
        let ended: Vec<_> = started.iter_mut().map(|child| child.try_wait().ok().flatten()).collect();
        if ended.iter().flatten().any(|status| !status.success()) {
            return false;
        }
        if ended.iter().all(Option::is_some) {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    false
}

fn start(links: &Namespaces, rank: usize, peers: usize, words: &[String]) -> std::io::Result<Child> {
    let fill = |word: &String| {
        word.replace("{rank}", &rank.to_string())
            .replace("{peers}", &peers.to_string())
            .replace("{address}", &links.address(rank).to_string())
            .replace("{first}", &links.address(0).to_string())
    };
    links.command(rank, fill(&words[0])).args(words[1..].iter().map(fill)).spawn()
}

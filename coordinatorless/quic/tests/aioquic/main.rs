//! A QUIC implementation that is not ours (Python's aioquic) against a peer: garbage on every kind of stream and frame.
//!
//! The test makes its own virtual environment under the target folder. Where Python or its packages cannot be had it says
//! so and passes.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use murmur_collectives::Identity;
use murmur_quic::{Priority, Transport, TransportConfig, TransportEvent};
use tokio::time::timeout;

/// Bounds how long a failing test takes.
const PATIENCE: Duration = Duration::from_secs(120);

const PACKAGES: [&str; 1] = ["aioquic==1.7.2"];

fn output(program: &Path, words: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(words).stdin(Stdio::null()).output();
    let Output { status, stderr, .. } = ran.map_err(|error| format!("{}: {error}", program.display()))?;
    let last = String::from_utf8_lossy(&stderr).lines().last().unwrap_or_default().to_owned();
    if status.success() { Ok(()) } else { Err(format!("{} {}: {last}", program.display(), words.join(" "))) }
}

/// A Python that has the packages, or why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aioquic-venv");
    let python = folder.join("bin/python");
    if output(&python, &["-c", "import aioquic, asyncio; asyncio.timeout"]).is_ok() {
        return Ok(python);
    }
    output(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()])?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"];
    output(&python, &[&install[..], &PACKAGES[..]].concat())?;
    Ok(python)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_throwing_garbage_harms_nobody() {
    let python = match tokio::task::spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: no aioquic here: {reason}"),
    };
    let start = |secret: u8| {
        let mut config = TransportConfig::new(([127, 0, 0, 1], 0).into());
        config.message_timeout = Duration::from_secs(2);
        config.idle_timeout = PATIENCE;
        config.handshake_timeout = PATIENCE / 4;
        Transport::bind(&Identity::from_secret(&[secret; 32]), config).unwrap()
    };
    let ((victim, mut events), (friend, mut friendly)) = (start(1), start(2));
    friend.dial(victim.local_addr(), Some(victim.peer_id()));
    assert!(matches!(friendly.recv().await, Some(TransportEvent::Connected { .. })));

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aioquic/hostile.py");
    let mut attacking = tokio::process::Command::new(python)
        .args([script.as_os_str(), victim.local_addr().port().to_string().as_ref()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut messages, mut strangers) = (0, 0);
    let status = loop {
        tokio::select! {
            status = attacking.wait() => break status.unwrap(),
            event = timeout(PATIENCE, events.recv()) => match event.expect("the attack ends").unwrap() {
                TransportEvent::Message { from, .. } => messages += usize::from(from != friend.peer_id()),
                TransportEvent::Connected { peer, .. } => strangers += usize::from(peer != friend.peer_id()),
                TransportEvent::Disconnected { peer, .. } => assert_ne!(peer, friend.peer_id()),
                _ => {}
            },
        }
    };
    assert!(status.success(), "the attacker failed: {status}");
    let traffic = victim.traffic();
    println!("{strangers} strangers, {messages} messages, {traffic:?}");
    // The attacks were real: strangers got in, were heard, and were cut off where they broke a rule.
    assert!(strangers >= 5 && messages >= 5);
    assert!(traffic.messages_rx_too_long >= 1 && traffic.messages_rx_aborted >= 1 && traffic.refused >= 2);
    assert!(traffic.datagrams_rx >= 1 && traffic.datagrams_rx_dropped >= 1);

    friend.send(victim.peer_id(), Priority::Control, "still here?".into()).unwrap();
    loop {
        match timeout(PATIENCE, events.recv()).await.expect("the friend is heard").unwrap() {
            TransportEvent::Message { from, bytes } if from == friend.peer_id() => {
                assert_eq!(bytes, b"still here?");
                break;
            }
            _ => {}
        }
    }
}

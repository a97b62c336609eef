//! Peers behind NATs, in network namespaces: `experiments/nat/run.sh` on the two kinds that are hardest, on
//! pairs behind one NAT of either kind, with IPv6, and behind two NATs each, and on symmetric ones whose router
//! maps a port: by the `router` example, which gives leases of four seconds, so that the mapping holds only if it is renewed,
//! and by miniupnpd, with UPnP and with PCP.
//!
//! Needs root, iproute2 and nftables. Where they are missing the script says so, and the test passes; it leaves out the pairs
//! with miniupnpd where that is not installed, and says so, too.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

#[test]
fn peers_behind_nats_reach_each_other_straight_where_possible_and_by_relay_where_not() {
    // Cargo builds the examples before it runs the tests: target/release/deps/nat-… and target/release/examples/reach.
    let own = std::env::current_exe().unwrap();
    let reach = own.parent().and_then(Path::parent).unwrap().join("examples/reach");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/nat/run.sh");
    if !cfg!(target_os = "linux") {
        return println!("skipped: network namespaces are Linux's");
    }
    let ran = Command::new("bash").arg(script).arg(reach).env("KINDS", "port-restricted symmetric").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "not every pair ended up as it should");
    let pairs = 25 - said.matches("left out: ").count();
    let all = format!("all {pairs} pairs as expected");
    assert!(said.contains(&all) || said.starts_with("skipped: "), "the script ran to its end");
}

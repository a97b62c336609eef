//! `murmur estimate`: what a run will take, before it starts.
//!
//! Memory follows from the buffers that the code makes (`resources`), traffic from formulas (`traffic`), time from a few seconds
//! of the work itself on this machine (`calibrate`). `link` is what a user says of the network, `report` what is shown.

mod calibrate;
mod link;
mod report;
mod traffic;

use murmur_kernels::TopK;

use crate::{
    config::Settings,
    error::Failure,
    launcher::threads,
    learn::segment::carry_shape,
    resources::{Need, Shape},
    run::manifest::DENSITIES,
};

pub use calibrate::{Speed, measure};
pub use link::Link;
pub use report::{to_json, to_text};
pub use traffic::Traffic;

/// Peers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peers {
    /// Of the whole swarm, all taken to be as fast as those of this machine.
    pub swarm: usize,
    /// Of them, on this machine.
    pub local: usize,
}

/// What a run will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Who takes part.
    pub peers: Peers,
    /// Parameters of the model.
    pub parameters: u64,
    /// Tokens of all peers together.
    pub tokens: u64,
    /// Memory of one peer.
    pub need: Need,
    /// How many of every 4096 parameters an update carries.
    pub top: u16,
    /// Bytes of one peer, a segment.
    pub traffic: Traffic,
    /// What was measured here.
    pub speed: Speed,
    /// What the machine is connected by.
    pub link: Link,
    /// Seconds of a peer's segment if no link holds it up.
    pub segment_seconds: f64,
    /// The part of its time in which a peer can work and is not held up by the link, 0 to 1.
    pub utilisation: f64,
    /// From an update's end until all others have it, seconds: announcement, request, and the transfer to each of them.
    pub delay_seconds: f64,
    /// From the first segment to the last.
    pub training_seconds: f64,
}

impl Estimate {
    /// Of a run with these settings; `text` is its bytes.
    ///
    /// # Errors
    /// Those of [`measure`].
    pub fn new(settings: &Settings, peers: Peers, text: u64, link: Link) -> Result<Self, Failure> {
        let each = threads(settings.device.threads, peers.local);
        let speed = measure(settings, peers, each)?;
        Ok(Self::of(settings, peers, Shape::of_settings(settings, text, each).need(), speed, link))
    }

    /// What follows from a speed.
    fn of(settings: &Settings, peers: Peers, need: Need, speed: Speed, link: Link) -> Self {
        let parameters = settings.model.params();
        let sealed = carry_shape(settings.train.optimizer, &settings.model.layout()).sealed_bytes() as u64;
        // What others audit of this peer's work, this peer audits of theirs.
        let replays = if peers.swarm > 1 { settings.audit.rate } else { 0.0 };
        let segment_tokens = settings.segment_tokens() as f64;
        let segment_seconds = segment_tokens / speed.tokens_per_second * (1.0 + replays);
        let all = |bytes: u64| bytes as f64 * peers.local as f64;
        let busy = |bytes: u64, rate: Option<f64>| rate.map_or(0.0, |rate| all(bytes) / rate / segment_seconds);
        let load = |traffic: Traffic| busy(traffic.up, link.up).max(busy(traffic.down, link.down));
        let traffic = |top| {
            let top = TopK::new(top).expect("the table of settings has only densities that there are");
            Traffic::of(settings, peers.swarm, traffic::payload_bytes(top, parameters), sealed)
        };
        // As each peer chooses: the densest updates that the link carries, or the sparsest.
        let (sparsest, densest) = (settings.compress.top, settings.compress.top_max);
        let between = DENSITIES.into_iter().rev().filter(|top| (sparsest..densest).contains(top));
        let carried = |top: &u16| *top == sparsest || load(traffic(*top)) < 1.0;
        let top = [densest].into_iter().chain(between).find(carried).unwrap_or(sparsest);
        let traffic = traffic(top);
        let load = load(traffic);
        let utilisation = 1.0 / load.max(1.0);
        let others = peers.swarm.saturating_sub(1) as u64;
        let sending = link.up.map_or(0.0, |rate| (others * traffic.payload) as f64 / rate);
        let delay_seconds = if others == 0 { 0.0 } else { 1.5 * link.rtt_seconds + sending };
        let segments = settings.run.tokens as f64 / segment_tokens / peers.swarm as f64;
        Self {
            peers,
            parameters: parameters as u64,
            tokens: settings.run.tokens,
            need,
            top,
            traffic,
            speed,
            link,
            segment_seconds,
            utilisation,
            delay_seconds,
            training_seconds: segments * segment_seconds / utilisation,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Inputs, Resolved};

    pub(super) fn settings(sets: &[&str]) -> Settings {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap()
    }

    pub(super) fn estimate(sets: &[&str], peers: usize, link: &str) -> Estimate {
        let settings = settings(sets);
        let speed = Speed { tokens_per_second: 1000.0, step_share: 0.8, seconds: 3.0 };
        let need = Shape::of_settings(&settings, 0, 1).need();
        Estimate::of(&settings, Peers { swarm: peers, local: 1 }, need, speed, Link::parse(link).unwrap())
    }

    #[test]
    fn without_a_limit_a_run_takes_what_its_tokens_take() {
        let alone = estimate(&["run.tokens=1M"], 1, "loopback");
        assert!((alone.training_seconds - 1000.0).abs() < 1e-6 && alone.utilisation == 1.0);
        assert_eq!((alone.traffic.up, alone.traffic.down, alone.delay_seconds), (0, 0, 0.0));
        let four = estimate(&["run.tokens=1M", "audit.rate=0"], 4, "loopback");
        assert!((four.training_seconds - 250.0).abs() < 1e-6);
        let audited = estimate(&["run.tokens=1M", "audit.rate=1"], 4, "loopback");
        assert!((audited.training_seconds - 500.0).abs() < 1e-6, "every segment is done twice");
    }

    #[test]
    fn a_link_that_carries_half_leaves_half_of_the_time() {
        let dense = ["compress.top=4096"];
        let free = estimate(&dense, 4, "1000/1000/1");
        let need = free.traffic.up as f64 * 8.0 / 1e6 / free.segment_seconds;
        let half_of_it = format!("{}/1000/1", need / 2.0);
        let half = estimate(&dense, 4, &half_of_it);
        assert!((half.utilisation - 0.5).abs() < 1e-3, "{}", half.utilisation);
        assert!((half.training_seconds - 2.0 * free.training_seconds).abs() < 0.01 * free.training_seconds);
        let chosen = estimate(&[], 4, &half_of_it);
        assert_eq!((chosen.top, chosen.utilisation), (512, 1.0), "peers send less where the choice is theirs");
        assert_eq!(estimate(&[], 4, &format!("{}/1000/1", need / 1000.0)).top, 64, "and no less than that");
        assert!(half.delay_seconds > free.delay_seconds);
    }
}

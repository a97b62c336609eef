//! The table of settings: the only place with their names, defaults, limits and advice.

use std::sync::LazyLock;

use core::ops::RangeInclusive;

use murmur_collectives::Rules;

use super::key::{Key, Kind};
use crate::learn::{
    model::{FAMILIES, Family},
    numeric::Numeric,
};

/// The setting that chooses the architecture, where there are several.
pub(super) const ARCHITECTURE: &str = "model.architecture";

/// The word that leaves a number to the program.
const AUTO: &str = "auto";

/// Every setting there is, in the order of the sections of `run.toml`.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    [start(), models(&FAMILIES), training(), exchange(), length(), machine()].into_iter().flatten().collect()
});

/// A limit defined where the number is used, as a limit of a setting.
fn range<N: Copy + TryInto<u64>>(limits: &RangeInclusive<N>) -> RangeInclusive<u64> {
    let whole = |number: N| number.try_into().unwrap_or(u64::MAX);
    whole(*limits.start())..=whole(*limits.end())
}

/// The shortest sequence of any architecture: no run has fewer tokens.
fn shortest_context() -> u64 {
    let dimensions = FAMILIES.iter().flat_map(|family| family.dimensions);
    let contexts = dimensions.filter(|dimension| dimension.setting == "model.context");
    contexts.map(|dimension| *range(&dimension.range).start()).min().unwrap_or(1)
}

/// The setting called `name`.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn start() -> Vec<Key> {
    vec![
        Key::whole(
            "seed",
            0..=u64::MAX,
            "1",
            "",
            "Where the initial parameters and the order of the data come from. \
            Two runs with the same seed and data start alike.",
        ),
        Key::word(
            "numeric",
            Numeric::NAMES,
            "exact",
            "The numeric profile. exact: murmur's own kernels, the same bits on every processor, so that any peer can \
            audit any other. class: burn's kernels, the same bits only on machines alike, which audit each other.",
        ),
    ]
}

/// The dimensions of all architectures, and which it is where there are several. Of dimensions with one name the first
/// describes the setting, and any of the limits may be reached.
fn models(families: &[&'static Family]) -> Vec<Key> {
    let doc = "The model's architecture. Each takes those of the settings model.* that are its dimensions.";
    let names: Vec<&'static str> = families.iter().map(|family| family.name).collect();
    let mut keys = Vec::new();
    if let [first, _, ..] = names[..] {
        keys.push(Key::word(ARCHITECTURE, names.leak(), first, doc));
    }
    for dimension in families.iter().flat_map(|family| family.dimensions) {
        let allowed = range(&dimension.range);
        match keys.iter_mut().find(|key| key.name == dimension.setting) {
            Some(key) => key.widen(&allowed),
            None => {
                keys.push(Key::whole(dimension.setting, allowed, dimension.default, dimension.unit, dimension.doc));
            }
        }
    }
    keys
}

fn training() -> Vec<Key> {
    vec![
        Key::whole(
            "train.batch",
            1..=4096,
            "2",
            "sequences",
            "Sequences per inner step and peer. Larger is steadier \
            and uses the processor better; the swarm's batch is this times the number of peers.",
        ),
        Key::word_or_whole(
            "train.steps",
            AUTO,
            range(&Rules::STEPS),
            "auto",
            "inner steps",
            "Inner steps per segment, H: how long a peer works before it shares. Traffic falls in proportion to H, and so does \
            what a token teaches. auto: each peer chooses, after each of its segments, from the time of a step, the bytes that a \
            segment makes it send and the speed of its up-link, round trips not counted: 5 where the link carries them in less \
            time than 5 steps compute, else as many as it takes, up to train.steps_max. `murmur status` shows the choice and \
            why. With auto or a number alike, a peer so slow that the swarm would pass half of finality.every meanwhile makes \
            shorter segments.",
        ),
        Key::whole(
            "train.steps_max",
            range(&Rules::STEPS),
            "100",
            "inner steps",
            "The most inner steps of a segment where train.steps is auto. A higher limit lets a slower link keep up; beyond 100 \
            little is learned from a token. Where train.steps is a number it has no effect.",
        ),
        Key::word(
            "train.optimizer",
            &["muon", "adamw"],
            "muon",
            "The inner optimizer. muon: Muon for the matrices between activations, AdamW for embeddings, head, gains and \
            biases; learns most per token. adamw: AdamW for all; a step costs less.",
        ),
        Key::real(
            "train.lr",
            1e-7..=1.0,
            "0.003",
            "Peak learning rate of AdamW. Too high diverges (exit 50), too low \
            wastes tokens; tune this one first, by factors of two.",
        ),
        Key::real(
            "train.muon_lr",
            1e-7..=1.0,
            "0.02",
            "Peak learning rate of Muon: how far a matrix moves in one step, along each of its directions. Follows the same \
            schedule as train.lr. With AdamW alone it has no effect.",
        ),
        Key::real(
            "train.muon_momentum",
            0.0..=0.9999,
            "0.95",
            "How long Muon remembers gradients. Rarely worth changing.",
        ),
        Key::real("train.beta1", 0.0..=0.9999, "0.9", "How long AdamW remembers gradients. Rarely worth changing."),
        Key::real(
            "train.beta2",
            0.0..=0.99999,
            "0.95",
            "How long AdamW remembers squared gradients. Small batches \
            want it nearer to 1.",
        ),
        Key::real(
            "train.weight_decay",
            0.0..=1.0,
            "0.1",
            "Pull of matrices towards zero per step, times train.lr. 0 switches it off.",
        ),
        Key::whole(
            "train.warmup_tokens",
            0..=u64::MAX,
            "30k",
            "tokens",
            "Token clock until which the learning rate \
            rises to its peak. About 2 % of run.tokens.",
        ),
        Key::real(
            "train.lr_final_fraction",
            0.0..=1.0,
            "0.1",
            "The learning rate at the end of the run, as a \
            fraction of its peak; between, it follows a cosine of the token clock.",
        ),
        Key::whole(
            "train.rewarm_steps",
            0..=100_000,
            "20",
            "inner steps",
            "Steps over which a newcomer, whose \
            optimizer starts fresh, raises its learning rate to the swarm's.",
        ),
    ]
}

fn exchange() -> Vec<Key> {
    vec![
        Key::word_or_whole(
            "compress.top",
            AUTO,
            range(&Rules::TOP),
            "auto",
            "of 4096",
            "How many of every 4096 parameters an update carries. 64 is about 0.15 bit per parameter, 256 half a bit, 4096 two bits; \
            the more, the more a token teaches. auto: each peer chooses, after each of its segments, the most that its up-link \
            carries while it computes, up to compress.top_max and no fewer than 64; only a link too slow for these makes segments \
            longer (train.steps). `murmur status` shows the choice and why.",
        ),
        Key::whole(
            "compress.top_max",
            range(&Rules::TOP),
            "4096",
            "of 4096",
            "The most that an update carries where compress.top is auto: what the run may send at all. Where compress.top is a \
            number it has no effect.",
        ),
        Key::real(
            "compress.beta",
            0.0..=1.0,
            "0.95",
            "How much of what compression left out is kept for the next \
            segment. A little below 1 forgets stale directions.",
        ),
        Key::real(
            "outer.alpha",
            0.01..=f64::from(Rules::ALPHA_MAX),
            "1",
            "How far the model moves along the swarm's weighted updates at the \
            start. 1 is a plain average; with AdamW and long segments 2 learned faster in short runs.",
        ),
        Key::real(
            "outer.alpha_final",
            0.01..=f64::from(Rules::ALPHA_MAX),
            "1",
            "The same at the end of the run; between, it follows the \
            token clock in a straight line.",
        ),
        Key::real(
            "audit.rate",
            0.0..=1.0,
            "0.05",
            "Probability that an update is replayed by some peer. Cheating \
            stops paying at a few percent; each percent costs about a percent of the swarm's work.",
        ),
        Key::whole(
            "audit.quorum",
            range(&Rules::QUORUM),
            "2",
            "verdicts",
            "Failed verdicts, by different auditors, after which an \
            author is evicted. 2 protects against one faulty auditor; with two peers only 1 can be reached.",
        ),
        Key::whole(
            "audit.span",
            range(&Rules::SPAN),
            "8",
            "updates",
            "Updates from one commitment of a peer's private state to the next, which are audited together. A commitment rounds \
            the state, and an audit fetches it: after every update both cost more than they do after a few dozen steps. \
            An author that stops within a span leaves it unaudited.",
        ),
        Key::whole(
            "finality.every",
            0..=u64::MAX,
            "200k",
            "tokens",
            "Token clock between final frontiers, after which nothing \
            before them can change. Peers keep two to three times this much of the log, and lose what they did while cut \
            off for longer; 10 to 50 updates a peer are a good choice. At least run.tokens / 4096, which the default follows. \
            0: nothing becomes final and everything is kept.",
        ),
    ]
}

fn length() -> Vec<Key> {
    vec![
        Key::whole(
            "run.tokens",
            shortest_context()..=Rules::TOKEN_BUDGET_MAX,
            "1.5M",
            "tokens",
            "When the run ends: tokens of all peers together.",
        ),
        Key::whole(
            "checkpoint.every_tokens",
            1..=u64::MAX,
            "250k",
            "tokens",
            "Token clock between checkpoint \
            files, which `murmur sample` and other tools read. More often costs disk, not training time.",
        ),
        Key::whole(
            "eval.sequences",
            1..=1_000_000,
            "32",
            "sequences",
            "Held-out sequences per measurement of the \
            validation loss. Four times as many halve its noise.",
        ),
    ]
}

fn machine() -> Vec<Key> {
    vec![
        Key::machine(
            "data.path",
            Kind::Path,
            "",
            "A file or a folder of text to train on, from the file's folder or else the shell's. Empty: the Rust sources in \
            cargo's registry folder. All peers of a run need the same text.",
        ),
        Key::machine(
            "net.listen",
            Kind::Address,
            "127.0.0.1:0",
            "Where a peer listens. 0.0.0.0:PORT to be reachable \
            from other machines; port 0 takes any free one. The n-th local peer takes PORT + n.",
        ),
        Key::machine(
            "net.announce",
            Kind::Text,
            "",
            "The IP address to put into the ticket when the machine cannot \
            know it, behind a router that forwards the port. Empty: find out.",
        ),
        Key::machine(
            "net.metrics",
            Kind::Address,
            "127.0.0.1:0",
            "Where a peer serves Prometheus. Anybody who \
            reaches it can read it. The n-th local peer takes PORT + n.",
        ),
        Key::machine(
            "net.relay",
            Kind::Whole(0..=64),
            "0",
            "Pairs of other peers, who cannot reach each other, between whom \
            this one passes packets on at once: up to 1 MiB a second together, and it cannot read them. Volunteer only \
            where anyone can dial in. 0: none.",
        ),
        Key::machine(
            "net.port_map",
            Kind::Whole(0..=1),
            "0",
            "1: ask the router to pass what comes for a port of its own on to this peer (PCP, NAT-PMP or UPnP), so that others \
            can dial it; given back when the peer leaves. Nothing is asked for while net.listen is a loopback address.",
        ),
        Key::machine(
            "device.threads",
            Kind::Whole(0..=1024),
            "0",
            "Threads one peer computes with. 0 shares the \
            processor evenly between the local peers.",
        ),
        Key::machine(
            "device.memory_check",
            Kind::Whole(0..=1),
            "1",
            "1: what the peers of this machine need is estimated before any starts, and a run that does not fit is refused. \
            0: it starts all the same.",
        ),
        Key::machine(
            "device.state_memory",
            Kind::Whole(0..=1 << 40),
            "2048",
            "MiB. The state that peers agree on takes 8 bytes a parameter, \
            and two or three of it are held now and then. If one takes more than this, they lie in files in the peer's folder, \
            which the system keeps in memory only as far as there is room. Slower where there is none.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::model::{Dimension, ModelConfig};

    static DEEPER: [Dimension; 2] = [dimension("model.layers", 2..=99), dimension("model.experts", 1..=8)];
    static OTHER: Family = Family { name: "other", dimensions: &DEEPER, of_sizes: |_| ModelConfig::default() };

    const fn dimension(setting: &'static str, range: RangeInclusive<usize>) -> Dimension {
        Dimension { setting, range, default: "4", unit: "things", adds_params: true, doc: "For this test." }
    }

    #[test]
    fn one_architecture_is_not_a_choice_and_several_are() {
        assert!(KEYS.iter().all(|key| key.name != ARCHITECTURE));
        let keys = models(&[FAMILIES[0], &OTHER]);
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let dimensions = ["model.layers", "model.heads", "model.d_model", "model.context", "model.experts"];
        assert_eq!(names, [&[ARCHITECTURE], &dimensions[..]].concat());
        assert_eq!((keys[0].kind.to_string(), keys[0].default), ("gpt or other".to_owned(), "gpt"));
        assert_eq!(keys[1].kind.to_string(), "a whole number from 1 to 99", "either's limits");
    }
}

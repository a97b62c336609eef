//! Attacks: every way in which a peer misbehaves in tests and demonstrations, under one name in the simulator and in real
//! processes.
//!
//! An attack on *work* changes what a segment gives; a process plays those with a real model, the simulator with its stand-in
//! for one. An attack on the *exchange* changes what a peer says about honest work; the simulator plays those.

use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way to do harm.
///
/// The names of the variants, in kebab case, are the words of a scenario's `hostile.ways`; those that a process plays have a
/// word of their own on the command line, [`Attack::process_word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Sends bytes that are no message, or a message with a bit turned. Simulator only.
    Garbles,
    /// Repeats messages of other peers, and signs their entries for another run. Simulator only.
    Replays,
    /// Announces entries and never serves them. Simulator only.
    Withholds,
    /// Serves chunks and payloads with a bit turned. Simulator only.
    Corrupts,
    /// Claims in its digests to hold entries that do not exist, with an invented state root. Simulator only.
    Lies,
    /// Asks for all entries again with every digest, and announces a thousand that do not exist. Simulator only.
    Floods,
    /// Signs two updates for one position of its chain and shows each to a part of the swarm. Simulator only.
    Forks,
    /// Publishes updates that no replay gives: nothing is computed, the payload is noise of a plausible size, the trace is
    /// invented. Simulator (`cheats`) and processes (`noise`).
    Cheats,
    /// Finds every update it audits false. Simulator only.
    Accuses,
    /// Votes for one frontier before some peers and for another before others. Simulator only.
    Votes,
    /// Does half of a segment's steps and claims all. Processes only (`skip`): the simulator's stand-in takes no steps.
    #[serde(skip)]
    Skips,
    /// Computes nothing and publishes another peer's payload as its own. Processes only (`copy`): the simulator's payloads are
    /// noise in any case.
    #[serde(skip)]
    Copies,
}

/// Not an attack that a process can play.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown misbehaviour {0:?}: expected skip, noise or copy")]
pub struct UnknownAttack(String);

impl Attack {
    /// Those that the simulator plays, in the order in which a seed deals them out by default.
    pub const SIMULATED: [Self; 10] = [
        Self::Garbles,
        Self::Replays,
        Self::Withholds,
        Self::Corrupts,
        Self::Lies,
        Self::Floods,
        Self::Forks,
        Self::Cheats,
        Self::Accuses,
        Self::Votes,
    ];

    /// All there are.
    pub const ALL: [Self; 12] = {
        let [a, b, c, d, e, f, g, h, i, j] = Self::SIMULATED;
        [a, b, c, d, e, f, g, h, i, j, Self::Skips, Self::Copies]
    };

    /// The word for it after `--misbehave`; none if a process cannot play it.
    pub fn process_word(self) -> Option<&'static str> {
        match self {
            Self::Skips => Some("skip"),
            Self::Cheats => Some("noise"),
            Self::Copies => Some("copy"),
            Self::Garbles
            | Self::Replays
            | Self::Withholds
            | Self::Corrupts
            | Self::Lies
            | Self::Floods
            | Self::Forks
            | Self::Accuses
            | Self::Votes => None,
        }
    }
}

/// Reads the word that follows `--misbehave`.
impl FromStr for Attack {
    type Err = UnknownAttack;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|attack| attack.process_word() == Some(word));
        named.ok_or_else(|| UnknownAttack(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_played_by_somebody() {
        for attack in Attack::ALL {
            assert!(Attack::SIMULATED.contains(&attack) || attack.process_word().is_some(), "{attack:?}");
        }
    }

    #[test]
    fn a_word_of_the_command_line_is_read_back_and_any_other_names_those_there_are() {
        for attack in Attack::ALL {
            if let Some(word) = attack.process_word() {
                assert_eq!(word.parse(), Ok(attack));
            }
        }
        let unknown = "garbles".parse::<Attack>().map_err(|error| error.to_string());
        assert_eq!(unknown, Err("unknown misbehaviour \"garbles\": expected skip, noise or copy".to_owned()));
    }
}

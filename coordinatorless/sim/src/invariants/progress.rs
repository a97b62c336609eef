//! Progress after heal: when the faults have ended and nothing new is authored, every honest peer comes to hold the same set
//! and the same state within the stated time, and nobody is left behind. (Demers et al., "Epidemic algorithms for replicated
//! database maintenance", 1987: anti-entropy reaches everyone with probability one; here with a bound.)

use super::{Invariant, Sight};

/// See the file's head.
pub(super) struct ProgressAfterHeal;

impl Invariant for ProgressAfterHeal {
    fn name(&self) -> &'static str {
        "progress_after_heal"
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        if is_settled(sight) {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        let most = sight.glances.iter().filter_map(|glance| sight.version(glance.at)).map(entries).max().unwrap_or(0);
        for glance in sight.glances {
            let Some(node) = sight.machines[glance.at].node.as_ref() else { continue };
            let held = entries(node.fold().log().version());
            wrong.push(format!(
                "peer {} holds {held} of {most} entries, caught up: {}, {} neighbours, root {}",
                glance.at,
                glance.is_caught_up,
                node.neighbours().len(),
                hex(glance.root.0)
            ));
        }
        vec![wrong.join("; ")]
    }
}

/// Whether every honest peer runs, has caught up and holds what all others do.
pub(crate) fn is_settled(sight: &Sight<'_>) -> bool {
    let expected = sight.machines.iter().filter(|machine| machine.is_honest() && !machine.is_gone).count();
    let Some(first) = sight.glances.first() else { return expected == 0 };
    let same = |glance: &super::Glance| glance.is_caught_up && glance.set == first.set && glance.root == first.root;
    sight.glances.len() == expected && sight.glances.iter().all(same)
}

fn entries(version: &murmur_collectives::VersionVector) -> u64 {
    version.iter().map(|(_, count)| u64::from(count)).sum()
}

fn hex(bytes: [u8; 32]) -> String {
    bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

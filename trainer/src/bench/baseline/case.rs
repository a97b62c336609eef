//! A baseline as a case of a suite: a sample for each seed, failed ones included.

use super::group::{self, Place};
use super::method::MethodName;
use super::rank::Task;
use crate::bench::suite::{Options, Sample};
use crate::error::{Exit, Failure};
use crate::launcher::threads;

/// A baseline with its settings.
#[derive(Debug, Clone)]
pub struct BaselineCase {
    /// What the case is called.
    pub case: String,
    /// The method.
    pub method: MethodName,
    /// Ranks.
    pub peers: usize,
    /// Tokens of all ranks together, unless the options say another number.
    pub tokens: u64,
    /// Settings after the method's own; those of the options come after them.
    pub sets: Vec<String>,
}

impl BaselineCase {
    /// Trains it with `seed`, each rank where `place` says. One that fails is a failed sample.
    ///
    /// # Errors
    /// [`Exit::TryAgain`] when it was stopped from outside.
    pub fn sample(
        &self,
        options: &Options,
        seed: u64,
        place: &dyn Fn(usize) -> Result<Place, Failure>,
    ) -> Result<Sample, Failure> {
        let tokens = options.tokens.unwrap_or(self.tokens);
        let mut sets = vec![format!("seed={seed}"), format!("run.tokens={tokens}")];
        sets.extend(self.sets.iter().chain(&options.sets).cloned());
        match self.train(&sets, place) {
            Ok(sample) => Ok(Sample { case: self.case.clone(), ..sample }),
            Err(failure) if failure.exit() == Exit::TryAgain => Err(failure),
            Err(failure) => {
                let failure = Some(failure.sentence());
                Ok(Sample { case: self.case.clone(), seed, failure, ..Sample::default() })
            }
        }
    }

    fn train(&self, sets: &[String], place: &dyn Fn(usize) -> Result<Place, Failure>) -> Result<Sample, Failure> {
        let task = Task::new(self.method, self.peers, None, sets)?;
        let places = (0..self.peers).map(place).collect::<Result<Vec<_>, _>>()?;
        group::train(&task, sets, places, threads(task.settings.device.threads, self.peers))
    }
}

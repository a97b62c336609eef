//! `murmur doctor`: a page to paste into a bug report about kernels, computed and measured when it is called.
//!
//! `agreement` computes the conformance vectors and a training run with every instruction set of the machine; `speed` measures
//! what a step and an exchange are made of; `gpu` examines devices, where this build can; `report` shows it all.

mod agreement;
mod gpu;
mod report;
mod speed;

use std::time::Instant;

use murmur_kernels::exact::PROFILE;
use murmur_kernels::simd::Level;

use crate::{
    error::{Exit, Failure},
    resources::cpu,
};

pub use agreement::LevelFound;
pub use report::{to_json, to_text};
pub use speed::{Figure, Speeds};

/// What the kernels did on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// The processor, as it calls itself, where the system says it.
    pub cpu: Option<String>,
    /// The instruction set in use.
    pub simd: Level,
    /// Hardware threads.
    pub threads: usize,
    /// Every instruction set there is, and what came out with it.
    pub levels: Vec<LevelFound>,
    /// Speeds on one thread and, where there are more, on all.
    pub speeds: Vec<Speeds>,
    /// What is to be said of GPUs.
    pub gpu: gpu::Gpus,
    /// How long it took.
    pub seconds: f64,
}

impl Examination {
    /// What the instruction set in use gave.
    pub fn active(&self) -> Option<&LevelFound> {
        self.levels.iter().find(|found| found.simd == self.simd)
    }

    /// Nothing when every instruction set computes the profile; else which does not.
    ///
    /// # Errors
    /// [`Exit::Device`].
    pub fn verdict(&self) -> Result<(), Failure> {
        let wrong: Vec<_> = self.levels.iter().filter(|found| !found.agrees()).map(|found| found.simd.name()).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let message = format!("this machine does not compute the profile {PROFILE} with {}", wrong.join(" and "));
        Err(Failure::new(Exit::Device, message)
            .hint("Please report it with all that was printed. The processor, its memory or the compiler is faulty."))
    }
}

/// Computes and measures, for about ten seconds of a quiet machine.
///
/// # Errors
/// [`Exit::Device`] when threads cannot be started.
pub fn examine(progress: &mut dyn FnMut(&str)) -> Result<Examination, Failure> {
    let begun = Instant::now();
    let simd = Level::active();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut levels = Vec::new();
    for level in Level::available() {
        progress(&format!("Computing with {level} instructions …"));
        levels.push(agreement::find(level, threads)?);
    }
    simd.activate();
    let mut speeds = Vec::new();
    for threads in if threads > 1 { vec![1, threads] } else { vec![1] } {
        progress(&format!("Measuring on {threads} thread{} …", if threads == 1 { "" } else { "s" }));
        speeds.push(speed::measure(threads)?);
    }
    let gpu = gpu::examine(progress);
    Ok(Examination { cpu: cpu(), simd, threads, levels, speeds, gpu, seconds: begun.elapsed().as_secs_f64() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_set_that_disagrees_is_named_with_exit_30() {
        let examination = report::tests::examination();
        assert!(examination.verdict().is_ok());
        let mut levels = examination.levels.clone();
        levels[0].conformance = "00".repeat(32);
        let failure = Examination { levels, ..examination }.verdict().unwrap_err();
        assert_eq!(failure.exit(), Exit::Device);
        assert!(failure.sentence().ends_with("with scalar"), "{}", failure.sentence());
    }
}

//! Where kernels run: an instruction set and a number of threads, neither of which changes a bit of any result.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use thiserror::Error;

use super::simd::Level;

/// Threads and the instruction set they use. Make one for a replica and lend it to every kernel.
///
/// Work is split by outputs: each number is computed whole by one thread, so how many there are cannot show.
#[derive(Debug)]
pub struct Pool {
    level: Level,
    /// None: the caller's own thread.
    threads: Option<rayon::ThreadPool>,
}

/// The operating system refused a thread.
#[derive(Debug, Error)]
#[error("cannot start {threads} threads: {reason}")]
pub struct PoolError {
    /// How many were wanted.
    pub threads: usize,
    /// What it said.
    pub reason: String,
}

impl Pool {
    /// `threads` threads; one (or none) means the caller's own.
    ///
    /// # Errors
    /// The operating system refuses them.
    pub fn new(level: Level, threads: usize) -> Result<Self, PoolError> {
        let build = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let failed = |error: rayon::ThreadPoolBuildError| PoolError { threads, reason: error.to_string() };
        let threads = if threads > 1 { Some(build().map_err(failed)?) } else { None };
        Ok(Self { level, threads })
    }

    /// The caller's own thread.
    pub fn single(level: Level) -> Self {
        Self { level, threads: None }
    }

    /// The instruction set.
    pub fn level(&self) -> Level {
        self.level
    }

    /// How many threads there are, the caller's own counted as one.
    pub fn threads(&self) -> usize {
        self.threads.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Runs a function whose kernels then start without a hand-over each: wrap a whole step in it.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.threads {
            Some(threads) => threads.install(work),
            None => work(),
        }
    }

    /// Calls `work(index, chunk)` for every chunk of `size` values.
    pub(crate) fn chunks(&self, values: &mut [f32], size: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) {
        let size = size.max(1);
        match &self.threads {
            Some(threads) if values.len() > size => {
                threads.install(|| values.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| work(i, chunk)));
            }
            Some(_) | None => values.chunks_mut(size).enumerate().for_each(|(i, chunk)| work(i, chunk)),
        }
    }

    /// Calls `work(index, chunk of one, chunk of the other)`; each slice has its own chunk size, and the shorter list of chunks
    /// decides how many calls there are.
    pub(crate) fn pairs(
        &self,
        [one, other]: [(&mut [f32], usize); 2],
        work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
    ) {
        let chunks = |(_, size): &(&mut [f32], usize)| (*size).max(1);
        let sizes = [chunks(&one), chunks(&other)];
        let (one, other) = (one.0, other.0);
        match &self.threads {
            Some(threads) if one.len() > sizes[0] => threads.install(|| {
                let pairs = one.par_chunks_mut(sizes[0]).zip(other.par_chunks_mut(sizes[1]));
                pairs.enumerate().for_each(|(i, (one, other))| work(i, one, other));
            }),
            Some(_) | None => {
                let pairs = one.chunks_mut(sizes[0]).zip(other.chunks_mut(sizes[1]));
                pairs.enumerate().for_each(|(i, (one, other))| work(i, one, other));
            }
        }
    }
}

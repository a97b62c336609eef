//! Where kernels run: an instruction set and a number of threads, neither of which changes a bit of any result.

use std::sync::{Mutex, PoisonError};

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

    /// Calls `work(room, item)` for each item: a thread takes the next one when it is done with the last, and keeps its room.
    ///
    /// # Panics
    /// There are fewer rooms than threads.
    pub(crate) fn share<R: Send, T: Send>(
        &self,
        rooms: &mut [R],
        items: &mut [T],
        work: impl Fn(&mut R, &mut T) + Sync + Send,
    ) {
        assert!(rooms.len() >= self.threads(), "a room for each thread");
        let Some(threads) = self.threads.as_ref().filter(|_| items.len() > 1) else {
            return items.iter_mut().for_each(|item| work(&mut rooms[0], item));
        };
        let next = Mutex::new(items.iter_mut());
        let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
        threads.scope(|scope| {
            for room in rooms {
                scope.spawn(|_| {
                    while let Some(item) = take() {
                        work(room, item);
                    }
                });
            }
        });
    }

    /// Calls `work(first unit, units of one, the same of the other)` for all units, at most `most` at a time: halves of halves, so that
    /// all threads get equal shares. The other is empty or as long as the one.
    pub(crate) fn halves(
        &self,
        [one, other]: [&mut [f32]; 2],
        unit: usize,
        most: usize,
        work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
    ) {
        let (unit, most) = (unit.max(1), most.max(1));
        let Some(threads) = &self.threads else {
            let mut rest = other;
            for (task, one) in one.chunks_mut(most * unit).enumerate() {
                let len = one.len().min(rest.len());
                let (other, behind) = core::mem::take(&mut rest).split_at_mut(len);
                work(task * most, one, other);
                rest = behind;
            }
            return;
        };
        let most = most.min(one.len().div_ceil(unit).div_ceil(self.threads())).max(1);
        threads.install(|| halved([one, other], 0, [unit, most], &work));
    }
}

fn halved(
    [one, other]: [&mut [f32]; 2],
    first: usize,
    [unit, most]: [usize; 2],
    work: &(impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send),
) {
    let units = one.len().div_ceil(unit);
    if units <= most {
        return work(first, one, other);
    }
    let half = units.div_ceil(2);
    let at = half * unit;
    let ((one, one_behind), (other, other_behind)) = (one.split_at_mut(at), other.split_at_mut(at.min(other.len())));
    rayon::join(
        || halved([one, other], first, [unit, most], work),
        || halved([one_behind, other_behind], first + half, [unit, most], work),
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_in_some_room() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(Level::SCALAR, threads).unwrap();
            for count in [0, 1, 2, 50] {
                let (mut rooms, mut items) = (vec![0; threads], vec![0; count]);
                pool.share(&mut rooms, &mut items, |room, item| {
                    *room += 1;
                    *item += 1;
                });
                assert!(items.iter().all(|&times| times == 1) && rooms.iter().sum::<usize>() == count);
            }
        }
    }

    #[test]
    fn halves_hand_out_every_unit_once_with_its_neighbour() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(Level::SCALAR, threads).unwrap();
            for (len, unit, most) in [(0, 4, 2), (3, 4, 2), (64, 4, 1), (65, 4, 3), (10, 1, 100), (7, 0, 0)] {
                let (mut one, mut other) = (vec![0.0; len], vec![0.0; len]);
                pool.halves([&mut one, &mut other], unit, most, |first, one, other| {
                    assert!(one.len() == other.len() && one.len() <= (most * unit).max(1));
                    for (i, (one, other)) in one.iter_mut().zip(other).enumerate() {
                        *one += (first * unit.max(1) + i) as f32;
                        *other += 1.0;
                    }
                });
                assert!(one.iter().enumerate().all(|(i, &value)| value == i as f32), "{threads} {len} {unit} {most}");
                assert!(other.iter().all(|&value| value == 1.0));
                pool.halves([&mut one, &mut []], unit, most, |_, _, other| assert!(other.is_empty()));
            }
        }
    }
}

//! Operations of the exact profile on request, for comparisons that take turns with another program: see `experiments/pytorch`.
//!
//! The one argument is a number of threads; `MURMUR_SIMD` forces an instruction set. For each line on standard input it answers
//! with one line:
//!
//! | line | does | answer |
//! |---|---|---|
//! | `case NAME IN OUT DIMENSION…` | reads its inputs from the file `IN`, runs it once, writes its results to the file `OUT` (none: `-`) | the instruction set |
//! | `time CALLS` | runs it again | seconds of one call, by the wall and by all threads' clocks |
//! | `peak ROUNDS` | multiplies and adds between registers | GFLOP/s of one core, by its clock |
//!
//! Files hold little-endian `f32`, one array after the other; `cases` lists the operations.
#![allow(clippy::unwrap_used, unsafe_code)]

mod cases;

use std::hint::black_box;

use cases::Case;
use murmur_kernels::exact::{Buffer, Level, Pool, multiply_adds};

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |word| word.parse().unwrap());
    let pool = Pool::new(Level::active(), threads).unwrap();
    let mut case = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["case", name, from, to, ref dimensions @ ..] => {
                let dimensions: Vec<usize> = dimensions.iter().map(|word| word.parse().unwrap()).collect();
                let fresh = case.insert(cases::case(name, &dimensions, &mut Inputs::read(from), &pool));
                call(fresh, &pool);
                if to != "-" {
                    write(to, &fresh.outs);
                }
                println!("{}", pool.level().name());
            }
            ["time", calls] => {
                let [wall, cpu] = timed(case.as_mut().expect("a case comes first"), &pool, calls.parse().unwrap());
                println!("{wall} {cpu}");
            }
            ["peak", rounds] => println!("{}", peak(pool.level(), rounds.parse().unwrap())),
            _ => panic!("not understood: {line}"),
        }
    }
}

/// What is left of a file of numbers.
pub(crate) struct Inputs {
    values: Vec<f32>,
    taken: usize,
}

impl Inputs {
    fn read(path: &str) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let values = bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
        Self { values, taken: 0 }
    }

    /// The next numbers.
    pub(crate) fn take(&mut self, len: usize) -> Buffer {
        let mut taken = Buffer::zeros(len);
        taken.copy_from_slice(&self.values[self.taken..][..len]);
        self.taken += len;
        taken
    }

    /// The next numbers, as tokens.
    pub(crate) fn take_tokens(&mut self, len: usize) -> Vec<u8> {
        self.take(len).iter().map(|&token| token as u8).collect()
    }
}

fn write(path: &str, outs: &[Buffer]) {
    let bytes: Vec<u8> = outs.iter().flat_map(|out| out.iter().flat_map(|value| value.to_le_bytes())).collect();
    std::fs::write(path, bytes).unwrap();
}

/// Runs it once and returns the seconds by the wall and by all threads' clocks, less what putting back its inputs took.
fn call(case: &mut Case, pool: &Pool) -> [f64; 2] {
    for (place, start) in &case.starts {
        case.outs[*place].copy_from_slice(start);
    }
    let start = now();
    pool.install(|| (case.work)(pool, &mut case.outs)).unwrap();
    let end = now();
    black_box(&case.outs);
    [end[0] - start[0], end[1] - start[1]]
}

fn timed(case: &mut Case, pool: &Pool, calls: u32) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for _ in 0..calls {
        let once = call(case, pool);
        sums = [sums[0] + once[0], sums[1] + once[1]];
    }
    sums.map(|sum| sum / f64::from(calls.max(1)))
}

fn peak(level: Level, rounds: usize) -> f64 {
    let pool = Pool::single(level);
    let start = now();
    let (operations, end) = multiply_adds(&pool, rounds);
    black_box(end);
    1e-9 * operations as f64 / (now()[1] - start[1])
}

/// Seconds by the wall since some moment, and seconds that all threads of this process have computed.
fn now() -> [f64; 2] {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const MONOTONIC: i32 = 1;
    const PROCESS: i32 = 2;
    [MONOTONIC, PROCESS].map(|clock| {
        let mut time = [0; 2];
        // SAFETY: the C library's function, with room for its result.
        unsafe { clock_gettime(clock, &raw mut time) };
        time[0] as f64 + 1e-9 * time[1] as f64
    })
}

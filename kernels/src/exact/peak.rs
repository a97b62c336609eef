//! The most multiply-adds an instruction set can do: what the speed of a product is measured against.

use super::pool::Pool;
use super::simd::{Kernel, Simd};

/// Sums that are under way at once: enough to keep every unit busy, few enough to stay in the registers.
struct Chains<const N: usize> {
    rounds: usize,
}

impl<const N: usize> Kernel for Chains<N> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (half, quarter) = (s.splat(0.5), s.splat(0.25));
        let mut sums = [s.splat(1.0); N];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.fma(*sum, half, quarter);
            }
        }
        s.sum(sums.into_iter().fold(s.splat(0.0), |x, y| s.add(x, y)))
    }
}

/// Multiplies and adds between registers, on each of the pool's threads. The caller measures the time it takes.
///
/// Returns the operations done, two for each multiply-add, and a number that depends on all of them.
pub fn multiply_adds(pool: &Pool, rounds: usize) -> (u64, f32) {
    const LANES: usize = super::simd::LANES;
    // AVX-512 has 32 registers of sixteen numbers, AVX2 sixteen of eight.
    let wide = pool.level().name() == "avx512";
    let chains = if wide { 12 } else { 6 };
    let mut ends = vec![0.0; pool.threads()];
    pool.chunks(&mut ends, 1, |_, end| {
        end[0] = match wide {
            true => pool.level().run(Chains::<12> { rounds }),
            false => pool.level().run(Chains::<6> { rounds }),
        };
    });
    let operations = 2 * LANES * chains * rounds * ends.len();
    (operations as u64, ends.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::Level;

    #[test]
    fn it_is_the_same_arithmetic_on_every_instruction_set_of_as_many_registers() {
        for level in Level::available() {
            let chains = if level.name() == "avx512" { 12 } else { 6 };
            let (operations, end) = multiply_adds(&Pool::single(level), 100);
            assert_eq!(operations, 2 * 16 * chains * 100);
            // x ↦ x/2 + 1/4 comes to rest at one half, in each lane of each sum.
            assert_eq!(end, 0.5 * 16.0 * chains as f32, "{}", level.name());
        }
    }
}

//! Error feedback, selection and what is left over: the dense half of [`murmur_kernels::compress`].
//!
//! The few numbers that are sent go back to the CPU, which quantizes and encodes them; their new residuals return.

use cubecl::prelude::*;
use murmur_kernels::{CHUNK, CodecError, Norm, TopK, encode_selected};
use thiserror::Error;

use super::round::rounded;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: usize = 256;
/// Parameters of a chunk that one unit looks after: a run of neighbours, so that order of units is order of indices.
const RUN: usize = CHUNK / UNITS;
const MAGNITUDE: u32 = 0x7fff_ffff;
/// Bits of a rank, tried from the top.
const BITS: usize = 32;

/// `fed` ← β·residual + (start − end).
#[cube(launch)]
fn feed(start: &[f32], end: &[f32], residual: &[f32], fed: &mut [f32], beta: f32, zero: u32) {
    let i = ABSOLUTE_POS;
    if i < fed.len() {
        fed[i] = rounded(beta * residual[i], zero) + (start[i] - end[i]);
    }
}

/// The sum of `mine` of all units before this one, and of all units. `parts` has room for each unit's.
#[cube]
fn scan(mine: u32, parts: &mut Shared<[u32]>) -> (u32, u32) {
    let unit = UNIT_POS as usize;
    sync_cube();
    parts[unit] = mine;
    sync_cube();
    let mut reach = 1usize;
    while reach < UNITS {
        let mut sum = parts[unit];
        if unit >= reach {
            sum += parts[unit - reach];
        }
        sync_cube();
        parts[unit] = sum;
        sync_cube();
        reach *= 2;
    }
    (parts[unit] - mine, parts[UNITS - 1])
}

/// The places and values of a chunk's `k` (of the last chunk: `k_last`) largest magnitudes, ascending by place, ties to the
/// lowest. A cube for each chunk.
#[cube(launch)]
fn select(fed: &[f32], places: &mut [u32], values: &mut [f32], chunks: usize, k: u32, k_last: u32) {
    let mut parts = Shared::<[u32]>::new_slice(UNITS);
    let reached = Shared::<[Atomic<u32>]>::new_slice(BITS);
    let chunk = CUBE_POS;
    if chunk < chunks {
        let first = chunk * CHUNK + UNIT_POS as usize * RUN;
        let mut count = k;
        if chunk + 1 == chunks {
            count = k_last;
        }
        // A magnitude plus one, so that what lies past the end is below every number.
        let mut ranks = Array::<u32>::new(RUN);
        #[unroll]
        for own in 0..RUN {
            ranks[own] = 0u32;
            if first + own < fed.len() {
                ranks[own] = (u32::reinterpret(fed[first + own]) & MAGNITUDE) + 1;
            }
        }
        if UNIT_POS < BITS as u32 {
            reached[UNIT_POS as usize].store(0u32);
        }
        sync_cube();
        // The largest threshold that `count` ranks reach, bit by bit. Adding integers needs no order.
        let mut least = 0u32;
        for bit in 0..BITS {
            let tried = least | (1u32 << (BITS - 1 - bit) as u32);
            let mut mine = 0u32;
            #[unroll]
            for own in 0..RUN {
                mine += u32::cast_from(ranks[own] >= tried);
            }
            if mine > 0 {
                reached[bit].fetch_add(mine);
            }
            sync_cube();
            if reached[bit].load() >= count {
                least = tried;
            }
        }
        let mut above = 0u32;
        let mut ties = 0u32;
        #[unroll]
        for own in 0..RUN {
            above += u32::cast_from(ranks[own] > least);
            ties += u32::cast_from(ranks[own] == least);
        }
        let (above_before, above_all) = scan(above, &mut parts);
        let room = count - above_all;
        let (mut tie, _all) = scan(ties, &mut parts);
        let mut at = chunk * k as usize + (above_before + tie.min(room)) as usize;
        #[unroll]
        for own in 0..RUN {
            let tied = ranks[own] == least;
            if ranks[own] > least || (tied && tie < room) {
                places[at] = (UNIT_POS as usize * RUN + own) as u32;
                values[at] = fed[first + own];
                at += 1;
            }
            tie += u32::cast_from(tied);
        }
    }
}

/// `fed` at the selected places ← `left`.
#[cube(launch)]
fn put_back(fed: &mut [f32], places: &[u32], left: &[f32], k: u32) {
    let i = ABSOLUTE_POS;
    if i < left.len() {
        fed[i / (k as usize) * CHUNK + places[i] as usize] = left[i];
    }
}

/// What can go wrong with compression on a GPU. In every case the residual and the payload are what they were.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompressError {
    /// As on the CPU.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// The twin of [`murmur_kernels::compress`]: same residual, payload and norm, bit for bit. Waits for the device.
///
/// # Shapes
/// `start`, `end`, `residual`: `[params]`.
///
/// # Errors
/// As there, or the device failed.
pub fn compress(
    gpu: &Gpu,
    k: TopK,
    beta: f32,
    [start, end]: [&Buffer; 2],
    residual: &mut Buffer,
    payload: &mut Vec<u8>,
) -> Result<Norm, CompressError> {
    let params = residual.len();
    if [start.len(), end.len()] != [params; 2] {
        return Err(CodecError::Lengths { start: start.len(), end: end.len(), residual: params }.into());
    }
    let fed = gpu.room(params);
    let count = cubes(params.div_ceil(UNITS));
    let units = CubeDim::new_1d(UNITS as u32);
    feed::launch(&gpu.client, count, units, start.arg(), end.arg(), residual.arg(), fed.arg(), beta, 0);
    let (places, mut values) = selected(gpu, k, &fed)?;
    let places16: Vec<u16> = places.iter().map(|&place| place as u16).collect();
    let norm = match encode_selected(k, params, &places16, &mut values, payload) {
        // The largest are selected, so one that is no number is among them; but another may come first.
        Err(CodecError::NonFinite { .. }) => return Err(first_bad(&gpu.read(&fed)?).into()),
        result => result?,
    };
    let (places, left) = (gpu.upload_words(&places), gpu.upload(&values));
    let count = cubes(values.len().div_ceil(UNITS));
    put_back::launch(&gpu.client, count, units, fed.arg(), places.arg(), left.arg(), u32::from(k.get()));
    *residual = fed;
    Ok(norm)
}

fn selected(gpu: &Gpu, k: TopK, fed: &Buffer) -> Result<(Vec<u32>, Vec<f32>), GpuError> {
    let (sent, chunks) = (k.of_vector(fed.len()), fed.len().div_ceil(CHUNK));
    if chunks == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let (places, values) = (gpu.room(sent), gpu.room(sent));
    let k_last = k.of_chunk(fed.len() - (chunks - 1) * CHUNK) as u32;
    let units = CubeDim::new_1d(UNITS as u32);
    select::launch(
        &gpu.client,
        cubes(chunks),
        units,
        fed.arg(),
        places.arg(),
        values.arg(),
        chunks,
        u32::from(k.get()),
        k_last,
    );
    Ok((gpu.words(&places)?, gpu.read(&values)?))
}

fn first_bad(fed: &[f32]) -> CodecError {
    CodecError::NonFinite { index: fed.iter().take_while(|value| value.is_finite()).count() }
}

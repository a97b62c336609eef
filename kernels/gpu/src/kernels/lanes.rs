//! The profile's sums over a row: sixteen lanes, then a tree.
//!
//! A cube has sixteen units along x, one for each lane, and a row of its own for each y.

use cubecl::prelude::*;

use super::math::larger;

/// Lanes of a sum.
pub(crate) const LANES: usize = 16;
/// Rows of a cube.
pub(crate) const ROWS: usize = 16;

/// Numbers of a row that one unit keeps in registers, rather than read it again for each pass; 0 if the row is too long.
pub(crate) fn kept(width: usize) -> usize {
    const KEPT_MAX: usize = 64;
    // Few different kernels do for all widths.
    let steps = width.div_ceil(LANES).next_power_of_two();
    if steps <= KEPT_MAX { steps } else { 0 }
}

/// The cube.
pub(crate) fn units() -> CubeDim {
    CubeDim::new_2d(LANES as u32, ROWS as u32)
}

/// The lanes of this unit's row added as a tree: eight apart, then four, two, one. Every unit of the cube must come here.
#[cube]
pub(crate) fn tree_sum(mine: f32, parts: &mut Shared<[f32]>) -> f32 {
    let lane = UNIT_POS_X as usize;
    let place = UNIT_POS_Y as usize * LANES + lane;
    sync_cube();
    parts[place] = mine;
    sync_cube();
    #[unroll]
    for level in 0..4usize {
        let half = comptime!(LANES >> (level + 1));
        if lane < half {
            parts[place] += parts[place + half];
        }
        sync_cube();
    }
    parts[place - lane]
}

/// The largest lane of this unit's row, found along the same tree. Every unit of the cube must come here.
#[cube]
pub(crate) fn tree_largest(mine: f32, parts: &mut Shared<[f32]>) -> f32 {
    let lane = UNIT_POS_X as usize;
    let place = UNIT_POS_Y as usize * LANES + lane;
    sync_cube();
    parts[place] = mine;
    sync_cube();
    #[unroll]
    for level in 0..4usize {
        let half = comptime!(LANES >> (level + 1));
        if lane < half {
            parts[place] = larger(parts[place], parts[place + half]);
        }
        sync_cube();
    }
    parts[place - lane]
}

/// `values[first + at]`, or `+0` past the row's end.
#[cube]
pub(crate) fn lane(values: &[f32], first: usize, at: usize, inside: bool) -> f32 {
    let mut value = 0.0f32;
    if inside {
        value = values[first + at];
    }
    value
}

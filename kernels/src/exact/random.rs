//! Random numbers by counting: Philox 4×32-10 (Salmon et al., SC 2011), so that any number can be had without those before it.

/// The four words at `counter` of the stream `key`.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const FACTORS: [u64; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let ([mut a, mut b, mut c, mut d], [mut left, mut right]) = (counter, key);
    for _ in 0..10 {
        let [first, second] = [FACTORS[0] * u64::from(a), FACTORS[1] * u64::from(c)];
        (a, c) = ((second >> 32) as u32 ^ b ^ left, (first >> 32) as u32 ^ d ^ right);
        (b, d) = (second as u32, first as u32);
        (left, right) = (left.wrapping_add(STEPS[0]), right.wrapping_add(STEPS[1]));
    }
    [a, b, c, d]
}

/// Fills `out` with uniform numbers in [0, 1): number `first + i` of the stream `key` is the upper 24 bits of a word.
pub fn uniform(key: u64, first: u64, out: &mut [f32]) {
    let key = [key as u32, (key >> 32) as u32];
    for (i, value) in out.iter_mut().enumerate() {
        let index = first.wrapping_add(i as u64);
        let counter = index / 4;
        let words = philox([counter as u32, (counter >> 32) as u32, 0, 0], key);
        *value = (words[(index % 4) as usize] >> 8) as f32 / (1u32 << 24) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' library.
    #[test]
    fn the_words_are_those_of_the_paper() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn any_part_of_a_stream_is_the_same() {
        let (mut whole, mut part) = ([0.0; 21], [0.0; 8]);
        uniform(7, 0, &mut whole);
        uniform(7, 13, &mut part);
        assert_eq!(whole[13..], part);
        assert!(whole.iter().all(|x| (0.0..1.0).contains(x)));
    }
}

//! Bit strings as vectors of booleans.

/// The `width` low bits of `value`, lowest first.
pub(super) fn binary(value: u64, width: usize) -> Vec<bool> {
    (0..width).map(|bit| value >> bit & 1 == 1).collect()
}

/// `count` zeros and a one.
pub(super) fn unary(count: u64) -> Vec<bool> {
    let mut bits = vec![false; count as usize];
    bits.push(true);
    bits
}

/// Eight bits a byte, lowest first, the last byte padded with zeros.
pub(super) fn pack(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |byte, (place, &bit)| byte | u8::from(bit) << place);
    bits.chunks(8).map(byte).collect()
}

/// Reads a bit string from the front.
pub(super) struct Cursor {
    bits: Vec<bool>,
    at: usize,
}

impl Cursor {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bits: bytes.iter().flat_map(|&byte| binary(byte.into(), 8)).collect(), at: 0 }
    }

    /// The next bit, or nothing at the end.
    pub(super) fn bit(&mut self) -> Option<bool> {
        let bit = self.bits.get(self.at).copied();
        self.at += 1;
        bit
    }

    pub(super) fn binary(&mut self, width: usize) -> Option<u64> {
        (0..width).try_fold(0, |value, place| Some(value | u64::from(self.bit()?) << place))
    }

    /// Zeros before the next one; stops counting at `limit`.
    pub(super) fn unary(&mut self, limit: u64) -> Option<u64> {
        let mut count = 0;
        while count < limit && !self.bit()? {
            count += 1;
        }
        Some(count)
    }

    /// All bits not read yet.
    pub(super) fn rest(&self) -> &[bool] {
        &self.bits[self.at..]
    }
}

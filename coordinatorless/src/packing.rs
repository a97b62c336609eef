//! zstd for messages, with contexts that each thread makes once: making them takes longer than packing a short message.

use std::cell::RefCell;

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::get_frame_content_size,
};

/// zstd's level: the fastest that finds what there is in sealed carries and in the high bytes of a state.
const LEVEL: i32 = 1;

thread_local! {
    static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// `plain`, packed. The packed form says how long it was.
pub(crate) fn pack(plain: &[u8]) -> Option<Vec<u8>> {
    PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(plain).ok())
}

/// What was packed, if that was at most `most` bytes: no more than it says it was is set aside for it, and no more comes out.
/// Of a form that does not say, as another program may have packed it, `most` is.
pub(crate) fn unpack(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let said = get_frame_content_size(packed).ok()?.unwrap_or(most as u64);
    let length = usize::try_from(said).ok().filter(|length| *length <= most)?;
    UNPACKER.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(packed, length).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_whatever_was_packed_before() {
        for length in [0, 1, 600, 100_000, 7, 3_000_000, 0] {
            let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let packed = pack(&plain).unwrap();
            assert_eq!(pack(&plain).unwrap(), packed, "the same bytes from a context that was used");
            assert_eq!(unpack(&packed, length), Some(plain));
        }
    }

    #[test]
    fn more_than_was_allowed_or_said_does_not_come_out() {
        let packed = pack(&[7; 1000]).unwrap();
        assert!(unpack(&packed, 1000).is_some() && unpack(&packed, 999).is_none());
        let twice = [packed.clone(), packed.clone()].concat();
        assert_eq!(unpack(&twice, 4000), None, "the second frame is more than the first one says");
        assert_eq!(unpack(&packed[..packed.len() - 1], 1000), None);
        assert_eq!(unpack(b"rubbish", 1000), None);
    }
}

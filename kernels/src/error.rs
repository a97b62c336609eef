//! What can be wrong with a vector to compress, or with a payload.

/// Why a vector was not compressed or a payload was refused. In every case nothing was changed.
///
/// The first two are ours; all others mean that whoever made the payload broke the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// `start`, `end` and `residual` differ in length.
    #[error("vectors of {start}, {end} and {residual} parameters: must have one length")]
    Lengths {
        /// Parameters in `start`.
        start: usize,
        /// Parameters in `end`.
        end: usize,
        /// Parameters in `residual`.
        residual: usize,
    },
    /// β·residual + (start − end) is NaN or infinite.
    #[error("parameter {index} has a NaN or infinite change")]
    NonFinite {
        /// The first such parameter.
        index: usize,
    },
    /// The payload ends before the chunk does.
    #[error("payload ends inside chunk {chunk}")]
    Truncated {
        /// The chunk that is not complete.
        chunk: usize,
    },
    /// An index lies outside its chunk.
    #[error("chunk {chunk} names a parameter outside itself")]
    Index {
        /// The chunk it is in.
        chunk: usize,
    },
    /// The large level lies outside the table.
    #[error("chunk {chunk} has a level outside the table")]
    Level {
        /// The chunk it is in.
        chunk: usize,
    },
    /// The same content has another, canonical encoding.
    #[error("chunk {chunk} is not in canonical form")]
    NotCanonical {
        /// The chunk it is in.
        chunk: usize,
    },
    /// Bytes follow the last chunk.
    #[error("{count} bytes after the last chunk")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The last byte's unused bits are not zero.
    #[error("padding bits are not zero")]
    Padding,
}

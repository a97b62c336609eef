//! Memory that is asked for once.

/// Numbers that begin at a cache line. Growing keeps nothing; shrinking keeps the memory.
#[derive(Debug, Default)]
pub struct Buffer {
    values: Vec<f32>,
    len: usize,
}

/// Numbers in a cache line.
const LINE: usize = 16;

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.fit(len);
        buffer
    }

    /// Makes it `len` long. The values are unspecified; memory is asked for only when it never was as long.
    pub fn fit(&mut self, len: usize) -> &mut [f32] {
        if self.values.len() < len + LINE - 1 {
            self.values = vec![0.0; len + LINE - 1];
        }
        self.len = len;
        self
    }

    /// Where the first cache line begins.
    fn start(&self) -> usize {
        let start = self.values.as_ptr().align_offset(LINE * size_of::<f32>());
        if start < LINE { start } else { 0 }
    }
}

/// Number by number: the clone's memory has its first line elsewhere.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut clone = Self::zeros(self.len);
        clone.copy_from_slice(self);
        clone
    }
}

impl core::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let start = if self.len == 0 { 0 } else { self.start() };
        &self.values[start..start + self.len]
    }
}

impl core::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let start = if self.len == 0 { 0 } else { self.start() };
        &mut self.values[start..start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_line_and_is_as_long_as_asked() {
        let mut buffer = Buffer::default();
        for len in [0, 1, 100, 16, 101] {
            assert_eq!(buffer.fit(len).len(), len);
            assert!(len == 0 || buffer.as_ptr().addr().is_multiple_of(64));
        }
        let before = buffer.as_ptr();
        buffer.fit(3);
        assert_eq!(buffer.fit(101).as_ptr(), before, "no new memory for a length it had");
    }
    #[test]
    fn a_clone_holds_the_same_numbers_wherever_its_memory_begins() {
        let mut buffer = Buffer::zeros(21);
        buffer.iter_mut().zip(1u16..).for_each(|(value, i)| *value = f32::from(i));
        // The allocator promises less than a line, so a few of these begin at each place in one.
        let clones: Vec<_> = (0..100).map(|_| buffer.clone()).collect();
        let places: std::collections::BTreeSet<_> = clones.iter().map(Buffer::start).collect();
        assert!(clones.iter().all(|clone| **clone == *buffer), "lines begin at {places:?}");
        assert!(Buffer::default().clone().is_empty());
    }
}

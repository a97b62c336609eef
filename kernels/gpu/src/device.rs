//! A GPU, and numbers on it.

use cubecl::Device;
use cubecl::device::WgpuDeviceKind;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::{BufferArg, Client, CubeCount};
use cubecl::server::Handle;
use thiserror::Error;

/// How a GPU is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Vulkan, Metal or DirectX 12, whichever the machine has.
    Wgpu,
    /// NVIDIA's own.
    Cuda,
}

/// No GPU could be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no {backend:?} device: {reason}")]
pub struct Unavailable {
    /// How it was sought.
    pub backend: Backend,
    /// Why there is none.
    pub reason: String,
}

/// What can go wrong with work on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GpuError {
    /// Operands that do not fit each other. Nothing was started.
    #[error("{op}: {left:?} does not fit {right:?}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// Shape of one operand.
        left: Vec<usize>,
        /// Shape of the other.
        right: Vec<usize>,
    },
    /// The device or its driver failed; what it was to write is lost.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
}

impl GpuError {
    /// `Ok` if the two are equal.
    pub(crate) fn unless_equal(op: &'static str, left: &[usize], right: &[usize]) -> Result<(), Self> {
        if left == right { Ok(()) } else { Err(Self::Shape { op, left: left.to_vec(), right: right.to_vec() }) }
    }
}

/// An open GPU. Work on it is queued; only [`Gpu::read`], [`Gpu::words`] and [`Gpu::wait`] wait.
pub struct Gpu {
    pub(crate) client: Client,
    backend: Backend,
}

/// Numbers in a GPU's memory, four bytes each: `f32`, or `u32` where a kernel says so.
#[derive(Clone, Debug)]
pub struct Buffer {
    handle: Handle,
    len: usize,
}

impl Gpu {
    /// The first device of a backend.
    ///
    /// # Errors
    /// There is none, or the backend is not part of this build.
    pub fn open(backend: Backend) -> Result<Self, Unavailable> {
        let device = match backend {
            Backend::Wgpu => Device::wgpu(WgpuDeviceKind::DefaultDevice),
            Backend::Cuda => Device::cuda(0),
        };
        let device = device.map_err(|error| Unavailable { backend, reason: error.to_string() })?;
        Ok(Self { client: device.client(), backend })
    }

    /// How it was reached.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What the device and its driver call themselves.
    pub fn name(&self) -> String {
        self.client.properties().identity.name.clone()
    }

    /// Whether kernels may use `f64`.
    pub(crate) fn has_f64(&self) -> bool {
        self.client.properties().supports_type(ElemType::Float(FloatKind::F64))
    }

    /// Copies numbers to the device.
    pub fn upload(&self, values: &[f32]) -> Buffer {
        self.bytes(values.iter().flat_map(|value| value.to_le_bytes()).collect(), values.len())
    }

    /// Copies integers to the device.
    pub fn upload_words(&self, words: &[u32]) -> Buffer {
        self.bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect(), words.len())
    }

    fn bytes(&self, mut bytes: Vec<u8>, len: usize) -> Buffer {
        // A buffer of no bytes cannot be bound.
        bytes.resize(bytes.len().max(4), 0);
        Buffer { handle: self.client.create_from_slice(&bytes), len }
    }

    /// Room for `len` numbers, which are unspecified until a kernel writes them.
    pub fn room(&self, len: usize) -> Buffer {
        Buffer { handle: self.client.empty(len.max(1) * size_of::<f32>()), len }
    }

    /// Waits for the work so far and copies numbers back.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<f32>, GpuError> {
        Ok(self.words(buffer)?.into_iter().map(f32::from_bits).collect())
    }

    /// Waits until all work so far is done; `last` is what it wrote.
    ///
    /// # Errors
    /// The device failed.
    pub fn wait(&self, last: &Buffer) -> Result<(), GpuError> {
        // Reading four bytes waits; `sync` alone does not report what failed.
        let first = last.handle.clone().offset_end(4 * (last.len.max(1) as u64 - 1));
        let read = self.client.read_one(first);
        read.map(drop).map_err(|error| GpuError::Device { reason: error.to_string() })
    }

    /// As [`Gpu::read`], for integers.
    ///
    /// # Errors
    /// The device failed.
    pub fn words(&self, buffer: &Buffer) -> Result<Vec<u32>, GpuError> {
        let bytes = self.client.read_one(buffer.handle.clone());
        let bytes = bytes.map_err(|error| GpuError::Device { reason: error.to_string() })?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words[..buffer.len].iter().map(|&word| u32::from_le_bytes(word)).collect())
    }
}

impl Buffer {
    /// How many numbers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffer as a kernel's argument.
    pub(crate) fn arg(&self) -> BufferArg {
        self.arg_of(self.len)
    }

    /// The buffer as a kernel's argument, as `len` elements that together are no longer than it is.
    #[allow(unsafe_code)]
    pub(crate) fn arg_of(&self, len: usize) -> BufferArg {
        assert!(len <= self.len, "an argument longer than its buffer");
        // SAFETY: the memory was asked for with at least this length.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), len) }
    }
}

/// Cubes enough for `count` of them, within the limit of every backend on each axis.
pub(crate) fn cubes(count: usize) -> CubeCount {
    const AXIS_MAX: usize = 1 << 15;
    let x = count.clamp(1, AXIS_MAX);
    CubeCount::Static(x as u32, count.div_ceil(x).max(1) as u32, 1)
}

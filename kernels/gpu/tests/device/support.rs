//! The device.

use std::io::Write;
use std::sync::LazyLock;

use murmur_gpu::{Backend, Gpu};

static GPU: LazyLock<Result<Gpu, String>> = LazyLock::new(|| {
    let mut reasons = Vec::new();
    for opened in [Backend::Cuda, Backend::Wgpu].map(Gpu::open) {
        match opened {
            Ok(gpu) => return Ok(gpu),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; "))
});

/// The device, or nothing, with the reason on standard error, where the test harness does not catch it.
pub(crate) fn gpu() -> Option<&'static Gpu> {
    GPU.as_ref().map_err(|reason| writeln!(std::io::stderr(), "skipped: {reason}")).ok()
}

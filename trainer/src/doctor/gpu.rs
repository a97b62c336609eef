//! GPUs, in a build with support for them: cargo's feature `gpu` (Vulkan, Metal, DirectX 12), or `cuda`.

use serde_json::Value;

/// What there is to say of GPUs.
#[derive(Debug, Clone, PartialEq)]
pub enum Gpus {
    /// This build supports none.
    NotBuilt,
    /// One for each way of reaching a device.
    Examined(Vec<Device>),
}

/// A device that was sought.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// For people, several lines.
    pub text: String,
    /// The same for programs.
    pub object: Value,
}

#[cfg(not(any(feature = "gpu", feature = "cuda")))]
pub(super) fn examine(_progress: &mut dyn FnMut(&str)) -> Gpus {
    Gpus::NotBuilt
}

#[cfg(any(feature = "gpu", feature = "cuda"))]
pub(super) use built::examine;

#[cfg(any(feature = "gpu", feature = "cuda"))]
mod built {
    //! Every device is examined that a backend of this build opens.

    use murmur_gpu::{Backend, Gpu, Report, Verdict};
    use serde_json::{Map, Value, json};

    use super::{Device, Gpus};

    const BACKENDS: &[Backend] = &[
        #[cfg(feature = "gpu")]
        Backend::Wgpu,
        #[cfg(feature = "cuda")]
        Backend::Cuda,
    ];

    pub(in crate::doctor) fn examine(progress: &mut dyn FnMut(&str)) -> Gpus {
        let device = |backend: &Backend| {
            progress(&format!("Examining a device of {backend:?}; half a minute if it is made of software …"));
            examined(*backend).unwrap_or_else(|error| failed(*backend, error))
        };
        Gpus::Examined(BACKENDS.iter().map(device).collect())
    }

    fn examined(backend: Backend) -> Result<Device, String> {
        let gpu = Gpu::open(backend).map_err(|error| error.to_string())?;
        let report = murmur_gpu::examine(&gpu).map_err(|error| format!("{}: {error}", gpu.name()))?;
        Ok(Device { text: report.to_string(), object: object(&report) })
    }

    fn failed(backend: Backend, error: String) -> Device {
        let object = json!({ "backend": format!("{backend:?}"), "error": error });
        Device { text: error, object }
    }

    fn object(report: &Report) -> Value {
        let verdict = |verdict: &Verdict| match verdict {
            Verdict::Exact => "exact".to_owned(),
            Verdict::Unfused => "unfused".to_owned(),
            Verdict::Different { count, of } => format!("{count} of {of} differ"),
        };
        let cases: Map<_, _> = report.cases.iter().map(|(name, v)| ((*name).to_owned(), verdict(v).into())).collect();
        let speed = |speed: &murmur_gpu::Speed| json!({ "name": speed.name, "value": speed.value, "unit": speed.unit });
        json!({
            "backend": format!("{:?}", report.backend), "device": report.device, "agrees": report.is_exact(),
            "conformance": report.conformance, "expected": report.expected, "cases": cases,
            "speeds": report.speeds.iter().map(speed).collect::<Vec<_>>(),
        })
    }
}

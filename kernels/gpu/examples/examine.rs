//! Examines the device of each backend of this build, and says whether it is of the exact profile.
//!
//!     cargo run --release -p murmur-gpu --features cuda --example examine

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn main() -> std::process::ExitCode {
    use murmur_gpu::{Backend, Gpu, examine};

    let backends = [(cfg!(feature = "cuda"), Backend::Cuda), (cfg!(feature = "wgpu"), Backend::Wgpu)];
    let mut exact = true;
    for (_, backend) in backends.into_iter().filter(|(built, _)| *built) {
        let report = Gpu::open(backend).map_err(|error| error.to_string());
        match report.and_then(|gpu| examine(&gpu).map_err(|error| error.to_string())) {
            Ok(report) => {
                exact &= report.is_exact();
                println!("{report}\n");
            }
            Err(error) => {
                exact = false;
                println!("{backend:?}: {error}\n");
            }
        }
    }
    if exact { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn main() {
    println!("built without a backend: add --features cuda or --features wgpu");
}

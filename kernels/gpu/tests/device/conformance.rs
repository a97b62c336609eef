//! Each case, against the profile or, on a device that cannot fuse, against the profile without fusing.

use murmur_gpu::conformance::CASES;
use murmur_gpu::{Arithmetic, Verdict, examine};
use murmur_kernels::exact::Level;

use crate::support::gpu;

#[test]
fn sums_products_quotients_and_roots_are_correctly_rounded() {
    let Some(gpu) = gpu() else { return };
    let found = Arithmetic::of(gpu).unwrap();
    eprintln!("{}: {found:?}", gpu.name());
    assert!(found.sums && found.products && found.quotients && found.roots && found.subnormals, "{found:?}");
    assert!(found.fuses != found.unfused, "{found:?}");
}

#[test]
fn every_kernel_gives_the_bits_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let level = if Arithmetic::of(gpu).unwrap().fuses { Level::best() } else { Level::UNFUSED };
    for case in CASES {
        let (found, expected) = (case.on_gpu(gpu).unwrap(), case.on_cpu(level));
        assert_eq!(found.len(), expected.len(), "{}", case.name);
        if let Some(at) = found.iter().zip(&expected).position(|(found, expected)| found != expected) {
            let count = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
            let [found, wanted] = [found[at], expected[at]].map(|bits| (f32::from_bits(bits), bits));
            panic!("{}: {count} of {} differ, the first at {at}: {found:?}, not {wanted:?}", case.name, expected.len());
        }
    }
}

#[test]
fn fusing_shows_so_that_the_cases_can_tell() {
    let blind = CASES.iter().filter(|case| case.on_cpu(Level::best()) == case.on_cpu(Level::UNFUSED));
    // Those that do not multiply and add in one operation.
    let integer = ["embedding", "global", "compression", "fold", "state as"];
    for case in blind {
        assert!(integer.iter().any(|name| case.name.starts_with(name)), "{} cannot tell", case.name);
    }
}

#[test]
fn a_report_says_what_the_device_is() {
    let Some(gpu) = gpu() else { return };
    let report = examine(gpu).unwrap();
    eprintln!("{report}");
    assert_eq!(report.cases.len(), CASES.len());
    let fit = |verdict: &Verdict| {
        matches!(verdict, Verdict::Exact) || (report.arithmetic.unfused && *verdict == Verdict::Unfused)
    };
    assert!(report.cases.iter().all(|(_, verdict)| fit(verdict)), "{report}");
    assert_eq!(report.is_exact(), report.arithmetic.fuses);
    assert!(report.speeds.iter().all(|speed| speed.value > 0.0));
}

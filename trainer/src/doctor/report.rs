//! An examination as text to paste and as an object to compare.

use core::fmt::Write as _;

use murmur_kernels::exact::PROFILE;
use murmur_model::conformance::EXPECTED;
use serde_json::{Map, Value, json};

use super::{Examination, Figure, LevelFound, Speeds, gpu::Gpus};

/// `murmur.doctor/1`. `conformance`, `agrees` and `simd` are of the instruction set in use; `levels` has all of them.
pub fn to_json(examination: &Examination) -> Value {
    let Examination { cpu, simd, threads, levels, speeds, gpu, seconds } = examination;
    json!({
        "schema": "murmur.doctor/1",
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": cpu,
        "profile": PROFILE,
        "simd": simd.name(),
        "threads": threads,
        "conformance": examination.active().map(|found| &found.conformance),
        "expected": EXPECTED,
        "agrees": examination.active().is_some_and(LevelFound::agrees),
        "levels": levels.iter().map(level).collect::<Vec<_>>(),
        "speeds": speeds.iter().map(speed).collect::<Vec<_>>(),
        "gpu": match gpu {
            Gpus::NotBuilt => Value::Null,
            Gpus::Examined(devices) => devices.iter().map(|device| device.object.clone()).collect(),
        },
        "seconds": seconds,
    })
}

fn level(found: &LevelFound) -> Value {
    json!({
        "simd": found.simd.name(), "conformance": found.conformance, "agrees": found.agrees(),
        "vectors": found.vectors, "training": found.training, "seconds": found.seconds,
    })
}

fn speed(speeds: &Speeds) -> Value {
    let metric = |figure: &Figure| {
        let Figure { name, value, median, unit } = figure;
        ((*name).to_owned(), json!({ "value": value, "median": median, "unit": unit }))
    };
    let metrics: Map<_, _> = speeds.figures.iter().map(metric).collect();
    json!({ "threads": speeds.threads, "metrics": metrics })
}

/// The same for people.
pub fn to_text(examination: &Examination) -> String {
    let Examination { cpu, simd, threads, levels, speeds, gpu, seconds } = examination;
    let (os, arch, version) = (std::env::consts::OS, std::env::consts::ARCH, env!("CARGO_PKG_VERSION"));
    let mut text = format!("murmur {version} on {os} {arch}\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "processor    {}, {threads} threads", cpu.as_deref().unwrap_or("unknown"));
    let _ = writeln!(text, "profile      {PROFILE}, computed with {simd}");
    for found in levels {
        let word = if found.agrees() { "agrees" } else { "DIFFERS" };
        let _ = writeln!(text, "{:<12} {word}: {} in {:.1} s", found.simd.name(), found.conformance, found.seconds);
    }
    if let Some(wrong) = levels.iter().find(|found| !found.agrees()) {
        let _ = writeln!(text, "expected     {EXPECTED}; {wrong:?}");
    }
    let _ = writeln!(text, "\n{}", table(speeds));
    match gpu {
        Gpus::NotBuilt => text.push_str("\nGPUs are not part of this build: cargo build --release --features gpu\n"),
        Gpus::Examined(devices) => devices.iter().for_each(|device| text += &format!("\n{}\n", device.text)),
    }
    let _ = write!(text, "\n{seconds:.1} s in all; speeds at their quickest, medians in brackets");
    text
}

/// A row for each speed, a column for each number of threads.
fn table(speeds: &[Speeds]) -> String {
    let heads = speeds.iter().map(|speeds| match speeds.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    });
    let mut lines = vec![row("speed", heads, "")];
    for (index, first) in speeds.first().map_or(&[][..], |speeds| &speeds.figures).iter().enumerate() {
        let cells = speeds.iter().map(|speeds| {
            let Figure { value, median, .. } = speeds.figures[index];
            format!("{} ({})", digits(value), digits(median))
        });
        lines.push(row(first.name, cells, first.unit));
    }
    lines.join("\n")
}

fn row(name: &str, cells: impl Iterator<Item = String>, unit: &str) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>20}")).collect();
    format!("{name:<16}{cells}  {unit}").trim_end().to_owned()
}

/// Three digits or more.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use murmur_kernels::simd::Level;

    use super::*;

    pub(crate) fn examination() -> Examination {
        let level = |simd| LevelFound {
            simd,
            conformance: EXPECTED.to_owned(),
            vectors: "1".repeat(64),
            training: "2".repeat(64),
            seconds: 1.5,
        };
        let figure = |name, value| Figure { name, value, median: value / 2.0, unit: "GFLOP/s" };
        let speeds = |threads| Speeds { threads, figures: vec![figure("fma_peak", 160.0), figure("matmul", 96.5)] };
        Examination {
            cpu: Some("A Processor".to_owned()),
            simd: Level::Avx2,
            threads: 8,
            levels: vec![level(Level::Scalar), level(Level::Avx2)],
            speeds: vec![speeds(1), speeds(8)],
            gpu: Gpus::NotBuilt,
            seconds: 9.25,
        }
    }

    #[test]
    fn the_object_has_the_documented_keys() {
        let object = to_json(&examination());
        assert_eq!((&object["schema"], &object["simd"]), (&"murmur.doctor/1".into(), &"avx2".into()));
        assert_eq!((&object["conformance"], &object["agrees"]), (&EXPECTED.into(), &true.into()));
        assert_eq!(object["levels"][0]["simd"], "scalar");
        assert_eq!(object["speeds"][1]["threads"], 8);
        assert_eq!(object["speeds"][0]["metrics"]["fma_peak"]["value"], 160.0);
        assert_eq!(object["gpu"], Value::Null);
    }

    #[test]
    fn the_text_says_what_agrees_and_what_differs() {
        let text = to_text(&examination());
        for part in ["A Processor, 8 threads", "with avx2", "fma_peak", "160 (80.0)", "96.5 (48.2)", "8 threads"] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!text.contains("DIFFERS"));
        let mut differs = examination();
        differs.levels[1].conformance = "3".repeat(64);
        let text = to_text(&differs);
        assert!(text.contains("avx2         DIFFERS: 333") && text.contains(EXPECTED), "{text}");
        assert_eq!(to_json(&differs)["agrees"], false);
    }
}

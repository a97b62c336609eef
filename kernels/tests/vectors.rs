//! Committed results. A change of the format, or a CPU that computes differently, cannot go unnoticed.
//!
//! `tests/vectors/codec.txt` has a payload in hexadecimal (or the hash of one above 64 bytes), the norm, and the hashes of
//! what is left in the residual and of the state after a fold; `tests/vectors/numbers.txt` has hashes of the optimizer, the
//! sealed carry and the state. To change a format on purpose: run the test, and put the text it prints in the file.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;

use murmur_kernels::{
    AdamW, Carry, Direction, Optimizer, Weight, adamw, blob_root, compress, fold, from_f32, global_norm, state_root,
    validate,
};
use support::{awkward, density, heavy_tailed};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(bytes: &[u8]) -> String {
    format!("blake3:{}", hex(&blob_root(bytes)[..16]))
}

fn hash_f32(values: &[f32]) -> String {
    hash(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// One line of `codec.txt`: two updates of one author, so that error feedback counts too.
fn codec_line(name: &str, k: u16, start: &[f32]) -> String {
    let (k_of, params) = (density(k), start.len());
    let (mut residual, mut state) = (vec![0.0; params], vec![0; params]);
    let mut line = format!("{name} k={k} params={params}");
    for weight in [Weight::ONE, Weight::new(40_000).unwrap()] {
        let mut payload = Vec::new();
        let norm = compress(k_of, 0.95, start, &vec![0.0; params], &mut residual, &mut payload).unwrap();
        assert_eq!(validate(k_of, params, &payload), Ok(norm));
        fold(k_of, &payload, weight, Direction::Add, &mut state).unwrap();
        let shown = if payload.len() <= 64 { hex(&payload) } else { hash(&payload) };
        write!(line, " payload={shown} norm={}", norm.0).unwrap();
    }
    write!(line, " residual={} state={}", hash_f32(&residual), hex(&state_root(&state)[..16])).unwrap();
    line
}

fn codec_text() -> String {
    let mut lines = vec![codec_line("empty", 64, &[]), codec_line("one", 16, &[0.25])];
    for (length, k) in [(5, 2048), (100, 64), (100, 3000), (4096, 16)] {
        lines.push(codec_line("heavy-tailed", k, &heavy_tailed(length, 1)));
    }
    for k in [64, 256, 1024, 2048, 2049, 4096] {
        lines.push(codec_line("heavy-tailed", k, &heavy_tailed(2 * 4096 + 17, 2)));
    }
    for kind in 0..support::AWKWARD_KINDS {
        lines.push(codec_line(&format!("awkward-{kind}"), 64, &awkward(600, kind)));
    }
    lines.join("\n") + "\n"
}

fn numbers_text() -> String {
    let h = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
    let (mut params, mut m, mut v) = (heavy_tailed(5000, 1), vec![0.0; 5000], vec![0.0; 5000]);
    let mut text = String::new();
    for step in 1..=3 {
        let grads = heavy_tailed(5000, step + 10);
        adamw(&h, step, &mut params, &grads, &mut m, &mut v, 0.5);
        writeln!(text, "norm {:08x}", global_norm(&grads).to_bits()).unwrap();
    }
    for (name, values) in [("params", &params), ("m", &m), ("v", &v)] {
        writeln!(text, "adamw {name} {}", hash_f32(values)).unwrap();
    }
    let sealed = Carry { optimizer: Optimizer::AdamW, steps: 3, m, v, residual: heavy_tailed(5000, 9) }.seal();
    writeln!(text, "sealed {} {}", sealed.len(), hash(&sealed)).unwrap();
    let (m, v, residual) = (vec![0.5, -0.1], vec![0.25], vec![0.0, -3.0]);
    let tiny = Carry { optimizer: Optimizer::Muon, steps: 1, m, v, residual };
    writeln!(text, "sealed-tiny {}", hex(&tiny.seal())).unwrap();
    writeln!(text, "state-root {}", hex(&state_root(&from_f32(&params).unwrap()))).unwrap();
    writeln!(text, "empty-root {}", hex(&blob_root(&[]))).unwrap();
    text
}

fn compare(committed: &str, computed: &str) {
    assert!(committed == computed, "the vectors differ; computed:\n{computed}");
}

#[test]
fn the_codec_gives_the_committed_bytes() {
    compare(include_str!("vectors/codec.txt"), &codec_text());
}

#[test]
fn the_other_kernels_give_the_committed_bits() {
    compare(include_str!("vectors/numbers.txt"), &numbers_text());
}

//! What a foreign program needs to train the same model from the same parameters on the same data: see `experiments/foreign`.
//!
//! `cargo run --release -p murmur --example foreign -- FOLDER [PEERS [STEPS [SEED]]]` writes to FOLDER:
//!
//! - `start.safetensors`: θ₀ of the default model with this seed, as `murmur run` starts from. Matrices are `[inputs, outputs]`.
//! - `peer-N.u8`: for each of STEPS steps the batch of peer N: sequences of context + 1 bytes, of which the last is only predicted.
//! - `validation.u8`: the 64 batches of 8 such sequences that the lab measures losses on.
//! - `adamw.safetensors`, `muon.safetensors`: what one step from θ₀ on peer 0's first batch gives: `gradient/NAME` before clipping,
//!   `after/NAME`, and the loss in the metadata.
//! - `index.json`: the model's shape, what the optimizers are told, and which rule moves which tensor.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, fs, path::Path};

use murmur::{
    config::{Inputs, Resolved, Settings},
    learn::{
        data::{Corpus, DataSource, batch, validation_batch},
        model::{Batch, Entry, ModelConfig},
        segment::{Optimizer, Rates},
    },
    run::manifest::run_seed,
};
use murmur_collectives::PeerId;
use murmur_kernels::{
    self as kernels, AdamW, Carry,
    exact::{Level, Pool},
    global_norm,
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// Batches of held-out text, and sequences of each.
const VALIDATION: [u32; 2] = [64, 8];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = words.first().map(Path::new) else {
        eprintln!("foreign FOLDER [PEERS [STEPS [SEED]]]");
        std::process::exit(2);
    };
    let number = |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().unwrap());
    let (peers, steps, seed) = (number(1, 4), number(2, 200), number(3, 1));
    fs::create_dir_all(folder).unwrap();
    let settings = Resolved::new(&Inputs::default()).unwrap().settings().unwrap();
    let (model, run_seed) = (settings.model, run_seed(seed));
    let corpus = Corpus::load(&DataSource::Registry).unwrap();
    let start = model.initial_params(&run_seed);
    write_tensors(&folder.join("start.safetensors"), &model, &[("", &start)], &[]);

    let size = settings.train.batch;
    let drawn = |peer: u64, step: u64| {
        let id = PeerId([u8::try_from(peer + 1).unwrap(); 32]);
        batch(&corpus, &run_seed, &id, step, 0, size, model.context())
    };
    for peer in 0..peers {
        let bytes: Vec<u8> = (0..steps).flat_map(|step| bytes_of(&drawn(peer, step))).collect();
        fs::write(folder.join(format!("peer-{peer}.u8")), bytes).unwrap();
    }
    let [batches, sequences] = VALIDATION;
    let held_out = |index| bytes_of(&validation_batch(&corpus, index, sequences as usize, model.context()));
    fs::write(folder.join("validation.u8"), (0..batches).flat_map(held_out).collect::<Vec<u8>>()).unwrap();

    for which in kernels::Optimizer::ALL {
        one_step(folder, &settings, which, &start, &drawn(0, 0));
    }
    fs::write(folder.join("index.json"), format!("{:#}\n", index(&settings, peers, steps, seed))).unwrap();
}

/// Each sequence and the byte after it.
fn bytes_of(batch: &Batch) -> Vec<u8> {
    let rows = batch.inputs.chunks(batch.context).zip(batch.targets.chunks(batch.context));
    let row = |(inputs, targets): (&[_], &[_])| inputs.iter().chain(targets.last()).copied().collect::<Vec<_>>();
    rows.flat_map(row).map(|token| u8::try_from(usize::from(token)).unwrap()).collect()
}

fn rates(settings: &Settings) -> Rates {
    let train = &settings.train;
    let adamw = AdamW {
        lr: train.lr as f32,
        beta1: train.beta1,
        beta2: train.beta2,
        epsilon: 1e-8,
        weight_decay: train.weight_decay as f32,
    };
    Rates { adamw, muon_lr: train.muon_lr as f32, muon_momentum: train.muon_momentum as f32 }
}

/// The first step of an optimizer, at the full learning rate and with the gradient's norm clipped to 1.
fn one_step(folder: &Path, settings: &Settings, which: kernels::Optimizer, start: &[f32], batch: &Batch) {
    let (model, pool) = (settings.model, || Pool::single(Level::active()));
    let mut replica = model.exact_replica(pool()).unwrap();
    let (mut params, mut gradient) = (start.to_vec(), vec![0.0; start.len()]);
    let loss = replica.loss_and_grad(&params, batch, &mut gradient).unwrap();
    let norm = global_norm(&gradient);
    let mut optimizer = Optimizer::new(which, replica.layout(), pool());
    let mut carry = Carry::fresh(optimizer.carry_shape());
    optimizer.step(&rates(settings), &mut carry, &mut params, &gradient, 1.0f32.min(1.0 / norm));
    let told = [("loss", loss.to_string()), ("gradient_norm", norm.to_string())];
    let file = folder.join(format!("{}.safetensors", which.name()));
    write_tensors(&file, &model, &[("gradient/", &gradient), ("after/", &params)], &told);
    println!("{which}: loss {loss}, gradient norm {norm}");
}

fn write_tensors(file: &Path, model: &ModelConfig, vectors: &[(&str, &[f32])], told: &[(&str, String)]) {
    let layout = model.layout();
    let bytes: Vec<(&str, Vec<u8>)> = vectors.iter().map(|(prefix, vector)| (*prefix, to_bytes(vector))).collect();
    let mut tensors = Vec::new();
    for (prefix, bytes) in &bytes {
        for entry in layout.entries() {
            let range = 4 * entry.offset..4 * entry.range().end;
            let view = TensorView::new(Dtype::F32, entry.shape.clone(), &bytes[range]).unwrap();
            tensors.push((format!("{prefix}{}", entry.name), view));
        }
    }
    let told: HashMap<String, String> = told.iter().map(|(key, text)| ((*key).to_owned(), text.clone())).collect();
    safetensors::serialize_to_file(tensors, Some(told), file).unwrap();
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn index(settings: &Settings, peers: u64, steps: u64, seed: u64) -> Value {
    let (model, train) = (settings.model, &settings.train);
    let sizes = model.family().dimensions.iter().zip(model.sizes());
    let shape: serde_json::Map<String, Value> =
        sizes.map(|(known, size)| (known.setting.trim_start_matches("model.").to_owned(), size.into())).collect();
    let layout = model.layout();
    let rule = |entry: &Entry| {
        let told = json!({ "hidden_matrix": entry.role.is_hidden_matrix(), "decays": entry.role.decays() });
        (entry.name.clone(), told)
    };
    let tensors: serde_json::Map<String, Value> = layout.entries().iter().map(rule).collect();
    json!({
        "model": shape, "vocabulary": model.vocabulary().size(), "tensors": tensors,
        "peers": peers, "steps": steps, "seed": seed, "batch": train.batch, "validation": VALIDATION,
        "lr": train.lr, "beta1": train.beta1, "beta2": train.beta2, "epsilon": 1e-8, "weight_decay": train.weight_decay,
        "muon_lr": train.muon_lr, "muon_momentum": train.muon_momentum, "polynomials": kernels::exact::POLYNOMIALS.map(|p| p.map(f64::from)),
        "clip_norm": 1.0, "warmup_tokens": train.warmup_tokens, "lr_final_fraction": train.lr_final_fraction,
        "rewarm_steps": train.rewarm_steps,
    })
}

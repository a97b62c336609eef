//! The model in `f64`, written for reading: loops over whole rows, nothing fused, nothing kept.

use murmur_model::{Batch, Layout, Token, gpt::Gpt};

type Rows = Vec<Vec<f64>>;

struct Model<'a> {
    layout: &'a Layout,
    params: &'a [f64],
}

impl Model<'_> {
    fn tensor(&self, name: &str) -> &[f64] {
        let entry = self.layout.entries().iter().find(|entry| entry.name == name).unwrap();
        &self.params[entry.range()]
    }

    fn linear(&self, x: &Rows, name: &str) -> Rows {
        let (weight, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        multiply(x, weight, bias.len()).into_iter().map(|row| add(&row, bias)).collect()
    }

    fn norm(&self, x: &Rows, name: &str) -> Rows {
        let (gain, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let row = |row: &Vec<f64>| {
            let d = row.len() as f64;
            let mean = row.iter().sum::<f64>() / d;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d;
            let normed = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
            normed.zip(gain).zip(bias).map(|((x, gain), bias)| x * gain + bias).collect()
        };
        x.iter().map(row).collect()
    }
}

fn add(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

fn add_rows(x: &Rows, y: &Rows) -> Rows {
    x.iter().zip(y).map(|(x, y)| add(x, y)).collect()
}

fn multiply(x: &Rows, weight: &[f64], columns: usize) -> Rows {
    let row = |x: &Vec<f64>| {
        (0..columns).map(|j| x.iter().enumerate().map(|(k, x)| x * weight[k * columns + j]).sum()).collect()
    };
    x.iter().map(row).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - best).exp()).collect();
    let mass: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / mass).collect()
}

fn attention(qkv: &Rows, heads: usize) -> Rows {
    let d = qkv[0].len() / 3;
    let width = d / heads;
    let position = |i: usize| -> Vec<f64> {
        let head = |head: usize| -> Vec<f64> {
            let part = |row: usize, part: usize| &qkv[row][part * d + head * width..][..width];
            let score = |j| part(i, 0).iter().zip(part(j, 1)).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt();
            let shares = softmax(&(0..=i).map(score).collect::<Vec<_>>());
            (0..width).map(|c| shares.iter().enumerate().map(|(j, share)| share * part(j, 2)[c]).sum()).collect()
        };
        (0..heads).flat_map(head).collect()
    };
    (0..qkv.len()).map(position).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// Mean cross-entropy of a batch.
pub(crate) fn loss(config: &Gpt, layout: &Layout, params: &[f64], batch: &Batch) -> f64 {
    let model = Model { layout, params };
    let sequences = batch.inputs.chunks(batch.context).zip(batch.targets.chunks(batch.context));
    let total: f64 = sequences.map(|(inputs, targets)| sequence_loss(config, &model, inputs, targets)).sum();
    total / batch.inputs.len() as f64
}

fn sequence_loss(config: &Gpt, model: &Model<'_>, inputs: &[Token], targets: &[Token]) -> f64 {
    let d = config.d_model;
    let (table, positions) = (model.tensor("embedding.token.weight"), model.tensor("embedding.position.weight"));
    let embed = |(i, &token): (usize, &Token)| add(&table[usize::from(token) * d..][..d], &positions[i * d..][..d]);
    let mut x: Rows = inputs.iter().enumerate().map(embed).collect();
    for block in 0..config.layers {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let qkv = model.linear(&model.norm(&x, &name("attention.norm")), &name("attention.qkv"));
        x = add_rows(&x, &model.linear(&attention(&qkv, config.heads), &name("attention.output")));
        let up = model.linear(&model.norm(&x, &name("mlp.norm")), &name("mlp.up"));
        let active = up.into_iter().map(|row| row.into_iter().map(gelu).collect()).collect();
        x = add_rows(&x, &model.linear(&active, &name("mlp.down")));
    }
    let head = model.tensor("head.weight");
    let scores = multiply(&model.norm(&x, "norm"), head, head.len() / d);
    scores.iter().zip(targets).map(|(scores, &target)| -softmax(scores)[usize::from(target)].ln()).sum()
}

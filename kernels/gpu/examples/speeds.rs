//! How long each kernel takes, as one line of JSON each: what `experiments/pytorch/gpu.py` compares with PyTorch.
//!
//!     cargo run --release -p murmur-gpu --features cuda --example speeds [cuda|wgpu] [WORDS]
//!
//! A time is the median over turns of enough calls, one after the other, to fill a fiftieth of a second; one wait for the device ends
//! a turn. The first calls, which compile, are not in it. With WORDS only what has one of them in its name is run.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod timed {
    use std::error::Error;
    use std::time::Instant;

    use murmur_gpu::kernels::{self, Factor, Start};
    use murmur_gpu::{Backend, Buffer, Gpu, GpuError};
    use murmur_kernels::exact::{Activation, Attention, MOMENTS, Norm};
    use murmur_kernels::{AdamW, Direction, TopK, Weight};

    const TURNS: usize = 7;
    const TURN_SECONDS: f64 = 0.02;
    const CALLS_MAX: usize = 2000;

    type Outcome = Result<(), Box<dyn Error>>;

    struct Bench {
        gpu: Gpu,
        words: Vec<String>,
    }

    pub(super) fn run() -> Outcome {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        let backend = match words.first().map(String::as_str) {
            Some("cuda") => Backend::Cuda,
            Some("wgpu") => Backend::Wgpu,
            Some(_) | None => return Err("say cuda or wgpu".into()),
        };
        words.remove(0);
        let bench = Bench { gpu: Gpu::open(backend)?, words };
        println!("{{\"device\": {:?}, \"backend\": \"{backend:?}\"}}", bench.gpu.name());
        bench.products()?;
        bench.attentions()?;
        bench.rows()?;
        bench.elements()?;
        bench.updates()
    }

    impl Bench {
        fn numbers(&self, count: usize) -> Buffer {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let values: Vec<f32> = (0..count)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 40) as f32 / 8_388_608.0 - 1.0
                })
                .collect();
            self.gpu.upload(&values)
        }

        fn wanted(&self, name: &str) -> bool {
            self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
        }

        /// Times `work`, if it is wanted; its last result is in `result`; `amount` is how many operations or bytes it stands for.
        fn time(&self, name: &str, amount: f64, result: &Buffer, mut work: impl FnMut() -> Outcome) -> Outcome {
            if !self.wanted(name) {
                return Ok(());
            }
            let mut turn = |calls: usize| -> Result<f64, Box<dyn Error>> {
                let begun = Instant::now();
                for _ in 0..calls {
                    work()?;
                }
                self.gpu.wait(result)?;
                Ok(begun.elapsed().as_secs_f64() / calls as f64)
            };
            turn(1)?;
            let first = turn(3)?;
            let calls = ((TURN_SECONDS / first) as usize).clamp(1, CALLS_MAX);
            let mut times = (0..TURNS).map(|_| turn(calls)).collect::<Result<Vec<_>, _>>()?;
            times.sort_by(f64::total_cmp);
            let (best, median) = (1e6 * times[0], 1e6 * times[TURNS / 2]);
            println!("{{\"name\": {name:?}, \"us\": {median:.3}, \"least_us\": {best:.3}, \"amount\": {amount}}}");
            Ok(())
        }

        fn products(&self) -> Outcome {
            let squares = [256, 512, 1024, 2048, 4096].map(|side| [side, side, side]);
            // The products of a small GPT's step: 2048 places, 256 wide.
            let step = [[2048, 768, 256], [2048, 1024, 256], [2048, 256, 1024], [256, 1024, 2048]];
            for [m, n, k] in squares.into_iter().chain(step) {
                for form in ["nn", "nt", "tn"] {
                    let name = format!("matmul {form} {m}x{n}x{k}");
                    if !self.wanted(&name) {
                        continue;
                    }
                    let (a, b, out) = (self.numbers(m * k), self.numbers(k * n), self.gpu.room(m * n));
                    let factors = || -> Result<_, GpuError> {
                        let a = if form == "tn" {
                            Factor::new(&a, 1, k, m)?.transposed()
                        } else {
                            Factor::new(&a, 1, m, k)?
                        };
                        let b = if form == "nt" {
                            Factor::new(&b, 1, n, k)?.transposed()
                        } else {
                            Factor::new(&b, 1, k, n)?
                        };
                        Ok((a, b))
                    };
                    let (a, b) = factors()?;
                    let work = || Ok(kernels::matmul(&self.gpu, a, b, Start::Zero, &out)?);
                    self.time(&name, 2.0 * (m * n * k) as f64, &out, work)?;
                }
            }
            Ok(())
        }

        fn attentions(&self) -> Outcome {
            for [batch, seq, heads, width] in [[16, 128, 4, 64], [8, 1024, 8, 64]] {
                let name = |way: &str| format!("attention {way} {batch}x{seq}x{heads}x{width}");
                let d = batch * seq * heads * width;
                let sizes = Attention { batch, seq, heads, width };
                // Half of all pairs of places, two products forward and five backward.
                let flops = (batch * heads * seq * seq * width) as f64 * 2.0;
                let [qkv, grads] = [(); 2].map(|()| self.numbers(3 * d));
                let [mixed, grad] = [(); 2].map(|()| self.numbers(d));
                let work = || Ok(kernels::attention(&self.gpu, sizes, &qkv, &mixed)?);
                self.time(&name("forward"), flops, &mixed, work)?;
                let work = || Ok(kernels::attention_backward(&self.gpu, sizes, [&qkv, &grad], &grads)?);
                self.time(&name("backward"), 2.5 * flops, &grads, work)?;
            }
            Ok(())
        }

        fn rows(&self) -> Outcome {
            let (gpu, rows) = (&self.gpu, 16384);
            for d in [256, 1024] {
                let name = |what: &str| format!("{what} {rows}x{d}");
                let bytes = (4 * rows * d) as f64;
                let [x, out, grad, grad_x] = [(); 4].map(|()| self.numbers(rows * d));
                let (gain, affine, grads) = (self.numbers(d), self.numbers(2 * d), gpu.room(2 * d));
                let moments = gpu.room(rows * MOMENTS);
                kernels::norm(gpu, Norm::Layer, &x, &affine, d, [&out, &moments])?;
                let work = || Ok(kernels::norm(gpu, Norm::Layer, &x, &affine, d, [&out, &moments])?);
                self.time(&name("layer norm"), 2.0 * bytes, &out, work)?;
                let inputs = [&x, &gain, &moments, &grad];
                let work = || Ok(kernels::norm_backward(gpu, Norm::Layer, inputs, [&grad_x, &grads])?);
                self.time(&name("layer norm backward"), 4.0 * bytes, &grads, work)?;
                self.time(&name("softmax"), 2.0 * bytes, &x, || Ok(kernels::softmax(gpu, &x, d)?))?;
            }
            let (scores, targets) = (self.numbers(rows * 96), vec![7; rows]);
            let name = format!("cross-entropy {rows}x96");
            let work = || Ok(kernels::cross_entropy(gpu, &scores, &targets).map(drop)?);
            self.time(&name, (8 * rows * 96) as f64, &scores, work)?;
            Ok(())
        }

        fn elements(&self) -> Outcome {
            let (gpu, count) = (&self.gpu, 1 << 24);
            let name = |what: &str| format!("{what} {count}");
            let bytes = (4 * count) as f64;
            let [x, out, m, v] = [(); 4].map(|()| self.numbers(count));
            self.time(&name("gelu"), 2.0 * bytes, &out, || Ok(kernels::activate(gpu, Activation::Gelu, &x, &out)?))?;
            let work = || Ok(kernels::activate_backward(gpu, Activation::Gelu, &x, &out)?);
            self.time(&name("gelu backward"), 3.0 * bytes, &out, work)?;
            let h = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
            let work = || Ok(kernels::adamw(gpu, &h, 1, [&x, &out, &m, &v], 1.0)?);
            self.time(&name("adamw"), 7.0 * bytes, &x, work)?;
            Ok(())
        }

        fn updates(&self) -> Outcome {
            let (gpu, count, k) = (&self.gpu, 1 << 22, TopK::new(64)?);
            let name = |what: &str| format!("{what} {count}");
            let bytes = (4 * count) as f64;
            let [start, end] = [(); 2].map(|()| self.numbers(count));
            let work = || Ok(kernels::global_norm(gpu, &start).map(drop)?);
            self.time(&name("norm of a gradient"), bytes, &start, work)?;
            let (mut residual, mut payload) = (self.numbers(count), Vec::new());
            let mut compress = || {
                payload.clear();
                kernels::compress(gpu, k, 0.9, [&start, &end], &mut residual, &mut payload).map(drop)
            };
            compress()?;
            self.time(&name("compress"), 4.0 * bytes, &start, || Ok(compress()?))?;
            let state = kernels::upload_state(gpu, &vec![0; count]);
            let work = || Ok(kernels::fold(gpu, k, &payload, Weight::ONE, Direction::Add, &state)?);
            self.time(&name("fold"), bytes, &state, work)?;
            Ok(())
        }
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    timed::run()
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn main() {
    println!("built without a backend: add --features cuda or --features wgpu");
}

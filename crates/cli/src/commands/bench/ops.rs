//! `deem bench ops`: each hot operation alone, forward and backward, at the shapes of a preset's stage 1.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Distribution, Int, Tensor};
use deem_experiment::built_in::BuiltIn;
use deem_experiment::standins::StandIns;
use deem_kernels::{self as kernels, AdamW, AttentionMask, Conv2dOptions, MlpActivation, Roofline};
use deem_model::clip::pyramid::VisionConfig;
use serde_json::{Value, json};

use super::{SEED, Timed, cpu_seconds, since};
use crate::args::{Bench, BenchOps};
use crate::commands::setup::Setup;

/// Longest time spent on one measurement.
const BUDGET: Duration = Duration::from_millis(400);

/// Times every operation whose name contains the filter.
pub fn run(setup: &Setup, args: &Bench, part: &BenchOps) -> Result<Value> {
    if setup.device != "cpu" {
        bail!(
            "bench ops: expected --device cpu, whose kernels it measures, found {:?}",
            setup.device
        );
    }
    let standins = setup.open()?;
    let preset = standins.preset();
    let cases = cases(&standins, &standins.data()?)?;
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|case| case.op.contains(&part.filter))
        .collect();
    if chosen.is_empty() {
        let mut names: Vec<&str> = cases.iter().map(|case| case.op).collect();
        names.dedup();
        bail!(
            "bench ops: no operation is called {:?}; there are {}",
            part.filter,
            names.join(", ")
        );
    }
    let roof = Roofline::measure();
    let timed = chosen.into_iter().map(|case| {
        let mut report = case.time(args.runs);
        let attainable = roof.seconds(case.flops as f64, 4.0 * case.values as f64);
        report["forward_attainable_seconds"] = json!(attainable);
        report
    });
    Ok(json!({
        "bench": "ops",
        "preset": preset.name,
        "ops": timed.collect::<Vec<_>>(),
        "roofline": { "flops_per_second": roof.operations, "bytes_per_second": roof.bytes },
    }))
}

/// An operation at one size.
struct Case {
    op: &'static str,
    /// What the numbers mean depends on the operation, see [`Case::time`].
    dims: Vec<usize>,
    /// Multiplications and additions of the forward pass.
    flops: usize,
    /// Values that the forward pass must read and write.
    values: usize,
}

/// The operations of stage 1, with the rows, tokens and images of its first batch.
fn cases(standins: &StandIns, data: &BuiltIn) -> Result<Vec<Case>> {
    let stages = &standins.experiment().stages;
    let stage = stages.first().context("no stage in the preset")?;
    let preset = standins.preset();
    let batches = data.stage_batches(stage, &preset.spec(), SEED)?;
    let batch = batches.get(0)?;
    let (rows, seq, images) = (batch.batch, batch.seq, batch.images.len());
    let tokens = rows * seq;
    let model = &preset.model;
    let mut cases = Vec::new();
    let mut add = |op, dims: &[usize], flops, values| {
        let dims = dims.to_vec();
        cases.push(Case {
            op,
            dims,
            flops,
            values,
        });
    };

    let llama = &model.llama;
    let (width, inner) = (llama.hidden_size, llama.intermediate_size);
    let mut linear = |op, rows: usize, inputs: usize, outputs: usize, maps: usize| {
        let (products, weights) = (rows * inputs * outputs, inputs * outputs);
        let values = rows * (inputs + if maps > 1 { inputs } else { outputs });
        let dims = [rows, inputs, outputs];
        add(op, &dims, 2 * maps * products, maps * weights + values);
    };
    linear("linear", tokens, width, width, 1);
    linear("gated_mlp", tokens, width, inner, 3);
    let mut attention = |rows, heads: usize, kv: usize, queries: usize, keys: usize, dim: usize| {
        let causal = usize::from(rows * seq == tokens && queries == seq);
        let values = rows * dim * 2 * (heads * queries + kv * keys);
        let flops = 4 * rows * heads * queries * keys * dim / (1 + causal);
        let dims = [rows, heads, kv, queries, keys, dim, causal];
        add("attention", &dims, flops, values);
    };
    let (heads, kv) = (llama.num_attention_heads, llama.kv_heads());
    attention(rows, heads, kv, seq, seq, llama.head_width());
    let resampler = &model.image_encoder.resampler;
    let heads = resampler.num_attention_heads;
    let grid = model.image_size / 16;
    let queries = model.image_encoder.queries;
    let dim = resampler.hidden_size / heads;
    attention(images, heads, heads, queries, 1 + grid * grid, dim);
    let unet = &model.unet;
    let side = model.diffusion_size / model.autoencoder.reduction();
    let channels = unet.block_out_channels[0];
    let heads = *unet.attention_head_dim.at(0);
    let pixels = side * side;
    attention(images, heads, heads, pixels, pixels, channels / heads);

    add(
        "rms_norm",
        &[tokens, width],
        4 * tokens * width,
        2 * tokens * width,
    );
    let map = images * pixels * channels;
    let groups = unet.norm_num_groups.unwrap_or(1);
    add(
        "group_norm_silu",
        &[images, side, channels, groups],
        10 * map,
        2 * map,
    );
    let mut conv = |images: usize, side: usize, channels: usize| {
        let values = 2 * images * side * side * channels + 9 * channels * channels;
        let flops = 18 * images * side * side * channels * channels;
        add("conv3x3", &[images, side, channels], flops, values);
    };
    conv(images, side, channels);
    conv(
        images,
        side / 2,
        unet.block_out_channels[unet.block_out_channels.len() - 1],
    );
    conv(
        images,
        model.diffusion_size,
        model.autoencoder.block_out_channels[0],
    );
    if let VisionConfig::ConvNext { trunk, .. } = &model.image_encoder.vision {
        for stage in [0, 2] {
            let (side, channels) = (
                (model.image_size / trunk.patch_size) >> stage,
                trunk.dims[stage],
            );
            let area = images * side * side;
            let map = area * channels;
            add("depthwise7x7", &[images, side, channels], 98 * map, 2 * map);
            add("layer_norm", &[area, channels], 8 * map, 2 * map);
            add(
                "linear",
                &[area, channels, 4 * channels],
                8 * map * channels,
                5 * map,
            );
            add("gelu", &[area, 4 * channels], 40 * map, 8 * map);
            let (flops, weights) = (16 * map * channels, 8 * channels * channels);
            add(
                "mlp",
                &[area, channels, 4 * channels],
                flops,
                2 * map + weights,
            );
        }
    }
    let vocabulary = llama.vocab_size + model.new_tokens;
    add(
        "cross_entropy",
        &[tokens, vocabulary],
        4 * tokens * vocabulary,
        tokens * vocabulary,
    );
    if let Some(mmfs) = &model.llama_mmfs {
        let dim = mmfs.attention_dim / mmfs.heads;
        let cells: usize = mmfs.levels.iter().map(|side| side * side).sum();
        let samples = tokens * mmfs.heads * mmfs.levels.len() * mmfs.points;
        let values = dim * mmfs.heads * (rows * cells + tokens) + 3 * samples;
        let mut dims = vec![rows, seq, mmfs.heads, mmfs.points, dim];
        dims.extend(&mmfs.levels);
        add("deformable_attention", &dims, 8 * samples * dim, values);
    }
    add("adamw", &[1 << 20], 14 << 20, 7 << 20);
    Ok(cases)
}

fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &device).require_grad()
}

impl Case {
    fn time(&self, runs: usize) -> Value {
        match (self.op, self.dims.as_slice()) {
            ("linear", &[rows, inputs, outputs]) => {
                let (x, w) = (random([rows, inputs]), random([outputs, inputs]));
                let b = random([outputs]);
                self.both(runs, || {
                    kernels::linear(x.clone(), w.clone(), Some(b.clone()))
                })
            }
            ("gated_mlp", &[rows, width, inner]) => {
                let x = random([rows, width]);
                let [gate, up] = [(); 2].map(|()| random([inner, width]));
                let down = random([width, inner]);
                self.both(runs, || {
                    kernels::swiglu_mlp(x.clone(), gate.clone(), up.clone(), down.clone())
                })
            }
            ("mlp", &[rows, width, inner]) => {
                let x = random([rows, width]);
                let (up, down) = (random([inner, width]), random([width, inner]));
                let biases = [random([inner]), random([width])];
                self.both(runs, || {
                    let [up_bias, down_bias] = biases.clone().map(Some);
                    let (up, down) = ((up.clone(), up_bias), (down.clone(), down_bias));
                    kernels::mlp(x.clone(), up, MlpActivation::Gelu, down)
                })
            }
            ("attention", &[rows, heads, kv, queries, keys, dim, causal]) => {
                let q = random([rows, queries, heads, dim]);
                let [k, v] = [(); 2].map(|()| random([rows, keys, kv, dim]));
                let scale = (dim as f64).sqrt().recip();
                self.both(runs, || {
                    let [q, k, v] = [&q, &k, &v].map(|x| x.clone().swap_dims(1, 2));
                    let mask = AttentionMask {
                        causal: causal == 1,
                        ..AttentionMask::default()
                    };
                    kernels::attention(q, k, v, mask, scale).swap_dims(1, 2)
                })
            }
            ("rms_norm", &[rows, width]) => {
                let (x, w) = (random([rows, width]), random([width]));
                self.both(runs, || kernels::rms_norm(x.clone(), w.clone(), 1e-6))
            }
            ("layer_norm", &[rows, width]) => {
                let x = random([rows, width]);
                let [w, b] = [(); 2].map(|()| random([width]));
                self.both(runs, || {
                    kernels::layer_norm(x.clone(), Some(w.clone()), Some(b.clone()), 1e-6)
                })
            }
            ("group_norm_silu", &[images, side, channels, groups]) => {
                let x = random([images, side, side, channels]);
                let [w, b] = [(); 2].map(|()| random([channels]));
                self.both(runs, || {
                    kernels::group_norm(x.clone(), groups, w.clone(), b.clone(), 1e-5, true)
                })
            }
            ("conv3x3", &[images, side, channels]) => {
                self.conv(runs, [images, side, channels], 3, 1)
            }
            ("depthwise7x7", &[images, side, channels]) => {
                self.conv(runs, [images, side, channels], 7, channels)
            }
            ("gelu", &[rows, width]) => {
                let x = random([rows, width]);
                self.both(runs, || kernels::gelu(x.clone()))
            }
            ("cross_entropy", &[rows, classes]) => {
                let logits = random([rows, classes]);
                let targets = Tensor::<1, Int>::arange(0..rows as i64, &Device::flex());
                let targets = targets.remainder_scalar(classes as i64);
                self.both(runs, || {
                    kernels::cross_entropy(logits.clone(), targets.clone(), -100)
                })
            }
            ("deformable_attention", &[rows, queries, heads, points, dim, ref levels @ ..]) => {
                let shapes: Vec<[usize; 2]> = levels.iter().map(|side| [*side; 2]).collect();
                let cells = levels.iter().map(|side| side * side).sum();
                let value = random([rows, cells, heads, dim]);
                let at = random([rows, queries, heads, levels.len(), points, 2]);
                let at = at.inner().abs().autodiff().require_grad();
                let weights = random([rows, queries, heads, levels.len(), points]);
                self.both(runs, || {
                    let (at, weights) = (at.clone(), weights.clone());
                    kernels::deformable_attention(value.clone(), &shapes, at, weights)
                })
            }
            ("adamw", &[count]) => {
                let mut state = [(); 3].map(|()| random([count]).inner().abs());
                let gradient = random([count]).inner();
                let options = AdamW {
                    lr: 1e-3,
                    beta1: 0.9,
                    beta2: 0.99,
                    eps: 1e-8,
                    weight_decay: 0.01,
                    step: 1,
                };
                let step = measure(runs, || {
                    let [p, m, v] =
                        std::mem::replace(&mut state, [(); 3].map(|()| gradient.clone()));
                    state = kernels::adamw_step(p, gradient.clone(), m, v, options).into();
                });
                self.report(step, step)
            }
            (op, dims) => unreachable!("{op} {dims:?}"),
        }
    }

    fn conv(&self, runs: usize, map: [usize; 3], kernel: usize, groups: usize) -> Value {
        let [images, side, channels] = map;
        let x = random([images, side, side, channels]);
        let w = random([channels, channels / groups, kernel, kernel]);
        let b = random([channels]);
        let options = Conv2dOptions {
            padding: [kernel / 2; 4],
            groups,
            ..Conv2dOptions::default()
        };
        self.both(runs, || {
            kernels::conv2d(x.clone(), w.clone(), Some(b.clone()), options)
        })
    }

    /// The operation alone, then with the gradients of all its inputs.
    fn both<const D: usize>(&self, runs: usize, op: impl Fn() -> Tensor<D>) -> Value {
        let forward = measure(runs, || {
            black_box(op());
        });
        let both = measure(runs, || {
            black_box(op().sum().backward());
        });
        self.report(forward, both)
    }

    fn report(&self, forward: [f64; 2], both: [f64; 2]) -> Value {
        json!({
            "op": self.op,
            "dims": self.dims,
            "flops": self.flops,
            "bytes": 4 * self.values,
            "forward_seconds": forward[0],
            "forward_cpu_seconds": forward[1],
            "both_seconds": both[0],
            "both_cpu_seconds": both[1],
        })
    }
}

/// Median wall seconds and mean processor seconds of one run, after one that does not count.
fn measure(runs: usize, mut work: impl FnMut()) -> [f64; 2] {
    work();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut seconds = Vec::new();
    while seconds.len() < runs || start.elapsed() < BUDGET {
        let before = Instant::now();
        work();
        seconds.push(before.elapsed().as_secs_f64());
    }
    let cpu = since(cpu) / seconds.len() as f64;
    [Timed::of(seconds).median, cpu]
}

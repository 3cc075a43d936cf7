//! A model of the tiny preset's architecture at a size that trains in a second.
#![allow(dead_code)] // not every test uses all of it

use std::path::Path;

use burn::tensor::Device;
use deem_data::image::ImageLimits;
use deem_data::source::{SourceContext, SourceRegistry};
use deem_data::text::TextTokenizer;
use deem_engine::batches::stage_batches;
use deem_engine::config::{self, ModelSpec, StageConfig};
use deem_engine::task::DeemTask;
use deem_engine::train::{Observer, Piece, StepReport, Task};
use deem_engine::{Compute, Precision};
use deem_model::deem::Deem;
use deem_model::deem::DeemConfig;
use deem_model::weights::init::{Fill, initialize};
use serde::Deserialize;

/// What these tests need of the shipped preset and its experiment.
#[derive(Clone)]
pub struct Preset {
    pub max_tokens: usize,
    pub model: DeemConfig,
    pub stages: Vec<StageConfig>,
}

/// Stops a run after a number of steps.
pub struct StopAfter {
    steps: u64,
    done: u64,
}

impl StopAfter {
    pub fn new(steps: u64) -> Self {
        Self { steps, done: 0 }
    }
}

impl Observer for StopAfter {
    fn on_step(&mut self, report: &StepReport) {
        self.done = report.step;
    }

    fn interrupted(&self) -> bool {
        self.done >= self.steps
    }
}

/// The preset, shrunk; with grouped queries and prediction of the noise, which bounds on rounding were set for. Velocity is
/// trained in crates/cli/tests/commands/reproducible.rs.
pub fn preset() -> Preset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let smaller = [
        "model.image_size=64",
        "model.diffusion_size=16",
        "model.image_encoder.queries=5",
        "model.image_encoder.vision.trunk.dims=[16, 16, 32, 32]",
        "model.image_encoder.vision.trunk.depths=[1, 1, 1, 1]",
        "model.image_encoder.resampler.num_hidden_layers=1",
        "model.llama.num_hidden_layers=2",
        "model.llama.hidden_size=192",
        "model.llama.intermediate_size=512",
        "model.llama.num_attention_heads=4",
        "model.llama.num_key_value_heads=2",
        "model.image_decoder.resampler.encoder_hidden_size=192",
        "model.scheduler.prediction_type=\"epsilon\"",
        "model.unet.block_out_channels=[16, 32]",
        "model.unet.attention_head_dim=[2, 2]",
        "model.unet.norm_num_groups=8",
        "model.autoencoder.block_out_channels=[8, 8, 8, 8]",
        "model.autoencoder.norm_num_groups=4",
    ];
    let Model { max_tokens, model } =
        config::read(&folder.join("model.toml"), &smaller.map(String::from))
            .expect("the shipped preset");
    let Study { stages } =
        config::read(&folder.join("experiment.toml"), &[]).expect("its experiment");
    Preset {
        max_tokens,
        model,
        stages,
    }
}

#[derive(Deserialize)]
struct Model {
    max_tokens: usize,
    model: DeemConfig,
}

#[derive(Deserialize)]
struct Study {
    stages: Vec<StageConfig>,
}

/// A model with every parameter drawn at random.
pub fn model(preset: &Preset, device: &Device) -> Deem {
    let rules = deem_model::init::rules(&preset.model);
    let mut rules: Vec<(&str, Fill)> = rules.iter().map(|(p, f)| (p.as_str(), *f)).collect();
    // At their starting values gates and projections pass (almost) no gradient.
    rules.insert(0, ("gate", Fill::Constant(0.5)));
    rules.insert(0, ("proj_i.weight", Fill::FanIn(1.0)));
    rules.insert(0, ("proj_t.weight", Fill::FanIn(1.0)));
    let model = Deem::new(&preset.model, device).expect("a valid schedule");
    initialize(model, 7, &rules)
}

/// The first batch of a task, whole.
pub fn first<T: Task>(task: &T) -> (Piece, T::Batch) {
    let piece = Piece::whole(0, task.rows());
    let batch = task.batch(&piece).expect("a batch");
    (piece, batch)
}

/// A stage of the preset with a small batch, as a task.
pub fn task(preset: &Preset, stage: usize, device: &Device) -> DeemTask {
    task_of_rows(preset, stage, 6, device)
}

/// A stage of the preset with batches of `rows` rows, as a task.
pub fn task_of_rows(preset: &Preset, stage: usize, rows: usize, device: &Device) -> DeemTask {
    let mut stage = preset.stages[stage].clone();
    stage.batch = rows;
    let compute = Compute {
        device: device.clone().inner(),
        precision: Precision::F32,
    };
    let spec = ModelSpec {
        max_tokens: preset.max_tokens,
        model: preset.model.clone(),
    };
    let context = SourceContext {
        seed: 3,
        image_size: preset.model.image_size as u32,
        root: ".".into(),
        limits: ImageLimits::default(),
    };
    let tokenizer = TextTokenizer::builtin().expect("the built-in tokenizer");
    let sources = SourceRegistry::standard();
    let batches = stage_batches(&stage, &spec, &tokenizer, &sources, &context).expect("batches");
    DeemTask::new(&stage, batches, 5, &compute)
}

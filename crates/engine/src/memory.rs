//! How much memory a run takes, from its configuration alone: an estimate.
//!
//! Weights, gradients and optimizer moments are counted exactly. Activations are counted by layer: what
//! the backward pass needs of each, in values per token or per cell of a map. Attention keeps no scores. A
//! network that checkpoints its blocks keeps their inputs, and the values of one block at a time. A checkpoint is written
//! from a copy in the host's memory.
//! Allocators, temporaries and program are a tenth on top.

use std::collections::BTreeMap;

use deem_model::autoencoder::AutoencoderConfig;
use deem_model::checkpointing::CheckpointBlocks;
use deem_model::clip::config::{ClipVisionConfig, ConvNextConfig};
use deem_model::clip::dual::ImageConfig;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::component::Component;
use deem_model::deem::DeemConfig;
use deem_model::encoder_feedback::FeedbackConfig;
use deem_model::perceiver::PerceiverConfig;
use deem_model::unet::{DownBlockType, UNetConfig};
use serde::Serialize;

use crate::config::{ModelSpec, StageConfig};
use crate::encoder_feedback::FeedbackStage;
use crate::objective::Objective;
use crate::train::{ParameterInfo, Plan, block_of};

/// Number format of the values that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberFormat {
    /// Everything in 32 bits.
    F32,
    /// Frozen matrices of the language model in the 16 bits in which they are published, everything else in
    /// 32: what the processor does with published checkpoints.
    #[serde(rename = "f32_stored_16")]
    Stored16,
    /// Weights and activations in 16 bits; trained weights, gradients and moments in 32 bits as well.
    Bf16,
}

impl NumberFormat {
    /// Bytes of a value that is computed.
    fn bytes(self) -> u64 {
        match self {
            Self::F32 | Self::Stored16 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Bytes of weights that are trained or, as marked, frozen.
    fn weights<'a>(self, parameters: impl Iterator<Item = (&'a ParameterInfo, bool)>) -> u64 {
        let bytes = |parameter: &ParameterInfo, frozen: bool| {
            let matrix = parameter.rank == 2 && !parameter.path.ends_with("embed_tokens.weight");
            let published = Component::LanguageModel.contains(&parameter.path);
            match self {
                Self::Stored16 if frozen && matrix && published => 2,
                _ => self.bytes(),
            }
        };
        let sizes = parameters.map(|(p, frozen)| p.count as u64 * bytes(p, frozen));
        sizes.sum()
    }
}

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Weights as the networks read them.
    pub weights: u64,
    /// Gradients, two moments, and 32-bit copies of trained weights.
    pub training: u64,
    /// What networks keep while they run, for the backward pass or the key-value cache.
    pub activations: u64,
    /// Copy of trained weights and moments from which a checkpoint is written while training goes on; in the host's memory.
    pub saving: u64,
    /// This process's part of frozen weights that processes share; in the host's memory. Of these `weights` has the largest
    /// block alone.
    pub shared: u64,
}

impl Memory {
    /// What a device with memory of its own needs, with a tenth for what is not counted.
    pub fn device(&self) -> u64 {
        (self.weights + self.training + self.activations) / 10 * 11
    }

    /// All of it: what a processor needs.
    pub fn total(&self) -> u64 {
        self.device() + self.saving + self.shared
    }
}

/// Memory of a training step of a stage in each of so many processes, one micro-batch at a time. Processes share the
/// optimizer's moments and the rows of a micro-batch.
pub fn training(
    spec: &ModelSpec,
    stage: &StageConfig,
    parameters: &[ParameterInfo],
    precision: NumberFormat,
    processes: usize,
) -> Memory {
    let trained = parameters.iter().filter(|p| p.group.is_some());
    let trained: u64 = trained.map(|p| p.count as u64).sum();
    let (gradient, moments) = (4, 8);
    let copy = match precision {
        NumberFormat::F32 | NumberFormat::Stored16 => 0,
        NumberFormat::Bf16 => 4,
    };
    let model = &spec.model;
    let share = Plan::new(stage.train.accumulate, stage.batch, (0, processes));
    let rows = share.map_or(stage.batch, |plan| plan.piece(0).rows.len()) as u64;
    let images = rows * stage.samples_per_row as u64;
    let tokens = rows * spec.max_tokens as u64;
    let recompute = model.checkpoint_blocks;
    let mut values = images * image_encoder(model, recompute.image_encoder)
        + tokens * language_model(model, recompute.llama);
    let heads = u64::from(stage.loss.image > 0.0) + u64::from(stage.loss.feedback > 0.0);
    if heads > 0 {
        let restored = unet(&model.unet, latent_side(model), recompute.unet);
        values +=
            images * (heads * restored + autoencoder(&model.autoencoder, model.diffusion_size));
    }
    if stage.loss.image > 0.0 {
        values += images * resampler(&model.image_decoder.resampler, model.image_encoder.queries);
    }
    let (weights, shared) = if stage.train.shard_frozen && processes > 1 {
        sharing(parameters, precision, recompute, processes)
    } else {
        let all = parameters.iter().map(|p| (p, p.group.is_none()));
        (precision.weights(all), 0)
    };
    Memory {
        weights,
        training: trained * (gradient + copy) + trained * moments / processes.max(1) as u64,
        activations: values * precision.bytes(),
        // Of several processes the first one.
        saving: trained * 4 + trained * moments / processes.max(1) as u64,
        shared,
    }
}

/// Bytes of weights that each process holds at once when frozen ones are shared, and of its part of these.
fn sharing(
    parameters: &[ParameterInfo],
    precision: NumberFormat,
    blocks: CheckpointBlocks,
    processes: usize,
) -> (u64, u64) {
    let shared = block_of(parameters, blocks);
    let whole = parameters
        .iter()
        .filter(|p| !shared.contains_key(p.path.as_str()));
    let whole = precision.weights(whole.map(|p| (p, p.group.is_none())));
    let mut by_block: BTreeMap<&str, u64> = BTreeMap::new();
    for parameter in parameters {
        if let Some(block) = shared.get(parameter.path.as_str()) {
            let bytes = precision.weights([(parameter, true)].into_iter());
            *by_block.entry(block).or_default() += bytes;
        }
    }
    let largest = by_block.values().copied().max().unwrap_or_default();
    let all: u64 = by_block.values().sum();
    (whole + largest, all.div_ceil(processes as u64))
}

/// Memory of a training step of a stage that corrects a bare encoder, in each of so many processes, one micro-batch at a
/// time. Processes share the optimizer's moments; a micro-batch stays whole.
pub fn feedback_training(
    model: &FeedbackConfig,
    stage: &FeedbackStage,
    parameters: &[ParameterInfo],
    precision: NumberFormat,
    processes: usize,
) -> Memory {
    let trained = parameters.iter().filter(|p| p.group.is_some());
    let trained: u64 = trained.map(|p| p.count as u64).sum();
    let recompute = model.checkpoint_blocks;
    let pictures = stage.batch as u64;
    // Terms share what is predicted under the pictures' own conditions.
    let (mut looks, mut own, mut restorations, mut original) = (1, 0, 0, 0);
    for objective in stage.objectives.iter().filter(|term| term.weight() > 0.0) {
        match objective {
            Objective::Feedback { .. } => own = 1,
            Objective::Inversion { .. } => restorations += 1,
            Objective::Contrast {
                negatives,
                second_view,
                ..
            } => {
                let others = pictures.saturating_sub(1);
                let negatives = *negatives as u64;
                let second = u64::from(*second_view > 0.0);
                looks += second;
                own = 1;
                restorations += second
                    + if negatives == 0 {
                        others
                    } else {
                        negatives.min(others)
                    };
            }
            Objective::Retention { .. } => original = 1,
        }
    }
    let side = model.encoder.side();
    let look = match &model.encoder {
        ImageConfig::Vit(trunk) => vit(trunk, side, recompute.image_encoder),
        ImageConfig::ConvNext { trunk, .. } => convnext(trunk, side, recompute.image_encoder),
    } as u64;
    let latent = model.diffusion_size / model.autoencoder.reduction().max(1);
    let restoration = unet(&model.unet, latent, recompute.unet);
    let values = pictures
        * (looks * look
            + original * look / 8
            + (own + restorations) * restoration
            + autoencoder(&model.autoencoder, model.diffusion_size));
    let tower = parameters
        .iter()
        .filter(|p| p.path.starts_with("vision_model."));
    let copy: u64 = tower.map(|p| p.count as u64).sum::<u64>() * original;
    let moments = trained * 8 / processes.max(1) as u64;
    // The gradient, and a copy in 32 bits.
    let per_trained = match precision {
        NumberFormat::F32 | NumberFormat::Stored16 => 4,
        NumberFormat::Bf16 => 8,
    };
    Memory {
        weights: precision.weights(parameters.iter().map(|p| (p, p.group.is_none()))) + copy * 4,
        training: trained * per_trained + moments,
        activations: values * precision.bytes(),
        saving: trained * 4 + moments,
        shared: 0,
    }
}

/// Memory of answering one question about one picture, and, if it `draws`, of drawing one: what only drawing
/// needs is not loaded for answers.
pub fn inference(
    spec: &ModelSpec,
    parameters: &[ParameterInfo],
    precision: NumberFormat,
    draws: bool,
) -> Memory {
    let for_drawing = |path: &str| Component::of(path).is_some_and(Component::is_for_drawing);
    let loaded = |p: &&ParameterInfo| draws || !for_drawing(&p.path);
    let model = &spec.model;
    let llama = &model.llama;
    let cache = 2 * llama.num_hidden_layers * llama.kv_heads() * llama.head_width();
    let reading = spec.max_tokens as u64 * (cache + 4 * llama.intermediate_size) as u64;
    // Layers give their values back at once: the widest maps count, not all.
    let restored = unet(&model.unet, latent_side(model), false);
    let drawing = (restored / 8).max(autoencoder(&model.autoencoder, model.diffusion_size));
    let largest = (image_encoder(model, false) / 8).max(if draws { drawing } else { 0 });
    Memory {
        weights: precision.weights(parameters.iter().filter(loaded).map(|p| (p, true))),
        training: 0,
        activations: (reading + largest) * precision.bytes(),
        saving: 0,
        shared: 0,
    }
}

/// Values that equal blocks of a network keep.
struct Blocks {
    count: usize,
    /// What one of them starts from.
    input: usize,
    /// All that its backward pass needs.
    all: usize,
}

/// What blocks keep together.
fn kept(blocks: impl IntoIterator<Item = Blocks>, recompute: bool) -> usize {
    let (mut sum, mut largest) = (0, 0);
    for Blocks { count, input, all } in blocks {
        sum += count * if recompute { input } else { all };
        largest = largest.max(all);
    }
    sum + if recompute { largest } else { 0 }
}

/// Values kept per token: of each layer two norms and residuals, queries, keys, values and their
/// result, and three times the MLP's width; logits and their softmax.
fn language_model(model: &DeemConfig, recompute: bool) -> u64 {
    let llama = &model.llama;
    let attention = llama.head_width() * (2 * llama.num_attention_heads + 2 * llama.kv_heads());
    let layer = 4 * llama.hidden_size + attention + 3 * llama.intermediate_size;
    let mmfs = model.llama_mmfs.as_ref().map_or(0, |mmfs| {
        let blocks = (0..llama.num_hidden_layers).filter(|layer| mmfs.applies(*layer));
        let samples = mmfs.heads * mmfs.levels.len() * mmfs.points * 4;
        blocks.count() * (4 * llama.hidden_size + mmfs.attention_dim + samples)
    });
    let logits = 2 * (llama.vocab_size + model.new_tokens);
    let layers = Blocks {
        count: llama.num_hidden_layers,
        input: llama.hidden_size,
        all: layer,
    };
    (kept([layers], recompute) + mmfs + logits) as u64
}

/// Values kept per image by E_V, its pyramid and R_V.
fn image_encoder(model: &DeemConfig, recompute: bool) -> u64 {
    let encoder = &model.image_encoder;
    let side = model.image_size;
    let tower = match &encoder.vision {
        VisionConfig::ConvNext { trunk, .. } => convnext(trunk, side, recompute),
        VisionConfig::Vit { trunk, .. } => {
            // The adapter's convolutions and four exchanges weigh about as much as a third of all layers.
            vit(trunk, side, recompute) + vit(trunk, side, false) / 3
        }
    };
    let levels = (0..4)
        .map(|level| ((side / 4) >> level).pow(2))
        .sum::<usize>();
    let pyramid = 3 * levels * encoder.vision.pyramid_dim();
    (tower + pyramid) as u64 + resampler(&encoder.resampler, encoder.queries)
}

/// Values kept per image by a ConvNeXt.
fn convnext(trunk: &ConvNextConfig, side: usize, recompute: bool) -> usize {
    let stages = trunk.depths.iter().zip(trunk.dims).enumerate();
    let stages = stages.map(|(stage, (depth, width))| {
        let cells = ((side / trunk.patch_size) >> stage).pow(2);
        Blocks {
            count: *depth,
            input: cells * width,
            // Depthwise result, norm, residual; four times the width before and after GELU.
            all: cells * width * (3 + 2 * 4),
        }
    });
    kept(stages, recompute)
}

/// Values kept per image by a ViT.
fn vit(trunk: &ClipVisionConfig, side: usize, recompute: bool) -> usize {
    let tokens = (side / trunk.patch_size).pow(2) + 1;
    let layers = Blocks {
        count: trunk.num_hidden_layers,
        input: tokens * trunk.hidden_size,
        all: tokens * (8 * trunk.hidden_size + 2 * trunk.intermediate_size),
    };
    kept([layers], recompute)
}

/// Values kept per image by a resampler.
fn resampler(config: &PerceiverConfig, queries: usize) -> u64 {
    let layer = 12 * config.hidden_size + 2 * config.intermediate_size;
    (config.num_hidden_layers * queries * layer) as u64
}

/// Values kept per image by the UNet: of each residual block six maps, of each transformer block
/// twenty (its MLP is eight times as wide before the gate), on the way down and up. A layer starts from its
/// map and, on the way up, the one it is joined with.
fn unet(unet: &UNetConfig, side: usize, recompute: bool) -> u64 {
    let widths = unet.block_out_channels.iter().enumerate();
    let blocks = widths.map(|(block, width)| {
        let cells = (side >> block).pow(2);
        let layers = 2 * unet.layers_per_block.at(block) + 1;
        let attends = unet.down_block_types[block] == DownBlockType::CrossAttnDownBlock2D;
        Blocks {
            count: layers,
            input: 2 * cells * width,
            all: cells * width * if attends { 6 + 20 } else { 6 },
        }
    });
    kept(blocks, recompute) as u64
}

/// Values that encoding one image holds at once: a few maps of the first width at full size.
fn autoencoder(autoencoder: &AutoencoderConfig, side: usize) -> u64 {
    let width = autoencoder.block_out_channels.first().copied();
    (4 * width.unwrap_or(0) * side.pow(2)) as u64
}

fn latent_side(model: &DeemConfig) -> usize {
    model.diffusion_size / model.autoencoder.reduction().max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use deem_model::component::DRAWING;
    use deem_model::deem::Deem;

    use super::*;
    use crate::run_config::RunConfig;
    use crate::train::parameters::select;

    fn full_size(name: &str) -> (ModelSpec, StageConfig, Vec<ParameterInfo>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../configs")
            .join(name);
        let run = RunConfig::read(&path, &[]).unwrap();
        let spec = ModelSpec {
            max_tokens: run.max_tokens.unwrap(),
            model: run.model.clone().unwrap(),
        };
        let model = Deem::new(&spec.model, &Device::flex()).unwrap();
        let (_, parameters) = select(model, &run.stage.train.groups).unwrap();
        (spec, run.stage, parameters)
    }

    #[test]
    fn weights_and_optimizer_are_counted_exactly() {
        let (spec, stage, parameters) = full_size("deem-7b-stage1.toml");
        let memory = training(&spec, &stage, &parameters, NumberFormat::F32, 1);
        assert_eq!(memory.weights, 4 * 8_182_751_353);
        assert_eq!(memory.training, 12 * 494_771_150);
        let memory = training(&spec, &stage, &parameters, NumberFormat::Bf16, 1);
        assert_eq!(memory.weights, 2 * 8_182_751_353);
        assert_eq!(memory.training, 16 * 494_771_150);
        // Of eight processes each has its own gradients and copies, and an eighth of the moments.
        let memory = training(&spec, &stage, &parameters, NumberFormat::Bf16, 8);
        assert_eq!(memory.training, 9 * 494_771_150);
        // The first one copies weights, and its moments.
        assert_eq!(memory.saving, 5 * 494_771_150);
        assert_eq!(memory.total() - memory.device(), memory.saving);
    }

    #[test]
    fn of_shared_frozen_weights_a_process_has_its_part_and_one_block() {
        let (spec, mut stage, parameters) = full_size("deem-7b-stage1.toml");
        let estimate = |stage: &StageConfig, processes| {
            training(&spec, stage, &parameters, NumberFormat::Bf16, processes)
        };
        let (whole, alone) = (estimate(&stage, 8), estimate(&stage, 1));
        stage.train.shard_frozen = true;
        let shared = estimate(&stage, 8);
        // The largest block is a layer of the language model, two bytes a number.
        let layer = 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008);
        let left = whole.weights - (shared.weights - layer);
        assert_eq!(shared.shared, left.div_ceil(8));
        assert!(left > 32 * layer && shared.device() < whole.device());
        // On the card there is no part of it.
        assert_eq!(
            shared.total() - shared.device(),
            shared.saving + shared.shared
        );
        assert_eq!(estimate(&stage, 1), alone);
    }

    #[test]
    fn answers_of_a_published_model_fit_where_drawing_in_32_bits_does_not() {
        let (spec, _, parameters) = full_size("deem-7b-stage1.toml");
        let weights = |precision, draws| inference(&spec, &parameters, precision, draws).weights;
        let (all, drawing) = (4 * 8_182_751_353, weights(NumberFormat::F32, true));
        assert_eq!(all, drawing);
        // Projections and MLPs of 32 layers, and the head, at two bytes less each.
        let matrices = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 32_000 * 4096;
        assert_eq!(weights(NumberFormat::Stored16, true), all - 2 * matrices);
        let only = |part: &str| -> u64 {
            let parts = parameters.iter().filter(|p| p.path.starts_with(part));
            parts.map(|p| 4 * p.count as u64).sum()
        };
        let drawn = DRAWING.map(only);
        assert!(drawn.iter().all(|bytes| *bytes > 0));
        let answers = all - drawn.iter().sum::<u64>();
        assert_eq!(weights(NumberFormat::F32, false), answers);
    }

    #[test]
    fn activations_follow_batch_and_losses() {
        let (spec, stage, parameters) = full_size("deem-7b-stage1.toml");
        let activations = |change: &dyn Fn(&mut StageConfig)| {
            let mut stage = stage.clone();
            change(&mut stage);
            training(&spec, &stage, &parameters, NumberFormat::Bf16, 1).activations
        };
        let whole = activations(&|_| {});
        let mut plain = spec.clone();
        plain.model.checkpoint_blocks = CheckpointBlocks::default();
        let plain = training(&plain, &stage, &parameters, NumberFormat::Bf16, 1).activations;
        assert!(whole < plain / 3, "{whole} of {plain}");
        assert_eq!(activations(&|s| s.batch *= 2), 2 * whole);
        assert!(activations(&|s| s.loss.feedback = 0.0) < whole);
        let answer = inference(&spec, &parameters, NumberFormat::Bf16, true);
        assert!(answer.activations < plain / 8 && answer.training == 0);
        assert!(answer.total() > answer.weights);
    }
}

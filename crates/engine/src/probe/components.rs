//! The components and how each is fed.

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use deem_kernels::deformable_attention;
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig, has_legacy_keys, legacy_key};
use deem_model::clip::config::{ClipTextConfig, ClipVisionConfig, ConvNextConfig};
use deem_model::clip::convnext::ConvNext;
use deem_model::clip::pyramid::{VisionConfig, VisionTower};
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::llama::{Llama, LlamaConfig, LlamaInput, consecutive_positions};
use deem_model::mask_extractor::extract;
use deem_model::perceiver::{Perceiver, PerceiverConfig};
use deem_model::scheduler::{
    Ddim, DdimConfig, DpmSolver, DpmSolverConfig, NoiseConfig, NoiseSchedule, Sampler,
};
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, WeightsFile, load};
use serde::Deserialize;

use super::Probe;
use super::tensors::{ANY, Tensors};
use crate::EngineError;

/// A network that can be probed, by its public class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// transformers `CLIPVisionModel`.
    ClipVit,
    /// transformers `CLIPTextModel`.
    ClipText,
    /// timm `ConvNeXt`.
    ConvNext,
    /// transformers `Blip2QFormerModel`.
    Perceiver,
    /// transformers `LlamaForCausalLM`.
    Llama,
    /// diffusers `UNet2DConditionModel`.
    UNet,
    /// diffusers `AutoencoderKL`, encoding.
    VaeEncoder,
    /// diffusers `AutoencoderKL`, decoding.
    VaeDecoder,
    /// diffusers noise schedules.
    Scheduler,
    /// diffusers `DDIMScheduler`.
    Ddim,
    /// diffusers `DPMSolverMultistepScheduler`.
    DpmSolver,
    /// Multi-scale deformable attention, without weights.
    DeformAttn,
    /// Deem's mask-aware extractor, without weights.
    MaskExtractor,
    /// Deem's ViT with an adapter: its pyramid.
    VitAdapter,
}

impl Component {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 14] = [
        ("clip-vit", Self::ClipVit),
        ("clip-text", Self::ClipText),
        ("convnext", Self::ConvNext),
        ("perceiver", Self::Perceiver),
        ("llama", Self::Llama),
        ("unet", Self::UNet),
        ("vae-encoder", Self::VaeEncoder),
        ("vae-decoder", Self::VaeDecoder),
        ("scheduler", Self::Scheduler),
        ("ddim", Self::Ddim),
        ("dpm-solver", Self::DpmSolver),
        ("deform-attn", Self::DeformAttn),
        ("mask-extractor", Self::MaskExtractor),
        ("vit-adapter", Self::VitAdapter),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, component)| *component == self)
            .map_or("", |(name, _)| name)
    }
}

/// Feeds `tensors` through the component.
pub(super) fn run(
    probe: &Probe,
    tensors: &mut Tensors,
    device: &Device,
) -> Result<(), EngineError> {
    match probe.component {
        Component::ClipVit => clip_vit(probe, tensors, device),
        Component::ClipText => clip_text(probe, tensors, device),
        Component::ConvNext => convnext(probe, tensors, device),
        Component::Perceiver => perceiver(probe, tensors, device),
        Component::Llama => llama(probe, tensors, device),
        Component::UNet => unet(probe, tensors, device),
        Component::VaeEncoder | Component::VaeDecoder => vae(probe, tensors, device),
        Component::Scheduler => scheduler(probe, tensors),
        Component::Ddim => {
            let Steps { steps } = probe.config()?;
            let sampler = Ddim::new(&probe.config::<DdimConfig>()?, steps);
            sampler_step(
                probe,
                tensors,
                sampler.map_err(|e| probe.unfit(e.to_string()))?,
            )
        }
        Component::DpmSolver => {
            let Steps { steps } = probe.config()?;
            let sampler = DpmSolver::new(&probe.config::<DpmSolverConfig>()?, steps);
            sampler_step(
                probe,
                tensors,
                sampler.map_err(|e| probe.unfit(e.to_string()))?,
            )
        }
        Component::DeformAttn => deform_attn(tensors),
        Component::MaskExtractor => {
            let features = tensors.float("features", [ANY; 4])?;
            let [batch, ..] = features.dims();
            let mask = tensors.float("mask", [batch, ANY, ANY])?.detach();
            tensors.output("output", extract(features, Some(&mask)));
            Ok(())
        }
        Component::VitAdapter => vit_adapter(probe, tensors, device),
    }
}

/// Fills a module from the probe's weights. Public checkpoints put some modules below `prefix`, and
/// hold buffers and heads that are no part of the network: keys that end in one of `foreign`.
fn filled<M: Module>(
    probe: &Probe,
    module: M,
    prefix: &str,
    foreign: &[&str],
) -> Result<M, EngineError> {
    let file = probe.weights()?;
    let prefixed = !prefix.is_empty() && file.keys().any(|key| key.starts_with(prefix));
    let rename = |path: &str| {
        if prefixed {
            format!("{prefix}{path}")
        } else {
            path.to_owned()
        }
    };
    let ignored = matching(&file, foreign);
    let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
    let options = LoadOptions {
        rename: Some(&rename),
        allow_unused: &ignored,
        ..LoadOptions::default()
    };
    Ok(load(module, &file, &options)?)
}

fn matching(file: &WeightsFile, endings: &[&str]) -> Vec<String> {
    file.keys()
        .filter(|key| endings.iter().any(|ending| key.ends_with(ending)))
        .map(str::to_owned)
        .collect()
}

fn clip_vit(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: ClipVisionConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let foreign = ["position_ids", "visual_projection.weight"];
    let tower = filled(
        probe,
        ClipVit::new(&config, device),
        "vision_model.",
        &foreign,
    )?;
    let pixels = tensors.float("pixel_values", [ANY, config.num_channels, ANY, ANY])?;
    let output = tower.forward(pixels, &[]);
    tensors.output("last_hidden_state", output.last_hidden_state);
    tensors.output("pooler_output", output.pooler_output);
    Ok(())
}

fn clip_text(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: ClipTextConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let foreign = ["position_ids", "text_projection.weight"];
    let tower = filled(
        probe,
        ClipText::new(&config, device),
        "text_model.",
        &foreign,
    )?;
    let ids = tokens(tensors, config.vocab_size)?;
    let [batch, seq] = ids.dims();
    if seq > config.max_position_embeddings {
        return Err(tensors.unfit(format!(
            "input_ids: {seq} tokens, but max_position_embeddings is {}",
            config.max_position_embeddings
        )));
    }
    let real = mask(tensors, "attention_mask", [batch, seq])?;
    let output = tower.forward(ids, real);
    tensors.output("last_hidden_state", output.last_hidden_state);
    tensors.output("pooler_output", output.pooler_output);
    Ok(())
}

fn convnext(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: ConvNextConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let foreign = ["head.fc.weight", "head.fc.bias", "visual.head.proj.weight"];
    let tower = filled(
        probe,
        ConvNext::new(&config, device),
        "visual.trunk.",
        &foreign,
    )?;
    let pixels = tensors.float("pixel_values", [ANY, config.in_chans, ANY, ANY])?;
    let [s1, s2, s3, s4] = tower.forward(pixels).stages.map(channels_first);
    tensors.output("stage_4", s4);
    tensors.output("stage_1", s1);
    tensors.output("stage_2", s2);
    tensors.output("stage_3", s3);
    Ok(())
}

fn perceiver(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: PerceiverConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let resampler = filled(
        probe,
        Perceiver::new(&config, device),
        "",
        &["position_ids"],
    )?;
    let queries = tensors.float("query_embeds", [ANY, ANY, config.hidden_size])?;
    let width = config.encoder_hidden_size;
    let sequence = tensors.float("encoder_hidden_states", [ANY, ANY, width])?;
    let [batch, length, _] = sequence.dims();
    let real = mask(tensors, "encoder_attention_mask", [batch, length])?;
    let output = resampler.forward(queries, sequence, real);
    tensors.output("last_hidden_state", output);
    Ok(())
}

fn llama(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: LlamaConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let mut foreign = vec!["rotary_emb.inv_freq"];
    if config.tie_word_embeddings {
        foreign.push("lm_head.weight");
    }
    let model = filled(probe, Llama::new(&config, None, device), "", &foreign)?;
    let ids = tokens(tensors, config.vocab_size)?;
    let [batch, seq] = ids.dims();
    let output = model.forward(LlamaInput {
        embeds: model.embed(ids),
        positions: consecutive_positions(batch, 0, seq, &Device::flex()),
        key_padding: mask(tensors, "attention_mask", [batch, seq])?,
        images: None,
        cache: None,
    });
    tensors.output("logits", model.lm_head(output.hidden));
    Ok(())
}

fn unet(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: UNetConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let model = filled(probe, UNet::new(&config, device), "", &[])?;
    let sample = tensors.float("sample", [ANY, config.in_channels, ANY, ANY])?;
    let batch = sample.dims()[0];
    let timesteps = per_image(tensors, "timestep", batch)?;
    let condition = tensors.float("encoder_hidden_states", [batch, ANY, ANY])?;
    let predicted = model.forward(channels_last(sample), &timesteps, condition, None);
    tensors.output("sample", channels_first(predicted));
    Ok(())
}

fn vae(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: AutoencoderConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let file = probe.weights()?;
    let old_names = has_legacy_keys(file.keys());
    let rename = |path: &str| {
        if old_names {
            legacy_key(path)
        } else {
            path.to_owned()
        }
    };
    let options = LoadOptions {
        rename: Some(&rename),
        ..LoadOptions::default()
    };
    let model = load(Autoencoder::new(&config, device), &file, &options)?;
    if probe.component == Component::VaeEncoder {
        let pixels = tensors.float("sample", [ANY, config.in_channels, ANY, ANY])?;
        let posterior = model.encode(pixels);
        tensors.output("mean", channels_first(posterior.mean));
        tensors.output("logvar", channels_first(posterior.logvar));
    } else {
        let latents = tensors.float("sample", [ANY, config.latent_channels, ANY, ANY])?;
        tensors.output("sample", model.decode(channels_last(latents)));
    }
    Ok(())
}

fn scheduler(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: NoiseConfig = probe.config()?;
    let schedule = NoiseSchedule::new(&config).map_err(|e| probe.unfit(e.to_string()))?;
    let sample = tensors.float("sample", [ANY; 4])?;
    let noise = tensors.float("noise", sample.dims())?;
    let timesteps = per_image(tensors, "timesteps", sample.dims()[0])?;
    let outside = |error: deem_model::scheduler::SchedulerError| error.to_string();
    let noisy = schedule
        .add_noise(sample.clone(), noise.clone(), &timesteps)
        .map_err(|e| tensors.unfit(outside(e)))?;
    let velocity = schedule
        .velocity(sample, noise, &timesteps)
        .map_err(|e| tensors.unfit(outside(e)))?;
    tensors.output("noisy", noisy);
    tensors.output("velocity", velocity);
    Ok(())
}

/// What a sampler's configuration says beside the public fields.
#[derive(Deserialize)]
struct Steps {
    #[serde(rename = "num_inference_steps")]
    steps: usize,
}

/// One step of a fresh sampler; `step` counts from 0.
fn sampler_step(
    probe: &Probe,
    tensors: &mut Tensors,
    mut sampler: impl Sampler,
) -> Result<(), EngineError> {
    let sample = tensors.float("sample", [ANY; 4])?;
    let output = tensors.float("model_output", sample.dims())?;
    let step = tensors.integers("step")?;
    let index = match step.as_slice() {
        [index] if (*index as usize) < sampler.timesteps().len() && *index >= 0 => *index as usize,
        other => {
            return Err(tensors.unfit(format!(
                "step: expected one index below {}, found {other:?}",
                sampler.timesteps().len()
            )));
        }
    };
    let noise = if sampler.stochastic() {
        Some(tensors.float("noise", sample.dims())?)
    } else {
        None
    };
    let previous = sampler
        .step(index, sample, output, noise)
        .map_err(|e| probe.unfit(e.to_string()))?;
    tensors.output("prev_sample", previous);
    Ok(())
}

fn deform_attn(tensors: &mut Tensors) -> Result<(), EngineError> {
    let value = tensors.float("value", [ANY; 4])?;
    let [batch, length, heads, _] = value.dims();
    let shapes = tensors.integers("spatial_shapes")?;
    let shapes: Vec<[usize; 2]> = shapes
        .chunks_exact(2)
        .map(|pair| [pair[0].max(0) as usize, pair[1].max(0) as usize])
        .collect();
    let area: usize = shapes.iter().map(|[height, width]| height * width).sum();
    if area != length {
        return Err(tensors.unfit(format!(
            "spatial_shapes: maps {shapes:?} have {area} cells, value has {length}"
        )));
    }
    let places = [batch, ANY, heads, shapes.len(), ANY, 2];
    let locations = tensors.float("sampling_locations", places)?;
    let [_, queries, _, levels, points, _] = locations.dims();
    let weights = tensors.float("attention_weights", [batch, queries, heads, levels, points])?;
    let output = deformable_attention(value, &shapes, locations, weights);
    tensors.output("output", output);
    Ok(())
}

fn vit_adapter(probe: &Probe, tensors: &mut Tensors, device: &Device) -> Result<(), EngineError> {
    let config: VisionConfig = probe.config()?;
    config.validate().map_err(|e| probe.unfit(e.to_string()))?;
    let tower = filled(probe, VisionTower::new(&config, device), "", &[])?;
    let pyramid = tower.forward(tensors.float("pixels", [ANY, 3, ANY, ANY])?);
    tensors.output("sequence", pyramid.sequence);
    for (level, map) in pyramid.levels.into_iter().enumerate() {
        tensors.output(&format!("level_{}", level + 1), channels_first(map));
    }
    Ok(())
}

/// `input_ids`, all below `vocabulary`.
fn tokens(
    tensors: &mut Tensors,
    vocabulary: usize,
) -> Result<Tensor<2, burn::tensor::Int>, EngineError> {
    let ids = tensors.integers("input_ids")?;
    if let Some(outside) = ids
        .iter()
        .find(|id| **id < 0 || **id as usize >= vocabulary)
    {
        return Err(tensors.unfit(format!(
            "input_ids: {outside} is outside the vocabulary of {vocabulary}"
        )));
    }
    tensors.integer("input_ids", [ANY, ANY])
}

/// A mask of zeros and ones, if it is there.
fn mask(
    tensors: &mut Tensors,
    name: &str,
    shape: [usize; 2],
) -> Result<Option<Tensor<2, Bool>>, EngineError> {
    if !tensors.has(name) {
        return Ok(None);
    }
    Ok(Some(tensors.integer(name, shape)?.equal_elem(1)))
}

/// One step per image, or one for all.
fn per_image(tensors: &mut Tensors, name: &str, batch: usize) -> Result<Vec<usize>, EngineError> {
    let steps = tensors.integers(name)?;
    let steps = match steps.as_slice() {
        [one] => vec![*one; batch],
        several => several.to_vec(),
    };
    if steps.len() != batch || steps.iter().any(|step| *step < 0) {
        return Err(tensors.unfit(format!(
            "{name}: expected one step of at least 0 for each of {batch} images, found {steps:?}"
        )));
    }
    Ok(steps.into_iter().map(|step| step as usize).collect())
}

fn channels_first(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 3, 1, 2])
}

fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

//! Networks that follow a public class: its configuration, keys and inputs.

use burn::tensor::{Bool, Int, Tensor};
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig, has_legacy_keys, legacy_key};
use deem_model::clip::config::{
    ClipTextConfig, ClipVisionConfig, ConvNextConfig, Family, SiglipTextConfig, SiglipVisionConfig,
};
use deem_model::clip::convnext::ConvNext;
use deem_model::clip::dual::DualLayout;
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::llama::{Llama, LlamaConfig, LlamaInput, consecutive_positions};
use deem_model::perceiver::{Perceiver, PerceiverConfig};
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, load};

use super::tensors::Extent::{Any, AtLeast, Is, Same};
use super::tensors::{Input, Tensors};
use super::{Keys, Probe, channels_first, channels_last, filled};
use crate::EngineError;

pub(super) fn clip_vit(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: ClipVisionConfig = probe.published()?;
    let unused = &["position_ids", "visual_projection.weight"];
    vit(probe, tensors, &config, unused)
}

pub(super) fn siglip(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let SiglipVisionConfig(config) = probe.published()?;
    vit(probe, tensors, &config, &["position_ids"])
}

fn vit(
    probe: &Probe,
    tensors: &mut Tensors,
    config: &ClipVisionConfig,
    buffers: &[&str],
) -> Result<(), EngineError> {
    probe.fits(config.validate())?;
    let keys = Keys {
        prefix: "vision_model.",
        buffers,
        beside: &[
            "text_model.",
            "text_projection.",
            "logit_scale",
            "logit_bias",
        ],
        layout: Some(DualLayout::Transformers(config.family)),
    };
    let tower = filled(probe, ClipVit::new(config, tensors.device()), &keys)?;
    let side = AtLeast(config.patch_size);
    let pixels = Input::float("pixel_values", &[Any, Is(config.num_channels), side, side]);
    tensors.declare(&[pixels])?;
    let output = tower.forward(tensors.float("pixel_values"), &[]);
    tensors.output("last_hidden_state", output.last_hidden_state);
    tensors.output("pooler_output", output.pooler_output);
    Ok(())
}

pub(super) fn clip_text(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: ClipTextConfig = probe.published()?;
    let tower = ClipText::new(&config, tensors.device());
    let unused = &["position_ids", "text_projection.weight"];
    text(probe, tensors, &config, tower, (Family::Clip, unused))
}

pub(super) fn siglip_text(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let SiglipTextConfig(config) = probe.published()?;
    let tower = ClipText::new(&config, tensors.device());
    let tower = tower.with_projection(&config, tensors.device());
    text(
        probe,
        tensors,
        &config,
        tower,
        (Family::Siglip, &["position_ids"]),
    )
}

fn text(
    probe: &Probe,
    tensors: &mut Tensors,
    config: &ClipTextConfig,
    tower: ClipText,
    (family, buffers): (Family, &[&str]),
) -> Result<(), EngineError> {
    probe.fits(config.validate())?;
    let keys = Keys {
        prefix: "text_model.",
        buffers,
        beside: &[
            "vision_model.",
            "visual_projection.",
            "logit_scale",
            "logit_bias",
        ],
        layout: Some(DualLayout::Transformers(family)),
    };
    let tower = filled(probe, tower, &keys)?;
    let ids = tokens(tensors, config.vocab_size)?;
    let [_, seq] = ids.dims();
    if seq > config.max_position_embeddings {
        return Err(tensors.unfit(format!(
            "input_ids: {seq} tokens, but max_position_embeddings is {}",
            config.max_position_embeddings
        )));
    }
    let output = tower.forward(ids, mask(tensors, "attention_mask"));
    let pooled = output.text_embeds.unwrap_or(output.pooler_output); // SigLIP's is projected
    tensors.output("last_hidden_state", output.last_hidden_state);
    tensors.output("pooler_output", pooled);
    Ok(())
}

pub(super) fn convnext(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: ConvNextConfig = probe.published()?;
    probe.fits(config.validate())?;
    let keys = Keys {
        prefix: "visual.trunk.",
        buffers: &["head.fc.weight", "head.fc.bias"],
        beside: &[
            "visual.head.",
            "text.",
            "transformer.",
            "token_embedding.",
            "positional_embedding",
            "ln_final.",
            "text_projection",
            "attn_mask",
            "logit_scale",
            "logit_bias",
        ],
        ..Keys::default()
    };
    let tower = filled(probe, ConvNext::new(&config, tensors.device()), &keys)?;
    let side = AtLeast(config.reduction());
    let pixels = Input::float("pixel_values", &[Any, Is(config.in_chans), side, side]);
    tensors.declare(&[pixels])?;
    let stages = tower.forward(tensors.float("pixel_values")).stages;
    let [s1, s2, s3, s4] = stages.map(channels_first);
    tensors.output("stage_4", s4);
    tensors.output("stage_1", s1);
    tensors.output("stage_2", s2);
    tensors.output("stage_3", s3);
    Ok(())
}

pub(super) fn perceiver(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: PerceiverConfig = probe.published()?;
    probe.fits(config.validate())?;
    let keys = Keys {
        buffers: &["position_ids"],
        ..Keys::default()
    };
    let resampler = filled(probe, Perceiver::new(&config, tensors.device()), &keys)?;
    let (batch, length) = (Same("batch"), Same("length"));
    let width = Is(config.encoder_hidden_size);
    tensors.declare(&[
        Input::float("encoder_hidden_states", &[batch, length, width]),
        Input::float("query_embeds", &[Any, Any, Is(config.hidden_size)]),
        Input::integer("encoder_attention_mask", &[batch, length]).optional(),
    ])?;
    let rows = tensors.shape("encoder_hidden_states")[0];
    let given = tensors.shape("query_embeds")[0];
    if given != 1 && given != rows {
        return Err(tensors.unfit(format!(
            "query_embeds: expected 1 or {rows} rows, found {given}"
        )));
    }
    let queries = tensors.float("query_embeds");
    let sequence = tensors.float("encoder_hidden_states");
    let real = mask(tensors, "encoder_attention_mask");
    tensors.output(
        "last_hidden_state",
        resampler.forward(queries, sequence, real),
    );
    Ok(())
}

pub(super) fn llama(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: LlamaConfig = probe.published()?;
    probe.fits(config.validate())?;
    let device = tensors.device();
    let model = Llama::new(&config, None, device).filled(&config, &probe.weights()?, &[])?;
    let ids = tokens(tensors, config.vocab_size)?;
    let [batch, seq] = ids.dims();
    let output = model.forward(LlamaInput {
        embeds: tensors.enter(model.embed(ids)),
        positions: consecutive_positions(batch, 0, seq),
        key_padding: mask(tensors, "attention_mask"),
        images: None,
        cache: None,
    });
    tensors.output("logits", model.lm_head(output.hidden));
    Ok(())
}

pub(super) fn unet(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: UNetConfig = probe.published()?;
    probe.fits(config.validate())?;
    let model = filled(
        probe,
        UNet::new(&config, tensors.device()),
        &Keys::default(),
    )?;
    let batch = Same("batch");
    let side = AtLeast(match config.downsample_padding {
        0 => 1 << (config.block_out_channels.len() - 1),
        _ => 1,
    });
    tensors.declare(&[
        Input::float("sample", &[batch, Is(config.in_channels), side, side]),
        Input::integer("timestep", &[]).of_any_rank(),
        Input::float(
            "encoder_hidden_states",
            &[batch, Any, Is(config.condition_dim())],
        ),
    ])?;
    let timesteps = per_image(tensors, "timestep", tensors.shape("sample")[0])?;
    let sample = tensors.float("sample");
    let condition = tensors.float("encoder_hidden_states");
    let predicted = model.forward(channels_last(sample), &timesteps, condition, None);
    tensors.output("sample", channels_first(predicted));
    Ok(())
}

fn autoencoder(
    probe: &Probe,
    tensors: &Tensors,
) -> Result<(Autoencoder, AutoencoderConfig), EngineError> {
    let config: AutoencoderConfig = probe.published()?;
    probe.fits(config.validate())?;
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
    let model = Autoencoder::new(&config, tensors.device());
    Ok((load(model, &file, &options)?, config))
}

pub(super) fn vae_encoder(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let (model, config) = autoencoder(probe, tensors)?;
    let side = AtLeast(config.reduction());
    let pixels = Input::float("sample", &[Any, Is(config.in_channels), side, side]);
    tensors.declare(&[pixels])?;
    let posterior = model.encode(tensors.float("sample"));
    tensors.output("mean", channels_first(posterior.mean));
    tensors.output("logvar", channels_first(posterior.logvar));
    Ok(())
}

pub(super) fn vae_decoder(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let (model, config) = autoencoder(probe, tensors)?;
    let latents = Input::float("sample", &[Any, Is(config.latent_channels), Any, Any]);
    tensors.declare(&[latents])?;
    let latents = channels_last(tensors.float("sample"));
    tensors.output("sample", model.decode(latents));
    Ok(())
}

/// `input_ids`, beside which there may be an `attention_mask`.
fn tokens(tensors: &Tensors, vocabulary: usize) -> Result<Tensor<2, Int>, EngineError> {
    let shape = [Same("batch"), Same("length")];
    tensors.declare(&[
        Input::integer("input_ids", &shape),
        Input::integer("attention_mask", &shape).optional(),
    ])?;
    let ids = tensors.integers("input_ids");
    let outside = |id: &&i64| **id < 0 || **id as usize >= vocabulary;
    if let Some(outside) = ids.iter().find(outside) {
        return Err(tensors.unfit(format!(
            "input_ids: {outside} is outside the vocabulary of {vocabulary}"
        )));
    }
    Ok(tensors.integer("input_ids"))
}

/// A mask, if it is there: true where it is not zero.
fn mask(tensors: &Tensors, name: &str) -> Option<Tensor<2, Bool>> {
    let there = tensors.has(name);
    there.then(|| tensors.integer(name).not_equal_elem(0))
}

/// One training step for each image, or one for all.
pub(super) fn per_image(
    tensors: &Tensors,
    name: &str,
    images: usize,
) -> Result<Vec<usize>, EngineError> {
    let steps = tensors.integers(name);
    let steps = match steps.as_slice() {
        [one] => vec![*one; images],
        several => several.to_vec(),
    };
    if steps.len() != images || steps.iter().any(|step| *step < 0) {
        return Err(tensors.unfit(format!(
            "{name}: expected one step of at least 0 for each of {images} images, found {steps:?}"
        )));
    }
    Ok(steps.into_iter().map(|step| step as usize).collect())
}

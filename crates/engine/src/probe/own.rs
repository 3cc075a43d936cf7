//! Networks without a public class: deem's own configuration, keys and inputs.

use burn::module::Module;
use burn::tensor::Tensor;
use deem_kernels::deformable_attention;
use deem_model::clip::pyramid::{VisionConfig, VisionTower};
use deem_model::deem::{Deem, DeemConfig};
use deem_model::layout::Layout;
use deem_model::mask_extractor::{extract, mask_to_grid};
use deem_model::mmfs::{ImageFeatures, Mmfs, MmfsConfig};

use super::networks::per_image;
use super::tensors::Extent::{Any, AtLeast, Is, Same};
use super::tensors::{Input, Tensors};
use super::{Keys, Probe, channels_first, channels_last, filled};
use crate::EngineError;
use crate::objective::{feedback_loss, image_targets, next_image_loss, next_token_loss};

pub(super) fn deform_attn(tensors: &mut Tensors) -> Result<(), EngineError> {
    let [batch, queries, heads] = ["batch", "queries", "heads"].map(Same);
    let [levels, points] = ["levels", "points"].map(Same);
    tensors.declare(&[
        Input::float("value", &[batch, Any, heads, Any]),
        Input::integer("spatial_shapes", &[levels, Is(2)]),
        Input::float(
            "sampling_locations",
            &[batch, queries, heads, levels, points, Is(2)],
        ),
        Input::float(
            "attention_weights",
            &[batch, queries, heads, levels, points],
        ),
    ])?;
    let shapes = tensors.integers("spatial_shapes");
    let side = |extent: i64| usize::try_from(extent).unwrap_or(0);
    let shapes = shapes.as_chunks::<2>().0.iter();
    let shapes: Vec<[usize; 2]> = shapes.map(|[h, w]| [side(*h), side(*w)]).collect();
    let area: usize = shapes.iter().map(|[height, width]| height * width).sum();
    let length = tensors.shape("value")[1];
    if area != length || shapes.iter().any(|[height, width]| height * width == 0) {
        return Err(tensors.unfit(format!(
            "spatial_shapes: maps {shapes:?} have {area} cells, value has {length}"
        )));
    }
    let value = tensors.float("value");
    let locations = tensors.coordinates("sampling_locations");
    let weights = tensors.float("attention_weights");
    let output = deformable_attention(value, &shapes, locations, weights);
    tensors.output("output", output);
    Ok(())
}

pub(super) fn mmfs(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: MmfsConfig = probe.config()?;
    probe.fits(config.validate())?;
    let module = filled(
        probe,
        Mmfs::new(&config, tensors.device()),
        &Keys::default(),
    )?;
    let [batch, queries, images] = ["batch", "queries", "images"].map(Same);
    let levels = (1..=config.levels.len()).map(|level| format!("level_{level}"));
    let levels: Vec<String> = levels.collect();
    let mut inputs = vec![
        Input::float("query", &[batch, queries, Is(config.query_dim)]),
        Input::float("reference", &[batch, queries, Is(2)]),
        Input::integer("relative", &[batch, queries, images]),
    ];
    let level = [batch, images, Any, Any, Is(config.value_dim)];
    inputs.extend(levels.iter().map(|name| Input::float(name, &level)));
    tensors.declare(&inputs)?;
    if let Some(negative) = tensors.integers("relative").iter().find(|k| **k < 0) {
        return Err(tensors.unfit(format!(
            "relative: expected 0 (invisible) or images counted backwards from 1, found {negative}"
        )));
    }
    let features = ImageFeatures {
        levels: levels.iter().map(|name| tensors.float(name)).collect(),
    };
    let (query, reference) = (tensors.float("query"), tensors.coordinates("reference"));
    let output = module.forward(query, reference, &features, tensors.integer("relative"));
    tensors.output("output", output);
    Ok(())
}

pub(super) fn mask_extractor(tensors: &mut Tensors) -> Result<(), EngineError> {
    tensors.declare(&[
        Input::float("features", &[Same("batch"), Any, Any, Any]),
        Input::float("mask", &[Same("batch"), Any, Any]),
    ])?;
    let mask = tensors.float("mask");
    let output = extract(tensors.float("features"), Some(&mask));
    tensors.output("output", output);
    Ok(())
}

pub(super) fn vit_adapter(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: VisionConfig = probe.config()?;
    probe.fits(config.validate())?;
    let tower = VisionTower::new(&config, tensors.device());
    let tower = filled(probe, tower, &Keys::default())?;
    let side = AtLeast(config.smallest_side());
    tensors.declare(&[Input::float("pixels", &[Any, Is(3), side, side])])?;
    let pyramid = tower.forward(tensors.float("pixels"));
    tensors.output("sequence", pyramid.sequence);
    for (level, map) in pyramid.levels.into_iter().enumerate() {
        tensors.output(&format!("level_{}", level + 1), channels_first(map));
    }
    Ok(())
}

/// The three losses of a batch with given noise and timesteps, as the trainer computes them.
pub(super) fn deem(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: DeemConfig = probe.config()?;
    probe.fits(config.validate())?;
    let device = tensors.device();
    let model = Deem::new(&config, device).map_err(|error| probe.unfit(error))?;
    let model = filled(probe, model, &Keys::default())?;
    let model = probe.compute.precision.apply(model.no_grad());
    let [rows, length, images, targets] = ["rows", "length", "images", "targets"].map(Same);
    let (side, small) = (Is(config.image_size), Is(config.diffusion_size));
    let [_, height, width, channels] = model.latent_shape(1).map(Is);
    tensors.declare(&[
        Input::integer("tokens", &[rows, length]),
        Input::integer("labels", &[rows, length]),
        Input::float("pixels", &[images, Is(3), side, side]),
        Input::float("masks", &[images, side, side]).optional(),
        Input::float("targets", &[images, Is(3), small, small]),
        Input::float("feedback_noise", &[images, channels, height, width]),
        Input::integer("feedback_timesteps", &[images]),
        Input::float("image_noise", &[targets, channels, height, width]),
        Input::integer("image_timesteps", &[targets]),
        Input::integer("counted", &[images]),
        Input::integer("drop", &[targets]),
    ])?;
    let layout = read_layout(tensors, &config, &model)?;
    let flags = |name: &str| -> Vec<bool> {
        let values = tensors.integers(name);
        values.into_iter().map(|flag| flag != 0).collect()
    };
    let counted = image_targets(&layout, &flags("counted"));
    let found = tensors.shape("drop")[0];
    if counted.len() != found {
        return Err(tensors.unfit(format!(
            "drop: expected one entry for each of the {} images that count in the image loss, found {found}",
            counted.len()
        )));
    }
    let drop = flags("drop");
    let diffusion = model.diffusion();
    let steps = |name: &str, count: usize| {
        let steps = per_image(tensors, name, count)?;
        match steps
            .iter()
            .find(|step| **step >= diffusion.schedule.steps())
        {
            None => Ok(steps),
            Some(step) => Err(tensors.unfit(format!("{name}: there is no training step {step}"))),
        }
    };
    let feedback_steps = steps("feedback_timesteps", layout.images.len())?;
    let image_steps = steps("image_timesteps", counted.len())?;

    let masks: Option<Tensor<3>> = tensors.has("masks").then(|| tensors.float("masks"));
    let encoded = model.encode_images(tensors.float("pixels"), masks.clone());
    let latents = diffusion.latents(tensors.float("targets"));
    let [_, height, width, _] = latents.dims();
    let feedback = feedback_loss(
        &diffusion,
        encoded.own_condition(),
        latents.clone(),
        channels_last(tensors.float("feedback_noise")),
        &feedback_steps,
        masks.map(|masks| mask_to_grid(masks, height, width).unsqueeze_dim(3)),
    );
    let hidden = model.read(&layout, Some(&encoded));
    let labels = tensors.integers("labels");
    let text = next_token_loss(&model, hidden.clone(), &labels, device);
    let chosen = counted.iter().map(|index| *index as i64).collect();
    let image = next_image_loss(
        &model,
        hidden.clone(),
        &layout,
        &encoded,
        &counted,
        latents.select(0, Layout::int(chosen, [counted.len()], device)),
        channels_last(tensors.float("image_noise")),
        &image_steps,
        &drop,
        device,
    );
    tensors.output("losses", Tensor::cat(vec![text, image, feedback], 0));
    tensors.output("embeddings", encoded.embeddings);
    tensors.output("condition", encoded.condition);
    tensors.output("hidden", hidden);
    Ok(())
}

fn read_layout(
    tensors: &Tensors,
    config: &DeemConfig,
    model: &Deem,
) -> Result<Layout, EngineError> {
    let vocabulary = (config.llama.vocab_size + config.new_tokens) as i64;
    for name in ["tokens", "labels"] {
        let values = tensors.integers(name);
        let ignored = |id: i64| name == "labels" && id == deem_data::IGNORED;
        let outside = |id: &&i64| !(0..vocabulary).contains(*id) && !ignored(**id);
        if let Some(outside) = values.iter().find(outside) {
            return Err(tensors.unfit(format!(
                "{name}: {outside} is outside the vocabulary of {vocabulary}"
            )));
        }
    }
    let rows = tensors.shape("tokens")[0];
    let tokens = tensors.integers("tokens");
    let layout = Layout::read(&tokens, rows, config.tokens, model.queries())
        .map_err(|error| tensors.unfit(format!("tokens: {error}")))?;
    let (expected, found) = (layout.images.len(), tensors.shape("pixels")[0]);
    if expected != found {
        return Err(tensors.unfit(format!(
            "pixels: expected the {expected} images that tokens have, found {found}"
        )));
    }
    Ok(layout)
}

//! Floating-point operations of a training step, as the networks' mathematics needs them (Chowdhery et al., 2022, App. B,
//! for a model of several networks): what model FLOP/s utilisation is a share of.
//!
//! Every matrix and kernel of `n` numbers takes `2 n` operations at each position that it is applied to (a multiplication and
//! an addition); attention over `k` keys takes `4 k` times its width for each query (scores, and the sum of values; not
//! halved for a causal mask). The backward pass takes the same again for the gradient by the input, where something trained
//! lies before it, and once more for that by the weight, where the weight is trained:
//!
//! ```text
//! Σ 2 n · positions · (1 + passes on + trained)  +  Σ attention · (1 + 2 · passes on)
//! ```
//!
//! What is computed again because blocks are checkpointed is not counted: it is work, but no progress. Nor are norms,
//! activations, embeddings, deformable sampling with its projections (MMFS, the ViT's adapter), pyramid projections and keys
//! and values of the image decoder's context: below a few percent of these networks.

use deem_data::Batch;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::component::Component;
use deem_model::deem::DeemConfig;

use crate::objective::LossWeights;
use crate::train::ParameterInfo;

/// What networks compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Tokens without padding.
    pub tokens: f64,
    /// Squares of the rows' tokens, summed.
    pub pairs: f64,
    /// Pictures.
    pub images: f64,
    /// Pictures that are encoded into latents.
    pub latents: f64,
    /// Pictures that the language model is to draw.
    pub drawn: f64,
    /// Pictures that the diffusion model restores.
    pub restored: f64,
}

impl Load {
    /// That of a batch, of the networks that these losses need.
    pub fn new(batch: &Batch, loss: &LossWeights) -> Self {
        let rows = batch.valid.chunks(batch.seq.max(1));
        let lengths: Vec<f64> = rows
            .map(|row| row.iter().filter(|valid| **valid).count() as f64)
            .collect();
        let images = batch.images.len() as f64;
        let targets = batch.images.iter().filter(|image| image.counted_nip);
        let (image, feedback) = (loss.image > 0.0, loss.feedback > 0.0);
        let drawn = if image { targets.count() as f64 } else { 0.0 };
        Self {
            tokens: lengths.iter().sum(),
            pairs: lengths.iter().map(|length| length * length).sum(),
            images,
            latents: if image || feedback { images } else { 0.0 },
            drawn,
            restored: drawn + if feedback { images } else { 0.0 },
        }
    }
}

/// Operations of a step for each unit of its [`Load`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Operations(Load);

/// What a matrix is applied to, or attention reads.
#[derive(Clone, Copy)]
enum Unit {
    Token,
    Pair,
    Image,
    Latent,
    Drawn,
    Restored,
}

impl Operations {
    /// Of a model of which these parameters are trained.
    pub fn new(model: &DeemConfig, loss: &LossWeights, parameters: &[ParameterInfo]) -> Self {
        let mut sums = Load::default();
        let reads = loss.text > 0.0 || loss.image > 0.0;
        let mut add = |unit, operations: f64| match unit {
            Unit::Token if reads => sums.tokens += operations,
            Unit::Pair if reads => sums.pairs += operations,
            Unit::Token | Unit::Pair => {}
            Unit::Image => sums.images += operations,
            Unit::Latent => sums.latents += operations,
            Unit::Drawn => sums.drawn += operations,
            Unit::Restored => sums.restored += operations,
        };
        let trained = parameters.iter().filter(|p| p.group.is_some());
        let trained: Vec<Component> = trained.filter_map(|p| Component::of(&p.path)).collect();
        // Whether a gradient passes on to what a component reads.
        let passes = |component: Component| {
            let before = upstream(component);
            f64::from(u8::from(trained.iter().any(|c| before.contains(c))))
        };
        for parameter in parameters.iter().filter(|p| p.rank > 1) {
            let ParameterInfo { path, count, .. } = parameter;
            let Some(component) = Component::of(path) else {
                continue;
            };
            let own = f64::from(u8::from(parameter.group.is_some()));
            if let Some((unit, positions)) = positions(model, component, path) {
                let once = 2.0 * *count as f64 * positions;
                add(unit, once * (1.0 + passes(component) + own));
            }
            if let Some((unit, pairs)) = attention(model, component, path) {
                // Queries are as wide as what they are made of, in networks that this is asked of.
                let width = (*count as f64).sqrt();
                add(unit, 4.0 * pairs * width * (1.0 + 2.0 * passes(component)));
            }
        }
        let llama = &model.llama;
        let language = Component::LanguageModel;
        let width = llama.num_attention_heads * llama.head_width();
        let scores = 4.0 * (llama.num_hidden_layers * width) as f64;
        add(Unit::Pair, scores * (1.0 + 2.0 * passes(language)));
        // The head may be the table of embeddings, which is not a matrix that is applied to every token otherwise.
        let head = 2.0 * (llama.hidden_size * (llama.vocab_size + model.new_tokens)) as f64;
        let is_head = |path: &str| path.contains("lm_head");
        let own = parameters
            .iter()
            .any(|p| p.group.is_some() && is_head(&p.path));
        let own = f64::from(u8::from(own));
        add(Unit::Token, head * (1.0 + passes(language) + own));
        Self(sums)
    }

    /// Of a step, or a part of it.
    pub fn of(&self, load: &Load) -> f64 {
        let each = &self.0;
        each.tokens * load.tokens
            + each.pairs * load.pairs
            + each.images * load.images
            + each.latents * load.latents
            + each.drawn * load.drawn
            + each.restored * load.restored
    }
}

/// Itself, and what gradients reach through it.
fn upstream(component: Component) -> &'static [Component] {
    use Component::{
        Autoencoder, ImageDecoder, ImageResampler, ImageTower, LanguageMmfs, LanguageModel,
        SoiToken, TextDecoder, UNet,
    };
    const ALL: [Component; 8] = [
        ImageTower,
        ImageResampler,
        SoiToken,
        LanguageModel,
        LanguageMmfs,
        ImageDecoder,
        UNet,
        TextDecoder,
    ];
    match component {
        ImageTower => &ALL[..1],
        ImageResampler => &ALL[..2],
        SoiToken | LanguageModel | LanguageMmfs => &ALL[..5],
        ImageDecoder => &ALL[..6],
        UNet => &ALL[..7],
        TextDecoder => &[
            ImageTower,
            ImageResampler,
            SoiToken,
            LanguageModel,
            LanguageMmfs,
            TextDecoder,
        ],
        // Latents are targets.
        Autoencoder => &[],
    }
}

/// Cells of a square.
fn cells(side: usize) -> f64 {
    (side * side) as f64
}

/// The number that stands in a path after a name: that of a stage or block.
fn number(path: &str, name: &str) -> Option<usize> {
    let rest = path.split_once(name)?.1;
    rest.split('.').next()?.parse().ok()
}

/// Cells of the tower's grid that the resampler reads, and the global token.
fn sequence(model: &DeemConfig) -> f64 {
    cells(model.image_size / 32) + 1.0
}

/// To what a matrix is applied, and to how many positions of it; nothing if it is not counted.
fn positions(model: &DeemConfig, component: Component, path: &str) -> Option<(Unit, f64)> {
    let queries = model.image_encoder.queries as f64;
    match component {
        Component::ImageTower => tower(model, path).map(|positions| (Unit::Image, positions)),
        Component::ImageResampler => match path {
            _ if path.contains("query_tokens") => None,
            _ if is_key_or_value(path) => Some((Unit::Image, sequence(model))),
            _ => Some((Unit::Image, queries)),
        },
        Component::LanguageModel => path.contains(".layers.").then_some((Unit::Token, 1.0)),
        Component::ImageDecoder => {
            let counted = path.contains(".resampler.") && !is_key_or_value(path);
            counted.then_some((Unit::Drawn, queries))
        }
        Component::UNet => {
            let side = model.diffusion_size / model.autoencoder.reduction().max(1);
            let blocks = model.unet.block_out_channels.len();
            let positions = if path.contains("attn2.to_k") || path.contains("attn2.to_v") {
                queries
            } else if path.contains("time_") {
                1.0
            } else {
                cells(level(path, side, blocks)?)
            };
            Some((Unit::Restored, positions))
        }
        Component::Autoencoder => {
            let path = path.strip_prefix("autoencoder.")?;
            let blocks = model.autoencoder.block_out_channels.len();
            let side = model.diffusion_size;
            let side = match path.strip_prefix("encoder.") {
                Some("conv_out.weight") => side >> (blocks - 1),
                Some(own) => level(own, side, blocks)?,
                None if path.starts_with("quant_conv") => side >> (blocks - 1),
                None => return None, // the decoder
            };
            Some((Unit::Latent, cells(side)))
        }
        Component::LanguageMmfs | Component::TextDecoder | Component::SoiToken => None,
    }
}

/// Whether a matrix of a resampler reads what is resampled.
fn is_key_or_value(path: &str) -> bool {
    let reads = path.contains(".crossattention.attention.");
    reads && (path.contains(".key.") || path.contains(".value."))
}

/// Positions of a matrix of the image tower.
fn tower(model: &DeemConfig, path: &str) -> Option<f64> {
    match &model.image_encoder.vision {
        VisionConfig::ConvNext { trunk, .. } => {
            let side = model.image_size / trunk.patch_size;
            if path.contains(".stem.") {
                return Some(cells(side));
            }
            Some(cells(side >> number(path, ".stages.")?))
        }
        VisionConfig::Vit { trunk, .. } => {
            let patches = cells(model.image_size / trunk.patch_size);
            if path.contains("patch_embedding") {
                return Some(patches);
            }
            let layer = path.contains("encoder.layers.") && !path.contains("adapter");
            layer.then_some(patches + 1.0)
        }
    }
}

/// Side of the map that a block of a UNet or an encoder makes: `down_blocks.1`, `mid_block`, `up_blocks.0`, or the ends.
fn level(path: &str, side: usize, blocks: usize) -> Option<usize> {
    if let Some(block) = number(path, "down_blocks.") {
        let half = usize::from(path.contains(".downsamplers."));
        return Some(side >> (block + half));
    }
    if let Some(block) = number(path, "up_blocks.") {
        let double = usize::from(path.contains(".upsamplers."));
        return Some(side >> (blocks.checked_sub(1 + block + double)?));
    }
    if path.contains("mid_block.") {
        return Some(side >> (blocks - 1));
    }
    let ends = path.contains("conv_in.") || path.contains("conv_out.");
    ends.then_some(side)
}

/// Pairs of query and key of the attention whose queries a matrix makes, for one unit; nothing for other matrices, and for
/// the language model, which is counted as a whole.
fn attention(model: &DeemConfig, component: Component, path: &str) -> Option<(Unit, f64)> {
    let queries = model.image_encoder.queries as f64;
    let is_query = path.ends_with("to_q.weight")
        || path.ends_with(".query.weight")
        || path.ends_with("q_proj.weight");
    if !is_query {
        return None;
    }
    let (unit, positions) = positions(model, component, path)?;
    let keys = match component {
        Component::ImageResampler if path.contains(".crossattention.") => sequence(model),
        Component::ImageDecoder if path.contains(".crossattention.") => return None,
        Component::ImageResampler | Component::ImageDecoder => queries,
        Component::UNet if path.contains("attn2.") => queries,
        Component::UNet | Component::Autoencoder | Component::ImageTower => positions,
        _ => return None,
    };
    Some((unit, positions * keys))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use deem_data::BatchImage;
    use deem_model::deem::Deem;
    use deem_model::scheduler::TimestepSampler;

    use super::*;
    use crate::run_config::RunConfig;
    use crate::train::ParameterGroup;
    use crate::train::parameters::select;

    fn losses(image: f64, feedback: f64) -> LossWeights {
        LossWeights {
            text: 1.0,
            image,
            feedback,
            timesteps: TimestepSampler::default(),
            condition_dropout: 0.0,
        }
    }

    /// The full-size model, of which what a pattern selects is trained.
    fn full_size(trained: &str) -> (DeemConfig, Vec<ParameterInfo>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/deem-7b-stage1.toml");
        let run = RunConfig::read(&path, &[]).unwrap();
        let model = run.model.clone().unwrap();
        let group = ParameterGroup {
            patterns: vec![trained.to_owned()],
            ..run.stage.train.groups[0].clone()
        };
        let deem = Deem::new(&model, &Device::flex()).unwrap();
        let (_, parameters) = select(deem, &[group]).unwrap();
        (model, parameters)
    }

    /// Operations of the full-size model for each unit.
    fn each(trained: &str) -> Load {
        let (model, parameters) = full_size(trained);
        Operations::new(&model, &losses(1.0, 1.0), &parameters).0
    }

    #[test]
    fn a_token_takes_two_operations_a_weight_and_more_for_gradients() {
        // Projections and MLPs of 32 layers, and the head.
        let head = (32_000 + full_size("soi_token").0.new_tokens) * 4096;
        let matrices = 32.0 * (4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0);
        let weights = matrices + head as f64;
        let forward = each("unet.*");
        assert_eq!(forward.tokens, 2.0 * weights);
        // Scores and values of 32 layers.
        assert_eq!(forward.pairs, f64::from(4 * 32 * 4096));
        // Through a frozen language model back into the encoder.
        let frozen = each("image_encoder.*");
        assert_eq!(frozen.tokens, 4.0 * weights);
        assert_eq!(frozen.pairs, 3.0 * forward.pairs);
        assert_eq!(
            each("llama.model.layers.*").tokens,
            4.0 * weights + 2.0 * matrices
        );
        // Latents are targets: nothing passes on.
        assert_eq!(forward.latents, frozen.latents);
        // A frozen denoiser: as much again for what it reads, attention twice as much.
        let ratio = frozen.restored / each("text_decoder.*").restored;
        assert!((2.0..2.5).contains(&ratio), "{ratio}");
    }

    /// `tools/parity/count_flops.py`: forward passes of the public classes of the same dimensions, counted by PyTorch.
    #[test]
    fn counts_are_those_of_pytorch() {
        let (model, parameters) = full_size("text_decoder.*");
        let of = |component: Component| {
            let own = |p: &&ParameterInfo| component.contains(&p.path);
            let own: Vec<ParameterInfo> = parameters.iter().filter(own).cloned().collect();
            Operations::new(&model, &losses(1.0, 1.0), &own).0
        };
        assert_eq!(of(Component::UNet).restored, 804_257_464_320.0);
        assert_eq!(of(Component::Autoencoder).latents, 1_116_658_466_816.0);
        assert_eq!(of(Component::ImageTower).images, 40_107_638_784.0);
    }

    #[test]
    fn a_batch_is_what_its_losses_need() {
        let image = |counted_nip| BatchImage {
            row: 0,
            soi: 0,
            document_start: 0,
            counted_nip,
            id: "1".into(),
        };
        let batch = Batch {
            batch: 2,
            seq: 3,
            valid: vec![true, true, true, true, false, false],
            images: vec![image(true), image(false)],
            ..Batch::default()
        };
        let load = Load::new(&batch, &losses(1.0, 1.0));
        let expected = Load {
            tokens: 4.0,
            pairs: 10.0,
            images: 2.0,
            latents: 2.0,
            drawn: 1.0,
            restored: 3.0,
        };
        assert_eq!(load, expected);
        let load = Load::new(&batch, &losses(0.0, 0.0));
        let nothing = (load.latents, load.drawn, load.restored);
        assert_eq!(nothing, (0.0, 0.0, 0.0));
        let each = each("image_encoder.*");
        let own = 4.0 * each.tokens + 10.0 * each.pairs + 2.0 * each.images;
        assert_eq!(Operations(each).of(&load), own);
    }
}

//! Contrastive pre-training of the image encoder on captions that name categories only, so that it
//! has CLIP's blindness to detail (Radford et al., 2021).

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use deem_data::Dice;
use deem_data::image::{Crop, ViewConfig};
use deem_data::source::Source;
use deem_data::text::TextTokenizer;
use deem_data::world::scene::wording::with_article;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::pyramid::{VisionConfig, VisionTower};
use deem_model::clip::text::ClipText;
use deem_model::layout::Layout;
use deem_model::nn::param;
use deem_model::weights::{LazyTensor, WeightsFile};
use image::RgbImage;
use serde_json::{Value, json};

use crate::built_in::BuiltIn;
use deem_engine::objective::{contrastive, normalize};
use deem_engine::pictures::{SquareView, planes, to_tensor};
use deem_engine::train::{HostBatch, Loss, Piece, Shares, Task, floats};
use deem_engine::{DualEncoder, EngineError, Towers};

/// Pictures embedded together.
const CHUNK: usize = 64;

/// Two towers and a temperature.
#[derive(Module, Debug)]
pub struct Clip {
    /// Image tower E_V with its projection.
    pub vision: VisionTower,
    /// Text tower with its projection.
    pub text_model: ClipText,
    /// `[1]`, logarithm of the inverse temperature.
    pub logit_scale: Param<Tensor<1>>,
}

impl Clip {
    /// A model whose towers meet in the text tower's projection space.
    pub fn new(vision: &VisionConfig, text: &ClipTextConfig, device: &Device) -> Self {
        Self {
            vision: VisionTower::new(vision, device),
            text_model: ClipText::new(text, device).with_projection(text, device),
            logit_scale: param([1], libm::logf(1.0 / 0.07), device),
        }
    }

    /// Image embeddings `[images, width]` of pixels `[images, 3, height, width]` in [0, 1].
    ///
    /// # Panics
    /// If the image tower was made without a projection.
    pub fn image_embeddings(&self, pixels: Tensor<4>) -> Tensor<2> {
        let embeds = self.vision.image_embeds(pixels);
        embeds.expect("an image tower with a projection")
    }

    /// Text embeddings `[texts, width]` of token ids `[texts, seq]`, padded at the right.
    pub fn text_embeddings(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let output = self.text_model.forward(ids, None);
        output.text_embeds.expect("made with a projection")
    }

    /// The two towers as an encoder of pictures and texts.
    pub fn encoder(
        self,
        form: EncoderForm,
        tokenizer: TextTokenizer,
        device: &Device,
    ) -> DualEncoder {
        let EncoderForm {
            name,
            side,
            longest,
            weights,
        } = form;
        let scale = f64::from(self.scale().into_scalar::<f32>());
        let end = i64::from(tokenizer.special().pad);
        let images = self.clone();
        let towers = Towers {
            name,
            image: Box::new(move |pixels| images.image_embeddings(pixels)),
            text: Box::new(move |ids| self.text_embeddings(ids)),
            words: Box::new(move |text| {
                let mut ids = encode_text(&tokenizer, text)?;
                if ids.len() > longest {
                    ids.truncate(longest);
                    ids[longest - 1] = end;
                }
                Ok(ids)
            }),
            fill: end,
            view: SquareView::centre(side),
            scale,
            bias: 0.0,
            weights,
        };
        DualEncoder::new(towers, device.clone())
    }

    /// Inverse temperature, at most 100.
    pub fn scale(&self) -> Tensor<1> {
        deem_kernels::exp(self.logit_scale.val()).clamp_max(100.0)
    }
}

/// What a [`Clip`] does not know of itself.
pub struct EncoderForm {
    /// Its name.
    pub name: String,
    /// Side of the pictures.
    pub side: usize,
    /// Longest text in tokens, at least 1.
    pub longest: usize,
    /// Checksum of its weights.
    pub weights: String,
}

/// Batches of pictures with a text each, by index.
pub struct Pairs {
    /// Samples with one image and one text.
    pub source: Arc<dyn Source>,
    /// Words to ids.
    pub tokenizer: TextTokenizer,
    /// Pairs per batch.
    pub batch: usize,
    /// Side of the pictures.
    pub image_size: u32,
}

/// Matches pictures to captions.
pub struct ClipTask {
    /// Pictures as the encoder sees them, and their captions.
    pub pairs: Pairs,
    /// Where to compute.
    pub device: Device,
}

/// Pictures with a text each.
pub struct PairBatch {
    /// `[pairs, 3, side, side]` in [0, 1].
    pub pixels: Vec<f32>,
    /// Side of the pictures.
    pub side: usize,
    /// Texts between bos and `<pad>`, filled up with `<pad>` to one length.
    pub ids: Vec<Vec<i64>>,
}

impl HostBatch for PairBatch {
    fn arrays(&self) -> Vec<LazyTensor<'_>> {
        vec![floats("pixels", &self.pixels)]
    }

    fn rest(&self) -> Value {
        json!({ "side": self.side, "ids": self.ids })
    }

    fn restore(arrays: &WeightsFile, rest: &Value) -> Option<Self> {
        Some(Self {
            pixels: arrays.f32("pixels")?,
            side: rest["side"].as_u64()? as usize,
            ids: serde_json::from_value(rest["ids"].clone()).ok()?,
        })
    }
}

impl Pairs {
    /// Pairs `index · batch ..` of the source.
    ///
    /// # Errors
    /// Those of the source and the tokenizer.
    pub fn get(&self, index: u64) -> Result<PairBatch, EngineError> {
        use rayon::prelude::*;
        let Self {
            source,
            tokenizer,
            batch,
            image_size: side,
        } = self;
        let (batch, side) = (*batch, *side);
        let first = index * batch as u64;
        let views = ViewConfig {
            encoder: side,
            diffusion: 0,
            crop: Crop::Center,
        };
        let pairs: Vec<(Vec<f32>, Vec<i64>)> = (0..batch as u64)
            .into_par_iter()
            .map(|i| {
                let sample = source.get(first + i)?;
                let mut pixels = Vec::new();
                for picture in &sample.images {
                    let mut dice = Dice::new(0, "crop", first + i);
                    let view = views.views(&picture.id, &picture.image, None, &mut dice)?;
                    pixels.extend(view.encoder);
                }
                Ok((pixels, encode_text(tokenizer, &sample.text())?))
            })
            .collect::<Result<_, EngineError>>()?;
        let (pixels, mut ids): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        pad(&mut ids, tokenizer.special().pad.into());
        Ok(PairBatch {
            pixels: pixels.concat(),
            side: side as usize,
            ids,
        })
    }
}

impl PairBatch {
    /// `[pairs, 3, side, side]`
    pub fn pixels(&self, device: &Device) -> Tensor<4> {
        planes(self.pixels.clone(), self.side, device)
    }

    /// `[pairs, longest]`
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        ids_tensor(&self.ids, device)
    }
}

/// A text between bos and `<pad>`, at which the text towers pool (their convention for an end token
/// with id 2, which eos has here, is another one).
pub fn encode_text(tokenizer: &TextTokenizer, text: &str) -> Result<Vec<i64>, EngineError> {
    let special = tokenizer.special();
    let mut ids = vec![i64::from(special.bos)];
    ids.extend(tokenizer.encode(text)?.into_iter().map(i64::from));
    ids.push(special.pad.into());
    Ok(ids)
}

/// Pads rows at the right to the longest.
pub fn pad(rows: &mut [Vec<i64>], fill: i64) {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    for row in rows {
        row.resize(longest, fill);
    }
}

/// Rows of equal length as a tensor.
pub fn ids_tensor(rows: &[Vec<i64>], device: &Device) -> Tensor<2, Int> {
    let width = rows.first().map_or(0, Vec::len);
    Layout::int(rows.concat(), [rows.len(), width], device)
}

/// Embeddings of "a photo of a …" for every concept, `[concepts, width]`, of unit length.
pub fn class_embeddings(
    clip: &Clip,
    data: &BuiltIn,
    device: &Device,
) -> Result<Tensor<2>, EngineError> {
    let captioner = data.world.captioner();
    let concepts = data.world.corpus().concepts().len();
    let mut ids = (0..concepts)
        .map(|concept| {
            let noun = with_article(captioner.noun(concept));
            encode_text(&data.tokenizer, &format!("a photo of {noun}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    pad(&mut ids, data.tokenizer.special().pad.into());
    Ok(normalize(clip.text_embeddings(ids_tensor(&ids, device))))
}

/// Embeddings of pictures, `[pictures, width]`, of unit length.
pub fn embed(clip: &Clip, pictures: &[RgbImage], side: u32, device: &Device) -> Tensor<2> {
    let parts = pictures
        .chunks(CHUNK)
        .map(|chunk| normalize(clip.image_embeddings(pixels(chunk, side, device))))
        .collect();
    Tensor::cat(parts, 0)
}

/// Square pictures as `[pictures, 3, side, side]` in [0, 1].
///
/// # Panics
/// If a picture has no pixels.
pub fn pixels(pictures: &[RgbImage], side: u32, device: &Device) -> Tensor<4> {
    to_tensor(pictures, side as usize, device).expect("pictures with pixels")
}

impl Task for ClipTask {
    type Model = Clip;
    type Batch = PairBatch;

    fn batch(&self, piece: &Piece) -> Result<PairBatch, EngineError> {
        self.pairs.get(piece.index)
    }

    fn loss(&self, model: &Clip, batch: &PairBatch, _piece: &Piece, shares: &Shares) -> Loss {
        let images = model.image_embeddings(batch.pixels(&self.device));
        let texts = model.text_embeddings(batch.ids(&self.device));
        let count = batch.ids.len();
        let duplicates: Vec<bool> = (0..count * count)
            .map(|i| i / count != i % count && batch.ids[i / count] == batch.ids[i % count])
            .collect();
        let loss = contrastive(images, texts, model.scale(), &duplicates, &self.device);
        Loss::sum([("contrastive", 1.0, loss)], shares, &self.device)
    }
}

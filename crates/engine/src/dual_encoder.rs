//! An encoder of pictures and one of texts that meet in one space (CLIP, Radford et al. 2021): what zero-shot
//! classification and the benchmarks of encoders alone need.

use std::fs;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use deem_data::text::ClipTokenizer;
use deem_model::clip::config::{ClipTextConfig, ClipVisionConfig};
use deem_model::clip::pyramid::clip_normalize;
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::layout::Layout;
use deem_model::nn::param;
use deem_model::weights::{LoadOptions, WeightsFile, find, load};
use image::RgbImage;
use serde::Deserialize;

use crate::EngineError;
use crate::pictures::to_tensor;

/// A text to ids.
pub type Words = dyn Fn(&str) -> Result<Vec<i64>, EngineError>;

/// The parts of a [`DualEncoder`].
pub struct Towers {
    /// Whose they are, for records and errors.
    pub name: String,
    /// Pixels `[pictures, 3, side, side]` in [0, 1] to `[pictures, width]`.
    pub image: Box<dyn Fn(Tensor<4>) -> Tensor<2>>,
    /// Ids `[texts, longest]` to `[texts, width]`.
    pub text: Box<dyn Fn(Tensor<2, Int>) -> Tensor<2>>,
    /// A text to ids, with its marks.
    pub words: Box<Words>,
    /// Fills up shorter texts at the right.
    pub fill: i64,
    /// Side of the pictures in pixels.
    pub side: usize,
    /// Inverse temperature.
    pub scale: f64,
    /// Checksum of the weights.
    pub weights: String,
}

/// Embeds pictures and texts in one space.
pub struct DualEncoder {
    towers: Towers,
    device: Device,
}

/// Pictures or texts embedded together.
const CHUNK: usize = 32;

/// The whole of a public checkpoint's `config.json` that concerns the towers.
#[derive(Deserialize)]
struct ClipConfig {
    #[serde(default)]
    projection_dim: Option<usize>,
    vision_config: ClipVisionConfig,
    text_config: ClipTextConfig,
}

/// transformers' `CLIPModel`.
#[derive(Module, Debug)]
struct PublicClip {
    vision_model: ClipVit,
    text_model: ClipText,
    logit_scale: Param<Tensor<1>>,
}

impl DualEncoder {
    /// An encoder of the given parts.
    pub fn new(towers: Towers, device: Device) -> Self {
        Self { towers, device }
    }

    /// A CLIP as transformers publishes it: a folder with `config.json`, weights in safetensors, `tokenizer.json`.
    ///
    /// # Errors
    /// `Io`, `File`, `Config`, `Weights` or `Data`, naming what is missing or does not fit.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, EngineError> {
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let config: ClipConfig = serde_json::from_str(&text).map_err(|error| EngineError::File {
            path: path.clone(),
            problem: format!(
                "not the configuration of a CLIPModel with vision_config and text_config ({error}); give a CLIP in \
                 transformers' layout"
            ),
        })?;
        let mut vision = config.vision_config;
        let mut words = config.text_config;
        if let Some(width) = config.projection_dim {
            vision.projection_dim = width;
            words.projection_dim = Some(width);
        }
        let invalid = |error: deem_model::clip::config::ClipError| EngineError::File {
            path: path.clone(),
            problem: error.to_string(),
        };
        vision.validate().map_err(invalid)?;
        words.validate().map_err(invalid)?;
        let model = PublicClip {
            vision_model: ClipVit::new(&vision, device).with_projection(&vision, device),
            text_model: ClipText::new(&words, device).with_projection(&words, device),
            logit_scale: param([1], libm::logf(1.0 / 0.07), device),
        };
        let rename = |path: &str| match path {
            "vision_model.visual_projection.weight" => "visual_projection.weight".to_owned(),
            "text_model.text_projection.weight" => "text_projection.weight".to_owned(),
            other => other.to_owned(),
        };
        let options = LoadOptions {
            rename: Some(&rename),
            // Published without dimensions, so that its shape is no vector's.
            skip: &["logit_scale"],
            allow_unused: &["logit_scale", "*.position_ids"],
            ..LoadOptions::default()
        };
        let file = WeightsFile::open(&find(folder)?)?;
        let scale = file
            .f32("logit_scale")
            .and_then(|values| values.first().copied());
        let scale = libm::exp(f64::from(scale.unwrap_or(libm::logf(1.0 / 0.07))));
        let model = load(model, &file, &options)?.no_grad();
        let tokenizer = ClipTokenizer::load(&folder.join("tokenizer.json"))?;
        let longest = words.max_position_embeddings;
        let fill = i64::from(tokenizer.end());
        let (image, text) = (model.vision_model, model.text_model);
        Ok(Self::new(
            Towers {
                name: folder.display().to_string(),
                image: Box::new(move |pixels| {
                    let output = image.forward(clip_normalize(pixels), &[]);
                    output.image_embeds.expect("made with a projection")
                }),
                text: Box::new(move |ids| {
                    let output = text.forward(ids, None);
                    output.text_embeds.expect("made with a projection")
                }),
                words: Box::new(move |text| {
                    let ids = tokenizer.encode(text, longest)?;
                    Ok(ids.into_iter().map(i64::from).collect())
                }),
                fill,
                side: vision.image_size,
                scale,
                weights: file.checksum().to_string(),
            },
            device.clone(),
        ))
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.towers.name
    }

    /// Checksum of its weights.
    pub fn weights(&self) -> &str {
        &self.towers.weights
    }

    /// Inverse temperature: what a cosine is multiplied by before it is a logit.
    pub fn scale(&self) -> f64 {
        self.towers.scale
    }

    /// Embeddings of pictures (their centre squares), of unit length.
    ///
    /// # Errors
    /// `Data` naming a picture without pixels by its position.
    pub fn images(&self, pictures: &[RgbImage]) -> Result<Vec<Vec<f64>>, EngineError> {
        let mut rows = Vec::with_capacity(pictures.len());
        for chunk in pictures.chunks(CHUNK) {
            let pixels = to_tensor(chunk, self.towers.side, &self.device)?;
            rows.extend(matrix((self.towers.image)(pixels)).into_iter().map(unit));
        }
        Ok(rows)
    }

    /// Embeddings of texts, as long as they come.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn texts<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f64>>, EngineError> {
        let mut rows = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let ids = chunk.iter().map(|text| (self.towers.words)(text.as_ref()));
            let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
            let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
            for row in &mut ids {
                row.resize(longest, self.towers.fill);
            }
            let ids = Layout::int(ids.concat(), [chunk.len(), longest], &self.device);
            rows.extend(matrix((self.towers.text)(ids)));
        }
        Ok(rows)
    }
}

/// A vector of length 1; one of length 0 stays.
pub(crate) fn unit(mut row: Vec<f64>) -> Vec<f64> {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v /= norm);
    }
    row
}

/// Inner product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn matrix(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, width] = tensor.dims();
    let values: Vec<f64> = tensor.into_data().iter::<f64>().collect();
    values.chunks(width.max(1)).map(<[f64]>::to_vec).collect()
}

//! A model ready to be used: stand-ins, trained weights, tokenizer, pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_data::image::{Crop, ImageLimits, ViewConfig, read_image, read_mask};
use deem_data::text::TextTokenizer;
use deem_data::{Dice, SampleImage};
use deem_engine::Compute;
use deem_engine::evaluate::Runner;
use deem_engine::foundation::replace;
use deem_engine::generate::{AdaptOptions, ImageOptions, SamplerKind, adapt};
use deem_engine::run_config::RunConfig;
use deem_experiment::config::Preset;
use deem_model::deem::Deem;
use image::{Rgb, RgbImage};

use super::foundation::{resolve, resolve_language};
use super::setup::Setup;
use crate::args::{Drawing, ModelChoice};

/// A model with everything needed to use it.
pub struct Session {
    /// The configuration.
    pub preset: Preset,
    /// The model, on the inner device.
    pub model: Deem,
    /// Words to ids.
    pub tokenizer: TextTokenizer,
    /// Where to compute, without gradient tracking.
    pub device: Device,
    /// Where the trained weights came from.
    pub source: String,
}

impl Session {
    /// Loads the chosen model.
    pub fn open(standins: &Setup, choice: &ModelChoice) -> Result<Self> {
        Self::of(standins, choice, true)
    }

    /// As [`Self::open`], for questions about pictures: published diffusion models are not looked for.
    pub fn open_reader(standins: &Setup, choice: &ModelChoice) -> Result<Self> {
        Self::of(standins, choice, false)
    }

    fn of(standins: &Setup, choice: &ModelChoice, draws: bool) -> Result<Self> {
        match &choice.config {
            None => Self::of_standins(standins, choice),
            Some(path) => Self::of_run(standins, path, choice, draws),
        }
    }

    /// As [`Self::open`], for text alone: of published weights only the language model's are looked for.
    pub fn open_text(standins: &Setup, choice: &ModelChoice) -> Result<Self> {
        let Some(path) = &choice.config else {
            return Self::open(standins, choice);
        };
        let compute = standins.compute()?;
        let run = RunConfig::read(path, &standins.overrides)?;
        let preset = standins.without_overrides().open()?.preset().of_run(&run);
        let language = resolve_language(&run, choice.offline)?;
        let model = language.assemble(&preset.model, &compute.device)?;
        let (model, source) = match &choice.model {
            Some(path) => (replace(model, &weights_in(path)?)?, path),
            None => (model, &language.llama),
        };
        Ok(Self {
            model: compute.precision.apply(model.no_grad()),
            tokenizer: language.tokenizer(&preset.model)?,
            source: source.display().to_string(),
            preset,
            device: compute.device,
        })
    }

    fn of_standins(choice: &Setup, model: &ModelChoice) -> Result<Self> {
        let Compute { device, precision } = choice.compute()?;
        let standins = choice.open()?;
        let found = match &model.model {
            Some(path) => Some(weights_in(path)?),
            // What was trained with another language model does not fit.
            None if standins.preset().language_model.is_some() => None,
            None => newest_run(Path::new("runs/reproduce")),
        };
        let connected = standins.is_connected();
        let model = if connected {
            standins.connected(&device)?
        } else {
            standins.assemble(0, &device)?
        };
        let (model, source) = match found {
            Some(path) => (replace(model, &path)?, path.display().to_string()),
            None if connected => {
                eprintln!(
                    "note: no trained run found; using the warm start (`deem reproduce` trains one)"
                );
                (model, "warm start".to_owned())
            }
            None => {
                eprintln!(
                    "note: what connects pictures to this language model is untrained (`deem pretrain connect` \
                     trains it); text works"
                );
                (model, standins.preset().name.clone())
            }
        };
        Ok(Self {
            tokenizer: standins.tokenizer()?,
            preset: standins.preset().clone(),
            model: precision.apply(model.no_grad()),
            device,
            source,
        })
    }

    /// The model of a run's file, from published weights.
    fn of_run(standins: &Setup, path: &Path, choice: &ModelChoice, draws: bool) -> Result<Self> {
        let Compute { device, precision } = standins.compute()?;
        let run = RunConfig::read(path, &standins.overrides)?;
        let preset = standins.without_overrides().open()?.preset().of_run(&run);
        let mut foundation = resolve(&run, draws, choice.offline)?;
        if let Some(path) = &choice.model {
            foundation.trained = Some(weights_in(path)?);
        }
        if foundation.trained.is_none() {
            eprintln!(
                "note: only foundation models: what connects them is untrained (--model names trained weights)"
            );
        }
        let model = foundation.assemble(&preset.model, 0, &device)?;
        Ok(Self {
            model: precision.apply(model.no_grad()),
            tokenizer: foundation.language.tokenizer(&preset.model)?,
            source: foundation
                .trained
                .unwrap_or(foundation.language.llama)
                .display()
                .to_string(),
            preset,
            device,
        })
    }

    /// Adapts the encoder to a picture by feedback.
    pub fn adapt(&mut self, picture: &SampleImage, steps: usize) -> Result<()> {
        let dims = &self.preset.model;
        let seen = self.view(picture, dims.image_size)?;
        let target = self.view(picture, dims.diffusion_size)?;
        let options = AdaptOptions {
            steps,
            ..AdaptOptions::default()
        };
        self.model = adapt(&self.model, seen, target, &options)?;
        Ok(())
    }

    /// The tokens after which the model is to draw a text.
    pub fn drawing_prompt(&self, text: &str) -> Result<Vec<i64>> {
        let special = self.tokenizer.special();
        let words = self.tokenizer.encode(text)?;
        let tokens = [&[special.bos][..], &words, &[special.soi]].concat();
        Ok(tokens.into_iter().map(i64::from).collect())
    }

    /// Answers questions with this model.
    pub fn runner(&self, batch: usize) -> Runner<'_> {
        Runner::new(
            &self.model,
            self.tokenizer.clone(),
            self.preset.model.image_size as u32,
            self.preset.max_tokens,
            batch,
            self.device.clone(),
        )
    }

    /// A picture as `[1, 3, side, side]` in [0, 1].
    pub fn view(&self, picture: &SampleImage, side: usize) -> Result<Tensor<4>> {
        let config = ViewConfig {
            encoder: side as u32,
            diffusion: 0,
            crop: Crop::Center,
        };
        let mut dice = Dice::new(0, "crop", 0);
        let views = config.views(&picture.id, &picture.image, None, &mut dice)?;
        let data = TensorData::new(views.encoder, [1, 3, side, side]);
        Ok(Tensor::from_data(data, &self.device))
    }
}

/// Reads a picture, and the mask that belongs to it.
pub fn read_picture(path: &Path, mask: Option<&Path>, choice: &ModelChoice) -> Result<SampleImage> {
    let limit = ImageLimits {
        max_pixels: choice.max_megapixels * 1_000_000,
    };
    let image = read_image(path, limit)?;
    let mask = mask
        .map(|mask| read_mask(mask, image.dimensions(), limit))
        .transpose()?;
    Ok(SampleImage {
        id: path.display().to_string(),
        image,
        mask,
    })
}

/// The first image of `[images, 3, height, width]` in [0, 1].
pub fn to_picture(pixels: Tensor<4>) -> RgbImage {
    let [_, _, height, width] = pixels.dims();
    let values: Vec<f32> = pixels.into_data().iter::<f32>().collect();
    let plane = height * width;
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        Rgb([0, 1, 2].map(|c| (values[c * plane + at] * 255.0).round().clamp(0.0, 255.0) as u8))
    })
}

/// Writes a picture, enlarged by whole steps so that small ones can be seen.
pub fn write_picture(picture: &RgbImage, path: &Path) -> Result<()> {
    let factor = (256 / picture.width().max(1)).max(1);
    let (width, height) = (picture.width() * factor, picture.height() * factor);
    let large = image::imageops::resize(
        picture,
        width,
        height,
        image::imageops::FilterType::CatmullRom,
    );
    large
        .save(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Options of drawing.
pub fn image_options(drawing: &Drawing) -> ImageOptions {
    ImageOptions {
        steps: drawing.steps,
        guidance: drawing.guidance,
        sampler: if drawing.ddim {
            SamplerKind::Ddim
        } else {
            SamplerKind::DpmSolver
        },
        seed: drawing.seed,
    }
}

fn weights_in(path: &Path) -> Result<PathBuf> {
    let candidates = [
        path.to_owned(),
        path.join("model.safetensors"),
        path.join("checkpoint/model.safetensors"),
    ];
    match candidates.into_iter().find(|p| p.is_file()) {
        Some(found) => Ok(found),
        None => bail!(
            "{}: no weights here; expected a .safetensors file, or a folder with model.safetensors \
             or checkpoint/model.safetensors",
            path.display()
        ),
    }
}

/// The final weights of the first seed's `feedback` arm.
fn newest_run(root: &Path) -> Option<PathBuf> {
    let path = root.join("feedback/seed-1/model.safetensors");
    path.is_file().then_some(path)
}

//! Published encoders on disk: read in the layout in which they came, and written in it again.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem_data::text::EncoderTokenizer;
use deem_model::clip::config::{ClipVisionConfig, Family};
use deem_model::clip::dual::{DualConfig, DualLayout, DualTowers, ImageConfig, open_clip};
use deem_model::clip::tower::ImageTower;
use deem_model::published::{Fields, fields};
use deem_model::weights::{WeightsFile, check_placed, find, load_placed, write_placed};
use serde_json::Value;

use super::pixels::PixelForm;
use super::{DualEncoder, Towers};
use crate::EngineError;
use crate::foundation::compare;

/// transformers' names.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// open_clip's.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
const OPEN_CLIP_WEIGHTS: &str = "open_clip_model.safetensors";

/// Tables that files may hold and that are computed here.
const UNUSED: [&str; 3] = ["*position_ids", "attn_mask", "text.attn_mask"];

/// What else belongs to an encoder.
const BESIDE: [&str; 12] = [
    CONFIG,
    OPEN_CLIP_CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
];

/// The folder of a published encoder: transformers' `CLIPModel` (MetaCLIP's, too) or `SiglipModel`, or an open_clip model.
pub struct EncoderFolder {
    folder: PathBuf,
    layout: DualLayout,
    config: DualConfig,
    pixels: PixelForm,
    /// open_clip's `tokenizer_kwargs.clean`.
    clean: Option<String>,
    weights: WeightsFile,
}

impl EncoderFolder {
    /// Reads what describes the encoder; its weights are opened, and read by [`Self::load`].
    ///
    /// # Errors
    /// `Io`, `File` naming the file and the field that cannot be computed, or the tower that is missing; `Weights`.
    pub fn read(folder: &Path) -> Result<Self, EngineError> {
        let theirs = folder.join(CONFIG);
        let open = folder.join(OPEN_CLIP_CONFIG);
        let has_own_weights = ["", ".index.json"]
            .iter()
            .any(|end| folder.join(format!("{WEIGHTS}{end}")).is_file());
        if open.is_file() && !(theirs.is_file() && has_own_weights) {
            return Self::open_clip(folder, &open);
        }
        let fields = read_fields(&theirs)?;
        let (config, layout) = DualConfig::transformers(fields).map_err(unfit(&theirs))?;
        let pixels = PixelForm::transformers(folder, &config)?;
        let weights = WeightsFile::open(&find(folder)?)?;
        Self::checked(folder, &theirs, layout, config, pixels, None, weights)
    }

    fn open_clip(folder: &Path, path: &Path) -> Result<Self, EngineError> {
        let mut fields = read_fields(path)?;
        let own = folder.join(OPEN_CLIP_WEIGHTS);
        let weights = WeightsFile::open(&if own.is_file() { own } else { find(folder)? })?;
        let Some(Value::Object(model)) = fields.remove("model_cfg") else {
            return Err(EngineError::File {
                path: path.into(),
                problem: "model_cfg: expected open_clip's configuration of a model, found none"
                    .into(),
            });
        };
        let clean = model
            .get("text_cfg")
            .and_then(|text| text.pointer("/tokenizer_kwargs/clean"));
        let clean = clean.and_then(Value::as_str).unwrap_or("whitespace");
        let clean = Some(clean.to_owned());
        let (config, layout) = open_clip(model, &weights).map_err(unfit(path))?;
        let pixels = PixelForm::open_clip(path, fields.remove("preprocess_cfg"), &config)?;
        Self::checked(folder, path, layout, config, pixels, clean, weights)
    }

    fn checked(
        folder: &Path,
        path: &Path,
        layout: DualLayout,
        config: DualConfig,
        pixels: PixelForm,
        clean: Option<String>,
        weights: WeightsFile,
    ) -> Result<Self, EngineError> {
        config.validate().map_err(|error| EngineError::File {
            path: path.into(),
            problem: error.to_string(),
        })?;
        let begins = layout.text_keys();
        if !weights
            .keys()
            .any(|key| begins.iter().any(|begin| key.starts_with(begin)))
        {
            return Err(EngineError::File {
                path: weights.path().into(),
                problem: format!(
                    "it holds no text tower (no key begins with {}), only pictures can be encoded; give the whole encoder of \
                     pictures and texts",
                    begins.join(" or ")
                ),
            });
        }
        Ok(Self {
            folder: folder.into(),
            layout,
            config,
            pixels,
            clean,
            weights,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// In which layout.
    pub fn layout(&self) -> DualLayout {
        self.layout
    }

    /// Dimensions of the towers.
    pub fn config(&self) -> &DualConfig {
        &self.config
    }

    /// How pictures become what the image tower reads.
    pub fn pixels(&self) -> &PixelForm {
        &self.pixels
    }

    /// The weights as they lie there.
    pub fn weights(&self) -> &WeightsFile {
        &self.weights
    }

    /// The towers, filled.
    ///
    /// # Errors
    /// `Weights` naming the keys that do not fit.
    pub fn load(&self, device: &Device) -> Result<DualTowers, EngineError> {
        let file = WeightsFile::open(self.weights.path())?;
        let towers = DualTowers::new(&self.config, device);
        let place = |path: &str| self.layout.place(path);
        Ok(load_placed(towers, file, &place, &UNUSED)?)
    }

    /// Says everything of the weights that does not fit the configuration, without reading them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn check(&self) -> Result<(), EngineError> {
        let file = WeightsFile::open(self.weights.path())?;
        let towers = DualTowers::new(&self.config, &Device::flex());
        let place = |path: &str| self.layout.place(path);
        Ok(check_placed(&towers, file, &place, &UNUSED)?)
    }

    /// Its image tower alone, filled into `tower`, which is of the given dimensions.
    ///
    /// # Errors
    /// `File` naming every field in which this encoder's tower differs from `config`, or if it is of the other kind;
    /// `Weights`.
    pub fn fill_tower(
        &self,
        tower: ImageTower,
        config: &ImageConfig,
    ) -> Result<ImageTower, EngineError> {
        let file = match self.layout {
            DualLayout::Transformers(_) => CONFIG,
            DualLayout::OpenClip(_) => OPEN_CLIP_CONFIG,
        };
        let path = self.folder.join(file);
        let (before, own) = match (&self.config.image, config) {
            (ImageConfig::Vit(own), ImageConfig::Vit(config)) => {
                let own = ClipVisionConfig {
                    // Of SigLIP's embeddings the tower's own width counts.
                    projection_dim: match own.family {
                        Family::Clip => own.projection_dim,
                        Family::Siglip => config.projection_dim,
                    },
                    ..own.clone()
                };
                ("vision_model", ImageConfig::Vit(own))
            }
            (own @ ImageConfig::ConvNext { .. }, ImageConfig::ConvNext { .. }) => {
                ("visual", own.clone())
            }
            (ImageConfig::Vit(_), ImageConfig::ConvNext { .. }) => {
                return Err(EngineError::File {
                    path,
                    problem:
                        "its image tower is a ViT; expected the ConvNeXt that model.encoder says"
                            .into(),
                });
            }
            (ImageConfig::ConvNext { .. }, ImageConfig::Vit(_)) => {
                return Err(EngineError::File {
                    path,
                    problem: "its image tower is a ConvNeXt; expected the ViT that model.encoder says (a ConvNeXt has a \
                              table model.encoder.trunk)"
                        .into(),
                });
            }
        };
        compare(&path, &own, config)?;
        let file = WeightsFile::open(self.weights.path())?;
        let place = |path: &str| self.layout.place(&format!("{before}.{path}"));
        Ok(load_placed(tower, file, &place, &[""])?)
    }

    /// Writes towers as this folder has its own: same keys, shapes and types, and everything that belongs to them beside.
    /// Unchanged weights are bit for bit what they were. `output` must not exist, or be empty; it appears whole or not at all.
    ///
    /// # Errors
    /// `File` if `output` holds something; `Io`; `Weights` if the towers are not this encoder's.
    pub fn save(&self, towers: &DualTowers, output: &Path) -> Result<(), EngineError> {
        let holds = fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some());
        if holds || output.is_file() {
            return Err(EngineError::File {
                path: output.into(),
                problem: "already there; delete it or name another folder".into(),
            });
        }
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let parent = output.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(EngineError::io(parent))?;
        let part = output.with_file_name(format!(".{name}.part"));
        let written = self.write(towers, &part).and_then(|()| {
            if output.is_dir() {
                fs::remove_dir(output).map_err(EngineError::io(output))?;
            }
            fs::rename(&part, output).map_err(EngineError::io(output))
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&part);
        }
        written
    }

    fn write(&self, towers: &DualTowers, folder: &Path) -> Result<(), EngineError> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EngineError::io(folder)(error));
            }
            _ => fs::create_dir_all(folder).map_err(EngineError::io(folder))?,
        }
        for name in BESIDE {
            let from = self.folder.join(name);
            if from.is_file() {
                fs::copy(&from, folder.join(name)).map_err(EngineError::io(&from))?;
            }
        }
        let name = match self.layout {
            DualLayout::Transformers(_) => WEIGHTS,
            DualLayout::OpenClip(_) => OPEN_CLIP_WEIGHTS,
        };
        let place = |path: &str| self.layout.place(path);
        Ok(write_placed(
            towers,
            &self.weights,
            &place,
            &folder.join(name),
        )?)
    }

    /// Words to ids.
    ///
    /// # Errors
    /// Those of [`EncoderTokenizer::load`]; `File` if it has more ids than the text tower has embeddings.
    pub fn tokenizer(&self) -> Result<EncoderTokenizer, EngineError> {
        let text = &self.config.text;
        let longest = text.max_position_embeddings;
        let tokenizer = EncoderTokenizer::load(&self.folder, longest, self.clean.as_deref())?;
        if tokenizer.vocabulary() > text.vocab_size {
            return Err(EngineError::File {
                path: self.folder.clone(),
                problem: format!(
                    "its tokenizer has {} ids, its text tower only {} embeddings; give the tokenizer that belongs to it",
                    tokenizer.vocabulary(),
                    text.vocab_size
                ),
            });
        }
        Ok(tokenizer)
    }

    /// Towers of this encoder, its own or corrected ones, ready to embed. `weights` is their checksum.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`].
    pub fn encoder(
        &self,
        towers: DualTowers,
        weights: String,
        device: &Device,
    ) -> Result<DualEncoder, EngineError> {
        let tokenizer = self.tokenizer()?;
        let fill = i64::from(tokenizer.fill());
        let towers = towers.no_grad();
        let number = |value: &burn::module::Param<burn::tensor::Tensor<1>>| {
            f64::from(value.val().into_scalar::<f32>())
        };
        let scale = libm::exp(number(&towers.logit_scale));
        let bias = towers.logit_bias.as_ref().map_or(0.0, number);
        let (images, pixels) = (towers.clone(), self.pixels.clone());
        let towers = Towers {
            name: self.folder.display().to_string(),
            view: pixels.view,
            image: Box::new(move |values| images.images(pixels.normalize(values)).embeds),
            text: Box::new(move |ids| towers.texts(ids)),
            words: Box::new(move |text| {
                let ids = tokenizer.encode(text)?;
                Ok(ids.into_iter().map(i64::from).collect())
            }),
            fill,
            scale,
            bias,
            weights,
        };
        Ok(DualEncoder::new(towers, device.clone()))
    }
}

fn read_fields(path: &Path) -> Result<Fields, EngineError> {
    let text = fs::read_to_string(path).map_err(EngineError::io(path))?;
    fields(&text).map_err(|problem| EngineError::File {
        path: path.into(),
        problem,
    })
}

fn unfit(path: &Path) -> impl FnOnce(Vec<String>) -> EngineError {
    let path = path.to_owned();
    move |problems| EngineError::File {
        path,
        problem: problems.join("; "),
    }
}

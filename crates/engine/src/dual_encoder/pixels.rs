//! How pictures become what an image tower reads, as published beside it.

use std::fs;
use std::path::Path;

use burn::tensor::Tensor;
use deem_data::image::{Crop, Filter};
use deem_model::clip::config::Family;
use deem_model::clip::dual::{DualConfig, ImageConfig};
use deem_model::clip::pyramid::{CLIP_MEAN, CLIP_STD, normalize};
use deem_model::published::fields;
use serde::Deserialize;
use serde_json::Value;

use crate::EngineError;
use crate::pictures::SquareView;

/// From a picture to the image tower's input.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelForm {
    /// The square that is seen.
    pub view: SquareView,
    /// Subtracted from each colour in [0, 1].
    pub mean: [f32; 3],
    /// What colours are then divided by.
    pub std: [f32; 3],
}

/// transformers' `preprocessor_config.json`, or `image_processor` in `processor_config.json`.
#[derive(Deserialize)]
#[serde(default)]
struct Preprocessor {
    size: Option<Value>,
    crop_size: Option<Value>,
    do_center_crop: Option<bool>,
    do_normalize: bool,
    rescale_factor: f64,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    resample: Option<u8>,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self {
            size: None,
            crop_size: None,
            do_center_crop: None,
            do_normalize: true,
            rescale_factor: 1.0 / 255.0,
            image_mean: None,
            image_std: None,
            resample: None,
        }
    }
}

/// open_clip's `preprocess_cfg`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PreprocessCfg {
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    interpolation: Option<String>,
    resize_mode: Option<String>,
}

impl PixelForm {
    /// What holds where nothing is published beside the weights.
    pub fn usual(config: &DualConfig) -> Self {
        let side = config.image.side();
        match &config.image {
            ImageConfig::Vit(vision) if vision.family == Family::Siglip => Self {
                view: SquareView {
                    crop: Crop::Squeeze,
                    ..SquareView::centre(side)
                },
                mean: [0.5; 3],
                std: [0.5; 3],
            },
            _ => Self {
                view: SquareView::centre(side),
                mean: CLIP_MEAN,
                std: CLIP_STD,
            },
        }
    }

    /// Of a folder of transformers.
    pub(super) fn transformers(folder: &Path, config: &DualConfig) -> Result<Self, EngineError> {
        let usual = Self::usual(config);
        let found = ["preprocessor_config.json", "processor_config.json"];
        let found = found
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.is_file());
        let Some(path) = found else {
            return Ok(usual);
        };
        let wrong = |problem: String| EngineError::File {
            path: path.clone(),
            problem,
        };
        let text = fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let mut all = fields(&text).map_err(wrong)?;
        let own = match all.remove("image_processor") {
            Some(Value::Object(own)) => own,
            _ => all,
        };
        let own: Preprocessor =
            serde_json::from_value(Value::Object(own)).map_err(|e| wrong(e.to_string()))?;
        own.form(usual).map_err(wrong)
    }

    /// Of a file of open_clip.
    pub(super) fn open_clip(
        path: &Path,
        cfg: Option<Value>,
        config: &DualConfig,
    ) -> Result<Self, EngineError> {
        let wrong = |problem: String| EngineError::File {
            path: path.into(),
            problem: format!("preprocess_cfg.{problem}"),
        };
        let cfg: Option<PreprocessCfg> = cfg
            .map(serde_json::from_value)
            .transpose()
            .map_err(|e| wrong(e.to_string()))?;
        let cfg = cfg.unwrap_or_default();
        let side = config.image.side();
        let crop = match cfg.resize_mode.as_deref() {
            None | Some("shortest") => Crop::Center,
            Some("squash") => Crop::Squeeze,
            Some(other) => {
                return Err(wrong(format!(
                    "resize_mode: {other:?} is not supported, only \"shortest\" and \"squash\""
                )));
            }
        };
        let filter = match cfg.interpolation.as_deref() {
            None | Some("bicubic" | "random") => Filter::Bicubic,
            Some("bilinear") => Filter::Bilinear,
            Some(other) => {
                return Err(wrong(format!(
                    "interpolation: {other:?} is not supported, only \"bicubic\" and \"bilinear\""
                )));
            }
        };
        Ok(Self {
            view: SquareView { side, crop, filter },
            mean: cfg.mean.unwrap_or(CLIP_MEAN),
            std: cfg.std.unwrap_or(CLIP_STD),
        })
    }

    /// Shifts and scales colours as the encoder was trained.
    ///
    /// # Shapes
    /// `pixels`: `[batch, 3, height, width]`, range [0, 1]; returned in the same shape.
    pub fn normalize(&self, pixels: Tensor<4>) -> Tensor<4> {
        normalize(pixels, self.mean, self.std)
    }
}

impl Preprocessor {
    fn form(self, usual: PixelForm) -> Result<PixelForm, String> {
        let side = usual.view.side;
        let edge = |value: &Option<Value>, name: &str| {
            let value = value.as_ref()?;
            value.as_u64().or_else(|| value.get(name)?.as_u64())
        };
        let squeezed =
            edge(&self.size, "height").filter(|_| self.size.as_ref().is_some_and(Value::is_object));
        let crop = match (self.do_center_crop, squeezed) {
            (Some(true), _) => Crop::Center,
            (_, Some(_)) => Crop::Squeeze,
            _ => usual.view.crop,
        };
        let told = match crop {
            Crop::Center => {
                edge(&self.crop_size, "height").or_else(|| edge(&self.size, "shortest_edge"))
            }
            _ => squeezed,
        };
        if let Some(told) = told.filter(|told| *told != side as u64) {
            return Err(format!(
                "size: pictures of {told} pixels, but the image tower reads {side}"
            ));
        }
        let filter = match self.resample {
            None => usual.view.filter,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(other) => {
                return Err(format!(
                    "resample: {other} is not supported, only 2 (bilinear) and 3 (bicubic)"
                ));
            }
        };
        if (self.rescale_factor * 255.0 - 1.0).abs() > 1e-3 {
            return Err(format!(
                "rescale_factor: {} is not supported, only 1/255",
                self.rescale_factor
            ));
        }
        let (mean, std) = match self.do_normalize {
            true => (
                self.image_mean.unwrap_or(usual.mean),
                self.image_std.unwrap_or(usual.std),
            ),
            false => ([0.0; 3], [1.0; 3]),
        };
        if std.contains(&0.0) {
            return Err("image_std: expected no zero".into());
        }
        Ok(PixelForm {
            view: SquareView { side, crop, filter },
            mean,
            std,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(json: &str) -> Result<PixelForm, String> {
        let usual = PixelForm {
            view: SquareView::centre(32),
            mean: CLIP_MEAN,
            std: CLIP_STD,
        };
        serde_json::from_str::<Preprocessor>(json)
            .unwrap()
            .form(usual)
    }

    #[test]
    fn published_forms_are_understood() {
        let clip = form(
            r#"{"size": {"shortest_edge": 32}, "crop_size": 32, "do_center_crop": true, "resample": 3}"#,
        );
        assert_eq!(clip.unwrap().view, SquareView::centre(32));
        let siglip = form(r#"{"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "resample": 2}"#).unwrap();
        assert_eq!(
            (siglip.view.crop, siglip.view.filter),
            (Crop::Squeeze, Filter::Bilinear)
        );
        assert_eq!(siglip.mean, [0.5; 3]);
        assert_eq!(form("{}").unwrap().std, CLIP_STD);
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let error = |json: &str| form(json).unwrap_err();
        assert!(error(r#"{"size": {"height": 48, "width": 48}}"#).contains("48 pixels"));
        assert!(error(r#"{"crop_size": 24, "do_center_crop": true}"#).contains("24 pixels"));
        assert!(error(r#"{"resample": 1}"#).contains("resample"));
        assert!(error(r#"{"rescale_factor": 1.0}"#).contains("rescale_factor"));
        assert!(error(r#"{"image_std": [1.0, 0.0, 1.0]}"#).contains("image_std"));
    }
}

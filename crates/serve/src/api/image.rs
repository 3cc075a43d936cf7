//! `POST /v1/images/generations` and `POST /v1/restore`: pictures in PNG.

use deem::{GUIDANCE, ImageOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::{Address, region_beside};
use super::fields::{Refused, check, empty, is_auto, read, refuse, up_to, within};
use super::heard::{Part, Told};
use super::{now, usage};
use crate::error::ApiError;
use crate::picture::{Source, png};
use crate::{DrawJob, Options};

/// Strength of the noise unless the client says otherwise, as of `deem restore`.
const STRENGTH: f64 = 0.65;

/// Guidance of restorations unless the client says otherwise: without a text, nothing was trained for it.
const NO_GUIDANCE: f64 = 1.0;

const REFUSED: &[Refused] = &[
    refuse("response_format", |value| value == "b64_json"),
    refuse("output_format", |value| value == "png"),
    refuse("output_compression", |value| *value == 100),
    refuse("background", |value| value == "auto" || value == "opaque"),
    refuse("quality", |value| value == "auto" || value == "standard"),
    refuse("style", is_auto),
    refuse("stream", empty),
    refuse("partial_images", empty),
];

/// How pictures are drawn: deem's fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Drawing {
    steps: Option<u64>,
    guidance: Option<f64>,
    seed: Option<i64>,
}

impl Drawing {
    /// - `guidance`: unless the client says otherwise
    ///
    /// # Errors
    /// The field that is out of its range.
    pub fn options(&self, guidance: f64, options: &Options) -> Result<ImageOptions, ApiError> {
        let usual = ImageOptions::default();
        let steps = self
            .steps
            .unwrap_or(usual.steps.min(options.max_steps) as u64);
        Ok(ImageOptions {
            steps: up_to("steps", steps, options.max_steps, "--max-steps")?,
            guidance: within("guidance", self.guidance.unwrap_or(guidance), GUIDANCE)?,
            seed: self.seed.map_or(usual.seed, |seed| seed as u64),
            ..usual
        })
    }
}

#[derive(Debug, Deserialize)]
struct DrawFields {
    model: Option<String>,
    prompt: String,
    n: Option<u64>,
    size: Option<String>,
}

/// Pictures to be drawn.
#[derive(Debug)]
pub(crate) struct DrawRequest {
    pub model: Option<String>,
    /// What the client expects, if it does.
    size: Option<String>,
    pub job: DrawJob,
}

impl DrawRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The field that is wrong or not supported.
    pub fn of(body: &Value, options: &Options) -> Result<Self, ApiError> {
        if let Some(body) = body.as_object() {
            check(body, REFUSED)?;
        }
        let fields: DrawFields = read(body, "")?;
        let drawing: Drawing = read(body, "")?;
        if fields.prompt.trim().is_empty() {
            return Err(ApiError::field("prompt", "expected a text, found none"));
        }
        let job = DrawJob {
            text: fields.prompt,
            n: up_to(
                "n",
                fields.n.unwrap_or(1),
                options.max_choices,
                "--max-choices",
            )?,
            options: drawing.options(ImageOptions::default().guidance, options)?,
        };
        Ok(Self {
            model: fields.model,
            size: fields.size,
            job,
        })
    }

    /// Checks that the model draws pictures of the size that the client expects.
    ///
    /// # Errors
    /// `size` if it does not.
    pub fn check_size(&self, side: usize) -> Result<(), ApiError> {
        let only = format!("{side}x{side}");
        match self.size.as_deref() {
            None | Some("auto") => Ok(()),
            Some(size) if size == only => Ok(()),
            Some(size) => {
                let problem = format!(
                    "this model draws {only} pixels; expected that or `auto`, found {size:?}"
                );
                Err(ApiError::field("size", problem))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct RestoreFields {
    model: Option<String>,
    image: Address,
    mask: Option<String>,
    #[serde(rename = "box")]
    bounds: Option<[f64; 4]>,
    polygon: Option<Vec<[f64; 2]>>,
    strength: Option<f64>,
}

/// A picture to be restored.
#[derive(Debug)]
pub(crate) struct RestoreRequest {
    pub model: Option<String>,
    pub source: Source,
    pub strength: f64,
    pub options: ImageOptions,
}

impl RestoreRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The field that is wrong or not supported.
    pub fn of(body: &Value, options: &Options) -> Result<Self, ApiError> {
        if let Some(body) = body.as_object() {
            check(body, REFUSED)?;
        }
        let fields: RestoreFields = read(body, "")?;
        let drawing: Drawing = read(body, "")?;
        let strength = within("strength", fields.strength.unwrap_or(STRENGTH), 0.0..=1.0)?;
        if strength == 0.0 {
            return Err(ApiError::field("strength", "expected a number above 0"));
        }
        Ok(Self {
            model: fields.model,
            source: Source {
                url: fields.image.url(),
                region: region_beside(fields.mask, fields.bounds, fields.polygon, "image")?,
                param: "image".into(),
            },
            strength,
            options: drawing.options(NO_GUIDANCE, options)?,
        })
    }
}

/// The response to both.
///
/// # Errors
/// If a picture cannot be written, or there is none.
pub(crate) fn response(told: &Told) -> Result<Value, ApiError> {
    let pictures = told
        .answers
        .iter()
        .map(|answer| match answer.parts.first() {
            Some(Part::Picture(picture)) => Ok(picture),
            _ => Err(ApiError::internal(&"a model's thread drew nothing")),
        });
    let pictures: Vec<_> = pictures.collect::<Result<_, _>>()?;
    let data: Result<Vec<Value>, ApiError> = pictures
        .iter()
        .map(|picture| Ok(json!({ "b64_json": png(picture)? })))
        .collect();
    let size = pictures
        .first()
        .map(|picture| format!("{}x{}", picture.width(), picture.height()));
    let used = usage(told.usage);
    Ok(json!({
        "created": now(),
        "data": data?,
        "output_format": "png",
        "size": size,
        "usage": {
            "input_tokens": used["prompt_tokens"],
            "output_tokens": used["completion_tokens"],
            "total_tokens": used["total_tokens"],
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Region;

    #[test]
    fn drawings() {
        let of = |body: Value| DrawRequest::of(&body, &Options::default());
        let plain = of(json!({ "prompt": "a fox" })).unwrap();
        assert_eq!((plain.job.text.as_str(), plain.job.n), ("a fox", 1));
        assert_eq!(plain.job.options, ImageOptions::default());
        let full = of(json!({
            "model": "m", "prompt": "a fox", "n": 2, "size": "48x48", "response_format": "b64_json", "seed": 5,
            "steps": 3, "guidance": 1.5, "quality": "auto", "user": "u", "moderation": "low",
        }))
        .unwrap();
        assert_eq!(
            (full.job.n, full.job.options.seed, full.job.options.steps),
            (2, 5, 3)
        );
        assert_eq!(full.job.options.guidance, 1.5);
        assert!(full.check_size(48).is_ok());
        assert!(full.check_size(64).unwrap_err().message.contains("64x64"));
        assert!(plain.check_size(64).is_ok());
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({ "prompt": " " }), "prompt"),
            (json!({ "prompt": "a", "n": 9 }), "n"),
            (
                json!({ "prompt": "a", "response_format": "url" }),
                "response_format",
            ),
            (
                json!({ "prompt": "a", "output_format": "webp" }),
                "output_format",
            ),
            (
                json!({ "prompt": "a", "background": "transparent" }),
                "background",
            ),
            (json!({ "prompt": "a", "stream": true }), "stream"),
            (json!({ "prompt": "a", "guidance": -1 }), "guidance"),
            (json!({ "prompt": "a", "steps": 1000 }), "steps"),
            (json!({ "prompt": "a", "seed": "b" }), "seed"),
        ] {
            let error = of(body.clone()).unwrap_err();
            assert_eq!(
                error.param.as_deref(),
                Some(param),
                "{body}: {}",
                error.message
            );
        }
    }

    #[test]
    fn restorations() {
        let of = |body: Value| RestoreRequest::of(&body, &Options::default());
        let plain = of(json!({ "image": "data:a" })).unwrap();
        assert_eq!(
            (plain.source.url.as_str(), plain.strength),
            ("data:a", 0.65)
        );
        assert_eq!(plain.options.guidance, 1.0);
        let full = of(json!({
            "image": { "url": "data:a" }, "box": [0, 0, 2, 2], "strength": 1, "steps": 4, "guidance": 2, "seed": 1,
        }))
        .unwrap();
        assert_eq!(full.source.region, Some(Region::Box([0.0, 0.0, 2.0, 2.0])));
        assert_eq!((full.strength, full.options.steps), (1.0, 4));
        for (body, param) in [
            (json!({}), "image"),
            (json!({ "image": 5 }), "image"),
            (json!({ "image": "data:", "strength": 0 }), "strength"),
            (json!({ "image": "data:", "strength": 1.5 }), "strength"),
            (
                json!({ "image": "data:", "box": [0, 0, 1, 1], "mask": "data:" }),
                "image",
            ),
        ] {
            let error = of(body.clone()).unwrap_err();
            assert_eq!(
                error.param.as_deref(),
                Some(param),
                "{body}: {}",
                error.message
            );
        }
    }
}

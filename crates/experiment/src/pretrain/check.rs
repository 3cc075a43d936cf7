//! The gates that stand-ins must pass before they ship, printed in their model cards (spec: the
//! built-in experiment).
//!
//! Decisive is the *listening test*: the diffusion model's denoising error must rise when any single
//! attribute of its caption is made wrong, because it can only teach the encoder what it listens to.

mod card;
mod connection;
mod encoder;
mod language;
mod limits;
mod listening;
mod probe;
mod reading;
mod samples;

pub use card::write_cards;
pub use encoder::InScenes;
pub use reading::Reading;
pub use samples::samples;

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use deem_data::world::SceneFeed;
use deem_data::world::scene::{Attribute, Form};
use deem_data::world::source::DiffusionSource;
use deem_metrics::statistics::{Interval, Scored, mean};

use super::clip::Pairs;
use crate::built_in::BuiltIn;
use crate::standins::StandIns;
use deem_engine::EngineError;

/// Scenes per gate.
const SCENES: u64 = 192;
/// Scenes computed together.
const CHUNK: usize = 32;
/// Seed of the gates' scenes; training uses small seeds.
const SEED: u64 = 0x00c0_ffee;

/// What the gates measured, of the parts that have been made.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Zero-shot accuracy of the encoder in percent by what is shown, first what it was trained on by name; empty
    /// without an encoder.
    pub zero_shot: Vec<(&'static str, Interval)>,
    /// Number of classes of the zero-shot test.
    pub classes: usize,
    /// What the encoder knows of scenes with a main thing; `None` without an encoder, or where the design has none.
    pub in_scenes: Option<InScenes>,
    /// Root mean squared error of the autoencoder on pixels in [0, 1], and its signal-to-noise ratio.
    pub autoencoder: Option<(f64, f64)>,
    /// Denoising error with true captions, and how much it rises when one attribute is made wrong.
    pub listening: Option<(f64, Vec<(Attribute, Interval)>)>,
    /// The language model's accuracy in percent when the scene is described in words, for each form
    /// of question that the attribute has; empty without a language model.
    pub language: Vec<(Attribute, Form, Interval)>,
    /// The connected model's caption loss in nats per word, and its rise with another image; `None` before
    /// the warm start.
    pub connection: Option<(f64, Interval)>,
    /// What the connected model says of pictures; `None` before the warm start, or if no gate asks for it.
    pub reading: Option<Reading>,
}

/// Computes the gates of all parts that have been made.
///
/// # Errors
/// Stand-ins that do not fit.
pub fn run(standins: &StandIns, device: &Device) -> Result<Gates, EngineError> {
    let data = standins.data()?;
    let feed = data.plain_feed("gate", SEED)?;
    let limits = standins.experiment().gates.unwrap_or_default();
    let made = |part: &str| !standins.identity_of(part).is_empty();
    let (seen, drawn) = (made("clip"), made("autoencoder"));
    let (described, connected) = (drawn && made("unet"), made("connect"));
    let reads = connected && (limits.named.is_some() || limits.answered.is_some());
    Ok(Gates {
        zero_shot: if seen {
            encoder::zero_shot(standins, &data, device)?
        } else {
            Vec::new()
        },
        classes: data.world.corpus().concepts().len(),
        in_scenes: if seen {
            encoder::in_scenes(standins, &data, device)?
        } else {
            None
        },
        autoencoder: drawn
            .then(|| autoencoder(standins, &data, &feed, device))
            .transpose()?,
        listening: described
            .then(|| listening::listening(standins, &data, &feed, device))
            .transpose()?,
        language: if made("llm") {
            language::language(standins, &data, &feed, device)?
        } else {
            Vec::new()
        },
        connection: connected
            .then(|| connection::connection(standins, &data, device))
            .transpose()?,
        reading: reads
            .then(|| reading::reading(standins, &data, device))
            .transpose()?,
    })
}

/// Denoising error with true captions, and how much it rises when one attribute of them is made wrong.
///
/// # Errors
/// Stand-ins that are missing or do not fit.
pub fn listening_test(
    standins: &StandIns,
    data: &BuiltIn,
    device: &Device,
) -> Result<(f64, Vec<(Attribute, Interval)>), EngineError> {
    listening::listening(standins, data, &data.plain_feed("gate", SEED)?, device)
}

fn autoencoder(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<(f64, f64), EngineError> {
    let model = standins.autoencoder(device)?.no_grad();
    let side = standins.preset().model.diffusion_size as u32;
    let pairs = Pairs {
        source: Arc::new(DiffusionSource::new(feed.clone())),
        tokenizer: data.tokenizer.clone(),
        batch: CHUNK * 2,
        image_size: side,
    };
    let seen = pairs.get(0)?.pixels(device);
    let posterior = model.encode(seen.clone().mul_scalar(2.0).sub_scalar(1.0));
    let drawn = model.decode(posterior.mean).add_scalar(1.0).div_scalar(2.0);
    let error = deem_kernels::mean((drawn - seen).square());
    let error: f64 = error.into_data().iter::<f64>().sum();
    Ok((error.sqrt(), -10.0 * libm::log10(error)))
}

fn percent(right: &[bool]) -> Interval {
    let values: Vec<f64> = right
        .iter()
        .map(|r| 100.0 * f64::from(u8::from(*r)))
        .collect();
    interval(&values)
}

fn interval(values: &[f64]) -> Interval {
    let scored: Vec<Scored> = values
        .iter()
        .enumerate()
        .map(|(i, value)| Scored::new(0, i.to_string(), i.to_string(), *value))
        .collect();
    mean(&scored).unwrap_or_else(|_| Interval::unbounded(f64::NAN))
}

//! The gates that stand-ins must pass before they ship, printed in their model cards (spec: the
//! built-in experiment).
//!
//! Decisive is the *listening test*: the diffusion model's denoising error must rise when any single
//! attribute of its caption is made wrong, because it can only teach the encoder what it listens to.

mod connection;

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::Dice;
use deem_data::text::{TextTokenizer, text_question_prompt};
use deem_data::world::SceneFeed;
use deem_data::world::corpus::{Role, Style};
use deem_data::world::scene::{Attribute, Facts, Form, QuestionMix, Questioner, SceneConfig};
use deem_data::world::source::DiffusionSource;
use deem_metrics::statistics::{Interval, Scored, mean};
use deem_model::clip::text::ClipText;
use deem_model::diffusion::{Condition, Diffusion};
use deem_model::layout::Layout;
use deem_model::scheduler::{NoiseSchedule, TimestepSampler};

use super::clip::{Pairs, class_embeddings, embed, encode_text, pixels};
use super::diffusion::{TextToImage, text_condition};
use super::llm::LanguageTask;
use crate::built_in::BuiltIn;
use crate::standins::StandIns;
use deem_engine::EngineError;
use deem_engine::objective::Draws;

/// Tokens of a caption as the diffusion model reads it.
pub const CAPTION_LENGTH: usize = 48;

/// Scenes per gate.
const SCENES: u64 = 192;
/// Scenes computed together.
const CHUNK: usize = 32;
/// Seed of the gates' scenes; training uses small seeds.
const SEED: u64 = 0x00c0_ffee;

/// What the gates measured.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Zero-shot accuracy in percent on drawings of training styles and of unseen styles.
    pub zero_shot: [Interval; 2],
    /// Number of classes of the zero-shot test.
    pub classes: usize,
    /// Root mean squared error of the autoencoder on pixels in [0, 1], and its signal-to-noise ratio.
    pub autoencoder: (f64, f64),
    /// Denoising error with true captions, and how much it rises when one attribute is made wrong.
    pub listening: (f64, Vec<(Attribute, Interval)>),
    /// The language model's accuracy in percent when the scene is described in words, for each form
    /// of question that the attribute has.
    pub language: Vec<(Attribute, Form, Interval)>,
    /// The connected model's caption loss in nats per word, and its rise with another image; `None` before
    /// the warm start.
    pub connection: Option<(f64, Interval)>,
}

/// Computes all gates.
///
/// # Errors
/// Stand-ins that are missing or do not fit.
pub fn run(standins: &StandIns, device: &Device) -> Result<Gates, EngineError> {
    let preset = standins.preset();
    let data = standins.data()?;
    let side = preset.model.image_size as u32;
    let single = SceneConfig {
        single: 1.0,
        turned: 0.0,
        tinted: 0.0,
        ..SceneConfig::default()
    };
    let zero_shot = |role: Role, training_style: bool| {
        let pool = data
            .world
            .pool(role, |style: Style| style.is_training() == training_style);
        let feed = data.world.feed(pool, single.clone(), "gate", SEED, side)?;
        zero_shot(standins, &data, &feed, device)
    };
    let feed = data.feed("gate", SEED)?;
    Ok(Gates {
        zero_shot: [zero_shot(Role::Train, true)?, zero_shot(Role::Test, false)?],
        classes: data.world.corpus().concepts().len(),
        autoencoder: autoencoder(standins, &data, &feed, device)?,
        listening: listening(standins, &data, &feed, device)?,
        language: language(standins, &data, &feed, device)?,
        connection: if standins.identity_of("connect").is_empty() {
            None
        } else {
            Some(connection::connection(standins, &data, device)?)
        },
    })
}

fn zero_shot(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<Interval, EngineError> {
    let clip = standins.clip(device)?.no_grad();
    let texts = class_embeddings(&clip, data, device)?;
    let mut right = Vec::new();
    for start in (0..SCENES).step_by(CHUNK) {
        let pairs = (start..start + CHUNK as u64)
            .map(|i| feed.pair(i, false))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<_> = pairs.iter().map(|p| p.image.clone()).collect();
        let images = embed(&clip, &pictures, feed.resolution(), device);
        let scores = deem_kernels::linear(images, texts.clone(), None);
        let best: Vec<i64> = scores.argmax(1).into_data().iter::<i64>().collect();
        for (pair, best) in pairs.iter().zip(best) {
            right.push(pair.facts.has(best as usize));
        }
    }
    Ok(percent(&right))
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

/// Mean squared denoising error of each picture (`[pictures]`), same noise and timesteps for all
/// captions of a picture.
fn errors(
    diffusion: &Diffusion,
    text_encoder: &ClipText,
    tokenizer: &TextTokenizer,
    latents: &Tensor<4>,
    captions: &[String],
    seed: u64,
) -> Result<Vec<f64>, EngineError> {
    let device = latents.device();
    let mut draws = Draws::new(SEED, seed);
    let noise = draws.noise(latents.dims(), &device);
    let count = captions.len();
    let timesteps = draws.timesteps(TimestepSampler::Squeezed, count, diffusion.schedule.steps());
    let rows = captions
        .iter()
        .map(|caption| encode_text(tokenizer, caption))
        .collect::<Result<Vec<_>, _>>()?;
    let end = tokenizer.special().pad.into();
    let condition = text_condition(text_encoder, &rows, end, CAPTION_LENGTH, &device);
    let condition = Condition::of_tokens(condition);
    let error = diffusion
        .error(latents.clone(), noise, &timesteps, condition)
        .reshape([count as i32, -1])
        .mean_dim(1);
    Ok(error.into_data().iter::<f64>().collect())
}

fn listening(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<(f64, Vec<(Attribute, Interval)>), EngineError> {
    let preset = standins.preset();
    let model = TextToImage {
        text_encoder: standins.text_encoder(device)?,
        unet: standins.unet(device)?,
    }
    .no_grad();
    let autoencoder = standins.autoencoder(device)?.no_grad();
    let schedule = NoiseSchedule::new(&preset.model.scheduler)
        .map_err(|error| EngineError::Config(error.to_string()))?;
    let diffusion = model.diffusion(&autoencoder, &schedule);
    let captioner = data.world.captioner();
    let side = preset.model.diffusion_size as u32;
    let mut base = Vec::new();
    let mut rises: Vec<(Attribute, Vec<f64>)> = ATTRIBUTES.map(|a| (a, Vec::new())).into();
    for start in (0..SCENES).step_by(CHUNK) {
        let pairs = (start..start + CHUNK as u64)
            .map(|i| feed.pair(i, true))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<_> = pairs.iter().map(|p| p.image.clone()).collect();
        let latents = diffusion.latents(pixels(&pictures, side, device));
        // The same words for the true and the wrong caption.
        let caption = |facts: &Facts, index: usize| {
            captioner.full(facts, &mut Dice::new(SEED, "wording", index as u64))
        };
        let truth: Vec<String> = pairs
            .iter()
            .enumerate()
            .map(|(i, p)| caption(&p.facts, i))
            .collect();
        let error = |captions: &[String]| {
            errors(
                &diffusion,
                &model.text_encoder,
                &data.tokenizer,
                &latents,
                captions,
                start,
            )
        };
        let right = error(&truth)?;
        base.extend(&right);
        for (attribute, rise) in &mut rises {
            let told: Vec<Facts> = pairs
                .iter()
                .map(|pair| match attribute {
                    Attribute::Structure => pair.facts.unplaced(),
                    _ => pair.facts.clone(),
                })
                .collect();
            let (truth, right) = if *attribute == Attribute::Structure {
                let truth: Vec<String> = told
                    .iter()
                    .enumerate()
                    .map(|(i, facts)| caption(facts, i))
                    .collect();
                let right = error(&truth)?;
                (truth, right)
            } else {
                (truth.clone(), right.clone())
            };
            let wrong: Vec<Option<String>> = told
                .iter()
                .enumerate()
                .map(|(i, facts)| {
                    let mut dice = Dice::new(SEED, "wrong", start + i as u64);
                    let facts = facts.made_wrong(*attribute, feed.sampler().pool(), &mut dice)?;
                    let text = caption(&facts, i);
                    (text != truth[i]).then_some(text)
                })
                .collect();
            let captions: Vec<String> = wrong
                .iter()
                .zip(&truth)
                .map(|(wrong, truth)| wrong.clone().unwrap_or_else(|| truth.clone()))
                .collect();
            let error = error(&captions)?;
            for (i, wrong) in wrong.iter().enumerate() {
                if wrong.is_some() {
                    rise.push(error[i] - right[i]);
                }
            }
        }
    }
    let base = base.iter().sum::<f64>() / base.len() as f64;
    let rises = rises
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(attribute, values)| (attribute, interval(&values)))
        .collect();
    Ok((base, rises))
}

/// Attributes of the listening test.
const ATTRIBUTES: [Attribute; 7] = [
    Attribute::Presence,
    Attribute::Quantity,
    Attribute::Position,
    Attribute::Orientation,
    Attribute::Colour,
    Attribute::Background,
    Attribute::Structure,
];

fn language(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<Vec<(Attribute, Form, Interval)>, EngineError> {
    let model = standins.llm(device)?.no_grad();
    let captioner = data.world.captioner();
    let questioner = Questioner::new(captioner.clone(), QuestionMix::default());
    let tokens = standins.preset().model.tokens;
    let mut results = Vec::new();
    let forms = |attribute| match attribute {
        Attribute::Presence | Attribute::MainObject => &[Form::YesNo][..],
        _ => &[Form::Open, Form::YesNo, Form::TwoOption],
    };
    let asked = Attribute::ALL
        .into_iter()
        .flat_map(|attribute| forms(attribute).iter().map(move |form| (attribute, *form)));
    for (attribute, form) in asked {
        let mut right = Vec::new();
        for index in 0..SCENES / 2 {
            let facts = feed.pair(index, true)?.facts;
            let mut dice = Dice::new(SEED, "language", index);
            let pool = feed.sampler().pool();
            let question = questioner.ask_about(attribute, form, &facts, pool, &mut dice);
            let Some(question) = question else {
                continue;
            };
            let description = captioner.full(&facts, &mut dice);
            let prompt = text_question_prompt(&description, &question.prompt());
            let prompt = data.tokenizer.encode(&prompt)?;
            let answer = data.tokenizer.encode(&question.answer)?;
            let mut ids = vec![tokens.bos];
            ids.extend(prompt.iter().chain(&answer).map(|t| i64::from(*t)));
            // Right if every token of the answer is the most probable one.
            let layout = Layout::new(&ids, 1, tokens, 1);
            let hidden = LanguageTask::hidden(&model, &layout, device);
            let [_, seq, width] = hidden.dims();
            let logits = model.lm_head(hidden.reshape([seq, width]));
            let best: Vec<i64> = logits.argmax(1).into_data().iter::<i64>().collect();
            let from = seq - answer.len();
            right.push((from..seq).all(|i| best[i - 1] == ids[i]));
        }
        if !right.is_empty() {
            results.push((attribute, form, percent(&right)));
        }
    }
    Ok(results)
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

impl Gates {
    /// Rises of the listening test whose interval does not exclude zero.
    pub fn deaf_to(&self) -> Vec<Attribute> {
        let rises = self.listening.1.iter();
        rises
            .filter(|(_, rise)| rise.low <= 0.0)
            .map(|(a, _)| *a)
            .collect()
    }
}

impl std::fmt::Display for Gates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [seen, unseen] = &self.zero_shot;
        writeln!(f, "## Gates\n")?;
        writeln!(
            f,
            "Zero-shot accuracy of the encoder, {} classes: training styles {:.1} % [{:.1}, {:.1}], unseen styles {:.1} % [{:.1}, {:.1}].\n",
            self.classes, seen.mean, seen.low, seen.high, unseen.mean, unseen.low, unseen.high
        )?;
        let (rmse, psnr) = self.autoencoder;
        writeln!(
            f,
            "Autoencoder: root mean squared error {rmse:.4} of 1, {psnr:.1} dB.\n"
        )?;
        let (base, rises) = &self.listening;
        writeln!(
            f,
            "Listening test: denoising error {base:.4} with true captions; rise when one attribute is made wrong (95 % interval):\n"
        )?;
        writeln!(f, "| attribute | rise | low | high |\n|---|---|---|---|")?;
        for (attribute, rise) in rises {
            writeln!(
                f,
                "| {} | {:.5} | {:.5} | {:.5} |",
                attribute.name(),
                rise.mean,
                rise.low,
                rise.high
            )?;
        }
        if let Some((own, rise)) = &self.connection {
            writeln!(
                f,
                "\nConnection: caption loss {own:.3} nats per word with its own image; {:+.3} [{:+.3}, {:+.3}] with another.",
                rise.mean, rise.low, rise.high
            )?;
        }
        writeln!(f, "\nLanguage model, scene described in words:\n")?;
        writeln!(
            f,
            "| attribute | form | accuracy % | low | high |\n|---|---|---|---|---|"
        )?;
        for (attribute, form, accuracy) in &self.language {
            let form = match form {
                Form::Open => "open",
                Form::YesNo => "yes or no",
                Form::TwoOption => "two options",
            };
            writeln!(
                f,
                "| {} | {form} | {:.1} | {:.1} | {:.1} |",
                attribute.name(),
                accuracy.mean,
                accuracy.low,
                accuracy.high
            )?;
        }
        Ok(())
    }
}

/// Writes the gates into the stand-ins' card.
///
/// # Errors
/// `Io` naming the file.
pub fn write_cards(standins: &StandIns, gates: &Gates) -> Result<(), EngineError> {
    let path = standins.root().join("README.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let head = old.split("## Gates").next().unwrap_or_default().trim_end();
    let mut text = String::new();
    let _ = write!(text, "{head}\n\n{gates}");
    fs::write(&path, text.trim_start()).map_err(EngineError::io(&path))
}

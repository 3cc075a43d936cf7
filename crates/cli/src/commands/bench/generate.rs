//! `deem bench generate`: drawing a picture of a text.

use anyhow::Result;
use deem_engine::generate::{ImageOptions, SamplerKind, generate_image};
use deem_engine::objective::Draws;
use serde_json::{Value, json};

use super::dump::{Dump, tensor};
use super::{SEED, current_memory, peak_memory, random_model, repeat};
use crate::args::{Bench, BenchGenerate};
use crate::commands::setup::Setup;

/// Context, guided denoising and decoding of one image.
pub fn run(setup: &Setup, args: &Bench, part: &BenchGenerate) -> Result<Value> {
    let before = current_memory();
    let model = random_model(setup)?;
    let tokens = model.drawing_prompt("a photo of a cat")?;
    let options = ImageOptions {
        steps: part.steps,
        guidance: 3.5,
        sampler: SamplerKind::DpmSolver,
        seed: SEED,
    };
    let draw = || generate_image(model.network(), &tokens, None, &options, &mut |_, _| true);
    if let Some(folder) = &part.dump {
        let dump = Dump::create(folder)?;
        dump.weights(&model.network().readable())?;
        let shape = model.network().latent_shape(1);
        let noise = Draws::new(options.seed, 0).noise(shape, model.device());
        dump.tensors("inputs", &[tensor("noise", noise)])?;
        dump.tensors("outputs", &[tensor("pixels", draw()?)])?;
        dump.json(
            "generate",
            &json!({
                "preset": model.name(),
                "model": model.spec().model,
                "tokens": tokens,
                "steps": options.steps,
                "guidance": options.guidance,
            }),
        )?;
    }
    let [timed, cpu] = repeat(args, || {
        draw()?;
        Ok(())
    })?;
    Ok(json!({
        "bench": "generate",
        "preset": model.name(),
        "seconds_median": timed.median,
        "cpu_seconds_median": cpu.median,
        "denoising_steps_per_second": part.steps as f64 / timed.median,
        "memory_before_bytes": before,
        "peak_memory_bytes": peak_memory(),
    }))
}

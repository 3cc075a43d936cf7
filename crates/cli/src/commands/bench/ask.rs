//! `deem bench ask`: reading a question about a picture, and writing the answer.

use anyhow::{Result, bail};
use deem_data::text::question_prompt;
use deem_data::{Sample, SampleImage};
use deem_engine::generate::{Answer, Sampling, TextOptions, generate_text};
use deem_engine::objective::DeemBatch;
use deem_experiment::built_in::BuiltIn;
use serde_json::{Value, json};

use super::dump::{Dump, tensor};
use super::{SEED, Timed, current_memory, peak_memory, random_model, repeat};
use crate::args::{Bench, BenchAsk};
use crate::commands::setup::Setup;

/// Encoder, prefill and decoding of a given number of tokens; making the views is not included.
pub fn run(setup: &Setup, args: &Bench, part: &BenchAsk) -> Result<Value> {
    let tokens = part.tokens;
    if tokens < 2 {
        bail!("--tokens: expected at least 2, to tell reading from writing");
    }
    let before = current_memory();
    let model = random_model(setup)?;
    let data = BuiltIn::with_tokenizer(model.spec(), model.tokenizer().clone())?;
    let feed = data.feed("bench", SEED)?;
    let sample = Sample {
        id: "bench".into(),
        segments: question_prompt(0, "How many objects are in the image?"),
        images: vec![SampleImage {
            id: "bench".into(),
            image: feed.pair(0, true)?.image,
            mask: None,
        }],
        provenance: Vec::new(),
    };
    let batch = model.runner(1).collator.samples(&[sample])?;
    let answer = |count: usize| -> Vec<Answer> {
        let options = TextOptions {
            max_new_tokens: count,
            min_new_tokens: count,
            beams: 1,
            sampling: Sampling::Greedy,
        };
        let on_device = DeemBatch::new(&batch, model.network(), model.device());
        let encoded = on_device.encode(model.network());
        generate_text(
            model.network(),
            None,
            &on_device.layout,
            encoded.as_ref(),
            &options,
        )
    };
    if let Some(folder) = &part.dump {
        let dump = Dump::create(folder)?;
        dump.weights(&model.network().readable())?;
        let on_device = DeemBatch::new(&batch, model.network(), model.device());
        let pixels = on_device.pixels.map(|pixels| tensor("pixels", pixels));
        dump.tensors("inputs", &pixels.into_iter().collect::<Vec<_>>())?;
        let written = answer(tokens).remove(0);
        dump.json(
            "ask",
            &json!({
                "preset": model.name(),
                "model": model.spec().model,
                "tokens": batch.tokens,
                "answer": written.tokens,
                "first_logits": written.first_logits,
            }),
        )?;
    }
    let time = |count: usize| -> Result<[Timed; 2]> {
        repeat(args, || {
            answer(count);
            Ok(())
        })
    };
    let ([first, first_cpu], [all, all_cpu]) = (time(1)?, time(tokens)?);
    Ok(json!({
        "bench": "ask",
        "preset": model.name(),
        "prompt_tokens": batch.seq,
        "seconds_to_first_token": first.median,
        "seconds_median": all.median,
        "cpu_seconds_to_first_token": first_cpu.median,
        "cpu_seconds_median": all_cpu.median,
        "prefill_tokens_per_second": batch.seq as f64 / first.median,
        "decode_tokens_per_second": (tokens - 1) as f64 / (all.median - first.median),
        "memory_before_bytes": before,
        "peak_memory_bytes": peak_memory(),
    }))
}

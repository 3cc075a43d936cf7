//! `deem bench data`: pictures from their files to the squares that a model sees, and what the loader adds to that.
#![allow(clippy::disallowed_methods)] // pictures to be timed, which no result depends on

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail};
use deem_data::image::{Crop, ImageLimits, ViewConfig, decode_image};
use deem_data::source::{SourceContext, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_data::{BatchConfig, Batches, Collator, Dice, LoaderConfig, PackConfig, Padding};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::{SEED, current_memory, repeat};
use crate::args::{Bench, BenchData};

/// Side of the pictures that are made, and of the diffusion view.
const SIDE: u32 = 512;
/// Side of the encoder view.
const SMALL: u32 = 256;
/// Samples of the simulated shard.
const SHARD: u64 = 1000;
/// Rows of a batch.
const BATCH: usize = 16;

/// Times decoding, decoding with both views, and the loader over the same pictures.
pub fn run(args: &Bench, part: &BenchData) -> Result<Value> {
    if part.count == 0 {
        bail!("--count: expected at least 1");
    }
    let folder = Scratch::new("pictures")?;
    let names = pictures(part, &folder.0)?;
    let read = |name: &String| fs::read(folder.0.join(name)).with_context(|| name.clone());
    let files: Vec<Vec<u8>> = names.iter().map(read).collect::<Result<_>>()?;
    let views = ViewConfig {
        encoder: SMALL,
        diffusion: SIDE,
        crop: Crop::Center,
    };
    let limits = ImageLimits::default();
    let count = files.len() as f64;
    let mut pixels = 0;
    let [decoded, decoded_cpu] = repeat(args, || {
        for file in &files {
            pixels = decode_image(file, "bench", limits)?.len();
        }
        Ok(())
    })?;
    let [cut, cut_cpu] = repeat(args, || {
        for file in &files {
            let picture = decode_image(file, "bench", limits)?;
            let mut dice = Dice::new(SEED, "bench", 0);
            pixels = views
                .views("bench", &picture, None, &mut dice)?
                .encoder
                .len();
        }
        Ok(())
    })?;
    let entry = r#"{"kind": "captions", "file": "captions.jsonl", "images": "."}"#;
    let batches = batches(entry, &folder.0, views)?;
    let steps = names.len().div_ceil(BATCH) as u64;
    let [loaded, loaded_cpu] = repeat(args, || {
        for step in 0..steps {
            pixels = batches.get(step)?.encoder_pixels.len();
        }
        Ok(())
    })?;
    let drawn = (steps * BATCH as u64) as f64;
    let rate = |count: f64, seconds: f64| (count / seconds * 10.0).round() / 10.0;
    let mut report = json!({
        "pictures": files.len(),
        "last_values": pixels,
        "decoded_per_second": rate(count, decoded.median),
        "with_views_per_second": rate(count, cut.median),
        "loaded_per_second": rate(drawn, loaded.median),
        "decoded_per_cpu_second": rate(count, decoded_cpu.median),
        "with_views_per_cpu_second": rate(count, cut_cpu.median),
        "loaded_per_cpu_second": rate(drawn, loaded_cpu.median),
        "loader_overhead_percent":
            ((loaded_cpu.median / drawn) / (cut_cpu.median / count) * 1000.0 - 1000.0).round() / 10.0,
    });
    if part.simulate > 0 {
        report["simulated"] = simulate(part.simulate)?;
    }
    Ok(report)
}

/// A folder that goes when the command ends.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("deem-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts pictures and their captions into a folder; the pictures' names.
fn pictures(part: &BenchData, folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(own) = &part.images {
        let mut found: Vec<_> = fs::read_dir(own)
            .with_context(|| own.display().to_string())?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "jpg" || e == "jpeg"))
            .collect();
        found.sort();
        for path in found.into_iter().take(part.count) {
            let name = format!("{:06}.jpg", names.len());
            fs::copy(&path, folder.join(&name)).with_context(|| path.display().to_string())?;
            names.push(name);
        }
        if names.is_empty() {
            bail!("{}: no .jpg in it", own.display());
        }
    } else {
        for number in 0..part.count {
            let name = format!("{number:06}.jpg");
            fs::write(folder.join(&name), jpeg(number as u32)?)?;
            names.push(name);
        }
    }
    let lines: String = names
        .iter()
        .map(|name| {
            format!(
                "{}\n",
                json!({ "image": name, "caption": "a picture to be measured" })
            )
        })
        .collect();
    fs::write(folder.join("captions.jsonl"), lines)?;
    Ok(names)
}

/// A picture with areas, edges and grain, as photographs have.
fn jpeg(number: u32) -> Result<Vec<u8>> {
    let mut dice = Dice::new(SEED, "jpeg", u64::from(number));
    let waves: [f32; 6] = std::array::from_fn(|_| dice.between(0.01, 0.12));
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let grain = dice.between(-12.0, 12.0);
        let edge = if (x * waves[0]).sin() + (y * waves[1]).cos() > 0.4 {
            60.0
        } else {
            0.0
        };
        Rgb([2, 3, 4].map(|c| {
            let wave = (x * waves[c] + y * waves[5]).sin() * 70.0;
            (100.0 + wave + edge + grain) as u8
        }))
    });
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture)?;
    Ok(bytes.into_inner())
}

fn batches(entry: &str, root: &Path, views: ViewConfig) -> Result<Batches> {
    let spec: SourceSpec = serde_json::from_str(entry)?;
    let context = SourceContext {
        seed: SEED,
        image_size: views.encoder,
        root: root.to_owned(),
        limits: ImageLimits::default(),
    };
    let source = SourceRegistry::standard().open(&[spec], &context)?;
    let config = BatchConfig {
        pack: PackConfig {
            max_tokens: 128,
            image_tokens: 32,
            count_first_image: false,
        },
        views,
        padding: Padding::Right,
        fixed_length: None,
        seed: SEED,
    };
    let loader = LoaderConfig {
        batch: BATCH,
        ..LoaderConfig::default()
    };
    let collator = Collator::new(config, TextTokenizer::builtin()?);
    Ok(Batches::new(source, collator, loader)?)
}

/// Draws samples from a shard of small pictures, epoch after epoch; the memory of the process on the way.
fn simulate(samples: u64) -> Result<Value> {
    let folder = Scratch::new("shard")?;
    let mut picture = Cursor::new(Vec::new());
    RgbImage::from_pixel(8, 8, Rgb([200, 30, 30]))
        .write_to(&mut picture, image::ImageFormat::Png)?;
    let mut shard = tar::Builder::new(fs::File::create(folder.0.join("0.tar"))?);
    for number in 0..SHARD {
        let text = format!("the picture of number {number}");
        for (ending, bytes) in [
            ("png", picture.get_ref().as_slice()),
            ("txt", text.as_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            shard.append_data(&mut header, format!("{number:06}.{ending}"), bytes)?;
        }
    }
    shard.finish()?;
    let views = ViewConfig {
        encoder: 8,
        diffusion: 0,
        crop: Crop::Center,
    };
    let batches = batches(
        r#"{"kind": "webdataset", "shards": "0.tar"}"#,
        &folder.0,
        views,
    )?;
    let steps = samples.div_ceil(BATCH as u64);
    let mut memory = Vec::new();
    for step in 0..steps {
        batches.get(step)?;
        if (step + 1) * 10 / steps != step * 10 / steps {
            memory.push(current_memory());
        }
    }
    Ok(json!({ "samples": steps * BATCH as u64, "resident_bytes_at_each_tenth": memory }))
}

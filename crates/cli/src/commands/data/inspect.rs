//! `deem data inspect`: samples as a model reads them.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use deem_data::source::Source;
use deem_data::{DataError, Sample, Segment};
use image::{GrayImage, RgbImage};
use serde_json::{Value, json};

/// Shows the first samples and writes their pictures and `samples.jsonl`.
pub fn run(source: &dyn Source, output: &Path, count: u64) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut lines = String::new();
    let (mut shown, mut dropped, mut failed) = (0u64, 0u64, 0u64);
    for index in 0..count.min(source.len().unwrap_or(u64::MAX)) {
        let sample = match source.get(index) {
            Ok(sample) => sample,
            Err(error) => {
                eprintln!("sample {index}: {error}");
                match error {
                    DataError::Dropped { .. } => dropped += 1,
                    _ => failed += 1,
                }
                continue;
            }
        };
        let names = pictures(&sample, output, index)?;
        let line = json!({
            "id": sample.id,
            "images": names,
            "text": text(&sample, ("[", "]")),
            "segments": sample.segments.iter().map(segment).collect::<Vec<Value>>(),
        });
        lines.push_str(&format!("{line}\n"));
        let marks = if coloured {
            ("\x1b[32m", "\x1b[0m")
        } else {
            ("[", "]")
        };
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} ({})\n{}\n",
            sample.id,
            names.join(", "),
            text(&sample, marks)
        )?;
        shown += 1;
    }
    if dropped + failed > 0 {
        eprintln!("{shown} samples shown, {dropped} left out by rules, {failed} not readable");
    }
    let path = output.join("samples.jsonl");
    std::fs::write(&path, &lines).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    if shown == 0 && failed > 0 {
        bail!("none of {failed} samples could be read");
    }
    Ok(())
}

/// Writes a sample's pictures and masks; their names.
fn pictures(sample: &Sample, output: &Path, index: u64) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (number, picture) in sample.images.iter().enumerate() {
        let name = format!("{index:04}-{number}.png");
        save(&output.join(&name), |path| {
            RgbImage::save(&picture.image, path)
        })?;
        if let Some(mask) = &picture.mask {
            let path = output.join(format!("{index:04}-{number}-mask.png"));
            save(&path, |path| GrayImage::save(mask, path))?;
        }
        names.push(name);
    }
    Ok(names)
}

fn save(path: &Path, save: impl Fn(&Path) -> image::ImageResult<()>) -> Result<()> {
    save(path).with_context(|| path.display().to_string())
}

/// What the model reads, with special tokens by name and `marks` around what counts in the text loss. An
/// image's placeholders are its number here.
pub fn text(sample: &Sample, marks: (&str, &str)) -> String {
    let counts = |text: &str| format!("{}{text}{}", marks.0, marks.1);
    let mut out = String::new();
    if !matches!(sample.segments.first(), Some(Segment::Bos)) {
        out.push_str("<s>");
    }
    for segment in &sample.segments {
        match segment {
            Segment::Text {
                text,
                counted: true,
            } => out.push_str(&counts(text)),
            Segment::Text { text, .. } => out.push_str(text),
            Segment::Image { index, .. } => out.push_str(&format!("<soi><image {index}>")),
            Segment::Bos => out.push_str("<s>"),
            Segment::Eos { counted: true } => out.push_str(&counts("</s>")),
            Segment::Eos { .. } => out.push_str("</s>"),
        }
    }
    out
}

fn segment(segment: &Segment) -> Value {
    match segment {
        Segment::Text { text, counted } => json!({ "text": text, "counted": counted }),
        Segment::Image { index, counted } => json!({ "image": index, "counted": counted }),
        Segment::Bos => json!("bos"),
        Segment::Eos { counted } => json!({ "eos": true, "counted": counted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_marked() {
        let sample = Sample {
            segments: vec![
                Segment::Text {
                    text: "What? ".into(),
                    counted: false,
                },
                Segment::Image {
                    index: 0,
                    counted: false,
                },
                Segment::Text {
                    text: " A cat.".into(),
                    counted: true,
                },
                Segment::Eos { counted: true },
            ],
            ..Sample::default()
        };
        assert_eq!(
            text(&sample, ("[", "]")),
            "<s>What? <soi><image 0>[ A cat.][</s>]"
        );
    }
}

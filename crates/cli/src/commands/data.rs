//! `deem data`: look at the built-in data, write the benchmarks.

use std::path::Path;

use anyhow::{Context, Result};
use deem_data::Segment;
use deem_data::fetch::{FetchOptions, fetch_emoji, fetch_smollm2};
use deem_data::world::source::Task;
use deem_experiment::built_in::BuiltIn;

use super::setup::Setup;
use crate::args::{DataCommand, FetchChoice, SourceChoice};

/// Runs the command.
pub fn run(setup: &Setup, command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Fetch {
            what,
            output,
            packages,
        } => {
            let output = |default: &str| output.clone().unwrap_or(default.into());
            match what {
                FetchChoice::Emoji => emoji(&output("emoji"), packages.as_deref()),
                FetchChoice::Smollm2 => smollm2(&output("weights/smollm2")),
            }
        }
        DataCommand::Inspect {
            output,
            count,
            source,
        } => {
            let data = setup.open()?.data()?;
            inspect(&data, output, *count, *source)
        }
    }
}

fn emoji(output: &Path, packages: Option<&Path>) -> Result<()> {
    let options = FetchOptions {
        output: output.to_owned(),
        packages: packages.map_or(output.join("packages"), Path::to_owned),
        npm: "npm".into(),
    };
    let report = fetch_emoji(&options, &mut |message| eprintln!("{message}"))?;
    eprintln!("{} concepts in every style", report.concepts);
    for (shard, bytes) in report.shards {
        println!("{} ({:.1} MB)", shard.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

fn smollm2(output: &Path) -> Result<()> {
    for file in fetch_smollm2(output, &mut |message| eprintln!("{message}"))? {
        println!("{}", file.display());
    }
    Ok(())
}

fn inspect(data: &BuiltIn, output: &Path, count: u64, source: SourceChoice) -> Result<()> {
    let task = match source {
        SourceChoice::Alignment => Task::Alignment,
        SourceChoice::Description => Task::Description,
        SourceChoice::Instruction => Task::Instruction,
        SourceChoice::Region => Task::Region,
        SourceChoice::Diffusion => Task::Captions,
    };
    let source = data.world.source(task, 1, data.resolution())?;
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let mut lines = String::new();
    for index in 0..count {
        let sample = source.get(index)?;
        let mut names = Vec::new();
        for (number, picture) in sample.images.iter().enumerate() {
            let name = format!("{index:04}-{number}.png");
            let path = output.join(&name);
            picture
                .image
                .save(&path)
                .with_context(|| path.display().to_string())?;
            if let Some(mask) = &picture.mask {
                let path = output.join(format!("{index:04}-{number}-mask.png"));
                mask.save(&path)
                    .with_context(|| path.display().to_string())?;
            }
            names.push(name);
        }
        let text: Vec<String> = sample
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Text {
                    text,
                    counted: true,
                } => format!("[{text}]"),
                Segment::Text { text, .. } => text.clone(),
                Segment::Image { index, .. } => format!("<image {index}>"),
                Segment::Bos => "<bos>".into(),
                Segment::Eos { .. } => "<eos>".into(),
            })
            .collect();
        let line = serde_json::json!({ "id": sample.id, "images": names, "text": text.concat() });
        lines.push_str(&format!("{line}\n"));
    }
    let path = output.join("samples.jsonl");
    std::fs::write(&path, &lines).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}

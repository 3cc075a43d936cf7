//! MMVP: `Questions.csv` (lndex, so spelt in the published file, or Index; Question, Options, Correct Answer), pictures
//! `MMVP Images/<Index>.jpg` or `.png`; questions 1 and 2 are a pair, 3 and 4, and so on. Visual patterns, where known, stand in
//! `patterns.json`, a list with a name for each pair.

use std::path::Path;

use serde::Deserialize;

use super::files::{layout, names, write_file};
use super::{Item, Picture};
use crate::DataError;

const QUESTIONS: &str = "Questions.csv";
const IMAGES: &str = "MMVP Images";
const PATTERNS: &str = "patterns.json";
/// The one part that the benchmark has.
const PART: &str = "pairs";

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Index", alias = "lndex")]
    index: u64,
    #[serde(rename = "Question")]
    question: String,
    #[serde(rename = "Options")]
    options: String,
    #[serde(rename = "Correct Answer")]
    answer: String,
}

/// Reads an MMVP folder.
///
/// # Errors
/// `Io`; `Malformed` naming file, line and column; `Empty`.
pub fn read_mmvp(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = folder.join(QUESTIONS);
    let name = file.display().to_string();
    let found = names(folder)?;
    if !found.iter().any(|n| n == QUESTIONS) {
        let expected = format!("{QUESTIONS} and the folder {IMAGES:?}");
        return Err(layout(folder, expected, &found));
    }
    let text = std::fs::read_to_string(&file).map_err(|e| DataError::io(&file, e))?;
    // Spreadsheet programs put a byte-order mark before the header.
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let patterns = read_patterns(folder)?;
    let mut items: Vec<Item> = Vec::new();
    for row in reader.deserialize::<Row>() {
        let row = row.map_err(|e| {
            let line = e.position().map_or(1, csv::Position::line);
            let expected = "the columns Index, Question, Options, Correct Answer";
            DataError::malformed(&name, format!("line {line}"), expected, e.to_string())
        })?;
        let place = format!("question {}", row.index);
        if row.index != items.len() as u64 + 1 {
            return Err(DataError::malformed(
                &name,
                place,
                format!("index {}", items.len() + 1),
                row.index.to_string(),
            ));
        }
        let options = parse_options(&row.options).ok_or_else(|| {
            DataError::malformed(
                &name,
                format!("{place}, Options"),
                "(a) … (b) …",
                &row.options,
            )
        })?;
        let answer = row.answer.trim().to_lowercase();
        if answer != "(a)" && answer != "(b)" {
            return Err(DataError::malformed(
                &name,
                format!("{place}, Correct Answer"),
                "(a) or (b)",
                &row.answer,
            ));
        }
        let pair = (row.index - 1) / 2;
        items.push(Item {
            question: row.question,
            options: options.to_vec(),
            answers: vec![answer],
            cluster: format!("pair {}", pair + 1),
            pattern: patterns.get(pair as usize).cloned(),
            ..Item::new(
                format!("mmvp/{}", row.index),
                PART,
                Picture::File(picture_file(folder, row.index)),
            )
        });
    }
    if items.is_empty() || items.len() % 2 == 1 {
        return Err(DataError::malformed(
            &name,
            "end",
            "an even number of questions",
            items.len().to_string(),
        ));
    }
    if !patterns.is_empty() && patterns.len() != items.len() / 2 {
        let file = folder.join(PATTERNS).display().to_string();
        let expected = format!("a pattern for each of {} pairs", items.len() / 2);
        return Err(DataError::malformed(
            file,
            "list",
            expected,
            patterns.len().to_string(),
        ));
    }
    Ok(items)
}

fn picture_file(folder: &Path, index: u64) -> std::path::PathBuf {
    let jpg = folder.join(IMAGES).join(format!("{index}.jpg"));
    if jpg.exists() {
        jpg
    } else {
        jpg.with_extension("png")
    }
}

fn read_patterns(folder: &Path) -> Result<Vec<String>, DataError> {
    let file = folder.join(PATTERNS);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&file).map_err(|e| DataError::io(&file, e))?;
    serde_json::from_str(&text).map_err(|e| {
        DataError::malformed(
            file.display().to_string(),
            format!("line {}", e.line()),
            "a list of names",
            e.to_string(),
        )
    })
}

/// `(a) Open (b) Closed` to its two options.
fn parse_options(text: &str) -> Option<[String; 2]> {
    let rest = text.trim().strip_prefix("(a)")?;
    let (first, second) = rest.split_once("(b)")?;
    let options = [first.trim().to_owned(), second.trim().to_owned()];
    options.iter().all(|o| !o.is_empty()).then_some(options)
}

/// Writes MMVP items, pair by pair, in the layout that [`read_mmvp`] reads.
///
/// # Errors
/// `Io`; `Malformed` if an item has no options.
pub fn write_mmvp(items: &[Item], folder: &Path) -> Result<(), DataError> {
    let file = folder.join(QUESTIONS);
    let name = file.display().to_string();
    let failed = |e: csv::Error| DataError::io(&file, std::io::Error::other(e));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["Index", "Question", "Options", "Correct Answer"])
        .map_err(failed)?;
    let mut patterns: Vec<&str> = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let [first, second] = item.options.as_slice() else {
            return Err(DataError::malformed(
                &name,
                &item.id,
                "two options",
                item.options.len().to_string(),
            ));
        };
        let index = (number + 1).to_string();
        let options = format!("(a) {first} (b) {second}");
        let answer = item.answers.first().map_or("", String::as_str);
        writer
            .write_record([index.as_str(), &item.question, &options, answer])
            .map_err(failed)?;
        let image = item.picture.load(crate::image::ImageLimits::default())?;
        Picture::Memory {
            id: format!("{index}.png"),
            image,
        }
        .write(&folder.join(IMAGES))?;
        if number % 2 == 0 {
            patterns.extend(item.pattern.as_deref());
        }
    }
    let bytes = writer
        .into_inner()
        .map_err(|e| DataError::io(&file, std::io::Error::other(e.to_string())))?;
    write_file(&file, &bytes)?;
    if !patterns.is_empty() {
        let json =
            serde_json::to_vec_pretty(&patterns).map_err(|e| DataError::io(&file, e.into()))?;
        write_file(&folder.join(PATTERNS), &json)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, patterns: Option<&str>) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(QUESTIONS), text).unwrap();
        if let Some(patterns) = patterns {
            std::fs::write(folder.path().join(PATTERNS), patterns).unwrap();
        }
        read_mmvp(folder.path())
    }

    const TWO: &str = "lndex,Question,Options,Correct Answer\n\
        1,Are the butterfly's wings closer to being open or closed?,(a) Open (b) Closed,(a)\n\
        2,\"Are the wings open, or closed?\",(a) Open (b) Closed,(b)\n";

    #[test]
    fn the_published_layout_is_read() {
        let items = read(&format!("\u{feff}{TWO}"), Some("[\"state\"]")).unwrap();
        assert_eq!(items[1].question, "Are the wings open, or closed?");
        assert_eq!(items[1].options, ["Open", "Closed"]);
        assert_eq!(items[1].answers, ["(b)"]);
        assert_eq!(
            (items[0].cluster.as_str(), items[1].cluster.as_str()),
            ("pair 1", "pair 1")
        );
        assert_eq!(items[0].pattern.as_deref(), Some("state"));
        let mended = read(&TWO.replace("lndex", "Index"), None).unwrap();
        assert_eq!(mended.len(), 2);
    }

    #[test]
    fn broken_rows_are_named() {
        let error = |text: &str| read(text, None).unwrap_err().to_string();
        let found = error(&TWO.replace("(b) Closed,(b)", "Closed,(b)"));
        assert!(found.contains("question 2, Options"), "{found}");
        let found = error(&TWO.replace(",(b)\n", ",(c)\n"));
        assert!(
            found.contains("question 2, Correct Answer") && found.contains("(c)"),
            "{found}"
        );
        let found = error(&TWO.replace("Options", "Choices"));
        assert!(
            found.contains("Questions.csv") && found.contains("Options"),
            "{found}"
        );
        assert!(error(&TWO.replace("\n2,", "\n3,")).contains("index 2"));
        assert!(error(&TWO[..TWO.rfind("2,").unwrap()]).contains("even number"));
        assert!(
            read(TWO, Some("[\"a\", \"b\"]"))
                .unwrap_err()
                .to_string()
                .contains("patterns.json")
        );
        assert!(read(TWO, Some("{}")).is_err());
    }
}

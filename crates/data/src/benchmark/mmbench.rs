//! MMBench: `MMBench_DEV_EN.tsv` (or another `MMBench*.tsv`) with the columns `index`, `question`, `hint`, `A` to `D`,
//! `answer`, `category`, `l2-category`, and the picture itself in base64.
//!
//! Every question is asked once for each of its options, which move on by one place each time (CircularEval): items of a
//! question are neighbours and share their cluster.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::files::{Loaded, one_file};
use super::{Item, Picture};
use crate::DataError;

const OPTIONS: [&str; 4] = ["A", "B", "C", "D"];
/// Distance between the indexes of a question's copies, in files that hold them.
const COPY: u64 = 1_000_000;

/// Reads a folder with one file of MMBench that has answers.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file, line and column; `Empty`.
pub fn read_mmbench(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = one_file(folder, "MMBench_DEV_EN.tsv", |name| {
        name.to_lowercase().starts_with("mmbench") && name.to_lowercase().ends_with(".tsv")
    })?;
    read_file(&file)
}

fn read_file(file: &PathBuf) -> Result<Vec<Item>, DataError> {
    let name = file.display().to_string();
    let failed = |e: csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        DataError::malformed(
            &name,
            format!("line {line}"),
            "columns between tabs",
            e.to_string(),
        )
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .from_path(file)
        .map_err(failed)?;
    let header = reader.headers().map_err(failed)?.clone();
    let columns: HashMap<&str, usize> = header.iter().enumerate().map(|(at, n)| (n, at)).collect();
    for needed in ["index", "question", "A", "B", "answer", "image"] {
        if !columns.contains_key(needed) {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            return Err(DataError::malformed(
                &name,
                "line 1",
                format!("a column {needed}"),
                found,
            ));
        }
    }
    let mut pictures: HashMap<u64, Picture> = HashMap::new();
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for row in reader.records() {
        let row = row.map_err(failed)?;
        let line = row.position().map_or(0, csv::Position::line);
        let field = |column: &str| {
            columns
                .get(column)
                .and_then(|at| row.get(*at))
                .unwrap_or("")
                .trim()
        };
        let broken = |column: &str, expected: &str| {
            let found: String = field(column).chars().take(40).collect();
            DataError::malformed(&name, format!("line {line}, {column}"), expected, found)
        };
        let index: u64 = field("index")
            .parse()
            .map_err(|_| broken("index", "a number"))?;
        if !seen.insert(index) {
            return Err(broken("index", "each number once"));
        }
        if index >= COPY {
            continue; // the copies with turned options, which are made here
        }
        let picture = picture(index, field("image"), &pictures)
            .ok_or_else(|| broken("image", "base64, or the index of an earlier line"))?;
        pictures.insert(index, picture.clone());
        let options: Vec<&str> = OPTIONS
            .into_iter()
            .map(field)
            .take_while(|text| !text.is_empty() && !text.eq_ignore_ascii_case("nan"))
            .collect();
        if options.len() < 2 {
            return Err(broken("B", "two options or more"));
        }
        let right = OPTIONS[..options.len()]
            .iter()
            .position(|letter| *letter == field("answer"));
        let right = right.ok_or_else(|| broken("answer", "the letter of an option"))?;
        let hint = field("hint");
        let question = if hint.is_empty() || hint.eq_ignore_ascii_case("nan") {
            field("question").to_owned()
        } else {
            format!("{hint} {}", field("question"))
        };
        let category = Some(field("category").to_owned()).filter(|name| !name.is_empty());
        for turn in 0..options.len() {
            let turned =
                (0..options.len()).map(|at| options[(at + turn) % options.len()].to_owned());
            let letter = (right + options.len() - turn) % options.len();
            items.push(Item {
                question: question.clone(),
                options: turned.collect(),
                answers: vec![format!("({})", char::from(b'a' + letter as u8))],
                cluster: index.to_string(),
                pattern: category.clone(),
                ..Item::new(format!("{index}/{turn}"), "circular", picture.clone())
            });
        }
    }
    Loaded { name, content: () }.some(items)
}

/// A picture from its column: base64, or the index of the line that has it.
fn picture(index: u64, text: &str, known: &HashMap<u64, Picture>) -> Option<Picture> {
    if let Ok(other) = text.parse::<u64>() {
        return known.get(&other).cloned();
    }
    let bytes = STANDARD
        .decode(text)
        .ok()
        .filter(|bytes| !bytes.is_empty())?;
    Some(Picture::Encoded {
        id: index.to_string(),
        bytes: Arc::from(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\tsource\tl2-category\tcomment\tsplit";

    fn read(rows: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{HEADER}\n{rows}");
        std::fs::write(folder.path().join("MMBench_DEV_EN.tsv"), text).unwrap();
        read_mmbench(folder.path())
    }

    const ROWS: &str = "241\tWhich is right?\tLook \"here\".\tred\tblue\tgreen\t\tC\tcolour\taGVsbG8=\tx\ty\tz\tdev\n\
        252\t\"What\tis it?\"\tnan\tcat\tdog\t\t\tA\tanimal\t241\tx\ty\tz\tdev\n\
        1000252\tcopy\t\tdog\tcat\t\t\tB\tanimal\t241\tx\ty\tz\tdev\n";

    #[test]
    fn every_order_of_the_options_is_asked() {
        let items = read(ROWS).unwrap();
        assert_eq!(items.len(), 3 + 2);
        assert_eq!(items[0].question, "Look \"here\". Which is right?");
        assert_eq!(items[0].options, ["red", "blue", "green"]);
        assert_eq!(
            (items[0].answers[0].as_str(), items[2].answers[0].as_str()),
            ("(c)", "(a)")
        );
        assert_eq!(items[2].options, ["green", "red", "blue"]);
        assert_eq!(
            (items[1].cluster.as_str(), items[1].id.as_str()),
            ("241", "241/1")
        );
        assert_eq!(items[3].question, "What\tis it?");
        assert!(
            matches!(&items[3].picture, Picture::Encoded { bytes, .. } if &bytes[..] == b"hello")
        );
        assert_eq!(items[4].pattern.as_deref(), Some("animal"));
    }

    #[test]
    fn broken_rows_are_named() {
        let error = |rows: &str| read(rows).unwrap_err().to_string();
        assert!(error(&ROWS.replace("\tC\tcolour", "\tD\tcolour")).contains("line 2, answer"));
        assert!(error(&ROWS.replace("aGVsbG8=", "%%%")).contains("line 2, image"));
        assert!(error(&ROWS.replace("\t241\tx", "\t77\tx")).contains("line 3, image"));
        assert!(error(&ROWS.replace("252\t\"", "241\t\"")).contains("line 3, index"));
        assert!(error(&ROWS.replace("\tblue", "\t")).contains("line 2, B"));
        assert!(error("1\t2\n").contains("line 2"));
        assert!(matches!(read(""), Err(DataError::Empty { .. })));
    }
}

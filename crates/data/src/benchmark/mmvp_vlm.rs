//! MMVP-VLM: pairs of pictures with a statement each, for an encoder alone. `Questions.csv` has a number, the visual
//! pattern and the statement a line; lines 1 and 2 are a pair. Pictures are `MLLM_VLM Images/<pattern>/<number>.jpg`.

use std::path::Path;

use super::files::{Loaded, layout, names};
use super::{Item, PictureFolder};
use crate::DataError;

const QUESTIONS: &str = "Questions.csv";

/// Reads an MMVP-VLM folder. Each statement is an item whose picture, its own, is one of two to choose from.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and line; `Empty`.
pub fn read_mmvp_vlm(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = folder.join(QUESTIONS);
    let name = file.display().to_string();
    let found = names(folder)?;
    if !found.iter().any(|name| name == QUESTIONS) {
        let expected = format!("{QUESTIONS} and the folder \"MLLM_VLM Images\"");
        return Err(layout(folder, expected, &found));
    }
    let text = std::fs::read_to_string(&file).map_err(|e| DataError::io(&file, e))?;
    let pictures = PictureFolder::open(folder)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut rows: Vec<(u64, String, String, super::Picture)> = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| {
            let line = e.position().map_or(1, csv::Position::line);
            DataError::malformed(
                &name,
                format!("line {line}"),
                "a number, a pattern, a statement",
                e.to_string(),
            )
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        let [number, pattern, statement] = [0, 1, 2].map(|at| row.get(at).unwrap_or("").to_owned());
        let Ok(number) = number.parse::<u64>() else {
            return Err(DataError::malformed(&name, place, "a number first", number));
        };
        if pattern.is_empty() || statement.is_empty() {
            return Err(DataError::malformed(
                &name,
                place,
                "a pattern and a statement",
                "nothing",
            ));
        }
        let picture = pictures.of_record(&format!("{pattern}/{number}.jpg"), &name, &place)?;
        rows.push((number, pattern, statement, picture));
    }
    let mut items = Vec::new();
    for (pair, both) in rows.chunks(2).enumerate() {
        let [first, second] = both else {
            let found = rows.len().to_string();
            return Err(DataError::malformed(
                &name,
                "end",
                "an even number of statements",
                found,
            ));
        };
        if first.1 != second.1 {
            let place = format!("statements {} and {}", first.0, second.0);
            let found = format!("{} and {}", first.1, second.1);
            return Err(DataError::malformed(
                &name,
                place,
                "one pattern for a pair",
                found,
            ));
        }
        for (at, (number, pattern, statement, picture)) in both.iter().enumerate() {
            items.push(Item {
                question: statement.clone(),
                options: vec![first.3.id(), second.3.id()],
                answers: vec![["(a)", "(b)"][at].to_owned()],
                cluster: format!("pair {}", pair + 1),
                pattern: Some(pattern.clone()),
                alternatives: vec![first.3.clone(), second.3.clone()],
                ..Item::new(format!("{}/{number}", pair + 1), "pairs", picture.clone())
            });
        }
    }
    Loaded { name, content: () }.some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(QUESTIONS), text).unwrap();
        read_mmvp_vlm(folder.path())
    }

    const TWO: &str = "Question ID,Type,Statement\n1,Quantity and Count,two dogs\n2,Quantity and Count,\"one dog, alone\"\n";

    #[test]
    fn pairs_share_their_pictures() {
        let items = read(TWO).unwrap();
        assert_eq!(items[1].question, "one dog, alone");
        assert_eq!(
            (items[0].answers[0].as_str(), items[1].answers[0].as_str()),
            ("(a)", "(b)")
        );
        assert_eq!(items[0].alternatives.len(), 2);
        assert_eq!(items[1].picture.id(), "2.jpg");
        assert_eq!(items[0].cluster, items[1].cluster);
        assert_eq!(items[0].pattern.as_deref(), Some("Quantity and Count"));
    }

    #[test]
    fn broken_rows_are_named() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error(&TWO.replace("\n2,Quantity", "\n2,Other")).contains("one pattern"));
        assert!(error(&TWO[..TWO.find("2,").unwrap()]).contains("even number"));
        assert!(error(&TWO.replace("\n1,", "\nx,")).contains("line 2"));
        assert!(error(&TWO.replace(",two dogs", ",")).contains("line 2"));
        assert!(matches!(
            read("Question ID,Type,Statement\n"),
            Err(DataError::Empty { .. })
        ));
    }
}

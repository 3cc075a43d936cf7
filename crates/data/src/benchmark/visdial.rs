//! VisDial 1.0: dialogues about pictures, whose next answer is one of a hundred candidates.
//!
//! `visdial_1.0_val.json` holds the dialogues (texts as numbers into two lists), and
//! `visdial_1.0_val_dense_annotations.json` how relevant people found the candidates of one round of each. Only those
//! rounds are asked. Pictures are `VisualDialog_val2018_000000000042.jpg` anywhere below the folder.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct File {
    data: Data,
    #[serde(default)]
    split: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    dialogs: Vec<Dialogue>,
    questions: Vec<String>,
    answers: Vec<String>,
}

#[derive(Deserialize)]
struct Dialogue {
    image_id: u64,
    caption: String,
    dialog: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    question: usize,
    #[serde(default)]
    answer: Option<usize>,
    #[serde(default)]
    answer_options: Vec<usize>,
}

#[derive(Deserialize)]
struct Dense {
    image_id: u64,
    /// From 1.
    round_id: usize,
    #[serde(alias = "relevance")]
    gt_relevance: Vec<f64>,
}

/// Reads a VisDial folder. An item's question is the dialogue so far: the caption, the rounds before, the question.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file, dialogue and round; `Empty`.
pub fn read_visdial(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "visdial_1.0_val.json and visdial_1.0_val_dense_annotations.json";
    let dense = |name: &str| name.starts_with("visdial_") && name.contains("_dense_");
    let plain = |name: &str| {
        name.starts_with("visdial_") && name.ends_with(".json") && !name.contains("_dense_")
    };
    let loaded: Loaded<File> = read_json(
        &one_file(folder, expected, plain)?,
        "data with dialogs, questions and answers",
    )?;
    let relevance: Loaded<Vec<Dense>> = read_json(
        &one_file(folder, expected, dense)?,
        "a list of image_id, round_id and gt_relevance",
    )?;
    let pictures = PictureFolder::open(folder)?;
    let split = loaded.content.split.as_deref().unwrap_or("val2018");
    let dialogues = loaded.content.data.dialogs.iter();
    let by_image: HashMap<u64, &Dialogue> = dialogues.map(|d| (d.image_id, d)).collect();
    let mut items = Vec::new();
    for entry in &relevance.content {
        let place = format!("image_id {}, round {}", entry.image_id, entry.round_id);
        let Some(dialogue) = by_image.get(&entry.image_id) else {
            return Err(relevance.broken(place, format!("a dialogue of {}", loaded.name), "none"));
        };
        let (question, options) = asked(&loaded, dialogue, entry.round_id)
            .map_err(|(expected, found)| loaded.broken(&place, expected, found))?;
        if options.len() != entry.gt_relevance.len() {
            let expected = format!("a relevance for each of {} candidates", options.len());
            return Err(relevance.broken(place, expected, entry.gt_relevance.len()));
        }
        if let Some(bad) = entry
            .gt_relevance
            .iter()
            .find(|r| !(0.0..=1.0).contains(*r))
        {
            return Err(relevance.broken(place, "relevances in [0, 1]", bad));
        }
        let name = format!("VisualDialog_{split}_{:012}.jpg", entry.image_id);
        let picture = pictures.of_record(&name, &loaded.name, &place)?;
        let best = most_relevant(&options, &entry.gt_relevance);
        if best.is_empty() {
            return Err(relevance.broken(place, "a relevant candidate", "none"));
        }
        items.push(Item {
            question,
            answers: best,
            options,
            relevance: entry.gt_relevance.clone(),
            ..Item::new(
                format!("{}/{}", entry.image_id, entry.round_id),
                split,
                picture,
            )
        });
    }
    relevance.some(items)
}

/// The most relevant candidates; none if no candidate is relevant at all.
fn most_relevant(options: &[String], relevance: &[f64]) -> Vec<String> {
    let most = relevance.iter().copied().fold(0.0, f64::max);
    let best = options
        .iter()
        .zip(relevance)
        .filter(|(_, r)| most > 0.0 && **r == most);
    best.map(|(option, _)| option.clone()).collect()
}

/// What is expected, and what was found.
type Broken = (&'static str, String);

/// The dialogue up to a round's question, and that round's candidates.
fn asked(
    loaded: &Loaded<File>,
    dialogue: &Dialogue,
    round: usize,
) -> Result<(String, Vec<String>), Broken> {
    let Data {
        questions, answers, ..
    } = &loaded.content.data;
    let text = |list: &[String], at: usize| {
        let found = list.get(at).cloned();
        found.ok_or_else(|| {
            (
                "a number of the lists of questions and answers",
                at.to_string(),
            )
        })
    };
    let rounds = dialogue.dialog.len();
    if round == 0 || round > rounds {
        return Err(("a round of the dialogue", format!("{round} of {rounds}")));
    }
    let mut words = format!("{}.", dialogue.caption.trim().trim_end_matches('.'));
    for earlier in &dialogue.dialog[..round - 1] {
        let answer = earlier
            .answer
            .ok_or(("an answer to every earlier round", "none".to_owned()))?;
        let question = text(questions, earlier.question)?;
        words.push_str(&format!(
            " {}? {}.",
            question.trim_end_matches('?'),
            text(answers, answer)?
        ));
    }
    let current = &dialogue.dialog[round - 1];
    let question = text(questions, current.question)?;
    words.push_str(&format!(" {}?", question.trim_end_matches('?')));
    let options = current.answer_options.iter().map(|at| text(answers, *at));
    let options = options.collect::<Result<Vec<_>, _>>()?;
    if options.len() < 2 {
        return Err(("answer_options", format!("{} of them", options.len())));
    }
    Ok((words, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALOGUES: &str = r#"{"version": "1.0", "split": "val2018", "data": {
        "questions": ["is it sunny", "how many dogs"], "answers": ["yes", "no", "2", "three"],
        "dialogs": [{"image_id": 185565, "caption": "dogs run on the beach", "dialog": [
            {"question": 0, "answer": 0, "answer_options": [0, 1], "gt_index": 0},
            {"question": 1, "answer": 2, "answer_options": [2, 3, 0], "gt_index": 0}]}]}}"#;
    const DENSE: &str = r#"[{"image_id": 185565, "round_id": 2, "gt_relevance": [1.0, 0.2, 0.0]}]"#;

    fn read(dialogues: &str, dense: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("visdial_1.0_val.json"), dialogues).unwrap();
        let name = "visdial_1.0_val_dense_annotations.json";
        std::fs::write(folder.path().join(name), dense).unwrap();
        read_visdial(folder.path())
    }

    #[test]
    fn the_published_layout_is_read() {
        let items = read(DIALOGUES, DENSE).unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(
            items[0].question,
            "dogs run on the beach. is it sunny? yes. how many dogs?"
        );
        assert_eq!(items[0].options, ["2", "three", "yes"]);
        assert_eq!(items[0].relevance, [1.0, 0.2, 0.0]);
        assert_eq!(items[0].answers, ["2"]);
        assert_eq!(
            items[0].picture.id(),
            "VisualDialog_val2018_000000185565.jpg"
        );
    }

    #[test]
    fn broken_files_are_named() {
        let error = |dialogues: &str, dense: &str| read(dialogues, dense).unwrap_err().to_string();
        let found = error(DIALOGUES, &DENSE.replace("0.2, ", ""));
        assert!(
            found.contains("round 2") && found.contains("3 candidates"),
            "{found}"
        );
        assert!(
            error(
                DIALOGUES,
                &DENSE.replace("\"round_id\": 2", "\"round_id\": 9")
            )
            .contains("9 of 2")
        );
        assert!(error(DIALOGUES, &DENSE.replace("185565", "1")).contains("a dialogue of"));
        assert!(error(&DIALOGUES.replace("[2, 3, 0]", "[2, 3, 99]"), DENSE).contains("99"));
        assert!(
            error(DIALOGUES, &DENSE.replace("1.0, 0.2", "0.0, 0.0")).contains("relevant candidate")
        );
        assert!(error(DIALOGUES, &DENSE.replace("1.0", "-1.0")).contains("[0, 1]"));
    }
}

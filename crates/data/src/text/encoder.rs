//! The tokenizer of an encoder of pictures and texts, from the files beside a published checkpoint.
//!
//! CLIP's puts a text between a start and an end. SigLIP's ends it and fills it up to a fixed length, which its text tower
//! reads; its texts are in lower case, and those of the first SigLIP without punctuation.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

use super::sentencepiece;
use crate::DataError;

/// Start and end of a text of CLIP, by their names in the file.
const MARKS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];
/// Ends of a text of SigLIP and SigLIP 2, and what fills up their texts if no file says it.
const ENDS: [[&str; 2]; 2] = [["<eos>", "<pad>"], ["</s>", "</s>"]];

/// Words to ids, as a text tower wants them.
#[derive(Clone, Debug)]
pub struct EncoderTokenizer {
    tokenizer: Tokenizer,
    form: Form,
    longest: usize,
}

/// What stands around the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Marked { start: u32, end: u32 },
    Padded { end: u32, fill: u32, clean: Clean },
}

/// What a text loses before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clean {
    Nothing,
    Case,
    CaseAndPunctuation,
    /// The same, after underscores have become spaces.
    Canonical,
}

/// What matters of a `tokenizer_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Description {
    tokenizer_class: Option<String>,
    pad_token: Option<Value>,
}

impl EncoderTokenizer {
    /// Reads the tokenizer of a folder: `tokenizer.json`, else sentencepiece's `spiece.model`; `tokenizer_config.json`, if it
    /// is there, says what fills up texts. `longest` is the most ids that the text tower reads; `clean` is open_clip's
    /// `tokenizer_kwargs.clean`.
    ///
    /// # Errors
    /// `Io`; `Tokenizer` if the file is no tokenizer, or neither CLIP's nor SigLIP's.
    pub fn load(folder: &Path, longest: usize, clean: Option<&str>) -> Result<Self, DataError> {
        let (json, pieces) = (folder.join("tokenizer.json"), folder.join("spiece.model"));
        let path = if json.exists() || !pieces.exists() {
            &json
        } else {
            &pieces
        };
        let failed = |reason: String| DataError::Tokenizer {
            name: path.display().to_string(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return failed(
                    "not there; it lies beside the published weights (a spiece.model serves, too)"
                        .into(),
                );
            }
            DataError::io(path, error)
        })?;
        let bytes = if path == &pieces {
            sentencepiece::tokenizer_json(&bytes).map_err(failed)?
        } else {
            bytes
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| failed(e.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| failed(e.to_string()))?;
        let description = description(folder)?;
        let form = form(&tokenizer, &description, clean).map_err(failed)?;
        Ok(Self {
            tokenizer,
            form,
            longest,
        })
    }

    /// Ids of a text between its marks, cut to the longest in all, its end kept; of SigLIP always as many.
    ///
    /// # Errors
    /// `Tokenizer` if the tokenizer rejects the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let cleaned = match self.form {
            Form::Marked { .. } => text.to_owned(),
            Form::Padded { clean, .. } => clean.of(text),
        };
        let encoding = self
            .tokenizer
            .encode(cleaned, false)
            .map_err(|e| DataError::Tokenizer {
                name: "the encoder's tokenizer".into(),
                reason: e.to_string(),
            })?;
        let words = encoding.get_ids().iter().copied();
        Ok(match self.form {
            Form::Marked { start, end } => {
                let words = words.take(self.longest.saturating_sub(2));
                std::iter::once(start).chain(words).chain([end]).collect()
            }
            Form::Padded { end, fill, .. } => {
                let words = words.take(self.longest.saturating_sub(1));
                let mut ids: Vec<u32> = words.chain([end]).collect();
                ids.resize(self.longest, fill);
                ids
            }
        })
    }

    /// The id that fills up shorter texts.
    pub fn fill(&self) -> u32 {
        match self.form {
            Form::Marked { end, .. } => end,
            Form::Padded { fill, .. } => fill,
        }
    }

    /// How many ids there are.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}

fn description(folder: &Path) -> Result<Description, DataError> {
    let path = folder.join("tokenizer_config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Description::default());
        }
        Err(error) => return Err(DataError::io(&path, error)),
    };
    serde_json::from_str(&text).map_err(|error| DataError::Tokenizer {
        name: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn form(
    tokenizer: &Tokenizer,
    description: &Description,
    clean: Option<&str>,
) -> Result<Form, String> {
    let id = |name: &str| tokenizer.token_to_id(name);
    if let [Some(start), Some(end)] = MARKS.map(id) {
        return Ok(Form::Marked { start, end });
    }
    let Some((end, [_, fill])) = ENDS.iter().find_map(|names| Some((id(names[0])?, names))) else {
        return Err(format!(
            "it has neither {} and {} nor <eos> or </s>; give the tokenizer of a CLIP or SigLIP checkpoint",
            MARKS[0], MARKS[1]
        ));
    };
    let told = match &description.pad_token {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Object(token)) => token.get("content").and_then(Value::as_str),
        _ => None,
    };
    let fill = told.unwrap_or(fill);
    let fill = id(fill).ok_or_else(|| format!("it has no {fill}, which fills up texts"))?;
    let class = description.tokenizer_class.as_deref();
    let first = class.is_some_and(|class| class.trim_end_matches("Fast") == "SiglipTokenizer");
    let clean = match clean {
        None if first => Clean::CaseAndPunctuation,
        None | Some("lower") => Clean::Case,
        Some("canonicalize") => Clean::Canonical,
        Some("whitespace") => Clean::Nothing,
        Some(other) => {
            return Err(format!(
                "tokenizer_kwargs.clean: {other:?} is not supported, only \"canonicalize\", \"lower\" and \"whitespace\""
            ));
        }
    };
    Ok(Form::Padded { end, fill, clean })
}

impl Clean {
    fn of(self, text: &str) -> String {
        let text = match self {
            Self::Nothing => return text.to_owned(),
            Self::Case => return text.to_lowercase(),
            Self::CaseAndPunctuation => text.to_lowercase(),
            Self::Canonical => text.replace('_', " ").to_lowercase(),
        };
        let plain: String = text.chars().filter(|c| !c.is_ascii_punctuation()).collect();
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(marks: [&str; 2]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let token = |id: usize| {
            format!(
                r#"{{"id": {id}, "content": "{}", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}}"#,
                marks[id - 2]
            )
        };
        let json = format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{}, {}],
            "normalizer": {{"type": "Lowercase"}}, "pre_tokenizer": {{"type": "Whitespace"}}, "post_processor": null,
            "decoder": null, "model": {{"type": "WordLevel", "vocab": {{"a": 0, "cat": 1}}, "unk_token": "a"}}}}"#,
            token(2),
            token(3)
        );
        std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        folder
    }

    #[test]
    fn texts_of_clip_stand_between_their_marks_and_are_cut() {
        let folder = folder(MARKS);
        let encode = |text: &str, longest| {
            let tokenizer = EncoderTokenizer::load(folder.path(), longest, None).unwrap();
            tokenizer.encode(text).unwrap()
        };
        assert_eq!(encode("A cat", 77), [2, 0, 1, 3]);
        assert_eq!(encode("a cat cat", 4), [2, 0, 1, 3]);
    }

    #[test]
    fn texts_of_siglip_end_and_are_filled_up() {
        let folder = folder(["<pad>", "<eos>"]);
        let encode = |text: &str| {
            let tokenizer = EncoderTokenizer::load(folder.path(), 4, None).unwrap();
            tokenizer.encode(text).unwrap()
        };
        assert_eq!(encode("A CAT"), [0, 1, 3, 2]);
        assert_eq!(encode("cat cat cat cat"), [1, 1, 1, 3]);
        let config = folder.path().join("tokenizer_config.json");
        std::fs::write(
            &config,
            r#"{"tokenizer_class": "SiglipTokenizer", "pad_token": {"content": "<eos>"}}"#,
        )
        .unwrap();
        assert_eq!(encode("cat,!"), [1, 3, 3, 3]);
        assert_eq!(Clean::CaseAndPunctuation.of(" A_b,  C "), "ab c");
        assert_eq!(Clean::Canonical.of("A_b, C"), "a b c");
        std::fs::write(&config, r#"{"pad_token": "<nothing>"}"#).unwrap();
        let error = EncoderTokenizer::load(folder.path(), 4, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("<nothing>"), "{error}");
    }

    #[test]
    fn other_tokenizers_are_named() {
        let error = |folder: &Path| {
            EncoderTokenizer::load(folder, 4, None)
                .unwrap_err()
                .to_string()
        };
        let other = folder(["<|startoftext|>", "<end>"]);
        assert!(error(other.path()).contains("<|endoftext|>"));
        let none = tempfile::tempdir().unwrap();
        assert!(error(none.path()).contains("spiece.model"));
        std::fs::write(none.path().join("spiece.model"), "no model").unwrap();
        assert!(error(none.path()).contains("sentencepiece"));
    }
}

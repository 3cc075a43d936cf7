//! The tokenizer of CLIP's text towers, from the `tokenizer.json` beside a published checkpoint.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::DataError;

/// Start and end of a text, by their names in the file.
const MARKS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// Words to ids, between a start and an end.
#[derive(Clone, Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
}

impl ClipTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// `Tokenizer` if the file is no tokenizer, or not CLIP's.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let failed = |reason: String| DataError::Tokenizer {
            name: path.display().to_string(),
            reason,
        };
        let mut tokenizer = Tokenizer::from_file(path).map_err(|e| failed(e.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| failed(e.to_string()))?;
        let mark = |name: &str| {
            let id = tokenizer.token_to_id(name);
            id.ok_or_else(|| {
                failed(format!(
                    "it has no {name}; give the tokenizer of a CLIP checkpoint"
                ))
            })
        };
        let [start, end] = [mark(MARKS[0])?, mark(MARKS[1])?];
        Ok(Self {
            tokenizer,
            start,
            end,
        })
    }

    /// Ids of a text between start and end, cut to `longest` in all, its end kept.
    ///
    /// # Errors
    /// `Tokenizer` if the tokenizer rejects the text.
    pub fn encode(&self, text: &str, longest: usize) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|e| DataError::Tokenizer {
                name: "CLIP".into(),
                reason: e.to_string(),
            })?;
        let words = encoding.get_ids().iter().copied();
        let words = words.take(longest.saturating_sub(2));
        Ok(std::iter::once(self.start)
            .chain(words)
            .chain([self.end])
            .collect())
    }

    /// The id that ends a text, which also fills up rows.
    pub fn end(&self) -> u32 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_between_their_marks_and_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
            {"id": 2, "content": "<|startoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 3, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
            "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"a": 0, "cat": 1}, "unk_token": "a"}}"#;
        std::fs::write(&path, json).unwrap();
        let tokenizer = ClipTokenizer::load(&path).unwrap();
        assert_eq!(tokenizer.encode("A cat", 77).unwrap(), [2, 0, 1, 3]);
        assert_eq!(tokenizer.encode("a cat cat", 4).unwrap(), [2, 0, 1, 3]);
        std::fs::write(&path, json.replace("endoftext", "end")).unwrap();
        let error = ClipTokenizer::load(&path).unwrap_err().to_string();
        assert!(error.contains("<|endoftext|>"), "{error}");
        assert!(ClipTokenizer::load(&folder.path().join("none")).is_err());
    }
}

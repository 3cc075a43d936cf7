//! A tokenizer file together with the ids of the special tokens.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::{ChatTemplate, SpecialTokens};
use crate::DataError;
use crate::error::{LFS_POINTER, LFS_REMEDY};

/// Markers that may stand in prompts; everything else special enters through segments only, so that
/// no text can smuggle in an image placeholder.
const MARKERS: [&str; 4] = ["<ref>", "</ref>", "<box>", "</box>"];

/// The token of words that a vocabulary does not have.
const UNKNOWN: &str = "<unk>";

const BUILTIN: &str = include_str!("../../../../assets/tokenizer/tokenizer.json");

/// What ends an answer, beside the model's own end of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Tokens. Like transformers, an answer keeps one that is a word.
    pub tokens: Vec<u32>,
    /// Texts, which an answer keeps.
    pub texts: Vec<String>,
}

/// Turns text to token ids and back.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    special: SpecialTokens,
    name: String,
    /// Tokens that no text can write, beside DEEM's own: name and id.
    control: Vec<(String, u32)>,
    chat: Option<ChatTemplate>,
    ends: Ends,
}

impl TextTokenizer {
    /// The word-level tokenizer of the built-in corpus.
    ///
    /// # Errors
    /// `Tokenizer` if the file was damaged before the build.
    pub fn builtin() -> Result<Self, DataError> {
        Self::from_json(BUILTIN.as_bytes(), "assets/tokenizer/tokenizer.json", None)
    }

    /// Reads a `tokenizer.json`. Without `special` the ids are looked up by the usual names.
    ///
    /// # Errors
    /// `Io`; `Tokenizer` if the file is no tokenizer, lacks a special token, or gives one another id.
    pub fn load(path: &Path, special: Option<SpecialTokens>) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
        Self::from_json(&bytes, &path.display().to_string(), special)
    }

    /// How many tokens a `tokenizer.json` has, whatever they are called.
    ///
    /// # Errors
    /// `Io`; `Tokenizer` if the file is no tokenizer.
    pub fn size(path: &Path) -> Result<usize, DataError> {
        let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
        let inner = parsed(&bytes).map_err(|reason| DataError::Tokenizer {
            name: path.display().to_string(),
            reason,
        })?;
        Ok(inner.get_vocab_size(true))
    }

    /// As [`Self::load`], from memory; `name` is used in errors.
    ///
    /// # Errors
    /// `Tokenizer`.
    pub fn from_json(
        bytes: &[u8],
        name: &str,
        special: Option<SpecialTokens>,
    ) -> Result<Self, DataError> {
        let wrong = |reason: String| DataError::Tokenizer {
            name: name.to_owned(),
            reason,
        };
        let mut inner = parsed(bytes).map_err(wrong)?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| wrong(e.to_string()))?;
        let special = match special {
            Some(special) => special,
            None => discover(&inner).map_err(wrong)?,
        };
        let added = inner.get_added_tokens_decoder();
        let mut control: Vec<(String, u32)> = added
            .into_iter()
            .filter(|(_, token)| token.special && token.content != UNKNOWN)
            .filter(|(_, token)| !MARKERS.contains(&token.content.as_str()))
            .map(|(id, token)| (token.content, id))
            .collect();
        control.sort_by_key(|(_, id)| *id);
        let tokenizer = Self {
            inner,
            special,
            name: name.to_owned(),
            control,
            chat: None,
            ends: Ends::default(),
        };
        tokenizer.check().map_err(wrong)?;
        Ok(tokenizer)
    }

    /// The same tokenizer, with the way in which its language model was taught to converse.
    #[must_use]
    pub fn with_chat_template(self, template: ChatTemplate) -> Self {
        Self {
            chat: Some(template),
            ..self
        }
    }

    /// The same tokenizer, whose language model also ends its answers with one of these.
    #[must_use]
    pub fn with_ends(mut self, ends: Ends) -> Self {
        let known = self.vocabulary() as u32;
        let fresh = ends.tokens.into_iter().filter(|id| *id < known);
        self.ends.tokens.extend(fresh);
        self.ends.tokens.sort_unstable();
        self.ends.tokens.dedup();
        self.ends.texts.extend(ends.texts);
        self
    }

    /// What ends an answer.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Whether an answer's tokens end with one of the texts that end it.
    pub fn ends_with_text(&self, answer: &[u32]) -> bool {
        if self.ends.texts.is_empty() {
            return false;
        }
        let text = self.decode(answer).unwrap_or_default();
        let last = answer.len().saturating_sub(1);
        let before = self
            .decode(&answer[..last])
            .map_or(0, |before| before.len());
        // The last token may say more than the end.
        let ends = |end: &String| text.rfind(end).is_some_and(|at| at + end.len() > before);
        self.ends.texts.iter().any(ends)
    }

    /// The way in which its language model was taught to converse, if it is known.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The tokenizer as a `tokenizer.json`, see [`Self::from_json`].
    ///
    /// # Errors
    /// `Tokenizer` if it cannot be written.
    pub fn to_json(&self) -> Result<String, DataError> {
        let json = self.inner.to_string(false);
        json.map_err(|error| self.wrong(error.to_string()))
    }

    /// Ids of the special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Number of ids a model needs: words and special tokens.
    pub fn vocabulary(&self) -> usize {
        self.inner
            .get_vocab_size(true)
            .max(self.special.vocabulary())
    }

    /// Checks that a model with this many token embeddings fits.
    ///
    /// # Errors
    /// `Tokenizer` if the model has fewer embeddings than the tokenizer has ids.
    pub fn check_model(&self, embeddings: usize) -> Result<(), DataError> {
        if embeddings < self.vocabulary() {
            return Err(DataError::Tokenizer {
                name: self.name.clone(),
                reason: format!(
                    "it has {} ids (special tokens included), the language model only {embeddings} embeddings; \
                     use the tokenizer that belongs to the model",
                    self.vocabulary()
                ),
            });
        }
        Ok(())
    }

    /// Ids of a text, without bos or eos. `<ref>`, `</ref>`, `<box>` and `</box>` become special tokens,
    /// other special tokens written out in the text are left out.
    ///
    /// # Errors
    /// `Tokenizer` if the tokenizer rejects the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let next = MARKERS
                .iter()
                .filter_map(|m| rest.find(m).map(|at| (at, *m)))
                .min();
            let (plain, marker) = match next {
                Some((at, marker)) => (&rest[..at], Some(marker)),
                None => (rest, None),
            };
            if !plain.trim().is_empty() {
                let found = self.encode_control(plain)?.into_iter();
                ids.extend(found.filter(|id| !self.is_reserved(*id)));
            }
            let Some(marker) = marker else { break };
            ids.extend(
                self.special
                    .named()
                    .iter()
                    .find(|(name, _)| *name == marker)
                    .map(|(_, id)| *id),
            );
            rest = &rest[plain.len() + marker.len()..];
        }
        Ok(ids)
    }

    /// Ids of a text in which control tokens count as such. Nothing that a user wrote may come here.
    pub(super) fn encode_control(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.inner.encode(text, false).map_err(|e| {
            self.wrong(format!("cannot encode a text of {} bytes: {e}", text.len()))
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A text without anything in it that reads as a control token.
    pub(super) fn without_control(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Taking one out may put another together.
        while let Some((name, _)) = self.control.iter().find(|(name, _)| text.contains(name)) {
            text = text.replace(name, "");
        }
        text
    }

    /// Text of ids; special tokens are left out.
    ///
    /// # Errors
    /// `Tokenizer` if the tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        let words: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !self.special.contains(*id))
            .collect();
        self.inner
            .decode(&words, true)
            .map_err(|e| self.wrong(format!("cannot decode: {e}")))
    }

    pub(super) fn wrong(&self, reason: String) -> DataError {
        DataError::Tokenizer {
            name: self.name.clone(),
            reason,
        }
    }

    /// Id of a token by its exact name in the file.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the ids of the special tokens can be meant.
    fn check(&self) -> Result<(), String> {
        let named = self.special.named();
        for (index, (name, id)) in named.iter().enumerate() {
            if let Some((other, _)) = named[..index].iter().find(|(_, o)| o == id) {
                return Err(format!("{name} and {other} have the same id {id}"));
            }
            if let Some(own) = self.inner.token_to_id(name)
                && own != *id
            {
                return Err(format!(
                    "{name} has id {own} in the file, the model expects {id}"
                ));
            }
            // Start and end have other names in other vocabularies; padding is never embedded, so a
            // rare word's id may serve.
            let renamed = ["<s>", "</s>"].contains(name)
                && self.control.iter().any(|(_, control)| control == id);
            let word = self.inner.id_to_token(*id);
            if let Some(word) = word.filter(|w| w != name && *name != "<pad>" && !renamed) {
                return Err(format!(
                    "the model expects {name} at id {id}, where the file has `{word}`"
                ));
            }
        }
        Ok(())
    }

    /// Ids of control tokens, bos, eos, padding, image start and placeholder, where the vocabulary has no
    /// word of its own at that id (Vicuna's padding id is a rare word, which a text may hold).
    fn is_reserved(&self, id: u32) -> bool {
        let special = &self.special;
        [special.bos, special.eos, special.soi, special.image].contains(&id)
            || self.control.iter().any(|(_, own)| *own == id)
            || (id == special.pad && self.inner.id_to_token(id).is_some_and(|t| t == "<pad>"))
    }
}

/// The tokenizer in the bytes of a file.
fn parsed(bytes: &[u8]) -> Result<Tokenizer, String> {
    if bytes.starts_with(LFS_POINTER) {
        return Err(LFS_REMEDY.into());
    }
    let broken = |reason: String| format!("not a tokenizer.json: {reason}");
    // The tokenizers library panics at what is no JSON.
    serde_json::from_slice::<Value>(bytes).map_err(|e| broken(e.to_string()))?;
    Tokenizer::from_bytes(bytes).map_err(|e| broken(e.to_string()))
}

fn discover(tokenizer: &Tokenizer) -> Result<SpecialTokens, String> {
    let mut missing = Vec::new();
    let mut id = |name: &'static str| {
        tokenizer.token_to_id(name).unwrap_or_else(|| {
            missing.push(name);
            0
        })
    };
    let special = SpecialTokens {
        bos: id("<s>"),
        eos: id("</s>"),
        pad: id("<pad>"),
        soi: id("<soi>"),
        image: id("<image>"),
        ref_open: id("<ref>"),
        ref_close: id("</ref>"),
        box_open: id("<box>"),
        box_close: id("</box>"),
    };
    if missing.is_empty() {
        Ok(special)
    } else {
        Err(format!(
            "it has no {}; give the ids of the special tokens in the configuration",
            missing.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_with_prompt_casing_and_markers() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let ids = tokenizer
            .encode("Provide a short description for this <ref>region1</ref>")
            .unwrap();
        let special = tokenizer.special();
        assert_eq!(ids[ids.len() - 3], special.ref_open);
        assert_eq!(ids[ids.len() - 1], special.ref_close);
        assert_eq!(
            tokenizer.decode(&ids).unwrap(),
            "provide a short description for this region1"
        );
        let text = "on a pink background, a cat and two dogs";
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(),
            text
        );
        assert_eq!(tokenizer.encode("").unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn text_cannot_smuggle_in_placeholders() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let ids = tokenizer
            .encode("a cat <image> <s> </s> <soi> <pad> bus")
            .unwrap();
        let special = tokenizer.special();
        assert!(
            [
                special.image,
                special.bos,
                special.eos,
                special.soi,
                special.pad
            ]
            .iter()
            .all(|s| !ids.contains(s))
        );
    }

    #[test]
    fn disagreements_are_named() {
        let good = *TextTokenizer::builtin().unwrap().special();
        let error = |special| {
            TextTokenizer::from_json(BUILTIN.as_bytes(), "t.json", Some(special))
                .unwrap_err()
                .to_string()
        };
        let found = error(SpecialTokens {
            soi: good.image,
            image: good.soi,
            ..good
        });
        assert!(
            found.contains("t.json") && found.contains("<soi>"),
            "{found}"
        );
        let found = error(SpecialTokens {
            pad: good.bos,
            ..good
        });
        assert!(found.contains("same id"), "{found}");
        let found = TextTokenizer::from_json(b"{}", "t.json", None)
            .unwrap_err()
            .to_string();
        assert!(found.contains("not a tokenizer.json"), "{found}");
        let without = BUILTIN.replace("<soi>", "<image start>");
        let found = TextTokenizer::from_json(without.as_bytes(), "t.json", None)
            .unwrap_err()
            .to_string();
        assert!(found.contains("<soi>"), "{found}");
        let tokenizer = TextTokenizer::builtin().unwrap();
        assert!(tokenizer.check_model(tokenizer.vocabulary()).is_ok());
        assert!(
            tokenizer
                .check_model(tokenizer.vocabulary() - 1)
                .unwrap_err()
                .to_string()
                .contains("embeddings")
        );
    }
}

//! Byte-pair vocabularies as GGUF files hold them, brought into a `tokenizer.json`.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::DataError;

/// Where LLaMA 3 cuts texts into words.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A vocabulary of byte-level tokens with the rules that join them.
#[derive(Clone, Debug, Default)]
pub struct BytePairs<'a> {
    /// Names the vocabulary in errors.
    pub name: String,
    /// All tokens, by id.
    pub tokens: Vec<&'a str>,
    /// What kind of token each is; absent: all are words.
    pub kinds: Vec<TokenKind>,
    /// Pairs that become one token, the first ones first, each as `left right`.
    pub merges: Vec<&'a str>,
    /// How texts are cut into words before, by llama.cpp's name: `gpt-2`, `smollm`, `llama-bpe`, ….
    pub splitting: &'a str,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Word,
    /// A mark that no text can write, as the end of a turn.
    Control,
    /// A mark that texts may write.
    UserDefined,
}

impl BytePairs<'_> {
    /// The same vocabulary as a `tokenizer.json`.
    ///
    /// # Errors
    /// `Tokenizer` if texts are split in a way that is not known, or the lists contradict themselves.
    pub fn tokenizer_json(&self) -> Result<String, DataError> {
        let (splitter, whole_words) = self.splitter()?;
        let mut vocabulary = Map::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if vocabulary.insert((*token).to_owned(), json!(id)).is_some() {
                return Err(self.wrong(format!("the token {token:?} is there twice")));
            }
        }
        let kinds = self.kinds.len();
        if kinds != 0 && kinds != self.tokens.len() {
            let tokens = self.tokens.len();
            return Err(self.wrong(format!("{tokens} tokens, but kinds of {kinds}")));
        }
        let marks = self.tokens.iter().zip(&self.kinds).enumerate();
        let marks: Vec<Value> = marks
            .filter(|(_, (_, kind))| **kind != TokenKind::Word)
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "special": *kind == TokenKind::Control,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                })
            })
            .collect();
        let known: HashSet<&str> = self.tokens.iter().copied().collect();
        let merges: Vec<[&str; 2]> = self
            .merges
            .iter()
            .map(|merge| {
                let pair = merge.split_once(' ');
                let pair = pair.filter(|(a, b)| known.contains(a) && known.contains(b));
                pair.map(|(left, right)| [left, right]).ok_or_else(|| {
                    self.wrong(format!("the rule {merge:?} does not join two tokens"))
                })
            })
            .collect::<Result<_, _>>()?;
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        });
        let whole = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": marks,
            "normalizer": null,
            "pre_tokenizer": splitter,
            "post_processor": null,
            "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": whole_words, "vocab": vocabulary, "merges": merges,
            },
        });
        Ok(whole.to_string())
    }

    /// How texts are cut into words, and whether a word that is a token is taken as it is.
    fn splitter(&self) -> Result<(Value, bool), DataError> {
        let bytes = |regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex,
            })
        };
        Ok(match self.splitting {
            "gpt-2" => (bytes(true), false),
            "smollm" | "starcoder" | "refact" => {
                let digits = json!({ "type": "Digits", "individual_digits": true });
                (
                    json!({ "type": "Sequence", "pretokenizers": [digits, bytes(true)] }),
                    false,
                )
            }
            "llama-bpe" | "llama3" | "llama-v3" => {
                let words = json!({
                    "type": "Split", "pattern": { "Regex": LLAMA_3 }, "behavior": "Isolated", "invert": false,
                });
                (
                    json!({ "type": "Sequence", "pretokenizers": [words, bytes(false)] }),
                    true,
                )
            }
            other => {
                return Err(self.wrong(format!(
                    "it splits texts as {other:?}, expected gpt-2, smollm, starcoder, refact or llama-bpe; give \
                     the model's tokenizer.json instead"
                )));
            }
        })
    }

    fn wrong(&self, reason: String) -> DataError {
        DataError::Tokenizer {
            name: self.name.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::Tokenizer;

    fn vocabulary(splitting: &str) -> BytePairs<'_> {
        BytePairs {
            name: "small.gguf".into(),
            tokens: vec![
                "<end>", "a", "b", "c", "Ġ", "1", "ab", "Ġab", "11", "abc", "<mark>",
            ],
            kinds: [TokenKind::Control]
                .into_iter()
                .chain([TokenKind::Word; 9])
                .chain([TokenKind::UserDefined])
                .collect(),
            merges: vec!["a b", "Ġ ab", "1 1"],
            splitting,
        }
    }

    fn encode(splitting: &str, text: &str) -> Vec<u32> {
        let json = vocabulary(splitting).tokenizer_json().unwrap();
        let tokenizer = Tokenizer::from_bytes(json).unwrap();
        assert_eq!(tokenizer.decode(&[6, 0, 7], true).unwrap(), "ab ab");
        tokenizer.encode(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn texts_are_split_as_the_name_says() {
        assert_eq!(encode("gpt-2", "ab ab11<end>"), [6, 7, 8, 0]);
        assert_eq!(encode("smollm", "ab ab11<mark>"), [6, 7, 5, 5, 10]);
        // No rule leads to `abc`, but a word that is a token is one.
        assert_eq!(encode("llama-bpe", "abc"), [9]);
        assert_eq!(encode("gpt-2", "abc"), [6, 3]);
        let error = vocabulary("qwen2")
            .tokenizer_json()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("small.gguf") && error.contains("qwen2"),
            "{error}"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let told = |change: fn(&mut BytePairs), words: &str| {
            let mut vocabulary = vocabulary("gpt-2");
            change(&mut vocabulary);
            let error = vocabulary.tokenizer_json().unwrap_err().to_string();
            assert!(
                error.contains("small.gguf") && error.contains(words),
                "{error}"
            );
        };
        told(|v| v.tokens[1] = "b", "\"b\" is there twice");
        told(|v| v.merges[0] = "a", "\"a\" does not join");
        told(|v| v.merges[0] = "a z", "\"a z\" does not join");
        told(|v| v.kinds.truncate(3), "11 tokens, but kinds of 3");
    }
}

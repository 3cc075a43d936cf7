//! Text that grows token by token.

use super::TextTokenizer;
use crate::DataError;

/// At least so many of the last tokens are decoded with every new one: how a token is written may depend on those
/// before it.
const WINDOW: usize = 8;

/// The text of tokens that come one after another: exactly what [`TextTokenizer::decode`] makes of all of them, in time
/// that does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct GrowingText {
    text: String,
    /// Tokens that the text is of.
    tokens: usize,
    /// Where those begin that are decoded again, and their text.
    from: usize,
    window: String,
}

impl GrowingText {
    /// The text of `tokens`, the first of which are those of the call before, if they are not fewer.
    ///
    /// # Errors
    /// As [`TextTokenizer::decode`].
    pub fn of(&mut self, tokenizer: &TextTokenizer, tokens: &[u32]) -> Result<&str, DataError> {
        if self.tokens > tokens.len() {
            *self = Self::default();
        }
        let now = tokenizer.decode(&tokens[self.from..])?;
        // Where the window begins within a character, or has no text of its own, it says nothing of what follows.
        let fits = !self.window.is_empty() && self.text.ends_with(&self.window);
        match now.strip_prefix(&self.window).filter(|_| fits) {
            Some(fresh) => self.text.push_str(fresh),
            None if self.from == 0 => self.text.clone_from(&now),
            None => self.text = tokenizer.decode(tokens)?,
        }
        self.tokens = tokens.len();
        self.window = now;
        if self.tokens - self.from > 2 * WINDOW {
            self.from = self.tokens - WINDOW;
            self.window = tokenizer.decode(&tokens[self.from..])?;
        }
        Ok(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    const MARKS: [&str; 9] = [
        "<s>", "</s>", "<pad>", "<soi>", "<image>", "<ref>", "</ref>", "<box>", "</box>",
    ];

    /// A vocabulary after the marks, and how it is written.
    fn tokenizer(words: &[&str], decoder: Value) -> TextTokenizer {
        let ids = MARKS.iter().chain(words).enumerate();
        let vocabulary: Map<String, Value> = ids
            .map(|(id, word)| ((*word).to_owned(), json!(id)))
            .collect();
        let whole = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": true, "vocab": vocabulary, "merges": [],
            },
        });
        TextTokenizer::from_json(whole.to_string().as_bytes(), "t.json", None).unwrap()
    }

    #[test]
    fn the_text_is_that_of_all_tokens() {
        // Characters of several bytes, in the alphabet of byte-level tokens and in SentencePiece's.
        let bytes = [
            "\u{c3}",
            "\u{a9}",
            "\u{120}",
            "a",
            "\u{120}an",
            ".",
            "\u{e2}",
            "\u{122}",
        ];
        let pieces = [
            "<0xC3>",
            "<0xA9>",
            "\u{2581}",
            "a",
            "\u{2581}an",
            ".",
            "<0xE2>",
            "<0x82>",
        ];
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        });
        let sentence_piece = json!({ "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] });
        let all = [
            TextTokenizer::builtin().unwrap(),
            tokenizer(&bytes, byte_level),
            tokenizer(&pieces, sentence_piece),
        ];
        for tokenizer in all {
            let mut state = 1_u32;
            let mut random = |below: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as usize % below
            };
            for _ in 0..50 {
                let tokens: Vec<u32> = (0..60)
                    .map(|_| random(tokenizer.vocabulary()) as u32)
                    .collect();
                let (mut growing, mut until) = (GrowingText::default(), 0);
                while until < tokens.len() {
                    until = (until + 1 + random(12) / 10 * 9).min(tokens.len());
                    let whole = tokenizer.decode(&tokens[..until]).unwrap();
                    let text = growing.of(&tokenizer, &tokens[..until]).unwrap();
                    assert_eq!(text, whole, "{:?}", &tokens[..until]);
                }
                let shorter = tokenizer.decode(&tokens[..3]).unwrap();
                assert_eq!(growing.of(&tokenizer, &tokens[..3]).unwrap(), shorter);
            }
        }
    }
}

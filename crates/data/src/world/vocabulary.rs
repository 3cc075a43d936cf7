//! The vocabulary of the built-in corpus and the tokenizer file made from it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::corpus::Corpus;
use super::scene::wording;

/// What counts as one token: `##`, a run of letters and digits, or a single other character.
const TOKEN: &str = r"##|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]";

/// Every word and punctuation mark that built-in text is made of, in alphabetical order.
pub fn builtin_words(corpus: &Corpus) -> Vec<String> {
    let mut words = BTreeSet::new();
    for text in wording::all_text() {
        split(&text.to_lowercase(), &mut words);
    }
    for concept in corpus.concepts() {
        split(&concept.noun, &mut words);
        split(&concept.plural, &mut words);
    }
    words.into_iter().collect()
}

fn split(text: &str, words: &mut BTreeSet<String>) {
    for part in text.split_whitespace() {
        let mut word = String::new();
        for c in part.chars() {
            if c.is_alphanumeric() {
                word.push(c);
                continue;
            }
            words.insert(std::mem::take(&mut word));
            words.insert(c.to_string());
        }
        words.insert(word);
        if part.contains("##") {
            words.insert("##".into());
            words.remove("#");
        }
    }
    words.remove("");
}

/// The word-level `tokenizer.json` of a corpus: `<unk>`, bos and eos first, words in alphabetical order,
/// then padding and the tokens that the model adds to the language model's vocabulary.
pub fn builtin_tokenizer_json(corpus: &Corpus) -> String {
    let words = builtin_words(corpus);
    let first = ["<unk>", "<s>", "</s>"].map(String::from);
    let last = [
        "<pad>", "<soi>", "<image>", "<ref>", "</ref>", "<box>", "</box>",
    ]
    .map(String::from);
    let tokens: Vec<&String> = first.iter().chain(&words).chain(&last).collect();
    let vocab: Map<String, Value> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| ((*token).clone(), json!(id)))
        .collect();
    let added: Vec<Value> = first
        .iter()
        .chain(&last)
        .map(|token| {
            json!({
                "id": vocab[token], "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": TOKEN }, "behavior": "Removed", "invert": true },
        "post_processor": null,
        "decoder": { "type": "WordPiece", "prefix": "@@", "cleanup": true },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
    });
    // Serialising a value built from strings and numbers cannot fail.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::corpus::Subset;

    #[test]
    fn the_committed_tokenizer_is_the_generated_one() {
        let corpus = Corpus::builtin(Subset::Extended).unwrap();
        let committed = include_str!("../../../../assets/tokenizer/tokenizer.json");
        let same = builtin_tokenizer_json(&corpus) == committed;
        assert!(
            same,
            "run `cargo run -p deem-data --example make_tokenizer` and look at the difference"
        );
        assert!(builtin_words(&corpus).len() <= 600);
    }
}

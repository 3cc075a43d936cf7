//! sentencepiece's unigram models (`spiece.model`), as a `tokenizer.json`.
//!
//! The file is a protocol buffer, `sentencepiece_model.proto`: pieces (1) of a text (1), a score (2) and a kind (3); the
//! trainer's settings (2), of which the kind of model (3) and the unknown piece (40) matter; the normalizer's (3), of which
//! a compiled table of characters (2) does.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// A field of a message: its number and its content.
type Field<'a> = (u64, Content<'a>);

enum Content<'a> {
    Number(u64),
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

const UNIGRAM: u64 = 1;
const CONTROL: u64 = 3;
const UNKNOWN: u64 = 2;

/// The same tokenizer as a `tokenizer.json`, without what adds an end.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn tokenizer_json(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || "not a unigram model of sentencepiece; give tokenizer.json instead".to_owned();
    let (mut vocabulary, mut special) = (Vec::new(), Vec::new());
    let (mut unknown, mut kind, mut table) = (None, UNIGRAM, Vec::new());
    for (number, content) in fields(bytes).ok_or_else(wrong)? {
        match (number, content) {
            (1, Content::Bytes(piece)) => {
                let (text, score, kind) = read_piece(piece).ok_or_else(wrong)?;
                let id = vocabulary.len();
                match kind {
                    UNKNOWN => unknown = Some(id),
                    CONTROL => special.push(json!({
                        "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                        "normalized": false, "special": true,
                    })),
                    _ => {}
                }
                vocabulary.push(json!([text, score]));
            }
            (2, Content::Bytes(trainer)) => {
                for field in fields(trainer).ok_or_else(wrong)? {
                    if let (3, Content::Number(found)) = field {
                        kind = found;
                    }
                }
            }
            (3, Content::Bytes(normalizer)) => {
                for field in fields(normalizer).ok_or_else(wrong)? {
                    if let (2, Content::Bytes(found)) = field {
                        table = found.to_vec();
                    }
                }
            }
            _ => {}
        }
    }
    if vocabulary.is_empty() || kind != UNIGRAM {
        return Err(wrong());
    }
    let mut normalizers: Vec<Value> = Vec::new();
    if !table.is_empty() {
        let table = BASE64_STANDARD.encode(table);
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": table}));
    }
    normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": false},
    });
    Ok(json.to_string().into_bytes())
}

/// Text, score and kind (1 for an ordinary one) of a piece.
fn read_piece(bytes: &[u8]) -> Option<(String, f32, u64)> {
    let (mut text, mut score, mut kind) = (None, 0.0, 1);
    for field in fields(bytes)? {
        match field {
            (1, Content::Bytes(bytes)) => text = Some(String::from_utf8(bytes.to_vec()).ok()?),
            (2, Content::Four(bytes)) => score = f32::from_le_bytes(bytes),
            (3, Content::Number(found)) => kind = found,
            _ => {}
        }
    }
    Some((text?, score, kind)).filter(|(_, score, _)| score.is_finite())
}

/// The fields of a message, or nothing if it is none.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let content = match tag & 7 {
            0 => Content::Number(varint(&mut bytes)?),
            1 => {
                take(&mut bytes, 8)?;
                continue;
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Content::Bytes(take(&mut bytes, length)?)
            }
            5 => Content::Four(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        found.push((tag >> 3, content));
    }
    Some(found)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::*;

    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let content = [
            message(1, text.as_bytes()),
            vec![2 << 3 | 5],
            score.to_le_bytes().to_vec(),
            vec![3 << 3, kind],
        ];
        message(1, &content.concat())
    }

    #[test]
    fn pieces_by_hand() {
        let pieces = [
            piece("</s>", 0.0, 3),
            piece("<unk>", 0.0, 2),
            piece("▁a", -1.0, 1),
            piece("▁cat", -2.0, 1),
            piece("s", -3.0, 1),
            message(2, &[3 << 3, 1]),
        ];
        let json = tokenizer_json(&pieces.concat()).unwrap();
        let tokenizer = Tokenizer::from_bytes(json).unwrap();
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(ids(" a  cats"), [2, 3, 4]);
        assert_eq!(ids("a dog")[0], 2);
        assert_eq!(tokenizer.token_to_id("</s>"), Some(0));
    }

    #[test]
    fn what_is_none_is_refused() {
        let whole = piece("a", 0.0, 1);
        assert!(tokenizer_json(&whole).is_ok());
        for end in 1..whole.len() {
            assert!(tokenizer_json(&whole[..end]).is_err(), "{end}");
        }
        assert!(tokenizer_json(b"").is_err());
        let byte_pairs = [whole, message(2, &[3 << 3, 2])].concat();
        assert!(tokenizer_json(&byte_pairs).is_err());
        assert!(tokenizer_json(&piece("a", f32::NAN, 1)).is_err());
    }
}

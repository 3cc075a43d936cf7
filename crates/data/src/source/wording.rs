//! What is said of a picture in a shard or table: its text, a field of its JSON record, or a template over fields.

use serde_json::Value;

use crate::dice::Dice;

/// Where a caption comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wording {
    /// The text beside the picture, or else the record's field `caption`.
    Default,
    /// Words and fields of the record, in order.
    Template(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Words(String),
    /// Names from the record's root to the field.
    Field(String),
}

impl Wording {
    /// `caption = "field"` or `caption = "words with {field}"`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(option: Option<&str>) -> Result<Self, String> {
        let Some(text) = option else {
            return Ok(Self::Default);
        };
        if !text.contains(['{', '}', ' ']) && !text.is_empty() {
            return Ok(Self::Template(vec![Piece::Field(text.into())]));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let wrong = || format!("{text:?}: expected {{field}} between words, with both braces");
            if rest[start..].starts_with('}') {
                return Err(wrong());
            }
            let (field, after) = rest[start + 1..].split_once('}').ok_or_else(wrong)?;
            if field.is_empty() || field.contains('{') {
                return Err(wrong());
            }
            pieces.push(Piece::Words(rest[..start].into()));
            pieces.push(Piece::Field(field.into()));
            rest = after;
        }
        pieces.push(Piece::Words(rest.into()));
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            return Err(format!(
                "{text:?}: expected the name of a field, or words with {{field}}; this says the same of every picture"
            ));
        }
        Ok(Self::Template(pieces))
    }

    /// The fields that it needs, by their names.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Default => vec!["caption"],
            Self::Template(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Field(name) => Some(name.as_str()),
                    Piece::Words(_) => None,
                })
                .collect(),
        }
    }

    /// The caption that a record gives; else the field that is missing or of no use, and what it holds.
    pub fn of_record(&self, record: &Value, dice: &mut Dice) -> Result<String, (String, String)> {
        match self {
            Self::Default => field(record, "caption", dice),
            Self::Template(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Words(words) => Ok(words.clone()),
                    Piece::Field(name) => field(record, name, dice),
                })
                .collect(),
        }
    }
}

/// A field as text, of a list one entry; `a.b` is field `b` of `a` unless there is a field of that very name.
fn field(record: &Value, name: &str, dice: &mut Dice) -> Result<String, (String, String)> {
    let found = record.get(name).or_else(|| {
        name.split('.')
            .try_fold(record, |value, part| value.get(part))
    });
    let chosen = match found {
        Some(Value::Array(list)) => dice.pick(list),
        other => other,
    };
    match chosen {
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Bool(value)) => Ok(value.to_string()),
        _ => {
            let kind = match found {
                None => "no such field",
                Some(Value::Null) => "null",
                Some(Value::Array(_)) => "a list without texts",
                _ => "an object",
            };
            Err((format!("a text in the field {name:?}"), kind.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn caption(option: Option<&str>, record: &Value) -> Result<String, String> {
        let wording = Wording::parse(option)?;
        let mut dice = Dice::new(0, "test", 0);
        wording
            .of_record(record, &mut dice)
            .map_err(|(e, f)| format!("{e}, {f}"))
    }

    #[test]
    fn fields_and_templates() {
        let record = json!({"caption": " A cat. ", "label": "cat", "n": 2, "alt": ["x"], "meta": {"lang": "en"}});
        assert_eq!(caption(None, &record), Ok("A cat.".into()));
        assert_eq!(caption(Some("label"), &record), Ok("cat".into()));
        assert_eq!(caption(Some("alt"), &record), Ok("x".into()));
        assert_eq!(
            caption(Some("{n} of {label}, {meta.lang}"), &record),
            Ok("2 of cat, en".into())
        );
        assert!(
            caption(Some("kind"), &record)
                .unwrap_err()
                .contains("no such field")
        );
        assert!(
            caption(Some("{meta}"), &record)
                .unwrap_err()
                .contains("an object")
        );
    }

    #[test]
    fn templates_that_cannot_be_meant() {
        for wrong in ["a {label", "a label}", "a {}", "a photo", "", "{a{b}}"] {
            assert!(Wording::parse(Some(wrong)).is_err(), "{wrong}");
        }
    }
}

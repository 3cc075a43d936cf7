//! Reading fields: which are refused, which are out of range, and which is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A request's body.
pub(crate) type Body = Map<String, Value>;

/// A field that changes the meaning of an answer and is not supported, and the values that leave it as it is.
pub(crate) struct Refused {
    field: &'static str,
    harmless: fn(&Value) -> bool,
}

/// Refuses a field unless its value is harmless; `null` always is.
pub(crate) const fn refuse(field: &'static str, harmless: fn(&Value) -> bool) -> Refused {
    Refused { field, harmless }
}

/// Nothing, or nothing of something.
pub(crate) fn empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
    }
}

/// The choice that the server would make anyway.
pub(crate) fn is_auto(value: &Value) -> bool {
    value == "auto" || value == "none"
}

/// Refuses what is not supported, by name.
pub(crate) fn check(body: &Body, refused: &[Refused]) -> Result<(), ApiError> {
    for Refused { field, harmless } in refused {
        if let Some(value) = body.get(*field)
            && !value.is_null()
            && !harmless(value)
        {
            let problem = "not supported by this server; leave it out";
            return Err(ApiError::field(*field, problem).code("unsupported_parameter"));
        }
    }
    Ok(())
}

/// The fields that a struct names; others are left alone. `part` is the whole body, or a part of it at `place`.
pub(crate) fn read<'a, T: Deserialize<'a>>(part: &'a Value, place: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(part).map_err(|error| {
        let path = error.path().to_string();
        let param = match (place, path.as_str()) {
            ("", ".") => None,
            (_, ".") => Some(place.to_owned()),
            ("", _) => Some(path),
            (_, path) if path.starts_with('[') => Some(format!("{place}{path}")),
            (_, path) => Some(format!("{place}.{path}")),
        };
        match param {
            Some(param) => ApiError::field(param, error.inner()),
            None => ApiError {
                param: missing(&error.inner().to_string()),
                ..ApiError::new(
                    axum::http::StatusCode::BAD_REQUEST,
                    error.inner().to_string(),
                )
            },
        }
    })
}

/// The field that serde's ``missing field `x` `` names.
fn missing(message: &str) -> Option<String> {
    let name = message.strip_prefix("missing field `")?;
    Some(name.split('`').next()?.to_owned())
}

/// A number within its range.
pub(crate) fn within<T: PartialOrd + Display + Copy>(
    field: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = (range.start(), range.end());
    Err(ApiError::field(
        field,
        format!("expected a number from {from} to {to}, found {value}"),
    ))
}

/// A count from 1 to a limit of the server, which `option` sets.
pub(crate) fn up_to(field: &str, value: u64, most: usize, option: &str) -> Result<usize, ApiError> {
    match usize::try_from(value) {
        Ok(0) => Err(ApiError::field(
            field,
            "expected a number from 1 on, found 0",
        )),
        Ok(value) if value <= most => Ok(value),
        _ => {
            let problem = format!("expected at most {most}, found {value}");
            Err(ApiError::limit(field, problem, option))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[allow(dead_code)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[allow(dead_code)]
        number: u32,
    }

    #[test]
    fn the_wrong_field_is_named() {
        let param = |value: Value| read::<Outer>(&value, "").unwrap_err().param;
        let wrong = json!({ "inner": [{ "number": 1 }, { "number": "a" }] });
        assert_eq!(param(wrong).as_deref(), Some("inner[1].number"));
        assert_eq!(param(json!({})).as_deref(), Some("inner"));
        let wrong = json!({ "number": "a" });
        let error = read::<Inner>(&wrong, "messages[2]").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages[2].number"));
    }

    #[test]
    fn harmless_values_are_let_through() {
        let refused = [refuse("tools", empty)];
        let checked = |value: Value| check(value.as_object().unwrap(), &refused);
        for harmless in [json!({}), json!({ "tools": null }), json!({ "tools": [] })] {
            assert!(checked(harmless).is_ok());
        }
        let error = checked(json!({ "tools": [1] })).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tools"));
        assert_eq!(error.code, Some("unsupported_parameter"));
    }

    #[test]
    fn ranges_and_limits() {
        assert!(within("x", 2.0, 0.0..=2.0).is_ok());
        assert!(within("x", f64::NAN, 0.0..=2.0).is_err());
        assert_eq!(up_to("n", 3, 3, "--max-choices").unwrap(), 3);
        assert!(up_to("n", 0, 3, "--max-choices").is_err());
        let error = up_to("n", 4, 3, "--max-choices").unwrap_err();
        assert!(error.message.contains("--max-choices") && error.message.contains("at most 3"));
    }
}

//! What templates that were written for Python expect of values.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Deeper values are refused: a template may nest them without end.
const MAX_DEPTH: usize = 64;

/// Methods of Python's texts, lists and dictionaries.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let (ValueKind::String, Some(text)) = (value.kind(), value.as_str())
        && let Some(found) = text_method(text, name, arguments)?
    {
        return Ok(found);
    }
    match (value.kind(), name) {
        (ValueKind::Seq | ValueKind::Map, "copy") => Ok(value.clone()),
        (ValueKind::Seq, "index") => {
            let (wanted,): (Value,) = from_args(arguments)?;
            let place = value.try_iter()?.position(|item| item == wanted);
            place
                .map(Value::from)
                .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "index(): not in the list"))
        }
        _ => unknown_method_callback(state, value, name, arguments),
    }
}

/// Methods of texts that the library does not have.
fn text_method(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let texts = |parts: [&str; 3]| Value::from(parts.map(Value::from).to_vec());
    Ok(Some(match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" => {
            let (mark,): (&str,) = from_args(arguments)?;
            let (before, after) = text
                .split_once(mark)
                .map_or((text, None), |(a, b)| (a, Some(b)));
            texts([before, after.map_or("", |_| mark), after.unwrap_or("")])
        }
        "rpartition" => {
            let (mark,): (&str,) = from_args(arguments)?;
            match text.rsplit_once(mark) {
                Some((before, after)) => texts([before, mark, after]),
                None => texts(["", "", text]),
            }
        }
        "rsplit" => {
            let (mark, most): (Option<&str>, Option<i64>) = from_args(arguments)?;
            let most = most.and_then(|most| usize::try_from(most).ok());
            let limit = most.map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<Value> = match mark {
                Some(mark) => text.rsplitn(limit, mark).map(Value::from).collect(),
                None => {
                    let words = text.trim_end().rsplitn(limit, char::is_whitespace);
                    let words = words.map(str::trim).filter(|word| !word.is_empty());
                    words.map(Value::from).collect()
                }
            };
            parts.reverse();
            Value::from(parts)
        }
        "index" => {
            let (wanted,): (&str,) = from_args(arguments)?;
            let at = text.find(wanted).ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "index(): substring not found")
            })?;
            Value::from(text[..at].chars().count())
        }
        "zfill" | "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
            Value::from(padded(text, name, width.min(1 << 16), fill.unwrap_or(" ")))
        }
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => {
            let swapped = |c: char| -> String {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            };
            Value::from(text.chars().map(swapped).collect::<String>())
        }
        _ => return Ok(None),
    }))
}

fn padded(text: &str, how: &str, width: usize, fill: &str) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let fill = |count: usize| fill.repeat(count);
    match how {
        "zfill" => {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        "ljust" => format!("{text}{}", fill(missing)),
        "rjust" => format!("{}{text}", fill(missing)),
        // Python puts the odd place at the left if the width is odd.
        _ => {
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", fill(left), fill(missing - left))
        }
    }
}

/// The time here, in the words of `strftime`.
pub(super) fn now(format: &str) -> Result<String, Error> {
    let items: Vec<Item> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        let told = format!("strftime_now: {format:?} is no format of times");
        return Err(Error::new(ErrorKind::InvalidOperation, told));
    }
    let mut text = String::new();
    let written = write!(
        text,
        "{}",
        chrono::Local::now().format_with_items(items.iter())
    );
    written.map_err(|_| Error::new(ErrorKind::InvalidOperation, "strftime_now"))?;
    Ok(text)
}

/// Python's `json.dumps(value, ensure_ascii=False)`, with its options.
pub(super) fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let separators: Option<Vec<String>> = options.get("separators")?;
    let indent: Option<usize> = options.get("indent")?;
    let separators = separators.unwrap_or_else(|| {
        let item = if indent.is_some() { "," } else { ", " };
        vec![item.into(), ": ".into()]
    });
    let [item, key] = separators.as_slice() else {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "tojson: expected two separators",
        ));
    };
    let writer = Json {
        item: item.clone(),
        key: key.clone(),
        indent: indent.map(|indent| indent.min(32)),
        ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut text = String::new();
    writer.write(value, 0, &mut text)?;
    Ok(text)
}

struct Json {
    item: String,
    key: String,
    indent: Option<usize>,
    ascii: bool,
    sorted: bool,
}

impl Json {
    fn write(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        let wrong = |told: String| Error::new(ErrorKind::InvalidOperation, told);
        if depth > MAX_DEPTH {
            return Err(wrong(format!("tojson: nested more than {MAX_DEPTH} deep")));
        }
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(&items, ['[', ']'], depth, text, |item, text| {
                    self.write(item, depth + 1, text)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.items(&keys, ['{', '}'], depth, text, |key, text| {
                    self.string(&key.to_string(), text);
                    text.push_str(&self.key);
                    self.write(&value.get_item(key)?, depth + 1, text)
                })?;
            }
            other => return Err(wrong(format!("tojson: {other} cannot be written as JSON"))),
        }
        Ok(())
    }

    fn items(
        &self,
        items: &[Value],
        [open, close]: [char; 2],
        depth: usize,
        text: &mut String,
        write: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |depth: usize, text: &mut String| {
            if let Some(indent) = self.indent {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent * depth));
            }
        };
        text.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(&self.item);
            }
            line(depth + 1, text);
            write(item, text)?;
        }
        if !items.is_empty() {
            line(depth, text);
        }
        text.push(close);
        Ok(())
    }

    fn string(&self, string: &str, text: &mut String) {
        text.push('"');
        for c in string.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                c if c < ' ' || (self.ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ChatTemplate, Message};

    /// What Python prints for the expression in an f-string.
    #[track_caller]
    fn check(expression: &str, expected: &str) {
        let template = ChatTemplate {
            source: format!("{{{{ {expression} }}}}"),
            words: Default::default(),
        };
        let message = Message {
            role: "user",
            content: "grün\t\"x\"".into(),
        };
        let found = template.render(&[message]);
        assert_eq!(found.as_deref(), Ok(expected), "{expression}");
    }

    #[test]
    fn methods_of_texts_and_lists() {
        check("' a b '.strip() + 'x'.upper()", "a bX");
        check("'a-b-c'.rsplit('-', 1)", "['a-b', 'c']");
        check("' a  b '.rsplit()", "['a', 'b']");
        check("'a-b-c'.partition('-')[2]", "b-c");
        check("'a-b-c'.rpartition('-')[0]", "a-b");
        check("'abc'.removeprefix('ab').removesuffix('x')", "c");
        check(
            "'-7'.zfill(4) ~ '7'.rjust(3) ~ '7'.ljust(2, '.')",
            "-007  77.",
        );
        check("'ab'.center(5, '*')", "**ab*");
        check("'grün'.index('n') + ['a', 'b'].index('b')", "4");
        check("{'a': 1}.get('b', 2) ~ {'a': 1}.copy()['a']", "21");
        check("[1, none, true, 'x']", "[1, None, True, 'x']");
    }

    #[test]
    fn json_as_python_writes_it() {
        check(
            "messages | tojson",
            "[{\"role\": \"user\", \"content\": \"grün\\t\\\"x\\\"\"}]",
        );
        check(
            "messages[0].content | tojson(ensure_ascii=true)",
            "\"gr\\u00fcn\\t\\\"x\\\"\"",
        );
        check(
            "{'b': [], 'a': 1.0} | tojson(indent=1, sort_keys=true)",
            "{\n \"a\": 1.0,\n \"b\": []\n}",
        );
        check("[1, true] | tojson(separators=(',', ':'))", "[1,true]");
    }
}

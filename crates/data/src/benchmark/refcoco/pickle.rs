//! Pickled plain data: numbers, texts, lists, tuples and dictionaries, as JSON. Whatever would call something is refused.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Containers within containers, at most.
const DEPTH: usize = 64;

/// What lies on the machine's stack.
enum Entry {
    Value(Value),
    Mark,
}

/// Reads a pickle of any protocol up to 5.
///
/// # Errors
/// In words: what stands at which byte.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: HashMap::new(),
    };
    machine
        .run()
        .map_err(|problem| format!("byte {}: {problem}", machine.at))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Entry>,
    /// Numbers and texts that are used again; containers are not shared in plain data.
    memo: HashMap<u64, Option<Value>>,
}

type Read<T> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Read<Value> {
        loop {
            match self.take(1)?[0] {
                b'.' => return self.value(),
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.stack.push(Entry::Mark),
                b']' | b')' => self.push(Value::Array(Vec::new())),
                b'}' => self.push(Value::Object(Map::new())),
                b'l' | b't' => {
                    let values = self.marked()?;
                    self.nest(&values)?;
                    self.push(Value::Array(values));
                }
                count @ 0x85..=0x87 => {
                    let mut values = Vec::new();
                    for _ in 0x84..count {
                        values.insert(0, self.value()?);
                    }
                    self.push(Value::Array(values));
                }
                b'd' => {
                    let values = self.marked()?;
                    self.push(Value::Object(Map::new()));
                    self.set(values)?;
                }
                b'a' => {
                    let value = self.value()?;
                    self.append(vec![value])?;
                }
                b'e' => {
                    let values = self.marked()?;
                    self.append(values)?;
                }
                b's' => {
                    let value = self.value()?;
                    let key = self.value()?;
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let values = self.marked()?;
                    self.set(values)?;
                }
                b'N' => self.push(Value::Null),
                0x88 => self.push(Value::Bool(true)),
                0x89 => self.push(Value::Bool(false)),
                b'I' | b'L' => {
                    let line = self.line()?;
                    let number = line.trim_end_matches('L').parse::<i64>();
                    self.push(number.map_err(|_| format!("{line:?} is no number"))?.into());
                }
                b'F' => {
                    let line = self.line()?;
                    let number = line
                        .parse::<f64>()
                        .map_err(|_| format!("{line:?} is no number"))?;
                    self.push(number.into());
                }
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let bytes = self.take(4)?;
                    let number = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    self.push(number.into());
                }
                0x8a => {
                    let size = self.size(1)?;
                    let bytes = self.take(size)?;
                    let number = signed(bytes).ok_or("a number of more than eight bytes")?;
                    self.push(number.into());
                }
                b'G' => {
                    let bytes = self.take(8)?;
                    let bits = bytes
                        .iter()
                        .fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                    self.push(f64::from_bits(bits).into());
                }
                b'S' => {
                    let line = self.line()?;
                    let inner = quoted(&line).ok_or_else(|| format!("{line:?} is no text"))?;
                    self.push(inner.into());
                }
                b'V' => {
                    let line = self.line()?;
                    self.push(unescaped(&line).into());
                }
                b'U' | 0x8c | b'C' => self.text(1)?,
                b'T' | b'X' | b'B' => self.text(4)?,
                0x8d | 0x8e => self.text(8)?,
                b'p' => {
                    let line = self.line()?;
                    self.remember(line.parse().map_err(|_| format!("{line:?} is no number"))?);
                }
                b'q' => {
                    let key = self.size(1)? as u64;
                    self.remember(key);
                }
                b'r' => {
                    let key = self.size(4)? as u64;
                    self.remember(key);
                }
                0x94 => self.remember(self.memo.len() as u64),
                b'g' => {
                    let line = self.line()?;
                    self.recall(line.parse().map_err(|_| format!("{line:?} is no number"))?)?;
                }
                b'h' => {
                    let key = self.size(1)? as u64;
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.size(4)? as u64;
                    self.recall(key)?;
                }
                other => {
                    let what = char::from(other).escape_default();
                    return Err(format!(
                        "the instruction '{what}', which is not of plain data"
                    ));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or("the file ends")?;
        self.at += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Read<()> {
        self.take(count).map(|_| ())
    }

    fn line(&mut self) -> Read<String> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|b| *b == b'\n')
            .ok_or("the file ends")?;
        self.at += end + 1;
        // Texts in lines are Latin-1 with escapes.
        let line: String = rest[..end].iter().map(|byte| char::from(*byte)).collect();
        Ok(line.trim_end_matches('\r').to_owned())
    }

    /// A length of so many bytes, little-endian.
    fn size(&mut self, bytes: usize) -> Read<usize> {
        let bytes = self.take(bytes)?;
        let size = bytes
            .iter()
            .rev()
            .fold(0u64, |size, byte| size << 8 | u64::from(*byte));
        usize::try_from(size).map_err(|_| "a length beyond the file".to_owned())
    }

    fn integer(&mut self, bytes: usize) -> Read<()> {
        let value = self.size(bytes)?;
        self.push(value.into());
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Read<()> {
        let size = self.size(bytes)?;
        let text = String::from_utf8_lossy(self.take(size)?).into_owned();
        self.push(text.into());
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(Entry::Value(value));
    }

    fn value(&mut self) -> Read<Value> {
        match self.stack.pop() {
            Some(Entry::Value(value)) => Ok(value),
            _ => Err("a value is missing".into()),
        }
    }

    /// Values since the last mark.
    fn marked(&mut self) -> Read<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            match self.stack.pop() {
                Some(Entry::Mark) => break,
                Some(Entry::Value(value)) => values.push(value),
                None => return Err("a mark is missing".into()),
            }
        }
        values.reverse();
        Ok(values)
    }

    fn append(&mut self, values: Vec<Value>) -> Read<()> {
        self.nest(&values)?;
        match self.stack.last_mut() {
            Some(Entry::Value(Value::Array(list))) => {
                list.extend(values);
                Ok(())
            }
            _ => Err("no list to append to".into()),
        }
    }

    fn set(&mut self, values: Vec<Value>) -> Read<()> {
        self.nest(&values)?;
        let Some(Entry::Value(Value::Object(object))) = self.stack.last_mut() else {
            return Err("no dictionary to set in".into());
        };
        let mut values = values.into_iter();
        while let Some(key) = values.next() {
            let value = values.next().ok_or("a key without value")?;
            let key = match key {
                Value::String(text) => text,
                other => other.to_string(),
            };
            object.insert(key, value);
        }
        Ok(())
    }

    /// Refuses values so deep that dropping them would run out of stack.
    fn nest(&self, values: &[Value]) -> Read<()> {
        fn depth(value: &Value) -> usize {
            match value {
                Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
                Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
                _ => 0,
            }
        }
        if values.iter().any(|value| depth(value) >= DEPTH) {
            return Err(format!("containers more than {DEPTH} deep"));
        }
        Ok(())
    }

    fn remember(&mut self, key: u64) {
        let value = match self.stack.last() {
            Some(Entry::Value(Value::Array(_) | Value::Object(_))) | Some(Entry::Mark) | None => {
                None
            }
            Some(Entry::Value(value)) => Some(value.clone()),
        };
        self.memo.insert(key, value);
    }

    fn recall(&mut self, key: u64) -> Read<()> {
        match self.memo.get(&key) {
            Some(Some(value)) => {
                let value = value.clone();
                self.push(value);
                Ok(())
            }
            Some(None) => Err("a shared container".into()),
            None => Err(format!("nothing remembered under {key}")),
        }
    }
}

fn signed(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A text between Python's quotation marks.
fn quoted(line: &str) -> Option<String> {
    let mark = line.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = line.strip_prefix(mark)?.strip_suffix(mark)?;
    Some(unescaped(inner))
}

/// Python's escapes in a text; of bytes beyond ASCII each is a letter, as in Latin-1.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let code = |rest: &mut std::str::Chars<'_>, digits: usize| {
            let text: String = rest.clone().take(digits).collect();
            let code = u32::from_str_radix(&text, 16)
                .ok()
                .filter(|_| text.len() == digits)?;
            rest.nth(digits - 1);
            char::from_u32(code)
        };
        match rest.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('x') => out.push(code(&mut rest, 2).unwrap_or('\u{fffd}')),
            Some('u') => out.push(code(&mut rest, 4).unwrap_or('\u{fffd}')),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_protocol_of_plain_data_is_read() {
        // pickle.dumps([{"a": 1, "b": [2.5, None]}, (-3, "é")], protocol=0, 2 and 4)
        let expected = json!([{"a": 1, "b": [2.5, null]}, [-3, "é"]]);
        let old = b"(lp0\n(dp1\nVa\np2\nI1\nsVb\np3\n(lp4\nF2.5\naNasa(I-3\nV\xe9\np5\ntp6\na.";
        assert_eq!(read(old).unwrap(), expected);
        let two = b"\x80\x02]q\x00(}q\x01(X\x01\x00\x00\x00aq\x02K\x01X\x01\x00\x00\x00bq\x03]q\x04(G@\x04\x00\x00\x00\x00\x00\x00NeuJ\xfd\xff\xff\xffX\x02\x00\x00\x00\xc3\xa9q\x05\x86q\x06e.";
        assert_eq!(read(two).unwrap(), expected);
        let four = b"\x80\x04\x95\x2a\x00\x00\x00\x00\x00\x00\x00]\x94(}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(G@\x04\x00\x00\x00\x00\x00\x00NeuJ\xfd\xff\xff\xff\x8c\x02\xc3\xa9\x94\x86\x94e.";
        assert_eq!(read(four).unwrap(), expected);
        // A text that is used again.
        assert_eq!(read(b"(S'x'\np0\ng0\nl.").unwrap(), json!(["x", "x"]));
        assert_eq!(read(b"\x8a\x02\x00\x80.").unwrap(), json!(-32768));
    }

    #[test]
    fn programs_bombs_and_fragments_are_refused() {
        assert!(
            read(b"cos\nsystem\n(S'true'\ntR.")
                .unwrap_err()
                .contains("'c'")
        );
        assert!(
            read(b"]q\x00h\x00.")
                .unwrap_err()
                .contains("shared container")
        );
        assert!(read(b"X\xff\xff\xff\xff").unwrap_err().contains("ends"));
        assert!(
            read(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff")
                .unwrap_err()
                .contains("ends")
        );
        assert!(
            read(b"(lp").is_err()
                && read(b"").is_err()
                && read(b"a.").is_err()
                && read(b"e.").is_err()
        );
        let deep = [vec![b']'; 100], vec![b'a'; 99], b".".to_vec()].concat();
        assert!(read(&deep).unwrap_err().contains("deep"));
    }
}

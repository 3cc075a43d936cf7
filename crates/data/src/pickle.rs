//! Pickles of plain data (lists, tuples, dictionaries, texts, numbers), as JSON. Nothing is executed: whatever names a
//! class or a function is refused.

use serde_json::{Number, Value};

/// Largest file that is read.
pub(crate) const MAX_BYTES: u64 = 512 << 20;
/// Values that a file may make; one that is referred to again counts again, a text once for each 64 bytes.
const MAX_VALUES: u64 = 64 << 20;
const MAX_DEPTH: usize = 64;

/// A value, its parts by number, so that what is referred to twice is held once.
enum Node {
    Plain(Value),
    List(Vec<usize>),
    Members(Vec<(usize, usize)>),
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: std::collections::HashMap<usize, usize>,
}

/// Reads a pickle; else says what is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine = Machine {
        bytes,
        ..Machine::default()
    };
    let root = machine.run()?;
    let mut weights = vec![None; machine.nodes.len()];
    if machine.weigh(root, MAX_DEPTH, &mut weights)? > MAX_VALUES {
        return Err("too many values".into());
    }
    Ok(machine.value(root))
}

impl Machine<'_> {
    fn run(&mut self) -> Result<usize, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'2' => {
                    let top = *self.stack.last().ok_or("an empty stack")?;
                    self.stack.push(top);
                }
                b'N' => self.push(Value::Null),
                0x88 | 0x89 => self.push(Value::Bool(code == 0x88)),
                b'I' | b'L' => {
                    let line = self.line()?;
                    let value = match line.as_str() {
                        "01" if code == b'I' => Value::Bool(true),
                        "00" if code == b'I' => Value::Bool(false),
                        digits => integer(digits.trim_end_matches('L'))?,
                    };
                    self.push(value);
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(value.into());
                }
                b'K' => {
                    let value = self.take(1)?[0];
                    self.push(value.into());
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(value.into());
                }
                0x8a => {
                    let length = usize::from(self.take(1)?[0]);
                    let bytes = self.take(length)?;
                    let value = long(bytes).ok_or("a number of more than 64 bits")?;
                    self.push(value.into());
                }
                b'F' => {
                    let value = self.line()?.parse().map_err(|_| "no number")?;
                    self.push(float(value));
                }
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(float(value));
                }
                b'S' => {
                    let text = quoted(&self.line()?)?;
                    self.push(text.into());
                }
                b'V' => {
                    let text = escaped(&self.line()?)?;
                    self.push(text.into());
                }
                b'U' | 0x8c => {
                    let length = usize::from(self.take(1)?[0]);
                    self.text(length)?;
                }
                b'T' | b'X' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.text(length)?;
                }
                b']' | b')' => self.node(Node::List(vec![])),
                b'}' => self.node(Node::Members(vec![])),
                b'l' | b't' => {
                    let items = self.marked()?;
                    self.node(Node::List(items));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let from = self
                        .stack
                        .len()
                        .checked_sub(count)
                        .ok_or("an empty stack")?;
                    let items = self.stack.split_off(from);
                    self.node(Node::List(items));
                }
                b'd' => {
                    let items = self.marked()?;
                    let members = pairs(&items)?;
                    self.node(Node::Members(members));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b'e' => {
                    let items = self.marked()?;
                    self.extend(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.set(&items)?;
                }
                b'p' | b'g' => {
                    let key = self.line()?.parse().map_err(|_| "no number")?;
                    self.remember(code == b'g', key)?;
                }
                b'q' | b'h' => {
                    let key = usize::from(self.take(1)?[0]);
                    self.remember(code == b'h', key)?;
                }
                b'r' | b'j' => {
                    let key = u32::from_le_bytes(self.array()?) as usize;
                    self.remember(code == b'j', key)?;
                }
                0x94 => self.remember(false, self.memo.len())?,
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                other => {
                    let at = self.at - 1;
                    return Err(format!(
                        "instruction {other:#x} at byte {at}, not plain data"
                    ));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], &'static str> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = self.at.saturating_add(count);
        taken.ok_or("the end of the file")
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "the end of the file")
    }

    /// Up to the end of a line, in Latin-1 as such lines are.
    fn line(&mut self) -> Result<String, &'static str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'\n');
        let length = length.ok_or("the end of the file")?;
        self.at += length + 1;
        Ok(rest[..length].iter().map(|b| char::from(*b)).collect())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(text.into());
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.node(Node::Plain(value));
    }

    fn node(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<usize, String> {
        self.stack.pop().ok_or_else(|| "an empty stack".into())
    }

    fn marked(&mut self) -> Result<Vec<usize>, String> {
        let mark = self.marks.pop().ok_or("no mark")?;
        if mark > self.stack.len() {
            return Err("a mark above the stack".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, items: &[usize]) -> Result<(), String> {
        let list = *self.stack.last().ok_or("an empty stack")?;
        match &mut self.nodes[list] {
            Node::List(own) => own.extend_from_slice(items),
            _ => return Err("items for what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[usize]) -> Result<(), String> {
        let members = pairs(items)?;
        let own = *self.stack.last().ok_or("an empty stack")?;
        match &mut self.nodes[own] {
            Node::Members(own) => own.extend(members),
            _ => return Err("members for what is no dictionary".into()),
        }
        Ok(())
    }

    fn remember(&mut self, recall: bool, key: usize) -> Result<(), String> {
        if recall {
            let node = *self.memo.get(&key).ok_or("a number that was not kept")?;
            self.stack.push(node);
        } else {
            let top = *self.stack.last().ok_or("an empty stack")?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    /// How many values a node makes, `weights` being those of nodes that are known.
    fn weigh(&self, node: usize, depth: usize, weights: &mut [Option<u64>]) -> Result<u64, String> {
        if let Some(known) = weights[node] {
            return Ok(known);
        }
        let depth = depth.checked_sub(1).ok_or("lists in lists without end")?;
        let mut weight = 1u64;
        let mut add = |part: usize| {
            weight = weight.saturating_add(self.weigh(part, depth, weights)?);
            Ok::<(), String>(())
        };
        match &self.nodes[node] {
            Node::Plain(value) => weight += value.as_str().map_or(0, str::len) as u64 / 64,
            Node::List(items) => items.iter().try_for_each(|item| add(*item))?,
            Node::Members(members) => members
                .iter()
                .try_for_each(|(key, value)| add(*key).and_then(|()| add(*value)))?,
        }
        weights[node] = Some(weight);
        Ok(weight)
    }

    /// A node that was weighed.
    fn value(&self, node: usize) -> Value {
        match &self.nodes[node] {
            Node::Plain(value) => value.clone(),
            Node::List(items) => items.iter().map(|item| self.value(*item)).collect(),
            Node::Members(members) => {
                let named = members.iter().map(|(key, value)| {
                    let key = match self.value(*key) {
                        Value::String(key) => key,
                        other => other.to_string(),
                    };
                    (key, self.value(*value))
                });
                Value::Object(named.collect())
            }
        }
    }
}

fn pairs(items: &[usize]) -> Result<Vec<(usize, usize)>, String> {
    if items.len() % 2 == 1 {
        return Err("a name without its value".into());
    }
    Ok(items
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}

fn integer(digits: &str) -> Result<Value, String> {
    let number = digits
        .parse::<i64>()
        .map_err(|_| format!("{digits:?}, no number of 64 bits"))?;
    Ok(number.into())
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A text in Python's quotes.
fn quoted(line: &str) -> Result<String, String> {
    let line = line.trim();
    let inside = ['\'', '"']
        .iter()
        .find_map(|quote| line.strip_prefix(*quote)?.strip_suffix(*quote));
    escaped(inside.ok_or("a text without quotes")?)
}

/// A text with Python's escapes.
fn escaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let code = letters.next().ok_or("an escape without its letter")?;
        let digits = match code {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits == 0 {
            out.push(match code {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
            continue;
        }
        let number: String = letters.by_ref().take(digits).collect();
        let number =
            u32::from_str_radix(&number, 16).map_err(|_| "an escape without its digits")?;
        out.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_data_of_old_and_new_protocols() {
        // pickle.dumps([{"a": "x", "n": 7}, (1.5, None)], 0), as Python 2 writes it
        let old = b"(lp0\n(dp1\nS'a'\np2\nS'x'\np3\nsS'n'\np4\nI7\nsa(F1.5\nNtp5\na.";
        let expected = json!([{"a": "x", "n": 7}, [1.5, null]]);
        assert_eq!(read(old).unwrap(), expected);
        // the same, protocol 2
        let new = b"\x80\x02]q\0(}q\x01(X\x01\0\0\0aq\x02X\x01\0\0\0xq\x03X\x01\0\0\0nq\x04K\x07uG?\xf8\0\0\0\0\0\0N\x86q\x05e.";
        assert_eq!(read(new).unwrap(), expected);
        assert_eq!(read(b"\x8a\x02\xff\x7f.").unwrap(), json!(32767));
        assert_eq!(read(b"V\\u00e9\\n\n.").unwrap(), json!("\u{e9}\n"));
    }

    #[test]
    fn code_loops_and_bombs_are_refused() {
        let error = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(error(b"cos\nsystem\n(S'x'\ntR.").contains("not plain data"));
        assert!(error(b"]q\0h\0a.").contains("without end"));
        assert!(error(b"]q").contains("end of the file"));
        assert!(error(b"X\xff\xff\xff\xff").contains("end of the file"));
        assert!(error(b"a").contains("empty stack"));
        // Thirty lists, each of which holds the one before it ten times.
        let mut bomb = b"]q\0".to_vec();
        for level in 0..30u8 {
            bomb.extend([b']', b'(']);
            bomb.extend([b'h', level].repeat(10));
            bomb.extend([b'e', b'q', level + 1]);
        }
        bomb.push(b'.');
        assert!(error(&bomb).contains("too many"));
    }
}

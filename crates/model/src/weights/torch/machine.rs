//! A pickle machine that only knows how to describe tensors.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::value::{Global, Pickled, Storage, Value};

/// Largest number of values that a description of tensors may make.
const MAX_VALUES: usize = 50_000_000;

/// Runs one pickle.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    made: usize,
    tuples: Vec<Vec<Value>>,
    pub(super) lists: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    /// Storages by key, as they are mentioned.
    pub(super) storages: HashMap<String, Storage>,
    /// Classes and functions of other programs that are mentioned.
    pub(super) foreign: BTreeSet<String>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            made: 0,
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: HashMap::new(),
            foreign: BTreeSet::new(),
        }
    }

    /// Position behind the last pickle.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The value of the next pickle in the stream, or the broken rule.
    pub(super) fn run(&mut self) -> Result<Value, String> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let at = self.at;
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)
                .map_err(|rule| format!("{rule} (pickle byte {at})"))?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => {
                let protocol = self.byte()?;
                if !(2..=5).contains(&protocol) {
                    return Err(format!("pickle protocol {protocol} is not supported"));
                }
            }
            0x95 => drop(self.take(8)?), // frame: a hint
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.stack.last().cloned();
                self.push(top.ok_or("it repeats a value of an empty stack")?)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => {
                let value = self.byte()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let count = self.byte()?;
                let bytes = self.take(count.into())?;
                self.push(long(bytes))?;
            }
            0x8b => {
                let count = usize::try_from(self.u32()?).map_err(|e| e.to_string())?;
                let bytes = self.take(count)?;
                self.push(long(bytes))?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Float)?;
            }
            b'X' | 0x8c | 0x8d => {
                let count = self.length(code, 0x8c, 0x8d)?;
                let text = self.text(count)?;
                self.push(Value::Text(text.into()))?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let code = if code == 0x96 { 0x8e } else { code };
                let count = self.length(code, b'C', 0x8e)?;
                self.take(count)?;
                self.push(Value::Bytes)?;
            }
            b'q' | b'r' | 0x94 => self.memoize(code)?,
            b'h' | b'j' => {
                let index = if code == b'h' {
                    self.byte()?.into()
                } else {
                    self.u32()?
                };
                let value = self.memo.get(&index).cloned();
                self.push(value.ok_or("it looks up a value that it never stored")?)?;
            }
            b')' => self.push_tuple(Vec::new())?,
            0x85..=0x87 => {
                let items = self.split(usize::from(code - 0x84))?;
                self.push_tuple(items)?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push_tuple(items)?;
            }
            b']' => {
                self.lists.push(Vec::new());
                self.push(Value::List(self.lists.len() - 1))?;
            }
            b'}' => self.push_dict()?,
            // Sets hold nothing that is a tensor.
            0x8f => self.push(Value::Foreign)?,
            0x90 => {
                self.since_mark()?;
                if self.stack.last() != Some(&Value::Foreign) {
                    return Err("it adds to something that is no set".into());
                }
            }
            0x91 => {
                self.since_mark()?;
                self.push(Value::Foreign)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let pair = self.split(2)?;
                self.set_items(pair)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(&module, &name)?,
                _ => return Err("a global is not named by text".into()),
            },
            b'R' | 0x81 => self.call()?,
            0x92 => {
                self.pop()?;
                self.call()?;
            }
            b'b' => {
                // What state dicts carry beside their entries (`_metadata`) is of no use here.
                self.pop()?;
                let object = self.stack.last();
                if !matches!(
                    object,
                    Some(Value::Dict(_) | Value::Tensor(_) | Value::Foreign)
                ) {
                    return Err("it sets the state of something that has none".into());
                }
            }
            b'Q' => self.storage()?,
            other => {
                return Err(format!(
                    "instruction {other:#04x} is none that tensors need"
                ));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let path = || format!("{}.{}", module.escape_debug(), name.escape_debug());
        match Global::of(module, name) {
            Some(global) => {
                if global == Global::Foreign {
                    self.foreign.insert(path());
                }
                self.push(Value::Global(global))
            }
            None => Err(format!("it wants `{}`, which is not a tensor", path())),
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match (arguments, function) {
            (Value::Tuple(_), Value::Foreign) => self.push(Value::Foreign),
            (Value::Tuple(arguments), Value::Global(function)) => self.apply(function, arguments),
            _ => Err("it calls something that is no known function".into()),
        }
    }

    fn apply(&mut self, function: Global, arguments: usize) -> Result<(), String> {
        let arguments = self.tuples[arguments].clone();
        match (function, arguments.as_slice()) {
            (Global::Foreign | Global::Plain, _) => self.push(Value::Foreign),
            (
                Global::RebuildFromType,
                [
                    Value::Global(inner @ Global::RebuildTensor),
                    _,
                    Value::Tuple(arguments),
                    ..,
                ],
            ) => self.apply(*inner, *arguments),
            (Global::OrderedDict, []) => self.push_dict(),
            (Global::OrderedDict, [Value::List(pairs)]) => {
                let items: Option<Vec<Vec<Value>>> = self.lists[*pairs]
                    .iter()
                    .map(|pair| match pair {
                        Value::Tuple(pair) => Some(self.tuples[*pair].clone()),
                        Value::List(pair) => Some(self.lists[*pair].clone()),
                        _ => None,
                    })
                    .map(|pair| pair.filter(|pair| pair.len() == 2))
                    .collect();
                let items = items.ok_or("an OrderedDict is not made of pairs")?;
                self.push_dict()?;
                self.set_items(items.concat())
            }
            (Global::RebuildTensor, [Value::Storage(storage), offset, size, stride, ..]) => {
                let tensor = Pickled {
                    storage: Storage::clone(storage),
                    offset: whole(offset)?,
                    shape: self.sizes(size)?,
                    strides: self.sizes(stride)?,
                };
                tensor.check()?;
                self.push(Value::Tensor(tensor.into()))
            }
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => {
                self.push(tensor.clone())
            }
            _ => Err(format!(
                "it calls {function:?} with other arguments than tensors have"
            )),
        }
    }

    /// `("storage", type, key, device, count, …)`
    fn storage(&mut self) -> Result<(), String> {
        let wrong = "a reference out of the pickle is no storage of tensors";
        let Value::Tuple(parts) = self.pop()? else {
            return Err(wrong.into());
        };
        let parts = &self.tuples[parts];
        let [
            Value::Text(kind),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            _,
            count,
            ..,
        ] = parts.as_slice()
        else {
            return Err(wrong.into());
        };
        if **kind != *"storage" {
            return Err(wrong.into());
        }
        let storage = Storage {
            key: key.to_string(),
            dtype: *dtype,
            count: whole(count)?,
        };
        let known = self.storages.entry(key.to_string());
        if *known.or_insert_with(|| storage.clone()) != storage {
            return Err(format!("storage {key:?} is described in two ways"));
        }
        self.push(Value::Storage(storage.into()))
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last() {
            Some(Value::List(list)) => {
                self.lists[*list].extend(items);
                Ok(())
            }
            Some(Value::Foreign) => Ok(()),
            _ => Err("it appends to something that is no list".into()),
        }
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last() {
            Some(Value::Dict(dict)) if items.len().is_multiple_of(2) => {
                let pairs = items.chunks_exact(2);
                let pairs = pairs.map(|pair| (pair[0].clone(), pair[1].clone()));
                self.dicts[*dict].extend(pairs);
                Ok(())
            }
            Some(Value::Foreign) => Ok(()),
            _ => Err("it sets entries of something that is no dictionary".into()),
        }
    }

    fn memoize(&mut self, code: u8) -> Result<(), String> {
        let index = match code {
            b'q' => self.byte()?.into(),
            b'r' => self.u32()?,
            _ => u32::try_from(self.memo.len()).map_err(|e| e.to_string())?,
        };
        let value = self
            .stack
            .last()
            .ok_or("it stores a value of an empty stack")?;
        self.memo.insert(index, value.clone());
        Ok(())
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), String> {
        self.made += items.len();
        self.tuples.push(items);
        self.push(Value::Tuple(self.tuples.len() - 1))
    }

    fn push_dict(&mut self) -> Result<(), String> {
        self.dicts.push(Vec::new());
        self.push(Value::Dict(self.dicts.len() - 1))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.made += 1;
        if self.made > MAX_VALUES {
            return Err(format!("it makes more than {MAX_VALUES} values"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack
            .pop()
            .ok_or_else(|| "it takes from an empty stack".into())
    }

    fn split(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let from = self.stack.len().checked_sub(count);
        let from = from.ok_or("it takes from an empty stack")?;
        Ok(self.stack.split_off(from))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        let mark = mark.ok_or("it goes back to a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn sizes(&self, value: &Value) -> Result<Vec<usize>, String> {
        match value {
            Value::Tuple(tuple) if self.tuples[*tuple].len() <= 16 => {
                self.tuples[*tuple].iter().map(whole).collect()
            }
            _ => Err("a tensor's size or stride is no tuple of up to 16 numbers".into()),
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("N bytes"))
    }

    /// A length in one, four or eight bytes.
    fn length(&mut self, code: u8, one: u8, eight: u8) -> Result<usize, String> {
        let length = match code {
            code if code == one => self.byte()?.into(),
            code if code == eight => u64::from_le_bytes(self.array()?),
            _ => self.u32()?.into(),
        };
        usize::try_from(length).map_err(|e| e.to_string())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("the pickle ends in the middle of an instruction")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn text(&mut self, count: usize) -> Result<String, String> {
        let bytes = self.take(count)?.to_vec();
        String::from_utf8(bytes).map_err(|_| "a text is not UTF-8".into())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(4096).position(|byte| *byte == b'\n');
        let length = length.ok_or("a name does not end")?;
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }
}

fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Long(Rc::from(bytes));
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

fn whole(value: &Value) -> Result<usize, String> {
    match value {
        Value::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
    .ok_or_else(|| "a tensor's size, stride or offset is no whole number".into())
}

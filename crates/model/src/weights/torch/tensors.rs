use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::Dtype;

use super::archive;
use super::machine::Machine;
use super::value::{Pickled, Value};
use crate::published::is_lfs_pointer;
use crate::weights::WeightsError;
use crate::weights::mapped::mapped;

/// With what the container begins, and a pickle.
const ZIP: &[u8] = b"PK\x03\x04";
const PICKLE: &[u8] = &[0x80];
/// With what the old container begins, as a whole number of ten bytes.
const LEGACY: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Version of the old container.
const LEGACY_VERSION: i64 = 1001;
/// Under which name training programs keep the weights among other things.
const WRAPPERS: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "params",
    "params_ema",
    "model_ema",
    "ema",
];

/// The tensors of a file that `torch.save` wrote.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    map: Mmap,
    tensors: Vec<TorchTensor>,
    skipped: Vec<String>,
    foreign: Vec<String>,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) tensors: Vec<TorchTensor>,
    /// Entries that are no tensors.
    pub(super) skipped: Vec<String>,
    /// Classes of other programs.
    pub(super) foreign: Vec<String>,
}

/// One tensor of such a file.
#[derive(Clone, Debug)]
pub struct TorchTensor {
    /// Its key.
    pub name: String,
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    view: Pickled,
    /// Where the storage lies in the file.
    storage: Range<usize>,
}

/// What a container holds: its pickle's value and the machine that made it, and its storages.
struct Content<'a> {
    machine: Machine<'a>,
    root: Value,
    storages: HashMap<String, Range<usize>>,
}

impl TorchFile {
    /// Reads the description of all tensors; their numbers are read one tensor at a time. Nothing in the
    /// file is executed.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Pickle` naming the broken rule or what it holds besides tensors.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let Some(map) = mapped(path, 1)? else {
            return Err(wrong(path, "it is empty".into()));
        };
        if is_lfs_pointer(&map) {
            return Err(WeightsError::Pointer { path: path.into() });
        }
        let Description {
            tensors,
            skipped,
            foreign,
        } = described(&map).map_err(|rule| wrong(path, rule))?;
        Ok(Self {
            path: path.into(),
            map,
            tensors,
            skipped,
            foreign,
        })
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> &[TorchTensor] {
        &self.tensors
    }

    /// Names of entries that are no tensors (counters, options).
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Classes and functions of other programs that the file mentions; what they would make was not made.
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A tensor's numbers in row-major order, little-endian.
    pub fn bytes(&self, tensor: &TorchTensor) -> Vec<u8> {
        numbers(&self.map, tensor)
    }

    /// Whether a file begins as `torch.save`'s do.
    ///
    /// # Errors
    /// `Io` if it cannot be read.
    pub(in crate::weights) fn begins(path: &Path) -> Result<bool, WeightsError> {
        let map = mapped(path, 1)?;
        Ok(map.is_some_and(|map| map.starts_with(ZIP) || map.starts_with(PICKLE)))
    }

    pub(in crate::weights) fn into_map(self) -> Mmap {
        self.map
    }
}

impl TorchTensor {
    /// Its numbers in row-major order, little-endian, of the file that it is from.
    pub(in crate::weights) fn numbers(&self, file: &[u8]) -> Vec<u8> {
        numbers(file, self)
    }

    /// Bytes of its numbers.
    pub(in crate::weights) fn stored_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// A tensor's numbers in row-major order.
pub(super) fn numbers(file: &[u8], tensor: &TorchTensor) -> Vec<u8> {
    let storage = &file[tensor.storage.clone()];
    let width = tensor.dtype.bitsize() / 8;
    let count: usize = tensor.shape.iter().product();
    if count == 0 {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(count * width);
    gather(
        &tensor.view,
        storage,
        width,
        0,
        tensor.view.offset,
        &mut bytes,
    );
    bytes
}

fn wrong(path: &Path, rule: String) -> WeightsError {
    WeightsError::Pickle {
        path: path.into(),
        rule,
    }
}

/// Appends the numbers of a view from dimension `depth` on, beginning at `at`.
fn gather(
    view: &Pickled,
    storage: &[u8],
    width: usize,
    depth: usize,
    at: usize,
    out: &mut Vec<u8>,
) {
    let Some((side, stride)) = view.shape.get(depth).zip(view.strides.get(depth)) else {
        out.extend_from_slice(&storage[at * width..(at + 1) * width]);
        return;
    };
    if contiguous(&view.shape[depth..], &view.strides[depth..]) {
        let count: usize = view.shape[depth..].iter().product();
        out.extend_from_slice(&storage[at * width..(at + count) * width]);
        return;
    }
    for index in 0..*side {
        gather(view, storage, width, depth + 1, at + index * stride, out);
    }
}

fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(side, stride)| {
        let fits = *side == 1 || *stride == expected;
        expected *= side;
        fits
    })
}

/// What a file says, or the broken rule.
pub(super) fn described(bytes: &[u8]) -> Result<Description, String> {
    let content = if bytes.starts_with(ZIP) {
        zipped(bytes)?
    } else if bytes.starts_with(PICKLE) {
        legacy(bytes)?
    } else {
        return Err("neither a zip archive nor a pickle, as torch.save writes them".into());
    };
    let dict = weights(&content.machine, &content.root)?;
    let (mut tensors, mut skipped): (Vec<TorchTensor>, Vec<String>) = Default::default();
    for (key, value) in dict {
        let (Value::Text(name), Value::Tensor(view)) = (key, value) else {
            match (key, value) {
                (Value::Text(name), _) => skipped.push(name.to_string()),
                (_, Value::Tensor(_)) => return Err("the key of a tensor is no text".into()),
                _ => {}
            }
            continue;
        };
        if tensors.iter().any(|tensor| *tensor.name == **name) {
            return Err(format!("{name} is there twice"));
        }
        let storage = content.storages.get(&view.storage.key);
        let storage = storage.ok_or_else(|| format!("{name}: its storage is not in the file"))?;
        let width = view.storage.dtype.bitsize() / 8;
        if view.storage.count.checked_mul(width) != Some(storage.len()) {
            return Err(format!(
                "{name}: its storage has {} bytes, expected {} numbers of {width}",
                storage.len(),
                view.storage.count
            ));
        }
        tensors.push(TorchTensor {
            name: name.to_string(),
            dtype: view.storage.dtype,
            shape: view.shape.clone(),
            view: Pickled::clone(view),
            storage: storage.clone(),
        });
    }
    Ok(Description {
        tensors,
        skipped,
        foreign: content.machine.foreign.into_iter().collect(),
    })
}

/// The dictionary that holds tensors: the outermost one, or one inside under a usual name, if it holds more of them.
fn weights<'m>(machine: &'m Machine, root: &Value) -> Result<&'m [(Value, Value)], String> {
    inside(machine, root, 4).ok_or_else(|| {
        let mut told = format!(
            "it holds no dictionary of tensors, neither outermost nor under {}",
            WRAPPERS.join(", ")
        );
        if !machine.foreign.is_empty() {
            let names: Vec<&str> = machine.foreign.iter().map(String::as_str).collect();
            told.push_str(&format!(
                "; it mentions {}, which is not read",
                names.join(", ")
            ));
        }
        told
    })
}

fn inside<'m>(machine: &'m Machine, value: &Value, depth: usize) -> Option<&'m [(Value, Value)]> {
    let Value::Dict(dict) = value else {
        return None;
    };
    let entries = machine.dicts[*dict].as_slice();
    let count = |entries: &[(Value, Value)]| {
        let tensors = entries
            .iter()
            .filter(|(_, value)| matches!(value, Value::Tensor(_)));
        tensors.count()
    };
    let named = |wrapper: &str| {
        let mut entries = entries.iter();
        let (_, value) = entries.find(|(key, _)| *key == Value::Text(wrapper.into()))?;
        inside(machine, value, depth.checked_sub(1)?)
    };
    let inner = WRAPPERS.into_iter().find_map(named);
    let own = count(entries);
    inner
        .filter(|inner| count(inner) > own)
        .or((own > 0).then_some(entries))
}

fn zipped(bytes: &[u8]) -> Result<Content<'_>, String> {
    let entries = archive::entries(bytes)?;
    let root = entries
        .keys()
        .find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.ok_or("the archive has no data.pkl; is it a TorchScript program?")?;
    let entry = |name: &str| entries.get(&format!("{root}{name}")).cloned();
    if entry("constants.pkl").is_some() {
        return Err("it is a TorchScript program, not a state dict; save its state_dict()".into());
    }
    if let Some(order) = entry("byteorder")
        && &bytes[order.clone()] != b"little"
    {
        return Err("its numbers are big-endian".into());
    }
    let pickle = entry("data.pkl").expect("found above");
    let mut machine = Machine::new(&bytes[pickle]);
    let value = machine.run()?;
    let storages = machine.storages.keys();
    let storages = storages.filter_map(|key| Some((key.clone(), entry(&format!("data/{key}"))?)));
    Ok(Content {
        storages: storages.collect(),
        machine,
        root: value,
    })
}

/// Four pickles (mark, version, system, value), one with the storages' order, then the storages.
fn legacy(bytes: &[u8]) -> Result<Content<'_>, String> {
    let mut machine = Machine::new(bytes);
    if machine.run()? != Value::Long(LEGACY.as_slice().into()) {
        return Err("a pickle, but not one of torch.save".into());
    }
    if machine.run()? != Value::Int(LEGACY_VERSION) {
        return Err("an unknown version of the old container".into());
    }
    machine.run()?;
    let root = machine.run()?;
    let Value::List(order) = machine.run()? else {
        return Err("the old container does not list its storages".into());
    };
    let mut at = machine.position();
    let mut storages = HashMap::new();
    for key in &machine.lists[order] {
        let Value::Text(key) = key else {
            return Err("the name of a storage is no text".into());
        };
        let known = machine.storages.get(&**key);
        let known = known.ok_or_else(|| format!("storage {key:?} belongs to no tensor"))?;
        let cut = || format!("the file ends within storage {key:?}; it was cut off");
        let count = bytes.get(at..at + 8).ok_or_else(cut)?;
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes"));
        if count != known.count as u64 {
            return Err(format!(
                "storage {key:?} has {count} numbers, its tensors say {}",
                known.count
            ));
        }
        let length = known.count.checked_mul(known.dtype.bitsize() / 8);
        let end = length.and_then(|length| (at + 8).checked_add(length));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        storages.insert(key.to_string(), at + 8..end);
        at = end;
    }
    Ok(Content {
        machine,
        root,
        storages,
    })
}

//! Modules whose parameters lie in a file under other keys, several in one tensor, or transposed; read from it, and
//! written back as they came.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::path::Path;

use burn::module::Module;
use half::{bf16, f16};
use safetensors::Dtype;

use super::file::{View, transposed};
use super::{
    LazyTensor, LoadOptions, Rename, WeightsError, WeightsFile, check, lazy_state, load,
    read_tensors, shapes, write_stream,
};

/// Where a parameter lies in a published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tensor's key.
    pub key: String,
    /// Which of how many equal parts of its rows the parameter is.
    pub part: (usize, usize),
    /// Whether the tensor's rows are the parameter's columns.
    pub transposed: bool,
    /// Whether one of the two may have extents of 1 in front that the other has not.
    pub ones: bool,
}

impl Place {
    /// A tensor of its own.
    pub fn whole(key: String) -> Self {
        Self::part(key, 0, 1)
    }

    /// Part number `index`, from 0, of `of`.
    pub fn part(key: String, index: usize, of: usize) -> Self {
        Self {
            key,
            part: (index, of),
            transposed: false,
            ones: false,
        }
    }

    /// The same with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            transposed: true,
            ..self
        }
    }

    /// The same whatever extents of 1 stand in front: a number without extents, a table for a batch of one.
    #[must_use]
    pub fn whatever_ones(self) -> Self {
        Self { ones: true, ..self }
    }

    /// The same with something before its key.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        Self {
            key: format!("{prefix}{}", self.key),
            ..self
        }
    }
}

impl Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.key)?;
        match self.part {
            (_, 1) => {}
            (index, of) => write!(out, " (part {} of {of})", index + 1)?,
        }
        if self.transposed {
            out.write_str(" (transposed)")?;
        }
        Ok(())
    }
}

/// From a module's parameter path to its place in a file.
pub type Places<'a> = &'a dyn Fn(&str) -> Place;

/// Fills a module whose parameters lie at these places; `allow_unused` as in [`LoadOptions`].
///
/// # Errors
/// Those of [`load`], which name places.
pub fn load_placed<M: Module>(
    module: M,
    file: WeightsFile,
    place: Places,
    allow_unused: &[&str],
) -> Result<M, WeightsError> {
    let file = seen_by(&module, file, place);
    let rename = |path: &str| place(path).to_string();
    load(module, &file, &placed_options(&rename, allow_unused))
}

/// Says everything of a file that does not fit a module whose parameters lie at these places, without reading any.
///
/// # Errors
/// Those of [`check`], which name places.
pub fn check_placed<M: Module>(
    module: &M,
    file: WeightsFile,
    place: Places,
    allow_unused: &[&str],
) -> Result<(), WeightsError> {
    let file = seen_by(module, file, place);
    let rename = |path: &str| place(path).to_string();
    check(module, &file, &placed_options(&rename, allow_unused))
}

fn placed_options<'a>(rename: Rename<'a>, allow_unused: &'a [&'a str]) -> LoadOptions<'a> {
    LoadOptions {
        rename: Some(rename),
        allow_unused,
        ..LoadOptions::default()
    }
}

/// A file with a module's parameters under the names of their places.
fn seen_by<M: Module>(module: &M, file: WeightsFile, place: Places) -> WeightsFile {
    let views = shapes(module).into_iter().map(|(path, shape)| {
        let place = place(&path);
        View {
            name: place.to_string(),
            place,
            rank: shape.rank(),
        }
    });
    file.seen_at(views.collect())
}

/// Writes a file like `original` with a module's parameters in their places: the same keys, shapes and types, and what the
/// module has not as it is there. Parameters that did not change are bit for bit what they were.
///
/// # Errors
/// `Io` naming the file; `Convert` naming a place that the original has not, or not in this shape.
pub fn write_placed<M: Module>(
    module: &M,
    original: &WeightsFile,
    place: Places,
    path: &Path,
) -> Result<(), WeightsError> {
    let mut parts: BTreeMap<String, Vec<(Place, LazyTensor<'static>)>> = BTreeMap::new();
    for tensor in lazy_state(module) {
        let place = place(&tensor.name);
        parts
            .entry(place.key.clone())
            .or_default()
            .push((place, tensor));
    }
    let wrong = |key: &str, problem: &str| WeightsError::Convert {
        path: original.path().into(),
        problem: format!(
            "{key}: {problem}; the parameters are those of another checkpoint, give the one they came from"
        ),
    };
    let mut tensors = read_tensors(&[], std::slice::from_ref(original));
    for tensor in &mut tensors {
        let Some(mut own) = parts.remove(&tensor.name) else {
            continue;
        };
        own.sort_by_key(|(place, _)| place.part.0);
        let size: usize = own
            .iter()
            .map(|(_, t)| t.shape.iter().product::<usize>())
            .sum();
        let whole = own
            .first()
            .is_some_and(|(place, _)| place.part.1 == own.len());
        if !whole || size != tensor.shape.iter().product::<usize>() {
            return Err(wrong(
                &tensor.name,
                "another shape than that of the parameters",
            ));
        }
        let dtype = tensor.dtype;
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(wrong(&tensor.name, "no floating-point tensor"));
        }
        let read = std::mem::replace(&mut tensor.read, Box::new(Vec::new));
        tensor.read = Box::new(move || {
            let numbers = own.iter().flat_map(|(place, tensor)| placed(place, tensor));
            stored(numbers, dtype, &read)
        });
    }
    if let Some(key) = parts.keys().next() {
        return Err(wrong(key, "not there"));
    }
    let format = original.metadata("format").unwrap_or_else(|| "pt".into());
    let metadata = HashMap::from([("format".to_owned(), format)]);
    write_stream(&mut tensors, path, &metadata)
}

/// A parameter's numbers in the order in which its place has them.
fn placed(place: &Place, tensor: &LazyTensor) -> Vec<f32> {
    let numbers = tensor.f32().expect("parameters are floating-point");
    match (place.transposed, tensor.shape.as_slice()) {
        (true, [rows, columns]) => transposed(&numbers, *rows, *columns),
        _ => numbers,
    }
}

/// Numbers as a file stores them. 64 bits hold more than a parameter does: there an unchanged number stays what `original` has.
fn stored(
    numbers: impl Iterator<Item = f32>,
    dtype: Dtype,
    original: &dyn Fn() -> Vec<u8>,
) -> Vec<u8> {
    match dtype {
        Dtype::F16 => numbers
            .flat_map(|x| f16::from_f32(x).to_le_bytes())
            .collect(),
        Dtype::BF16 => numbers
            .flat_map(|x| bf16::from_f32(x).to_le_bytes())
            .collect(),
        Dtype::F64 => {
            let before = original();
            let before = before
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f64::from_le_bytes(*bytes));
            let kept = numbers.zip(before).map(|(now, before)| {
                if (before as f32).to_bits() == now.to_bits() {
                    before
                } else {
                    f64::from(now)
                }
            });
            kept.flat_map(f64::to_le_bytes).collect()
        }
        _ => numbers.flat_map(f32::to_le_bytes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Linear;
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Two {
        q: Linear,
        k: Linear,
        out: Linear,
    }

    fn two() -> Two {
        let linear = |inputs, outputs| Linear::new(inputs, outputs, false, &Device::flex());
        Two {
            q: linear(3, 2),
            k: linear(3, 2),
            out: linear(2, 3),
        }
    }

    fn place(path: &str) -> Place {
        match path {
            "q.weight" => Place::part("qk".into(), 0, 2),
            "k.weight" => Place::part("qk".into(), 1, 2),
            other => Place::whole(other.replace(".weight", "")).transposed(),
        }
    }

    fn tensor(name: &str, dtype: Dtype, shape: &[usize], numbers: Vec<f64>) -> LazyTensor<'static> {
        LazyTensor {
            name: name.into(),
            dtype,
            shape: shape.into(),
            read: Box::new(move || match dtype {
                Dtype::F64 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::F16 => {
                    let numbers = numbers.iter();
                    numbers
                        .flat_map(|x| f16::from_f64(*x).to_le_bytes())
                        .collect()
                }
                _ => numbers
                    .iter()
                    .flat_map(|x| (*x as i64).to_le_bytes())
                    .collect(),
            }),
        }
    }

    fn written(folder: &Path) -> WeightsFile {
        let numbers = |count: i32| (0..count).map(|x| f64::from(x) / 3.0).collect::<Vec<_>>();
        let mut tensors = [
            tensor("qk", Dtype::F16, &[4, 3], numbers(12)),
            tensor("out", Dtype::F64, &[2, 3], numbers(6)),
            tensor("position_ids", Dtype::I64, &[2], vec![0.0, 1.0]),
        ];
        let path = folder.join("original.safetensors");
        write_stream(&mut tensors, &path, &HashMap::new()).unwrap();
        WeightsFile::open(&path).unwrap()
    }

    #[test]
    fn parts_and_transposed_tensors_go_there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let original = written(folder.path());
        let again = WeightsFile::open(original.path()).unwrap();
        let filled = load_placed(two(), again, &place, &["position_ids"]).unwrap();
        let values =
            |layer: &Linear| -> Vec<f32> { layer.weight.val().into_data().iter::<f32>().collect() };
        let half = |x: f64| f16::from_f64(x / 3.0).to_f32();
        assert_eq!(
            values(&filled.k),
            [6.0, 7.0, 8.0, 9.0, 10.0, 11.0].map(half)
        );
        assert_eq!(
            values(&filled.out),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].map(|x: f64| (x / 3.0) as f32)
        );
        let path = folder.path().join("again.safetensors");
        write_placed(&filled, &original, &place, &path).unwrap();
        let copy = WeightsFile::open(&path).unwrap();
        for key in ["qk", "out", "position_ids"] {
            assert_eq!(copy.bytes(key), original.bytes(key), "{key}");
            assert_eq!(
                (copy.dtype(key), copy.shape(key)),
                (original.dtype(key), original.shape(key))
            );
        }
    }

    #[test]
    fn extents_of_one_count_unless_the_place_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.safetensors");
        let mut tensors = [tensor("weight", Dtype::F64, &[1, 1, 2], vec![1.0, 2.0])];
        write_stream(&mut tensors, &path, &HashMap::new()).unwrap();
        let filled = |place: Places| {
            let layer = Linear::new(2, 1, false, &Device::flex());
            load_placed(layer, WeightsFile::open(&path).unwrap(), place, &[])
        };
        let strict = |path: &str| Place::whole(path.to_owned());
        let error = filled(&strict).unwrap_err().to_string();
        assert!(error.contains("found [1, 1, 2]"), "{error}");
        filled(&|path: &str| strict(path).whatever_ones()).unwrap();
    }

    #[test]
    fn places_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let original = written(folder.path());
        let open = || WeightsFile::open(original.path()).unwrap();
        let elsewhere = |path: &str| Place::part(path.replace("k.weight", "gone"), 1, 2);
        let error = load_placed(two(), open(), &elsewhere, &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("gone (part 2 of 2)") && error.contains("position_ids"),
            "{error}"
        );
        let thirds = |path: &str| match path {
            "q.weight" => Place::part("qk".into(), 0, 3),
            other => place(other),
        };
        let error = load_placed(two(), open(), &thirds, &[""])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("qk (part 1 of 3): expected [2, 3], found [4, 3]"),
            "{error}"
        );
        let other = |path: &str| match path {
            "out.weight" => Place::whole("other".into()),
            path => place(path),
        };
        let target = folder.path().join("x.safetensors");
        let error = write_placed(&two(), &original, &other, &target)
            .unwrap_err()
            .to_string();
        assert!(error.contains("other: not there"), "{error}");
        assert!(!target.exists());
    }
}

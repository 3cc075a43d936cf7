use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Shape, Tensor, TensorData};
use deem_kernels::precision::cast;
use half::{bf16, f16};
use safetensors::Dtype;

use super::{WeightsError, WeightsFile, shapes};

/// From a module's parameter path to the key in a checkpoint.
pub type Rename<'a> = &'a dyn Fn(&str) -> String;

/// How strictly a file must match the module, and under which names.
#[derive(Default)]
pub struct LoadOptions<'a> {
    /// Prepended to every parameter path.
    pub prefix: &'a str,
    /// Applied to the prefixed path.
    pub rename: Option<Rename<'a>>,
    /// Parameters whose path starts with one of these may be absent: they keep their value.
    pub allow_missing: &'a [&'a str],
    /// Parameters whose path starts with one of these keep their value, and their keys remain unread.
    pub skip: &'a [&'a str],
    /// Keys that start with one of these, or, after a `*`, end so, may remain unread. Keys outside
    /// `prefix` are never looked at.
    pub allow_unused: &'a [&'a str],
}

/// Fills a module from a file, or says everything that does not fit, at once.
///
/// Whether a parameter is trainable does not change. Numbers are widened to 32 bits, but for matrices of
/// [`Linear`](crate::nn::Linear) layers stored in 16: they stay so in memory, if the device computes in that type,
/// and are widened when they are read; [`widen`] does it before they are trained.
///
/// # Errors
/// Those of [`check`]; `NotFinite` listing tensors with numbers that are none.
pub fn load<M: Module>(
    module: M,
    file: &WeightsFile,
    options: &LoadOptions,
) -> Result<M, WeightsError> {
    check(&module, file, options)?;
    let mut loader = Loader {
        file,
        options,
        path: Vec::new(),
        containers: Vec::new(),
        not_finite: Vec::new(),
    };
    let module = module.map(&mut loader);
    if loader.not_finite.is_empty() {
        return Ok(module);
    }
    Err(WeightsError::NotFinite {
        path: file.path().into(),
        keys: loader.not_finite,
    })
}

/// Says everything of a file that does not fit a module: keys and shapes, of which nothing is read.
///
/// # Errors
/// `Mismatch` listing all missing, unused and misshapen tensors; `Format` if there are no tensors at all.
pub fn check<M: Module>(
    module: &M,
    file: &WeightsFile,
    options: &LoadOptions,
) -> Result<(), WeightsError> {
    if file.keys().next().is_none() {
        return Err(WeightsError::Format {
            path: file.path().into(),
            rule: "it holds no tensors".into(),
        });
    }
    let mut used = BTreeSet::new();
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (path, shape) in shapes(module) {
        let key = options.key(&path);
        if !options.skips(&path) {
            let Some(found) = file.shape(&key) else {
                let allowed = options.allow_missing;
                if !allowed.iter().any(|begin| path.starts_with(begin)) {
                    missing.push(key);
                }
                continue;
            };
            if found != shape.to_vec().as_slice() {
                misshapen.push(format!("{key}: expected {shape}, found {found:?}"));
            } else if !file.is_float(&key) {
                misshapen.push(format!("{key}: expected a floating-point tensor"));
            }
        }
        used.insert(key);
    }
    let unused: Vec<String> = file
        .keys()
        .filter(|key| key.starts_with(options.prefix) && !used.contains(*key))
        .filter(|key| !options.allow_unused.iter().any(|p| meant(p, key)))
        .map(str::to_owned)
        .collect();
    if missing.is_empty() && unused.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    let module = std::any::type_name::<M>();
    Err(WeightsError::Mismatch {
        path: file.path().into(),
        module: module.rsplit("::").next().unwrap_or(module).into(),
        missing,
        unused,
        misshapen,
    })
}

impl LoadOptions<'_> {
    /// Whether a parameter keeps its value whatever the file holds.
    fn skips(&self, path: &str) -> bool {
        self.skip.iter().any(|begin| path.starts_with(begin))
    }

    /// Where a parameter lies in the file.
    fn key(&self, path: &str) -> String {
        let key = format!("{}{path}", self.prefix);
        self.rename.map_or(key.clone(), |rename| rename(&key))
    }
}

struct Loader<'a> {
    file: &'a WeightsFile,
    options: &'a LoadOptions<'a>,
    path: Vec<String>,
    /// Types of the modules that the path leads through.
    containers: Vec<String>,
    not_finite: Vec<String>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if self.options.skips(&path) {
            return param;
        }
        let key = self.options.key(&path);
        // What was checked and is not there may be missing.
        let Some(data) = self.numbers(&key, param.lazy_shape(), &param.lazy_device()) else {
            return param;
        };
        if !finite(&data) {
            self.not_finite.push(key);
        }
        set(param, data)
    }
}

/// Whether all numbers are numbers.
fn finite(data: &TensorData) -> bool {
    match data.dtype() {
        DType::F16 => data
            .as_slice::<f16>()
            .is_ok_and(|all| all.iter().all(|x| x.is_finite())),
        DType::BF16 => data
            .as_slice::<bf16>()
            .is_ok_and(|all| all.iter().all(|x| x.is_finite())),
        _ => data
            .as_slice::<f32>()
            .is_ok_and(|all| all.iter().all(|x| x.is_finite())),
    }
}

impl Loader<'_> {
    /// A tensor in the type that it has in memory; `None` if it is not there.
    fn numbers(&self, key: &str, shape: Shape, device: &Device) -> Option<TensorData> {
        let layer = self.containers.last().is_some_and(|c| c == "Struct:Linear");
        let matrix = layer && shape.rank() == 2;
        let keeps = |dtype: FloatDType| matrix && device.supports_dtype(dtype);
        match self.file.dtype(key) {
            Some(Dtype::F16) if keeps(FloatDType::F16) => {
                Some(TensorData::new(self.file.f16(key)?, shape))
            }
            Some(Dtype::BF16) if keeps(FloatDType::BF16) => {
                Some(TensorData::new(self.file.bf16(key)?, shape))
            }
            _ => Some(TensorData::new(self.file.f32(key)?, shape)),
        }
    }
}

/// Puts values into a parameter without changing whether it is trained. A parameter that has no value
/// yet never gets its constant: nothing is allocated but the values.
pub(crate) fn set<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
    let (device, dtype) = (param.lazy_device(), data.dtype());
    let tensor = Tensor::<D>::from_data(data, (&device, dtype));
    let id = param.id;
    param.transform_for_load(tensor, id)
}

/// Keeps the frozen matrices, kernels and tables of a module's [`Linear`](crate::nn::Linear),
/// [`Conv2d`](crate::nn::Conv2d) and [`Embedding`](crate::nn::Embedding) layers in the given type: of the memory
/// that weights take, nearly everything.
pub fn narrow<M: Module>(module: M, dtype: FloatDType) -> M {
    struct Narrower {
        dtype: FloatDType,
        containers: Vec<String>,
    }
    impl ModuleMapper for Narrower {
        fn enter_module(&mut self, _name: &str, container: &str) {
            self.containers.push(container.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.containers.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            // The last name is the parameter's own, and its container the layer.
            let layer = self.containers.last().map(String::as_str);
            let layer = matches!(
                layer,
                Some("Struct:Linear" | "Struct:Conv2d" | "Struct:Embedding")
            );
            if !layer || D < 2 || !param.is_initialized() || param.val().is_require_grad() {
                return param;
            }
            let dtype = self.dtype;
            param.map(|value| cast(value, dtype.into()))
        }
    }
    module.map(&mut Narrower {
        dtype,
        containers: Vec::new(),
    })
}

/// A parameter in 32 bits, as training needs it. One that has no value yet gets none.
pub fn widen<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
    if !param.is_initialized() || param.val().dtype() == DType::F32 {
        return param;
    }
    let data = param.val().into_data().convert::<f32>();
    set(param, data)
}

/// Whether a key is meant by a pattern: its beginning, or, after a `*`, its end.
fn meant(pattern: &str, key: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => key.ends_with(end),
        None => key.starts_with(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Linear;
    use crate::weights::{StateTensor, write, write_stream};
    use burn::tensor::Device;
    use safetensors::Dtype;

    #[test]
    fn matrices_of_linear_layers_stay_in_the_16_bits_they_are_stored_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensor = |name: &str, shape: &[usize]| StateTensor {
            name: name.into(),
            shape: shape.into(),
            values: (1..=shape.iter().product()).map(|x| x as f32).collect(),
        };
        let tensors = [tensor("weight", &[2, 3]), tensor("bias", &[2])];
        write(&tensors, &path, Dtype::F16, Default::default()).unwrap();
        let file = WeightsFile::open(&path).unwrap();
        let device = Device::flex().autodiff();
        let layer = load(Linear::new(3, 2, true, &device), &file, &Default::default()).unwrap();
        assert_eq!(layer.weight.val().dtype(), DType::F16);
        assert_eq!(layer.bias.unwrap().val().dtype(), DType::F32);
        let weight = widen(layer.weight);
        assert!(weight.is_require_grad());
        let values: Vec<f32> = weight.val().into_data().try_into_vec().unwrap();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn numbers_that_are_none_and_empty_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let load_again = |values: Vec<f32>, dtype| {
            let tensor = StateTensor {
                name: "weight".into(),
                shape: vec![1, 2],
                values,
            };
            write(&[tensor], &path, dtype, Default::default()).unwrap();
            let file = WeightsFile::open(&path).unwrap();
            let module = Linear::new(2, 1, false, &Device::flex());
            load(module, &file, &Default::default())
        };
        for dtype in [Dtype::F32, Dtype::F16] {
            load_again(vec![1.0, -2.0], dtype).unwrap();
            for broken in [f32::NAN, f32::INFINITY] {
                let error = load_again(vec![1.0, broken], dtype)
                    .unwrap_err()
                    .to_string();
                assert!(
                    error.contains("NaN or infinite") && error.contains("weight"),
                    "{error}"
                );
            }
        }
        let empty = folder.path().join("empty.safetensors");
        write_stream(&mut [], &empty, &Default::default()).unwrap();
        let file = WeightsFile::open(&empty).unwrap();
        let module = Linear::new(2, 1, false, &Device::flex());
        let error = load(module, &file, &Default::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no tensors"), "{error}");
    }

    #[test]
    fn surplus_keys_are_allowed_by_their_beginning_or_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensor = |name: &str, shape: &[usize]| StateTensor {
            name: name.into(),
            shape: shape.into(),
            values: vec![2.0; shape.iter().product()],
        };
        let tensors = [
            tensor("weight", &[1, 2]),
            tensor("text.weight", &[1]),
            tensor("layers.0.inv_freq", &[3]),
        ];
        write(&tensors, &path, Dtype::F32, Default::default()).unwrap();
        let file = WeightsFile::open(&path).unwrap();
        let module = || Linear::new(2, 1, false, &Device::flex());
        let load_with = |allow_unused| {
            let options = LoadOptions {
                allow_unused,
                ..LoadOptions::default()
            };
            load(module(), &file, &options)
        };
        let filled = load_with(&["text.", "*inv_freq"]).unwrap();
        let values: Vec<f32> = filled.weight.val().into_data().try_into_vec().unwrap();
        assert_eq!(values, [2.0, 2.0]);
        let error = load_with(&["text."]).unwrap_err().to_string();
        assert!(error.contains("layers.0.inv_freq"), "{error}");
        assert!(!error.contains("text.weight"), "{error}");
    }
}

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use half::f16;
use safetensors::{Dtype, View, serialize};
use std::borrow::Cow;

use super::{LazyTensor, WeightsError};

/// One named tensor on the host.
#[derive(Clone, Debug)]
pub struct StateTensor {
    /// Parameter path.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

/// All parameters of a module under their paths (PyTorch's `state_dict`).
pub fn state<M: Module>(module: &M) -> Vec<StateTensor> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.tensors
}

/// All parameters of a module, in the types that they have in memory; each leaves its device when it is read.
pub fn lazy_state<M: Module>(module: &M) -> Vec<LazyTensor<'static>> {
    LazyCollector::of(module, false)
}

/// As [`lazy_state`], of the parameters that are being trained.
pub fn lazy_trained_state<M: Module>(module: &M) -> Vec<LazyTensor<'static>> {
    LazyCollector::of(module, true)
}

struct LazyCollector {
    only_trained: bool,
    path: Vec<String>,
    tensors: Vec<LazyTensor<'static>>,
}

impl LazyCollector {
    fn of<M: Module>(module: &M, only_trained: bool) -> Vec<LazyTensor<'static>> {
        let mut collector = Self {
            only_trained,
            path: Vec::new(),
            tensors: Vec::new(),
        };
        module.visit(&mut collector);
        collector.tensors
    }
}

impl ModuleVisitor for LazyCollector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if self.only_trained && !value.is_require_grad() {
            return;
        }
        let dtype = match value.dtype() {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        let value = value.detach();
        self.tensors.push(LazyTensor {
            name: self.path.join("."),
            dtype,
            shape: value.dims().to_vec(),
            read: Box::new(move || {
                let data = value.clone().into_data();
                let data = match dtype {
                    Dtype::F32 => data.convert::<f32>(),
                    _ => data,
                };
                data.as_bytes().to_vec()
            }),
        });
    }
}

/// Writes a module's parameters as a safetensors file in `dtype` (F32 or F16).
///
/// The file appears whole or not at all: temporary name, flush to disk, rename.
///
/// # Errors
/// `Io` naming the file.
pub fn save<M: Module>(
    module: &M,
    path: &Path,
    dtype: Dtype,
    metadata: HashMap<String, String>,
) -> Result<(), WeightsError> {
    write(&state(module), path, dtype, metadata)
}

/// Writes named tensors as a safetensors file; see [`save`].
///
/// # Errors
/// `Io` naming the file.
pub fn write(
    tensors: &[StateTensor],
    path: &Path,
    dtype: Dtype,
    metadata: HashMap<String, String>,
) -> Result<(), WeightsError> {
    let io = |cause| WeightsError::Io {
        path: path.into(),
        cause,
    };
    let views = tensors
        .iter()
        .map(|tensor| (&tensor.name, Encoded { tensor, dtype }));
    let bytes = serialize(views, Some(metadata)).map_err(|error| WeightsError::Format {
        path: path.into(),
        rule: error.to_string(),
    })?;
    let temporary = path.with_extension("safetensors.part");
    let result = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(io)
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Vec<StateTensor>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data().convert::<f32>();
        self.tensors.push(StateTensor {
            name: self.path.join("."),
            shape: param.lazy_shape().to_vec(),
            values: data.try_into_vec().expect("converted to f32"),
        });
    }
}

struct Encoded<'a> {
    tensor: &'a StateTensor,
    dtype: Dtype,
}

impl View for Encoded<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.tensor.values.iter();
        Cow::Owned(match self.dtype {
            Dtype::F16 => values
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
            _ => values.flat_map(|v| v.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.tensor.values.len() * if self.dtype == Dtype::F16 { 2 } else { 4 }
    }
}

//! Named tensors in and out, and the gradients of those that came in.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, FloatDType, Gradients, Int, Tensor, TensorData};
use deem_kernels::precision::{cast, wide};
use deem_model::weights::{StateTensor, WeightsFile};

use crate::{EngineError, Precision};

type GradientOf = Box<dyn Fn(&Gradients) -> Option<Vec<f32>>>;

/// Inputs of a component and what it made of them.
pub(super) struct Tensors<'a> {
    file: WeightsFile,
    device: &'a Device,
    dtype: FloatDType,
    gradients: bool,
    leaves: BTreeMap<String, (Vec<usize>, GradientOf)>,
    outputs: Vec<(String, Vec<usize>, Tensor<1>)>,
}

/// What an extent may be.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// Anything.
    Any,
    /// This.
    Is(usize),
    /// This or more.
    AtLeast(usize),
    /// The same wherever this name stands.
    Same(&'static str),
}

/// An input of a component.
pub(super) struct Input {
    name: String,
    float: bool,
    optional: bool,
    /// Of any rank if absent.
    shape: Option<Vec<Extent>>,
}

impl Input {
    /// 32-bit floating-point numbers.
    pub(super) fn float(name: impl Into<String>, shape: &[Extent]) -> Self {
        Self {
            name: name.into(),
            float: true,
            optional: false,
            shape: Some(shape.to_vec()),
        }
    }

    /// 64-bit integers.
    pub(super) fn integer(name: impl Into<String>, shape: &[Extent]) -> Self {
        Self {
            float: false,
            ..Self::float(name, shape)
        }
    }

    /// The same with any number of extents.
    pub(super) fn of_any_rank(self) -> Self {
        Self {
            shape: None,
            ..self
        }
    }

    /// The same, which may be absent.
    pub(super) fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    fn problem(
        &self,
        file: &WeightsFile,
        named: &mut BTreeMap<&'static str, usize>,
    ) -> Option<String> {
        let name = &self.name;
        let Some(found) = file.shape(name) else {
            return (!self.optional).then(|| format!("{name}: missing"));
        };
        let (kind, fits) = if self.float {
            ("floating-point numbers", file.f32(name).is_some())
        } else {
            ("64-bit integers", file.i64(name).is_some())
        };
        if !fits {
            return Some(format!("{name}: expected {kind}"));
        }
        if found.contains(&0) {
            return Some(format!("{name}: shape {found:?} is empty"));
        }
        let expected = self.shape.as_ref()?;
        let mut fits = |(extent, found): (&Extent, &usize)| match *extent {
            Extent::Any => true,
            Extent::Is(size) => size == *found,
            Extent::AtLeast(size) => size <= *found,
            Extent::Same(name) => *named.entry(name).or_insert(*found) == *found,
        };
        // All of them, so that every name gets its extent.
        let mut misfits = || {
            expected
                .iter()
                .zip(found)
                .filter(|pair| !fits(*pair))
                .count()
        };
        let fits = expected.len() == found.len() && misfits() == 0;
        let told = expected.iter().map(|extent| match extent {
            Extent::Any => "any".into(),
            Extent::Is(size) => size.to_string(),
            Extent::AtLeast(size) => format!("at least {size}"),
            Extent::Same(name) => match named.get(name) {
                Some(size) => format!("{name} = {size}"),
                None => (*name).into(),
            },
        });
        let told: Vec<String> = told.collect();
        (!fits).then(|| {
            format!(
                "{name}: expected shape [{}], found {found:?}",
                told.join(", ")
            )
        })
    }
}

impl<'a> Tensors<'a> {
    pub(super) fn open(
        path: &Path,
        gradients: bool,
        device: &'a Device,
        precision: Precision,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            file: WeightsFile::open(path)?,
            device,
            dtype: precision.dtype(),
            gradients,
            leaves: BTreeMap::new(),
            outputs: Vec::new(),
        })
    }

    pub(super) fn device(&self) -> &'a Device {
        self.device
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.file.shape(name).is_some()
    }

    pub(super) fn unfit(&self, problem: impl std::fmt::Display) -> EngineError {
        EngineError::File {
            path: self.file.path().into(),
            problem: problem.to_string(),
        }
    }

    /// Checks names, types and shapes of all inputs; to be called before any is read.
    ///
    /// # Errors
    /// `File` naming everything that is missing, unknown, or of another type or shape.
    pub(super) fn declare(&self, inputs: &[Input]) -> Result<(), EngineError> {
        let mut named = BTreeMap::new();
        let mut problems: Vec<String> = inputs
            .iter()
            .filter_map(|input| input.problem(&self.file, &mut named))
            .collect();
        let unknown = self
            .file
            .keys()
            .filter(|key| !inputs.iter().any(|input| input.name == *key));
        problems.extend(unknown.map(|key| format!("{key}: no input of this component")));
        if problems.is_empty() {
            return Ok(());
        }
        let there = inputs.iter().map(|input| input.name.as_str());
        let there = there.collect::<Vec<_>>().join(", ");
        Err(self.unfit(format!(
            "inputs do not fit (the component has {there})\n  {}",
            problems.join("\n  ")
        )))
    }

    /// Extents of a declared input; none if it is absent.
    pub(super) fn shape(&self, name: &str) -> &[usize] {
        self.file.shape(name).unwrap_or_default()
    }

    /// A declared float input.
    pub(super) fn float<const D: usize>(&mut self, name: &str) -> Tensor<D> {
        let tensor = self.coordinates(name);
        self.enter(tensor)
    }

    /// A declared float input that no network rounds: coordinates.
    pub(super) fn coordinates<const D: usize>(&mut self, name: &str) -> Tensor<D> {
        let shape = self.shape(name).try_into().expect("declared");
        self.float_as(name, shape)
    }

    /// A declared float input of any rank, each row of which stands in the second axis.
    pub(super) fn rows(&mut self, name: &str) -> Tensor<4> {
        let shape = self.shape(name);
        let batch = shape.first().copied().unwrap_or(1);
        let rest = shape.iter().skip(1).product();
        let tensor = self.float_as(name, [batch, rest, 1, 1]);
        self.enter(tensor)
    }

    fn float_as<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Tensor<D> {
        let values = self.file.f32(name).expect("declared");
        let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), self.device);
        if !self.gradients {
            return tensor;
        }
        let tensor = tensor.require_grad();
        let leaf = tensor.clone();
        let gradient = move |gradients: &Gradients| Some(values_of(leaf.grad(gradients)?));
        let found = self.shape(name).to_vec();
        self.leaves.insert(name.into(), (found, Box::new(gradient)));
        tensor
    }

    /// What enters a network, in the type that it is to compute in.
    pub(super) fn enter<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        cast(tensor, self.dtype.into())
    }

    /// A declared integer input.
    pub(super) fn integer<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        let shape: [usize; D] = self.shape(name).try_into().expect("declared");
        Tensor::from_data(TensorData::new(self.integers(name), shape), self.device)
    }

    /// The values of a declared integer input.
    pub(super) fn integers(&self, name: &str) -> Vec<i64> {
        self.file.i64(name).expect("declared")
    }

    /// Records an output.
    pub(super) fn output<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        let shape = tensor.dims();
        self.output_as(name, tensor, &shape);
    }

    /// Records an output under another shape of the same size.
    pub(super) fn output_as<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        shape: &[usize],
    ) {
        let count = shape.iter().product::<usize>();
        self.outputs
            .push((name.into(), shape.to_vec(), wide(tensor).reshape([count])));
    }

    /// Outputs, and gradients if they are wanted.
    pub(super) fn finish(self) -> Vec<StateTensor> {
        let outputs = self
            .outputs
            .iter()
            .map(|(name, shape, values)| StateTensor {
                name: name.clone(),
                shape: shape.clone(),
                values: values_of(values.clone()),
            });
        let mut tensors: Vec<StateTensor> = outputs.collect();
        if let (true, Some((_, _, first))) = (self.gradients, self.outputs.first()) {
            let loss = first.clone().square().mean().mul_scalar(0.5);
            let gradients = loss.backward();
            for (name, (shape, gradient)) in &self.leaves {
                let count = shape.iter().product();
                tensors.push(StateTensor {
                    name: format!("grad.{name}"),
                    shape: shape.clone(),
                    // The first output may not depend on it.
                    values: gradient(&gradients).unwrap_or_else(|| vec![0.0; count]),
                });
            }
        }
        tensors
    }
}

fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

//! Named tensors in and out, and the gradients of those that came in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use deem_model::weights::{StateTensor, WeightsFile};

use crate::EngineError;

type GradientOf = Box<dyn Fn(&Gradients) -> Option<Vec<f32>>>;

/// Inputs of a component and what it made of them.
pub(super) struct Tensors<'a> {
    file: WeightsFile,
    device: &'a Device,
    gradients: bool,
    read: BTreeSet<String>,
    leaves: BTreeMap<String, (Vec<usize>, GradientOf)>,
    outputs: Vec<(String, Vec<usize>, Tensor<1>)>,
}

/// An extent that may be anything.
pub(super) const ANY: usize = usize::MAX;

impl<'a> Tensors<'a> {
    pub(super) fn open(
        path: &Path,
        gradients: bool,
        device: &'a Device,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            file: WeightsFile::open(path)?,
            device,
            gradients,
            read: BTreeSet::new(),
            leaves: BTreeMap::new(),
            outputs: Vec::new(),
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.file.shape(name).is_some()
    }

    pub(super) fn unfit(&self, problem: String) -> EngineError {
        EngineError::File {
            path: self.file.path().into(),
            problem,
        }
    }

    /// A float input whose extents are `expected`.
    pub(super) fn float<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
    ) -> Result<Tensor<D>, EngineError> {
        let shape = self.shape(name, expected)?;
        let values = self
            .file
            .f32(name)
            .ok_or_else(|| self.unfit(format!("{name}: expected floating-point numbers")))?;
        let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), self.device);
        if !self.gradients {
            return Ok(tensor);
        }
        let tensor = tensor.require_grad();
        let leaf = tensor.clone();
        let gradient = move |gradients: &Gradients| Some(values_of(leaf.grad(gradients)?));
        self.leaves
            .insert(name.into(), (shape.to_vec(), Box::new(gradient)));
        Ok(tensor)
    }

    /// An integer input whose extents are `expected`.
    pub(super) fn integer<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
    ) -> Result<Tensor<D, Int>, EngineError> {
        let shape = self.shape(name, expected)?;
        let values = self.integers(name)?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    /// The values of an integer input of any shape.
    pub(super) fn integers(&mut self, name: &str) -> Result<Vec<i64>, EngineError> {
        if !self.has(name) {
            return Err(self.missing(name));
        }
        self.read.insert(name.into());
        self.file
            .i64(name)
            .ok_or_else(|| self.unfit(format!("{name}: expected 64-bit integers")))
    }

    fn missing(&self, name: &str) -> EngineError {
        let there: Vec<&str> = self.file.keys().collect();
        self.unfit(format!("input {name:?} is missing; the file has {there:?}"))
    }

    fn shape<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
    ) -> Result<[usize; D], EngineError> {
        let Some(found) = self.file.shape(name) else {
            return Err(self.missing(name));
        };
        self.read.insert(name.into());
        let fits = found.len() == D
            && found.iter().zip(expected).all(|(f, e)| e == ANY || *f == e)
            && !found.contains(&0);
        <[usize; D]>::try_from(found)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| {
                let expected = expected.map(|e| {
                    if e == ANY {
                        "any".to_owned()
                    } else {
                        e.to_string()
                    }
                });
                let expected = expected.join(", ");
                self.unfit(format!(
                    "{name}: expected shape [{expected}], found {found:?}"
                ))
            })
    }

    /// Records an output.
    pub(super) fn output<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let count = shape.iter().product::<usize>();
        self.outputs
            .push((name.into(), shape, tensor.reshape([count])));
    }

    /// Outputs, and gradients if they are wanted.
    pub(super) fn finish(self) -> Result<Vec<StateTensor>, EngineError> {
        let unknown: Vec<&str> = self
            .file
            .keys()
            .filter(|name| !self.read.contains(*name))
            .collect();
        if !unknown.is_empty() {
            return Err(self.unfit(format!("inputs that this component has not: {unknown:?}")));
        }
        let mut tensors: Vec<StateTensor> = self
            .outputs
            .iter()
            .map(|(name, shape, values)| StateTensor {
                name: name.clone(),
                shape: shape.clone(),
                values: values_of(values.clone()),
            })
            .collect();
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
        Ok(tensors)
    }
}

fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

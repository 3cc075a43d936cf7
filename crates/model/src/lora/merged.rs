//! Adapters as values, and weights with their adapters folded in.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use deem_kernels::precision::wide;
use safetensors::Dtype;

use super::adapter::change;
use super::dropout::Masks;
use super::{A, AdapterSpec, B, attach};
use crate::weights::LazyTensor;

/// An adapter's factors on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterState {
    /// Which adapter.
    pub spec: AdapterSpec,
    /// Width of the layer's input.
    pub inputs: usize,
    /// Width of the layer's output.
    pub outputs: usize,
    /// A, `[rank, in]`, row by row.
    pub a: Vec<f32>,
    /// B, `[out, rank]`, row by row.
    pub b: Vec<f32>,
}

impl AdapterState {
    /// A and B with their shapes.
    fn factors(&self) -> [TensorData; 2] {
        let rank = self.spec.rank;
        [
            TensorData::new(self.a.clone(), [rank, self.inputs]),
            TensorData::new(self.b.clone(), [self.outputs, rank]),
        ]
    }
}

/// The factors of the adapters on a module, in the order of `specs`; those that it has not are left out.
pub fn states<M: Module>(module: &M, specs: &[AdapterSpec]) -> Vec<AdapterState> {
    let factors = Factors::of(module).0;
    let state = |spec: &AdapterSpec| {
        let (_, a, b) = factors.get(&spec.path)?;
        let ([_, inputs], [outputs, _]) = (a.dims(), b.dims());
        let host = |x: &Tensor<2>| x.to_data().convert::<f32>().iter::<f32>().collect();
        Some(AdapterState {
            spec: spec.clone(),
            inputs,
            outputs,
            a: host(a),
            b: host(b),
        })
    };
    specs.iter().filter_map(state).collect()
}

/// Weights of the layers with adapters, `W + (α / r) · B A`, under their own paths, in 32 bits. Each is computed when
/// it is read.
pub fn merged_weights<M: Module>(module: &M, specs: &[AdapterSpec]) -> Vec<LazyTensor<'static>> {
    let mut factors = Factors::of(module).0;
    let merged = |spec: &AdapterSpec| {
        let (weight, a, b) = factors.remove(&spec.path)?;
        let scale = spec.scale();
        Some(LazyTensor {
            name: format!("{}.weight", spec.path),
            dtype: Dtype::F32,
            shape: weight.dims().to_vec(),
            read: Box::new(move || {
                let merged = wide(weight.clone()) + change(b.clone(), a.clone(), scale);
                merged.into_data().convert::<f32>().as_bytes().to_vec()
            }),
        })
    };
    specs.iter().filter_map(merged).collect()
}

/// Weight, A and B by layer.
#[derive(Default)]
struct Factors(BTreeMap<String, (Tensor<2>, Tensor<2>, Tensor<2>)>);

impl Factors {
    fn of<M: Module>(module: &M) -> Self {
        let mut finder = Finder::default();
        module.visit(&mut finder);
        Self(finder.found)
    }
}

#[derive(Default)]
struct Finder {
    path: Vec<String>,
    weight: Option<Tensor<2>>,
    a: Option<Tensor<2>>,
    found: BTreeMap<String, (Tensor<2>, Tensor<2>, Tensor<2>)>,
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    /// A weight is visited before its adapter.
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D != 2 || !param.is_initialized() && super::layer_of(&self.path.join(".")).is_none() {
            return;
        }
        let path = self.path.join(".");
        let value = || {
            let dims = param.lazy_shape();
            param.val().detach().reshape([dims[0], dims[1]])
        };
        if let Some(layer) = path.strip_suffix(B) {
            if let (Some(weight), Some(a)) = (self.weight.take(), self.a.take()) {
                self.found.insert(layer.to_owned(), (weight, a, value()));
            }
        } else if path.ends_with(A) {
            self.a = Some(value());
        } else {
            self.weight = Some(value());
        }
    }
}

/// Takes adapters out of weights that they were folded into, and puts them on again: what was before
/// [`Module::materialize`], up to rounding.
pub fn unmerge<M: Module>(module: M, states: &[AdapterState], seed: u64, masks: &Masks) -> M {
    let by_path = states.iter().map(|s| (s.spec.path.as_str(), s)).collect();
    let module = module.map(&mut Subtractor {
        states: by_path,
        path: Vec::new(),
    });
    let specs: Vec<AdapterSpec> = states.iter().map(|state| state.spec.clone()).collect();
    fill(attach(module, &specs, seed, masks), states)
}

/// Gives attached adapters the factors of `states`.
pub(super) fn fill<M: Module>(module: M, states: &[AdapterState]) -> M {
    let mut values = BTreeMap::new();
    for state in states {
        let ([a, b], path) = (state.factors(), &state.spec.path);
        values.insert(format!("{path}{A}"), a);
        values.insert(format!("{path}{B}"), b);
    }
    module.map(&mut Filler {
        values,
        path: Vec::new(),
    })
}

struct Subtractor<'a> {
    states: BTreeMap<&'a str, &'a AdapterState>,
    path: Vec<String>,
}

impl ModuleMapper for Subtractor<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let layer = path.strip_suffix(".weight");
        let Some(state) = layer.and_then(|layer| self.states.get(layer)) else {
            return param;
        };
        param.map(|weight| {
            let device = weight.device();
            let [a, b] = state.factors().map(|x| Tensor::from_data(x, &device));
            let change = change(b, a, state.spec.scale()).reshape(weight.dims());
            let tracked = weight.is_require_grad();
            (wide(weight.detach()) - change).set_require_grad(tracked && device.is_autodiff())
        })
    }
}

struct Filler {
    values: BTreeMap<String, TensorData>,
    path: Vec<String>,
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.remove(&self.path.join(".")) {
            Some(data) => crate::weights::set(param, data),
            None => param,
        }
    }
}

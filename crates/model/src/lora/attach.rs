use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId, Reparameterizer};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rand::RngExt;

use super::adapter::Adapter;
use super::dropout::{Dropout, Masks};
use super::{A, AdapterSpec};
use crate::nn::param;
use crate::weights::init::path_rng;

/// A linear layer of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Path, without `.weight`.
    pub path: String,
    /// Width of its input.
    pub inputs: usize,
    /// Width of its output.
    pub outputs: usize,
}

/// Every [`Linear`](crate::nn::Linear) of a module, in the order of its parameters.
pub fn linear_layers<M: Module>(module: &M) -> Vec<LayerShape> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

#[derive(Default)]
struct Lister {
    path: Vec<String>,
    containers: Vec<String>,
    found: Vec<LayerShape>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let linear = self.containers.last().is_some_and(|c| c == "Struct:Linear");
        if !linear || D != 2 {
            return;
        }
        let shape = param.lazy_shape();
        self.found.push(LayerShape {
            path: self.path[..self.path.len() - 1].join("."),
            inputs: shape[1],
            outputs: shape[0],
        });
    }
}

/// Puts fresh adapters on layers: A uniform in ± 1 / √in, B zero, so that nothing changes at first (the values that
/// PEFT starts from). Values are made when they are first read, each a function of the seed and the layer's path.
///
/// - `specs`: at most one for each layer; paths that are no linear layer's are ignored
/// - `seed`: of A and of dropout
/// - `masks`: what says for which micro-batch inputs are dropped
pub fn attach<M: Module>(module: M, specs: &[AdapterSpec], seed: u64, masks: &Masks) -> M {
    if specs.is_empty() {
        return module;
    }
    let layers = linear_layers(&module).into_iter();
    let layers: BTreeMap<String, LayerShape> = layers.map(|l| (l.path.clone(), l)).collect();
    let specs = specs.iter().filter(|spec| layers.contains_key(&spec.path));
    module.apply_reparameterization(Attacher {
        specs: specs.map(|s| (s.path.clone(), s.clone())).collect(),
        seed,
        masks: masks.clone(),
    })
}

struct Attacher {
    specs: BTreeMap<String, AdapterSpec>,
    seed: u64,
    masks: Masks,
}

impl Reparameterizer for Attacher {
    type Reparam = Adapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Adapter>) {
        let spec = path.strip_suffix(".weight");
        let Some(spec) = spec.and_then(|layer| self.specs.get(layer)) else {
            return (param, None);
        };
        let adapter = fresh(spec, &param.lazy_shape(), self, &param.lazy_device());
        (param, Some(adapter))
    }
}

fn fresh(spec: &AdapterSpec, weight: &Shape, attacher: &Attacher, device: &Device) -> Adapter {
    let (outputs, inputs, rank) = (weight[0], weight[1], spec.rank);
    let (seed, path) = (attacher.seed, format!("{}{A}", spec.path));
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let start = move |device: &Device, require_grad: bool| {
        let mut rng = path_rng(seed, &path);
        let mut value = || (rng.random::<f32>() * 2.0 - 1.0) * bound;
        let values: Vec<f32> = (0..rank * inputs).map(|_| value()).collect();
        let values = TensorData::new(values, [rank, inputs]);
        Tensor::from_data(values, device).set_require_grad(require_grad && device.is_autodiff())
    };
    let shape = Shape::from([rank, inputs]);
    Adapter {
        a: Param::uninitialized(ParamId::new(), start, device.clone(), true, shape),
        b: param([outputs, rank], 0.0, device),
        scale: spec.scale(),
        dropout: Dropout {
            share: spec.dropout,
            seed,
            path: spec.path.clone(),
            masks: attacher.masks.clone(),
        },
    }
}

//! Compares a module with its golden file (tools/parity/golden.py).

pub mod generated;
pub mod hostile;
pub mod variations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use deem_model::weights::{LoadOptions, WeightsFile, load};
use serde_json::Value;

const FORWARD: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;

type GradientOf = Box<dyn Fn(&Gradients) -> Option<Vec<f32>>>;

/// A golden file.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub struct Golden {
    name: String,
    file: WeightsFile,
    json: Value,
    device: Device,
    inputs: BTreeMap<String, GradientOf>,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        let json = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
        Self {
            name: name.into(),
            file: WeightsFile::open(&golden(&format!("{name}.safetensors"))).unwrap(),
            json: serde_json::from_str(&json).unwrap(),
            device: Device::flex().autodiff(),
            inputs: BTreeMap::new(),
        }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The module's configuration.
    pub fn config(&self) -> Value {
        self.json["config"].clone()
    }

    /// Every weight must be there, and used.
    pub fn load<M: Module>(&self, module: M) -> M {
        let options = LoadOptions {
            prefix: "weight.",
            ..LoadOptions::default()
        };
        load(module, &self.file, &options).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn has(&self, input: &str) -> bool {
        self.file.shape(&format!("input.{input}")).is_some()
    }

    pub fn input<const D: usize>(&mut self, name: &str) -> Tensor<D> {
        let key = format!("input.{name}");
        let shape: [usize; D] = self.file.shape(&key).unwrap().try_into().unwrap();
        let data = TensorData::new(self.file.f32(&key).unwrap(), shape);
        let tensor = Tensor::<D>::from_data(data, &self.device).require_grad();
        let leaf = tensor.clone();
        let gradient = move |gradients: &Gradients| Some(values(leaf.grad(gradients)?));
        self.inputs.insert(name.into(), Box::new(gradient));
        tensor
    }

    pub fn integers<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        let key = format!("input.{name}");
        let shape: [usize; D] = self.file.shape(&key).unwrap().try_into().unwrap();
        let data = TensorData::new(self.file.i64(&key).unwrap(), shape);
        Tensor::from_data(data, &self.device)
    }

    /// Compares all outputs and all gradients that the file holds.
    pub fn check<M: Module>(&self, module: &M, outputs: &[(&str, Tensor<1>)]) {
        let mut worst = [0.0_f64; 2];
        let expected: Vec<_> = self.keys("output.").collect();
        assert_eq!(expected.len(), outputs.len(), "outputs of {}", self.name);
        for (name, output) in outputs {
            let key = format!("output.{name}");
            let error = relative(&values(output.clone()), &self.file.f32(&key).unwrap());
            assert!(error < FORWARD, "{} {key}: {error:.1e}", self.name);
            worst[0] = worst[0].max(error);
        }
        let loss = self.json["loss"].as_array().unwrap().iter().map(|name| {
            let (_, output) = outputs.iter().find(|o| name == o.0).unwrap();
            output.clone().square().mean() / 2.0
        });
        let gradients = loss.reduce(|a, b| a + b).unwrap().backward();
        let weights = gradients_of(module, &gradients);
        for name in self.keys("grad.") {
            let key = format!("grad.{name}");
            let found = match self.inputs.get(name) {
                Some(gradient) => gradient(&gradients),
                None => weights.get(name).cloned(),
            };
            let found = found.unwrap_or_else(|| panic!("{}: no {key}", self.name));
            let error = relative(&found, &self.file.f32(&key).unwrap());
            assert!(error < GRADIENT, "{} {key}: {error:.1e}", self.name);
            worst[1] = worst[1].max(error);
        }
        println!(
            "{}: forward {:.1e}, gradient {:.1e}",
            self.name, worst[0], worst[1]
        );
    }

    fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.file
            .keys()
            .filter_map(move |key| key.strip_prefix(prefix))
    }
}

/// For [`Golden::check`].
pub fn flat<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    x.clone().reshape([x.shape().num_elements()])
}

pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

/// ‖found − expected‖ / ‖expected‖
pub fn relative(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    let difference = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let size = norm(&mut expected.iter().map(|v| f64::from(*v)));
    assert!(size > 0.0, "a golden tensor must not be zero");
    difference / size
}

/// Gradients of a module's parameters by path.
pub fn gradients_of<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
    let mut weights = Weights {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut weights);
    weights.found
}

struct Weights<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Weights<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.found.insert(self.path.join("."), values(gradient));
        }
    }
}

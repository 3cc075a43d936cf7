//! AdamW over parameter groups, with global-norm clipping (Loshchilov & Hutter, 2019).

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use deem_kernels as kernels;
use deem_model::weights::LazyTensor;
use serde::{Deserialize, Deserializer, Serialize};

use super::parameters::{ParameterGroup, ParameterInfo};
use super::run::lazy;

/// Constants shared by all groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Largest global gradient norm; larger gradients are scaled down to it. `inf` clips nothing.
    #[serde(deserialize_with = "finite_or_none")]
    pub clip: f64,
}

/// JSON has no infinity and writes `null` for it.
fn finite_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

impl Default for AdamWConfig {
    /// Stage 1 of the paper (Table 11).
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.995,
            epsilon: 1e-6,
            clip: 1.0,
        }
    }
}

/// Gradients of one step, flattened, by parameter path.
#[derive(Clone, Debug, Default)]
pub struct GradientSet(BTreeMap<String, Tensor<1>>);

impl GradientSet {
    /// Takes the gradients of a module's trained parameters.
    pub fn collect<M: Module>(module: &M, gradients: &Gradients) -> Self {
        let mut collector = Collector {
            path: Vec::new(),
            gradients,
            found: BTreeMap::new(),
        };
        module.visit(&mut collector);
        Self(collector.found)
    }

    /// Adds another set (gradient accumulation).
    pub fn add(&mut self, other: Self) {
        for (path, gradient) in other.0 {
            let sum = match self.0.remove(&path) {
                Some(present) => present + gradient,
                None => gradient,
            };
            self.0.insert(path, sum);
        }
    }

    /// Euclidean norm over the parameters whose path `select`s.
    pub fn norm(&self, select: impl Fn(&str) -> bool) -> f64 {
        let selected = self.0.iter().filter(|(path, _)| select(path));
        kernels::sum_of_squares(selected.map(|(_, gradient)| gradient)).sqrt()
    }

    /// Paths that have a gradient.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The gradient of one parameter, flattened.
    pub fn get(&self, path: &str) -> Option<&Tensor<1>> {
        self.0.get(path)
    }
}

struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// Whose state it is: a parameter's, or that of its numbers from one on, if processes share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub path: String,
    pub from: Option<usize>,
}

impl Moment {
    /// Name in a checkpoint of its first or second moment.
    fn name(&self, which: &str) -> String {
        match self.from {
            None => format!("{}.{which}", self.path),
            Some(from) => format!("{}.{which}@{from}", self.path),
        }
    }
}

/// Where a step stands: its number from 0, the learning rate's factor, and that of gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub step: u64,
    pub factor: f64,
    pub scale: f64,
}

/// The optimizer's state.
pub struct AdamW {
    config: AdamWConfig,
    /// Peak learning rate and weight decay of each trained parameter.
    rates: BTreeMap<String, (f64, f64)>,
    moments: BTreeMap<Moment, Moments>,
}

impl AdamW {
    /// An optimizer for the parameters that `infos` assigns to groups.
    pub fn new(config: AdamWConfig, groups: &[ParameterGroup], infos: &[ParameterInfo]) -> Self {
        let rates = infos
            .iter()
            .filter_map(|info| {
                let group = &groups[info.group?];
                let decay = if info.rank > 1 {
                    group.weight_decay
                } else {
                    0.0
                };
                Some((info.path.clone(), (group.learning_rate, decay)))
            })
            .collect();
        Self {
            config,
            rates,
            moments: BTreeMap::new(),
        }
    }

    /// Updates a module. Gradients above the clipping norm are scaled down to it.
    ///
    /// `norm` is their global norm, `step` counts from 0, `factor` scales every group's peak learning
    /// rate.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientSet,
        norm: f64,
        step: u64,
        factor: f64,
    ) -> M {
        let pace = Pace {
            step,
            factor,
            scale: self.scale(norm),
        };
        module.map(&mut Updater {
            optimizer: self,
            gradients,
            path: Vec::new(),
            pace,
        })
    }

    /// What gradients of this norm are multiplied by.
    pub(super) fn scale(&self, norm: f64) -> f64 {
        if norm > self.config.clip {
            self.config.clip / norm
        } else {
            1.0
        }
    }

    /// New values of numbers that are trained, all of them `[numbers]` without gradient tracking.
    pub(super) fn update(
        &mut self,
        moment: Moment,
        value: Tensor<1>,
        gradient: Tensor<1>,
        pace: Pace,
    ) -> Tensor<1> {
        let Some(&(rate, weight_decay)) = self.rates.get(&moment.path) else {
            return value;
        };
        let moments = self.moments.remove(&moment).unwrap_or_else(|| Moments {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
        });
        let update = kernels::AdamW {
            lr: rate * pace.factor,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.epsilon,
            weight_decay,
            step: pace.step + 1,
        };
        let gradient = if pace.scale == 1.0 {
            gradient
        } else {
            gradient.mul_scalar(pace.scale)
        };
        let (value, first, second) =
            kernels::adamw_step(value, gradient, moments.first, moments.second, update);
        self.moments.insert(moment, Moments { first, second });
        value
    }

    /// Moments as named tensors, for a checkpoint.
    pub fn state(&self) -> Vec<LazyTensor<'static>> {
        let moments = self.moments.iter();
        moments
            .flat_map(|(moment, m)| {
                [
                    lazy(moment.name("first"), m.first.clone()),
                    lazy(moment.name("second"), m.second.clone()),
                ]
            })
            .collect()
    }

    /// Restores what [`Self::state`] returned; `read` finds the whole moment of a parameter by name. `own` are the
    /// numbers that this process updates, if several share them.
    pub(super) fn restore(
        &mut self,
        own: Option<Vec<(String, Range<usize>)>>,
        read: impl Fn(&str) -> Option<Vec<f32>>,
        device: &Device,
    ) {
        let own: Vec<(String, Option<Range<usize>>)> = match own {
            Some(own) => own.into_iter().map(|(p, range)| (p, Some(range))).collect(),
            None => self.rates.keys().map(|p| (p.clone(), None)).collect(),
        };
        for (path, range) in own {
            let tensor = |which: &str| {
                let values = read(&format!("{path}.{which}"))?;
                let values = match &range {
                    Some(range) => values.get(range.clone())?,
                    None => &values,
                };
                Some(Tensor::<1>::from_floats(values, device))
            };
            if let (Some(first), Some(second)) = (tensor("first"), tensor("second")) {
                let from = range.map(|range| range.start);
                self.moments
                    .insert(Moment { path, from }, Moments { first, second });
            }
        }
    }
}

struct Updater<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientSet,
    path: Vec<String>,
    pace: Pace,
}

impl ModuleMapper for Updater<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some(gradient) = self.gradients.0.remove(&path) else {
            return param;
        };
        if !self.optimizer.rates.contains_key(&path) {
            return param;
        }
        let (id, value, _) = param.consume();
        let dims = value.dims();
        let count = dims.iter().product::<usize>();
        let moment = Moment { path, from: None };
        let value = value.inner().reshape([count]);
        let value = self.optimizer.update(moment, value, gradient, self.pace);
        Param::initialized(id, Tensor::from_inner(value.reshape(dims))).set_require_grad(true)
    }
}

struct Collector<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        if let Some(gradient) = value.grad(self.gradients) {
            let count = param.lazy_shape().num_elements();
            self.found
                .insert(self.path.join("."), gradient.reshape([count]));
        }
    }
}

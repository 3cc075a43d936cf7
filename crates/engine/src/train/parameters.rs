//! Which parameters are trained, and how fast: glob patterns over parameter paths.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use deem_model::component::table_name;
use deem_model::lora::layer_of;
use deem_model::weights::{shapes, widen};
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::config::TrainConfig;
use super::lora::{Adapters, LoraConfig, adapted};
use crate::EngineError;

/// Parameters that share a learning rate; the first group whose pattern matches a path wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Globs over parameter paths (`*` matches any text, dots included).
    pub patterns: Vec<String>,
    /// Peak learning rate; 0 freezes.
    pub learning_rate: f64,
    /// Decoupled weight decay; vectors (norms, biases, gates) never decay.
    #[serde(default)]
    pub weight_decay: f64,
}

/// One parameter, as the table printed at the start of a run shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterInfo {
    /// Path, the checkpoint key.
    pub path: String,
    /// Number of values.
    pub count: usize,
    /// Dimensions.
    pub rank: usize,
    /// Index of its group, `None` if frozen.
    pub group: Option<usize>,
}

/// Parameters of one part of a model, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentCount {
    /// Name of the part, see [`table_name`].
    pub name: String,
    /// Values in all.
    pub total: usize,
    /// Trained values.
    pub trainable: usize,
}

/// Counts parameters by component, in the order in which components first appear.
pub fn by_component(parameters: &[ParameterInfo]) -> Vec<ComponentCount> {
    let mut counts: Vec<ComponentCount> = Vec::new();
    for parameter in parameters {
        let name = table_name(&parameter.path);
        let at = counts.iter().position(|count| count.name == name);
        let at = at.unwrap_or_else(|| {
            counts.push(ComponentCount {
                name: name.into(),
                total: 0,
                trainable: 0,
            });
            counts.len() - 1
        });
        counts[at].total += parameter.count;
        if parameter.group.is_some() {
            counts[at].trainable += parameter.count;
        }
    }
    counts
}

/// What a run trains of a model: puts its adapters on, then as [`select`].
///
/// # Errors
/// `Pattern` if a pattern matches nothing, `Config` for an adapter that does not fit its layer.
pub fn prepare<M: Module>(
    module: M,
    train: &TrainConfig,
    seed: u64,
) -> Result<(M, Vec<ParameterInfo>), EngineError> {
    let adapters = Adapters::plan(&module, &train.lora)?;
    select(adapters.attach(module, seed), &train.groups)
}

/// Paths of the parameters that are others after a run: the trained ones, and weights under trained adapters.
///
/// # Errors
/// As [`prepare`].
pub fn changed<M: Module>(
    module: M,
    groups: &[ParameterGroup],
    lora: &[LoraConfig],
) -> Result<Vec<String>, EngineError> {
    let adapters = Adapters::plan(&module, lora)?;
    let (_, infos) = select(adapters.attach(module, 0), groups)?;
    let trained = infos.into_iter().filter(|info| info.group.is_some());
    let mut paths: Vec<String> = trained
        .map(|info| match layer_of(&info.path) {
            Some(layer) => format!("{layer}.weight"),
            None => info.path,
        })
        .collect();
    paths.dedup(); // an adapter has two factors
    Ok(paths)
}

/// Assigns every parameter to its group and freezes the rest, and of layers with adapters all but those. Trained ones
/// are in 32 bits from then on.
///
/// # Errors
/// `Pattern` if a pattern matches nothing, `Config` if nothing is trained.
pub fn select<M: Module>(
    module: M,
    groups: &[ParameterGroup],
) -> Result<(M, Vec<ParameterInfo>), EngineError> {
    let paths = list(&module);
    for (index, group) in groups.iter().enumerate() {
        for pattern in &group.patterns {
            let glob = WildMatch::new(pattern);
            if !paths.iter().any(|(path, ..)| glob.matches(path)) {
                let mut suggestions: Vec<String> = paths
                    .iter()
                    .map(|(path, ..)| path.split('.').take(2).collect::<Vec<_>>().join(".") + ".*")
                    .collect();
                suggestions.dedup();
                suggestions.truncate(8);
                return Err(EngineError::Pattern {
                    field: format!("groups[{index}].patterns"),
                    pattern: pattern.clone(),
                    suggestions,
                });
            }
        }
    }
    let layers: BTreeSet<String> = adapted(paths.iter().map(|(path, ..)| path.as_str()))
        .into_iter()
        .map(str::to_owned)
        .collect();
    let frozen = |path: &str| {
        let layer = path.rsplit_once('.').map_or(path, |(layer, _)| layer);
        layer_of(path).is_none() && layers.contains(layer)
    };
    let infos: Vec<ParameterInfo> = paths
        .into_iter()
        .map(|(path, count, rank)| ParameterInfo {
            group: groups
                .iter()
                .position(|g| g.patterns.iter().any(|p| WildMatch::new(p).matches(&path)))
                .filter(|&i| groups[i].learning_rate > 0.0 && !frozen(&path)),
            path,
            count,
            rank,
        })
        .collect();
    if infos.iter().all(|info| info.group.is_none()) {
        return Err(EngineError::Config(
            "train.groups: nothing is trained; expected a pattern, with a learning rate above 0, of a parameter's path, as \
             image_encoder.*"
                .into(),
        ));
    }
    let mut freezer = Freezer {
        path: Vec::new(),
        trained: infos
            .iter()
            .map(|info| (info.path.as_str(), info.group.is_some()))
            .collect(),
    };
    Ok((module.map(&mut freezer), infos))
}

/// Path, number of values and rank of every parameter.
pub fn list<M: Module>(module: &M) -> Vec<(String, usize, usize)> {
    let shapes = shapes(module).into_iter();
    shapes
        .map(|(path, shape)| (path, shape.num_elements(), shape.rank()))
        .collect()
}

struct Freezer<'a> {
    path: Vec<String>,
    trained: BTreeMap<&'a str, bool>,
}

impl ModuleMapper for Freezer<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.trained[self.path.join(".").as_str()];
        let param = if trained { widen(param) } else { param };
        param.set_require_grad(trained)
    }
}

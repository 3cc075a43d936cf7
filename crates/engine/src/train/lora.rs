//! Low-rank adapters as a part of any run: `[[train.lora]]` names linear layers by patterns, and of those layers only
//! the adapters are trained ([`deem_model::lora`] says what an adapter is).
//!
//! A checkpoint's `model.safetensors` holds these layers' weights with their adapters folded in, so that whoever
//! opens the result need not know of them; the factors, which only going on needs, lie beside the optimizer's moments.

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use deem_model::lora::{
    AdapterSpec, LayerShape, Masks, attach, layer_of, linear_layers, merged_weights, peft, states,
};
use deem_model::weights::{LazyTensor, LoadOptions, WeightsFile, lazy_trained_state, load};
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::piece::Piece;
use crate::EngineError;

/// One entry of `[[train.lora]]`; the first whose pattern matches a layer wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Globs over paths of linear layers (`*` matches any text, dots included).
    pub patterns: Vec<String>,
    /// r, the rank of the change.
    pub rank: usize,
    /// α: the change is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Share of an adapter's inputs that are zeroed in training, in [0, 1).
    #[serde(default)]
    pub dropout: f64,
}

impl LoraConfig {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// The field, its range and what was found.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            rank,
            alpha,
            dropout,
            ..
        } = self;
        if *rank == 0 {
            return Err("rank: expected at least 1, found 0".into());
        }
        if !(alpha.is_finite() && *alpha > 0.0) {
            return Err(format!("alpha: expected a number above 0, found {alpha}"));
        }
        if !(0.0..1.0).contains(dropout) {
            return Err(format!(
                "dropout: expected a number from 0 to below 1, found {dropout}"
            ));
        }
        Ok(())
    }
}

/// The adapters of a run.
#[derive(Clone, Debug, Default)]
pub struct Adapters {
    specs: Vec<AdapterSpec>,
    masks: Masks,
}

impl Adapters {
    /// Which layers of a model get adapters.
    ///
    /// # Errors
    /// `Pattern` for a pattern that matches no linear layer, `Config` for a rank that is larger than a layer.
    pub fn plan<M: Module>(model: &M, configs: &[LoraConfig]) -> Result<Self, EngineError> {
        if configs.is_empty() {
            return Ok(Self::default());
        }
        let layers = linear_layers(model);
        for (index, config) in configs.iter().enumerate() {
            for pattern in &config.patterns {
                let glob = WildMatch::new(pattern);
                if !layers.iter().any(|layer| glob.matches(&layer.path)) {
                    let suggestions = similar(pattern, &layers);
                    return Err(EngineError::Pattern {
                        field: format!("lora[{index}].patterns"),
                        pattern: pattern.clone(),
                        suggestions,
                    });
                }
            }
        }
        let mut specs = Vec::new();
        for layer in layers {
            let matches = |config: &&LoraConfig| {
                let mut patterns = config.patterns.iter();
                patterns.any(|pattern| WildMatch::new(pattern).matches(&layer.path))
            };
            let Some(config) = configs.iter().find(matches) else {
                continue;
            };
            let most = layer.inputs.min(layer.outputs);
            if config.rank > most {
                return Err(EngineError::Config(format!(
                    "lora.rank: expected at most {most}, the smaller width of {}, found {}",
                    layer.path, config.rank
                )));
            }
            specs.push(AdapterSpec {
                path: layer.path,
                rank: config.rank,
                alpha: config.alpha,
                dropout: config.dropout,
            });
        }
        Ok(Self {
            specs,
            masks: Masks::default(),
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Puts them on a model, fresh.
    pub fn attach<M: Module>(&self, model: M, seed: u64) -> M {
        attach(model, &self.specs, seed, &self.masks)
    }

    /// Inputs are dropped as for the rows from this piece's first on until the guard is gone.
    pub(super) fn during(&self, piece: &Piece) -> Dropping<'_> {
        self.masks.set(Some(piece.first_row()));
        Dropping(&self.masks)
    }

    /// Fills a model from a checkpoint: everything trained but the adapted layers, whose weights are those that the
    /// run started from, and the factors.
    pub(super) fn restore<M: Module>(
        &self,
        model: M,
        trained: &WeightsFile,
        factors: &[WeightsFile],
        seed: u64,
    ) -> Result<M, EngineError> {
        let merged: Vec<String> = self.specs.iter().map(weight).collect();
        let merged: Vec<&str> = merged.iter().map(String::as_str).collect();
        let model = load(
            model,
            trained,
            &LoadOptions {
                allow_missing: &[""],
                skip: &merged,
                ..LoadOptions::default()
            },
        )?;
        if self.is_empty() {
            return Ok(model);
        }
        let everything_else = LoadOptions {
            allow_missing: &[""],
            allow_unused: &[""],
            ..LoadOptions::default()
        };
        // Of several processes the first wrote them.
        let Some(factors) = factors.first() else {
            return Ok(self.attach(model, seed));
        };
        Ok(load(self.attach(model, seed), factors, &everything_else)?)
    }

    /// What a checkpoint holds of a model in training: trained parameters with the adapters folded in, and the
    /// factors.
    pub(super) fn split<M: Module>(
        &self,
        model: &M,
    ) -> (Vec<LazyTensor<'static>>, Vec<LazyTensor<'static>>) {
        let all = lazy_trained_state(model).into_iter();
        let (factors, mut trained): (Vec<_>, Vec<_>) =
            all.partition(|tensor| layer_of(&tensor.name).is_some());
        trained.extend(merged_weights(model, &self.specs));
        (trained, factors)
    }

    /// Writes them as PEFT does; `key` is a layer's name in the published model.
    pub(super) fn save<M: Module>(
        &self,
        model: &M,
        folder: &Path,
        key: &dyn Fn(&str) -> String,
    ) -> Result<(), EngineError> {
        Ok(peft::save(&states(model, &self.specs), folder, key, "")?)
    }
}

/// While it lives, adapters drop inputs.
pub(super) struct Dropping<'a>(&'a Masks);

impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

fn weight(spec: &AdapterSpec) -> String {
    format!("{}.weight", spec.path)
}

/// Patterns of layers that there are, those first that begin as the one that was given.
fn similar(pattern: &str, layers: &[LayerShape]) -> Vec<String> {
    let common = |path: &str| {
        path.chars()
            .zip(pattern.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let mut found: Vec<String> = layers
        .iter()
        .map(|layer| generalised(&layer.path))
        .collect();
    found.sort();
    found.dedup();
    found.sort_by_key(|path| std::cmp::Reverse(common(path)));
    found.truncate(16);
    found
}

/// A layer's path with numbers as `*`.
fn generalised(path: &str) -> String {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(_) => "*".to_owned(),
        Err(_) => part.to_owned(),
    };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// Layers among `paths` that have adapters.
pub(super) fn adapted<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths.filter_map(layer_of).collect()
}

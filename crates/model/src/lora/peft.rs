//! Adapters in the files of PEFT (huggingface.co/docs/peft, "LoRA checkpoint format"): a folder with
//! `adapter_config.json` and `adapter_model.safetensors`, whose keys are `base_model.model.<layer>.lora_A.weight` and
//! `….lora_B.weight`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::merged::fill;
use super::{AdapterSpec, AdapterState, LayerShape, Masks, attach, linear_layers};
use crate::weights::{LazyTensor, WeightsError, WeightsFile, write_stream};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// The fields of `adapter_config.json` that say something about the arithmetic.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    peft_type: String,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    modules_to_save: Value,
    #[serde(default)]
    inference_mode: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Writes adapters as a folder that PEFT reads. Both files appear, or the folder stays as it was.
///
/// - `key`: a layer's path to its name in the published model
/// - `base`: name of that model, which PEFT shows; it may be empty
///
/// # Errors
/// `Io` naming the file; `Convert` without adapters.
pub fn save(
    states: &[AdapterState],
    folder: &Path,
    key: &dyn Fn(&str) -> String,
    base: &str,
) -> Result<(), WeightsError> {
    let first = states.first().ok_or_else(|| WeightsError::Convert {
        path: folder.into(),
        problem: "expected adapters to write, found none".into(),
    })?;
    let name = |state: &AdapterState| key(&state.spec.path);
    let AdapterSpec {
        rank,
        alpha,
        dropout,
        ..
    } = first.spec;
    let others = |differs: &dyn Fn(&AdapterSpec) -> bool| {
        states
            .iter()
            .filter(|s| differs(&s.spec))
            .collect::<Vec<_>>()
    };
    #[allow(clippy::float_cmp)] // the same number of the same configuration
    let alphas = others(&|spec| spec.alpha != alpha);
    let config = Config {
        peft_type: "LORA".into(),
        base_model_name_or_path: (!base.is_empty()).then(|| base.to_owned()),
        r: rank,
        lora_alpha: alpha,
        lora_dropout: dropout,
        target_modules: states.iter().map(name).collect::<Vec<_>>().into(),
        rank_pattern: others(&|spec| spec.rank != rank)
            .into_iter()
            .map(|s| (name(s), s.spec.rank))
            .collect(),
        alpha_pattern: alphas
            .into_iter()
            .map(|s| (name(s), s.spec.alpha))
            .collect(),
        bias: Some("none".into()),
        fan_in_fan_out: false,
        use_rslora: false,
        use_dora: false,
        modules_to_save: Value::Null,
        inference_mode: true,
        rest: Map::new(),
    };
    let mut tensors: Vec<LazyTensor> = states
        .iter()
        .flat_map(|state| {
            let AdapterState {
                spec,
                inputs,
                outputs,
                a,
                b,
            } = state;
            let tensor = |ending: &str, shape: Vec<usize>, values: &'_ Vec<f32>| {
                let values = values.clone();
                LazyTensor {
                    name: format!("{PREFIX}{}{ending}", name(state)),
                    dtype: Dtype::F32,
                    shape,
                    read: Box::new(move || values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                }
            };
            [
                tensor(A, vec![spec.rank, *inputs], a),
                tensor(B, vec![*outputs, spec.rank], b),
            ]
        })
        .collect();
    let part = folder.with_extension("part");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| WeightsError::Io { path, cause }
    };
    if part.exists() {
        fs::remove_dir_all(&part).map_err(io(&part))?;
    }
    fs::create_dir_all(&part).map_err(io(&part))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_stream(&mut tensors, &part.join(WEIGHTS), &metadata)?;
    let text = serde_json::to_string_pretty(&config).expect("plain data");
    fs::write(part.join(CONFIG), text).map_err(io(&part.join(CONFIG)))?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(io(folder))?;
    }
    fs::rename(&part, folder).map_err(io(folder))
}

/// Adapters of a folder.
#[derive(Debug)]
pub struct PeftFile {
    path: PathBuf,
    /// The adapters, under the names that layers have in the published model.
    pub states: Vec<AdapterState>,
}

impl PeftFile {
    /// Reads a folder that PEFT or [`save`] wrote.
    ///
    /// # Errors
    /// `Io` and `Format` naming a file; `Convert` for what is no plain LoRA (DoRA, trained biases, whole modules) and
    /// for factors that do not fit together.
    pub fn read(folder: &Path) -> Result<Self, WeightsError> {
        let path = folder.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(|cause| WeightsError::Io {
            path: path.clone(),
            cause,
        })?;
        let wrong = |problem: String| WeightsError::Convert {
            path: path.clone(),
            problem,
        };
        let config: Config = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("not the configuration of a PEFT adapter ({error})")))?;
        let unsupported = [
            ("peft_type", !config.peft_type.eq_ignore_ascii_case("lora")),
            ("use_dora", config.use_dora),
            ("fan_in_fan_out", config.fan_in_fan_out),
            (
                "bias",
                config.bias.as_deref().is_some_and(|bias| bias != "none"),
            ),
            ("modules_to_save", !config.modules_to_save.is_null()),
        ];
        if let Some((field, _)) = unsupported.iter().find(|(_, found)| *found) {
            return Err(wrong(format!(
                "{field}: expected plain LoRA (peft_type \"LORA\", no DoRA, bias \"none\", no modules_to_save), found \
                 another kind of adapter; merge it with PEFT and use the merged weights"
            )));
        }
        let file = WeightsFile::open(&folder.join(WEIGHTS))?;
        let states = states_of(&file, &config)?;
        Ok(Self {
            path: file.path().into(),
            states,
        })
    }

    /// Puts the adapters on a module.
    ///
    /// - `key`: a layer's path to its name in the published model
    /// - `seed`, `masks`: as for [`attach`]
    ///
    /// # Errors
    /// `Mismatch` listing adapters of layers that the module has not, and of other widths.
    pub fn apply<M: Module>(
        &self,
        module: M,
        key: &dyn Fn(&str) -> String,
        seed: u64,
        masks: &Masks,
    ) -> Result<(M, Vec<AdapterSpec>), WeightsError> {
        let layers = linear_layers(&module).into_iter();
        let layers: BTreeMap<String, LayerShape> = layers.map(|l| (key(&l.path), l)).collect();
        let (mut unused, mut misshapen, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for state in &self.states {
            let name = &state.spec.path;
            match layers.get(name) {
                None => unused.push(format!("{PREFIX}{name}")),
                Some(layer) if (layer.inputs, layer.outputs) != (state.inputs, state.outputs) => {
                    misshapen.push(format!(
                        "{PREFIX}{name}: expected {} → {} features, found {} → {}",
                        layer.inputs, layer.outputs, state.inputs, state.outputs
                    ));
                }
                Some(layer) => found.push(AdapterState {
                    spec: AdapterSpec {
                        path: layer.path.clone(),
                        ..state.spec.clone()
                    },
                    ..state.clone()
                }),
            }
        }
        if !unused.is_empty() || !misshapen.is_empty() {
            return Err(WeightsError::Mismatch {
                path: self.path.clone(),
                module: "the model's linear layers".into(),
                missing: Vec::new(),
                unused,
                misshapen,
            });
        }
        let specs: Vec<AdapterSpec> = found.iter().map(|state| state.spec.clone()).collect();
        Ok((fill(attach(module, &specs, seed, masks), &found), specs))
    }
}

fn states_of(file: &WeightsFile, config: &Config) -> Result<Vec<AdapterState>, WeightsError> {
    let wrong = |problem: String| WeightsError::Convert {
        path: file.path().into(),
        problem,
    };
    let mut states = Vec::new();
    for key in file.keys() {
        let layer = key.strip_prefix(PREFIX);
        if layer.is_some_and(|layer| layer.ends_with(B)) {
            continue; // read with its A
        }
        let Some(layer) = layer.and_then(|layer| layer.strip_suffix(A)) else {
            return Err(wrong(format!(
                "expected keys {PREFIX}<layer>{A} and {B}, found {key}"
            )));
        };
        let other = format!("{PREFIX}{layer}{B}");
        let (a, b) = (file.shape(key), file.shape(&other));
        let (Some(&[rank, inputs]), Some(&[outputs, inner])) = (a, b) else {
            return Err(wrong(format!(
                "{layer}: expected two matrices lora_A and lora_B, found shapes {a:?} and {b:?}"
            )));
        };
        if rank != inner || rank == 0 {
            return Err(wrong(format!(
                "{layer}: expected lora_A [r, in] and lora_B [out, r], found {a:?} and {b:?}"
            )));
        }
        let (Some(a), Some(b)) = (file.f32(key), file.f32(&other)) else {
            return Err(wrong(format!("{layer}: expected floating-point numbers")));
        };
        let alpha = pattern(&config.alpha_pattern, layer).map_err(&wrong)?;
        let alpha = alpha.unwrap_or(config.lora_alpha);
        let root = (rank as f64).sqrt();
        states.push(AdapterState {
            spec: AdapterSpec {
                path: layer.to_owned(),
                rank,
                // Rank-stabilised LoRA divides by √r.
                alpha: if config.use_rslora {
                    alpha * root
                } else {
                    alpha
                },
                dropout: config.lora_dropout,
            },
            inputs,
            outputs,
            a,
            b,
        });
    }
    if states.is_empty() {
        return Err(wrong("expected adapters, found no tensors".into()));
    }
    Ok(states)
}

/// What a table of patterns says of a layer: a pattern is its name, or the end of it after a dot.
fn pattern(table: &BTreeMap<String, f64>, layer: &str) -> Result<Option<f64>, String> {
    if let Some(regular) = table
        .keys()
        .find(|key| key.contains(['*', '^', '$', '(', '[', '|', '\\', '?', '+']))
    {
        return Err(format!(
            "alpha_pattern: expected names of layers or ends of them, found the regular expression {regular:?}"
        ));
    }
    let fits = |key: &str| {
        let rest = layer.strip_suffix(key);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    Ok(table
        .iter()
        .find(|(key, _)| fits(key))
        .map(|(_, alpha)| *alpha))
}

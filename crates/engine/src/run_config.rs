//! One TOML file for one run: a stage or a list of them, and, unless it concerns the stand-ins, the model that is
//! trained and where that model's weights come from.
//!
//! The same file serves `deem train`, `params`, `doctor` and every command that uses a model.

use std::collections::BTreeSet;
use std::path::Path;

use deem_model::deem::DeemConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::EngineError;
use crate::config::{self, ModelSpec, StageConfig};

/// A run. In a file, the fields of one [`StageConfig`] stand beside those that are here; several stages stand in a
/// list `[[stages]]`, and the fields here are common to all of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Table")]
pub struct RunConfig {
    /// What is trained, on what, how; the first of several.
    pub stage: StageConfig,
    /// The stages after it, each of which starts from the one before.
    pub following: Vec<StageConfig>,
    /// Longest sequence in tokens; absent: the stand-ins'.
    pub max_tokens: Option<usize>,
    /// Where the model's weights come from.
    pub weights: Option<WeightSources>,
    /// The networks; absent: the stand-ins'.
    pub model: Option<DeemConfig>,
}

/// Where the weights of a model come from. Each is the name of a file or folder on this machine, or
/// `hf://owner/name[/sub]`; of several names the first one that is there serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSources {
    /// CLIP: transformers layout for a ViT, open_clip layout for a ConvNeXt.
    pub vision: Alternatives,
    /// Language model, transformers layout.
    pub llama: Alternatives,
    /// Folder of `tokenizer.json`, or `built-in`, the tokenizer of the built-in world; absent: the language
    /// model's.
    pub tokenizer: Option<Alternatives>,
    /// Diffusion model, diffusers layout: folders `unet`, `vae`, `scheduler`.
    pub diffusion: Alternatives,
    /// What an earlier stage trained, or a converted official checkpoint: replaces what the others
    /// provide. An empty list: nothing, whatever an extended file says.
    pub trained: Option<Alternatives>,
    /// Hubs to ask, in order, when `HF_ENDPOINT` has not got a name.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// What to do if something is not there, for the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One name, or several of which the first one that is there serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alternatives {
    /// One name.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Alternatives {
    /// All names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl RunConfig {
    /// Reads a file, see [`config::read`].
    ///
    /// # Errors
    /// As [`config::read`], and a model whose numbers do not fit together.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, EngineError> {
        let run: Self = config::read(path, overrides)?;
        if let Some(Err(error)) = run.model.as_ref().map(DeemConfig::validate) {
            return Err(EngineError::Config(format!("{}: {error}", path.display())));
        }
        Ok(run)
    }

    /// A run of stages of the stand-ins' model; nothing if there is no stage.
    ///
    /// # Errors
    /// As [`Self::read`] for names.
    pub fn of_stages(stages: &[StageConfig]) -> Result<Self, EngineError> {
        Self::from_stages(stages.to_vec(), None, None, None).map_err(EngineError::Config)
    }

    /// The stages in order.
    pub fn stages(&self) -> impl Iterator<Item = &StageConfig> {
        [&self.stage].into_iter().chain(&self.following)
    }

    /// The same model with one of the stages alone.
    ///
    /// # Errors
    /// `Config` naming the stages that there are.
    pub fn only(&self, stage: &str) -> Result<Self, EngineError> {
        let found = self.stages().find(|own| own.name == stage);
        let found = found.ok_or_else(|| {
            let names: Vec<&str> = self.stages().map(|stage| stage.name.as_str()).collect();
            EngineError::Config(format!(
                "no stage {stage:?}; there are {}",
                names.join(", ")
            ))
        })?;
        Ok(Self {
            stage: found.clone(),
            following: Vec::new(),
            ..self.clone()
        })
    }

    fn from_stages(
        mut stages: Vec<StageConfig>,
        max_tokens: Option<usize>,
        weights: Option<WeightSources>,
        model: Option<DeemConfig>,
    ) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        for (index, stage) in stages.iter().enumerate() {
            let name = stage.name.as_str();
            let wrong = |what: &str| Err(format!("stages[{index}].name: {what}, found {name:?}"));
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
                return wrong("expected the name of a folder");
            }
            if !names.insert(name) {
                return wrong("expected a name of its own for each stage");
            }
        }
        if stages.is_empty() {
            return Err("stages: expected at least one, found none".into());
        }
        for (index, stage) in stages.iter().enumerate() {
            let place = |problem| match stages.len() {
                1 => problem,
                _ => format!("stages[{index}].{problem}"),
            };
            stage.check().map_err(place)?;
            if let Some(max_tokens) = max_tokens {
                stage.check_row(max_tokens).map_err(place)?;
            }
        }
        let following = stages.split_off(1);
        Ok(Self {
            stage: stages.remove(0),
            following,
            max_tokens,
            weights,
            model,
        })
    }

    /// This run's model and length; what it does not say is as in `default`.
    pub fn spec(&self, default: &ModelSpec) -> ModelSpec {
        ModelSpec {
            max_tokens: self.max_tokens.unwrap_or(default.max_tokens),
            model: self.model.as_ref().unwrap_or(&default.model).clone(),
        }
    }
}

/// serde cannot refuse unknown fields of flattened structs, so the fields are told apart here.
impl TryFrom<Table> for RunConfig {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        let max_tokens = take(&mut table, "max_tokens")?;
        let weights = take(&mut table, "weights")?;
        let model = take(&mut table, "model")?;
        let stages = match take::<Vec<StageConfig>>(&mut table, "stages")? {
            None => vec![
                Value::Table(table)
                    .try_into()
                    .map_err(|e: toml::de::Error| e.to_string())?,
            ],
            Some(stages) => match table.keys().next() {
                None => stages,
                Some(field) => {
                    return Err(format!(
                        "unknown field `{field}` beside `stages`: expected `max_tokens`, `weights` or `model`; what \
                         one stage is trained with belongs to it, as stages.0.{field}"
                    ));
                }
            },
        };
        Self::from_stages(stages, max_tokens, weights, model)
    }
}

/// As it is read: one stage with the other fields, several as a list.
impl Serialize for RunConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            #[serde(flatten)]
            stage: Option<&'a StageConfig>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_tokens: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            weights: &'a Option<WeightSources>,
            #[serde(skip_serializing_if = "Option::is_none")]
            model: &'a Option<DeemConfig>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            stages: Vec<&'a StageConfig>,
        }
        let single = self.following.is_empty();
        let file = File {
            stage: single.then_some(&self.stage),
            max_tokens: self.max_tokens,
            weights: &self.weights,
            model: &self.model,
            stages: self.stages().filter(|_| !single).collect(),
        };
        file.serialize(serializer)
    }
}

fn take<T: DeserializeOwned>(table: &mut Table, field: &str) -> Result<Option<T>, String> {
    let value = table.remove(field);
    value
        .map(|value| value.try_into())
        .transpose()
        .map_err(|e: toml::de::Error| format!("in `{field}`: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: &str = r#"
name = "s"
data = [{ kind = "world", task = "alignment" }]
batch = 2
loss = { text = 1.0, image = 0.0, feedback = 0.0 }
train = { save_every = 1, schedule = { steps = 2, warmup = 1 }, groups = [] }
"#;

    fn parse(extra: &str) -> Result<RunConfig, String> {
        config::parse(&format!("max_tokens = 7\n{STAGE}\n{extra}"), &[])
    }

    #[test]
    fn a_run_is_a_stage_with_a_model_and_its_weights() {
        let run =
            parse(r#"weights = { vision = "a", llama = ["b", "hf://c/d"], diffusion = "e" }"#)
                .unwrap();
        let weights = run.weights.as_ref().unwrap();
        assert_eq!(weights.llama.names(), ["b", "hf://c/d"]);
        assert_eq!(weights.vision.names(), ["a"]);
        assert_eq!((run.stage.batch, run.max_tokens), (2, Some(7)));
        let text = toml::to_string(&run).unwrap();
        assert_eq!(config::parse::<RunConfig>(&text, &[]), Ok(run));
    }

    #[test]
    fn a_list_of_stages_shares_model_and_weights() {
        let stage = |name: &str| {
            let stage = STAGE.replace("\"s\"", &format!("{name:?}"));
            format!("[[stages]]\n{stage}\n")
        };
        let text = format!("max_tokens = 7\n{}{}", stage("one"), stage("two"));
        let parse = |text: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
            config::parse::<RunConfig>(text, &overrides)
        };
        let run = parse(&text, &["stages.1.batch=9"]).unwrap();
        let found: Vec<_> = run.stages().map(|s| (s.name.as_str(), s.batch)).collect();
        assert_eq!(found, [("one", 2), ("two", 9)]);
        assert_eq!(run.max_tokens, Some(7));
        let again = toml::to_string(&run).unwrap();
        assert_eq!(parse(&again, &[]), Ok(run.clone()));

        let two = run.only("two").unwrap();
        assert_eq!((two.stage.batch, two.following.len()), (9, 0));
        assert_eq!(two.max_tokens, Some(7));
        let again = toml::to_string(&two).unwrap();
        assert!(!again.contains("[[stages]]"), "{again}");
        assert_eq!(parse(&again, &[]), Ok(two));
        let error = run.only("three").unwrap_err().to_string();
        assert!(error.contains("one, two"), "{error}");

        let twice = format!("{}{}", stage("one"), stage("one"));
        for (text, overrides, expected) in [
            (&*text, &["batch=3"][..], "stages.0.batch"),
            (&*text, &["stages.1.bach=3"], "bach"),
            (&*text, &["stages.1.name=../x"], "stages[1].name"),
            (&*twice, &[], "stages[1].name"),
            ("stages = []", &[], "at least one"),
        ] {
            let error = parse(text, overrides).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn crops_are_said_in_four_ways_and_kept() {
        use deem_data::image::Crop;
        assert_eq!(parse("").unwrap().stage.crop, Crop::Center);
        for (text, crop) in [
            ("crop = \"center\"", Crop::Center),
            ("crop = \"squeeze\"", Crop::Squeeze),
            ("crop = \"pad\"", Crop::Pad),
            ("crop = { random = 0.8 }", Crop::Random(0.8)),
        ] {
            let run = parse(text).unwrap();
            assert_eq!(run.stage.crop, crop);
            let kept = toml::to_string(&run).unwrap();
            assert_eq!(config::parse::<RunConfig>(&kept, &[]), Ok(run), "{kept}");
        }
        let error = parse("crop = \"random\"").unwrap_err();
        assert!(error.contains("{ random = SHARE }"), "{error}");
        assert!(error.contains("crop"), "{error}");
    }

    #[test]
    fn numbers_that_make_no_sense_are_named_with_their_range() {
        let with = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            config::parse::<RunConfig>(&format!("max_tokens = 7\n{STAGE}"), &changes)
        };
        let group = "train.groups=[{ patterns = [\"*\"], learning_rate = nan }]";
        for change in [
            "batch=0",
            "batch=99999999999",
            "samples_per_row=0",
            "samples_per_row=8",
            "align=-1.0",
            "error_ceiling=1.5",
            "loss.text=nan",
            "loss.image=inf",
            "loss.feedback=-2.0",
            "loss.condition_dropout=7.0",
            "train.accumulate=0",
            "train.schedule.steps=0",
            "train.schedule.warmup=3",
            "train.schedule.floor=-0.1",
            "train.optimizer={ beta1 = 1.0, beta2 = 0.9, epsilon = 1e-6, clip = 1.0 }",
            group,
        ] {
            let error = with(&[change]).unwrap_err();
            let field = change.split('=').next().unwrap();
            assert!(
                error.contains(field) && error.contains("expected"),
                "{change}: {error}"
            );
        }
        assert!(with(&["train.schedule.warmup=2", "samples_per_row=7"]).is_ok());
        assert!(with(&["loss.text=0.0"]).is_ok());
    }

    #[test]
    fn unknown_fields_are_named_wherever_they_are() {
        for (extra, field) in [
            ("bach = 3", "bach"),
            ("weights = { lama = \"x\" }", "lama"),
            ("[model]\nimage_sise = 2", "image_sise"),
            ("max_tokens = 7", "max_tokens"),
        ] {
            let error = parse(extra).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}

//! Published folders become a model: CLIP, LLaMA and Stable Diffusion in their layouts, very small.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use deem_engine::foundation::{Foundation, Language};
use deem_model::deem::{Deem, DeemConfig};
use deem_model::weights::{StateTensor, state, write};
use safetensors::Dtype;
use serde::Serialize;

use crate::common;

/// A folder for each part, with the names that the hub's files have.
struct Published {
    folder: tempfile::TempDir,
    config: DeemConfig,
    model: Deem,
}

impl Published {
    fn new() -> Self {
        let preset = common::preset();
        let model = common::model(&preset, &Device::flex());
        let published = Self {
            folder: tempfile::tempdir().unwrap(),
            config: preset.model,
            model,
        };
        published.write();
        published
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self) {
        let json = |name: &str, config: &dyn erased::Json| {
            let path = self.at(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, config.json()).unwrap();
        };
        json("llama/config.json", &self.config.llama);
        json("sd/unet/config.json", &self.config.unet);
        json("sd/vae/config.json", &self.config.autoencoder);
        json("sd/scheduler/scheduler_config.json", &self.config.scheduler);
        fs::create_dir_all(self.at("clip")).unwrap();

        let mut vision = state(&self.model.image_encoder.vision);
        vision.retain(|tensor| tensor.name.starts_with("visual."));
        vision.push(tensor("logit_scale", vec![]));
        vision.push(tensor("text.token_embedding.weight", vec![2, 2]));
        save(&vision, &self.at("clip/open_clip_model.safetensors"));

        let mut llama = state(&self.model.llama);
        llama.retain(|tensor| !tensor.name.contains(".mmfs."));
        llama.push(tensor(
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            vec![4],
        ));
        let half = llama.len() / 2;
        let mut map = BTreeMap::new();
        for (shard, tensors) in [&llama[..half], &llama[half..]].into_iter().enumerate() {
            let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
            save(tensors, &self.at(&format!("llama/{name}")));
            map.extend(
                tensors
                    .iter()
                    .map(|tensor| (tensor.name.clone(), name.clone())),
            );
        }
        let index = serde_json::json!({ "metadata": {}, "weight_map": map });
        fs::write(
            self.at("llama/model.safetensors.index.json"),
            index.to_string(),
        )
        .unwrap();

        let name = "diffusion_pytorch_model.safetensors";
        save(&state(&self.model.unet), &self.at("sd/unet").join(name));
        let mut vae = state(&self.model.autoencoder);
        for tensor in &mut vae {
            // As Stable Diffusion 2.1's file still says.
            for (new, old) in [
                ("to_q", "query"),
                ("to_k", "key"),
                ("to_v", "value"),
                ("to_out.0", "proj_attn"),
            ] {
                tensor.name = tensor.name.replace(new, old);
            }
        }
        save(&vae, &self.at("sd/vae").join(name));
    }

    fn foundation(&self) -> Foundation {
        Foundation {
            vision: self.at("clip"),
            language: Language {
                llama: self.at("llama"),
                tokenizer: Some(
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tokenizer"),
                ),
                packed: false,
            },
            diffusion: Some(self.at("sd")),
            trained: Vec::new(),
        }
    }

    fn assemble(&self, foundation: &Foundation, seed: u64) -> Result<Values, String> {
        let model = foundation.assemble(&self.config, seed, &Device::flex());
        model.map(|model| values(&model)).map_err(|e| e.to_string())
    }
}

mod erased {
    pub trait Json {
        fn json(&self) -> String;
    }

    impl<T: super::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

type Values = BTreeMap<String, Vec<f32>>;

fn values(model: &Deem) -> Values {
    let tensors = state(model).into_iter();
    tensors.map(|tensor| (tensor.name, tensor.values)).collect()
}

fn tensor(name: &str, shape: Vec<usize>) -> StateTensor {
    let values = vec![0.5; shape.iter().product()];
    StateTensor {
        name: name.into(),
        shape,
        values,
    }
}

fn save(tensors: &[StateTensor], path: &Path) {
    write(tensors, path, Dtype::F32, Default::default()).unwrap();
}

fn is_published(name: &str) -> bool {
    let new = name.contains(".mmfs.") || name.starts_with("image_encoder.vision.adapter");
    let whole = ["llama.", "unet.", "autoencoder.", "image_encoder.vision."];
    !new && whole.iter().any(|part| name.starts_with(part))
}

#[test]
fn published_weights_are_loaded_and_the_rest_is_drawn() {
    let published = Published::new();
    let original = values(&published.model);
    let foundation = published.foundation();
    let found = published.assemble(&foundation, 1).unwrap();
    let other = published.assemble(&foundation, 2).unwrap();
    for (name, values) in &original {
        if is_published(name) {
            assert_eq!(&found[name], values, "{name}");
            assert_eq!(&other[name], values, "{name}");
        }
    }
    let drawn = "image_encoder.resampler.encoder.layer.0.attention.attention.query.weight";
    assert!(!is_published(drawn));
    assert_ne!(found[drawn], other[drawn], "a matter of the seed");
    let tokenizer = foundation.language.tokenizer(&published.config).unwrap();
    assert_eq!(
        i64::from(tokenizer.special().soi),
        published.config.tokens.soi
    );
}

/// Names of parameters that have a value, and of matrices that have none.
#[derive(Default)]
struct Filled {
    path: Vec<String>,
    filled: Vec<String>,
    empty: Vec<String>,
}

impl ModuleVisitor for Filled {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.is_initialized() {
            true => self.filled.push(self.path.join(".")),
            false if D > 1 => self.empty.push(self.path.join(".")),
            false => {}
        }
    }
}

#[test]
fn a_model_that_is_not_to_draw_needs_no_diffusion_model() {
    let published = Published::new();
    let trained = published.at("stage3/model.safetensors");
    fs::create_dir_all(trained.parent().unwrap()).unwrap();
    save(&state(&published.model), &trained);
    fs::remove_dir_all(published.at("sd")).unwrap();
    for trained in [Vec::new(), vec![trained]] {
        let foundation = Foundation {
            diffusion: None,
            trained,
            ..published.foundation()
        };
        let model = foundation.assemble(&published.config, 1, &Device::flex());
        let mut found = Filled::default();
        model.unwrap().no_grad().visit(&mut found);
        let drawing = |name: &String| {
            let parts = ["unet.", "autoencoder.", "image_decoder."];
            parts.iter().any(|part| name.starts_with(part))
        };
        let Filled { filled, empty, .. } = found;
        assert!(!filled.is_empty() && !filled.iter().any(drawing));
        assert!(!empty.is_empty() && empty.iter().all(drawing), "{empty:?}");
    }
}

#[test]
fn trained_weights_replace_what_they_hold() {
    let published = Published::new();
    let path = published.at("stage1/model.safetensors");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let width = published.config.llama.hidden_size;
    save(&[tensor("soi_token", vec![width])], &path);
    let foundation = Foundation {
        trained: vec![published.at("stage1")],
        ..published.foundation()
    };
    let found = published.assemble(&foundation, 1).unwrap();
    assert_eq!(found["soi_token"], vec![0.5; width]);

    save(&[tensor("soi_tokem", vec![width])], &path);
    let error = published.assemble(&foundation, 1).unwrap_err();
    assert!(
        error.contains("soi_tokem") && error.contains("stage1"),
        "{error}"
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let published = Published::new();
    let told = |words: &[&str]| {
        let error = published.assemble(&published.foundation(), 1).unwrap_err();
        for word in words {
            assert!(error.contains(word), "no {word} in {error}");
        }
    };
    let mut other = published.config.llama.clone();
    other.rms_norm_eps = 0.125;
    fs::write(
        published.at("llama/config.json"),
        erased::Json::json(&other),
    )
    .unwrap();
    told(&["llama/config.json", "rms_norm_eps is 0.125"]);
    fs::remove_file(published.at("llama/config.json")).unwrap();

    fs::remove_file(published.at("llama/model-00002-of-00002.safetensors")).unwrap();
    told(&["model-00002-of-00002.safetensors"]);
    published.write();

    fs::remove_file(published.at("sd/vae/diffusion_pytorch_model.safetensors")).unwrap();
    fs::write(published.at("sd/vae/diffusion_pytorch_model.bin"), "").unwrap();
    told(&["sd/vae", "deem convert"]);
}

//! `deem probe` against the golden files of the networks, and with inputs that do not fit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use deem_engine::Compute;
use deem_engine::probe::{Network, Probe};
use deem_model::weights::{StateTensor, WeightsFile, write};
use safetensors::Dtype;

/// A golden file taken apart into what the command reads.
struct Case {
    folder: tempfile::TempDir,
    golden: WeightsFile,
}

impl Case {
    /// Of a network's golden file.
    fn new(name: &str) -> Self {
        Self::of("../model/tests/golden", name)
    }

    fn of(source: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let golden = WeightsFile::open(&source.join(format!("{name}.safetensors"))).unwrap();
        let json = std::fs::read_to_string(source.join(format!("{name}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        std::fs::write(
            folder.path().join("config.json"),
            json["config"].to_string(),
        )
        .unwrap();
        let case = Self { folder, golden };
        for (file, prefix) in [("weights", "weight."), ("inputs", "input.")] {
            case.write(file, &case.tensors(prefix));
        }
        case
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(format!("{file}.safetensors"))
    }

    fn tensors(&self, prefix: &str) -> Vec<StateTensor> {
        let keys = self.golden.keys();
        keys.filter_map(|key| {
            Some(StateTensor {
                name: key.strip_prefix(prefix)?.to_owned(),
                shape: self.golden.shape(key)?.to_vec(),
                values: self.golden.f32(key)?,
            })
        })
        .collect()
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.folder.path().join("config.json"), text).unwrap();
    }

    fn write(&self, file: &str, tensors: &[StateTensor]) {
        write(tensors, &self.path(file), Dtype::F32, HashMap::new()).unwrap();
    }

    fn run(&self, component: Network) -> Result<WeightsFile, String> {
        let probe = Probe {
            component,
            config: &self.folder.path().join("config.json"),
            weights: Some(&self.path("weights")),
            inputs: &self.path("inputs"),
            gradients: true,
            compute: Compute::cpu(),
        };
        let outputs = self.path("outputs");
        probe.run(&outputs).map_err(|error| error.to_string())?;
        Ok(WeightsFile::open(&outputs).unwrap())
    }

    /// Relative L2 distance of an output from the golden one.
    fn distance(&self, found: &WeightsFile, output: &str) -> f64 {
        let found = found.f32(output).unwrap();
        let expected = self.golden.f32(&format!("output.{output}")).unwrap();
        assert_eq!(found.len(), expected.len());
        let norm = |v: Vec<f64>| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let both = found.iter().zip(&expected);
        let difference = norm(both.map(|(a, b)| f64::from(a - b)).collect());
        difference / norm(expected.iter().map(|x| f64::from(*x)).collect())
    }
}

#[test]
fn components_equal_their_public_classes() {
    for (name, component, output) in [
        ("clip_vit", Network::ClipVit, "last_hidden_state"),
        ("perceiver_qk_norm", Network::Perceiver, "last_hidden_state"),
    ] {
        let case = Case::new(name);
        let found = case.run(component).unwrap();
        let distance = case.distance(&found, output);
        assert!(distance < 1e-4, "{name}: {distance:.1e}");
        assert!(found.keys().any(|key| key.starts_with("grad.")), "{name}");
    }
}

#[test]
fn feature_maps_leave_with_channels_first() {
    let case = Case::new("convnext_patch4");
    let found = case.run(Network::ConvNext).unwrap();
    let golden = case.golden.shape("output.stage_4");
    let shape = found.shape("stage_4").unwrap();
    let config = std::fs::read_to_string(case.folder.path().join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(shape[1] as u64, config["dims"][3].as_u64().unwrap());
    assert_eq!(
        golden.unwrap().iter().product::<usize>(),
        shape.iter().product::<usize>()
    );
}

#[test]
fn keys_come_with_and_without_the_prefix() {
    let case = Case::new("clip_vit");
    let weights = case.tensors("weight.");
    let tower = weights
        .iter()
        .filter(|t| t.name != "visual_projection.weight");
    let mut weights: Vec<StateTensor> = tower
        .map(|tensor| StateTensor {
            name: format!("vision_model.{}", tensor.name),
            ..tensor.clone()
        })
        .collect();
    weights.push(StateTensor {
        name: "text_model.final_layer_norm.weight".into(), // the rest of a whole CLIP
        shape: vec![1],
        values: vec![0.0],
    });
    case.write("weights", &weights);
    let found = case.run(Network::ClipVit).unwrap();
    assert!(case.distance(&found, "last_hidden_state") < 1e-4);
}

#[test]
fn the_composition_reports_its_three_losses() {
    let case = Case::of("tests/golden", "deem_interleaved");
    let mut inputs = HashMap::new();
    let file = case.path("inputs");
    let golden = &case.golden;
    for key in golden.keys().filter_map(|key| key.strip_prefix("input.")) {
        inputs.insert(key.to_owned(), Raw::of(golden, &format!("input.{key}")));
    }
    std::fs::write(&file, safetensors::serialize(&inputs, None).unwrap()).unwrap();
    let found = case.run(Network::Deem).unwrap();
    let losses = found.f32("losses").unwrap();
    for (loss, name) in losses.iter().zip(["text", "image", "feedback"]) {
        let expected = golden.f32(&format!("output.{name}")).unwrap()[0];
        assert!(
            (loss / expected - 1.0).abs() < 1e-4,
            "{name}: {loss} {expected}"
        );
    }
    assert!(case.distance(&found, "condition") < 1e-4);
    assert_eq!(found.shape("grad.pixels"), golden.shape("input.pixels"));
}

/// A tensor of the golden file under its own type.
struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Raw {
    fn of(file: &WeightsFile, key: &str) -> Self {
        let (dtype, bytes) = match file.i64(key) {
            Some(values) => (
                Dtype::I64,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            None => {
                let values = file.f32(key).unwrap();
                (
                    Dtype::F32,
                    values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                )
            }
        };
        let shape = file.shape(key).unwrap().to_vec();
        Self {
            dtype,
            shape,
            bytes,
        }
    }
}

impl safetensors::View for &Raw {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[test]
fn all_inputs_that_do_not_fit_are_named_at_once() {
    let case = Case::new("perceiver");
    let mut inputs = case.tensors("input.");
    inputs.retain(|tensor| tensor.name != "query_embeds");
    let states = inputs
        .iter_mut()
        .find(|t| t.name == "encoder_hidden_states");
    let states = states.unwrap();
    states.shape = vec![states.values.len()];
    inputs.retain(|tensor| tensor.name != "encoder_attention_mask");
    for name in ["encoder_attention_mask", "extra"] {
        inputs.push(StateTensor {
            name: name.into(), // floats, where integers are expected
            shape: vec![2, 9],
            values: vec![1.0; 18],
        });
    }
    case.write("inputs", &inputs);
    let error = case.run(Network::Perceiver).unwrap_err();
    for part in [
        "query_embeds: missing",
        "encoder_hidden_states: expected shape [batch, length, 14]",
        "encoder_attention_mask: expected 64-bit integers",
        "extra: no input",
        "inputs.safetensors",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn all_keys_that_do_not_fit_are_named_at_once() {
    let case = Case::new("clip_vit");
    let mut weights = case.tensors("weight.");
    let lost: Vec<String> = weights.iter().take(30).map(|t| t.name.clone()).collect();
    for tensor in weights.iter_mut().take(30) {
        tensor.name = format!("wrong.{}", tensor.name);
    }
    let misshapen = weights.iter_mut().skip(30).find(|t| t.shape.len() == 1);
    let misshapen = misshapen.unwrap();
    misshapen.shape = vec![1, misshapen.values.len()];
    let misshapen = misshapen.name.clone();
    case.write("weights", &weights);
    let error = case.run(Network::ClipVit).unwrap_err();
    for key in lost.iter().filter(|key| *key != "visual_projection.weight") {
        let (missing, surplus) = (format!("    {key}\n"), format!("    wrong.{key}\n"));
        assert!(
            error.contains(&missing) && error.contains(&surplus),
            "{key} in {error}"
        );
    }
    assert!(error.contains(&format!("{misshapen}: expected")), "{error}");
}

#[test]
fn what_a_network_has_not_is_named() {
    let unet = Case::new("unet_linear_heads_per_block");
    let convnext = Case::new("convnext_patch4");
    let perceiver = Case::new("perceiver");
    for (case, component, text, parts) in [
        (
            &unet,
            Network::UNet,
            r#"{"down_block_types": ["AttnDownBlock2D", "DownBlock2D", "KDownBlock2D"],
                "up_block_types": ["AttnUpBlock2D"], "act_fn": "maxout", "in_channels": 4}"#,
            &["AttnDownBlock2D", "KDownBlock2D", "AttnUpBlock2D", "maxout"][..],
        ),
        (
            &unet,
            Network::UNet,
            r#"{"class_embed_type": "timestep", "addition_embed_type": "text"}"#,
            &["class_embed_type", "addition_embed_type"],
        ),
        (
            &unet,
            Network::UNet,
            r#"{"num_attention_heads": 8, "class_embeddings_concat": true}"#,
            &["num_attention_heads", "class_embeddings_concat"],
        ),
        (
            &unet,
            Network::UNet,
            r#"{"block_out_channels": []}"#,
            &["block_out_channels"],
        ),
        (
            &convnext,
            Network::ConvNext,
            r#"{"act_layer": "relu", "output_stride": 16, "use_grn": false}"#,
            &["act_layer: \"relu\"", "output_stride: 16"],
        ),
        (
            &convnext,
            Network::ConvNext,
            r#"{"dims": [8, 8], "patch_size": "4"}"#,
            &["dims: ", "patch_size: "],
        ),
        (
            &perceiver,
            Network::Perceiver,
            r#"{"position_embedding_type": "relative_key"}"#,
            &["position_embedding_type"],
        ),
    ] {
        case.configure(text);
        let error = case.run(component).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(error.contains("config.json"), "{error}");
    }
}

#[test]
fn the_file_of_a_whole_clip_configures_its_tower() {
    let case = Case::new("clip_vit");
    let path = case.folder.path().join("config.json");
    let own: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let whole = serde_json::json!({"vision_config": own, "text_config": {}, "projection_dim": 3});
    case.configure(&whole.to_string());
    let found = case.run(Network::ClipVit).unwrap();
    assert!(case.distance(&found, "last_hidden_state") < 1e-4);
}

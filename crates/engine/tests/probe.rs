//! `deem probe` against the golden files of the networks, and with inputs that do not fit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use deem_engine::probe::{Component, Probe};
use deem_model::weights::{StateTensor, WeightsFile, write};
use safetensors::Dtype;

/// A golden file taken apart into what the command reads.
struct Case {
    folder: tempfile::TempDir,
    golden: WeightsFile,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden");
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

    fn write(&self, file: &str, tensors: &[StateTensor]) {
        write(tensors, &self.path(file), Dtype::F32, HashMap::new()).unwrap();
    }

    fn run(&self, component: Component) -> Result<WeightsFile, String> {
        let probe = Probe {
            component,
            config: &self.folder.path().join("config.json"),
            weights: Some(&self.path("weights")),
            inputs: &self.path("inputs"),
            gradients: true,
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
        ("clip_vit", Component::ClipVit, "last_hidden_state"),
        (
            "perceiver_qk_norm",
            Component::Perceiver,
            "last_hidden_state",
        ),
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
    let found = case.run(Component::ConvNext).unwrap();
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
fn what_does_not_fit_is_named() {
    let case = Case::new("clip_vit");
    let inputs = case.tensors("input.");
    let renamed = |name: &str| {
        let mut tensor = inputs[0].clone();
        tensor.name = name.into();
        tensor
    };
    case.write("inputs", &[renamed("pixels")]);
    let error = case.run(Component::ClipVit).unwrap_err();
    assert!(error.contains("\"pixel_values\" is missing"), "{error}");

    case.write("inputs", &[renamed("pixel_values"), renamed("extra")]);
    let error = case.run(Component::ClipVit).unwrap_err();
    assert!(error.contains("\"extra\""), "{error}");

    let flat = StateTensor {
        shape: vec![inputs[0].values.len()],
        ..renamed("pixel_values")
    };
    case.write("inputs", &[flat]);
    let error = case.run(Component::ClipVit).unwrap_err();
    assert!(
        error.contains("expected shape [any, 3, any, any]"),
        "{error}"
    );

    case.write("inputs", &inputs);
    let mut weights = case.tensors("weight.");
    weights[0].name = "surplus.weight".into();
    weights[1].name = "another.weight".into();
    case.write("weights", &weights);
    let error = case.run(Component::ClipVit).unwrap_err();
    assert!(
        error.contains("surplus.weight") && error.contains("another.weight"),
        "{error}"
    );
}

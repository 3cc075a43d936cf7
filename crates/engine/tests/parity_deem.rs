//! The composition against an independent double-precision implementation (tools/parity/export_deem.py):
//! the three losses of whole models with given noise and timesteps, and the gradient of their weighted
//! sum on every parameter.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use deem_engine::objective::{feedback_loss, image_targets, next_image_loss, next_token_loss};
use deem_engine::train::GradientSet;
use deem_engine::train::parameters::list;
use deem_model::deem::{Deem, DeemConfig};
use deem_model::layout::Layout;
use deem_model::mask_extractor::mask_to_grid;
use deem_model::weights::{LoadOptions, WeightsFile, load};

const FORWARD: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;

/// A golden file and what it says of the model.
struct Golden {
    file: WeightsFile,
    config: DeemConfig,
    weights: BTreeMap<String, f64>,
    device: Device,
}

impl Golden {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let json = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        Self {
            file: WeightsFile::open(&folder.join(format!("{name}.safetensors"))).unwrap(),
            config: serde_json::from_value(json["config"].clone()).unwrap(),
            weights: serde_json::from_value(json["loss"].clone()).unwrap(),
            device: Device::flex().autodiff(),
        }
    }

    /// The model; every tensor of the file is read, and none is missing.
    fn model(&self) -> Deem {
        let model = Deem::new(&self.config, &self.device).unwrap();
        let options = LoadOptions {
            prefix: "weight.",
            ..LoadOptions::default()
        };
        load(model, &self.file, &options).unwrap()
    }

    fn input<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let key = format!("input.{name}");
        let shape: [usize; D] = self.file.shape(&key)?.try_into().unwrap();
        let data = TensorData::new(self.file.f32(&key).unwrap(), shape);
        Some(Tensor::from_data(data, &self.device))
    }

    /// Noise, which files hold with channels first.
    fn noise(&self, name: &str) -> Tensor<4> {
        self.input::<4>(name).unwrap().permute([0, 2, 3, 1])
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        self.file.i64(&format!("input.{name}")).unwrap()
    }

    fn flags(&self, name: &str) -> Vec<bool> {
        self.integers(name).iter().map(|flag| *flag != 0).collect()
    }

    fn timesteps(&self, name: &str) -> Vec<usize> {
        self.integers(name).iter().map(|t| *t as usize).collect()
    }

    /// Runs the three losses and compares everything that the file holds.
    fn check(&self) {
        let model = self.model();
        let device = &self.device;
        let rows = self.file.shape("input.tokens").unwrap()[0];
        let tokens = self.integers("tokens");
        let layout = Layout::new(&tokens, rows, self.config.tokens, model.queries());
        let masks = self.input::<3>("masks");

        let encoded = model.encode_images(self.input("pixels").unwrap(), masks.clone());
        let diffusion = model.diffusion();
        let latents = diffusion.latents(self.input("targets").unwrap());
        let [_, height, width, _] = latents.dims();
        let area = masks.map(|masks| mask_to_grid(masks, height, width).unsqueeze_dim(3));
        let feedback = feedback_loss(
            &diffusion,
            encoded.own_condition(),
            latents.clone(),
            self.noise("feedback_noise"),
            &self.timesteps("feedback_timesteps"),
            area,
        );
        let hidden = model.read(&layout, Some(&encoded));
        let text = next_token_loss(&model, hidden.clone(), &self.integers("labels"), device);
        let targets = image_targets(&layout, &self.flags("counted"));
        let drop = self.flags("drop");
        let counted = targets.iter().map(|index| *index as i64).collect();
        let image = next_image_loss(
            &model,
            hidden.clone(),
            &layout,
            &encoded,
            &targets,
            latents.select(0, Layout::int(counted, [targets.len()], device)),
            self.noise("image_noise"),
            &self.timesteps("image_timesteps"),
            &drop,
            device,
        );

        let starts = targets.iter().map(|index| &layout.images[*index]);
        let starts: Vec<_> = starts.map(|image| (image.row, image.soi)).collect();
        let context = model.context_condition(hidden.clone(), &layout, &starts, &drop);
        let [batch, seq, llm_dim] = hidden.dims();
        let padding = layout
            .valid(device)
            .bool_not()
            .unsqueeze_dim::<3>(2)
            .expand([batch, seq, llm_dim]);
        let hidden = hidden.mask_fill(padding, 0.0); // without meaning there
        let mut worst = [0.0_f64; 2];
        for (name, found) in [
            ("embeddings", values(encoded.embeddings)),
            ("condition", values(encoded.condition)),
            ("hidden", values(hidden)),
            ("context_condition", values(context)),
            ("text", values(text.clone())),
            ("image", values(image.clone())),
            ("feedback", values(feedback.clone())),
        ] {
            let expected = self.file.f32(&format!("output.{name}")).unwrap();
            let error = distance(&found, &expected) / norm(&expected);
            assert!(error < FORWARD, "{name}: {error:.1e}");
            worst[0] = worst[0].max(error);
        }

        let total = text.mul_scalar(self.weights["text"])
            + image.mul_scalar(self.weights["image"])
            + feedback.mul_scalar(self.weights["feedback"]);
        let gradients = GradientSet::collect(&model, &total.backward());
        let largest = gradients.norm(|_| true);
        for (path, ..) in list(&model) {
            let found = gradients.get(&path).map(|g| values(g.clone()));
            let Some(expected) = self.file.f32(&format!("grad.{path}")) else {
                // Unused, or used where it changes nothing (the bias of keys).
                let norm = found.map_or(0.0, |found| norm(&found));
                assert!(norm < 1e-6 * largest, "{path}: {norm:.1e} of {largest:.1e}");
                continue;
            };
            let found = found.unwrap_or_else(|| panic!("{path} has no gradient"));
            let error = distance(&found, &expected) / norm(&expected);
            assert!(error < GRADIENT, "gradient of {path}: {error:.1e}");
            worst[1] = worst[1].max(error);
        }
        println!("forward {:.1e}, gradient {:.1e}", worst[0], worst[1]);
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|v| f64::from(*v).powi(2));
    squares.sum::<f64>().sqrt()
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// ConvNeXt; right padding; two documents in a row; a dropped condition; images with and without a
/// previous one.
#[test]
fn interleaved_documents() {
    Golden::open("deem_interleaved").check();
}

/// ViT with adapter; left padding; region masks; pooled queries; prompt tokens; velocity prediction;
/// tied embeddings.
#[test]
fn masked_images() {
    Golden::open("deem_masked").check();
}

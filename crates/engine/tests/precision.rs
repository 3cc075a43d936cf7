//! Training and drawing in bf16: what is in which type, and how near it is to 32 bits.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use deem_engine::Precision;
use deem_engine::generate::{ImageOptions, restore};
use deem_engine::objective::DeemBatch;
use deem_engine::train::parameters::select;
use deem_engine::train::{GradientSet, Shares, Task};
use deem_model::deem::Deem;

use crate::common;

/// Paths with types, and whether they are trained.
#[derive(Default)]
struct Types {
    path: Vec<String>,
    found: Vec<(String, usize, DType, bool)>,
}

impl ModuleVisitor for Types {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (path, dtype) = (self.path.join("."), param.val().dtype());
        self.found.push((path, D, dtype, param.is_require_grad()));
    }
}

struct Step {
    model: Deem,
    loss: f64,
    gradients: GradientSet,
}

fn step(stage: usize, precision: Precision, rounded: bool) -> Step {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let mut task = common::task(&preset, stage, &device);
    task.precision = precision;
    let (piece, batch) = common::first(&task);
    let groups = &preset.stages[stage].train.groups;
    let mut change = Change {
        path: Vec::new(),
        rounded,
    };
    let model = common::model(&preset, &device).map(&mut change);
    let (model, _) = select(model, groups).unwrap();
    let model = task.prepare(model);
    let loss = task.loss(&model, &batch, &piece, &Shares::whole());
    let total = loss.total.clone().into_scalar::<f32>();
    let gradients = loss.gradients(&model);
    Step {
        model,
        loss: total.into(),
        gradients,
    }
}

/// Closes the gates of MMFS: on the few cells of such small maps, rounding moves samples across borders, where
/// gradients jump. On demand brings weights to the nearest numbers in bf16.
struct Change {
    path: Vec<String>,
    rounded: bool,
}

impl ModuleMapper for Change {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, _) = param.consume();
        let mut value = value.inner();
        if self.path.last().is_some_and(|name| name == "gate") {
            value = value.zeros_like();
        }
        if self.rounded {
            value = value.cast(DType::BF16).cast(DType::F32);
        }
        Param::initialized(id, Tensor::from_inner(value)).set_require_grad(true)
    }
}

fn values(x: &Tensor<1>) -> Vec<f64> {
    x.to_data().iter::<f64>().collect()
}

/// In degrees.
fn angle(a: &GradientSet, b: &GradientSet) -> f64 {
    let paths: Vec<&str> = a.paths().collect();
    assert_eq!(paths, b.paths().collect::<Vec<_>>());
    let (mut product, mut squares) = (0.0, [0.0, 0.0]);
    for path in paths {
        let [a, b] = [a, b].map(|set| set.get(path).unwrap());
        assert_eq!([a.dtype(), b.dtype()], [DType::F32; 2], "{path}");
        for (x, y) in values(a).into_iter().zip(values(b)) {
            product += x * y;
            squares[0] += x * x;
            squares[1] += y * y;
        }
    }
    let cosine: f64 = product / (squares[0] * squares[1]).sqrt();
    cosine.min(1.0).acos().to_degrees()
}

/// How far rounding may turn the gradient depends on the model; rounding its weights alone, in 32 bits, tells.
#[test]
fn a_step_of_every_stage_is_as_near_as_rounded_weights_are() {
    for stage in 0..3 {
        let wide = step(stage, Precision::F32, false);
        let narrow = step(stage, Precision::Bf16, false);
        let rounded = step(stage, Precision::F32, true);
        let change = (narrow.loss / wide.loss - 1.0).abs();
        assert!(change > 0.0 && change < 0.01, "stage {stage}: {change}");
        let found = angle(&wide.gradients, &narrow.gradients);
        let usual = angle(&wide.gradients, &rounded.gradients);
        println!(
            "stage {stage}: loss {change:.1e}, gradient {found:.1}°, by rounded weights {usual:.1}°"
        );
        assert!(
            found > 0.0 && found < 2.0 * usual + 2.0,
            "stage {stage}: {found} {usual}"
        );
    }
}

#[test]
fn trained_weights_are_in_32_bits_and_frozen_matrices_in_16() {
    let mut types = Types::default();
    step(0, Precision::Bf16, false).model.visit(&mut types);
    for (path, rank, dtype, trained) in types.found {
        let free = path.ends_with("query_tokens") || path.ends_with("null_condition");
        match (trained, rank) {
            (true, _) | (false, 1) => assert_eq!(dtype, DType::F32, "{path}"),
            (false, _) if !free => assert_eq!(dtype, DType::BF16, "{path}"),
            _ => {}
        }
    }
}

#[test]
fn activations_are_in_16_bits_and_latents_in_32() {
    let device = Device::flex();
    let preset = common::preset();
    let (_, batch) = common::first(&common::task(&preset, 0, &device));
    let restored = |precision: Precision| {
        let model = common::model(&preset, &device);
        let model = precision.apply(model.no_grad());
        let batch = DeemBatch::new(&batch, &model, &device);
        let encoded = batch.encode(&model).expect("images");
        let hidden = model.read(&batch.layout, Some(&encoded));
        for dtype in [encoded.embeddings.dtype(), hidden.dtype()] {
            assert_eq!(dtype, precision.dtype().into());
        }
        let targets = batch.targets.clone().expect("images");
        let latents = model.diffusion().latents(targets.clone());
        assert_eq!(latents.dtype(), DType::F32);
        let options = ImageOptions {
            steps: 3,
            ..ImageOptions::default()
        };
        let image = restore(&model, &encoded, targets, 0.5, &options, &mut |_, _| true).unwrap();
        assert_eq!(image.dtype(), DType::F32);
        image
    };
    let [wide, narrow] = [Precision::F32, Precision::Bf16].map(restored);
    let difference = (wide - narrow).square().mean().sqrt();
    let difference = difference.into_scalar::<f32>();
    assert!(difference > 0.0 && difference < 0.03, "{difference}");
}

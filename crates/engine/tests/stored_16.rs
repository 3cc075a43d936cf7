//! A model whose weights are stored in 16 bits trains as its copy in 32 bits does, to the last bit.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use deem_engine::train::parameters::select;
use deem_engine::train::{Shares, Task};
use deem_model::deem::Deem;
use deem_model::weights::{LoadOptions, WeightsFile, load, state, widen, write};
use safetensors::Dtype;

use crate::common;

struct Widen;

impl ModuleMapper for Widen {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        widen(param)
    }
}

/// Types of parameters, and whether they are trained.
#[derive(Default)]
struct Types(Vec<(DType, bool)>);

impl ModuleVisitor for Types {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.val().dtype(), param.is_require_grad()));
    }
}

#[test]
fn a_step_is_the_same_as_in_32_bits() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let tensors = state(&common::model(&preset, &device));
    write(&tensors, &path, Dtype::F16, Default::default()).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let narrow = common::model(&preset, &device);
    let narrow = load(narrow, &file, &LoadOptions::default()).unwrap();
    let wide = narrow.clone().map(&mut Widen);

    let task = common::task(&preset, 0, &device);
    let (piece, batch) = common::first(&task);
    let step = |model: Deem| {
        let (model, _) = select(model, &preset.stages[0].train.groups).unwrap();
        let mut types = Types::default();
        model.visit(&mut types);
        let loss = task.loss(&model, &batch, &piece, &Shares::whole());
        let total = loss.total.clone().into_scalar::<f32>();
        let gradients = loss.gradients(&model);
        let paths: Vec<String> = gradients.paths().map(str::to_owned).collect();
        let norms = paths.into_iter().map(|path| {
            let norm = gradients.norm(|own| own == path);
            (path, norm.to_bits())
        });
        let norms: BTreeMap<_, _> = norms.collect();
        (types.0, total.to_bits(), norms)
    };
    let (types, loss, norms) = step(narrow);
    assert!(types.contains(&(DType::F16, false)), "frozen matrices stay");
    assert!(!types.contains(&(DType::F16, true)), "trained ones do not");
    let (wide_types, wide_loss, wide_norms) = step(wide);
    assert!(wide_types.iter().all(|(dtype, _)| *dtype == DType::F32));
    assert_eq!(loss, wide_loss);
    assert!(!norms.is_empty());
    assert_eq!(norms, wide_norms);
}

//! The built-in benchmarks of a split, mined by the contrastive stand-ins.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::DataError;
use deem_data::world::benchmark::{BenchmarkConfig, build_benchmarks};
use deem_data::world::corpus::Role;
use image::RgbImage;

use crate::built_in::BuiltIn;
use crate::pretrain::{class_embeddings, embed};
use crate::standins::StandIns;
use crate::unseen::Unseen;
use deem_engine::EngineError;
use deem_engine::evaluate::{BenchmarkRegistry, Exam, Mmvp, Pope, Region, RobustVqa};

/// The benchmarks that the built-in world is asked about. The stand-ins learn to answer with an option's words, not to
/// choose one: MMVP is asked by likelihood.
pub fn registry() -> BenchmarkRegistry {
    BenchmarkRegistry::default()
        .with(RobustVqa)
        .with(Pope)
        .with(Mmvp::by_likelihood())
        .with(Region::OWN)
        .with(Unseen)
}

/// Builds those benchmarks of a registry that the built-in world can make, for a split; `interrupted` is asked now
/// and then.
///
/// RobustVQA's negatives are mined by the `miner` stand-in, an encoder other than the one under test
/// (as the paper mines with a ViT-L for a ConvNeXt-B model); MMVP's pairs by the encoder under test
/// before any correction.
///
/// # Errors
/// Stand-ins that are missing, or a split that is too small; `Stopped` once `interrupted` says so.
pub fn benchmarks(
    standins: &StandIns,
    data: &BuiltIn,
    role: Role,
    device: &Device,
    registry: &BenchmarkRegistry,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<Exam>, EngineError> {
    let preset = standins.preset();
    let sizes = standins.experiment().evaluation;
    let side = preset.model.image_size as u32;
    let config = BenchmarkConfig {
        resolution: side,
        robust_images: sizes.robust_vqa,
        pope_questions: sizes.pope,
        mmvp_pairs: sizes.mmvp,
        regions: sizes.region,
        ..BenchmarkConfig::default()
    };
    let encoder = standins.clip(device)?.no_grad();
    let miner = standins.miner(device)?.no_grad();
    let classes = class_embeddings(&miner, data, device)?;
    let classifier = |pictures: &[RgbImage]| {
        let images = embed(&miner, pictures, side, device);
        rows(deem_kernels::linear(images, classes.clone(), None))
    };
    let embedder = |pictures: &[RgbImage]| rows(embed(&encoder, pictures, side, device));
    let built = build_benchmarks(
        &data.world,
        &config,
        role,
        &classifier,
        &embedder,
        interrupted,
    );
    let mut built = built.map_err(|error| match error {
        DataError::Interrupted => EngineError::Stopped,
        other => other.into(),
    })?;
    Ok(registry
        .iter()
        .filter_map(|benchmark| {
            let at = built.iter().position(|b| b.name == benchmark.name())?;
            Some(Exam {
                benchmark: benchmark.clone(),
                items: built.swap_remove(at).items,
            })
        })
        .collect())
}

fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = matrix.dims();
    let values: Vec<f32> = matrix.into_data().iter::<f32>().collect();
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

//! The built-in benchmarks of a split, mined by the contrastive stand-ins.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::benchmark::{Benchmarks, Suite};
use deem_data::world::benchmark::{BenchmarkConfig, build_benchmarks};
use deem_data::world::corpus::Role;
use image::RgbImage;

use crate::built_in::BuiltIn;
use crate::pretrain::{class_embeddings, embed};
use crate::standins::StandIns;
use deem_engine::EngineError;
use deem_engine::generate::{Sampling, TextOptions};

/// Builds the benchmarks of a split.
///
/// RobustVQA's negatives are mined by the `miner` stand-in, an encoder other than the one under test
/// (as the paper mines with a ViT-L for a ConvNeXt-B model); MMVP's pairs by the encoder under test
/// before any correction.
///
/// # Errors
/// Stand-ins that are missing, or a split that is too small.
pub fn benchmarks(
    standins: &StandIns,
    data: &BuiltIn,
    role: Role,
    device: &Device,
) -> Result<Benchmarks, EngineError> {
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
        rows(images.matmul(classes.clone().transpose()))
    };
    let embedder = |pictures: &[RgbImage]| rows(embed(&encoder, pictures, side, device));
    Ok(build_benchmarks(
        &data.world,
        &config,
        role,
        &classifier,
        &embedder,
    )?)
}

/// How answers to a suite are generated (spec: evaluation protocols).
pub fn text_options(suite: Suite) -> TextOptions {
    let (max_new_tokens, min_new_tokens, beams) = match suite {
        Suite::Region => (20, 1, 5),
        _ => (4, 1, 1),
    };
    TextOptions {
        max_new_tokens,
        min_new_tokens,
        beams,
        sampling: Sampling::Greedy,
    }
}

fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = matrix.dims();
    let values: Vec<f32> = matrix.into_data().iter::<f32>().collect();
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

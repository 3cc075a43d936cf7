//! Do visual tokens tell the language model what the image shows? Its loss of full captions with their own
//! image, and how much it rises with another image.

use burn::module::Module;
use burn::tensor::Device;
use deem_metrics::statistics::Interval;

use super::{CHUNK, SCENES, SEED, interval};
use crate::built_in::BuiltIn;
use crate::standins::StandIns;
use deem_data::world::source::Task;
use deem_engine::EngineError;
use deem_engine::batches::{BatchForm, batches};
use deem_engine::objective::{DeemBatch, next_token_loss};

/// Loss in nats per word with the own image, and its rise with another one (95 % interval over
/// batches).
pub(super) fn connection(
    standins: &StandIns,
    data: &BuiltIn,
    device: &Device,
) -> Result<(f64, Interval), EngineError> {
    let preset = standins.preset();
    let model = standins.connected(device)?.no_grad();
    let side = preset.model.image_size as u32;
    let form = BatchForm {
        rows: CHUNK,
        samples_per_row: 1,
        queries: preset.model.image_encoder.queries,
        diffusion: false,
        count_first_image: false,
        error_ceiling: 0.0,
    };
    let source = data.world.source(Task::Description, SEED, side)?;
    let batches = batches(source, &preset.spec(), &data.tokenizer, form)?;
    let (mut own, mut rises) = (Vec::new(), Vec::new());
    for index in 0..SCENES / CHUNK as u64 {
        let host = batches.get(index)?;
        let batch = DeemBatch::new(&host, &model, device);
        let Some(encoded) = batch.encode(&model) else {
            continue;
        };
        let loss = |shift: usize| {
            let images = batch.layout.images.len();
            let which: Vec<usize> = (0..images).map(|i| (i + shift) % images).collect();
            let hidden = model.read(&batch.layout, Some(&encoded.select(&which)));
            let loss = next_token_loss(&model, hidden, &host.labels, device);
            loss.into_data().iter::<f64>().sum::<f64>()
        };
        let right = loss(0);
        own.push(right);
        rises.push(loss(CHUNK / 2) - right);
    }
    let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
    Ok((mean, interval(&rises)))
}

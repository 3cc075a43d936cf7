//! Option scoring: the probability of an answer does not depend on what else is in the batch.

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
use deem_data::benchmark::{Item, Picture};
use deem_data::image::ImageLimits;
use deem_data::text::{TextTokenizer, question_prompt};
use deem_data::{IGNORED, Sample};
use deem_engine::evaluate::Runner;
use deem_engine::generate::log_likelihoods;
use deem_model::layout::Layout;

use crate::common;

#[test]
fn rows_of_a_padded_batch_score_as_they_do_alone() {
    let device = Device::flex();
    let preset = common::preset();
    let model = common::model(&preset, &device);
    let tokens = preset.model.tokens;
    let queries = preset.model.image_encoder.queries;
    let side = preset.model.image_size;
    let pixels = |value: f32| {
        let data = TensorData::new(vec![value; 3 * side * side], [1, 3, side, side]);
        Tensor::<4>::from_data(data, &device)
    };
    let image = [vec![tokens.soi], vec![tokens.image; queries]].concat();
    let row = |words: &[i64]| [vec![tokens.bos], image.clone(), words.to_vec()].concat();
    let (long, short) = (row(&[20, 21, 22, 23]), row(&[30, 31]));
    // The last two words of the first row count, the last of the second.
    let labels = |row: &[i64], last: usize| -> Vec<i64> {
        let from = row.len() - last;
        let label = |(i, token): (usize, &i64)| if i < from { IGNORED } else { *token };
        row.iter().enumerate().map(label).collect()
    };
    let encoded = model.encode_images(Tensor::cat(vec![pixels(0.2), pixels(0.9)], 0), None);

    // By hand: log-softmax of the logits before each counted word.
    let alone = |row: &[i64], last: usize, which: usize| -> f64 {
        let layout = Layout::new(row, 1, tokens, queries);
        let hidden = model.read(&layout, Some(&encoded.select(&[which])));
        let [_, seq, width] = hidden.dims();
        let logits = log_softmax(model.logits(hidden.reshape([seq, width])), 1);
        let vocabulary = logits.dims()[1];
        let values: Vec<f64> = logits.into_data().iter::<f64>().collect();
        let at = |i: usize| values[(i - 1) * vocabulary + row[i] as usize];
        (seq - last..seq).map(at).sum()
    };

    let pad = vec![tokens.pad; long.len() - short.len()];
    let ignored = vec![IGNORED; pad.len()];
    let batch = [long.clone(), pad, short.clone()].concat();
    let counted = [labels(&long, 2), ignored, labels(&short, 1)].concat();
    let layout = Layout::new(&batch, 2, tokens, queries);
    let scores = log_likelihoods(&model, &layout, Some(&encoded), &counted, &device);
    let expected = [alone(&long, 2, 0), alone(&short, 1, 1)];
    for (score, expected) in scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-4, "{scores:?} {expected}");
        assert!(*score < 0.0);
    }
}

/// Pictures of questions with many options are encoded once: that changes no score.
#[test]
fn many_options_score_as_few_do() {
    let device = Device::flex();
    let preset = common::preset();
    let model = common::model(&preset, &device);
    let tokenizer = TextTokenizer::builtin().unwrap();
    let side = preset.model.image_size as u32;
    let runner = Runner::new(&model, tokenizer, side, 128, 2, device);
    let sample = |shade: u8| -> Sample {
        let image = image::RgbImage::from_fn(side, side, |x, y| {
            image::Rgb([shade, (5 * x) as u8, (9 * y) as u8])
        });
        let picture = Picture::Memory {
            id: format!("{shade}.png"),
            image: std::sync::Arc::new(image),
        };
        let segments = question_prompt(0, "what is it ?");
        let item = Item::new("1", "all", picture);
        item.sample(segments, ImageLimits::default()).unwrap().0
    };
    let samples = [sample(10), sample(200), sample(90)];
    let options: Vec<String> = "a red cat,two,blue,dog,the big tree,no"
        .split(',')
        .map(str::to_owned)
        .collect();
    let few: Vec<String> = options[..2].to_vec();
    let all = [&options[..], &few[..], &options[..]];
    let together = runner.choose(&samples, &all).unwrap();
    for ((sample, options), found) in samples.iter().zip(all).zip(together) {
        assert_eq!(found.log_probabilities.len(), options.len());
        for (pair, found) in options.chunks(2).zip(found.log_probabilities.chunks(2)) {
            let alone = runner
                .choose(std::slice::from_ref(sample), &[pair])
                .unwrap();
            for (found, expected) in found.iter().zip(&alone[0].log_probabilities) {
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }
}

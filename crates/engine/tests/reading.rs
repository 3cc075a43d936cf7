//! Sequences that are read side by side: each as if it were alone.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_engine::generate::{
    Continuation, Ending, Reading, Sampling, TextOptions, Together, generate_text,
};
use deem_model::deem::{Deem, EncodedImages};

use crate::common;

struct Asked {
    tokens: Vec<i64>,
    encoded: Option<EncodedImages>,
    options: TextOptions,
}

/// Questions of several lengths about no, one and two pictures.
fn asked(model: &Deem, side: usize, device: &Device) -> Vec<Asked> {
    let special = model.tokens();
    let image = [vec![special.soi], vec![special.image; model.queries()]].concat();
    let pixels = |values: &[f32]| -> Option<EncodedImages> {
        let each = 3 * side * side;
        let values = values
            .iter()
            .flat_map(|value| (0..each).map(move |at| value * ((at % 17) as f32 / 17.0)));
        let values: Vec<f32> = values.collect();
        let images = values.len() / each;
        (images > 0).then(|| {
            let data = TensorData::new(values, [images, 3, side, side]);
            model.encode_images(Tensor::from_data(data, device), None)
        })
    };
    let nucleus = Sampling::Nucleus {
        temperature: 1.5,
        top_p: 0.95,
        seed: 4,
    };
    let row = |images: usize, words: &[i64], values: &[f32], sampling| Asked {
        tokens: [vec![special.bos], image.repeat(images), words.to_vec()].concat(),
        encoded: pixels(values),
        options: TextOptions {
            sampling,
            min_new_tokens: 6,
            ..TextOptions::longest(6)
        },
    };
    vec![
        row(1, &[20, 21, 22, 23], &[0.3], Sampling::Greedy),
        row(0, &[30, 31], &[], nucleus),
        row(2, &[9; 11], &[0.9, 0.1], nucleus),
        row(1, &[40], &[0.6], Sampling::Greedy),
    ]
}

/// Tokens and, at each of them, logits of a sequence that is read alone, prompt and answer in one piece each.
fn alone(model: &Deem, asked: &Asked) -> (Vec<u32>, Vec<Vec<f32>>) {
    let mut reading = Reading::new(model, &asked.tokens, asked.encoded.clone()).unwrap();
    let ends = Ending::new(model, None);
    let mut answer = Continuation::new(asked.options, 0);
    let mut seen = vec![reading.read(model, usize::MAX).unwrap()];
    loop {
        let (token, end) = answer.choose(&ends, seen.last().unwrap());
        if end.is_some() {
            return (answer.tokens().to_vec(), seen);
        }
        reading.push(model, token);
        seen.push(reading.read(model, 1).unwrap());
    }
}

/// The model as it is trained, and as it answers: of the latter, results are the same to the last bit.
fn models(device: &Device) -> [(Deem, bool); 2] {
    let model = common::model(&common::preset(), device);
    [(model.clone(), false), (model.no_grad().prepacked(), true)]
}

fn check(found: &[f32], expected: &[f32], exact: bool) {
    if exact {
        assert_eq!(found, expected);
    }
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = difference.fold(0.0f32, f32::max);
    assert!(found.len() == expected.len() && largest < 1e-4, "{largest}");
}

/// Both ways of computing are the same function.
#[test]
fn weights_in_another_order_say_the_same() {
    let device = Device::flex();
    let preset = common::preset();
    let [(model, _), (prepacked, _)] = models(&device);
    for asked in asked(&model, preset.model.image_size, &device) {
        let logits = |model: &Deem| {
            let mut reading = Reading::new(model, &asked.tokens, asked.encoded.clone()).unwrap();
            reading.read(model, usize::MAX).unwrap()
        };
        check(&logits(&prepacked), &logits(&model), false);
    }
    let [found, expected] = [&prepacked.readable(), &model].map(deem_model::weights::state);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.name, expected.name);
        assert_eq!(found.values, expected.values, "{}", found.name);
    }
}

#[test]
fn company_and_pieces_change_nothing() {
    for (model, exact) in models(&Device::flex()) {
        company_and_pieces(&model, exact);
    }
}

fn company_and_pieces(model: &Deem, exact: bool) {
    let device = Device::flex();
    let preset = common::preset();
    let asked = asked(model, preset.model.image_size, &device);
    let expected: Vec<_> = asked.iter().map(|asked| alone(model, asked)).collect();

    // The same as where answers are generated in a batch of one.
    for (asked, (tokens, _)) in asked.iter().zip(&expected) {
        let layout = model.layout(&asked.tokens, 1);
        let encoded = asked.encoded.as_ref();
        let answers = generate_text(model, None, &layout, encoded, &asked.options);
        assert_eq!(answers[0].tokens, *tokens);
        assert_eq!(tokens.len(), 6);
    }

    // Sequence k joins at step k; prompts are read three tokens at a time.
    let ends = Ending::new(model, None);
    let mut together = Together::default();
    let mut found: Vec<(Vec<u32>, Vec<Vec<f32>>)> = vec![Default::default(); asked.len()];
    let mut active: Vec<(usize, Reading, Continuation)> = Vec::new();
    for step in 0.. {
        if step >= asked.len() && active.is_empty() {
            break;
        }
        if let Some(next) = asked.get(step) {
            let mut reading = Reading::new(model, &next.tokens, next.encoded.clone()).unwrap();
            let logits = loop {
                if let Some(logits) = reading.read(model, 3) {
                    break logits;
                }
            };
            let mut answer = Continuation::new(next.options, 0);
            let (token, _) = answer.choose(&ends, &logits);
            found[step].1.push(logits);
            reading.push(model, token);
            active.push((step, reading, answer));
        }
        let mut rows: Vec<&mut Reading> = active.iter_mut().map(|(_, row, _)| row).collect();
        let logits = together.step(model, &mut rows);
        let mut left = Vec::new();
        for ((which, mut reading, mut answer), logits) in active.into_iter().zip(logits) {
            let (token, end) = answer.choose(&ends, &logits);
            found[which].1.push(logits);
            if end.is_some() {
                found[which].0 = answer.tokens().to_vec();
            } else {
                reading.push(model, token);
                left.push((which, reading, answer));
            }
        }
        active = left;
    }
    for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.0, expected.0, "sequence {which}");
        for (found, expected) in found.1.iter().zip(&expected.1) {
            check(found, expected, exact);
        }
    }
}

#[test]
fn what_another_has_read_is_not_read_again() {
    let device = Device::flex();
    let preset = common::preset();
    for (model, exact) in models(&device) {
        let asked = asked(&model, preset.model.image_size, &device).remove(2);
        let mut first = Reading::new(&model, &asked.tokens, asked.encoded.clone()).unwrap();
        let expected = first.read(&model, usize::MAX).unwrap();
        let mut second = Reading::new(&model, &asked.tokens, asked.encoded.clone()).unwrap();
        second.take_over(&first, asked.tokens.len() - 1);
        assert_eq!(second.unread(), 1);
        let found = second.read(&model, 9).unwrap();
        check(&found, &expected, exact);
        assert!(second.read(&model, 1).is_none());
    }
}

/// A picture shown later is as good as one that was there from the beginning.
#[test]
fn pictures_join_a_sequence() {
    let device = Device::flex();
    let preset = common::preset();
    for (model, exact) in models(&device) {
        let asked = asked(&model, preset.model.image_size, &device).remove(2);
        let encoded = asked.encoded.unwrap();
        let mut whole = Reading::new(&model, &asked.tokens[..13], Some(encoded.clone())).unwrap();
        let expected = whole.read(&model, usize::MAX).unwrap();
        let first = Some(encoded.select(&[0]));
        let mut grown = Reading::new(&model, &asked.tokens[..7], first).unwrap();
        grown.read(&model, usize::MAX).unwrap();
        grown.show(&model, &encoded.select(&[1]));
        let found = grown.read(&model, usize::MAX).unwrap();
        assert_eq!(grown.tokens(), asked.tokens[..13]);
        check(&found, &expected, exact);
    }
}

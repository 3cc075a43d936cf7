//! Benchmarks of an encoder alone, on a few pictures with the golden CLIP.

use std::path::Path;

use burn::tensor::Device;
use deem_data::benchmark::Candidates;
use deem_data::image::ImageLimits;
use deem_engine::evaluate::{
    BenchmarkRegistry, EncoderExaminer, Evaluation, Exam, ModelIdentity, Record, SavedRun, Shard,
    compare,
};
use deem_engine::{DualEncoder, EngineError, RunLock};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use image::{Rgb, RgbImage};

fn opened() -> DualEncoder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip");
    DualEncoder::open(&folder, &Device::flex()).unwrap()
}

/// A picture that differs from the others in its place and colours.
fn picture(number: u32) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        let wave = |a: u32, b: u32| ((a * x + b * y + 37 * number) % 256) as u8;
        Rgb([wave(7 + number, 13), wave(3, 5 * number), wave(number, 11)])
    })
}

fn exam(name: &str, folder: &Path) -> Exam {
    let registry = BenchmarkRegistry::standard();
    Exam::read(registry.get(name).unwrap(), folder, ImageLimits::default()).unwrap()
}

/// The figures and answers of an exam, with `tick` to stop it.
fn asked(
    exam: &Exam,
    output: &Path,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<(Family, Vec<Record>), EngineError> {
    let encoder = opened();
    let model = ModelIdentity {
        weights: encoder.weights().to_owned(),
        precision: "f32".into(),
        max_tokens: 0,
        drawing: None,
    };
    let lock = RunLock::acquire(output)?;
    let examiner = EncoderExaminer::new(&encoder, 2, ImageLimits::default());
    let exams = std::slice::from_ref(exam);
    let mut evaluation = Evaluation::open(output, lock, &model, exams, Shard::WHOLE)?;
    let family = evaluation.run(&examiner, exam, tick)?;
    Ok((
        family.expect("everything was asked"),
        evaluation.records(exam),
    ))
}

fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| v / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The place of `own` among values, largest first.
fn place(values: &[f64], own: usize) -> usize {
    1 + values.iter().filter(|value| **value > values[own]).count()
}

#[test]
fn labels_are_ranked_by_the_mean_of_their_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let classes = ["cat", "dog", "red_cat"];
    for (at, class) in classes.iter().enumerate() {
        std::fs::create_dir_all(data.join(class)).unwrap();
        for number in 0..3 {
            let path = data.join(class).join(format!("{number}.png"));
            picture((3 * at + number) as u32).save(path).unwrap();
        }
    }
    std::fs::write(data.join("dog/1.png"), "no picture").unwrap();
    let exam = exam("zero-shot", &data);
    let (family, records) = asked(&exam, &folder.path().join("out"), &mut |_| true).unwrap();
    assert_eq!((records.len(), family.counts.unwrap().unreadable), (9, 1));

    // Once more, by hand.
    let encoder = opened();
    let Some(Candidates::Texts(texts)) = exam.items[0].candidates.as_deref() else {
        panic!("texts to choose among")
    };
    let means: Vec<Vec<f64>> = texts
        .iter()
        .map(|text| {
            let rows: Vec<Vec<f64>> = encoder
                .texts(&text.wordings)
                .unwrap()
                .iter()
                .map(|row| unit(row))
                .collect();
            let sums: Vec<f64> = (0..rows[0].len())
                .map(|at| rows.iter().map(|row| row[at]).sum())
                .collect();
            unit(&sums)
        })
        .collect();
    let mut right = 0;
    for (at, record) in records.iter().enumerate() {
        if at == 4 {
            assert!(record.error.as_ref().unwrap().contains("1.png") && record.score == 0.0);
            continue;
        }
        let seen = encoder.images(&[picture(at as u32)]).unwrap().remove(0);
        let near: Vec<f64> = means.iter().map(|mean| dot(mean, &seen)).collect();
        assert_eq!(record.rank, Some(place(&near, at / 3)), "{}", record.id);
        right += usize::from(record.rank == Some(1));
        assert_eq!(record.score, f64::from(u8::from(record.rank == Some(1))));
    }
    let figure = |name: &str| family.figure("all", name).unwrap().mean;
    assert!((figure("accuracy") - 100.0 * right as f64 / 9.0).abs() < 1e-9);
    assert!((figure("top_5") - 100.0 * 8.0 / 9.0).abs() < 1e-9); // all but the one that cannot be read
}

/// Three pictures, one of which cannot be read, and their texts.
fn captions(data: &Path) {
    std::fs::create_dir_all(data).unwrap();
    for number in 0..3 {
        picture(number)
            .save(data.join(format!("{number}.png")))
            .unwrap();
    }
    std::fs::write(data.join("3.png"), "no picture").unwrap();
    let lines = [
        r#"{"image": "0.png", "caption": ["a cat", "a red cat"]}"#,
        r#"{"image": "1.png", "caption": "a dog"}"#,
        r#"{"image": "2.png", "caption": ["a blue dog", "a dog"]}"#,
        r#"{"image": "3.png", "caption": "a photo"}"#,
    ];
    std::fs::write(data.join("captions.jsonl"), lines.join("\n")).unwrap();
}

#[test]
fn pictures_and_texts_find_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    captions(&data);
    let exam = exam("retrieval", &data);
    let (family, records) = asked(&exam, &folder.path().join("out"), &mut |_| true).unwrap();
    let encoder = opened();
    let texts = ["a cat", "a red cat", "a dog", "a blue dog", "a photo"];
    let texts: Vec<Vec<f64>> = encoder
        .texts(&texts)
        .unwrap()
        .iter()
        .map(|row| unit(row))
        .collect();
    let pictures = encoder.images(&[0, 1, 2].map(picture)).unwrap();
    let best = |values: &[f64], own: &[usize]| own.iter().map(|at| place(values, *at)).min();
    let of_text = [vec![0], vec![0], vec![1, 2], vec![2]];
    let of_picture = [vec![0, 1], vec![2], vec![2, 3]];
    for (at, owners) in of_text.iter().enumerate() {
        let near: Vec<f64> = pictures
            .iter()
            .map(|picture| dot(picture, &texts[at]))
            .collect();
        assert_eq!(records[at].rank, best(&near, owners), "text {at}");
    }
    for (at, owners) in of_picture.iter().enumerate() {
        let near: Vec<f64> = texts.iter().map(|text| dot(text, &pictures[at])).collect();
        assert_eq!(records[5 + at].rank, best(&near, owners), "picture {at}");
    }
    // The picture that cannot be read is not found, and finds nothing.
    for at in [4, 8] {
        assert!(
            records[at].error.as_ref().unwrap().contains("3.png"),
            "{:?}",
            records[at]
        );
    }
    assert_eq!(family.counts.unwrap().unreadable, 2);
    let names: Vec<&str> = family.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["mean", "text_to_image", "image_to_text"]);
    let recall = |part: &str, name: &str| family.figure(part, name).unwrap().mean;
    assert!((recall("text_to_image", "recall_at_5") - 80.0).abs() < 1e-9);
    assert!((recall("image_to_text", "recall_at_10") - 75.0).abs() < 1e-9);
    let mean =
        (recall("text_to_image", "recall_at_1") + recall("image_to_text", "recall_at_1")) / 2.0;
    assert!((recall("mean", "recall_at_1") - mean).abs() < 1e-9);
}

#[test]
fn stopped_and_resumed_is_the_same_and_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    captions(&data);
    let exam = exam("retrieval", &data);
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let (expected, _) = asked(&exam, &whole, &mut |_| true).unwrap();
    let mut done = 0;
    let error = asked(&exam, &stopped, &mut |count| {
        done += count;
        done < 4
    });
    assert!(matches!(error, Err(EngineError::Stopped)));
    let mut first = None;
    let (found, _) = asked(&exam, &stopped, &mut |count| {
        first.get_or_insert(count);
        true
    })
    .unwrap();
    assert_eq!((found, first), (expected, Some(4)));
    let run = |path: &Path| SavedRun::read(&path.display().to_string()).unwrap();
    let registry = BenchmarkRegistry::standard();
    let compared = compare(&run(&stopped), &run(&whole), &registry, ParseMode::Strict).unwrap();
    let difference = compared.benchmarks[0].difference.as_ref().unwrap();
    let figure = difference.figure("mean", "recall_at_1").unwrap();
    assert_eq!((figure.mean, figure.paired.unwrap().questions), (0.0, 9));
    // Other candidates are other questions.
    let text = std::fs::read_to_string(data.join("captions.jsonl")).unwrap();
    std::fs::write(
        data.join("captions.jsonl"),
        text.replace("a photo", "a red photo"),
    )
    .unwrap();
    let changed = Exam::read(&exam.benchmark, &data, ImageLimits::default()).unwrap();
    let error = asked(&changed, &whole, &mut |_| true).unwrap_err();
    assert!(matches!(error, EngineError::OtherAnswers { .. }), "{error}");
}

/// Photographs, if `DEEM_TEST_DATA` names a folder with `photos/grocery-val-0000.tar`.
#[test]
fn photographs_in_shards_are_classified_and_retrieved() {
    let Some(root) = std::env::var_os("DEEM_TEST_DATA").map(std::path::PathBuf::from) else {
        eprintln!("skipped: set DEEM_TEST_DATA to a folder with photos/grocery-val-0000.tar");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::copy(
        root.join("photos/grocery-val-0000.tar"),
        data.join("grocery-val-0000.tar"),
    )
    .unwrap();
    let exam = exam("zero-shot", &data).limited(64);
    let (family, records) = asked(&exam, &folder.path().join("out"), &mut |_| true).unwrap();
    let counts = family.counts.unwrap();
    assert_eq!((counts.samples, counts.unreadable), (64, 0));
    assert!(
        records
            .iter()
            .all(|record| record.rank.is_some() && record.image_sha256.is_some())
    );
}

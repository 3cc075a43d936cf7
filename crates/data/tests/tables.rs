//! Tables, shards and pickles that Python wrote (tools/parity/export_tables.py).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deem_data::source::{Source, SourceRegistry};
use deem_data::{DataError, Sample};
use serde_json::Value;

use crate::support::{all, context, shown, spec};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tables")
}

fn open(entry: &str) -> Result<Arc<dyn Source>, DataError> {
    SourceRegistry::standard().open(&[spec(entry)], &context(&folder(), 1))
}

fn table(file: &str) -> Arc<dyn Source> {
    open(&format!(r#"{{"kind": "parquet", "files": "{file}"}}"#)).unwrap()
}

fn rows(file: &str) -> Vec<Value> {
    let listed = std::fs::read(folder().join("tables.json")).unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&listed).unwrap();
    let found = listed.into_iter().find(|table| table["file"] == file);
    found.unwrap()["rows"].as_array().unwrap().clone()
}

/// Samples in the file's order.
fn in_order(source: &dyn Source) -> Vec<Result<Sample, DataError>> {
    let mut samples = all(source);
    let number = |id: &str| id.rsplit_once('#').and_then(|(_, n)| n.parse::<u64>().ok());
    samples.sort_by_key(|(id, _)| number(id));
    samples.into_iter().map(|(_, sample)| sample).collect()
}

#[test]
fn conversations_about_several_pictures() {
    for file in [
        "conversations-snappy.parquet",
        "conversations-zstd-index.parquet",
        "conversations-plain-v2.parquet",
    ] {
        let samples = in_order(&*table(file));
        let rows = rows(file);
        assert_eq!(samples.len(), rows.len(), "{file}");
        for (number, (sample, row)) in samples.iter().zip(&rows).enumerate() {
            let sample = sample.as_ref().unwrap();
            let images = row["images"].as_array().unwrap();
            assert_eq!(sample.images.len(), images.len(), "{file}, row {number}");
            for (place, image) in sample.images.iter().enumerate() {
                let expected = [(number * 20) as u8, (place * 40) as u8, 7];
                assert!(image.image.pixels().all(|pixel| pixel.0 == expected));
            }
            let mut pictures: String = (0..images.len()).map(|i| format!("<{i}>")).collect();
            if !pictures.is_empty() {
                pictures.push(' ');
            }
            let mut expected = String::new();
            for (turn, text) in row["texts"].as_array().unwrap().iter().enumerate() {
                let (asked, told) = (text["user"].as_str(), text["assistant"].as_str());
                let opening = if turn == 0 {
                    format!("You are a helpful assistant.\n## USER: {pictures}")
                } else {
                    "\n## USER: ".into()
                };
                expected += &format!(
                    "{opening}{}\n## ASSISTANT:[ {}]|",
                    asked.unwrap(),
                    told.unwrap()
                );
            }
            assert_eq!(shown(sample), expected, "{file}, row {number}");
        }
    }
}

#[test]
fn mirrors_of_llava() {
    let samples = in_order(&*table("mirror-snappy.parquet"));
    for (row, sample) in samples.iter().enumerate() {
        let sample = sample.as_ref().unwrap();
        let picture = if row % 2 == 0 { "<0> " } else { "" };
        assert_eq!(
            shown(sample),
            format!(
                "You are a helpful assistant.\n## USER: {picture}What is {row}?\n## ASSISTANT:[ It is {row}.]|"
            )
        );
    }
}

#[test]
fn pictures_with_captions() {
    let rules = r#""rules": {"caption_first": 0.0}"#;
    let file = r#""kind": "parquet", "files": "captions-zstd-v2-index.parquet""#;
    let source = open(&format!("{{{file}, {rules}}}")).unwrap();
    let told: Vec<String> = in_order(&*source)
        .into_iter()
        .map(|sample| shown(&sample.unwrap()))
        .collect();
    assert_eq!(told[1], "<0>[ the pear number 1.]|");
    assert_eq!(told[5], "<0>[ the pear number 5.]|");
    let words = r#""caption": "a photo of one {label}""#;
    let source = open(&format!("{{{file}, {rules}, {words}}}")).unwrap();
    let labels: Vec<String> = in_order(&*source)
        .into_iter()
        .map(|sample| shown(&sample.unwrap()))
        .collect();
    assert_eq!(labels[3], "<0>[ a photo of one plum]|");
    let source = open(&format!(
        r#"{{{file}, "question": "label", "answer": "label"}}"#
    ))
    .unwrap();
    let asked = shown(in_order(&*source)[0].as_ref().unwrap());
    assert!(
        asked.contains("<0> apple Please provide") && asked.ends_with("The answer is[ apple]|")
    );
    for (options, told) in [
        (r#""caption": "title""#, "\"title\""),
        (r#""image": "picture""#, "\"picture\""),
        (r#""question": "label""#, "together"),
    ] {
        let error = open(&format!("{{{file}, {options}}}")).err().unwrap();
        assert!(error.to_string().contains(told), "{error}");
    }
    let gzip =
        r#"{"kind": "parquet", "files": "captions-gzip.parquet", "rules": {"min_chars": 0}}"#;
    let error = open(gzip).unwrap().get(0).unwrap_err().to_string();
    assert!(error.contains("gzip") && error.contains("row"), "{error}");
}

#[test]
fn several_files_are_one_set() {
    let files = r#"["conversations-{snappy,plain-v2}.parquet", "mirror-snappy.parquet"]"#;
    let source = open(&format!(r#"{{"kind": "parquet", "files": {files}}}"#)).unwrap();
    assert_eq!(source.len(), Some(27));
    let mut ids: Vec<String> = all(&*source).into_iter().map(|(id, _)| id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 27);
    assert!(ids.contains(&"mirror-snappy.parquet#5".to_owned()));
}

#[test]
fn footers_that_lie_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(self::folder().join("mirror-snappy.parquet")).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(folder.path().join("x.parquet"), bytes).unwrap();
        let entry = spec(r#"{"kind": "parquet", "files": "x.parquet"}"#);
        let opened = SourceRegistry::standard().open(&[entry], &context(folder.path(), 1));
        let read = opened.and_then(|source| (0..5).try_for_each(|row| source.get(row).map(drop)));
        read.unwrap_err().to_string()
    };
    let end = whole.len();
    assert!(refused(&whole[..end - 1]).contains("cut off"));
    assert!(refused(b"PAR1").contains("x.parquet"));
    let mut long = whole.clone();
    long[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&long).contains("a footer inside the file"));
    // The data is gone; the footer's offsets point into the footer, or behind it.
    let footer = u32::from_le_bytes(whole[end - 8..end - 4].try_into().unwrap()) as usize;
    assert!(refused(&whole[end - 8 - footer..]).contains("x.parquet"));
}

#[test]
fn a_shard_of_the_python_package() {
    let rules = r#""rules": {"caption_first": 0.0}"#;
    let entry =
        format!(r#"{{"kind": "webdataset", "shards": "python-{{000000..000000}}.tar", {rules}}}"#);
    let source = open(&entry).unwrap();
    let found = all(&*source);
    assert_eq!(found.len(), 3);
    for (row, (id, sample)) in found.iter().enumerate() {
        let sample = sample.as_ref().unwrap();
        assert_eq!(id, &format!("python-000000.tar/{row:06}"));
        assert_eq!(shown(sample), format!("<0>[ the picture number {row}.]|"));
        assert_eq!(
            sample.images[0].image.get_pixel(0, 0).0,
            [(row * 20) as u8, 0, 7]
        );
    }
}

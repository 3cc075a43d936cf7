//! Shards of real photographs, if `DEEM_TEST_DATA` names a folder with `photos/grocery-train-0000.tar` and so on.

use std::path::PathBuf;

use deem_data::source::SourceRegistry;

use crate::support::{context, spec};

#[test]
fn photographs_in_shards_are_read_with_captions_of_their_labels() {
    let Some(folder) = std::env::var_os("DEEM_TEST_DATA").map(PathBuf::from) else {
        eprintln!(
            "skipped: set DEEM_TEST_DATA to a folder with photos/grocery-train-{{0000..0002}}.tar"
        );
        return;
    };
    let entry = r#"{"kind": "webdataset", "shards": "photos/grocery-train-{0000..0002}.tar",
        "caption": "A photo of {label}, {category}", "rules": {"caption_first": 0.0}}"#;
    let source = SourceRegistry::standard()
        .open(&[spec(entry)], &context(&folder, 1))
        .unwrap();
    let count = source.len().unwrap();
    assert!(count > 2000, "{count} photographs");
    let mut ids = Vec::new();
    for index in 0..count {
        let sample = source.get(index).unwrap();
        let picture = &sample.images[0].image;
        assert!((1..=160).contains(&picture.width().min(picture.height())));
        let text = sample.text();
        assert!(
            text.starts_with(" a photo of ") && text.contains(", "),
            "{text}"
        );
        assert!(!text.contains(['{', '}']));
        ids.push(sample.id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len() as u64, count, "every photograph once an epoch");
}

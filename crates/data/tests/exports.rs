//! The built-in world in every layout that can be written, read back by deem and by public packages.

use std::process::Command;

use deem_data::export::{Format, export};
use deem_data::source::SourceRegistry;
use deem_data::text::protocol::{ASSISTANT, SYSTEM, USER};

use crate::support::{all, context, exported, python, shown, spec, world};

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, format, task) in [
        ("c", Format::Captions, "captions"),
        ("w", Format::Webdataset, "captions"),
        ("l", Format::Llava, "instruction"),
        ("p", Format::Parquet, "instruction"),
        ("r", Format::Coco, "region"),
    ] {
        let entry = exported(folder, name, format, task, 9);
        let mut entry: toml::Table = format!("e = {entry}").parse().unwrap();
        if let (Format::Captions | Format::Webdataset, Some(e)) =
            (format, entry["e"].as_table_mut())
        {
            let rules: toml::Table = "min_chars = 0\ncaption_first = 0.0".parse().unwrap();
            e.insert("rules".into(), rules.into());
        }
        let entry = serde_json::to_string(&entry["e"]).unwrap();
        let context = context(&folder.join(name), 1);
        let source = SourceRegistry::standard()
            .open(&[spec(&entry)], &context)
            .unwrap();
        assert_eq!(source.len(), Some(9), "{entry}");
        // Samples keep their order in the files, and pictures every pixel.
        let read = all(&*source);
        let drawn = world(task);
        for (index, (id, sample)) in read.iter().enumerate() {
            let sample = sample
                .as_ref()
                .unwrap_or_else(|error| panic!("{id}: {error}"));
            let own = match format {
                // They keep their ids.
                Format::Llava => {
                    let mut all = (0..9).map(|i| drawn.get(i).unwrap());
                    all.find(|own| own.id == *id).unwrap()
                }
                _ => drawn.get(index as u64).unwrap(),
            };
            assert_eq!(sample.images.len(), own.images.len(), "{id}");
            let inside =
                |mask: &image::GrayImage| mask.iter().map(|v| *v > 0).collect::<Vec<bool>>();
            for (image, original) in sample.images.iter().zip(&own.images) {
                assert!(image.image == original.image, "{id}");
                assert_eq!(
                    image.mask.as_ref().map(inside),
                    original.mask.as_ref().map(inside)
                );
            }
            // Conversations without roles get some.
            let words = |text: String| {
                let said = [SYSTEM, USER, ASSISTANT].iter();
                let text = said.fold(text, |text, role| text.replace(role, " "));
                let text = text.to_lowercase();
                let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_eq!(
                words(sample.text()),
                words(own.text()),
                "{id}: {}",
                shown(sample)
            );
        }
    }
}

#[test]
fn what_a_layout_cannot_hold_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x");
    let error = export(&*world("captions"), 3, Format::Coco, &target).unwrap_err();
    assert!(error.to_string().contains("export"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    std::fs::create_dir(&target).unwrap();
    let error = export(&*world("captions"), 3, Format::Captions, &target).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
}

#[test]
fn public_packages_read_what_is_written() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    exported(folder, "w", Format::Webdataset, "captions", 5);
    exported(folder, "p", Format::Parquet, "instruction", 5);
    exported(folder, "r", Format::Coco, "region", 5);
    let read = "
import io, json
import numpy, pyarrow.parquet, webdataset
from PIL import Image
from pycocotools.coco import COCO
shard = list(webdataset.WebDataset('w/000000.tar', shardshuffle=False).decode('pil'))
assert len(shard) == 5 and all(s['png'].size[0] > 0 and len(s['txt']) > 3 for s in shard), shard
table = pyarrow.parquet.read_table('p/data.parquet').to_pylist()
assert len(table) == 5, table
for row in table:
    assert row['texts'] and all(t['user'] and t['assistant'] for t in row['texts']), row
    assert all(Image.open(io.BytesIO(i['bytes'])).size[0] > 0 for i in row['images']), row
coco = COCO('r/instances.json')
for annotation in coco.anns.values():
    assert coco.annToMask(annotation).sum() == annotation['area'] > 0, annotation
assert len(coco.anns) == 5
";
    let done = Command::new(&python)
        .args(["-c", read])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

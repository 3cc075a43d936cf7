//! Sources of published formats, from the entries of a run's `[[data]]` to samples.

use std::path::Path;
use std::sync::Arc;

use deem_data::image::ImageLimits;
use deem_data::source::{Source, SourceContext, SourceRegistry, SourceSpec};
use deem_data::{DataError, Sample, Segment};

use crate::support::{all, archive, context, png, shown, spec, write};

fn open(folder: &Path, entry: &str) -> Result<Arc<dyn Source>, String> {
    SourceRegistry::standard()
        .open(&[spec(entry)], &context(folder, 1))
        .map_err(|e| e.to_string())
}

fn refused(folder: &Path, entry: &str) -> String {
    match open(folder, entry) {
        Ok(_) => panic!("{entry} is opened"),
        Err(error) => error,
    }
}

#[test]
fn captions_of_the_built_in_world_leave_out_what_they_are_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let texts = |options: &str| -> Vec<String> {
        let entry = format!(r#"{{"kind": "world", "task": "alignment"{options}}}"#);
        let source = open(folder, &entry).unwrap();
        (0..300).map(|i| source.get(i).unwrap().text()).collect()
    };
    let says = |texts: &[String], word| texts.iter().filter(|t| t.contains(word)).count();
    assert_eq!(says(&texts(""), "background"), 0);
    let dose = texts(r#", "captions": {"noise": 0, "further": 1, "complete": 1}"#);
    assert!(says(&dose, "background") > 150);
    for (options, told) in [
        (r#""design": "web""#, "design"),
        (r#""captions": {"noise": 2}"#, "captions.noise"),
        (r#""captions": {"loudness": 2}"#, "loudness"),
    ] {
        let entry = format!(r#"{{"kind": "world", "task": "alignment", {options}}}"#);
        let error = refused(folder, &entry);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn captions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "images/a.png", png(4, 2));
    write(folder, "images/broken.png", b"no picture");
    let lines = r#"{"image": "a.png", "caption": "A Red Rectangle.", "score": 3}

{"image": "a.png", "caption": "short"}
{"image": "broken.png", "caption": "A picture that is broken."}
{"image": "missing.png", "caption": "A picture that is not there."}
{"caption": "no picture at all"}
"#;
    write(folder, "captions.jsonl", lines);
    let entry = r#"{"kind": "captions", "file": "captions.jsonl", "images": "images"}"#;
    let source = open(folder, entry).unwrap();
    assert_eq!(source.len(), Some(5));
    let kinds: Vec<&str> = all(&*source)
        .iter()
        .map(|(_, result)| result.as_ref().map_or_else(DataError::kind, |_| "fine"))
        .collect();
    for kind in [
        "fine",
        "caption too short",
        "undecodable picture",
        "unreadable file",
        "malformed record",
    ] {
        assert_eq!(
            kinds.iter().filter(|k| **k == kind).count(),
            1,
            "{kind}: {kinds:?}"
        );
    }
    let found = all(&*source);
    let (_, sample) = found.iter().find(|(_, result)| result.is_ok()).unwrap();
    let sample = sample.as_ref().unwrap();
    assert_eq!(sample.id, "captions.jsonl#1");
    assert_eq!(sample.images[0].image.dimensions(), (4, 2));
    let text = shown(sample);
    assert!(
        ["<0>[ a red rectangle.]|", " a red rectangle.<0>"].contains(&text.as_str()),
        "{text}"
    );
    let malformed = found.iter().find(|(_, result)| {
        result
            .as_ref()
            .is_err_and(|error| error.kind() == "malformed record")
    });
    let told = &malformed.unwrap().0;
    assert!(
        told.contains("captions.jsonl") && told.contains("line 6") && told.contains("`image`"),
        "{told}"
    );
}

/// Both orders of picture and caption come up, for one record in the course of epochs too.
#[test]
fn each_epoch_draws_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a.png", png(1, 1));
    write(
        folder,
        "c.jsonl",
        r#"{"image": "a.png", "caption": ["A red rectangle.", "One red pixel."]}"#,
    );
    let source = open(
        folder,
        r#"{"kind": "captions", "file": "c.jsonl", "images": "."}"#,
    )
    .unwrap();
    let mut seen: Vec<String> = (0..50).map(|i| shown(&source.get(i).unwrap())).collect();
    let again: Vec<String> = (0..50).map(|i| shown(&source.get(i).unwrap())).collect();
    assert_eq!(seen, again);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn llava_conversations_as_list_and_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "images/coco/a.png", png(4, 2));
    let records = [
        r#"{"id": "one", "image": "coco/a.png", "conversations": [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A rectangle."}], "model": ""}"#,
        r#"{"id": 2, "image": ["coco/a.png", "coco/a.png"], "conversations": [{"from": "human", "value": "Is <image> as <image>?"}, {"from": "gpt", "value": "Yes."}]}"#,
        r#"{"id": "text", "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]}"#,
    ];
    write(folder, "list.json", format!("[{}]", records.join(",\n")));
    write(folder, "lines.jsonl", records.join("\n"));
    for file in ["list.json", "lines.jsonl"] {
        let entry = format!(r#"{{"kind": "llava", "file": "{file}", "images": "images"}}"#);
        let source = open(folder, &entry).unwrap();
        let found = all(&*source);
        let told: Vec<(&str, usize, String)> = found
            .iter()
            .map(|(id, sample)| {
                let sample = sample.as_ref().unwrap();
                (id.as_str(), sample.images.len(), shown(sample))
            })
            .collect();
        let system = "You are a helpful assistant.\n## USER: ";
        assert_eq!(
            told,
            [
                (
                    "2",
                    2,
                    format!("{system}Is <0> as <1>?\n## ASSISTANT:[ Yes.]|")
                ),
                (
                    "one",
                    1,
                    format!("{system}<0> What is this?\n## ASSISTANT:[ A rectangle.]|")
                ),
                (
                    "text",
                    0,
                    format!("{system}Hello\n## ASSISTANT:[ Good day.]|")
                ),
            ]
        );
    }
    write(
        folder,
        "cut.json",
        &format!("[{}]", records.join(","))[..300],
    );
    let error = refused(
        folder,
        r#"{"kind": "llava", "file": "cut.json", "images": "images"}"#,
    );
    assert!(
        error.contains("cut.json") && error.contains("cut off"),
        "{error}"
    );
    write(
        folder,
        "other.json",
        r#"[{"id": 1, "conversations": [{"from": "robot", "value": ""}]}]"#,
    );
    let error = refused(
        folder,
        r#"{"kind": "llava", "file": "other.json", "images": "images"}"#,
    );
    assert!(
        error.contains("record 1, line 1") && error.contains("robot"),
        "{error}"
    );
}

#[test]
fn webdataset_shards() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let picture = png(4, 2);
    write(
        folder,
        "s/train-0000.tar",
        archive(&[
            ("0.png", &picture),
            (
                "0.json",
                br#"{"label": "Rectangle", "category": "Shape", "caption": "Some red rectangle."}"#,
            ),
            ("1.PNG", &picture),
            ("1.txt", b"A red rectangle.\n"),
            ("2.png", &picture),
            ("3.txt", b"Nothing to see here."),
        ]),
    );
    write(
        folder,
        "s/train-0001.tar",
        archive(&[
            ("x/9.jpg", b"no picture"),
            ("x/9.caption", b"A broken picture."),
        ]),
    );
    let always_first = r#""rules": {"caption_first": 0.0}"#;
    let entry = format!(
        r#"{{"kind": "webdataset", "shards": "s/train-{{0000..0001}}.tar", {always_first}}}"#
    );
    let source = open(folder, &entry).unwrap();
    assert_eq!(source.len(), Some(3));
    let found = all(&*source);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(&ids[..2], ["train-0000.tar/0", "train-0000.tar/1"]);
    assert!(ids[2].contains("train-0001.tar/x/9.jpg"), "{}", ids[2]);
    assert_eq!(
        shown(found[0].1.as_ref().unwrap()),
        "<0>[ some red rectangle.]|"
    );
    assert_eq!(
        shown(found[1].1.as_ref().unwrap()),
        "<0>[ a red rectangle.]|"
    );

    let entry = format!(
        r#"{{"kind": "webdataset", "shards": ["s/train-{{0000,0001}}.tar"], "caption": "a photo of {{label}}, {{category}}", {always_first}}}"#
    );
    let source = open(folder, &entry).unwrap();
    assert_eq!(source.len(), Some(1), "only one sample has a record");
    assert_eq!(
        shown(&source.get(0).unwrap()),
        "<0>[ a photo of rectangle, shape]|"
    );
    let entry = r#"{"kind": "webdataset", "shards": "s/train-0000.tar", "caption": "title"}"#;
    let error = open(folder, entry).unwrap().get(0).unwrap_err().to_string();
    assert!(
        error.contains("0.json") && error.contains("\"title\""),
        "{error}"
    );
}

#[test]
fn hostile_shards_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let picture = png(4, 2);
    let good = archive(&[("0.png", &picture), ("0.txt", b"A red rectangle.")]);
    write(folder, "cut.tar", &good[..560]);
    let error = refused(folder, r#"{"kind": "webdataset", "shards": "cut.tar"}"#);
    assert!(
        error.contains("cut.tar") && error.contains("cut off"),
        "{error}"
    );
    write(folder, "half.tar", &good[..good.len() - 1024 - 700]);
    assert!(refused(folder, r#"{"kind": "webdataset", "shards": "half.tar"}"#).contains("byte"));
    let two = archive(&[
        ("0.png", &picture),
        ("0.txt", b"A red rectangle."),
        ("1.png", &picture),
    ]);
    write(folder, "skip.tar", &two[..two.len() - 1024 - 100 - 412]);
    let entry = r#"{"kind": "webdataset", "shards": "skip.tar", "skip_damaged": true}"#;
    assert_eq!(open(folder, entry).unwrap().len(), Some(1));
    write(folder, "zip.tar", [0x1f, 0x8b].repeat(400));
    assert!(
        refused(folder, r#"{"kind": "webdataset", "shards": "zip.tar"}"#).contains("compressed")
    );

    // `append_data` refuses such names, so they are written into the headers.
    let mut outside = archive(&[("00/0.png", &picture), ("00/0.txt", b"A red rectangle.")]);
    for start in [0, 1024] {
        outside[start..start + 2].copy_from_slice(b"..");
        let sum: u32 = (0..512)
            .map(|i| {
                if (148..156).contains(&i) {
                    32
                } else {
                    u32::from(outside[start + i])
                }
            })
            .sum();
        outside[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    write(folder, "outside.tar", outside);
    let error = refused(folder, r#"{"kind": "webdataset", "shards": "outside.tar"}"#);
    assert!(
        error.contains("leaves its folder") && error.contains("../0.png"),
        "{error}"
    );
}

#[test]
fn wrong_entries_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "images/a.png", png(1, 1));
    write(folder, "empty.jsonl", "\n\n");
    write(folder, "words.txt", "no json here\nand none here\n");
    for (entry, told) in [
        (
            r#"{"kind": "captions", "images": "images"}"#,
            "missing field `file`",
        ),
        (
            r#"{"kind": "captions", "file": 3, "images": "images"}"#,
            "data[0].file",
        ),
        (
            r#"{"kind": "captions", "file": "no.jsonl", "images": "images"}"#,
            "data[0].file",
        ),
        (
            r#"{"kind": "captions", "file": "images", "images": "images"}"#,
            "found: a folder",
        ),
        (
            r#"{"kind": "captions", "file": "empty.jsonl", "images": "nowhere"}"#,
            "data[0].images",
        ),
        (
            r#"{"kind": "captions", "file": "empty.jsonl", "images": "images"}"#,
            "is empty",
        ),
        (
            r#"{"kind": "captions", "file": "words.txt", "images": "images"}"#,
            "words.txt, record 1, line 1",
        ),
        (
            r#"{"kind": "captions", "file": "${DEEM_NO_SUCH_VARIABLE}/c.jsonl", "images": "images"}"#,
            "DEEM_NO_SUCH_VARIABLE is not set",
        ),
        (
            r#"{"kind": "captions", "file": "words.txt", "images": "images", "rules": {"min_char": 3}}"#,
            "min_char",
        ),
        (
            r#"{"kind": "webdataset", "shards": "a-{0..9.tar"}"#,
            "data[0].shards",
        ),
        (r#"{"kind": "webdataset", "shards": []}"#, "empty list"),
        (r#"{"kind": "webdataset", "shards": 7}"#, "data[0].shards"),
        (
            r#"{"kind": "webdataset", "shards": "a.tar", "caption": "a photo"}"#,
            "data[0].caption",
        ),
        (
            r#"{"kind": "llava", "file": "words.txt", "images": "images", "rules": {}}"#,
            "rules",
        ),
        (
            r#"{"kind": "arrow"}"#,
            "captions, coco-captions, coco-instances,",
        ),
    ] {
        let error = refused(folder, entry);
        assert!(error.contains(told), "{entry}: {error}");
    }
}

/// A kind from another crate.
#[test]
fn a_kind_of_ones_own() {
    use deem_data::source::{Field, SourceKind, parse_options};

    struct Poems(Vec<String>);
    impl Source for Poems {
        fn len(&self) -> Option<u64> {
            Some(self.0.len() as u64)
        }
        fn get(&self, index: u64) -> Result<Sample, DataError> {
            let text = self.0[(index % self.0.len() as u64) as usize].clone();
            Ok(Sample {
                segments: vec![Segment::Text {
                    text,
                    counted: true,
                }],
                ..Sample::default()
            })
        }
    }
    #[derive(serde::Deserialize)]
    struct Options {
        file: String,
    }
    let kind = SourceKind {
        name: "poems",
        about: "a poem a line",
        fields: &[Field {
            name: "file",
            about: "the poems",
        }],
        build: |options, context| {
            let options: Options = parse_options(options)?;
            let path = context.file("file", &options.file)?;
            let text =
                std::fs::read_to_string(&path).map_err(|cause| DataError::Io { path, cause })?;
            Ok(Arc::new(Poems(text.lines().map(str::to_owned).collect())))
        },
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.txt", "roses are red");
    let specs: Vec<SourceSpec> = vec![spec(r#"{"kind": "poems", "file": "p.txt"}"#)];
    let context = SourceContext {
        seed: 0,
        image_size: 8,
        root: folder.path().into(),
        limits: ImageLimits::default(),
    };
    let source = SourceRegistry::standard()
        .with(kind)
        .open(&specs, &context)
        .unwrap();
    assert_eq!(source.get(7).unwrap().text(), "roses are red");
}

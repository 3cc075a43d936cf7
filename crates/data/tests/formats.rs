//! Sources of the published sets of stages 1 to 3, in small files of their layouts.

use std::path::Path;
use std::sync::Arc;

use deem_data::source::{Source, SourceRegistry};
use deem_data::{PackConfig, Sample, text::TextTokenizer};
use serde_json::json;

use crate::support::{all, context, png, shown, spec, write};

const SYSTEM: &str = "You are a helpful assistant.\n## USER: ";

fn open(folder: &Path, entry: &serde_json::Value) -> Arc<dyn Source> {
    let opened = SourceRegistry::standard().open(&[spec(&entry.to_string())], &context(folder, 1));
    opened.unwrap_or_else(|error| panic!("{entry}: {error}"))
}

fn refused(folder: &Path, entry: &serde_json::Value) -> String {
    let opened = SourceRegistry::standard().open(&[spec(&entry.to_string())], &context(folder, 1));
    match opened.and_then(|source| source.get(0)) {
        Ok(sample) => panic!("{entry}: {sample:?}"),
        Err(error) => error.to_string(),
    }
}

/// The source's samples by id, those left out or failed by what is said of them.
fn told(source: &dyn Source) -> Vec<(String, String)> {
    let told = |(id, sample): (String, Result<Sample, _>)| match sample {
        Ok(sample) => (id, shown(&sample)),
        Err(error) => (String::new(), format!("{error}")),
    };
    all(source).into_iter().map(told).collect()
}

fn question(asked: &str, answer: &str) -> String {
    format!(
        "{SYSTEM}Based on the image, please answer the question. <0> {asked} Please provide an accurate answer within \
         one word.\n## ASSISTANT: The answer is[ {answer}]|"
    )
}

fn region(description: &str) -> String {
    format!(
        "{SYSTEM}<0> Provide a short description for this <ref>region1</ref>\n## ASSISTANT:[ {description}]|"
    )
}

/// COCO's three lists, with a polygon, plain runs, packed runs and a crowd.
fn coco() -> serde_json::Value {
    json!({
        "info": {"description": "made", "annotations": "not these"},
        "images": [{"id": 3, "file_name": "a.png", "width": 12, "height": 8, "coco_url": "x"},
                   {"id": 4, "file_name": "gone.png", "width": 12, "height": 8}],
        "categories": [{"id": 1, "name": "Traffic_Light", "supercategory": "outdoor"}, {"id": 7, "name": "cat:head"}],
        "annotations": [
            {"id": 10, "image_id": 3, "category_id": 1, "iscrowd": 0, "area": 48.0, "bbox": [0, 0, 6, 8],
             "segmentation": [[0, 0, 6, 0, 6, 8, 0, 8]]},
            {"id": 11, "image_id": 3, "category_id": 7, "iscrowd": 0,
             "segmentation": {"counts": [32, 64], "size": [8, 12]}},
            {"id": 12, "image_id": 3, "category_id": 1, "iscrowd": 1,
             "segmentation": {"counts": "P1P2", "size": [8, 12]}},
            {"id": 13, "image_id": 3, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
            {"id": 14, "image_id": 3, "category_id": 9, "segmentation": [[0, 0, 9, 0, 9, 8, 0, 8]]},
            {"id": 15, "image_id": 4, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 8, 0, 8]]},
            {"id": 16, "image_id": 5, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 8, 0, 8]]},
            {"id": 17, "image_id": 3, "category_id": 1, "segmentation": {"counts": [1, 2], "size": [8, 12]}},
        ],
    })
}

#[test]
fn instances_and_parts_are_regions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "i/a.png", png(12, 8));
    write(folder, "coco.json", coco().to_string());
    for kind in ["coco-instances", "pascal-part", "part-imagenet"] {
        let source = open(
            folder,
            &json!({"kind": kind, "file": "coco.json", "images": "i"}),
        );
        assert_eq!(source.len(), Some(8));
        let told = told(&*source);
        let found = |text: &str| told.iter().filter(|(_, t)| t.contains(text)).count();
        assert!(
            told.contains(&("coco.json#1".into(), region("traffic light"))),
            "{told:?}"
        );
        assert!(told.contains(&("coco.json#2".into(), region("cat head"))));
        for wrong in [
            "a crowd",
            "region too small",
            "category_id 9",
            "gone.png",
            "image_id 5",
            "record 8, line 1: expected a segmentation of runs of 96 pixels in all, found 3 pixels",
        ] {
            assert_eq!(found(wrong), 1, "{wrong}: {told:?}");
        }
        let samples = all(&*source);
        let first = samples.iter().find(|(id, _)| id == "coco.json#1").unwrap();
        let mask = first.1.as_ref().unwrap().images[0].mask.clone().unwrap();
        assert!(
            mask.enumerate_pixels()
                .all(|(x, _, p)| (p.0[0] > 0) == (x < 6))
        );
    }
    let mut other = coco();
    other["images"][0]["width"] = json!(13);
    other["annotations"] = json!([other["annotations"][0]]);
    write(folder, "other.json", other.to_string());
    let entry = json!({"kind": "coco-instances", "file": "other.json", "images": "i"});
    assert!(refused(folder, &entry).contains("13x8"));
    write(
        folder,
        "none.json",
        r#"{"images": [{"id": 1, "file_name": "a"}], "categories": []}"#,
    );
    let entry = json!({"kind": "coco-instances", "file": "none.json", "images": "i"});
    assert!(refused(folder, &entry).contains("empty"));
    write(folder, "list.json", "[]");
    let entry = json!({"kind": "coco-instances", "file": "list.json", "images": "i"});
    assert!(refused(folder, &entry).contains("an object"));
}

#[test]
fn coco_captions_as_requests_and_by_rules() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a.png", png(4, 4));
    let file = json!({"images": [{"id": 3, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 3, "caption": "A red Square. "}, {"id": 2, "image_id": 3, "caption": "Short"}]});
    write(folder, "c.json", file.to_string());
    let mut entry = json!({"kind": "coco-captions", "file": "c.json", "images": "."});
    let asked = told(&*open(folder, &entry));
    assert_eq!(
        asked[0].1,
        format!(
            "{SYSTEM}<0> Could you provide a short description of the image?\n## ASSISTANT: A photo of[ a red Square.]|"
        )
    );
    assert_eq!(asked.len(), 2);
    entry["rules"] = json!({"caption_first": 0.0});
    let ruled = told(&*open(folder, &entry));
    assert!(
        ruled.contains(&("c.json#1".into(), "<0>[ a red square.]|".into())),
        "{ruled:?}"
    );
    assert!(ruled.iter().any(|(_, t)| t.contains("caption too short")));
}

#[test]
fn expressions_of_refcoco_from_pickle_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a.png", png(12, 8));
    let mut instances = coco();
    let square = json!([[0, 0, 8, 0, 8, 8, 0, 8]]);
    instances["annotations"] = (10..14)
        .map(|id| json!({"id": id, "image_id": 3, "category_id": 1, "segmentation": square}))
        .collect();
    write(folder, "instances.json", instances.to_string());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tables");
    for refs in ["refs(0).p", "refs(2).p", "refs(4).p", "refs.json"] {
        let refs = golden.join(refs);
        let mut entry =
            json!({"kind": "refcoco", "refs": refs, "instances": "instances.json", "images": "."});
        let source = open(folder, &entry);
        assert_eq!(source.len(), Some(3), "{refs:?}");
        let mut seen = Vec::new();
        for index in 0..60 {
            seen.push(shown(&source.get(index).unwrap()));
        }
        seen.sort();
        seen.dedup();
        let mut expected: Vec<String> = [0, 1, 3]
            .iter()
            .flat_map(|n| [format!("left thing {n}"), format!("the café's \"{n}\"")])
            .map(|text| region(&text))
            .collect();
        expected.sort();
        assert_eq!(seen, expected);
        entry["split"] = json!("val");
        assert_eq!(open(folder, &entry).len(), Some(1));
        entry["split"] = json!("testA");
        assert!(refused(folder, &entry).contains("testA"));
    }
}

#[test]
fn questions_of_six_sets() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in [
        "COCO_train2014_000000000009.jpg",
        "000000000009.jpg",
        "t1.jpg",
        "0123.png",
        "n9.jpg",
    ] {
        write(folder, &format!("i/{name}"), png(4, 4));
    }
    write(
        folder,
        "q.json",
        r#"{"info": {}, "task_type": "Open-Ended", "questions": [
            {"image_id": 9, "question": "What is it?", "question_id": 90}, {"image_id": 9, "question": "Why?", "question_id": 91}]}"#,
    );
    write(
        folder,
        "a.json",
        r#"{"annotations": [{"question_id": 91, "answers": [{"answer": "so"}, {"answer": "cause"}, {"answer": "cause"}]},
            {"question_id": 90, "multiple_choice_answer": "square", "answers": [{"answer": "box"}]}]}"#,
    );
    let vqa = json!({"kind": "vqa", "questions": "q.json", "annotations": "a.json", "images": "i"});
    assert_eq!(
        told(&*open(folder, &vqa)),
        [
            ("vqa/90".into(), question("What is it?", "square")),
            ("vqa/91".into(), question("Why?", "cause")),
        ]
    );
    let file = |kind: &str, text: &str| {
        write(folder, "f.json", text);
        told(&*open(
            folder,
            &json!({"kind": kind, "file": "f.json", "images": "i"}),
        ))
    };
    let answers = r#"{"data": [{"question": "What does it say?", "image_id": "t1", "answers": ["stop", "STOP", "stop"]}]}"#;
    assert_eq!(
        file("textvqa", answers)[0].1,
        question("What does it say?", "stop")
    );
    let captions = r#"{"data": [{"image_id": "t1", "caption_str": "A sign that says stop."}]}"#;
    assert!(
        file("textcaps", captions)[0]
            .1
            .ends_with("A photo of[ a sign that says stop.]|")
    );
    let covers = r#"{"0123": {"imageURL": "http://x/y.z.png", "questions": ["Who wrote it?"], "answers": ["Ann"], "split": 1},
        "0124": {"imageURL": "x.jpg", "questions": ["?"], "answers": ["!"], "split": 3}}"#;
    let covers = file("ocr-vqa", covers);
    assert_eq!(
        covers[0],
        ("f.json#1/0".into(), question("Who wrote it?", "Ann"))
    );
    assert!(covers[1].1.contains("other split"));
    let gqa = r#"{"07": {"imageId": "n9", "question": "Is it red?", "answer": "yes", "fullAnswer": "Yes, it is.", "semantic": []}}"#;
    assert_eq!(
        file("gqa", gqa),
        [("gqa/07".into(), question("Is it red?", "yes"))]
    );
    let knowledge = r#"[{"split": "train", "image_id": 9, "question_id": "q", "question": "What for?", "choices": ["a", "b"],
        "correct_choice_idx": 1, "direct_answers": ["c", "c"]}, {"image_id": 9, "question": "When?", "direct_answers": ["now"]},
        {"image_id": 9, "question": "Where?", "choices": ["here"], "correct_choice_idx": 1}]"#;
    let knowledge = file("a-okvqa", knowledge);
    assert_eq!(knowledge[1].1, question("What for?", "b"));
    assert_eq!(knowledge[2].1, question("When?", "now"));
    assert!(knowledge[0].1.contains("record 3") && knowledge[0].1.contains("right choice"));
}

#[test]
fn regions_of_visual_genome_osprey_and_vcr() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["7.jpg", "000000000009.jpg", "film/a.jpg"] {
        write(folder, &format!("i/{name}"), png(12, 8));
    }
    write(
        folder,
        "vg.json",
        r#"[{"id": 7, "regions": [{"region_id": 1, "image_id": 7, "x": 2, "y": 0, "width": 30, "height": 30, "phrase": "the red wall "}]},
            {"id": 8, "regions": []}]"#,
    );
    let vg = told(&*open(
        folder,
        &json!({"kind": "visual-genome", "file": "vg.json", "images": "i"}),
    ));
    assert_eq!(vg[1], ("visual-genome/1".into(), region("the red wall")));
    assert!(vg[0].1.contains("no region"));

    let half = json!({"segmentation": [[0, 0, 6, 0, 6, 8, 0, 8]]});
    let osprey = json!([
        {"file_name": "COCO_train2014_000000000009.jpg", "height": 8, "width": 12, "annotation": [half, half],
         "conversations": [{"from": "human", "value": "Is <region1> like <region2>?"}, {"from": "gpt", "value": "<region1> is."}]},
        {"file_name": "000000000009.jpg", "height": 8, "width": 12, "annotation": [half, half, half, half, half],
         "conversations": [{"value": "?"}, {"value": "!"}]},
        {"file_name": "000000000009.jpg", "height": 8, "width": 12, "annotation": [], "conversations": []},
    ]);
    write(folder, "o.json", osprey.to_string());
    let told_osprey = told(&*open(
        folder,
        &json!({"kind": "osprey", "file": "o.json", "images": "i"}),
    ));
    let found = |text: &str| {
        told_osprey
            .iter()
            .any(|(_, t)| t == text || t.contains(text))
    };
    assert!(
        found(&format!(
            "{SYSTEM}<0> <ref>region1</ref>, <1> <ref>region2</ref> Is <ref>region1</ref> like <ref>region2</ref>?\
         \n## ASSISTANT:[ <ref>region1</ref> is.]|"
        )),
        "{told_osprey:?}"
    );
    assert!(found("too many regions") && found("0 regions, 0 turns"));

    write(
        folder,
        "i/film/a.json",
        r#"{"boxes": [[0, 0, 6, 8, 0.9]], "width": 12, "height": 8, "names": ["person"],
            "segms": [[[[0, 0], [6, 0], [6, 8], [0, 8]]], [[[6, 0], [12, 0], [12, 8], [6, 8]]]]}"#,
    );
    let lines = [
        r#"{"img_fn": "film/a.jpg", "metadata_fn": "film/a.json", "objects": ["person", "person"], "annot_id": "train-0",
            "question": ["Why", "is", [1], "here", "?"], "answer_choices": [["No", "."], [[1], "likes", [0], "."]], "answer_label": 1}"#,
        r#"{"img_fn": "film/a.jpg", "metadata_fn": "film/a.json", "question": ["Why", "?"], "answer_choices": [["So", "."]], "answer_label": 0}"#,
        r#"{"img_fn": "film/a.jpg", "metadata_fn": "film/a.json", "question": [[5]], "answer_choices": [["So"]], "answer_label": 0}"#,
    ];
    write(
        folder,
        "v.jsonl",
        lines.map(|l| l.replace('\n', " ")).join("\n"),
    );
    let vcr = told(&*open(
        folder,
        &json!({"kind": "vcr", "file": "v.jsonl", "images": "i"}),
    ));
    assert!(vcr.contains(&(
        "vcr/train-0".into(),
        format!(
            "{SYSTEM}<0> <ref>region1</ref>, <1> <ref>region2</ref> Why is <ref>region1</ref> here?\
             \n## ASSISTANT:[ <ref>region1</ref> likes <ref>region2</ref>.]|"
        )
    )), "{vcr:?}");
    assert!(vcr.iter().any(|(_, t)| t.contains("no region")));
    assert!(vcr.iter().any(|(_, t)| t.contains("object 5 of 2")));
}

/// MMC4 by hand: which documents and pictures stay, and how they are packed.
#[test]
fn documents_of_mmc4() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["a.png", "b.png", "s/c.png"] {
        write(folder, &format!("i/{name}"), png(4, 4));
    }
    let info = |name: &str, text: u64, similarity: f64| json!({"image_name": name, "raw_url": "x", "matched_text_index": text, "matched_sim": similarity});
    let texts = json!(["a cat", "a dog", "a bus"]);
    let lines = [
        json!({"text_list": texts, "url": "x", "image_info": [info("a.png", 2, 0.3), info("b.png", 0, 0.24), info("s/c.png", 1, 0.2)],
               "similarity_matrix": [[0.1]]}),
        json!({"text_list": texts, "image_info": []}),
        json!({"text_list": texts, "image_info": [info("lost.png", 0, 0.3)]}),
        json!({"text_list": texts, "image_info": [info("a.png", 3, 0.3)]}),
    ];
    write(
        folder,
        "docs_0.jsonl",
        lines.map(|line| line.to_string()).join("\n"),
    );
    let single = json!({"text_list": texts, "image_info": [info("a.png", 0, 0.9)]});
    write(folder, "docs_1.jsonl", [single.to_string()].join("\n"));
    let entry = |shards: &str| json!({"kind": "mmc4", "shards": shards, "images": "i", "rules": {"image_first": 1.0}});
    let source = open(folder, &entry("docs_{0..1}.jsonl"));
    assert_eq!(source.len(), Some(5));
    let found = told(&*source);
    assert!(
        found.contains(&(
            "docs_0.jsonl#1".into(),
            "<0>[ a cat][ a dog]<1>[ a bus]|".into()
        )),
        "{found:?}"
    );
    for rule in ["no similar picture", "no picture in the folder", "3 of 3"] {
        assert_eq!(
            found.iter().filter(|(_, t)| t.contains(rule)).count(),
            1,
            "{rule}: {found:?}"
        );
    }
    let source = open(folder, &entry("docs_1.jsonl"));
    let kept = (0..1000).filter(|i| source.get(*i).is_ok()).count();
    assert!(
        (440..560).contains(&kept),
        "{kept} of 1000 with one picture"
    );

    // Two documents in a row of 16 tokens, two placeholders a picture: the first takes 14 with bos and eos, so that the
    // second, which no longer fits whole, stays out; with room for both, the second starts with its bos.
    let document = open(folder, &entry("docs_0.jsonl"));
    let sample = (0..4).find_map(|i| document.get(i).ok()).unwrap();
    let samples = [sample.clone(), sample];
    let tokenizer = TextTokenizer::builtin().unwrap();
    let pack = |max_tokens| {
        let config = PackConfig {
            max_tokens,
            image_tokens: 2,
            count_first_image: false,
        };
        config.pack(&samples, &tokenizer).unwrap()
    };
    let tight = pack(16);
    assert_eq!((tight.samples, tight.tokens.len()), (1, 14));
    let wide = pack(28);
    assert_eq!(
        (wide.samples, wide.document_starts.as_slice()),
        (2, &[0, 14][..])
    );
    let places: Vec<(usize, usize, bool)> = wide
        .images
        .iter()
        .map(|image| (image.soi, image.document_start, image.counted))
        .collect();
    assert_eq!(
        places,
        [(1, 0, false), (8, 0, true), (15, 14, false), (22, 14, true)]
    );
    // Cut within the second picture's placeholders: it goes as a whole.
    let cut = pack(10);
    assert_eq!((cut.images.len(), cut.tokens.len()), (1, 8));
}

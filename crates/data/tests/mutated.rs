//! Damaged files: every reader of sources, benchmarks, tokenizers, pictures and drawings reads or refuses
//! them, by name.

#[path = "../../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/readers/data.rs"]
mod readers;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use mutate::survives;
use readers::{NAME, Read};

use crate::support::{archive, png};

/// What reads a file's bytes in a folder.
type Reader = fn(&std::path::Path, &[u8]) -> Read;

fn in_folder(read: Reader) -> impl Fn(&[u8]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    move |bytes| read(folder.path(), bytes)
}

#[test]
fn benchmarks() {
    let pope = r#"{"question_id": 1, "image": "1.jpg", "text": "Is there a cat?", "label": "yes"}
{"question_id": 2, "image": "1.jpg", "text": "Is there a \"bus\"?", "label": "no"}
"#;
    survives(pope.as_bytes(), &[NAME], in_folder(readers::pope));
    let robustvqa = r#"{"imagenet_a": [{"file_name": "n01/1.jpg", "gt_caption": "goldfish",
        "error_caption": "lemon"}], "imagenet_r": [], "imagenet_v2": [{"file_name": "2.jpg",
        "gt_caption": "cat", "error_caption": "dog"}]}"#;
    survives(
        robustvqa.as_bytes(),
        &[NAME],
        in_folder(readers::robust_vqa),
    );
    let region = r#"{"images": [{"id": 7, "file_name": "a.jpg", "width": 4, "height": 2}],
        "annotations": [{"id": 1, "image_id": 7, "caption": "a red cat", "iscrowd": 0,
            "segmentation": {"counts": [2, 4, 2], "size": [2, 4]}},
            {"id": 2, "image_id": 7, "captions": ["a bus", "the bus"],
            "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
            {"id": 3, "image_id": 7, "captions": ["a dog"],
            "segmentation": {"counts": "242", "size": [2, 4]}}]}"#;
    // A picture that is too large is named itself.
    survives(
        region.as_bytes(),
        &[NAME, "pixels exceed"],
        in_folder(readers::region),
    );
    let mmvp = "Index,Question,Options,Correct Answer\n\
        1,Are the wings open?,(a) Open (b) Closed,(a)\n\
        2,\"Are the wings open, or closed?\",(a) Open (b) Closed,(b)\n";
    survives(mmvp.as_bytes(), &[NAME], in_folder(readers::mmvp));
}

#[test]
fn benchmarks_of_questions() {
    let reads = |valid: &[u8], read: fn(&std::path::Path, &[u8]) -> Read| {
        survives(valid, &[NAME], in_folder(read));
    };
    let vqa = br#"{"annotations": [{"question_id": 1, "image_id": 42, "answer_type": "other", "question_type": "what",
        "answers": [{"answer": "red", "answer_confidence": "yes", "answer_id": 1}, {"answer": "blue", "answer_id": 2}]}]}"#;
    reads(vqa, readers::vqa_questions);
    let vizwiz = br#"[{"image": "a.jpg", "question": "What is this?", "answers": [{"answer": "basil", "answer_confidence": "yes"}],
        "answer_type": "other", "answerable": 1}]"#;
    reads(vizwiz, readers::vizwiz);
    let text_vqa = br#"{"data": [{"question_id": 1, "question": "?", "image_id": "0a1b", "answers": ["stop", "go"], "set_name": "val"}]}"#;
    reads(text_vqa, readers::text_vqa_questions);
    let gqa = br#"{"1": {"question": "Is it blue?", "answer": "no", "imageId": "n1", "isBalanced": true, "types": {"structural": "verify"}}}"#;
    reads(gqa, readers::gqa_questions);
    let visdial = br#"{"split": "val2018", "data": {"questions": ["is it", "how many"], "answers": ["yes", "no"], "dialogs": [
        {"image_id": 7, "caption": "a cat", "dialog": [{"question": 0, "answer": 0, "answer_options": [0, 1]},
        {"question": 1, "answer": 1, "answer_options": [1, 0]}]}]}}"#;
    reads(visdial, readers::visdial);
    let picture = "iVBORw0KGgo=";
    let mmbench = format!(
        "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\n1\tWhich?\t\tred\tblue\t\t\tA\tcolour\t{picture}\n\
         2\t\"What?\"\tnan\tx\ty\tz\t\tC\tshape\t1\n"
    );
    reads(mmbench.as_bytes(), readers::mmbench);
    let vlm = b"Question ID,Type,Statement\n1,Color,red\n2,Color,\"blue, or green\"\n";
    reads(vlm, readers::mmvp_vlm);
}

#[test]
fn benchmarks_of_descriptions() {
    let reads = |valid: &[u8], read: fn(&std::path::Path, &[u8]) -> Read| {
        survives(valid, &[NAME], in_folder(read));
    };
    let coco = br#"{"images": [{"id": 9, "file_name": "b.jpg", "domain": "in-domain"}],
        "annotations": [{"image_id": 9, "id": 1, "caption": "A red bus."}]}"#;
    reads(coco, readers::coco_captions_questions);
    reads(
        b"1.jpg#0\tTwo men .\n1.jpg#1\tTwo guys .\n",
        readers::flickr30k,
    );
    reads(
        br#"[{"url": "x", "image_id": 5, "paragraph": "A cat sits. It is red."}]"#,
        readers::paragraphs,
    );
    let refs = b"(lp0\n(dp1\nVref_id\nI0\nsVann_id\nI1\nsVimage_id\nI8\nsVsplit\nVval\nsVsentences\n(lp2\n(dp3\nVsent\nVleft one\nsasa.";
    reads(refs, readers::refcoco_questions);
    let binary = b"\x80\x02]q\x00}q\x01(U\x06ref_idK\x00U\x06ann_idK\x01U\x08image_idK\x08U\x05splitU\x03valU\tsentences]q\x02}q\x03U\x04sentU\x03redsaua.";
    reads(binary, readers::refcoco_questions);
    let narrative = br#"{"dataset_id": "mscoco_val2017", "image_id": "137576", "annotator_id": 93, "caption": "Cows."}"#;
    reads(narrative, readers::narratives);
    reads(
        br#"{"0": ["n01", "tench"], "1": ["n02", "white_shark"]}"#,
        readers::labels,
    );
    reads(b"n01 tench\nn02\twhite shark\n", readers::labels);
}

#[test]
fn sources() {
    let captions = r#"{"image": "a.png", "caption": "A red cat on a mat.", "width": 3}
{"image": "a.png", "caption": ["A blue dog in a car.", "A dog that is blue."]}
"#;
    // A picture that is not there is named itself.
    survives(
        captions.as_bytes(),
        &[NAME, "pictures"],
        in_folder(readers::captions),
    );
    let llava = r#"[{"id": "1", "image": "a.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A cat."}]},
        {"id": 2, "image": ["a.png", "a.png"], "conversations": [
        {"from": "human", "value": "Is <image> as <image>?"}, {"from": "gpt", "value": "Yes."}]},
        {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello."}]}]"#;
    survives(
        llava.as_bytes(),
        &[NAME, "pictures"],
        in_folder(readers::llava),
    );
    let picture = png(3, 2);
    let shard = archive(&[
        ("0.png", &picture),
        ("0.json", br#"{"caption": "A red cat on a mat."}"#),
        ("1.txt", b"A blue dog in a car."),
        ("1.png", &picture),
    ]);
    survives(&shard, &[NAME], in_folder(readers::webdataset));
}

/// A valid file of each published set.
#[test]
fn published_sets() {
    let square = r#"[[0, 0, 1, 0, 1, 1]]"#;
    let lists = r#""images": [{"id": 3, "file_name": "a.png", "width": 1, "height": 1}], "categories": [{"id": 1, "name": "cat"}]"#;
    let instances = format!(
        r#"{{{lists}, "annotations": [{{"id": 1, "image_id": 3, "category_id": 1, "iscrowd": 0, "segmentation": {square}}},
        {{"id": 2, "image_id": 3, "category_id": 1, "segmentation": {{"counts": [0, 1], "size": [1, 1]}}}},
        {{"id": 3, "image_id": 3, "category_id": 1, "segmentation": {{"counts": "01", "size": [1, 1]}}}}]}}"#
    );
    let coco_captions = format!(
        r#"{{{lists}, "annotations": [{{"id": 1, "image_id": 3, "caption": "A cat."}}, {{"image_id": 3, "caption": "The cat."}}]}}"#
    );
    let gqa = r#"{"07": {"imageId": "1", "question": "Is it red?", "answer": "yes"}, "8": {"imageId": "1", "question": "?", "answer": "no"}}"#;
    let covers = r#"{"1": {"imageURL": "x/1.jpg", "questions": ["Who?", "When?"], "answers": ["I", "Now"], "split": 1},
        "2": {"imageURL": "x/2.jpg", "questions": ["Who?"], "answers": ["I"], "split": 3}}"#;
    let text_vqa = r#"{"version": 1, "data": [{"question": "What?", "image_id": "1", "answers": ["stop", "stop", "go"]}]}"#;
    let genome = r#"[{"id": 1, "regions": [{"region_id": 5, "x": 0, "y": 0, "width": 1, "height": 1, "phrase": "a wall"}]}]"#;
    let osprey = format!(
        r#"[{{"file_name": "x_000000000001.jpg", "width": 1, "height": 1, "annotation": [{{"segmentation": {square}}}],
        "conversations": [{{"value": "What is <region1>?"}}, {{"value": "A cat."}}]}}]"#
    );
    let vcr = r#"{"img_fn": "a.png", "metadata_fn": "a.json", "question": ["Why", [0], "?"], "answer_choices": [["So"], [[0], "is"]], "answer_label": 1}
"#;
    let mmc4 = r#"{"text_list": ["A cat.", "A dog."], "image_info": [{"image_name": "a.png", "matched_text_index": 1, "matched_sim": 0.3},
        {"image_name": "1.jpg", "matched_text_index": 0, "matched_sim": 0.4}]}"#
        .replace('\n', " ");
    let vqa = r#"{"questions": [{"question_id": 9, "image_id": 1, "question": "What?"}],
        "annotations": [{"question_id": 9, "answers": [{"answer": "a cat"}]}]}"#;
    let sets: [(&str, Reader); 10] = [
        (&instances, readers::coco_instances),
        (&coco_captions, readers::coco_captions),
        (gqa, readers::gqa),
        (covers, readers::ocr_vqa),
        (text_vqa, readers::text_vqa),
        (genome, readers::visual_genome),
        (&osprey, readers::osprey),
        (vcr, readers::vcr),
        (&mmc4, readers::mmc4),
        (vqa, readers::vqa),
    ];
    for (valid, read) in sets {
        // A picture or its masks that are not there, or too large, are named themselves.
        survives(
            valid.as_bytes(),
            &[NAME, "pictures", "pixels exceed"],
            in_folder(read),
        );
    }
}

#[test]
fn tables_and_pickles() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tables");
    let file = |name: &str| std::fs::read(golden.join(name)).unwrap();
    for table in [
        "conversations-snappy.parquet",
        "conversations-zstd-index.parquet",
        "conversations-plain-v2.parquet",
        "mirror-snappy.parquet",
    ] {
        survives(&file(table), &[NAME], in_folder(readers::parquet));
    }
    for pickle in ["refs(0).p", "refs(2).p", "refs(4).p"] {
        survives(&file(pickle), &[NAME], in_folder(readers::refcoco));
    }
}

/// A line of 100 MB is refused in the memory of a piece of it.
#[test]
fn a_record_of_100_megabytes_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = br#"{"image": "a.png", "caption": "A red cat on a mat."}
{"image": "a.png", "caption": ""#
        .to_vec();
    lines.resize(100 << 20, b'x');
    lines.extend_from_slice(b"\"}\n");
    let error = readers::captions(folder.path(), &lines).unwrap_err();
    assert!(
        error.contains("line 2") && error.contains("at most"),
        "{error}"
    );
}

#[test]
fn tokenizers() {
    let valid = include_bytes!("../../../assets/tokenizer/tokenizer.json");
    survives(valid, &[NAME], readers::tokenizer);
}

#[test]
fn pictures() {
    let picture = DynamicImage::ImageRgba8(image::RgbaImage::from_fn(9, 7, |x, y| {
        image::Rgba([(x * 20) as u8, (y * 30) as u8, 90, (x * y * 4) as u8])
    }));
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
        ImageFormat::Ico,
        ImageFormat::Qoi,
    ] {
        let mut valid = Cursor::new(Vec::new());
        let picture = match format {
            ImageFormat::Jpeg | ImageFormat::Pnm => DynamicImage::ImageRgb8(picture.to_rgb8()),
            _ => picture.clone(),
        };
        picture.write_to(&mut valid, format).unwrap();
        survives(valid.get_ref(), &[NAME], readers::picture);
    }
}

#[test]
fn drawings() {
    let mut png = Cursor::new(Vec::new());
    let picture = image::RgbaImage::from_pixel(4, 4, image::Rgba([9, 8, 7, 255]));
    picture.write_to(&mut png, ImageFormat::Png).unwrap();
    let record = r#"{"concept": "1f408", "label": "cat", "category": "animal", "plural": "cats",
        "kind": "object", "family": "pets", "subset": "core", "orientable": true, "tags": [],
        "group": "animals", "subgroup": "mammals", "style": "noto"}"#;
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("1f408.noto.json", record.as_bytes()),
        ("1f408.noto.png", png.get_ref()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    let valid = archive.into_inner().unwrap();
    survives(&valid, &[NAME], in_folder(readers::drawings));
}

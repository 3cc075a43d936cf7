//! Readers of sources, benchmarks, tokenizers, pictures and drawings, as fuzz targets and damaged files drive them.

use std::fs;
use std::path::{Path, PathBuf};

use deem_data::DataError;
use deem_data::benchmark::{
    ImageFolder, Item, read_coco_captions, read_flickr30k, read_gqa, read_image_paragraphs,
    read_mmbench, read_mmvp, read_mmvp_vlm, read_narratives, read_pope, read_refcoco, read_regions,
    read_robust_vqa, read_text_vqa, read_visdial, read_vizwiz, read_vqav2,
};
use deem_data::image::{ImageLimits, decode_image, decode_mask};
use deem_data::source::{SourceContext, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_data::world::corpus::Corpus;
use serde_json::json;

/// The file that is written and read, without its ending.
pub const NAME: &str = "fuzzed";

/// No reader may make more of a few bytes.
const LIMITS: ImageLimits = ImageLimits {
    max_pixels: 1 << 20,
};

/// A PNG of one pixel, for what refers to a picture.
const PICTURE: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\
    \0\0\0\x0aIDAT\x78\x9c\x63\x68\0\0\0\x82\0\x81\x77\xcd\x72\xb6\0\0\0\0IEND\xae\x42\x60\x82";

/// The error's text, if there is one.
pub type Read = Result<(), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn written(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).expect("a scratch folder");
    path
}

/// Opens a source whose fields are `options` on a file of this name, and reads its first samples, what a rule leaves
/// out excepted.
fn source(folder: &Path, file: &str, bytes: &[u8], options: serde_json::Value) -> Read {
    written(folder.join(file), bytes);
    let images = folder.join("pictures");
    if !images.exists() {
        fs::create_dir_all(&images).expect("a scratch folder");
        for name in ["a.png", "000000000001.jpg", "1.jpg"] {
            fs::write(images.join(name), PICTURE).expect("a scratch folder");
        }
        let masks = r#"{"width": 1, "height": 1, "segms": [[[[0, 0], [1, 0], [1, 1]]]]}"#;
        fs::write(images.join("a.json"), masks).expect("a scratch folder");
    }
    let spec = serde_json::from_value::<SourceSpec>(options).expect("a source");
    let context = SourceContext {
        seed: 1,
        image_size: 16,
        root: folder.into(),
        limits: LIMITS,
    };
    let source = SourceRegistry::standard()
        .open(&[spec], &context)
        .map_err(told)?;
    for index in 0..source.len().unwrap_or(0).min(4) {
        match source.get(index) {
            Ok(_) | Err(deem_data::DataError::Dropped { .. }) => {}
            Err(error) => return Err(told(error)),
        }
    }
    Ok(())
}

/// A JSON file of a kind that has nothing but `file` and `images`.
fn records(folder: &Path, kind: &str, bytes: &[u8]) -> Read {
    let file = format!("{NAME}.{kind}.json");
    let options = json!({ "kind": kind, "file": &file, "images": "pictures" });
    source(folder, &file, bytes, options)
}

/// JSON Lines of pictures with captions.
pub fn captions(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "captions", bytes)
}

/// Conversations in LLaVA's layout.
pub fn llava(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "llava", bytes)
}

/// Annotations of COCO: masks.
pub fn coco_instances(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "coco-instances", bytes)
}

/// Annotations of COCO: captions.
pub fn coco_captions(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "coco-captions", bytes)
}

/// Members of an object: questions of GQA.
pub fn gqa(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "gqa", bytes)
}

/// Members of an object: covers of OCR-VQA.
pub fn ocr_vqa(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "ocr-vqa", bytes)
}

/// A list in an object: TextVQA.
pub fn text_vqa(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "textvqa", bytes)
}

/// Boxes of Visual Genome.
pub fn visual_genome(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "visual-genome", bytes)
}

/// Conversations about regions.
pub fn osprey(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "osprey", bytes)
}

/// Questions about regions.
pub fn vcr(folder: &Path, bytes: &[u8]) -> Read {
    records(folder, "vcr", bytes)
}

/// Documents of MMC4.
pub fn mmc4(folder: &Path, bytes: &[u8]) -> Read {
    let file = format!("{NAME}.mmc4.jsonl");
    let options = json!({ "kind": "mmc4", "shards": &file, "images": "pictures" });
    source(folder, &file, bytes, options)
}

/// Questions and annotations of VQA, both in one file.
pub fn vqa(folder: &Path, bytes: &[u8]) -> Read {
    let file = format!("{NAME}.vqa.json");
    let options = json!({
        "kind": "vqa", "questions": &file, "annotations": &file, "images": "pictures", "names": "{}.jpg",
    });
    source(folder, &file, bytes, options)
}

/// The pickle of RefCOCO.
pub fn refcoco(folder: &Path, bytes: &[u8]) -> Read {
    let instances = r#"{"images": [{"id": 3, "file_name": "a.png", "width": 1, "height": 1}],
        "categories": [{"id": 1, "name": "cat"}], "annotations": [
        {"id": 10, "image_id": 3, "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]]},
        {"id": 11, "image_id": 3, "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]]},
        {"id": 13, "image_id": 3, "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]]}]}"#;
    written(folder.join("instances.json"), instances.as_bytes());
    let file = format!("{NAME}.p");
    let options = json!({
        "kind": "refcoco", "refs": &file, "instances": "instances.json", "images": "pictures",
    });
    source(folder, &file, bytes, options)
}

/// A table.
pub fn parquet(folder: &Path, bytes: &[u8]) -> Read {
    let file = format!("{NAME}.parquet");
    source(
        folder,
        &file,
        bytes,
        json!({ "kind": "parquet", "files": &file }),
    )
}

/// A WebDataset shard.
pub fn webdataset(folder: &Path, bytes: &[u8]) -> Read {
    let file = format!("{NAME}.tar");
    source(
        folder,
        &file,
        bytes,
        json!({ "kind": "webdataset", "shards": &file }),
    )
}

/// A folder of its own, whose path holds [`NAME`].
fn own(folder: &Path, benchmark: &str) -> PathBuf {
    let own = folder.join(NAME).join(benchmark);
    fs::create_dir_all(&own).expect("a scratch folder");
    own
}

/// A POPE file.
pub fn pope(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "pope");
    written(folder.join("coco_pope_random.json"), bytes);
    read_pope(&folder).map(drop).map_err(told)
}

/// A RobustVQA file.
pub fn robust_vqa(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "robust_vqa");
    written(folder.join("robustvqa.json"), bytes);
    read_robust_vqa(&folder).map(drop).map_err(told)
}

/// A file of regions in COCO's layout.
pub fn region(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "region");
    written(folder.join("region.json"), bytes);
    read_regions(&folder, LIMITS).map(drop).map_err(told)
}

/// The questions of MMVP.
pub fn mmvp(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "mmvp");
    written(folder.join("Questions.csv"), bytes);
    read_mmvp(&folder).map(drop).map_err(told)
}

/// A file of another benchmark, beside others that are sound: its name, those, and its reader.
fn benchmark(
    folder: &Path,
    name: &str,
    others: &[(&str, &str)],
    bytes: &[u8],
    read: fn(&Path) -> Result<Vec<Item>, DataError>,
) -> Read {
    let folder = own(folder, &name.replace(['.', '(', ')'], "_"));
    for (name, text) in others {
        written(folder.join(name), text.as_bytes());
    }
    written(folder.join(name), bytes);
    read(&folder).map(drop).map_err(told)
}

/// VQAv2's annotations.
pub fn vqa_questions(folder: &Path, bytes: &[u8]) -> Read {
    let questions = r#"{"questions": [{"question_id": 1, "image_id": 42, "question": "?"}]}"#;
    let others = [("v2_OpenEnded_mscoco_val2014_questions.json", questions)];
    benchmark(
        folder,
        "v2_mscoco_val2014_annotations.json",
        &others,
        bytes,
        read_vqav2,
    )
}

/// VizWiz.
pub fn vizwiz(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(folder, "val.json", &[], bytes, read_vizwiz)
}

/// TextVQA.
pub fn text_vqa_questions(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(folder, "TextVQA_0.5.1_val.json", &[], bytes, read_text_vqa)
}

/// GQA.
pub fn gqa_questions(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(
        folder,
        "testdev_balanced_questions.json",
        &[],
        bytes,
        read_gqa,
    )
}

/// VisDial's dialogues.
pub fn visdial(folder: &Path, bytes: &[u8]) -> Read {
    let dense = r#"[{"image_id": 7, "round_id": 2, "gt_relevance": [0.2, 1.0]}]"#;
    let others = [("visdial_1.0_val_dense_annotations.json", dense)];
    benchmark(folder, "visdial_1.0_val.json", &others, bytes, read_visdial)
}

/// COCO's captions.
pub fn coco_captions_questions(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(
        folder,
        "captions_val2014.json",
        &[],
        bytes,
        read_coco_captions,
    )
}

/// Flickr30k's lines.
pub fn flickr30k(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(folder, "results_20130124.token", &[], bytes, read_flickr30k)
}

/// Paragraphs.
pub fn paragraphs(folder: &Path, bytes: &[u8]) -> Read {
    let others = [("test_split.json", "[5]")];
    benchmark(
        folder,
        "paragraphs_v1.json",
        &others,
        bytes,
        read_image_paragraphs,
    )
}

/// RefCOCO's pickled expressions.
pub fn refcoco_questions(folder: &Path, bytes: &[u8]) -> Read {
    let instances = r#"{"images": [{"id": 8, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}]}"#;
    benchmark(
        folder,
        "refs(unc).p",
        &[("instances.json", instances)],
        bytes,
        read_refcoco,
    )
}

/// MMBench.
pub fn mmbench(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(folder, "MMBench_DEV_EN.tsv", &[], bytes, read_mmbench)
}

/// MMVP-VLM.
pub fn mmvp_vlm(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(folder, "Questions.csv", &[], bytes, read_mmvp_vlm)
}

/// Localized Narratives.
pub fn narratives(folder: &Path, bytes: &[u8]) -> Read {
    benchmark(
        folder,
        "coco_val_localized_narratives.jsonl",
        &[],
        bytes,
        read_narratives,
    )
}

/// Labels of class folders.
pub fn labels(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "labels");
    for class in ["n01", "n02"] {
        fs::create_dir_all(folder.join(class)).expect("a scratch folder");
        written(folder.join(class).join("1.png"), PICTURE);
    }
    let file = written(folder.join("labels.json"), bytes);
    ImageFolder::read(&folder, Some(&file))
        .map(drop)
        .map_err(told)
}

/// A tokenizer, and what it makes of a text.
pub fn tokenizer(bytes: &[u8]) -> Read {
    let tokenizer = TextTokenizer::from_json(bytes, NAME, None).map_err(told)?;
    let ids = tokenizer.encode("two red cats, <ref>left</ref> of a \u{1F600}");
    ids.map(drop).map_err(told)
}

/// A picture, also as a mask.
pub fn picture(bytes: &[u8]) -> Read {
    let picture = decode_image(bytes, NAME, LIMITS).map_err(told)?;
    decode_mask(bytes, NAME, picture.dimensions(), LIMITS)
        .map(drop)
        .or_else(|error| match error {
            deem_data::DataError::MaskSize { .. } => Ok(()), // turned by EXIF
            other => Err(told(other)),
        })
}

/// A shard of drawings.
pub fn drawings(folder: &Path, bytes: &[u8]) -> Read {
    written(folder.join(format!("{NAME}.tar")), bytes);
    Corpus::open(folder).map(drop).map_err(told)
}

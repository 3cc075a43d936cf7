#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for read in [
        data::captions,
        data::llava,
        data::coco_instances,
        data::coco_captions,
        data::gqa,
        data::ocr_vqa,
        data::text_vqa,
        data::visual_genome,
        data::osprey,
        data::vcr,
        data::mmc4,
        data::vqa,
        data::refcoco,
        data::parquet,
        data::webdataset,
    ] {
        let _ = read(scratch(), bytes);
    }
});

#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for read in [
        data::pope,
        data::robust_vqa,
        data::region,
        data::mmvp,
        data::vqa_questions,
        data::vizwiz,
        data::text_vqa_questions,
        data::gqa_questions,
        data::visdial,
        data::coco_captions_questions,
        data::flickr30k,
        data::paragraphs,
        data::refcoco_questions,
        data::mmbench,
        data::mmvp_vlm,
        data::narratives,
        data::labels,
    ] {
        let _ = read(scratch(), bytes);
    }
});

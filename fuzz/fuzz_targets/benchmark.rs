#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for read in [
        data::pope,
        data::robust_vqa,
        data::region,
        data::mmvp,
        data::vqa,
        data::vizwiz,
        data::text_vqa,
        data::gqa,
        data::visdial,
        data::coco_captions,
        data::flickr30k,
        data::paragraphs,
        data::refcoco,
        data::mmbench,
        data::mmvp_vlm,
        data::narratives,
        data::labels,
    ] {
        let _ = read(scratch(), bytes);
    }
});

//! Masks against pycocotools (tools/parity/export_masks.py).

use deem_data::segmentation::{Counts, Segmentation, encode_rle};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    segmentation: Segmentation,
    width: u32,
    height: u32,
    counts: String,
}

#[test]
fn polygons_and_run_lengths_cover_the_same_pixels() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/masks.json")).unwrap();
    assert!(cases.len() > 100);
    for (number, case) in cases.iter().enumerate() {
        let mask = case.segmentation.mask(case.width, case.height);
        let packed = Segmentation::Rle {
            counts: Counts::Packed(case.counts.clone()),
            size: [case.height, case.width],
        };
        let reference = packed.mask(case.width, case.height).unwrap();
        assert!(mask.unwrap() == reference, "mask {number}");
        let plain = encode_rle(&reference);
        assert!(plain.mask(case.width, case.height).unwrap() == reference);
    }
}

#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for read in [data::pope, data::robust_vqa, data::region, data::mmvp] {
        let _ = read(scratch(), bytes);
    }
});

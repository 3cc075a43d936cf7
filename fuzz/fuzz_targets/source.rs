#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for read in [data::captions, data::llava, data::webdataset] {
        let _ = read(scratch(), bytes);
    }
});

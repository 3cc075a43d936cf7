#![no_main]

use deem_fuzz::{data, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = data::drawings(scratch(), bytes);
});

#![no_main]

use deem_fuzz::{engine, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = engine::run(scratch(), bytes);
});

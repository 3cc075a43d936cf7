#![no_main]

use deem_fuzz::{model, scratch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = model::gguf_model(scratch(), bytes);
});

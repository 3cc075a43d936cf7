#![no_main]

use deem_fuzz::data;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = data::picture(bytes);
});

#![no_main]

use deem_fuzz::model::{autoencoder, networks, scheduler};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = [networks(bytes), autoencoder(bytes), scheduler(bytes)];
});

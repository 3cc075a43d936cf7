//! Files that are not what they say: each ends in an error that names the file and the broken rule.

use burn::module::Module;
use burn::tensor::Device;
use deem_model::nn::Linear;
use deem_model::weights::{LoadOptions, WeightsFile, load};

use crate::support::hostile::Hostile;

impl Hostile {
    fn safetensors() -> Self {
        Self::named("hostile.safetensors")
    }

    /// Opens a file with this content; what is said of it.
    fn error(&self, content: &[u8]) -> String {
        let error = WeightsFile::open(&self.write(content)).expect_err("a hostile file");
        let text = error.to_string();
        assert!(text.contains("hostile.safetensors"), "no file in: {text}");
        text
    }

    /// The same for a header and a number of zero bytes after it.
    fn header_error(&self, header: &str, bytes: usize) -> String {
        self.error(&file(header, bytes))
    }
}

fn file(header: &str, bytes: usize) -> Vec<u8> {
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.resize(content.len() + bytes, 0);
    content
}

const GOOD: &str = r#"{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;

#[test]
fn a_good_file_opens() {
    let hostile = Hostile::safetensors();
    let file = WeightsFile::open(&hostile.write(&file(GOOD, 24))).unwrap();
    assert_eq!(file.shape("weight"), Some(&[2, 3][..]));
}

#[test]
fn truncated() {
    let hostile = Hostile::safetensors();
    let whole = file(GOOD, 24);
    for (length, rule) in [
        (0, "shorter than its 8-byte header length"),
        (7, "shorter than its 8-byte header length"),
        (8, "invalid header length"),
        (30, "invalid header length"),
        (whole.len() - 24, "file not fully covered"),
        (whole.len() - 1, "file not fully covered"),
    ] {
        let text = hostile.error(&whole[..length]);
        assert!(text.contains(rule), "{length} bytes: {text}");
    }
}

#[test]
fn bytes_that_belong_to_nothing() {
    let text = Hostile::safetensors().header_error(GOOD, 25);
    assert!(text.contains("file not fully covered"), "{text}");
}

#[test]
fn absurd_headers() {
    let hostile = Hostile::safetensors();
    for (length, rule) in [
        (u64::MAX, "header too large"),
        (1 << 40, "header too large"),
        (1 << 20, "invalid header length"),
    ] {
        let mut content = file(GOOD, 24);
        content[..8].copy_from_slice(&length.to_le_bytes());
        let text = hostile.error(&content);
        assert!(text.contains(rule), "{length}: {text}");
    }
    for (header, rule) in [
        ("", "header"),
        ("[1, 2]", "invalid JSON in header"),
        (r#"{"weight": {"dtype": "F32"}}"#, "invalid JSON in header"),
        (r#"{"weight":"#, "invalid JSON in header"),
    ] {
        let text = hostile.header_error(header, 24);
        assert!(text.contains(rule), "{header}: {text}");
    }
    let mut content = file(GOOD, 24);
    content[12] = 0xff;
    let text = hostile.error(&content);
    assert!(text.contains("invalid UTF-8 in header"), "{text}");
}

#[test]
fn offsets_that_overlap_leave_gaps_or_run_backwards() {
    let hostile = Hostile::safetensors();
    let two = |first: [usize; 2], second: [usize; 2]| {
        let entry = |[start, end]: [usize; 2]| {
            format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":[{start},{end}]}}"#)
        };
        format!(r#"{{"a":{},"b":{}}}"#, entry(first), entry(second))
    };
    for (first, second) in [
        ([0, 8], [4, 12]),
        ([0, 8], [0, 8]),
        ([0, 8], [12, 20]),
        ([8, 0], [8, 16]),
        ([0, 8], [8, 1_000_000]),
    ] {
        let text = hostile.header_error(&two(first, second), 16);
        let named = text.contains("invalid offset for tensor")
            || text.contains("invalid shape, data type, or offset");
        assert!(named, "{first:?} {second:?}: {text}");
    }
}

#[test]
fn shapes_and_types_that_cannot_be() {
    let hostile = Hostile::safetensors();
    let header = |dtype: &str, shape: &str| {
        format!(r#"{{"weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,24]}}}}"#)
    };
    for (dtype, shape, rule) in [
        ("F32", "[2,4]", "invalid shape, data type, or offset"),
        ("F64", "[2,3]", "invalid shape, data type, or offset"),
        ("F33", "[2,3]", "invalid JSON in header"),
        ("F32", "[-2,3]", "invalid JSON in header"),
        (
            "F32",
            "[18446744073709551615,18446744073709551615]",
            "overflow",
        ),
    ] {
        let text = hostile.header_error(&header(dtype, shape), 24);
        assert!(text.contains(rule), "{dtype} {shape}: {text}");
    }
}

/// A file that is well formed, but whose tensors are of another type than the module's.
#[test]
fn another_type_is_named_with_every_key() {
    let hostile = Hostile::safetensors();
    let header = r#"{"bias":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"weight":{"dtype":"I32","shape":[2,3],"data_offsets":[2,26]}}"#;
    let file = WeightsFile::open(&hostile.write(&file(header, 26))).unwrap();
    let module = Linear::new(3, 2, true, &Device::flex());
    assert_eq!(module.num_params(), 8);
    let error = load(module, &file, &LoadOptions::default()).unwrap_err();
    let text = error.to_string();
    for key in ["weight", "bias"] {
        let told = format!("{key}: expected a floating-point tensor");
        assert!(text.contains(&told), "{text}");
    }
    assert!(text.contains("hostile.safetensors"), "{text}");
}

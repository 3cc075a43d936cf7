//! GGUF files that are not what they say: each ends in an error that names the file and the broken rule.

use deem_model::weights::WeightsFile;
use deem_model::weights::gguf::GgufFile;

use crate::support::hostile::Hostile;

/// Numbers of value types in files.
const U32: u32 = 4;
const F32: u32 = 6;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// A file under construction.
#[derive(Clone, Default)]
struct Draft {
    fields: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
    /// Written instead of the true counts.
    counts: Option<(u64, u64)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Draft {
    /// Two tensors of 32 numbers, 128 and 34 bytes.
    fn good() -> Self {
        Self {
            data: 128 + 64,
            ..Self::default()
        }
        .field("a", U32, &7_u32.to_le_bytes())
        .tensor("first", &[32], 0, 0)
        .tensor("second", &[32], 8, 128)
    }

    fn field(mut self, name: &str, kind: u32, value: &[u8]) -> Self {
        let kind = kind.to_le_bytes();
        self.fields.push([&text(name), &kind[..], value].concat());
        self
    }

    fn array(self, name: &str, kind: u32, length: u64, values: &[u8]) -> Self {
        let value = [&kind.to_le_bytes()[..], &length.to_le_bytes(), values].concat();
        self.field(name, ARRAY, &value)
    }

    /// `shape` with the longest rows first, as files count.
    fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let mut tensor = text(name);
        tensor.extend((shape.len() as u32).to_le_bytes());
        tensor.extend(shape.iter().flat_map(|side| side.to_le_bytes()));
        tensor.extend(kind.to_le_bytes());
        tensor.extend(offset.to_le_bytes());
        self.tensors.push(tensor);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let own = (self.tensors.len() as u64, self.fields.len() as u64);
        let (tensors, fields) = self.counts.unwrap_or(own);
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(fields.to_le_bytes());
        bytes.extend(self.fields.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }
}

impl Hostile {
    fn gguf() -> Self {
        Self::named("hostile.gguf")
    }

    fn open(&self, bytes: &[u8]) -> Result<GgufFile, String> {
        GgufFile::open(&self.write(bytes)).map_err(|error| error.to_string())
    }

    fn refused(&self, bytes: &[u8], rule: &str) {
        let error = self.open(bytes).expect_err("a hostile file");
        assert!(error.contains("hostile.gguf"), "no file in: {error}");
        assert!(error.contains(rule), "no {rule:?} in: {error}");
    }
}

#[test]
fn a_good_file_opens() {
    let file = Hostile::gguf().open(&Draft::good().bytes()).unwrap();
    assert_eq!(file.count("a").unwrap(), Some(7));
    assert_eq!(file.f32("second").unwrap(), [0.0; 32]);
    assert!(file.f32("third").is_none());
}

#[test]
fn truncated_anywhere() {
    let hostile = Hostile::gguf();
    let whole = Draft::good().bytes();
    let needed = whole.len() - 30; // padding follows
    for length in 0..needed {
        let error = hostile.open(&whole[..length]).expect_err("cut off");
        let told = ["cut off", "it is empty"];
        assert!(told.iter().any(|told| error.contains(told)), "{error}");
    }
}

#[test]
fn no_byte_can_cause_harm() {
    let hostile = Hostile::gguf();
    let whole = Draft::good().bytes();
    let mut refused = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            match hostile.open(&bytes) {
                Err(error) => {
                    assert!(error.contains("hostile.gguf"), "{error}");
                    refused += 1;
                }
                Ok(file) => {
                    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name()).collect();
                    assert!(names.iter().all(|name| file.f32(name).is_some()));
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn other_files_and_versions() {
    let hostile = Hostile::gguf();
    hostile.refused(b"{\"a\": 1}", "does not begin with GGUF");
    let version = |version: u32| {
        let mut bytes = Draft::good().bytes();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        bytes
    };
    assert!(hostile.open(&version(2)).is_ok());
    hostile.refused(&version(1), "version 1, expected 2 or 3");
    hostile.refused(&version(4), "version 4, expected 2 or 3");
    hostile.refused(&version(3_u32.swap_bytes()), "big-endian");
}

#[test]
fn absurd_counts_and_lengths() {
    let hostile = Hostile::gguf();
    let good = Draft::good();
    for counts in [(u64::MAX, 1), (2, u64::MAX), (1 << 40, 1), (2, 1 << 40)] {
        let draft = Draft {
            counts: Some(counts),
            ..good.clone()
        };
        assert!(hostile.open(&draft.bytes()).is_err(), "{counts:?}");
    }
    for length in [u64::MAX, 1 << 62, 1 << 40] {
        let draft = good.clone().array("b", U32, length, &[0; 16]);
        hostile.refused(&draft.bytes(), "values (u32)");
        let draft = good.clone().array("b", TEXT, length, &[]);
        assert!(hostile.open(&draft.bytes()).is_err());
        let draft = good.clone().field("b", TEXT, &length.to_le_bytes());
        hostile.refused(&draft.bytes(), "field b: it ends within");
    }
    let nested = good.clone().array("b", ARRAY, 1, &[0; 16]);
    hostile.refused(&nested.bytes(), "field b: it is an array of arrays");
    let unknown = good.clone().field("b", 13, &[0; 8]);
    hostile.refused(
        &unknown.bytes(),
        "field b: its value has the unknown type 13",
    );
    let twice = good.clone().field("a", U32, &[0; 4]);
    hostile.refused(&twice.bytes(), "field a is there twice");
    let unaligned = good.field("general.alignment", U32, &12_u32.to_le_bytes());
    hostile.refused(&unaligned.bytes(), "general.alignment is 12");
}

#[test]
fn tensors_that_cannot_be() {
    let hostile = Hostile::gguf();
    let refused = |name: &str, shape: &[u64], kind, offset, rule: &str| {
        let draft = Draft::good().tensor(name, shape, kind, offset);
        hostile.refused(&draft.bytes(), rule);
    };
    refused("c", &[32], 8, 0, "tensors c and first overlap");
    refused("c", &[8], 0, 96, "overlap");
    refused("c", &[8], 0, 130, "offset 130 is not a multiple of 32");
    refused("c", &[8], 0, 1 << 40, "reach beyond the end of the file");
    refused(
        "c",
        &[8],
        0,
        u64::MAX - 31,
        "reach beyond the end of the file",
    );
    refused("c", &[1 << 32, 1 << 32], 0, 192, "larger than can be");
    refused("c", &[1 << 62], 0, 192, "larger than can be");
    refused("c", &[u64::MAX, 2], 8, 192, "no whole blocks of 32 (Q8_0)");
    refused("c", &[33], 8, 192, "no whole blocks of 32 (Q8_0)");
    refused("c", &[1; 5], 0, 192, "5 dimensions, expected at most 4");
    refused(
        "c",
        &[256],
        16,
        192,
        "tensor c: its numbers are packed as IQ2_XXS",
    );
    refused(
        "c",
        &[256],
        99,
        192,
        "packed as unknown type 99, expected one of F32",
    );
    refused("first", &[0], 0, 192, "tensor first is there twice");
}

/// Well-formed files that hold no LLaMA, or one that contradicts itself.
#[test]
fn other_models_are_named() {
    let hostile = Hostile::gguf();
    let told = |draft: Draft, rule: &str| {
        let path = hostile.write(&draft.bytes());
        let error = WeightsFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("hostile.gguf") && error.contains(rule),
            "{error}"
        );
    };
    told(
        Draft::good(),
        "general.architecture: expected llama, found none",
    );
    let of = |name: &str| Draft::good().field("general.architecture", TEXT, &text(name));
    told(of("qwen2"), "expected llama, found qwen2");
    told(of("llama"), "field llama.attention.head_count: not there");
    let typed = Draft::good().field("general.architecture", U32, &[0; 4]);
    told(typed, "expected one string, found one u32");
    let part = of("llama").field("split.count", U32, &3_u32.to_le_bytes());
    told(part, "one of 3 parts");

    let whole = |heads: u32, experts: u32| {
        let mut draft = of("llama");
        for (name, count) in [
            ("attention.head_count", heads),
            ("embedding_length", 32),
            ("feed_forward_length", 32),
            ("block_count", 1),
            ("context_length", 8),
            ("expert_count", experts),
        ] {
            draft = draft.field(&format!("llama.{name}"), U32, &count.to_le_bytes());
        }
        let eps = 1e-5_f32.to_le_bytes();
        draft.field("llama.attention.layer_norm_rms_epsilon", F32, &eps)
    };
    told(whole(4, 0), "token_embd.weight: not there");
    told(whole(4, 8), "experts");
    let embedded = |heads| whole(heads, 0).tensor("token_embd.weight", &[0, 8], 0, 192);
    told(embedded(0), "`num_attention_heads` is 0");
    told(embedded(5), "num_attention_heads");
    let rows = embedded(4).tensor("blk.0.attn_k.weight", &[0, 8], 0, 192);
    told(
        rows,
        "tensor blk.0.attn_k.weight: expected 32 rows, found 8",
    );
}

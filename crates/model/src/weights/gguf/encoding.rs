use deem_kernels::BlockFormat;
use half::{bf16, f16};
use safetensors::Dtype;

/// How a tensor's numbers are packed: one by one, or in blocks of a few bytes, each with scales of its own.
#[derive(Debug)]
pub struct Encoding {
    id: u32,
    /// Its usual name, as `Q4_1`.
    pub name: &'static str,
    /// Numbers in a block.
    pub values: usize,
    /// Bytes of a block.
    pub bytes: usize,
    /// Type of the numbers once they are unpacked: their own, or F32 if they are quantised.
    pub dtype: Dtype,
    /// How they are quantised, if they are.
    pub format: Option<BlockFormat>,
}

const fn plain(id: u32, name: &'static str, bytes: usize, dtype: Dtype) -> Encoding {
    Encoding {
        id,
        name,
        values: 1,
        bytes,
        dtype,
        format: None,
    }
}

const fn packed(id: u32, format: BlockFormat) -> Encoding {
    Encoding {
        id,
        name: format.name(),
        values: format.values(),
        bytes: format.bytes(),
        dtype: Dtype::F32,
        format: Some(format),
    }
}

/// The encodings that can be read, with the numbers that files give them.
static READ: [Encoding; 16] = [
    plain(0, "F32", 4, Dtype::F32),
    plain(1, "F16", 2, Dtype::F16),
    plain(30, "BF16", 2, Dtype::BF16),
    plain(28, "F64", 8, Dtype::F64),
    packed(2, BlockFormat::Q4_0),
    packed(3, BlockFormat::Q4_1),
    packed(6, BlockFormat::Q5_0),
    packed(7, BlockFormat::Q5_1),
    packed(8, BlockFormat::Q8_0),
    packed(20, BlockFormat::Iq4Nl),
    packed(10, BlockFormat::Q2K),
    packed(11, BlockFormat::Q3K),
    packed(12, BlockFormat::Q4K),
    packed(13, BlockFormat::Q5K),
    packed(14, BlockFormat::Q6K),
    packed(23, BlockFormat::Iq4Xs),
];

/// Names of those that cannot.
const UNREAD: [(u32, &str); 20] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl Encoding {
    /// The encoding of this number in files, or what it is instead.
    pub(super) fn of(id: u32) -> Result<&'static Self, String> {
        if let Some(found) = READ.iter().find(|encoding| encoding.id == id) {
            return Ok(found);
        }
        let name = UNREAD.iter().find(|(own, _)| *own == id);
        let name = name.map_or(format!("unknown type {id}"), |(_, name)| (*name).to_owned());
        let read: Vec<&str> = READ.iter().map(|encoding| encoding.name).collect();
        Err(format!(
            "its numbers are packed as {name}, expected one of {}; take the model in another \
             quantisation",
            read.join(", ")
        ))
    }

    /// Bytes of this many numbers, if they are whole blocks.
    pub(super) fn size(&self, numbers: usize) -> Option<usize> {
        let whole = numbers.is_multiple_of(self.values);
        (numbers / self.values)
            .checked_mul(self.bytes)
            .filter(|_| whole)
    }

    /// The numbers of whole blocks.
    pub(in crate::weights) fn unpack(&self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|b| number(*b)).collect()
        }
        match (self.format, self.dtype) {
            (Some(format), _) => format.unpack(bytes),
            (None, Dtype::F16) => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            (None, Dtype::BF16) => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            (None, Dtype::F64) => each(bytes, |b| f64::from_le_bytes(b) as f32),
            (None, _) => each(bytes, f32::from_le_bytes),
        }
    }
}

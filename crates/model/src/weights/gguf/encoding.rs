use safetensors::Dtype;

use super::{k_quants, small_blocks};

/// How a tensor's numbers are packed: in blocks of a few bytes, each with scales of its own.
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
    unpack: fn(&[u8], &mut [f32]),
}

const fn plain(
    id: u32,
    name: &'static str,
    bytes: usize,
    dtype: Dtype,
    unpack: fn(&[u8], &mut [f32]),
) -> Encoding {
    Encoding {
        id,
        name,
        values: 1,
        bytes,
        dtype,
        unpack,
    }
}

const fn packed(
    id: u32,
    name: &'static str,
    values: usize,
    bytes: usize,
    unpack: fn(&[u8], &mut [f32]),
) -> Encoding {
    Encoding {
        id,
        name,
        values,
        bytes,
        dtype: Dtype::F32,
        unpack,
    }
}

/// The encodings that can be read, with the numbers that files give them.
static READ: [Encoding; 16] = [
    plain(0, "F32", 4, Dtype::F32, small_blocks::single),
    plain(1, "F16", 2, Dtype::F16, small_blocks::half),
    plain(30, "BF16", 2, Dtype::BF16, small_blocks::brain),
    plain(28, "F64", 8, Dtype::F64, small_blocks::double),
    packed(2, "Q4_0", 32, 18, small_blocks::q4_0),
    packed(3, "Q4_1", 32, 20, small_blocks::q4_1),
    packed(6, "Q5_0", 32, 22, small_blocks::q5_0),
    packed(7, "Q5_1", 32, 24, small_blocks::q5_1),
    packed(8, "Q8_0", 32, 34, small_blocks::q8_0),
    packed(20, "IQ4_NL", 32, 18, small_blocks::iq4_nl),
    packed(10, "Q2_K", 256, 84, k_quants::q2),
    packed(11, "Q3_K", 256, 110, k_quants::q3),
    packed(12, "Q4_K", 256, 144, k_quants::q4),
    packed(13, "Q5_K", 256, 176, k_quants::q5),
    packed(14, "Q6_K", 256, 210, k_quants::q6),
    packed(23, "IQ4_XS", 256, 136, k_quants::iq4_xs),
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
        let blocks = bytes.chunks_exact(self.bytes);
        let mut numbers = vec![0.0; blocks.len() * self.values];
        for (block, numbers) in blocks.zip(numbers.chunks_exact_mut(self.values)) {
            (self.unpack)(block, numbers);
        }
        numbers
    }
}

//! Damaged copies of valid files, from a seed: `cargo test` reads a few thousand of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Numbers at which readers break.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "3",
    "0.5",
    "1e99",
    "-1e99",
    "1e-99",
    "255",
    "65536",
    "4294967296",
    "18446744073709551615",
];
/// What stands in files of text where something else should.
const WORDS: [&str; 14] = [
    "null",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[[]]",
    "\"../../x\"",
    ",",
    "\"",
    "\n",
    "}",
    "]",
    "\u{1F600}",
];

/// xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// A copy with one to three damages.
pub fn mutated(valid: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        dice.below(1); // neighbouring seeds part
    }
    let mut bytes = valid.to_vec();
    for _ in 0..=dice.below(3) {
        damage(&mut bytes, &mut dice);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let length = bytes.len();
    let at = dice.below(length + 1);
    let end = (at + dice.below(16)).min(length);
    match dice.below(8) {
        0 if at < length => bytes[at] ^= 1 << dice.below(8),
        1 if at < length => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = dice.below(length + 1);
            bytes.splice(to..to, copy);
        }
        5 => {
            let number: u64 = [0, 1, 8, 1 << 31, 1 << 40, u64::MAX][dice.below(6)];
            let width = [1, 2, 4, 8][dice.below(4)];
            let end = (at + width).min(length);
            bytes.splice(at..end, number.to_le_bytes()[..end - at].to_vec());
        }
        6 => replace_number(bytes, at, NUMBERS[dice.below(NUMBERS.len())]),
        _ => {
            let word = WORDS[dice.below(WORDS.len())];
            bytes.splice(at..end, word.bytes());
        }
    }
}

/// Puts another number in the place of the first one behind `at`.
fn replace_number(bytes: &mut Vec<u8>, at: usize, number: &str) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let digits = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let end = start + digits.count();
    bytes.splice(start..end, number.bytes());
}

/// Damaged copies of each file, unless `DEEM_MUTATIONS` says otherwise.
const COUNT: u64 = 200;

/// Reads damaged copies of a valid file: each is read, or refused with an error that has one of the words in
/// `named` (any error will do if there are none).
///
/// # Panics
/// If a reader panics, refuses the valid file, does not name the file, or notices (almost) nothing.
pub fn survives(valid: &[u8], named: &[&str], read: impl Fn(&[u8]) -> Result<(), String>) {
    let count = std::env::var("DEEM_MUTATIONS").map_or(COUNT, |count| count.parse().unwrap());
    read(valid).expect("the valid file is read");
    let mut refused = 0;
    for seed in 0..count {
        let bytes = mutated(valid, seed);
        let told = || String::from_utf8_lossy(&bytes).into_owned();
        match catch_unwind(AssertUnwindSafe(|| read(&bytes))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let names = named.is_empty() || named.iter().any(|name| error.contains(name));
                assert!(names, "seed {seed}: no file in: {error}\n{}", told());
                refused += 1;
            }
            Err(_) => panic!("seed {seed}: the reader panicked at\n{}", told()),
        }
    }
    assert!(
        refused > count / 10,
        "only {refused} of {count} damages were noticed"
    );
}

//! What was read before, for those who begin in the same way: the same instructions, or the same conversation, further
//! on.

use deem::{Answering, Model, Reading};

use super::kept::Kept;
use super::look::PictureKey;

/// Fewer tokens are faster read than sought.
const WORTH: usize = 8;

/// The beginnings that are kept.
pub(super) struct Prefixes {
    kept: Kept<Vec<i64>, Prefix>,
    /// Of the keys and values of a token.
    bytes: usize,
    soi: i64,
}

struct Prefix {
    pictures: Vec<PictureKey>,
    reading: Reading,
}

impl Prefixes {
    pub(super) fn new(limit: usize, model: &Model) -> Self {
        let llama = &model.spec().model.llama;
        let width = 2 * llama.kv_heads() * llama.head_width();
        Self {
            kept: Kept::new(limit),
            bytes: llama.num_hidden_layers * width * size_of::<f32>(),
            soi: model.network().tokens().soi,
        }
    }

    /// Lets an answer that has not begun take over what it shares with an earlier one; how many tokens that are.
    pub(super) fn find(&mut self, answering: &mut Answering, pictures: &[PictureKey]) -> usize {
        let tokens = answering.reading().tokens();
        let beginnings = self.kept.iter().map(|(known, prefix)| {
            let read = known.len() - prefix.reading.unread();
            let tokens = [&tokens, &known[..read]];
            let shared = shared(tokens, [pictures, &prefix.pictures], self.soi);
            (shared, known)
        });
        let best = beginnings.max();
        let Some((positions, key)) = best.filter(|(shared, _)| *shared >= WORTH) else {
            return 0;
        };
        let key = key.clone();
        let before = answering.unread();
        if let Some(prefix) = self.kept.get(&key) {
            answering.take_over(&prefix.reading, positions);
        }
        before - answering.unread()
    }

    /// Keeps what an answer has read.
    pub(super) fn keep(&mut self, answering: &Answering, pictures: &[PictureKey]) {
        let reading = answering.reading().clone();
        let tokens = reading.tokens();
        let encoded = reading.encoded().map_or(0, |encoded| encoded.bytes());
        let bytes = self.bytes * tokens.len() + encoded;
        let prefix = Prefix {
            pictures: pictures.to_vec(),
            reading,
        };
        self.kept.put(tokens, prefix, bytes);
    }
}

/// How many tokens two sequences begin with in common, pictures included.
fn shared(tokens: [&[i64]; 2], pictures: [&[PictureKey]; 2], soi: i64) -> usize {
    let mut picture = 0;
    for (position, (one, other)) in tokens[0].iter().zip(tokens[1]).enumerate() {
        if one != other {
            return position;
        }
        if *one == soi {
            let [one, other] = pictures.map(|pictures| pictures.get(picture));
            if one.is_none() || one != other {
                return position;
            }
            picture += 1;
        }
    }
    tokens[0].len().min(tokens[1].len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pictures_are_another_beginning() {
        let soi = 9;
        let tokens: [&[i64]; 2] = [&[1, 9, 0, 0, 5, 6], &[1, 9, 0, 0, 5, 7]];
        let (red, blue) = ([1; 32], [2; 32]);
        assert_eq!(shared(tokens, [&[red], &[red]], soi), 5);
        assert_eq!(shared(tokens, [&[red], &[blue]], soi), 1);
        assert_eq!(shared(tokens, [&[red], &[]], soi), 1);
        assert_eq!(
            shared([&tokens[0][..3], tokens[0]], [&[red], &[red]], soi),
            3
        );
        assert_eq!(shared([&[], &[1]], [&[], &[]], soi), 0);
    }
}

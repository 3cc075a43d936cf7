//! Sequences that are read side by side, each with a length of its own: they come and go at every token.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Tensor;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::{Layout, LayoutError};
use deem_model::llama::{LlamaCache, LlamaImages};

/// A sequence of text and images, of which some is read and the rest is not. A copy shares what has been read.
#[derive(Clone, Debug)]
pub struct Reading {
    layout: Layout,
    encoded: Option<EncodedImages>,
    images: Option<LlamaImages>,
    /// The same for the same images.
    seen: u64,
    cache: LlamaCache,
}

impl Reading {
    /// A sequence of which nothing has been read.
    ///
    /// - `encoded`: the images of `tokens`, in their order
    ///
    /// # Errors
    /// If `tokens` is no sequence of the model, see [`Layout::read`].
    pub fn new(
        model: &Deem,
        tokens: &[i64],
        encoded: Option<EncodedImages>,
    ) -> Result<Self, LayoutError> {
        let layout = Layout::read(tokens, 1, model.tokens(), model.queries())?;
        Ok(Self {
            images: model.prepare(&layout, encoded.as_ref()),
            layout,
            encoded,
            seen: fresh(),
            cache: LlamaCache::new(),
        })
    }

    /// Takes over what another sequence has read of the first `positions` tokens, which are the same here.
    pub fn take_over(&mut self, other: &Self, positions: usize) {
        let known = positions.min(other.cache.len()).min(self.len());
        if known > self.cache.len() {
            self.cache = other.cache.truncate(known);
        }
    }

    /// Its tokens.
    pub fn tokens(&self) -> Vec<i64> {
        self.layout.token_ids()
    }

    /// Number of its tokens.
    pub fn len(&self) -> usize {
        self.layout.seq
    }

    /// Whether it has no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that have not been read.
    pub fn unread(&self) -> usize {
        self.len() - self.cache.len()
    }

    /// Reads on, `most` tokens at most. Logits after the last token once everything is read; nothing before, or if
    /// nothing was left to read.
    pub fn read(&mut self, model: &Deem, most: usize) -> Option<Vec<f32>> {
        let before = self.cache.len();
        let until = self.len().min(before.saturating_add(most));
        if until == before {
            return None;
        }
        let hidden = model.read_until(
            until,
            &self.layout,
            self.encoded.as_ref(),
            self.images.as_ref(),
            Some(&mut self.cache),
        );
        if self.unread() > 0 {
            return None;
        }
        let [_, fresh, width] = hidden.dims();
        let last = hidden.narrow(1, fresh - 1, 1).reshape([1, width]);
        host_rows(model.logits(last)).pop()
    }

    /// Appends a token. A placeholder that the model writes is none of an image's: an end stands in its place.
    ///
    /// # Panics
    /// If the sequence ends in a bare `<soi>`: what follows that is an image.
    pub fn push(&mut self, model: &Deem, token: u32) {
        push_fitting(&mut self.layout, model, &[i64::from(token)]);
    }

    /// Appends an image: `<soi>` and placeholders.
    pub fn show(&mut self, model: &Deem, image: &EncodedImages) {
        let special = model.tokens();
        let run = std::iter::once(special.soi);
        let run = run.chain(std::iter::repeat_n(special.image, model.queries()));
        for token in run {
            let pushed = self.layout.push(&[token]);
            pushed.expect("an image's own tokens");
        }
        let before = self.encoded.take().into_iter();
        let all = before.chain([image.clone()]).collect();
        self.encoded = EncodedImages::cat(all);
        self.images = model.prepare(&self.layout, self.encoded.as_ref());
        self.seen = fresh();
    }

    /// What the encoder understood of its images, in their order.
    pub fn encoded(&self) -> Option<&EncodedImages> {
        self.encoded.as_ref()
    }
}

fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Reads the last token of several sequences in one pass.
#[derive(Debug, Default)]
pub struct Together {
    seen: Vec<u64>,
    images: Option<LlamaImages>,
}

impl Together {
    /// Logits after the last token of each sequence; they do not depend on the others.
    ///
    /// # Panics
    /// If a sequence has not exactly one unread token, or that is an image's.
    pub fn step(&mut self, model: &Deem, rows: &mut [&mut Reading]) -> Vec<Vec<f32>> {
        assert!(
            rows.iter().all(|row| row.unread() == 1),
            "one unread token each"
        );
        let seen: Vec<u64> = rows.iter().map(|row| row.seen).collect();
        if seen != self.seen {
            let images: Vec<_> = rows.iter().map(|row| row.images.as_ref()).collect();
            self.images = LlamaImages::side_by_side(&images);
            self.seen = seen;
        }
        let (layouts, caches): (Vec<&Layout>, Vec<_>) = rows
            .iter_mut()
            .map(|row| (&row.layout, &mut row.cache))
            .unzip();
        let hidden = model.read_last(&layouts, self.images.as_ref(), caches);
        let [count, _, width] = hidden.dims();
        host_rows(model.logits(hidden.reshape([count, width])))
    }
}

/// Appends a token to each row. A placeholder that the model writes after an image's last is none of the image's: an
/// end stands in its place.
pub(super) fn push_fitting(layout: &mut Layout, model: &Deem, column: &[i64]) {
    let end = model.tokens().eos;
    let fitting = column.iter().enumerate();
    let fitting = fitting.map(|(row, token)| match layout.accepts(row, *token) {
        true => *token,
        false => end,
    });
    let fitting: Vec<i64> = fitting.collect();
    let pushed = layout.push(&fitting);
    pushed.expect("no row ends in a bare <soi>");
}

pub(super) fn host_rows(logits: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, vocabulary] = logits.dims();
    let values: Vec<f32> = logits
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("converted to f32");
    values.chunks(vocabulary).map(<[f32]>::to_vec).collect()
}

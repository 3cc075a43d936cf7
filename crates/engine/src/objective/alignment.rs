//! Alignment of visual tokens with words: a warm start, not part of the method, that all arms share.
//!
//! Every word that is said of an image should be what the language model's head reads from some visual
//! token of it, and tokens should have the size of word embeddings: a frozen language model ignores tokens
//! that do not look like words. Frequent words count no more than rare ones: what is said of every image
//! tells nothing about this one.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use deem_data::IGNORED;
use deem_kernels as kernels;
use deem_kernels::precision::wide;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;

/// Bag of words and size of the visual tokens of a batch.
///
/// # Shapes
/// - `labels`: `[batch · seq]`: the words that count, [`IGNORED`] elsewhere
/// - `encoded`: the images of `layout`, in its order
/// - returns `[1]`
pub fn alignment_loss(
    model: &Deem,
    layout: &Layout,
    labels: &[i64],
    encoded: &EncodedImages,
    device: &Device,
) -> Tensor<1> {
    let [images, queries, width] = encoded.embeddings.dims();
    let size = |x: Tensor<2>| kernels::sqrt(kernels::mean_last(x.square()).add_scalar(1e-8));
    let tokens = wide(encoded.embeddings.clone()).reshape([images * queries, width]);
    let sizes = size(tokens.clone());
    let logits = wide(model.logits(tokens / sizes.clone()));
    let vocabulary = logits.dims()[1];
    let shares = kernels::softmax(logits)
        .reshape([images, queries, vocabulary])
        .mean_dim(1)
        .reshape([images * vocabulary]);
    let words = said_of_images(layout, labels);
    let bag = if words.is_empty() {
        Tensor::zeros([1], device)
    } else {
        let count = words.len();
        let places = words
            .iter()
            .map(|(image, word)| (image * vocabulary) as i64 + word);
        let found = shares.select(0, Layout::int(places.collect(), [count], device));
        let weights = Tensor::<1>::from_floats(equal_shares(&words).as_slice(), device);
        kernels::sum(kernels::log(found.add_scalar(1e-8)) * weights).neg()
    };
    let ids = Layout::int(layout.token_ids(), [1, layout.batch * layout.seq], device);
    let usual = kernels::mean(size(wide(model.llama.embed(ids)).squeeze_dim(0)));
    let ratio = kernels::log(sizes) - kernels::log(usual).unsqueeze();
    bag + kernels::mean(ratio.square())
}

/// Counted words after each image and before the next: (image, word) pairs.
fn said_of_images(layout: &Layout, labels: &[i64]) -> Vec<(usize, i64)> {
    let mut said = Vec::new();
    for (index, image) in layout.images.iter().enumerate() {
        let next = layout.images.get(index + 1);
        let end = next
            .filter(|next| next.row == image.row)
            .map_or(layout.seq, |next| next.soi);
        let row = &labels[image.row * layout.seq..][image.soi..end];
        let words = row.iter().filter(|label| **label != IGNORED);
        said.extend(words.map(|word| (index, *word)));
    }
    said
}

/// Weights that add up to one, the same for every distinct word.
fn equal_shares(words: &[(usize, i64)]) -> Vec<f32> {
    let mut counts: HashMap<i64, f32> = HashMap::new();
    for (_, word) in words {
        *counts.entry(*word).or_default() += 1.0;
    }
    let distinct = counts.len() as f32;
    let weight = |word: &i64| 1.0 / (counts[word] * distinct);
    words.iter().map(|(_, word)| weight(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distinct_word_counts_the_same() {
        let words = [(0, 7), (0, 9), (1, 7), (2, 7)];
        let expected = [1.0 / 6.0, 0.5, 1.0 / 6.0, 1.0 / 6.0];
        for (weight, expected) in equal_shares(&words).iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-6);
        }
    }
}

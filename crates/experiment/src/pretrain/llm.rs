//! Pre-training of the language model on text alone: scenes described in words, questions about
//! them and answers.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use deem_data::Batch;
use deem_data::Batches;
use deem_kernels as kernels;
use deem_model::layout::{Layout, StructureTokens};
use deem_model::llama::{Llama, LlamaConfig, LlamaInput};
use deem_model::weights::init::{Fill, initialize};

use deem_engine::EngineError;
use deem_engine::objective::{counted_losses, deem_counts};
use deem_engine::train::{Counts, Loss, Piece, Shares, Task};

/// Layers whose heads pass something on at first.
const SPEAKING: usize = 3;

/// What all embeddings have in common at first.
const COMMON: f32 = 0.05;
/// How much of its own a form of a word has of what tells the other one from all other words; what is its alone makes
/// up the rest, so that both are as far from what is common.
const ALIKE: f32 = 0.8;
/// Rows that are computed at once.
const GROUP: usize = 8;

/// Embeddings, `[vocabulary, width]`, with those of second forms drawn towards those of the first.
fn alike(embeddings: Tensor<2>, forms: &[(usize, usize)], device: &Device) -> Param<Tensor<2>> {
    let [words, width] = embeddings.dims();
    let mut values: Vec<f32> = embeddings.into_data().iter::<f32>().collect();
    let own = (1.0 - ALIKE * ALIKE).sqrt();
    for (first, second) in forms {
        for channel in 0..width {
            let [first, second] = [first, second].map(|form| form * width + channel);
            let shared = ALIKE * (values[first] - COMMON);
            values[second] = COMMON + shared + own * (values[second] - COMMON);
        }
    }
    Param::from_tensor(Tensor::from_data(
        TensorData::new(values, [words, width]),
        device,
    ))
}

/// Rows of a batch that are of about the same length.
#[derive(Debug, PartialEq)]
struct Rows {
    batch: usize,
    /// `[batch, longest]`
    tokens: Vec<i64>,
    /// `[batch, longest]`, see [`Batch::labels`].
    labels: Vec<i64>,
}

/// A batch in groups of [`GROUP`], the shortest rows first, each as long as its longest: of documents between twenty and
/// 160 tokens a whole batch is to a third padding, which is computed like all else.
fn by_length(batch: &Batch) -> Vec<Rows> {
    let row = |row: &usize| row * batch.seq..(row + 1) * batch.seq;
    let length = |at: &usize| batch.valid[row(at)].iter().filter(|valid| **valid).count();
    let mut order: Vec<usize> = (0..batch.batch).collect();
    order.sort_by_key(length);
    let group = |group: &[usize]| {
        let longest = group.last().map_or(0, length);
        let cut = |values: &[i64]| {
            let rows = group.iter().flat_map(|at| &values[row(at)][..longest]);
            rows.copied().collect()
        };
        Rows {
            batch: group.len(),
            tokens: cut(&batch.tokens),
            labels: cut(&batch.labels),
        }
    };
    order.chunks(GROUP).map(group).collect()
}

/// Predicts the next token of text documents.
pub struct LanguageTask {
    /// Makes batches without images.
    pub batches: Batches,
    /// Ids of the structural tokens.
    pub tokens: StructureTokens,
    /// Where to compute.
    pub device: Device,
}

impl LanguageTask {
    /// An untrained model; `forms` are token ids of two forms of one word, which begin alike, as they would if they shared a
    /// piece. MLPs add nothing at first, so that what a token is reaches every layer undisturbed; tokens
    /// attend to those like themselves, or, in the first layer, to those right before them, and heads pass on what they
    /// attend to: whether two words are the same, and what stood beside a word, is there to be read from the start.
    pub fn model(
        config: &LlamaConfig,
        forms: &[(usize, usize)],
        seed: u64,
        device: &Device,
    ) -> Llama {
        let rules = [
            ("down_proj.weight", Fill::Constant(0.0)),
            ("embed_tokens.weight", Fill::NormalAround(COMMON, 0.05)),
        ];
        let mut model = initialize(Llama::new(config, None, device), seed, &rules);
        let embeddings = &mut model.model.embed_tokens;
        embeddings.weight = alike(embeddings.weight.val(), forms, device);
        // Once normalised, half of an input's square is common to all.
        let common = config.hidden_size as f32 * std::f32::consts::FRAC_1_SQRT_2;
        let rope = config.rope();
        let layers = std::mem::take(&mut model.model.layers);
        let layers = layers.into_iter().enumerate().map(|(index, mut layer)| {
            let heads = config.num_attention_heads;
            let share = if index < SPEAKING { 0.5 } else { 0.0 };
            let attention = layer.self_attn.resembling(1.5).passing_on(share);
            layer.self_attn = match index {
                0 => attention.looking_back(heads - 1, &rope, common),
                _ => attention,
            };
            layer
        });
        model.model.layers = layers.collect();
        model
    }

    /// Hidden states of a text batch, `[batch, seq, width]`.
    pub fn hidden(model: &Llama, layout: &Layout, device: &Device) -> Tensor<3> {
        let shape = [layout.batch, layout.seq];
        let ids = Layout::int(layout.token_ids(), shape, device);
        model
            .forward(LlamaInput {
                embeds: model.embed(ids),
                positions: layout.positions(),
                key_padding: layout.is_padded().then(|| layout.valid(device)),
                images: None,
                cache: None,
            })
            .hidden
    }
}

impl Task for LanguageTask {
    type Model = Llama;
    type Batch = Batch;

    fn rows(&self) -> usize {
        self.batches.rows()
    }

    fn batch(&self, piece: &Piece) -> Result<Batch, EngineError> {
        Ok(self.batches.of_rows(piece.first_row(), piece.rows.len())?)
    }

    fn counts(&self, _model: &Llama, batch: &Batch) -> Counts {
        deem_counts(batch, [0, 0])
    }

    fn loss(&self, model: &Llama, batch: &Batch, _piece: &Piece, shares: &Shares) -> Loss {
        let losses = by_length(batch).into_iter().filter_map(|rows| {
            let layout = Layout::new(&rows.tokens, rows.batch, self.tokens, 0);
            let hidden = Self::hidden(model, &layout, &self.device);
            counted_losses(
                hidden,
                &rows.labels,
                |rows| model.lm_head(rows),
                &self.device,
            )
        });
        let losses: Vec<_> = losses.map(|(_, losses)| losses).collect();
        let text = match losses.is_empty() {
            true => Tensor::zeros([1], &self.device),
            false => kernels::mean(Tensor::cat(losses, 0)),
        };
        Loss::sum([("text", 1.0, text)], shares, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_as_long_as_their_longest() {
        // Rows of 1, 3, 2, 3, … tokens; token and label tell the row and the position.
        let lengths = [1, 3, 2, 3, 3, 3, 3, 3, 3, 2];
        let at = |row: usize, column: usize| (10 * row + column) as i64;
        let each = |f: &dyn Fn(usize, usize) -> i64| {
            let rows = 0..lengths.len();
            rows.flat_map(|row| (0..3).map(move |column| f(row, column)))
                .collect()
        };
        let batch = Batch {
            batch: lengths.len(),
            seq: 3,
            tokens: each(&at),
            labels: each(&|row, column| -at(row, column)),
            valid: (0..30).map(|i| i % 3 < lengths[i / 3]).collect(),
            ..Batch::default()
        };
        let [first, second] = by_length(&batch).try_into().expect("two groups");
        assert_eq!(
            (first.batch, &first.tokens[..6]),
            (8, &[0, 1, 2, 20, 21, 22][..])
        );
        let last = Rows {
            batch: 2,
            tokens: vec![70, 71, 72, 80, 81, 82],
            labels: vec![-70, -71, -72, -80, -81, -82],
        };
        assert_eq!(second, last);
    }

    #[test]
    fn forms_of_a_word_begin_alike_and_others_do_not() {
        let device = Device::flex();
        let rows = [[0.15, 0.05], [0.05, 0.25], [0.05, 0.05]];
        let tensor = Tensor::from_data(rows, &device);
        let values = alike(tensor, &[(0, 1)], &device).val().into_data();
        let values: Vec<f32> = values.iter::<f32>().collect();
        // The second: 0.05 + 0.8 · (0.1, 0) + 0.6 · (0, 0.2).
        let expected = [0.15, 0.05, 0.13, 0.17, 0.05, 0.05];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }
}

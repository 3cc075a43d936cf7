use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use deem_kernels::KeyValues;

use super::attention::{AttentionContext, Past};
use super::rope::Rotary;
use super::{Family, LlamaCache, LlamaConfig, LlamaLayer, LlamaMmfsConfig};
use crate::mmfs::{ImageFeatures, MmfsValues};
use crate::nn::{Embedding, Linear, RmsNorm};

/// Added to the scores of what a window hides.
const HIDDEN: f32 = -1e30;

/// The language model (transformers `LlamaForCausalLM`): keys `model.…` and `lm_head.weight`.
#[derive(Module, Debug)]
pub struct Llama {
    /// Everything but the head.
    pub model: LlamaModel,
    /// Absent if the embedding table serves as head.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    factors: Factors,
    #[module(skip)]
    window: Option<usize>,
    #[module(skip)]
    checkpoint: bool,
}

/// What some relatives of LLaMA multiply by.
#[derive(Clone, Copy, Debug)]
struct Factors {
    /// On word embeddings.
    words: f64,
    /// On everything that is read.
    embeds: f64,
    /// Logits are divided by it.
    logits: f64,
}

/// Key of the head's weight.
pub(super) const HEAD: &str = "lm_head.weight";

fn path_of(layer: usize, name: &str) -> String {
    format!("model.layers.{layer}.{name}.weight")
}

/// A factor that is seldom another than 1.
fn times<const D: usize>(x: Tensor<D>, factor: f64) -> Tensor<D> {
    if factor == 1.0 {
        x
    } else {
        x.mul_scalar(factor)
    }
}

/// Embeddings, layers and last norm (transformers `LlamaModel`).
#[derive(Module, Debug)]
pub struct LlamaModel {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: Embedding,
    /// The layers.
    pub layers: Vec<LlamaLayer>,
    /// After the last layer.
    pub norm: RmsNorm,
}

/// Image features projected for every MMFS block, reusable while the images stay the same.
#[derive(Clone, Debug)]
pub struct LlamaImages {
    /// One for each layer that has a block.
    values: Vec<MmfsValues>,
}

/// What the language model reads.
#[derive(Debug)]
pub struct LlamaInput<'a> {
    /// `[batch, seq, hidden_size]`
    pub embeds: Tensor<3>,
    /// `[batch · seq]`, not negative; on the host, so that no device has to be asked for the largest
    pub positions: Vec<i64>,
    /// `[batch, cached + seq]`, false for padding
    pub key_padding: Option<Tensor<2, Bool>>,
    /// Images, and for every position how many images back each of them lies
    /// (`[batch, seq, images]`, nearest 1, invisible 0).
    pub images: Option<(&'a LlamaImages, Tensor<3, Int>)>,
    /// Positions read before; the new ones are appended.
    pub cache: Option<&'a mut LlamaCache>,
}

/// What the language model makes of it.
#[derive(Clone, Debug)]
pub struct LlamaOutput {
    /// `[batch, seq, hidden_size]`, after the last norm.
    pub hidden: Tensor<3>,
}

impl LlamaImages {
    /// The images of several sequences as those of a batch, in which each sequence is a row. Rows with fewer images
    /// than others are filled up with images that must stay invisible. `None` if no row has images.
    ///
    /// - `rows`: the images of one sequence each
    pub fn side_by_side(rows: &[Option<&Self>]) -> Option<Self> {
        let blocks = rows.iter().flatten().next()?.values.len();
        let values = (0..blocks).map(|block| {
            let rows = rows.iter().map(|row| row.map(|row| &row.values[block]));
            MmfsValues::side_by_side(&rows.collect::<Vec<_>>())
        });
        Some(Self {
            values: values.collect::<Option<_>>()?,
        })
    }

    /// Images of each row.
    pub fn per_row(&self) -> usize {
        self.values.first().map_or(0, MmfsValues::images)
    }
}

impl Llama {
    /// A model for a configuration that passes [`LlamaConfig::validate`]; allocates nothing.
    pub fn new(config: &LlamaConfig, mmfs: Option<&LlamaMmfsConfig>, device: &Device) -> Self {
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let layer = |index| {
            let mmfs = mmfs.filter(|mmfs| mmfs.applies(index));
            LlamaLayer::new(config, index, mmfs, device)
        };
        let head = || Linear::new(hidden, vocabulary, false, device);
        Self {
            model: LlamaModel {
                embed_tokens: Embedding::new(vocabulary, hidden, device),
                layers: (0..config.num_hidden_layers).map(layer).collect(),
                norm: RmsNorm::new(hidden, config.rms_norm_eps, device)
                    .with_offset(config.model_type.norm_offset()),
            },
            lm_head: (!config.tie_word_embeddings).then(head),
            rotary: Rotary::new(
                config.rope(),
                config.head_width(),
                config.rope_depends_on_length(),
            ),
            factors: Factors {
                words: match config.model_type {
                    Family::Gemma => (hidden as f64).sqrt(),
                    _ => 1.0,
                },
                embeds: config.embedding_multiplier,
                logits: config.logits_scaling,
            },
            window: config.sliding_window,
            checkpoint: false,
        }
    }

    /// Compute layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpoint: bool) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// Paths of the parameters that published checkpoints do not have (MMFS), as prefixes.
    pub fn mmfs_paths(&self) -> Vec<String> {
        let layers = self.model.layers.iter().enumerate();
        layers
            .filter(|(_, layer)| layer.mmfs.is_some())
            .map(|(index, _)| format!("model.layers.{index}.mmfs."))
            .collect()
    }

    /// The linear layers of published checkpoints, with the paths of their weights.
    pub(super) fn linears(&self) -> Vec<(String, &Linear)> {
        let layers = self.model.layers.iter().enumerate();
        let within = layers.flat_map(|(index, layer)| {
            let named = layer.linears().into_iter();
            named.map(move |(name, linear)| (path_of(index, name), linear))
        });
        let head = self.lm_head.iter().map(|head| (HEAD.to_owned(), head));
        within.chain(head).collect()
    }

    /// As [`Self::linears`].
    pub(super) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let layers = self.model.layers.iter_mut().enumerate();
        let within = layers.flat_map(|(index, layer)| {
            let named = layer.linears_mut().into_iter();
            named.map(move |(name, linear)| (path_of(index, name), linear))
        });
        let head = self.lm_head.iter_mut().map(|head| (HEAD.to_owned(), head));
        within.chain(head).collect()
    }

    /// Brings its weights into the order that products read them in, for answers in 32 bits on the CPU: what is read
    /// of a position does not depend, to the last bit, on how many are read at once, nor on whose. Nothing is to be
    /// loaded or trained afterwards.
    #[must_use]
    pub fn prepacked(mut self) -> Self {
        for (_, layer) in self.linears_mut() {
            layer.prepack();
        }
        if self.lm_head.is_none() {
            self.model.embed_tokens.prepack();
        }
        for layer in &mut self.model.layers {
            if let Some(mmfs) = &mut layer.mmfs {
                mmfs.attn.prepack();
            }
        }
        self
    }

    /// A copy whose parameters can all be read while this model keeps packed what is packed.
    #[must_use]
    pub fn readable(&self) -> Self {
        let mut copy = self.clone();
        for (_, layer) in copy.linears_mut() {
            *layer = layer.readable();
        }
        copy.model.embed_tokens = copy.model.embed_tokens.readable();
        for layer in &mut copy.model.layers {
            for linear in layer
                .mmfs
                .iter_mut()
                .flat_map(|mmfs| mmfs.attn.linears_mut())
            {
                *linear = linear.readable();
            }
        }
        copy
    }

    /// Word embeddings; ids beyond the table (appended special tokens) are zero vectors.
    ///
    /// # Shapes
    /// - `ids`: `[batch, seq]`, not negative
    /// - returns `[batch, seq, hidden_size]`
    pub fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [vocabulary, hidden] = self.model.embed_tokens.weight.lazy_shape().dims();
        let [batch, seq] = ids.dims();
        let appended = ids.clone().greater_equal_elem(vocabulary as i64);
        let known = ids.clamp_max(vocabulary as i64 - 1);
        let appended = appended.unsqueeze_dim::<3>(2).expand([batch, seq, hidden]);
        times(self.model.embed_tokens.forward(known), self.factors.words).mask_fill(appended, 0.0)
    }

    /// Projects image features for all MMFS blocks.
    pub fn prepare_images(&self, features: &ImageFeatures) -> LlamaImages {
        let blocks = self.model.layers.iter().filter_map(|l| l.mmfs.as_ref());
        LlamaImages {
            values: blocks.map(|mmfs| mmfs.values(features)).collect(),
        }
    }

    /// Hidden states of new positions.
    ///
    /// Rows padded at the left are marked in `key_padding`; hidden states at padded positions have
    /// no meaning. With a cache the result equals that of reading everything at once, except for
    /// rotary scalings that depend on the length (dynamic, longrope), as in transformers.
    ///
    /// # Panics
    /// If shapes do not fit together.
    pub fn forward(&self, input: LlamaInput) -> LlamaOutput {
        let LlamaInput {
            embeds,
            positions,
            key_padding,
            images,
            mut cache,
        } = input;
        let (cos, sin) = self.rotary.at(&positions, &embeds);
        let read = cache.as_ref().map_or(0, |cache| cache.len());
        let context = AttentionContext {
            cos,
            sin,
            key_padding,
            window: self.window_bias(read, &embeds),
        };
        let layers = self.model.layers.len();
        let past: Vec<Past> = match cache.as_mut() {
            None => std::iter::repeat_with(|| Past::None).take(layers).collect(),
            Some(cache) => self.layers_of(cache).map(Past::Together).collect(),
        };
        let hidden = self.through(embeds, &context, images, past);
        LlamaOutput { hidden }
    }

    /// Hidden states of one new position in each of several rows that were read apart from each other, each with a
    /// length of its own. A row's result does not depend on the others.
    ///
    /// # Shapes
    /// - `embeds`: `[rows, 1, hidden_size]`
    /// - `positions`: `[rows]`, not negative
    /// - `images`: of all rows, see [`LlamaImages::side_by_side`]; `[rows, 1, images]` as in [`LlamaInput`]
    /// - `caches`: one for each row; the new position is appended
    /// - returns `[rows, 1, hidden_size]`
    ///
    /// # Panics
    /// If shapes do not fit together.
    pub fn step_apart(
        &self,
        embeds: Tensor<3>,
        positions: &[i64],
        images: Option<(&LlamaImages, Tensor<3, Int>)>,
        caches: Vec<&mut LlamaCache>,
    ) -> LlamaOutput {
        let [rows, new, _] = embeds.dims();
        assert_eq!(
            [rows, new],
            [caches.len(), 1],
            "one new position in each row"
        );
        let (cos, sin) = self.rotary.apart(positions, &embeds);
        let context = AttentionContext {
            cos,
            sin,
            key_padding: None,
            window: None,
        };
        let caches = caches.into_iter();
        let mut caches: Vec<_> = caches.map(|cache| self.layers_of(cache)).collect();
        let layers = 0..self.model.layers.len();
        let past =
            layers.map(|_| Past::Apart(caches.iter_mut().filter_map(Iterator::next).collect()));
        let hidden = self.through(embeds, &context, images, past.collect());
        LlamaOutput { hidden }
    }

    /// What each layer has read, which may be nothing yet.
    fn layers_of<'a>(&self, cache: &'a mut LlamaCache) -> std::slice::IterMut<'a, KeyValues> {
        let layers = self.model.layers.len();
        cache.layers.resize_with(layers, Default::default);
        cache.layers.iter_mut()
    }

    /// All layers and the last norm; `past` is what each layer has read before.
    fn through(
        &self,
        embeds: Tensor<3>,
        context: &AttentionContext,
        images: Option<(&LlamaImages, Tensor<3, Int>)>,
        past: Vec<Past>,
    ) -> Tensor<3> {
        let mut prepared = images.as_ref().map(|(images, _)| images.values.iter());
        let mut hidden = times(embeds, self.factors.embeds);
        for (layer, past) in self.model.layers.iter().zip(past) {
            let values = match (&layer.mmfs, prepared.as_mut()) {
                (Some(_), Some(prepared)) => prepared.next(),
                _ => None,
            };
            let look = values.zip(images.as_ref().map(|(_, relative)| relative.clone()));
            hidden = layer.forward(hidden, context, look, past, self.checkpoint);
        }
        self.model.norm.forward(hidden)
    }

    /// Logits over the model's own vocabulary.
    ///
    /// # Shapes
    /// - `hidden`: `[.., hidden_size]`
    /// - returns `[.., vocab_size]`
    pub fn lm_head<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.model.embed_tokens.project(hidden),
        };
        times(logits, 1.0 / self.factors.logits)
    }

    /// What the window hides from new positions: `[1, 1, seq, read + seq]`; `None` if it hides nothing.
    fn window_bias(&self, read: usize, embeds: &Tensor<3>) -> Option<Tensor<4>> {
        let [_, seq, _] = embeds.dims();
        let keys = read + seq;
        let window = self.window.filter(|window| *window < keys)?;
        let mut values = vec![0.0; seq * keys];
        for (query, row) in values.chunks_mut(keys).enumerate() {
            let hidden = (read + query + 1).saturating_sub(window);
            row[..hidden].fill(HIDDEN);
        }
        let values = TensorData::new(values, [1, 1, seq, keys]);
        let device = embeds.device().inner();
        Some(Tensor::from_data(values, (&device, embeds.dtype())))
    }
}

//! DEEM: the composition of all parts (spec: the DEEM method, components).
//!
//! ```text
//! pixels ─► image_encoder ─► embeddings ─► llama ─► logits                       (text)
//!                │                           └────► image_decoder ─► condition ─► unet   (image)
//!                └────────► condition ─► unet ─► error ─► back into the encoder  (feedback)
//! ```

use std::fmt::Display;
use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, FloatDType, Tensor, TensorData};
use deem_kernels as kernels;
use deem_kernels::precision::{cast, wide};
use serde::{Deserialize, Serialize};

use crate::autoencoder::{Autoencoder, AutoencoderConfig};
use crate::checkpointing::CheckpointBlocks;
use crate::clip::levels::Pyramid;
use crate::diffusion::Diffusion;
use crate::image_decoder::{ImageDecoder, ImageDecoderConfig};
use crate::image_encoder::{ImageEncoder, ImageEncoderConfig};
use crate::layout::{Layout, StructureTokens};
use crate::llama::{
    Llama, LlamaCache, LlamaConfig, LlamaImages, LlamaInput, LlamaMmfsConfig, TextDecoder,
};
use crate::nn::param;
use crate::scheduler::{NoiseConfig, NoiseSchedule};
use crate::unet::{UNet, UNetConfig, UnetSynchronizer};

pub use crate::encoded_images::EncodedImages;

/// Dimensions of a whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeemConfig {
    /// Side of the encoder view in pixels.
    pub image_size: usize,
    /// Side of the diffusion view in pixels.
    pub diffusion_size: usize,
    /// E_V, E_M, R_V.
    pub image_encoder: ImageEncoderConfig,
    /// D_LLM.
    pub llama: LlamaConfig,
    /// Gated MMFS cross-attention inside the language model.
    pub llama_mmfs: Option<LlamaMmfsConfig>,
    /// Number of tokens appended to the language model's vocabulary.
    pub new_tokens: usize,
    /// Ids of the structural tokens.
    pub tokens: StructureTokens,
    /// R_C and the UNet's synchroniser.
    pub image_decoder: ImageDecoderConfig,
    /// First stage of D_DM.
    pub autoencoder: AutoencoderConfig,
    /// Second stage of D_DM.
    pub unet: UNetConfig,
    /// Noise schedule of D_DM.
    pub scheduler: NoiseConfig,
    /// Which networks compute their blocks again in the backward pass instead of keeping activations.
    #[serde(default, skip_serializing_if = "CheckpointBlocks::is_none")]
    pub checkpoint_blocks: CheckpointBlocks,
}

/// What can be wrong with a model's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeemError {
    /// Everything that does not fit together.
    #[error("model configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

impl DeemConfig {
    /// Checks that the numbers of every part, and the parts, fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), DeemError> {
        let encoder = &self.image_encoder;
        fn told<E: Display>(part: &str, checked: Result<(), E>) -> Option<String> {
            checked.err().map(|error| format!("{part}: {error}"))
        }
        let equal = |name: &str, found: usize, what: &str, expected: usize| {
            let fits = found == expected;
            (!fits).then(|| format!("{name}: expected {expected} ({what}), found {found}"))
        };
        let smallest = encoder.vision.smallest_side();
        let too_small = (self.image_size < smallest).then(|| {
            let found = self.image_size;
            format!("image_size: expected at least {smallest} (one cell), found {found}")
        });
        let (small, reduction) = (self.diffusion_size, self.autoencoder.reduction());
        let uneven = (small == 0 || !small.is_multiple_of(reduction)).then(|| {
            format!(
                "diffusion_size: expected a multiple of {reduction} (autoencoder), found {small}"
            )
        });
        let llama_mmfs = self.llama_mmfs.as_ref();
        let synchronizer = self.image_decoder.synchronizer.as_ref();
        let problems = [
            too_small,
            uneven,
            told("image_encoder", encoder.validate()),
            told("image_encoder", encoder.vision.validate()),
            told("image_encoder", encoder.resampler.validate()),
            told("llama", self.llama.validate()),
            llama_mmfs.and_then(|mmfs| {
                let mmfs = mmfs.mmfs(self.llama.hidden_size);
                told("llama_mmfs", mmfs.validate())
            }),
            told("image_decoder", self.image_decoder.resampler.validate()),
            synchronizer.and_then(|synchronizer| {
                let mmfs = synchronizer.mmfs(self.unet.block_out_channels[0], 1);
                told("image_decoder", mmfs.validate())
            }),
            told("autoencoder", self.autoencoder.validate()),
            told("unet", self.unet.validate()),
            told("scheduler", NoiseSchedule::new(&self.scheduler).map(drop)),
            equal(
                "image_encoder.resampler.encoder_hidden_size",
                encoder.resampler.encoder_hidden_size,
                "vision.pyramid_dim",
                encoder.vision.pyramid_dim(),
            ),
            equal(
                "image_decoder.resampler.encoder_hidden_size",
                self.image_decoder.resampler.encoder_hidden_size,
                "llama.hidden_size",
                self.llama.hidden_size,
            ),
            equal(
                "image_decoder.resampler.hidden_size",
                self.image_decoder.resampler.hidden_size,
                "width of the unet's condition",
                self.unet.condition_dim(),
            ),
            equal(
                "unet.in_channels",
                self.unet.in_channels,
                "autoencoder.latent_channels",
                self.autoencoder.latent_channels,
            ),
        ];
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(DeemError::Config(problems))
        }
    }
}

/// The whole model.
#[derive(Module, Debug)]
pub struct Deem {
    /// E_V, E_M, R_V and projections.
    pub image_encoder: ImageEncoder,
    /// D_LLM.
    pub llama: Llama,
    /// The head on the appended tokens.
    pub text_decoder: TextDecoder,
    /// `[llm_dim]`, added to every `<soi>` embedding.
    pub soi_token: Param<Tensor<1>>,
    /// R_C, null condition, synchroniser.
    pub image_decoder: ImageDecoder,
    /// Latent space.
    pub autoencoder: Autoencoder,
    /// Denoiser.
    pub unet: UNet,
    #[module(skip)]
    schedule: NoiseSchedule,
    /// Side and channels of the latents.
    #[module(skip)]
    latent: [usize; 2],
    #[module(skip)]
    tokens: StructureTokens,
    #[module(skip)]
    queries: usize,
    #[module(skip)]
    compute: FloatDType,
}

impl Deem {
    /// A model with the given dimensions; allocates nothing until used.
    ///
    /// # Errors
    /// Dimensions that do not fit, see [`DeemConfig::validate`].
    pub fn new(config: &DeemConfig, device: &Device) -> Result<Self, DeemError> {
        config.validate()?;
        let llm_dim = config.llama.hidden_size;
        let queries = config.image_encoder.queries;
        let synchronizer = config
            .image_decoder
            .synchronizer
            .as_ref()
            .map(|sync| UnetSynchronizer::new(sync, &config.unet, device));
        let recompute = config.checkpoint_blocks;
        let cross_dim = config.unet.condition_dim();
        let mut image_encoder =
            ImageEncoder::new(&config.image_encoder, llm_dim, cross_dim, device);
        image_encoder.vision = image_encoder
            .vision
            .with_checkpointing(recompute.image_encoder);
        Ok(Self {
            image_encoder,
            llama: Llama::new(&config.llama, config.llama_mmfs.as_ref(), device)
                .with_checkpointing(recompute.llama),
            text_decoder: TextDecoder::new(llm_dim, config.new_tokens, device),
            soi_token: param([llm_dim], 0.0, device),
            image_decoder: ImageDecoder::new(
                &config.image_decoder,
                synchronizer,
                queries,
                llm_dim,
                device,
            ),
            autoencoder: Autoencoder::new(&config.autoencoder, device),
            unet: UNet::new(&config.unet, device).with_checkpointing(recompute.unet),
            schedule: NoiseSchedule::new(&config.scheduler).expect("validated"),
            latent: [
                config.diffusion_size / config.autoencoder.reduction(),
                config.autoencoder.latent_channels,
            ],
            tokens: config.tokens,
            queries,
            compute: FloatDType::F32,
        })
    }

    /// Computes activations in the given type; a new model does in 32 bits.
    ///
    /// Everything that enters a network is brought to it here, and layers compute in the type of their
    /// input ([`kernels::precision`]). Latents, noise and what is predicted of them are always in 32
    /// bits or more, and so are losses.
    #[must_use]
    pub fn computing_in(mut self, dtype: FloatDType) -> Self {
        self.compute = dtype;
        self
    }

    fn enter<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        cast(x, self.compute.into())
    }

    /// Ids of the structural tokens.
    pub fn tokens(&self) -> StructureTokens {
        self.tokens
    }

    /// Visual tokens per image.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Where everything stands in `tokens` (`[batch · seq]`, row-major).
    ///
    /// # Panics
    /// If they are no sequences of this model, see [`Layout::read`].
    pub fn layout(&self, tokens: &[i64], batch: usize) -> Layout {
        Layout::new(tokens, batch, self.tokens, self.queries)
    }

    /// What the encoder understands of some images.
    ///
    /// # Shapes
    /// - `pixels`: `[images, 3, height, width]`, range [0, 1]
    /// - `mask`: `[images, height, width]`, positive inside the region; `None` is the whole image
    pub fn encode_images(&self, pixels: Tensor<4>, mask: Option<Tensor<3>>) -> EncodedImages {
        self.encode_images_through(pixels, mask, |features| features)
    }

    /// As [`Self::encode_images`], from what `through` makes of the image tower's features.
    pub fn encode_images_through(
        &self,
        pixels: Tensor<4>,
        mask: Option<Tensor<3>>,
        through: impl FnOnce(Pyramid) -> Pyramid,
    ) -> EncodedImages {
        let features = self.image_encoder.vision.forward(self.enter(pixels));
        self.image_encoder.forward(through(features), mask)
    }

    /// The language model's last hidden states over interleaved sequences.
    ///
    /// # Shapes
    /// - `encoded`: the images of `layout`, in its order
    /// - returns `[batch, seq, llm_dim]`
    pub fn read(&self, layout: &Layout, encoded: Option<&EncodedImages>) -> Tensor<3> {
        let images = self.prepare(layout, encoded);
        self.read_on(layout, encoded, images.as_ref(), None)
    }

    /// The images as the language model's MMFS layers look at them; good for all decoding steps of
    /// the same rows.
    pub fn prepare(&self, layout: &Layout, encoded: Option<&EncodedImages>) -> Option<LlamaImages> {
        let features = encoded?.per_row(layout)?;
        Some(self.llama.prepare_images(&features))
    }

    /// The same model for answers in 32 bits on the CPU, see [`Llama::prepacked`].
    #[must_use]
    pub fn prepacked(mut self) -> Self {
        self.llama = self.llama.prepacked();
        self.text_decoder.head_new.prepack();
        self
    }

    /// A copy whose parameters can all be read while this model keeps packed what is packed.
    #[must_use]
    pub fn readable(&self) -> Self {
        let mut copy = self.clone();
        copy.llama = self.llama.readable();
        copy.text_decoder.head_new = self.text_decoder.head_new.readable();
        copy
    }

    /// As [`Self::read`] for the positions that are not yet in `cache`, which then holds them all.
    ///
    /// # Shapes
    /// - returns `[batch, seq − cached, llm_dim]`
    pub fn read_on(
        &self,
        layout: &Layout,
        encoded: Option<&EncodedImages>,
        images: Option<&LlamaImages>,
        cache: Option<&mut LlamaCache>,
    ) -> Tensor<3> {
        self.read_until(layout.seq, layout, encoded, images, cache)
    }

    /// As [`Self::read_on`], of the positions before `until` only: long prompts can be read in pieces.
    ///
    /// # Shapes
    /// - returns `[batch, until − cached, llm_dim]`
    pub fn read_until(
        &self,
        until: usize,
        layout: &Layout,
        encoded: Option<&EncodedImages>,
        images: Option<&LlamaImages>,
        cache: Option<&mut LlamaCache>,
    ) -> Tensor<3> {
        let device = self.soi_token.lazy_device();
        let batch = layout.batch;
        let fresh = cache.as_ref().map_or(0, |cache| cache.len())..until;
        let count = fresh.len();
        let per_row = layout.images_per_row();
        let look = images.map(|images| {
            let relative = layout.relative(fresh.clone());
            let relative = Layout::int(relative, [batch, count, per_row], &device);
            (images, relative)
        });
        let padding = layout.is_padded().then(|| {
            let valid = layout.valid(&device);
            valid.narrow(1, 0, until)
        });
        self.llama
            .forward(LlamaInput {
                positions: layout.positions_at(fresh.clone()),
                embeds: self.embed(layout, encoded, fresh, &device),
                key_padding: padding,
                images: look,
                cache,
            })
            .hidden
    }

    /// Reads the last token of each of several sequences that were read apart from each other up to it. It is none
    /// of an image's. A sequence's result does not depend on the others.
    ///
    /// # Shapes
    /// - `layouts`: of one sequence each
    /// - `images`: those of all sequences, [side by side](LlamaImages::side_by_side)
    /// - `caches`: one for each sequence
    /// - returns `[sequences, 1, llm_dim]`
    pub fn read_last(
        &self,
        layouts: &[&Layout],
        images: Option<&LlamaImages>,
        caches: Vec<&mut LlamaCache>,
    ) -> Tensor<3> {
        let device = self.soi_token.lazy_device();
        let rows = layouts.len();
        let last = |layout: &Layout| layout.seq - 1..layout.seq;
        let all = |of: &dyn Fn(&Layout) -> Vec<i64>| -> Vec<i64> {
            layouts.iter().flat_map(|layout| of(layout)).collect()
        };
        let look = images.map(|images| {
            let width = images.per_row();
            let relative = all(&|layout| {
                let mut relative = layout.relative(last(layout));
                relative.resize(width, 0);
                relative
            });
            (images, Layout::int(relative, [rows, 1, width], &device))
        });
        let ids = all(&|layout| layout.tokens_at(last(layout)));
        let soi = layouts
            .iter()
            .flat_map(|layout| layout.soi_mask(last(layout)));
        let embeds = self.embed_words(ids, soi.collect(), [rows, 1], &device);
        let positions = all(&|layout| layout.positions_at(last(layout)));
        self.llama
            .step_apart(embeds, &positions, look, caches)
            .hidden
    }

    fn embed(
        &self,
        layout: &Layout,
        encoded: Option<&EncodedImages>,
        columns: Range<usize>,
        device: &Device,
    ) -> Tensor<3> {
        let (batch, count) = (layout.batch, columns.len());
        let ids = layout.tokens_at(columns.clone());
        let soi = layout.soi_mask(columns.clone());
        let text = self.embed_words(ids, soi, [batch, count], device);
        let rows = layout.embedding_rows(columns);
        let (Some(encoded), Some(rows)) = (encoded, rows) else {
            return text;
        };
        let ([_, _, width], [images, queries, _]) = (text.dims(), encoded.embeddings.dims());
        let visual = encoded
            .embeddings
            .clone()
            .reshape([images * queries, width]);
        let table = Tensor::cat(vec![text.reshape([batch * count, width]), visual], 0);
        kernels::select(table, &rows).reshape([batch, count, width])
    }

    /// Embeddings of tokens, with the learned vector where `soi` is 1.
    fn embed_words(
        &self,
        ids: Vec<i64>,
        soi: Vec<f32>,
        shape: [usize; 2],
        device: &Device,
    ) -> Tensor<3> {
        let text = wide(self.llama.embed(Layout::int(ids, shape, device)));
        let width = text.dims()[2];
        let soi = Tensor::<3>::from_data(TensorData::new(soi, [shape[0], shape[1], 1]), device);
        self.enter(text + soi * self.soi_token.val().reshape([1, 1, width]))
    }

    /// Logits over the extended vocabulary.
    ///
    /// # Shapes
    /// - `hidden`: `[positions, llm_dim]`
    /// - returns `[positions, vocabulary]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let hidden = self.enter(hidden);
        let base = self.llama.lm_head(hidden.clone());
        self.text_decoder.forward(base, hidden)
    }

    /// Condition tokens for images that start at `targets` (`(row, position of <soi>)`), from the
    /// hidden states before them; the null condition where `drop` is true.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, llm_dim]`
    /// - returns `[targets, queries, cross_dim]`
    pub fn context_condition(
        &self,
        hidden: Tensor<3>,
        layout: &Layout,
        targets: &[(usize, usize)],
        drop: &[bool],
    ) -> Tensor<3> {
        let device = hidden.device();
        let [batch, seq, width] = hidden.dims();
        let (rows, real, longest) = layout.contexts(targets);
        let shape = [targets.len(), longest];
        let hidden = hidden.reshape([batch * seq, width]);
        let context = kernels::select(hidden, &rows).reshape([targets.len(), longest, width]);
        let real = Tensor::<2, Bool>::from_data(TensorData::new(real, shape), &device);
        self.image_decoder.forward(context, real, drop)
    }

    /// The diffusion model, as losses and samplers use it.
    pub fn diffusion(&self) -> Diffusion<'_> {
        Diffusion {
            unet: &self.unet,
            autoencoder: &self.autoencoder,
            schedule: &self.schedule,
            synchronizer: self.image_decoder.synchronizer.as_ref(),
            compute: self.compute,
        }
    }

    /// Shape of the latents of some images: `[images, height, width, channels]`.
    pub fn latent_shape(&self, images: usize) -> [usize; 4] {
        let [side, channels] = self.latent;
        [images, side, side, channels]
    }
}

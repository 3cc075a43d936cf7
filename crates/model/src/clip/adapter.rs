//! ViT adapter (Chen et al. 2023, "Vision Transformer Adapter for Dense Predictions").
//!
//! A small convolution network looks at the image beside the ViT, at 1/4 to 1/32 of its size. Before
//! each quarter of the ViT's layers an injector adds what the convolutions see to the patch tokens,
//! after it an extractor takes the tokens back, both by deformable attention. The result is a pyramid
//! of four levels.
//!
//! Differs from the original: no batch norm at the end, layer norms in the convolution network, and
//! the class token takes part in the ViT's layers only (as in MM-Interleaved). The convolution
//! network sees 16 pixels per patch, whatever the ViT's patch size.

mod attention;
mod prior;
mod widths;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;
use deem_kernels::precision::like;
use serde::{Deserialize, Serialize};

use self::attention::DeformableAttention;
use self::prior::{SpatialPrior, UpConv};
use self::widths::Widths;
use super::levels::Levels;
use super::vit::ClipVit;
use crate::nn::{Conv2d, Conv2dOptions, LayerNorm, Linear, param};
use crate::position::{Filter, resize};

/// Quarters of the ViT, and levels of the pyramid.
const INTERACTIONS: usize = 4;
/// Pixels per patch that the convolutions see.
const PRIOR_PATCH: usize = 16;

/// Dimensions of the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VitAdapterConfig {
    /// Channels of the first convolutions; later ones have up to four times as many.
    pub conv_inplane: usize,
    /// Sampling points per head and level.
    pub points: usize,
    /// Width of the sampled values over the ViT's width.
    pub deform_ratio: f64,
    /// Width of the extractors' MLP over the ViT's width.
    pub cffn_ratio: f64,
    /// Additional extractors after the last quarter.
    pub extra_extractors: usize,
}

impl Default for VitAdapterConfig {
    fn default() -> Self {
        Self {
            conv_inplane: 64,
            points: 4,
            deform_ratio: 0.5,
            cffn_ratio: 0.25,
            extra_extractors: 2,
        }
    }
}

impl VitAdapterConfig {
    /// Width of the sampled values for a ViT of the given width.
    pub(crate) fn value_width(&self, width: usize) -> usize {
        (width as f64 * self.deform_ratio) as usize
    }
}

/// What the adapted ViT sees.
#[derive(Clone, Debug)]
pub struct VitAdapterOutput {
    /// Feature maps `[batch, height, width, width of the ViT]`; `c4` has the ViT's own grid.
    pub levels: Levels,
    /// `[batch, 1 + patches, width]`: the ViT's tokens, the class token first.
    pub tokens: Tensor<3>,
}

/// The modules beside the ViT.
#[derive(Module, Debug)]
pub struct VitAdapter {
    /// `[3, width]`, added to the three coarse levels.
    level_embed: Param<Tensor<2>>,
    spm: SpatialPrior,
    interactions: Vec<Interaction>,
    up: UpConv,
}

impl VitAdapter {
    /// An adapter for a ViT of the given width and heads.
    pub fn new(config: &VitAdapterConfig, width: usize, heads: usize, device: &Device) -> Self {
        let widths = Widths {
            model: width,
            heads,
            points: config.points,
            value: config.value_width(width),
            ffn: (width as f64 * config.cffn_ratio) as usize,
        };
        let interaction = (0..INTERACTIONS).map(|index| {
            let last = index == INTERACTIONS - 1;
            let extra = if last { config.extra_extractors } else { 0 };
            Interaction {
                injector: Injector::new(widths, device),
                extractor: Extractor::new(widths, device),
                extra_extractors: (0..extra).map(|_| Extractor::new(widths, device)).collect(),
            }
        });
        Self {
            level_embed: param([3, width], 0.0, device),
            spm: SpatialPrior::new(config.conv_inplane, width, device),
            interactions: interaction.collect(),
            up: UpConv::new(width, width, device),
        }
    }

    /// Runs the ViT with the adapter around it.
    ///
    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised
    pub fn forward(&self, vit: &ClipVit, pixels: Tensor<4>) -> VitAdapterOutput {
        let (tokens, grid) = vit.embed(pixels.clone());
        let [height, width] = grid;
        let image = pixels.permute([0, 2, 3, 1]);
        let image = resize(
            image,
            [height * PRIOR_PATCH, width * PRIOR_PATCH],
            Filter::Bilinear,
        );
        let [finest, p3, p4, p5] = self.spm.forward(image);
        let coarse = [&p3, &p4, &p5].map(grid_of);
        let own = [grid];

        let level = |index: usize, map: Tensor<4>| {
            let cells = flatten(map);
            let embed = self.level_embed.val().narrow(0, index, 1);
            let embed = like(embed, &cells);
            cells + embed.unsqueeze::<3>()
        };
        let mut c = Tensor::cat(vec![level(0, p3), level(1, p4), level(2, p5)], 1);
        let mut tokens = tokens;
        let mut outs = Vec::with_capacity(INTERACTIONS);
        let layers = vit.depth();
        for (index, interaction) in self.interactions.iter().enumerate() {
            let (class, x) = split_class(tokens);
            let x = interaction.injector.forward(x, &own, c.clone(), &coarse);
            tokens = Tensor::cat(vec![class, x], 1);
            let quarter = index * layers / INTERACTIONS..(index + 1) * layers / INTERACTIONS;
            tokens = vit.layers(tokens, quarter);
            let (_, x) = split_class(tokens.clone());
            c = interaction.extractor.forward(c, &coarse, x.clone(), &own);
            for extractor in &interaction.extra_extractors {
                c = extractor.forward(c, &coarse, x.clone(), &own);
            }
            outs.push(unflatten(x, grid));
        }

        let mut start = 0;
        let [c3, c4, c5] = coarse.map(|size| {
            let cells = size[0] * size[1];
            start += cells;
            unflatten(c.clone().narrow(1, start - cells, cells), size)
        });
        let c2 = self.up.forward(c3.clone()) + finest;
        let mut outs = outs.into_iter();
        let levels = Levels { c2, c3, c4, c5 }.map(|level| {
            let size = grid_of(&level);
            let out = outs.next().expect("one for each quarter of the ViT");
            level + resize(out, size, Filter::Bilinear)
        });
        VitAdapterOutput { levels, tokens }
    }
}

#[derive(Module, Debug)]
struct Interaction {
    injector: Injector,
    extractor: Extractor,
    extra_extractors: Vec<Extractor>,
}

/// Adds what the levels see to the tokens.
#[derive(Module, Debug)]
struct Injector {
    query_norm: LayerNorm,
    feat_norm: LayerNorm,
    attn: DeformableAttention,
    gamma: Param<Tensor<1>>,
}

impl Injector {
    fn new(widths: Widths, device: &Device) -> Self {
        Self {
            query_norm: LayerNorm::new(widths.model, 1e-5, device),
            feat_norm: LayerNorm::new(widths.model, 1e-5, device),
            attn: DeformableAttention::new(widths, 3, device),
            gamma: param([widths.model], 0.0, device),
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        own: &[[usize; 2]],
        c: Tensor<3>,
        levels: &[[usize; 2]],
    ) -> Tensor<3> {
        let query = self.query_norm.forward(x.clone());
        let feat = self.feat_norm.forward(c);
        let gamma = like(self.gamma.val(), &x).unsqueeze::<3>();
        x + self.attn.forward(query, own, feat, levels) * gamma
    }
}

/// Adds what the tokens see to the levels, then mixes neighbours.
#[derive(Module, Debug)]
struct Extractor {
    query_norm: LayerNorm,
    feat_norm: LayerNorm,
    attn: DeformableAttention,
    ffn: ConvFfn,
    ffn_norm: LayerNorm,
}

impl Extractor {
    fn new(widths: Widths, device: &Device) -> Self {
        Self {
            query_norm: LayerNorm::new(widths.model, 1e-5, device),
            feat_norm: LayerNorm::new(widths.model, 1e-5, device),
            attn: DeformableAttention::new(widths, 1, device),
            ffn: ConvFfn::new(widths, device),
            ffn_norm: LayerNorm::new(widths.model, 1e-5, device),
        }
    }

    fn forward(
        &self,
        c: Tensor<3>,
        levels: &[[usize; 2]],
        x: Tensor<3>,
        own: &[[usize; 2]],
    ) -> Tensor<3> {
        let query = self.query_norm.forward(c.clone());
        let feat = self.feat_norm.forward(x);
        let c = c + self.attn.forward(query, levels, feat, own);
        let mixed = self.ffn.forward(self.ffn_norm.forward(c.clone()), levels);
        c + mixed
    }
}

/// MLP with a depthwise 3×3 convolution inside, shared by the levels.
#[derive(Module, Debug)]
struct ConvFfn {
    fc1: Linear,
    dwconv: Conv2d,
    fc2: Linear,
}

impl ConvFfn {
    fn new(widths: Widths, device: &Device) -> Self {
        let Widths { model, ffn, .. } = widths;
        let options = Conv2dOptions {
            padding: [1; 4],
            groups: ffn,
            ..Conv2dOptions::default()
        };
        Self {
            fc1: Linear::new(model, ffn, true, device),
            dwconv: Conv2d::new(ffn, ffn, 3, options, device),
            fc2: Linear::new(ffn, model, true, device),
        }
    }

    fn forward(&self, c: Tensor<3>, levels: &[[usize; 2]]) -> Tensor<3> {
        let hidden = self.fc1.forward(c);
        let mut start = 0;
        let mixed = levels.iter().map(|size| {
            let cells = size[0] * size[1];
            let map = unflatten(hidden.clone().narrow(1, start, cells), *size);
            start += cells;
            flatten(self.dwconv.forward(map))
        });
        let mixed = Tensor::cat(mixed.collect(), 1);
        self.fc2.forward(kernels::gelu(mixed))
    }
}

fn grid_of(map: &Tensor<4>) -> [usize; 2] {
    let [_, height, width, _] = map.dims();
    [height, width]
}

/// `[batch, height, width, channels]` → `[batch, height * width, channels]`
fn flatten(map: Tensor<4>) -> Tensor<3> {
    let [batch, height, width, channels] = map.dims();
    map.reshape([batch, height * width, channels])
}

fn unflatten(x: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = x.dims();
    x.reshape([batch, height, width, channels])
}

/// `[class; patches]` apart.
fn split_class(tokens: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let [_, length, _] = tokens.dims();
    let patches = tokens.clone().narrow(1, 1, length - 1);
    (tokens.narrow(1, 0, 1), patches)
}

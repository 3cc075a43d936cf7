use serde::{Deserialize, Serialize};

use super::{Activation, PerBlock};
use crate::checks::{Number, numbers};

/// What can be wrong with a UNet configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UNetError {
    /// Everything that does not fit together or is not supported.
    #[error("UNet configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

/// How the timestep changes a residual block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeScaleShift {
    /// Added before the second norm.
    #[default]
    Default,
    /// Scale and shift after the second norm.
    ScaleShift,
}

/// Block on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownBlockType {
    /// Residual blocks with transformers.
    CrossAttnDownBlock2D,
    /// Residual blocks.
    #[serde(alias = "UNetResDownBlock2D")]
    DownBlock2D,
}

/// Block in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MidBlockType {
    /// Residual block, transformer, residual block.
    UNetMidBlock2DCrossAttn,
    /// One residual block.
    UNetMidBlock2D,
}

/// Block on the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpBlockType {
    /// Residual blocks with transformers.
    CrossAttnUpBlock2D,
    /// Residual blocks.
    #[serde(alias = "UNetResUpBlock2D")]
    UpBlock2D,
}

/// `config.json` of diffusers' `UNet2DConditionModel`; fields that change nothing here
/// (`sample_size`, `dropout`, `upcast_attention`, …) are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Channels of the noisy sample.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Map the sample from [0, 1] to [-1, 1] first.
    pub center_input_sample: bool,
    /// Cosines before sines in the timestep's encoding.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of timestep frequencies.
    pub freq_shift: f64,
    /// Blocks on the way down.
    pub down_block_types: Vec<DownBlockType>,
    /// Block in the middle.
    pub mid_block_type: Option<MidBlockType>,
    /// Blocks on the way up.
    pub up_block_types: Vec<UpBlockType>,
    /// The first attention of transformers looks at the condition, too.
    pub only_cross_attention: PerBlock<bool>,
    /// Channels of each resolution, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution on the way down; one more on the way up.
    pub layers_per_block: PerBlock<usize>,
    /// Padding of the strided convolutions.
    pub downsample_padding: usize,
    /// The middle block's sums are divided by this.
    pub mid_block_scale_factor: f64,
    /// Nonlinearity.
    pub act_fn: Activation,
    /// Groups of all group norms.
    pub norm_num_groups: Option<usize>,
    /// Constant of the residual blocks' norms.
    pub norm_eps: f64,
    /// Width of the condition.
    pub cross_attention_dim: PerBlock<usize>,
    /// Transformer blocks in each transformer.
    pub transformer_layers_per_block: PerBlock<PerBlock<usize>>,
    /// The same on the way up, if it differs; in the order of the way up.
    pub reverse_transformer_layers_per_block: Option<PerBlock<PerBlock<usize>>>,
    /// Number of attention heads, whatever the name says: one for all (Stable Diffusion 1) or one
    /// for each block (Stable Diffusion 2), always as diffusers reads it.
    pub attention_head_dim: PerBlock<usize>,
    /// Matrices instead of 1×1 convolutions around transformers.
    pub use_linear_projection: bool,
    /// How the timestep changes residual blocks.
    pub resnet_time_scale_shift: TimeScaleShift,
    /// Width of the timestep embedding; absent: four times the first block's channels.
    pub time_embedding_dim: Option<usize>,
    /// Extra nonlinearity on the timestep embedding.
    pub time_embedding_act_fn: Option<Activation>,
    /// Extra nonlinearity after the timestep's MLP.
    pub timestep_post_act: Option<Activation>,
    /// Width of a second condition on the timestep, never given here.
    pub time_cond_proj_dim: Option<usize>,
    /// Kernel of the first convolution.
    pub conv_in_kernel: usize,
    /// Kernel of the last convolution.
    pub conv_out_kernel: usize,
    /// Width of the condition before a projection to `cross_attention_dim`.
    pub encoder_hid_dim: Option<usize>,
    /// Only `text_proj` is supported.
    pub encoder_hid_dim_type: Option<String>,
    /// Only `positional` is supported.
    pub time_embedding_type: String,
    /// Only `default` is supported.
    pub attention_type: String,
    /// Not supported.
    pub dual_cross_attention: bool,
    /// Not supported.
    pub class_embed_type: Option<String>,
    /// Not supported.
    pub num_class_embeds: Option<usize>,
    /// Not supported.
    pub addition_embed_type: Option<String>,
}

impl Default for UNetConfig {
    fn default() -> Self {
        use DownBlockType::{CrossAttnDownBlock2D, DownBlock2D};
        use UpBlockType::{CrossAttnUpBlock2D, UpBlock2D};
        Self {
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                DownBlock2D,
            ],
            mid_block_type: Some(MidBlockType::UNetMidBlock2DCrossAttn),
            up_block_types: vec![
                UpBlock2D,
                CrossAttnUpBlock2D,
                CrossAttnUpBlock2D,
                CrossAttnUpBlock2D,
            ],
            only_cross_attention: PerBlock::All(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::All(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: Some(32),
            norm_eps: 1e-5,
            cross_attention_dim: PerBlock::All(1280),
            transformer_layers_per_block: PerBlock::All(PerBlock::All(1)),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerBlock::All(8),
            use_linear_projection: false,
            resnet_time_scale_shift: TimeScaleShift::Default,
            time_embedding_dim: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            time_embedding_type: "positional".into(),
            attention_type: "default".into(),
            dual_cross_attention: false,
            class_embed_type: None,
            num_class_embeds: None,
            addition_embed_type: None,
        }
    }
}

impl UNetConfig {
    /// Stable Diffusion 2.1 and 2.1-base.
    pub fn stable_diffusion_2() -> Self {
        Self {
            attention_head_dim: PerBlock::Each(vec![5, 10, 20, 20]),
            cross_attention_dim: PerBlock::All(1024),
            use_linear_projection: true,
            ..Self::default()
        }
    }

    /// Width of the condition that the UNet is given.
    pub fn condition_dim(&self) -> usize {
        self.encoder_hid_dim
            .unwrap_or(*self.cross_attention_dim.at(0))
    }

    /// Width of the timestep embedding.
    pub fn time_dim(&self) -> usize {
        self.time_embedding_dim
            .unwrap_or(4 * self.block_out_channels[0])
    }

    /// The skip connections in the order in which they are made: channels, and how many times smaller
    /// than the latent the map is.
    pub fn skips(&self) -> Vec<(usize, usize)> {
        let mut skips = vec![(self.block_out_channels[0], 1)];
        let last = self.block_out_channels.len() - 1;
        for (block, width) in self.block_out_channels.iter().enumerate() {
            let layers = *self.layers_per_block.at(block);
            skips.extend(std::iter::repeat_n((*width, 1 << block), layers));
            if block != last {
                skips.push((*width, 2 << block));
            }
        }
        skips
    }

    /// Channels of the middle, and how many times smaller than the latent its map is.
    pub fn middle(&self) -> (usize, usize) {
        let last = self.block_out_channels.len() - 1;
        (self.block_out_channels[last], 1 << last)
    }

    /// Checks that the numbers fit together and nothing unsupported is asked for.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), UNetError> {
        let mut problems = self.unsupported();
        let blocks = self.block_out_channels.len();
        if blocks == 0 {
            problems.push("`block_out_channels` is empty".into());
        }
        let reversed_fits = self
            .reverse_transformer_layers_per_block
            .as_ref()
            .is_none_or(|depths| matches!(depths, PerBlock::Each(own) if own.len() == blocks));
        for (field, fits) in [
            ("down_block_types", self.down_block_types.len() == blocks),
            ("up_block_types", self.up_block_types.len() == blocks),
            (
                "only_cross_attention",
                self.only_cross_attention.fits(blocks),
            ),
            ("layers_per_block", self.layers_per_block.fits(blocks)),
            ("cross_attention_dim", self.cross_attention_dim.fits(blocks)),
            ("attention_head_dim", self.attention_head_dim.fits(blocks)),
            (
                "transformer_layers_per_block",
                self.transformer_layers_per_block.fits(blocks),
            ),
            ("reverse_transformer_layers_per_block", reversed_fits),
        ] {
            if !fits {
                problems.push(format!(
                    "`{field}` needs one entry for each of the {blocks} `block_out_channels`"
                ));
            }
        }
        problems.extend(numbers(&[
            ("norm_eps", self.norm_eps, Number::FromZero),
            ("freq_shift", self.freq_shift, Number::Any),
            (
                "mid_block_scale_factor",
                self.mid_block_scale_factor,
                Number::NotZero,
            ),
        ]));
        // The exponent of a frequency is its number over what the shift leaves of how many there are.
        let half = self.block_out_channels.first().map_or(0, |width| width / 2);
        let left = half as f64 - self.freq_shift;
        let exponent = -libm::log(10_000.0) * half.saturating_sub(1) as f64 / left;
        if left == 0.0 || !(libm::exp(exponent) as f32).is_finite() {
            problems.push(format!(
                "`freq_shift` is {}, for {half} frequencies of the timestep",
                self.freq_shift
            ));
        }
        let groups = self.norm_num_groups.unwrap_or(0);
        for (block, channels) in self.block_out_channels.iter().enumerate() {
            if groups == 0 || channels % groups != 0 {
                problems.push(format!(
                    "`block_out_channels` {channels} is not a multiple of `norm_num_groups` {groups}"
                ));
            }
            let heads = self.attention_head_dim.get(block).copied().unwrap_or(0);
            if !(1..=*channels).contains(&heads) {
                problems.push(format!(
                    "`attention_head_dim` (the number of heads) is {heads} for {channels} channels"
                ));
            }
        }
        let reversed = self.reverse_transformer_layers_per_block.as_ref();
        for depths in [Some(&self.transformer_layers_per_block), reversed] {
            let blank = |depth: &PerBlock<usize>| depth.get(0).is_none();
            if depths.is_some_and(|depths| depths.values().iter().any(blank)) {
                problems.push("`transformer_layers_per_block` has an empty list".into());
            }
        }
        let layer_by_layer = |depth: &PerBlock<usize>| matches!(depth, PerBlock::Each(_));
        let depths = &self.transformer_layers_per_block;
        if reversed.is_none()
            && let PerBlock::Each(blocks) = depths
            && blocks.iter().any(layer_by_layer)
        {
            problems.push(
                "`transformer_layers_per_block` has lists in its list, which needs \
                 `reverse_transformer_layers_per_block` for the way up"
                    .into(),
            );
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(UNetError::Config(problems))
        }
    }

    fn unsupported(&self) -> Vec<String> {
        let text_proj = self.encoder_hid_dim_type.as_deref().unwrap_or("text_proj");
        [
            ("class_embed_type", self.class_embed_type.is_some()),
            ("num_class_embeds", self.num_class_embeds.is_some()),
            ("addition_embed_type", self.addition_embed_type.is_some()),
            ("dual_cross_attention", self.dual_cross_attention),
            ("attention_type", self.attention_type != "default"),
            (
                "time_embedding_type",
                self.time_embedding_type != "positional",
            ),
            (
                "encoder_hid_dim_type",
                text_proj != "text_proj"
                    || self.encoder_hid_dim_type.is_some() && self.encoder_hid_dim.is_none(),
            ),
            ("norm_num_groups null", self.norm_num_groups.is_none()),
            ("downsample_padding above 1", self.downsample_padding > 1),
            (
                "conv_in_kernel of even size",
                self.conv_in_kernel.is_multiple_of(2),
            ),
            (
                "conv_out_kernel of even size",
                self.conv_out_kernel.is_multiple_of(2),
            ),
        ]
        .iter()
        .filter(|(_, set)| *set)
        .map(|(field, _)| format!("`{field}` is not supported"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_diffusion_2_file() {
        let config: UNetConfig = serde_json::from_str(
            r#"{"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0.dev0",
                "act_fn": "silu", "attention_head_dim": [5, 10, 20, 20],
                "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false,
                "cross_attention_dim": 1024, "down_block_types": ["CrossAttnDownBlock2D",
                "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                "downsample_padding": 1, "dual_cross_attention": false, "flip_sin_to_cos": true,
                "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
                "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32,
                "num_class_embeds": null, "only_cross_attention": false, "out_channels": 4,
                "sample_size": 64, "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D",
                "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], "use_linear_projection": true}"#,
        )
        .unwrap();
        assert_eq!(config, UNetConfig::stable_diffusion_2());
        assert_eq!(config.validate(), Ok(()));
        let skips: Vec<String> = config
            .skips()
            .iter()
            .map(|(c, r)| format!("{c}/{r}"))
            .collect();
        assert_eq!(
            skips.join(" "),
            "320/1 320/1 320/1 320/2 640/2 640/2 640/4 1280/4 1280/4 1280/8 1280/8 1280/8"
        );
        assert_eq!(config.middle(), (1280, 8));
    }

    #[test]
    fn nested_lists() {
        let config: UNetConfig = serde_json::from_str(
            r#"{"transformer_layers_per_block": [1, [2, 3], 1, 1], "attention_head_dim": 8}"#,
        )
        .unwrap();
        assert_eq!(*config.transformer_layers_per_block.at(0).at(1), 1);
        assert_eq!(*config.transformer_layers_per_block.at(1).at(1), 3);
        assert_eq!(*config.attention_head_dim.at(3), 8);
    }

    #[test]
    fn every_problem_is_listed() {
        let config = UNetConfig {
            block_out_channels: vec![30, 64],
            class_embed_type: Some("timestep".into()),
            attention_head_dim: PerBlock::Each(vec![2]),
            ..UNetConfig::default()
        };
        let UNetError::Config(problems) = config.validate().unwrap_err();
        let text = problems.join("\n");
        for word in [
            "class_embed_type",
            "down_block_types",
            "attention_head_dim",
            "norm_num_groups",
        ] {
            assert!(text.contains(word), "{word} in {text}");
        }
        for (field, config) in [
            (
                "norm_eps",
                UNetConfig {
                    norm_eps: -1.0,
                    ..UNetConfig::default()
                },
            ),
            (
                "mid_block_scale_factor",
                UNetConfig {
                    mid_block_scale_factor: 0.0,
                    ..UNetConfig::default()
                },
            ),
            (
                "freq_shift",
                UNetConfig {
                    freq_shift: 160.0,
                    ..UNetConfig::default()
                },
            ),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        let unknown = r#"{"down_block_types": ["AttnDownBlock2D"]}"#;
        let error = serde_json::from_str::<UNetConfig>(unknown).unwrap_err();
        assert!(error.to_string().contains("AttnDownBlock2D"));
    }
}

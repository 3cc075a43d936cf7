//! Configurations of open_clip (`open_clip_config.json`, `model_cfg`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DualConfig, DualLayout, ImageConfig, OpenClipImage, OpenClipKeys};
use crate::activation::Activation;
use crate::clip::config::{
    ClipTextConfig, ClipVisionConfig, ConvNextConfig, Family, TextPooling, TextReading,
};
use crate::clip::pyramid::Projection;
use crate::published::{Fields, only, read, unless};
use crate::weights::WeightsFile;

/// `CLIPVisionCfg`.
#[derive(Deserialize)]
#[serde(default)]
struct VisionCfg {
    layers: usize,
    width: usize,
    head_width: usize,
    mlp_ratio: f64,
    patch_size: usize,
    image_size: usize,
    timm_model_name: Option<String>,
    timm_pool: String,
    timm_proj: Option<String>,
    act_kwargs: Option<ActKwargs>,
    norm_kwargs: Option<NormKwargs>,
}

impl Default for VisionCfg {
    fn default() -> Self {
        Self {
            layers: 12,
            width: 768,
            head_width: 64,
            mlp_ratio: 4.0,
            patch_size: 16,
            image_size: 224,
            timm_model_name: None,
            timm_pool: "avg".into(),
            timm_proj: Some("linear".into()),
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

/// `CLIPTextCfg`.
#[derive(Deserialize)]
#[serde(default)]
struct TextCfg {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
    eos_id: i64,
    no_causal_mask: bool,
    pool_type: PoolType,
    proj_bias: bool,
    act_kwargs: Option<ActKwargs>,
    norm_kwargs: Option<NormKwargs>,
}

impl Default for TextCfg {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49_408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
            eos_id: 2,
            no_causal_mask: false,
            pool_type: PoolType::Argmax,
            proj_bias: false,
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PoolType {
    Argmax,
    Eos,
    Last,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActKwargs {
    #[serde(default)]
    approximate: Approximate,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Approximate {
    #[default]
    None,
    Tanh,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NormKwargs {
    eps: f64,
}

/// The norm constant of PyTorch, and timm's for its transformers and most of its ConvNeXts.
const EPS: f64 = 1e-5;
const TIMM_EPS: f64 = 1e-6;

/// Fields of both towers that would change what is computed.
const OWN_BLOCKS: [(&str, Value); 8] = [
    ("ls_init_value", Value::Null),
    ("qk_norm", Value::Bool(false)),
    ("scaled_cosine_attn", Value::Bool(false)),
    ("scale_heads", Value::Bool(false)),
    ("scale_attn_inner", Value::Bool(false)),
    ("scale_attn", Value::Bool(false)),
    ("scale_fc", Value::Bool(false)),
    ("block_type", Value::Null),
];

/// The configuration that `model_cfg` describes, and where its parameters lie. What it only names, the dimensions of timm's
/// networks and whether keys begin with `text.`, is taken from the weights.
///
/// # Errors
/// Everything in it that cannot be computed, each naming its field.
pub fn open_clip(
    mut fields: Fields,
    file: &WeightsFile,
) -> Result<(DualConfig, DualLayout), Vec<String>> {
    let vision = taken(&mut fields, "vision_cfg");
    let text = taken(&mut fields, "text_cfg");
    let mut problems = only(&fields, &[("multimodal_cfg", Value::Null)]);
    let Some(embed_dim) = fields.get("embed_dim").and_then(Value::as_u64) else {
        return Err(vec![
            "embed_dim: expected the width of the shared space, found none".into(),
        ]);
    };
    let embed_dim = embed_dim as usize;
    let quick_gelu = fields.get("quick_gelu") == Some(&json!(true));
    problems.extend(within("vision_cfg", only_vision(&vision)));
    problems.extend(within("text_cfg", only_text(&text)));
    let vision = read::<VisionCfg>(vision).map_err(|found| within("vision_cfg", found));
    let text = read::<TextCfg>(text).map_err(|found| within("text_cfg", found));
    let (vision, text) = match (vision, text) {
        (Ok(vision), Ok(text)) => (vision, text),
        (vision, text) => {
            problems.extend(vision.err().unwrap_or_default());
            problems.extend(text.err().unwrap_or_default());
            return Err(problems);
        }
    };
    let custom_text = file.shape("text.token_embedding.weight").is_some();
    let image = match image(&vision, quick_gelu, embed_dim, file) {
        Ok(image) => image,
        Err(problem) => {
            problems.push(problem);
            return Err(problems);
        }
    };
    let (image, kind) = image;
    let keys = OpenClipKeys {
        image: kind,
        custom_text,
        text_layer: text.proj_bias,
    };
    let config = DualConfig {
        image,
        text: text.config(quick_gelu, embed_dim),
        bias: file.shape("logit_bias").is_some(),
    };
    unless(problems, Ok((config, DualLayout::OpenClip(keys))))
}

/// A table of the fields, or nothing.
fn taken(fields: &mut Fields, name: &str) -> Fields {
    match fields.remove(name) {
        Some(Value::Object(own)) => own,
        _ => Map::new(),
    }
}

fn within(part: &str, problems: Vec<String>) -> Vec<String> {
    let problems = problems.into_iter();
    problems
        .map(|problem| format!("{part}.{problem}"))
        .collect()
}

fn only_vision(fields: &Fields) -> Vec<String> {
    let own = [
        ("attentional_pool", json!(false)),
        ("no_ln_pre", json!(false)),
        ("pool_type", json!("tok")),
        ("timm_proj_bias", json!(false)),
    ];
    [only(fields, &own), only(fields, &OWN_BLOCKS)].concat()
}

fn only_text(fields: &Fields) -> Vec<String> {
    let own = [
        ("hf_model_name", Value::Null),
        ("embed_cls", json!(false)),
        ("proj_type", json!("linear")),
    ];
    [only(fields, &own), only(fields, &OWN_BLOCKS)].concat()
}

fn activation(quick_gelu: bool, kwargs: Option<&ActKwargs>) -> Activation {
    match (quick_gelu, kwargs.map(|kwargs| kwargs.approximate)) {
        (true, _) => Activation::QuickGelu,
        (false, Some(Approximate::Tanh)) => Activation::GeluPytorchTanh,
        (false, _) => Activation::Gelu,
    }
}

impl TextCfg {
    fn config(&self, quick_gelu: bool, embed_dim: usize) -> ClipTextConfig {
        ClipTextConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.width,
            intermediate_size: (self.width as f64 * self.mlp_ratio) as usize,
            projection_dim: Some(embed_dim),
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            max_position_embeddings: self.context_length,
            hidden_act: activation(quick_gelu, self.act_kwargs.as_ref()),
            layer_norm_eps: self.norm_kwargs.as_ref().map_or(EPS, |kwargs| kwargs.eps),
            eos_token_id: self.eos_id,
            reading: TextReading {
                causal: !self.no_causal_mask,
                pooling: match self.pool_type {
                    PoolType::Argmax => TextPooling::Highest,
                    PoolType::Eos => TextPooling::Token,
                    PoolType::Last => TextPooling::Last,
                },
                projection_bias: self.proj_bias,
            },
        }
    }
}

/// The image tower; of timm's those that CLIP and SigLIP have.
fn image(
    cfg: &VisionCfg,
    quick_gelu: bool,
    embed_dim: usize,
    file: &WeightsFile,
) -> Result<(ImageConfig, OpenClipImage), String> {
    let Some(name) = &cfg.timm_model_name else {
        let config = ClipVisionConfig {
            hidden_size: cfg.width,
            intermediate_size: (cfg.width as f64 * cfg.mlp_ratio) as usize,
            projection_dim: embed_dim,
            num_hidden_layers: cfg.layers,
            num_attention_heads: cfg.width / cfg.head_width.max(1),
            num_channels: 3,
            image_size: cfg.image_size,
            patch_size: cfg.patch_size,
            hidden_act: activation(quick_gelu, cfg.act_kwargs.as_ref()),
            layer_norm_eps: cfg.norm_kwargs.as_ref().map_or(EPS, |kwargs| kwargs.eps),
            family: Family::Clip,
        };
        return Ok((ImageConfig::Vit(config), OpenClipImage::Vit));
    };
    let unknown = |why: &str| {
        format!(
            "vision_cfg.timm_model_name: {name} {why}; expected a convnext_… or a vit_…_siglip_… with timm_pool \"map\""
        )
    };
    let plain = name.split('.').next().unwrap_or(name);
    if plain.starts_with("convnext_") {
        let projection = match cfg.timm_proj.as_deref() {
            Some("linear") => Projection::Linear,
            Some("mlp") => Projection::Mlp,
            other => {
                return Err(format!(
                    "vision_cfg.timm_proj: {other:?} is not supported, only \"linear\" and \"mlp\""
                ));
            }
        };
        if !["", "avg"].contains(&cfg.timm_pool.as_str()) {
            return Err(format!(
                "vision_cfg.timm_pool: {:?} is not supported, only \"\" and \"avg\"",
                cfg.timm_pool
            ));
        }
        let trunk = convnext(plain, file)
            .ok_or_else(|| unknown("has not the tensors of timm's ConvNeXt"))?;
        let image = ImageConfig::ConvNext {
            trunk,
            projection,
            projection_dim: embed_dim,
            image_size: cfg.image_size,
        };
        return Ok((image, OpenClipImage::ConvNext));
    }
    let siglip = plain.starts_with("vit_") && plain.contains("_siglip_") && cfg.timm_pool == "map";
    if !siglip || cfg.timm_proj.as_deref() != Some("none") {
        return Err(unknown("computes something else"));
    }
    let config =
        timm_vit(plain, cfg, file).ok_or_else(|| unknown("has not the tensors of timm's ViT"))?;
    if config.hidden_size != embed_dim {
        return Err(format!(
            "embed_dim: {embed_dim}, but the image tower is {} wide and has no projection",
            config.hidden_size
        ));
    }
    Ok((ImageConfig::Vit(config), OpenClipImage::TimmVit))
}

/// Extents of a tensor of timm's trunk.
fn extents<'a>(file: &'a WeightsFile, key: &str) -> Option<&'a [usize]> {
    file.shape(&format!("visual.trunk.{key}"))
}

/// How many there are of a numbered key.
fn count(file: &WeightsFile, key: impl Fn(usize) -> String) -> usize {
    (0..)
        .take_while(|number| extents(file, &key(*number)).is_some())
        .count()
}

/// timm's ViTs with tanh's approximation of GELU.
const TANH: [&str; 4] = [
    "vit_base_patch32_siglip",
    "vit_large_patch16_siglip_512",
    "vit_so400m_patch16_siglip",
    "vit_giantopt_patch16_siglip",
];

fn timm_vit(name: &str, cfg: &VisionCfg, file: &WeightsFile) -> Option<ClipVisionConfig> {
    let [hidden_size, num_channels, patch_size, _] = *extents(file, "patch_embed.proj.weight")?
    else {
        return None;
    };
    Some(ClipVisionConfig {
        hidden_size,
        intermediate_size: *extents(file, "blocks.0.mlp.fc1.weight")?.first()?,
        projection_dim: hidden_size,
        num_hidden_layers: count(file, |number| format!("blocks.{number}.norm1.weight")),
        num_attention_heads: if name.starts_with("vit_base") { 12 } else { 16 },
        num_channels,
        image_size: cfg.image_size,
        patch_size,
        hidden_act: if TANH.iter().any(|tanh| name.starts_with(tanh)) {
            Activation::GeluPytorchTanh
        } else {
            Activation::Gelu
        },
        layer_norm_eps: TIMM_EPS,
        family: Family::Siglip,
    })
}

fn convnext(name: &str, file: &WeightsFile) -> Option<ConvNextConfig> {
    let [_, in_chans, patch_size, _] = *extents(file, "stem.0.weight")? else {
        return None;
    };
    let block =
        |stage: usize, number: usize| format!("stages.{stage}.blocks.{number}.conv_dw.weight");
    let mut dims = [0; 4];
    for (stage, dim) in dims.iter_mut().enumerate() {
        *dim = *extents(file, &block(stage, 0))?.first()?;
    }
    let scaled = extents(file, "stages.0.blocks.0.gamma").is_some();
    Some(ConvNextConfig {
        depths: [0, 1, 2, 3].map(|stage| count(file, |number| block(stage, number))),
        dims,
        patch_size,
        in_chans,
        kernel_size: *extents(file, &block(0, 0))?.last()?,
        ls_init_value: scaled.then_some(1e-6),
        norm_eps: if name.starts_with("convnext_xxlarge") {
            EPS
        } else {
            TIMM_EPS
        },
    })
}

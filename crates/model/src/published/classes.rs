//! What each public class but the language models may say.

use serde_json::{Value, json};

use super::{Fields, Published, is_class, only, read, unless};
use crate::autoencoder::AutoencoderConfig;
use crate::clip::config::{
    ClipTextConfig, ClipVisionConfig, ConvNextConfig, Family, SiglipTextConfig, SiglipVisionConfig,
    TextReading,
};
use crate::perceiver::PerceiverConfig;
use crate::scheduler::{DdimConfig, DpmSolverConfig, NoiseConfig};
use crate::unet::UNetConfig;

/// Schedulers of diffusers whose noise is the schedule of betas that is computed here.
const SCHEDULERS: [&str; 18] = [
    "DDIMInverseScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
];

impl Published for ClipVisionConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let own = tower(
            fields,
            "vision",
            &["clip_vision_model", "clip"],
            &[
                "CLIPModel",
                "CLIPVisionModel",
                "CLIPVisionModelWithProjection",
            ],
        )?;
        read(own)
    }
}

impl Published for ClipTextConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let own = tower(
            fields,
            "text",
            &["clip_text_model", "clip"],
            &["CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection"],
        )?;
        read(own)
    }
}

impl Published for SiglipVisionConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let mut own = tower(
            fields,
            "vision",
            &["siglip_vision_model", "siglip"],
            &["SiglipModel", "SiglipVisionModel"],
        )?;
        let mut problems = only(&own, &[("vision_use_head", json!(true))]);
        if own.get("vision_use_head").is_some_and(Value::is_null) {
            problems.push("vision_use_head: null is not supported, only true".into());
        }
        siglip_defaults(&mut own);
        own.entry("patch_size").or_insert(json!(16));
        let config = read(own).map(|config| {
            Self(ClipVisionConfig {
                family: Family::Siglip,
                ..config
            })
        });
        unless(problems, config)
    }
}

impl Published for SiglipTextConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let mut own = tower(
            fields,
            "text",
            &["siglip_text_model", "siglip"],
            &["SiglipModel", "SiglipTextModel"],
        )?;
        siglip_defaults(&mut own);
        for (field, value) in [
            ("vocab_size", 32_000),
            ("hidden_size", 768),
            ("intermediate_size", 3072),
            ("num_attention_heads", 12),
            ("max_position_embeddings", 64),
        ] {
            own.entry(field).or_insert(json!(value));
        }
        // Neither is read, and lists of them are no number.
        own.remove("eos_token_id");
        let width = own.remove("projection_size").unwrap_or(Value::Null);
        if !width.is_null() && !width.is_u64() {
            return Err(vec![format!(
                "projection_size: expected a whole number, found {width}"
            )]);
        }
        own.insert("projection_dim".into(), width);
        let config: ClipTextConfig = read(own)?;
        Ok(Self(ClipTextConfig {
            reading: TextReading::SIGLIP,
            ..config
        }))
    }
}

/// What both of SigLIP's towers have by default, and CLIP's have not.
fn siglip_defaults(own: &mut Fields) {
    own.entry("hidden_act")
        .or_insert(json!("gelu_pytorch_tanh"));
    own.entry("layer_norm_eps").or_insert(json!(1e-6));
}

/// The fields of one of two towers, which may stand in the file of both. There an older `…_config_dict` wins,
/// as in transformers, with all defaults of its own.
fn tower(
    mut fields: Fields,
    part: &str,
    kinds: &[&str],
    architectures: &[&str],
) -> Result<Fields, Vec<String>> {
    let mut problems: Vec<String> = is_class(&fields, "model_type", kinds).into_iter().collect();
    if let Some(Value::Array(names)) = fields.get("architectures") {
        let other = names
            .iter()
            .find(|name| !architectures.iter().any(|own| *name == own));
        problems.extend(other.map(|name| format!("architectures: {name} computes something else")));
    }
    if fields
        .get("quantization_config")
        .is_some_and(|how| !how.is_null())
    {
        problems.push("quantization_config: the weights are quantised, which is not read".into());
    }
    let [older, newer] =
        ["_config_dict", "_config"].map(|end| fields.remove(&format!("{part}{end}")));
    let own = match (older, newer) {
        (Some(Value::Object(older)), _) => older,
        (_, Some(Value::Object(newer))) => newer,
        _ => fields,
    };
    problems.extend(is_class(&own, "model_type", kinds));
    problems.dedup();
    unless(problems, Ok(own))
}

impl Published for ConvNextConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let problems = only(
            &fields,
            &[
                ("stem_type", json!("patch")),
                ("output_stride", json!(32)),
                ("conv_mlp", json!(false)),
                ("conv_bias", json!(true)),
                ("use_grn", json!(false)),
                ("act_layer", json!("gelu")),
                ("norm_layer", Value::Null),
                ("head_norm_first", json!(false)),
            ],
        );
        unless(problems, read(fields))
    }
}

impl Published for PerceiverConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let problems = only(&fields, &[("position_embedding_type", json!("absolute"))]);
        unless(problems, read(fields))
    }
}

impl Published for UNetConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let class = is_class(&fields, "_class_name", &["UNet2DConditionModel"]);
        let neutral = [
            ("num_attention_heads", Value::Null),
            ("class_embeddings_concat", json!(false)),
            ("resnet_skip_time_act", json!(false)),
            ("resnet_out_scale_factor", json!(1)),
            ("mid_block_only_cross_attention", json!(false)),
            ("cross_attention_norm", Value::Null),
            ("quantization_config", Value::Null),
        ];
        let problems = class.into_iter().chain(only(&fields, &neutral)).collect();
        unless(problems, read(fields))
    }
}

impl Published for AutoencoderConfig {
    fn published(fields: Fields) -> Result<Self, Vec<String>> {
        let class = is_class(&fields, "_class_name", &["AutoencoderKL"]);
        let neutral = [
            ("latents_mean", Value::Null),
            ("latents_std", Value::Null),
            ("quantization_config", Value::Null),
        ];
        let problems = class.into_iter().chain(only(&fields, &neutral)).collect();
        unless(problems, read(fields))
    }
}

/// Those of them whose betas run from another beginning to another end unless their file says it, and the curve
/// between.
const STEEPER: [(&str, &str); 6] = [
    ("DPMSolverSDEScheduler", "linear"),
    ("HeunDiscreteScheduler", "linear"),
    ("KDPM2AncestralDiscreteScheduler", "linear"),
    ("KDPM2DiscreteScheduler", "linear"),
    ("LCMScheduler", "scaled_linear"),
    ("TCDScheduler", "scaled_linear"),
];

/// A scheduler's file with the defaults of its class; complaints about what else it may say.
fn schedule(fields: &mut Fields) -> Vec<String> {
    let class = fields.get("_class_name").cloned().unwrap_or_default();
    if let Some((_, curve)) = STEEPER.iter().find(|(name, _)| class == **name) {
        for (field, value) in [
            ("beta_start", json!(0.000_85)),
            ("beta_end", json!(0.012)),
            ("beta_schedule", json!(curve)),
        ] {
            fields.entry(field).or_insert(value);
        }
    }
    let learned = ["learned", "learned_range"].map(Value::from);
    let learned = fields
        .get("variance_type")
        .filter(|kind| learned.contains(kind));
    let learned = learned.map(|kind| format!("variance_type: {kind} is not supported"));
    let class = is_class(fields, "_class_name", &SCHEDULERS);
    let flow = only(fields, &[("use_flow_sigmas", json!(false))]);
    class.into_iter().chain(learned).chain(flow).collect()
}

impl Published for NoiseConfig {
    fn published(mut fields: Fields) -> Result<Self, Vec<String>> {
        unless(schedule(&mut fields), read(fields))
    }
}

impl Published for DdimConfig {
    fn published(mut fields: Fields) -> Result<Self, Vec<String>> {
        unless(schedule(&mut fields), read(fields))
    }
}

impl Published for DpmSolverConfig {
    fn published(mut fields: Fields) -> Result<Self, Vec<String>> {
        // Python's -Infinity: nothing is clipped.
        if fields.get("lambda_min_clipped") == Some(&json!("-Infinity")) {
            fields.remove("lambda_min_clipped");
        }
        unless(schedule(&mut fields), read(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: Published + std::fmt::Debug>(value: Value, told: &str) {
        let Value::Object(fields) = value else {
            panic!("{value}")
        };
        let problems = T::published(fields).expect_err("refused").join("; ");
        assert!(problems.contains(told), "{problems}");
    }

    fn read_as<T: Published>(value: Value) -> T {
        let Value::Object(fields) = value else {
            panic!("{value}")
        };
        T::published(fields).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn classes_are_not_taken_for_each_other() {
        refused::<ClipVisionConfig>(json!({"model_type": "siglip_vision_model"}), "model_type");
        refused::<ClipVisionConfig>(json!({"architectures": ["SiglipModel"]}), "architectures");
        let inside = json!({"model_type": "clip", "vision_config": {"model_type": "siglip"}});
        refused::<ClipVisionConfig>(inside, "model_type");
        refused::<ClipTextConfig>(json!({"model_type": "clip_vision_model"}), "model_type");
        refused::<UNetConfig>(json!({"_class_name": "UNet2DModel"}), "_class_name");
        refused::<UNetConfig>(
            json!({"resnet_out_scale_factor": 2.0}),
            "resnet_out_scale_factor",
        );
        refused::<AutoencoderConfig>(json!({"_class_name": "AutoencoderTiny"}), "_class_name");
        refused::<AutoencoderConfig>(json!({"latents_mean": [0.1]}), "latents_mean");
        refused::<NoiseConfig>(
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler"}),
            "_class_name",
        );
        refused::<DdimConfig>(json!({"use_flow_sigmas": true}), "use_flow_sigmas");
        refused::<DpmSolverConfig>(json!({"lambda_min_clipped": "NaN"}), "lambda_min_clipped");
        refused::<PerceiverConfig>(
            json!({"position_embedding_type": "relative_key"}),
            "position",
        );
        refused::<ConvNextConfig>(json!({"use_grn": true}), "use_grn");
    }

    #[test]
    fn a_whole_clip_holds_both_towers_and_its_older_fields_win() {
        let both = json!({
            "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 9,
            "vision_config": {"patch_size": 16, "hidden_act": "gelu"},
            "text_config": {"hidden_size": 8}, "text_config_dict": null,
        });
        let vision: ClipVisionConfig = read_as(both.clone());
        assert_eq!(vision.patch_size, 16);
        assert_eq!(read_as::<ClipTextConfig>(both.clone()).hidden_size, 8);
        let mut older = both;
        older["vision_config_dict"] = json!({"patch_size": 14});
        let vision: ClipVisionConfig = read_as(older);
        let default = ClipVisionConfig::default();
        assert_eq!(
            (vision.patch_size, vision.hidden_act),
            (14, default.hidden_act)
        );
    }

    #[test]
    fn siglip_has_defaults_of_its_own_and_says_what_it_cannot() {
        let both = json!({
            "model_type": "siglip", "architectures": ["SiglipModel"],
            "vision_config": {"hidden_size": 24, "model_type": "siglip_vision_model"},
            "text_config": {"projection_size": 24, "eos_token_id": [1, 2], "vocab_size": 256_000},
        });
        let SiglipVisionConfig(vision) = read_as(both.clone());
        assert_eq!((vision.patch_size, vision.family), (16, Family::Siglip));
        assert_eq!(
            vision.hidden_act,
            crate::activation::Activation::GeluPytorchTanh
        );
        let SiglipTextConfig(text) = read_as(both);
        assert_eq!(
            (text.max_position_embeddings, text.projection_dim),
            (64, Some(24))
        );
        assert_eq!(text.reading, TextReading::SIGLIP);
        refused::<SiglipVisionConfig>(json!({"vision_use_head": false}), "vision_use_head");
        refused::<SiglipVisionConfig>(json!({"model_type": "siglip2_vision_model"}), "model_type");
    }

    #[test]
    fn minus_infinity_clips_nothing() {
        let value = json!({"lambda_min_clipped": "-Infinity", "_class_name": "DPMSolverMultistepScheduler"});
        assert_eq!(read_as::<DpmSolverConfig>(value).lambda_min_clipped, None);
        let heun: NoiseConfig =
            read_as(json!({"_class_name": "HeunDiscreteScheduler", "beta_end": 0.5}));
        assert_eq!((heun.beta_start, heun.beta_end), (0.000_85, 0.5));
    }
}

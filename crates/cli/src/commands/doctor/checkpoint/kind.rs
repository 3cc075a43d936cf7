//! Which network the `config.json` of a folder describes.

use deem_model::clip::config::Family;
use deem_model::llama;
use deem_model::published::Fields;
use serde_json::Value;

/// A network that is published in a folder of its own.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// diffusers' `UNet2DConditionModel`.
    Unet,
    /// diffusers' `AutoencoderKL`.
    Autoencoder,
    /// An encoder of pictures and texts.
    Encoder(Family),
    /// An image tower.
    Tower(Family),
    /// A language model.
    Language,
    /// Something else, in the words of its file.
    Other(String),
}

impl Kind {
    /// What a file says it is: its class, its kind, its architecture; where it says nothing, what its fields belong to.
    pub fn of(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        if let Some(class) = text("_class_name") {
            return match class {
                "UNet2DConditionModel" => Self::Unet,
                "AutoencoderKL" => Self::Autoencoder,
                other => Self::Other(format!("_class_name {other:?}")),
            };
        }
        let both = ["vision_config", "text_config"]
            .iter()
            .all(|tower| has(tower) || has(&format!("{tower}_dict")));
        let encoder = |family| match both {
            true => Self::Encoder(family),
            false => Self::Tower(family),
        };
        let languages = llama::Family::ALL;
        match text("model_type") {
            Some("clip") => return encoder(Family::Clip),
            Some("siglip" | "siglip2") => return encoder(Family::Siglip),
            Some("clip_vision_model") => return Self::Tower(Family::Clip),
            Some("siglip_vision_model" | "siglip2_vision_model") => {
                return Self::Tower(Family::Siglip);
            }
            Some(kind) if languages.iter().any(|(_, name, _)| *name == kind) => {
                return Self::Language;
            }
            Some(other) => return Self::Other(format!("model_type {other:?}")),
            None => {}
        }
        let architecture = fields.get("architectures").and_then(|names| names.get(0));
        if let Some(class) = architecture.and_then(Value::as_str) {
            let causal = class.strip_suffix("ForCausalLM");
            let language = |begin: &str| languages.iter().any(|(_, _, own)| *own == begin);
            return match class {
                "CLIPModel" => Self::Encoder(Family::Clip),
                "SiglipModel" => Self::Encoder(Family::Siglip),
                "CLIPVisionModel" | "CLIPVisionModelWithProjection" => Self::Tower(Family::Clip),
                "SiglipVisionModel" => Self::Tower(Family::Siglip),
                _ if causal.is_some_and(language) => Self::Language,
                other => Self::Other(format!("architectures {other:?}")),
            };
        }
        if has("block_out_channels") && has("cross_attention_dim") {
            Self::Unet
        } else if has("block_out_channels") && has("latent_channels") {
            Self::Autoencoder
        } else if both {
            Self::Encoder(Family::Clip)
        } else if has("vision_config") || has("patch_size") {
            Self::Tower(Family::Clip)
        } else if has("vocab_size") && has("num_hidden_layers") {
            Self::Language
        } else {
            let nothing = "a configuration without _class_name, model_type and architectures";
            Self::Other(nothing.into())
        }
    }

    /// What is known, for errors.
    pub fn expected() -> String {
        let languages = llama::Family::ALL.map(|(_, name, _)| name).join(", ");
        format!(
            "model_type clip, siglip (or their image towers), {languages}; _class_name UNet2DConditionModel, AutoencoderKL"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_names_is_what_it_is() {
        let kind = |text: &str| Kind::of(&deem_model::published::fields(text).unwrap());
        let unet = r#"{"_class_name": "UNet2DConditionModel", "num_attention_heads": null}"#;
        assert_eq!(kind(unet), Kind::Unet);
        assert_eq!(
            kind(r#"{"_class_name": "AutoencoderKL"}"#),
            Kind::Autoencoder
        );
        let towers = r#""vision_config": {}, "text_config": {}"#;
        assert_eq!(
            kind(&format!(r#"{{"model_type": "siglip", {towers}}}"#)),
            Kind::Encoder(Family::Siglip)
        );
        assert_eq!(
            kind(&format!(r#"{{"model_type": "clip", {towers}}}"#)),
            Kind::Encoder(Family::Clip)
        );
        assert_eq!(
            kind(r#"{"model_type": "clip_vision_model"}"#),
            Kind::Tower(Family::Clip)
        );
        assert_eq!(
            kind(r#"{"architectures": ["Qwen2ForCausalLM"]}"#),
            Kind::Language
        );
        assert_eq!(kind(r#"{"model_type": "granite"}"#), Kind::Language);
        for (text, word) in [
            (r#"{"_class_name": "AutoencoderTiny"}"#, "AutoencoderTiny"),
            (r#"{"model_type": "t5"}"#, "t5"),
            (
                r#"{"architectures": ["LlavaForConditionalGeneration"]}"#,
                "Llava",
            ),
            ("{}", "model_type"),
        ] {
            let Kind::Other(told) = kind(text) else {
                panic!("{text}")
            };
            assert!(told.contains(word), "{told}");
        }
        // Files that name nothing are known by their fields.
        let fields = r#"{"block_out_channels": [8], "latent_channels": 4}"#;
        assert_eq!(kind(fields), Kind::Autoencoder);
        assert_eq!(
            kind(r#"{"vocab_size": 8, "num_hidden_layers": 1}"#),
            Kind::Language
        );
    }
}

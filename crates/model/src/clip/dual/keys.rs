//! Where the parameters of a [`super::DualTowers`] lie in published files.

use crate::clip::config::Family;
use crate::weights::Place;

/// In which layout an encoder of pictures and texts is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DualLayout {
    /// transformers' `CLIPModel` or `SiglipModel`.
    Transformers(Family),
    /// open_clip's `CLIP` or `CustomTextCLIP`.
    OpenClip(OpenClipKeys),
}

/// Where open_clip's towers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenClipKeys {
    /// Kind of the image tower.
    pub image: OpenClipImage,
    /// Whether the text tower's keys begin with `text.`.
    pub custom_text: bool,
    /// Whether the text tower's projection is a layer, and not a bare matrix.
    pub text_layer: bool,
}

/// Kind of open_clip's image tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenClipImage {
    /// Its own `VisionTransformer`.
    Vit,
    /// timm's `VisionTransformer` as SigLIP has it.
    TimmVit,
    /// timm's `ConvNeXt`.
    ConvNext,
}

impl DualLayout {
    /// Where a parameter lies, by its path in the module.
    pub fn place(self, path: &str) -> Place {
        match (path, self) {
            // Some classes publish them without extents.
            ("logit_scale" | "logit_bias", _) => Place::whole(path.to_owned()).whatever_ones(),
            (_, Self::Transformers(family)) => transformers(family, path),
            (_, Self::OpenClip(keys)) => keys.place(path),
        }
    }

    /// The beginnings of keys of which a file with a text tower has at least one.
    pub fn text_keys(self) -> &'static [&'static str] {
        match self {
            Self::Transformers(_) => &["text_model."],
            Self::OpenClip(_) => &["transformer.", "text."],
        }
    }
}

/// Query, key and value, in the order in which they are stored together.
const TOGETHER: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// Of `q_proj.weight` the position among [`TOGETHER`], and `weight`.
fn projection(rest: &str) -> Option<(usize, &str)> {
    let (name, kind) = rest.split_once('.')?;
    let at = TOGETHER.iter().position(|own| *own == name)?;
    Some((at, kind))
}

fn transformers(family: Family, path: &str) -> Place {
    let key = match path {
        "vision_model.visual_projection.weight" => "visual_projection.weight".to_owned(),
        other => match (family, other.strip_prefix("text_model.text_projection.")) {
            (Family::Clip, Some(kind)) => format!("text_projection.{kind}"),
            (Family::Siglip, Some(kind)) => format!("text_model.head.{kind}"),
            (_, None) => other.to_owned(),
        },
    };
    let pooling = "vision_model.head.attention.";
    match key.strip_prefix(pooling).and_then(projection) {
        Some((at, kind)) => Place::part(format!("{pooling}in_proj_{kind}"), at, TOGETHER.len()),
        None => Place::whole(key),
    }
}

impl OpenClipKeys {
    fn place(self, path: &str) -> Place {
        if let Some(rest) = path.strip_prefix("text_model.") {
            let place = self.text(rest);
            let before = if self.custom_text { "text." } else { "" };
            return place.below(before);
        }
        let Some(rest) = path.strip_prefix("vision_model.") else {
            return Place::whole(path.to_owned()); // ConvNeXt's own paths are open_clip's, and so are the constants
        };
        match self.image {
            OpenClipImage::TimmVit => timm_vit(rest).below("visual.trunk."),
            OpenClipImage::Vit | OpenClipImage::ConvNext => vit(rest).below("visual."),
        }
    }

    fn text(self, path: &str) -> Place {
        if let Some(layer) = path.strip_prefix("encoder.layers.") {
            return block(layer);
        }
        match path {
            "embeddings.token_embedding.weight" => Place::whole("token_embedding.weight".into()),
            "embeddings.position_embedding.weight" => Place::whole("positional_embedding".into()),
            "text_projection.weight" if !self.text_layer => {
                Place::whole("text_projection".into()).transposed()
            }
            other => match other.strip_prefix("final_layer_norm.") {
                Some(kind) => Place::whole(format!("ln_final.{kind}")),
                None => Place::whole(other.to_owned()),
            },
        }
    }
}

/// open_clip's own ViT.
fn vit(path: &str) -> Place {
    if let Some(layer) = path.strip_prefix("encoder.layers.") {
        return block(layer);
    }
    let norms = [
        ("pre_layrnorm.", "ln_pre."),
        ("post_layernorm.", "ln_post."),
    ];
    match path {
        "embeddings.class_embedding" => Place::whole("class_embedding".into()),
        "embeddings.patch_embedding.weight" => Place::whole("conv1.weight".into()),
        "embeddings.position_embedding.weight" => Place::whole("positional_embedding".into()),
        "visual_projection.weight" => Place::whole("proj".into()).transposed(),
        other => Place::whole(renamed(other, &norms)),
    }
}

/// A layer of open_clip's own transformers: `3.mlp.fc1.weight`.
fn block(layer: &str) -> Place {
    let (number, rest) = layer.split_once('.').unwrap_or((layer, ""));
    let names = [
        ("layer_norm1.", "ln_1."),
        ("layer_norm2.", "ln_2."),
        ("self_attn.out_proj.", "attn.out_proj."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
    ];
    let place = match rest.strip_prefix("self_attn.").and_then(projection) {
        Some((at, kind)) => Place::part(format!("attn.in_proj_{kind}"), at, TOGETHER.len()),
        None => Place::whole(renamed(rest, &names)),
    };
    place.below(&format!("transformer.resblocks.{number}."))
}

/// timm's ViT with pooling by attention.
fn timm_vit(path: &str) -> Place {
    if let Some(layer) = path.strip_prefix("encoder.layers.") {
        let (number, rest) = layer.split_once('.').unwrap_or((layer, ""));
        let names = [
            ("layer_norm1.", "norm1."),
            ("layer_norm2.", "norm2."),
            ("self_attn.out_proj.", "attn.proj."),
        ];
        let place = match rest.strip_prefix("self_attn.").and_then(projection) {
            Some((at, kind)) => Place::part(format!("attn.qkv.{kind}"), at, TOGETHER.len()),
            None => Place::whole(renamed(rest, &names)),
        };
        return place.below(&format!("blocks.{number}."));
    }
    if let Some((at, kind)) = path.strip_prefix("head.attention.").and_then(projection) {
        return match at {
            0 => Place::whole(format!("attn_pool.q.{kind}")),
            _ => Place::part(format!("attn_pool.kv.{kind}"), at - 1, 2),
        };
    }
    let names = [
        ("embeddings.patch_embedding.", "patch_embed.proj."),
        ("post_layernorm.", "norm."),
        ("head.attention.out_proj.", "attn_pool.proj."),
        ("head.layernorm.", "attn_pool.norm."),
        ("head.mlp.", "attn_pool.mlp."),
    ];
    match path {
        "embeddings.position_embedding.weight" => Place::whole("pos_embed".into()).whatever_ones(),
        "head.probe" => Place::whole("attn_pool.latent".into()),
        other => Place::whole(renamed(other, &names)),
    }
}

/// A path with its beginning replaced.
fn renamed(path: &str, names: &[(&str, &str)]) -> String {
    let found = names.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from)?;
        Some(format!("{to}{rest}"))
    });
    found.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(layout: DualLayout, path: &str) -> String {
        layout.place(path).to_string()
    }

    #[test]
    fn paths_lead_to_published_keys() {
        let siglip = DualLayout::Transformers(Family::Siglip);
        assert_eq!(
            told(siglip, "text_model.text_projection.bias"),
            "text_model.head.bias"
        );
        assert_eq!(
            told(siglip, "vision_model.head.attention.v_proj.bias"),
            "vision_model.head.attention.in_proj_bias (part 3 of 3)"
        );
        let clip = DualLayout::Transformers(Family::Clip);
        assert_eq!(
            told(clip, "text_model.text_projection.weight"),
            "text_projection.weight"
        );
        let keys = OpenClipKeys {
            image: OpenClipImage::Vit,
            custom_text: true,
            text_layer: false,
        };
        let open = DualLayout::OpenClip(keys);
        assert_eq!(
            told(open, "text_model.encoder.layers.11.self_attn.k_proj.weight"),
            "text.transformer.resblocks.11.attn.in_proj_weight (part 2 of 3)"
        );
        assert_eq!(
            told(open, "vision_model.encoder.layers.0.mlp.fc2.bias"),
            "visual.transformer.resblocks.0.mlp.c_proj.bias"
        );
        assert_eq!(
            told(open, "text_model.text_projection.weight"),
            "text.text_projection (transposed)"
        );
        let timm = DualLayout::OpenClip(OpenClipKeys {
            image: OpenClipImage::TimmVit,
            ..keys
        });
        assert_eq!(
            told(timm, "vision_model.head.attention.k_proj.weight"),
            "visual.trunk.attn_pool.kv.weight (part 1 of 2)"
        );
        assert_eq!(told(timm, "logit_scale"), "logit_scale");
    }
}

//! The parts of a [`Deem`](crate::deem::Deem) by the paths of their parameters: what is the encoder, what is
//! frozen, what a checkpoint carries, what only drawing needs. Declared here and nowhere else.

/// A part that training, checkpoints and memory tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// E_V with its pyramid: the encoder that feedback corrects.
    ImageTower,
    /// What follows E_V: positions, R_V, its queries and projections.
    ImageResampler,
    /// D_LLM as it is published.
    LanguageModel,
    /// Gated MMFS blocks between the language model's layers.
    LanguageMmfs,
    /// The head on appended tokens.
    TextDecoder,
    /// What is added to every `<soi>`.
    SoiToken,
    /// R_C, the null condition and the UNet's synchroniser.
    ImageDecoder,
    /// First stage of D_DM.
    Autoencoder,
    /// Second stage of D_DM.
    UNet,
}

/// What only drawing needs: beginnings of paths.
pub const DRAWING: [&str; 3] = [
    Component::UNet.prefix(),
    Component::Autoencoder.prefix(),
    Component::ImageDecoder.prefix(),
];

/// What is published and stays as it is: beginnings of paths, among which only the language model's
/// [`LanguageMmfs`](Component::LanguageMmfs) is trained.
pub const FROZEN: [&str; 3] = [
    Component::LanguageModel.prefix(),
    Component::UNet.prefix(),
    Component::Autoencoder.prefix(),
];

/// Glob over the paths of the whole image encoder, E_V and what follows it.
pub const IMAGE_ENCODER: &str = "image_encoder.*";

/// Occurs in the paths of MMFS blocks.
const MMFS: &str = ".mmfs.";

impl Component {
    /// All of them, in the order of a model's parameters.
    pub const ALL: [Self; 9] = [
        Self::ImageTower,
        Self::ImageResampler,
        Self::LanguageModel,
        Self::LanguageMmfs,
        Self::TextDecoder,
        Self::SoiToken,
        Self::ImageDecoder,
        Self::Autoencoder,
        Self::UNet,
    ];

    /// The component of a parameter of a [`Deem`](crate::deem::Deem); `None` for other paths.
    pub fn of(path: &str) -> Option<Self> {
        let all = Self::ALL.into_iter();
        let fits = all.filter(|component| path.starts_with(component.prefix()));
        // The tower lies within the image encoder: the longest beginning decides.
        let component = fits.max_by_key(|component| component.prefix().len())?;
        Some(match component {
            Self::LanguageModel | Self::LanguageMmfs if path.contains(MMFS) => Self::LanguageMmfs,
            Self::LanguageMmfs => Self::LanguageModel,
            component => component,
        })
    }

    /// Whether a path belongs to it.
    pub fn contains(self, path: &str) -> bool {
        Self::of(path) == Some(self)
    }

    /// With what its parameters' paths begin. The language model and its MMFS blocks share a beginning, and
    /// so do the image tower and what follows it.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ImageTower => "image_encoder.vision.",
            Self::ImageResampler => "image_encoder.",
            Self::LanguageModel | Self::LanguageMmfs => "llama.",
            Self::TextDecoder => "text_decoder.",
            Self::SoiToken => "soi_token",
            Self::ImageDecoder => "image_decoder.",
            Self::Autoencoder => "autoencoder.",
            Self::UNet => "unet.",
        }
    }

    /// Whether published weights fill it and no stage changes them.
    pub fn is_frozen(self) -> bool {
        matches!(self, Self::LanguageModel | Self::Autoencoder | Self::UNet)
    }

    /// Whether it differs from what is published, so that a trained model's checkpoint must carry it.
    pub fn is_carried(self) -> bool {
        !self.is_frozen()
    }

    /// Whether only drawing needs it: answers do without.
    pub fn is_for_drawing(self) -> bool {
        matches!(self, Self::ImageDecoder | Self::Autoencoder | Self::UNet)
    }
}

/// Under which name a parameter of any module is counted in tables: the first name of its path. The image
/// encoder and decoder are named by two, and `llama.mmfs` stands for the MMFS blocks within the language
/// model.
pub fn table_name(path: &str) -> &str {
    let end = |path: &str| path.find('.').unwrap_or(path.len());
    let first = end(path);
    match &path[..first] {
        "llama" if path.contains(MMFS) => "llama.mmfs",
        "image_encoder" | "image_decoder" if first < path.len() => {
            &path[..first + 1 + end(&path[first + 1..])]
        }
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_component() {
        for (path, component) in [
            (
                "image_encoder.vision.visual.trunk.stem.0.weight",
                Component::ImageTower,
            ),
            (
                "image_encoder.resampler.layernorm.bias",
                Component::ImageResampler,
            ),
            ("image_encoder.query_tokens", Component::ImageResampler),
            (
                "llama.model.layers.0.mlp.up_proj.weight",
                Component::LanguageModel,
            ),
            ("llama.model.layers.3.mmfs.gate", Component::LanguageMmfs),
            ("text_decoder.head_new.bias", Component::TextDecoder),
            ("soi_token", Component::SoiToken),
            (
                "image_decoder.synchronizer.mmfs_mid_block.mmfs.output_proj.bias",
                Component::ImageDecoder,
            ),
            ("autoencoder.quant_conv.weight", Component::Autoencoder),
            ("unet.conv_in.weight", Component::UNet),
        ] {
            assert_eq!(Component::of(path), Some(component), "{path}");
        }
        assert_eq!(Component::of("text_encoder.embeddings.weight"), None);
    }

    #[test]
    fn constants_say_what_the_components_say() {
        let beginnings = |of: fn(Component) -> bool| -> Vec<&str> {
            let all = Component::ALL
                .into_iter()
                .filter(|component| of(*component));
            let mut prefixes: Vec<_> = all.map(Component::prefix).collect();
            prefixes.sort();
            prefixes
        };
        let sorted = |mut list: [&'static str; 3]| {
            list.sort();
            list
        };
        assert_eq!(beginnings(Component::is_frozen), sorted(FROZEN));
        assert_eq!(beginnings(Component::is_for_drawing), sorted(DRAWING));
    }

    #[test]
    fn tables_name_the_first_parts_of_paths() {
        for (path, name) in [
            ("image_encoder.vision.visual.head", "image_encoder.vision"),
            (
                "image_decoder.null_condition",
                "image_decoder.null_condition",
            ),
            ("llama.model.layers.3.mmfs.gate", "llama.mmfs"),
            ("llama.lm_head.weight", "llama"),
            ("soi_token", "soi_token"),
            ("text_encoder.final_layer_norm.bias", "text_encoder"),
        ] {
            assert_eq!(table_name(path), name);
        }
    }
}

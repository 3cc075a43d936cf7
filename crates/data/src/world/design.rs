//! Designs of the built-in world: which concepts there are, what each style is for, what captions leave out, how
//! training pictures vary, and what questions are about. Everything else reads it off the design.

use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::corpus::{Style, Subset};
use super::scene::{Phrasing, SceneConfig, WebCaptions};
use super::source::InstructConfig;

/// Name of a design, as configurations write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesignName {
    /// Captions name everything that is there; the design that the stand-ins of `tiny` were made with.
    #[default]
    Categories,
    /// Captions as on the web: they name the main thing and leave out most of the rest.
    Web,
}

impl DesignName {
    /// Whether it is the design that serves unless another is named.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categories => "categories",
            Self::Web => "web",
        }
    }
}

/// What a style is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Casting {
    /// Encoder, language side and diffusion model learn its drawings by name.
    Captioned,
    /// Pictures occur in stage 1 with captions that name nothing; only the diffusion model has them described.
    Web,
    /// No training picture has it.
    NeverSeen,
}

/// A design of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Its name; the rules that split the drawings belong to it.
    pub name: DesignName,
    /// Concepts of the corpus.
    pub concepts: Subset,
    /// Styles of the corpus, in its order, and what each is for.
    pub styles: &'static [(Style, Casting)],
    /// What scenes look like, in training and unless a benchmark asks for something else.
    pub scenes: SceneConfig,
    /// What the captions of the encoder's pre-training and of stage 1 leave out; `None`: they name everything that is
    /// there.
    pub captions: Option<WebCaptions>,
    /// How captions that say everything tell where things are.
    pub phrasing: Phrasing,
    /// Share of stage-1 pictures in web styles, `[0, 1]`.
    pub web_pictures: f32,
    /// How training pictures vary, if they do; not those of the diffusion model, which is to draw things as they are.
    pub augmentation: Option<Augmentation>,
    /// How stage 2 asks about pictures.
    pub instructions: InstructConfig,
    /// Whether styles and concepts that were never trained on are asked about by themselves instead of among the others.
    pub unseen_apart: bool,
}

impl Design {
    /// The design of a name.
    pub fn named(name: DesignName) -> Self {
        match name {
            DesignName::Categories => Self::categories(Subset::Core),
            DesignName::Web => Self::web(),
        }
    }

    /// [`DesignName::Categories`] with all concepts or the core ones.
    pub fn categories(concepts: Subset) -> Self {
        Self {
            name: DesignName::Categories,
            concepts,
            styles: &[
                (Style::Noto, Casting::Captioned),
                (Style::Twemoji, Casting::Captioned),
                (Style::Fluent3d, Casting::NeverSeen),
                (Style::FluentFlat, Casting::NeverSeen),
                (Style::FluentHighContrast, Casting::NeverSeen),
            ],
            scenes: SceneConfig::default(),
            captions: None,
            phrasing: Phrasing::Related,
            web_pictures: 0.0,
            augmentation: None,
            instructions: InstructConfig::default(),
            unseen_apart: false,
        }
    }

    /// [`DesignName::Web`]: four artists by name, one without, one not at all.
    pub fn web() -> Self {
        Self {
            name: DesignName::Web,
            concepts: Subset::Extended,
            styles: &[
                (Style::Noto, Casting::Captioned),
                (Style::Twemoji, Casting::Captioned),
                (Style::Fluent3d, Casting::Web),
                (Style::FluentFlat, Casting::Web),
                (Style::FluentHighContrast, Casting::Web),
                (Style::NotoBlob, Casting::Captioned),
                (Style::Emojione, Casting::Captioned),
                (Style::Fxemoji, Casting::NeverSeen),
            ],
            // No caption says which way a thing looks, and nothing asks: mirrored drawings would be twice the shapes to learn.
            scenes: SceneConfig {
                others: 0.7,
                mirrored: 0.0,
                ..SceneConfig::default()
            },
            captions: Some(WebCaptions::default()),
            phrasing: Phrasing::Placed,
            web_pictures: 0.3,
            augmentation: Some(Augmentation::default()),
            instructions: InstructConfig {
                short: 0.7,
                ..InstructConfig::default()
            },
            unseen_apart: true,
        }
    }

    /// What a style is for; one that the design does not name is never trained on.
    pub fn casting(&self, style: Style) -> Casting {
        let found = self.styles.iter().find(|(named, _)| *named == style);
        found.map_or(Casting::NeverSeen, |(_, casting)| *casting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_read() {
        for name in [DesignName::Categories, DesignName::Web] {
            let written = serde_json::to_string(&name).unwrap();
            assert_eq!(written, format!("\"{}\"", name.name()));
            assert_eq!(Design::named(name).name, name);
        }
        assert!(serde_json::from_str::<DesignName>("\"dense\"").is_err());
    }

    #[test]
    fn styles_that_a_design_does_not_name_are_never_trained_on() {
        let (categories, web) = (Design::categories(Subset::Core), Design::web());
        assert_eq!(categories.casting(Style::Noto), Casting::Captioned);
        assert_eq!(categories.casting(Style::NotoBlob), Casting::NeverSeen);
        assert_eq!(web.casting(Style::NotoBlob), Casting::Captioned);
        assert_eq!(web.casting(Style::FluentFlat), Casting::Web);
        assert_eq!(web.casting(Style::OpenmojiBlack), Casting::NeverSeen);
    }
}

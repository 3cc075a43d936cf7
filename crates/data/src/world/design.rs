//! The design of the built-in world: what each style is for, what captions leave out, how training pictures vary, and what
//! questions are about. Everything else reads it off the design.

use super::augment::Augmentation;
use super::corpus::Style;
use super::scene::{SceneConfig, WebCaptions};
use super::source::InstructConfig;

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
    /// Styles of the corpus, in its order, and what each is for.
    pub styles: &'static [(Style, Casting)],
    /// What scenes look like, in training and unless a benchmark asks for something else.
    pub scenes: SceneConfig,
    /// What the captions of the encoder's pre-training and of stage 1 leave out.
    pub captions: WebCaptions,
    /// Share of stage-1 pictures in web styles, `(0, 1)`.
    pub web_pictures: f32,
    /// How training pictures vary; not those of the diffusion model, which is to draw things as they are.
    pub augmentation: Augmentation,
    /// How stage 2 asks about pictures.
    pub instructions: InstructConfig,
}

impl Default for Design {
    /// Four artists by name, one without, one not at all.
    fn default() -> Self {
        Self {
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
            captions: WebCaptions::default(),
            web_pictures: 0.3,
            augmentation: Augmentation::default(),
            instructions: InstructConfig::default(),
        }
    }
}

impl Design {
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
    fn styles_that_a_design_does_not_name_are_never_trained_on() {
        let design = Design::default();
        assert_eq!(design.casting(Style::NotoBlob), Casting::Captioned);
        assert_eq!(design.casting(Style::FluentFlat), Casting::Web);
        assert_eq!(design.casting(Style::OpenmojiBlack), Casting::NeverSeen);
    }
}

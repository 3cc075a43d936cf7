//! A model ready to be used.

use std::ops::RangeInclusive;

use burn::tensor::{Device, Tensor};
use deem_data::text::TextTokenizer;
use deem_engine::config::ModelSpec;
use deem_engine::evaluate::Runner;
use deem_engine::generate::{
    AdaptOptions, ImageOptions, TextOptions, Watch, adapt, generate_image, restore,
};
use deem_engine::pictures::{from_tensor, to_tensor};
use deem_engine::{Compute, Precision};
use deem_model::deem::{Deem, EncodedImages};
use deem_model::llama::{Llama, LlamaConfig, TextDecoder};
use image::RgbImage;

use crate::{Connection, Conversation, Error, Parts, Picture, Purpose};

/// What the guidance of a drawing may be: published settings end at 20, and far beyond nothing of a picture is left.
pub const GUIDANCE: RangeInclusive<f64> = 0.0..=100.0;

/// A model with everything needed to use it. Copies share their weights.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// use deem::{ImageOptions, Open, Picture, TextOptions};
///
/// let model = Open::preset("tiny").load()?;
/// let picture = Picture::new("grey", image::RgbImage::from_pixel(96, 96, image::Rgb([90, 90, 90])));
/// let pictures = [picture];
///
/// // Which answer is more probable?
/// let scores = model.score("Is there a dog?", &pictures, &["yes", "no"])?;
/// assert_eq!(scores.len(), 2);
///
/// // What did the encoder understand?
/// let few = ImageOptions { steps: 2, guidance: 1.0, ..ImageOptions::default() };
/// let seen = model.restore(&pictures[0], 0.65, &few)?;
/// assert_eq!(seen.dimensions(), (48, 48));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    name: String,
    source: String,
    spec: ModelSpec,
    purpose: Purpose,
    connection: Connection,
    network: Deem,
    tokenizer: TextTokenizer,
    compute: Compute,
}

impl Model {
    /// A model of a network that was [assembled](Parts::assemble) elsewhere, without gradient tracking.
    ///
    /// # Errors
    /// Those of [`Parts::tokenizer`].
    pub fn new(parts: &Parts, network: Deem, compute: Compute) -> Result<Self, Error> {
        let tokenizer = parts.tokenizer()?;
        let made = Self::of_network(parts.name(), parts.spec(), network, tokenizer, compute);
        Ok(Self {
            source: parts.source(),
            purpose: parts.purpose,
            connection: parts.connection(),
            ..made
        })
    }

    /// A model of a network that came from nowhere, as for measurements with random weights.
    pub fn of_network(
        name: &str,
        spec: &ModelSpec,
        network: Deem,
        tokenizer: TextTokenizer,
        compute: Compute,
    ) -> Self {
        let mut network = compute.precision.apply(network);
        if compute.device == Device::flex() && compute.precision == Precision::F32 {
            network = network.prepacked();
        }
        Self {
            name: name.into(),
            source: name.into(),
            spec: spec.clone(),
            purpose: Purpose::Everything,
            connection: Connection::Trained,
            network,
            tokenizer,
            compute,
        }
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its weights came from, in words.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Networks and length.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The same model, for sequences of at most so many tokens.
    #[must_use]
    pub fn with_context(mut self, tokens: usize) -> Self {
        let longest = &mut self.spec.model.llama.max_position_embeddings;
        *longest = tokens.min(*longest);
        self
    }

    /// How much its parts understand of each other.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// The network.
    pub fn network(&self) -> &Deem {
        &self.network
    }

    /// Words to ids.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Where it computes, without gradient tracking.
    pub fn device(&self) -> &Device {
        &self.compute.device
    }

    /// Asks prepared samples, `batch` of them together: what evaluation uses.
    pub fn runner(&self, batch: usize) -> Runner<'_> {
        Runner::new(
            &self.network,
            self.tokenizer.clone(),
            self.spec.model.image_size as u32,
            self.spec.max_tokens,
            batch,
            self.compute.device.clone(),
        )
    }

    /// A conversation that begins.
    pub fn converse(&self) -> Conversation<'_> {
        Conversation::new(self)
    }

    /// A picture of a text.
    ///
    /// # Errors
    /// `NotLoaded` if it was opened for less, `TooLong` if the language model does not read as much text, `Engine` if
    /// the sampler refuses the options.
    ///
    /// ```
    /// # fn main() -> Result<(), deem::Error> {
    /// let model = deem::Open::preset("tiny").load()?;
    /// let few = deem::ImageOptions { steps: 2, ..deem::ImageOptions::default() };
    /// assert_eq!(model.draw("a red fox", &few)?.dimensions(), (48, 48));
    /// # Ok(())
    /// # }
    /// ```
    pub fn draw(&self, text: &str, options: &ImageOptions) -> Result<RgbImage, Error> {
        self.draw_watched(text, options, &mut |_, _| true)
    }

    /// As [`Self::draw`], telling `watch` after each denoising step how many are done, of how many; its `false` stops.
    ///
    /// # Errors
    /// As [`Self::draw`], and `Engine` if it was stopped by that.
    pub fn draw_watched(
        &self,
        text: &str,
        options: &ImageOptions,
        watch: Watch,
    ) -> Result<RgbImage, Error> {
        let tokens = self.drawing_prompt(text)?;
        self.draw_after(&tokens, None, options, watch)
    }

    /// The picture that follows tokens which end in `<soi>`.
    pub(crate) fn draw_after(
        &self,
        tokens: &[i64],
        encoded: Option<&EncodedImages>,
        options: &ImageOptions,
        watch: Watch,
    ) -> Result<RgbImage, Error> {
        self.for_everything("drawing")?;
        check_drawing(options)?;
        self.check_length(tokens.len(), 0)?;
        let pixels = generate_image(&self.network, tokens, encoded, options, watch)?;
        Ok(from_tensor(pixels).remove(0))
    }

    /// The tokens after which the model is to draw a text.
    ///
    /// # Errors
    /// `Data` if the tokenizer refuses the text.
    pub fn drawing_prompt(&self, text: &str) -> Result<Vec<i64>, Error> {
        let special = self.tokenizer.special();
        let words = self.tokenizer.encode(text)?;
        let tokens = [&[special.bos][..], &words, &[special.soi]].concat();
        Ok(tokens.into_iter().map(i64::from).collect())
    }

    /// What the encoder understood of a picture, drawn by the diffusion model from the picture with a share
    /// `strength` of noise (1: from noise alone).
    ///
    /// # Errors
    /// `NotLoaded` if it was opened for less, `Option` for a strength outside (0, 1], `Engine` if the sampler
    /// refuses the options.
    pub fn restore(
        &self,
        picture: &Picture,
        strength: f64,
        options: &ImageOptions,
    ) -> Result<RgbImage, Error> {
        self.restore_watched(picture, strength, options, &mut |_, _| true)
    }

    /// As [`Self::restore`], watched as in [`Self::draw_watched`].
    ///
    /// # Errors
    /// As [`Self::restore`], and `Engine` if it was stopped.
    pub fn restore_watched(
        &self,
        picture: &Picture,
        strength: f64,
        options: &ImageOptions,
        watch: Watch,
    ) -> Result<RgbImage, Error> {
        self.for_everything("restoring")?;
        check_drawing(options)?;
        if !(0.0..=1.0).contains(&strength) {
            return Err(Error::Option {
                option: "strength",
                expected: "a number from 0 to 1",
                found: strength.to_string(),
            });
        }
        let target = self.view(picture, self.spec.model.diffusion_size)?;
        let encoded = self.encode(picture)?;
        let pixels = restore(&self.network, &encoded, target, strength, options, watch)?;
        Ok(from_tensor(pixels).remove(0))
    }

    /// A copy whose encoder has adapted to a picture by feedback (test-time adaptation); this model stays as it
    /// is.
    ///
    /// # Errors
    /// `NotLoaded` if it was opened for less.
    ///
    /// ```
    /// # fn main() -> Result<(), deem::Error> {
    /// let model = deem::Open::preset("tiny").load()?;
    /// let picture = deem::Picture::new("black", image::RgbImage::new(96, 96));
    /// let one = deem::AdaptOptions { steps: 1, timesteps: 1, ..deem::AdaptOptions::default() };
    /// let adapted = model.adapted(&picture, &one)?;
    /// assert_eq!(adapted.source(), model.source());
    /// # Ok(())
    /// # }
    /// ```
    pub fn adapted(&self, picture: &Picture, options: &AdaptOptions) -> Result<Self, Error> {
        self.for_everything("adapting")?;
        let seen = self.view(picture, self.spec.model.image_size)?;
        let target = self.view(picture, self.spec.model.diffusion_size)?;
        // The language model neither adapts nor is asked, and stays as it is.
        let none = LlamaConfig {
            vocab_size: 1,
            num_hidden_layers: 0,
            ..self.spec.model.llama.clone()
        };
        let mut seeing = self.network.clone();
        seeing.llama = Llama::new(&none, None, self.device());
        seeing.text_decoder = TextDecoder::new(none.hidden_size, 1, self.device());
        let mut adapted = self.clone();
        adapted.network.image_encoder = adapt(&seeing, seen, target, options)?.image_encoder;
        Ok(adapted)
    }

    /// `NotLoaded` if the model was opened for text alone.
    pub(crate) fn for_answers(&self, asked: &'static str) -> Result<(), Error> {
        self.opened_for(Purpose::Answers, asked)
    }

    fn for_everything(&self, asked: &'static str) -> Result<(), Error> {
        self.opened_for(Purpose::Everything, asked)
    }

    fn opened_for(&self, needs: Purpose, asked: &'static str) -> Result<(), Error> {
        if self.purpose >= needs {
            return Ok(());
        }
        Err(Error::NotLoaded {
            asked,
            needs: needs.name(),
            opened: self.purpose.name(),
        })
    }

    /// The centre square of a picture: `[1, 3, side, side]`.
    fn view(&self, picture: &Picture, side: usize) -> Result<Tensor<4>, Error> {
        let pixels = std::slice::from_ref(picture.pixels());
        Ok(to_tensor(pixels, side, &self.compute.device)?)
    }
}

/// `Option` for numbers that no answer can have.
pub(crate) fn check_text(options: &TextOptions) -> Result<(), Error> {
    for (option, value) in [
        ("max_new_tokens", options.max_new_tokens),
        ("beams", options.beams),
    ] {
        if value == 0 {
            return Err(Error::Option {
                option,
                expected: "at least 1",
                found: "0".into(),
            });
        }
    }
    Ok(())
}

fn check_drawing(options: &ImageOptions) -> Result<(), Error> {
    if GUIDANCE.contains(&options.guidance) {
        return Ok(());
    }
    Err(Error::Option {
        option: "guidance",
        expected: "a number from 0 to 100",
        found: options.guidance.to_string(),
    })
}

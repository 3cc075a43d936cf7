//! Answers of a model: to a question, to a conversation, and how probable given ones are.

use burn::tensor::{Tensor, TensorData};
use deem_data::IGNORED;
use deem_engine::generate::{TextOptions, generate_text, log_likelihoods};
use deem_engine::pictures::{centre_view, planes};
use deem_model::deem::EncodedImages;

use crate::model::check_text;
use crate::{AnswerOptions, Dialogue, Error, Exchange, Model, Picture};

/// How probable a given answer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likely {
    /// Summed log-probability in nats, the end of the answer included.
    pub log_probability: f64,
    /// Tokens of the answer, its end included.
    pub tokens: usize,
}

impl Model {
    /// The answer to a question, usually about pictures, of which each may have a region. Without one, the
    /// language model answers alone.
    ///
    /// # Errors
    /// `NotLoaded` if it was opened for text alone and there are pictures, `TooLong` or `Data` if it does not
    /// fit.
    pub fn ask(
        &self,
        question: &str,
        pictures: &[Picture],
        options: &TextOptions,
    ) -> Result<String, Error> {
        self.answer(&about(question, pictures), options, &mut |_| {})
    }

    /// How probable each of some answers to a question is as a whole: log-probabilities in nats, in their
    /// order.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn score(
        &self,
        question: &str,
        pictures: &[Picture],
        answers: &[&str],
    ) -> Result<Vec<f64>, Error> {
        let likely = self.likelihoods(&about(question, pictures), answers)?;
        Ok(likely.iter().map(|likely| likely.log_probability).collect())
    }

    /// The answer to the last question of a conversation; without beam search `on_piece` gets its pieces as they
    /// come, which together are the answer.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn answer(
        &self,
        dialogue: &Dialogue,
        options: &TextOptions,
        on_piece: &mut dyn FnMut(&str),
    ) -> Result<String, Error> {
        check_text(options)?;
        let tokens = self.prompt(dialogue)?;
        self.check_length(tokens.len(), options.max_new_tokens)?;
        let pictures = self.encode_each(dialogue)?;
        if options.beams > 1 {
            return self.best_beam(&tokens, pictures, options);
        }
        let chosen = AnswerOptions {
            max_tokens: Some(options.max_new_tokens),
            ceiling: options.max_new_tokens,
            min_tokens: options.min_new_tokens,
            sampling: options.sampling,
            stop: Vec::new(),
            top: None,
        };
        let mut answering = self.growing(tokens, pictures, chosen, true)?;
        let mut answer = String::new();
        loop {
            answering.read(self, usize::MAX);
            let said = answering.begin(self)?;
            if !said.text.is_empty() {
                on_piece(&said.text);
                answer.push_str(&said.text);
            }
            if said.end.is_some() {
                return Ok(answer.trim().to_owned());
            }
        }
    }

    /// The best answer that beam search finds.
    fn best_beam(
        &self,
        prompt: &[i64],
        pictures: Vec<EncodedImages>,
        options: &TextOptions,
    ) -> Result<String, Error> {
        let (network, tokenizer) = (self.network(), self.tokenizer());
        let encoded = EncodedImages::cat(pictures);
        let prompt = network.layout(prompt, 1);
        let answers = generate_text(network, Some(tokenizer), &prompt, encoded.as_ref(), options);
        let text = self.tokenizer().decode(&answers[0].tokens)?;
        Ok(text.trim().to_owned())
    }

    /// How probable each of some answers to the last question of a conversation is, in their order.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn likelihoods(&self, dialogue: &Dialogue, answers: &[&str]) -> Result<Vec<Likely>, Error> {
        let prompt = self.prompt(dialogue)?;
        let special = self.tokenizer().special();
        let mut given = Vec::with_capacity(answers.len());
        for text in answers {
            let mut tokens = self.tokenizer().encode(&format!(" {text}"))?;
            tokens.push(special.eos);
            self.check_length(prompt.len(), tokens.len())?;
            given.push(tokens);
        }
        let Some(longest) = given.iter().map(Vec::len).max() else {
            return Ok(Vec::new());
        };
        let (mut tokens, mut labels) = (Vec::new(), Vec::new());
        for given in &given {
            let padding = longest - given.len();
            let given = given.iter().map(|token| i64::from(*token));
            tokens.extend(std::iter::repeat_n(i64::from(special.pad), padding));
            tokens.extend(&prompt);
            tokens.extend(given.clone());
            labels.extend(std::iter::repeat_n(IGNORED, padding + prompt.len()));
            labels.extend(given);
        }
        let layout = self.network().layout(&tokens, given.len());
        let pictures = self.encode_each(dialogue)?;
        let rows: Vec<usize> = (0..pictures.len()).collect();
        let rows = rows.repeat(given.len());
        let encoded = EncodedImages::cat(pictures).map(|encoded| encoded.select(&rows));
        let device = self.device();
        let sums = log_likelihoods(self.network(), &layout, encoded.as_ref(), &labels, device);
        let likely = sums.into_iter().zip(&given).map(|(sum, given)| Likely {
            log_probability: sum,
            tokens: given.len(),
        });
        Ok(likely.collect())
    }

    /// The tokens of a conversation, up to where the model is to answer.
    ///
    /// # Errors
    /// `Data` if the tokenizer or its chat template refuses it.
    pub fn prompt(&self, dialogue: &Dialogue) -> Result<Vec<i64>, Error> {
        let script = dialogue.script();
        let system = dialogue.system.as_deref();
        let queries = self.network().queries();
        let tokens = self.tokenizer().conversation(system, &script, queries)?;
        Ok(tokens.into_iter().map(i64::from).collect())
    }

    /// What the encoder understands of a picture, or of its region.
    ///
    /// # Errors
    /// `NotLoaded` if the model was opened for text alone, `Data` for a picture without pixels.
    pub fn encode(&self, picture: &Picture) -> Result<EncodedImages, Error> {
        self.for_answers("looking at a picture")?;
        let side = self.spec().model.image_size;
        let sample = picture.sample();
        let seen = centre_view(&sample.id, &sample.image, sample.mask.as_ref(), side)?;
        let mask = seen.mask.map(|mask| {
            let mask = TensorData::new(mask, [1, side, side]);
            Tensor::from_data(mask, self.device())
        });
        let pixels = planes(seen.encoder, side, self.device());
        Ok(self.network().encode_images(pixels, mask))
    }

    /// `TooLong` if a prompt and its answer are longer than the language model can read.
    pub(crate) fn check_length(&self, tokens: usize, answer: usize) -> Result<(), Error> {
        let limit = self.spec().model.llama.max_position_embeddings;
        if tokens + answer <= limit {
            return Ok(());
        }
        Err(Error::TooLong {
            tokens,
            answer,
            limit,
        })
    }

    fn encode_each(&self, dialogue: &Dialogue) -> Result<Vec<EncodedImages>, Error> {
        let pictures = dialogue.pictures();
        pictures.map(|picture| self.encode(picture)).collect()
    }
}

/// A conversation of one question.
fn about(question: &str, pictures: &[Picture]) -> Dialogue {
    let exchange = Exchange {
        pictures: pictures.to_vec(),
        ..Exchange::question(question)
    };
    Dialogue {
        system: None,
        turns: vec![exchange],
    }
}

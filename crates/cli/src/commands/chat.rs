//! `deem chat`: interleaved text and pictures in the terminal.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::Result;
use burn::tensor::Tensor;
use deem_data::SampleImage;
use deem_engine::generate::{Sampling, TextOptions, generate_image, generate_text};

use super::session::{
    Session, StandInChoice, image_options, read_picture, to_picture, write_picture,
};
use crate::args::Chat;

const HELP: &str =
    "/image FILE adds a picture, /draw TEXT draws one, /reset starts over, /quit ends";

/// Runs the command.
pub fn run(standins: &StandInChoice, args: &Chat) -> Result<()> {
    let session = Session::open(standins, &args.model)?;
    let mut talk = Talk::new(&session);
    eprintln!("{HELP}");
    let mut drawn = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("", _) => {}
            ("/quit", _) => break,
            ("/help", _) => eprintln!("{HELP}"),
            ("/reset", _) => talk = Talk::new(&session),
            ("/image", file) => match read_picture(Path::new(file.trim()), None, &args.model) {
                Ok(picture) => talk.show(&picture)?,
                Err(error) => eprintln!("{error:#}"),
            },
            ("/draw", text) => {
                drawn += 1;
                let path = args.images.join(format!("deem-{drawn}.png"));
                let picture = talk.draw(text, args)?;
                write_picture(&to_picture(picture), &path)?;
                println!("[{}]", path.display());
            }
            _ => println!("{}", talk.say(&line)?),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A conversation: tokens so far and the pictures in them.
struct Talk<'a> {
    session: &'a Session,
    tokens: Vec<i64>,
    pixels: Option<Tensor<4>>,
    pending: usize,
}

impl<'a> Talk<'a> {
    fn new(session: &'a Session) -> Self {
        let bos = session.tokenizer.special().bos;
        Self {
            session,
            tokens: vec![bos.into()],
            pixels: None,
            pending: 0,
        }
    }

    /// Adds a picture in front of what is said next.
    fn show(&mut self, picture: &SampleImage) -> Result<()> {
        let view = self
            .session
            .view(picture, self.session.preset.model.image_size)?;
        self.pixels = Some(match self.pixels.take() {
            Some(before) => Tensor::cat(vec![before, view], 0),
            None => view,
        });
        self.pending += 1;
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<String> {
        self.ask(text)?;
        let encoded = self
            .pixels
            .clone()
            .map(|p| self.session.model.encode_images(p, None));
        let options = TextOptions {
            max_new_tokens: 32,
            min_new_tokens: 1,
            beams: 1,
            sampling: Sampling::Greedy,
        };
        let model = &self.session.model;
        let answer = generate_text(model, &self.tokens, 1, encoded.as_ref(), &options).remove(0);
        let soi = self.session.tokenizer.special().soi;
        let words: Vec<u32> = answer.tokens.into_iter().filter(|t| *t != soi).collect();
        self.tokens.extend(words.iter().map(|t| i64::from(*t)));
        self.tokens
            .push(self.session.tokenizer.special().eos.into());
        Ok(self.session.tokenizer.decode(&words)?.trim().to_owned())
    }

    /// A picture of a text.
    fn draw(&self, text: &str, args: &Chat) -> Result<Tensor<4>> {
        let tokens = self.session.drawing_prompt(text)?;
        let options = image_options(&args.drawing);
        Ok(generate_image(
            &self.session.model,
            &tokens,
            None,
            &options,
        )?)
    }

    /// Appends a user's turn, up to where the model is to answer.
    fn ask(&mut self, text: &str) -> Result<()> {
        use deem_data::Segment;
        let images: Vec<usize> = (0..self.pending).collect();
        self.pending = 0;
        let first = self.tokens.len() == 1;
        for segment in deem_data::text::dialogue_prompt(first, &images, text) {
            match segment {
                Segment::Text { text, .. } => {
                    let words = self.session.tokenizer.encode(&text)?;
                    self.tokens.extend(words.into_iter().map(i64::from));
                }
                Segment::Image { .. } => {
                    let special = self.session.tokenizer.special();
                    self.tokens.push(special.soi.into());
                    let queries = self.session.model.queries();
                    let placeholder = i64::from(special.image);
                    self.tokens
                        .extend(std::iter::repeat_n(placeholder, queries));
                }
                Segment::Bos | Segment::Eos { .. } => {}
            }
        }
        Ok(())
    }
}

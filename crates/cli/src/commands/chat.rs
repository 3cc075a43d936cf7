//! `deem chat`: interleaved text and pictures in the terminal.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::Result;
use burn::tensor::Tensor;
use deem_engine::generate::generate_image;

use super::session::{Session, image_options, read_picture, to_picture, write_picture};
use super::setup::Setup;
use super::talk::{Talk, text_options};
use crate::args::Chat;

const HELP: &str =
    "/image FILE adds a picture, /draw TEXT draws one, /reset starts over, /quit ends";

/// Runs the command.
pub fn run(standins: &Setup, args: &Chat) -> Result<()> {
    let session = Session::open(standins, &args.model)?;
    let options = text_options(args.max_new_tokens, 1);
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
                let picture = draw(&session, text, args)?;
                write_picture(&to_picture(picture), &path)?;
                println!("[{}]", path.display());
            }
            _ => {
                if let Err(error) = talk.say_aloud(&line, &options) {
                    eprintln!("{error:#}");
                }
            }
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A picture of a text.
fn draw(session: &Session, text: &str, args: &Chat) -> Result<Tensor<4>> {
    let tokens = session.drawing_prompt(text)?;
    let options = image_options(&args.drawing);
    Ok(generate_image(&session.model, &tokens, None, &options)?)
}

//! `deem chat`: interleaved text and pictures in the terminal.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::Result;
use deem::{Purpose, TextOptions, write_picture};

use super::ask::say_aloud;
use super::setup::{Setup, read_picture};
use crate::args::Chat;

const HELP: &str =
    "/image FILE adds a picture, /draw TEXT draws one, /reset starts over, /quit ends";

/// Runs the command.
pub fn run(setup: &Setup, args: &Chat) -> Result<()> {
    let model = setup.load(&args.model, Purpose::Everything)?;
    let options = TextOptions::longest(args.max_new_tokens);
    let mut conversation = model.converse();
    eprintln!("{HELP}");
    let mut drawn = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("", _) => {}
            ("/quit", _) => break,
            ("/help", _) => eprintln!("{HELP}"),
            ("/reset", _) => conversation = model.converse(),
            ("/image", file) => match read_picture(Path::new(file.trim()), None, &args.model) {
                Ok(picture) => conversation.show(&picture)?,
                Err(error) => eprintln!("{error:#}"),
            },
            ("/draw", text) => {
                drawn += 1;
                let path = args.images.join(format!("deem-{drawn}.png"));
                write_picture(&model.draw(text, &args.drawing.options())?, &path)?;
                println!("[{}]", path.display());
            }
            _ => {
                if let Err(error) = say_aloud(&mut conversation, &line, &options) {
                    eprintln!("{error:#}");
                }
            }
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

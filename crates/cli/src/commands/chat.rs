//! `deem chat`: interleaved text and pictures in the terminal.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem::{Conversation, Model, Purpose, TextOptions, write_picture};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::ask::say_aloud;
use super::generate::GUIDANCE;
use super::pictures::read_picture;
use super::setup::Setup;
use crate::args::Chat;
use crate::progress::drawing;

const HELP: &str = "/image FILE adds a picture to what you say next\n\
                    /draw TEXT draws one\n\
                    /reset starts over\n\
                    /help shows this\n\
                    /quit ends";

/// Runs the command.
pub fn run(setup: &Setup, args: &Chat) -> Result<()> {
    if !args.images.is_dir() {
        bail!(
            "--images {}: not a folder; create it first",
            args.images.display()
        );
    }
    let model = setup.load(&args.model, Purpose::Everything)?;
    let mut talk = Talk {
        conversation: model.converse(),
        model: &model,
        args,
    };
    let mut lines = Lines::new()?;
    eprintln!("{HELP}");
    while let Some(line) = lines.next()? {
        match talk.answer(line.trim()) {
            Ok(true) => {}
            Ok(false) => break,
            // One failure does not end a conversation.
            Err(error) => eprintln!("error: {error:#}"),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Talk<'a> {
    model: &'a Model,
    conversation: Conversation<'a>,
    args: &'a Chat,
}

impl Talk<'_> {
    /// Does what a line says; false if that is to end.
    fn answer(&mut self, line: &str) -> Result<bool> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match command {
            "" => {}
            "/quit" | "/exit" => return Ok(false),
            "/help" => eprintln!("{HELP}"),
            "/reset" => self.conversation = self.model.converse(),
            "/image" => {
                let path = path(rest)?;
                let picture = read_picture(&path, None, &self.args.reading, &self.args.model)?;
                self.conversation.show(&picture)?;
                let (width, height) = picture.pixels().dimensions();
                eprintln!(
                    "{}: {width}x{height}, added to what you say next",
                    path.display()
                );
            }
            "/draw" if rest.trim().is_empty() => bail!("/draw what?"),
            "/draw" => {
                let path = fresh(&self.args.images);
                let options = self.args.drawing.options(GUIDANCE);
                let picture = self
                    .model
                    .draw_watched(rest.trim(), &options, &mut drawing())?;
                write_picture(&picture, &path)?;
                println!("[{}]", path.display());
            }
            unknown if unknown.starts_with('/') => {
                bail!("{unknown}: no command; /help lists them")
            }
            _ => {
                let options = TextOptions::longest(self.args.max_new_tokens);
                say_aloud(&mut self.conversation, line, &options)?;
            }
        }
        Ok(true)
    }
}

/// A path as people type or drop it: in quotes, or from their home folder on.
fn path(text: &str) -> Result<PathBuf> {
    let text = text.trim();
    let bare = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let text = bare('"').or_else(|| bare('\'')).unwrap_or(text);
    if text.is_empty() {
        bail!("/image which file?");
    }
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        _ => Ok(text.into()),
    }
}

/// A name that no picture in the folder has.
fn fresh(folder: &Path) -> PathBuf {
    let mut names = (1..).map(|number: u64| folder.join(format!("deem-{number}.png")));
    names.find(|path| !path.exists()).expect("names never end")
}

/// Lines of a terminal, with editing and history, or of a file.
enum Lines {
    Terminal(Box<DefaultEditor>),
    File(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Lines {
    fn new() -> Result<Self> {
        if std::io::stdin().is_terminal() {
            let editor = DefaultEditor::new().context("the terminal")?;
            return Ok(Self::Terminal(Box::new(editor)));
        }
        Ok(Self::File(std::io::stdin().lines()))
    }

    fn next(&mut self) -> Result<Option<String>> {
        match self {
            Self::File(lines) => Ok(lines.next().transpose()?),
            Self::Terminal(editor) => match editor.readline("> ") {
                Ok(line) => {
                    editor.add_history_entry(&line)?;
                    Ok(Some(line))
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_people_type_them() {
        assert_eq!(path(" a b.png ").unwrap(), Path::new("a b.png"));
        assert_eq!(path("\"a b.png\"").unwrap(), Path::new("a b.png"));
        assert_eq!(path("'c.png'").unwrap(), Path::new("c.png"));
        assert!(path("~/x.png").unwrap().is_absolute());
        assert!(path("  ").is_err());
    }

    #[test]
    fn drawn_pictures_replace_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fresh(folder.path()).ends_with("deem-1.png"));
        std::fs::write(folder.path().join("deem-1.png"), "").unwrap();
        assert!(fresh(folder.path()).ends_with("deem-2.png"));
    }
}

//! `deem ask`: a question, usually about pictures; or many of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem::{AdaptOptions, Conversation, Model, Purpose, TextOptions};
use deem_data::text::protocol::REGION_REQUEST;
use serde_json::{Value, json};

use super::pictures::read_picture;
use super::setup::Setup;
use crate::args::Ask;
use crate::output;

mod batch;

/// Tokens of an answer at most, unless the user says otherwise: about a picture, and without one.
const MAX_NEW_TOKENS: [usize; 2] = [24, 256];

/// Runs the command.
pub fn run(setup: &Setup, args: &Ask) -> Result<()> {
    if let Some(file) = &args.batch {
        return batch::run(setup, args, file);
    }
    let (pictures, question) = understood(&args.words, args.mask.is_some())?;
    if pictures.is_empty() {
        return alone(setup, args, &question);
    }
    if (args.mask.is_some() || args.tta) && pictures.len() > 1 {
        bail!(
            "--mask and --tta concern one picture, there are {}",
            pictures.len()
        );
    }
    let mut read = Vec::new();
    for picture in &pictures {
        let mask = args.mask.as_deref().map(|mask| (mask, args.mask_id));
        read.push(read_picture(picture, mask, &args.reading, &args.model)?);
    }
    let model = if args.tta {
        let adapt = AdaptOptions {
            steps: args.tta_steps,
            ..AdaptOptions::default()
        };
        setup
            .load(&args.model, Purpose::Everything)?
            .adapted(&read[0], &adapt)?
    } else {
        setup.load(&args.model, Purpose::Answers)?
    };
    let answer = model.ask(&question, &read, &options(args, true))?;
    if args.json {
        println!("{}", line(&pictures, &question, &answer, &model));
    } else {
        println!("{answer}");
    }
    Ok(())
}

/// A question without a picture.
fn alone(setup: &Setup, args: &Ask, question: &str) -> Result<()> {
    if args.mask.is_some() || args.tta {
        bail!("--mask and --tta need a picture");
    }
    let options = options(args, false);
    let model = setup.load(&args.model, Purpose::Text)?;
    let mut conversation = model.converse();
    if !args.json {
        return say_aloud(&mut conversation, question, &options);
    }
    let answer = conversation.say(question, &options, &mut |_| {})?;
    println!("{}", line(&[], question, &answer, &model));
    Ok(())
}

fn options(args: &Ask, pictures: bool) -> TextOptions {
    let longest = MAX_NEW_TOKENS[usize::from(!pictures)];
    TextOptions {
        beams: args.beams,
        ..TextOptions::longest(args.max_new_tokens.unwrap_or(longest))
    }
}

/// Question and answer for machines.
fn line(pictures: &[PathBuf], question: &str, answer: &str, model: &Model) -> Value {
    let names: Vec<String> = pictures
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let image = match names.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    };
    json!({ "image": image, "question": question, "answer": answer, "model": model.source() })
}

/// Which of the words are pictures, and which is the question.
fn understood(words: &[OsString], region: bool) -> Result<(Vec<PathBuf>, String)> {
    let is_file = |word: &OsString| word == "-" || Path::new(word).is_file();
    // What looks like a picture's name is a file that is not there, not a question.
    let is_name = |word: &OsString| {
        let text = word.to_string_lossy();
        let ending = Path::new(word)
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        let known =
            ending.is_some_and(|ending| image::ImageFormat::from_extension(ending).is_some());
        known && !text.contains(char::is_whitespace)
    };
    let mut pictures: Vec<PathBuf> = words
        .iter()
        .filter(|word| is_file(word))
        .map(PathBuf::from)
        .collect();
    let mut others: Vec<&OsString> = words.iter().filter(|word| !is_file(word)).collect();
    if others.len() > 1 || (region && others.len() == 1) {
        pictures.extend(
            others
                .iter()
                .filter(|word| is_name(word))
                .map(PathBuf::from),
        );
        others.retain(|word| !is_name(word));
    }
    let question = match others.as_slice() {
        [name] if is_name(name) => bail!(
            "{}: not there; expected a picture and a question in quotes",
            Path::new(name).display()
        ),
        [question] => question
            .to_str()
            .with_context(|| format!("{question:?}: a question has to be UTF-8"))?,
        [] if region => REGION_REQUEST,
        [] => bail!("where is the question? {words:?} are files"),
        several => bail!(
            "expected one question, found {several:?}; put it in quotes, and check the pictures' names"
        ),
    };
    if question.trim().is_empty() {
        bail!("the question is empty");
    }
    Ok((pictures, question.to_owned()))
}

/// Says something, and prints the answer while it comes.
pub fn say_aloud(conversation: &mut Conversation, text: &str, options: &TextOptions) -> Result<()> {
    let mut told = String::new();
    let answer = conversation.say(text, options, &mut |piece| {
        output::piece(piece);
        told.push_str(piece);
    })?;
    match answer.strip_prefix(told.trim_end()) {
        Some(rest) => println!("{rest}"),
        None => println!("\n{answer}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str], region: bool) -> Result<(Vec<String>, String), String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let found = understood(&words, region).map_err(|error| error.to_string())?;
        let names = found.0.iter().map(|path| path.display().to_string());
        Ok((names.collect(), found.1))
    }

    #[test]
    fn pictures_and_question_in_any_order() {
        let here = "Cargo.toml"; // a file that is there
        for order in [[here, "why?"], ["why?", here]] {
            assert_eq!(words(&order, false), Ok((vec![here.into()], "why?".into())));
        }
        assert_eq!(words(&["-", "why?", here], false).unwrap().0, ["-", here]);
        assert_eq!(words(&["why?"], false), Ok((vec![], "why?".into())));
        assert_eq!(words(&["gone.png", "why?"], false).unwrap().0, ["gone.png"]);
        assert_eq!(words(&[here], true).unwrap().1, REGION_REQUEST);
        assert_eq!(words(&["gone.png"], true).unwrap().0, ["gone.png"]);
        assert!(
            words(&[here], false)
                .unwrap_err()
                .contains("where is the question")
        );
        assert!(
            words(&[here, "how", "many"], false)
                .unwrap_err()
                .contains("quotes")
        );
        assert!(words(&[here, " "], false).unwrap_err().contains("empty"));
        for gone in [&["gone.jpg"][..], &[here, "gone.jpg"]] {
            let error = words(gone, false).unwrap_err();
            assert!(error.contains("gone.jpg: not there"), "{error}");
        }
        let question = "What is in cat.jpg";
        assert_eq!(words(&[question], false).unwrap().1, question);
    }
}

//! `deem ask`: a question, usually about a picture.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use deem::{AdaptOptions, Conversation, Purpose, TextOptions};

use super::setup::{Setup, read_picture};
use crate::args::Ask;

/// Tokens of an answer at most, unless the user says otherwise: about a picture, and without one.
const MAX_NEW_TOKENS: [usize; 2] = [24, 256];

/// Runs the command.
pub fn run(setup: &Setup, args: &Ask) -> Result<()> {
    let options = |longest: usize| TextOptions {
        beams: args.beams,
        ..TextOptions::longest(args.max_new_tokens.unwrap_or(longest))
    };
    let (answer, source) = match &args.image {
        Some(image) => about(setup, args, image, &options(MAX_NEW_TOKENS[0]))?,
        None => {
            let options = options(MAX_NEW_TOKENS[1]);
            let model = setup.load(&args.model, Purpose::Text)?;
            let mut conversation = model.converse();
            if !args.json {
                return say_aloud(&mut conversation, &args.question, &options);
            }
            let answer = conversation.say(&args.question, &options, &mut |_| {})?;
            (answer, model.source().to_owned())
        }
    };
    if args.json {
        let line = serde_json::json!({
            "image": args.image,
            "question": args.question,
            "answer": answer,
            "model": source,
        });
        println!("{line}");
    } else {
        println!("{answer}");
    }
    Ok(())
}

/// The answer to a question about a picture, and where the model came from.
fn about(
    setup: &Setup,
    args: &Ask,
    image: &Path,
    options: &TextOptions,
) -> Result<(String, String)> {
    let picture = read_picture(image, args.mask.as_deref(), &args.model)?;
    let model = if args.tta {
        let adapt = AdaptOptions {
            steps: args.tta_steps,
            ..AdaptOptions::default()
        };
        setup
            .load(&args.model, Purpose::Everything)?
            .adapted(&picture, &adapt)?
    } else {
        setup.load(&args.model, Purpose::Answers)?
    };
    let answer = model.ask(&args.question, &[picture], options)?;
    Ok((answer, model.source().to_owned()))
}

/// Says something, and prints the answer while it comes.
pub fn say_aloud(conversation: &mut Conversation, text: &str, options: &TextOptions) -> Result<()> {
    let mut told = String::new();
    let answer = conversation.say(text, options, &mut |piece| {
        print!("{piece}");
        // Whoever does not listen loses nothing but this.
        let _ = std::io::stdout().flush();
        told.push_str(piece);
    })?;
    match answer.strip_prefix(told.trim_end()) {
        Some(rest) => println!("{rest}"),
        None => println!("\n{answer}"),
    }
    Ok(())
}

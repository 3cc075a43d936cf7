//! `deem ask`: a question, usually about a picture.

use std::path::Path;

use anyhow::Result;
use deem_data::Sample;
use deem_data::text::question_prompt;

use super::session::{Session, read_picture};
use super::setup::Setup;
use super::talk::{Talk, text_options};
use crate::args::Ask;

/// Tokens of an answer at most, unless the user says otherwise: about a picture, and without one.
const MAX_NEW_TOKENS: [usize; 2] = [24, 256];

/// Runs the command.
pub fn run(standins: &Setup, args: &Ask) -> Result<()> {
    let (answer, source) = match &args.image {
        Some(image) => about(standins, args, image)?,
        None => {
            let session = Session::open_text(standins, &args.model)?;
            let longest = args.max_new_tokens.unwrap_or(MAX_NEW_TOKENS[1]);
            let options = text_options(longest, args.beams);
            let mut talk = Talk::new(&session);
            if !args.json {
                return talk.say_aloud(&args.question, &options);
            }
            let answer = talk.say(&args.question, &options, &mut |_| {})?;
            (answer, session.source)
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
fn about(standins: &Setup, args: &Ask, image: &Path) -> Result<(String, String)> {
    let picture = read_picture(image, args.mask.as_deref(), &args.model)?;
    let session = if args.tta {
        let mut session = Session::open(standins, &args.model)?;
        session.adapt(&picture, args.tta_steps)?;
        session
    } else {
        Session::open_reader(standins, &args.model)?
    };
    let longest = args.max_new_tokens.unwrap_or(MAX_NEW_TOKENS[0]);
    let sample = Sample {
        id: "ask".into(),
        segments: question_prompt(0, &args.question),
        images: vec![picture],
        provenance: Vec::new(),
    };
    let options = text_options(longest, args.beams);
    let reply = session.runner(1).answer(&[sample], &options)?.remove(0);
    Ok((reply.text.trim().to_owned(), session.source))
}

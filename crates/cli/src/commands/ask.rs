//! `deem ask`: a question about a picture.

use anyhow::Result;
use deem_data::text::question_prompt;
use deem_data::{Sample, SampleImage};
use deem_engine::generate::{Sampling, TextOptions};

use super::session::{Session, StandInChoice, read_picture};
use crate::args::Ask;

/// Runs the command.
pub fn run(standins: &StandInChoice, args: &Ask) -> Result<()> {
    let picture = read_picture(&args.image, args.mask.as_deref(), &args.model)?;
    let mut session = Session::open(standins, &args.model)?;
    if args.tta {
        session.adapt(&picture, args.tta_steps)?;
    }
    let options = TextOptions {
        max_new_tokens: args.max_new_tokens,
        min_new_tokens: 1,
        beams: args.beams,
        sampling: Sampling::Greedy,
    };
    let answer = answer(&session, picture, &args.question, &options)?;
    if args.json {
        let line = serde_json::json!({
            "image": args.image,
            "question": args.question,
            "answer": answer,
            "model": session.source,
        });
        println!("{line}");
    } else {
        println!("{answer}");
    }
    Ok(())
}

fn answer(
    session: &Session,
    picture: SampleImage,
    question: &str,
    options: &TextOptions,
) -> Result<String> {
    let sample = Sample {
        id: "ask".into(),
        segments: question_prompt(0, question),
        images: vec![picture],
        provenance: Vec::new(),
    };
    let runner = session.runner(1);
    let reply = runner.answer(&[sample], options)?.remove(0);
    Ok(reply.text.trim().to_owned())
}

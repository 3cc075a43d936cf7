//! `deem generate`: a picture of a text.

use anyhow::Result;
use deem_engine::generate::generate_image;

use super::session::{Session, image_options, to_picture, write_picture};
use super::setup::Setup;
use crate::args::Generate;

/// Runs the command.
pub fn run(standins: &Setup, args: &Generate) -> Result<()> {
    let session = Session::open(standins, &args.model)?;
    let tokens = session.drawing_prompt(&args.prompt)?;
    let options = image_options(&args.drawing);
    let pixels = generate_image(&session.model, &tokens, None, &options)?;
    write_picture(&to_picture(pixels), &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}

//! `deem restore`: what the encoder understood of a picture, drawn by the diffusion model.

use anyhow::Result;
use deem_engine::generate::restore;

use super::session::{Session, image_options, read_picture, to_picture, write_picture};
use super::setup::Setup;
use crate::args::Restore;

/// Runs the command.
pub fn run(standins: &Setup, args: &Restore) -> Result<()> {
    let picture = read_picture(&args.image, None, &args.model)?;
    let session = Session::open(standins, &args.model)?;
    let dims = &session.preset.model;
    let seen = session.view(&picture, dims.image_size)?;
    let target = session.view(&picture, dims.diffusion_size)?;
    let encoded = session.model.encode_images(seen, None);
    let options = image_options(&args.drawing);
    let pixels = restore(&session.model, &encoded, target, args.strength, &options)?;
    write_picture(&to_picture(pixels), &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}

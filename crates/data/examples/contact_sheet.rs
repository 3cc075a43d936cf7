//! Draws scenes of the built-in world to a PNG and prints their captions, the usual one and one that says everything:
//! `contact_sheet OUT.png [SEED] [train|validation|test]`. Training scenes are in all styles that are trained on.

use deem_data::world::World;
use deem_data::world::corpus::Role;
use image::{RgbImage, imageops};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: contact_sheet OUT.png [SEED] [ROLE]")?;
    let seed = arguments.next().map_or(Ok(0), |s| s.parse())?;
    let role = match arguments.next().as_deref() {
        Some("test") => Role::Test,
        Some("validation") => Role::Validation,
        _ => Role::Train,
    };
    let world = World::builtin()?;
    let scenes = world.design().scenes.clone();
    let feed = match role {
        Role::Train => world.described_feed(scenes, "sheet", seed, 64)?,
        _ => world.feed(world.asked(role), scenes, "sheet", seed, 64)?,
    };
    let (columns, rows, scale) = (8u32, 6u32, 2u32);
    let cell = 64 * scale + 4;
    let mut sheet = RgbImage::from_pixel(columns * cell, rows * cell, image::Rgb([60, 60, 60]));
    for index in 0..columns * rows {
        let pair = feed.pair(u64::from(index), true)?;
        println!(
            "{:2},{}: {} | {}",
            index / columns + 1,
            index % columns + 1,
            feed.pair(u64::from(index), false)?.caption,
            pair.caption
        );
        let picture = imageops::resize(
            &pair.image,
            64 * scale,
            64 * scale,
            imageops::FilterType::Nearest,
        );
        let (x, y) = (index % columns * cell + 2, index / columns * cell + 2);
        imageops::replace(&mut sheet, &picture, i64::from(x), i64::from(y));
    }
    sheet.save(path)?;
    Ok(())
}

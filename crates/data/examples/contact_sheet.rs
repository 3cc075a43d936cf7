//! Draws scenes of the built-in world to a PNG and prints their captions: `contact_sheet OUT.png [SEED] [train|validation|test]`.

use deem_data::world::World;
use deem_data::world::corpus::{Role, Subset};
use deem_data::world::scene::SceneConfig;
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
    let world = World::builtin(Subset::Core)?;
    let feed = world.feed(
        world.pool(role, |_| true),
        SceneConfig::default(),
        "sheet",
        seed,
        64,
    )?;
    let (columns, rows, scale) = (8u32, 6u32, 2u32);
    let cell = 64 * scale + 4;
    let mut sheet = RgbImage::from_pixel(columns * cell, rows * cell, image::Rgb([60, 60, 60]));
    for index in 0..columns * rows {
        let pair = feed.pair(u64::from(index), true)?;
        println!(
            "{:2},{}: {}",
            index / columns + 1,
            index % columns + 1,
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

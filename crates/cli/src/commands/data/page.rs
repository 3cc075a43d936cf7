//! `deem data inspect --html`: one page of samples, with the pictures as they are, the squares that the model sees, and
//! regions.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deem_data::image::resize_rgb;
use deem_data::{Dice, Sample, SampleImage, Segment};
use image::{GrayImage, ImageFormat, RgbImage};

use super::choose::Chosen;

/// Longest side of a picture as it is, on the page.
const SHOWN: u32 = 320;
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
section{border-top:1px solid #ccc;padding:1rem 0}h2{font-size:1rem;margin:0 0 .5rem}\
pre{white-space:pre-wrap;background:#f6f6f4;padding:.75rem;border-radius:4px}\
.c{background:#cdeccf}.s{color:#8a3ffc}.e{color:#a00}\
figure{display:inline-block;margin:0 1rem .5rem 0;vertical-align:top}figcaption{font-size:.8rem;color:#555}img{max-width:100%}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}pre{background:#222}.c{background:#1f4d2a}.s{color:#c9a6ff}}";

/// Writes the page.
pub fn run(chosen: &Chosen, file: &Path, count: u64) -> Result<()> {
    let source = chosen.source()?;
    let mut body = String::new();
    let (mut shown, mut failed) = (0u64, 0u64);
    for index in 0..count.min(source.len().unwrap_or(u64::MAX)) {
        match source.get(index) {
            Ok(sample) => {
                body.push_str(&section(&sample, chosen)?);
                shown += 1;
            }
            Err(error) => {
                let told = escaped(&error.to_string());
                writeln!(
                    body,
                    "<section><h2>sample {index}</h2><p class=e>{told}</p></section>"
                )?;
                failed += u64::from(!matches!(error, deem_data::DataError::Dropped { .. }));
            }
        }
    }
    let views = &chosen.views;
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Samples</title><style>{STYLE}</style><h1>Samples</h1>\
         <p><span class=c>This</span> counts in the text loss, <span class=s>this</span> is a special token. The encoder \
         sees squares of {} pixels, the diffusion model of {}.</p>{body}",
        views.encoder, views.diffusion
    );
    // Whole or not at all.
    let part = file.with_extension("html.partial");
    std::fs::write(&part, page)
        .and_then(|()| std::fs::rename(&part, file))
        .with_context(|| file.display().to_string())?;
    println!("{}", file.display());
    if shown == 0 && failed > 0 {
        bail!("none of {failed} samples could be read");
    }
    Ok(())
}

fn section(sample: &Sample, chosen: &Chosen) -> Result<String> {
    let mut out = format!(
        "<section><h2>{}</h2><pre>{}</pre>",
        escaped(&sample.id),
        text(sample)
    );
    for (number, image) in sample.images.iter().enumerate() {
        for (name, picture) in pictures(image, chosen)? {
            let (width, height) = picture.dimensions();
            let caption = format!("image {number}, {name} ({width}×{height})");
            write!(
                out,
                "<figure><img alt=\"{caption}\" width={width} height={height} src=\"{}\"><figcaption>{caption}</figcaption></figure>",
                url(&picture)?
            )?;
        }
    }
    out.push_str("</section>\n");
    Ok(out)
}

/// The picture as it is, the squares that the model sees, and its region in them.
fn pictures(image: &SampleImage, chosen: &Chosen) -> Result<Vec<(&'static str, RgbImage)>> {
    let views = &chosen.views;
    let mask = image.mask.as_ref();
    let mut dice = Dice::new(chosen.context.seed, "crop 0", 0);
    let cut = views.views(&image.id, &image.image, mask, &mut dice)?;
    let longest = image.image.width().max(image.image.height()).max(1);
    let small = |length: u32| (length * SHOWN.min(longest)).div_ceil(longest).max(1);
    let (width, height) = (small(image.image.width()), small(image.image.height()));
    let mut all = vec![("as it is", resize_rgb(&image.image, width, height))];
    if let Some(mask) = mask {
        all.push((
            "region",
            resize_rgb(&outside_dark(&image.image, mask), width, height),
        ));
    }
    let encoder = square(&cut.encoder, views.encoder);
    if let Some(mask) = &cut.mask {
        let mask = GrayImage::from_fn(views.encoder, views.encoder, |x, y| {
            image::Luma([(mask[(y * views.encoder + x) as usize] * 255.0) as u8])
        });
        all.push(("encoder view, region", outside_dark(&encoder, &mask)));
    }
    all.push(("encoder view", encoder));
    if !cut.diffusion.is_empty() {
        all.push(("diffusion view", square(&cut.diffusion, views.diffusion)));
    }
    Ok(all)
}

fn outside_dark(picture: &RgbImage, mask: &GrayImage) -> RgbImage {
    let mut out = picture.clone();
    for (pixel, inside) in out.pixels_mut().zip(mask.pixels()) {
        if inside.0[0] == 0 {
            pixel.0 = pixel.0.map(|v| v / 4);
        }
    }
    out
}

fn square(planes: &[f32], side: u32) -> RgbImage {
    let area = (side * side) as usize;
    RgbImage::from_fn(side, side, |x, y| {
        let at = (y * side + x) as usize;
        image::Rgb([0, 1, 2].map(|c| (planes[c * area + at] * 255.0).round() as u8))
    })
}

fn url(picture: &RgbImage) -> Result<String> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    let data = STANDARD.encode(png.into_inner());
    Ok(format!("data:image/png;base64,{data}"))
}

fn text(sample: &Sample) -> String {
    let span =
        |class: &str, text: &str| format!("<span class=\"{class}\">{}</span>", escaped(text));
    let class = |kind: &'static str, counted: bool| match (kind, counted) {
        ("", true) => "c",
        ("s", true) => "s c",
        (other, _) => other,
    };
    let mut out = String::new();
    if !matches!(sample.segments.first(), Some(Segment::Bos)) {
        out.push_str(&span("s", "<s>"));
    }
    for segment in &sample.segments {
        out.push_str(&match segment {
            Segment::Text { text, counted } => span(class("", *counted), text),
            Segment::Image { index, counted } => {
                span(class("s", *counted), &format!("<soi><image {index}>"))
            }
            Segment::Bos => span("s", "<s>"),
            Segment::Eos { counted } => span(class("s", *counted), "</s>"),
        });
    }
    out
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

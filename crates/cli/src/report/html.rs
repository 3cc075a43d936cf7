//! Small pieces of HTML.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, RgbImage};

/// Text as it may stand in an element or in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An image within the page. `description` is read out by screen readers.
pub(super) fn picture(image: &RgbImage, description: &str) -> String {
    let mut png = Cursor::new(Vec::new());
    let description = escape(description);
    if image.write_to(&mut png, ImageFormat::Png).is_err() {
        return format!("<span class=\"missing\">{description}</span>"); // an image without pixels
    }
    let (width, height) = image.dimensions();
    let data = STANDARD.encode(png.into_inner());
    format!(
        "<img src=\"data:image/png;base64,{data}\" width=\"{width}\" height=\"{height}\" alt=\"{description}\" loading=\"lazy\">"
    )
}

/// A number with one decimal and a true minus sign.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_prefix('-') {
        Some("0.0") => "0.0".to_owned(),
        Some(positive) => format!("\u{2212}{positive}"),
        None => text,
    }
}

/// A number with its sign, for differences.
pub(super) fn signed(value: f64) -> String {
    let text = number(value);
    if text.starts_with('\u{2212}') || text == "0.0" {
        text
    } else {
        format!("+{text}")
    }
}

/// Interval bounds, or a dash where there are none.
pub(super) fn range(low: Option<f64>, high: Option<f64>, format: impl Fn(f64) -> String) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("[{}, {}]", format(low), format(high)),
        _ => "[\u{2013}]".to_owned(),
    }
}

/// A whole number in groups of three digits.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape(r#"<a href="x">'&'</a>"#),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;"
        );
    }

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(
            (number(-1.25), number(-0.04), number(3.0)),
            ("\u{2212}1.2".into(), "0.0".into(), "3.0".into())
        );
        assert_eq!(
            (signed(6.54), signed(-6.54), signed(0.0)),
            ("+6.5".into(), "\u{2212}6.5".into(), "0.0".into())
        );
        assert_eq!(range(Some(-1.0), Some(2.0), signed), "[\u{2212}1.0, +2.0]");
        assert_eq!(range(None, Some(2.0), signed), "[\u{2013}]");
        assert_eq!(
            (grouped(12), grouped(1234), grouped(494_770_000)),
            (
                "12".into(),
                "1\u{202f}234".into(),
                "494\u{202f}770\u{202f}000".into()
            )
        );
    }

    #[test]
    fn pictures_are_png_data() {
        let html = picture(&RgbImage::new(2, 3), "a \"b\"");
        assert!(
            html.starts_with("<img src=\"data:image/png;base64,iVBORw0KGgo"),
            "{html}"
        );
        assert!(html.contains("width=\"2\" height=\"3\" alt=\"a &quot;b&quot;\""));
        assert!(picture(&RgbImage::new(0, 0), "gone").contains("missing"));
    }
}

//! Numbers as people write them.

use deem_metrics::figures::{Figure, Unit};

/// A minus sign that is as wide as a plus sign.
const MINUS: char = '\u{2212}';

/// A number with a true minus sign, never "−0".
#[must_use]
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.trim_matches(['0', '.']).is_empty() => zero.to_owned(),
        Some(positive) => format!("{MINUS}{positive}"),
        None => text,
    }
}

/// A whole number in groups of three digits.
#[must_use]
pub fn grouped(value: u64) -> String {
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

/// A value with as many decimals as its unit bears, without the unit.
#[must_use]
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count if value >= 0.0 => grouped(value.round() as u64),
        Unit::Count => number(value, 0),
        Unit::Percent | Unit::Points => number(value, 1),
        Unit::Score if value.abs() >= 1.0 || value == 0.0 => number(value, 1),
        Unit::Score | Unit::Ratio => number(value, 3),
        Unit::Seconds => number(value, 2),
    }
}

/// What stands behind a value of this unit, with its space.
pub(crate) fn symbol(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => " %",
        Unit::Points => " points",
        Unit::Seconds => " s",
        Unit::Score | Unit::Count | Unit::Ratio => "",
    }
}

/// The same with its sign, for differences.
pub(crate) fn signed(value: f64, unit: Unit) -> String {
    let text = self::value(value, unit);
    let zero = text.trim_matches(['0', '.']).is_empty();
    if zero || text.starts_with(MINUS) {
        text
    } else {
        format!("+{text}")
    }
}

/// The bounds of a figure in brackets, a dash for those that are unknown; nothing if the figure claims none.
pub(crate) fn range(figure: &Figure, write: impl Fn(f64, Unit) -> String) -> Option<String> {
    let write = |bound: Option<f64>| bound.map_or("\u{2013}".to_owned(), |b| write(b, figure.unit));
    (figure.low.is_some() || figure.high.is_some())
        .then(|| format!("[{}, {}]", write(figure.low), write(figure.high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_metrics::statistics::Interval;

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(number(-1.25, 1), "\u{2212}1.2");
        assert_eq!(
            (number(-0.04, 1), number(3.0, 1)),
            ("0.0".into(), "3.0".into())
        );
        assert_eq!(grouped(494_770_000), "494\u{202f}770\u{202f}000");
        assert_eq!(
            (grouped(12), grouped(1234)),
            ("12".into(), "1\u{202f}234".into())
        );
    }

    #[test]
    fn units_decide_the_decimals() {
        assert_eq!(value(12.345, Unit::Percent), "12.3");
        assert_eq!(
            (value(84.0, Unit::Score), value(0.034, Unit::Score)),
            ("84.0".into(), "0.034".into())
        );
        assert_eq!(value(3_481_216.0, Unit::Count), "3\u{202f}481\u{202f}216");
        assert_eq!(signed(6.54, Unit::Points), "+6.5");
        assert_eq!(signed(-6.54, Unit::Points), "\u{2212}6.5");
        assert_eq!(signed(-0.01, Unit::Points), "0.0");
    }

    #[test]
    fn unknown_bounds_are_dashes() {
        let interval = Interval {
            mean: 0.0,
            low: -1.0,
            high: f64::INFINITY,
        };
        let figure = Figure::new("x", interval, Unit::Points);
        assert_eq!(range(&figure, signed).unwrap(), "[\u{2212}1.0, \u{2013}]");
        assert_eq!(range(&Figure::plain("x", 0.0, Unit::Points), signed), None);
    }
}

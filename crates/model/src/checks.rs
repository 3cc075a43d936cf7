//! Checks that several configurations share.

/// A problem for each of the fields that is zero.
pub(crate) fn zeros(fields: &[(&str, usize)]) -> Vec<String> {
    let zeros = fields.iter().filter(|(_, value)| *value == 0);
    zeros
        .map(|(field, _)| format!("{field} must be at least 1"))
        .collect()
}

/// A problem if `width` is not a multiple of `heads`.
pub(crate) fn uneven(field: &str, width: usize, heads: usize) -> Option<String> {
    (heads > 0 && !width.is_multiple_of(heads))
        .then(|| format!("{field} {width} is not a multiple of {heads} heads"))
}

/// What a number of a configuration may be, in the 32 bits it is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// Finite.
    Any,
    /// Finite, from 0 on: what is added before a root.
    FromZero,
    /// Finite and above 0.
    Positive,
    /// Finite and not 0: what something is divided by.
    NotZero,
}

/// A problem for each of the numbers that would make everything computed with it no number, or nothing.
pub(crate) fn numbers(fields: &[(&str, f64, Number)]) -> Vec<String> {
    let problem = |(field, value, may): &(&str, f64, Number)| {
        let narrow = *value as f32;
        let (fits, expected) = match may {
            Number::Any => (true, "a finite number"),
            Number::FromZero => (*value >= 0.0, "a finite number from 0 on"),
            Number::Positive => (narrow > 0.0, "a finite number above 0"),
            Number::NotZero => (narrow != 0.0, "a finite number other than 0"),
        };
        (!fits || !narrow.is_finite()).then(|| format!("{field} is {value}, expected {expected}"))
    };
    fields.iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_spoil_all_others_are_named() {
        let bad = |value: f64, may: Number| !numbers(&[("x", value, may)]).is_empty();
        let all = [
            Number::Any,
            Number::FromZero,
            Number::Positive,
            Number::NotZero,
        ];
        for may in all {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
                assert!(bad(value, may), "{value} as {may:?}");
            }
            assert!(!bad(1e-6, may), "{may:?}");
        }
        assert_eq!(all.map(|may| bad(-1.0, may)), [false, true, true, false]);
        assert_eq!(all.map(|may| bad(0.0, may)), [false, false, true, true]);
        assert_eq!(
            numbers(&[("eps", -1.0, Number::FromZero)]),
            ["eps is -1, expected a finite number from 0 on"]
        );
    }
}

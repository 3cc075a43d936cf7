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

//! Names of many files in one pattern, as shells and the Python package `webdataset` write them:
//! `{0000..0127}`, `{a,b}`, several, nested.

/// Names that one pattern may stand for.
const MAX_NAMES: usize = 1_000_000;

/// All names that a pattern stands for, in order; else what is wrong with it.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((before, inside, after)) = first_group(pattern)? else {
        return Ok(vec![pattern.to_owned()]);
    };
    let middles = alternatives(inside)?;
    let tails = expand(after)?;
    if middles.len().saturating_mul(tails.len()) > MAX_NAMES {
        return Err(too_many());
    }
    let mut names = Vec::with_capacity(middles.len() * tails.len());
    for middle in &middles {
        names.extend(tails.iter().map(|tail| format!("{before}{middle}{tail}")));
    }
    Ok(names)
}

fn too_many() -> String {
    format!("stands for more than {MAX_NAMES} names")
}

/// What stands before the first `{`, in it, and after its `}`.
fn first_group(pattern: &str) -> Result<Option<(&str, &str, &str)>, String> {
    let Some(start) = pattern.find(['{', '}']) else {
        return Ok(None);
    };
    let mut depth = 0usize;
    for (at, letter) in pattern[start..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return Err("a \"}\" without its \"{\"".into()),
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            let end = start + at;
            return Ok(Some((
                &pattern[..start],
                &pattern[start + 1..end],
                &pattern[end + 1..],
            )));
        }
    }
    Err("a \"{\" without its \"}\"".into())
}

/// What a group's inside stands for: a range, or a list whose parts may have groups.
fn alternatives(inside: &str) -> Result<Vec<String>, String> {
    if let Some(range) = range(inside) {
        return range;
    }
    let parts = split(inside);
    if parts.len() < 2 {
        return Err(format!(
            "{{{inside}}}: expected a range as {{0..9}} or a list as {{a,b}}"
        ));
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(expand(part)?);
        if all.len() > MAX_NAMES {
            return Err(too_many());
        }
    }
    Ok(all)
}

/// Parts between commas that are in no inner group.
fn split(inside: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    parts
}

/// `first..last` with the width of the wider one if either starts with a zero; may count down.
fn range(inside: &str) -> Option<Result<Vec<String>, String>> {
    let (first, last) = inside.split_once("..")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Some(Err(too_many()));
    };
    if from.abs_diff(to) >= MAX_NAMES as u64 {
        return Some(Err(too_many()));
    }
    let padded = [first, last]
        .iter()
        .any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded {
        first.len().max(last.len())
    } else {
        0
    };
    let name = |number: u64| format!("{number:0width$}");
    Some(Ok(if from <= to {
        (from..=to).map(name).collect()
    } else {
        (to..=from).rev().map(name).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lists_and_nests() {
        let all = |pattern: &str| expand(pattern).unwrap().join(" ");
        assert_eq!(all("a.tar"), "a.tar");
        assert_eq!(
            all("t-{0008..0010}.tar"),
            "t-0008.tar t-0009.tar t-0010.tar"
        );
        assert_eq!(all("{8..10}"), "8 9 10");
        assert_eq!(all("{3..1}"), "3 2 1");
        assert_eq!(all("{a,b}/{0..1}"), "a/0 a/1 b/0 b/1");
        assert_eq!(all("x{a{0..1},b,}y"), "xa0y xa1y xby xy");
        assert_eq!(all("{000..9}").split(' ').next(), Some("000"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (pattern, told) in [
            ("a{0..1", "without its \"}\""),
            ("a}0", "without its \"{\""),
            ("{a}", "a list"),
            ("{}", "a list"),
            ("{0..99999999999999999999}", "more than"),
            ("{0..999999999}", "more than"),
            ("{0..9999}{0..9999}", "more than"),
            ("{{0..999999},{0..999999}}", "more than"),
        ] {
            let error = expand(pattern).unwrap_err();
            assert!(error.contains(told), "{pattern}: {error}");
        }
    }
}

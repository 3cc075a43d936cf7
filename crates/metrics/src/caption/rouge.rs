//! ROUGE-L (Lin 2004): longest common subsequence, with recall weighted more than precision.

use super::Tokenized;

/// Weight of recall over precision, as in the COCO caption tools.
const BETA: f64 = 1.2;

/// ROUGE-L of one tokenised caption in [0, 1]: best precision and best recall over the references, combined.
#[must_use]
pub fn rouge_l(sample: &Tokenized) -> f64 {
    let (mut precision, mut recall) = (0f64, 0f64);
    // The tool cuts an empty caption into one empty word, which equals that of an empty reference.
    if sample.candidate.is_empty() && sample.references.iter().any(Vec::is_empty) {
        return 1.0;
    }
    for reference in &sample.references {
        let common = longest_common_subsequence(&sample.candidate, reference) as f64;
        if common > 0.0 {
            precision = precision.max(common / sample.candidate.len() as f64);
            recall = recall.max(common / reference.len() as f64);
        }
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

fn longest_common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Common: "police the gunman" = 3 of 4 and 3 of 4.
        let value = rouge_l(&Tokenized::split(
            "police kill the gunman",
            &["police killed the gunman"],
        ));
        assert!((value - 0.75).abs() < 1e-12);
        // Precision 2/2 with the first reference, recall 2/4; F with β = 1.2.
        let value = rouge_l(&Tokenized::split("a cat", &["a big black cat", "dogs"]));
        assert!((value - 2.44 * 0.5 / (0.5 + 1.44)).abs() < 1e-12);
    }

    #[test]
    fn nothing_in_common_is_zero() {
        assert_eq!(rouge_l(&Tokenized::split("", &["a"])), 0.0);
        assert_eq!(rouge_l(&Tokenized::split("b", &["a", ""])), 0.0);
    }

    #[test]
    fn an_empty_caption_equals_an_empty_reference_as_in_the_tool() {
        assert_eq!(rouge_l(&Tokenized::split("", &["a", ""])), 1.0);
    }
}

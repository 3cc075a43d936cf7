//! What must hold for any input.

use deem_metrics::answer::{ParseMode, normalize_vqa, parse_choice, parse_yes_no};
use deem_metrics::caption::meteor::Meteor;
use deem_metrics::caption::rouge::rouge_l;
use deem_metrics::caption::{CaptionSample, score, tokenize};
use deem_metrics::statistics::{Scored, accuracy, mean, paired_difference};
use deem_metrics::vqa::vqa_accuracy;
use proptest::prelude::*;

/// Text with the marks that the parsers look at.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[a-cnst .,'?!()/&-]{1,6}",
        Just("n't".to_owned()),
        Just("\u{2019}s".to_owned()),
        Just("yes".to_owned()),
        Just("the".to_owned()),
        Just("İ½€".to_owned()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn scored() -> impl Strategy<Value = Vec<Scored>> {
    proptest::collection::vec((0..4u64, 0..6u8, 0..=4u8), 1..60).prop_map(|rows| {
        let numbered = rows.into_iter().enumerate();
        numbered
            .map(|(i, (seed, image, value))| {
                Scored::new(
                    seed,
                    image.to_string(),
                    i.to_string(),
                    f64::from(value) / 4.0,
                )
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn parsers_take_any_text(a in text(), b in text()) {
        for mode in [ParseMode::Strict, ParseMode::Paper] {
            let _ = parse_yes_no(&a, mode);
            let choice = parse_choice(&a, &[&b, "yes"], mode);
            prop_assert!(choice.is_none_or(|index| index < 2));
            let value = vqa_accuracy(&a, &[&a, &b, &b], mode).unwrap();
            prop_assert!((0.0..=1.0).contains(&value));
        }
        let once = normalize_vqa(&a);
        prop_assert!(!once.contains("  "));
    }

    #[test]
    fn caption_tokens_hold_no_space_and_scores_are_bounded(a in text(), b in text(), c in text()) {
        prop_assert!(tokenize(&a).iter().all(|token| !token.is_empty() && !token.contains(' ')));
        let sample = |candidate: &str, references: &[&String]| CaptionSample {
            candidate: candidate.to_owned(),
            references: references.iter().map(|r| (*r).clone()).collect(),
        };
        let scores = score(&[sample(&a, &[&b, &c]), sample(&b, &[&a])], &Meteor::new()).unwrap();
        for value in scores.bleu.into_iter().chain([scores.meteor, scores.rouge_l, scores.cider / 10.0]) {
            prop_assert!((0.0..=1.0 + 1e-9).contains(&value), "{scores:?}");
        }
    }

    #[test]
    fn a_caption_matches_itself(a in text()) {
        prop_assume!(!tokenize(&a).is_empty());
        let sample = CaptionSample { candidate: a.clone(), references: vec![a] };
        let tokens = deem_metrics::caption::Tokenized::new(&sample);
        prop_assert!((rouge_l(&tokens) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_their_mean(samples in scored()) {
        let (plain, bounded) = (mean(&samples).unwrap(), accuracy(&samples).unwrap());
        prop_assert!(plain.low <= plain.mean && plain.mean <= plain.high);
        prop_assert!(0.0 <= bounded.low && bounded.low <= bounded.mean && bounded.mean <= bounded.high && bounded.high <= 1.0);
        prop_assert!((plain.mean - bounded.mean).abs() < 1e-9);
    }

    #[test]
    fn differences_turn_their_sign_with_the_sides(a in scored()) {
        let b: Vec<Scored> = a.iter().map(|s| Scored { value: (s.value - 0.3).abs(), ..s.clone() }).collect();
        let (forth, back) = (paired_difference(&a, &b).unwrap(), paired_difference(&b, &a).unwrap());
        prop_assert!((forth.interval.mean + back.interval.mean).abs() < 1e-12);
        prop_assert_eq!((forth.wins, forth.losses), (back.losses, back.wins));
        if forth.interval.is_bounded() {
            prop_assert!((forth.interval.low + back.interval.high).abs() < 1e-9);
        }
    }
}

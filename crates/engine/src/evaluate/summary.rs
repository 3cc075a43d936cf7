//! Figures for machines and for people.

use deem_metrics::figures::{Family, Figure, Unit};
use serde_json::{Map, Value, json};

/// One benchmark's results for machines: `{"benchmark", "model", "samples", "unreadable", "unparseable", "figures":
/// {PART: {FIGURE: {"mean", "low", "high"}}}}`, in percent (CIDEr times 100); bounds that the data do not give are null.
pub fn summary(family: &Family, model: &str) -> Value {
    let figure = |f: &Figure| json!({ "mean": f.mean, "low": f.low, "high": f.high });
    let figures: Map<String, Value> = family
        .parts
        .iter()
        .map(|part| {
            let figures = part.figures.iter();
            let named = figures.map(|f| (f.name.clone(), figure(f)));
            (part.name.clone(), Value::Object(named.collect()))
        })
        .collect();
    let counts = family.counts.unwrap_or_default();
    json!({
        "benchmark": family.name.replace('_', "-"),
        "model": model,
        "samples": counts.samples,
        "unreadable": counts.unreadable,
        "unparseable": counts.unparseable,
        "figures": figures,
    })
}

/// The same for people: a line a figure.
pub fn table(family: &Family) -> String {
    let counts = family.counts.unwrap_or_default();
    let mut text = format!("{}, {} questions", family.title, counts.samples);
    for (count, what) in [
        (
            counts.unreadable,
            "could not be asked (pictures that cannot be read, questions that are too long)",
        ),
        (counts.unparseable, "answers could not be understood"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what} (counted as wrong)"));
        }
    }
    text.push('\n');
    let width = |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or_default();
    let parts = width(&mut family.parts.iter().map(|p| p.name.chars().count()));
    let figures = family.parts.iter().flat_map(|p| &p.figures);
    let labels = width(&mut figures.map(|f| f.label().chars().count()));
    for part in &family.parts {
        for (number, figure) in part.figures.iter().enumerate() {
            let name = if number == 0 { part.name.as_str() } else { "" };
            let unit = if figure.unit == Unit::Percent {
                " %"
            } else {
                ""
            };
            text.push_str(&format!(
                "  {name:<parts$}  {:<labels$}  {:>6.1}{unit}",
                figure.label(),
                figure.mean
            ));
            if let (Some(low), Some(high)) = (figure.low, figure.high) {
                text.push_str(&format!("  [{low:.1}, {high:.1}]"));
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use deem_metrics::figures::{Counts, Part};
    use deem_metrics::statistics::Interval;

    use super::*;

    fn family() -> Family {
        let accuracy = Interval {
            mean: 0.5,
            low: 0.25,
            high: 0.75,
        };
        let parts = vec![Part::new(
            "mean",
            [
                Figure::percent("accuracy", accuracy).chance(50.0),
                Figure::plain("yes_ratio", 40.0, Unit::Percent).titled("answered yes"),
            ],
        )];
        Family {
            counts: Some(Counts {
                samples: 8,
                unreadable: 1,
                unparseable: 0,
            }),
            parts,
            ..Family::new("robust_vqa", "RobustVQA")
        }
    }

    #[test]
    fn machines_get_exactly_the_documented_shape() {
        assert_eq!(
            summary(&family(), "warm start"),
            json!({
                "benchmark": "robust-vqa", "model": "warm start",
                "samples": 8, "unreadable": 1, "unparseable": 0,
                "figures": {"mean": {
                    "accuracy": {"mean": 50.0, "low": 25.0, "high": 75.0},
                    "yes_ratio": {"mean": 40.0, "low": null, "high": null},
                }},
            })
        );
    }

    #[test]
    fn people_get_a_table() {
        assert_eq!(
            table(&family()),
            "RobustVQA, 8 questions, 1 could not be asked (pictures that cannot be read, questions that are too long) \
             (counted as wrong)\n\
             \u{20} mean  accuracy        50.0 %  [25.0, 75.0]\n\
             \u{20}       answered yes    40.0 %\n"
        );
    }
}

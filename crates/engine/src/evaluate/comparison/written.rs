//! A comparison for machines and for people.

use deem_metrics::figures::Figure;
use serde_json::{Map, Value, json};

use super::{Compared, Comparison};

impl Comparison {
    /// For machines: `{"run", "control", "seeds", "benchmarks": [{"benchmark", "figures": {PART: {FIGURE: {"run",
    /// "control", "difference": {"mean", "low", "high", "p_value", "mcnemar", "detectable", …}}}}}], "notes"}`, in percent
    /// and points. `difference` stands where a paired one is known, `relative` (the difference in percent of the
    /// control's figure) with `baseline`.
    pub fn json(&self, baseline: bool) -> Value {
        let benchmarks: Vec<Value> = self
            .benchmarks
            .iter()
            .map(|compared| {
                json!({
                    "benchmark": compared.run.name.replace('_', "-"),
                    "samples": compared.run.counts.unwrap_or_default().samples,
                    "figures": figures(compared, baseline),
                })
            })
            .collect();
        let control = if baseline { "baseline" } else { "control" };
        json!({
            "run": self.run, control: self.control, "seeds": self.seeds,
            "benchmarks": benchmarks, "notes": self.notes,
        })
    }

    /// For people: a line a figure.
    pub fn table(&self, baseline: bool) -> String {
        let against = if baseline { "baseline" } else { "control" };
        let mut text = format!("run      {}\n{against:<8} {}\n", self.run, self.control);
        for compared in &self.benchmarks {
            let samples = compared.run.counts.unwrap_or_default().samples;
            text.push_str(&format!("{}, {samples} answers each\n", compared.run.title));
            let parts = compared.run.parts.iter();
            let width = parts
                .clone()
                .map(|p| p.name.chars().count())
                .max()
                .unwrap_or_default();
            for part in parts {
                for (number, figure) in part.figures.iter().enumerate() {
                    let Some(other) = compared.control.figure(&part.name, &figure.name) else {
                        continue;
                    };
                    let name = if number == 0 { part.name.as_str() } else { "" };
                    let label = figure.label();
                    text.push_str(&format!(
                        "  {name:<width$}  {label:<28}{:>7.1}{:>8.1}",
                        figure.mean, other.mean
                    ));
                    let difference = compared.difference.as_ref();
                    if let Some(difference) =
                        difference.and_then(|d| d.figure(&part.name, &figure.name))
                    {
                        text.push_str(&written(difference));
                        if baseline && let Some(relative) = relative(difference, other) {
                            text.push_str(&format!("  {relative:+.1} % of the baseline's"));
                        }
                    }
                    text.push('\n');
                }
            }
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }
}

fn figures(compared: &Compared, baseline: bool) -> Map<String, Value> {
    let mut parts = Map::new();
    for part in &compared.run.parts {
        let mut figures = Map::new();
        for figure in &part.figures {
            let Some(other) = compared.control.figure(&part.name, &figure.name) else {
                continue;
            };
            let plain = |f: &Figure| json!({"mean": f.mean, "low": f.low, "high": f.high});
            let control = if baseline { "baseline" } else { "control" };
            let mut entry = json!({"run": plain(figure), control: plain(other)});
            let difference = compared.difference.as_ref();
            if let Some(found) = difference.and_then(|d| d.figure(&part.name, &figure.name)) {
                let mut difference = plain(found);
                if let Some(paired) = found.paired {
                    let fields = [
                        ("p_value", json!(paired.p_value)),
                        ("mcnemar", json!(paired.mcnemar)),
                        ("detectable", json!(paired.detectable)),
                        ("questions", json!(paired.questions)),
                        ("clusters", json!(paired.clusters)),
                        ("seeds", json!(paired.seeds)),
                        ("wins", json!(paired.wins)),
                        ("losses", json!(paired.losses)),
                    ];
                    for (name, value) in fields {
                        difference[name] = value;
                    }
                }
                if baseline {
                    difference["relative"] = json!(relative(found, other));
                }
                entry["difference"] = difference;
            }
            figures.insert(figure.name.clone(), entry);
        }
        parts.insert(part.name.clone(), Value::Object(figures));
    }
    parts
}

/// A difference in percent of the control's figure.
fn relative(difference: &Figure, control: &Figure) -> Option<f64> {
    (control.mean != 0.0).then(|| 100.0 * difference.mean / control.mean)
}

/// `  +4.2 [1.1, 7.3]  p 0.008  McNemar 0.011  won 31, lost 12  (shows 4.5 points)`
fn written(difference: &Figure) -> String {
    let mut text = format!("  {:+.1}", difference.mean);
    if let (Some(low), Some(high)) = (difference.low, difference.high) {
        text.push_str(&format!(" [{low:.1}, {high:.1}]"));
    }
    let Some(paired) = difference.paired else {
        return text;
    };
    if let Some(p) = paired.p_value {
        text.push_str(&format!("  p {p:.3}"));
    }
    if let Some(p) = paired.mcnemar {
        text.push_str(&format!("  McNemar {p:.3}"));
    }
    text.push_str(&format!("  won {}, lost {}", paired.wins, paired.losses));
    if let Some(points) = paired.detectable {
        text.push_str(&format!(
            "  (this set can show differences of {points:.1} points)"
        ));
    }
    text
}

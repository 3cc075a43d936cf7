//! The results as a table for the terminal.

use crate::report::Results;

/// Accuracies of each arm, differences with their intervals, costs and controls.
pub fn table(results: &Results) -> String {
    let mut text = format!(
        "{:<16}{:>7}{:>7}{:>7}{:>8}{:>8}{:>9}{:>9}{:>7}{:>7}{:>8}\n",
        "arm", "A", "R", "V", "Robust", "random", "popular", "advers.", "POPE", "MMVP", "CIDEr"
    );
    let figure = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.1}"));
    for (name, arm) in &results.arms {
        let (robust, pope) = (&arm.robust_vqa, &arm.pope);
        text.push_str(&format!(
            "{name:<16}{:>7}{:>7}{:>7}{:>8}{:>8}{:>9}{:>9}{:>7}{:>7}{:>8}\n",
            figure(robust.a),
            figure(robust.r),
            figure(robust.v),
            figure(Some(robust.mean)),
            figure(pope.random),
            figure(pope.popular),
            figure(pope.adversarial),
            figure(Some(pope.mean)),
            figure(Some(arm.mmvp.pair_accuracy)),
            figure(arm.region.as_ref().map(|r| r.cider)),
        ));
    }
    for (name, difference) in &results.difference {
        text.push_str(&format!("\n{name}, points with 95 % interval\n"));
        let benchmarks = [
            ("RobustVQA", &difference.robust_vqa),
            ("POPE", &difference.pope),
            ("MMVP", &difference.mmvp),
        ];
        for (benchmark, difference) in benchmarks {
            let i = difference.total.interval;
            text.push_str(&format!(
                "{benchmark:<16}{:>+7.1} [{:+.1}, {:+.1}]\n",
                i.mean, i.low, i.high
            ));
        }
    }
    text.push('\n');
    for (name, arm) in &results.arms {
        text.push_str(&format!("{name:<16}{:.2} s/step", arm.seconds_per_step));
        if let Some(ratio) = arm.gradient_ratio {
            text.push_str(&format!(" · encoder gradient, feedback/text {ratio:.2}"));
        }
        if let Some(control) = &arm.shuffled_images {
            text.push_str(&format!(
                " · attribute questions {:.1} %, with shuffled images {:.1} %",
                control.own.mean, control.shuffled.mean
            ));
        }
        text.push('\n');
    }
    text
}

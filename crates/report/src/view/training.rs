//! How training went.

use serde::Serialize;

use super::line_chart::{Line, LineChart};
use super::{Arm, Section, arms};
use crate::input::{Level, Report};

/// A chart for each term.
pub(super) fn section(report: &Report) -> Option<Section> {
    #[derive(Serialize)]
    struct Content {
        arms: Vec<Arm>,
        charts: Vec<LineChart>,
        stages: Vec<(String, u64)>,
    }

    let arms = arms(&report.results);
    let class = |name: &str| {
        arms.iter()
            .find(|arm| arm.name == name)
            .map_or(0, |arm| arm.class)
    };
    let mut terms: Vec<(&str, &str)> = Vec::new();
    let explained = report
        .terms
        .iter()
        .map(|t| (t.name.as_str(), t.note.as_str()));
    let logged = report.curves.iter().map(|curve| (curve.term.as_str(), ""));
    for (name, note) in explained.chain(logged) {
        if !terms.iter().any(|(known, _)| *known == name) {
            terms.push((name, note));
        }
    }
    let charts = terms.into_iter().filter_map(|(term, note)| {
        let curves = report.curves.iter().filter(|curve| curve.term == term);
        let lines: Vec<Line> = curves
            .map(|curve| Line {
                class: class(&curve.arm),
                title: format!("{}, seed {}", curve.arm, curve.seed),
                points: &curve.points,
            })
            .collect();
        let levels = report.levels.iter().filter(|level| level.term == term);
        let levels: Vec<&Level> = levels.collect();
        LineChart::new(term, note, &lines, &levels, &report.stages)
    });
    let charts: Vec<LineChart> = charts.collect();
    (!charts.is_empty()).then(|| {
        Section::new(
            "training",
            "Training",
            "How training went",
            "One line for each seed.",
            Content {
                charts,
                stages: report
                    .stages
                    .iter()
                    .map(|s| (s.name.clone(), s.step))
                    .collect(),
                arms: arms.clone(),
            },
        )
    })
}

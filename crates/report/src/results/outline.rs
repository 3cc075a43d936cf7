//! Which figures there are, over several trees that need not have the same.

use deem_metrics::figures::{Family, Figure, Named, Part, named};

/// A row of a table: one figure, to be looked up in each arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the family.
    pub family: String,
    /// Name of the part.
    pub part: String,
    /// Name of the figure.
    pub figure: String,
    /// What the row is called: the family's title; below it a further figure of the whole, or a part's name.
    pub label: String,
    /// Which of several figures it is, in words; empty in minor rows.
    pub detail: String,
    /// Whether it belongs to the family above.
    pub minor: bool,
}

impl Row {
    fn new(family: &Family, part: &Part, figure: &Figure, label: &str, detail: &str) -> Self {
        Self {
            family: family.name.clone(),
            part: part.name.clone(),
            figure: figure.name.clone(),
            label: label.to_owned(),
            detail: detail.to_owned(),
            minor: detail.is_empty(),
        }
    }

    /// The row's figure in a tree, if the tree has it.
    #[must_use]
    pub fn find<'a>(&self, families: &'a [Family]) -> Option<&'a Figure> {
        named::find(families, &self.family)?.figure(&self.part, &self.figure)
    }
}

/// Rows for all figures of the whole, and for the first of each part.
pub(super) fn main_rows(families: &[Family]) -> Vec<Row> {
    let mut rows = Vec::new();
    for family in families {
        for (at, part) in family.parts.iter().enumerate() {
            let shown = if at == 0 { part.figures.len() } else { 1 };
            for (number, figure) in part.figures.iter().take(shown).enumerate() {
                let label = figure.label();
                rows.push(match (at, number) {
                    (0, 0) => Row::new(family, part, figure, &family.title, &label),
                    (0, _) => Row::new(family, part, figure, &label, ""),
                    _ => Row::new(family, part, figure, &part.name, ""),
                });
            }
        }
    }
    rows
}

/// One tree with every family, part and figure that any of the trees has, in the order in which they turn up.
pub(crate) fn merged<'a>(trees: impl IntoIterator<Item = &'a [Family]>) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::new();
    for family in trees.into_iter().flatten() {
        let Some(known) = position(&all, family) else {
            all.push(family.clone());
            continue;
        };
        let parts = &mut all[known].parts;
        for part in &family.parts {
            match position(parts, part) {
                None => parts.push(part.clone()),
                Some(known) => {
                    let figures = &mut parts[known].figures;
                    for figure in &part.figures {
                        if position(figures, figure).is_none() {
                            figures.push(figure.clone());
                        }
                    }
                }
            }
        }
    }
    all
}

fn position<T: Named>(items: &[T], wanted: &T) -> Option<usize> {
    items.iter().position(|item| item.name() == wanted.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_metrics::figures::Unit;

    fn family(name: &str, parts: &[(&str, &[&str])]) -> Family {
        let figure = |name: &&str| Figure::plain(*name, 1.0, Unit::Percent);
        let parts = parts
            .iter()
            .map(|(name, figures)| Part::new(*name, figures.iter().map(figure)));
        Family {
            parts: parts.collect(),
            ..Family::new(name, name.to_uppercase())
        }
    }

    #[test]
    fn what_only_one_arm_has_gets_a_row_among_its_kin() {
        let first = [
            family("a", &[("all", &["x"])]),
            family("c", &[("all", &["x"])]),
        ];
        let second = [family("a", &[("all", &["x", "y"]), ("part", &["x", "y"])])];
        let all = merged([&first[..], &second[..]]);
        let rows: Vec<(String, String, bool)> = main_rows(&all)
            .into_iter()
            .map(|row| (row.label, row.detail, row.minor))
            .collect();
        let row = |label: &str, detail: &str, minor| (label.to_owned(), detail.to_owned(), minor);
        assert_eq!(
            rows,
            [
                row("A", "x", false),
                row("y", "", true),
                row("part", "", true),
                row("C", "x", false)
            ]
        );
        let rows = main_rows(&all);
        assert!(rows[1].find(&first).is_none() && rows[1].find(&second).is_some());
    }
}

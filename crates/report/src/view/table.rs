//! Tables with a column for each arm.

use deem_metrics::figures::{Figure, Unit};
use serde::Serialize;

use super::Arm;
use crate::text::{range, signed, symbol, value};

/// A table as the template prints it.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Columns.
    pub arms: Vec<Arm>,
    /// Heading of a last column that holds differences: first arm and second.
    pub difference: Option<(String, String)>,
    pub rows: Vec<Line>,
}

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub label: String,
    pub detail: String,
    pub minor: bool,
    pub cells: Vec<Option<Cell>>,
}

/// A value with its interval.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    text: String,
    range: Option<String>,
    /// Whether to point it out.
    strong: bool,
}

impl Cell {
    /// A figure. Percent and points need no unit: the table says it.
    pub(super) fn figure(figure: &Figure) -> Self {
        let unit = match figure.unit {
            Unit::Percent | Unit::Points => "",
            unit => symbol(unit),
        };
        Self {
            text: value(figure.mean, figure.unit) + unit,
            range: range(figure, value),
            strong: false,
        }
    }

    /// A difference, pointed out if it is clear.
    pub(super) fn difference(figure: &Figure) -> Self {
        Self {
            text: signed(figure.mean, figure.unit),
            range: range(figure, signed),
            strong: figure.excludes_zero(),
        }
    }

    /// A bare text.
    pub(super) fn text(text: String) -> Self {
        Self {
            text,
            range: None,
            strong: false,
        }
    }
}

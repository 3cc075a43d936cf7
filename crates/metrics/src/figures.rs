//! Results as a tree that scorers produce and everything else walks: family → part → figure.
//!
//! A [`Family`] is a benchmark (POPE), a [`Part`] a split, a set or a pattern of it, a [`Figure`] one number with its
//! interval. Who shows results iterates over what is there and needs to know no benchmark.
//!
//! Order carries meaning, in memory as in JSON: the first part stands for the whole family, and the first figure of a
//! part is what the part is known by. In JSON names are keys:
//!
//! ```
//! use deem_metrics::figures::{Counts, Family, Figure, Part};
//! use deem_metrics::statistics::Interval;
//!
//! let accuracy = Interval { mean: 0.5, low: 0.25, high: 0.75 };
//! let mut family = Family::new("pope", "POPE");
//! family.counts = Some(Counts { samples: 8, unreadable: 0, unparseable: 1 });
//! family.parts = vec![Part::new("mean", [Figure::percent("accuracy", accuracy)])];
//! assert_eq!(
//!     serde_json::to_value(&family)?,
//!     serde_json::json!({
//!         "title": "POPE",
//!         "samples": 8, "unreadable": 0, "unparseable": 1,
//!         "figures": {"mean": {"accuracy": {"mean": 50.0, "low": 25.0, "high": 75.0, "unit": "percent"}}},
//!     })
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod named;
mod tree;

pub use named::Named;
pub use tree::{Counts, Family, Figure, Paired, Part, Unit};

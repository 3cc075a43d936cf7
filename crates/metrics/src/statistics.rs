//! Means, accuracies and paired differences with 95 % confidence intervals.
//!
//! Questions about one image are not independent, and a study over three seeds is a sample of three. All intervals
//! here are therefore *cluster-robust*: answers may depend on each other freely within an image (or pair) and within
//! a seed. See [`clustered`] for the estimator and for why it is not a bootstrap.

pub mod clustered;
mod interval;
mod mcnemar;
mod paired;
mod scored;

pub use clustered::{accuracy, mean};
pub use interval::Interval;
pub use mcnemar::mcnemar;
pub use paired::{Difference, paired_by_part, paired_difference};
pub use scored::Scored;

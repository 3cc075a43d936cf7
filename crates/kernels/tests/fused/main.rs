//! Fused operations against their references: values and gradients, odd shapes, views, extremes.

mod attention;
mod check;
mod conv;
mod half;
mod mlp;
mod other;
mod reproducible;
mod rows;

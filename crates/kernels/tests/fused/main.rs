//! Fused operations against their references: values and gradients, odd shapes, views, extremes.

#![allow(clippy::disallowed_methods)] // values to compare with

mod attention;
mod check;
mod conv;
mod half;
mod mlp;
mod other;
mod prepacked;
mod reproducible;
mod rows;

//! Unfolded inputs, for maps too narrow to be read in place.
//!
//! A row of outputs is one product when the input is read in place. Where a row is only a few pixels, the
//! register tile would be nearly empty; so pixels of several rows and images are copied together.

use std::ops::Range;

use super::geometry::Geometry;

impl Geometry {
    /// Whether rows of outputs are too short for products of their own.
    pub(super) fn is_narrow(&self) -> bool {
        self.output[1] < 6
    }

    /// What an output sees of the input: `(tap, input)`.
    pub(super) fn patch(&self) -> usize {
        self.taps() * self.inputs
    }
}

/// Patches of some output positions of the whole batch, one after the other.
pub(super) fn patches<'a>(
    g: &Geometry,
    x: &[f32],
    positions: Range<usize>,
    scratch: &'a mut Vec<f32>,
) -> &'a [f32] {
    let [height, width] = g.input;
    let [out_height, out_width] = g.output;
    let [top, _, left, _] = g.padding;
    let run = g.kernel[1] * g.inputs;
    scratch.resize(positions.len() * g.patch(), 0.0);
    for (position, patch) in positions.zip(scratch.chunks_exact_mut(g.patch())) {
        let (row, column) = (position / out_width, position % out_width);
        let (image, row) = (row / out_height, row % out_height);
        let (y, x0) = (row * g.stride[0], column * g.stride[1]);
        // Columns of the kernel that are inside the image.
        let first = left.saturating_sub(x0).min(g.kernel[1]);
        let last = (width + left).saturating_sub(x0).clamp(first, g.kernel[1]);
        for (tap, taps) in patch.chunks_exact_mut(run).enumerate() {
            let source = (y + tap).checked_sub(top).filter(|y| *y < height);
            let Some(y) = source.filter(|_| first < last) else {
                taps.fill(0.0);
                continue;
            };
            let at = ((image * height + y) * width + x0 + first - left) * g.inputs;
            let (from, to) = (first * g.inputs, last * g.inputs);
            taps[..from].fill(0.0);
            taps[from..to].copy_from_slice(&x[at..][..to - from]);
            taps[to..].fill(0.0);
        }
    }
    scratch
}

//! Zero padding of a band of rows.

use super::geometry::{Band, Geometry};

/// The rows of the padded input that a band of output rows reads.
///
/// Uses the input in place where there is nothing to pad.
pub(super) fn band<'a>(
    g: &Geometry,
    x: &'a [f32],
    band: Band,
    scratch: &'a mut Vec<f32>,
) -> &'a [f32] {
    let [height, width] = g.input;
    let [top, _, left, _] = g.padding;
    let row = g.padded_row();
    let rows = (band.rows - 1) * g.stride[0] + g.kernel[0];
    let first = band.first * g.stride[0]; // in rows of the padded image
    let image = &x[band.image * height * width * g.inputs..][..height * width * g.inputs];
    if g.padding == [0; 4] {
        return &image[first * row..][..rows * row];
    }
    scratch.resize(rows * row, 0.0);
    for (i, out) in scratch.chunks_exact_mut(row).enumerate() {
        match (first + i).checked_sub(top) {
            Some(y) if y < height => {
                let (start, len) = (left * g.inputs, width * g.inputs);
                out[..start].fill(0.0);
                out[start..start + len].copy_from_slice(&image[y * len..][..len]);
                out[start + len..].fill(0.0);
            }
            _ => out.fill(0.0),
        }
    }
    scratch
}

//! Which pixels a polygon covers, by the rule of COCO's tools: its outline is drawn on a grid five times as fine, and
//! where it steps from column to column, inside begins or ends.

use image::{GrayImage, Luma};

/// Points of the fine grid in a picture's pixel.
const SCALE: f64 = 5.0;
/// Longest outline, in points of the fine grid.
const MAX_POINTS: u64 = 1 << 26;

/// Marks a polygon `[x0, y0, x1, y1, …]` in a mask.
///
/// # Errors
/// What was expected and what was found.
pub(super) fn fill(mask: &mut GrayImage, polygon: &[f64]) -> Result<(), (String, String)> {
    let corners = corners(polygon)?;
    let (width, height) = (i64::from(mask.width()), i64::from(mask.height()));
    // Places, counted down the columns, where inside begins or ends.
    let mut places = Vec::new();
    let mut before: Option<(i64, i64)> = None;
    for (index, from) in corners.iter().enumerate() {
        outline(*from, corners[(index + 1) % corners.len()], |(u, v)| {
            if let Some((last_u, last_v)) = before.replace((u, v))
                && last_u != u
                && let Some(x) = column(if u < last_u { u } else { u - 1 }, width)
            {
                places.push(x * height + row(v.min(last_v), height));
            }
        });
    }
    places.push(width * height);
    places.sort_unstable();
    for span in places.chunks_exact(2) {
        for place in span[0]..span[1] {
            mask.put_pixel(
                (place / height) as u32,
                (place % height) as u32,
                Luma([255]),
            );
        }
    }
    Ok(())
}

/// The corners on the fine grid.
fn corners(polygon: &[f64]) -> Result<Vec<(i64, i64)>, (String, String)> {
    let finite = polygon.iter().all(|v| v.is_finite());
    if polygon.len() < 6 || polygon.len() % 2 == 1 || !finite {
        return Err((
            "x and y of three or more corners".into(),
            format!("{} numbers", polygon.len()),
        ));
    }
    let fine = |v: f64| (SCALE * v + 0.5) as i64;
    let corners: Vec<(i64, i64)> = polygon
        .chunks_exact(2)
        .map(|corner| (fine(corner[0]), fine(corner[1])))
        .collect();
    let next = corners.iter().cycle().skip(1);
    let points = corners.iter().zip(next).fold(0u64, |sum, (from, to)| {
        let longer = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
        sum.saturating_add(longer)
    });
    if points > MAX_POINTS {
        let longest = MAX_POINTS as f64 / SCALE;
        let found = format!("{:.0}", points as f64 / SCALE);
        return Err((format!("an outline of at most {longest:.0} pixels"), found));
    }
    Ok(corners)
}

/// The points from one corner to the next, both included. A line is rounded alike in both directions.
fn outline(from: (i64, i64), to: (i64, i64), mut point: impl FnMut((i64, i64))) {
    let (wide, high) = (from.0.abs_diff(to.0), from.1.abs_diff(to.1));
    let along_x = wide >= high;
    let backwards = if along_x {
        from.0 > to.0
    } else {
        from.1 > to.1
    };
    let (start, end) = if backwards { (to, from) } else { (from, to) };
    let steps = wide.max(high) as i64;
    let slope = match (steps, along_x) {
        (0, _) => 0.0,
        (_, true) => (end.1 - start.1) as f64 / steps as f64,
        (_, false) => (end.0 - start.0) as f64 / steps as f64,
    };
    for step in 0..=steps {
        let step = if backwards { steps - step } else { step };
        let across = |from: i64| (from as f64 + slope * step as f64 + 0.5) as i64;
        point(if along_x {
            (start.0 + step, across(start.1))
        } else {
            (across(start.0), start.1 + step)
        });
    }
}

/// The column of a point of the fine grid, if it lies in the middle of one of the picture's.
fn column(u: i64, width: i64) -> Option<i64> {
    let x = (u as f64 + 0.5) / SCALE - 0.5;
    let inside = x >= 0.0 && x <= (width - 1) as f64;
    (inside && x.floor() == x).then_some(x as i64)
}

/// The row that a point of the fine grid is above of.
fn row(v: i64, height: i64) -> i64 {
    let y = (v as f64 + 0.5) / SCALE - 0.5;
    y.clamp(0.0, height as f64).ceil() as i64
}

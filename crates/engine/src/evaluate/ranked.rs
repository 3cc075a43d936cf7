//! Right answers among candidates: where they stand, and what that is worth.

use std::cmp::Ordering;

use deem_metrics::statistics::Scored;

use super::Answered;

/// Where the first right one of some candidates stands among all of them, by similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ranked {
    /// The nearest candidate, the first of equals.
    pub chosen: usize,
    /// Place of the best right one, from 1; nothing if no right one can be had.
    pub rank: Option<usize>,
    /// By how much the best right one is nearer than the best wrong one.
    pub margin: f64,
}

/// Ranks candidates by similarity; those without one cannot be had. Of equals the earlier one comes first.
pub(super) fn rank(similarities: &[Option<f64>], right: impl Fn(usize) -> bool) -> Option<Ranked> {
    let there = || {
        similarities
            .iter()
            .enumerate()
            .filter_map(|(at, s)| Some((at, (*s)?)))
    };
    let best = |of: &dyn Fn(usize) -> bool| {
        let own = there().filter(|(at, _)| of(*at));
        own.reduce(|best, next| if next.1 > best.1 { next } else { best })
    };
    let (chosen, _) = best(&|_| true)?;
    let own = best(&right);
    let rank = own.map(|(at, similarity)| {
        let before = there().filter(|(other, s)| match s.total_cmp(&similarity) {
            Ordering::Greater => true,
            Ordering::Equal => *other < at,
            Ordering::Less => false,
        });
        1 + before.count()
    });
    let other = best(&|at| !right(at));
    let margin = match (own, other) {
        (Some((_, own)), Some((_, other))) => own - other,
        _ => 0.0,
    };
    Some(Ranked {
        chosen,
        rank,
        margin,
    })
}

/// For each answer 1 if a right one was among the first `depth`, else 0; parts weigh the same.
pub(super) fn within(answers: &[Answered<'_>], depth: usize) -> Vec<Scored> {
    let scored = answers.iter().map(|answered| {
        let record = answered.record;
        let found = record.error.is_none() && record.rank.is_some_and(|rank| rank <= depth);
        Scored {
            stratum: record.part.clone(),
            ..Scored::new(
                answered.seed,
                record.cluster.clone(),
                record.id.clone(),
                f64::from(u8::from(found)),
            )
        }
    });
    scored.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        let similarities = [Some(0.5), Some(0.9), None, Some(0.5), Some(0.1)];
        let at = |right: &[usize]| rank(&similarities, |at| right.contains(&at)).unwrap();
        assert_eq!(at(&[1]).rank, Some(1));
        assert_eq!((at(&[3]).rank, at(&[0]).rank), (Some(3), Some(2)));
        assert_eq!((at(&[3, 4]).rank, at(&[3]).chosen), (Some(3), 1));
        assert_eq!(at(&[2]).rank, None);
        assert!((at(&[4]).margin + 0.8).abs() < 1e-12 && (at(&[1]).margin - 0.4).abs() < 1e-12);
        assert_eq!(rank(&[None], |_| true), None);
    }
}

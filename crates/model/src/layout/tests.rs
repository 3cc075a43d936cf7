use std::time::{Duration, Instant};

use super::*;

const T: StructureTokens = StructureTokens {
    bos: 1,
    eos: 2,
    pad: 0,
    soi: 8,
    image: 9,
};

/// bos, image, text, image, bos, image | pad pad, bos text image …
fn layout() -> Layout {
    let tokens = [
        1, 8, 9, 9, 5, 8, 9, 9, 1, 8, 9, 9, //
        0, 0, 1, 5, 8, 9, 9, 6, 6, 6, 6, 8,
    ];
    Layout::new(&tokens, 2, T, 2)
}

#[test]
fn images_know_their_document_and_predecessor() {
    let layout = layout();
    let spans: Vec<_> = layout
        .images
        .iter()
        .map(|i| (i.row, i.soi, i.document, i.previous))
        .collect();
    assert_eq!(
        spans,
        [
            (0, 1, 0, None),
            (0, 5, 0, Some(0)),
            (0, 9, 8, None),
            (1, 4, 2, None)
        ]
    );
}

#[test]
fn placeholders_point_at_visual_tokens() {
    let rows = layout().embedding_rows(0..12).unwrap();
    assert_eq!(&rows[..8], [0, 1, 24, 25, 4, 5, 26, 27]);
    assert_eq!(&rows[16..20], [16, 30, 31, 19]);
    let tail = layout().embedding_rows(10..12).unwrap();
    assert_eq!(tail, [8, 9, 2, 3]);
    assert!(layout().embedding_rows(8..9).is_none());
}

#[test]
fn tokens_see_earlier_images_of_their_document_only() {
    let layout = layout();
    let relative = layout.relative(0..12);
    let at = |row: usize, position: usize| &relative[(row * 12 + position) * 3..][..3];
    assert_eq!(layout.images_per_row(), 3);
    assert_eq!(at(0, 0), [0, 0, 0]);
    assert_eq!(at(0, 4), [1, 0, 0]);
    assert_eq!(at(0, 7), [2, 1, 0]);
    assert_eq!(at(0, 8), [0, 0, 0]);
    assert_eq!(at(0, 11), [0, 0, 1]);
    assert_eq!(at(1, 11), [1, 0, 0]);
    assert_eq!(layout.image_slots(), [0, 1, 2, 3, 0, 0]);
}

#[test]
fn contexts_run_backwards_to_the_bos() {
    let (rows, real, longest) = layout().contexts(&[(0, 5), (0, 9), (1, 4)]);
    assert_eq!(longest, 6);
    assert_eq!(&rows[..6], [5, 4, 3, 2, 1, 0]);
    assert_eq!(&rows[6..9], [9, 8, 8]);
    assert_eq!(&real[6..12], [true, true, false, false, false, false]);
    assert_eq!(&rows[12..15], [16, 15, 14]);
}

#[test]
fn left_padding_is_not_counted_in_positions() {
    let layout = layout();
    assert_eq!(&layout.positions()[12..16], [0, 0, 0, 1]);
    assert!(layout.is_padded());
}

#[test]
#[should_panic(expected = "placeholders after <soi>")]
fn a_cut_placeholder_run_is_a_programmer_error() {
    Layout::new(&[1, 8, 9, 5], 1, T, 2);
}

/// Every prefix of rows that end in no cut image, token by token.
#[test]
fn an_extended_layout_equals_one_of_all_tokens() {
    let (first, second) = (
        [1, 8, 9, 9, 5, 8, 9, 9, 1, 8, 9, 9, 7, 8],
        [0, 0, 1, 5, 8, 9, 9, 6, 6, 1, 4, 8, 9, 9],
    );
    let rows = |len: usize| [&first[..len], &second[..len]].concat();
    let mut layout = Layout::new(&rows(1), 2, T, 2);
    let mut compared = 0;
    for len in 2..=first.len() {
        layout.push(&[first[len - 1], second[len - 1]]).unwrap();
        if let Ok(whole) = Layout::read(&rows(len), 2, T, 2) {
            assert_eq!(layout, whole, "{len} positions");
            compared += 1;
        }
    }
    assert_eq!(compared, 8);
    assert_eq!(layout.images.len(), 5);

    // Some columns are what the same columns of the whole are.
    let part = 9..13;
    let width = layout.images_per_row();
    let whole = layout.relative(0..layout.seq);
    let expected: Vec<i64> = (0..2)
        .flat_map(|row| &whole[(row * layout.seq + 9) * width..][..4 * width])
        .copied()
        .collect();
    assert_eq!(layout.relative(part.clone()), expected);
    assert_eq!(layout.tokens_at(part.clone()), [8, 9, 9, 7, 1, 4, 8, 9]);
    assert_eq!(layout.positions_at(part), [9, 10, 11, 12, 7, 8, 9, 10]);
}

#[test]
fn what_cuts_an_image_is_refused() {
    for (tokens, next, found) in [
        (vec![1, 8], 5, 0),
        (vec![1, 5, 8], 8, 0),
        (vec![1, 8, 9, 9], 9, 3),
    ] {
        let mut layout = Layout::new(&tokens, 1, T, 2);
        assert!(!layout.accepts(0, next));
        let error = layout.push(&[next]).unwrap_err();
        let position = tokens.iter().rposition(|token| *token == T.soi).unwrap();
        let expected = LayoutError::Placeholders {
            row: 0,
            position,
            expected: 2,
            found,
        };
        assert_eq!(error, expected);
    }
    let mut layout = Layout::new(&[1, 5], 1, T, 2);
    assert!(layout.push(&[5, 5]).is_err());
}

#[test]
fn known_parts_give_what_reading_gives() {
    let read = layout();
    let tokens = read.token_ids();
    let valid: Vec<bool> = tokens.iter().map(|token| *token != T.pad).collect();
    let images: Vec<_> = read.images.iter().map(|i| (i.row, i.soi)).collect();
    let parts = LayoutParts {
        batch: 2,
        tokens: &tokens,
        valid: &valid,
        documents: &[(0, 0), (0, 8), (1, 2)],
        images: &images,
    };
    assert_eq!(Layout::of_parts(&parts, T, 2), Ok(read));

    let wrong = LayoutParts {
        images: &[(0, 1), (0, 4)],
        ..parts
    };
    let expected = LayoutError::Image {
        row: 0,
        position: 4,
        expected: 2,
    };
    assert_eq!(Layout::of_parts(&wrong, T, 2), Err(expected));
    // Another number of placeholders than the model's.
    for queries in [1, 3] {
        assert!(Layout::of_parts(&parts, T, queries).is_err());
    }
    let unordered = LayoutParts {
        images: &[(0, 5), (0, 1)],
        ..parts
    };
    assert!(Layout::of_parts(&unordered, T, 2).is_err());
    let unordered = LayoutParts {
        documents: &[(0, 8), (0, 0)],
        ..parts
    };
    let expected = LayoutError::Document {
        row: 0,
        position: 0,
    };
    assert_eq!(Layout::of_parts(&unordered, T, 2), Err(expected));
}

#[test]
fn selected_rows_keep_their_images() {
    let layout = layout();
    let (selected, origins) = layout.select(&[1, 0, 1]);
    let tokens = layout.token_ids();
    let expected = [&tokens[12..], &tokens[..12], &tokens[12..]].concat();
    assert_eq!(selected, Layout::new(&expected, 3, T, 2));
    assert_eq!(origins, [3, 0, 1, 2, 3]);
}

/// What `Deem::read_on` asks of each new position.
fn asked(layout: &Layout, columns: Range<usize>) -> usize {
    layout.positions_at(columns.clone()).len()
        + layout.tokens_at(columns.clone()).len()
        + layout.relative(columns.clone()).len()
        + layout.soi_mask(columns.clone()).len()
        + layout.embedding_rows(columns).map_or(0, |rows| rows.len())
        + usize::from(layout.is_padded())
}

/// Decoding takes time in proportion to the tokens: the last of many take as long as the first. If each
/// looked at all before it, they would take a hundred times as long.
#[test]
fn decoding_does_the_same_work_for_every_token() {
    let (steps, share) = (200_000, 1000);
    let mut layout = Layout::new(&[1, 8, 9, 9, 5], 1, T, 2);
    let mut shares = Vec::new();
    for _ in 0..steps / share {
        let start = Instant::now();
        for _ in 0..share {
            layout.push(&[5]).unwrap();
            assert!(asked(&layout, layout.seq - 1..layout.seq) > 0);
        }
        shares.push(start.elapsed());
    }
    // The fastest of several, since the machine does other things, too.
    let fastest = |shares: &[Duration]| shares.iter().min().copied().unwrap_or_default();
    let (first, last) = (
        fastest(&shares[..20]),
        fastest(&shares[shares.len() - 20..]),
    );
    assert!(last < first * 5, "{first:?} and {last:?}");
}

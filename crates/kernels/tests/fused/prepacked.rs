//! Weights packed once: what comes of a row does not depend on the others.

use burn::tensor::{DType, Device, Tensor};
use deem_kernels::{self as k, AttentionMask, KeyValues, Looks, PrepackedMatrix, Shifts};

use crate::check::tensor;
use crate::reproducible::{bits, same};

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

fn matrix(weight: &Tensor<2>) -> PrepackedMatrix {
    PrepackedMatrix::new(weight).expect("on the CPU, without a gradient")
}

/// Largest difference, as share of the largest number.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let top = expected.iter().fold(1e-6, |top: f32, x| top.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |worst, (a, b)| worst.max((a - b).abs() / top))
}

/// Sizes of outputs and inputs: one, less than a vector, no whole vectors, many panels.
const SIZES: [[usize; 2]; 6] = [[1, 1], [5, 7], [17, 33], [96, 192], [150, 100], [300, 50]];
/// Rows beside the first: few for each kind of tile, and more than a block.
const ROWS: [usize; 10] = [2, 3, 4, 5, 8, 13, 16, 31, 40, 130];

#[test]
fn rows_alone_and_among_others() {
    for [outputs, inputs] in SIZES {
        let weight = tensor([outputs, inputs], 1);
        let (prepacked, bias) = (matrix(&weight), tensor([outputs], 2));
        for rows in ROWS {
            let x: Tensor<2> = tensor([rows, inputs], 3);
            let linear = |x: Tensor<2>, bias: Option<Tensor<1>>| {
                values(k::prepacked_linear(x, &prepacked, bias))
            };
            for bias in [None, Some(bias.clone())] {
                let together = same(|| vec![linear(x.clone(), bias.clone())]);
                let each = (0..rows).flat_map(|row| {
                    let alone = x.clone().narrow(0, row, 1);
                    same(|| vec![linear(alone.clone(), bias.clone())]).concat()
                });
                assert_eq!(together.concat(), each.collect::<Vec<_>>());
                let expected = k::reference::linear(x.clone(), weight.clone(), bias.clone());
                let found = linear(x.clone(), bias);
                assert!(found.iter().all(|y| y.is_finite()));
                assert!(apart(&found, &values(expected)) < 1e-5);
            }
            // More than a few rows are what a weight gives that is packed at every call.
            if rows > 4 {
                let expected = k::linear(x.clone(), weight.clone(), Some(bias.clone()));
                assert_eq!(linear(x, Some(bias.clone())), values(expected));
            }
        }
    }
}

#[test]
fn mlps_alone_and_among_others() {
    for [inner, width] in SIZES {
        let [gate, up] = [1, 2].map(|seed| tensor([inner, width], seed));
        let down = tensor([width, inner], 3);
        let [g, u, d] = [&gate, &up, &down].map(matrix);
        for rows in ROWS {
            let x: Tensor<2> = tensor([rows, width], 4);
            let mlp = |x: Tensor<2>| values(k::prepacked_swiglu_mlp(x, &g, &u, &d));
            let together = same(|| vec![mlp(x.clone())]);
            let each = (0..rows).flat_map(|row| {
                let alone = x.clone().narrow(0, row, 1);
                same(|| vec![mlp(alone.clone())]).concat()
            });
            assert_eq!(together.concat(), each.collect::<Vec<_>>());
            let [gate, up, down] = [&gate, &up, &down].map(Tensor::clone);
            let layer = |x: &Tensor<2>, weight| k::reference::linear(x.clone(), weight, None);
            let hidden = k::reference::swiglu(layer(&x, gate), layer(&x, up));
            let expected = layer(&hidden, down);
            assert!(apart(&mlp(x), &values(expected)) < 1e-5);
        }
    }
}

#[test]
fn numbers_come_back_as_they_were() {
    let weight: Tensor<2> = tensor([35, 21], 1);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let weight = weight.clone().cast(dtype);
        let prepacked = matrix(&weight);
        assert_eq!(prepacked.shape(), [35, 21]);
        assert_eq!(prepacked.unpack(), weight.to_data());
        let rows = weight.clone().slice([34..35, 0..21]);
        let rows = Tensor::cat(vec![rows, weight.clone().slice([0..1, 0..21])], 0);
        assert_eq!(prepacked.select(&[34, 0]), rows.into_data());
        // Weights in 16 bits are the same numbers in 32.
        let wide = matrix(&weight.clone().cast(DType::F32));
        for rows in [1, 20] {
            let x: Tensor<2> = tensor([rows, 21], 2);
            let found = k::prepacked_linear(x.clone(), &prepacked, None);
            assert_eq!(values(found), values(k::prepacked_linear(x, &wide, None)));
        }
    }
    assert!(PrepackedMatrix::new(&tensor([2, 2], 1).autodiff()).is_none());
}

#[test]
fn gradients_take_the_unpacked_weight() {
    let weight: Tensor<2> = tensor([9, 12], 1);
    let x = tensor::<2>([6, 12], 2).autodiff().require_grad();
    let gradient = |y: Tensor<2>| values(x.grad(&y.sum().backward()).expect("a gradient"));
    let expected = gradient(k::linear(x.clone(), weight.clone().autodiff(), None));
    let found = gradient(k::prepacked_linear(x.clone(), &matrix(&weight), None));
    assert_eq!(found, expected);
    let (up, down) = (matrix(&weight), matrix(&tensor([12, 9], 3)));
    let found = gradient(k::prepacked_swiglu_mlp(x.clone(), &up, &up, &down));
    assert!(found.iter().any(|x| *x != 0.0));
}

/// Positions that are read at once, and one after the other.
#[test]
fn attention_to_a_prompt_and_step_by_step() {
    let scale = 0.3;
    for [heads, kv_heads, dim, before, new] in [
        [4, 2, 48, 13, 40],
        [6, 2, 20, 0, 33],
        [3, 3, 7, 17, 1],
        [2, 1, 128, 1, 70],
        [5, 1, 16, 30, 5],
    ] {
        let of = |heads, rows, seed| -> Tensor<4> { tensor([1, heads, rows, dim], seed) };
        let query = of(heads, new, 1) * 4.0;
        let [keys, values_] = [2, 3].map(|seed| of(kv_heads, before + new, seed));
        for window in [None, Some(1), Some(9), Some(25)] {
            let all = before + new;
            let hidden = |query: usize, key: usize| {
                window.is_some_and(|window| key + window < before + query + 1)
            };
            let bias: Vec<f32> = (0..new * all)
                .map(|i| if hidden(i / all, i % all) { -1e30 } else { 0.0 })
                .collect();
            let bias = Tensor::<1>::from_floats(bias.as_slice(), &Device::flex());
            let mask = AttentionMask {
                causal: true,
                key_padding: None,
                bias: window.map(|_| bias.reshape([1, 1, new, all])),
            };
            let whole = same(|| {
                let (q, k_, v) = (query.clone(), keys.clone(), values_.clone());
                let mixed = k::attention(q, k_, v, mask.clone(), scale);
                vec![values(mixed.swap_dims(1, 2))]
            });
            let steps = same(|| {
                let first = |x: &Tensor<4>, count: usize| x.clone().narrow(2, 0, count);
                let mut cache = KeyValues::default();
                if before > 0 {
                    cache.append(first(&keys, before), first(&values_, before));
                }
                let step = |position: usize| {
                    let one = |x: &Tensor<4>, at: usize| x.clone().narrow(2, at, 1);
                    cache.append(
                        one(&keys, before + position),
                        one(&values_, before + position),
                    );
                    let query = one(&query, position);
                    values(KeyValues::attend(&[&cache], query, window, scale))
                };
                vec![(0..new).flat_map(step).collect()]
            });
            assert_eq!(
                whole, steps,
                "{heads} {kv_heads} {dim} {before} {new} {window:?}"
            );
        }
    }
}

/// What a query sees does not depend on queries and images beside.
#[test]
fn looks_at_images() {
    let [batch, queries, images, heads, dim, points, entries] = [3, 5, 3, 2, 20, 3, 4];
    let maps = [[4, 5], [2, 2]];
    let (levels, cells) = (maps.len(), 24);
    let widths = [heads * points * 2, heads * levels * (points + 1)];
    let value: Tensor<4> = tensor([batch, images * cells, heads, dim], 1);
    let [offsets, logits] =
        [0, 1].map(|i| tensor::<3>([batch, queries, widths[i]], i as u64 + 2) * 3.0);
    let shifts = Shifts {
        offsets: tensor([entries, widths[0]], 4),
        logits: tensor([entries, widths[1]], 5),
    };
    // Further back than the table reaches, and images that are not seen.
    let seen = [[0, 0, 0], [1, 0, 0], [2, 1, 0], [9, 2, 1], [0, 1, 0]];
    let relative: Vec<i64> = (0..batch).flat_map(|_| seen.concat()).collect();
    let steps = vec![[0.2, 0.3], [0.4, 0.5]];
    let look = |relative: &[i64], images: usize, tensors: (Tensor<4>, Tensor<3>, Tensor<3>)| {
        let looks = Looks {
            shapes: maps.repeat(images),
            steps: steps.clone(),
            points,
            relative: relative.to_vec(),
        };
        let (value, offsets, logits) = tensors;
        values(
            looks
                .sampled(value, offsets, logits, &shifts)
                .expect("plain tensors"),
        )
    };
    let all = || (value.clone(), offsets.clone(), logits.clone());
    let together = same(|| vec![look(&relative, images, all())]).concat();

    // As by one operation after the other.
    let mut locations = Vec::new();
    let mut weights = Vec::new();
    let (o, l) = (values(offsets.clone()), values(logits.clone()));
    let (so, sl) = (
        values(shifts.offsets.clone()),
        values(shifts.logits.clone()),
    );
    for query in 0..batch * queries {
        let back = &relative[query * images..][..images];
        for head in 0..heads {
            let mut row = Vec::new();
            for back in back {
                let entry = (*back as usize).min(entries - 1);
                for (level, step) in steps.iter().enumerate() {
                    for point in 0..points {
                        for (axis, step) in step.iter().enumerate() {
                            let at = (head * points + point) * 2 + axis;
                            let moved = o[query * widths[0] + at] + so[entry * widths[0] + at];
                            locations.push(moved * step + 0.5);
                        }
                        let at = (head * levels + level) * (points + 1) + point;
                        let raised = l[query * widths[1] + at] + sl[entry * widths[1] + at];
                        row.push(if *back > 0 { raised } else { -1e4 });
                    }
                }
            }
            row.push(0.0);
            let row = Tensor::<1>::from_floats(row.as_slice(), &Device::flex());
            let row = values(k::softmax(row));
            weights.extend_from_slice(&row[..row.len() - 1]);
        }
    }
    let shape = [batch, queries, heads, images * levels, points];
    let plain = |numbers: &[f32]| Tensor::<1>::from_floats(numbers, &Device::flex());
    let expected = k::deformable_attention(
        value.clone(),
        &maps.repeat(images),
        plain(&locations).reshape([shape[0], shape[1], shape[2], shape[3], shape[4], 2]),
        plain(&weights).reshape(shape),
    );
    let found: Vec<f32> = together.iter().map(|x| f32::from_bits(*x)).collect();
    assert!(apart(&found, &values(expected)) < 1e-5);

    // Each query alone, with the images up to the last that it sees.
    let width = heads * dim;
    for (query, together) in together.chunks(width).enumerate() {
        let (row, own) = (query / queries, query % queries);
        let count = seen[own]
            .iter()
            .rposition(|back| *back > 0)
            .map_or(1, |last| last + 1);
        let one = |x: &Tensor<3>| x.clone().narrow(0, row, 1).narrow(1, own, 1);
        let value = value.clone().narrow(0, row, 1).narrow(1, 0, count * cells);
        let alone = look(
            &seen[own][..count],
            count,
            (value, one(&offsets), one(&logits)),
        );
        assert_eq!(bits(vec![alone]).concat(), together, "query {query}");
    }
    let tracked = value.clone().autodiff();
    let looks = Looks {
        shapes: maps.repeat(images),
        steps: steps.clone(),
        points,
        relative,
    };
    assert!(looks.sampled(tracked, offsets, logits, &shifts).is_none());
}

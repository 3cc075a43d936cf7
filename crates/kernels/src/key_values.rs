//! What a causal attention has read: keys and values that grow token by token.

mod step;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::attention::{AttentionMask, attention};
use crate::host::custom::{Host, eager, primitive, wrapped};
use crate::host::par::{self, Shared};
use step::{Row, step};

/// Keys and values of some sequences of equal lengths, `[batch, heads, positions, dim]` each.
///
/// New positions are written into room behind the old ones, where the device is the CPU and nobody shares the room;
/// elsewhere everything is copied. Copies share what they have until one of them grows.
#[derive(Clone, Debug, Default)]
pub struct KeyValues {
    /// With room for more positions than there are.
    stores: Option<[Tensor<4>; 2]>,
    len: usize,
}

impl KeyValues {
    /// These positions.
    pub fn new(keys: Tensor<4>, values: Tensor<4>) -> Self {
        Self {
            len: keys.dims()[2],
            stores: Some([keys, values]),
        }
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All keys and values; `None` before the first.
    pub fn tensors(&self) -> Option<(Tensor<4>, Tensor<4>)> {
        let [keys, values] = self.stores.as_ref()?;
        let filled = |store: &Tensor<4>| store.clone().narrow(2, 0, self.len);
        Some((filled(keys), filled(values)))
    }

    /// The same change of keys and values, as a choice of rows or positions.
    #[must_use]
    pub fn map(&self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        match self.tensors() {
            Some((keys, values)) => Self::new(change(keys), change(values)),
            None => Self::default(),
        }
    }

    /// Adds positions.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[batch, heads, new, dim]`
    ///
    /// # Panics
    /// If they do not fit those that are there.
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) {
        let len = self.len + keys.dims()[2];
        let fits = [&keys, &values].into_iter().all(eager);
        self.stores = Some(match self.stores.take() {
            Some(stores) if fits && stores.iter().all(eager) => {
                let mut news = [keys, values].into_iter();
                stores.map(|store| {
                    let new = Host::strided(primitive(news.next().expect("two")));
                    let batch = 0..new.shape()[0];
                    wrapped(grown(primitive(store), self.len, &new, batch))
                })
            }
            Some([old_keys, old_values]) => {
                let old = |store: Tensor<4>| store.narrow(2, 0, self.len);
                [
                    Tensor::cat(vec![old(old_keys), keys], 2),
                    Tensor::cat(vec![old(old_values), values], 2),
                ]
            }
            None => [keys, values],
        });
        self.len = len;
    }

    /// Adds a position to each of several sequences.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[sequences, heads, 1, dim]`
    ///
    /// # Panics
    /// If there are not as many sequences, each of batch 1, or what is new does not fit.
    pub fn append_each(all: &mut [&mut Self], keys: &Tensor<4>, values: &Tensor<4>) {
        assert_eq!(keys.dims()[0], all.len(), "one row for each sequence");
        let in_place = |one: &Self| one.stores.iter().flatten().all(eager) && one.stores.is_some();
        if !([keys, values].into_iter().all(eager) && all.iter().all(|one| in_place(one))) {
            for (row, one) in all.iter_mut().enumerate() {
                let own = |x: &Tensor<4>| x.clone().narrow(0, row, 1);
                one.append(own(keys), own(values));
            }
            return;
        }
        let news = [keys, values].map(|new| Host::strided(primitive(new.clone())));
        for (row, one) in all.iter_mut().enumerate() {
            let stores = one.stores.take().expect("just looked");
            let mut news = news.iter();
            one.stores = Some(stores.map(|store| {
                let new = news.next().expect("two");
                wrapped(grown(primitive(store), one.len, new, row..row + 1))
            }));
            one.len += 1;
        }
    }

    /// Attention of one new query of each sequence, the last position being its own.
    ///
    /// A sequence's result does not depend on the others, to the last bit on the CPU.
    ///
    /// # Shapes
    /// - `query`: `[sequences, query_heads, 1, dim]`, where `heads` divides `query_heads`
    /// - `all`: one of that batch, or as many of batch 1
    /// - `window`: positions that a query sees, its own included; all if absent
    /// - returns `[sequences, query_heads, 1, dim]`
    ///
    /// # Panics
    /// If something is empty, or does not fit.
    pub fn attend(all: &[&Self], query: Tensor<4>, window: Option<usize>, scale: f64) -> Tensor<4> {
        let sequences = query.dims()[0];
        assert!(
            all.len() == 1 || all.len() == sequences,
            "{} caches for {sequences} sequences",
            all.len()
        );
        let from = |one: &Self| one.len.saturating_sub(window.unwrap_or(usize::MAX));
        let tensors = || all.iter().flat_map(|one| one.stores.iter().flatten());
        if eager(&query) && tensors().all(eager) {
            let hosts: Vec<[Host; 2]> = all
                .iter()
                .map(|one| {
                    let stores = one.stores.as_ref().expect("something was read");
                    stores
                        .each_ref()
                        .map(|store| Host::strided(primitive(store.clone())))
                })
                .collect();
            let rows = (0..sequences).map(|row| {
                let cache = row.min(all.len() - 1);
                Row {
                    stores: &hosts[cache],
                    batch: if all.len() == 1 { row } else { 0 },
                    positions: from(all[cache])..all[cache].len,
                }
            });
            let query = Host::strided(primitive(query));
            return wrapped(step(&query, &rows.collect::<Vec<_>>(), scale as f32));
        }
        let rows = all.iter().enumerate().map(|(row, one)| {
            let (keys, values) = one.tensors().expect("something was read");
            let seen = |x: Tensor<4>| x.narrow(2, from(one), one.len - from(one));
            let query = if all.len() == 1 {
                query.clone()
            } else {
                query.clone().narrow(0, row, 1)
            };
            attention(
                query,
                seen(keys),
                seen(values),
                AttentionMask::default(),
                scale,
            )
        });
        Tensor::cat(rows.collect(), 0)
    }
}

/// A store with `len` positions and then those of some rows of `new`.
fn grown(store: FlexTensor, len: usize, new: &Host, rows: std::ops::Range<usize>) -> FlexTensor {
    let [batch, heads, room, dim] = sizes(store.layout().shape());
    let [_, new_heads, count, new_dim] = sizes(new.shape());
    assert!(
        [rows.len(), new_heads, new_dim] == [batch, heads, dim],
        "keys or values {:?} after {:?}",
        new.shape(),
        store.layout().shape()
    );
    let whole = store.storage::<f32>().len() == batch * heads * room * dim;
    let mut store = if whole && store.is_contiguous() && len + count <= room {
        store
    } else {
        roomier(&Host::strided(store), len, len + count)
    };
    let [_, _, room, _] = sizes(store.layout().shape());
    let out = store.storage_mut::<f32>();
    for (b, row) in rows.enumerate() {
        for head in 0..heads {
            let from = &new.data()[row * new.stride(0) + head * new.stride(1)..];
            let to = &mut out[((b * heads + head) * room + len) * dim..][..count * dim];
            for (position, to) in to.chunks_exact_mut(dim).enumerate() {
                to.copy_from_slice(&from[position * new.stride(2)..][..dim]);
            }
        }
    }
    store
}

/// The first `len` positions, with room for `least` and half as many more.
fn roomier(store: &Host, len: usize, least: usize) -> FlexTensor {
    let [batch, heads, _, dim] = sizes(store.shape());
    let room = (least + least / 2).next_multiple_of(16);
    let mut data = vec![0.0; batch * heads * room * dim];
    let shared = Shared::new(&mut data);
    par::ranges(batch * heads, 1, len * dim / 16 + 1, |range| {
        for index in range {
            let (b, head) = (index / heads, index % heads);
            let from = &store.data()[b * store.stride(0) + head * store.stride(1)..];
            // SAFETY: heads are disjoint
            let to = unsafe { shared.slice(index * room * dim, len * dim) };
            for (position, to) in to.chunks_exact_mut(dim).enumerate() {
                to.copy_from_slice(&from[position * store.stride(2)..][..dim]);
            }
        }
    });
    crate::host::custom::Output::new(data, &[batch, heads, room, dim]).into_tensor()
}

fn sizes(shape: &[usize]) -> [usize; 4] {
    shape.try_into().expect("four axes")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn numbers(shape: [usize; 4], seed: usize) -> Tensor<4> {
        let count = shape.iter().product::<usize>();
        let number = |i: usize| ((i * 7919 + seed * 31) % 1009) as f32 / 504.0 - 1.0;
        let values: Vec<f32> = (0..count).map(number).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(shape)
    }

    fn values(x: Tensor<4>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn grows_as_concatenation_does() {
        let [keys, new] = [numbers([2, 3, 5, 4], 1), numbers([2, 3, 60, 4], 2)];
        let mut cache = KeyValues::new(keys.clone(), keys.clone());
        let copy = cache.clone();
        let mut expected = keys.clone();
        for position in 0..60 {
            let one = new.clone().narrow(2, position, 1);
            cache.append(one.clone(), one.clone() * 2.0);
            expected = Tensor::cat(vec![expected, one], 2);
        }
        let (found, doubled) = cache.tensors().unwrap();
        assert_eq!(values(found), values(expected.clone()));
        let last = expected.narrow(2, 5, 60) * 2.0;
        assert_eq!(values(doubled.narrow(2, 5, 60)), values(last));
        // What was shared is as it was.
        assert_eq!(copy.len(), 5);
        assert_eq!(values(copy.tensors().unwrap().0), values(keys));
    }

    #[test]
    fn copies_part_where_they_grow() {
        let mut first = KeyValues::default();
        let add = |cache: &mut KeyValues, seed| {
            cache.append(numbers([1, 2, 1, 4], seed), numbers([1, 2, 1, 4], seed));
        };
        (0..3).for_each(|seed| add(&mut first, seed));
        let mut second = first.clone();
        add(&mut first, 8);
        add(&mut second, 9);
        let fourth = |cache: &KeyValues| values(cache.tensors().unwrap().0.narrow(2, 3, 1));
        assert_eq!(fourth(&first), values(numbers([1, 2, 1, 4], 8)));
        assert_eq!(fourth(&second), values(numbers([1, 2, 1, 4], 9)));
        let shorter = first.map(|x| x.narrow(2, 0, 2));
        assert_eq!((shorter.len(), first.len()), (2, 4));
    }

    #[test]
    fn sequences_together_are_as_alone_and_as_attention() {
        let (heads, kv_heads, dim) = (6, 2, 20);
        let query = numbers([3, heads, 1, dim], 5);
        let new = numbers([3, kv_heads, 1, dim], 6);
        let mut caches: Vec<KeyValues> = [4, 33, 1]
            .iter()
            .map(|len| {
                let of = |seed| numbers([1, kv_heads, *len, dim], seed + len);
                KeyValues::new(of(1), of(2))
            })
            .collect();
        let mut all: Vec<&mut KeyValues> = caches.iter_mut().collect();
        KeyValues::append_each(&mut all, &new, &new);
        let all: Vec<&KeyValues> = caches.iter().collect();
        for window in [None, Some(3)] {
            let together = values(KeyValues::attend(&all, query.clone(), window, 0.3));
            for (row, together) in together.chunks(heads * dim).enumerate() {
                let own = query.clone().narrow(0, row, 1);
                let alone = KeyValues::attend(&all[row..=row], own.clone(), window, 0.3);
                assert_eq!(values(alone), together);
                let (keys, known) = all[row].tensors().unwrap();
                let seen = window.unwrap_or(usize::MAX).min(all[row].len());
                let last = |x: Tensor<4>| x.narrow(2, all[row].len() - seen, seen);
                let mask = AttentionMask::default();
                let expected = attention(own, last(keys), last(known), mask, 0.3);
                for (a, b) in values(expected).iter().zip(together) {
                    assert!((a - b).abs() < 1e-6, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn sequences_of_one_length_in_one_cache() {
        let (keys, query) = (numbers([2, 1, 7, 8], 1), numbers([2, 2, 1, 8], 2));
        let both = KeyValues::new(keys.clone(), keys.clone() * 3.0);
        let together = values(KeyValues::attend(&[&both], query.clone(), None, 1.0));
        for row in 0..2 {
            let own = both.map(|x| x.narrow(0, row, 1));
            let alone = KeyValues::attend(&[&own], query.clone().narrow(0, row, 1), None, 1.0);
            assert_eq!(values(alone), together[row * 16..][..16]);
        }
    }
}

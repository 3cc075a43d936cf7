//! What several processes exchange at a step (Rajbhandari et al., 2020, ZeRO stage 1): each gets the summed gradient of
//! its part of the parameters, updates that part with its part of the optimizer's state, and gives it to the others.
//!
//! Parameters stand behind one another in the order of their paths, cut into buckets; of each bucket every process has
//! an equal part. Sums are taken in the order of ranks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use deem_collective::{Collective, Width, all_gather_floats, any, meanwhile, reduce_scatter, sum};

use super::optimizer::{AdamW, GradientSet, Moment, Pace};
use super::parameters::ParameterInfo;
use crate::EngineError;

/// Numbers that are exchanged at once: enough to use a network, few enough to make some while others travel.
const BUCKET: usize = 1 << 22;

/// Some numbers of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    path: String,
    range: Range<usize>,
}

/// How processes share the trained parameters.
pub(super) struct Exchange {
    processes: Arc<dyn Collective>,
    width: Width,
    device: Device,
    paths: Vec<String>,
    /// What each bucket holds, in order.
    buckets: Vec<Vec<Segment>>,
    /// How many of the buckets are of parameters behind the loss's cut: the first ones.
    behind: usize,
}

impl Exchange {
    /// Of the parameters that are trained, some of which lie before the loss's cut.
    pub fn new(
        processes: Arc<dyn Collective>,
        width: Width,
        infos: &[ParameterInfo],
        before_cut: impl Fn(&str) -> bool,
        device: Device,
    ) -> Self {
        let trained = infos.iter().filter(|info| info.group.is_some());
        let lengths: BTreeMap<String, usize> = trained
            .map(|info| (info.path.clone(), info.count))
            .collect();
        let paths = lengths.keys().cloned().collect();
        let (before, behind): (BTreeMap<_, _>, BTreeMap<_, _>) =
            lengths.into_iter().partition(|(path, _)| before_cut(path));
        let mut all = buckets(&behind, BUCKET);
        let behind = all.len();
        all.extend(buckets(&before, BUCKET));
        Self {
            processes,
            width,
            device,
            paths,
            buckets: all,
            behind,
        }
    }

    /// Updates a module with the sum of all processes' gradients; returns it with the gradient's norm. `rest` finishes
    /// the backward pass while what is there is exchanged: `gradients` has all that comes from behind the cut.
    ///
    /// # Errors
    /// `Processes` if another gave up, those of `rest`.
    ///
    /// # Panics
    /// If `rest` gives a gradient of a parameter behind the cut.
    pub fn step<M: Module>(
        &self,
        module: M,
        mut gradients: GradientSet,
        rest: impl FnOnce(&M) -> Result<GradientSet, EngineError>,
        optimizer: &mut AdamW,
        (step, factor): (u64, f64),
    ) -> Result<(M, f64), EngineError> {
        let processes = &*self.processes;
        // A bucket's gradients leave the device while those of the one before are exchanged; all that are final do
        // before the others are computed.
        let (mut rest, mut failed) = (Some(rest), None);
        let flat = self
            .buckets
            .iter()
            .enumerate()
            .map_while(|(place, bucket)| {
                if place >= self.behind
                    && let Some(rest) = rest.take()
                {
                    match rest(&module) {
                        Ok(rest) => gradients.add(self.before_cut(rest)),
                        Err(error) => {
                            failed = Some(error);
                            return None;
                        }
                    }
                }
                let mut values = Vec::new();
                for segment in bucket {
                    match gradients.get(&segment.path) {
                        Some(gradient) => values.extend(numbers(gradient, &segment.range)),
                        None => values.resize(values.len() + segment.range.len(), 0.0),
                    }
                }
                Some(values)
            });
        let (width, ahead) = (self.width, self.behind.max(1));
        let own = meanwhile(ahead, flat, |values| {
            reduce_scatter(processes, &values, width)
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let paths = self.paths.iter();
        let mut present: Vec<bool> = paths.map(|p| gradients.get(p).is_some()).collect();
        any(processes, &mut present)?;
        let present = |path: &str| {
            let place = self.paths.binary_search_by(|own| own.as_str().cmp(path));
            place.is_ok_and(|place| present[place])
        };
        let squares = own.iter().map(|part| {
            let squares = part.iter().map(|v| f64::from(*v).powi(2));
            squares.sum::<f64>()
        });
        let squares: f64 = squares.sum();
        drop(gradients);
        let mut total = [squares];
        sum(processes, &mut total)?;
        let norm = total[0].sqrt();
        let pace = Pace {
            step,
            factor,
            scale: optimizer.scale(norm),
        };

        // The norm is that of all gradients, so that no update begins before all of them have come. But what is updated
        // travels while the next bucket is.
        let values = Values::of(&module, &self.paths);
        let parts = self.buckets.iter().zip(own).map(|(bucket, gradient)| {
            let (mut at, mut part) = (0, Vec::with_capacity(gradient.len()));
            for segment in share(bucket, processes.rank(), processes.size()) {
                let gradient = &gradient[at..at + segment.range.len()];
                at += segment.range.len();
                let value = values.get(&segment);
                if !present(&segment.path) {
                    part.extend(numbers(&value, &(0..segment.range.len())));
                    continue;
                }
                let gradient = Tensor::from_data(
                    TensorData::new(gradient.to_vec(), [gradient.len()]),
                    &self.device,
                );
                let moment = Moment {
                    path: segment.path,
                    from: Some(segment.range.start),
                };
                let value = optimizer.update(moment, value, gradient, pace);
                part.extend(numbers(&value, &(0..segment.range.len())));
            }
            part
        });
        let all = meanwhile(1, parts, |part| all_gather_floats(processes, &part))?;
        let mut updated: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (bucket, all) in self.buckets.iter().zip(all) {
            let mut all = all.into_iter();
            for segment in bucket {
                let values = updated.entry(segment.path.clone()).or_default();
                values.extend(all.by_ref().take(segment.range.len()));
            }
        }
        updated.retain(|path, _| present(path));
        let module = module.map(&mut Replacer {
            values: updated,
            path: Vec::new(),
        });
        Ok((module, norm))
    }

    /// Gradients of parameters of which those exchanged first have none.
    fn before_cut(&self, gradients: GradientSet) -> GradientSet {
        let exchanged = self.buckets[..self.behind].iter().flatten();
        for Segment { path, .. } in exchanged {
            let late = gradients.get(path).is_some();
            assert!(!late, "{path} has a gradient from before the loss's cut");
        }
        gradients
    }

    /// What of the optimizer's state is this process's, by parameter.
    pub fn own(&self) -> Vec<(String, Range<usize>)> {
        let (rank, size) = (self.processes.rank(), self.processes.size());
        let segments = self.buckets.iter().flat_map(|b| share(b, rank, size));
        segments.map(|s| (s.path, s.range)).collect()
    }
}

/// Parameters behind one another, cut every `size` numbers.
fn buckets(lengths: &BTreeMap<String, usize>, size: usize) -> Vec<Vec<Segment>> {
    let (mut buckets, mut bucket, mut room) = (Vec::new(), Vec::new(), size);
    for (path, length) in lengths {
        let mut from = 0;
        while from < *length {
            let to = (from + room).min(*length);
            bucket.push(Segment {
                path: path.clone(),
                range: from..to,
            });
            room -= to - from;
            from = to;
            if room == 0 {
                buckets.push(std::mem::take(&mut bucket));
                room = size;
            }
        }
    }
    if !bucket.is_empty() {
        buckets.push(bucket);
    }
    buckets
}

/// A process's part of a bucket, as `reduce_scatter` cuts it.
fn share(bucket: &[Segment], rank: usize, size: usize) -> Vec<Segment> {
    let length: usize = bucket.iter().map(|segment| segment.range.len()).sum();
    let (first, last) = (length * rank / size, length * (rank + 1) / size);
    let (mut start, mut found) = (0, Vec::new());
    for Segment { path, range } in bucket {
        let end = start + range.len();
        let (from, to) = (first.max(start), last.min(end));
        if from < to {
            found.push(Segment {
                path: path.clone(),
                range: range.start + from - start..range.start + to - start,
            });
        }
        start = end;
    }
    found
}

/// Numbers of a flat tensor on the host.
fn numbers(tensor: &Tensor<1>, range: &Range<usize>) -> Vec<f32> {
    let slice = tensor.clone().slice([range.clone()]).into_data();
    let slice = slice.convert::<f32>().try_into_vec::<f32>();
    slice.expect("converted to f32")
}

/// Values of a module's parameters, flattened, without gradient tracking.
struct Values<'a> {
    wanted: &'a [String],
    path: Vec<String>,
    found: BTreeMap<String, Tensor<1>>,
}

impl<'a> Values<'a> {
    fn of<M: Module>(module: &M, wanted: &'a [String]) -> Self {
        let mut values = Self {
            wanted,
            path: Vec::new(),
            found: BTreeMap::new(),
        };
        module.visit(&mut values);
        values
    }

    fn get(&self, segment: &Segment) -> Tensor<1> {
        self.found[&segment.path]
            .clone()
            .slice([segment.range.clone()])
    }
}

impl ModuleVisitor for Values<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if self.wanted.binary_search(&path).is_ok() {
            let count = param.lazy_shape().num_elements();
            self.found
                .insert(path, param.val().inner().reshape([count]));
        }
    }
}

struct Replacer {
    values: BTreeMap<String, Vec<f32>>,
    path: Vec<String>,
}

impl ModuleMapper for Replacer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.remove(&self.path.join(".")) else {
            return param;
        };
        let (id, value, _) = param.consume();
        let value = value.inner();
        let data = TensorData::new(values, value.dims()).convert_dtype(value.dtype());
        let value = Tensor::from_data(data, &value.device());
        Param::initialized(id, Tensor::from_inner(value)).set_require_grad(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_one_bucket_and_one_share() {
        let lengths: BTreeMap<String, usize> = [("a", 5), ("b", 12), ("c", 1)]
            .map(|(p, n)| (p.to_owned(), n))
            .into();
        for bucket in [1, 4, 7, 100] {
            for size in 1..=4 {
                let mut found: Vec<(String, usize)> = Vec::new();
                for bucket in buckets(&lengths, bucket) {
                    for rank in 0..size {
                        for Segment { path, range } in share(&bucket, rank, size) {
                            found.extend(range.map(|i| (path.clone(), i)));
                        }
                    }
                }
                let all = lengths.iter();
                let all = all.flat_map(|(path, n)| (0..*n).map(|i| (path.clone(), i)));
                assert_eq!(found, all.collect::<Vec<_>>(), "{bucket} {size}");
            }
        }
    }
}

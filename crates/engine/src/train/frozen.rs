//! Frozen weights that processes share: each keeps a part of every matrix, and gets the whole from the others whenever a
//! block runs (as Zhao et al., 2023, FSDP, do it for all weights).
//!
//! What a process computes, and so which weights it needs and when, depends on its rows: one may draw pictures where
//! another has none. So nothing is exchanged in a fixed order. Processes meet in rounds: each says which matrix it needs, or
//! that it needs none before the step's end, and sends its part of whatever the others need. All are in the same
//! block most of the time; then a round is an all-gather.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use burn::module::Module;
use burn::tensor::{DType, Shape, TensorData};
use deem_collective::{Collective, CollectiveError, part};
use deem_model::checkpointing::CheckpointBlocks;
use deem_model::weights::{Depot, keep_in};

use super::config::TrainConfig;
use super::lora::adapted;
use super::parameters::{ParameterInfo, prepare};
use crate::{EngineError, Precision};

/// Says in a round that a process needs nothing.
const NOTHING: u64 = u64::MAX;

/// Frozen weights of a model of which each process keeps its part.
#[derive(Clone, Debug)]
pub struct FrozenShards(Arc<Shards>);

#[derive(Debug)]
struct Shards {
    processes: Arc<dyn Collective>,
    /// By place.
    parts: RwLock<Vec<Option<Part>>>,
    /// Why weights did not come.
    failure: Mutex<Option<CollectiveError>>,
}

/// This process's numbers of a matrix.
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    shape: Shape,
    dtype: DType,
}

impl FrozenShards {
    /// Leaves to the processes what [`block_of`] says of a model, if the run wants it and there are several. The model may be
    /// empty: what is loaded later goes the same way, so that nobody ever holds all of it.
    ///
    /// # Errors
    /// `Config` if there is nothing that could be shared, and as
    /// [`prepare`](super::parameters::prepare).
    pub fn share<M: Module>(
        model: M,
        train: &TrainConfig,
        blocks: CheckpointBlocks,
        precision: Precision,
        processes: &Arc<dyn Collective>,
    ) -> Result<(M, Option<Self>), EngineError> {
        if !train.shard_frozen || processes.size() == 1 {
            return Ok((model, None));
        }
        let (_, infos) = prepare(model.clone(), train, 0)?;
        let shared = block_of(&infos, blocks);
        let places: BTreeMap<String, usize> = shared
            .into_keys()
            .enumerate()
            .map(|(place, path)| (path.to_owned(), place))
            .collect();
        if places.is_empty() {
            return Err(EngineError::Config(
                "train.shard_frozen: nothing is frozen in checkpointed blocks; set model.checkpoint_blocks (llama, unet), or \
                 leave it out"
                    .into(),
            ));
        }
        let shards = Arc::new(Shards {
            processes: processes.clone(),
            parts: RwLock::new(places.iter().map(|_| None).collect()),
            failure: Mutex::default(),
        });
        let dtype = (precision == Precision::Bf16).then(|| precision.dtype());
        let model = keep_in(model, places, shards.clone(), dtype);
        Ok((model, Some(Self(shards))))
    }

    /// Gives the others what they need until all are at the end of the step.
    ///
    /// # Errors
    /// `Aborted` if another process gave up, now or before.
    pub fn finish(&self) -> Result<(), CollectiveError> {
        self.check()?;
        while self.0.round(None)?.is_some() {}
        Ok(())
    }

    /// Whether all weights that were asked for came. If not, the results are worth nothing.
    ///
    /// # Errors
    /// `Aborted` if another process gave up.
    pub fn check(&self) -> Result<(), CollectiveError> {
        let failure = self.0.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }

    /// Bytes of weights that this process keeps.
    pub fn own_bytes(&self) -> usize {
        let parts = self.0.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.iter().flatten().map(|part| part.bytes.len()).sum()
    }
}

/// Parameters that processes can share, with the block that each belongs to: frozen matrices and kernels of checkpointed
/// blocks, but for layers with adapters.
pub fn block_of(infos: &[ParameterInfo], blocks: CheckpointBlocks) -> BTreeMap<&str, String> {
    let adapted = adapted(infos.iter().map(|info| info.path.as_str()));
    let shared = infos.iter().filter_map(|info| {
        let layer = info.path.strip_suffix(".weight")?;
        let whole = info.group.is_some() || info.rank < 2 || adapted.contains(layer);
        let block = (!whole).then(|| blocks.block_of(&info.path)).flatten()?;
        Some((info.path.as_str(), block))
    });
    shared.collect()
}

impl Shards {
    /// One exchange, in which this process needs a matrix or nothing. Gives the others' parts of it, with nothing in its own
    /// place; `None` if nobody needed anything.
    fn round(&self, wanted: Option<usize>) -> Result<Option<Vec<Vec<u8>>>, CollectiveError> {
        let processes = &*self.processes;
        let own = wanted.map_or(NOTHING, |place| place as u64);
        let asked = processes.all_gather(&own.to_le_bytes())?;
        let asked: Vec<u64> = asked
            .iter()
            .map(|bytes| {
                bytes
                    .as_slice()
                    .try_into()
                    .map_or(NOTHING, u64::from_le_bytes)
            })
            .collect();
        if asked.iter().all(|place| *place == NOTHING) {
            return Ok(None);
        }
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let sent = asked.iter().enumerate().map(|(rank, place)| {
            let part = usize::try_from(*place).ok();
            let part = part.and_then(|place| parts.get(place)?.as_ref());
            match part {
                Some(part) if rank != processes.rank() => part.bytes.as_slice(),
                _ => &[],
            }
        });
        processes.all_to_all(&sent.collect::<Vec<_>>()).map(Some)
    }

    fn gather(&self, place: usize) -> Result<Option<TensorData>, CollectiveError> {
        let received = self.round(Some(place))?.unwrap_or_default();
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Part {
            bytes,
            shape,
            dtype,
        }) = parts.get(place).and_then(Option::as_ref)
        else {
            return Ok(None);
        };
        let mut all = Vec::with_capacity(shape.num_elements() * dtype.size());
        for (rank, received) in received.iter().enumerate() {
            let own = rank == self.processes.rank();
            all.extend_from_slice(if own { bytes } else { received });
        }
        if all.len() != shape.num_elements() * dtype.size() {
            let problem = format!(
                "frozen weights: expected {} numbers, received {} bytes; give all processes the same files",
                shape.num_elements(),
                all.len()
            );
            self.processes.abort(&problem);
            return Err(CollectiveError::Received(problem));
        }
        Ok(Some(TensorData::from_bytes_vec(all, shape.clone(), *dtype)))
    }
}

impl Depot for Shards {
    fn keep(&self, place: usize, numbers: TensorData) {
        let (shape, dtype) = (numbers.shape().clone(), numbers.dtype());
        let (rank, size) = (self.processes.rank(), self.processes.size());
        let own = part(numbers.num_elements(), rank, size);
        let bytes = &numbers.as_bytes()[own.start * dtype.size()..own.end * dtype.size()];
        let part = Part {
            bytes: bytes.to_vec(),
            shape,
            dtype,
        };
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = parts.get_mut(place) {
            *own = Some(part);
        }
    }

    fn fetch(&self, place: usize) -> Option<TensorData> {
        let known = |failure: &Mutex<Option<_>>| {
            let failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.is_some()
        };
        if known(&self.failure) {
            return None;
        }
        match self.gather(place) {
            Ok(numbers) => numbers,
            Err(error) => {
                let failure = self.failure.lock();
                *failure.unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use deem_collective::Threads;

    use super::*;

    fn shards(processes: Threads, matrices: usize) -> Shards {
        let shards = Shards {
            processes: Arc::new(processes),
            parts: RwLock::new((0..matrices).map(|_| None).collect()),
            failure: Mutex::default(),
        };
        for place in 0..matrices {
            shards.keep(place, matrix(place));
        }
        shards
    }

    /// 2 x 5 numbers, which no two or three processes share evenly.
    fn matrix(place: usize) -> TensorData {
        let values: Vec<f32> = (0..10).map(|i| (100 * place + i) as f32).collect();
        TensorData::new(values, [2, 5])
    }

    #[test]
    fn each_gets_what_it_needs_in_its_own_order() {
        for size in [2, 3] {
            std::thread::scope(|scope| {
                for member in Threads::team(size) {
                    scope.spawn(move || {
                        let rank = member.rank();
                        let shards = FrozenShards(Arc::new(shards(member, 3)));
                        for step in 0..3 {
                            // The last one needs nothing in the second step, the first one twice as much.
                            let orders = [&[0, 1, 2, 1, 0, 2][..], &[2, 0], &[1]];
                            let idle = step == 1 && rank + 1 == size;
                            for place in orders[rank].iter().filter(|_| !idle) {
                                assert_eq!(shards.0.fetch(*place), Some(matrix(*place)));
                            }
                            shards.finish().unwrap();
                        }
                        let own = shards.own_bytes();
                        assert!(own <= 3 * 4 * 10_usize.div_ceil(size), "{own}");
                    });
                }
            });
        }
    }

    #[test]
    fn who_gives_up_is_known_when_weights_do_not_come() {
        let mut team = Threads::team(2);
        let (second, first) = (team.pop().unwrap(), team.pop().unwrap());
        second.abort("no pictures");
        let shards = FrozenShards(Arc::new(shards(first, 1)));
        assert_eq!(shards.0.fetch(0), None);
        for told in [shards.check(), shards.finish()] {
            assert!(told.unwrap_err().to_string().contains("no pictures"));
        }
    }

    #[test]
    fn what_is_trained_small_or_adapted_stays_whole() {
        let info = |path: &str, rank, group| ParameterInfo {
            path: path.into(),
            count: 4,
            rank,
            group,
        };
        let infos = [
            info("llama.model.layers.0.mlp.up_proj.weight", 2, None),
            info("llama.model.layers.0.mlp.gate_proj.weight", 2, Some(0)),
            info("llama.model.layers.0.mlp.down_proj.weight", 2, None),
            info(
                "llama.model.layers.0.mlp.down_proj.weight.lora.a",
                2,
                Some(0),
            ),
            info("unet.mid_block.resnets.0.conv1.weight", 4, None),
            info("unet.mid_block.resnets.0.conv1.bias", 1, None),
            info("unet.conv_in.weight", 4, None),
        ];
        let found: Vec<_> = block_of(&infos, CheckpointBlocks::ALL)
            .into_iter()
            .collect();
        let expected = [
            (
                "llama.model.layers.0.mlp.up_proj.weight",
                "llama.model.layers.0",
            ),
            ("unet.mid_block.resnets.0.conv1.weight", "unet.mid_block.0"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, block)| (path, block.to_owned()))
        );
    }
}

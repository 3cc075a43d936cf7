//! Checkpoints that are written while training goes on.
//!
//! What is to be written is copied into the host's memory between two steps; a thread writes the copy, and puts the new
//! folder in the place of the former one. Of several processes each writes its part, and between two later steps, once
//! all have, the folder gets its place: exchanges of threads would mix with those of steps. Until then the former one is what
//! a run resumes from.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use deem_collective::Alone;
use deem_model::weights::{Dtype, LazyTensor, WeightsFile};

use super::checkpoint::{Contents, Part, State, Sums};
use super::run::Run;
use crate::EngineError;

/// Where a tensor's numbers are.
enum Numbers {
    Memory(Vec<u8>),
    /// In a file that nobody changes, under the tensor's name.
    File(Arc<WeightsFile>),
}

/// A tensor of a checkpoint.
struct Kept {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    numbers: Numbers,
}

impl Kept {
    fn copied(tensor: LazyTensor) -> Self {
        Self {
            numbers: Numbers::Memory((tensor.read)()),
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
        }
    }

    /// A tensor of a file; nothing if it has none of this name.
    fn carried(file: Arc<WeightsFile>, name: String) -> Option<Self> {
        Some(Self {
            dtype: file.dtype(&name)?,
            shape: file.shape(&name)?.to_vec(),
            name,
            numbers: Numbers::File(file),
        })
    }

    fn lazy(&self) -> LazyTensor<'_> {
        LazyTensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            read: match &self.numbers {
                Numbers::Memory(bytes) => Box::new(|| bytes.clone()),
                Numbers::File(file) => {
                    Box::new(|| file.bytes(&self.name).expect("a key of this file"))
                }
            },
        }
    }
}

/// A copy of what goes into a checkpoint.
pub(super) struct Snapshot {
    model: Vec<Kept>,
    optimizer: Vec<Kept>,
    state: State,
    config: Option<String>,
}

impl Snapshot {
    /// Copies tensors off their device. `carried` are those that stay as an earlier stage wrote them.
    pub fn of(
        model: Vec<LazyTensor>,
        carried: Vec<(Arc<WeightsFile>, String)>,
        optimizer: Vec<LazyTensor>,
        (state, config): (State, Option<String>),
    ) -> Self {
        let carried = carried.into_iter();
        let carried = carried.filter_map(|(file, name)| Kept::carried(file, name));
        Self {
            model: model.into_iter().map(Kept::copied).chain(carried).collect(),
            optimizer: optimizer.into_iter().map(Kept::copied).collect(),
            state,
            config,
        }
    }

    /// What is to be written.
    pub fn contents(&self) -> Contents<'_> {
        Contents {
            model: self.model.iter().map(Kept::lazy).collect(),
            optimizer: self.optimizer.iter().map(Kept::lazy).collect(),
            state: &self.state,
            config: self.config.as_deref(),
        }
    }
}

/// The checkpoint that is being written, if any.
#[derive(Default)]
pub(super) struct Saving(Option<Writer>);

/// Gives checksums of this process's part, nothing if the checkpoint is in its place.
type Writer = JoinHandle<Result<Option<Sums>, EngineError>>;

impl Saving {
    /// Whether this process still writes its part.
    pub fn is_writing(&self) -> bool {
        self.0.as_ref().is_some_and(|writer| !writer.is_finished())
    }

    /// Begins to write a copy. The one before must be [finished](Self::finish).
    ///
    /// # Errors
    /// Those of `Checkpoint::write`, as far as it got.
    pub fn begin(&mut self, snapshot: Snapshot, run: &Run) -> Result<(), EngineError> {
        let (checkpoint, processes) = (run.checkpoint(), &*run.processes);
        checkpoint.begin(processes)?;
        let (part, alone) = (Part::of(processes), processes.size() == 1);
        let writer = thread::Builder::new().name("checkpoint".into());
        let writer = writer.spawn(move || {
            let written = checkpoint.write_part(snapshot.contents(), &part);
            if !alone {
                return written.map(Some);
            }
            checkpoint.finish(written, &Alone)?;
            Ok(None)
        });
        self.0 = Some(writer.map_err(EngineError::io(&run.folder))?);
        Ok(())
    }

    /// Waits until it is written, and puts it in its place; nothing if none was begun.
    ///
    /// # Errors
    /// Those of `Checkpoint::write`; the former checkpoint is then untouched.
    ///
    /// # Panics
    /// If the thread that writes did.
    pub fn finish(&mut self, run: &Run) -> Result<(), EngineError> {
        let Some(writer) = self.0.take() else {
            return Ok(());
        };
        let written = writer.join().expect("writing does not panic");
        match written.transpose() {
            None => Ok(()),
            Some(written) => run.checkpoint().finish(written, &*run.processes),
        }
    }

    /// After a failure of this process: keeps what was begun before it, if that takes nobody else.
    pub fn settle(&mut self, run: &Run) {
        if run.processes.size() > 1 {
            // Others do not know yet; they go on from the former one.
            let writer = self.0.take();
            drop(writer.map(JoinHandle::join));
        } else if let Err(error) = self.finish(run) {
            tracing::warn!("the checkpoint that was being written is lost: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use deem_collective::Threads;

    use super::*;
    use crate::config;
    use crate::train::{RunIdentity, TrainConfig, floats};

    fn run(folder: &Path) -> Run {
        let text = "save_every = 1\ngroups = []\nschedule = { steps = 2, warmup = 1 }";
        let train: TrainConfig = config::parse(text, &[]).unwrap();
        Run::new(RunIdentity::new("s", &train), folder)
    }

    fn snapshot(run: &Run, step: u64) -> Snapshot {
        let state = State {
            step,
            identity: run.identity.clone(),
        };
        let weights = [step as f32];
        let model = vec![floats("w", &weights)];
        Snapshot::of(
            model,
            Vec::new(),
            vec![floats("w.first", &[0.0])],
            (state, None),
        )
    }

    fn step(run: &Run) -> Option<u64> {
        let saved = run.checkpoint().read().unwrap()?;
        assert_eq!(saved.model.f32("w").unwrap(), [saved.state.step as f32]);
        Some(saved.state.step)
    }

    #[test]
    fn one_process_needs_no_later_step() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        let mut saving = Saving::default();
        for number in [1, 2] {
            saving.begin(snapshot(&run, number), &run).unwrap();
            while saving.is_writing() {
                thread::yield_now();
            }
            assert_eq!(step(&run), Some(number));
            saving.finish(&run).unwrap();
        }
        assert_eq!((saving.0.is_some(), step(&run)), (false, Some(2)));
        saving.finish(&run).unwrap();
        assert!(!folder.path().join("checkpoint.part").exists());
    }

    #[test]
    fn of_several_the_former_one_counts_until_all_have_written() {
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for member in Threads::team(2) {
                let folder = folder.path();
                scope.spawn(move || {
                    let run = Run {
                        processes: Arc::new(member),
                        ..run(folder)
                    };
                    let mut saving = Saving::default();
                    for number in [1, 2] {
                        saving.begin(snapshot(&run, number), &run).unwrap();
                        while saving.is_writing() {
                            thread::yield_now();
                        }
                        run.processes.barrier().unwrap();
                        // As after a crash now: all is written, but not in its place.
                        assert_eq!(step(&run), (number > 1).then_some(number - 1));
                        run.processes.barrier().unwrap();
                        saving.finish(&run).unwrap();
                        assert_eq!(step(&run), Some(number));
                    }
                });
            }
        });
    }

    #[test]
    fn what_cannot_be_written_is_told_and_the_former_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        let mut saving = Saving::default();
        saving.begin(snapshot(&run, 1), &run).unwrap();
        saving.finish(&run).unwrap();
        let broken = Snapshot {
            model: vec![Kept {
                name: "w".into(),
                dtype: Dtype::F32,
                // Too few numbers.
                shape: vec![3],
                numbers: Numbers::Memory(vec![0; 4]),
            }],
            ..snapshot(&run, 2)
        };
        saving.begin(broken, &run).unwrap();
        assert!(saving.finish(&run).is_err());
        assert_eq!((saving.0.is_some(), step(&run)), (false, Some(1)));
        assert!(!folder.path().join("checkpoint.part").exists());
        // The next one is none the worse for it.
        saving.begin(snapshot(&run, 3), &run).unwrap();
        saving.settle(&run);
        assert_eq!(step(&run), Some(3));
    }
}

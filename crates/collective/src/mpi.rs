//! Processes that `mpirun`, `srun` or an MPI job started.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{Universe, processor_name};
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use mpi::{Count, Threading};

use crate::{Collective, CollectiveError, Traffic};

/// Exit status of a process that gave up; the launcher then ends all others.
const GAVE_UP: i32 = 70;
/// How often somebody looks whether an exchange takes too long.
const LOOK: Duration = Duration::from_millis(200);
/// How long an exchange is asked again and again whether it has ended.
const EAGER: Duration = Duration::from_millis(1);
/// How often it is asked after that.
const NAP: Duration = Duration::from_micros(50);

/// The processes of MPI's world.
pub struct Mpi {
    world: SimpleCommunicator,
    /// Leaves MPI when dropped.
    _universe: Universe,
    host: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    traffic: Traffic,
    /// When the exchange under way began.
    since: Option<Instant>,
    /// Where the program is.
    place: String,
}

// SAFETY: MPI is started with MPI_THREAD_MULTIPLE (or refused), which allows calls from any thread; the communicator is
// a handle that is not changed.
unsafe impl Send for Mpi {}
// SAFETY: as above.
unsafe impl Sync for Mpi {}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} of {} on {}",
            self.rank(),
            self.size(),
            self.host
        )
    }
}

impl Mpi {
    /// Joins the world; once in a program. An exchange that takes longer than `limit` ends every process: somebody hangs.
    ///
    /// # Errors
    /// `Library` if MPI was joined before, or does not allow threads.
    pub fn join(limit: Duration) -> Result<Self, CollectiveError> {
        let failed = |problem: &str| CollectiveError::Library(problem.into());
        let (universe, threading) = mpi::initialize_with_threading(Threading::Multiple)
            .ok_or_else(|| failed("joined before in this program"))?;
        if threading != Threading::Multiple {
            return Err(failed("this library was built without support of threads"));
        }
        let world = universe.world();
        let host = processor_name().unwrap_or_else(|_| "unknown".into());
        let state: Arc<Mutex<State>> = Arc::default();
        let watched = state.clone();
        let who = format!("process {} of {} on {host}", world.rank(), world.size());
        thread::spawn(move || watch(&watched, limit, &who));
        Ok(Self {
            world,
            _universe: universe,
            host,
            state,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exchange in which this process sends `bytes`.
    fn exchange<T>(&self, bytes: usize, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        self.state().since = Some(started);
        let result = run();
        let mut state = self.state();
        state.since = None;
        state.traffic.bytes += bytes as u64;
        state.traffic.time += started.elapsed();
        result
    }
}

/// Waits for an exchange. MPI's own waiting keeps a core to itself, which a thread that computes may need meanwhile.
fn wait<'a, D: ?Sized, S: Scope<'a>>(mut request: Request<'a, D, S>) {
    let started = Instant::now();
    while let Err(pending) = request.test() {
        request = pending;
        if started.elapsed() < EAGER {
            thread::yield_now();
        } else {
            thread::sleep(NAP);
        }
    }
}

/// Ends the program when an exchange takes too long.
fn watch(state: &Mutex<State>, limit: Duration, who: &str) {
    loop {
        thread::sleep(LOOK);
        let late = {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let since = state.since;
            since
                .filter(|since| since.elapsed() > limit)
                .map(|_| state.place.clone())
        };
        if let Some(place) = late {
            eprintln!(
                "{who}, {place}: waited {} s for another process; giving up. The launcher's restart resumes from the newest \
                 checkpoint",
                limit.as_secs()
            );
            process::exit(GAVE_UP);
        }
    }
}

fn counts(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>) {
    let counts: Vec<Count> = lengths
        .map(|length| Count::try_from(length).expect("less than 2 GiB at a time"))
        .collect();
    let offsets = counts.iter().scan(0, |end, count| {
        let start = *end;
        *end += count;
        Some(start)
    });
    let offsets = offsets.collect();
    (counts, offsets)
}

/// The same bytes. The address of no bytes at all can be the one by which Open MPI means "in place".
fn addressed(bytes: &[u8]) -> &[u8] {
    static NOTHING: [u8; 1] = [0];
    if bytes.is_empty() {
        &NOTHING[..0]
    } else {
        bytes
    }
}

/// Room for what is received, with an address of its own even if that is nothing.
fn room(lengths: &[Count]) -> Vec<u8> {
    let total: Count = lengths.iter().sum();
    vec![0; total.max(1) as usize]
}

/// Cuts what was received.
fn cut(bytes: &[u8], counts: &[Count], offsets: &[Count]) -> Vec<Vec<u8>> {
    let parts = counts.iter().zip(offsets);
    parts
        .map(|(count, offset)| bytes[*offset as usize..][..*count as usize].to_vec())
        .collect()
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        assert_eq!(parts.len(), self.size(), "a part for each process");
        let others = parts
            .iter()
            .enumerate()
            .filter(|(to, _)| *to != self.rank());
        let sent = others.map(|(_, part)| part.len()).sum();
        Ok(self.exchange(sent, || {
            let (out, out_at) = counts(parts.iter().map(|part| part.len()));
            let mut lengths = vec![0 as Count; self.size()];
            scope(|scope| {
                let world = &self.world;
                wait(world.immediate_all_to_all_into(scope, &out[..], &mut lengths[..]));
            });
            let (_, in_at) = counts(lengths.iter().map(|length| *length as usize));
            let bytes = parts.concat();
            let mut received = room(&lengths);
            let sending = Partition::new(addressed(&bytes), &out[..], &out_at[..]);
            let mut receiving = PartitionMut::new(&mut received[..], &lengths[..], &in_at[..]);
            scope(|scope| {
                let world = &self.world;
                wait(world.immediate_all_to_all_varcount_into(scope, &sending, &mut receiving));
            });
            cut(&received, &lengths, &in_at)
        }))
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let sent = own.len() * (self.size() - 1);
        Ok(self.exchange(sent, || {
            let length = Count::try_from(own.len()).expect("less than 2 GiB at a time");
            let mut lengths = vec![0 as Count; self.size()];
            scope(|scope| {
                let world = &self.world;
                wait(world.immediate_all_gather_into(scope, &length, &mut lengths[..]));
            });
            let (_, at) = counts(lengths.iter().map(|length| *length as usize));
            let mut received = room(&lengths);
            let mut receiving = PartitionMut::new(&mut received[..], &lengths[..], &at[..]);
            let own = addressed(own);
            scope(|scope| {
                let world = &self.world;
                wait(world.immediate_all_gather_varcount_into(scope, own, &mut receiving));
            });
            cut(&received, &lengths, &at)
        }))
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.exchange(0, || wait(self.world.immediate_barrier()));
        Ok(())
    }

    fn note(&self, place: &str) {
        place.clone_into(&mut self.state().place);
    }

    /// Says why, and ends all processes.
    fn abort(&self, reason: &str) {
        let place = self.state().place.clone();
        // What happened may say itself where.
        let reason = reason.strip_prefix(&format!("{place}: ")).unwrap_or(reason);
        eprintln!("{self:?}, {place}: {reason}");
        // MPICH's launcher drops what it has not read when a process aborts.
        thread::sleep(LOOK);
        self.world.abort(GAVE_UP)
    }

    fn traffic(&self) -> Traffic {
        self.state().traffic
    }
}

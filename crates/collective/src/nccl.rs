//! Processes that each compute on an NVIDIA card of their own: long messages travel from card to card.
//!
//! MPI stays beside it: it started the processes, carries the id by which NCCL finds them, lengths and short messages,
//! and its watchdog ends everybody when one hangs: NCCL is entered by two processes when both have met in MPI.
//! Numbers come from the host's memory and go back there, over the card's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DriverError};
use cudarc::nccl::result::NcclError;
use cudarc::nccl::{Comm, Id, group_end, group_start};

use crate::{Collective, CollectiveError, Traffic};

/// Bytes from which on a message travels between cards.
const LONG: usize = 1 << 16;
/// Length of an [`Id`].
const ID: usize = 128;
/// Bytes of a length before each message.
const HEADER: usize = 8;

/// Processes with a card each.
pub struct Nccl {
    mpi: Arc<dyn Collective>,
    cards: Mutex<Cards>,
}

struct Cards {
    comm: Comm,
    stream: Arc<CudaStream>,
    traffic: Traffic,
}

// SAFETY: NCCL's communicator is a pointer that any thread may use, one at a time, which the mutex around it sees to.
unsafe impl Send for Cards {}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, with a card", self.mpi)
    }
}

fn of_driver(error: DriverError) -> CollectiveError {
    CollectiveError::Cards(format!("NVIDIA's driver: {error}"))
}

fn of_nccl(error: NcclError) -> CollectiveError {
    CollectiveError::Cards(format!("{:?}", error.0))
}

impl Nccl {
    /// Has processes exchange over their cards; `card` is the number of this one's. On one machine no two may have the same.
    ///
    /// # Errors
    /// `Cards` if NCCL (`libnccl`) is not installed, or the cards do not find each other; `Aborted` if another process gave
    /// up.
    pub fn join(mpi: Arc<dyn Collective>, card: usize) -> Result<Self, CollectiveError> {
        // All say whether they can before anyone waits for another one's card.
        let opened = open(card, mpi.is_first());
        let told = match &opened {
            Ok((_, id)) => [&b"+"[..], id].concat(),
            Err(error) => format!("-{error}").into_bytes(),
        };
        let all = mpi.all_gather(&told)?;
        let (stream, _) = opened?;
        for (rank, told) in all.iter().enumerate() {
            if let Some(reason) = told.strip_prefix(b"-") {
                return Err(CollectiveError::Aborted {
                    rank,
                    size: mpi.size(),
                    reason: String::from_utf8_lossy(reason).into_owned(),
                });
            }
        }
        let id = all.first();
        let id = id.and_then(|told| <[u8; ID]>::try_from(told.get(1..)?).ok());
        let id = id.ok_or_else(|| CollectiveError::Cards("no id of the first process".into()))?;
        let id = Id::uninit(id.map(|byte| byte as _));
        let comm = Comm::from_rank(stream.clone(), mpi.rank(), mpi.size(), id).map_err(of_nccl)?;
        let cards = Cards {
            comm,
            stream,
            traffic: Traffic::default(),
        };
        Ok(Self {
            mpi,
            cards: Mutex::new(cards),
        })
    }

    fn cards(&self) -> MutexGuard<'_, Cards> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of a card, and of the first process the id by which the others find it.
fn open(card: usize, first: bool) -> Result<(Arc<CudaStream>, Vec<u8>), CollectiveError> {
    // SAFETY: this tries to load the library under its own name, and does nothing else.
    if !unsafe { cudarc::nccl::sys::is_culib_present() } {
        return Err(CollectiveError::Cards(
            "looked for libnccl, found none: install NCCL, or build without the feature `nccl`"
                .into(),
        ));
    }
    let context = CudaContext::new(card).map_err(of_driver)?;
    let stream = context.new_stream().map_err(of_driver)?;
    let id = if first {
        let id = Id::new().map_err(of_nccl)?;
        id.internal().iter().map(|byte| *byte as u8).collect()
    } else {
        Vec::new()
    };
    Ok((stream, id))
}

impl Cards {
    /// Sends messages to processes and receives messages of known lengths, all at once.
    fn exchange(
        &mut self,
        sent: &[(usize, &[u8])],
        expected: &[(usize, usize)],
    ) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let started = Instant::now();
        let up = |(to, bytes): &(usize, &[u8])| Ok((*to, self.stream.clone_htod(*bytes)?));
        let outgoing: Result<Vec<(usize, CudaSlice<u8>)>, DriverError> =
            sent.iter().map(up).collect();
        let room =
            |(from, length): &(usize, usize)| Ok((*from, self.stream.alloc_zeros::<u8>(*length)?));
        let incoming: Result<Vec<(usize, CudaSlice<u8>)>, DriverError> =
            expected.iter().map(room).collect();
        let outgoing = outgoing.map_err(of_driver)?;
        let mut incoming = incoming.map_err(of_driver)?;
        group_start().map_err(of_nccl)?;
        for (to, bytes) in &outgoing {
            self.comm.send(bytes, *to as i32).map_err(of_nccl)?;
        }
        for (from, bytes) in &mut incoming {
            self.comm.recv(bytes, *from as i32).map_err(of_nccl)?;
        }
        group_end().map_err(of_nccl)?;
        let down = incoming.iter();
        let down = down.map(|(_, bytes)| self.stream.clone_dtoh(bytes));
        let received: Result<Vec<Vec<u8>>, DriverError> = down.collect();
        let received = received.map_err(of_driver)?;
        self.stream.synchronize().map_err(of_driver)?;
        self.traffic.bytes += sent
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>();
        self.traffic.time += started.elapsed();
        Ok(received)
    }
}

/// Whether a message goes from card to card.
fn is_long(from: usize, to: usize, length: usize) -> bool {
    from != to && length >= LONG
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.mpi.rank()
    }

    fn size(&self) -> usize {
        self.mpi.size()
    }

    fn host(&self) -> String {
        self.mpi.host()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let own = self.rank();
        // Lengths, and messages that are not worth a card's while.
        let told = parts.iter().enumerate().map(|(to, part)| {
            let header = (part.len() as u64).to_le_bytes();
            let with: &[u8] = if is_long(own, to, part.len()) {
                &[]
            } else {
                part
            };
            [&header[..], with].concat()
        });
        let told: Vec<Vec<u8>> = told.collect();
        let told: Vec<&[u8]> = told.iter().map(Vec::as_slice).collect();
        let mut received = self.mpi.all_to_all(&told)?;
        let mut expected = Vec::new();
        for (from, bytes) in received.iter_mut().enumerate() {
            let header = bytes.first_chunk::<HEADER>().copied().unwrap_or_default();
            let length = u64::from_le_bytes(header) as usize;
            if is_long(from, own, length) {
                expected.push((from, length));
            } else {
                bytes.drain(..HEADER.min(bytes.len()));
            }
        }
        let long = parts.iter().enumerate();
        let long = long.filter(|(to, part)| is_long(own, *to, part.len()));
        let sent: Vec<(usize, &[u8])> = long.map(|(to, part)| (to, *part)).collect();
        if sent.is_empty() && expected.is_empty() {
            return Ok(received);
        }
        let arrived = self.cards().exchange(&sent, &expected)?;
        for ((from, _), bytes) in expected.into_iter().zip(arrived) {
            received[from] = bytes;
        }
        Ok(received)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.all_to_all(&vec![own; self.size()])
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.mpi.barrier()
    }

    fn note(&self, place: &str) {
        self.mpi.note(place);
    }

    fn abort(&self, reason: &str) {
        self.mpi.abort(reason);
    }

    fn traffic(&self) -> Traffic {
        let (mpi, cards) = (self.mpi.traffic(), self.cards().traffic);
        Traffic {
            bytes: mpi.bytes + cards.bytes,
            time: mpi.time + cards.time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alone;

    #[test]
    fn without_nccl_or_a_card_it_says_so() {
        // SAFETY: as in `open`.
        if unsafe { cudarc::nccl::sys::is_culib_present() } {
            return;
        }
        let error = Nccl::join(Arc::new(Alone), 0).unwrap_err().to_string();
        assert!(error.contains("libnccl"), "{error}");
    }
}

//! Exchanging while computing.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::CollectiveError;

/// Exchanges what an iterator makes, in its order, on a thread of its own: the next ones are made meanwhile. At most
/// `ahead` of them wait, beside one that is made and one that is exchanged. Nothing else may be exchanged until it returns.
///
/// # Errors
/// The first one of `exchange`; then nothing more is made.
///
/// # Panics
/// If `exchange` does.
pub fn meanwhile<A: Send, B: Send>(
    ahead: usize,
    made: impl Iterator<Item = A>,
    exchange: impl FnMut(A) -> Result<B, CollectiveError> + Send,
) -> Result<Vec<B>, CollectiveError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(ahead);
        let exchanged = scope.spawn(move || receiver.into_iter().map(exchange).collect());
        for item in made {
            if sender.send(item).is_err() {
                break; // an exchange failed
            }
        }
        drop(sender);
        exchanged.join().expect("the exchange does not panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Collective, Threads, Width, reduce_scatter};

    #[test]
    fn the_order_stays() {
        thread::scope(|scope| {
            for member in Threads::team(2) {
                scope.spawn(move || {
                    let made = (0..20).map(|i| vec![i as f32; 2]);
                    let sums = meanwhile(1, made, |values| {
                        reduce_scatter(&member, &values, Width::Float32)
                    });
                    let expected: Vec<Vec<f32>> = (0..20).map(|i| vec![2.0 * i as f32]).collect();
                    assert_eq!(sums.unwrap(), expected);
                });
            }
        });
    }

    #[test]
    fn nothing_more_is_made_after_a_failure() {
        let mut team = Threads::team(2);
        let (second, first) = (team.pop().unwrap(), team.pop().unwrap());
        second.abort("no pictures");
        let mut made = 0;
        let endless = std::iter::repeat_with(|| made += 1);
        let failed = meanwhile(1, endless, |()| first.barrier()).unwrap_err();
        assert!(failed.to_string().contains("no pictures"), "{failed}");
        assert!(made > 0);
    }
}

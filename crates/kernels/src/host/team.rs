//! Helper threads of a thread that computes.
//!
//! A training step is thousands of parallel loops of a tenth of a millisecond, with little between
//! them. Waking a sleeping thread for each would take a fifth of the time, so helpers stay awake for a
//! moment after a loop, and the thread that asks works along instead of waiting. It never waits for a
//! helper that has not begun.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long helpers stay awake without work.
const AWAKE: Duration = Duration::from_micros(100);

thread_local! {
    static TEAM: RefCell<Option<Team>> = const { RefCell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a parallel loop, where another would have nobody to help.
pub(super) fn inside() -> bool {
    INSIDE.get()
}

/// Calls `body` for `0..parts`, on this thread and its `threads - 1` helpers; on this thread alone if it
/// is inside such a loop already.
///
/// # Panics
/// If `body` does, after all parts that had begun have ended.
pub(super) fn run(threads: usize, parts: usize, body: &(dyn Fn(usize) + Sync)) {
    if threads <= 1 || parts <= 1 || inside() {
        return (0..parts).for_each(body);
    }
    TEAM.with_borrow_mut(|team| {
        if team.as_ref().is_none_or(|team| team.size != threads) {
            *team = Some(Team::new(threads));
        }
        team.as_ref().expect("just made").run(parts, body);
    });
}

/// A parallel loop.
struct Loop {
    body: *const (dyn Fn(usize) + Sync),
    parts: usize,
}

struct Shared {
    /// Grows when a loop opens and when it closes: odd while helpers may enter.
    epoch: AtomicUsize,
    /// Written while nobody can be inside, read by those inside.
    current: UnsafeCell<Loop>,
    /// The part to do next.
    next: AtomicUsize,
    /// Helpers that are inside, or looking whether they may enter.
    inside: AtomicUsize,
    panicked: AtomicBool,
    quit: AtomicBool,
    asleep: AtomicUsize,
    door: Mutex<()>,
    bell: Condvar,
}

// SAFETY: `current` is guarded by `epoch` and `inside`, see `Team::run` and `Shared::enter`.
unsafe impl Sync for Shared {}
// SAFETY: the loop's body is `Sync` and outlives every use.
unsafe impl Send for Shared {}

impl Shared {
    /// Does parts until none is left.
    fn work(&self, current: &Loop) {
        // SAFETY: the thread that opened the loop waits for all who entered
        let body = unsafe { &*current.body };
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= current.parts {
                return;
            }
            body(part);
        }
    }

    /// Helps with the loop of this epoch, if it is still open.
    fn enter(&self, epoch: usize) {
        // The order matters: who closes looks at `inside` after changing `epoch`, so either we see
        // the change or are seen.
        self.inside.fetch_add(1, Ordering::SeqCst);
        if self.epoch.load(Ordering::SeqCst) == epoch {
            // SAFETY: the loop is open, and cannot be replaced while we are inside
            let current = unsafe { &*self.current.get() };
            if catch_unwind(AssertUnwindSafe(|| self.work(current))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// A loop that has opened since the epoch `seen`; none when it is time to quit.
    fn wait(&self, seen: usize) -> Option<usize> {
        let opened = || {
            let epoch = self.epoch.load(Ordering::SeqCst);
            (epoch % 2 == 1 && epoch != seen).then_some(epoch)
        };
        let started = Instant::now();
        while started.elapsed() < AWAKE {
            for _ in 0..32 {
                if let Some(epoch) = opened() {
                    return Some(epoch);
                }
                std::hint::spin_loop();
            }
        }
        let mut door = self.door.lock().unwrap_or_else(|e| e.into_inner());
        self.asleep.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            if self.quit.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(epoch) = opened() {
                break Some(epoch);
            }
            door = self.bell.wait(door).unwrap_or_else(|e| e.into_inner());
        };
        self.asleep.fetch_sub(1, Ordering::SeqCst);
        found
    }

    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.door.lock());
            self.bell.notify_all();
        }
    }
}

/// Helpers, which end with it.
struct Team {
    /// Threads asked for, this one included.
    size: usize,
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl Team {
    fn new(size: usize) -> Self {
        let nothing: &'static (dyn Fn(usize) + Sync) = &|_| {};
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            current: UnsafeCell::new(Loop {
                body: nothing,
                parts: 0,
            }),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            door: Mutex::new(()),
            bell: Condvar::new(),
        });
        let helper = |shared: Arc<Shared>| {
            move || {
                INSIDE.set(true);
                let mut seen = 0;
                while let Some(epoch) = shared.wait(seen) {
                    shared.enter(epoch);
                    seen = epoch;
                }
            }
        };
        // Where the system gives no more threads, fewer do the work.
        let helpers = (1..size)
            .map_while(|_| {
                let name = thread::Builder::new().name("deem-compute".into());
                name.spawn(helper(shared.clone())).ok()
            })
            .collect();
        Self {
            size,
            shared,
            helpers,
        }
    }

    fn run(&self, parts: usize, body: &(dyn Fn(usize) + Sync)) {
        /// Closes the loop and waits for those inside, also when a part panics.
        struct Close<'a>(&'a Shared);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                INSIDE.set(false);
                self.0.epoch.fetch_add(1, Ordering::SeqCst);
                let mut turns = 0_u32;
                while self.0.inside.load(Ordering::SeqCst) > 0 {
                    turns += 1;
                    if turns.is_multiple_of(4096) {
                        thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
            }
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; `Close` ends all use before this function ends
        let body: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(body) };
        // SAFETY: the last loop is closed and nobody is inside
        unsafe { *shared.current.get() = Loop { body, parts } };
        shared.next.store(0, Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        let open = Close(shared);
        INSIDE.set(true);
        shared.wake();
        // SAFETY: written above; nobody writes before this loop is closed
        shared.work(unsafe { &*shared.current.get() });
        drop(open);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a helper thread panicked");
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        self.shared.wake();
        for helper in self.helpers.drain(..) {
            // A panic was reported where it happened.
            let _ = helper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once() {
        for parts in [0, 1, 2, 7, 100] {
            for threads in [1, 2, 5] {
                let counts: Vec<_> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..200 {
                    run(threads, parts, &|part| {
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 200));
            }
        }
    }

    #[test]
    fn helpers_help_awake_and_asleep() {
        let meet = |pause: Duration| {
            thread::sleep(pause);
            // Both parts wait for each other, so two threads must be at it.
            let here = AtomicUsize::new(0);
            run(2, 2, &|_| {
                here.fetch_add(1, Ordering::SeqCst);
                while here.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        };
        for pause in [0, 0, 20, 0] {
            meet(Duration::from_millis(pause));
        }
    }

    #[test]
    fn loops_inside_loops_are_serial() {
        let total = AtomicUsize::new(0);
        run(3, 4, &|_| {
            run(3, 5, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.load(Ordering::Relaxed), 20);
    }

    #[test]
    fn panics_reach_the_caller_and_the_team_survives() {
        for part in [0, 1] {
            let caller = thread::current().id();
            let result = catch_unwind(|| {
                let meet = AtomicUsize::new(0);
                run(2, 2, &|_| {
                    // Each thread has one part.
                    meet.fetch_add(1, Ordering::SeqCst);
                    while meet.load(Ordering::SeqCst) < 2 {
                        thread::yield_now();
                    }
                    assert_ne!(usize::from(thread::current().id() == caller), part);
                });
            });
            assert!(result.is_err());
        }
        run(2, 2, &|_| {});
    }
}

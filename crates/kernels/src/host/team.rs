//! Helper threads of a thread that computes.
//!
//! A training step is thousands of parallel loops of a tenth of a millisecond, with little between
//! them. Waking a sleeping thread for each would take a fifth of the time, so helpers stay awake for a
//! moment after a loop, and the thread that asks works along instead of waiting. It never waits for a
//! helper that has not begun.

mod sync;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sync::{
    Arc, AtomicBool, AtomicUsize, Condvar, JoinHandle, Mutex, Ordering, UnsafeCell, briefly, fence,
    spin_loop, thread,
};

/// How long helpers stay awake without work.
const AWAKE: Duration = Duration::from_micros(100);

thread_local! {
    static TEAM: RefCell<Option<Team>> = const { RefCell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static POLITE: Cell<bool> = const { Cell::new(false) };
}

/// Has helpers of this thread's loops let others have the processor while they wait for the next loop.
///
/// For threads of a program whose other threads have work, too, as those of a server. Where one thread is the whole
/// program's work, its helpers are to be there when it wants them.
pub fn share_processors() {
    POLITE.set(true);
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
        let polite = POLITE.get();
        let fits = |team: &Team| team.size == threads && team.shared.polite == polite;
        if !team.as_ref().is_some_and(fits) {
            *team = Some(Team::new(threads, polite));
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
    /// Whether helpers that wait let others go first.
    polite: bool,
    door: Mutex<()>,
    bell: Condvar,
}

// SAFETY: `current` is guarded by `epoch` and `inside`, see `Team::run` and `Shared::enter`.
unsafe impl Sync for Shared {}
// SAFETY: the loop's body is `Sync` and outlives every use.
unsafe impl Send for Shared {}

impl Shared {
    /// Does parts until none is left.
    ///
    /// # Safety
    /// The loop is open, and the caller inside or the one that opened it.
    unsafe fn work(&self) {
        self.current.with(|current| {
            // SAFETY: written before the loop was opened, and not again before all have left
            let Loop { body, parts } = unsafe { &*current };
            // SAFETY: `Team::run` does not return, so that the body lives, before all have left
            let body = unsafe { &**body };
            loop {
                let part = self.next.fetch_add(1, Ordering::Relaxed);
                if part >= *parts {
                    return;
                }
                body(part);
            }
        });
    }

    /// Helps with the loop of this epoch, if it is still open.
    fn enter(&self, epoch: usize) {
        self.inside.fetch_add(1, Ordering::Relaxed);
        // Who closes has such a fence between changing `epoch` and looking at `inside`: either we see the
        // change or are seen.
        fence(Ordering::SeqCst);
        if self.epoch.load(Ordering::Acquire) == epoch {
            // SAFETY: open, and we are inside
            let work = AssertUnwindSafe(|| unsafe { self.work() });
            if catch_unwind(work).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.inside.fetch_sub(1, Ordering::Release);
    }

    /// A loop that has opened since the epoch `seen`; none when it is time to quit.
    fn wait(&self, seen: usize) -> Option<usize> {
        let opened = || {
            let epoch = self.epoch.load(Ordering::Acquire);
            (epoch % 2 == 1 && epoch != seen).then_some(epoch)
        };
        briefly(AWAKE, self.polite, || opened().is_some());
        if let Some(epoch) = opened() {
            return Some(epoch);
        }
        let mut door = self.door.lock().unwrap_or_else(|e| e.into_inner());
        self.asleep.fetch_add(1, Ordering::Relaxed);
        // As in `enter`: either we see what has changed, or `wake` sees us.
        fence(Ordering::SeqCst);
        let found = loop {
            if self.quit.load(Ordering::Relaxed) {
                break None;
            }
            if let Some(epoch) = opened() {
                break Some(epoch);
            }
            door = self.bell.wait(door).unwrap_or_else(|e| e.into_inner());
        };
        self.asleep.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Wakes who sleeps, after a change of `epoch` or `quit`.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
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
    fn new(size: usize, polite: bool) -> Self {
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
            polite,
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
                self.0.epoch.fetch_add(1, Ordering::Relaxed);
                fence(Ordering::SeqCst); // see `Shared::enter`
                let mut turns = 0_u32;
                while self.0.inside.load(Ordering::Acquire) > 0 {
                    turns += 1;
                    if turns.is_multiple_of(4096) {
                        thread::yield_now();
                    }
                    spin_loop();
                }
            }
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; `Close` ends all use before this function ends
        let body: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(body) };
        shared.current.with_mut(|current| {
            // SAFETY: the last loop is closed and nobody is inside
            unsafe { *current = Loop { body, parts } };
        });
        shared.next.store(0, Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::Release);
        let open = Close(shared);
        INSIDE.set(true);
        shared.wake();
        // SAFETY: just opened
        unsafe { shared.work() };
        drop(open);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a helper thread panicked");
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::Relaxed);
        self.shared.wake();
        for helper in self.helpers.drain(..) {
            // A panic was reported where it happened.
            let _ = helper.join();
        }
    }
}

/// Run by `tools/check/loom.sh`.
#[cfg(all(test, loom))]
mod model {
    use super::*;

    /// Loops one after the other, on one team that ends at last: every part is done once, and seen by the caller.
    fn loops(threads: usize, parts: usize, rounds: usize) {
        loom::model(move || {
            let team = Team::new(threads, false);
            for _ in 0..rounds {
                let done: Vec<_> = (0..parts).map(|_| Part(UnsafeCell::new(0))).collect();
                team.run(parts, &|part| done[part].add());
                assert!(done.iter().all(|part| part.get() == 1));
            }
        });
    }

    /// Written by one thread without any lock: loom reports who else uses it at the same time.
    struct Part(UnsafeCell<usize>);

    // SAFETY: loom watches
    unsafe impl Sync for Part {}

    impl Part {
        fn add(&self) {
            // SAFETY: loom watches
            self.0.with_mut(|x| unsafe { *x += 1 });
        }

        fn get(&self) -> usize {
            // SAFETY: loom watches
            self.0.with(|x| unsafe { *x })
        }
    }

    #[test]
    fn one_helper() {
        loops(2, 2, 2);
    }

    #[test]
    fn one_helper_that_may_be_late_for_several_loops() {
        loops(2, 1, 3);
    }

    #[test]
    fn two_helpers() {
        loops(3, 2, 1);
    }

    #[test]
    fn a_team_ends_without_work() {
        loops(3, 0, 0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once() {
        const ROUNDS: usize = if cfg!(miri) { 3 } else { 200 };
        for parts in [0, 1, 2, 7, 100] {
            for threads in [1, 2, 5] {
                let counts: Vec<_> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..ROUNDS {
                    run(threads, parts, &|part| {
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == ROUNDS));
            }
        }
    }

    #[test]
    fn helpers_help_awake_and_asleep() {
        helpers_help();
    }

    #[test]
    fn polite_helpers_help() {
        share_processors();
        helpers_help();
    }

    fn helpers_help() {
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

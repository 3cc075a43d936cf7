//! What a team is built of: the standard library, or a model checker's stand-ins for it (`tools/check/loom.sh`).

#[cfg(loom)]
mod parts {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Arc, Condvar, Mutex};
    pub(crate) use loom::thread::{self, JoinHandle};

    /// Every wait may be for long, as far as the model is concerned.
    pub(crate) fn briefly(_: std::time::Duration, _: bool, _: impl Fn() -> bool) {}
}

#[cfg(not(loom))]
mod parts {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::{Arc, Condvar, Mutex};
    pub(crate) use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    /// The standard library's, with the interface of the model checker's.
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
            body(self.0.get())
        }

        pub(crate) fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
            body(self.0.get())
        }
    }

    /// Turns in circles until something has happened, but not longer than a while; lets others go first who want the
    /// processor, if `polite`.
    pub(crate) fn briefly(a_while: Duration, polite: bool, happened: impl Fn() -> bool) {
        let started = Instant::now();
        while started.elapsed() < a_while {
            for _ in 0..32 {
                if happened() {
                    return;
                }
                spin_loop();
            }
            if polite {
                thread::yield_now();
            }
        }
    }
}

pub(super) use parts::*;

//! Ctrl-C: the first one asks for a checkpoint and an orderly end, the second one ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Starts listening.
pub fn listen() {
    let installed = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step or batch; once more to stop at once");
    });
    if let Err(error) = installed {
        tracing::warn!(%error, "Ctrl-C will end the program without a checkpoint");
    }
}

/// Whether the user asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Ends the program in silence when nobody reads its output any more, as in `deem params | head`; Rust's
/// default is a panic.
pub fn end_with_the_reader() {
    // SAFETY: sets a signal's default action, before threads and handlers exist
    #[cfg(unix)]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

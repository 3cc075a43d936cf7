//! Ctrl-C: the first one asks for a checkpoint and an orderly end, the second one ends at once.

use std::sync::Mutex;
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

/// Comes with the first Ctrl-C or SIGTERM; the second one ends the program at once.
pub async fn signal() {
    let (asked, coming) = tokio::sync::oneshot::channel();
    let asked = Mutex::new(Some(asked));
    let installed = ctrlc::set_handler(move || {
        let first = asked.lock().ok().and_then(|mut asked| asked.take());
        match first {
            Some(asked) => {
                eprintln!("\nending when all requests are answered; once more to end at once");
                let _ = asked.send(()); // an error means that it ends already
            }
            None => std::process::exit(130),
        }
    });
    if let Err(error) = installed {
        tracing::warn!(%error, "Ctrl-C will end the program at once");
    }
    if coming.await.is_err() {
        std::future::pending().await
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

/// Undoes [`end_with_the_reader`]: a client that hangs up does not end a server.
pub fn outlive_readers() {
    // SAFETY: ignores a signal, before the server's threads exist
    #[cfg(unix)]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

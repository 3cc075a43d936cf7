//! The `deem` program: arguments in, progress on standard error, results on standard output.

use std::process::ExitCode;

use clap::Parser;
use deem_kernels::{InstructionSet, Mode};

/// As the standard one, but a full device is an error to report and not a panic.
macro_rules! println {
    () => { $crate::output::line(format_args!("")) };
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// As [`println`], without the end of the line.
macro_rules! print {
    ($($text:tt)*) => { $crate::output::piece(&format!($($text)*)) };
}

/// As the standard one, but what cannot be written is lost.
macro_rules! eprintln {
    () => { $crate::output::note(format_args!("")) };
    ($($text:tt)*) => { $crate::output::note(format_args!($($text)*)) };
}

/// As [`eprintln`], without the end of the line.
macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::aside(format_args!($($text)*)) };
}

mod allocator;
mod args;
mod commands;
mod interrupt;
mod output;
mod progress;
mod summary;
mod version;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    interrupt::end_with_the_reader();
    let args = args::Args::parse();
    // A server's log has a line for each request.
    let serves = matches!(args.command, args::Command::Serve(_));
    progress::init_log(args.verbose.max(u8::from(serves)));
    // Asked here, so that a wrong DEEM_SIMD or DEEM_KERNELS is an error and not a panic of the first kernel.
    let checked = InstructionSet::from_env().map_err(anyhow::Error::from);
    let checked = checked.and_then(|_| Ok(Mode::from_env()?));
    match checked.and_then(|_| commands::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let interrupted = error
                .downcast_ref::<deem_engine::EngineError>()
                .is_some_and(deem_engine::EngineError::is_interruption);
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}

//! The `deem` program: arguments in, progress on standard error, results on standard output.

use std::process::ExitCode;

use clap::Parser;
use deem_kernels::InstructionSet;

mod allocator;
mod args;
mod commands;
mod interrupt;
mod progress;
mod summary;
mod version;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    interrupt::end_with_the_reader();
    let args = args::Args::parse();
    progress::init_log(args.verbose);
    // Asked here, so that a wrong DEEM_SIMD is an error and not a panic of the first kernel.
    let checked = InstructionSet::from_env().map_err(anyhow::Error::from);
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

//! One file per subcommand; here is what they share.

use anyhow::Result;

use crate::args::{Args, Command};
use crate::interrupt;

mod ask;
mod bench;
mod chat;
mod compare;
mod convert;
mod data;
mod doctor;
mod encoder;
mod encoder_study;
mod eval;
mod export;
mod feedback;
mod generate;
mod manual;
mod params;
mod pictures;
mod pretrain;
mod probe;
mod reproduce;
mod restore;
mod score;
mod serve;
mod setup;
mod side_by_side;
mod together;
mod train;

/// Runs the program.
pub fn run(args: Args) -> Result<()> {
    let setup = setup::Setup {
        preset: args.preset,
        folder: args.standins,
        overrides: args.set,
        device: args.device,
        precision: args.precision,
    };
    match args.command {
        Command::Reproduce(args) => {
            interrupt::listen();
            reproduce::run(&setup, &args)
        }
        Command::Train(args) => {
            interrupt::listen();
            train::run(&setup, &args)
        }
        Command::Feedback(args) => {
            interrupt::listen();
            feedback::run(&setup, &args)
        }
        Command::Pretrain(args) => {
            interrupt::listen();
            pretrain::run(&setup, &args)
        }
        Command::Eval(args) => {
            interrupt::listen();
            eval::run(&setup, &args)
        }
        Command::Score(args) => score::run(&setup, &args),
        Command::Compare(args) => compare::run(&args),
        Command::Ask(args) => ask::run(&setup, &args),
        Command::Restore(args) => restore::run(&setup, &args),
        Command::Generate(args) => generate::run(&setup, &args),
        Command::Chat(args) => chat::run(&setup, &args),
        Command::Serve(args) => serve::run(&setup, &args),
        Command::Params(args) => params::run(&setup, &args),
        Command::Doctor(args) => doctor::run(&setup, &args),
        Command::Convert(args) => convert::run(&args),
        Command::Export(args) => export::run(&setup, &args),
        Command::Bench(args) => bench::run(&setup, &args),
        Command::Probe(args) => probe::run(&setup, &args),
        Command::Data(args) => data::run(&setup, &args.command),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    }
}

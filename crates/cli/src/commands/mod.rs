//! One file per subcommand; here is what they share.

use anyhow::Result;
use deem_engine::standins::StandIns;

use crate::args::{Args, Command};
use crate::interrupt;

mod ask;
mod bench;
mod chat;
mod convert;
mod data;
mod doctor;
mod foundation;
mod generate;
mod params;
mod pretrain;
mod probe;
mod reproduce;
mod restore;
mod session;
mod talk;
mod train;

/// Runs the program.
pub fn run(args: Args) -> Result<()> {
    let standins = session::StandInChoice {
        folder: match args.preset {
            Some(name) => Some(StandIns::builtin(&name)),
            None => args.standins,
        },
        overrides: args.set,
    };
    match args.command {
        Command::Reproduce(args) => {
            interrupt::listen();
            reproduce::run(&standins, &args)
        }
        Command::Train(args) => {
            interrupt::listen();
            train::run(&standins, &args)
        }
        Command::Pretrain(args) => {
            interrupt::listen();
            pretrain::run(&standins, &args)
        }
        Command::Ask(args) => ask::run(&standins, &args),
        Command::Restore(args) => restore::run(&standins, &args),
        Command::Generate(args) => generate::run(&standins, &args),
        Command::Chat(args) => chat::run(&standins, &args),
        Command::Params(args) => params::run(&standins, &args),
        Command::Doctor(args) => doctor::run(&standins, &args),
        Command::Convert(args) => convert::run(&args),
        Command::Bench(args) => bench::run(&standins, &args),
        Command::Probe(args) => probe::run(&args),
        Command::Data(args) => data::run(&standins, &args.command),
    }
}

//! Command line: one file per verb.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

pub mod run;
pub mod syscalls;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Run(run::Args),
    Syscalls(syscalls::Args),
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    match (Cli::from_arg_matches(&matches), matches.subcommand()) {
        (Ok(Cli { verb: Verb::Run(_) }), Some((_, matches))) => run::run(matches),
        (
            Ok(Cli {
                verb: Verb::Syscalls(args),
            }),
            _,
        ) => syscalls::run(&args),
        (Err(error), _) => error.exit(),
        (Ok(_), None) => ExitCode::from(2),
    }
}

//! Command line.

use std::process::ExitCode;

use clap::Parser;

pub mod doctor;
pub mod exit;
pub mod similar;
pub mod syscalls;
pub mod term;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Syscalls(syscalls::Args),
    Doctor(doctor::Args),
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Syscalls(args) => syscalls::run(&args).into(),
        Verb::Doctor(args) => doctor::run(&args).into(),
    }
}

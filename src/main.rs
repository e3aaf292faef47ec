//! `sbox`: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    sbox::cli::main()
}

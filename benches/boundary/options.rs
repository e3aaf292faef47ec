//! The command line after `cargo bench --`.

use crate::Fallible;
use crate::rows::ROW_NAMES;

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench boundary -- [ROW...] [--quick] [--rounds N] [--no-peers] [--write-docs]
  ROW           only rows of these names, or whose name contains this
  --quick       3 rounds instead of 9
  --rounds N    N rounds
  --no-peers    native and sbox only
  --write-docs  put the tables between the markers of docs/PERFORMANCE.md
  --list        names of the rows
Without cargo bench's own --bench argument (as under cargo test) there is only a smoke run.";

const FULL_ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;

pub(crate) enum Mode {
    Help,
    List,
    Smoke,
    Bench(Options),
}

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) peers: bool,
    pub(crate) write_docs: bool,
    filters: Vec<String>,
}

impl Options {
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| matches(word, row))
    }
}

/// A whole name means that row alone, a part of names all of them.
fn matches(word: &str, row: &str) -> bool {
    if ROW_NAMES.contains(&word) {
        word == row
    } else {
        row.contains(word)
    }
}

/// Cargo passes `--bench` under `cargo bench` and nothing under `cargo test`; what a test harness would
/// understand besides is ignored there.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Fallible<Mode> {
    let args: Vec<String> = args.collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--help") || has("-h") {
        return Ok(Mode::Help);
    }
    if has("--list") {
        return Ok(Mode::List);
    }
    if has("--test") || !has("--bench") {
        return Ok(Mode::Smoke);
    }
    parse_bench(args.into_iter()).map(Mode::Bench)
}

fn parse_bench(mut args: impl Iterator<Item = String>) -> Fallible<Options> {
    let mut options = Options {
        rounds: FULL_ROUNDS,
        peers: true,
        write_docs: false,
        filters: Vec::new(),
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--quick" => options.rounds = QUICK_ROUNDS,
            "--rounds" => options.rounds = rounds(args.next())?,
            "--no-peers" => options.peers = false,
            "--write-docs" => options.write_docs = true,
            flag if flag.starts_with('-') => {
                return Err(format!("unknown option {flag}\n{USAGE}").into());
            }
            word => options.filters.push(word.to_owned()),
        }
    }
    Ok(options)
}

fn rounds(value: Option<String>) -> Fallible<usize> {
    match value.as_deref().map(str::parse) {
        Some(Ok(n)) if n >= 1 => Ok(n),
        _ => Err("--rounds needs a number of at least 1".into()),
    }
}

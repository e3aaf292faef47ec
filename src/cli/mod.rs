//! Command line: one file per verb, and what the verbs share.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches, Parser};

mod ask;
pub mod commit;
pub mod completions;
pub mod diff;
pub mod discard;
pub mod doctor;
pub mod exit;
mod keep;
pub mod layers;
mod listen;
pub mod man;
pub mod policy;
pub mod record;
pub mod run;
pub mod syscalls;
pub mod term;

use crate::similar;
use exit::Exit;
use term::Kind;

/// Runs programs that you don't trust, and decides what they can do: no root, no user namespace, no daemon.
///
/// A program does things to the world by system calls. sbox stands on that line: it lets some calls pass to
/// the kernel, answers some itself, and refuses the rest, so that the program has the files, processes and
/// connections that you give it, and no others.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 80,
    subcommand_help_heading = "Verbs",
    subcommand_value_name = "VERB",
    help_template = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    Diff(diff::Args),
    Commit(commit::Args),
    Discard(discard::Args),
    Layers(layers::Args),
    Policy(policy::Args),
    Record(record::Args),
    Syscalls(syscalls::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What to try first. Shown as far as the verbs exist.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "sbox run -- ./program",
        "run it; it sees only what you list",
    ),
    (
        "sbox trace -- ./program",
        "watch its system calls, and who answers them",
    ),
    ("sbox diff", "what a run has changed"),
    ("sbox test", "test the policies of this directory"),
    ("sbox doctor", "what this host lets sbox do"),
    (
        "sbox syscalls openat",
        "how a system call is treated, and why",
    ),
];

/// The whole command line. Help, completions and manual are made from it.
pub fn command() -> Command {
    let command = Cli::command();
    let mut examples = String::from("Examples:\n");
    for (example, meaning) in EXAMPLES {
        let verb = example.split(' ').nth(1).unwrap_or_default();
        if command.find_subcommand(verb).is_some() {
            examples += &format!("  {example:<25} {meaning}\n");
        }
    }
    command
        .before_help(examples)
        .after_help("'sbox help VERB' tells more, and 'sbox man VERB | man -l -' all.")
}

/// `run` and its flags alone. Nothing is started as often, and the command line of all verbs takes longer to
/// build than to parse.
fn run_alone() -> Command {
    let run = <run::Args as clap::Args>::augment_args(Command::new("run"));
    Command::new("sbox").subcommand(run)
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    crate::sys::process::outlive_long_files();
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "run")
        && let Ok(matches) = run_alone().try_get_matches()
        && let Some((_, matches)) = matches.subcommand()
    {
        return run::run(matches);
    }
    // Help and errors come from the whole.
    let parsed = command().try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error).into(),
    };
    match (cli.verb, matches.subcommand()) {
        (Verb::Run(_), Some((_, matches))) => run::run(matches),
        (Verb::Run(_), None) => Exit::Usage.into(), // clap gives a verb's matches
        (Verb::Diff(args), _) => diff::run(&args).into(),
        (Verb::Commit(args), _) => commit::run(&args).into(),
        (Verb::Discard(args), _) => discard::run(&args).into(),
        (Verb::Layers(args), _) => layers::run(&args).into(),
        (Verb::Policy(args), _) => policy::run(&args).into(),
        (Verb::Record(args), _) => record::run(&args).into(),
        (Verb::Syscalls(args), _) => syscalls::run(&args).into(),
        (Verb::Doctor(args), _) => doctor::run(&args).into(),
        (Verb::Completions(args), _) => completions::run(&args).into(),
        (Verb::Man(args), _) => man::run(&args).into(),
    }
}

/// What clap calls an error: help and version, which were asked for, or a command line that makes no sense.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return term::print(&error.render().to_string());
    }
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => unknown_verb(word),
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            term::message(Kind::Error, &format!("no verb given\n\n{}", error.render()));
            Exit::Usage
        }
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            term::message(Kind::Error, &text.replace("\n  tip: ", "\n  hint: "));
            Exit::Usage
        }
    }
}

/// Says that there is no such verb, and which may have been meant.
fn unknown_verb(word: &str) -> Exit {
    let command = command();
    let verbs = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(Command::get_name);
    let shown = term::escape(word);
    let hint = match similar::nearest(word, verbs) {
        Some(near) => format!("did you mean '{near}'?"),
        None if command.find_subcommand("run").is_some() => {
            format!("to run a program: sbox run -- {shown}")
        }
        None => "'sbox --help' lists the verbs".to_owned(),
    };
    term::message(Kind::Error, &format!("no verb '{shown}'\n\n  hint: {hint}"));
    Exit::Usage
}

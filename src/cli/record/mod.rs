//! `sbox record -o POLICY -- PROG`: proposes a policy from what a program does.
//!
//! The program runs as in an audit of a policy without rules: it sees the host's tree, copy-on-write. What it has named, and
//! what it wanted to do there, becomes the proposal.

mod propose;
mod recorder;
mod write;

use super::exit::Exit;
use super::listen::Policies;
use super::policy::{words, world};
use super::run;
use super::term::{self, Kind};
use crate::policy::lang::{Fault, Sheets, Sources};
use crate::supervisor::view::audit::lifted;
use propose::{Host, Places, propose};
use recorder::Recorder;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Propose a policy from what a program does
///
/// The program sees all of your files, and what it changes is kept apart: run only what you trust. The
/// proposal is a lower bound: what the program did not do this time is not in it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sbox record -o build.toml -- make
  sbox record -o build.toml --merge -- make test
  sbox run --policy build.toml -- make

Exit status: the program's own; 1 the policy is there and --merge was not said, 2 it makes no sense.")]
pub struct Args {
    /// The policy to write
    #[arg(short, long, value_name = "POLICY")]
    output: PathBuf,
    /// Add to the policy that is there; its comments and rules of your own stay
    #[arg(long)]
    merge: bool,
    /// Let the program use the host's network, and propose that
    #[arg(long, value_enum, default_value_t = run::NetArg::None)]
    net: run::NetArg,
    /// Keep or set an environment variable, and propose that; '*' keeps all
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Keep what the program changes in a layer, rather than drop it at the end
    #[arg(long)]
    keep: bool,
    /// Don't say what is recorded
    #[arg(short, long)]
    quiet: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROG")]
    command: Vec<OsString>,
}

/// What no proposal has, and no recording shows: a policy of one's own may.
const SECRETS: [&str; 19] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d/**",
    "/etc/security/opasswd",
    "/etc/ssl/private/**",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "${home}/.ssh/**",
    "${home}/.gnupg/**",
    "${home}/.aws/**",
    "${home}/.kube/**",
    "${home}/.docker/**",
    "${home}/.netrc",
    "${home}/.git-credentials",
    "${home}/.pgpass",
];

/// The policy of a recording: the view of the proposal, and nothing but what is forbidden.
fn recording(places: &Places) -> String {
    let cwd = match &places.cwd[..] {
        b"/" => "",
        _ => "\"${cwd}\" = { cow = \"${cwd}\" }\n",
    };
    let forbidden: Vec<String> = SECRETS.iter().map(|path| format!("{path:?}")).collect();
    format!(
        "sbox = 1\nname = \"recording\"\n[view.mounts]\n{cwd}\"/tmp\" = {{ tmpfs = \"\" }}\n\"/dev/shm\" = {{ tmpfs = \"\" }}\n\
         [forbid]\nfiles = [{}]\n",
        forbidden.join(", ")
    )
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let fail = |exit, why: String| {
        term::message(Kind::Error, &why);
        exit
    };
    let shown = args.output.display();
    let before = match std::fs::read_to_string(&args.output) {
        Ok(text) if args.merge => Some(text),
        Ok(_) => {
            let why = format!("{shown} is there\n  hint: --merge adds to it");
            return fail(Exit::Refused, why);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return fail(Exit::Usage, format!("{shown}: {error}")),
    };
    let world = world::world(&[]);
    let own = |name: &str| {
        let found = world.own.iter().find(|(known, _)| *known == name);
        found.map_or(Vec::new(), |(_, value)| value.clone().into_bytes())
    };
    let places = Places {
        cwd: own("cwd"),
        home: own("home"),
    };
    let load = |name: &str, text: &str| {
        let read = |path: &std::path::Path| {
            if path == std::path::Path::new(name) {
                return Ok(text.to_owned());
            }
            std::fs::read_to_string(path).map_err(|e| e.to_string())
        };
        Sheets::load(name, &[], &world, &words(), &read)
    };
    let complain = |(faults, sources): (Vec<Fault>, Sources)| {
        for fault in &faults {
            term::message(Kind::Error, &fault.show(&sources));
        }
        Exit::Usage
    };
    let name = args.output.to_string_lossy();
    // What is merged into must make sense before anything is run.
    let prior = match &before {
        None => Vec::new(),
        Some(text) => match load(&name, text).map(|_| write::prior(text, &places)) {
            Ok(prior) => prior,
            Err(wrong) => return complain(wrong),
        },
    };
    let asked = match load("recording", &recording(&places)) {
        Ok(sheets) => Arc::new(sheets),
        Err(wrong) => return complain(wrong),
    };
    let enforced = match lifted(&asked) {
        Ok(sheets) => Arc::new(sheets),
        Err(bad) => return fail(Exit::Internal, format!("recording: {}", bad.why)),
    };
    let recorder = Arc::new(Recorder::default());
    let witness = Arc::clone(&recorder);
    let policies = Policies::recording(Arc::clone(&asked), enforced, witness);
    let wanted = run::Recording {
        net: args.net,
        env: &args.env,
        keep: args.keep,
        quiet: args.quiet,
        command: &args.command,
    };
    let exit = run::record(wanted, policies);
    if matches!(exit, Exit::Internal | Exit::CannotEnforce | Exit::NotFound) {
        return exit;
    }
    let forbidden = |path: &[u8]| {
        let candidates = asked.all.first().map(|sheet| sheet.files.candidates(path));
        candidates.is_some_and(|all| all.iter().any(|one| one.rule.forbid))
    };
    let proposal = propose(
        &recorder.seen(),
        &prior,
        &places,
        &Host::of,
        &forbidden,
        recorder.is_full(),
    );
    let command: Vec<String> = args
        .command
        .iter()
        .map(|word| term::escape_bytes(word.as_bytes()))
        .collect();
    let extras = write::Extras {
        command: command.join(" "),
        net: args.net == run::NetArg::Host,
        env: args
            .env
            .iter()
            .filter_map(|e| e.to_str())
            .map(str::to_owned)
            .collect(),
        secrets: &SECRETS,
    };
    let text = match write::written(before.as_deref(), &proposal, &extras, &places) {
        Ok(text) => text,
        Err(error) => return fail(Exit::Internal, format!("{shown}: {error}")),
    };
    if let Err(wrong) = load(&name, &text) {
        return complain(wrong);
    }
    let file = super::policy::PolicyFile::find(&args.output);
    // What somebody else has written there meanwhile is not lost.
    let stored = file.and_then(|file| match &before {
        None => file.make(&text),
        Some(before) if file.read()? == *before => file.replace(&text),
        Some(_) => Err(std::io::Error::other("has been changed meanwhile")),
    });
    if let Err(error) = stored {
        // Nor is the proposal.
        let _ = term::print(&text);
        let why =
            format!("{shown}: {error}\n  hint: what was to be written stands on standard output");
        return fail(Exit::Internal, why);
    }
    for note in &proposal.notes {
        term::message(Kind::Note, note);
    }
    if !args.quiet {
        let rules = proposal.rules.len();
        let text = format!("{shown}: {rules} rules proposed; a lower bound, to be read before use");
        term::message(Kind::Note, &text);
    }
    exit
}

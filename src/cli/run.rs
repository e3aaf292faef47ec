//! `sbox run -- PROG`: a program in a sandbox.

use super::exit::Exit;
use super::keep::Keeper;
use super::listen::{Listen, Policies};
use super::policy::{Which, enforce};
use crate::layers::{Layers, check_name};
use crate::supervisor::ask::Asker;
use crate::supervisor::view::{Changes, Identity, Root, Stores, View, Wish, check_hostname};
use crate::supervisor::worlds::Switches;
use crate::supervisor::{self, Error, Outcome, Pids, Setup};
use crate::sys::Errno;
use crate::syscall::rules::Net;
use crate::trace::{End, Log, tell};
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Run a program that sees only what you list
///
/// Without flags it sees the system directories read-only, the current directory copy-on-write, a
/// private /tmp, its own processes, no home and no network.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sbox run -- python3 script.py
  sbox run --rw . -- make -j4
  sbox run --cow ~/proj=try -- npm install
  sbox run --root ~/trixie -- gcc --version
  sbox run --ro ~/data --hide ~/data/keys --tmpfs ~/.cache -- ./analyse
  sbox run --net host --env API=http://localhost:8000 -- ./client

Exit status: the program's own; death by signal is passed on; 125 sbox failed, 126 the program
can't be executed, 127 there is no such program, 3 this host can't enforce, 2 wrong usage.")]
pub struct Args {
    /// Show a host path read-only, at the same place
    #[arg(long, value_name = "PATH")]
    ro: Vec<PathBuf>,
    /// Show a host path writable, at the same place
    #[arg(long, value_name = "PATH")]
    rw: Vec<PathBuf>,
    /// Let a path not exist
    #[arg(long, value_name = "PATH")]
    hide: Vec<PathBuf>,
    /// Show a host path at another place
    #[arg(long, value_name = "SRC:DST[:ro]", value_parser = parse_bind)]
    bind: Vec<Wish>,
    /// Show a host directory writable; changes go to a layer, see sbox diff
    #[arg(long, value_name = "DIR[=LAYER]", value_parser = parse_cow)]
    cow: Vec<Wish>,
    /// Show a host directory as /, instead of the host's system directories; changes go to a layer
    #[arg(long, value_name = "DIR[:ro|:rw]", value_parser = OsStringValueParser::new().map(|text| parse_root(&text)))]
    root: Option<Root>,
    /// The name of the machine that the program takes this one for
    #[arg(long, value_name = "NAME", default_value = "sbox", value_parser = parse_hostname)]
    hostname: String,
    /// Keep the changes in the layer of this name
    #[arg(long, value_name = "LAYER", conflicts_with = "discard", value_parser = parse_layer)]
    pub(super) keep: Option<String>,
    /// Drop the changes at the end
    #[arg(long)]
    pub(super) discard: bool,
    /// Put a private, empty directory there, of at most SIZE bytes (K, M, G), dropped at the end
    #[arg(long, value_name = "PATH[:SIZE]", value_parser = OsStringValueParser::new().try_map(|text| parse_tmpfs(&text)))]
    tmpfs: Vec<Wish>,
    /// Put a file with this text there, read-only
    #[arg(long, value_name = "PATH=TEXT", value_parser = OsStringValueParser::new().try_map(|text| parse_file(&text)))]
    file: Vec<Wish>,
    /// Enforce a policy: a file, or std/NAME; it takes the place of the flags for files
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ro", "rw", "hide", "bind", "cow", "tmpfs", "file", "env", "net", "root"])]
    policy: Option<String>,
    /// A ceiling: what this policy doesn't allow is not allowed
    #[arg(long, value_name = "FILE", requires = "policy")]
    within: Vec<String>,
    /// Give a value to a variable that the policy declares
    #[arg(long, value_name = "NAME=VALUE", requires = "policy", value_parser = super::policy::world::parse_set)]
    set: Vec<(String, String)>,
    /// Keep or set an environment variable; '*' keeps all
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Start in this directory of the view
    #[arg(long, value_name = "PATH")]
    cwd: Option<PathBuf>,
    /// The network that the program has
    #[arg(long, value_enum, default_value_t = NetArg::None)]
    net: NetArg,
    /// The process numbers that the program sees
    #[arg(long, value_enum, default_value_t = PidsArg::Virtual)]
    pids: PidsArg,
    /// Let process numbers begin again from N on
    #[arg(long, value_name = "N", conflicts_with = "pids", hide_short_help = true,
          value_parser = clap::value_parser!(i32).range(i64::from(Pids::MIN)..=i64::from(Pids::MAX)))]
    pid_max: Option<i32>,
    #[command(flatten)]
    listen: Listen,
    /// End with the last program that is left, not with the first; the status stays the first one's
    #[arg(long)]
    wait_all: bool,
    /// Don't say what is enforced
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// At the end, count the calls and the time they took
    #[arg(long)]
    stats: bool,
    /// Write one line for each call that reached sbox
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROG")]
    pub(super) command: Vec<OsString>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetArg {
    /// No sockets but unix ones of its own
    None,
    /// The host's network, unrestricted
    Host,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum PidsArg {
    /// Small ones of its own, in order of birth; 1 is sbox
    Virtual,
    /// The host's
    Host,
}

fn parse_bind(text: &str) -> Result<Wish, String> {
    let (text, ro) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    match text.split_once(':') {
        Some((source, target)) if target.starts_with('/') && !source.is_empty() => Ok(Wish::Bind {
            source: source.into(),
            target: target.into(),
            ro,
        }),
        Some(_) => Err("DST must be an absolute path of the view".into()),
        None => Err("wanted SRC:DST or SRC:DST:ro".into()),
    }
}

fn parse_hostname(name: &str) -> Result<String, String> {
    match check_hostname(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err(
            "wanted letters, digits and hyphens, with dots between them, 64 bytes at most".into(),
        ),
    }
}

/// A directory whose name ends so is written with a slash behind it.
fn parse_root(text: &OsStr) -> Root {
    let bytes = text.as_bytes();
    let (dir, changes) = match (bytes.strip_suffix(b":ro"), bytes.strip_suffix(b":rw")) {
        (Some(dir), _) => (dir, Changes::Refused),
        (_, Some(dir)) => (dir, Changes::Made),
        _ => (bytes, Changes::Kept),
    };
    Root {
        dir: OsStr::from_bytes(dir).into(),
        changes,
    }
}

/// The text is taken as it is, from behind the first equals sign on: nothing is escaped, no line end added.
fn parse_file(text: &OsStr) -> Result<Wish, String> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|&b| b == b'=') {
        Some(at) if at > 0 => Ok(Wish::File {
            path: OsStr::from_bytes(bytes.get(..at).unwrap_or_default()).into(),
            text: bytes.get(at + 1..).unwrap_or_default().to_owned(),
        }),
        _ => Err("wanted PATH=TEXT".into()),
    }
}

/// What stands behind the last colon is the size; nothing there means no limit, so `a:b:` is a directory `a:b`.
fn parse_tmpfs(text: &OsStr) -> Result<Wish, String> {
    let bytes = text.as_bytes();
    let (path, size) = match bytes.iter().rposition(|&b| b == b':') {
        Some(at) => (
            bytes.get(..at).unwrap_or_default(),
            bytes.get(at + 1..).unwrap_or_default(),
        ),
        None => (bytes, &b""[..]),
    };
    if path.is_empty() {
        return Err("wanted PATH or PATH:SIZE".into());
    }
    let size = match size {
        b"" => None,
        size => Some(parse_size(size).ok_or_else(|| {
            format!(
                "{} is no size: wanted a number of bytes above 0, or with K, M or G behind it; \
                 a path that has a colon ends in one: {}:",
                size.escape_ascii(),
                bytes.escape_ascii()
            )
        })?),
    };
    Ok(Wish::Tmpfs {
        path: OsStr::from_bytes(path).into(),
        size,
    })
}

/// `512`, `64K`, `10M`, `2G`; powers of 1024.
fn parse_size(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 1u64 << 10),
        (b'M' | b'm', digits) => (digits, 1 << 20),
        (b'G' | b'g', digits) => (digits, 1 << 30),
        _ => (text, 1),
    };
    // No sign: parse takes a plus.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(unit).filter(|&size| size > 0)
}

/// The name of a layer has no slash: `a=b/c` is a directory.
#[expect(clippy::unnecessary_wraps, reason = "the shape that clap wants")]
fn parse_cow(text: &str) -> Result<Wish, std::convert::Infallible> {
    let (dir, layer) = match text.rsplit_once('=') {
        Some((dir, layer)) if !dir.is_empty() && !layer.contains('/') => (dir, Some(layer)),
        _ => (text, None),
    };
    Ok(Wish::CopyOnWrite {
        dir: dir.into(),
        layer: layer.map(str::to_owned),
    })
}

/// Flags in the order in which they were given: of two for one place the later wins.
fn wishes(args: &Args, matches: &ArgMatches) -> Vec<Wish> {
    let mut all: Vec<(usize, Wish)> = Vec::new();
    let mut add = |name: &str, wishes: Vec<Wish>| {
        let at = matches.indices_of(name).into_iter().flatten();
        all.extend(at.zip(wishes));
    };
    add("ro", args.ro.iter().cloned().map(Wish::ReadOnly).collect());
    add("rw", args.rw.iter().cloned().map(Wish::ReadWrite).collect());
    add("hide", args.hide.iter().cloned().map(Wish::Hide).collect());
    add("bind", args.bind.clone());
    add("cow", args.cow.clone());
    add("tmpfs", args.tmpfs.clone());
    add("file", args.file.clone());
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, wish)| wish).collect()
}

fn parse_layer(name: &str) -> Result<String, crate::layers::Error> {
    check_name(name).map(|()| name.to_owned())
}

/// Variables that every program may know; HOME is the private /tmp.
const KEPT: [&str; 4] = ["PATH", "LANG", "TERM", "HOME"];

/// Where another root has its programs: what the caller's PATH names is in this one.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn environment(flags: &[OsString], other_root: bool) -> Vec<CString> {
    let mut vars: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &OsStr, value: OsString| {
        vars.retain(|(n, _)| n != name);
        vars.push((name.to_owned(), value));
    };
    for name in KEPT {
        let value = match (name, std::env::var_os(name)) {
            ("HOME", _) => "/tmp".into(),
            ("PATH", _) if other_root => ROOT_PATH.into(),
            ("PATH", None) => "/usr/local/bin:/usr/bin:/bin".into(),
            (_, Some(value)) => value,
            (_, None) => continue,
        };
        set(OsStr::new(name), value);
    }
    for flag in flags {
        let bytes = flag.as_bytes();
        if bytes == b"*" {
            std::env::vars_os().for_each(|(name, value)| set(&name, value));
        } else if let Some(at) = bytes.iter().position(|&b| b == b'=') {
            let (name, value) = bytes.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            set(OsStr::from_bytes(name), OsStr::from_bytes(value).to_owned());
        } else if let Some(value) = std::env::var_os(flag) {
            set(flag, value);
        }
    }
    vars.into_iter()
        .filter_map(|(name, value)| {
            let joined = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(joined).ok()
        })
        .collect()
}

/// Runs the verb.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let args = match Args::from_arg_matches(matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let policies = match args.policy.clone() {
        None => None,
        Some(policy) => {
            let (within, set) = (args.within.clone(), args.set.clone());
            match args.listen.load(&Which {
                policy,
                within,
                set,
            }) {
                Ok(policies) => Some(policies),
                Err(exit) => return exit.into(),
            }
        }
    };
    run_with(&args, matches, policies.as_ref()).into()
}

/// A run of `sbox record`.
pub(super) struct Recording<'r> {
    pub(super) net: NetArg,
    pub(super) env: &'r [OsString],
    pub(super) keep: bool,
    pub(super) quiet: bool,
    pub(super) command: &'r [OsString],
}

/// Runs a program to hear of it.
pub(super) fn record(wanted: Recording<'_>, policies: Policies) -> Exit {
    let mut line: Vec<OsString> = vec!["run".into()];
    if !wanted.keep {
        line.push("--discard".into());
    }
    if wanted.quiet {
        line.push("--quiet".into());
    }
    for var in wanted.env {
        line.extend(["--env".into(), var.clone()]);
    }
    if wanted.net == NetArg::Host {
        line.extend(["--net".into(), "host".into()]);
    }
    line.push("--".into());
    line.extend(wanted.command.iter().cloned());
    let command = <Args as clap::Args>::augment_args(clap::Command::new("run"));
    let matches = command.get_matches_from(line);
    match Args::from_arg_matches(&matches) {
        Ok(args) => run_with(&args, &matches, Some(&policies)),
        Err(error) => error.exit(),
    }
}

fn run_with(args: &Args, matches: &ArgMatches, policies: Option<&Policies>) -> Exit {
    let mut keeper = Keeper::new(args);
    match prepare(args, matches, policies, &mut keeper) {
        Ok(setup) => {
            let ledger = setup.ledger.clone();
            let result = supervisor::run(setup);
            let unasked = policies.map_or(0, |policies| policies.answers.unasked());
            if let Some(ledger) = &ledger {
                ledger.close(end(&result), unasked);
            }
            if unasked > 0 {
                tell(&format!(
                    "not asked: {unasked} times, as sbox is not in the foreground of a terminal; the answer was no"
                ));
            }
            let exit = finish(result, args);
            let summary = ledger.filter(|_| !args.quiet && args.policy.is_some());
            if let Some(summary) = summary.and_then(|ledger| ledger.summary()) {
                tell(&summary);
            }
            keeper.settle(args);
            exit
        }
        Err(message) => {
            tell(&message);
            keeper.drop_new();
            Exit::Internal
        }
    }
}

fn prepare(
    args: &Args,
    matches: &ArgMatches,
    policies: Option<&Policies>,
    keeper: &mut Keeper,
) -> Result<Setup, String> {
    refuse_datagram_stdio()?;
    let sheets = policies.map(|policies| &policies.enforced);
    // Beside a policy that speaks of it the flag can't be given.
    let net = match (sheets.is_some_and(|sheets| sheets.net()), args.net) {
        (false, NetArg::None) => Net::None,
        (true, _) | (_, NetArg::Host) => Net::Host,
    };
    let mut make = |dir: &Path, layer: Option<&str>| keeper.store_for(dir, layer);
    let report = args
        .listen
        .report(policies, args.policy.as_deref(), &args.command)?;
    let log = match &args.log {
        None => None,
        Some(path) => {
            Some(Log::create(path).map_err(|e| format!("--log {}: {e}", path.display()))?)
        }
    };
    let mut stores = Stores {
        make: &mut make,
        named: args.keep.is_some(),
        own: args
            .listen
            .report
            .iter()
            .chain(&args.log)
            .cloned()
            .collect(),
    };
    let cwd = args.cwd.as_deref();
    // Where no layer can be kept there are none to be hidden.
    let layers = Layers::of_user().ok();
    let layers = layers.map(|layers| layers.directory().to_owned());
    // What was said on the command line wins.
    let said = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    let keys = sheets
        .and_then(|sheets| sheets.all.first())
        .map(|sheet| &sheet.view);
    let hostname = keys.and_then(|keys| keys.hostname.as_deref());
    let hostname = hostname.filter(|_| !said("hostname"));
    let machine = Identity::new(hostname.unwrap_or(&args.hostname));
    let own_pids = keys.and_then(|keys| keys.own_pids);
    let own_pids = own_pids.filter(|_| !said("pids") && !said("pid_max"));
    let other_root = keys.is_some_and(|keys| keys.other_root.is_some());
    let view = match sheets {
        Some(sheets) => View::of_policy(sheets, machine, cwd, net, layers, &mut stores),
        None => {
            let (wishes, root) = (wishes(args, matches), args.root.as_ref());
            View::build(&wishes, root, machine, cwd, net, layers, &mut stores)
        }
    };
    let view = view.map_err(|e| e.to_string())?;
    if !args.quiet {
        tell(&view.summary);
    }
    let strings = |list: &[OsString]| -> Result<Vec<CString>, String> {
        list.iter()
            .map(|s| CString::new(s.clone().into_vec()).map_err(|e| e.to_string()))
            .collect()
    };
    let argv = strings(&args.command)?;
    let program = argv.first().cloned().ok_or("no program was given")?;
    let cwd = CString::new(view.cwd.as_bytes()).map_err(|e| e.to_string())?;
    let env = match sheets {
        None => environment(&args.env, args.root.is_some()),
        Some(sheets) => {
            let vars = [enforce::variables(sheets), args.env.clone()].concat();
            let mut env = environment(&vars, other_root);
            enforce::let_pass(sheets, &mut env);
            env
        }
    };
    let (ledger, witness) = args.listen.listeners(policies, report);
    let asker = policies.map(|policies| Arc::clone(&policies.answers));
    let switching = policies.and_then(|policies| policies.switching.as_ref());
    let signals = sheets.map(|sheets| {
        let (signals, by) = sheets.signals();
        (signals, by.map(|id| sheets.tell(id)))
    });
    Ok(Setup {
        vfs: view.vfs,
        policy: view.policy,
        switching: switching.map(|(switching, further)| Switches {
            policies: Arc::clone(switching),
            refused: enforce::refused_within,
            further: further.clone(),
        }),
        net,
        signals: signals.unwrap_or_default(),
        pids: match (own_pids, args.pids) {
            (Some(false), _) | (None, PidsArg::Host) => Pids::Host,
            (Some(true), _) | (None, PidsArg::Virtual) => Pids::Virtual {
                max: args.pid_max.unwrap_or(Pids::MAX),
            },
        },
        wait_all: args.wait_all,
        program,
        argv,
        env,
        cwd,
        refused: sheets.map_or_else(Vec::new, |sheets| enforce::refused(sheets)),
        ledger,
        witness,
        asker: asker.map(|asker| asker as Arc<dyn Asker>),
        log,
        count: args.stats,
    })
}

/// Through a unix datagram socket a program could send to any path of the host: the first process has no guard,
/// which is put on whoever makes one.
fn refuse_datagram_stdio() -> Result<(), String> {
    use nix::sys::socket::{SockType, getsockopt, sockopt};
    use std::os::fd::AsFd;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for (number, fd) in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]
        .into_iter()
        .enumerate()
    {
        if let Ok(SockType::Datagram) = getsockopt(&fd, sockopt::SockType) {
            return Err(format!(
                "descriptor {number} is a datagram socket, which could send to any socket of the host\n  hint: redirect it, to a pipe for instance"
            ));
        }
    }
    Ok(())
}

fn end<S>(result: &Result<(Outcome, S), Error>) -> End {
    match result {
        Ok((Outcome::Exited(status), _)) => End::Status(*status),
        Ok((Outcome::Signaled(signal), _)) => End::Signal(*signal),
        Ok((Outcome::NotStarted(_), _)) | Err(_) => End::NotStarted,
    }
}

fn finish(
    result: Result<(Outcome, Option<supervisor::stats::Summary>), Error>,
    args: &Args,
) -> Exit {
    let (outcome, summary) = match result {
        Ok(done) => done,
        Err(error) => {
            tell(&error.to_string());
            return match error {
                Error::CannotEnforce { .. } => Exit::CannotEnforce,
                _ => Exit::Internal,
            };
        }
    };
    if let Some(summary) = summary {
        tell(&format!("statistics\n{summary}"));
    }
    let program = args
        .command
        .first()
        .map(|p| p.as_bytes().escape_ascii().to_string());
    let program = program.filter(|p| !p.is_empty());
    let program = program.as_deref().unwrap_or("''");
    match outcome {
        Outcome::Exited(status) => Exit::Guest(status as u8),
        Outcome::Signaled(signal) => Exit::Signal(signal),
        Outcome::NotStarted(errno) => {
            match errno {
                Errno::ENOENT => tell(&format!(
                    "{program}: no such program in the view\n  hint: --ro shows more of the host"
                )),
                _ => tell(&format!("{program}: can't be executed: {}", errno.desc())),
            }
            Exit::of_exec(errno)
        }
    }
}

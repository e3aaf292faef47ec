//! From one process to a supervisor and its first guest.
//!
//! ```text
//! supervisor                         child
//! give up privileges, fork ────────▶ waits
//! seize it ───────────── go ───────▶ no_new_privs, Landlock scopes, filter
//! take the listener ◀── its number ─
//! start the workers ──── go ───────▶ close everything from 3 on, exec the program (caught)
//! become the tracer
//! ```

use super::calls::{Calls, Rules};
use super::cpus::Cpus;
use super::mailbox::Mailbox;
use super::peer::Peers;
use super::service::work;
use super::sleep::{Sleepers, wake_signal};
use super::stats::Stats;
use super::terminal::{self, Terminals};
use super::tracer::Tracer;
use super::watch::{self, Bell};
use super::worlds::Worlds;
use super::{Error, Outcome, Setup, Shared, filter, last, stats};
use crate::mechanism::notify::Listener;
use crate::sys::process::{self as sp, Forked};
use crate::sys::{self, Errno, pidfd};
use crate::task::{FsContext, Pids, Registry};
use crate::vfs::{Caller, Dir};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

pub(super) fn own(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Own { what, errno }
}

fn cannot(what: &'static str, hint: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::CannotEnforce { what, errno, hint }
}

/// Between supervisor and child: permission to go on, and what the child has to say. That is sent: a write
/// may be caught by the filter, before there is anybody to serve it.
struct Pipes {
    go: (OwnedFd, OwnedFd),
    say: (OwnedFd, OwnedFd),
}

/// Runs the setup to its end.
pub(super) fn run(mut setup: Setup) -> Result<(Outcome, Option<stats::Summary>), Error> {
    let profile = filter::Profile {
        net: setup.net,
        copies: setup.vfs.has_copies(),
        metered: setup.vfs.is_metered(),
        renumbers: setup.pids != Pids::Host,
        signals: setup.signals.0,
    };
    let heard = setup.witness.as_ref().map_or_else(Vec::new, |w| w.calls());
    let refused = std::mem::take(&mut setup.refused);
    let further = setup.switching.as_mut();
    let further = further.map_or_else(Vec::new, |switches| std::mem::take(&mut switches.further));
    let calls = Calls::new(profile, &refused, &further, &heard);
    let brought: Vec<_> = calls.refused().map(|one| (one.nr, one.cases())).collect();
    let program = filter::program_with(&profile, &brought, &heard)?;
    // By whom the terminal is opened anew depends on the privileges.
    let mut terminals = Terminals::of_caller().map_err(cannot(
        "making a terminal for the program",
        "/dev/ptmx must be there and the limit of /proc/sys/kernel/pty/max not reached; without a terminal as standard input, output or error none is needed",
    ))?;
    if let Some(terminals) = &terminals {
        setup
            .vfs
            .add_terminal(terminals.master())
            .map_err(own("looking at the program's terminal"))?;
    }
    give_up_privileges()?;
    let tasks = Arc::new(Registry::new(setup.pids));
    if tasks.renumbers() {
        setup.vfs.number_by(Arc::<Registry>::clone(&tasks));
    }
    let cwd = working_directory(&setup, &tasks)?;
    // The supervisor holds a descriptor for each directory it remembers; the guest gets the limit that we were given.
    let limit = sp::raise_descriptor_limit();
    let umask = sys::fs::umask(0o077);
    let old_mask = hold_signals()?;
    let cpus = Cpus::new(Arc::clone(&tasks));
    let pipes = Pipes {
        go: nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(own("making a pipe"))?,
        say: socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(own("making a pair of sockets"))?,
    };
    let forked = match &mut terminals {
        Some(terminals) => terminals.fork(),
        None => sp::fork(),
    };
    let first = match forked.map_err(own("forking"))? {
        Forked::Child => child(
            &setup,
            pipes,
            &program,
            limit,
            &old_mask,
            terminals.as_ref(),
        ),
        Forked::Parent(pid) => pid,
    };
    if terminals.is_none() {
        // The guest is in our process group and gets the terminal's signals itself.
        let _ = sp::ignore(libc::SIGINT).and_then(|()| sp::ignore(libc::SIGQUIT));
    }
    // What the kernel would tell of leases, which are tried and given back at once.
    let _ = sp::ignore(libc::SIGIO);
    // Whose parent ends becomes our child, and not that of somebody outside (prctl(2)).
    sp::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map_err(own("becoming the reaper of orphans"))?;
    // From now on nobody of our uid can look into or trace the supervisor (prctl(2)).
    let _ = sp::prctl(libc::PR_SET_DUMPABLE, 0, 0);
    let Pipes {
        go: (go_read, go),
        say: (said, say),
    } = pipes;
    drop((go_read, say));
    sp::ptrace_seize(first, setup.count).map_err(cannot(
        "tracing an own child (PTRACE_SEIZE)",
        "inside another sbox or debugger there is no second tracer; else kernel.yama.ptrace_scope must be below 3, and a container must allow ptrace",
    ))?;
    nix::unistd::write(&go, b"g").map_err(own("starting the guest"))?;
    let listener = take_listener(first, &said)?;
    let terminal = terminals
        .map(|terminals| terminals.start(first))
        .transpose()
        .map_err(own("starting the program's terminal"))?;
    if let Some(terminal) = &terminal {
        tasks.set_attendant(terminal.attendant);
    }

    let Setup {
        vfs,
        policy,
        switching,
        net,
        signals,
        log,
        ledger,
        witness,
        asker,
        count,
        wait_all,
        ..
    } = setup;
    tasks.add_first(first, FsContext::new(cwd, umask));
    let peers = Peers::new(Arc::clone(&tasks));
    let shared = Arc::new(Shared {
        worlds: Worlds::new((vfs, policy), Rules::new(refused), net, switching),
        net,
        signals,
        tasks,
        listener,
        log,
        ledger,
        witness,
        asker,
        calls,
        stats: count.then(Stats::new),
        sleepers: Sleepers::default(),
        peers,
        cpus,
        tracer: Mailbox::new(),
        bell: Bell::default(),
        imaging: Mutex::default(),
        terminal,
        wait_all,
    });
    sp::install_interrupter(wake_signal()).map_err(own("installing a signal handler"))?;
    start_worker(&shared);
    watch::start(&shared);
    let heir = match shared.wait_all {
        true => Some(last::start(&shared)?),
        false => None,
    };
    pidfd::open(first)
        .and_then(|first| sys::forward::forward(first, heir, &FORWARDED))
        .map_err(own("installing signal handlers"))?;
    nix::unistd::write(&go, b"g").map_err(own("starting the guest"))?;
    drop(go);

    let guard = FailClosed;
    let ended = Tracer::new(&shared, first).run();
    drop(guard);
    if let Some(log) = &shared.log {
        log.flush();
    }
    let mut failure = [0u8; 4];
    let outcome = match nix::unistd::read(&said, &mut failure) {
        // As if the kernel had: seccomp(2), SECCOMP_RET_KILL_PROCESS.
        _ if shared.calls.have_killed() => Outcome::Signaled(libc::SIGSYS),
        Ok(4) => Outcome::NotStarted(Errno::from_raw(i32::from_ne_bytes(failure))),
        _ => ended.unwrap_or(Outcome::Signaled(libc::SIGKILL)),
    };
    shared.vfs().remove_scratch();
    Ok((outcome, shared.stats.as_ref().map(Stats::summary)))
}

fn working_directory(setup: &Setup, tasks: &Registry) -> Result<Arc<Dir>, Error> {
    let nobody = Caller {
        tgid: 0,
        tid: 0,
        tasks,
        sight: None,
        trip: None,
    };
    let root = Arc::clone(setup.vfs.root());
    setup
        .vfs
        .directory(nobody, &root, &setup.cwd)
        .map_err(|errno| Error::NoStart {
            path: setup.cwd.to_bytes().escape_ascii().to_string(),
            errno,
        })
}

/// Capabilities and supplementary groups go, in the supervisor too: what it does for a guest is
/// then checked by the kernel exactly as the guest's own call would be.
fn give_up_privileges() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() {
        sp::drop_groups()
            .or_else(ignore_eperm)
            .map_err(own("dropping supplementary groups"))?;
    }
    sp::drop_capabilities().map_err(own("dropping capabilities"))
}

fn ignore_eperm(errno: Errno) -> sys::Result<()> {
    if errno == Errno::EPERM {
        Ok(())
    } else {
        Err(errno)
    }
}

/// Signals that are meant for the program go to it; they must not end the supervisor before it.
const FORWARDED: [i32; 4] = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Holds them back until there is a program to forward them to. The mask as it was.
fn hold_signals() -> Result<SigSet, Error> {
    let held: SigSet = FORWARDED
        .iter()
        .filter_map(|&s| Signal::try_from(s).ok())
        .collect();
    let mut old = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut old))
        .map_err(own("blocking signals"))?;
    Ok(old)
}

fn take_listener(first: i32, said: &OwnedFd) -> Result<Arc<Listener>, Error> {
    let mut number = [0u8; 4];
    let n = nix::unistd::read(said, &mut number).map_err(own("waiting for the guest"))?;
    if n != 4 {
        return Err(own("the guest ended before its filter stood")(Errno::ESRCH));
    }
    let number = i32::from_ne_bytes(number);
    if number < 0 {
        return Err(cannot(
            "installing the system call filter with a listener",
            "EBUSY: another sandbox above this one holds the only listener; EINVAL: Linux 5.19 or later is needed",
        )(Errno::from_raw(-number)));
    }
    let listener = pidfd::open(first)
        .and_then(|pidfd| pidfd::getfd(pidfd.as_fd(), number))
        .map_err(cannot(
            "taking over the listener (pidfd_getfd)",
            "Linux 5.6 or later is needed",
        ))?;
    Ok(Listener::new(listener))
}

fn start_worker(shared: &Arc<Shared>) {
    let worker = Arc::clone(shared);
    std::thread::spawn(move || {
        let _guard = FailClosed;
        work(&worker);
    });
}

/// A thread that serves guests and panics takes the whole run with it: the guests are killed
/// with the tracer (`PTRACE_O_EXITKILL`).
pub(super) struct FailClosed;

impl Drop for FailClosed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::trace::tell("internal error: all guests are killed");
            terminal::modes::restore();
            sp::exit_now(125);
        }
    }
}

/// The child: becomes the first guest. Never returns.
fn child(
    setup: &Setup,
    pipes: Pipes,
    program: &[libc::sock_filter],
    limit: Option<(u64, u64)>,
    mask: &SigSet,
    terminals: Option<&Terminals>,
) -> ! {
    let Pipes {
        go: (go, go_write),
        say: (say_read, say),
    } = pipes;
    drop((go_write, say_read));
    let tell = |number: i32| {
        // The supervisor has gone if this fails, and takes us along.
        let _ = send(say.as_raw_fd(), &number.to_ne_bytes(), MsgFlags::empty());
    };
    if !wait_for_go(&go) {
        sp::exit_now(125);
    }
    let prepared = terminals
        .map_or(Ok(()), Terminals::enter)
        .and_then(|()| prepare(setup, limit, mask))
        .and_then(|()| sys::seccomp::install(program));
    match prepared {
        Ok(listener) => {
            tell(listener.as_raw_fd());
            if !wait_for_go(&go) {
                sp::exit_now(125);
            }
        }
        Err(errno) => {
            tell(-(errno as i32));
            sp::exit_now(125);
        }
    }
    // All descriptors from 3 on go at exec, ours and what the caller left open.
    if sp::close_on_exec_from(3).is_err() {
        sp::exit_now(125);
    }
    let errno = exec(setup);
    tell(errno as i32);
    sp::exit_now(if errno == Errno::ENOENT { 127 } else { 126 })
}

fn wait_for_go(go: &OwnedFd) -> bool {
    let mut byte = [0u8; 1];
    matches!(nix::unistd::read(go, &mut byte), Ok(1))
}

fn prepare(setup: &Setup, limit: Option<(u64, u64)>, mask: &SigSet) -> sys::Result<()> {
    if let Some((soft, hard)) = limit {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    }
    // Rust programs ignore SIGPIPE; the guest starts as any program does.
    sp::default_disposition(libc::SIGPIPE)?;
    sp::end_by_long_files()?;
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(mask), None)?;
    nix::unistd::fchdir(setup.vfs.parking())?;
    sp::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    confine_signals();
    Ok(())
}

/// Landlock scopes (Linux 6.12): signals and abstract sockets stay among the guests, by the
/// kernel's own hand. A second wall behind the handlers that decide the same; older kernels have
/// the handlers alone.
fn confine_signals() {
    use landlock::{ABI, Access as _, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let confined = ruleset
        .scope(Scope::from_all(ABI::V6))
        .and_then(|r| r.create())
        .and_then(|r| r.restrict_self());
    drop(confined);
}

/// Tries the program where execvp(3) would: as it is if it has a slash, else along PATH.
fn exec(setup: &Setup) -> Errno {
    let name = setup.program.to_bytes();
    if name.contains(&b'/') {
        return sp::execve(&setup.program, &setup.argv, &setup.env);
    }
    if name.is_empty() {
        return Errno::ENOENT;
    }
    let path = setup
        .env
        .iter()
        .find_map(|v| v.to_bytes().strip_prefix(b"PATH="));
    let mut result = Errno::ENOENT;
    for dir in path.unwrap_or(b"/bin:/usr/bin").split(|&b| b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let Ok(candidate) = CString::new([dir, b"/", name].concat()) else {
            continue;
        };
        match sp::execve(&candidate, &setup.argv, &setup.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Something of that name can't be run; another may (execvp(3)).
            Errno::EACCES => result = Errno::EACCES,
            other => return other,
        }
    }
    result
}

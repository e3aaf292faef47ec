//! The engine: where verdict meets deed.
//!
//! ```text
//! spawn ──▶ first guest (seized, filter installed, listener taken)
//!   │
//!   ├─ tracer (the main thread): owns every guest as ptrace wants it; exec, fork, signals, death
//!   ├─ worker: blocks in RECV, serves one notification after the other, never waits for a guest
//!   ├─ relay: carries bytes between the caller's terminal and the guests', if there is one
//!   └─ sleepers: one thread for each call that sleeps (FIFO, connect), and one that wakes them
//! ```
//!
//! Locks, in the order in which they may be taken: a task's service lock, the registry, a task's
//! exec state, the file system's maps. None is held across a call that could sleep.
//!
//! Whatever goes wrong ends in a refusal: an error of ours is an errno for the guest, a panic
//! kills the guests (`PTRACE_O_EXITKILL`) and ends sbox with 125.

mod act;
mod approve;
pub mod ask;
pub mod calls;
mod change;
mod cpus;
mod ears;
mod exec;
mod fake;
pub mod filter;
mod guard;
pub mod hear;
mod inject;
mod last;
mod mailbox;
mod metered;
mod others;
mod peer;
mod renumber;
pub mod second;
mod send;
mod service;
mod sleep;
mod socket;
pub mod spawn;
mod stack;
pub mod stats;
mod terminal;
mod tracer;
mod verify;
pub mod view;
mod watch;
pub mod worlds;

use crate::mechanism::notify::Listener;
use crate::policy::{Policy, Signals};
use crate::syscall::rules::Net;
pub use crate::task::Pids;
use crate::task::Registry;
use crate::trace::{Ledger, Log};
use crate::vfs::Vfs;
use std::ffi::CString;
use std::sync::{Arc, Mutex};

/// All that a run needs to know before it starts.
pub struct Setup {
    /// The view's files.
    pub vfs: Vfs,
    /// What may be done to them.
    pub policy: Policy,
    /// The policies that programs may be switched to; `None`: none are.
    pub switching: Option<worlds::Switches>,
    /// Which network there is.
    pub net: Net,
    /// Whom guests may signal, and by which rule, where it isn't everybody of the sandbox.
    pub signals: (Signals, Option<String>),
    /// The run ends with the last program, not with the first.
    pub wait_all: bool,
    /// How processes are numbered.
    pub pids: Pids,
    /// The program: searched in the guest's PATH if it has no slash.
    pub program: CString,
    /// Its arguments, the zeroth included.
    pub argv: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub env: Vec<CString>,
    /// Its working directory, a path of the view.
    pub cwd: CString,
    /// Calls that the policy refuses, with any arguments or with some.
    pub refused: Vec<calls::Refused>,
    /// Where refusals are entered.
    pub ledger: Option<Arc<Ledger>>,
    /// Who hears what calls want.
    pub witness: Option<Arc<dyn hear::Witness>>,
    /// Who decides where the user is to be asked.
    pub asker: Option<Arc<dyn ask::Asker>>,
    /// One line per call that reaches the supervisor.
    pub log: Option<Log>,
    /// Count calls and time.
    pub count: bool,
}

/// How the first program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it; SIGSYS: a rule of the policy.
    Signaled(i32),
    /// It never ran: exec failed with this errno.
    NotStarted(crate::sys::Errno),
}

/// Why a run could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel feature that enforcement needs is missing here.
    #[error("can't enforce here: {what}: {errno}\n  hint: {hint}")]
    CannotEnforce {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        errno: crate::sys::Errno,
        /// What to do.
        hint: &'static str,
    },
    /// The working directory is not in the view.
    #[error("can't start in {path}: {}\n  hint: --cwd names a directory of the view; --ro or --rw shows one of the host", errno.desc())]
    NoStart {
        /// The directory that was asked for.
        path: String,
        /// What the walk to it came to.
        errno: crate::sys::Errno,
    },
    /// Something of our own failed.
    #[error("{what}: {errno}")]
    Own {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        errno: crate::sys::Errno,
    },
    /// The filter could not be made.
    #[error("making the system call filter: {0}")]
    Filter(#[from] crate::mechanism::bpf::Error),
}

/// What all threads of the supervisor share.
struct Shared {
    worlds: worlds::Worlds,
    net: Net,
    signals: (Signals, Option<String>),
    tasks: Arc<Registry>,
    listener: Arc<Listener>,
    log: Option<Log>,
    ledger: Option<Arc<Ledger>>,
    witness: Option<Arc<dyn hear::Witness>>,
    asker: Option<Arc<dyn ask::Asker>>,
    calls: calls::Calls,
    stats: Option<stats::Stats>,
    sleepers: sleep::Sleepers,
    peers: Arc<peer::Peers>,
    cpus: cpus::Cpus,
    tracer: mailbox::Mailbox,
    bell: watch::Bell,
    /// Held while the image of a large program is made.
    imaging: Mutex<()>,
    /// The guests' own, if the caller has one.
    terminal: Option<terminal::Terminal>,
    /// The run ends with the last guest, not with the first.
    wait_all: bool,
}

impl Shared {
    /// The files of the view, for what no rule is about.
    fn vfs(&self) -> &Vfs {
        &self.worlds.first().vfs
    }
}

/// Runs a program in a sandbox to its end.
pub fn run(setup: Setup) -> Result<(Outcome, Option<stats::Summary>), Error> {
    spawn::run(setup)
}

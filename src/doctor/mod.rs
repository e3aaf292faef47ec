//! What this host lets sbox do, found by trying.
//!
//! A version number says little: containers, Yama, Landlock and other sandboxes take away what a kernel has, and
//! distributions add what theirs did not have. So each row of [`PROBES`] names an experiment that does once what the
//! engine does all the time, in a child process where that changes anything.
//!
//! ```text
//! PROBES ──run()──▶ [Finding] ──▶ Level    (cli::doctor prints; docs/KERNEL-FEATURES.md is the table in words)
//! ```

pub mod experiments;
pub mod table;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::sys::probe::Fault;
pub use table::{Need, PROBES, Probe};

/// What an experiment has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Yes,
    /// It doesn't.
    No(Fault),
    /// Not tried: this other one would have to work first.
    Untried(&'static str),
}

impl State {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No(_) => "no",
            Self::Untried(_) => "untried",
        }
    }

    /// Why not.
    pub fn reason(self) -> Option<String> {
        Some(match self {
            Self::Yes => return None,
            Self::No(Fault::Errno(errno)) => format!("{errno:?}: {}", errno.desc()),
            Self::No(Fault::Wrong) => "the call succeeds, but not as it should".to_owned(),
            Self::No(Fault::Signal(libc::SIGALRM)) => "no answer within 5 s".to_owned(),
            Self::No(Fault::Signal(signal)) => Signal::try_from(signal).map_or_else(
                |_| format!("killed by signal {signal}"),
                |signal| format!("killed by {signal}"),
            ),
            Self::Untried(first) => format!("needs {first}"),
        })
    }

    /// The name of the error, if the kernel gave one.
    pub fn errno(self) -> Option<Errno> {
        match self {
            Self::No(Fault::Errno(errno)) => Some(errno),
            _ => None,
        }
    }
}

/// A row with its result.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was tried.
    pub probe: &'static Probe,
    /// What came of it.
    pub state: State,
    /// What else is known: a version, a setting, a place.
    pub detail: Option<String>,
}

impl Finding {
    /// True if something that sbox uses isn't here.
    pub fn missing(&self) -> bool {
        self.state != State::Yes && self.probe.need != Need::Info
    }
}

/// What all findings come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All that sbox can use is here.
    Full,
    /// sbox enforces, without some help of newer kernels.
    Reduced,
    /// A sandbox could not be held here.
    None,
}

impl Level {
    /// The level that these findings allow.
    pub fn of(findings: &[Finding]) -> Self {
        let lacks = |need| findings.iter().any(|f| f.missing() && f.probe.need == need);
        if lacks(Need::Needed) {
            Self::None
        } else if lacks(Need::Helpful) {
            Self::Reduced
        } else {
            Self::Full
        }
    }

    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reduced => "reduced",
            Self::None => "none",
        }
    }

    /// For people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Full => "sbox enforces here, with all it can use",
            Self::Reduced => "sbox enforces here, but without what is listed above",
            Self::None => "sbox cannot enforce here",
        }
    }
}

/// Tries everything, in the order of the table.
///
/// It forks: call it while the process has one thread.
pub fn run() -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::with_capacity(PROBES.len());
    for probe in PROBES {
        let works = |name: &&str| {
            findings
                .iter()
                .any(|f| f.probe.name == *name && f.state == State::Yes)
        };
        let state = match probe.after.iter().find(|name| !works(name)) {
            Some(first) => State::Untried(first),
            None => (probe.test)().map_or_else(State::No, |()| State::Yes),
        };
        let detail = (probe.detail)();
        findings.push(Finding {
            probe,
            state,
            detail,
        });
    }
    findings
}

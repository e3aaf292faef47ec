//! Exit statuses: all that sbox can end with.

use std::process::ExitCode;

use nix::errno::Errno;

use crate::sys::probe;

/// How sbox ends.
///
/// The program in the sandbox may use any status itself, as under env(1) and timeout(1), whose numbers these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done as asked.
    Ok,
    /// 1: refused, as doing it would lose something; nothing was changed.
    Refused,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: this host can't enforce what was asked for; nothing was run.
    CannotEnforce,
    /// 125: sbox itself failed.
    Internal,
    /// 126: the program was found, but can't be executed.
    NotExecutable,
    /// 127: the program was not found.
    NotFound,
    /// The program's own status, passed on.
    Guest(u8),
    /// The program was killed by this signal; sbox dies of the same.
    Signal(i32),
}

impl Exit {
    /// Those with a number of their own, with their meaning for the manual.
    pub const FIXED: [(Self, &'static str); 7] = [
        (Self::Ok, "Done as asked."),
        (
            Self::Refused,
            "Refused, as doing it would lose something; nothing was changed.",
        ),
        (Self::Usage, "The command line makes no sense."),
        (
            Self::CannotEnforce,
            "This host can't enforce what was asked for; nothing was run.",
        ),
        (Self::Internal, "sbox itself failed."),
        (
            Self::NotExecutable,
            "The program was found, but can't be executed.",
        ),
        (Self::NotFound, "The program was not found."),
    ];

    /// The number. A death by signal has one only as shells show it.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::CannotEnforce => 3,
            Self::Internal => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Guest(status) => status,
            Self::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |n| n.saturating_add(128)),
        }
    }

    /// What to say when an exec fails so.
    pub const fn of_exec(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::NotFound,
            _ => Self::NotExecutable,
        }
    }
}

impl From<Exit> for ExitCode {
    /// The status for `main` to return. Does not return if the program died of a signal: then so does sbox.
    fn from(exit: Exit) -> Self {
        if let Exit::Signal(signal) = exit {
            probe::die_of(signal);
        }
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_number() {
        let codes: Vec<u8> = Exit::FIXED.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 125, 126, 127]);
        assert_eq!(Exit::Guest(42).code(), 42);
        assert_eq!(Exit::Signal(libc::SIGKILL).code(), 137);
    }

    #[test]
    fn exec_errors_tell_missing_from_unusable() {
        assert_eq!(Exit::of_exec(Errno::ENOENT), Exit::NotFound);
        for errno in [Errno::EACCES, Errno::ENOEXEC, Errno::ENOTDIR, Errno::EISDIR] {
            assert_eq!(Exit::of_exec(errno), Exit::NotExecutable, "{errno}");
        }
    }

    /// waitpid(2) tells the caller of sbox the same as it told sbox.
    #[test]
    fn a_signal_is_raised_again() {
        for signal in [
            libc::SIGTERM,
            libc::SIGKILL,
            libc::SIGSEGV,
            libc::SIGPIPE,
            libc::SIGRTMIN(),
        ] {
            let ended = probe::in_child(|| {
                let _ = ExitCode::from(Exit::Signal(signal));
                Ok(())
            });
            // nix knows no real-time signals.
            if signal < libc::SIGRTMIN() {
                assert_eq!(ended, Err(probe::Fault::Signal(signal)));
            } else {
                assert_ne!(ended, Ok(()));
            }
        }
    }
}

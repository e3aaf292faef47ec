//! The guests' own terminal.
//!
//! Where standard input, output or error is a terminal, the guests get a pseudo-terminal (pty(7)) in its place, and sbox
//! carries bytes between the two. So no guest holds a descriptor of the caller's terminal: it can change the modes of
//! its own only, and what it types into itself stays there.
//!
//! ```text
//!  caller's terminal ◀──▶ relay (thread of sbox) ◀──▶ master ═ slave ◀── guests
//!        ▲                      │ orders                         ▲
//!        └── modes, if sbox is killed ── attendant ── leads the guests' session
//! ```
//!
//! To the guests the *attendant* is what the shell is to a program outside: the process that leads their session and is
//! their parent there. Because of it their process group is no orphan, so that Ctrl-Z stops them and reading in the
//! background does; and output survives their end, as the terminal is not hung up with them.
//!
//! The terminal of the guests is always in one of two states:
//!
//! | | given | held |
//! |---|---|---|
//! | foreground of the pty | the guests' | the attendant's |
//! | the caller's terminal | raw; all input goes to the guests | as it was; nobody reads it |
//! | Ctrl-C, Ctrl-Z | bytes; the pty makes signals of them | signals to sbox, which passes them on |
//! | a guest that reads, or sets modes | does so | stops, by SIGTTIN or SIGTTOU, and sbox gives if it may |
//!
//! It is held while sbox isn't in the foreground; and where a pipe is among the three descriptors (`sbox run -- ls |
//! less`) until a guest wants to read, since the neighbour may be the one who reads the terminal.
//!
//! When the first guest stops, so does sbox, with the modes put back; when sbox is continued, so is the guest.

mod attendant;
mod buffer;
pub(super) mod modes;
mod question;
mod relay;

use super::ask::Answer;
use crate::sys::process::{self as sp, Forked};
use crate::sys::{self, Errno, pidfd};
use attendant::Attendant;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::pty::openpty;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{
    Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpgrp, getpid, pipe2, setpgid, tcgetpgrp,
    tcsetpgrp,
};
use question::Desk;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the caller's terminal, or its shell, tells sbox; the relay reads them from a descriptor.
const TOLD: [Signal; 5] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// What stops whoever touches a terminal from the background. For the relay alone.
const STOPPING: [Signal; 2] = [Signal::SIGTTIN, Signal::SIGTTOU];

/// Both terminals, before there is anybody to use them.
pub(super) struct Terminals {
    caller: OwnedFd,
    master: OwnedFd,
    slave: OwnedFd,
    modes: Termios,
    /// Which of the descriptors 0, 1 and 2 are the caller's terminal.
    replaced: [bool; 3],
    /// Nobody else is likely to read the caller's terminal: it is given whenever we have it.
    eager: bool,
    /// It is given from the start.
    given: bool,
    attendant: Option<Attendant>,
}

impl Terminals {
    /// A pty for the guests if one of the descriptors 0, 1 and 2 is a terminal. With several terminals among them the
    /// first is meant; the others stay what they are, as files do.
    pub(super) fn of_caller() -> sys::Result<Option<Self>> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let three = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let devices = three.map(|fd| sys::terminal::device(fd).ok());
        let Some((given, device)) = three
            .into_iter()
            .zip(devices)
            .find_map(|(fd, device)| Some((fd, device?)))
        else {
            return Ok(None);
        };
        let caller = own_description(given)?;
        let modes = tcgetattr(&caller)?;
        let size = sys::terminal::window_size(caller.as_fd())?;
        let pair = openpty(&size, &modes)?;
        for fd in [&pair.master, &pair.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let eager = is_ours(caller.as_fd()) && !three.into_iter().any(is_pipe);
        let given = eager && in_foreground(caller.as_fd());
        Ok(Some(Self {
            caller,
            master: pair.master,
            slave: pair.slave,
            modes,
            replaced: devices.map(|d| d == Some(device)),
            eager,
            given,
            attendant: None,
        }))
    }

    /// The master of the guests' terminal.
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Forks as [`sp::fork`] does, but for the attendant in between: the child is in the session that it leads.
    pub(super) fn fork(&mut self) -> sys::Result<Forked> {
        match attendant::fork(&self.slave, &self.caller, &self.modes)? {
            Some((attendant, first)) => {
                self.attendant = Some(attendant);
                Ok(Forked::Parent(first))
            }
            None => Ok(Forked::Child),
        }
    }

    /// For the first guest, before it executes anything: its terminal, and a process group of its own.
    pub(super) fn enter(&self) -> sys::Result<()> {
        let [stdin, stdout, stderr] = self.replaced;
        if !self.eager {
            // What bash(1) starts in $(…) ignores them: reading would fail, and not ask for the terminal.
            sp::default_disposition(libc::SIGTTIN)?;
            sp::default_disposition(libc::SIGTTOU)?;
        }
        if stdin {
            dup2_stdin(&self.slave)?;
        }
        if stdout {
            dup2_stdout(&self.slave)?;
        }
        if stderr {
            dup2_stderr(&self.slave)?;
        }
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        if self.given {
            // The background may do this only where the signal is blocked. The mask is set anew before exec.
            SigSet::from_iter([Signal::SIGTTOU]).thread_block()?;
            tcsetpgrp(&self.slave, getpid())?;
        }
        Ok(())
    }

    /// Starts to carry bytes. To be called before the first guest runs, and by the thread from which all others are born:
    /// they inherit that the terminal's signals are not theirs.
    pub(super) fn start(self, first: i32) -> sys::Result<Terminal> {
        let Self {
            caller,
            master,
            eager,
            given,
            modes,
            attendant,
            replaced: [_, _, tells_there],
            ..
        } = self;
        let attendant = attendant.ok_or(Errno::ESRCH)?;
        let attendant_pid = attendant.pid;
        let blocked: SigSet = TOLD.iter().chain(&STOPPING).copied().collect();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
        let (news, teller) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let desk = Arc::<Desk>::default();
        let relay = relay::Relay::new(relay::Ends {
            caller,
            master,
            attendant,
            news,
            first,
            first_pidfd: pidfd::open(first)?,
            eager,
            given,
            tells_there,
            modes,
            desk: Arc::clone(&desk),
        })?;
        let thread = std::thread::spawn(move || {
            let _guard = super::spawn::FailClosed;
            relay.run();
        });
        Ok(Terminal {
            attendant: attendant_pid,
            teller,
            thread: Mutex::new(Some(thread)),
            desk,
            asking: Mutex::default(),
        })
    }
}

/// Between two looks whether there is still somebody to answer.
const LOOK: Duration = Duration::from_millis(100);

/// The running relay, as the rest of the supervisor knows it.
pub(super) struct Terminal {
    /// The process that leads the guests' session.
    pub(super) attendant: i32,
    teller: OwnedFd,
    thread: Mutex<Option<JoinHandle<()>>>,
    desk: Arc<Desk>,
    /// One question at a time.
    asking: Mutex<()>,
}

impl Terminal {
    /// Shows a text and waits for a key, as long as somebody `wants` to know.
    pub(super) fn ask(&self, text: &str, wants: &dyn Fn() -> bool) -> Answer {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.desk.given.load(Ordering::Acquire) {
            return Answer::Nobody;
        }
        let (answer, answered) = sync_channel(1);
        self.desk.put(text, answer);
        // The relay reads no more of the guests' output, and shows the question behind what it has read.
        let _ = nix::unistd::write(&self.teller, &[relay::LOOK_AGAIN]);
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(key) => return Answer::Key(key),
                Err(_) if !wants() => {
                    self.desk.withdraw();
                    return Answer::Withdrawn;
                }
                Err(RecvTimeoutError::Timeout) if self.desk.given.load(Ordering::Acquire) => {}
                Err(_) => {
                    self.desk.withdraw();
                    return Answer::Nobody;
                }
            }
        }
    }

    /// The first guest has stopped, by this signal.
    pub(super) fn first_stopped(&self, signal: i32) {
        // A full pipe holds news of stops already, and one look serves all.
        let _ = nix::unistd::write(&self.teller, &[signal as u8]);
    }

    /// The first guest has ended, and others go on.
    pub(super) fn first_ended(&self) {
        // The relay reads all news it gets, so there is room for one more.
        let _ = nix::unistd::write(&self.teller, &[relay::FIRST_ENDED]);
    }

    /// No guest runs any more: waits until what they wrote is out, puts the modes back and lets the attendant go. A
    /// second call does nothing.
    pub(super) fn finish(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The relay reads all news it gets, so there is room for one more.
            let _ = nix::unistd::write(&self.teller, &[relay::THE_END]);
            // A panic there has ended sbox already.
            let _ = thread.join();
        }
    }
}

/// The terminal behind a descriptor, open anew, so that its being non-blocking is nobody else's matter. Who may not open
/// it (after su(1), say) shares the caller's.
fn own_description(given: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", given.as_raw_fd());
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).or_else(|_| sys::fs::dup_above(given, 3))
}

/// True if this is the terminal of our own session, which has a foreground.
fn is_ours(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).is_ok()
}

/// True if we are what the user of the terminal works with. One of another session has no say in that.
fn in_foreground(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).map_or_else(|errno| errno == Errno::ENOTTY, |group| group == getpgrp())
}

/// True if somebody else may be at the other end, who has the same terminal.
fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK
    })
}

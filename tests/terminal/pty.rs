//! A terminal of the test's own, with a program that has it as its controlling terminal.

use crate::support::job::wait;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Pty {
    master: File,
    /// Kept open, so that modes can be looked at when the program has ended, and nothing hangs up.
    slave: OwnedFd,
    /// Ends the thread that reads.
    closing: PipeWriter,
    child: Child,
    modes: Termios,
    out: Arc<Mutex<Vec<u8>>>,
    /// How much of the output was seen.
    seen: usize,
}

/// How a program is started.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Session {
    /// Leads a session of which this is the terminal.
    Own,
    /// In a session without a terminal: this one is nobody's.
    Without,
}

impl Pty {
    /// Starts a program with all three descriptors on a new terminal of 24 rows and 80 columns.
    pub(crate) fn start<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::start_in(Session::Own, argv)
    }

    pub(crate) fn start_in<S: AsRef<OsStr>>(
        session: Session,
        argv: impl IntoIterator<Item = S>,
    ) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("openpty");
        let modes = tcgetattr(&slave).expect("tcgetattr");
        let end = || Stdio::from(slave.try_clone().expect("dup"));
        let mut command = Command::new("setsid");
        if session == Session::Own {
            command.arg("--ctty");
        }
        // The test's own descriptors are not the program's.
        for fd in [master.as_fd(), slave.as_fd()] {
            let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(fd, flag).expect("fcntl");
        }
        let child = command
            .arg("--")
            .args(argv)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "dumb")
            .env("PS1", "$ ")
            .spawn()
            .expect("setsid");
        let master = File::from(master);
        let out = Arc::new(Mutex::new(vec![]));
        let (mut from, to) = (master.try_clone().expect("dup"), Arc::clone(&out));
        let (closing, told) = std::io::pipe().map(|(r, w)| (w, r)).expect("pipe");
        std::thread::spawn(move || {
            let mut piece = [0u8; 1 << 16];
            loop {
                let mut fds =
                    [from.as_fd(), told.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
                poll(&mut fds, PollTimeout::NONE).expect("poll");
                if fds[1].any() == Some(true) {
                    return;
                }
                match from.read(&mut piece) {
                    Ok(n) => to.lock().expect("lock").extend_from_slice(&piece[..n]),
                    Err(_) => return,
                }
            }
        });
        Self {
            master,
            slave,
            closing,
            child,
            modes,
            out,
            seen: 0,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pid")
    }

    /// The name of the terminal.
    pub(crate) fn name(&self) -> String {
        let name = nix::unistd::ttyname(&self.slave).expect("ttyname");
        name.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.master.write_all(text.as_ref()).expect("write");
    }

    /// Writes from another thread, at whatever speed the program takes it.
    pub(crate) fn send_slowly(&self, bytes: Vec<u8>) {
        let mut to = self.master.try_clone().expect("dup");
        std::thread::spawn(move || to.write_all(&bytes));
    }

    /// All that came.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.out.lock().expect("lock").clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    /// Waits until this comes, after what was seen before.
    pub(crate) fn see(&mut self, text: &str) {
        let found = |bytes: &[u8]| {
            let at = bytes.windows(text.len()).position(|w| w == text.as_bytes());
            at.map(|at| at + text.len())
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let out = self.output();
            if let Some(end) = found(&out[self.seen..]) {
                self.seen += end;
                return;
            }
            assert!(
                Instant::now() < deadline,
                "never came: {text:?}; but: {:?}",
                String::from_utf8_lossy(&out)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let status = Command::new("stty")
            .args(["-F", &self.name(), "rows", &rows.to_string(), "cols"])
            .arg(columns.to_string())
            .status();
        assert!(status.expect("stty").success());
    }

    /// The modes before anybody could change them.
    pub(crate) fn first_modes(&self) -> &Termios {
        &self.modes
    }

    /// The modes of the terminal now.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.slave).expect("tcgetattr")
    }

    pub(crate) fn set_modes(&self, modes: &Termios) {
        tcsetattr(&self.slave, SetArg::TCSANOW, modes).expect("tcsetattr");
    }

    /// Closes the terminal, and waits for the end.
    pub(crate) fn hang_up(self) -> ExitStatus {
        let Self {
            master,
            slave,
            closing,
            mut child,
            ..
        } = self;
        drop((master, slave, closing));
        let Some(status) = wait(&mut child, LIMIT) else {
            panic!("still running after {LIMIT:?}");
        };
        status
    }

    /// Waits until the modes are these, or not these.
    pub(crate) fn wait_for_modes(&self, modes: &Termios, equal: bool) {
        let deadline = Instant::now() + LIMIT;
        while (self.modes() == *modes) != equal {
            assert!(
                Instant::now() < deadline,
                "modes should have {}: {:?}\n{}",
                if equal { "come back" } else { "changed" },
                self.modes(),
                self.text()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end, and until no more comes.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let Some(status) = wait(&mut self.child, LIMIT) else {
            panic!("still running after {LIMIT:?}: {:?}", self.text());
        };
        // What comes last is known by what is written after it.
        const MARK: &[u8] = b"\x01the end\x01";
        nix::unistd::write(&self.slave, MARK).expect("write");
        let deadline = Instant::now() + LIMIT;
        while !self.output().ends_with(MARK) {
            assert!(Instant::now() < deadline, "no end: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut out = self.out.lock().expect("lock");
        let length = out.len() - MARK.len();
        out.truncate(length);
        drop(out);
        status
    }
}

//! The attendant: the process that leads the guests' session and does what only a member of it can. It also outlives sbox by
//! a moment, to put the caller's terminal back should sbox have been killed.
//!
//! It is forked from sbox before there are threads, and the first guest is forked from it. It holds a socket to sbox, the
//! slave and the caller's terminal, and nothing else; all signals are blocked. The guests can do nothing to it: it is no
//! guest, so to every call of theirs it doesn't exist.

use super::modes;
use crate::sys::process::{self as sp, Forked};
use crate::sys::{self, Errno};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::termios::Termios;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, setsid, tcsetpgrp};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What sbox may ask for. Each order is answered by an errno, 0 if it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Make this process group the foreground of the pty.
    Foreground(i32),
    /// Take the foreground back.
    Hold,
    /// The caller's terminal is about to become raw: remember its modes.
    Remember,
    /// It is as it was.
    Forget,
}

impl Order {
    fn encode(self) -> [u8; 5] {
        let (word, number) = match self {
            Self::Foreground(group) => (b'f', group),
            Self::Hold => (b'h', 0),
            Self::Remember => (b'r', 0),
            Self::Forget => (b'n', 0),
        };
        let [a, b, c, d] = number.to_ne_bytes();
        [word, a, b, c, d]
    }

    fn decode([word, a, b, c, d]: [u8; 5]) -> Option<Self> {
        match word {
            b'f' => Some(Self::Foreground(i32::from_ne_bytes([a, b, c, d]))),
            b'h' => Some(Self::Hold),
            b'r' => Some(Self::Remember),
            b'n' => Some(Self::Forget),
            _ => None,
        }
    }
}

/// The attendant as sbox has it. When this is dropped it ends.
pub(super) struct Attendant {
    pub(super) pid: i32,
    socket: OwnedFd,
}

impl Attendant {
    /// Has something done. EPIPE: the attendant is gone.
    pub(super) fn ask(&self, order: Order) -> sys::Result<()> {
        send(
            self.socket.as_raw_fd(),
            &order.encode(),
            MsgFlags::MSG_NOSIGNAL,
        )?;
        match receive_number(self.socket.as_fd())? {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }
}

/// Forks the attendant, and from it the first guest: in that, `None`.
/// It knows these modes of the caller's from the start.
pub(super) fn fork(
    slave: &OwnedFd,
    caller: &OwnedFd,
    modes: &Termios,
) -> sys::Result<Option<(Attendant, i32)>> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    match sp::fork()? {
        Forked::Child => {
            drop(ours);
            let first = match lead(slave) {
                Ok(Forked::Child) => return Ok(None),
                Ok(Forked::Parent(first)) => first,
                Err(errno) => -(errno as i32),
            };
            // Whether it went well or not, there is nothing more to do, and nobody to tell.
            let _ = attend(&theirs, first, slave, caller, modes);
            sp::exit_now(0)
        }
        Forked::Parent(pid) => {
            drop(theirs);
            let first = receive_number(ours.as_fd())?;
            if first < 0 {
                return Err(Errno::from_raw(-first));
            }
            Ok(Some((Attendant { pid, socket: ours }, first)))
        }
    }
}

/// Makes a session with the slave as its terminal, and a guest in it.
fn lead(slave: &OwnedFd) -> sys::Result<Forked> {
    setsid()?;
    sys::terminal::make_controlling(slave.as_fd())?;
    // Children that guests leave to us are nobody's matter, and the first one is the tracer's.
    sp::ignore(libc::SIGCHLD)?;
    let forked = sp::fork()?;
    if matches!(forked, Forked::Child) {
        sp::default_disposition(libc::SIGCHLD)?;
    }
    Ok(forked)
}

/// What the attendant does until sbox closes its end, or is gone. From here on it has no descriptors but three.
fn attend(
    socket: &OwnedFd,
    first: i32,
    slave: &OwnedFd,
    caller: &OwnedFd,
    modes: &Termios,
) -> sys::Result<()> {
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    sp::prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
    send(
        socket.as_raw_fd(),
        &first.to_ne_bytes(),
        MsgFlags::MSG_NOSIGNAL,
    )?;
    // Nothing of the caller's is held longer than sbox holds it: pipes, locks.
    dup2_stdin(socket)?;
    dup2_stdout(slave)?;
    dup2_stderr(caller)?;
    sp::close_from(3)?;
    let (socket, slave, caller) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut modes = Some(modes.clone());
    let mut order = [0u8; 5];
    loop {
        match recv(socket.as_raw_fd(), &mut order, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            Ok(5) => {}
            _ => break,
        }
        let answer = Order::decode(order)
            .ok_or(Errno::EINVAL)
            .and_then(|order| obey(order, slave.as_fd(), caller.as_fd(), &mut modes));
        let errno = answer.map_or_else(|errno| errno as i32, |()| 0);
        send(
            socket.as_raw_fd(),
            &errno.to_ne_bytes(),
            MsgFlags::MSG_NOSIGNAL,
        )?;
    }
    match modes {
        Some(modes) => modes::put_back(caller.as_fd(), &modes),
        None => Ok(()),
    }
}

fn obey(
    order: Order,
    slave: BorrowedFd<'_>,
    caller: BorrowedFd<'_>,
    modes: &mut Option<Termios>,
) -> sys::Result<()> {
    match order {
        // SIGTTOU is blocked, so the background may do this.
        Order::Foreground(group) => tcsetpgrp(slave, Pid::from_raw(group))?,
        Order::Hold => tcsetpgrp(slave, getpid())?,
        Order::Remember => modes::remember(caller, modes)?,
        Order::Forget => *modes = None,
    }
    Ok(())
}

fn receive_number(socket: BorrowedFd<'_>) -> sys::Result<i32> {
    let mut number = [0u8; 4];
    loop {
        match recv(socket.as_raw_fd(), &mut number, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(4) => return Ok(i32::from_ne_bytes(number)),
            Ok(_) => return Err(Errno::EPIPE),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_understood_as_it_was_meant() {
        for order in [
            Order::Foreground(4711),
            Order::Hold,
            Order::Remember,
            Order::Forget,
        ] {
            assert_eq!(Order::decode(order.encode()), Some(order));
        }
        assert_eq!(Order::decode(*b"x0000"), None);
    }
}

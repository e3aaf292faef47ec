//! Sending a message for a guest: at once if nobody has to wait, else on a thread of its own.

use super::act::Hands;
use crate::sys::{self, Errno};
use crate::syscall::plan::{Address, Parcel};
use crate::task::{GuestMem, Mm};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A call that sends. It owns all it needs.
pub(super) struct Sending {
    socket: OwnedFd,
    letters: Vec<Letter>,
    flags: i32,
    /// The vector of sendmmsg(2), in the guest's memory, where lengths are told.
    vector: Option<u64>,
    mem: Arc<Mm>,
    /// Thread group and thread, for SIGPIPE.
    sender: (i32, i32),
    /// It is not to wait (`MSG_DONTWAIT`, `O_NONBLOCK`).
    impatient: bool,
    streams: bool,
    /// Letters that are gone, and bytes of the next one that are.
    sent: usize,
    bytes: usize,
}

/// A message, ready to be sent.
struct Letter {
    address: Vec<u8>,
    /// What the address leads to.
    _held: Option<OwnedFd>,
    data: Vec<u8>,
    control: Vec<u8>,
    /// What the control messages pass.
    _passed: Vec<OwnedFd>,
}

/// How far a call has come.
pub(super) enum Step {
    /// This is the answer.
    Done(i64),
    /// The rest has to wait.
    Waits,
}

impl Sending {
    pub(super) fn new(
        hands: &Hands<'_>,
        socket: OwnedFd,
        parcels: Vec<Parcel<'_>>,
        flags: i32,
        vector: Option<u64>,
    ) -> sys::Result<Self> {
        let letters: sys::Result<Vec<Letter>> =
            parcels.into_iter().map(|p| letter(hands, p)).collect();
        let streams = sys::socket::option(socket.as_fd(), libc::SO_TYPE)? == libc::SOCK_STREAM;
        let impatient = flags & libc::MSG_DONTWAIT != 0
            || sys::fs::status_flags(socket.as_fd())? & libc::O_NONBLOCK != 0;
        Ok(Self {
            socket,
            letters: letters?,
            flags,
            vector,
            mem: hands.task.group.mm(),
            sender: (hands.task.group.tgid, hands.task.tid),
            impatient,
            streams,
            sent: 0,
            bytes: 0,
        })
    }

    /// Sends what can be sent: with `wait`, all, sleeping.
    pub(super) fn go(&mut self, wait: bool) -> sys::Result<Step> {
        while let Some(letter) = self.letters.get(self.sent) {
            let rest = letter.data.get(self.bytes..).unwrap_or_default();
            // Descriptors go with the first bytes.
            let control: &[u8] = if self.bytes == 0 {
                &letter.control
            } else {
                &[]
            };
            let mut flags = self.flags | libc::MSG_NOSIGNAL;
            if !wait {
                flags |= libc::MSG_DONTWAIT;
            }
            let socket = self.socket.as_fd();
            match sys::socket::send(socket, &letter.address, rest, control, flags) {
                Ok(n) if self.streams && n < rest.len() => {
                    self.bytes += n;
                    if self.impatient {
                        break;
                    }
                }
                Ok(n) => {
                    let all = self.bytes + n;
                    self.sent += 1;
                    self.bytes = 0;
                    if let Err(errno) = self.tell_length(self.sent - 1, all) {
                        self.sent -= 1;
                        return self.end(errno);
                    }
                    if self.vector.is_none() {
                        return Ok(Step::Done(all as i64));
                    }
                }
                Err(Errno::EAGAIN) if !wait && !self.impatient => return Ok(Step::Waits),
                Err(Errno::EINTR) => return Err(Errno::EINTR),
                Err(errno) => return self.end(errno),
            }
        }
        self.end(Errno::EAGAIN)
    }

    /// What the call answers if it is broken off now; nothing if it has done nothing.
    pub(super) fn so_far(&mut self) -> sys::Result<Option<i64>> {
        if self.vector.is_none() {
            return Ok((self.bytes > 0).then_some(self.bytes as i64));
        }
        if self.bytes > 0 {
            self.tell_length(self.sent, self.bytes)?;
            self.sent += 1;
            self.bytes = 0;
        }
        Ok((self.sent > 0).then_some(self.sent as i64))
    }

    /// The end, by an error that is told only if nothing was sent.
    fn end(&mut self, errno: Errno) -> sys::Result<Step> {
        if let Some(value) = self.so_far()? {
            return Ok(Step::Done(value));
        }
        if errno == Errno::EPIPE && self.streams && self.flags & libc::MSG_NOSIGNAL == 0 {
            let (tgid, tid) = self.sender;
            // ESRCH: it was killed, and nobody is left to be told.
            let _ = sys::process::tgkill(tgid, tid, libc::SIGPIPE);
        }
        Err(errno)
    }

    fn tell_length(&self, which: usize, length: usize) -> sys::Result<()> {
        // struct mmsghdr: 64 bytes, the length after a header of 56.
        match self.vector {
            Some(at) => self
                .mem
                .write(at + which as u64 * 64 + 56, &(length as u32).to_ne_bytes()),
            None => Ok(()),
        }
    }

    /// True if a sleep that a signal ends is not begun again (signal(7): a send timeout has been set).
    pub(super) fn has_timeout(&self) -> bool {
        sys::socket::send_timeout(self.socket.as_fd()).is_ok_and(|set| set)
    }
}

fn letter(hands: &Hands<'_>, parcel: Parcel<'_>) -> sys::Result<Letter> {
    let (address, held) = match &parcel.to {
        None => (Vec::new(), None),
        Some(Address::Bytes(bytes)) => (bytes.to_vec(), None),
        Some(Address::Place(place)) => hands
            .reach(place)
            .map(|(address, held)| (address, Some(held)))?,
    };
    Ok(Letter {
        address,
        _held: held,
        data: parcel.data.to_vec(),
        control: parcel.control,
        _passed: parcel.passed,
    })
}

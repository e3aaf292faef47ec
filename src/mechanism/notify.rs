//! User notifications, seccomp_unotify(2): a caught call, waiting for its one answer.

use crate::sys::{self, Errno, seccomp};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The end of the channel at which caught calls arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// The guest was killed or interrupted while its call was served: normal, nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What the guest gets for its call.
#[derive(Debug)]
pub enum Reply {
    /// The call succeeded with this value.
    Return(i64),
    /// The call failed.
    Errno(Errno),
    /// The guest gets a duplicate of this descriptor; its number is the result.
    AddFd {
        /// Ours; the guest gets the same open file description.
        fd: OwnedFd,
        /// Whether the guest's number closes at exec.
        cloexec: bool,
    },
    /// The kernel runs the call as it stands.
    Continue,
    /// The kernel starts the call again, or answers EINTR, as the pending signal demands
    /// (`ERESTARTSYS`). A signal or a ptrace interrupt must be pending, or the guest would see 512.
    Restart,
}

impl Listener {
    /// Takes the listener over and asks for wake-ups on the guest's CPU, where the kernel can
    /// (Linux 6.6): an answer from another CPU costs several times as much.
    pub fn new(fd: OwnedFd) -> Arc<Self> {
        // Without it everything works, slower.
        let _ = seccomp::set_sync_wake_up(fd.as_fd());
        Arc::new(Self(fd))
    }

    /// Waits for the next call. `None`: the run is over, no guest is left that could make one.
    pub fn receive(self: &Arc<Self>) -> Option<Notification> {
        loop {
            match seccomp::recv(self.0.as_fd()) {
                Ok(raw) => {
                    return Some(Notification {
                        listener: Arc::clone(self),
                        id: raw.id,
                        answered: false,
                        alone: false,
                        tid: raw.pid as i32,
                        nr: raw.data.nr as u32,
                        args: raw.data.args,
                    });
                }
                // ENOENT means two things: this guest vanished between wake-up and read, or no
                // guest is left at all (seccomp_unotify(2), "BUGS"). Only a hang-up tells.
                Err(Errno::ENOENT) if !self.hung_up() => {}
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn hung_up(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds
                .iter()
                .any(|fd| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP)))
    }
}

/// One caught call. It must be answered exactly once; dropping it unanswered, as a panic would,
/// refuses the call.
#[must_use = "a notification that is never answered hangs its guest"]
#[derive(Debug)]
pub struct Notification {
    listener: Arc<Listener>,
    id: u64,
    answered: bool,
    /// No other guest has called lately: keeping this one on our CPU for a moment takes none from
    /// others that run at the same time.
    pub alone: bool,
    /// The calling thread, in our pid namespace.
    pub tid: i32,
    /// The system call's number.
    pub nr: u32,
    /// The argument registers.
    pub args: [u64; 6],
}

impl Notification {
    fn fd(&self) -> BorrowedFd<'_> {
        self.listener.0.as_fd()
    }

    /// Answers and wakes the guest; consuming `self` makes it exactly one answer.
    pub fn answer(mut self, reply: &Reply) -> Result<(), Gone> {
        self.answered = true;
        let sent = match reply {
            Reply::Return(value) => seccomp::send(self.fd(), self.id, *value, 0, 0),
            Reply::Errno(errno) => seccomp::send(self.fd(), self.id, 0, -(*errno as i32), 0),
            Reply::Continue => {
                let flag = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
                seccomp::send(self.fd(), self.id, 0, 0, flag)
            }
            // ERESTARTSYS, include/linux/errno.h.
            Reply::Restart => seccomp::send(self.fd(), self.id, 0, -512, 0),
            Reply::AddFd { fd, cloexec } => {
                // The guest itself installs the descriptor, while we wait: two switches that
                // cost several times as much between CPUs, and only SEND has a flag for it.
                let _here = self.alone.then(|| StayHere::new(self.tid));
                match seccomp::add_fd(self.fd(), self.id, fd.as_fd(), *cloexec, true) {
                    Ok(_) => Ok(()),
                    Err(Errno::ENOENT) => Err(Errno::ENOENT),
                    // EMFILE: the guest's own limit.
                    Err(errno) => seccomp::send(self.fd(), self.id, 0, -(errno as i32), 0),
                }
            }
        };
        sent.map_err(|_| Gone)
    }

    /// Puts a duplicate of `fd` into the guest, close-on-exec, without answering yet.
    pub fn inject(&self, fd: BorrowedFd<'_>) -> sys::Result<i32> {
        seccomp::add_fd(self.fd(), self.id, fd, true, false)
    }

    /// Answers with a descriptor of which no copy of ours is left when the guest goes on: for
    /// objects on whose last close somebody waits (fifo(7)). Dearer than [`Reply::AddFd`].
    pub fn answer_with_last(self, fd: OwnedFd, cloexec: bool) -> Result<(), Gone> {
        let added = seccomp::add_fd(self.fd(), self.id, fd.as_fd(), cloexec, false);
        drop(fd);
        self.answer(&match added {
            Ok(number) => Reply::Return(number.into()),
            Err(errno) => Reply::Errno(errno),
        })
    }

    /// True while the guest waits: it was neither killed nor sent back to user space.
    pub fn is_alive(&self) -> bool {
        seccomp::id_valid(self.fd(), self.id)
    }
}

/// Keeps a sleeping guest on this thread's CPU until dropped, whatever CPU is idle.
struct StayHere {
    tid: Pid,
    allowed: CpuSet,
}

impl StayHere {
    /// `None`, and no harm done, if the guest may not run here or is gone.
    fn new(tid: i32) -> Option<Self> {
        let tid = Pid::from_raw(tid);
        let allowed = sched_getaffinity(tid).ok()?;
        let cpu = sched_getcpu().ok()?;
        let mut here = CpuSet::new();
        here.set(cpu).ok()?;
        if !allowed.is_set(cpu).ok()? || allowed == here {
            return None;
        }
        sched_setaffinity(tid, &here).ok()?;
        Some(Self { tid, allowed })
    }
}

impl Drop for StayHere {
    fn drop(&mut self) {
        // ESRCH: it was killed.
        let _ = sched_setaffinity(self.tid, &self.allowed);
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        if !self.answered {
            // The guest may be gone: then there is nobody to refuse.
            let _ = seccomp::send(self.fd(), self.id, 0, -libc::EPERM, 0);
        }
    }
}

//! Descriptors of processes.

use super::{Errno, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// pidfd_open(2) for a thread-group leader.
pub fn open(pid: i32) -> Result<OwnedFd> {
    open_with(pid, 0)
}

/// pidfd_open(2) with `PIDFD_THREAD` (Linux 6.9), which is `O_EXCL`: names one thread, whose descriptor table may
/// differ from its leader's, and whose leader may be gone.
pub fn open_thread(tid: i32) -> Result<OwnedFd> {
    open_with(tid, libc::O_EXCL)
}

/// pidfd_open(2).
pub fn open_with(pid: i32, flags: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// pidfd_getfd(2): a duplicate of another process's descriptor (same open file description).
pub fn getfd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// pidfd_send_signal(2).
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    queue_signal(pidfd, signal, None, 0)
}

/// The bytes of a `siginfo_t`, sigaction(2).
pub const SIGINFO: usize = 128;

/// pidfd_send_signal(2) with `PIDFD_SIGNAL_*` and, in place of that of kill(2), a `siginfo_t`.
pub fn queue_signal(
    pidfd: BorrowedFd<'_>,
    signal: i32,
    info: Option<&[u8; SIGINFO]>,
    flags: u32,
) -> Result<()> {
    let info = info.map_or(std::ptr::null(), |info| info.as_ptr());
    // SAFETY: the kernel reads a siginfo_t, which is of this size and may have any bytes; NULL asks for that of kill(2).
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            flags,
        )
    })
    .map(drop)
}

/// The process or thread that a pidfd is about; `None` if it is gone (proc_pid_fdinfo(5)). EBADF for what is no pidfd.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|_| Errno::EIO)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid: i32 = pid
        .and_then(|p| p.trim().parse().ok())
        .ok_or(Errno::EBADF)?;
    Ok((pid > 0).then_some(pid))
}

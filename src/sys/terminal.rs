//! The requests of ioctl_tty(2) that nix lacks.

use super::{Result, check_int};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Rows and columns, and the same in pixels; `struct winsize`, TIOCGWINSZ(2const).
pub type WindowSize = libc::winsize;

/// ioctl(TIOCGWINSZ): how large the window is, TIOCGWINSZ(2const).
pub fn window_size(terminal: BorrowedFd<'_>) -> Result<WindowSize> {
    // SAFETY: all-zero is a valid winsize.
    let mut size: WindowSize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(size)
}

/// ioctl(TIOCSWINSZ): of a pseudo-terminal, either end will do. Whoever is in its foreground gets SIGWINCH if the size
/// has changed.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &WindowSize) -> Result<()> {
    // SAFETY: TIOCSWINSZ reads one winsize.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const *size) })
        .map(drop)
}

/// ioctl(TIOCGDEV): the device number of a terminal, as the kernel encodes it; that of the terminal behind `/dev/tty`.
/// ENOTTY: it is none.
pub fn device(fd: BorrowedFd<'_>) -> Result<u32> {
    let mut device: libc::c_uint = 0;
    // SAFETY: TIOCGDEV writes one unsigned int.
    check_int(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGDEV, &raw mut device) })?;
    Ok(device)
}

/// ioctl(TIOCSCTTY): the terminal becomes that of the caller's session, TIOCSCTTY(2const). The caller leads a session
/// without one.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer; 0 takes it from nobody.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// ioctl(TIOCSIG) at the master of a pseudo-terminal: whoever is in the foreground gets SIGINT, SIGQUIT or SIGTSTP, as if by a
/// key; nobody, if that group has ended. EINVAL for other signals.
pub fn signal_foreground(master: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: TIOCSIG takes an integer.
    check_int(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSIG, signal) }).map(drop)
}

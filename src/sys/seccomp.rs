//! seccomp(2) and the user-notification ioctls of seccomp_unotify(2).

use super::{Result, check, check_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

// asm-generic/ioctl.h: _IOWR('!', nr, size) and _IOW('!', nr, size).
const fn iowr(nr: u64, size: usize) -> libc::c_ulong {
    (3 << 30) | ((size as u64) << 16) | (0x21 << 8) | nr
}
const fn iow(nr: u64, size: usize) -> libc::c_ulong {
    (1 << 30) | ((size as u64) << 16) | (0x21 << 8) | nr
}
const RECV: libc::c_ulong = iowr(0, size_of::<libc::seccomp_notif>());
const SEND: libc::c_ulong = iowr(1, size_of::<libc::seccomp_notif_resp>());
const ID_VALID: libc::c_ulong = iow(2, size_of::<u64>());
const ADDFD: libc::c_ulong = iow(3, size_of::<libc::seccomp_notif_addfd>());
const SET_FLAGS: libc::c_ulong = iow(4, size_of::<u64>());

/// Wake the supervisor on the CPU of the guest (Linux 6.6, seccomp_unotify(2)).
const SYNC_WAKE_UP: u64 = 1;
/// `SECCOMP_ADDFD_FLAG_SEND` (Linux 5.14).
const ADDFD_SEND: u32 = 2;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (Linux 5.19).
const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Installs `program` for the calling thread and returns the listener.
///
/// `no_new_privs` must be set. Errors: EBUSY when another listener stands above us in the
/// filter chain, EINVAL when the kernel knows no `WAIT_KILLABLE_RECV` (before 5.19).
pub fn install(program: &[libc::sock_filter]) -> Result<OwnedFd> {
    let prog = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV;
    // SAFETY: `prog` points at `len` instructions that live through the call; the kernel copies.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const prog,
        )
    })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Asks for wake-ups on the guest's own CPU. Kernels before 6.6 answer EINVAL: slower, not wrong.
pub fn set_sync_wake_up(listener: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: SET_FLAGS takes its flags by value.
    check_int(unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) }).map(drop)
}

/// Waits for the next notification. ENOENT: the guest vanished, or none is left.
pub fn recv(listener: BorrowedFd<'_>) -> Result<libc::seccomp_notif> {
    // SAFETY: all-zero is a valid `seccomp_notif`, and the kernel wants it zeroed.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: `notif` has the size that the ioctl number states.
    check_int(unsafe { libc::ioctl(listener.as_raw_fd(), RECV, &raw mut notif) })?;
    Ok(notif)
}

/// Answers notification `id`. `error` is a negative errno or 0; flags may hold CONTINUE.
pub fn send(listener: BorrowedFd<'_>, id: u64, val: i64, error: i32, flags: u32) -> Result<()> {
    let mut resp = libc::seccomp_notif_resp {
        id,
        val,
        error,
        flags,
    };
    // SAFETY: `resp` has the size that the ioctl number states.
    check_int(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut resp) }).map(drop)
}

/// True while the guest still waits for an answer to `id`.
pub fn id_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: ID_VALID reads one u64.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) == 0 }
}

/// Puts a duplicate of `fd` into the guest at its lowest free number; with `send` the number is
/// also the answer of the call (one step: no descriptor is left behind if the guest dies).
pub fn add_fd(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    cloexec: bool,
    send: bool,
) -> Result<i32> {
    let request = libc::seccomp_notif_addfd {
        id,
        flags: if send { ADDFD_SEND } else { 0 },
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: `request` has the size that the ioctl number states; the kernel only reads it.
    check_int(unsafe { libc::ioctl(listener.as_raw_fd(), ADDFD, &raw const request) })
        .map(|n| n as i32)
}

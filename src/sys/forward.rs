//! Signals that this process gets for another one.

use super::{Errno, Result, check_int};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The descriptors that [`forward`] forwards to.
static FORWARD_TO: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];

/// How many of those that were forwarded ask a program to end.
static ASKED_TO_END: AtomicU32 = AtomicU32::new(0);

/// How often SIGTERM or SIGHUP has been forwarded.
pub fn asked_to_end() -> u32 {
    ASKED_TO_END.load(Ordering::Relaxed)
}

/// From now on each of `signals` that this process gets goes to the process of `pidfd`, and the calling thread takes them. Once
/// that one has been reaped, its number is written to `heir` as a byte, if there is one. Both stay open for good.
pub fn forward(pidfd: OwnedFd, heir: Option<OwnedFd>, signals: &[i32]) -> Result<()> {
    extern "C" fn handle(signal: libc::c_int) {
        let [pidfd, heir] = FORWARD_TO.each_ref().map(|fd| fd.load(Ordering::Relaxed));
        let byte = signal as u8;
        if [libc::SIGTERM, libc::SIGHUP].contains(&signal) {
            ASKED_TO_END.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: both calls are no more than system calls, which is what async-signal-safe means (signal-safety(7)): the
        // first takes no memory, the second reads one byte that is there. They may set errno, which the interrupted code
        // might be about to read: it is put back.
        unsafe {
            let errno = *libc::__errno_location();
            let sent = libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, 0usize, 0);
            if sent < 0 && heir >= 0 {
                libc::write(heir, (&raw const byte).cast(), 1);
            }
            *libc::__errno_location() = errno;
        }
    }
    let fds = [Some(pidfd), heir].map(|fd| fd.map_or(-1, IntoRawFd::into_raw_fd));
    for (place, fd) in FORWARD_TO.iter().zip(fds) {
        place.store(fd, Ordering::Relaxed);
    }
    // SAFETY: all-zero is a valid sigaction and a valid, empty sigset_t.
    let (mut action, mut set) = unsafe {
        (
            std::mem::zeroed::<libc::sigaction>(),
            std::mem::zeroed::<libc::sigset_t>(),
        )
    };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    for &signal in signals {
        // SAFETY: the handler is async-signal-safe, as said there; `set` is a local set.
        unsafe {
            check_int(libc::sigaction(
                signal,
                &raw const action,
                std::ptr::null_mut(),
            ))?;
            libc::sigaddset(&raw mut set, signal);
        }
    }
    // SAFETY: `set` is initialised.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) }
    {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

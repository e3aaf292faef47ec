//! The only room with `unsafe`: one safe wrapper per kernel call.
//!
//! Nothing here knows what a sandbox is. A wrapper takes borrowed descriptors, C strings and
//! slices, makes one call, and returns `Result<_, Errno>`. Calls that nix wraps well enough are
//! used from nix directly by the other modules; what is here is missing there, allocates there,
//! or sits on the hot path.
#![allow(unsafe_code)]

pub mod forward;
pub mod fs;
pub mod heap;
pub mod mem;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod sched;
pub mod seccomp;
pub mod socket;
pub mod terminal;

pub use nix::errno::Errno;

/// Result of a kernel call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the C convention (negative: look at errno) into a `Result`.
fn check(ret: libc::c_long) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Errno::last())
}

/// [`check`] for calls whose wrapper returns `int`.
fn check_int(ret: libc::c_int) -> Result<usize> {
    check(ret.into())
}

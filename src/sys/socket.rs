//! Socket calls on raw address bytes, as the guest gave them.

use super::{Result, check_int};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// connect(2).
pub fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `address.len()` bytes of `address`.
    check_int(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as u32,
        )
    })
    .map(drop)
}

/// bind(2).
pub fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `address.len()` bytes of `address`.
    check_int(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as u32,
        )
    })
    .map(drop)
}

/// getsockname(2) or, with `peer`, getpeername(2); the full length, which may exceed `buf`.
pub fn name(socket: BorrowedFd<'_>, peer: bool, buf: &mut [u8]) -> Result<usize> {
    let mut len = buf.len() as libc::socklen_t;
    let (fd, out) = (socket.as_raw_fd(), buf.as_mut_ptr().cast());
    // SAFETY: the kernel writes at most `len` bytes to `buf` and then sets `len`.
    check_int(unsafe {
        if peer {
            libc::getpeername(fd, out, &raw mut len)
        } else {
            libc::getsockname(fd, out, &raw mut len)
        }
    })?;
    Ok(len as usize)
}

/// A socket at which a message waits that carries `fd` (unix(7), `SCM_RIGHTS`).
pub fn message_with(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };
    let kind = SockType::SeqPacket;
    let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    let rights = [fd.as_raw_fd()];
    let carried = [ControlMessage::ScmRights(&rights)];
    let text = [std::io::IoSlice::new(b"f")];
    sendmsg::<()>(ours.as_raw_fd(), &text, &carried, MsgFlags::empty(), None)?;
    Ok(theirs)
}

/// getsockopt(2) `SO_DOMAIN`: the address family that the socket was made with. ENOTSOCK for others.
pub fn family(socket: BorrowedFd<'_>) -> Result<i32> {
    let (mut family, mut len) = (
        0 as libc::c_int,
        size_of::<libc::c_int>() as libc::socklen_t,
    );
    let (level, option) = (libc::SOL_SOCKET, libc::SO_DOMAIN);
    let out = (&raw mut family).cast();
    // SAFETY: the kernel writes at most `len` bytes, the size of `family`.
    check_int(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, out, &raw mut len) })?;
    Ok(family)
}

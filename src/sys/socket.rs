//! Socket calls on raw address bytes, as the guest gave them.

use super::{Result, check, check_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// sendmsg(2) of one piece; an empty `address` or `control` is none. The bytes sent.
pub fn send(
    socket: BorrowedFd<'_>,
    address: &[u8],
    data: &[u8],
    control: &[u8],
    flags: i32,
) -> Result<usize> {
    let mut piece = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all-zero is a valid msghdr: no name, no pieces, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if !address.is_empty() {
        message.msg_name = address.as_ptr().cast_mut().cast();
        message.msg_namelen = address.len() as u32;
    }
    if !control.is_empty() {
        message.msg_control = control.as_ptr().cast_mut().cast();
        message.msg_controllen = control.len();
    }
    // SAFETY: the three areas live through the call with the lengths given, and the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    check(sent as libc::c_long)
}

/// getsockopt(2) `SO_PEERCRED`: who was at the other end when the connection was made.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> Result<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of_val(&credentials) as libc::socklen_t;
    let (fd, out) = (socket.as_raw_fd(), (&raw mut credentials).cast());
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the kernel writes at most `len` bytes, the size of `credentials`.
    check_int(unsafe { libc::getsockopt(fd, level, option, out, &raw mut len) })?;
    Ok(credentials)
}

/// getsockopt(2) `SO_PEERPIDFD` (Linux 6.5): the same as a pidfd.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    const SO_PEERPIDFD: i32 = 77;
    let fd = option(socket, SO_PEERPIDFD)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// getsockopt(2) `SO_DOMAIN`: the address family that the socket was made with. ENOTSOCK for others.
pub fn family(socket: BorrowedFd<'_>) -> Result<i32> {
    option(socket, libc::SO_DOMAIN)
}

/// True for a socket whose messages can name any path.
pub fn is_unix_datagram(socket: BorrowedFd<'_>) -> bool {
    family(socket) == Ok(libc::AF_UNIX) && option(socket, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM)
}

/// getsockopt(2) `SO_SNDTIMEO`: true if sending gives up after some time.
pub fn send_timeout(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut time = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let mut len = size_of_val(&time) as libc::socklen_t;
    let (fd, out) = (socket.as_raw_fd(), (&raw mut time).cast());
    let (level, option) = (libc::SOL_SOCKET, libc::SO_SNDTIMEO);
    // SAFETY: the kernel writes at most `len` bytes, the size of `time`.
    check_int(unsafe { libc::getsockopt(fd, level, option, out, &raw mut len) })?;
    Ok(time.tv_sec != 0 || time.tv_usec != 0)
}

/// getsockopt(2) of level `SOL_SOCKET`, where the option is one `int`.
pub fn option(socket: BorrowedFd<'_>, option: i32) -> Result<i32> {
    let (mut value, mut len) = (
        0 as libc::c_int,
        size_of::<libc::c_int>() as libc::socklen_t,
    );
    let out = (&raw mut value).cast();
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`.
    check_int(unsafe { libc::getsockopt(fd, level, option, out, &raw mut len) })?;
    Ok(value)
}

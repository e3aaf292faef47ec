//! Socket addresses: connect(2), bind(2), and the names they leave behind.
//!
//! A path in a unix(7) address is a path of the view; an abstract name gets the sandbox's own
//! prefix, so that guests meet each other there and nobody else.

use super::args::{Fd, InBuf, Int, OutBuf, Ptr, SockLevel, SocketFamily, SocketType};
use super::plan::{Act, Address, Cx, Errno, PeerAs, Plan, RegistersOnly};
use super::rules::Net;
use crate::policy::{Access, RuleId};
use crate::sys;
use crate::vfs::{Follow, Found, Vfs};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// The longest address that the kernel takes (`struct sockaddr_storage`).
const MAX_ADDRESS: usize = 128;
/// Room for a path in `struct sockaddr_un`, unix(7).
const SUN_PATH: usize = 108;
/// What a unix address begins with.
const UNIX: [u8; 2] = (libc::AF_UNIX as u16).to_ne_bytes();

/// An address as the guest gave it.
enum Given<'a> {
    /// A path in the view.
    Path(&'a CStr),
    /// An abstract name, without the leading NUL.
    Abstract(&'a [u8]),
    /// Anything else: for the kernel to judge.
    Other(&'a [u8]),
}

fn given<'a>(
    cx: &Cx<'a>,
    socket: BorrowedFd<'_>,
    addr: InBuf,
    len: Int,
) -> Result<Given<'a>, Errno> {
    let len = usize::try_from(len.0)
        .ok()
        .filter(|&l| l <= MAX_ADDRESS)
        .ok_or(Errno::EINVAL)?;
    let bytes: &'a [u8] = cx.bytes(addr.0, len)?;
    let (Some(&lo), Some(&hi)) = (bytes.first(), bytes.get(1)) else {
        return Err(Errno::EINVAL);
    };
    if i32::from(u16::from_ne_bytes([lo, hi])) != libc::AF_UNIX {
        // Without a network no such socket can be made, but one may have been inherited.
        let local = !matches!(
            sys::socket::family(socket),
            Ok(libc::AF_INET | libc::AF_INET6)
        );
        return match cx.net {
            Net::None if !local => Err(Errno::EACCES),
            // What an address of another family means to a unix socket, the kernel says.
            _ => Ok(Given::Other(bytes)),
        };
    }
    let path = bytes.get(2..).unwrap_or_default();
    if path.len() > SUN_PATH {
        return Err(Errno::EINVAL);
    }
    match path.split_first() {
        // An empty address: autobind for bind(2), EINVAL for connect(2); the kernel knows.
        None => Ok(Given::Other(bytes)),
        Some((0, name)) => Ok(Given::Abstract(name)),
        Some(_) => {
            // The kernel adds the NUL itself where the guest left none (unix(7), "BUGS").
            let text = path.split(|&b| b == 0).next().unwrap_or_default();
            let copy = cx.arena.alloc_slice_fill_copy(text.len() + 1, 0u8);
            copy.get_mut(..text.len())
                .ok_or(Errno::EINVAL)?
                .copy_from_slice(text);
            Ok(Given::Path(
                CStr::from_bytes_with_nul(copy).map_err(|_| Errno::EINVAL)?,
            ))
        }
    }
}

/// The sandbox's form of an abstract name, after a NUL.
fn abstract_address<'a>(cx: &Cx<'a>, name: &[u8]) -> &'a [u8] {
    cx.arena.alloc_slice_copy(&abstract_bytes(cx.vfs, name))
}

/// The address by which the kernel knows a guest's abstract name.
pub fn abstract_bytes(vfs: &Vfs, name: &[u8]) -> Vec<u8> {
    let text = vfs.abstract_text(name, SUN_PATH - 1);
    [&UNIX[..], &[0], &text].concat()
}

/// A unix address of the kernel's in the view's terms: abstract names without the prefix, paths as they were bound. Other
/// addresses stay what they are. Of a `cut` one more may be told than was given.
pub fn in_view(vfs: &Vfs, address: &[u8], cut: bool) -> Vec<u8> {
    let Some(text) = address.strip_prefix(&UNIX) else {
        return address.to_vec();
    };
    if let Some(name) = vfs.bound_name(text, cut) {
        // unix(7): the length of a path counts its NUL.
        let nul: &[u8] = if name.first() == Some(&0) { &[] } else { &[0] };
        return [&UNIX[..], &name, nul].concat();
    }
    if text
        .strip_prefix(&[0])
        .is_some_and(|name| name.starts_with(vfs.nameless_prefix()))
    {
        return UNIX.to_vec();
    }
    let prefix = [&[0], vfs.abstract_prefix()].concat();
    match text.strip_prefix(prefix.as_slice()) {
        Some(name) => [&UNIX[..], &[0], name].concat(),
        None => address.to_vec(),
    }
}

/// Where an address leads.
pub(super) enum Target<'a> {
    /// To what the kernel finds by these bytes.
    Bytes(Address<'a>),
    /// To a file of the view, under its rule.
    File(Address<'a>, Option<RuleId>),
}

/// Finds what an address means in the view, for who wants to reach it.
pub(super) fn target<'a>(
    cx: &Cx<'a>,
    socket: BorrowedFd<'_>,
    addr: InBuf,
    len: Int,
) -> Result<Target<'a>, Errno> {
    let path = match given(cx, socket, addr, len)? {
        Given::Other(bytes) => return Ok(Target::Bytes(Address::Bytes(bytes))),
        Given::Abstract(name) => {
            return Ok(Target::Bytes(Address::Bytes(abstract_address(cx, name))));
        }
        Given::Path(path) => path,
    };
    let start = cx.start(libc::AT_FDCWD, path)?;
    match cx
        .vfs
        .find(cx.caller(), &start, path, Follow::Last, cx.arena)?
    {
        Found {
            place,
            stat: Some(_),
        } => {
            let rule = cx.vfs.rule(&place);
            Ok(Target::File(Address::Place(place), rule))
        }
        Found { stat: None, .. } => Err(Errno::ENOENT),
    }
}

/// socket(2) of a unix datagram socket: made once the process is guarded.
pub fn socket<'a>(cx: &Cx<'a>, _: SocketFamily, _: SocketType, _: Int) -> Result<Plan<'a>, Errno> {
    Ok(guarded(cx))
}

/// socketpair(2) of unix datagram sockets.
pub fn socketpair<'a>(
    cx: &Cx<'a>,
    _: SocketFamily,
    _: SocketType,
    _: Int,
    _: OutBuf,
) -> Result<Plan<'a>, Errno> {
    Ok(guarded(cx))
}

fn guarded<'a>(cx: &Cx<'a>) -> Plan<'a> {
    Plan::act(if cx.task.group.is_guarded() {
        Act::Continue(RegistersOnly(
            "registers say what socket is made, and the process is guarded",
        ))
    } else {
        Act::Guard
    })
}

/// connect(2).
pub fn connect<'a>(cx: &Cx<'a>, fd: Fd, addr: InBuf, len: Int) -> Result<Plan<'a>, Errno> {
    let socket = cx.task.descriptor(fd.0)?;
    Ok(match target(cx, socket.as_fd(), addr, len)? {
        Target::Bytes(to) => Plan::act(Act::Connect { socket, to }),
        // A socket reaches whoever listens: more than reading.
        Target::File(to, rule) => Plan::ask(Access::CONNECT, rule, Act::Connect { socket, to }),
    })
}

/// bind(2).
pub fn bind<'a>(cx: &Cx<'a>, fd: Fd, addr: InBuf, len: Int) -> Result<Plan<'a>, Errno> {
    let socket = cx.task.descriptor(fd.0)?;
    let to = match given(cx, socket.as_fd(), addr, len)? {
        Given::Other(bytes) if bytes == UNIX => {
            return Ok(Plan::act(Act::Autobind { socket }));
        }
        Given::Other(bytes) => Address::Bytes(bytes),
        Given::Abstract(name) => {
            return Ok(Plan::act(Act::Bind {
                socket,
                to: Address::Bytes(abstract_address(cx, name)),
                asked: cx.arena.alloc_slice_copy(&[&[0], name].concat()),
            }));
        }
        Given::Path(path) => {
            let start = cx.start(libc::AT_FDCWD, path)?;
            let place = cx.vfs.locate(cx.caller(), &start, path, cx.arena)?;
            super::name::no_directory(cx, path, &place)?;
            let rule = cx.vfs.rule(&place);
            let act = match place {
                crate::vfs::Place::Name { .. } => Act::Bind {
                    socket,
                    to: Address::Place(place),
                    asked: path.to_bytes(),
                },
                crate::vfs::Place::Absent { .. } => Act::Fail(Errno::EACCES),
                _ => return Err(Errno::EADDRINUSE),
            };
            return Ok(Plan::ask(Access::CREATE, rule, act));
        }
    };
    Ok(Plan::act(Act::Bind {
        socket,
        to,
        asked: &[],
    }))
}

/// setsockopt(2) of `SO_PASSCRED` (unix(7)): the numbers that messages then bring are told in the view's terms where the process is
/// guarded.
pub fn setsockopt<'a>(
    cx: &Cx<'a>,
    _: Fd,
    _: SockLevel,
    _: Int,
    _: InBuf,
    _: Int,
) -> Result<Plan<'a>, Errno> {
    Ok(Plan::act(if cx.task.group.is_guarded() {
        Act::Continue(RegistersOnly(
            "the option is a number in a register, and the process is guarded",
        ))
    } else {
        Act::Guard
    }))
}

/// getsockopt(2) of the two options that tell who is at the other end. Errors come in the kernel's order.
pub fn getsockopt<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    _: SockLevel,
    option: Int,
    value: OutBuf,
    len: Ptr,
) -> Result<Plan<'a>, Errno> {
    let socket = cx.task.descriptor(fd.0)?;
    sys::socket::family(socket.as_fd())?;
    let room: &[u8] = cx.bytes(len.0, 4)?;
    let room = i32::from_ne_bytes(room.try_into().map_err(|_| Errno::EFAULT)?);
    Ok(Plan::act(Act::TellPeer {
        socket,
        by: match option.0 {
            libc::SO_PEERCRED => PeerAs::Credentials,
            _ => PeerAs::Pidfd,
        },
        value: value.0,
        room: usize::try_from(room).map_err(|_| Errno::EINVAL)?,
        length: len.0,
    }))
}

/// getsockname(2).
pub fn getsockname<'a>(cx: &Cx<'a>, fd: Fd, addr: OutBuf, len: Ptr) -> Result<Plan<'a>, Errno> {
    name(cx, fd, addr, len, false)
}

/// getpeername(2).
pub fn getpeername<'a>(cx: &Cx<'a>, fd: Fd, addr: OutBuf, len: Ptr) -> Result<Plan<'a>, Errno> {
    name(cx, fd, addr, len, true)
}

/// The kernel's answer, in the view's terms: abstract names without the prefix, paths as they were
/// bound.
fn name<'a>(cx: &Cx<'a>, fd: Fd, addr: OutBuf, len: Ptr, peer: bool) -> Result<Plan<'a>, Errno> {
    let socket = cx.task.descriptor(fd.0)?;
    let mut room = [0u8; MAX_ADDRESS];
    let n = sys::socket::name(socket.as_fd(), peer, &mut room)?;
    let answer = in_view(
        cx.vfs,
        room.get(..n.min(MAX_ADDRESS)).unwrap_or_default(),
        false,
    );
    let given = cx.bytes(len.0, 4)?;
    let given = i32::from_ne_bytes(given.try_into().map_err(|_| Errno::EFAULT)?);
    let given = usize::try_from(given).map_err(|_| Errno::EINVAL)?;
    let full = (answer.len() as u32).to_ne_bytes();
    cx.mem.write(
        addr.0,
        answer.get(..given.min(answer.len())).unwrap_or_default(),
    )?;
    Ok(Plan::write(len.0, cx.arena.alloc_slice_copy(&full), 0))
}

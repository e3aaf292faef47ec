//! Messages with an address or descriptors: sendto(2), sendmsg(2), sendmmsg(2).
//!
//! Most never come here: the kernel serves what a register shows to have no address, and all of a process that
//! has made no unix datagram socket (see the guard, `supervisor::guard`). What does come is read once and sent
//! by the supervisor, on a copy of the guest's descriptor: a path is one of the view, and a message that has been
//! judged is never read again.

use super::args::{Fd, InBuf, Int, MsgFlags, Ptr, Size, UInt};
use super::net::{Target, target};
use super::plan::{Act, Cx, Errno, Parcel, Plan};
use crate::policy::Access;
use crate::sys;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Pieces of a message, and messages of sendmmsg(2), that the kernel takes (`UIO_MAXIOV`).
const MAX_PIECES: u64 = 1024;
/// The most that one call moves (`MAX_RW_COUNT`).
const MAX_BYTES: u64 = 0x7fff_f000;
/// What is copied of a stream's bytes for one call; the guest sees that fewer were sent than it wished.
const MAX_STREAM: u64 = 4 << 20;
/// What is copied for one call of sendmmsg(2) before it ends with the messages read so far.
const MAX_BATCH: usize = 4 << 20;
/// More control data than any kernel takes (`net.core.optmem_max`, ENOBUFS).
const MAX_CONTROL: u64 = 1 << 20;
/// Descriptors that one message passes (`SCM_MAX_FD`).
const MAX_PASSED: usize = 253;
/// `struct msghdr` and `struct mmsghdr`.
const HEADER: u64 = 56;
const VECTOR: u64 = 64;

/// A message as the guest gave it.
struct Message {
    name: u64,
    name_len: i32,
    pieces: Vec<(u64, u64)>,
    control: u64,
    control_len: u64,
}

/// The socket that is sent on.
struct Socket {
    fd: OwnedFd,
    domain: i32,
    kind: i32,
    room: u64,
}

impl Socket {
    fn new(cx: &Cx<'_>, fd: Fd) -> Result<Self, Errno> {
        let fd = cx.task.descriptor(fd.0)?;
        let domain = sys::socket::family(fd.as_fd())?;
        let kind = sys::socket::option(fd.as_fd(), libc::SO_TYPE)?;
        let room = sys::socket::option(fd.as_fd(), libc::SO_SNDBUF)?;
        Ok(Self {
            fd,
            domain,
            kind,
            room: u64::try_from(room).unwrap_or(0),
        })
    }
}

/// sendto(2).
pub fn sendto<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    buf: InBuf,
    len: Size,
    flags: MsgFlags,
    addr: InBuf,
    addr_len: Int,
) -> Result<Plan<'a>, Errno> {
    let socket = Socket::new(cx, fd)?;
    if addr.0 != 0 && !(0..=128).contains(&addr_len.0) {
        return Err(Errno::EINVAL);
    }
    let message = Message {
        name: addr.0,
        name_len: addr_len.0,
        pieces: vec![(buf.0, len.0.min(MAX_BYTES))],
        control: 0,
        control_len: 0,
    };
    let mut plan = Plan::value(0);
    let parcel = parcel(cx, &socket, &message, &mut plan)?;
    finish(plan, socket, vec![parcel], flags, None)
}

/// sendmsg(2).
pub fn sendmsg<'a>(cx: &Cx<'a>, fd: Fd, msg: Ptr, flags: MsgFlags) -> Result<Plan<'a>, Errno> {
    let socket = Socket::new(cx, fd)?;
    let message = message(cx, msg.0)?;
    let mut plan = Plan::value(0);
    let parcel = parcel(cx, &socket, &message, &mut plan)?;
    finish(plan, socket, vec![parcel], flags, None)
}

/// sendmmsg(2).
pub fn sendmmsg<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    msgs: Ptr,
    count: UInt,
    flags: MsgFlags,
) -> Result<Plan<'a>, Errno> {
    let socket = Socket::new(cx, fd)?;
    let mut plan = Plan::value(0);
    let mut parcels = Vec::new();
    let (mut bytes, mut passed) = (0, 0);
    for i in 0..u64::from(count.0).min(MAX_PIECES) {
        let at = msgs.0.checked_add(i * VECTOR).ok_or(Errno::EFAULT)?;
        let one = message(cx, at).and_then(|m| parcel(cx, &socket, &m, &mut plan));
        match one {
            Ok(parcel) => {
                bytes += parcel.data.len() + parcel.control.len();
                passed += parcel.passed.len();
                parcels.push(parcel);
            }
            Err(errno) if parcels.is_empty() => return Err(errno),
            // The next call begins with this one and tells what is wrong with it.
            Err(_) => break,
        }
        if bytes > MAX_BATCH || passed > MAX_PASSED || plan.asks.is_full() {
            break;
        }
    }
    if parcels.is_empty() {
        return Ok(plan);
    }
    finish(plan, socket, parcels, flags, Some(msgs.0))
}

fn finish<'a>(
    mut plan: Plan<'a>,
    socket: Socket,
    parcels: Vec<Parcel<'a>>,
    flags: MsgFlags,
    vector: Option<u64>,
) -> Result<Plan<'a>, Errno> {
    const MSG_ZEROCOPY: u32 = 0x400_0000;
    if flags.0 & MSG_ZEROCOPY != 0 && socket.domain != libc::AF_UNIX {
        // What the kernel would send later is our copy, which is gone by then. send(2): no memory to be had.
        return Err(Errno::ENOBUFS);
    }
    plan.act = Act::Send {
        socket: socket.fd,
        parcels,
        flags: flags.0.cast_signed(),
        vector,
    };
    Ok(plan)
}

/// Copies a `struct msghdr` and its vector of pieces, in the order in which the kernel finds what is wrong.
fn message(cx: &Cx<'_>, at: u64) -> Result<Message, Errno> {
    let header = words(cx, at, HEADER)?;
    let word = |i: usize| header.get(i).copied().unwrap_or(0);
    let (name, name_len) = (word(0), word(1) as u32 as i32);
    if name_len < 0 && name != 0 {
        return Err(Errno::EINVAL);
    }
    let (vector, count) = (word(2), word(3));
    if count > MAX_PIECES {
        return Err(Errno::EMSGSIZE);
    }
    let mut pieces = Vec::new();
    let mut total = 0u64;
    let flat = words(cx, vector, count * 16)?;
    for piece in flat.chunks_exact(2) {
        let (Some(&base), Some(&len)) = (piece.first(), piece.get(1)) else {
            return Err(Errno::EINVAL);
        };
        if i64::try_from(len).is_err() {
            return Err(Errno::EINVAL);
        }
        let len = len.min(MAX_BYTES - total);
        total += len;
        pieces.push((base, len));
    }
    Ok(Message {
        name,
        // Longer ones are cut, not refused (net/socket.c, __copy_msghdr).
        name_len: name_len.min(128),
        pieces,
        control: word(4),
        control_len: if word(4) == 0 { 0 } else { word(5) },
    })
}

/// `len` bytes of the guest as words.
fn words(cx: &Cx<'_>, at: u64, len: u64) -> Result<Vec<u64>, Errno> {
    let bytes = cx.bytes(at, len as usize)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|w| w.try_into().map_or(0, u64::from_ne_bytes))
        .collect())
}

/// Reads the rest of a message, and finds to whom it goes; what has to be asked is added to the plan.
fn parcel<'a>(
    cx: &Cx<'a>,
    socket: &Socket,
    message: &Message,
    plan: &mut Plan<'a>,
) -> Result<Parcel<'a>, Errno> {
    let named = message.name != 0 && message.name_len > 0;
    let (control, passed) = control(cx, message)?;
    let total: u64 = message.pieces.iter().map(|(_, len)| len).sum();
    let streams = socket.kind == libc::SOCK_STREAM;
    // The kernel looks at the length before it looks at the bytes.
    if !streams && total > socket.room.max(1 << 16) {
        return Err(Errno::EMSGSIZE);
    }
    let data = data(cx, &message.pieces, total.min(MAX_STREAM))?;
    let to = match (named, socket.domain, socket.kind) {
        (false, ..) => None,
        (true, libc::AF_UNIX, libc::SOCK_DGRAM) => {
            let (addr, len) = (InBuf(message.name), Int(message.name_len));
            match target(cx, socket.fd.as_fd(), addr, len)? {
                Target::Bytes(to) => Some(to),
                Target::File(to, rule) => {
                    // Of many messages most go to one place.
                    if !plan.asks.iter().any(|ask| Some(ask.rule) == rule) {
                        plan.also(Access::CONNECT, rule);
                    }
                    Some(to)
                }
            }
        }
        // The others are connected: an address is an error or is not looked at. Any will do.
        (true, libc::AF_UNIX, _) => Some(super::plan::Address::Bytes(&[1, 0, 0])),
        (true, ..) => {
            let (addr, len) = (InBuf(message.name), Int(message.name_len));
            match target(cx, socket.fd.as_fd(), addr, len)? {
                Target::Bytes(to) => Some(to),
                Target::File(..) => return Err(Errno::EAFNOSUPPORT),
            }
        }
    };
    Ok(Parcel {
        to,
        data,
        control,
        passed,
    })
}

/// The bytes of all pieces, at most `limit` of them.
fn data<'a>(cx: &Cx<'a>, pieces: &[(u64, u64)], limit: u64) -> Result<&'a [u8], Errno> {
    let mut left = limit;
    let mut parts: Vec<&[u8]> = Vec::with_capacity(pieces.len());
    for &(base, len) in pieces {
        let take = len.min(left);
        left -= take;
        if take != 0 {
            parts.push(cx.bytes(base, take as usize)?);
        }
    }
    Ok(match parts.as_slice() {
        [] => &[],
        [one] => cx.arena.alloc_slice_copy(one),
        several => cx.arena.alloc_slice_copy(&several.concat()),
    })
}

/// The control messages, with the descriptors that they pass, fetched from the guest.
fn control(cx: &Cx<'_>, message: &Message) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    const HEAD: usize = 16; // size_t cmsg_len; int cmsg_level, cmsg_type
    if message.control_len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let given: &[u8] = cx.bytes(message.control, message.control_len as usize)?;
    let mut made = given.to_vec();
    let mut passed = Vec::new();
    let mut at = 0;
    while let Some(rest) = made.get_mut(at..).filter(|rest| rest.len() >= HEAD) {
        let len = rest.get(..8).and_then(|b| b.try_into().ok());
        let len = len.map_or(0, usize::from_ne_bytes);
        let Some(one) = rest.get_mut(..len).filter(|one| one.len() >= HEAD) else {
            return Err(Errno::EINVAL);
        };
        let (head, body) = one.split_at_mut(HEAD);
        let int = |from: usize| {
            let bytes = head.get(from..from + 4).and_then(|b| b.try_into().ok());
            bytes.map_or(0, i32::from_ne_bytes)
        };
        match (int(8), int(12)) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => pass(cx, body, &mut passed)?,
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => claim(cx, body)?,
            _ => {}
        }
        at += len.next_multiple_of(8);
    }
    Ok((made, passed))
}

/// Replaces the guest's numbers of descriptors by ours.
fn pass(cx: &Cx<'_>, numbers: &mut [u8], passed: &mut Vec<OwnedFd>) -> Result<(), Errno> {
    if passed.len() + numbers.len() / 4 > MAX_PASSED {
        return Err(Errno::EINVAL);
    }
    for number in numbers.chunks_exact_mut(4) {
        let theirs = i32::from_ne_bytes((&*number).try_into().map_err(|_| Errno::EINVAL)?);
        let fd = cx.task.descriptor(theirs)?;
        if sys::socket::is_unix_datagram(fd.as_fd()) {
            // Whoever gets it may be in a process without the guard. The kernel's own answer where a
            // receiver takes no descriptors (unix(7), SO_PASSRIGHTS).
            return Err(Errno::EPERM);
        }
        number.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        passed.push(fd);
    }
    Ok(())
}

/// Credentials that the guest claims must be its own; then ours go with the message, whose uids and gids are the same.
fn claim(cx: &Cx<'_>, body: &mut [u8]) -> Result<(), Errno> {
    let Some(pid) = body.first_chunk_mut::<4>() else {
        return Err(Errno::EINVAL);
    };
    if i32::from_ne_bytes(*pid) != cx.task.group.number {
        return Err(Errno::EPERM);
    }
    *pid = std::process::id().to_ne_bytes();
    Ok(())
}

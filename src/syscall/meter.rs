//! Calls that make files longer, in runs in which some directory has a limited size.
//!
//! Elsewhere these calls are the kernel's alone. Here it is asked first whether the descriptor is a file of such
//! a directory. If not, the kernel runs the call. If so, its length is counted first; then the kernel runs a call whose
//! registers say all (write, pwrite), and sbox makes the others itself, on its copy of the descriptor, from its
//! copy of what pointers told.
//!
//! What this must not know: how much room there is. The deed asks.

use super::args::{Fd, InBuf, Int, Off, OutBuf, Ptr, Size, UInt, ULong};
use super::plan::{Act, Cx, Errno, Grow, Plan, RegistersOnly};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};

/// What the kernel writes in one call at most (write(2), "NOTES").
const MAX_COUNT: u64 = 0x7fff_f000;

/// Pieces of one writev(2) (`UIO_MAXIOV`).
const MAX_PIECES: u64 = 1024;

const ELSEWHERE: RegistersOnly =
    RegistersOnly("the descriptor is a number in a register, and no file of a limited directory");

fn elsewhere<'a>() -> Plan<'a> {
    Plan::act(Act::Continue(ELSEWHERE))
}

/// The guest's file, if it is one of a limited directory.
fn limited(cx: &Cx<'_>, fd: i32) -> Result<Option<OwnedFd>, Errno> {
    let file = cx.task.descriptor(fd)?;
    let path_only = sys::fs::status_flags(file.as_fd())? & libc::O_PATH != 0;
    let is_limited = !path_only && cx.vfs.meter_of_file(file.as_fd()).is_some();
    Ok(is_limited.then_some(file))
}

const AS_CALLED: RegistersOnly =
    RegistersOnly("descriptor, length and offset are numbers in registers");

fn grow<'a>(file: OwnedFd, how: Grow<'a>) -> Plan<'a> {
    Plan::act(Act::Grow { file, how })
}

/// write(2).
pub fn write<'a>(cx: &Cx<'a>, fd: Fd, buf: InBuf, count: Size) -> Result<Plan<'a>, Errno> {
    written(cx, fd, buf, count, None)
}

/// pwrite(2).
pub fn pwrite64<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    buf: InBuf,
    count: Size,
    offset: Off,
) -> Result<Plan<'a>, Errno> {
    match u64::try_from(offset.0) {
        Ok(offset) => written(cx, fd, buf, count, Some(offset)),
        Err(_) => Err(Errno::EINVAL),
    }
}

fn written<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    buf: InBuf,
    count: Size,
    offset: Option<u64>,
) -> Result<Plan<'a>, Errno> {
    let Some(file) = limited(cx, fd.0)? else {
        return Ok(elsewhere());
    };
    let count = count.0.min(MAX_COUNT);
    Ok(grow(
        file,
        Grow::Write {
            buf: buf.0,
            count,
            offset,
            as_called: AS_CALLED,
        },
    ))
}

/// writev(2).
pub fn writev<'a>(cx: &Cx<'a>, fd: Fd, iov: Ptr, count: ULong) -> Result<Plan<'a>, Errno> {
    pieces(cx, fd, iov, count, None, 0)
}

/// pwritev(2). On 64 bits the lower half of the offset is all of it.
pub fn pwritev<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    iov: Ptr,
    count: ULong,
    offset: Off,
    _: Off,
) -> Result<Plan<'a>, Errno> {
    let offset = u64::try_from(offset.0).map_err(|_| Errno::EINVAL)?;
    pieces(cx, fd, iov, count, Some(offset), 0)
}

/// pwritev2(2), whose offset -1 means the file's position.
pub fn pwritev2<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    iov: Ptr,
    count: ULong,
    offset: Off,
    _: Off,
    flags: Int,
) -> Result<Plan<'a>, Errno> {
    let offset = match offset.0 {
        -1 => None,
        offset => Some(u64::try_from(offset).map_err(|_| Errno::EINVAL)?),
    };
    // What these flags mean for the place is known; of others it isn't.
    let known = libc::RWF_HIPRI
        | libc::RWF_DSYNC
        | libc::RWF_SYNC
        | libc::RWF_NOWAIT
        | libc::RWF_APPEND
        | libc::RWF_NOAPPEND;
    if flags.0 & !known != 0 && limited(cx, fd.0)?.is_some() {
        return Err(Errno::EOPNOTSUPP);
    }
    pieces(cx, fd, iov, count, offset, flags.0)
}

fn pieces<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    iov: Ptr,
    count: ULong,
    offset: Option<u64>,
    flags: i32,
) -> Result<Plan<'a>, Errno> {
    let Some(file) = limited(cx, fd.0)? else {
        return Ok(elsewhere());
    };
    if count.0 > MAX_PIECES {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count.0).map_err(|_| Errno::EINVAL)?;
    let bytes = cx.bytes(iov.0, count * 16)?;
    let word = |at: usize| {
        let word = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
        word.map_or(0, u64::from_ne_bytes)
    };
    let list = (0..count).map(|n| (word(n * 16), word(n * 16 + 8)));
    let pieces: &[(u64, u64)] = cx.arena.alloc_slice_fill_iter(list);
    let negative = |&(_, len): &(u64, u64)| i64::try_from(len).is_err();
    if pieces.iter().any(negative) {
        return Err(Errno::EINVAL);
    }
    Ok(grow(
        file,
        Grow::Pieces {
            pieces,
            offset,
            flags,
        },
    ))
}

/// ftruncate(2). Made on our copy of the descriptor wherever the file lies: were the kernel to make it, another
/// thread could put a file of a limited directory there meanwhile, and no length is too large for this call.
pub fn ftruncate<'a>(cx: &Cx<'a>, fd: Fd, len: Off) -> Result<Plan<'a>, Errno> {
    let length = u64::try_from(len.0).map_err(|_| Errno::EINVAL)?;
    let resize = Grow::Resize {
        length,
        as_called: AS_CALLED,
    };
    Ok(grow(cx.task.descriptor(fd.0)?, resize))
}

/// fallocate(2). As ftruncate(2).
pub fn fallocate<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    mode: Int,
    offset: Off,
    len: Off,
) -> Result<Plan<'a>, Errno> {
    let file = cx.task.descriptor(fd.0)?;
    let offset_is_one = u64::try_from(offset.0).is_ok();
    if !offset_is_one || len.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    if offset.0.checked_add(len.0).is_none() {
        return Err(Errno::EFBIG);
    }
    Ok(grow(
        file,
        Grow::Allocate {
            mode: mode.0,
            offset: offset.0,
            len: len.0,
            as_called: AS_CALLED,
        },
    ))
}

/// copy_file_range(2).
pub fn copy_file_range<'a>(
    cx: &Cx<'a>,
    from: Fd,
    from_offset: Ptr,
    to: Fd,
    to_offset: Ptr,
    len: Size,
    flags: UInt,
) -> Result<Plan<'a>, Errno> {
    let source = cx.task.descriptor(from.0)?;
    let Some(file) = limited(cx, to.0)? else {
        return Ok(elsewhere());
    };
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let offset = |at: u64| -> Result<Option<(u64, i64)>, Errno> {
        if at == 0 {
            return Ok(None);
        }
        let bytes: [u8; 8] = (&*cx.bytes(at, 8)?).try_into().map_err(|_| Errno::EFAULT)?;
        match i64::from_ne_bytes(bytes) {
            0.. => Ok(Some((at, i64::from_ne_bytes(bytes)))),
            _ => Err(Errno::EINVAL),
        }
    };
    let (from_at, to_at) = (offset(from_offset.0)?, offset(to_offset.0)?);
    Ok(grow(
        file,
        Grow::Copy {
            from: source,
            from_at,
            to_at,
            len: len.0,
        },
    ))
}

/// sendfile(2). DIFFERS: into a limited directory EINVAL, as for a file that can't: callers then read and write.
pub fn sendfile<'a>(cx: &Cx<'a>, to: Fd, _: Fd, _: Ptr, _: Size) -> Result<Plan<'a>, Errno> {
    match limited(cx, to.0)? {
        Some(_) => Err(Errno::EINVAL),
        None => Ok(elsewhere()),
    }
}

/// splice(2). DIFFERS: as sendfile(2).
pub fn splice<'a>(
    cx: &Cx<'a>,
    _: Fd,
    _: Ptr,
    to: Fd,
    _: Ptr,
    _: Size,
    _: UInt,
) -> Result<Plan<'a>, Errno> {
    match limited(cx, to.0)? {
        Some(_) => Err(Errno::EINVAL),
        None => Ok(elsewhere()),
    }
}

/// io_setup(2). DIFFERS: absent, as its writes are told in memory.
pub fn io_setup<'a>(_: &Cx<'a>, _: UInt, _: OutBuf) -> Result<Plan<'a>, Errno> {
    Err(Errno::ENOSYS)
}

/// fstatfs(2).
pub fn fstatfs<'a>(cx: &Cx<'a>, fd: Fd, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    use crate::sys::fs::KernelStruct;
    let file = cx.task.descriptor(fd.0)?;
    match cx.vfs.limited_fstatfs(file.as_fd())? {
        Some(found) => Ok(Plan::write(
            buf.0,
            cx.arena.alloc_slice_copy(found.bytes()),
            0,
        )),
        None => Ok(elsewhere()),
    }
}

//! Extended attributes, read: xattr(7).
//!
//! The descriptor forms are answered too: in a copy-on-write mount files have attributes of its format,
//! which guests must not see, and a file open for reading may have been copied since.

use super::args::{AtFlags, DirFd, Fd, OptPath, OutBuf, Ptr, Size, UserName, UserPath};
use super::attr::descriptor;
use super::path::{check_flags, object, open_object};
use super::plan::{Cx, Errno, Object, Plan};
use crate::sys;
use std::os::fd::{AsFd, BorrowedFd};

const CWD: DirFd = DirFd(libc::AT_FDCWD);

/// The largest value and list of extended attributes, xattr(7).
const XATTR_MAX: u64 = 65_536;

fn xattr_answer<'a>(
    cx: &Cx<'a>,
    object: &Object<'a>,
    out: u64,
    size: u64,
    read: impl Fn(BorrowedFd<'_>, &mut [u8]) -> sys::Result<usize>,
) -> Result<Plan<'a>, Errno> {
    let room = cx
        .arena
        .alloc_slice_fill_copy(size.min(XATTR_MAX) as usize, 0u8);
    let n = match object {
        Object::Fd(fd) => read(fd.as_fd(), room)?,
        Object::Place(place) => read(cx.vfs.handle(place)?.as_fd(), room)?,
    };
    if size == 0 {
        return Ok(Plan::value(n as i64));
    }
    Ok(Plan::write(
        out,
        room.get(..n).unwrap_or_default(),
        n as i64,
    ))
}

/// getxattr(2).
pub fn getxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
    value: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let name = name.text()?;
    let object = object(cx, CWD, OptPath(Some(path)), 0)?;
    xattr_answer(cx, &object, value.0, size.0, |fd, buf| {
        cx.vfs.get_xattr(fd, name, buf)
    })
}

/// lgetxattr(2).
pub fn lgetxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
    value: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let name = name.text()?;
    let object = object(cx, CWD, OptPath(Some(path)), libc::AT_SYMLINK_NOFOLLOW)?;
    xattr_answer(cx, &object, value.0, size.0, |fd, buf| {
        cx.vfs.get_xattr(fd, name, buf)
    })
}

/// fgetxattr(2).
pub fn fgetxattr<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    name: UserName<'a>,
    value: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let name = name.text()?;
    let object = descriptor(cx, fd)?;
    xattr_answer(cx, &object, value.0, size.0, |fd, buf| {
        cx.vfs.get_xattr(fd, name, buf)
    })
}

/// flistxattr(2).
pub fn flistxattr<'a>(cx: &Cx<'a>, fd: Fd, list: OutBuf, size: Size) -> Result<Plan<'a>, Errno> {
    let object = descriptor(cx, fd)?;
    xattr_answer(cx, &object, list.0, size.0, |fd, buf| {
        cx.vfs.list_xattrs(fd, buf)
    })
}

/// getxattrat(2) (Linux 6.13).
pub fn getxattrat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
    name: UserName<'a>,
    args: Ptr,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let args = XattrArgs::read(cx, args, size)?;
    check_flags(flags.0, libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH)?;
    if args.flags != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name.text()?;
    let object = open_object(cx, dir, path, flags)?;
    let size = u64::from(args.size);
    xattr_answer(cx, &object, args.value, size, |fd, buf| {
        cx.vfs.get_xattr(fd, name, buf)
    })
}

/// `struct xattr_args` of the *xattrat calls: a pointer, a size, flags; 16 bytes.
pub(super) struct XattrArgs {
    pub(super) value: u64,
    pub(super) size: u32,
    pub(super) flags: u32,
}

impl XattrArgs {
    pub(super) fn read(cx: &Cx<'_>, at: Ptr, size: Size) -> Result<Self, Errno> {
        match size.0 {
            0..16 => return Err(Errno::EINVAL),
            16..=4096 => {}
            _ => return Err(Errno::E2BIG),
        }
        let bytes = cx.bytes(at.0, size.0 as usize)?;
        let (head, rest) = bytes.split_at(16);
        if rest.iter().any(|&b| b != 0) {
            return Err(Errno::E2BIG);
        }
        let word = |from: usize| head.get(from..from + 4).and_then(|b| b.try_into().ok());
        let value = head
            .get(..8)
            .and_then(|b| b.try_into().ok())
            .ok_or(Errno::EFAULT)?;
        Ok(Self {
            value: u64::from_ne_bytes(value),
            size: u32::from_ne_bytes(word(8).ok_or(Errno::EFAULT)?),
            flags: u32::from_ne_bytes(word(12).ok_or(Errno::EFAULT)?),
        })
    }
}

/// listxattr(2).
pub fn listxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    list: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    listxattrat(cx, CWD, OptPath(Some(path)), AtFlags(0), list, size)
}

/// llistxattr(2).
pub fn llistxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    list: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let flags = AtFlags(libc::AT_SYMLINK_NOFOLLOW);
    listxattrat(cx, CWD, OptPath(Some(path)), flags, list, size)
}

/// listxattrat(2) (Linux 6.13).
pub fn listxattrat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
    list: OutBuf,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH)?;
    let object = open_object(cx, dir, path, flags)?;
    xattr_answer(cx, &object, list.0, size.0, |fd, buf| {
        cx.vfs.list_xattrs(fd, buf)
    })
}

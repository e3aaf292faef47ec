//! Attributes: mode, owner, times, length, extended attributes; by path and by descriptor.
//!
//! The descriptor forms are answered too: fchmod(2) and its like work on a descriptor that was
//! opened for reading, and would change a file that the view gives read-only.

use super::args::{
    AtFlags, DirFd, Fd, Gid, InBuf, Mode, Off, OptPath, Ptr, Size, Uid, UserName, UserPath,
    XattrFlags,
};
use super::name::opt;
use super::path::{
    FILE_ATTR, check_file_attr_size, check_flags, existing, object, open_file, open_object,
};
use super::plan::{Act, Cx, Errno, Object, Plan};
use super::xattr::XattrArgs;
use crate::policy::{Access, RuleId};
use crate::sys;
use crate::vfs::Follow;
use std::os::fd::{AsFd, OwnedFd};

const CWD: DirFd = DirFd(libc::AT_FDCWD);
const NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;
const AT_FLAGS: i32 = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;

/// The rule of an object. A descriptor of a file that the view doesn't show was inherited: its
/// metadata belongs to the host (EPERM). Pipes, sockets and memory files are the guest's own.
fn rule_of(cx: &Cx<'_>, object: &Object<'_>) -> Result<Option<RuleId>, Errno> {
    let fd = match object {
        Object::Place(crate::vfs::Place::Open(fd)) => fd.as_fd(),
        Object::Place(place) => return Ok(cx.vfs.rule(place)),
        Object::Fd(fd) => fd.as_fd(),
    };
    match cx.vfs.rule_of(fd) {
        None if cx.vfs.is_foreign(fd) => Err(Errno::EPERM),
        rule => Ok(rule),
    }
}

fn change<'a>(
    cx: &Cx<'a>,
    object: Object<'a>,
    act: impl FnOnce(Object<'a>) -> Act<'a>,
) -> Result<Plan<'a>, Errno> {
    let rule = rule_of(cx, &object)?;
    Ok(Plan::ask(Access::META, rule, act(object)))
}

pub(super) fn descriptor<'a>(cx: &Cx<'a>, fd: Fd) -> Result<Object<'a>, Errno> {
    let fd: OwnedFd = cx.task.descriptor(fd.0)?;
    // An O_PATH descriptor changes nothing (open(2)).
    if sys::fs::status_flags(fd.as_fd())? & libc::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    open_file(cx, fd)
}

/// chmod(2).
pub fn chmod<'a>(cx: &Cx<'a>, path: UserPath<'a>, mode: Mode) -> Result<Plan<'a>, Errno> {
    fchmodat2(cx, CWD, path, mode, AtFlags(0))
}

/// The fchmodat(2) of the kernel, which has no flags.
pub fn fchmodat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: Mode,
) -> Result<Plan<'a>, Errno> {
    fchmodat2(cx, dir, path, mode, AtFlags(0))
}

/// fchmodat2(2) (Linux 6.6).
pub fn fchmodat2<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: Mode,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, AT_FLAGS)?;
    let object = object(cx, dir, opt(path), flags.0)?;
    change(cx, object, |object| Act::Chmod {
        object,
        mode: mode.0 & 0o7777,
    })
}

/// fchmod(2).
pub fn fchmod<'a>(cx: &Cx<'a>, fd: Fd, mode: Mode) -> Result<Plan<'a>, Errno> {
    change(cx, descriptor(cx, fd)?, |object| Act::Chmod {
        object,
        mode: mode.0 & 0o7777,
    })
}

/// chown(2).
pub fn chown<'a>(cx: &Cx<'a>, path: UserPath<'a>, uid: Uid, gid: Gid) -> Result<Plan<'a>, Errno> {
    fchownat(cx, CWD, path, uid, gid, AtFlags(0))
}

/// lchown(2).
pub fn lchown<'a>(cx: &Cx<'a>, path: UserPath<'a>, uid: Uid, gid: Gid) -> Result<Plan<'a>, Errno> {
    fchownat(cx, CWD, path, uid, gid, AtFlags(NOFOLLOW))
}

/// fchownat(2).
pub fn fchownat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    uid: Uid,
    gid: Gid,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, AT_FLAGS)?;
    let object = object(cx, dir, opt(path), flags.0)?;
    change(cx, object, |object| Act::Chown {
        object,
        uid: uid.0,
        gid: gid.0,
    })
}

/// fchown(2).
pub fn fchown<'a>(cx: &Cx<'a>, fd: Fd, uid: Uid, gid: Gid) -> Result<Plan<'a>, Errno> {
    change(cx, descriptor(cx, fd)?, |object| Act::Chown {
        object,
        uid: uid.0,
        gid: gid.0,
    })
}

fn words<const N: usize>(cx: &Cx<'_>, at: InBuf) -> Result<[i64; N], Errno> {
    let bytes = cx.bytes(at.0, N * 8)?;
    let mut out = [0; N];
    for (word, bytes) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = i64::from_ne_bytes(bytes.try_into().map_err(|_| Errno::EFAULT)?);
    }
    Ok(out)
}

fn timespec(tv_sec: i64, tv_nsec: i64) -> libc::timespec {
    libc::timespec { tv_sec, tv_nsec }
}

/// utime(2): whole seconds.
pub fn utime<'a>(cx: &Cx<'a>, path: UserPath<'a>, times: InBuf) -> Result<Plan<'a>, Errno> {
    let times = match times.0 {
        0 => None,
        _ => {
            let [access, modify] = words(cx, times)?;
            Some([timespec(access, 0), timespec(modify, 0)])
        }
    };
    let object = object(cx, CWD, opt(path), 0)?;
    change(cx, object, |object| Act::SetTimes { object, times })
}

/// utimes(2): microseconds.
pub fn utimes<'a>(cx: &Cx<'a>, path: UserPath<'a>, times: InBuf) -> Result<Plan<'a>, Errno> {
    futimesat(cx, CWD, opt(path), times)
}

/// futimesat(2): utimes(2) with a directory; without a path, of the descriptor.
pub fn futimesat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    times: InBuf,
) -> Result<Plan<'a>, Errno> {
    let times = match times.0 {
        0 => None,
        _ => {
            let [access, access_us, modify, modify_us] = words(cx, times)?;
            if ![access_us, modify_us]
                .iter()
                .all(|us| (0..1_000_000).contains(us))
            {
                return Err(Errno::EINVAL);
            }
            Some([
                timespec(access, access_us * 1000),
                timespec(modify, modify_us * 1000),
            ])
        }
    };
    set_times(cx, dir, path, times, 0)
}

/// utimensat(2): nanoseconds; without a path, of the descriptor (futimens(3)).
pub fn utimensat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    times: InBuf,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    let times = match times.0 {
        0 => None,
        _ => {
            let [access, access_ns, modify, modify_ns] = words(cx, times)?;
            // "Leave both" needs no file at all, and the kernel looks at none.
            if access_ns == libc::UTIME_OMIT && modify_ns == libc::UTIME_OMIT {
                return Ok(Plan::value(0));
            }
            Some([timespec(access, access_ns), timespec(modify, modify_ns)])
        }
    };
    set_times(cx, dir, path, times, flags.0)
}

fn set_times<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    times: Option<[libc::timespec; 2]>,
    flags: i32,
) -> Result<Plan<'a>, Errno> {
    let object = match path.0 {
        None if dir.0 == libc::AT_FDCWD => {
            check_flags(flags, AT_FLAGS)?;
            return Err(Errno::EFAULT);
        }
        None => {
            check_flags(flags, 0)?;
            descriptor(cx, Fd(dir.0))?
        }
        Some(path) => {
            check_flags(flags, AT_FLAGS)?;
            object(cx, dir, opt(path), flags)?
        }
    };
    change(cx, object, |object| Act::SetTimes { object, times })
}

/// truncate(2).
pub fn truncate<'a>(cx: &Cx<'a>, path: UserPath<'a>, len: Off) -> Result<Plan<'a>, Errno> {
    if len.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let (place, stat) = existing(cx, CWD, path, Follow::Last)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    let rule = cx.vfs.rule(&place);
    Ok(Plan::ask(
        Access::WRITE,
        rule,
        Act::Truncate {
            place,
            length: len.0,
        },
    ))
}

/// The largest value of an extended attribute, xattr(7).
const XATTR_MAX: u64 = 65_536;

/// What setxattr(2) and its kin set; looked at before the file.
fn set_xattr<'a>(
    cx: &Cx<'a>,
    object: impl FnOnce() -> Result<Object<'a>, Errno>,
    name: UserName<'a>,
    value: u64,
    size: u64,
    flags: i32,
) -> Result<Plan<'a>, Errno> {
    if flags & !(libc::XATTR_CREATE | libc::XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name.text()?;
    if size > XATTR_MAX {
        return Err(Errno::E2BIG);
    }
    let value: &'a [u8] = cx.bytes(value, size as usize)?;
    change(cx, object()?, |object| Act::SetXattr {
        object,
        name,
        value,
        flags,
    })
}

/// setxattr(2).
pub fn setxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
    value: InBuf,
    size: Size,
    flags: XattrFlags,
) -> Result<Plan<'a>, Errno> {
    set_xattr(
        cx,
        || object(cx, CWD, opt(path), 0),
        name,
        value.0,
        size.0,
        flags.0,
    )
}

/// lsetxattr(2).
pub fn lsetxattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
    value: InBuf,
    size: Size,
    flags: XattrFlags,
) -> Result<Plan<'a>, Errno> {
    set_xattr(
        cx,
        || object(cx, CWD, opt(path), NOFOLLOW),
        name,
        value.0,
        size.0,
        flags.0,
    )
}

/// fsetxattr(2).
pub fn fsetxattr<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    name: UserName<'a>,
    value: InBuf,
    size: Size,
    flags: XattrFlags,
) -> Result<Plan<'a>, Errno> {
    set_xattr(cx, || descriptor(cx, fd), name, value.0, size.0, flags.0)
}

/// setxattrat(2) (Linux 6.13).
pub fn setxattrat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
    name: UserName<'a>,
    args: Ptr,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    let args = XattrArgs::read(cx, args, size)?;
    check_flags(flags.0, AT_FLAGS)?;
    let set_flags = i32::try_from(args.flags).map_err(|_| Errno::EINVAL)?;
    set_xattr(
        cx,
        || open_object(cx, dir, path, flags),
        name,
        args.value,
        args.size.into(),
        set_flags,
    )
}

fn remove_xattr<'a>(
    cx: &Cx<'a>,
    object: impl FnOnce() -> Result<Object<'a>, Errno>,
    name: UserName<'a>,
) -> Result<Plan<'a>, Errno> {
    let name = name.text()?;
    change(cx, object()?, |object| Act::RemoveXattr { object, name })
}

/// removexattr(2).
pub fn removexattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
) -> Result<Plan<'a>, Errno> {
    remove_xattr(cx, || object(cx, CWD, opt(path), 0), name)
}

/// lremovexattr(2).
pub fn lremovexattr<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    name: UserName<'a>,
) -> Result<Plan<'a>, Errno> {
    remove_xattr(cx, || object(cx, CWD, opt(path), NOFOLLOW), name)
}

/// fremovexattr(2).
pub fn fremovexattr<'a>(cx: &Cx<'a>, fd: Fd, name: UserName<'a>) -> Result<Plan<'a>, Errno> {
    remove_xattr(cx, || descriptor(cx, fd), name)
}

/// removexattrat(2) (Linux 6.13).
pub fn removexattrat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
    name: UserName<'a>,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, AT_FLAGS)?;
    remove_xattr(cx, || open_object(cx, dir, path, flags), name)
}

/// file_setattr(2) (Linux 6.17): the flags of chattr(1), by path.
pub fn file_setattr<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    attr: InBuf,
    size: Size,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, AT_FLAGS)?;
    let size = check_file_attr_size(size)?;
    let bytes = cx.bytes(attr.0, size)?;
    let (known, rest) = bytes.split_at(FILE_ATTR);
    if rest.iter().any(|&b| b != 0) {
        return Err(Errno::E2BIG);
    }
    let attr = known.try_into().map_err(|_| Errno::EINVAL)?;
    let object = open_object(cx, dir, path, flags)?;
    change(cx, object, |object| Act::SetFileAttr { object, attr })
}

//! Values read by path: attributes, access, link texts, extended attributes, watches.

use super::args::{
    AccessMode, AtFlags, DirFd, Fd, InotifyMask, Int, OptPath, OutBuf, Size, UInt, UserPath,
};
use super::plan::{Act, Cx, Errno, Object, Plan};
use crate::policy::Access;
use crate::sys;
use crate::sys::fs::KernelStruct;
use crate::vfs::{Follow, Found, Place};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

const CWD: DirFd = DirFd(libc::AT_FDCWD);

/// Whether the flags of an *at call follow a symbolic link at the end.
pub(super) fn follow(flags: i32) -> Follow {
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        Follow::Never
    } else {
        Follow::Last
    }
}

/// EINVAL for bits that the call does not know.
pub(super) fn check_flags(flags: i32, known: i32) -> Result<(), Errno> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// What an *at call with `AT_EMPTY_PATH` names.
pub(super) enum Named<'a> {
    /// What the path leads to.
    Path(UserPath<'a>),
    /// The working directory (`AT_FDCWD` with an empty path).
    Cwd,
    /// The descriptor itself.
    Fd(OwnedFd),
}

pub(super) fn named<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: i32,
) -> Result<Named<'a>, Errno> {
    let empty = path.0.is_none_or(UserPath::is_empty);
    match path.0 {
        _ if empty && flags & libc::AT_EMPTY_PATH != 0 => {
            if dir.0 == libc::AT_FDCWD {
                return Ok(Named::Cwd);
            }
            Ok(Named::Fd(cx.task.descriptor(dir.0)?))
        }
        Some(path) => Ok(Named::Path(path)),
        None => Err(Errno::EFAULT),
    }
}

/// Walks to what a path names. ENOENT if nothing is there.
pub(super) fn existing<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    follow: Follow,
) -> Result<(Place<'a>, libc::stat), Errno> {
    let path = path.text()?;
    let start = cx.start(dir.0, path)?;
    match cx.vfs.find(cx.caller(), &start, path, follow, cx.arena)? {
        Found {
            place,
            stat: Some(stat),
        } => Ok((place, stat)),
        Found { stat: None, .. } => Err(Errno::ENOENT),
    }
}

/// What a metadata call acts on.
pub(super) fn object<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: i32,
) -> Result<Object<'a>, Errno> {
    of_named(cx, dir, named(cx, dir, path, flags)?, flags)
}

fn of_named<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    named: Named<'a>,
    flags: i32,
) -> Result<Object<'a>, Errno> {
    match named {
        // Calls that take a descriptor refuse this one, but not where it stands for a path.
        Named::Fd(fd) if sys::fs::status_flags(fd.as_fd())? & libc::O_PATH != 0 => {
            Ok(Object::Place(held(cx, fd)?))
        }
        Named::Fd(fd) => open_file(cx, fd),
        Named::Cwd => Ok(Object::Place(Place::Dir(
            cx.base(dir.0)?,
            crate::vfs::Last::Dot,
        ))),
        Named::Path(path) => Ok(Object::Place(existing(cx, dir, path, follow(flags))?.0)),
    }
}

/// The place of an open file: a name, where a copy is to be changed or looked at instead of it.
pub(super) fn held<'a>(cx: &Cx<'a>, fd: OwnedFd) -> Result<Place<'a>, Errno> {
    match cx.vfs.place_held(fd.as_fd(), cx.arena)? {
        Some(place) => Ok(place),
        None => Ok(Place::Open(Arc::new(fd))),
    }
}

/// The same for calls that take a descriptor.
pub(super) fn open_file<'a>(cx: &Cx<'a>, fd: OwnedFd) -> Result<Object<'a>, Errno> {
    match cx.vfs.place_held(fd.as_fd(), cx.arena)? {
        Some(place) => Ok(Object::Place(place)),
        None => Ok(Object::Fd(fd)),
    }
}

fn answer<'a, T: KernelStruct>(cx: &Cx<'a>, buf: OutBuf, value: &T) -> Plan<'a> {
    Plan::write(buf.0, cx.arena.alloc_slice_copy(value.bytes()), 0)
}

/// Answers with attributes, under the identity that guests see.
fn tell<'a>(cx: &Cx<'a>, buf: OutBuf, mut stat: libc::stat) -> Plan<'a> {
    let (inode, links) = cx.vfs.as_shown((stat.st_dev, stat.st_ino), stat.st_nlink);
    (stat.st_dev, stat.st_ino) = inode;
    stat.st_nlink = links;
    answer(cx, buf, &stat)
}

/// stat(2).
pub fn stat<'a>(cx: &Cx<'a>, path: UserPath<'a>, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    Ok(tell(cx, buf, existing(cx, CWD, path, Follow::Last)?.1))
}

/// fstat(2). Only where files may have another identity than on the host; else the kernel answers.
pub fn fstat<'a>(cx: &Cx<'a>, fd: Fd, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    let fd = cx.task.descriptor(fd.0)?;
    Ok(tell(cx, buf, sys::fs::fstat(fd.as_fd())?))
}

/// lstat(2).
pub fn lstat<'a>(cx: &Cx<'a>, path: UserPath<'a>, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    Ok(tell(cx, buf, existing(cx, CWD, path, Follow::Never)?.1))
}

/// newfstatat(2), which is what fstatat(3) and, up to glibc 2.38, fstat(3) call.
pub fn newfstatat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    buf: OutBuf,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    let known = libc::AT_SYMLINK_NOFOLLOW
        | libc::AT_NO_AUTOMOUNT
        | libc::AT_EMPTY_PATH
        | libc::AT_STATX_SYNC_TYPE;
    check_flags(flags.0, known)?;
    let stat = match named(cx, dir, path, flags.0)? {
        Named::Fd(fd) => sys::fs::fstat(fd.as_fd())?,
        Named::Cwd => sys::fs::fstat(cx.vfs.stand_in(&*cx.base(dir.0)?)?)?,
        Named::Path(path) => existing(cx, dir, path, follow(flags.0))?.1,
    };
    Ok(tell(cx, buf, stat))
}

/// statx(2).
pub fn statx<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
    mask: UInt,
    buf: OutBuf,
) -> Result<Plan<'a>, Errno> {
    let known = libc::AT_SYMLINK_NOFOLLOW
        | libc::AT_NO_AUTOMOUNT
        | libc::AT_EMPTY_PATH
        | libc::AT_STATX_SYNC_TYPE;
    check_flags(flags.0, known)?;
    // STATX__RESERVED, and both sync flags at once, are refused.
    if mask.0 & 0x8000_0000 != 0 || flags.0 & libc::AT_STATX_SYNC_TYPE == libc::AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let sync = flags.0 & libc::AT_STATX_SYNC_TYPE;
    let of_fd = |fd: BorrowedFd<'_>| sys::fs::statx(fd, c"", libc::AT_EMPTY_PATH | sync, mask.0);
    let mut stat = match named(cx, dir, path, flags.0)? {
        Named::Fd(fd) => of_fd(fd.as_fd())?,
        Named::Cwd => of_fd(cx.vfs.stand_in(&*cx.base(dir.0)?)?)?,
        Named::Path(path) => {
            let follow = follow(flags.0);
            let path = path.text()?;
            let start = cx.start(dir.0, path)?;
            let slash = path.to_bytes().last() == Some(&b'/');
            match cx.vfs.locate(cx.caller(), &start, path, cx.arena)? {
                // The common case in one call: a name, no link at its end.
                Place::Name { dir, name, .. } if !slash && dir.host().is_some() => {
                    let fd = dir.host().ok_or(Errno::ENOENT)?;
                    let flags = libc::AT_SYMLINK_NOFOLLOW | sync;
                    match sys::fs::statx(fd, name, flags, mask.0 | libc::STATX_TYPE) {
                        Ok(stat) if follow == Follow::Never || !is_link(&stat) => stat,
                        Ok(_) | Err(Errno::ENOENT) => {
                            through_handle(cx, &start, path, follow, of_fd)?
                        }
                        Err(e) => return Err(e),
                    }
                }
                _ => through_handle(cx, &start, path, follow, of_fd)?,
            }
        }
    };
    let device = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let inode = (device, stat.stx_ino);
    let ((device, ino), links) = cx.vfs.as_shown(inode, stat.stx_nlink.into());
    stat.stx_ino = ino;
    (stat.stx_dev_major, stat.stx_dev_minor) = (libc::major(device), libc::minor(device));
    stat.stx_nlink = u32::try_from(links).unwrap_or(u32::MAX);
    Ok(answer(cx, buf, &stat))
}

fn is_link(stat: &libc::statx) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFLNK
}

fn through_handle<'a>(
    cx: &Cx<'a>,
    start: &Arc<crate::vfs::Dir>,
    path: &'a CStr,
    follow: Follow,
    look: impl Fn(BorrowedFd<'_>) -> sys::Result<libc::statx>,
) -> Result<libc::statx, Errno> {
    let found = cx.vfs.find(cx.caller(), start, path, follow, cx.arena)?;
    let stat = found.stat.ok_or(Errno::ENOENT)?;
    if matches!(found.place, Place::Link { .. }) || cx.vfs.is_made(&found.place) {
        return Ok(sys::fs::statx_from(&stat));
    }
    look(cx.vfs.handle(&found.place)?.as_fd())
}

/// access(2).
pub fn access<'a>(cx: &Cx<'a>, path: UserPath<'a>, mode: AccessMode) -> Result<Plan<'a>, Errno> {
    faccessat2(cx, CWD, path, mode, AtFlags(0))
}

/// The faccessat(2) of the kernel, which has no flags.
pub fn faccessat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: AccessMode,
) -> Result<Plan<'a>, Errno> {
    faccessat2(cx, dir, path, mode, AtFlags(0))
}

fn is_directory(cx: &Cx<'_>, place: &Place<'_>) -> Result<bool, Errno> {
    let stat = cx.vfs.stat(place)?;
    Ok(stat.is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR))
}

/// faccessat2(2).
pub fn faccessat2<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: AccessMode,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    if mode.0 & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
        return Err(Errno::EINVAL);
    }
    check_flags(
        flags.0,
        libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH,
    )?;
    let place = match named(cx, dir, OptPath(Some(path)), flags.0)? {
        Named::Path(path) => existing(cx, dir, path, follow(flags.0))?.0,
        Named::Cwd => Place::Dir(cx.base(dir.0)?, crate::vfs::Last::Dot),
        Named::Fd(fd) => held(cx, fd)?,
    };
    let own = matches!(
        place,
        Place::Synth(_) | Place::Magic(_) | Place::Link { .. }
    );
    let asks = |bit: i32| mode.0 & bit != 0 && !own;
    let mut wanted = match asks(libc::W_OK) {
        true => Access::WRITE,
        false => Access::LOOK,
    };
    // Of a directory they mean listing and searching, which is looking. Only a policy tells these apart.
    let of_directory =
        (asks(libc::R_OK) || asks(libc::X_OK)) && cx.vfs.is_ruled() && is_directory(cx, &place)?;
    if asks(libc::R_OK) {
        let read = if of_directory {
            Access::LIST
        } else {
            Access::READ
        };
        wanted = wanted.and(read);
    }
    if asks(libc::X_OK) && cx.vfs.is_ruled() && !of_directory {
        wanted = wanted.and(Access::EXEC);
    }
    let rule = cx.vfs.rule(&place);
    let flags = flags.0 & libc::AT_EACCESS;
    Ok(Plan::ask(
        wanted,
        rule,
        Act::Access {
            place,
            mode: mode.0,
            flags,
        },
    ))
}

/// readlink(2).
pub fn readlink<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    buf: OutBuf,
    size: Int,
) -> Result<Plan<'a>, Errno> {
    readlinkat(cx, CWD, path, buf, size)
}

/// readlinkat(2). The text is cut to the buffer without a NUL, as by the kernel.
pub fn readlinkat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    buf: OutBuf,
    size: Int,
) -> Result<Plan<'a>, Errno> {
    let size = usize::try_from(size.0)
        .ok()
        .filter(|&s| s > 0)
        .ok_or(Errno::EINVAL)?;
    if path.is_empty() && dir.0 != libc::AT_FDCWD {
        return read_held_link(cx, dir, buf, size);
    }
    let text = path.text()?;
    let start = cx.start(dir.0, text)?;
    let place = if text.to_bytes().last() == Some(&b'/') {
        existing(cx, dir, path, Follow::Never)?.0
    } else {
        cx.vfs.locate(cx.caller(), &start, text, cx.arena)?
    };
    let text: &[u8] = match &place {
        Place::Name { dir, name, .. } => {
            let room = cx.arena.alloc_slice_fill_copy(libc::PATH_MAX as usize, 0u8);
            dir.read_link(name, room)?
        }
        other => cx
            .arena
            .alloc_slice_copy(&cx.vfs.link_text(other, cx.caller())?),
    };
    let text = text.get(..text.len().min(size)).unwrap_or_default();
    Ok(Plan::write(buf.0, text, text.len() as i64))
}

/// readlinkat(2) with an empty path: of the link that the descriptor is (`O_PATH | O_NOFOLLOW`).
fn read_held_link<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    buf: OutBuf,
    size: usize,
) -> Result<Plan<'a>, Errno> {
    let fd = cx.task.descriptor(dir.0)?;
    if sys::fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFLNK {
        return Err(Errno::ENOENT);
    }
    let room = cx.arena.alloc_slice_fill_copy(libc::PATH_MAX as usize, 0u8);
    let text = sys::fs::readlinkat(fd.as_fd(), c"", room)?;
    let text = text.get(..text.len().min(size)).unwrap_or_default();
    Ok(Plan::write(buf.0, text, text.len() as i64))
}

/// statfs(2).
pub fn statfs<'a>(cx: &Cx<'a>, path: UserPath<'a>, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    let (place, _) = existing(cx, CWD, path, Follow::Last)?;
    let mut found = match &place {
        Place::Name { dir, .. } | Place::Dir(dir, _) if dir.cow().is_some() => {
            dir.cow().ok_or(Errno::ENOENT)?.statfs()?
        }
        place => sys::fs::fstatfs(cx.vfs.handle(place)?.as_fd())?,
    };
    cx.vfs.limited_statfs(&place, &mut found);
    Ok(answer(cx, buf, &found))
}

/// `struct file_attr` of Linux 6.17.
pub(super) const FILE_ATTR: usize = sys::fs::FILE_ATTR;

/// EINVAL or E2BIG for a size of `struct file_attr` that no kernel has.
pub(super) fn check_file_attr_size(size: Size) -> Result<usize, Errno> {
    match usize::try_from(size.0) {
        Ok(0..FILE_ATTR) => Err(Errno::EINVAL),
        Ok(size @ FILE_ATTR..=4096) => Ok(size),
        _ => Err(Errno::E2BIG),
    }
}

/// What the *xattrat calls, file_getattr(2) and file_setattr(2) act on. EBADF for an `O_PATH`
/// descriptor: unlike fchmodat2(2) and its kin they want a file that is open.
pub(super) fn open_object<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    flags: AtFlags,
) -> Result<Object<'a>, Errno> {
    match named(cx, dir, path, flags.0)? {
        Named::Fd(fd) if sys::fs::status_flags(fd.as_fd())? & libc::O_PATH != 0 => {
            Err(Errno::EBADF)
        }
        other => of_named(cx, dir, other, flags.0),
    }
}

/// file_getattr(2) (Linux 6.17): the flags of chattr(1), by path. An older kernel says ENOSYS itself.
pub fn file_getattr<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: OptPath<'a>,
    attr: OutBuf,
    size: Size,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH)?;
    let size = check_file_attr_size(size)?;
    let found = match open_object(cx, dir, path, flags)? {
        Object::Fd(fd) => sys::fs::file_getattr(&cx.vfs.fd_path(fd.as_fd())?)?,
        Object::Place(place) => {
            let handle = cx.vfs.handle(&place)?;
            sys::fs::file_getattr(&cx.vfs.fd_path(handle.as_fd())?)?
        }
    };
    // A longer structure of a later kernel: what we don't know is zero.
    let answer = cx.arena.alloc_slice_fill_copy(size, 0u8);
    answer
        .get_mut(..FILE_ATTR)
        .ok_or(Errno::EINVAL)?
        .copy_from_slice(&found);
    Ok(Plan::write(attr.0, answer, 0))
}

/// inotify_add_watch(2).
pub fn inotify_add_watch<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    path: UserPath<'a>,
    mask: InotifyMask,
) -> Result<Plan<'a>, Errno> {
    let inotify = cx.task.descriptor(fd.0)?;
    let nofollow = mask.0 & libc::IN_DONT_FOLLOW != 0;
    let follow = if nofollow {
        Follow::Never
    } else {
        Follow::Last
    };
    let (place, stat) = existing(cx, CWD, path, follow)?;
    // A watch on the host's directory would tell names that the view hides or covers.
    if cx.vfs.is_mixed(cx.vfs.handle(&place)?.as_fd())? {
        return Err(Errno::EACCES);
    }
    // The watch goes through /proc/self/fd/N, which is a link: it must be followed.
    let mask = mask.0 & !libc::IN_DONT_FOLLOW;
    Ok(Plan::ask(
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Access::LIST,
            _ => Access::READ,
        },
        cx.vfs.rule(&place),
        Act::Watch {
            inotify,
            place,
            mask,
        },
    ))
}

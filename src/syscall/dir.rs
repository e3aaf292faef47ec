//! Working directory, umask, listings.

use super::args::{CloneFlags, Fd, Mode, OutBuf, Size, UInt, UserPath};
use super::path::existing;
use super::plan::{Act, Cx, Errno, Plan, RegistersOnly};
use crate::sys;
use crate::vfs::{Dir, Follow, Place};
use std::os::fd::AsFd;
use std::sync::Arc;

/// getcwd(2): the path in the view, with its NUL; the length with it.
pub fn getcwd<'a>(cx: &Cx<'a>, buf: OutBuf, size: Size) -> Result<Plan<'a>, Errno> {
    let cwd = cx.base(libc::AT_FDCWD)?;
    if cwd.is_removed() {
        return Err(Errno::ENOENT);
    }
    // The kernel makes no path longer than PATH_MAX; libc then finds it by climbing.
    let path = cwd.path().ok_or(Errno::ENAMETOOLONG)?;
    let bytes = path.as_bytes();
    if bytes.len() >= libc::PATH_MAX as usize {
        return Err(Errno::ENAMETOOLONG);
    }
    if bytes.len() as u64 + 1 > size.0 {
        return Err(Errno::ERANGE);
    }
    let text = cx.arena.alloc_slice_fill_copy(bytes.len() + 1, 0u8);
    text.get_mut(..bytes.len())
        .ok_or(Errno::ERANGE)?
        .copy_from_slice(bytes);
    Ok(Plan::write(buf.0, text, text.len() as i64))
}

/// chdir(2): the kernel's own working directory of a guest never changes.
pub fn chdir<'a>(cx: &Cx<'a>, path: UserPath<'a>) -> Result<Plan<'a>, Errno> {
    let cwd = super::args::DirFd(libc::AT_FDCWD);
    let (place, _) = existing(cx, cwd, path, Follow::Last)?;
    match place {
        Place::Dir(dir, _) => enter(dir),
        Place::Name { .. } => {
            // The name is no link; walk into it as a directory to hold it.
            let path = path.text()?;
            let start = cx.start(libc::AT_FDCWD, path)?;
            enter(cx.vfs.directory(cx.caller(), &start, path)?)
        }
        _ => Err(Errno::ENOTDIR),
    }
}

/// fchdir(2).
pub fn fchdir<'a>(cx: &Cx<'a>, fd: Fd) -> Result<Plan<'a>, Errno> {
    enter(cx.vfs.dir_of(cx.task.descriptor(fd.0)?)?)
}

fn enter<'a>(dir: Arc<Dir>) -> Result<Plan<'a>, Errno> {
    if let Some(fd) = dir.real() {
        // Search permission on the directory itself (chdir(2), EACCES); none is needed on a
        // removed one, in which `.` can't be looked up.
        match sys::fs::faccessat2(fd, c".", libc::X_OK, libc::AT_EACCESS) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Plan::act(Act::ChangeDir(dir)))
}

/// umask(2).
pub fn umask<'a>(_: &Cx<'a>, mask: Mode) -> Result<Plan<'a>, Errno> {
    Ok(Plan::act(Act::Umask(mask.0)))
}

/// unshare(2) with `CLONE_FS`; the filter has refused everything but FS, FILES and SYSVSEM.
pub fn unshare<'a>(_: &Cx<'a>, _: CloneFlags) -> Result<Plan<'a>, Errno> {
    Ok(Plan::act(Act::UnshareFs(RegistersOnly(
        "unshare takes one word of flags, checked by the filter",
    ))))
}

/// getdents(2).
pub fn getdents<'a>(cx: &Cx<'a>, fd: Fd, buf: OutBuf, count: UInt) -> Result<Plan<'a>, Errno> {
    read_dir(cx, fd, buf, count, true)
}

/// getdents64(2).
pub fn getdents64<'a>(cx: &Cx<'a>, fd: Fd, buf: OutBuf, count: UInt) -> Result<Plan<'a>, Errno> {
    read_dir(cx, fd, buf, count, false)
}

/// Most programs ask for 32 KiB; more at once would only cost memory here.
const MAX_ROOM: usize = 128 * 1024;

fn read_dir<'a>(
    cx: &Cx<'a>,
    fd: Fd,
    buf: OutBuf,
    count: UInt,
    old: bool,
) -> Result<Plan<'a>, Errno> {
    let dir = cx.task.descriptor(fd.0)?;
    let room = (count.0 as usize).min(MAX_ROOM);
    let at = sys::fs::lseek(dir.as_fd(), 0, libc::SEEK_CUR);
    let listing = match cx.vfs.listing_of(dir.as_fd(), at.unwrap_or(0), cx.caller()) {
        Err(Errno::ENOTDIR) if sys::fs::status_flags(dir.as_fd())? & libc::O_PATH != 0 => {
            return Err(Errno::EBADF);
        }
        other => other?,
    };
    Ok(Plan::act(match listing {
        Some(listing) => Act::List {
            dir,
            listing,
            at: at?,
            buf: buf.0,
            room,
            old,
        },
        None => Act::ReadDir {
            dir,
            buf: buf.0,
            room,
            old,
        },
    }))
}

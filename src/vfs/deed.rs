//! What is done at a name of a directory: by one call of the kernel's on a host directory, by the
//! engine in a copy-on-write tree.
//!
//! Names may end in a slash, which says that a directory is meant (path_resolution(7)). The kernel
//! knows that; for the engine, which takes bare names, it is seen to here.

use super::cow::CowDir;
use super::dir::{Dir, DirKind, Inode};
use crate::sys::{self, Errno};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// File status flags that F_SETFL can set, fcntl(2).
const STATUS_FLAGS: i32 = libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME;

/// A name without the slash behind it, and whether there was one.
pub(super) fn bare(name: &CStr) -> (Cow<'_, CStr>, bool) {
    let bytes = name.to_bytes();
    match bytes.strip_suffix(b"/").map(CString::new) {
        Some(Ok(bare)) if !bare.is_empty() => (Cow::Owned(bare), true),
        _ => (Cow::Borrowed(name), false),
    }
}

fn is_dir(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// The bare name of something that exists. ENOTDIR for `name/` where that is no directory.
fn existing<'n>(dir: &CowDir, name: &'n CStr) -> sys::Result<Cow<'n, CStr>> {
    let (bare, slash) = bare(name);
    if slash && !is_dir(&dir.stat(&bare)?) {
        return Err(Errno::ENOTDIR);
    }
    Ok(bare)
}

/// The bare name of something to be made that is no directory. ENOENT for `name/`.
fn free<'n>(dir: &CowDir, name: &'n CStr) -> sys::Result<Cow<'n, CStr>> {
    let (bare, slash) = bare(name);
    match slash {
        true => dir.stat(&bare).and(Err(Errno::EEXIST)),
        false => Ok(bare),
    }
}

impl Dir {
    /// The bare name of something that exists. ENOTDIR for `name/` where that is no directory.
    pub(crate) fn existing<'n>(&self, name: &'n CStr) -> sys::Result<Cow<'n, CStr>> {
        match bare(name) {
            (bare, true) if !is_dir(&self.stat_name(&bare)?) => Err(Errno::ENOTDIR),
            (bare, _) => Ok(bare),
        }
    }

    /// An `O_PATH` descriptor of `name`, links not followed, to look at it.
    pub(crate) fn handle(&self, name: &CStr) -> sys::Result<OwnedFd> {
        match &self.kind {
            DirKind::Host { fd, .. } => {
                let flags = libc::O_PATH | libc::O_NOFOLLOW;
                sys::fs::openat(fd.as_fd(), name, flags, 0)
            }
            DirKind::Cow(dir) => dir.handle(&existing(dir, name)?),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// [`Dir::open`] of what was looked at just now; `seen` is the file or directory that was there.
    pub(crate) fn open_seen(
        &self,
        name: &CStr,
        flags: i32,
        mode: u32,
        seen: Option<Inode>,
    ) -> sys::Result<OwnedFd> {
        if let (DirKind::Cow(dir), Some(seen), (bare, false)) = (&self.kind, seen, bare(name))
            && let Some(fd) = dir.open_seen(&bare, flags, seen)?
        {
            return Ok(fd);
        }
        self.open(name, flags, mode)
    }

    /// open(2) of `name`, which is no link (ELOOP), without waiting for the other end of a FIFO.
    pub(crate) fn open(&self, name: &CStr, flags: i32, mode: u32) -> sys::Result<OwnedFd> {
        match &self.kind {
            DirKind::Host { fd, .. } if flags & libc::O_PATH != 0 => {
                sys::fs::open_no_link(fd.as_fd(), name, flags, 0)
            }
            DirKind::Host { fd, .. } => {
                let guard = libc::O_NONBLOCK | libc::O_NOCTTY;
                let opened = sys::fs::open_no_link(fd.as_fd(), name, flags | guard, mode)?;
                if flags & libc::O_NONBLOCK == 0 {
                    sys::fs::set_status_flags(opened.as_fd(), flags & STATUS_FLAGS)?;
                }
                Ok(opened)
            }
            DirKind::Cow(dir) => match bare(name) {
                (bare, true) => dir.open(&bare, flags | libc::O_DIRECTORY, mode),
                (bare, false) => dir.open(&bare, flags, mode),
            },
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// A descriptor (`O_PATH`) of the FIFO `name`, on which one may wait for its other end with `flags`.
    pub(crate) fn fifo(&self, name: &CStr, flags: i32) -> sys::Result<OwnedFd> {
        let DirKind::Cow(dir) = &self.kind else {
            return self.handle(name);
        };
        // The copy will be ours: what the original allows is asked first.
        let want = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => libc::R_OK,
            libc::O_WRONLY => libc::W_OK,
            _ => libc::R_OK | libc::W_OK,
        };
        let name = existing(dir, name)?;
        dir.access(&name, want, libc::AT_EACCESS)?;
        dir.copy_up(&name)
    }

    /// mkdir(2).
    pub(crate) fn make_dir(&self, name: &CStr, mode: u32) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::mkdirat(fd.as_fd(), name, mode),
            DirKind::Cow(dir) => dir.mkdir(&bare(name).0, mode),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// mknod(2).
    pub(crate) fn make_node(&self, name: &CStr, mode: u32, dev: u64) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::mknodat(fd.as_fd(), name, mode, dev),
            DirKind::Cow(dir) => dir.mknod(&free(dir, name)?, mode),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// symlink(2).
    pub(crate) fn make_link(&self, name: &CStr, text: &CStr) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::symlinkat(text, fd.as_fd(), name),
            DirKind::Cow(dir) => dir.symlink(text, &free(dir, name)?),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// Makes `name` by one call `make` on a directory and a name in it.
    pub(crate) fn make_with(
        &self,
        name: &CStr,
        mut make: impl FnMut(BorrowedFd<'_>, &CStr) -> sys::Result<()>,
    ) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => make(fd.as_fd(), name),
            DirKind::Cow(dir) => dir.make_with(&free(dir, name)?, make),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// link(2): a further name `new` in `to`. EXDEV unless both are of one mount.
    pub(crate) fn link(&self, name: &CStr, to: &Self, new: &CStr) -> sys::Result<()> {
        match (&self.kind, &to.kind) {
            (DirKind::Host { fd: from, .. }, DirKind::Host { fd: to, .. }) => {
                sys::fs::linkat(from.as_fd(), name, to.as_fd(), new, 0)
            }
            (DirKind::Cow(from), DirKind::Cow(to)) => {
                from.link(&existing(from, name)?, to, &free(to, new)?)
            }
            _ => Err(Errno::EXDEV),
        }
    }

    /// link(2) of an open file of this mount, which is no lower's, to `name`.
    pub(crate) fn link_open(&self, file: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => {
                let path = super::cow::fd_path(file)?;
                let flags = libc::AT_SYMLINK_FOLLOW;
                sys::fs::linkat(fd.as_fd(), &path, fd.as_fd(), name, flags)
            }
            DirKind::Cow(dir) => dir.link_own(file, &free(dir, name)?),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// renameat2(2). EXDEV unless both are of one mount.
    pub(crate) fn rename(&self, old: &CStr, to: &Self, new: &CStr, flags: u32) -> sys::Result<()> {
        match (&self.kind, &to.kind) {
            (DirKind::Host { fd: from, .. }, DirKind::Host { fd: to, .. }) => {
                sys::fs::renameat2(from.as_fd(), old, to.as_fd(), new, flags)
            }
            (DirKind::Cow(from), DirKind::Cow(to)) => rename_in(from, old, to, new, flags),
            _ => Err(Errno::EXDEV),
        }
    }

    /// unlinkat(2).
    pub(crate) fn remove(&self, name: &CStr, flags: i32) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::unlinkat(fd.as_fd(), name, flags),
            DirKind::Cow(dir) if flags & libc::AT_REMOVEDIR != 0 => dir.rmdir(&bare(name).0),
            DirKind::Cow(dir) => match existing(dir, name)? {
                // The kernel says this before it asks for any right.
                _ if bare(name).1 => Err(Errno::EISDIR),
                bare => dir.unlink(&bare),
            },
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// utimensat(2), links not followed.
    pub(crate) fn set_times(
        &self,
        name: &CStr,
        times: Option<&[libc::timespec; 2]>,
    ) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => {
                let flags = libc::AT_SYMLINK_NOFOLLOW;
                sys::fs::utimensat(fd.as_fd(), Some(name), times, flags)
            }
            DirKind::Cow(dir) => dir.set_times(&existing(dir, name)?, times),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// faccessat2(2), links not followed.
    pub(crate) fn access(&self, name: &CStr, mode: i32, flags: i32) -> sys::Result<()> {
        match &self.kind {
            DirKind::Host { fd, .. } => {
                let flags = flags | libc::AT_SYMLINK_NOFOLLOW;
                sys::fs::faccessat2(fd.as_fd(), name, mode, flags)
            }
            DirKind::Cow(dir) => dir.access(&existing(dir, name)?, mode, flags),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }
}

/// renameat2(2) in copy-on-write trees, with slashes: both say that the source is a directory.
fn rename_in(
    from: &Arc<CowDir>,
    old: &CStr,
    to: &Arc<CowDir>,
    new: &CStr,
    flags: u32,
) -> sys::Result<()> {
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    let ((old, old_slash), (new, new_slash)) = (bare(old), bare(new));
    if (old_slash || new_slash && !exchange) && !is_dir(&from.stat(&old)?)
        || new_slash && exchange && !is_dir(&to.stat(&new)?)
    {
        return Err(Errno::ENOTDIR);
    }
    from.rename(&old, to, &new, flags)
}

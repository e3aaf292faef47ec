//! The two sides that do the operations: plain system calls on a mounted file system, and the engine.

use crate::ops::{SLOTS, Side};
use crate::tree;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use sbox::sys::{self, Errno, Result};
use sbox::vfs::cow::{Cow, CowDir};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Plain system calls on a mounted file system.
pub(crate) struct Kernel {
    pub(crate) root: Arc<OwnedFd>,
    pub(crate) slots: Vec<Option<Arc<OwnedFd>>>,
}

impl Kernel {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self {
            root: Arc::new(root),
            slots: vec![None; SLOTS as usize],
        }
    }
}

fn by_path<T>(
    dir: &OwnedFd,
    name: &CStr,
    act: impl FnOnce(&OwnedFd, &CStr) -> Result<T>,
) -> Result<T> {
    let file = sys::fs::openat(dir.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    act(&file, &path)
}

impl Side for Kernel {
    type Dir = Arc<OwnedFd>;

    fn root(&self) -> Self::Dir {
        Arc::clone(&self.root)
    }
    fn slots(&mut self) -> &mut Vec<Option<Self::Dir>> {
        &mut self.slots
    }
    fn step(&self, dir: &Self::Dir, name: &CStr) -> Result<Self::Dir> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(dir.as_fd(), name, how).map(Arc::new)
    }
    fn open(&self, dir: &Self::Dir, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
        sys::fs::openat(dir.as_fd(), name, flags, mode)
    }
    fn link_fd(&self, file: BorrowedFd<'_>, dir: &Self::Dir, name: &CStr) -> Result<()> {
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        sys::fs::linkat(
            dir.as_fd(),
            &path,
            dir.as_fd(),
            name,
            libc::AT_SYMLINK_FOLLOW,
        )
    }
    fn mkdir(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        sys::fs::mkdirat(dir.as_fd(), name, mode)
    }
    fn mknod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        sys::fs::mknodat(dir.as_fd(), name, mode, 0)
    }
    fn symlink(&self, text: &CStr, dir: &Self::Dir, name: &CStr) -> Result<()> {
        sys::fs::symlinkat(text, dir.as_fd(), name)
    }
    fn link(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr) -> Result<()> {
        sys::fs::linkat(a.as_fd(), old, b.as_fd(), new, 0)
    }
    fn unlink(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        sys::fs::unlinkat(dir.as_fd(), name, 0)
    }
    fn rmdir(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        sys::fs::unlinkat(dir.as_fd(), name, libc::AT_REMOVEDIR)
    }
    fn rename(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr, f: u32) -> Result<()> {
        sys::fs::renameat2(a.as_fd(), old, b.as_fd(), new, f)
    }
    fn chmod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        by_path(dir, name, |file, path| {
            if sys::fs::fstat(file.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK {
                return Err(Errno::EOPNOTSUPP);
            }
            sys::fs::fchmodat(file.as_fd(), path, mode)
        })
    }
    fn chown(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        sys::fs::fchownat(dir.as_fd(), name, u32::MAX, u32::MAX, flags)
    }
    fn times(&self, dir: &Self::Dir, name: &CStr, t: Option<&[libc::timespec; 2]>) -> Result<()> {
        sys::fs::utimensat(dir.as_fd(), Some(name), t, libc::AT_SYMLINK_NOFOLLOW)
    }
    fn truncate(&self, dir: &Self::Dir, name: &CStr, len: i64) -> Result<()> {
        if len < 0 {
            return Err(Errno::EINVAL);
        }
        by_path(dir, name, |_, path| nix::unistd::truncate(path, len))
    }
    fn set_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr, flags: i32) -> Result<()> {
        by_path(dir, name, |_, path| {
            sys::fs::setxattr(path, attr, b"value", flags)
        })
    }
    fn get_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<Vec<u8>> {
        by_path(dir, name, |_, path| {
            let mut buf = vec![0; 100];
            let n = sys::fs::getxattr(path, attr, &mut buf)?;
            Ok(buf[..n].to_vec())
        })
    }
    fn list_xattrs(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>> {
        by_path(dir, name, |_, path| {
            let mut buf = vec![0; 1000];
            let n = sys::fs::listxattr(path, &mut buf)?;
            Ok(buf[..n].to_vec())
        })
    }
    fn remove_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<()> {
        by_path(dir, name, |_, path| sys::fs::removexattr(path, attr))
    }
    fn readlink(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>> {
        sys::fs::readlinkat(dir.as_fd(), name, &mut [0; 100]).map(<[u8]>::to_vec)
    }
    fn stat(&self, dir: &Self::Dir, name: &CStr) -> Result<libc::stat> {
        sys::fs::fstatat(dir.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW)
    }
    fn access(&self, dir: &Self::Dir, name: &CStr, mode: i32) -> Result<()> {
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EACCESS;
        sys::fs::faccessat2(dir.as_fd(), name, mode, flags)
    }
    fn list(&self, dir: &Self::Dir) -> Result<Vec<(CString, u8)>> {
        let own = sys::fs::openat(dir.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        sys::fs::getdents64(own.as_fd(), &mut [0; 8192])?;
        Ok(tree::kernel_names(&own))
    }
}

/// The engine.
pub(crate) struct Engine {
    pub(crate) cow: Cow,
    slots: Vec<Option<Arc<CowDir>>>,
}

impl Engine {
    pub(crate) fn new(cow: Cow) -> Self {
        Self {
            cow,
            slots: vec![None; SLOTS as usize],
        }
    }
}

impl Side for Engine {
    type Dir = Arc<CowDir>;

    fn root(&self) -> Self::Dir {
        Arc::clone(self.cow.root())
    }
    fn slots(&mut self) -> &mut Vec<Option<Self::Dir>> {
        &mut self.slots
    }
    fn step(&self, dir: &Self::Dir, name: &CStr) -> Result<Self::Dir> {
        match dir.open_dir(name) {
            // What the walk of `Kernel` says to a link.
            Err(Errno::ENOTDIR) if dir.stat(name)?.st_mode & libc::S_IFMT == libc::S_IFLNK => {
                Err(Errno::ENOTDIR)
            }
            other => other,
        }
    }
    fn open(&self, dir: &Self::Dir, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
        dir.open(name, flags, mode)
    }
    fn link_fd(&self, file: BorrowedFd<'_>, dir: &Self::Dir, name: &CStr) -> Result<()> {
        dir.link_fd(file, name)
    }
    fn mkdir(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        dir.mkdir(name, mode)
    }
    fn mknod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        dir.mknod(name, mode)
    }
    fn symlink(&self, text: &CStr, dir: &Self::Dir, name: &CStr) -> Result<()> {
        dir.symlink(text, name)
    }
    fn link(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr) -> Result<()> {
        a.link(old, b, new)
    }
    fn unlink(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        dir.unlink(name)
    }
    fn rmdir(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        dir.rmdir(name)
    }
    fn rename(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr, f: u32) -> Result<()> {
        a.rename(old, b, new, f)
    }
    fn chmod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()> {
        dir.chmod(name, mode)
    }
    fn chown(&self, dir: &Self::Dir, name: &CStr) -> Result<()> {
        dir.chown(name, u32::MAX, u32::MAX)
    }
    fn times(&self, dir: &Self::Dir, name: &CStr, t: Option<&[libc::timespec; 2]>) -> Result<()> {
        dir.set_times(name, t)
    }
    fn truncate(&self, dir: &Self::Dir, name: &CStr, len: i64) -> Result<()> {
        dir.truncate(name, len)
    }
    fn set_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr, flags: i32) -> Result<()> {
        dir.set_xattr(name, attr, b"value", flags)
    }
    fn get_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<Vec<u8>> {
        let mut buf = vec![0; 100];
        let n = dir.get_xattr(name, attr, &mut buf)?;
        Ok(buf[..n].to_vec())
    }
    fn list_xattrs(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>> {
        dir.list_xattrs(name)
    }
    fn remove_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<()> {
        dir.remove_xattr(name, attr)
    }
    fn readlink(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>> {
        dir.readlink(name, &mut [0; 100]).map(<[u8]>::to_vec)
    }
    fn stat(&self, dir: &Self::Dir, name: &CStr) -> Result<libc::stat> {
        dir.stat(name)
    }
    fn access(&self, dir: &Self::Dir, name: &CStr, mode: i32) -> Result<()> {
        dir.access(name, mode, libc::AT_EACCESS)
    }
    fn list(&self, dir: &Self::Dir) -> Result<Vec<(CString, u8)>> {
        tree::engine_names(dir)
    }
}

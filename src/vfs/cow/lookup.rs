//! Which layer has a name, and the calls that only look.

use super::super::Inode;
use super::dir::CowDir;
use super::layer;
use super::rights;
use super::upper::{Kind, UpperDir};
use crate::sys::{self, Errno};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What a look-up found.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// No layer has the name.
    Absent,
    /// A lower may have it, and the upper says that it is gone.
    Whiteout,
    /// It was made or changed here.
    Upper(libc::stat),
    /// It comes from this lower, topmost 0.
    Lower(usize, libc::stat),
}

impl Entry {
    /// The attributes of what is there.
    pub fn stat(&self) -> Option<&libc::stat> {
        match self {
            Self::Absent | Self::Whiteout => None,
            Self::Upper(stat) | Self::Lower(_, stat) => Some(stat),
        }
    }
}

/// Something that exists.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) at: At,
    pub(super) stat: libc::stat,
}

/// Where it lies.
#[derive(Debug)]
pub(super) enum At {
    Upper(Arc<UpperDir>),
    /// In this one of the directory's lowers.
    Lower(usize),
    /// A lower's, but copied already under another name of the same file.
    Index(CString),
}

impl Hit {
    pub(super) fn is_dir(&self) -> bool {
        layer::is_dir(&self.stat)
    }

    pub(super) fn in_upper(&self) -> bool {
        matches!(self.at, At::Upper(_))
    }
}

impl CowDir {
    /// Which layer has `name`.
    pub fn lookup(&self, name: &CStr) -> sys::Result<Entry> {
        let _gate = self.store.look();
        Ok(match self.find(name)? {
            Some(hit) => match hit.at {
                At::Upper(_) => Entry::Upper(hit.stat),
                At::Lower(at) => {
                    let layer = self.lowers.get(at).map_or(0, |lower| lower.layer);
                    Entry::Lower(layer, hit.stat)
                }
                At::Index(_) => Entry::Upper(hit.stat),
            },
            None => match self.upper() {
                Some(upper) if upper.kind(name)? == Some(Kind::Whiteout) => Entry::Whiteout,
                _ => Entry::Absent,
            },
        })
    }

    /// True if the file `copy` of the upper was copied from the file `lower` in this run.
    pub fn is_copy(&self, lower: Inode, copy: Inode) -> bool {
        self.store.is_copy(lower, copy)
    }

    /// statfs(2): of the file system that takes what is written here.
    pub fn statfs(&self) -> sys::Result<libc::statfs> {
        sys::fs::fstatfs(self.store.upper.as_fd())
    }

    /// stat(2), links not followed. `.` means this directory, here and in the calls below.
    pub fn stat(&self, name: &CStr) -> sys::Result<libc::stat> {
        let _gate = self.store.look();
        Ok(self.must_find(name)?.stat)
    }

    /// A descriptor (`O_PATH`) of what stands under `name`, to look at it. Changes must not be made
    /// through it: see [`CowDir::copy_up`].
    pub fn handle(&self, name: &CStr) -> sys::Result<OwnedFd> {
        let _gate = self.store.look();
        let hit = self.must_find(name)?;
        self.handle_of(&hit, name)
    }

    /// readlink(2).
    pub fn readlink<'b>(&self, name: &CStr, buf: &'b mut [u8]) -> sys::Result<&'b [u8]> {
        let _gate = self.store.look();
        let hit = self.must_find(name)?;
        if layer::kind(&hit.stat) != libc::S_IFLNK {
            return Err(Errno::EINVAL);
        }
        let (dir, name) = self.spot(&hit.at, name)?;
        sys::fs::readlinkat(dir, name, buf)
    }

    /// faccessat2(2), links not followed; of the flags, `AT_EACCESS` is known.
    pub fn access(&self, name: &CStr, mode: i32, flags: i32) -> sys::Result<()> {
        let _gate = self.store.look();
        let hit = self.must_find(name)?;
        if mode == libc::F_OK || layer::kind(&hit.stat) == libc::S_IFLNK {
            return Ok(());
        }
        let file = self.handle_of(&hit, name)?;
        let flags = flags & libc::AT_EACCESS | libc::AT_EMPTY_PATH;
        match sys::fs::faccessat2(file.as_fd(), c"", mode, flags) {
            Err(Errno::EROFS) if !hit.in_upper() => rights::by_mode(&hit.stat, mode),
            other => other,
        }
    }

    /// What stands under `name`, seen through all layers. The gate must be held.
    pub(super) fn find(&self, name: &CStr) -> sys::Result<Option<Hit>> {
        if name == c"." {
            return self.find_self().map(Some);
        }
        check_name(name)?;
        if self.is_removed() {
            return self.must_search().map(|()| None);
        }
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        if let Some(upper) = self.upper() {
            match upper.kind(name)? {
                Some(Kind::Whiteout) => {
                    upper.check_search(self.store.permissions())?;
                    return Ok(None);
                }
                Some(_) => {
                    let stat = sys::fs::fstatat(upper.fd.as_fd(), name, flags)?;
                    return Ok(Some(Hit {
                        at: At::Upper(upper),
                        stat,
                    }));
                }
                None => upper.check_search(self.store.permissions())?,
            }
        }
        let Some((at, stat)) = self.find_below(name)? else {
            return Ok(None);
        };
        if stat.st_nlink > 1
            && self.store.may_be_indexed(layer::inode(&stat))
            && let Some(copy) = self.find_copy(at, name, &stat)?
        {
            return Ok(Some(copy));
        }
        Ok(Some(Hit {
            at: At::Lower(at),
            stat,
        }))
    }

    /// EACCES unless the caller may look up names here. The kernel asks this while it walks, so of
    /// two directories both are asked before either is looked at.
    pub(super) fn must_search(&self) -> sys::Result<()> {
        match self.upper() {
            Some(upper) => upper.check_search(self.store.permissions()),
            None => self.with_top(|top| rights::may(top, &sys::fs::fstat(top)?, libc::X_OK)),
        }
    }

    /// [`CowDir::find`], ENOENT if there is nothing.
    pub(super) fn must_find(&self, name: &CStr) -> sys::Result<Hit> {
        self.find(name)?.ok_or(Errno::ENOENT)
    }

    /// The first lower that has `name`, unless it says there that it is gone.
    pub(super) fn find_below(&self, name: &CStr) -> sys::Result<Option<(usize, libc::stat)>> {
        for (at, lower) in self.lowers.iter().enumerate() {
            let stat = match sys::fs::fstatat(lower.fd.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            };
            let gone = layer::is_whiteout(&stat)
                || lower.marked && layer::is_marker(lower.fd.as_fd(), name, &stat);
            return Ok((!gone).then_some((at, stat)));
        }
        Ok(None)
    }

    fn find_copy(&self, at: usize, name: &CStr, stat: &libc::stat) -> sys::Result<Option<Hit>> {
        let lower = self.lowers.get(at).ok_or(Errno::ENOENT)?;
        let Some(key) = self.store.index_name(lower.fd.as_fd(), name, stat)? else {
            return Ok(None);
        };
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        Ok(
            match sys::fs::fstatat(self.store.index.as_fd(), &key, flags) {
                Ok(stat) => Some(Hit {
                    at: At::Index(key),
                    stat,
                }),
                Err(_) => None,
            },
        )
    }

    fn find_self(&self) -> sys::Result<Hit> {
        let at = match self.upper() {
            Some(upper) => At::Upper(upper),
            None => At::Lower(0),
        };
        let stat = self.with_top(sys::fs::fstat)?;
        Ok(Hit { at, stat })
    }

    /// Directory and name by which the kernel finds what was found.
    pub(super) fn spot<'a>(
        &'a self,
        at: &'a At,
        name: &'a CStr,
    ) -> sys::Result<(BorrowedFd<'a>, &'a CStr)> {
        Ok(match at {
            At::Upper(upper) => (upper.fd.as_fd(), name),
            At::Lower(at) => {
                let lower = self.lowers.get(*at).ok_or(Errno::ENOENT)?;
                (lower.fd.as_fd(), name)
            }
            At::Index(key) => (self.store.index.as_fd(), key),
        })
    }

    /// To be called with what a guest may come to hold: the kernel's name of a copy in the index tells
    /// nobody where the tree shows it.
    pub(super) fn note_held(&self, hit: &Hit, name: &CStr) {
        if let At::Index(_) = hit.at {
            let path = [self.names(), vec![name.to_owned()]].concat();
            self.store.note_shown(hit.stat.st_ino, path);
        }
    }

    /// An `O_PATH` descriptor of what was found.
    pub(super) fn handle_of(&self, hit: &Hit, name: &CStr) -> sys::Result<OwnedFd> {
        self.note_held(hit, name);
        let (dir, spelled) = self.spot(&hit.at, name)?;
        if name == c"." {
            // Opening `.` would need the right to search the directory itself.
            return sys::fs::dup_above(dir, 0);
        }
        sys::fs::openat(dir, spelled, libc::O_PATH | libc::O_NOFOLLOW, 0)
    }
}

/// One component, as the kernel takes it. `..` is the caller's business.
pub(super) fn check_name(name: &CStr) -> sys::Result<()> {
    let name = name.to_bytes();
    match name {
        b"" => Err(Errno::ENOENT),
        b".." => Err(Errno::EINVAL),
        _ if name.len() > 255 => Err(Errno::ENAMETOOLONG),
        _ if name.contains(&b'/') => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

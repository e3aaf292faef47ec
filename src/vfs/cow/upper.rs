//! A directory of the upper, and its names in memory.
//!
//! The upper is ours alone: read once, the names stay true, because every change passes through here.

use super::super::readdir::first_record;
use super::super::{Inode, lock};
use super::layer::{self, Opacity, fd_path};
use super::rights;
use crate::sys::{self, Errno};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

/// What stands under a name of the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// "No such thing, whatever the lowers say."
    Whiteout,
    Dir,
    Other,
}

/// A directory of the upper. There is one record for each inode, so that all see the same names.
#[derive(Debug)]
pub(super) struct UpperDir {
    /// `O_PATH`.
    pub(super) fd: OwnedFd,
    pub(super) inode: Inode,
    // Keys are chosen by guests: hashed with a secret.
    names: Mutex<Option<HashMap<Box<[u8]>, Kind>>>,
    opacity: Mutex<Option<Opacity>>,
    /// Whether we may search it, as found at this generation of permissions.
    searchable: Mutex<Option<(u64, bool)>>,
}

impl UpperDir {
    pub(super) fn new(fd: OwnedFd) -> sys::Result<Self> {
        let inode = layer::inode(&sys::fs::fstat(fd.as_fd())?);
        Ok(Self {
            fd,
            inode,
            names: Mutex::default(),
            opacity: Mutex::default(),
            searchable: Mutex::default(),
        })
    }

    /// What stands under `name`.
    pub(super) fn kind(&self, name: &CStr) -> sys::Result<Option<Kind>> {
        self.with_names(|names| names.get(name.to_bytes()).copied())
    }

    /// True if a lower's name is hidden here.
    pub(super) fn has_whiteouts(&self) -> sys::Result<bool> {
        self.with_names(|names| names.values().any(|kind| *kind == Kind::Whiteout))
    }

    /// All names.
    pub(super) fn names(&self) -> sys::Result<Vec<(Box<[u8]>, Kind)>> {
        self.with_names(|names| names.iter().map(|(n, k)| (n.clone(), *k)).collect())
    }

    /// Notes what stands under `name` now.
    pub(super) fn set(&self, name: &CStr, kind: Option<Kind>) {
        if let Some(names) = lock(&self.names).as_mut() {
            match kind {
                Some(kind) => names.insert(name.to_bytes().into(), kind),
                None => names.remove(name.to_bytes()),
            };
        }
    }

    fn with_names<T>(&self, ask: impl FnOnce(&HashMap<Box<[u8]>, Kind>) -> T) -> sys::Result<T> {
        let mut names = lock(&self.names);
        let known = match names.take() {
            Some(known) => known,
            None => self.read()?,
        };
        Ok(ask(names.insert(known)))
    }

    fn read(&self) -> sys::Result<HashMap<Box<[u8]>, Kind>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        // The guest may have taken its right to list away; ours, to know, stays.
        let own = self.widened(0o500, || sys::fs::openat(self.fd.as_fd(), c".", flags, 0))?;
        let marked = self.opacity()? == Opacity::Marked;
        let mut names = HashMap::new();
        each_record(own.as_fd(), |_, kind, name| {
            let text = CString::new(name).map_err(|_| Errno::EIO)?;
            let kind = match kind {
                libc::DT_DIR => Kind::Dir,
                libc::DT_LNK | libc::DT_FIFO | libc::DT_SOCK | libc::DT_BLK => Kind::Other,
                libc::DT_REG if !marked => Kind::Other,
                _ => self.look_at(&text, marked)?,
            };
            names.insert(name.into(), kind);
            Ok(())
        })?;
        Ok(names)
    }

    /// What its mark says. The guest may have made the directory unreadable: that must not make
    /// the lowers shine through.
    pub(super) fn opacity(&self) -> sys::Result<Opacity> {
        let mut known = lock(&self.opacity);
        if let Some(opacity) = *known {
            return Ok(opacity);
        }
        let found = self.widened(0o400, || layer::opacity(self.fd.as_fd()))?;
        Ok(*known.insert(found))
    }

    pub(super) fn set_opaque(&self) -> sys::Result<()> {
        self.widened(0o200, || layer::set_opaque(self.fd.as_fd()))?;
        *lock(&self.opacity) = Some(Opacity::Opaque);
        Ok(())
    }

    fn look_at(&self, name: &CStr, marked: bool) -> sys::Result<Kind> {
        let dir = self.fd.as_fd();
        let stat = self.widened(0o100, || {
            sys::fs::fstatat(dir, name, libc::AT_SYMLINK_NOFOLLOW)
        })?;
        let gone = layer::is_whiteout(&stat) || marked && layer::is_marker(dir, name, &stat);
        Ok(match gone {
            true => Kind::Whiteout,
            false if layer::is_dir(&stat) => Kind::Dir,
            false => Kind::Other,
        })
    }

    /// EACCES unless this thread may search the directory. Where the names in memory say "not
    /// here", no call on the directory is made that would tell.
    pub(super) fn check_search(&self, permissions: u64) -> sys::Result<()> {
        let mut known = lock(&self.searchable);
        let may = match *known {
            Some((at, may)) if at == permissions => may,
            _ => {
                let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
                let may = sys::fs::faccessat2(self.fd.as_fd(), c"", libc::X_OK, flags).is_ok();
                *known = Some((permissions, may));
                may
            }
        };
        if may { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Does `act` even where the mode that the guest gave the directory forbids it: what the
    /// format needs is not the guest's doing. Only the owner can; whether the guest itself may
    /// was asked before.
    pub(super) fn widened<T>(
        &self,
        bits: u32,
        act: impl FnMut() -> sys::Result<T>,
    ) -> sys::Result<T> {
        widened(self.fd.as_fd(), bits, act)
    }

    /// Does `act` in the directory without that showing in its times: a copy-up is no change.
    pub(super) fn times_kept<T>(&self, act: impl FnOnce() -> sys::Result<T>) -> sys::Result<T> {
        let stat = sys::fs::fstat(self.fd.as_fd())?;
        let done = act()?;
        set_times(self.fd.as_fd(), &stat)?;
        Ok(done)
    }
}

/// [`UpperDir::widened`] for a directory of ours that is no [`UpperDir`] yet.
pub(crate) fn widened<T>(
    dir: BorrowedFd<'_>,
    bits: u32,
    mut act: impl FnMut() -> sys::Result<T>,
) -> sys::Result<T> {
    match act() {
        Err(Errno::EACCES) => {}
        other => return other,
    }
    let stat = sys::fs::fstat(dir)?;
    let mode = stat.st_mode & 0o7777;
    if mode & bits == bits || !rights::owns(&stat) {
        return Err(Errno::EACCES);
    }
    let path = fd_path(dir)?;
    sys::fs::fchmodat(dir, &path, mode | bits)?;
    let done = act();
    sys::fs::fchmodat(dir, &path, mode)?;
    done
}

/// Gives `fd` the access and modification time of `stat`.
pub(super) fn set_times(fd: BorrowedFd<'_>, stat: &libc::stat) -> sys::Result<()> {
    let time = |sec, nsec| libc::timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    let times = [
        time(stat.st_atime, stat.st_atime_nsec),
        time(stat.st_mtime, stat.st_mtime_nsec),
    ];
    sys::fs::utimensat(fd, Some(c""), Some(&times), libc::AT_EMPTY_PATH)
}

/// Calls `see` with inode, type and name of each entry of a directory opened for reading, but not
/// with `.` and `..`.
pub(super) fn each_record(
    dir: BorrowedFd<'_>,
    mut see: impl FnMut(u64, u8, &[u8]) -> sys::Result<()>,
) -> sys::Result<()> {
    thread_local! {
        /// Kept, as clearing one takes as long as reading a small directory.
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buf = BUFFER.take();
    buf.resize(32 * 1024, 0);
    let mut read = || {
        loop {
            let n = sys::fs::getdents64(dir, &mut buf)?;
            if n == 0 {
                return Ok(());
            }
            let mut records = buf.get(..n).unwrap_or_default();
            while let Some((inode, kind, name, rest)) = first_record(records) {
                if !matches!(name, b"." | b"..") {
                    see(inode, kind, name)?;
                }
                records = rest;
            }
        }
    };
    let seen = read();
    BUFFER.set(buf);
    seen
}

//! open(2), and making names.

use super::super::Inode;
use super::copyup::{Data, move_dir};
use super::dir::CowDir;
use super::layer;
use super::lookup::{At, Hit, check_name};
use super::rights;
use super::store::open_dir;
use super::upper::Kind;
use crate::sys::{self, Errno};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// File status flags that F_SETFL can set, fcntl(2).
const STATUS_FLAGS: i32 = libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME;
/// Times that something on the way may change under us before we call it stale.
const PATIENCE: u32 = 40;

/// What open(2) has to do.
enum Step {
    Done(OwnedFd),
    CopyUp(Data),
    Create,
}

fn writes(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
}

fn has(flags: i32, flag: i32) -> bool {
    flags & flag == flag
}

impl CowDir {
    /// open(2) of `name`; a link gives ELOOP. With `O_TMPFILE`, `name` is the directory (`.` for this).
    ///
    /// Copied up is what is opened for writing or truncating, and what is opened with `O_CREAT`:
    /// lock files are, only to be read, and a lock on a lower's would be seen outside. FIFOs are
    /// copied up in any case, or a guest could talk to the outside through one. Opening never
    /// waits; a FIFO without its other end gives what `O_NONBLOCK` gives.
    pub fn open(self: &Arc<Self>, name: &CStr, flags: i32, mode: u32) -> sys::Result<OwnedFd> {
        if has(flags, libc::O_PATH) {
            return self.open_path(name, flags);
        }
        if has(flags, libc::O_TMPFILE) {
            return self.open_nameless(name, flags, mode);
        }
        for _ in 0..PATIENCE {
            let step = {
                let _gate = self.store.look();
                match self.find(name)? {
                    Some(hit) => self.open_existing(&hit, name, flags)?,
                    None if has(flags, libc::O_CREAT) => Step::Create,
                    None => return Err(Errno::ENOENT),
                }
            };
            match step {
                Step::Done(fd) => return Ok(fd),
                Step::CopyUp(data) => self.bring_up(name, data)?,
                Step::Create => match self.create(name, flags, mode) {
                    // Made by somebody meanwhile: then open that.
                    Err(Errno::EEXIST) if !has(flags, libc::O_EXCL) => {}
                    other => return other,
                },
            }
        }
        Err(Errno::ESTALE)
    }

    /// [`CowDir::open`] of a file or directory that was looked at just now: `seen` is what was there. `None` if
    /// it takes more than opening it where it lies, in the topmost lower.
    ///
    /// Whoever opens the same inode without a look of its own has what that look would have found.
    pub fn open_seen(&self, name: &CStr, flags: i32, seen: Inode) -> sys::Result<Option<OwnedFd>> {
        let makes = has(flags, libc::O_CREAT) || has(flags, libc::O_TMPFILE);
        if makes || writes(flags) || has(flags, libc::O_PATH) || name == c"." {
            return Ok(None);
        }
        let _gate = self.store.look();
        if self.is_removed() {
            return Ok(None);
        }
        if let Some(upper) = self.upper() {
            if upper.kind(name)?.is_some() {
                return Ok(None);
            }
            upper.check_search(self.store.permissions())?;
        }
        let Some(lower) = self.lowers.first().filter(|lower| !lower.marked) else {
            return Ok(None);
        };
        let guarded = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
        let Ok(fd) = sys::fs::open_no_link(lower.fd.as_fd(), name, guarded, 0) else {
            return Ok(None);
        };
        let stat = sys::fs::fstat(fd.as_fd())?;
        let inode = layer::inode(&stat);
        if inode != seen || stat.st_nlink > 1 && self.store.may_be_indexed(inode) {
            return Ok(None);
        }
        if !has(flags, libc::O_NONBLOCK) {
            sys::fs::set_status_flags(fd.as_fd(), flags & STATUS_FLAGS)?;
        }
        Ok(Some(fd))
    }

    fn open_path(&self, name: &CStr, flags: i32) -> sys::Result<OwnedFd> {
        let _gate = self.store.look();
        let hit = self.must_find(name)?;
        if has(flags, libc::O_DIRECTORY) && !hit.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.note_held(&hit, name);
        let (dir, spelled) = self.spot(&hit.at, name)?;
        if hit.stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
            return self.handle_of(&hit, name);
        }
        sys::fs::open_no_link(dir, spelled, flags, 0)
    }

    fn open_nameless(self: &Arc<Self>, name: &CStr, flags: i32, mode: u32) -> sys::Result<OwnedFd> {
        let _gate = self.store.change();
        let dir = self.child(name)?;
        dir.must_write()?;
        let upper = dir.make_upper()?;
        let file = sys::fs::openat(upper.fd.as_fd(), c".", flags, mode)?;
        self.store.note_new(file.as_fd(), c"")?;
        Ok(file)
    }

    fn open_existing(&self, hit: &Hit, name: &CStr, flags: i32) -> sys::Result<Step> {
        if has(flags, libc::O_CREAT | libc::O_EXCL) {
            return Err(Errno::EEXIST);
        }
        let kind = layer::kind(&hit.stat);
        match kind {
            libc::S_IFLNK => {
                let wants_dir = has(flags, libc::O_DIRECTORY);
                return Err(if wants_dir && has(flags, libc::O_NOFOLLOW) {
                    Errno::ENOTDIR
                } else {
                    Errno::ELOOP
                });
            }
            libc::S_IFDIR if writes(flags) || has(flags, libc::O_CREAT) => {
                return Err(Errno::EISDIR);
            }
            libc::S_IFDIR => return self.open_layer(hit, name, flags).map(Step::Done),
            _ if has(flags, libc::O_DIRECTORY) => return Err(Errno::ENOTDIR),
            libc::S_IFSOCK => {
                self.check_open(hit, name, flags)?;
                return Err(Errno::ENXIO);
            }
            // As on a file system mounted `nodev`, which an ordinary user's overlay is.
            libc::S_IFCHR | libc::S_IFBLK => return Err(Errno::EACCES),
            _ => {}
        }
        if hit.in_upper() {
            return self.open_layer(hit, name, flags).map(Step::Done);
        }
        let data = if has(flags, libc::O_TRUNC) {
            Data::None
        } else {
            Data::All
        };
        if writes(flags) || kind == libc::S_IFIFO {
            self.check_open(hit, name, flags)?;
            return Ok(Step::CopyUp(data));
        }
        if has(flags, libc::O_CREAT) && self.check_open(hit, name, libc::O_RDWR).is_ok() {
            return Ok(Step::CopyUp(Data::All));
        }
        self.open_layer(hit, name, flags).map(Step::Done)
    }

    /// May the caller open a lower's file so? The copy would be ours, and we may anything.
    fn check_open(&self, hit: &Hit, name: &CStr, flags: i32) -> sys::Result<()> {
        let mut want = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => libc::R_OK,
            libc::O_WRONLY => libc::W_OK,
            _ => libc::R_OK | libc::W_OK,
        };
        if has(flags, libc::O_TRUNC) {
            want |= libc::W_OK;
        }
        let file = self.handle_of(hit, name)?;
        rights::may(file.as_fd(), &hit.stat, want)?;
        if has(flags, libc::O_NOATIME) {
            rights::must_own(&hit.stat)?;
        }
        Ok(())
    }

    /// Opens what the look-up has found. `O_NONBLOCK` guards against a FIFO that somebody has put
    /// into a lower since; the caller gets the flags it asked for.
    fn open_layer(&self, hit: &Hit, name: &CStr, flags: i32) -> sys::Result<OwnedFd> {
        self.note_held(hit, name);
        let (dir, name) = self.spot(&hit.at, name)?;
        let guard = libc::O_NONBLOCK | libc::O_NOCTTY;
        let open = flags & !(libc::O_CREAT | libc::O_EXCL) | guard;
        let fd = sys::fs::open_no_link(dir, name, open, 0)?;
        // Only a lower can have changed since.
        if !hit.in_upper() {
            let now = sys::fs::fstat(fd.as_fd())?;
            if layer::kind(&now) != layer::kind(&hit.stat) {
                return Err(Errno::ESTALE);
            }
        }
        if !has(flags, libc::O_NONBLOCK) {
            sys::fs::set_status_flags(fd.as_fd(), flags & STATUS_FLAGS)?;
        }
        Ok(fd)
    }

    fn create(self: &Arc<Self>, name: &CStr, flags: i32, mode: u32) -> sys::Result<OwnedFd> {
        if has(flags, libc::O_DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        let exact = flags | libc::O_CREAT | libc::O_EXCL;
        self.make(name, Kind::Other, |dir, name| {
            sys::fs::openat(dir, name, exact & !libc::O_TRUNC, mode)
        })
    }

    /// EACCES unless the caller may make and remove names here; ENOENT in a removed directory.
    pub(super) fn must_write(&self) -> sys::Result<()> {
        if self.is_removed() {
            return Err(Errno::ENOENT);
        }
        self.with_top(|top| {
            let stat = sys::fs::fstat(top)?;
            rights::may(top, &stat, libc::W_OK | libc::X_OK)
        })
    }

    /// Makes `name` with one call `make` on a directory and a name: in place, or, where a whiteout
    /// stands, in `work` and then moved over it. For callers that know how to make what they want
    /// (bind(2) of a socket, say).
    pub fn make_with<T>(
        self: &Arc<Self>,
        name: &CStr,
        make: impl FnMut(BorrowedFd<'_>, &CStr) -> sys::Result<T>,
    ) -> sys::Result<T> {
        self.make(name, Kind::Other, make)
    }

    pub(super) fn make<T>(
        self: &Arc<Self>,
        name: &CStr,
        kind: Kind,
        make: impl FnMut(BorrowedFd<'_>, &CStr) -> sys::Result<T>,
    ) -> sys::Result<T> {
        let _gate = self.store.change();
        self.make_locked(name, kind, make)
    }

    /// [`CowDir::make`] with the gate held exclusively.
    pub(super) fn make_locked<T>(
        self: &Arc<Self>,
        name: &CStr,
        kind: Kind,
        mut make: impl FnMut(BorrowedFd<'_>, &CStr) -> sys::Result<T>,
    ) -> sys::Result<T> {
        check_name(name)?;
        if self.find(name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        self.must_write()?;
        let upper = self.make_upper()?;
        if upper.kind(name)?.is_none() {
            let made = make(upper.fd.as_fd(), name)?;
            upper.set(name, Some(kind));
            self.store.note_new(upper.fd.as_fd(), name)?;
            // A lower may get a directory of that name one day. It isn't the one made here.
            if kind == Kind::Dir && !self.is_pure() {
                let dir = open_dir(upper.fd.as_fd(), name)?;
                let _ =
                    super::upper::widened(dir.as_fd(), 0o200, || layer::set_opaque(dir.as_fd()));
            }
            return Ok(made);
        }
        let (room, inside) = self.store.stand_in(&upper)?;
        let (from, to) = (inside.as_fd(), upper.fd.as_fd());
        let made = make(from, c"new")?;
        self.store.note_new(from, c"new")?;
        if kind == Kind::Dir {
            let dir = open_dir(from, c"new")?;
            super::upper::widened(dir.as_fd(), 0o200, || layer::set_opaque(dir.as_fd()))?;
            let swap = libc::RENAME_EXCHANGE;
            upper.widened(0o300, || {
                move_dir(from, c"new", to, name, dir.as_fd(), swap)
            })?;
        } else {
            upper.widened(0o300, || sys::fs::renameat2(from, c"new", to, name, 0))?;
        }
        upper.set(name, Some(kind));
        drop(room);
        Ok(made)
    }

    /// For callers that must do the opening themselves (a FIFO, which waits): the directory and
    /// name in the upper of something copied up.
    pub fn place_of(self: &Arc<Self>, name: &CStr) -> sys::Result<OwnedFd> {
        self.bring_up(name, Data::All)?;
        let _gate = self.store.look();
        match self.must_find(name)?.at {
            At::Upper(upper) => sys::fs::dup_above(upper.fd.as_fd(), 0),
            _ => Err(Errno::ESTALE),
        }
    }
}

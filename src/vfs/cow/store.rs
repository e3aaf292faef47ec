//! The writable half on disk.
//!
//! ```text
//! upper/   what was changed, in overlayfs' format
//! work/    being built or taken down; emptied when the store is opened
//! index/   DEVICE-INODE-BIRTH of a lower file with several names -> its one copy
//!          the same with .links: how many names more than on disk it is shown to have
//! ```

use super::super::{Inode, lock};
use super::copyup;
use super::layer;
use super::upper::{UpperDir, each_record, widened};
use crate::sys::{self, Errno};
use nix::fcntl::{Flock, FlockArg};
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

/// What of the upper must survive a crash of the machine. A crash of sbox alone loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// A copy is on disk before it gets its name, as overlayfs does it.
    Copies,
    /// Nothing is forced to disk (overlayfs' `volatile`): for changes that are thrown away.
    Never,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) upper: OwnedFd,
    pub(super) work: OwnedFd,
    pub(super) index: OwnedFd,
    /// Held as long as the store is open.
    _lock: Flock<File>,
    sync: Sync,
    /// Shared to look, exclusive to change names or what `UpperDir`s say.
    gate: RwLock<()>,
    uppers: Mutex<FxHashMap<Inode, Weak<UpperDir>>>,
    /// Lower files being copied.
    flights: Mutex<FxHashSet<Inode>>,
    landed: Condvar,
    /// Lower files that may have a copy in `index`.
    indexed: Mutex<FxHashSet<Inode>>,
    /// What was copied in this run.
    copies: Mutex<Copies>,
    copies_are_new: AtomicBool,
    links: Mutex<FxHashMap<Inode, More>>,
    /// Where the tree showed what guests may hold and the upper has under no name, by inode number.
    shown: Mutex<FxHashMap<u64, Vec<CString>>>,
    next_temp: AtomicU64,
    permissions: AtomicU64,
}

/// How many names more than on disk a file with several is shown to have.
#[derive(Clone, Copy, Debug)]
pub(super) enum More {
    /// A copy, which has one name in the index.
    Copy(i64),
    /// A lower's that has no copy.
    Lower(i64),
}

/// Files and directories of lowers that were copied in this run.
#[derive(Debug, Default)]
struct Copies {
    copy_of: FxHashMap<Inode, Inode>,
    original_of: FxHashMap<Inode, Inode>,
}

/// Copies that are remembered.
const MAX_COPIES: usize = 1 << 18;
/// Places that are remembered of what the upper has under no name.
const MAX_SHOWN: usize = 1 << 12;

/// A lower file is being copied by this thread; others wait.
#[derive(Debug)]
pub(super) struct Flight<'s> {
    store: &'s Store,
    inode: Inode,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.store.flights).remove(&self.inode);
        self.store.landed.notify_all();
    }
}

/// A name in `work`, removed if it is still there at the end.
#[derive(Debug)]
pub(super) struct Temp<'s> {
    store: &'s Store,
    pub(super) name: CString,
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        // What stays is swept up by the next run.
        let _ = remove_tree(self.store.work.as_fd(), &self.name);
    }
}

impl Store {
    pub(super) fn open(
        store: BorrowedFd<'_>,
        bottom: &OwnedFd,
        sync: Sync,
    ) -> sys::Result<Arc<Self>> {
        let (work, _) = subdir(store, c"work")?;
        let lock_file = sys::fs::openat(work.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let held = Flock::lock(File::from(lock_file), FlockArg::LockExclusiveNonblock)
            .map_err(|_| Errno::EBUSY)?;
        let (upper, fresh) = subdir(store, c"upper")?;
        let (index, _) = subdir(store, c"index")?;
        let device = |fd: &OwnedFd| sys::fs::fstat(fd.as_fd()).map(|stat| stat.st_dev);
        if device(&upper)? != device(&work)? || device(&index)? != device(&work)? {
            return Err(Errno::EXDEV);
        }
        let this = Self {
            upper,
            work,
            index,
            _lock: held,
            sync,
            gate: RwLock::default(),
            uppers: Mutex::default(),
            flights: Mutex::default(),
            landed: Condvar::new(),
            indexed: Mutex::default(),
            copies: Mutex::default(),
            copies_are_new: AtomicBool::new(false),
            links: Mutex::default(),
            shown: Mutex::default(),
            next_temp: AtomicU64::new(0),
            permissions: AtomicU64::new(0),
        };
        this.recover()?;
        if fresh {
            let stat = sys::fs::fstat(bottom.as_fd())?;
            copyup::copy_metadata(bottom.as_fd(), &stat, this.upper.as_fd())?;
        }
        Ok(Arc::new(this))
    }

    /// Removes what was half done, and reads the index.
    fn recover(&self) -> sys::Result<()> {
        for name in names_in(self.work.as_fd())? {
            let _ = remove_tree(self.work.as_fd(), &name);
        }
        let mut indexed = lock(&self.indexed);
        for name in names_in(self.index.as_fd())? {
            let text = name.to_string_lossy();
            let mut numbers = text.split('-').map(|n| u64::from_str_radix(n, 16));
            let (Some(Ok(dev)), Some(Ok(ino))) = (numbers.next(), numbers.next()) else {
                continue;
            };
            match text.strip_suffix(LINKS) {
                None => drop(indexed.insert((dev, ino))),
                Some(key) => self.recover_links(&name, key, (dev, ino))?,
            }
        }
        Ok(())
    }

    fn recover_links(&self, name: &CStr, key: &str, lower: Inode) -> sys::Result<()> {
        let index = self.index.as_fd();
        let mut text = [0u8; 32];
        let text = sys::fs::readlinkat(index, name, &mut text)?;
        let more = std::str::from_utf8(text).ok().and_then(|n| n.parse().ok());
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let more = more.ok_or(Errno::EINVAL)?;
        let (inode, more) = match sys::fs::fstatat(index, &key, libc::AT_SYMLINK_NOFOLLOW) {
            Ok(copy) => (layer::inode(&copy), More::Copy(more)),
            Err(Errno::ENOENT) => (lower, More::Lower(more)),
            Err(errno) => return Err(errno),
        };
        lock(&self.links).insert(inode, more);
        Ok(())
    }

    /// Notes that the file `inode`, whose copy in `index` is or would be `key`, is shown to have `more` names
    /// than on disk.
    pub(super) fn note_links(&self, inode: Inode, key: &CStr, more: More) -> sys::Result<()> {
        let temp = self.temp()?;
        let (More::Copy(number) | More::Lower(number)) = more;
        let text = CString::new(number.to_string()).map_err(|_| Errno::EINVAL)?;
        let name = CString::new([key.to_bytes(), LINKS.as_bytes()].concat());
        let name = name.map_err(|_| Errno::EINVAL)?;
        let (work, index) = (self.work.as_fd(), self.index.as_fd());
        sys::fs::symlinkat(&text, work, &temp.name)?;
        sys::fs::renameat2(work, &temp.name, index, &name, 0)?;
        lock(&self.links).insert(inode, more);
        Ok(())
    }

    /// How many names more than on disk this file is shown to have.
    pub(super) fn more_links(&self, inode: Inode) -> i64 {
        match lock(&self.links).get(&inode) {
            Some(More::Copy(more) | More::Lower(more)) => *more,
            None => 0,
        }
    }

    /// How many names a file is shown to have that has `links` on disk.
    pub(super) fn shown_links(&self, inode: Inode, links: u64) -> u64 {
        match lock(&self.links).get(&inode) {
            None => links,
            Some(More::Copy(more)) => links.saturating_add_signed(*more),
            // The host may have given the number to another file since.
            Some(More::Lower(more)) => links.saturating_add_signed(*more).max(1),
        }
    }

    /// Nothing changes while this is held.
    pub(super) fn look(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else looks or changes while this is held.
    pub(super) fn change(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of the upper directory `fd`.
    pub(super) fn adopt(&self, fd: OwnedFd) -> sys::Result<Arc<UpperDir>> {
        let new = UpperDir::new(fd)?;
        let mut uppers = lock(&self.uppers);
        if let Some(known) = uppers.get(&new.inode).and_then(Weak::upgrade) {
            return Ok(known);
        }
        if uppers.len() >= 256 && uppers.len().is_power_of_two() {
            uppers.retain(|_, dir| dir.strong_count() > 0);
        }
        let new = Arc::new(new);
        uppers.insert(new.inode, Arc::downgrade(&new));
        Ok(new)
    }

    pub(super) fn permissions(&self) -> u64 {
        self.permissions.load(Ordering::Acquire)
    }

    pub(super) fn permissions_changed(&self) {
        self.permissions.fetch_add(1, Ordering::AcqRel);
    }

    /// A fresh name in `work`.
    pub(super) fn temp(&self) -> sys::Result<Temp<'_>> {
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("t{number:x}")).map_err(|_| Errno::EINVAL)?;
        Ok(Temp { store: self, name })
    }

    /// A fresh whiteout in `work`.
    pub(super) fn whiteout(&self) -> sys::Result<Temp<'_>> {
        let temp = self.temp()?;
        make_whiteout(self.work.as_fd(), &temp.name)?;
        Ok(temp)
    }

    /// A directory in `work` in which new files come out as they would in `dir`: setgid bit, group
    /// and default access list are inherited (inode(7), acl(5)).
    pub(super) fn stand_in(&self, dir: &UpperDir) -> sys::Result<(Temp<'_>, OwnedFd)> {
        let temp = self.temp()?;
        sys::fs::mkdirat(self.work.as_fd(), &temp.name, 0o700)?;
        let fd = open_dir(self.work.as_fd(), &temp.name)?;
        let stat = sys::fs::fstat(dir.fd.as_fd())?;
        if stat.st_mode & libc::S_ISGID != 0 {
            sys::fs::fchownat(fd.as_fd(), c"", u32::MAX, stat.st_gid, libc::AT_EMPTY_PATH)?;
            sys::fs::fchmodat(
                fd.as_fd(),
                &layer::fd_path(fd.as_fd())?,
                0o700 | libc::S_ISGID,
            )?;
        }
        let default = c"system.posix_acl_default";
        if let Ok(list) = layer::attribute(&layer::fd_path(dir.fd.as_fd())?, default) {
            sys::fs::setxattr(&layer::fd_path(fd.as_fd())?, default, &list, 0)?;
        }
        Ok((temp, fd))
    }

    /// The right to copy the lower file `inode`; `None` after another thread has done so.
    pub(super) fn take_off(&self, inode: Inode) -> Option<Flight<'_>> {
        let mut flights = lock(&self.flights);
        if flights.insert(inode) {
            return Some(Flight { store: self, inode });
        }
        while flights.contains(&inode) {
            flights = self.wait(flights);
        }
        None
    }

    fn wait<'g>(
        &self,
        flights: MutexGuard<'g, FxHashSet<Inode>>,
    ) -> MutexGuard<'g, FxHashSet<Inode>> {
        self.landed
            .wait(flights)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forces the data of a copy to disk, where that was asked for.
    pub(super) fn sync_copy(&self, fd: BorrowedFd<'_>) -> sys::Result<()> {
        match self.sync {
            Sync::Copies => sys::fs::fsync(fd),
            Sync::Never => Ok(()),
        }
    }

    /// The name in `index` of a lower file's copy; `None` for a file with one name, which needs
    /// none. The birth time tells a file from a later one with its inode number.
    pub(super) fn index_name(
        &self,
        file: BorrowedFd<'_>,
        name: &CStr,
        stat: &libc::stat,
    ) -> sys::Result<Option<CString>> {
        if layer::kind(stat) != libc::S_IFREG || stat.st_nlink < 2 {
            return Ok(None);
        }
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
        let birth = sys::fs::statx(file, name, flags, libc::STATX_BTIME)?.stx_btime;
        let text = format!(
            "{:x}-{:x}-{:x}.{:x}",
            stat.st_dev, stat.st_ino, birth.tv_sec, birth.tv_nsec
        );
        Ok(CString::new(text).ok())
    }

    /// True if `index` may have a copy of this file.
    pub(super) fn may_be_indexed(&self, inode: Inode) -> bool {
        lock(&self.indexed).contains(&inode)
    }

    pub(super) fn note_indexed(&self, inode: Inode) {
        lock(&self.indexed).insert(inode);
    }

    /// Remembers that the file or directory `copy` of the upper was made from `lower` in this run.
    pub(super) fn note_copy(&self, lower: Inode, copy: BorrowedFd<'_>) -> sys::Result<()> {
        let copy = layer::inode(&sys::fs::fstat(copy)?);
        let mut copies = lock(&self.copies);
        if copies.copy_of.len() >= MAX_COPIES {
            // Their originals' descriptors then change nothing any more, and they get other inode numbers.
            *copies = Copies::default();
        }
        copies.copy_of.insert(lower, copy);
        copies.original_of.insert(copy, lower);
        Ok(())
    }

    /// To be called with what was just made in the upper: the number of a copy that is gone may be given
    /// to something else.
    pub(super) fn note_new(&self, dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
        if lock(&self.copies).original_of.is_empty() {
            return Ok(());
        }
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
        let stat = sys::fs::fstatat(dir, name, flags)?;
        if !layer::is_dir(&stat) && stat.st_nlink > 1 {
            return Ok(()); // one more name of something known
        }
        let new = layer::inode(&stat);
        let mut copies = lock(&self.copies);
        if let Some(lower) = copies.original_of.remove(&new) {
            copies.copy_of.remove(&lower);
        }
        Ok(())
    }

    pub(super) fn show_copies_as_new(&self) {
        self.copies_are_new.store(true, Ordering::Relaxed);
    }

    /// What a copy made in this run is shown as: its original.
    pub(super) fn original_of(&self, copy: Inode) -> Option<Inode> {
        if self.copies_are_new.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.copies).original_of.get(&copy).copied()
    }

    /// Remembers that the file or directory with this inode number, in `index` or `work`, is what the
    /// tree shows, or last showed, at `path`.
    pub(super) fn note_shown(&self, ino: u64, path: Vec<CString>) {
        let mut shown = lock(&self.shown);
        if shown.len() >= MAX_SHOWN {
            shown.clear(); // `/proc` then tells no path for those
        }
        shown.insert(ino, path);
    }

    /// Where the tree showed what has this inode number in `index` or `work`.
    pub(super) fn shown_at(&self, ino: u64) -> Option<Vec<CString>> {
        lock(&self.shown).get(&ino).cloned()
    }

    pub(super) fn is_copy(&self, lower: Inode, copy: Inode) -> bool {
        lock(&self.copies).copy_of.get(&lower) == Some(&copy)
    }
}

/// What is behind a name in `index` that tells a number of links.
const LINKS: &str = ".links";

pub(super) fn make_whiteout(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
    sys::fs::mknodat(dir, name, libc::S_IFCHR, 0)
}

/// Opens the directory `name` of `dir`, and never what a link leads to.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    sys::fs::openat(dir, name, flags, 0)
}

/// The directory `name` of the store, and whether it had to be made.
fn subdir(store: BorrowedFd<'_>, name: &CStr) -> sys::Result<(OwnedFd, bool)> {
    let fresh = match sys::fs::mkdirat(store, name, 0o700) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno),
    };
    Ok((open_dir(store, name)?, fresh))
}

pub(crate) fn names_in(dir: BorrowedFd<'_>) -> sys::Result<Vec<CString>> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let own = widened(dir, 0o500, || sys::fs::openat(dir, c".", flags, 0))?;
    names_of(&own)
}

/// The names in a directory opened for reading, but not `.` and `..`.
pub(crate) fn names_of(own: &OwnedFd) -> sys::Result<Vec<CString>> {
    let mut names = Vec::new();
    each_record(own.as_fd(), |_, _, name| {
        names.extend(CString::new(name));
        Ok(())
    })?;
    Ok(names)
}

/// Removes `name` and all below, as far as that goes. Fails if `name` itself stays.
pub(crate) fn remove_tree(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
    match sys::fs::unlinkat(dir, name, 0) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(()),
        other => return other,
    }
    if let Ok(this) = open_dir(dir, name) {
        for child in names_in(this.as_fd()).unwrap_or_default() {
            // What can't be removed shows when its directory can't.
            let _ = widened(this.as_fd(), 0o300, || remove_tree(this.as_fd(), &child));
        }
    }
    match sys::fs::unlinkat(dir, name, libc::AT_REMOVEDIR) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

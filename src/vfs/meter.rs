//! How full a private directory of a given size is.
//!
//! Names count a page each, files their length in whole pages, once for all their names. Lengths rather than
//! blocks: a store through a mapping can fill a hole, and no call tells; but it can't make a file longer.
//! What makes names passes through sbox anyway. What makes files longer is caught in runs that have such a
//! directory: it is counted first and done afterwards, so the book is never behind.
//!
//! A file that has lost its name lives on as long as somebody has it open, and who that is can't be seen:
//! descriptors also lie in sockets, and mappings have none. So sbox keeps a description of its own and asks for
//! a lease, fcntl(2): the kernel gives a write lease only if nobody else has the file open in any way, and a
//! read lease only if nobody has it open for writing.
//!
//! ```text
//!             opened for writing                    unlinked, still open
//! (on disk) ──────────────────────▶ held, named ──────────────────────▶ held, nameless
//!     ▲     no writer: read lease        │            nobody: write lease      │
//!     └──────────────────────────────────┘            (counts no more) ◀──────┘
//! ```
//!
//! What this must not know: how calls are caught, and what a refusal looks like beyond its errno.

use super::{Inode, lock};
use crate::sys::{self, Errno};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a name counts, and what lengths are rounded up to.
pub const PAGE: u64 = 4096;

/// A length that was counted and is not there after so long won't come: its write failed.
const IN_FLIGHT: Duration = Duration::from_secs(1);

/// Every look asks for the lengths of all files that are held, and of so many whether they still must be.
const AT_ONCE: usize = 256;

/// The book of one directory.
#[derive(Debug)]
pub struct Meter {
    limit: u64,
    /// Held while leases are tried, and while a file is opened: an open that meets a lease would fail.
    book: Mutex<Book>,
}

/// A file is being opened: nobody counts or tries leases meanwhile.
#[derive(Debug)]
pub struct Opening<'m> {
    book: MutexGuard<'m, Book>,
    limit: u64,
}

#[derive(Debug, Default)]
struct Book {
    used: u64,
    held: HashMap<Inode, Held>,
    /// Files that were found longer than counted, since the last look.
    grown: HashSet<Inode>,
    /// Where the looks for files that nobody writes to any more have got to.
    turn: usize,
    /// Files that a guest holds by `O_PATH`, which no lease notices: they count to the end of the run.
    by_path: HashSet<Inode>,
}

/// A file that may grow, or that has no name any more.
#[derive(Debug)]
struct Held {
    /// A description of our own, opened for reading.
    file: OwnedFd,
    /// The length that is counted.
    end: u64,
    touched: Instant,
    /// Its last name is gone, and that is in the book: between the two it must not be let go of, or it would be
    /// given back twice.
    nameless: bool,
}

/// What a look at the open files came to.
#[derive(Debug, Default)]
pub struct Look {
    /// There are files that can grow, or wait for their end.
    pub any: bool,
    /// Something is otherwise than at the last look.
    pub changed: bool,
    /// By how much the directory is beyond its size, and the files that were longer than counted.
    pub beyond: Option<(u64, Vec<Inode>)>,
}

fn rounded(length: u64) -> u64 {
    length.div_ceil(PAGE).saturating_mul(PAGE)
}

fn length(stat: &libc::stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn inode(stat: &libc::stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

/// A description of our own of the regular file behind `fd`, for reading.
fn own_description(fd: BorrowedFd<'_>, mode: u32) -> sys::Result<OwnedFd> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let path = path.map_err(|_| Errno::EINVAL)?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    match sys::fs::open(&path, flags) {
        // The file is ours, and its mode forbids us to read it.
        Err(Errno::EACCES) => {
            let mode = mode & 0o7777;
            sys::fs::fchmodat(fd, &path, mode | 0o400)?;
            let opened = sys::fs::open(&path, flags);
            sys::fs::fchmodat(fd, &path, mode)?;
            opened
        }
        other => other,
    }
}

impl Book {
    fn room(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.used) / PAGE * PAGE
    }

    fn recount(&mut self, before: u64, now: u64) {
        self.used = (self.used + rounded(now)).saturating_sub(rounded(before));
    }

    /// The record of a file, made if there is none.
    fn record(&mut self, file: BorrowedFd<'_>, stat: &libc::stat) -> sys::Result<&mut Held> {
        use std::collections::hash_map::Entry;
        Ok(match self.held.entry(inode(stat)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Held {
                // Without a descriptor of ours it could not be counted: then it isn't opened.
                file: own_description(file, stat.st_mode).map_err(|_| Errno::ENFILE)?,
                end: length(stat),
                touched: Instant::now(),
                nameless: stat.st_nlink == 0,
            }),
        })
    }

    /// The length that is counted of a file; what it has grown uncounted is counted now. ENOSPC beyond the limit: what is
    /// there without having been counted may be a hole, and must not be filled.
    fn counted(&mut self, file: BorrowedFd<'_>, limit: u64) -> sys::Result<(libc::stat, u64)> {
        let stat = sys::fs::fstat(file)?;
        let held = self.record(file, &stat)?;
        let (before, now) = (held.end, held.end.max(length(&stat)));
        held.end = now;
        if now > before {
            self.grown.insert(inode(&stat));
        }
        self.recount(before, now);
        if self.used > limit {
            self.collect();
        }
        match self.used > limit {
            true => Err(Errno::ENOSPC),
            false => Ok((stat, now)),
        }
    }

    /// Lets go of a file without a name if nobody has it open. True if it is gone.
    fn settle(&mut self, id: Inode) -> bool {
        let Some(held) = self.held.get(&id) else {
            return true;
        };
        let free = !self.by_path.contains(&id) && sys::fs::nobody_else_has(held.file.as_fd(), true);
        if free && let Some(held) = self.held.remove(&id) {
            self.used = self.used.saturating_sub(rounded(held.end) + PAGE);
        }
        free
    }

    /// Lets go of all files without names that nobody has open.
    fn collect(&mut self) {
        let nameless = |held: &Held| {
            held.nameless && sys::fs::fstat(held.file.as_fd()).is_ok_and(|s| s.st_nlink == 0)
        };
        let all: Vec<Inode> = self
            .held
            .iter()
            .filter(|(_, held)| nameless(held))
            .map(|(id, _)| *id)
            .collect();
        for id in all {
            self.settle(id);
        }
    }

    fn look(&mut self, limit: u64) -> Look {
        let mut longer: Vec<Inode> = self.grown.drain().collect();
        let before = self.used;
        let mut all: Vec<Inode> = self.held.keys().copied().collect();
        all.sort_unstable();
        let turn = self.turn;
        self.turn = if turn + AT_ONCE < all.len() {
            turn + AT_ONCE
        } else {
            0
        };
        for (at, id) in all.into_iter().enumerate() {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            let its_turn = (turn..turn + AT_ONCE).contains(&at);
            let no_writer = its_turn && sys::fs::nobody_else_has(held.file.as_fd(), false);
            // After the lease: what nobody can write to stays as it is.
            let Ok(stat) = sys::fs::fstat(held.file.as_fd()) else {
                continue;
            };
            let (counted, is, nameless) = (held.end, length(&stat), held.nameless);
            if is > counted {
                longer.push(id);
            }
            if is > counted || no_writer || held.touched.elapsed() > IN_FLIGHT {
                held.end = is;
                self.recount(counted, is);
            }
            match stat.st_nlink {
                0 if nameless && its_turn => drop(self.settle(id)),
                0 => {}
                _ if no_writer => drop(self.held.remove(&id)),
                _ => {}
            }
        }
        let beyond = self.used.checked_sub(limit).filter(|&bytes| bytes > 0);
        Look {
            any: !self.held.is_empty(),
            changed: before != self.used,
            beyond: beyond.map(|bytes| (bytes, longer)),
        }
    }
}

impl Meter {
    /// An empty directory that may grow to `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit: limit.max(PAGE),
            book: Mutex::default(),
        }
    }

    /// To be held from before a file is opened until that is counted.
    pub fn opening(&self) -> Opening<'_> {
        Opening {
            book: lock(&self.book),
            limit: self.limit,
        }
    }

    /// Counts a name that is about to be made. ENOSPC if there is no room.
    pub fn take_name(&self) -> sys::Result<()> {
        let mut book = lock(&self.book);
        if book.room(self.limit) < PAGE {
            book.collect();
        }
        if book.room(self.limit) < PAGE {
            return Err(Errno::ENOSPC);
        }
        book.used += PAGE;
        Ok(())
    }

    /// A name is gone, or was not made.
    pub fn name_gone(&self) {
        let mut book = lock(&self.book);
        book.used = book.used.saturating_sub(PAGE);
    }

    /// The last name of a file is about to go: what comes of it is told by [`Meter::file_gone`].
    pub fn file_going(&self, id: Inode) {
        if let Some(held) = lock(&self.book).held.get_mut(&id) {
            held.nameless = false;
        }
    }

    /// The last name of a file is gone, which `handle` (`O_PATH`) still names.
    pub fn file_gone(&self, handle: BorrowedFd<'_>) {
        let mut book = lock(&self.book);
        let Ok(stat) = sys::fs::fstat(handle) else {
            return;
        };
        if stat.st_nlink > 0 {
            book.used = book.used.saturating_sub(PAGE);
        } else if let Ok(held) = book.record(handle, &stat) {
            held.nameless = true;
            book.settle(inode(&stat));
        }
        // Where we can't hold it, it counts to the end: too much rather than too little.
    }

    /// A file was opened so that it may grow.
    pub fn hold(&self, file: BorrowedFd<'_>) -> sys::Result<()> {
        self.opening().hold(file)
    }

    /// True for a file that is held, as all are that somebody may write to.
    pub(super) fn holds(&self, id: Inode) -> bool {
        lock(&self.book).held.contains_key(&id)
    }

    /// A guest gets `file` by `O_PATH`.
    pub fn by_path(&self, file: BorrowedFd<'_>) -> sys::Result<()> {
        let stat = sys::fs::fstat(file)?;
        lock(&self.book).by_path.insert(inode(&stat));
        Ok(())
    }

    /// ENOSPC if the directory is beyond its size already.
    pub fn has_kept(&self, file: BorrowedFd<'_>) -> sys::Result<()> {
        lock(&self.book).counted(file, self.limit).map(drop)
    }

    /// Counts `len` bytes that are about to be written at `from` (`None`: at the end). How many of them
    /// there is room for; ENOSPC if there is none.
    pub fn reach(&self, file: BorrowedFd<'_>, from: Option<u64>, len: u64) -> sys::Result<u64> {
        let mut book = lock(&self.book);
        let (stat, counted) = book.counted(file, self.limit)?;
        // What is being written at the moment has been counted and may not be there yet.
        let end = counted;
        let from = from.unwrap_or(end);
        let wanted = from.saturating_add(len);
        if wanted <= end {
            return Ok(len);
        }
        let most = |book: &Book| rounded(counted).saturating_add(book.room(self.limit));
        if wanted > most(&book) {
            book.collect();
        }
        let new = wanted.min(most(&book));
        if new <= from {
            return Err(Errno::ENOSPC);
        }
        if new > counted {
            book.recount(counted, new);
            let held = book.record(file, &stat)?;
            held.end = new;
            held.touched = Instant::now();
        }
        Ok((new - from).min(len))
    }

    /// Of `fits` bytes that were counted so many were written: the others are given back.
    pub fn written(
        &self,
        file: BorrowedFd<'_>,
        fits: u64,
        written: &sys::Result<usize>,
    ) -> sys::Result<()> {
        let left = fits.saturating_sub(written.map_or(0, |n| n as u64));
        if left == 0 {
            return Ok(());
        }
        let stat = sys::fs::fstat(file)?;
        let mut book = lock(&self.book);
        let held = book.record(file, &stat)?;
        let counted = held.end;
        // Others may be writing at the same time: no more than our own part is given back.
        held.end = length(&stat).max(counted.saturating_sub(left)).min(counted);
        let end = held.end;
        book.recount(counted, end);
        Ok(())
    }

    /// Changes the length of a file by `change`. ENOSPC if it would become longer than there is room for.
    pub fn resize(
        &self,
        file: BorrowedFd<'_>,
        new: u64,
        change: impl FnOnce() -> sys::Result<()>,
    ) -> sys::Result<()> {
        self.hold(file)?;
        let now = length(&sys::fs::fstat(file)?);
        if new > now && self.reach(file, Some(now), new - now)? < new - now {
            self.measure(file)?;
            return Err(Errno::ENOSPC);
        }
        change()?;
        self.measure(file)
    }

    /// Counts a file as long as it is.
    pub fn measure(&self, file: BorrowedFd<'_>) -> sys::Result<()> {
        let stat = sys::fs::fstat(file)?;
        let mut book = lock(&self.book);
        let held = book.record(file, &stat)?;
        let counted = std::mem::replace(&mut held.end, length(&stat));
        book.recount(counted, length(&stat));
        Ok(())
    }

    /// The size of the directory, and what of it is free.
    pub fn space(&self) -> (u64, u64) {
        let mut book = lock(&self.book);
        book.collect();
        (self.limit, book.room(self.limit))
    }

    /// Compares what was counted with what is there, and lets go of what nobody can write to any more.
    pub fn look(&self) -> Look {
        lock(&self.book).look(self.limit)
    }
}

impl Opening<'_> {
    /// The file was opened so that it may grow.
    pub fn hold(&mut self, file: BorrowedFd<'_>) -> sys::Result<()> {
        let stat = sys::fs::fstat(file)?;
        if self.book.record(file, &stat).is_ok() {
            return Ok(());
        }
        // No descriptor left: some of ours may be for files that nobody writes to any more.
        self.book.look(self.limit);
        self.book.record(file, &stat).map(drop)
    }

    /// A file that was `before` bytes long has been emptied as it was opened.
    pub fn emptied(&mut self, file: BorrowedFd<'_>, before: u64) -> sys::Result<()> {
        let id = inode(&sys::fs::fstat(file)?);
        let counted = match self.book.held.get_mut(&id) {
            Some(held) => std::mem::take(&mut held.end),
            None => before,
        };
        self.book.recount(counted, 0);
        Ok(())
    }

    /// The name that was counted was not made.
    pub fn not_made(&mut self) {
        self.book.used = self.book.used.saturating_sub(PAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, OpenOptions};

    fn file(dir: &std::path::Path, name: &str) -> File {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false);
        how.open(dir.join(name)).unwrap()
    }

    #[test]
    fn a_file_counts_by_its_length_and_a_name_by_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(10 * PAGE);
        let free = || meter.space().1 / PAGE;
        meter.take_name().unwrap();
        let a = file(dir.path(), "a");
        meter.hold(a.as_fd()).unwrap();
        assert_eq!(free(), 9);
        assert_eq!(meter.reach(a.as_fd(), Some(0), 1), Ok(1));
        assert_eq!(free(), 8);
        // Counted already, though not yet written; appending comes after it.
        assert_eq!(meter.reach(a.as_fd(), Some(1), 4095), Ok(4095));
        assert_eq!(free(), 8);
        assert_eq!(meter.reach(a.as_fd(), None, 4096), Ok(4096));
        assert_eq!(free(), 7);
        // A hole counts like what surrounds it.
        assert_eq!(meter.reach(a.as_fd(), Some(1 << 20), 1), Err(Errno::ENOSPC));
        // What fits of a longer one is told.
        assert_eq!(meter.reach(a.as_fd(), Some(8192), 1 << 20), Ok(7 * PAGE));
        assert_eq!(free(), 0);
        assert_eq!(meter.take_name(), Err(Errno::ENOSPC));
        assert_eq!(
            meter.reach(a.as_fd(), Some(9 * PAGE), 1),
            Err(Errno::ENOSPC)
        );
        meter.measure(a.as_fd()).unwrap();
        assert_eq!(free(), 9, "nothing of it was written");
    }

    #[test]
    fn a_removed_file_counts_until_nobody_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(10 * PAGE);
        let free = || meter.space().1 / PAGE;
        meter.take_name().unwrap();
        let a = file(dir.path(), "a");
        meter.hold(a.as_fd()).unwrap();
        meter
            .resize(a.as_fd(), 5 * PAGE, || {
                a.set_len(5 * PAGE).map_err(|_| Errno::EIO)
            })
            .unwrap();
        let (reader, handle) = (
            File::open(dir.path().join("a")).unwrap(),
            sys::fs::open(
                &CString::new(dir.path().join("a").to_str().unwrap()).unwrap(),
                libc::O_PATH,
            )
            .unwrap(),
        );
        fs::remove_file(dir.path().join("a")).unwrap();
        meter.file_gone(handle.as_fd());
        assert_eq!(free(), 4);
        drop(a);
        assert_eq!(free(), 4, "a reader is left");
        drop(reader);
        assert_eq!(free(), 10);
    }

    /// What is there and was not counted must not be filled.
    #[test]
    fn beyond_the_limit_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(4 * PAGE);
        let a = file(dir.path(), "a");
        meter.hold(a.as_fd()).unwrap();
        a.set_len(100 * PAGE).unwrap();
        assert_eq!(meter.reach(a.as_fd(), Some(PAGE), 1), Err(Errno::ENOSPC));
        assert_eq!(meter.has_kept(a.as_fd()), Err(Errno::ENOSPC));
        assert_eq!(meter.take_name(), Err(Errno::ENOSPC));
        meter
            .resize(a.as_fd(), PAGE, || a.set_len(PAGE).map_err(|_| Errno::EIO))
            .unwrap();
        assert_eq!(meter.reach(a.as_fd(), Some(PAGE), 1), Ok(1));
    }

    /// What didn't fit is not counted.
    #[test]
    fn a_refused_length_takes_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(4 * PAGE);
        let a = file(dir.path(), "a");
        let change = || panic!("it is refused");
        assert_eq!(
            meter.resize(a.as_fd(), 100 * PAGE, change),
            Err(Errno::ENOSPC)
        );
        assert_eq!(meter.space().1, 4 * PAGE);
    }

    /// The watch may look after the name is gone and before that is told.
    #[test]
    fn a_removed_file_is_given_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(10 * PAGE);
        for name in ["a", "b"] {
            meter.take_name().unwrap();
            let file = file(dir.path(), name);
            meter.hold(file.as_fd()).unwrap();
            assert_eq!(meter.reach(file.as_fd(), Some(0), 3 * PAGE), Ok(3 * PAGE));
            file.set_len(3 * PAGE).unwrap();
        }
        let path = CString::new(dir.path().join("a").to_str().unwrap()).unwrap();
        let handle = sys::fs::open(&path, libc::O_PATH).unwrap();
        fs::remove_file(dir.path().join("a")).unwrap();
        meter.look();
        meter.file_gone(handle.as_fd());
        meter.look();
        assert_eq!(meter.space().1, 6 * PAGE);
    }

    #[test]
    fn what_grew_unseen_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::new(2 * PAGE);
        meter.take_name().unwrap();
        let a = file(dir.path(), "a");
        meter.hold(a.as_fd()).unwrap();
        a.set_len(5 * PAGE).unwrap();
        let look = meter.look();
        let (beyond, files) = look.beyond.unwrap();
        assert_eq!((beyond, files.len()), (4 * PAGE, 1));
        a.set_len(0).unwrap();
        drop(a);
        let look = meter.look();
        assert!(
            !look.any && look.beyond.is_none(),
            "no writer, counted anew"
        );
        assert_eq!(meter.space().1, PAGE);
    }
}

//! Directories found before, so that a path in a known directory costs one system call.
//!
//! An entry says: from this start directory, this text leads to that directory. It is true until
//! a directory or link on the way moves. Moves by guests pass through us and flush at once.
//! Moves by others are reported by inotify(7) watches on every directory in the cache, read by a
//! thread of its own: after an outsider's rename the old name may resolve for the few microseconds
//! that the report takes, as if the rename had come that much later. A directory that can't be
//! watched is not cached. Removed directories need no report: nothing can be found in them.

use super::dir::{Dir, DirKind, Inode};
use super::lock;
use super::path::{VPath, components};
use crate::sys;
use nix::sys::inotify::{InitFlags, Inotify};
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// Directories (and descriptors of ours) in the cache before it starts afresh.
const CAPACITY: usize = 2048;
/// Longer path texts are walked each time: a cache of them could be made to grow without bound.
const LONGEST_TEXT: usize = 512;

/// A directory, and the symbolic links that were followed to it (they count, ELOOP).
type Entry = (Arc<Dir>, u32);
type ByText = FxHashMap<Box<[u8]>, Entry>;

pub(super) struct Cache {
    generation: Arc<AtomicU64>,
    inner: Mutex<Inner>,
    /// `None` where inotify is not to be had: then nothing of the host is cached.
    watches: Option<Arc<Inotify>>,
}

#[derive(Default)]
struct Inner {
    generation: u64,
    entries: usize,
    by_start: FxHashMap<u64, ByText>,
    by_inode: FxHashMap<Inode, Weak<Dir>>,
    /// Every name that some entry passed through. Changing one of these changes an entry.
    passed: FxHashSet<VPath>,
}

impl Inner {
    fn clear(&mut self, generation: u64) {
        *self = Self {
            generation,
            ..Self::default()
        };
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        let generation = Arc::new(AtomicU64::new(0));
        let watches = Inotify::init(InitFlags::IN_CLOEXEC).ok().map(Arc::new);
        Self {
            generation,
            inner: Mutex::default(),
            watches,
        }
    }

    /// Starts the thread that listens for renames by others. Without it nothing may be cached,
    /// so it is called before the first guest runs.
    pub(super) fn start_watching(&self) {
        let Some(watches) = self.watches.clone() else {
            return;
        };
        let generation = Arc::clone(&self.generation);
        // The thread lives as long as the process; it holds nothing that must be released.
        std::thread::spawn(move || {
            while watches.read_events().is_ok() {
                generation.fetch_add(1, Ordering::Release);
            }
        });
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Forgets everything, and lets go of the directories: one that was removed lives on as long as
    /// somebody holds it, and its watchers wait for its end (inotify(7), `IN_DELETE_SELF`).
    pub(super) fn flush(&self) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        lock(&self.inner).clear(generation);
    }

    /// The directory that `text` leads to from `start`.
    pub(super) fn get(&self, start: &Dir, text: &[u8]) -> Option<Entry> {
        let mut inner = lock(&self.inner);
        let generation = self.generation();
        if inner.generation != generation {
            inner.clear(generation);
            return None;
        }
        inner.by_start.get(&start.id)?.get(text).cloned()
    }

    /// Remembers that `text` leads from `start` to `dir`, unless something moved since
    /// `generation`, when the walk began.
    pub(super) fn put(&self, start: &Dir, text: &[u8], entry: Entry, generation: u64) {
        if text.len() > LONGEST_TEXT {
            return;
        }
        let mut inner = lock(&self.inner);
        if generation != self.generation() {
            return;
        }
        if inner.generation != generation || inner.entries >= CAPACITY {
            inner.clear(generation);
        }
        inner.entries += 1;
        if let Some(path) = &entry.0.path {
            inner.pass_through(path);
        }
        inner
            .by_start
            .entry(start.id)
            .or_default()
            .insert(text.into(), entry);
    }

    /// Remembers a new directory by its inode and watches it. False: it can't be watched, so no
    /// walk through it may be remembered.
    pub(super) fn adopt(&self, dir: &Arc<Dir>) -> bool {
        let DirKind::Host { fd, inode } = &dir.kind else {
            return true;
        };
        let Some(watches) = &self.watches else {
            return false;
        };
        let Ok(link) = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())) else {
            return false;
        };
        let mask = libc::IN_MOVE_SELF | libc::IN_ATTRIB | libc::IN_ONLYDIR;
        if sys::fs::inotify_add_watch(watches.as_fd(), &link, mask).is_err() {
            return false;
        }
        let mut inner = lock(&self.inner);
        if inner.generation == dir.generation {
            inner.by_inode.insert(*inode, Arc::downgrade(dir));
        }
        true
    }

    /// Notes that an entry depends on the symbolic link at `path`.
    pub(super) fn pass_link(&self, path: VPath) {
        lock(&self.inner).passed.insert(path);
    }

    pub(super) fn by_inode(&self, inode: Inode) -> Option<Arc<Dir>> {
        let inner = lock(&self.inner);
        if inner.generation != self.generation() {
            return None;
        }
        inner.by_inode.get(&inode)?.upgrade()
    }

    /// A guest moved, removed or replaced what stood at `path`.
    pub(super) fn name_changed(&self, path: &VPath) {
        let inner = lock(&self.inner);
        if inner.passed.contains(path) {
            drop(inner);
            self.flush();
        }
    }
}

impl Inner {
    fn pass_through(&mut self, path: &VPath) {
        if !self.passed.insert(path.clone()) {
            return; // its ancestors are in already
        }
        let mut at = VPath::root();
        for name in components(path.as_bytes()) {
            at = at.join(name);
            self.passed.insert(at.clone());
        }
    }
}

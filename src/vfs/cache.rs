//! Directories found before, so that a path in a known directory costs one system call.
//!
//! An entry says: from this start directory, this text leads to that directory. It is true until
//! a directory or link on the way moves. Moves by guests pass through us and flush at once, so a
//! sandbox never sees anything stale of its own. Moves by others can't be noticed (watches would
//! tell, but closing an inotify(7) instance takes the kernel longer than most programs run), so an
//! entry is believed for [`FRESH`] and then walked anew: a rename by somebody outside is seen that
//! much later at most.
//!
//! No rule is decided by what is cached: rights come from the mount that the held directory was
//! found in, and the kernel checks permissions on the held directory at each call. What rules hide a walk
//! doesn't pass through, so an entry is for those within the same policies alone.

use super::dir::{Dir, Inode};
use super::lock;
use super::path::{VPath, components};
use crate::policy::within::Within;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// How long a directory is believed to be where it was found.
const FRESH: Duration = Duration::from_millis(2);
/// Directories (and descriptors of ours) in the cache before it starts afresh.
const CAPACITY: usize = 2048;
/// Longer path texts are walked each time: a cache of them could be made to grow without bound.
const LONGEST_TEXT: usize = 512;

struct Entry {
    dir: Arc<Dir>,
    /// Symbolic links that were followed to it: they count for ELOOP.
    links: u32,
    found: Instant,
}

// Keys are chosen by guests: hashed with a secret.
type ByText = HashMap<Box<[u8]>, Entry>;

#[derive(Default)]
pub(super) struct Cache {
    generation: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    generation: u64,
    entries: usize,
    by_start: FxHashMap<(Within, u64), ByText>,
    by_inode: FxHashMap<Inode, (Weak<Dir>, Instant)>,
    /// Every name that some entry passed through. Changing one of these changes an entry.
    passed: FxHashSet<VPath>,
}

impl Cache {
    /// Counts the changes that made everything before untrue.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// True while something found at `at` is believed.
    pub(super) fn is_fresh(at: Instant) -> bool {
        at.elapsed() < FRESH
    }

    /// Forgets everything, and lets go of the directories: one that was removed lives on as long as
    /// somebody holds it, and its watchers wait for its end (inotify(7), `IN_DELETE_SELF`).
    pub(super) fn flush(&self) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        lock(&self.inner).clear(generation);
    }

    /// The directory that `text` leads to from `start`, and the links on the way.
    pub(super) fn get(&self, of: Within, start: &Dir, text: &[u8]) -> Option<(Arc<Dir>, u32)> {
        let inner = lock(&self.inner);
        if inner.generation != self.generation() {
            return None;
        }
        let entry = inner.by_start.get(&(of, start.id))?.get(text)?;
        Self::is_fresh(entry.found).then(|| (Arc::clone(&entry.dir), entry.links))
    }

    /// The directory that `text` led to when last looked, by no symbolic link and too long ago to be believed.
    pub(super) fn expired(&self, of: Within, start: &Dir, text: &[u8]) -> Option<Arc<Dir>> {
        let inner = lock(&self.inner);
        if inner.generation != self.generation() {
            return None;
        }
        let entry = inner.by_start.get(&(of, start.id))?.get(text)?;
        (entry.links == 0).then(|| Arc::clone(&entry.dir))
    }

    /// Remembers that `text` leads from `start` to `dir`, unless a guest moved something since
    /// `generation`, when the walk began. Returns the directory's record to go on with: the one
    /// known before, if it is the same directory at the same place.
    pub(super) fn put(
        &self,
        (of, start): (Within, &Dir),
        text: &[u8],
        dir: Arc<Dir>,
        (links, generation): (u32, u64),
    ) -> Arc<Dir> {
        if text.len() > LONGEST_TEXT {
            return dir;
        }
        let mut inner = lock(&self.inner);
        if generation != self.generation() {
            return dir;
        }
        if inner.generation != generation || inner.entries >= CAPACITY {
            inner.clear(generation);
        }
        let found = Instant::now();
        if let Some(entry) = inner
            .by_start
            .get_mut(&(of, start.id))
            .and_then(|t| t.get_mut(text))
        {
            if !entry.dir.is_same(&dir) {
                entry.dir = dir;
            }
            (entry.links, entry.found) = (links, found);
            return Arc::clone(&entry.dir);
        }
        inner.entries += 1;
        if let Some(path) = &dir.path {
            inner.pass_through(path);
        }
        let entry = Entry {
            dir: Arc::clone(&dir),
            links,
            found,
        };
        inner
            .by_start
            .entry((of, start.id))
            .or_default()
            .insert(text.into(), entry);
        dir
    }

    /// Remembers a directory by its inode, for those who come with a descriptor of it.
    pub(super) fn adopt(&self, dir: &Arc<Dir>, inode: Inode) {
        let mut inner = lock(&self.inner);
        if inner.generation == dir.generation {
            if inner.by_inode.len() >= 2 * CAPACITY {
                inner.by_inode.clear();
            }
            if inner.passed.len() >= 16 * CAPACITY {
                drop(inner);
                return self.flush();
            }
            inner
                .by_inode
                .insert(inode, (Arc::downgrade(dir), Instant::now()));
            // Its path is believed as well: by those who stand in it.
            if let Some(path) = &dir.path {
                inner.pass_through(path);
            }
        }
    }

    /// The directory with this inode.
    pub(super) fn by_inode(&self, inode: Inode) -> Option<Arc<Dir>> {
        let inner = lock(&self.inner);
        if inner.generation != self.generation() {
            return None;
        }
        let (dir, found) = inner.by_inode.get(&inode)?;
        if Self::is_fresh(*found) {
            dir.upgrade()
        } else {
            None
        }
    }

    /// Notes that an entry depends on the symbolic link at `path`.
    pub(super) fn pass_link(&self, path: VPath) {
        let mut inner = lock(&self.inner);
        if inner.passed.len() >= 16 * CAPACITY {
            let generation = inner.generation;
            inner.clear(generation);
        }
        inner.passed.insert(path);
    }

    /// A guest moved, removed or replaced what stood at `path`.
    pub(super) fn name_changed(&self, path: &VPath) {
        let concerned = lock(&self.inner).passed.contains(path);
        if concerned {
            self.flush();
        }
    }
}

impl Inner {
    fn clear(&mut self, generation: u64) {
        *self = Self {
            generation,
            ..Self::default()
        };
    }

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

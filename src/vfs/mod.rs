//! The virtual file system: which files exist for the guest.
//!
//! ```text
//! (start directory, path text) ──▶ resolve ──▶ Place ──▶ one *at call on (directory fd, name)
//!                                    │  ▲
//!                     mount table ◀──┘  └── directory cache (flushed when a directory moves)
//! ```
//!
//! No path string of a guest reaches the kernel. A walk goes component by component over held
//! `O_PATH` descriptors with `O_NOFOLLOW`; `..` is looked up in the view; the text of symbolic links
//! is read in the view. What a walk returns is a [`Place`]: a held directory and one last name (or
//! an object of our own), on which the caller acts with one call. So there is no second walk that
//! could end elsewhere.
//!
//! This module knows neither how calls are caught nor what a policy says: it carries the
//! [`RuleId`] of the mount that a place lies on, and no more.

mod cache;
pub mod cow;
mod cow_mount;
mod deed;
mod dir;
mod fixed;
pub mod fs;
mod image;
pub mod meter;
mod metered;
pub mod mount;
mod narrowed;
pub mod path;
mod readdir;
mod resolve;
mod ruled;
mod scratch;
mod sight;
mod tasks;

pub use dir::{Dir, Inode};
pub use fs::{Identity, NO_DOMAIN, check_hostname};
pub use image::{Image, OwnLoader};
pub use mount::Layer;
pub use readdir::Listing;
pub(crate) use readdir::to_old_layout;
pub use resolve::{Follow, Found, Last, Place, Scope};
pub use scratch::Scratch;
pub use sight::{Met, Sight, Sighting, Trip};
pub use tasks::{Caller, Tasks};

use crate::policy::RuleId;
use crate::policy::names::Names;
use crate::sys::{self, Errno};
use cache::Cache;
use dir::DirKind;
use fs::SynthDir;
use mount::{MountTable, Source};
use narrowed::{Narrowed, Standings};
use path::{HostPath, VPath};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// The view's file system, as it is for processes within the same policies: what there is, and which rules decide about it.
pub struct Vfs {
    common: Arc<Common>,
    /// The file rules of a policy file.
    names: Option<Arc<Names>>,
    /// For processes that `[exec]` has switched to further policies.
    narrowed: Option<Narrowed>,
}

/// What there is in a view, the same for all its processes.
pub struct Common {
    table: MountTable,
    root: Arc<Dir>,
    /// The directories in which mounts begin, once entered: they stay what they are.
    mount_roots: Vec<OnceLock<Arc<Dir>>>,
    cache: Cache,
    scratch: Scratch,
    /// Host `/proc`, for the files of guests that we pass on.
    proc_root: OwnedFd,
    /// `/proc/self/fd` of the supervisor: reopens what it holds.
    self_fd: OwnedFd,
    /// Placeholders of synthetic directories, by their inode.
    placeholders: Mutex<HashMap<Inode, SynthDir>>,
    /// Host directories in which mounts begin.
    mixed: Mutex<HashSet<Inode>>,
    /// Files with an identity of their own when mapped.
    mapped: Mutex<HashMap<Inode, Inode>>,
    identity: OnceLock<Identity>,
    /// What runs in the place of programs with another interpreter than the host's.
    images: image::Images,
    /// The run's own pseudo-terminal, and those opened in it through `/dev/ptmx`.
    terminals: Mutex<Vec<fs::Terminal>>,
    /// What abstract socket names of this sandbox begin with.
    abstract_prefix: Vec<u8>,
    /// What names begin with that sbox gives to sockets which have none for guests.
    nameless_prefix: Vec<u8>,
    /// Paths that guests bound sockets to, by the text that the kernel knows.
    bound: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// The rule of directories that exist only in the view: readable, nothing can be made there.
    synthetic_rule: RuleId,
    /// Rules that let something be written.
    writable: Mutex<HashSet<RuleId>>,
    /// Trees of the host in which guests can change something.
    changeable: OnceLock<Vec<Box<[u8]>>>,
    /// Listings of copy-on-write directories that are being read.
    listed: Mutex<Vec<readdir::Listed>>,
    /// Some private directory may grow only so far.
    metered: bool,
    next_id: AtomicU64,
    /// The tasks, where their numbers are the view's own.
    tasks: OnceLock<Arc<dyn Tasks>>,
}

impl Vfs {
    /// Builds the file system. `synthetic_rule` governs directories that exist only in the view.
    pub fn new(table: MountTable, scratch: Scratch, synthetic_rule: RuleId) -> sys::Result<Self> {
        let next_id = AtomicU64::new(1);
        let proc_root = sys::fs::open(c"/proc", libc::O_PATH | libc::O_DIRECTORY)?;
        let self_fd = sys::fs::open(c"/proc/self/fd", libc::O_PATH | libc::O_DIRECTORY)?;
        let mut mixed = HashSet::new();
        let root = match table.mount_at(MountTable::ROOT) {
            Some((id, mount)) if matches!(mount.source, Source::Dir(_)) => {
                let Source::Dir(object) = &mount.source else {
                    return Err(Errno::EINVAL);
                };
                let stat = sys::fs::fstat(object.fd.as_fd())?;
                let fd = sys::fs::dup_above(object.fd.as_fd(), FIRST_FD)?;
                mixed.insert((stat.st_dev, stat.st_ino));
                Dir {
                    id: 0,
                    kind: DirKind::Host {
                        fd,
                        inode: (stat.st_dev, stat.st_ino),
                    },
                    path: Some(VPath::root()),
                    node: Some(MountTable::ROOT),
                    rule: mount.rule,
                    mount: Some(id),
                    generation: ALWAYS,
                    seen: Mutex::new(Instant::now()),
                    standing: Standings::default(),
                }
            }
            Some((id, mount)) if matches!(mount.source, Source::Cow(_)) => {
                let Source::Cow(tree) = &mount.source else {
                    return Err(Errno::EINVAL);
                };
                Dir {
                    id: 0,
                    kind: DirKind::Cow(Arc::clone(tree.cow.root())),
                    path: Some(VPath::root()),
                    node: Some(MountTable::ROOT),
                    rule: mount.rule,
                    mount: Some(id),
                    generation: ALWAYS,
                    seen: Mutex::new(Instant::now()),
                    standing: Standings::default(),
                }
            }
            _ => Dir {
                id: 0,
                kind: DirKind::Synth {
                    what: SynthDir::Ancestor(MountTable::ROOT),
                    placeholder: OnceLock::new(),
                },
                path: Some(VPath::root()),
                node: Some(MountTable::ROOT),
                rule: synthetic_rule,
                mount: None,
                generation: ALWAYS,
                seen: Mutex::new(Instant::now()),
                standing: Standings::default(),
            },
        };
        let metered = table.meters().next().is_some();
        let mount_roots = (0..table.len()).map(|_| OnceLock::new()).collect();
        let common = Common {
            mount_roots,
            table,
            root: Arc::new(root),
            cache: Cache::default(),
            scratch,
            proc_root,
            self_fd,
            placeholders: Mutex::default(),
            mixed: Mutex::new(mixed),
            mapped: Mutex::default(),
            identity: OnceLock::new(),
            images: image::Images::default(),
            terminals: Mutex::default(),
            abstract_prefix: format!("sbox-{}/", std::process::id()).into_bytes(),
            nameless_prefix: format!("sbox {:016x} ", RandomState::new().build_hasher().finish())
                .into_bytes(),
            bound: Mutex::default(),
            synthetic_rule,
            writable: Mutex::default(),
            changeable: OnceLock::new(),
            listed: Mutex::default(),
            metered,
            next_id,
            tasks: OnceLock::new(),
        };
        Ok(Self {
            common: Arc::new(common),
            names: None,
            narrowed: None,
        })
    }

    /// Tells which rules let something be written, before the first guest runs.
    pub fn tell_writable(&self, rules: impl IntoIterator<Item = RuleId>) {
        lock(&self.writable).extend(rules);
    }

    /// The root directory of the view.
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The rule that governs an object that a host descriptor names, by where the view shows it.
    /// Objects outside the view (pipes, sockets, memory files, deleted files) have none.
    pub fn rule_of(&self, fd: BorrowedFd<'_>) -> Option<RuleId> {
        let host = host_path(fd).ok()?;
        // A file may be called "x (deleted)" without being it.
        let removed = sys::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0);
        let text = if removed {
            strip_deleted(&host.0)
        } else {
            &host.0
        };
        let path = self.table.to_view(text);
        if let Some(rule) = self.ruled_path(path.as_ref()) {
            return Some(rule);
        }
        let id = match path {
            Some(path) => self.table.covering(&path)?,
            // A part of a copy-on-write mount that has no place in the view: its removed files.
            None => self.table.layer_of(text)?.0,
        };
        self.table.mount(id).map(|m| m.rule)
    }

    /// True for a host file that the view does not show: it was passed in from outside. Objects
    /// without a path (pipes, sockets, memory files) are nobody's but the guest's.
    pub fn is_foreign(&self, fd: BorrowedFd<'_>) -> bool {
        // A file whose path is too long to be had has no rule that could be found: fail closed.
        host_path(fd).map_or(true, |p| {
            p.0.first() == Some(&b'/') && !p.0.starts_with(b"/memfd:")
        }) && self.rule_of(fd).is_none()
    }

    /// The path by which a call that takes no descriptor reaches `fd` (proc(5), `/proc/self/fd`).
    pub fn fd_path(&self, fd: BorrowedFd<'_>) -> sys::Result<CString> {
        CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| Errno::EINVAL)
    }

    /// The directory that `path` leads to, following everything.
    pub fn directory(
        &self,
        who: Caller<'_>,
        start: &Arc<Dir>,
        path: &std::ffi::CStr,
    ) -> sys::Result<Arc<Dir>> {
        self.walk(who).dir_at(start, path.to_bytes())
    }

    /// Device and inode of a regular host file, held by `fd`, as `/proc/PID/maps` shows them. Most file
    /// systems show what stat(2) says; those with anonymous devices (btrfs, overlays) are asked by mapping
    /// the file.
    pub fn when_mapped(&self, fd: BorrowedFd<'_>) -> sys::Result<Inode> {
        let stat = sys::fs::fstat(fd)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Errno::EACCES);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if libc::major(inode.0) != 0 {
            return Ok(inode);
        }
        if let Some(known) = lock(&self.mapped).get(&inode) {
            return Ok(*known);
        }
        let file = self.reopen(fd, libc::O_RDONLY | libc::O_NONBLOCK)?;
        let found = sys::mem::identity_when_mapped(file.as_fd())?;
        let mut mapped = lock(&self.mapped);
        if mapped.len() >= MAX_BOUND {
            mapped.clear();
        }
        mapped.insert(inode, found);
        Ok(found)
    }

    /// True for a host directory in which mounts begin.
    pub fn is_mixed(&self, fd: BorrowedFd<'_>) -> sys::Result<bool> {
        let stat = sys::fs::fstat(fd)?;
        Ok(lock(&self.mixed).contains(&(stat.st_dev, stat.st_ino)))
    }

    /// Reopens what `fd` names with other flags, through `/proc/self/fd`.
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: i32) -> sys::Result<OwnedFd> {
        let name = CString::new(fd.as_raw_fd().to_string()).map_err(|_| Errno::EINVAL)?;
        sys::fs::openat(self.self_fd.as_fd(), &name, flags, 0)
    }

    /// [`Vfs::reopen`] for directories, also with `O_NOFOLLOW`: after the slash it means what the link leads to,
    /// and F_GETFL shows it (fcntl(2)).
    pub fn reopen_dir(&self, fd: BorrowedFd<'_>, flags: i32) -> sys::Result<OwnedFd> {
        let name = format!("{}/", fd.as_raw_fd());
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        sys::fs::openat(self.self_fd.as_fd(), &name, flags, 0)
    }

    /// `dir` with fresh path, node and rule, after directories have been renamed.
    pub fn current(&self, dir: &Arc<Dir>) -> Arc<Dir> {
        if dir.generation == ALWAYS {
            return Arc::clone(dir);
        }
        let now_valid = dir.generation == self.cache.generation();
        if now_valid && Cache::is_fresh(*lock(&dir.seen)) {
            return Arc::clone(dir);
        }
        if let DirKind::Cow(cow) = &dir.kind {
            return self.cow_record(cow, dir);
        }
        let DirKind::Host { fd, .. } = &dir.kind else {
            return Arc::clone(dir);
        };
        // On an error what was known stays true: a directory is never shown with fewer rules.
        let found = sys::fs::dup_above(fd.as_fd(), FIRST_FD)
            .and_then(|fd| self.identify(fd, Some(dir)))
            .unwrap_or_else(|_| Arc::clone(dir));
        if now_valid && found.is_same(dir) {
            *lock(&dir.seen) = Instant::now();
            return Arc::clone(dir);
        }
        found
    }

    /// The directory that a guest's descriptor names (already duplicated into `fd`).
    ///
    /// ENOTDIR for what is no directory; ENOENT for a host directory that the view does not show:
    /// it was passed in from outside, and nothing below it exists for this guest.
    pub fn dir_of(&self, fd: OwnedFd) -> sys::Result<Arc<Dir>> {
        let stat = sys::fs::fstat(fd.as_fd())?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(dir) = self.cache.by_inode(inode) {
            return Ok(dir);
        }
        if let Some(what) = lock(&self.placeholders).get(&inode).copied() {
            return self.synth_dir(what, self.synth_path(what));
        }
        let fd = self.reopen(fd.as_fd(), libc::O_PATH | libc::O_DIRECTORY)?;
        self.identify(fd, None)
    }

    /// The thread group whose directory in `/proc` a descriptor is, which some take for a pidfd (pidfd_send_signal(2)).
    pub fn group_of_directory(&self, fd: BorrowedFd<'_>) -> Option<i32> {
        let stat = sys::fs::fstat(fd).ok()?;
        match lock(&self.placeholders).get(&(stat.st_dev, stat.st_ino))? {
            SynthDir::Proc(fs::ProcDir::Group(tgid)) => Some(*tgid),
            _ => None,
        }
    }

    /// Finds where in the view a held host directory lies, by the path that the kernel knows for
    /// it. No walk is made: whether the guest may search the directories above is no matter, and
    /// what the rules say of the place is found in any case.
    fn identify(&self, fd: OwnedFd, before: Option<&Dir>) -> sys::Result<Arc<Dir>> {
        let generation = self.cache.generation();
        let stat = sys::fs::fstat(fd.as_fd())?;
        let removed = stat.st_nlink == 0;
        let (path, node, mount) = match host_path(fd.as_fd()) {
            Ok(host) => {
                let text = if removed {
                    strip_deleted(&host.0)
                } else {
                    &host.0
                };
                let path = self.table.to_view(text).ok_or(Errno::ENOENT)?;
                let mount = self.table.covering(&path);
                let inode = (stat.st_dev, stat.st_ino);
                if let Some(id) = mount
                    && let Some(dir) = self.cow_dir_of(id, &path, inode)?
                {
                    self.cache.adopt(&dir, inode);
                    return Ok(dir);
                }
                (
                    Some(path.clone()).filter(|_| !removed),
                    self.node_at(&path),
                    mount,
                )
            }
            // Deeper than any rule or mount can be: only what lies above it matters.
            Err(Errno::ENAMETOOLONG) => {
                let mount = before
                    .and_then(|d| d.mount)
                    .or_else(|| self.mount_above(fd.as_fd()).ok());
                // A layer's directory is never acted on by itself. DIFFERS: the kernel finds it.
                if mount.is_some_and(|id| self.is_cow(id)) {
                    return Err(Errno::ENAMETOOLONG);
                }
                (None, None, Some(mount.ok_or(Errno::ENOENT)?))
            }
            Err(errno) => return Err(errno),
        };
        let mount = mount.ok_or(Errno::ENOENT)?;
        let rule = self.table.mount(mount).ok_or(Errno::ENOENT)?.rule;
        let dir = Arc::new(Dir {
            id: self.new_id(),
            kind: DirKind::Host {
                fd,
                inode: (stat.st_dev, stat.st_ino),
            },
            path,
            node,
            rule,
            mount: Some(mount),
            generation,
            seen: Mutex::new(Instant::now()),
            standing: Standings::default(),
        });
        if !removed {
            self.cache.adopt(&dir, (stat.st_dev, stat.st_ino));
        }
        Ok(dir)
    }

    /// The mount that holds a directory whose path is too long to be had, by climbing.
    fn mount_above(&self, fd: BorrowedFd<'_>) -> sys::Result<mount::MountId> {
        let mut at = sys::fs::dup_above(fd, FIRST_FD)?;
        // A component takes two bytes at least; no path is longer than the kernel's memory for it.
        for _ in 0..1 << 16 {
            at = sys::fs::openat(at.as_fd(), c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?;
            match host_path(at.as_fd()) {
                Ok(host) => {
                    let path = self.table.to_view(&host.0).ok_or(Errno::ENOENT)?;
                    return self.table.covering(&path).ok_or(Errno::ENOENT);
                }
                Err(Errno::ENAMETOOLONG) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// The directory above one whose path is too long to be had. Such a directory is no mount's
    /// root, so the kernel's `..` stays within the mount.
    pub(super) fn above_deep(&self, dir: &Dir) -> sys::Result<Arc<Dir>> {
        let fd = dir.host().ok_or(Errno::ENOENT)?;
        if host_path(fd) != Err(Errno::ENAMETOOLONG) {
            return Err(Errno::ENOENT);
        }
        let above = sys::fs::openat(fd, c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        self.identify(above, Some(dir))
    }

    /// The directory above one that is no mount's root, by the kernel's `..`: for a guest that may not
    /// search the directories on the way there. ENOENT if it has been moved out of the view.
    pub(super) fn above_held(&self, dir: &Dir) -> sys::Result<Arc<Dir>> {
        let fd = dir.host().ok_or(Errno::ENOENT)?;
        let above = sys::fs::openat(fd, c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        self.identify(above, None)
    }

    /// Tells the cache that the guest moved or removed what was at `name` of `dir`.
    pub fn name_changed(&self, dir: &Dir, name: &[u8]) {
        if let Some(path) = &dir.path {
            let end = name.iter().position(|&b| b == b'/').unwrap_or(name.len());
            let path = path.join(name.get(..end).unwrap_or(name));
            self.cache.name_changed(&path);
            self.forget_listing(&path);
        }
    }

    /// What abstract socket names of this sandbox begin with, after their NUL.
    pub fn abstract_prefix(&self) -> &[u8] {
        &self.abstract_prefix
    }

    /// What the abstract name of a socket begins with, after the NUL, that sbox has named and that has no name for guests.
    /// No guest can make such a name, and nobody outside can guess it.
    pub fn nameless_prefix(&self) -> &[u8] {
        &self.nameless_prefix
    }

    /// The text by which the kernel knows a guest's abstract name of `name`, both without their NUL. A name that has no
    /// room behind the prefix is known by its hash.
    pub fn abstract_text(&self, name: &[u8], room: usize) -> Vec<u8> {
        let whole = [self.abstract_prefix(), name].concat();
        if whole.len() <= room {
            return whole;
        }
        let half = |salt: u8| {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write_u8(salt);
            hasher.write(name);
            hasher.finish()
        };
        let hash = format!("\0long {:016x}{:016x}", half(0), half(1));
        [self.abstract_prefix(), hash.as_bytes()].concat()
    }

    /// Remembers that a guest calls `asked` what the kernel knows as `text`; both begin with a NUL if they are abstract.
    pub fn name_is_bound(&self, text: Vec<u8>, asked: Vec<u8>) {
        let mut bound = lock(&self.bound);
        if bound.len() >= MAX_BOUND {
            bound.clear(); // their names are then told as the kernel knows them
        }
        bound.insert(text, asked);
    }

    /// Chooses the text by which the kernel will know a socket bound to `name` in a held directory,
    /// and remembers that the guest asked for `asked`. Different paths get different texts (`./name`,
    /// `././name`) as long as they fit into `room` bytes.
    pub fn name_bound(&self, name: &[u8], asked: &[u8], room: usize) -> Vec<u8> {
        let mut text = name.to_vec();
        let taken = |text: &Vec<u8>| lock(&self.bound).get(text).is_some_and(|a| a != asked);
        while taken(&text) && text.len() + 2 < room {
            text.splice(0..0, *b"./");
        }
        self.name_is_bound(text.clone(), asked.to_vec());
        text
    }

    /// The guest's name of a socket that the kernel knows as `text`: all of an abstract name, or a path, which may end in
    /// NUL. Of a text that was `cut`, if only one name begins so.
    pub fn bound_name(&self, text: &[u8], cut: bool) -> Option<Vec<u8>> {
        let text = match text.first()? {
            0 => text,
            _ => text.split(|&b| b == 0).next()?,
        };
        let bound = lock(&self.bound);
        if !cut {
            return bound.get(text).cloned();
        }
        let mut fit = bound.iter().filter(|(known, _)| known.starts_with(text));
        match (fit.next(), fit.next()) {
            (Some((_, asked)), None) => Some(asked.clone()),
            _ => None,
        }
    }

    /// Tells the cache that the guest changed the mode or owner of a directory.
    pub fn permissions_changed(&self) {
        self.cache.flush();
    }

    fn walk<'v>(&'v self, who: Caller<'v>) -> resolve::Walk<'v> {
        resolve::Walk::new(self, who)
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Generation of directories whose path can never change (the root, mount points, synthetic ones).
const ALWAYS: u64 = u64::MAX;

/// Paths of bound sockets that are remembered.
const MAX_BOUND: usize = 4096;

/// Descriptors of ours start here, so that low numbers stay free for what is inherited.
const FIRST_FD: i32 = 3;

/// The host path that the kernel reports for `fd`.
pub(crate) fn host_path(fd: BorrowedFd<'_>) -> sys::Result<HostPath> {
    let mut buf = [0u8; libc::PATH_MAX as usize];
    let link =
        CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    let text = sys::fs::readlink(&link, &mut buf)?;
    Ok(HostPath(text.into()))
}

/// What proc(5) puts behind the path of a removed file.
const DELETED: &[u8] = b" (deleted)";

/// What proc(5) says of a removed file, without saying that it is removed.
fn strip_deleted(text: &[u8]) -> &[u8] {
    text.strip_suffix(DELETED).unwrap_or(text)
}

/// Locks, also after another thread panicked: the run is being killed then, and no invariant of
/// these maps spans two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

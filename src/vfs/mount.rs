//! The mount table: what stands where in the guest's world.
//!
//! Built once from the view, immutable afterwards. A small tree of path components holds every
//! mount point and its ancestors; a directory of the view knows its node in that tree, so a
//! lookup asks the tree for one child and never scans the table.

use super::Scratch;
use super::cow::{Cow, Sync};
use super::meter::Meter;
use super::path::{HostPath, VPath, components, strip_prefix};
use crate::policy::RuleId;
use crate::sys::{self, Errno};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

/// Index of a node in the tree of mount points.
pub type NodeId = usize;
/// Index of a mount in the table.
pub type MountId = usize;

/// What a mount shows.
#[derive(Debug)]
pub enum Source {
    /// A host directory, held open.
    Dir(HostObject),
    /// A private, empty directory, made when it is first entered.
    Private(PrivateDir),
    /// Host directories shown as one; changes go to a private one.
    Cow(CowTree),
    /// One host file, held open.
    File(HostObject),
    /// A file of the run's own, made when it is first needed.
    Text(PrivateText),
    /// A symbolic link that exists only in the view (`/bin -> usr/bin`).
    Symlink(Box<[u8]>),
    /// Nothing: the path does not exist, but for what other mounts show below.
    Hidden,
    /// The devices of the view.
    Dev,
    /// The processes of the view.
    Proc,
}

/// A host file or directory that a mount shows: its descriptor (`O_PATH`) and host path.
#[derive(Debug)]
pub struct HostObject {
    /// Opened with `O_PATH`: the mount stays with this inode, whatever happens to the name.
    pub fd: OwnedFd,
    /// Where it was when sbox started; used to find back from descriptors to the view.
    pub path: HostPath,
}

/// A copy-on-write tree, and where its layers lie on the host.
#[derive(Debug)]
pub struct CowTree {
    /// The tree.
    pub cow: Cow,
    /// The upper's root and those of the lowers: used to find back from descriptors to the view.
    pub layers: Vec<HostPath>,
    /// Where the store lies, whose parts but the upper have no place in the view.
    store: HostPath,
}

/// Which part of a copy-on-write mount a host path lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The private one, which may be changed.
    Upper,
    /// One that is never changed.
    Lower,
}

impl CowTree {
    /// Shows `lowers`, topmost first, and keeps changes in the directory `store`.
    pub fn open(store: &HostObject, lowers: Vec<HostObject>, sync: Sync) -> sys::Result<Self> {
        let mut layers = vec![HostPath([&store.path.0[..], b"/upper"].concat().into())];
        let mut held = Vec::with_capacity(lowers.len());
        for lower in lowers {
            layers.push(lower.path);
            held.push(lower.fd);
        }
        let cow = Cow::open(store.fd.as_fd(), held, sync)?;
        let store = HostPath(store.path.0.clone());
        Ok(Self { cow, layers, store })
    }
}

/// A directory of the run's own: most programs never look at their `/tmp`.
#[derive(Debug)]
pub struct PrivateDir {
    path: HostPath,
    name: CString,
    mode: u32,
    made: OnceLock<OwnedFd>,
    /// Counts what is in it, if its size is limited.
    meter: Option<Meter>,
}

impl PrivateDir {
    /// The directory `name` of `scratch`, to be made with `mode`, which may grow to `limit` bytes.
    pub fn new(scratch: &Scratch, name: &CStr, mode: u32, limit: Option<u64>) -> Self {
        Self {
            path: scratch.place(name),
            name: name.to_owned(),
            mode,
            made: OnceLock::new(),
            meter: limit.map(Meter::new),
        }
    }

    /// The directory, made if this is the first time.
    pub(super) fn enter(&self, scratch: &Scratch) -> sys::Result<BorrowedFd<'_>> {
        if let Some(made) = self.made.get() {
            return Ok(made.as_fd());
        }
        let made = scratch.directory(&self.name, self.mode)?;
        Ok(self.made.get_or_init(|| made).as_fd())
    }
}

/// A file of a given text, of the run's own, that nobody may write to: most programs never look at it.
#[derive(Debug)]
pub struct PrivateText {
    path: HostPath,
    name: CString,
    text: Vec<u8>,
    made: OnceLock<HostObject>,
    making: Mutex<()>,
}

impl PrivateText {
    /// The file `name` of `scratch`.
    pub fn new(scratch: &Scratch, name: &CStr, text: Vec<u8>) -> Self {
        Self {
            path: scratch.place(name),
            name: name.to_owned(),
            text,
            made: OnceLock::new(),
            making: Mutex::default(),
        }
    }

    /// The file, made if this is the first time.
    pub(super) fn object(&self, scratch: &Scratch) -> sys::Result<&HostObject> {
        let _one = super::lock(&self.making);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let path = scratch.text(&self.name, &self.text);
        path.map_err(|e| {
            e.raw_os_error()
                .map_or(sys::Errno::EIO, sys::Errno::from_raw)
        })?;
        let text = CString::new(&*self.path.0).map_err(|_| sys::Errno::EINVAL)?;
        let object = HostObject::open(&text)?;
        Ok(self.made.get_or_init(|| object))
    }
}

/// One mount: a place in the view, what stands there, and the rule that governs it.
#[derive(Debug)]
pub struct Mount {
    /// The mount point.
    pub at: VPath,
    /// What stands there.
    pub source: Source,
    /// The rule that says what may be done to it.
    pub rule: RuleId,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, NodeId)>,
    mount: Option<MountId>,
    path: Option<VPath>,
}

/// All mounts of a sandbox.
#[derive(Debug)]
pub struct MountTable {
    nodes: Vec<Node>,
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Builds the table. Of two mounts at one place the later one wins.
    pub fn new(mounts: Vec<Mount>) -> Self {
        let root = Node {
            path: Some(VPath::root()),
            ..Node::default()
        };
        let mut table = Self {
            nodes: vec![root],
            mounts: Vec::new(),
        };
        for (id, mount) in mounts.iter().enumerate() {
            let node = table.insert(&mount.at);
            if let Some(node) = table.nodes.get_mut(node) {
                node.mount = Some(id);
            }
        }
        table.mounts = mounts;
        for (id, mount) in table.mounts.iter().enumerate() {
            if let Source::Cow(tree) = &mount.source
                && table.shows_elsewhere(id, mount, tree)
            {
                tree.cow.show_copies_as_new();
            }
        }
        table
    }

    /// True if another mount shows files of a copy-on-write tree's lowers.
    fn shows_elsewhere(&self, id: MountId, mount: &Mount, tree: &CowTree) -> bool {
        let at = |top: &VPath, rest: &[u8]| VPath::clean(&[top.as_bytes(), b"/", rest].concat());
        let others = self
            .mounts
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != id);
        others.into_iter().any(|(other_id, other)| {
            let sources: Vec<&HostPath> = match &other.source {
                Source::Dir(object) | Source::File(object) => vec![&object.path],
                Source::Cow(tree) => tree.layers.iter().skip(1).collect(),
                _ => vec![],
            };
            let lowers = tree.layers.iter().skip(1);
            let pairs = lowers.flat_map(|lower| sources.iter().map(move |source| (lower, source)));
            pairs.into_iter().any(|(lower, source)| {
                let (here, there) = (
                    strip_prefix(&source.0, &lower.0),
                    strip_prefix(&lower.0, &source.0),
                );
                match (here, there) {
                    // A part of the tree: at its own place it covers the tree's.
                    (Some(rest), _) => at(&mount.at, rest).as_ref() != Some(&other.at),
                    (_, Some(rest)) => at(&other.at, rest)
                        .is_none_or(|place| self.covering(&place) == Some(other_id)),
                    _ => false,
                }
            })
        })
    }

    fn insert(&mut self, path: &VPath) -> NodeId {
        let mut at = Self::ROOT;
        let mut so_far = VPath::root();
        for name in components(path.as_bytes()) {
            so_far = so_far.join(name);
            at = match self.child(at, name) {
                Some(next) => next,
                None => {
                    let next = self.nodes.len();
                    self.nodes.push(Node {
                        path: Some(so_far.clone()),
                        ..Node::default()
                    });
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.children.push((name.into(), next));
                    }
                    next
                }
            };
        }
        at
    }

    /// How many mounts there are.
    #[expect(
        clippy::len_without_is_empty,
        reason = "no table is empty: there is always a /proc"
    )]
    pub fn len(&self) -> usize {
        self.mounts.len()
    }

    /// All mounts.
    pub(super) fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The node of `/`.
    pub const ROOT: NodeId = 0;

    /// The node of child `name` of node `at`, if a mount lies there or below.
    pub fn child(&self, at: NodeId, name: &[u8]) -> Option<NodeId> {
        let node = self.nodes.get(at)?;
        node.children
            .iter()
            .find(|(child, _)| **child == *name)
            .map(|&(_, id)| id)
    }

    /// The names below node `at` at which mounts begin or pass.
    pub fn children(&self, at: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let node = self.nodes.get(at);
        node.into_iter()
            .flat_map(|n| n.children.iter().map(|(name, id)| (&**name, *id)))
    }

    /// The mount at node `at` itself.
    pub fn mount_at(&self, at: NodeId) -> Option<(MountId, &Mount)> {
        let id = self.nodes.get(at)?.mount?;
        Some((id, self.mounts.get(id)?))
    }

    /// True for a hidden place below which nothing is shown: the others are directories on the way there.
    pub fn is_gone(&self, at: NodeId) -> bool {
        matches!(self.mount_at(at), Some((_, mount)) if matches!(mount.source, Source::Hidden))
            && !self.children(at).any(|(_, child)| self.is_shown(child))
    }

    fn is_shown(&self, at: NodeId) -> bool {
        match self.mount_at(at) {
            Some((_, mount)) if !matches!(mount.source, Source::Hidden) => true,
            _ => self.children(at).any(|(_, child)| self.is_shown(child)),
        }
    }

    /// The path of node `at`.
    pub fn path(&self, at: NodeId) -> Option<&VPath> {
        self.nodes.get(at)?.path.as_ref()
    }

    /// A mount by number.
    pub fn mount(&self, id: MountId) -> Option<&Mount> {
        self.mounts.get(id)
    }

    /// The mount that covers `path` (longest prefix).
    pub fn covering(&self, path: &VPath) -> Option<MountId> {
        let mut at = Self::ROOT;
        let mut found = self.mount_at(at).map(|(id, _)| id);
        for name in components(path.as_bytes()) {
            let Some(next) = self.child(at, name) else {
                break;
            };
            at = next;
            found = self.mount_at(at).map(|(id, _)| id).or(found);
        }
        found
    }

    /// The view's path of a host path: the deepest mount whose source holds it, provided that
    /// this mount is what the view shows there (no other mount covers it).
    pub fn to_view(&self, host: &[u8]) -> Option<VPath> {
        self.shown(host).map(|(path, ..)| path)
    }

    /// True if any mount is copy-on-write.
    pub fn has_cow(&self) -> bool {
        let is_cow = |mount: &Mount| matches!(mount.source, Source::Cow(_));
        self.mounts.iter().any(is_cow)
    }

    /// The book of a mount whose size is limited.
    pub(super) fn meter(&self, id: MountId) -> Option<&Meter> {
        match &self.mount(id)?.source {
            Source::Private(dir) => dir.meter.as_ref(),
            _ => None,
        }
    }

    /// The mounts whose size is limited, and their books.
    pub(super) fn meters(&self) -> impl Iterator<Item = (&Mount, &Meter)> {
        let book = |(id, mount)| Some((mount, self.meter(id)?));
        self.mounts.iter().enumerate().filter_map(book)
    }

    /// The book of the limited mount in whose directory a host path lies.
    pub(super) fn meter_of(&self, host: &[u8]) -> Option<&Meter> {
        self.mounts.iter().find_map(|mount| match &mount.source {
            Source::Private(dir) if strip_prefix(host, &dir.path.0).is_some() => dir.meter.as_ref(),
            _ => None,
        })
    }

    /// The copy-on-write mount that shows a host path, and which of its parts holds it.
    pub fn layer_of(&self, host: &[u8]) -> Option<(MountId, Layer)> {
        for (id, mount) in self.mounts.iter().enumerate() {
            if let Source::Cow(tree) = &mount.source
                && strip_prefix(host, &tree.store.0).is_some()
            {
                return Some((id, Layer::Upper));
            }
        }
        let (_, id, at) = self.shown(host)?;
        match self.mount(id)?.source {
            Source::Cow(_) if at == 0 => Some((id, Layer::Upper)),
            Source::Cow(_) => Some((id, Layer::Lower)),
            _ => None,
        }
    }

    /// The view's path of a host path, the mount, and which of its sources holds it.
    pub(super) fn shown(&self, host: &[u8]) -> Option<(VPath, MountId, usize)> {
        let mut best: Option<(usize, VPath, MountId, usize)> = None;
        for (id, mount) in self.mounts.iter().enumerate() {
            let sources: Vec<&[u8]> = match &mount.source {
                Source::Dir(object) | Source::File(object) => vec![&object.path.0],
                Source::Private(dir) => vec![&dir.path.0],
                Source::Text(text) => vec![&text.path.0],
                Source::Cow(tree) => tree.layers.iter().map(|path| &*path.0).collect(),
                _ => continue,
            };
            for (at, source) in sources.into_iter().enumerate() {
                let Some(rest) = strip_prefix(host, source) else {
                    continue;
                };
                let depth = source.len();
                if best.as_ref().is_some_and(|(d, ..)| *d >= depth) {
                    continue;
                }
                let path = components(rest).fold(mount.at.clone(), |path, name| path.join(name));
                if self.covering(&path) == Some(id) {
                    best = Some((depth, path, id, at));
                }
            }
        }
        best.map(|(_, path, id, at)| (path, id, at))
    }
}

impl HostObject {
    /// Opens `path` on the host with `O_PATH`, following symbolic links.
    pub fn open(path: &CStr) -> sys::Result<Self> {
        if let Some(object) = Self::open_real(path)? {
            return Ok(object);
        }
        let fd = sys::fs::open(path, libc::O_PATH)?;
        let path = super::host_path(fd.as_fd())?;
        Ok(Self { fd, path })
    }

    /// The same if `path` is the object's own name already: absolute, clean and without a symbolic link on the way.
    pub fn open_real(path: &CStr) -> sys::Result<Option<Self>> {
        let text = path.to_bytes();
        if VPath::clean(text).is_none_or(|clean| clean.as_bytes() != text) {
            return Ok(None);
        }
        match sys::fs::open_without_links(path, libc::O_PATH) {
            Ok(fd) => Ok(Some(Self {
                fd,
                path: HostPath(text.into()),
            })),
            Err(Errno::ELOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, source: Source) -> Mount {
        Mount {
            at: VPath::clean(at.as_bytes()).unwrap(),
            source,
            rule: RuleId(0),
        }
    }

    fn dir(host: &str) -> Source {
        let path = std::ffi::CString::new(host).unwrap();
        Source::Dir(HostObject::open(&path).unwrap())
    }

    #[test]
    fn the_longest_prefix_covers() {
        let table = MountTable::new(vec![
            mount("/usr", dir("/usr")),
            mount("/usr/lib/secret", Source::Hidden),
            mount("/data", dir("/tmp")),
        ]);
        let covering = |p: &str| table.covering(&VPath::clean(p.as_bytes()).unwrap());
        assert_eq!(covering("/usr/lib"), Some(0));
        assert_eq!(covering("/usr/lib/secret/x"), Some(1));
        assert_eq!(covering("/usr/lib/secrets"), Some(0));
        assert_eq!(covering("/home"), None);
    }

    #[test]
    fn a_host_path_is_shown_where_its_mount_shows_it() {
        let table = MountTable::new(vec![
            mount("/usr", dir("/usr")),
            mount("/data", dir("/tmp")),
            mount("/usr/share/doc", Source::Hidden),
        ]);
        let view = |p: &str| table.to_view(p.as_bytes()).map(|v| v.to_string());
        assert_eq!(view("/tmp/x").as_deref(), Some("/data/x"));
        assert_eq!(view("/usr/bin/true").as_deref(), Some("/usr/bin/true"));
        assert_eq!(view("/usr/share/doc/x"), None, "covered by another mount");
        assert_eq!(view("/etc/passwd"), None);
    }
}

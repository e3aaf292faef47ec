//! A directory of the view, held open: where every path walk stands.

use super::cow::CowDir;
use super::fs::SynthDir;
use super::mount::NodeId;
use super::narrowed::Standings;
use super::path::VPath;
use crate::policy::RuleId;
use crate::sys::{self, Errno};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// Device and inode number: the identity of a host object while somebody holds it.
pub type Inode = (u64, u64);

/// A directory of the view.
///
/// Anchored at an inode, not at a name: it stays the same directory when somebody renames it.
/// `path`, `node` and `rule` were true at `generation` of the cache; [`super::Vfs::current`]
/// finds them anew after a rename.
#[derive(Debug)]
pub struct Dir {
    pub(super) id: u64,
    pub(super) kind: DirKind,
    pub(super) path: Option<VPath>,
    pub(super) node: Option<NodeId>,
    pub(super) rule: RuleId,
    pub(super) mount: Option<super::mount::MountId>,
    pub(super) generation: u64,
    /// When `path` was last seen to be true.
    pub(super) seen: Mutex<Instant>,
    /// Where `path` stands in the rules of a policy file, once somebody has asked.
    pub(super) standing: Standings,
}

#[derive(Debug)]
pub(super) enum DirKind {
    /// A host directory (`O_PATH`).
    Host { fd: OwnedFd, inode: Inode },
    /// A directory of a copy-on-write tree.
    Cow(Arc<CowDir>),
    /// A directory that exists only in the view; guests that open it get an empty placeholder.
    Synth {
        what: SynthDir,
        placeholder: OnceLock<OwnedFd>,
    },
}

impl Dir {
    /// The descriptor of a host directory; `None` for a synthetic one, and for one of a copy-on-write
    /// tree: calls made on a layer's directory would bypass the other layers.
    pub fn host(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            DirKind::Host { fd, .. } => Some(fd.as_fd()),
            DirKind::Cow(_) | DirKind::Synth { .. } => None,
        }
    }

    /// The host directory whose attributes this one has, for calls that only look; `None` for a
    /// synthetic one.
    pub fn real(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            DirKind::Host { fd, .. } => Some(fd.as_fd()),
            DirKind::Cow(dir) => dir.top().ok(),
            DirKind::Synth { .. } => None,
        }
    }

    /// True once the directory was removed.
    pub fn is_removed(&self) -> bool {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::fstat(fd.as_fd()).is_ok_and(|s| s.st_nlink == 0),
            DirKind::Cow(dir) => dir.path().is_none(),
            DirKind::Synth { .. } => false,
        }
    }

    /// A directory of a copy-on-write tree.
    pub(crate) fn cow(&self) -> Option<&Arc<CowDir>> {
        match &self.kind {
            DirKind::Cow(dir) => Some(dir),
            _ => None,
        }
    }

    /// What stat(2) says of `name`, which is no path and ends in no slash. Links are not followed.
    pub(super) fn stat_name(&self, name: &CStr) -> sys::Result<libc::stat> {
        match &self.kind {
            DirKind::Host { fd, .. } => {
                sys::fs::fstatat(fd.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW)
            }
            DirKind::Cow(dir) => dir.stat(name),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// readlink(2) of `name`.
    pub(crate) fn read_link<'b>(&self, name: &CStr, buf: &'b mut [u8]) -> sys::Result<&'b [u8]> {
        match &self.kind {
            DirKind::Host { fd, .. } => sys::fs::readlinkat(fd.as_fd(), name, buf),
            DirKind::Cow(dir) => dir.readlink(name, buf),
            DirKind::Synth { .. } => Err(Errno::ENOENT),
        }
    }

    /// What a synthetic directory is.
    pub(super) fn synth(&self) -> Option<SynthDir> {
        match &self.kind {
            DirKind::Host { .. } | DirKind::Cow(_) => None,
            DirKind::Synth { what, .. } => Some(*what),
        }
    }

    /// True for records of one directory at one place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let one = match (&self.kind, &other.kind) {
            (DirKind::Host { inode: a, .. }, DirKind::Host { inode: b, .. }) => a == b,
            (DirKind::Cow(a), DirKind::Cow(b)) => a.is_same(b),
            (DirKind::Synth { what: a, .. }, DirKind::Synth { what: b, .. }) => a == b,
            _ => false,
        };
        one && self.path == other.path && self.mount == other.mount
    }

    /// The rule that governs names in this directory.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// The path in the view, as of the directory's last look-up; `None` once it was removed.
    pub fn path(&self) -> Option<&VPath> {
        self.path.as_ref()
    }

    /// The mount on which names in this directory stand.
    pub fn mount(&self) -> Option<super::mount::MountId> {
        self.mount
    }

    /// True when both lie on the same mount, so that a rename between them is possible.
    pub fn same_mount(&self, other: &Self) -> bool {
        let hosts = self.host().is_some() && other.host().is_some();
        let cows = self.cow().is_some() && other.cow().is_some();
        self.mount == other.mount && (hosts || cows)
    }
}

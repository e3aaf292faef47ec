//! A directory of the view, held open: where every path walk stands.

use super::fs::SynthDir;
use super::mount::NodeId;
use super::path::VPath;
use crate::policy::RuleId;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock};
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
}

#[derive(Debug)]
pub(super) enum DirKind {
    /// A host directory (`O_PATH`).
    Host { fd: OwnedFd, inode: Inode },
    /// A directory that exists only in the view; guests that open it get an empty placeholder.
    Synth {
        what: SynthDir,
        placeholder: OnceLock<OwnedFd>,
    },
}

impl Dir {
    /// The descriptor of a host directory; `None` for a synthetic one.
    pub fn host(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            DirKind::Host { fd, .. } => Some(fd.as_fd()),
            DirKind::Synth { .. } => None,
        }
    }

    /// What a synthetic directory is.
    pub(super) fn synth(&self) -> Option<SynthDir> {
        match &self.kind {
            DirKind::Host { .. } => None,
            DirKind::Synth { what, .. } => Some(*what),
        }
    }

    /// True for records of one directory at one place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let one = match (&self.kind, &other.kind) {
            (DirKind::Host { inode: a, .. }, DirKind::Host { inode: b, .. }) => a == b,
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

    /// True when both lie on the same mount, so that a rename between them is possible.
    pub fn same_mount(&self, other: &Self) -> bool {
        self.mount == other.mount && self.host().is_some() && other.host().is_some()
    }
}

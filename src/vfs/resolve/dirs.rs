//! The records of directories that a walk enters.

use super::Walk;
use super::above::is_removed;
use crate::policy::RuleId;
use crate::sys::{self, Errno};
use crate::vfs::cow::CowDir;
use crate::vfs::dir::{Dir, DirKind};
use crate::vfs::fs::SynthDir;
use crate::vfs::mount::{MountId, MountTable, NodeId, Source};
use crate::vfs::narrowed::Standings;
use crate::vfs::path::{VPath, components};
use crate::vfs::{ALWAYS, FIRST_FD, Vfs, lock};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

impl Walk<'_> {
    pub(super) fn mount_root(&self, id: MountId, node: NodeId) -> sys::Result<Arc<Dir>> {
        let known = self.vfs.mount_roots.get(id).ok_or(Errno::ENOENT)?;
        if let Some(root) = known.get() {
            return Ok(Arc::clone(root));
        }
        let mount = self.vfs.table.mount(id).ok_or(Errno::ENOENT)?;
        let source = match &mount.source {
            Source::Dir(object) => object.fd.as_fd(),
            Source::Private(dir) => dir.enter(&self.vfs.scratch)?,
            _ => return Err(Errno::ENOTDIR),
        };
        let fd = sys::fs::dup_above(source, FIRST_FD)?;
        let path = Some(mount.at.clone());
        let made = self.host_dir(fd, path, Some(node), mount.rule, Some(id), ALWAYS)?;
        Ok(Arc::clone(known.get_or_init(|| made)))
    }

    pub(super) fn host_dir(
        &self,
        fd: OwnedFd,
        path: Option<VPath>,
        node: Option<NodeId>,
        rule: RuleId,
        mount: Option<MountId>,
        generation: u64,
    ) -> sys::Result<Arc<Dir>> {
        let stat = sys::fs::fstat(fd.as_fd())?;
        if node.is_some_and(|node| self.vfs.table.children(node).next().is_some()) {
            lock(&self.vfs.mixed).insert((stat.st_dev, stat.st_ino));
        }
        Ok(Arc::new(Dir {
            id: self.vfs.new_id(),
            kind: DirKind::Host {
                fd,
                inode: (stat.st_dev, stat.st_ino),
            },
            path,
            node,
            rule,
            mount,
            generation,
            seen: Mutex::new(Instant::now()),
            standing: Standings::default(),
        }))
    }

    pub(super) fn cow_dir(
        &self,
        dir: &Arc<CowDir>,
        path: Option<VPath>,
        node: Option<NodeId>,
        rule: RuleId,
        mount: Option<MountId>,
    ) -> Arc<Dir> {
        Arc::new(Dir {
            id: self.vfs.new_id(),
            kind: DirKind::Cow(Arc::clone(dir)),
            path,
            node,
            rule,
            mount,
            generation: self.generation,
            seen: Mutex::new(Instant::now()),
            standing: Standings::default(),
        })
    }
}

impl Vfs {
    /// A synthetic directory. Its placeholder is made when a guest first needs a descriptor.
    pub(in crate::vfs) fn synth_dir(
        &self,
        what: SynthDir,
        path: Option<VPath>,
    ) -> sys::Result<Arc<Dir>> {
        let node = match what {
            SynthDir::Ancestor(node) => Some(node),
            _ => path.as_ref().and_then(|p| self.node_at(p)),
        };
        if what == SynthDir::Ancestor(MountTable::ROOT) {
            return Ok(Arc::clone(&self.root));
        }
        Ok(Arc::new(Dir {
            // Equal directories get equal ids, so that the cache knows them again.
            id: what.id(),
            kind: DirKind::Synth {
                what,
                placeholder: OnceLock::new(),
            },
            path,
            node,
            rule: self.synthetic_rule,
            mount: None,
            generation: ALWAYS,
            seen: Mutex::new(Instant::now()),
            standing: Standings::default(),
        }))
    }

    /// EACCES for a directory in which the guest may not look names up. The kernel asks this where a
    /// walk passes through, also for `.` and `..`.
    pub fn may_search(&self, dir: &Dir) -> sys::Result<()> {
        let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
        if let Some(cow) = dir.cow() {
            return cow.access(c".", libc::X_OK, flags);
        }
        dir.host()
            .map_or(Ok(()), |fd| sys::fs::faccessat2(fd, c"", libc::X_OK, flags))
    }

    /// EACCES for a directory in which the guest may not make names, ENOENT for a removed one.
    pub fn may_make(&self, dir: &Dir) -> sys::Result<()> {
        let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
        if dir.host().is_some_and(is_removed) {
            return Err(Errno::ENOENT);
        }
        if let Some(cow) = dir.cow() {
            return match dir.is_removed() {
                true => Err(Errno::ENOENT),
                false => cow.access(c".", libc::W_OK | libc::X_OK, flags),
            };
        }
        dir.host().map_or(Ok(()), |fd| {
            sys::fs::faccessat2(fd, c"", libc::W_OK | libc::X_OK, flags)
        })
    }

    pub(in crate::vfs) fn node_at(&self, path: &VPath) -> Option<NodeId> {
        components(path.as_bytes())
            .try_fold(MountTable::ROOT, |node, name| self.table.child(node, name))
    }
}

//! Directories of copy-on-write mounts, as directories of the view.

use super::Vfs;
use super::cow::CowDir;
use super::dir::{Dir, DirKind, Inode};
use super::mount::{MountId, Source};
use super::path::{VPath, components, strip_prefix};
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::sync::{Arc, Mutex};
use std::time::Instant;

impl Vfs {
    /// The record of a directory in a copy-on-write tree, as true as of now; `like` is one of the same
    /// mount, and is taken if it still holds.
    pub(super) fn cow_record(&self, cow: &Arc<CowDir>, like: &Arc<Dir>) -> Arc<Dir> {
        let names = cow.path();
        let mount = like.mount.and_then(|id| self.table.mount(id));
        let path = mount.zip(names).map(|(mount, names)| {
            let join = |path: VPath, name: &CString| path.join(name.to_bytes());
            names.iter().fold(mount.at.clone(), join)
        });
        if like.cow().is_some_and(|known| known.is_same(cow)) && like.path == path {
            return Arc::clone(like);
        }
        let node = path.as_ref().and_then(|path| self.node_at(path));
        Arc::new(Dir {
            id: self.new_id(),
            kind: DirKind::Cow(Arc::clone(cow)),
            path,
            node,
            rule: like.rule,
            mount: like.mount,
            generation: self.cache.generation(),
            seen: Mutex::new(Instant::now()),
        })
    }

    /// The directory of a copy-on-write tree that a guest holds by a layer's directory `inode`,
    /// whose path in the view would be `path`. ENOENT if the view shows another there by now.
    pub(super) fn cow_dir_of(
        &self,
        id: MountId,
        path: &VPath,
        inode: Inode,
    ) -> sys::Result<Option<Arc<Dir>>> {
        let Some(mount) = self.table.mount(id) else {
            return Ok(None);
        };
        let Source::Cow(tree) = &mount.source else {
            return Ok(None);
        };
        let rest = strip_prefix(path.as_bytes(), mount.at.as_bytes());
        let mut at = Arc::clone(tree.cow.root());
        for name in components(rest.unwrap_or_default()) {
            let name = CString::new(name).map_err(|_| Errno::ENOENT)?;
            at = at.open_dir(&name)?;
        }
        if !at.has_layer(inode) {
            return Err(Errno::ENOENT);
        }
        Ok(Some(Arc::new(Dir {
            id: self.new_id(),
            kind: DirKind::Cow(at),
            path: Some(path.clone()),
            node: self.node_at(path),
            rule: mount.rule,
            mount: Some(id),
            generation: self.cache.generation(),
            seen: Mutex::new(Instant::now()),
        })))
    }
}

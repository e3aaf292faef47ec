//! Directories of copy-on-write mounts, as directories of the view.

use super::cow::{CowDir, Entry, attribute_names, shown_name, stored_name};
use super::dir::{Dir, DirKind, Inode};
use super::mount::{CowTree, Layer, MountId, Source};
use super::narrowed::Standings;
use super::path::{VPath, components, strip_prefix};
use super::{DELETED, Last, Place, Vfs, host_path, strip_deleted};
use crate::sys::{self, Errno};
use bumpalo::Bump;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
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
            standing: Standings::default(),
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
        if self.tree(id).is_none() {
            return Ok(None);
        }
        let dir = self.cow_dir_at(id, path)?;
        match dir.cow() {
            Some(cow) if cow.has_layer(inode) => Ok(Some(dir)),
            _ => Err(Errno::ENOENT),
        }
    }

    /// The directory of a copy-on-write tree that a guest holds by a layer's directory `fd`; `None` if it holds another.
    pub(super) fn cow_dir_held(
        &self,
        fd: BorrowedFd<'_>,
        inode: Inode,
    ) -> sys::Result<Option<Arc<Dir>>> {
        if !self.table.has_cow() {
            return Ok(None);
        }
        if let Some(dir) = self.cache.by_inode(inode) {
            return Ok(dir.cow().is_some().then_some(dir));
        }
        if let Ok(host) = host_path(fd) {
            let Some((id, _)) = self.table.layer_of(&host.0) else {
                return Ok(None);
            };
            if let Some(path) = self.table.to_view(&host.0)
                && self.table.covering(&path) == Some(id)
                && let Ok(Some(dir)) = self.cow_dir_of(id, &path, inode)
            {
                self.cache.adopt(&dir, inode);
                return Ok(Some(dir));
            }
        } else if self.layer_of(fd)?.is_none() {
            return Ok(None);
        }
        // Removed, or at a place that can't be told: as for any other call.
        self.dir_of(sys::fs::dup_above(fd, 0)?).map(Some)
    }

    pub(super) fn is_cow(&self, id: MountId) -> bool {
        self.tree(id).is_some()
    }

    fn tree(&self, id: MountId) -> Option<&CowTree> {
        match &self.table.mount(id)?.source {
            Source::Cow(tree) => Some(tree),
            _ => None,
        }
    }

    /// The directory that a copy-on-write mount has at `path` of the view.
    fn cow_dir_at(&self, id: MountId, path: &VPath) -> sys::Result<Arc<Dir>> {
        let mount = self.table.mount(id).ok_or(Errno::ENOENT)?;
        let tree = self.tree(id).ok_or(Errno::ENOENT)?;
        let rest = strip_prefix(path.as_bytes(), mount.at.as_bytes());
        let mut at = Arc::clone(tree.cow.root());
        for name in components(rest.ok_or(Errno::ENOENT)?) {
            let name = CString::new(name).map_err(|_| Errno::ENOENT)?;
            at = at.open_dir(&name)?;
        }
        Ok(Arc::new(Dir {
            id: self.new_id(),
            kind: DirKind::Cow(at),
            path: Some(path.clone()),
            node: self.node_at(path),
            rule: mount.rule,
            mount: Some(id),
            generation: self.cache.generation(),
            seen: Mutex::new(Instant::now()),
            standing: Standings::default(),
        }))
    }

    /// Which part of which copy-on-write mount holds the file that `fd` names, by the path that the
    /// kernel knows for it; `None` for any other file. Where that is too long, directories are taken for
    /// lowers' (nothing is changed through them), and of files nobody knows (EROFS).
    pub fn layer_of(&self, fd: BorrowedFd<'_>) -> sys::Result<Option<(MountId, Layer)>> {
        if !self.table.has_cow() {
            return Ok(None);
        }
        match host_path(fd) {
            Ok(host) => Ok(self.table.layer_of(&host.0)),
            Err(_) => {
                let stat = sys::fs::fstat(fd)?;
                if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
                    return Err(Errno::EROFS);
                }
                let id = self.mount_above(fd).map_err(|_| Errno::EROFS)?;
                Ok(self.is_cow(id).then_some((id, Layer::Lower)))
            }
        }
    }

    /// Identity and number of links as guests see them, from those on the host.
    pub fn as_shown(&self, inode: Inode, links: u64) -> (Inode, u64) {
        let mounts = self.table.mounts().iter();
        let trees = mounts.filter_map(|mount| match &mount.source {
            Source::Cow(tree) => Some(&tree.cow),
            _ => None,
        });
        trees.fold((inode, links), |(inode, links), cow| {
            cow.as_shown(inode, links)
        })
    }

    /// True if files may have another identity for guests than on the host.
    pub fn has_copies(&self) -> bool {
        self.table.has_cow()
    }

    /// The name by which a copy-on-write mount keeps a guest's attribute.
    pub fn stored_xattr(&self, name: &CStr) -> sys::Result<CString> {
        stored_name(name)
    }

    /// getxattr(2). In copy-on-write mounts the attributes of their format don't exist.
    pub fn get_xattr(&self, fd: BorrowedFd<'_>, name: &CStr, buf: &mut [u8]) -> sys::Result<usize> {
        let path = self.fd_path(fd)?;
        match self.layer_of(fd)? {
            None => sys::fs::getxattr(&path, name, buf),
            Some(_) => sys::fs::getxattr(&path, &stored_name(name)?, buf),
        }
    }

    /// listxattr(2): the names, each ending in NUL.
    pub fn list_xattrs(&self, fd: BorrowedFd<'_>, buf: &mut [u8]) -> sys::Result<usize> {
        let path = self.fd_path(fd)?;
        if self.layer_of(fd)?.is_none() {
            return sys::fs::listxattr(&path, buf);
        }
        let mut list = Vec::new();
        for stored in attribute_names(&path)? {
            if let Some(shown) = shown_name(stored.to_bytes()) {
                list.extend_from_slice(&shown);
                list.push(0);
            }
        }
        if buf.is_empty() {
            return Ok(list.len());
        }
        buf.get_mut(..list.len())
            .ok_or(Errno::ERANGE)?
            .copy_from_slice(&list);
        Ok(list.len())
    }

    /// Tells the tree that modes or owners of its directories were changed through a descriptor.
    pub fn layer_changed(&self, id: MountId) {
        if let Some(tree) = self.tree(id) {
            tree.cow.permissions_changed();
        }
    }

    /// Where the file that `fd` names stands in a copy-on-write mount, if it isn't to be acted on through
    /// the descriptor: a directory, or a lower's file, of which a copy is to be changed or was made.
    /// `None` for all others, and for a lower's file that the view doesn't show any more.
    pub fn place_held<'a>(
        &self,
        fd: BorrowedFd<'_>,
        arena: &'a Bump,
    ) -> sys::Result<Option<Place<'a>>> {
        let Ok(Some((id, layer))) = self.layer_of(fd) else {
            return Ok(None);
        };
        let stat = sys::fs::fstat(fd)?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            let own = sys::fs::dup_above(fd, super::FIRST_FD)?;
            let dir = self.dir_of(own).ok();
            return Ok(dir.map(|dir| Place::Dir(dir, Last::Root)));
        }
        if layer == Layer::Upper {
            return Ok(None);
        }
        let host = host_path(fd)?;
        let path = self.table.to_view(&host.0);
        let Some((dir, name)) = path.and_then(|path| self.cow_name(id, &path)) else {
            return Ok(None);
        };
        if !has(&dir, &name, Some(stat.st_ino), Some(stat.st_dev)) {
            return Ok(None);
        }
        let text = arena.alloc_slice_copy(name.to_bytes_with_nul());
        let name = CStr::from_bytes_with_nul(text).map_err(|_| Errno::ENOENT)?;
        Ok(Some(Place::Name {
            dir,
            name,
            pinned: false,
        }))
    }

    /// The directory and the name by which a copy-on-write mount has `path` of the view.
    fn cow_name(&self, id: MountId, path: &VPath) -> Option<(Arc<Dir>, CString)> {
        let (above, name) = path.split_last()?;
        let above = VPath::clean(&[b"/", above].concat())?;
        let dir = self.cow_dir_at(id, &above).ok()?;
        Some((dir, CString::new(name).ok()?))
    }

    /// What proc(5) tells of a file whose path is `host` for the kernel: its path in the view, with
    /// ` (deleted)` behind it once nothing there is the file. `None` for what the view has never shown.
    ///
    /// `ino` and `device` are `None` where the caller doesn't know what stat(2) would tell.
    pub(super) fn text_of_host(
        &self,
        host: &[u8],
        ino: Option<u64>,
        device: Option<u64>,
    ) -> Option<Vec<u8>> {
        let bare = strip_deleted(host);
        let removed = bare.len() != host.len();
        let (path, gone) = match self.table.shown(bare) {
            // The kernel knows that of the upper; of what a lower has only the view knows it.
            Some((path, id, layer)) if layer > 0 && !removed => {
                let entry = self.cow_name(id, &path);
                let here = entry.is_some_and(|(dir, name)| has(&dir, &name, ino, device));
                (path, !here)
            }
            Some((path, ..)) => (path, removed),
            None => {
                let (id, _) = self.table.layer_of(bare)?;
                let names = self.tree(id)?.cow.shown_at(ino?)?;
                let join = |path: VPath, name: &CString| path.join(name.to_bytes());
                let path = names.iter().fold(self.table.mount(id)?.at.clone(), join);
                let here = self.cow_name(id, &path).is_some_and(|(dir, name)| {
                    let found = dir.cow().map(|cow| cow.lookup(&name));
                    matches!(found, Some(Ok(Entry::Upper(found))) if Some(found.st_ino) == ino)
                });
                (path, removed || !here)
            }
        };
        let mut text = path.as_bytes().to_vec();
        if gone {
            text.extend_from_slice(DELETED);
        }
        Some(text)
    }

    /// What proc(5) tells of a directory of a copy-on-write mount that was removed.
    pub(super) fn text_of_removed(&self, dir: &Dir) -> Option<Vec<u8>> {
        let at = &self.table.mount(dir.mount?)?.at;
        let names = dir.cow()?.last_path();
        let path = names
            .iter()
            .fold(at.clone(), |path, name| path.join(name.to_bytes()));
        Some([path.as_bytes(), DELETED].concat())
    }
}

/// True if a copy-on-write directory has at `name` the file with this inode, or the copy that was made of it.
fn has(dir: &Dir, name: &CStr, ino: Option<u64>, device: Option<u64>) -> bool {
    let Some(cow) = dir.cow() else {
        return false;
    };
    match cow.lookup(name) {
        Ok(Entry::Lower(_, found)) => {
            ino.is_none_or(|ino| ino == found.st_ino)
                && device.is_none_or(|device| device == found.st_dev)
        }
        Ok(Entry::Upper(found)) => device.zip(ino).is_none_or(|inode| {
            let copy = (found.st_dev, found.st_ino);
            copy == inode || cow.is_copy(inode, copy)
        }),
        _ => false,
    }
}

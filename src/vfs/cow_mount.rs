//! Directories of copy-on-write mounts, as directories of the view.

use super::cow::{CowDir, Entry, attribute_names, shown_name, stored_name};
use super::dir::{Dir, DirKind, Inode};
use super::mount::{CowTree, Layer, MountId, Source};
use super::path::{VPath, components, strip_prefix};
use super::{Last, Place, Vfs, host_path};
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
        let (above, name) = match self.table.to_view(&host.0) {
            Some(path) => match path.split_last() {
                Some((above, name)) => (VPath::clean(&[b"/", above].concat()), name.to_vec()),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let Some(dir) = above.and_then(|above| self.cow_dir_at(id, &above).ok()) else {
            return Ok(None);
        };
        let name = CString::new(name).map_err(|_| Errno::ENOENT)?;
        let inode = (stat.st_dev, stat.st_ino);
        let is_same = match dir.cow().map(|cow| (cow, cow.lookup(&name))) {
            Some((_, Ok(Entry::Lower(_, found)))) => (found.st_dev, found.st_ino) == inode,
            Some((cow, Ok(Entry::Upper(found)))) => {
                cow.is_copy(inode, (found.st_dev, found.st_ino))
            }
            _ => false,
        };
        if !is_same {
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
}

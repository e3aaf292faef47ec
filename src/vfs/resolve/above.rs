//! `..`: looked up in the view, never asked of the kernel, which knows no mount of ours.

use super::Walk;
use crate::sys::{self, Errno};
use crate::vfs::dir::Dir;
use crate::vfs::host_path;
use crate::vfs::path::VPath;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

impl Walk<'_> {
    /// `..`: the directory that the view shows above `dir`.
    pub(super) fn parent(&mut self, dir: &Arc<Dir>) -> sys::Result<Arc<Dir>> {
        let dir = self.vfs.current(dir);
        // Also of a directory that was removed: whoever stands in it asks to pass through.
        self.vfs.may_search(&dir)?;
        if let (Some(cow), None) = (dir.cow(), &dir.path) {
            let above = cow.above().ok_or(Errno::ENOENT)?;
            return Ok(self.vfs.cow_record(&above, &dir));
        }
        let Some(path) = &dir.path else {
            return self.parent_of_removed(&dir);
        };
        if dir.host().is_some_and(is_removed) {
            return self.parent_of_removed(&dir);
        }
        match self.above(path) {
            // The kernel asks nothing of the directories further up.
            Err(Errno::EACCES) if !self.is_mount(&dir) => match dir.cow() {
                Some(cow) => {
                    let above = cow.above().ok_or(Errno::ENOENT)?;
                    Ok(self.vfs.cow_record(&above, &dir))
                }
                None => self.vfs.above_held(&dir),
            },
            other => other,
        }
    }

    fn is_mount(&self, dir: &Dir) -> bool {
        dir.node
            .is_some_and(|node| self.vfs.table.mount_at(node).is_some())
    }

    fn above(&mut self, path: &VPath) -> sys::Result<Arc<Dir>> {
        let root = Arc::clone(&self.vfs.root);
        match path.split_last() {
            None => Ok(root),
            Some((above, _)) => self.dir(&root, above),
        }
    }

    /// A removed directory still has the parent that it had, for those who stand in it; so has one
    /// whose path is too long.
    fn parent_of_removed(&mut self, dir: &Dir) -> sys::Result<Arc<Dir>> {
        let host = match host_path(dir.host().ok_or(Errno::ENOENT)?) {
            Err(Errno::ENAMETOOLONG) => return self.vfs.above_deep(dir),
            other => other?,
        };
        let text = host.0.strip_suffix(b" (deleted)").ok_or(Errno::ENOENT)?;
        let path = self.vfs.table.to_view(text).ok_or(Errno::ENOENT)?;
        match self.above(&path) {
            Err(Errno::EACCES) => self.vfs.above_held(dir),
            other => other,
        }
    }
}

pub(super) fn is_removed(dir: BorrowedFd<'_>) -> bool {
    sys::fs::fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

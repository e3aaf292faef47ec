//! Listings of merged directories.

use super::super::readdir::Listing;
use super::dir::CowDir;
use super::layer;
use super::upper::{Kind, each_record};
use crate::sys::{self, Errno};
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl CowDir {
    /// The upper's directory, if the kernel's listing of it is this one's: no lower shines through,
    /// and nothing is hidden. A lower's never is, as it may have whiteouts.
    pub fn plain(&self) -> sys::Result<Option<OwnedFd>> {
        let _gate = self.store.look();
        match (self.upper(), &*self.lowers) {
            (Some(upper), []) if !upper.has_whiteouts()? => {
                sys::fs::dup_above(upper.fd.as_fd(), 0).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The names of all layers, each once. Inode numbers are those of the topmost layer that has the
    /// name, as in stat(2). ENOENT in a removed directory, EACCES without the right to read it.
    pub fn list(&self) -> sys::Result<Listing> {
        let _gate = self.store.look();
        if self.is_removed() {
            return Err(Errno::ENOENT);
        }
        let mut listing = Listing::new();
        let device = self.top_inode().ok_or(Errno::ENOENT)?.0;
        let shown = |ino| {
            self.store
                .original_of((device, ino))
                .map_or(ino, |inode| inode.1)
        };
        let own = shown(self.top_inode().ok_or(Errno::ENOENT)?.1);
        listing.add(b".".to_vec(), own, libc::DT_DIR);
        let above = self.inode_above().map_or(own, shown);
        listing.add(b"..".to_vec(), above, libc::DT_DIR);
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        if let Some(upper) = self.upper() {
            let names = upper.names()?;
            let whiteouts = names.iter().filter(|(_, kind)| *kind == Kind::Whiteout);
            seen.extend(whiteouts.map(|(name, _)| name.clone()));
            let own = open_to_list(upper.fd.as_fd())?;
            each_record(own.as_fd(), |inode, kind, name| {
                if seen.insert(name.into()) {
                    listing.add(name.to_vec(), shown(inode), kind);
                }
                Ok(())
            })?;
        }
        for lower in &self.lowers {
            let fd = lower.fd.as_fd();
            let own = open_to_list(fd)?;
            each_record(own.as_fd(), |inode, kind, name| {
                if seen.contains(name) {
                    return Ok(());
                }
                seen.insert(name.into());
                if matches!(kind, libc::DT_CHR | libc::DT_UNKNOWN) || lower.marked {
                    let text = CString::new(name).map_err(|_| Errno::EIO)?;
                    match sys::fs::fstatat(fd, &text, libc::AT_SYMLINK_NOFOLLOW) {
                        Ok(stat) if layer::is_whiteout(&stat) => return Ok(()),
                        Ok(stat) if lower.marked && layer::is_marker(fd, &text, &stat) => {
                            return Ok(());
                        }
                        Err(Errno::ENOENT) => return Ok(()),
                        _ => {}
                    }
                }
                listing.add(name.to_vec(), inode, kind);
                Ok(())
            })?;
        }
        Ok(listing)
    }
}

fn open_to_list(dir: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    sys::fs::openat(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

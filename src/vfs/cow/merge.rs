//! Listings of merged directories.

use super::super::dir::Inode;
use super::super::readdir::{Draft, Listing};
use super::dir::CowDir;
use super::layer;
use super::upper::{Kind, each_record};
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who decides what a name is, in this order; each lower has a rank of its own.
const WHITEOUT: u16 = 1;
const UPPER: u16 = 2;
const LOWERS: u16 = 3;

/// What a guest reads a directory by: most often one of its layers, which needn't be opened once more then.
///
/// Others may have the same open file description, and move it while we read. So what was read by it is told to nobody but
/// the process that asked.
pub(in crate::vfs) struct Reader<'f> {
    pub(in crate::vfs) fd: BorrowedFd<'f>,
    pub(in crate::vfs) inode: Inode,
    /// How far it has been read.
    pub(in crate::vfs) position: i64,
}

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
        Ok(self.draft(None)?.finish())
    }

    /// [`CowDir::list`], to which more may be added. The layer that `reader` holds is read by its descriptor.
    pub(in crate::vfs) fn draft(&self, reader: Option<&Reader<'_>>) -> sys::Result<Draft> {
        let _gate = self.store.look();
        if self.is_removed() {
            return Err(Errno::ENOENT);
        }
        let mut listing = Draft::with_room();
        let device = self.top_inode().ok_or(Errno::ENOENT)?.0;
        let shown = |ino| {
            self.store
                .original_of((device, ino))
                .map_or(ino, |inode| inode.1)
        };
        let own = shown(self.top_inode().ok_or(Errno::ENOENT)?.1);
        listing.add(b".", own, libc::DT_DIR, UPPER);
        let above = self.inode_above().map_or(own, shown);
        listing.add(b"..", above, libc::DT_DIR, UPPER);
        if let Some(upper) = self.upper() {
            let names = upper.names()?;
            for (name, kind) in names.iter() {
                if *kind == Kind::Whiteout {
                    listing.hide(name, WHITEOUT);
                }
            }
            each_name(
                upper.fd.as_fd(),
                upper.inode,
                reader,
                |inode, kind, name| {
                    listing.add(name, shown(inode), kind, UPPER);
                    Ok(())
                },
            )?;
        }
        for (rank, lower) in (LOWERS..).zip(&self.lowers) {
            let fd = lower.fd.as_fd();
            each_name(fd, lower.inode, reader, |inode, kind, name| {
                if matches!(kind, libc::DT_CHR | libc::DT_UNKNOWN) || lower.marked {
                    let text = CString::new(name).map_err(|_| Errno::EIO)?;
                    let found = sys::fs::fstatat(fd, &text, libc::AT_SYMLINK_NOFOLLOW);
                    let hides = match found {
                        Ok(stat) => {
                            layer::is_whiteout(&stat)
                                || lower.marked && layer::is_marker(fd, &text, &stat)
                        }
                        Err(errno) => errno == Errno::ENOENT,
                    };
                    if hides {
                        listing.hide(name, rank);
                        return Ok(());
                    }
                }
                listing.add(name, inode, kind, rank);
                Ok(())
            })?;
        }
        Ok(listing)
    }
}

/// The names in a layer's directory.
fn each_name(
    dir: BorrowedFd<'_>,
    inode: Inode,
    reader: Option<&Reader<'_>>,
    see: impl FnMut(u64, u8, &[u8]) -> sys::Result<()>,
) -> sys::Result<()> {
    let Some(reader) = reader.filter(|reader| reader.inode == inode) else {
        let own = sys::fs::openat(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        return each_record(own.as_fd(), see);
    };
    sys::fs::lseek(reader.fd, 0, libc::SEEK_SET)?;
    let seen = each_record(reader.fd, see);
    sys::fs::lseek(reader.fd, reader.position, libc::SEEK_SET)?;
    seen
}

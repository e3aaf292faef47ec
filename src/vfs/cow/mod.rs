//! Copy-on-write: a writable directory tree on top of others that are never changed.
//!
//! ```text
//!                  what a guest sees        a   b   c   d/
//!                                           ▲   ▲       ▲  merged
//! upper  (private, writable)                a   │   ∅   d/  with copies and whiteouts
//! lower 1 (shared, only read)               a   │   c   d/
//! lower 2                                       b   c   d/
//! ```
//!
//! The first layer that has a name decides. To remove what a lower has, a *whiteout* is put into
//! the upper; to change it, it is copied there first (*copy-up*). A directory made where one was
//! removed is *opaque*: nothing below it shines through.
//!
//! On disk this is the kernel's overlayfs in its unprivileged flavour (`-o userxattr`): whiteouts are
//! character devices 0:0, which anybody may make since Linux 5.8, and opaque directories carry
//! `user.overlay.opaque`. The kernel can mount what is written here, and the reverse. Rules, order
//! of errors and the points at which data is forced to disk are overlayfs' too
//! (Documentation/filesystems/overlayfs.rst); `DIFFERS:` marks where they are not.
//!
//! | file | what it does |
//! |---|---|
//! | `store.rs` | the writable half on disk: upper, work, index; recovery after a crash |
//! | `layer.rs` | what marks a whiteout, an opaque directory, our own attributes |
//! | `upper.rs` | a directory of the upper, with its names in memory |
//! | `dir.rs` | a merged directory: which layers it consists of, where it hangs |
//! | `lookup.rs` | which layer has a name; stat, readlink, access |
//! | `open.rs` | open(2), and creating |
//! | `copyup.rs` | from a lower to the upper, whole or not at all |
//! | `change.rs`, `rename.rs` | names: make, link, remove, rename |
//! | `attr.rs` | modes, owners, times, sizes, extended attributes |
//! | `merge.rs` | listings |
//! | `rights.rs` | may the caller do this to a lower? Asked before copying, as the copy would be ours |
//!
//! # Keeping it right
//!
//! - Every kernel call takes a held directory and one name, `O_NOFOLLOW`. Nothing that others
//!   rename in a lower redirects us.
//! - The upper is ours alone (a lock says so), so its names are kept in memory: what isn't there
//!   costs no call. Lowers may change at any time and are asked each time.
//! - `Store::gate` is held shared to look and exclusively to change. Data is copied without it.
//! - What appears under a name in the upper is finished: it is built in `work` and moved or linked
//!   into place by one call. `work` is emptied at the next start.
//!
//! # What it must not know
//!
//! Guests, tasks, policies, how calls are caught. It acts with the credentials of the calling thread.
//!
//! # Known differences from one real file system
//!
//! Those of overlayfs: descriptors opened before for reading go on showing the lower's data; directories
//! that come from a lower can't be renamed (EXDEV, and programs then copy). A copy is told to be its
//! original ([`Cow::as_shown`]) in the run that made it; in later runs it has an inode number of its own.

mod attr;
mod change;
mod copyup;
mod dir;
pub(crate) mod layer;
mod lookup;
mod merge;
mod open;
mod rename;
mod rights;
mod store;
mod upper;

pub(crate) use copyup::{copy_data, copy_metadata_out};
pub use dir::CowDir;
pub(super) use layer::{attribute_names, fd_path, shown_name, stored_name};
pub use lookup::Entry;
pub(super) use merge::Reader;
pub use store::Sync;
pub(crate) use store::{names_in, names_of, open_dir, remove_tree};
pub(crate) use upper::widened;

use crate::sys::{self, Errno};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use store::Store;

/// One copy-on-write tree.
#[derive(Debug)]
pub struct Cow {
    root: Arc<CowDir>,
}

impl Cow {
    /// Opens the tree whose changes are kept in the directory `store`, over `lowers`, topmost first.
    ///
    /// What a killed run left half done is removed. EBUSY while somebody else has the store open,
    /// EXDEV if parts of the store lie on different file systems, EINVAL without lowers.
    pub fn open(store: BorrowedFd<'_>, lowers: Vec<OwnedFd>, sync: Sync) -> sys::Result<Self> {
        let bottom = lowers.first().ok_or(Errno::EINVAL)?;
        let store = Store::open(store, bottom, sync)?;
        Ok(Self {
            root: CowDir::root(store, lowers)?,
        })
    }

    /// The root directory of the tree.
    pub fn root(&self) -> &Arc<CowDir> {
        &self.root
    }

    /// What guests see of a file or directory, from what stat(2) says on the host: the same identity after
    /// it was copied, in this run, as before, and as many links as there are names in the tree.
    pub fn as_shown(&self, inode: (u64, u64), links: u64) -> ((u64, u64), u64) {
        let store = &self.root.store;
        let shown = store.original_of(inode).unwrap_or(inode);
        (shown, store.shown_links(inode, links))
    }

    /// Where this tree shows, or last showed, what the kernel knows by a name in the store that is no
    /// part of the upper, by its inode number: removed directories, and copies under a further name.
    pub fn shown_at(&self, ino: u64) -> Option<Vec<CString>> {
        self.root.store.shown_at(ino)
    }

    /// To be called where files of the lowers are also seen outside of the tree: there a copy and its original are
    /// two files, and must not be shown as one.
    pub fn show_copies_as_new(&self) {
        self.root.store.show_copies_as_new();
    }

    /// To be called when modes, owners or access lists of directories were changed through
    /// descriptors, past this module: what was remembered of rights is forgotten.
    pub fn permissions_changed(&self) {
        self.root.store.permissions_changed();
    }
}

//! What a walk is asked, and what it answers.

use crate::vfs::dir::Dir;
use crate::vfs::fs::{Magic, SynthFile};
use crate::vfs::mount::MountId;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Whether a symbolic link as the last component is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Last,
    /// The link itself is meant.
    Never,
    /// It is, to a file that is made if it isn't there: EISDIR where the name, or the text of a
    /// link, says by a slash that it is a directory (open(2), `O_CREAT`).
    Make,
}

/// Where a path leads: what a call acts on.
#[derive(Debug)]
pub enum Place<'a> {
    /// A name in a host directory, which may or may not exist. `name` keeps a trailing slash.
    Name {
        /// The directory, held.
        dir: Arc<Dir>,
        /// The last name, as the kernel takes it.
        name: &'a CStr,
        /// A mount point lies here or below: the name can't be moved or removed (EBUSY).
        pinned: bool,
    },
    /// A directory itself: the path ended in `/`, `.`, `..`, or at a mount point.
    Dir(Arc<Dir>, Last),
    /// A host file that is a mount of its own.
    File(MountId),
    /// A file that only the view knows.
    Synth(SynthFile),
    /// A symbolic link that only the view knows, not followed.
    Link {
        /// The directory that holds it.
        dir: Arc<Dir>,
        /// Its text.
        text: &'a [u8],
    },
    /// A magic link of `/proc`, not followed.
    Magic(Magic),
    /// What a magic link led to: an open file of some guest.
    Open(Arc<OwnedFd>),
    /// Nothing, and nothing can be made here but by the rule of the directory.
    Absent {
        /// The directory in which it is missing.
        dir: Arc<Dir>,
        /// It is hidden rather than missing.
        hidden: bool,
    },
}

/// How a path that ended at a directory was written; calls that need a name differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// `/`, or the magic link of a directory.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name that is a mount point or a directory of our own.
    Mounted,
}

/// A place and, if something is there, its attributes.
#[derive(Debug)]
pub struct Found<'a> {
    /// Where.
    pub place: Place<'a>,
    /// What stat(2) says of it; `None` when nothing exists there.
    pub stat: Option<libc::stat>,
}

//! What the layers say on disk: whiteouts, opaque directories, attributes that are ours.

use super::super::Inode;
use super::upper::widened;
use crate::sys::{self, Errno};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Marks a directory through which no lower shines (`y`), or whose whiteouts are marker files (`x`).
const OPAQUE: &CStr = c"user.overlay.opaque";
/// On an empty regular file: it is a whiteout.
const WHITEOUT: &CStr = c"user.overlay.whiteout";
/// On a directory into which a commit is writing: what the host's was when it began.
const COMMIT: &CStr = c"user.overlay.sbox.commit";
/// Names of attributes that belong to the format. Guests' own with such names are stored with
/// `overlay.` once more, as overlayfs does since Linux 6.7.
const PRIVATE: &[u8] = b"user.overlay.";
const ESCAPE: &[u8] = b"overlay.";

/// A directory of a lower.
#[derive(Debug)]
pub(super) struct LowerDir {
    /// `O_PATH`.
    pub(super) fd: OwnedFd,
    pub(super) inode: Inode,
    /// Which of the lowers, topmost 0.
    pub(super) layer: usize,
    /// Whiteouts may be marker files.
    pub(super) marked: bool,
}

/// What `user.overlay.opaque` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opacity {
    Clear,
    Opaque,
    Marked,
}

/// The path by which calls without a descriptor form reach `fd`, `O_PATH` included (proc(5)).
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> sys::Result<CString> {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| Errno::EINVAL)
}

/// Reads the mark of directory `fd`. EACCES without the right to read the directory.
pub(crate) fn opacity(fd: BorrowedFd<'_>) -> sys::Result<Opacity> {
    let mut value = [0u8; 1];
    match sys::fs::getxattr(&fd_path(fd)?, OPAQUE, &mut value) {
        Ok(1) if value == *b"y" => Ok(Opacity::Opaque),
        Ok(1) if value == *b"x" => Ok(Opacity::Marked),
        Ok(_) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ERANGE) => Ok(Opacity::Clear),
        Err(errno) => Err(errno),
    }
}

pub(super) fn set_opaque(fd: BorrowedFd<'_>) -> sys::Result<()> {
    sys::fs::setxattr(&fd_path(fd)?, OPAQUE, b"y", 0)
}

/// What [`set_commit_mark`] left on the directory `fd`; empty if nothing.
pub(crate) fn commit_mark(fd: BorrowedFd<'_>) -> sys::Result<Vec<u8>> {
    match attribute(&fd_path(fd)?, COMMIT) {
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(Vec::new()),
        other => other,
    }
}

/// Notes `text` on the directory `fd`, or takes the note away if it is empty.
pub(crate) fn set_commit_mark(fd: BorrowedFd<'_>, text: &[u8]) -> sys::Result<()> {
    let path = fd_path(fd)?;
    widened(fd, 0o300, || match text {
        [] => match sys::fs::removexattr(&path, COMMIT) {
            Err(Errno::ENODATA) => Ok(()),
            other => other,
        },
        text => sys::fs::setxattr(&path, COMMIT, text, 0),
    })
}

/// True for the character device 0:0.
pub(crate) fn is_whiteout(stat: &libc::stat) -> bool {
    kind(stat) == libc::S_IFCHR && stat.st_rdev == 0
}

/// True for an empty file with the mark, in a directory that says it may hold such.
pub(crate) fn is_marker(dir: BorrowedFd<'_>, name: &CStr, stat: &libc::stat) -> bool {
    if kind(stat) != libc::S_IFREG || stat.st_size != 0 {
        return false;
    }
    sys::fs::openat(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)
        .and_then(|file| sys::fs::getxattr(&fd_path(file.as_fd())?, WHITEOUT, &mut []))
        .is_ok()
}

/// The type bits of a mode.
pub(super) fn kind(stat: &libc::stat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

pub(super) fn is_dir(stat: &libc::stat) -> bool {
    kind(stat) == libc::S_IFDIR
}

pub(super) fn inode(stat: &libc::stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

/// A guest's attribute name as it is stored.
pub(in crate::vfs) fn stored_name(name: &CStr) -> sys::Result<CString> {
    match name.to_bytes().strip_prefix(PRIVATE) {
        None => Ok(name.to_owned()),
        Some(rest) => {
            let escaped = [PRIVATE, ESCAPE, rest].concat();
            if escaped.len() > 255 {
                return Err(Errno::EOPNOTSUPP);
            }
            CString::new(escaped).map_err(|_| Errno::EINVAL)
        }
    }
}

/// A stored attribute name as guests see it; `None` for those of the format.
pub(crate) fn shown_name(name: &[u8]) -> Option<Vec<u8>> {
    match name.strip_prefix(PRIVATE) {
        None => Some(name.to_vec()),
        Some(rest) => Some([PRIVATE, rest.strip_prefix(ESCAPE)?].concat()),
    }
}

/// All attribute names of what `path` names.
pub(crate) fn attribute_names(path: &CStr) -> sys::Result<Vec<CString>> {
    let mut room = 1024;
    let list = loop {
        let mut buf = vec![0u8; room];
        match sys::fs::listxattr(path, &mut buf) {
            Ok(n) => {
                buf.truncate(n);
                break buf;
            }
            Err(Errno::ERANGE) if room < 1 << 20 => room *= 4,
            Err(errno) => return Err(errno),
        }
    };
    let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// The value of an attribute, however long it is (xattr(7): at most 64 KiB).
pub(crate) fn attribute(path: &CStr, name: &CStr) -> sys::Result<Vec<u8>> {
    let mut room = 256;
    loop {
        let mut buf = vec![0u8; room];
        match sys::fs::getxattr(path, name, &mut buf) {
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf);
            }
            Err(Errno::ERANGE) if room < 1 << 17 => room *= 8,
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_attribute_names_are_stored_escaped_and_shown_plain() {
        for (name, stored) in [
            (c"user.x", c"user.x"),
            (c"user.overlay.opaque", c"user.overlay.overlay.opaque"),
            (c"user.overlay.overlay.x", c"user.overlay.overlay.overlay.x"),
        ] {
            assert_eq!(stored_name(name).unwrap().as_c_str(), stored);
            assert_eq!(shown_name(stored.to_bytes()).unwrap(), name.to_bytes());
        }
        assert_eq!(shown_name(b"user.overlay.opaque"), None);
    }
}

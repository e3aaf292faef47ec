//! Files of `/proc` whose text is made here: memory files, filled when they are opened.
//!
//! Each open makes a new one; nobody else sees what the guest does to it. DIFFERS: a descriptor goes on
//! telling what was true when it was opened, and fstat(2) tells a size.

use crate::sys::{self, Errno};
use crate::vfs::strip_deleted;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufWriter, Seek};
use std::os::fd::{AsFd, OwnedFd};

/// A file that stands for `/proc/RELATIVE` and holds what `write` writes.
pub(super) fn made(
    relative: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> sys::Result<OwnedFd> {
    // By this name `/proc/PID/fd` knows it again. A guest that gives it to a memory file fools itself.
    let name = CString::new(format!("/proc/{relative}")).map_err(|_| Errno::EINVAL)?;
    let fd = memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC)?;
    let mut out = BufWriter::new(File::from(fd));
    write(&mut out)
        .and_then(|()| out.rewind())
        .map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let file = out.into_inner().map_err(|_| Errno::EIO)?;
    sys::fs::fchmod(file.as_fd(), 0o444)?;
    Ok(file.into())
}

/// The name below `/proc` of a file that was made here, from what the kernel calls it.
pub(super) fn made_name(host: &[u8]) -> Option<&[u8]> {
    strip_deleted(host).strip_prefix(b"/memfd:/proc/")
}

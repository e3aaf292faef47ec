//! uname(2): which system this is, and which machine.

use super::args::OutBuf;
use super::plan::{Cx, Errno, Plan};
use crate::vfs::NO_DOMAIN;
use std::os::unix::ffi::OsStrExt;

/// The length of each field of `struct utsname`, its NUL included (include/uapi/linux/utsname.h).
const FIELD: usize = 65;

/// uname(2): the kernel's answer, but the names are the view's.
pub fn uname<'a>(cx: &Cx<'a>, buf: OutBuf) -> Result<Plan<'a>, Errno> {
    let host = nix::sys::utsname::uname()?;
    let fields = [
        host.sysname().as_bytes(),
        cx.vfs.identity().hostname().as_bytes(),
        host.release().as_bytes(),
        host.version().as_bytes(),
        host.machine().as_bytes(),
        NO_DOMAIN.as_bytes(),
    ];
    let answer = cx.arena.alloc_slice_fill_copy(fields.len() * FIELD, 0u8);
    for (place, text) in answer.chunks_exact_mut(FIELD).zip(fields) {
        place
            .iter_mut()
            .zip(text)
            .for_each(|(to, from)| *to = *from);
    }
    Ok(Plan::write(buf.0, answer, 0))
}

//! May the calling thread do this to a file of a lower?
//!
//! A copy belongs to us, so the kernel would let us do anything to it. What it would have said of
//! the original is asked before copying, in the order in which the kernel asks.

use super::layer;
use crate::sys::{self, Errno};
use nix::unistd::{getegid, geteuid, getgroups};
use std::os::fd::BorrowedFd;

/// Bits of the capability sets, capabilities(7).
const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_SYS_ADMIN: u32 = 21;

fn capable(cap: u32) -> bool {
    sys::process::capget(0).is_ok_and(|[effective, ..]| effective >> cap & 1 == 1)
}

pub(super) fn is_admin() -> bool {
    capable(CAP_SYS_ADMIN)
}

/// The owner of a file, or somebody who may act as such.
pub(super) fn owns(stat: &libc::stat) -> bool {
    geteuid().as_raw() == stat.st_uid || capable(CAP_FOWNER)
}

pub(super) fn must_own(stat: &libc::stat) -> sys::Result<()> {
    if owns(stat) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn in_group(gid: u32) -> bool {
    getegid().as_raw() == gid
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// access(2) with effective ids on a held file. A lower on a read-only file system can't be
/// written, but its copy can: there, the mode alone decides.
pub(super) fn may(fd: BorrowedFd<'_>, stat: &libc::stat, want: i32) -> sys::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
    match sys::fs::faccessat2(fd, c"", want, flags) {
        Err(Errno::EROFS) => by_mode(stat, want),
        other => other,
    }
}

/// path_resolution(7), "Permissions".
pub(super) fn by_mode(stat: &libc::stat, want: i32) -> sys::Result<()> {
    let want = want as u32 & 7;
    let shift = match () {
        () if geteuid().as_raw() == stat.st_uid => 6,
        () if in_group(stat.st_gid) => 3,
        () => 0,
    };
    if stat.st_mode >> shift & want == want {
        return Ok(());
    }
    let writes_or_reads = want & libc::X_OK as u32 == 0;
    let runnable = layer::is_dir(stat) || stat.st_mode & 0o111 != 0;
    let only_looks = want & libc::W_OK as u32 == 0 && (writes_or_reads || layer::is_dir(stat));
    if (writes_or_reads || runnable) && capable(CAP_DAC_OVERRIDE)
        || only_looks && capable(CAP_DAC_READ_SEARCH)
    {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// The sticky bit: in such a directory only owners of a file, or of the directory, remove it.
pub(super) fn may_take_from(dir: &libc::stat, file: &libc::stat) -> sys::Result<()> {
    let me = geteuid().as_raw();
    let free = dir.st_mode & libc::S_ISVTX == 0 || me == file.st_uid || me == dir.st_uid;
    if free || capable(CAP_FOWNER) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// chown(2): an owner may give a file to its own groups, and to nobody else.
pub(super) fn may_chown(stat: &libc::stat, uid: u32, gid: u32) -> sys::Result<()> {
    let me = geteuid().as_raw();
    let keeps_owner = uid == u32::MAX || me == stat.st_uid && uid == me;
    let own_group = gid == u32::MAX || me == stat.st_uid && (gid == stat.st_gid || in_group(gid));
    if keeps_owner && own_group || capable(CAP_CHOWN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// proc(5), `protected_hardlinks`: no links to what one could not write oneself.
pub(super) fn may_link(fd: BorrowedFd<'_>, stat: &libc::stat) -> sys::Result<()> {
    if owns(stat) {
        return Ok(());
    }
    let group_exec = libc::S_ISGID | libc::S_IXGRP;
    let safe = layer::kind(stat) == libc::S_IFREG
        && stat.st_mode & libc::S_ISUID == 0
        && stat.st_mode & group_exec != group_exec
        && may(fd, stat, libc::R_OK | libc::W_OK).is_ok();
    if safe { Ok(()) } else { Err(Errno::EPERM) }
}

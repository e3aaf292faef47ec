//! `/proc/PID/ns`: the namespaces that a process is in, namespaces(7).
//!
//! The view is one of each kind, whatever the host's are: all its processes are in the same ones. Their numbers are those that the
//! kernel gives to the first of a kind. They can be told and compared, as lsns(1) and ps(1) do, and nothing else.
//!
//! DIFFERS: what open(2) gives is an empty file of its own, with another inode. That of the kernel is good for setns(2), which
//! nobody may call here, and for ioctl_nsfs(2), which speaks of the host's.

use super::made::made;
use crate::sys;
use crate::vfs::Vfs;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// A kind of namespace, as an index into the names of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace(usize);

/// Names of links, the kind that they tell, and its number (`include/linux/proc_ns.h`; those of `net` and `mnt` are fixed since
/// Linux 6.18 and drawn at boot before).
const LINKS: [(&str, &str, u64); 10] = [
    ("cgroup", "cgroup", 0xefff_fffb),
    ("ipc", "ipc", 0xefff_ffff),
    ("mnt", "mnt", 0xefff_fff8),
    ("net", "net", 0xefff_fff9),
    ("pid", "pid", 0xefff_fffc),
    ("pid_for_children", "pid", 0xefff_fffc),
    ("time", "time", 0xefff_fffa),
    ("time_for_children", "time", 0xefff_fffa),
    ("user", "user", 0xefff_fffd),
    ("uts", "uts", 0xefff_fffe),
];

impl Namespace {
    /// The one that a link of this name leads to.
    pub(super) fn named(name: &str) -> Option<Self> {
        LINKS.iter().position(|(link, ..)| *link == name).map(Self)
    }

    /// Names of the links that this process has on the host: old kernels have fewer.
    pub(super) fn names(tgid: i32) -> impl Iterator<Item = &'static str> {
        let names = LINKS.iter().map(|(link, ..)| *link);
        names.filter(move |name| {
            std::fs::symlink_metadata(format!("/proc/{tgid}/ns/{name}")).is_ok()
        })
    }

    fn row(self) -> (&'static str, &'static str, u64) {
        LINKS.get(self.0).copied().unwrap_or_default()
    }

    /// The link's path below the host's `/proc`.
    pub(super) fn relative(self, tgid: i32) -> String {
        format!("{tgid}/ns/{}", self.row().0)
    }

    /// What readlink(2) says.
    pub(super) fn text(self) -> String {
        let (_, kind, number) = self.row();
        format!("{kind}:[{number}]")
    }
}

impl Vfs {
    /// What stat(2) says of a namespace. ENOENT: the process has ended.
    pub(super) fn stat_namespace(&self, space: Namespace, tgid: i32) -> sys::Result<libc::stat> {
        let name = CString::new(space.relative(tgid)).map_err(|_| sys::Errno::ENOENT)?;
        let mut stat = sys::fs::fstatat(self.proc_root.as_fd(), &name, 0)?;
        stat.st_ino = space.row().2;
        Ok(stat)
    }

    /// A descriptor that stands for a namespace, and is good for nothing but that.
    pub(super) fn open_namespace(&self, space: Namespace, tgid: i32) -> sys::Result<OwnedFd> {
        self.stat_namespace(space, tgid)?;
        made(&self.shown(&space.relative(tgid)), |_| Ok(()))
    }
}

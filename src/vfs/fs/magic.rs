//! Magic links of `/proc`: what they lead to, and their text in the view's terms.

use super::made::made_name;
use super::numbers::shown;
use super::proc::{ProcDir, child};
use super::{Namespace, SynthDir, SynthFile, SynthNode};
use crate::sys::{self, Errno};
use crate::vfs::path::components;
use crate::vfs::resolve::{Last, Place};
use crate::vfs::{Caller, Vfs, strip_deleted};
use bumpalo::Bump;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A magic link of `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// `/proc/TGID/exe`
    Exe(i32),
    /// `/proc/TGID/cwd`
    Cwd(i32),
    /// `/proc/TGID/root`
    Root(i32),
    /// `/proc/TGID/fd/N`
    Fd(i32, i32),
    /// `/proc/TGID/ns/KIND`
    Namespace(i32, Namespace),
}

impl Magic {
    /// Its path below the host's `/proc`.
    pub(super) fn relative(self) -> String {
        match self {
            Self::Exe(tgid) => format!("{tgid}/exe"),
            Self::Cwd(tgid) => format!("{tgid}/cwd"),
            Self::Root(tgid) => format!("{tgid}/root"),
            Self::Fd(tgid, fd) => format!("{tgid}/fd/{fd}"),
            Self::Namespace(tgid, space) => space.relative(tgid),
        }
    }
}

impl Vfs {
    /// What a magic link leads to: an object, not a path.
    pub(in crate::vfs) fn magic_target<'a>(
        &self,
        link: Magic,
        who: Caller<'_>,
        arena: &'a Bump,
    ) -> sys::Result<Place<'a>> {
        match link {
            Magic::Root(_) => Ok(Place::Dir(Arc::clone(self.root()), Last::Root)),
            Magic::Cwd(tgid) => {
                let cwd = who.tasks.cwd(tgid).ok_or(Errno::ENOENT)?;
                Ok(Place::Dir(self.current(&cwd), Last::Root))
            }
            Magic::Namespace(tgid, space) => Ok(Place::Synth(SynthFile::Namespace(space, tgid))),
            Magic::Exe(tgid) => {
                let fd = self.exe(tgid)?;
                match self.place_held(fd.as_fd(), arena)? {
                    Some(place) => Ok(place),
                    None => Ok(Place::Open(Arc::new(fd))),
                }
            }
            Magic::Fd(tgid, n) => {
                let fd = who.tasks.descriptor(tgid, n).map_err(|_| Errno::ENOENT)?;
                let stat = sys::fs::fstat(fd.as_fd())?;
                if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
                    return Ok(Place::Dir(self.dir_of(fd)?, Last::Root));
                }
                match self.place_held(fd.as_fd(), arena)? {
                    Some(place) => Ok(place),
                    None => Ok(Place::Open(Arc::new(fd))),
                }
            }
        }
    }

    fn exe(&self, tgid: i32) -> sys::Result<OwnedFd> {
        let name = CString::new(format!("{tgid}/exe")).map_err(|_| Errno::ENOENT)?;
        let exe = sys::fs::openat(self.proc_root.as_fd(), &name, libc::O_PATH, 0)?;
        let stat = sys::fs::fstat(exe.as_fd())?;
        match self.program_of((stat.st_dev, stat.st_ino)) {
            Some(image) => self.reopen(image.program(), libc::O_PATH),
            None => Ok(exe),
        }
    }

    /// The text of a magic link, in the view's terms.
    pub(super) fn magic_text(&self, link: Magic, who: Caller<'_>) -> sys::Result<Vec<u8>> {
        match link {
            Magic::Root(_) => Ok(b"/".to_vec()),
            Magic::Namespace(_, space) => Ok(space.text().into_bytes()),
            Magic::Exe(tgid) => {
                let then = who.tasks.exe(tgid).ok_or(Errno::ENOENT)?;
                // Renamed or removed since? The kernel follows the file, not the name.
                let fd = self.exe(tgid)?;
                match self.text_of_file(fd.as_fd())? {
                    now if now == UNREACHABLE => Ok(then),
                    now => Ok(now),
                }
            }
            Magic::Cwd(tgid) => {
                let cwd = who.tasks.cwd(tgid).ok_or(Errno::ENOENT)?;
                self.text_of_dir(&self.current(&cwd))
            }
            Magic::Fd(tgid, n) => {
                let fd = who.tasks.descriptor(tgid, n).map_err(|_| Errno::ENOENT)?;
                let stat = sys::fs::fstat(fd.as_fd())?;
                if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
                    let own = sys::fs::dup_above(fd.as_fd(), crate::vfs::FIRST_FD)?;
                    match self.dir_of(own) {
                        Ok(dir) => return self.text_of_dir(&dir),
                        // Removed, or passed in from outside.
                        Err(Errno::ENOENT) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                match self.text_of_proc(fd.as_fd(), who)? {
                    Some(text) => Ok(text),
                    None => self.text_of_file(fd.as_fd()),
                }
            }
        }
    }

    fn text_of_dir(&self, dir: &crate::vfs::Dir) -> sys::Result<Vec<u8>> {
        if let Some(path) = dir.path() {
            return Ok(path.as_bytes().to_vec());
        }
        match (self.text_of_removed(dir), dir.host()) {
            (Some(text), _) => Ok(text),
            (None, Some(fd)) => self.text_of_file(fd),
            (None, None) => Ok(UNREACHABLE.to_vec()),
        }
    }

    /// What `/proc/PID/fd` shows for a file of the view's `/proc`.
    fn text_of_proc(&self, fd: BorrowedFd<'_>, who: Caller<'_>) -> sys::Result<Option<Vec<u8>>> {
        let host = crate::vfs::host_path(fd)?.0;
        let below = match made_name(&host) {
            Some(below) => String::from_utf8_lossy(below).into_owned(),
            None => match host.strip_prefix(b"/proc/") {
                Some(below) => shown(&String::from_utf8_lossy(below), who.tasks),
                None => return Ok(None),
            },
        };
        let mut at = ProcDir::Root;
        for name in components(below.as_bytes()) {
            at = match child(at, name, who) {
                SynthNode::Dir(SynthDir::Proc(dir)) => dir,
                SynthNode::File(_) => return Ok(Some([b"/proc/", below.as_bytes()].concat())),
                SynthNode::Magic(Magic::Namespace(_, space)) => {
                    return Ok(Some(space.text().into_bytes()));
                }
                _ => return Ok(None),
            };
        }
        Ok(None)
    }

    /// What `/proc/PID/fd` and `/proc/PID/exe` show for a file: its path in the view, the name of a
    /// pipe, socket or memory file, or `(unreachable)` for what was passed in from outside.
    pub fn text_of_file(&self, fd: BorrowedFd<'_>) -> sys::Result<Vec<u8>> {
        let host = crate::vfs::host_path(fd)?.0;
        let stat = sys::fs::fstat(fd)?;
        let is_device = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
        if is_device && host.starts_with(b"/dev/") {
            return Ok(host.into_vec());
        }
        Ok(self.text_of_path(&host, Some(stat.st_ino), Some(stat.st_dev)))
    }

    /// What the view tells where the kernel tells `host` of a file, in `/proc/PID/fd` or `/proc/PID/maps`.
    pub(super) fn text_of_path(
        &self,
        host: &[u8],
        ino: Option<u64>,
        device: Option<u64>,
    ) -> Vec<u8> {
        // "pipe:[1]", "socket:[2]", "anon_inode:[eventpoll]" and "/memfd:x" name no path.
        if let Some(image) = self.program_mapped(host, ino) {
            return self
                .text_of_file(image.program())
                .unwrap_or_else(|_| UNREACHABLE.to_vec());
        }
        let is_path = host.first() == Some(&b'/') && !NO_PATHS.iter().any(|n| host.starts_with(n));
        let device_name = strip_deleted(host).strip_prefix(b"/dev/");
        let is_device =
            device_name.is_some_and(|n| matches!(super::dev::child(n), SynthNode::File(_)));
        if !is_path || is_device {
            return host.to_vec();
        }
        // Passed in from outside: it has no name here.
        self.text_of_host(host, ino, device)
            .unwrap_or_else(|| UNREACHABLE.to_vec())
    }
}

/// Shown for what has no name in the view.
const UNREACHABLE: &[u8] = b"(unreachable)";

/// What the kernel calls things without a path, though it begins with a slash: memory files, shared and
/// huge memory without a name, rings of asynchronous I/O.
const NO_PATHS: [&[u8]; 4] = [
    b"/memfd:",
    b"/dev/zero (deleted)",
    b"/anon_hugepage",
    b"/[aio]",
];

//! A private host directory for what the view makes up: placeholders and the guest's `/tmp`.
//!
//! It lies in the system's temporary directory as `sbox-UID/RUN`, mode 0700, and is removed at the
//! end. Each run holds a lock on its own; what a killed supervisor left behind has no lock and is
//! removed by the next run.

use crate::sys::{self, Errno};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The scratch directory of one run; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: Option<Flock<File>>,
    synth: OwnedFd,
    owner: i32,
}

impl Scratch {
    /// Makes a fresh scratch directory and removes what dead runs have left.
    pub fn new() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        let base = std::env::temp_dir().join(format!("sbox-{uid}"));
        make_private(&base)?;
        // Another user may have made the directory first: then it is not ours to use.
        let meta = fs::symlink_metadata(&base)?;
        if !meta.is_dir() || meta.uid() != uid.as_raw() || meta.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} exists but is not a private directory of this user",
                base.display()
            )));
        }
        remove_dead_runs(&base);
        let pid = std::process::id();
        let path = (0..)
            .map(|n| base.join(format!("{pid}-{n}")))
            .find_map(|path| match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => Some(Ok(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => None,
                Err(e) => Some(Err(e)),
            })
            .unwrap_or_else(|| Err(io::Error::other("no free name")))?;
        let lock = File::open(&path)
            .ok()
            .and_then(|dir| Flock::lock(dir, FlockArg::LockExclusiveNonblock).ok());
        make_private(&path.join("synth"))?;
        let synth = File::open(path.join("synth"))?.into();
        Ok(Self {
            path,
            _lock: lock,
            synth,
            owner: sys::process::gettid(),
        })
    }

    /// Makes a directory with `mode` in the scratch directory and returns its host path.
    pub fn directory(&self, name: &str, mode: u32) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        Ok(path)
    }

    /// Makes an empty directory of mode 0555, to stand for a synthetic one in a guest's hands.
    ///
    /// Asked again for the same name it opens the same directory.
    pub(super) fn placeholder(&self, name: &str) -> sys::Result<OwnedFd> {
        let name = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
        match sys::fs::mkdirat(self.synth.as_fd(), &name, 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
        let fd = sys::fs::openat(
            self.synth.as_fd(),
            &name,
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
            0,
        )?;
        sys::fs::fchmod(fd.as_fd(), 0o555)?;
        Ok(fd)
    }

    /// The directory that holds those of all runs of this user.
    pub fn base(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// An empty directory to park the guests' kernel working directory in.
    pub fn parking(&self) -> BorrowedFd<'_> {
        self.synth.as_fd()
    }
}

impl Scratch {
    /// Removes the directory. Threads that still hold the file system don't keep it.
    pub(super) fn remove(&self) {
        // The forked guest holds a copy of this value until it execs: only the maker removes.
        if sys::process::gettid() == self.owner {
            remove_tree(&self.path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Removes a tree whose directories a guest may have made unwritable.
fn remove_tree(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    fn open_up(dir: &Path) {
        let _ = fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700));
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open_up(&entry.path());
            }
        }
    }
    open_up(path);
    // What can't be removed now (a full quota, say) is tried again by the next run.
    let _ = fs::remove_dir_all(path);
}

fn remove_dead_runs(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let Ok(dir) = File::open(entry.path()) else {
            continue;
        };
        // A run between mkdir and flock is younger than a moment: leave it alone.
        let young = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|t| t.elapsed().is_ok_and(|age| age.as_secs() < 10));
        if !young && Flock::lock(dir, FlockArg::LockExclusiveNonblock).is_ok() {
            remove_tree(&entry.path());
        }
    }
}

//! A private host directory for what the view makes up: placeholders and the guest's `/tmp`.
//!
//! It lies in the system's temporary directory as `sbox-UID/RUN`, mode 0700, is made when something is
//! first put into it, and is removed at the end. Each run holds a lock on its own; what a killed
//! supervisor left behind has no lock and is removed by the next run that makes one.

use super::cow::{names_in, remove_tree};
use super::path::HostPath;
use crate::sys::{self, Errno};
use nix::fcntl::{Flock, FlockArg};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The scratch directory of one run; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// Holds those of all runs of this user.
    base: PathBuf,
    base_fd: OwnedFd,
    /// The name of this run's, once it is made.
    name: CString,
    parking: OwnedFd,
    made: OnceLock<Made>,
    making: Mutex<()>,
    owner: i32,
}

/// What there is once something was needed.
#[derive(Debug)]
struct Made {
    dir: OwnedFd,
    _lock: Option<Flock<File>>,
    synth: OwnedFd,
}

/// The one entry of the base directory that belongs to no run: empty, and never removed.
const EMPTY: &str = "empty";

impl Scratch {
    /// Finds a place for a scratch directory.
    pub fn new() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        let base = std::env::temp_dir().join(format!("sbox-{uid}"));
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let text = CString::new(base.as_os_str().as_bytes())?;
        let dir = match sys::fs::open(&text, flags) {
            Err(Errno::ENOENT) => {
                make_private(&base)?;
                sys::fs::open(&text, flags)?
            }
            other => other?,
        };
        // Another user may have made the directory first: then it is not ours to use.
        let stat = sys::fs::fstat(dir.as_fd())?;
        if stat.st_uid != uid.as_raw() {
            return Err(io::Error::other(format!(
                "{} exists and belongs to another user",
                base.display()
            )));
        }
        if stat.st_mode & 0o7777 != 0o700 {
            let path = CString::new(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
            sys::fs::fchmodat(dir.as_fd(), &path, 0o700)?;
        }
        let empty = CString::new(EMPTY)?;
        let parking = match sys::fs::openat(dir.as_fd(), &empty, flags, 0) {
            Err(Errno::ENOENT) => {
                match sys::fs::mkdirat(dir.as_fd(), &empty, 0o555) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                sys::fs::openat(dir.as_fd(), &empty, flags, 0)?
            }
            other => other?,
        };
        let base = PathBuf::from(OsStr::from_bytes(&super::host_path(dir.as_fd())?.0));
        // No number of the host's: guests may see it, in what is run for them.
        let number = RandomState::new().build_hasher().finish();
        Ok(Self {
            base,
            base_fd: dir,
            name: CString::new(format!("{number:016x}"))?,
            parking,
            made: OnceLock::new(),
            making: Mutex::default(),
            owner: sys::process::gettid(),
        })
    }

    /// Where the directory `name` of this run is or will be.
    pub(super) fn place(&self, name: &CStr) -> HostPath {
        let parts = [
            self.base.as_os_str().as_bytes(),
            self.name.to_bytes(),
            name.to_bytes(),
        ];
        HostPath(parts.join(&b'/').into())
    }

    /// Makes the directory `name` of this run, or opens it: two threads may need it at once.
    pub(super) fn directory(&self, name: &CStr, mode: u32) -> sys::Result<OwnedFd> {
        let dir = make(self.made()?.dir.as_fd(), name)?;
        sys::fs::fchmod(dir.as_fd(), mode)?;
        Ok(dir)
    }

    /// The run's own directory, made at the first need; dead runs' are removed then.
    fn made(&self) -> sys::Result<&Made> {
        let _one = super::lock(&self.making);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        remove_dead_runs(self.base_fd.as_fd());
        let dir = make(self.base_fd.as_fd(), &self.name)?;
        let synth = make(dir.as_fd(), c"synth")?;
        let lock = File::from(sys::fs::openat(dir.as_fd(), c".", DIRECTORY, 0)?);
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).ok();
        Ok(self.made.get_or_init(|| Made {
            dir,
            _lock: lock,
            synth,
        }))
    }

    /// Makes an empty directory of mode 0555, to stand for a synthetic one in a guest's hands.
    ///
    /// Asked again for the same name it opens the same directory.
    pub(super) fn placeholder(&self, name: &str) -> sys::Result<OwnedFd> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let synth = self.made()?.synth.as_fd();
        match sys::fs::mkdirat(synth, &name, 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
        let fd = sys::fs::openat(
            synth,
            &name,
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
            0,
        )?;
        sys::fs::fchmod(fd.as_fd(), 0o555)?;
        Ok(fd)
    }

    /// Makes the file `name` of this run, which nobody may write to any more.
    pub fn text(&self, name: &CStr, text: &[u8]) -> io::Result<PathBuf> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let dir = self.made()?.dir.as_fd();
        let mut file = File::from(sys::fs::openat(dir, name, flags, 0o600)?);
        file.write_all(text)?;
        sys::fs::fchmod(file.as_fd(), 0o444)?;
        Ok(PathBuf::from(OsStr::from_bytes(&self.place(name).0)))
    }

    /// Makes the link `name` of this run to a path of the host.
    pub(super) fn link(&self, name: &CStr, to: &CStr) -> sys::Result<()> {
        sys::fs::symlinkat(to, self.made()?.dir.as_fd(), name)
    }

    /// The path of `name` of this run from where guests are parked.
    pub(super) fn seen_from_parking(&self, name: &CStr) -> Vec<u8> {
        [b"..", self.name.to_bytes(), name.to_bytes()].join(&b'/')
    }

    /// True if files here can have leases, fcntl(2). Over a network some can't.
    pub fn has_leases(&self) -> bool {
        let try_one = || -> sys::Result<bool> {
            let flags = libc::O_RDONLY | libc::O_CREAT | libc::O_NOFOLLOW;
            let file = sys::fs::openat(self.made()?.dir.as_fd(), c"lease", flags, 0o600)?;
            Ok(sys::fs::nobody_else_has(file.as_fd(), true))
        };
        try_one() == Ok(true)
    }

    /// The directory that holds those of all runs of this user.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The host path of [`Scratch::base`].
    pub(super) fn base_path(&self) -> Box<[u8]> {
        self.base.as_os_str().as_bytes().into()
    }

    /// An empty directory to park the guests' kernel working directory in.
    pub fn parking(&self) -> BorrowedFd<'_> {
        self.parking.as_fd()
    }
}

impl Scratch {
    /// Removes the directory. Threads that still hold the file system don't keep it.
    pub(super) fn remove(&self) {
        // The forked guest holds a copy of this value until it execs: only the maker removes.
        if sys::process::gettid() == self.owner && self.made.get().is_some() {
            // What stays (processes may still hold on to it) a later run removes.
            let _ = remove_tree(self.base_fd.as_fd(), &self.name);
        }
    }
}

impl super::Vfs {
    /// Removes the private host directory, at the end of the run.
    pub fn remove_scratch(&self) {
        self.scratch.remove();
    }

    /// An empty directory of the host, for the guests' kernel working directory.
    pub fn parking(&self) -> BorrowedFd<'_> {
        self.scratch.parking()
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

const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// Makes or opens a private directory.
fn make(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<OwnedFd> {
    match sys::fs::mkdirat(dir, name, 0o700) {
        Ok(()) | Err(Errno::EEXIST) => sys::fs::openat(dir, name, DIRECTORY, 0),
        Err(errno) => Err(errno),
    }
}

/// By held directories and names that are never followed: a guest that could write here would else choose
/// what is removed.
fn remove_dead_runs(base: BorrowedFd<'_>) {
    for name in names_in(base).unwrap_or_default() {
        if name.to_bytes() == EMPTY.as_bytes() {
            continue;
        }
        let Ok(dir) = sys::fs::openat(base, &name, DIRECTORY, 0) else {
            continue;
        };
        // A run between mkdir and flock is younger than a moment: leave it alone.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |age| age.as_secs().cast_signed());
        let young = sys::fs::fstat(dir.as_fd()).map_or(true, |stat| now - stat.st_mtime < 10);
        if !young && Flock::lock(File::from(dir), FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = remove_tree(base, &name);
        }
    }
}

//! A private host directory for what the view makes up: placeholders and the guest's `/tmp`.
//!
//! It lies in the system's temporary directory as `sbox-UID/RUN`, mode 0700, is made when something is
//! first put into it, and is removed at the end. Each run holds a lock on its own; what a killed
//! supervisor left behind has no lock and is removed by the next run that makes one.

use super::path::HostPath;
use crate::sys::{self, Errno};
use nix::fcntl::{Flock, FlockArg};
use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
    /// Where this run's will be.
    path: PathBuf,
    parking: OwnedFd,
    made: OnceLock<Made>,
    making: Mutex<()>,
    owner: i32,
}

/// What there is once something was needed.
#[derive(Debug)]
struct Made {
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
        if stat.st_uid != uid.as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} exists but is not a private directory of this user",
                base.display()
            )));
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |age| age.as_nanos());
        Ok(Self {
            path: base.join(format!("{}-{now:x}", std::process::id())),
            base,
            parking,
            made: OnceLock::new(),
            making: Mutex::default(),
            owner: sys::process::gettid(),
        })
    }

    /// Where the directory `name` of this run is or will be.
    pub(super) fn place(&self, name: &str) -> HostPath {
        HostPath(self.path.join(name).as_os_str().as_bytes().into())
    }

    /// Makes the directory that was promised at `place`.
    pub(super) fn directory(&self, place: &HostPath, mode: u32) -> sys::Result<OwnedFd> {
        self.made()?;
        let path = CString::new(&*place.0).map_err(|_| Errno::EINVAL)?;
        // Two threads may need it at once: it is the same directory for both.
        make_private(Path::new(OsStr::from_bytes(&place.0))).map_err(errno_of)?;
        let dir = sys::fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
        sys::fs::fchmod(dir.as_fd(), mode)?;
        Ok(dir)
    }

    /// The run's own directory, made at the first need; dead runs' are removed then.
    fn made(&self) -> sys::Result<&Made> {
        let _one = super::lock(&self.making);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = self.make().map_err(errno_of)?;
        Ok(self.made.get_or_init(|| made))
    }

    fn make(&self) -> io::Result<Made> {
        remove_dead_runs(&self.base);
        DirBuilder::new().mode(0o700).create(&self.path)?;
        let lock = File::open(&self.path)
            .ok()
            .and_then(|dir| Flock::lock(dir, FlockArg::LockExclusiveNonblock).ok());
        let synth = self.path.join("synth");
        make_private(&synth)?;
        Ok(Made {
            _lock: lock,
            synth: File::open(synth)?.into(),
        })
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

    /// The directory that holds those of all runs of this user.
    pub fn base(&self) -> &Path {
        &self.base
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
            remove_tree(&self.path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
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
        if entry.file_name() == EMPTY {
            continue;
        }
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

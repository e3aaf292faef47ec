//! A policy's file, read and replaced where it was found.
//!
//! It may lie where a guest can write, and be replaced while that one runs. So its directory is held from the time when no guest
//! did, and in it nothing is followed and nothing of somebody else's is written to.

use crate::plain::{self, obeyed};
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use toml_edit::Key;

/// A key for a policy's file, that shows what a terminal would obey.
pub(in crate::cli) fn shown(key: &str) -> Key {
    let plain = || Key::new(key);
    if !key.chars().any(obeyed) {
        return plain();
    }
    let written = Key::parse(&plain::toml(key)).ok();
    written.and_then(|mut all| all.pop()).unwrap_or_else(plain)
}

/// Where it is, or will be.
#[derive(Debug)]
pub(in crate::cli) struct PolicyFile {
    dir: OwnedFd,
    name: CString,
}

impl PolicyFile {
    /// Finds it. Links are followed: what they lead to now is meant.
    pub(in crate::cli) fn find(path: &Path) -> io::Result<Self> {
        let real = match std::fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            other => other?,
        };
        let no_name = || io::Error::from(io::ErrorKind::IsADirectory);
        let name = real.file_name().ok_or_else(no_name)?;
        let above = real.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.map_or_else(|| PathBuf::from("."), Path::to_owned);
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let dir = sys::fs::open(&CString::new(above.as_os_str().as_bytes())?, flags)?;
        let name = CString::new(name.as_bytes())?;
        Ok(Self { dir, name })
    }

    fn open(&self) -> io::Result<File> {
        // O_NONBLOCK: a FIFO would be waited for.
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = sys::fs::openat(self.dir.as_fd(), &self.name, flags, 0);
        let file = File::from(file.map_err(|errno| match errno {
            Errno::ELOOP => io::Error::other("is a symbolic link by now"),
            errno => errno.into(),
        })?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("is no file")),
        }
    }

    /// What is in it.
    pub(in crate::cli) fn read(&self) -> io::Result<String> {
        let mut text = String::new();
        self.open()?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Makes it, where none may be.
    pub(in crate::cli) fn make(&self, text: &str) -> io::Result<()> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file = sys::fs::openat(self.dir.as_fd(), &self.name, flags, 0o666)?;
        File::from(file).write_all(text.as_bytes())
    }

    /// Puts another in its place, or where none is: beside it first, so that it is never half a one.
    pub(in crate::cli) fn replace(&self, text: &str) -> io::Result<()> {
        let mode = match self.open() {
            Ok(file) => Some(sys::fs::fstat(file.as_fd())?.st_mode & 0o7777),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let number = RandomState::new().build_hasher().finish();
        let beside = CString::new(format!(".sbox-policy-{number:016x}"))?;
        let (dir, flags) = (
            self.dir.as_fd(),
            libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
        );
        let mut file = File::from(sys::fs::openat(dir, &beside, flags, mode.unwrap_or(0o666))?);
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| match mode {
                Some(mode) => sys::fs::fchmod(file.as_fd(), mode).map_err(io::Error::from),
                None => Ok(()),
            })
            .and_then(|()| Ok(sys::fs::renameat2(dir, &beside, dir, &self.name, 0)?));
        if written.is_err() {
            // What can't be removed either is told with the error's cause.
            let _ = sys::fs::unlinkat(dir, &beside, 0);
        }
        written
    }
}

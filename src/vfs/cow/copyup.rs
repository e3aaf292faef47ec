//! Copy-up: what is to be changed is brought from a lower into the upper, whole or not at all.
//!
//! A file's data is copied into a nameless file, which gets its owner, attributes, mode and times and
//! then, by one linkat(2), its name. Whoever is killed before leaves nothing; whoever comes second
//! finds the name taken and uses what stands there.

use super::dir::CowDir;
use super::layer::{self, LowerDir, fd_path};
use super::lookup::{At, Hit};
use super::store::{More, Store, Temp, open_dir};
use super::upper::{Kind, UpperDir, set_times, widened};
use crate::sys::{self, Errno};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// How much of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    All,
    /// It is about to be truncated to nothing.
    None,
}

/// What a copy is made from.
enum Source {
    /// Nothing to do.
    InUpper,
    /// A file of a lower, opened for reading.
    File(OwnedFd, libc::stat),
    /// Done without copying data, under the gate.
    Small,
}

impl CowDir {
    /// Makes sure that `name` is in the upper, and returns a descriptor (`O_PATH`) of it there:
    /// what is changed through it is changed for the guest alone.
    pub fn copy_up(self: &Arc<Self>, name: &CStr) -> sys::Result<OwnedFd> {
        loop {
            self.bring_up(name, Data::All)?;
            let _gate = self.store.look();
            let hit = self.must_find(name)?;
            if hit.in_upper() {
                return self.handle_of(&hit, name);
            }
        }
    }

    /// [`CowDir::copy_up`] without the descriptor. The gate must not be held.
    pub(super) fn bring_up(self: &Arc<Self>, name: &CStr, data: Data) -> sys::Result<()> {
        loop {
            let (file, stat) = match self.source(name)? {
                Source::InUpper => return Ok(()),
                Source::Small => match self.bring_up_small(name)? {
                    true => return Ok(()),
                    false => continue,
                },
                Source::File(file, stat) => (file, stat),
            };
            let Some(_flight) = self.store.take_off(layer::inode(&stat)) else {
                continue; // another thread has copied it: look again
            };
            let copy = copy_file(&self.store, file.as_fd(), &stat, data)?;
            if self.land(name, &stat, &copy)? {
                return Ok(());
            }
        }
    }

    fn source(&self, name: &CStr) -> sys::Result<Source> {
        let _gate = self.store.look();
        let hit = self.must_find(name)?;
        if matches!(hit.at, At::Upper(_)) {
            return Ok(Source::InUpper);
        }
        if layer::kind(&hit.stat) != libc::S_IFREG || matches!(hit.at, At::Index(_)) {
            return Ok(Source::Small);
        }
        let (dir, name) = self.spot(&hit.at, name)?;
        let file = open_to_read(dir, name)?;
        // What was looked at may have been replaced since, by something of another type.
        let stat = sys::fs::fstat(file.as_fd())?;
        if layer::kind(&stat) != libc::S_IFREG {
            return Err(Errno::ESTALE);
        }
        Ok(Source::File(file, stat))
    }

    /// Gives a finished copy its name. False if the lower's file has changed its name meanwhile.
    fn land(
        self: &Arc<Self>,
        name: &CStr,
        stat: &libc::stat,
        copy: &Copy<'_>,
    ) -> sys::Result<bool> {
        let _gate = self.store.change();
        let hit = self.must_find(name)?;
        match hit.at {
            At::Upper(_) => return Ok(true),
            At::Index(_) => return Ok(false),
            At::Lower(_) if layer::inode(&hit.stat) != layer::inode(stat) => return Ok(false),
            At::Lower(_) => {}
        }
        let (dir, spelled) = self.spot(&hit.at, name)?;
        let key = self.store.index_name(dir, spelled, &hit.stat)?;
        let upper = self.make_upper()?;
        if let Some(key) = key {
            // First the index: killed in between, the other names lead to the copy just as well.
            copy.link(self.store.index.as_fd(), &key)?;
            let lower = layer::inode(stat);
            // The copy has two names, one of them in the index, and stands for all that the lower's has.
            let names = hit.stat.st_nlink as i64 + self.store.more_links(lower);
            let inode = layer::inode(&sys::fs::fstat(copy.file.as_fd())?);
            self.store.note_links(inode, &key, More::Copy(names - 2))?;
            self.store.note_indexed(lower);
        }
        self.store
            .note_copy(layer::inode(stat), copy.file.as_fd())?;
        upper.widened(0o300, || {
            upper.times_kept(|| copy.link(upper.fd.as_fd(), name))
        })?;
        upper.set(name, Some(Kind::Other));
        Ok(true)
    }

    /// Directories, links, FIFOs, and files whose copy exists under another name.
    /// False if the name leads to something else by now.
    fn bring_up_small(self: &Arc<Self>, name: &CStr) -> sys::Result<bool> {
        let _gate = self.store.change();
        let hit = self.must_find(name)?;
        if hit.in_upper() {
            return Ok(true);
        }
        if name == c"." {
            return self.make_upper().map(|_| true);
        }
        if let At::Index(key) = &hit.at {
            let upper = self.make_upper()?;
            upper.widened(0o300, || {
                upper.times_kept(|| {
                    let index = self.store.index.as_fd();
                    sys::fs::linkat(index, key, upper.fd.as_fd(), name, 0)
                })
            })?;
            upper.set(name, Some(Kind::Other));
            self.one_name_less(&hit, name)?;
            return Ok(true);
        }
        match layer::kind(&hit.stat) {
            libc::S_IFDIR => self.child(name)?.make_upper().map(|_| true),
            libc::S_IFLNK | libc::S_IFIFO => self.recreate(name, &hit).map(|()| true),
            libc::S_IFREG => Ok(false),
            // DIFFERS: overlayfs recreates these. A copy of a socket is nobody's socket, and a
            // device is no file to be copied.
            _ => Err(Errno::EPERM),
        }
    }

    fn recreate(self: &Arc<Self>, name: &CStr, hit: &Hit) -> sys::Result<()> {
        let (dir, spelled) = self.spot(&hit.at, name)?;
        let temp = self.store.temp()?;
        let work = self.store.work.as_fd();
        if layer::kind(&hit.stat) == libc::S_IFLNK {
            let mut text = [0u8; libc::PATH_MAX as usize];
            let text = sys::fs::readlinkat(dir, spelled, &mut text)?;
            let text = CString::new(text).map_err(|_| Errno::EIO)?;
            sys::fs::symlinkat(&text, work, &temp.name)?;
        } else {
            sys::fs::mknodat(work, &temp.name, libc::S_IFIFO | 0o600, 0)?;
        }
        let old = sys::fs::openat(dir, spelled, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        let new = sys::fs::openat(work, &temp.name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        copy_metadata(old.as_fd(), &hit.stat, new.as_fd())?;
        self.store.note_copy(layer::inode(&hit.stat), new.as_fd())?;
        let upper = self.make_upper()?;
        upper.widened(0o300, || {
            upper.times_kept(|| {
                let to = upper.fd.as_fd();
                sys::fs::renameat2(work, &temp.name, to, name, libc::RENAME_NOREPLACE)
            })
        })?;
        upper.set(name, Some(Kind::Other));
        Ok(())
    }
}

/// A lower's file, opened so that reading leaves no trace where we may ask for that, and so that a
/// FIFO that somebody put there holds nobody up.
fn open_to_read(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    match sys::fs::openat(dir, name, flags | libc::O_NOATIME, 0) {
        Err(Errno::EPERM) => sys::fs::openat(dir, name, flags, 0),
        other => other,
    }
}

/// A finished copy without its name.
struct Copy<'s> {
    file: OwnedFd,
    /// Its name in `work`, on file systems without nameless files.
    temp: Option<Temp<'s>>,
    store: &'s Store,
}

impl Copy<'_> {
    /// linkat(2) of the copy to a name that must be free.
    fn link(&self, dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
        let linked = match &self.temp {
            Some(temp) => sys::fs::linkat(self.store.work.as_fd(), &temp.name, dir, name, 0),
            None => {
                let path = fd_path(self.file.as_fd())?;
                sys::fs::linkat(dir, &path, dir, name, libc::AT_SYMLINK_FOLLOW)
            }
        };
        match linked {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }
}

fn copy_file<'s>(
    store: &'s Store,
    from: BorrowedFd<'_>,
    stat: &libc::stat,
    data: Data,
) -> sys::Result<Copy<'s>> {
    let work = store.work.as_fd();
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    let (file, temp) = match sys::fs::openat(work, c".", flags, 0o600) {
        Ok(file) => (file, None),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR) => {
            let temp = store.temp()?;
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            (sys::fs::openat(work, &temp.name, flags, 0o600)?, Some(temp))
        }
        Err(errno) => return Err(errno),
    };
    if data == Data::All && sys::fs::clone_file(from, file.as_fd()).is_err() {
        copy_data(from, file.as_fd())?;
    }
    copy_metadata(from, stat, file.as_fd())?;
    if data == Data::All {
        store.sync_copy(file.as_fd())?;
    }
    Ok(Copy { file, temp, store })
}

/// Copies data and leaves holes as holes (lseek(2), `SEEK_DATA`).
pub(crate) fn copy_data(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> sys::Result<()> {
    let size = sys::fs::fstat(from)?.st_size;
    let mut at = 0;
    while at < size {
        let start = match sys::fs::lseek(from, at, libc::SEEK_DATA) {
            Ok(start) => start,
            Err(Errno::ENXIO) => break, // only a hole is left
            // No such notion here: all is data.
            Err(Errno::EINVAL) => {
                copy_extent(from, to, at, size)?;
                break;
            }
            Err(errno) => return Err(errno),
        };
        let end = match sys::fs::lseek(from, start, libc::SEEK_HOLE) {
            Ok(end) => end.min(size),
            Err(_) => size,
        };
        if !copy_extent(from, to, start, end)? {
            break; // the lower became shorter
        }
        at = end.max(start + 1);
    }
    sys::fs::ftruncate(to, size)
}

/// False if the file ended before `end`.
fn copy_extent(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    mut at: i64,
    end: i64,
) -> sys::Result<bool> {
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match sys::fs::copy_file_range(from, to, at, len) {
            Ok(0) => return Ok(false),
            Ok(n) => at += n as i64,
            Err(Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                return copy_by_hand(from, to, at, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

fn copy_by_hand(from: BorrowedFd<'_>, to: BorrowedFd<'_>, at: i64, end: i64) -> sys::Result<bool> {
    let file = |fd| sys::fs::dup_above(fd, 0).map(File::from);
    let (from, to) = (file(from)?, file(to)?);
    let code = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let (mut at, end) = (at as u64, end as u64);
    let mut buf = vec![0u8; 128 * 1024];
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let piece = buf.get_mut(..want).unwrap_or_default();
        let n = from.read_at(piece, at).map_err(code)?;
        if n == 0 {
            return Ok(false);
        }
        to.write_all_at(piece.get(..n).unwrap_or_default(), at)
            .map_err(code)?;
        at += n as u64;
    }
    Ok(true)
}

/// Makes the copy of a lower's directory: built in `work`, moved to `name` of `upper`.
pub(super) fn copy_dir(
    store: &Store,
    lower: &LowerDir,
    upper: &UpperDir,
    name: &CStr,
) -> sys::Result<OwnedFd> {
    let temp = store.temp()?;
    let work = store.work.as_fd();
    sys::fs::mkdirat(work, &temp.name, 0o700)?;
    let dir = open_dir(work, &temp.name)?;
    let stat = sys::fs::fstat(lower.fd.as_fd())?;
    copy_metadata(lower.fd.as_fd(), &stat, dir.as_fd())?;
    upper.widened(0o300, || {
        upper.times_kept(|| move_dir(work, &temp.name, upper.fd.as_fd(), name, dir.as_fd(), 0))
    })?;
    upper.set(name, Some(Kind::Dir));
    store.note_copy(lower.inode, dir.as_fd())?;
    Ok(dir)
}

/// renameat2(2) of directory `dir` to another parent: for that it must be writable itself.
pub(super) fn move_dir(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
    dir: BorrowedFd<'_>,
    flags: u32,
) -> sys::Result<()> {
    widened(dir, 0o200, || sys::fs::renameat2(from, old, to, new, flags))
}

/// Gives the copy `to` owner, attributes, mode and times of the original `from`.
///
/// An ordinary user can't give files away. DIFFERS: then the copy is the user's, without the setuid
/// and setgid bits that another owner had put there.
pub(super) fn copy_metadata(
    from: BorrowedFd<'_>,
    stat: &libc::stat,
    to: BorrowedFd<'_>,
) -> sys::Result<()> {
    copy_all_metadata(from, stat, to, &|name| {
        Ok(layer::shown_name(name.to_bytes()).map(|_| name.to_owned()))
    })
}

/// The same from the upper to a directory that is no layer: attributes get the names that guests gave them.
pub(crate) fn copy_metadata_out(
    from: BorrowedFd<'_>,
    stat: &libc::stat,
    to: BorrowedFd<'_>,
) -> sys::Result<()> {
    copy_all_metadata(from, stat, to, &|name| {
        let shown = layer::shown_name(name.to_bytes()).map(CString::new);
        shown.transpose().map_err(|_| Errno::EINVAL)
    })
}

/// An attribute's name on the copy; `None` for what isn't copied.
type NameThere<'n> = &'n dyn Fn(&CStr) -> sys::Result<Option<CString>>;

fn copy_all_metadata(
    from: BorrowedFd<'_>,
    stat: &libc::stat,
    to: BorrowedFd<'_>,
    name_there: NameThere<'_>,
) -> sys::Result<()> {
    let (old, new) = (fd_path(from)?, fd_path(to)?);
    let mut mode = stat.st_mode & 0o7777;
    let chown = |uid, gid| sys::fs::fchownat(to, c"", uid, gid, libc::AT_EMPTY_PATH);
    let is = sys::fs::fstat(to)?;
    if (is.st_uid, is.st_gid) != (stat.st_uid, stat.st_gid)
        && chown(stat.st_uid, stat.st_gid).is_err()
    {
        if is.st_gid != stat.st_gid && chown(u32::MAX, stat.st_gid).is_err() {
            mode &= !libc::S_ISGID;
        }
        if is.st_uid != stat.st_uid {
            mode &= !libc::S_ISUID;
        }
    }
    // Before the mode: user.* can't be set on a file of mode 0444, not even by its owner.
    copy_attributes(&old, &new, name_there)?;
    if layer::kind(stat) != libc::S_IFLNK {
        sys::fs::fchmodat(to, &new, mode)?;
    }
    set_times(to, stat)
}

fn copy_attributes(from: &CStr, to: &CStr, name_there: NameThere<'_>) -> sys::Result<()> {
    let names = match layer::attribute_names(from) {
        Ok(names) => names,
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for name in names {
        let Some(there) = name_there(&name)? else {
            continue;
        };
        let value = match layer::attribute(from, &name) {
            Ok(value) => value,
            Err(Errno::ENODATA) => continue, // removed meanwhile
            Err(errno) => return Err(errno),
        };
        match sys::fs::setxattr(to, &there, &value, 0) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            // Labels and capabilities are for the kernel or an administrator to give.
            Err(Errno::EPERM | Errno::EACCES | Errno::EINVAL)
                if !name.to_bytes().starts_with(b"user.") => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

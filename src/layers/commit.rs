//! Applying a layer's changes to its source.
//!
//! Each file is put into place by one rename(2): whoever looks sees the old one or the new one, also after a
//! crash. What was applied is taken out of the layer, so that an interrupted commit is continued by the next.
//!
//! All is refused, before anything is done, if something would be lost: the source's file was changed since the
//! layer's was made. Right before each step that is looked at again.

use super::changes::{
    Change, HALF_MADE, Kind, Moment, Node, UNDER_WAY, changed_within, changes, commit_mark,
    host_names, is, leftover, look, on_a_deep_stack,
};
use super::{Claim, Error, Layer, open};
use crate::sys::{self, Errno};
use crate::vfs::cow::layer::{Opacity, fd_path, opacity, set_commit_mark};
use crate::vfs::cow::{copy_data, copy_metadata_out, names_in, open_dir, remove_tree, widened};
use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

/// What came of a commit.
#[derive(Debug, Default)]
pub struct Committed {
    /// How many changes were applied.
    pub applied: usize,
    /// Changes that would lose something; if there are any, none was applied.
    pub conflicts: Vec<Change>,
    /// Files of the host with other names besides: those would keep the old content.
    pub linked: Vec<Change>,
    /// Files that would give their rights to whoever runs them (setuid, setgid): they need `force` too.
    pub dangerous: Vec<Change>,
}

/// Applies the changes of `layer` at and below `paths` (all if there are none) to its source. With
/// `force`, also those that lose something.
///
/// `claim` says that no run uses the layer meanwhile.
pub fn commit(
    layer: &Layer,
    _claim: &Claim,
    paths: &[&Path],
    force: bool,
) -> Result<Committed, Error> {
    let (Some(upper), Some(work)) = (layer.part("upper")?, layer.part("work")?) else {
        return Ok(Committed::default());
    };
    let host =
        open(&layer.source).map_err(Error::of(format!("opening {}", layer.source.display())))?;
    let interrupted = leftover(layer)?;
    if let Some(temp) = &interrupted {
        // Before anything is looked at: this changes times of the host's directories.
        on_a_deep_stack(|| sweep(&upper, &host, temp))?;
    }
    let looked = now();
    let all = changes(layer)?;
    let wanted: Vec<Change> = all.into_iter().filter(|c| is_wanted(c, paths)).collect();
    let mut result = Committed::default();
    if !force {
        let (conflicts, rest): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|c| c.conflict);
        let (linked, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(has_other_names);
        result.dangerous = rest.into_iter().filter(gives_rights).collect();
        result.linked = linked;
        result.conflicts = conflicts;
        if !result.conflicts.is_empty() || !result.linked.is_empty() || !result.dangerous.is_empty()
        {
            return Ok(result);
        }
    }
    let temp = match interrupted {
        Some(temp) => temp,
        None => begin(layer)?,
    };
    let job = Job {
        upper,
        work,
        host,
        force,
        looked,
        temp,
        kept: OnceLock::new(),
    };
    for change in &wanted {
        job.apply(change).map_err(|errno| {
            let path = shown(&change.path);
            let begins = match (job.kept.get(), errno) {
                (Some(kept), _) => format!(
                    "{path} was made anew on the host meanwhile; what it was is beside it now, as {}",
                    shown(kept.to_bytes())
                ),
                (None, Errno::ESTALE) => format!("{path} was changed on the host meanwhile"),
                (None, _) => format!("committing {path}"),
            };
            let what = format!(
                "{begins}; {} of {} changes are applied, the others stay in layer '{}'",
                result.applied,
                wanted.len(),
                layer.name
            );
            Error::System { what, errno }
        })?;
        result.applied += 1;
    }
    let failed =
        |change: &Change| Error::of(format!("committing directory {}", shown(&change.path)));
    // Directories last, from the inside: what was done in them has changed their times.
    for change in wanted.iter().rev().filter(|c| c.makes_directory()) {
        job.copy_directory(change).map_err(failed(change))?;
    }
    // A new directory hides the host's, and so stays until all that is in it is equal.
    let rest = changes(layer)?;
    for change in &wanted {
        let below = |other: &Change| other.path.starts_with(&change.path);
        if change.makes_directory() && !rest.iter().any(below) {
            let (above, name) = split(&change.path).map_err(failed(change))?;
            if let Ok(dir) = descend(&job.upper, &above)
                && !job.is_hidden_below(&above).map_err(failed(change))?
            {
                job.drop_tree(&dir, &name).map_err(failed(change))?;
            }
        }
        job.remove_empty(&change.path).map_err(failed(change))?;
    }
    std::fs::remove_file(layer.dir.join(UNDER_WAY))
        .map_err(Error::io(format!("layer '{}'", layer.name)))?;
    Ok(result)
}

/// Notes that a commit is under way, and the name for what it half makes, which is new.
fn begin(layer: &Layer) -> Result<CString, Error> {
    let name = unused_name(HALF_MADE).map_err(|_| Error::BadName(layer.name.clone()))?;
    std::fs::write(layer.dir.join(UNDER_WAY), name.to_bytes())
        .map_err(Error::io(format!("layer '{}'", layer.name)))?;
    Ok(name)
}

/// How the names begin that directories of the host get which are taken away, and whose own name is somebody else's then.
const KEPT: &str = ".sbox-kept-";

/// A name that nobody has and nobody guesses.
fn unused_name(begins: &str) -> sys::Result<CString> {
    let random = RandomState::new().build_hasher().finish();
    CString::new(format!("{begins}{random:016x}")).map_err(|_| Errno::EINVAL)
}

fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// At or below one of the paths; or a new directory on the way to one.
fn is_wanted(change: &Change, paths: &[&Path]) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(&change.path));
    let makes_way = matches!(change.kind, Kind::Added | Kind::Replaced);
    paths.is_empty()
        || paths
            .iter()
            .any(|wanted| path.starts_with(wanted) || makes_way && wanted.starts_with(path))
}

fn gives_rights(change: &Change) -> bool {
    let bits = libc::S_ISUID | libc::S_ISGID;
    change
        .new
        .is_some_and(|new| new.is_file() && new.mode & bits != 0)
}

fn has_other_names(change: &Change) -> bool {
    change.old.is_some_and(|old| old.is_file() && old.links > 1)
}

struct Job {
    upper: OwnedFd,
    /// What the engine empties at the next start.
    work: OwnedFd,
    host: OwnedFd,
    force: bool,
    /// When we began to look for changes of the host's.
    looked: Moment,
    /// The name of what is made on the host before it has its own, see [`leftover`].
    temp: CString,
    /// The name of what was taken away and couldn't be given back its own.
    kept: OnceLock<CString>,
}

impl Job {
    fn apply(&self, change: &Change) -> sys::Result<()> {
        let (above, name) = split(&change.path)?;
        let host = descend(&self.host, &above)?;
        let now = look(host.as_fd(), &name)?;
        if !self.force && now.as_ref().map(Node::from) != change.old {
            return Err(Errno::ESTALE);
        }
        let upper = descend(&self.upper, &above);
        match change.kind {
            Kind::Removed => {
                self.remove(&host, &name, now.as_ref())?;
                // Below an opaque directory there is no whiteout of its own.
                match upper.and_then(|upper| sys::fs::unlinkat(upper.as_fd(), &name, 0)) {
                    Ok(()) | Err(Errno::ENOENT) => Ok(()),
                    Err(errno) => Err(errno),
                }
            }
            _ if change.makes_directory() => {
                let upper = open_dir(upper?.as_fd(), &name)?;
                // What is done in it changes its times: a commit that goes on from here must not take that
                // for the doing of others.
                let note = |now| set_commit_mark(upper.as_fd(), &commit_mark(now));
                match now {
                    Some(now) if is(&now, libc::S_IFDIR) => note(&now),
                    now => {
                        self.remove(&host, &name, now.as_ref())?;
                        // For us alone until it is finished.
                        let (dir, temp) = (host.as_fd(), &self.temp);
                        sys::fs::mkdirat(dir, temp, 0o700)?;
                        note(&sys::fs::fstatat(dir, temp, libc::AT_SYMLINK_NOFOLLOW)?)?;
                        sys::fs::renameat2(dir, temp, dir, &name, libc::RENAME_NOREPLACE)
                    }
                }
            }
            _ => {
                let upper = upper?;
                self.put(&upper, &host, &name, now.as_ref())?;
                if self.is_hidden_below(&above)? {
                    // The host's would not shine through: the layer's stays, equal to it.
                    return Ok(());
                }
                sys::fs::unlinkat(upper.as_fd(), &name, 0)
            }
        }
    }

    /// Puts a file of the upper into its place on the host, by one step.
    fn put(
        &self,
        upper: &OwnedFd,
        host: &OwnedFd,
        name: &CStr,
        now: Option<&libc::stat>,
    ) -> sys::Result<()> {
        let stat = sys::fs::fstatat(upper.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW)?;
        let dir = host.as_fd();
        let handle = sys::fs::openat(upper.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {
                let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
                let from = match sys::fs::openat(upper.as_fd(), name, flags, 0) {
                    Err(Errno::EACCES) => readable(&handle, &stat)?,
                    other => other?,
                };
                let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
                let to = sys::fs::openat(dir, &self.temp, flags, 0o600)?;
                if sys::fs::clone_file(from.as_fd(), to.as_fd()).is_err() {
                    copy_data(from.as_fd(), to.as_fd())?;
                }
                sys::fs::fsync(to.as_fd())?;
            }
            libc::S_IFLNK => {
                let mut text = [0u8; libc::PATH_MAX as usize];
                let text = sys::fs::readlinkat(upper.as_fd(), name, &mut text)?;
                let text = CString::new(text).map_err(|_| Errno::EINVAL)?;
                sys::fs::symlinkat(&text, dir, &self.temp)?;
            }
            kind @ (libc::S_IFIFO | libc::S_IFSOCK) => {
                sys::fs::mknodat(dir, &self.temp, kind | 0o600, 0)?;
            }
            // Layers have no devices.
            _ => return Err(Errno::EPERM),
        }
        let made = sys::fs::openat(dir, &self.temp, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        copy_metadata_out(handle.as_fd(), &stat, made.as_fd())?;
        if now.is_some_and(|now| is(now, libc::S_IFDIR)) {
            // A file can't replace a directory: they change places.
            let change_places =
                || sys::fs::renameat2(dir, &self.temp, dir, name, libc::RENAME_EXCHANGE);
            change_places()?;
            if let Err(errno) = self.is_as_looked_at(host, now) {
                change_places()?;
                sys::fs::unlinkat(dir, &self.temp, 0)?;
                return Err(errno);
            }
            return remove_tree(dir, &self.temp);
        }
        match now {
            _ if self.force => sys::fs::renameat2(dir, &self.temp, dir, name, 0),
            Some(now) => self.replace(dir, name, now, made.as_fd()),
            None => sys::fs::renameat2(dir, &self.temp, dir, name, libc::RENAME_NOREPLACE)
                .or_else(|errno| self.too_late(dir, errno)),
        }
    }

    /// Puts what was made into the place of a file, unless that has changed since: copying may have taken long.
    fn replace(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        was: &libc::stat,
        made: BorrowedFd<'_>,
    ) -> sys::Result<()> {
        if look(dir, name)?.as_ref().map(Node::from) != Some(Node::from(was)) {
            return self.too_late(dir, Errno::ESTALE);
        }
        let change_places =
            || sys::fs::renameat2(dir, &self.temp, dir, name, libc::RENAME_EXCHANGE);
        match change_places() {
            // Not every file system can.
            Err(Errno::EINVAL) => return sys::fs::renameat2(dir, &self.temp, dir, name, 0),
            other => other?,
        }
        let taken = look(dir, &self.temp)?;
        if taken.is_some_and(|taken| is_still(&taken, was)) {
            return sys::fs::unlinkat(dir, &self.temp, 0);
        }
        change_places()?;
        let made = sys::fs::fstat(made)?.st_ino;
        if look(dir, &self.temp)?.is_some_and(|back| back.st_ino != made) {
            self.keep(dir)?;
            return Err(Errno::ESTALE);
        }
        self.too_late(dir, Errno::ESTALE)
    }

    /// Removes what was made.
    fn too_late(&self, dir: BorrowedFd<'_>, errno: Errno) -> sys::Result<()> {
        sys::fs::unlinkat(dir, &self.temp, 0)?;
        Err(match errno {
            Errno::EEXIST => Errno::ESTALE,
            other => other,
        })
    }

    /// Gives what was taken away a name of its own: somebody has made another of its name, and the next commit must not sweep up what
    /// isn't its own.
    fn keep(&self, dir: BorrowedFd<'_>) -> sys::Result<()> {
        let kept = unused_name(KEPT)?;
        sys::fs::renameat2(dir, &self.temp, dir, &kept, libc::RENAME_NOREPLACE)?;
        // Nothing is taken away after this.
        let _ = self.kept.set(kept);
        Ok(())
    }

    /// Removes a name of the host, and what is below it: first it vanishes, then it is taken down.
    fn remove(&self, dir: &OwnedFd, name: &CStr, now: Option<&libc::stat>) -> sys::Result<()> {
        let Some(now) = now else {
            return Ok(());
        };
        let temp = &self.temp;
        let moved = |from: &CStr, to: &CStr| {
            sys::fs::renameat2(dir.as_fd(), from, dir.as_fd(), to, libc::RENAME_NOREPLACE)
        };
        let give_back = || {
            moved(temp, name).or_else(|errno| {
                self.keep(dir.as_fd())?;
                Err(errno)
            })
        };
        moved(name, temp)?;
        if !is(now, libc::S_IFDIR) {
            let taken = look(dir.as_fd(), temp)?;
            if self.force || taken.is_some_and(|taken| is_still(&taken, now)) {
                return sys::fs::unlinkat(dir.as_fd(), temp, 0);
            }
            give_back()?;
            return Err(Errno::ESTALE);
        }
        if let Err(errno) = self.is_as_looked_at(dir, Some(now)) {
            give_back()?;
            return Err(errno);
        }
        remove_tree(dir.as_fd(), temp).or_else(|_| {
            // Not ours to remove, at least in part: what is left gets its name back.
            let left = open_dir(dir.as_fd(), temp).and_then(|d| host_names(&d));
            give_back()?;
            Err(if left.is_ok_and(|l| l.is_empty()) {
                Errno::EACCES
            } else {
                Errno::ENOTEMPTY
            })
        })
    }

    /// ESTALE if somebody has changed something in the directory that was taken away, whose name nobody knows any more.
    fn is_as_looked_at(&self, dir: &OwnedFd, was: Option<&libc::stat>) -> sys::Result<()> {
        if self.force {
            return Ok(());
        }
        let is = look(dir.as_fd(), &self.temp)?;
        let same = is.zip(was).is_some_and(|(is, was)| is_still(&is, was));
        let changed = !same
            || on_a_deep_stack(|| changed_within(dir.as_fd(), &self.temp, self.looked))
                .map_err(|_| Errno::EAGAIN)??;
        if changed { Err(Errno::ESTALE) } else { Ok(()) }
    }

    /// Gives a directory of the host what the layer's has besides names.
    fn copy_directory(&self, change: &Change) -> sys::Result<()> {
        let (above, name) = split(&change.path)?;
        let upper = open_dir(descend(&self.upper, &above)?.as_fd(), &name)?;
        let host = open_dir(descend(&self.host, &above)?.as_fd(), &name)?;
        let stat = sys::fs::fstat(upper.as_fd())?;
        copy_metadata_out(upper.as_fd(), &stat, host.as_fd())?;
        set_commit_mark(upper.as_fd(), b"")
    }

    /// Removes a directory of the upper. It goes at once: half of it would hide the other half on the host.
    fn drop_tree(&self, dir: &OwnedFd, name: &CStr) -> sys::Result<()> {
        let (work, gone) = (self.work.as_fd(), c"committed");
        remove_tree(work, gone)?;
        let this = open_dir(dir.as_fd(), name)?;
        widened(this.as_fd(), 0o200, || {
            widened(dir.as_fd(), 0o300, || {
                sys::fs::renameat2(dir.as_fd(), name, work, gone, libc::RENAME_NOREPLACE)
            })
        })?;
        remove_tree(work, gone)
    }

    /// Removes the directories of the upper on the way to `path` that hold no more changes.
    fn remove_empty(&self, path: &[u8]) -> sys::Result<()> {
        let mut path = Some(path);
        while let Some(at) = path {
            path = parent(at);
            let (above, name) = split(at)?;
            let Ok(dir) = descend(&self.upper, &above) else {
                continue; // that has gone already
            };
            // Where the host's doesn't shine through, a name that the layer lacks is one that was removed.
            if self.still_hides(&above, &name) || self.is_hidden_below(&above)? {
                break;
            }
            match sys::fs::unlinkat(dir.as_fd(), &name, libc::AT_REMOVEDIR) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}

impl Job {
    /// True if one of these directories of the upper is opaque.
    fn is_hidden_below(&self, above: &[CString]) -> sys::Result<bool> {
        let mut dir = sys::fs::dup_above(self.upper.as_fd(), 0)?;
        for name in above {
            dir = open_dir(dir.as_fd(), name)?;
            if opacity(dir.as_fd())? == Opacity::Opaque {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True for an opaque directory of the upper while the host's has names that it hides: without it
    /// those would come back.
    fn still_hides(&self, above: &[CString], name: &CStr) -> bool {
        let opaque = descend(&self.upper, above)
            .and_then(|dir| open_dir(dir.as_fd(), name))
            .and_then(|dir| opacity(dir.as_fd()))
            .is_ok_and(|opacity| opacity == Opacity::Opaque);
        opaque
            && descend(&self.host, above)
                .and_then(|dir| open_dir(dir.as_fd(), name))
                .and_then(|dir| host_names(&dir))
                .map_or(true, |names| !names.is_empty())
    }
}

/// True if what was taken away is what was looked at. Its new name is a change of its own, but for the time of what is in it.
fn is_still(taken: &libc::stat, was: &libc::stat) -> bool {
    let of = |stat: &libc::stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_ino, stat.st_mode, stat.st_size, time)
    };
    of(taken) == of(was)
}

/// Removes what a commit of this layer that was interrupted has left: where it left something, the layer still
/// has the directory.
fn sweep(upper: &OwnedFd, host: &OwnedFd, temp: &CStr) {
    // What can't be removed now stands in the way of whatever needs the name.
    let _ = remove_tree(host.as_fd(), temp);
    for name in names_in(upper.as_fd()).unwrap_or_default() {
        let below = |dir: &OwnedFd| open_dir(dir.as_fd(), &name);
        if let (Ok(upper), Ok(host)) = (below(upper), below(host)) {
            sweep(&upper, &host, temp);
        }
    }
}

/// Opens a file that its owner may not read.
fn readable(handle: &OwnedFd, stat: &libc::stat) -> sys::Result<OwnedFd> {
    let path = fd_path(handle.as_fd())?;
    sys::fs::fchmodat(handle.as_fd(), &path, stat.st_mode & 0o7777 | 0o400)?;
    let opened = sys::fs::open(&path, libc::O_RDONLY | libc::O_NONBLOCK);
    sys::fs::fchmodat(handle.as_fd(), &path, stat.st_mode & 0o7777)?;
    opened
}

/// The time by the clock that file systems take theirs from.
fn now() -> Moment {
    let clock = nix::time::ClockId::CLOCK_REALTIME_COARSE;
    // This clock is always there.
    let now = nix::time::clock_gettime(clock).map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
    (now.0, now.1)
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().rposition(|&b| b == b'/')?;
    path.get(..at)
}

/// The names above, and the last one.
fn split(path: &[u8]) -> sys::Result<(Vec<CString>, CString)> {
    let mut names = path
        .split(|&b| b == b'/')
        .map(|name| CString::new(name).map_err(|_| Errno::EINVAL))
        .collect::<Result<Vec<_>, _>>()?;
    let last = names.pop().ok_or(Errno::EINVAL)?;
    Ok((names, last))
}

/// Opens the directory below `root`, following no link.
fn descend(root: &OwnedFd, names: &[CString]) -> sys::Result<OwnedFd> {
    names
        .iter()
        .try_fold(sys::fs::dup_above(root.as_fd(), 0)?, |dir, name| {
            open_dir(dir.as_fd(), name)
        })
}

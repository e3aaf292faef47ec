//! What a layer changes: its upper directory held against its source.
//!
//! Both are walked by held directories and single names that are never followed: what is in the upper was
//! chosen by a guest, and what is in the source may change meanwhile.

use super::{Error, Layer, open};
use crate::sys::{self, Errno};
use crate::vfs::cow::layer::{self as format, Opacity};
use crate::vfs::cow::{names_in, names_of, open_dir};
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// One difference.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where, from the source's root: no leading slash.
    pub path: Vec<u8>,
    /// What has happened.
    pub kind: Kind,
    /// What the source has there now.
    pub old: Option<Node>,
    /// What the layer has there.
    pub new: Option<Node>,
    /// The source's has been changed since the layer's was made: applying the change would lose that.
    pub conflict: bool,
}

impl Change {
    /// True if the layer has a directory there that differs from the source's.
    pub fn makes_directory(&self) -> bool {
        self.new.is_some_and(|node| node.is_dir())
    }
}

/// What has happened to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Added,
    /// Its content differs.
    Modified,
    /// It is gone, and all below it.
    Removed,
    /// It has become something of another type.
    Replaced,
    /// Only this differs.
    Attributes(Vec<Aspect>),
}

/// What may differ of two files with equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// Extended attributes, access lists among them.
    Xattrs,
    /// Time of last modification.
    Time,
}

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Type and permissions, stat(2).
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// For telling whether it is still the same: inode, time of last change.
    pub(super) stamp: (u64, i64, i64),
}

impl Node {
    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

impl From<&libc::stat> for Node {
    fn from(stat: &libc::stat) -> Self {
        Self {
            mode: stat.st_mode,
            size: stat.st_size.cast_unsigned(),
            links: stat.st_nlink,
            stamp: (stat.st_ino, stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// How closely files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Byte by byte.
    Content,
    /// Files of equal size and time of modification count as equal.
    Times,
}

/// All changes of a layer, a directory before what is in it.
pub fn changes(layer: &Layer) -> Result<Vec<Change>, Error> {
    compare(layer, Depth::Content)
}

/// [`changes`] to a certain depth.
pub fn compare(layer: &Layer, depth: Depth) -> Result<Vec<Change>, Error> {
    let Some(upper) = layer.upper()? else {
        return Ok(Vec::new());
    };
    if names_in(upper.as_fd()).is_ok_and(|names| names.is_empty()) {
        // Nothing to go down to, as after most runs.
        return compare_trees(layer, &upper, depth);
    }
    on_a_deep_stack(|| compare_trees(layer, &upper, depth))?
}

/// A walk takes a frame and a descriptor for each level, and guests make trees as deep as they like.
pub(super) fn on_a_deep_stack<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, Error> {
    sys::process::raise_descriptor_limit();
    // Of address space, not memory. Where that is limited (setrlimit(2), RLIMIT_AS), a part of it has to do.
    let most = sys::process::address_space().map_or(1 << 30, |most| most / 4);
    let size = usize::try_from(most.clamp(1 << 21, 1 << 30)).unwrap_or(1 << 30);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size);
        let thread = thread
            .spawn_scoped(scope, act)
            .map_err(Error::io("starting a thread"))?;
        thread.join().map_err(|_| Error::System {
            what: "walking a layer".into(),
            errno: Errno::EIO,
        })
    })
}

fn compare_trees(layer: &Layer, upper: &OwnedFd, depth: Depth) -> Result<Vec<Change>, Error> {
    let host =
        open(&layer.source).map_err(Error::of(format!("reading {}", layer.source.display())))?;
    let mut walk = Walk {
        depth,
        leftover: leftover(layer)?,
        path: Vec::new(),
        found: Vec::new(),
    };
    walk.directory(upper, Some(&host), false)
        .map_err(|errno| Error::System {
            what: format!(
                "comparing layer '{}' with {} at {}",
                layer.name,
                layer.source.display(),
                walk.path.escape_ascii()
            ),
            errno,
        })?;
    Ok(walk.found)
}

/// How the names begin under which a commit makes things on the host before they have their own.
pub(super) const HALF_MADE: &str = ".sbox-commit-";
/// The file of a layer that has this name while a commit is under way, or after one was interrupted. Guests don't see
/// it and can't guess it: what has the name is ours.
pub(super) const UNDER_WAY: &str = "commit";

/// The name that an interrupted commit has used.
pub(super) fn leftover(layer: &Layer) -> Result<Option<CString>, Error> {
    let name = match std::fs::read_to_string(layer.dir.join(UNDER_WAY)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io(format!("layer '{}'", layer.name)))?,
    };
    let is_ours = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit());
    match name.strip_prefix(HALF_MADE).is_some_and(is_ours) {
        // Interrupted before it had written even that.
        false => Ok(None),
        true => Ok(CString::new(name).ok()),
    }
}

struct Walk {
    depth: Depth,
    /// Nobody's: the next commit removes it.
    leftover: Option<CString>,
    path: Vec<u8>,
    found: Vec<Change>,
}

/// When something was last changed, or made.
pub(super) type Moment = (i64, i64);

impl Walk {
    /// Compares a directory of the upper with the one that the source has at its place.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        host: Option<&OwnedFd>,
        hides_host: bool,
    ) -> sys::Result<()> {
        let mut names = names_in(upper.as_fd())?;
        names.sort();
        for name in &names {
            self.at(name, |walk| walk.name(upper, host, name))?;
        }
        let Some(host) = host.filter(|_| hides_host) else {
            return Ok(());
        };
        let since = born(upper.as_fd(), c".")?;
        let mut hidden = host_names(host)?;
        hidden.retain(|name| {
            names.binary_search(name).is_err() && self.leftover.as_ref() != Some(name)
        });
        hidden.sort();
        for name in &hidden {
            let Some(old) = look(host.as_fd(), name)? else {
                continue;
            };
            self.at(name, |walk| walk.removed(host, name, &old, since))?;
        }
        Ok(())
    }

    fn at(
        &mut self,
        name: &CStr,
        act: impl FnOnce(&mut Self) -> sys::Result<()>,
    ) -> sys::Result<()> {
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        act(self)?;
        self.path.truncate(before);
        Ok(())
    }

    fn tell(
        &mut self,
        kind: Kind,
        old: Option<&libc::stat>,
        new: Option<&libc::stat>,
        conflict: bool,
    ) {
        self.found.push(Change {
            path: self.path.clone(),
            kind,
            old: old.map(Node::from),
            new: new.map(Node::from),
            conflict,
        });
    }

    fn removed(
        &mut self,
        host: &OwnedFd,
        name: &CStr,
        old: &libc::stat,
        since: Moment,
    ) -> sys::Result<()> {
        let conflict = changed_since(host.as_fd(), name, old, since)?;
        self.tell(Kind::Removed, Some(old), None, conflict);
        Ok(())
    }

    fn name(&mut self, upper: &OwnedFd, host: Option<&OwnedFd>, name: &CStr) -> sys::Result<()> {
        let new = sys::fs::fstatat(upper.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW)?;
        let old = match host {
            Some(host) => look(host.as_fd(), name)?,
            None => None,
        };
        let pair = host.zip(old.as_ref());
        if format::is_whiteout(&new) || format::is_marker(upper.as_fd(), name, &new) {
            let Some((host, old)) = pair else {
                return Ok(()); // gone there, too
            };
            let since = born(upper.as_fd(), name)?;
            return self.removed(host, name, old, since);
        }
        if is(&new, libc::S_IFDIR) {
            return self.subdirectory(upper, pair, name, &new);
        }
        let Some((host, old)) = pair else {
            self.tell(Kind::Added, None, Some(&new), false);
            return Ok(());
        };
        let kind = if kind_of(old) != kind_of(&new) {
            Kind::Replaced
        } else if !self.is_same(upper, host, name, old, &new)? {
            Kind::Modified
        } else {
            let aspects = aspects(upper, host, name, old, &new)?;
            if aspects.is_empty() {
                return Ok(());
            }
            Kind::Attributes(aspects)
        };
        let since = born(upper.as_fd(), name)?;
        let conflict = changed_since(host.as_fd(), name, old, since)?;
        self.tell(kind, Some(old), Some(&new), conflict);
        Ok(())
    }

    fn is_same(
        &self,
        upper: &OwnedFd,
        host: &OwnedFd,
        name: &CStr,
        old: &libc::stat,
        new: &libc::stat,
    ) -> sys::Result<bool> {
        let time = |stat: &libc::stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        let is_trusted = self.depth == Depth::Times && is(new, libc::S_IFREG);
        if is_trusted && time(old) == time(new) {
            return Ok(true);
        }
        if is_trusted && old.st_size != new.st_size {
            return Ok(false);
        }
        same_content(upper, host, name, old, new)
    }

    fn subdirectory(
        &mut self,
        upper: &OwnedFd,
        old: Option<(&OwnedFd, &libc::stat)>,
        name: &CStr,
        new: &libc::stat,
    ) -> sys::Result<()> {
        let this = open_dir(upper.as_fd(), name)?;
        let opaque = format::opacity(this.as_fd())? == Opacity::Opaque;
        match old {
            None => {
                self.tell(Kind::Added, None, Some(new), false);
                self.directory(&this, None, false)
            }
            Some((host, old)) if !is(old, libc::S_IFDIR) => {
                let since = born(upper.as_fd(), name)?;
                let conflict = changed_since(host.as_fd(), name, old, since)?;
                self.tell(Kind::Replaced, Some(old), Some(new), conflict);
                self.directory(&this, None, false)
            }
            Some((host, old)) => {
                let mut aspects = aspects(upper, host, name, old, new)?;
                // A directory's time is that of the last change in it, and those are told.
                aspects.retain(|aspect| *aspect != Aspect::Time);
                if !aspects.is_empty() {
                    // Also if names in it have changed: whose attributes these are can't be told.
                    let changed = (old.st_ctime, old.st_ctime_nsec);
                    let conflict = changed > born(upper.as_fd(), name)?
                        && format::commit_mark(this.as_fd())? != commit_mark(old);
                    self.tell(Kind::Attributes(aspects), Some(old), Some(new), conflict);
                }
                let below = open_dir(host.as_fd(), name)?;
                self.directory(&this, Some(&below), opaque)
            }
        }
    }
}

/// What tells a directory of the source whose attributes nobody has changed since a commit began to write into it:
/// that alone moves its times.
pub(super) fn commit_mark(stat: &libc::stat) -> Vec<u8> {
    let (ino, mode, uid, gid) = (stat.st_ino, stat.st_mode, stat.st_uid, stat.st_gid);
    format!("{ino}:{mode:o}:{uid}:{gid}").into_bytes()
}

pub(super) fn look(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<Option<libc::stat>> {
    match sys::fs::fstatat(dir, name, libc::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names in a directory of the source. Unlike the upper's it is never made readable for that.
pub(super) fn host_names(dir: &OwnedFd) -> sys::Result<Vec<CString>> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    names_of(&sys::fs::openat(dir.as_fd(), c".", flags, 0)?)
}

fn kind_of(stat: &libc::stat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

pub(super) fn is(stat: &libc::stat, kind: u32) -> bool {
    kind_of(stat) == kind
}

/// When the upper's file was made: at copy-up, or when a guest made or removed the name. File systems that
/// keep no time of birth give the time of the last change, which is later: fewer conflicts are seen.
fn born(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<Moment> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    let stat = sys::fs::statx(dir, name, flags, libc::STATX_BTIME | libc::STATX_CTIME)?;
    let at = if stat.stx_mask & libc::STATX_BTIME != 0 {
        stat.stx_btime
    } else {
        stat.stx_ctime
    };
    Ok((at.tv_sec, i64::from(at.tv_nsec)))
}

/// True if anything in a directory that the source had was changed at `since` or later: `dir` holds it by another name, which is a
/// change of its own.
pub(super) fn changed_within(dir: BorrowedFd<'_>, name: &CStr, since: Moment) -> sys::Result<bool> {
    let before = match since {
        (seconds, 0) => (seconds - 1, 999_999_999),
        (seconds, nanoseconds) => (seconds, nanoseconds - 1),
    };
    changed_below(dir, name, before)
}

fn changed_below(dir: BorrowedFd<'_>, name: &CStr, since: Moment) -> sys::Result<bool> {
    let this = open_dir(dir, name)?;
    for name in host_names(&this)? {
        if let Some(stat) = look(this.as_fd(), &name)?
            && changed_since(this.as_fd(), &name, &stat, since)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if the source's file, or anything in the directory, was changed after `since`.
fn changed_since(
    dir: BorrowedFd<'_>,
    name: &CStr,
    stat: &libc::stat,
    since: Moment,
) -> sys::Result<bool> {
    if (stat.st_ctime, stat.st_ctime_nsec).cmp(&since) == Ordering::Greater {
        return Ok(true);
    }
    if !is(stat, libc::S_IFDIR) {
        return Ok(false);
    }
    changed_below(dir, name, since)
}

fn same_content(
    upper: &OwnedFd,
    host: &OwnedFd,
    name: &CStr,
    old: &libc::stat,
    new: &libc::stat,
) -> sys::Result<bool> {
    match kind_of(new) {
        libc::S_IFREG => {
            if old.st_size != new.st_size {
                return Ok(false);
            }
            let file = |dir: &OwnedFd| {
                let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
                sys::fs::openat(dir.as_fd(), name, flags, 0).map(File::from)
            };
            match (file(upper), file(host)) {
                (Ok(a), Ok(b)) => same_bytes(&a, &b),
                // What can't be compared may differ.
                (Err(Errno::EACCES), _) | (_, Err(Errno::EACCES)) => Ok(false),
                (Err(errno), _) | (_, Err(errno)) => Err(errno),
            }
        }
        libc::S_IFLNK => {
            let (mut a, mut b) = ([0u8; 4096], [0u8; 4096]);
            let a = sys::fs::readlinkat(upper.as_fd(), name, &mut a)?;
            Ok(a == sys::fs::readlinkat(host.as_fd(), name, &mut b)?)
        }
        libc::S_IFCHR | libc::S_IFBLK => Ok(old.st_rdev == new.st_rdev),
        _ => Ok(true),
    }
}

fn same_bytes(a: &File, b: &File) -> sys::Result<bool> {
    let (mut left, mut right) = (vec![0u8; 128 * 1024], vec![0u8; 128 * 1024]);
    let mut at = 0;
    loop {
        let n = read_full(a, &mut left, at)?;
        let m = read_full(b, &mut right, at)?;
        if left.get(..n) != right.get(..m) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
        at += n as u64;
    }
}

fn read_full(file: &File, buf: &mut [u8], at: u64) -> sys::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
    Ok(done)
}

fn aspects(
    upper: &OwnedFd,
    host: &OwnedFd,
    name: &CStr,
    old: &libc::stat,
    new: &libc::stat,
) -> sys::Result<Vec<Aspect>> {
    let mut differ = Vec::new();
    if old.st_mode != new.st_mode {
        differ.push(Aspect::Mode);
    }
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
        differ.push(Aspect::Owner);
    }
    if differ_in_attributes(upper, host, name)? {
        differ.push(Aspect::Xattrs);
    }
    if (old.st_mtime, old.st_mtime_nsec) != (new.st_mtime, new.st_mtime_nsec) {
        differ.push(Aspect::Time);
    }
    Ok(differ)
}

fn differ_in_attributes(upper: &OwnedFd, host: &OwnedFd, name: &CStr) -> sys::Result<bool> {
    let shown = |(name, value): (CString, _)| Some((format::shown_name(name.to_bytes())?, value));
    let mut new: Vec<_> = attributes(upper, name)?
        .into_iter()
        .filter_map(shown)
        .collect();
    let mut old: Vec<_> = attributes(host, name)?
        .into_iter()
        .map(|(name, value)| (name.into_bytes(), value))
        .collect();
    // Of names that the format uses the host has what a guest gave it, or what is a layer's own.
    let given = |name: &Vec<u8>| new.iter().any(|(other, _)| other == name);
    old.retain(|(name, _)| format::shown_name(name).is_some() || given(name));
    new.sort();
    old.sort();
    Ok(new != old)
}

/// Extended attributes as they are stored, with their values.
fn attributes(dir: &OwnedFd, name: &CStr) -> sys::Result<Vec<(CString, Vec<u8>)>> {
    let file = sys::fs::openat(dir.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let path = format::fd_path(file.as_fd())?;
    let names = match format::attribute_names(&path) {
        Ok(names) => names,
        // Links and special files have none that anybody could set; some file systems know none.
        Err(Errno::EOPNOTSUPP | Errno::EPERM | Errno::EACCES) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let value = |name: CString| {
        let value = format::attribute(&path, &name).unwrap_or_default();
        (name, value)
    };
    Ok(names.into_iter().map(value).collect())
}

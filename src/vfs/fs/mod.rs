//! Files that only the view knows: devices, processes, and directories on the way to mounts.

mod dev;
mod identity;
mod made;
mod magic;
mod maps;
mod mounts;
mod namespaces;
mod numbers;
mod proc;

pub(super) use dev::Terminal;
pub use identity::{Identity, IdentityFile, NO_DOMAIN, check_hostname};
pub use magic::Magic;
pub use maps::MapsFile;
pub use mounts::MountFile;
pub use namespaces::Namespace;
pub use numbers::NumbersFile;
pub use proc::ProcDir;

use super::deed::bare;
use super::dir::{Dir, DirKind};
use super::mount::{HostObject, NodeId, Source};
use super::path::VPath;
use super::{Caller, Inode, Last, Place, Vfs, lock};
use crate::policy::names::Names;
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A directory that only the view knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SynthDir {
    /// On the way to a mount point: lists what lies below it in the mount table.
    Ancestor(NodeId),
    /// `/dev`.
    Dev,
    /// `/dev/pts`: the pseudo-terminals of this sandbox.
    Pts,
    /// `/proc` and what lies in it.
    Proc(ProcDir),
}

impl SynthDir {
    /// `/proc`.
    pub const PROC: Self = Self::Proc(ProcDir::Root);

    /// An id that no host directory has (those count up from 1).
    pub(super) fn id(self) -> u64 {
        let (kind, a, b) = match self {
            Self::Ancestor(node) => (1, node as u64, 0),
            Self::Dev => (2, 0, 0),
            Self::Pts => (3, 0, 0),
            Self::Proc(dir) => dir.id(),
        };
        1 << 63 | kind << 56 | a << 28 | b
    }
}

/// A file that only the view knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthFile {
    /// A device of the short list, by its name in the host's `/dev`.
    Device(&'static str),
    /// The caller's controlling terminal.
    Tty,
    /// A pseudo-terminal of this sandbox.
    Pts(u32),
    /// A file below the host's `/proc` that the view passes on.
    Proc(String),
    /// The mappings of a process, by the host's file below `/proc`.
    Maps(MapsFile, String),
    /// A file that tells numbers of processes, by the host's file below `/proc`.
    Numbers(NumbersFile, String),
    /// The mounts of the view, as a file of this process.
    Mounts(MountFile, i32),
    /// Which machine this is.
    Identity(IdentityFile),
    /// A namespace of a process.
    Namespace(Namespace, i32),
}

/// What a name in a synthetic directory is.
pub(super) enum SynthNode {
    Dir(SynthDir),
    File(SynthFile),
    Link(Box<[u8]>),
    Magic(Magic),
    Absent,
}

impl Vfs {
    pub(super) fn synth_child(
        &self,
        dir: SynthDir,
        name: &[u8],
        who: Caller<'_>,
    ) -> sys::Result<SynthNode> {
        match dir {
            // Its children are in the mount table, which was asked before.
            SynthDir::Ancestor(_) => Ok(SynthNode::Absent),
            SynthDir::Dev => Ok(dev::child(name)),
            SynthDir::Pts => Ok(dev::pts_child(name, &lock(&self.terminals))),
            SynthDir::Proc(dir) => match dir.opens(name) {
                Some(tgid) if !who.tasks.is_open_to(tgid, who.tgid) => Err(Errno::EACCES),
                _ => Ok(proc::child(dir, name, who)),
            },
        }
    }

    /// The names in a synthetic directory, apart from mount points.
    pub(super) fn synth_names(&self, dir: SynthDir, who: Caller<'_>) -> Vec<(Vec<u8>, u8)> {
        match dir {
            SynthDir::Ancestor(_) => Vec::new(),
            SynthDir::Dev => dev::names(),
            SynthDir::Pts => dev::pts_names(&lock(&self.terminals)),
            SynthDir::Proc(dir) => proc::names(dir, who),
        }
    }

    /// The path of a synthetic directory, from what it is.
    pub(super) fn synth_path(&self, dir: SynthDir) -> Option<VPath> {
        match dir {
            SynthDir::Ancestor(node) => self.table.path(node).cloned(),
            SynthDir::Dev => VPath::clean(b"/dev"),
            SynthDir::Pts => VPath::clean(b"/dev/pts"),
            SynthDir::Proc(dir) => {
                VPath::clean(format!("/proc/{}", dir.shown(self.tasks())).as_bytes())
            }
        }
    }

    /// The directory that stands for `dir` in a guest's descriptor table: the host directory, or
    /// the empty placeholder of a synthetic one.
    pub fn stand_in<'d>(&self, dir: &'d Dir) -> sys::Result<BorrowedFd<'d>> {
        match &dir.kind {
            DirKind::Host { fd, .. } => Ok(fd.as_fd()),
            DirKind::Cow(dir) => dir.top(),
            DirKind::Synth { what, placeholder } => {
                if let Some(fd) = placeholder.get() {
                    return Ok(fd.as_fd());
                }
                let fd = self.placeholder(*what)?;
                Ok(placeholder.get_or_init(|| fd).as_fd())
            }
        }
    }

    /// One placeholder for each synthetic directory, so that equal directories have equal inodes.
    fn placeholder(&self, what: SynthDir) -> sys::Result<OwnedFd> {
        let mut known = lock(&self.placeholders);
        let fd = self.scratch.placeholder(&format!("{:x}", what.id()))?;
        let stat = sys::fs::fstat(fd.as_fd())?;
        known.insert((stat.st_dev, stat.st_ino), what);
        Ok(fd)
    }

    /// What stat(2) says of a place, not following a link. `None`: nothing is there.
    pub fn stat(&self, place: &Place<'_>) -> sys::Result<Option<libc::stat>> {
        let stat = match place {
            Place::Name { dir, name, .. } => {
                // A slash behind the name would make the kernel follow a link there.
                match dir.stat_name(&bare(name).0) {
                    Err(Errno::ENOENT) => return Ok(None),
                    other => other?,
                }
            }
            Place::Dir(dir, _) => sys::fs::fstat(self.stand_in(dir)?)?,
            Place::File(id) => sys::fs::fstat(self.mounted_file(*id)?.fd.as_fd())?,
            Place::Open(fd) => sys::fs::fstat(fd.as_fd())?,
            Place::Synth(file) => self.stat_synth(file)?,
            Place::Magic(link) => {
                let name = CString::new(link.relative()).map_err(|_| Errno::ENOENT)?;
                sys::fs::fstatat(self.proc_root.as_fd(), &name, libc::AT_SYMLINK_NOFOLLOW)?
            }
            Place::Link { dir, text } => {
                let mut stat = sys::fs::fstat(self.stand_in(dir)?)?;
                stat.st_ino = name_hash(text).into();
                stat.st_mode = libc::S_IFLNK | 0o777;
                stat.st_nlink = 1;
                stat.st_size = text.len() as i64;
                stat.st_blocks = 0;
                stat
            }
            Place::Absent { .. } => return Ok(None),
        };
        Ok(Some(stat))
    }

    fn stat_synth(&self, file: &SynthFile) -> sys::Result<libc::stat> {
        if let SynthFile::Pts(_) = file {
            return sys::fs::fstat(self.handle(&Place::Synth(file.clone()))?.as_fd());
        }
        if let SynthFile::Mounts(_, tgid) = file {
            // The host's has the same mode, size and owner.
            let name = CString::new(format!("{tgid}/mounts")).map_err(|_| Errno::ENOENT)?;
            return sys::fs::fstatat(self.proc_root.as_fd(), &name, 0);
        }
        if let SynthFile::Namespace(space, tgid) = file {
            return self.stat_namespace(*space, *tgid);
        }
        let (dir, name) = self.host_of(file)?;
        sys::fs::fstatat(dir, &name, 0)
    }

    /// Where a synthetic file comes from on the host.
    fn host_of(&self, file: &SynthFile) -> sys::Result<(BorrowedFd<'_>, CString)> {
        let path = match file {
            SynthFile::Device(name) => format!("/dev/{name}"),
            SynthFile::Tty => "/dev/tty".into(),
            SynthFile::Pts(n) => format!("/dev/pts/{n}"),
            SynthFile::Proc(rel) | SynthFile::Maps(_, rel) | SynthFile::Numbers(_, rel) => {
                rel.clone()
            }
            SynthFile::Identity(file) => file.relative().into(),
            // The host's tells the host's mounts, or is the host's.
            SynthFile::Mounts(..) | SynthFile::Namespace(..) => return Err(Errno::ENOENT),
        };
        let path = CString::new(path).map_err(|_| Errno::ENOENT)?;
        Ok((self.proc_root.as_fd(), path))
    }

    /// Opens a synthetic file for a guest.
    pub fn open_synth(
        &self,
        file: &SynthFile,
        flags: i32,
        who: Caller<'_>,
    ) -> sys::Result<OwnedFd> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        // O_NOCTTY: a terminal must never become the supervisor's.
        let flags = (flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC)) | libc::O_NOCTTY;
        match file {
            SynthFile::Proc(rel) if writes && !proc::is_writable(rel) => Err(Errno::EACCES),
            made if is_made(made) && writes => Err(Errno::EACCES),
            made if is_made(made) => {
                let text = self.make_text(file, Some(who.tid))?;
                self.reopen(text.as_fd(), flags & !libc::O_DIRECTORY)
            }
            SynthFile::Tty => self.open_tty(flags, who),
            SynthFile::Device("ptmx") => {
                let (dir, name) = self.host_of(file)?;
                let fd = sys::fs::openat(dir, &name, flags, 0)?;
                self.add_terminal(fd.as_fd())?;
                Ok(fd)
            }
            SynthFile::Pts(_) => {
                self.reopen(self.handle(&Place::Synth(file.clone()))?.as_fd(), flags)
            }
            _ => {
                let (dir, name) = self.host_of(file)?;
                sys::fs::openat(dir, &name, flags, 0)
            }
        }
    }

    /// True for a file whose text is made when it is opened: until then it has no object that could tell
    /// its attributes.
    pub fn is_made(&self, place: &Place<'_>) -> bool {
        matches!(place, Place::Synth(file) if is_made(file))
    }

    /// A file whose text is made here, not the host's, for the thread that reads it.
    fn make_text(&self, file: &SynthFile, caller: Option<i32>) -> sys::Result<OwnedFd> {
        match file {
            SynthFile::Mounts(file, tgid) => self.open_mounts(*file, *tgid),
            SynthFile::Maps(file, relative) => self.open_maps(*file, relative),
            SynthFile::Identity(file) => self.open_identity(*file),
            SynthFile::Numbers(file, relative) => self.open_numbers(*file, relative, caller),
            SynthFile::Namespace(space, tgid) => self.open_namespace(*space, *tgid),
            _ => Err(Errno::ENOENT),
        }
    }

    /// Shows the pseudo-terminal behind this master, as long as it lives.
    pub fn add_terminal(&self, master: BorrowedFd<'_>) -> sys::Result<()> {
        let terminal = Terminal::behind(master, self.proc_root.as_fd())?;
        let mut terminals = lock(&self.terminals);
        terminals.retain(Terminal::lives);
        terminals.push(terminal);
        Ok(())
    }

    /// `/dev/tty` of the caller, if it is one of the sandbox's. Opening that name ourselves would give the supervisor's
    /// terminal.
    fn open_tty(&self, flags: i32, who: Caller<'_>) -> sys::Result<OwnedFd> {
        let number = dev::controlling_terminal(who.tgid).ok_or(Errno::ENXIO)?;
        let handle = self.handle(&Place::Synth(SynthFile::Pts(number)));
        self.reopen(handle.map_err(|_| Errno::ENXIO)?.as_fd(), flags)
    }

    pub(super) fn mounted_file(&self, id: super::mount::MountId) -> sys::Result<&HostObject> {
        match self.table.mount(id).map(|m| &m.source) {
            Some(Source::File(object)) => Ok(object),
            Some(Source::Text(text)) => text.object(&self.scratch),
            _ => Err(Errno::ENOENT),
        }
    }

    /// An `O_PATH` descriptor of what is at a place, for calls that act on any object.
    ///
    /// A name is opened with `O_NOFOLLOW`: what was judged is a non-link or the link itself, and
    /// stays so.
    pub fn handle(&self, place: &Place<'_>) -> sys::Result<OwnedFd> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let copy = |fd: BorrowedFd<'_>| sys::fs::dup_above(fd, super::FIRST_FD);
        match place {
            Place::Name { dir, name, .. } => dir.handle(name),
            Place::Dir(dir, _) => copy(self.stand_in(dir)?),
            Place::File(id) => copy(self.mounted_file(*id)?.fd.as_fd()),
            Place::Open(fd) => copy(fd.as_fd()),
            Place::Synth(SynthFile::Pts(n)) => {
                let terminals = lock(&self.terminals);
                let found = terminals.iter().find(|t| t.number == *n && t.lives());
                copy(found.ok_or(Errno::ENOENT)?.slave.as_fd())
            }
            Place::Synth(file) if is_made(file) => {
                self.reopen(self.make_text(file, None)?.as_fd(), libc::O_PATH)
            }
            Place::Synth(file) => {
                let (dir, name) = self.host_of(file)?;
                sys::fs::openat(dir, &name, libc::O_PATH, 0)
            }
            Place::Magic(link) => {
                let name = CString::new(link.relative()).map_err(|_| Errno::ENOENT)?;
                sys::fs::openat(self.proc_root.as_fd(), &name, flags, 0)
            }
            Place::Link { dir, .. } => copy(self.stand_in(dir)?),
            Place::Absent { .. } => Err(Errno::ENOENT),
        }
    }

    /// The text of a link that only the view knows, as readlink(2) gives it.
    pub fn link_text(&self, place: &Place<'_>, who: Caller<'_>) -> sys::Result<Vec<u8>> {
        match place {
            Place::Link { text, .. } => Ok(text.to_vec()),
            Place::Magic(link) => self.magic_text(*link, who),
            Place::Absent { .. } => Err(Errno::ENOENT),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The rule that governs a place.
    pub fn rule(&self, place: &Place<'_>) -> Option<crate::policy::RuleId> {
        match place {
            Place::Name { dir, name, .. } => Some(self.rule_of_name(dir, name)),
            Place::Dir(dir, _) => Some(self.rule_in(dir)),
            Place::Absent { dir, .. } | Place::Link { dir, .. } => Some(self.rule_in(dir)),
            Place::File(id) => {
                let mount = self.table.mount(*id)?;
                let at = |names: &Names| names.at(mount.at.as_bytes());
                Some(self.rule_of_made(mount.rule, at))
            }
            Place::Open(fd) => self.rule_of(fd.as_fd()),
            Place::Synth(_) | Place::Magic(_) => Some(self.synthetic_rule),
        }
    }

    /// The mount and the rule of the directory in which the name of a mount point stands: they say whether
    /// the name may be moved or removed. `None` for what is no mount point.
    pub fn above_mount(
        &self,
        place: &Place<'_>,
    ) -> Option<(Option<super::mount::MountId>, crate::policy::RuleId)> {
        let at = match place {
            Place::Dir(dir, Last::Mounted) => dir.path()?,
            Place::File(id) => &self.table.mount(*id)?.at,
            _ => return None,
        };
        let (above, _) = at.split_last()?;
        let path = VPath::clean(&[b"/", above].concat())?;
        let above = self.table.covering(&path);
        let rule = above.and_then(|id| self.table.mount(id)).map(|m| m.rule);
        let rule = rule.unwrap_or(self.synthetic_rule);
        let at = |names: &Names| names.at(path.as_bytes());
        Some((above, self.rule_of_made(rule, at)))
    }

    /// True for `/proc` and what lies in it, where nothing can be made.
    pub fn is_in_proc(&self, dir: &Dir) -> bool {
        matches!(dir.synth(), Some(SynthDir::Proc(_)))
    }

    /// The known inode of a synthetic directory, for listings.
    pub(super) fn inode_of(&self, dir: &Arc<Dir>) -> sys::Result<Inode> {
        let stat = sys::fs::fstat(self.stand_in(dir)?)?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// True for files whose text is made here.
fn is_made(file: &SynthFile) -> bool {
    matches!(
        file,
        SynthFile::Mounts(..)
            | SynthFile::Maps(..)
            | SynthFile::Numbers(..)
            | SynthFile::Identity(_)
            | SynthFile::Namespace(..)
    )
}

/// A stable 31-bit number for a name: directory positions and inode numbers of made-up links.
pub(super) fn name_hash(name: &[u8]) -> u32 {
    // FNV-1a, folded: spreads short names well and never changes between runs.
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    ((hash ^ (hash >> 31)) & 0x7fff_ffff) as u32
}

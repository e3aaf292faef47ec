//! Random operations, and two sides that can do them: plain system calls, and the engine.

use crate::support::Random;
use crate::tree::{self, NAMES};
use sbox::sys::{self, Result};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenRead,
    OpenWrite,
    OpenAppend,
    OpenTruncate,
    OpenDir,
    OpenFollow,
    Create,
    CreateNew,
    CreateToRead,
    Nameless,
    Mkdir,
    Fifo,
    Socket,
    EmptyFile,
    Symlink,
    Link,
    Unlink,
    Rmdir,
    Rename,
    RenameNew,
    Exchange,
    Chmod,
    Chown,
    Times,
    Touch,
    Truncate,
    SetXattr,
    GetXattr,
    ListXattr,
    RemoveXattr,
    Readlink,
    Stat,
    Access,
    List,
    Hold,
    RemoveTree,
    Replace,
}

use Kind::*;

/// Each kind, as often as it is to come up.
const MIX: [(Kind, u64); 37] = [
    (OpenRead, 4),
    (OpenWrite, 5),
    (OpenAppend, 4),
    (OpenTruncate, 3),
    (OpenDir, 1),
    (OpenFollow, 1),
    (Create, 5),
    (CreateNew, 4),
    (CreateToRead, 2),
    (Nameless, 3),
    (Mkdir, 10),
    (Fifo, 2),
    (Socket, 1),
    (EmptyFile, 2),
    (Symlink, 3),
    (Link, 5),
    (Unlink, 10),
    (Rmdir, 10),
    (Rename, 14),
    (RenameNew, 4),
    (Exchange, 5),
    (Chmod, 5),
    (Chown, 1),
    (Times, 3),
    (Touch, 2),
    (Truncate, 3),
    (SetXattr, 4),
    (GetXattr, 2),
    (ListXattr, 2),
    (RemoveXattr, 2),
    (Readlink, 2),
    (Stat, 6),
    (Access, 3),
    (List, 6),
    (Hold, 6),
    (RemoveTree, 5),
    (Replace, 3),
];

/// One operation: what, where, and a number that means what the kind makes of it.
pub(crate) struct Op {
    pub(crate) kind: Kind,
    path: Path,
    other: Path,
    number: u64,
}

/// A path from the root, or from a directory held since some `Hold`.
struct Path {
    from: Option<usize>,
    names: Vec<CString>,
}

pub(crate) const SLOTS: u64 = 3;

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.from {
            Some(slot) => write!(f, "{slot}:")?,
            None => write!(f, "/")?,
        }
        let names: Vec<_> = self.names.iter().map(|n| n.to_str().unwrap()).collect();
        write!(f, "{}", names.join("/"))
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            path,
            other,
            number,
        } = self;
        match kind {
            Link | Rename | RenameNew | Exchange => write!(f, "{kind:?} {path} {other}"),
            _ => write!(f, "{kind:?} {path} ({number})"),
        }
    }
}

impl Op {
    /// A random operation. The numbers drawn don't depend on anything else, so both sides see the same.
    pub(crate) fn random(random: &mut Random) -> Self {
        let total = MIX.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total);
        let kind = MIX.iter().find(|(_, weight)| {
            let found = at < *weight;
            at = at.wrapping_sub(*weight);
            found
        });
        Self {
            kind: kind.unwrap().0,
            path: Path::random(random),
            other: Path::random(random),
            number: random.below(1 << 32),
        }
    }

    fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.number as usize % of.len()]
    }
}

impl Path {
    fn random(random: &mut Random) -> Self {
        let from = (random.below(4) == 0).then(|| random.below(SLOTS) as usize);
        let depth = if from.is_some() { 2 } else { 3 };
        let name = |r: &mut Random| CString::new(NAMES[r.below(6) as usize]).unwrap();
        let names = (0..=random.below(depth)).map(|_| name(random)).collect();
        Self { from, names }
    }

    fn split(&self) -> (&[CString], &CStr) {
        let (last, above) = self.names.split_last().unwrap();
        (above, last)
    }
}

/// Who does the operations.
pub(crate) trait Side {
    type Dir: Clone;
    fn root(&self) -> Self::Dir;
    fn slots(&mut self) -> &mut Vec<Option<Self::Dir>>;
    fn step(&self, dir: &Self::Dir, name: &CStr) -> Result<Self::Dir>;
    fn open(&self, dir: &Self::Dir, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd>;
    fn link_fd(&self, file: BorrowedFd<'_>, dir: &Self::Dir, name: &CStr) -> Result<()>;
    fn mkdir(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()>;
    fn mknod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()>;
    fn symlink(&self, text: &CStr, dir: &Self::Dir, name: &CStr) -> Result<()>;
    fn link(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr) -> Result<()>;
    fn unlink(&self, dir: &Self::Dir, name: &CStr) -> Result<()>;
    fn rmdir(&self, dir: &Self::Dir, name: &CStr) -> Result<()>;
    fn rename(&self, a: &Self::Dir, old: &CStr, b: &Self::Dir, new: &CStr, f: u32) -> Result<()>;
    fn chmod(&self, dir: &Self::Dir, name: &CStr, mode: u32) -> Result<()>;
    fn chown(&self, dir: &Self::Dir, name: &CStr) -> Result<()>;
    fn times(&self, dir: &Self::Dir, name: &CStr, t: Option<&[libc::timespec; 2]>) -> Result<()>;
    fn truncate(&self, dir: &Self::Dir, name: &CStr, len: i64) -> Result<()>;
    fn set_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr, flags: i32) -> Result<()>;
    fn get_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<Vec<u8>>;
    fn list_xattrs(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>>;
    fn remove_xattr(&self, dir: &Self::Dir, name: &CStr, attr: &CStr) -> Result<()>;
    fn readlink(&self, dir: &Self::Dir, name: &CStr) -> Result<Vec<u8>>;
    fn stat(&self, dir: &Self::Dir, name: &CStr) -> Result<libc::stat>;
    fn access(&self, dir: &Self::Dir, name: &CStr, mode: i32) -> Result<()>;
    fn list(&self, dir: &Self::Dir) -> Result<Vec<(CString, u8)>>;
}

/// Does one operation; the outcome as text.
pub(crate) fn run<S: Side>(side: &mut S, op: &Op) -> String {
    match attempt(side, op) {
        Ok(text) => format!("ok {text}"),
        Err(errno) => format!("{errno:?}"),
    }
}

fn walk<S: Side>(side: &mut S, path: &Path, all: bool) -> Result<S::Dir> {
    let mut at = match path.from {
        None => side.root(),
        Some(slot) => match side.slots()[slot].clone() {
            Some(dir) => dir,
            None => side.root(),
        },
    };
    let names = if all { &path.names } else { path.split().0 };
    for name in names {
        at = side.step(&at, name)?;
    }
    Ok(at)
}

fn attempt<S: Side>(side: &mut S, op: &Op) -> Result<String> {
    let whole = matches!(op.kind, Hold | List);
    let dir = walk(side, &op.path, whole)?;
    let name = op.path.split().1;
    let guard = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mode = op.pick(&[0o644, 0o600, 0o666, 0o755, 0o444, 0o777]);
    let attr = op.pick(&[
        c"user.one",
        c"user.two",
        c"user.from",
        c"user.overlay.opaque",
    ]);
    let nothing = |()| String::new();
    match op.kind {
        OpenRead => read(side.open(&dir, name, libc::O_RDONLY | guard, 0)?),
        OpenWrite => write(side.open(&dir, name, libc::O_RDWR | guard, 0)?, op),
        OpenAppend => write(
            side.open(&dir, name, libc::O_WRONLY | libc::O_APPEND | guard, 0)?,
            op,
        ),
        OpenTruncate => {
            let flags = op.pick(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR]);
            side.open(&dir, name, flags | libc::O_TRUNC | guard, 0)
                .map(|_| String::new())
        }
        OpenDir => side
            .open(&dir, name, libc::O_RDONLY | libc::O_DIRECTORY | guard, 0)
            .map(|_| String::new()),
        OpenFollow => match side.stat(&dir, name)?.st_mode & libc::S_IFMT {
            libc::S_IFLNK => Ok("a link".to_owned()),
            _ => read(side.open(&dir, name, libc::O_RDONLY | libc::O_NONBLOCK, 0)?),
        },
        Create => write(
            side.open(&dir, name, libc::O_RDWR | libc::O_CREAT | guard, mode)?,
            op,
        ),
        CreateNew => {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
            write(side.open(&dir, name, flags | guard, mode)?, op)
        }
        CreateToRead => read(side.open(&dir, name, libc::O_CREAT | guard, mode)?),
        Nameless => {
            let file = side.open(&dir, c".", libc::O_TMPFILE | libc::O_RDWR, mode)?;
            let held = file.try_clone().unwrap();
            write(file, op)?;
            side.link_fd(held.as_fd(), &dir, name).map(nothing)
        }
        Mkdir => {
            let mode = op.pick(&[0o755, 0o777, 0o700, 0o555, 0o1777]);
            side.mkdir(&dir, name, mode).map(nothing)
        }
        Fifo => side.mknod(&dir, name, libc::S_IFIFO | mode).map(nothing),
        Socket => side.mknod(&dir, name, libc::S_IFSOCK | mode).map(nothing),
        EmptyFile => side.mknod(&dir, name, libc::S_IFREG | mode).map(nothing),
        Symlink => {
            let text = op.pick(&[c"a", c"b/c", c"nowhere", c"/"]);
            side.symlink(text, &dir, name).map(nothing)
        }
        Link | Rename | RenameNew | Exchange => {
            let to = walk(side, &op.other, false)?;
            let new = op.other.split().1;
            match op.kind {
                Link => side.link(&dir, name, &to, new),
                Rename => side.rename(&dir, name, &to, new, 0),
                RenameNew => side.rename(&dir, name, &to, new, libc::RENAME_NOREPLACE),
                _ => side.rename(&dir, name, &to, new, libc::RENAME_EXCHANGE),
            }
            .map(nothing)
        }
        Unlink => side.unlink(&dir, name).map(nothing),
        Rmdir => side.rmdir(&dir, name).map(nothing),
        Chmod => {
            let modes = [
                0o755, 0o777, 0o700, 0o644, 0o500, 0o2755, 0o1777, 0o4755, 0o300, 0o755,
            ];
            side.chmod(&dir, name, op.pick(&modes)).map(nothing)
        }
        Chown => side.chown(&dir, name).map(nothing),
        Times => {
            let time = |sec| libc::timespec {
                tv_sec: 1_100_000_000 + sec,
                tv_nsec: 5,
            };
            let times = [time(1), time(op.number as i64 % 1000)];
            side.times(&dir, name, Some(&times)).map(nothing)
        }
        Touch => side.times(&dir, name, None).map(nothing),
        Truncate => side
            .truncate(&dir, name, op.pick(&[0, 3, 10_000, -1]))
            .map(nothing),
        SetXattr => {
            let flags = op.pick(&[0, 0, libc::XATTR_CREATE, libc::XATTR_REPLACE, 0]);
            side.set_xattr(&dir, name, attr, flags).map(nothing)
        }
        GetXattr => Ok(format!("{:?}", side.get_xattr(&dir, name, attr)?)),
        ListXattr => Ok(tree::attribute_names(&side.list_xattrs(&dir, name)?)),
        RemoveXattr => side.remove_xattr(&dir, name, attr).map(nothing),
        Readlink => Ok(format!("{:?}", side.readlink(&dir, name)?)),
        Stat => Ok(tree::attributes(&side.stat(&dir, name)?)),
        Access => {
            let mode = op.pick(&[libc::F_OK, libc::R_OK, libc::W_OK, libc::X_OK, 6, 7]);
            side.access(&dir, name, mode).map(nothing)
        }
        List => Ok(format!("{:?}", side.list(&dir)?)),
        RemoveTree => remove_tree(side, &dir, name).map(nothing),
        Replace => {
            remove_tree(side, &dir, name)?;
            side.mkdir(&dir, name, 0o755)?;
            Ok(format!("{:?}", side.list(&side.step(&dir, name)?)?))
        }
        Hold => {
            let slot = (op.number % SLOTS) as usize;
            side.slots()[slot] = Some(dir);
            Ok(String::new())
        }
    }
}

/// As `rm -r` does it.
fn remove_tree<S: Side>(side: &S, dir: &S::Dir, name: &CStr) -> Result<()> {
    if side.stat(dir, name)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return side.unlink(dir, name);
    }
    let inner = side.step(dir, name)?;
    for (child, _) in side.list(&inner)? {
        remove_tree(side, &inner, &child)?;
    }
    side.rmdir(dir, name)
}

fn is_regular(file: &OwnedFd) -> bool {
    sys::fs::fstat(file.as_fd()).unwrap().st_mode & libc::S_IFMT == libc::S_IFREG
}

fn read(file: OwnedFd) -> Result<String> {
    if !is_regular(&file) {
        return Ok(String::new());
    }
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text).unwrap();
    let sum = text
        .iter()
        .fold(0u64, |h, &b| h.wrapping_mul(31) + u64::from(b));
    Ok(format!("{} {sum}", text.len()))
}

fn write(file: OwnedFd, op: &Op) -> Result<String> {
    if is_regular(&file) {
        let text = format!("{:?} {}", op.kind, op.number);
        File::from(file).write_all(text.as_bytes()).unwrap();
    }
    Ok(String::new())
}

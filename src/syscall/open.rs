//! open(2) and its kin: from a path to a descriptor.

use super::args::{DirFd, Mode, OpenFlags, ResolveHow, Size, UserPath};
use super::plan::{Act, Cx, Errno, Plan};
use crate::policy::Access;
use crate::vfs::{Follow, Found, Place, Scope};

/// open(2): openat(2) from the working directory.
pub fn open<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    flags: OpenFlags,
    mode: Mode,
) -> Result<Plan<'a>, Errno> {
    openat(cx, DirFd(libc::AT_FDCWD), path, flags, mode)
}

/// creat(2).
pub fn creat<'a>(cx: &Cx<'a>, path: UserPath<'a>, mode: Mode) -> Result<Plan<'a>, Errno> {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    openat(cx, DirFd(libc::AT_FDCWD), path, OpenFlags(flags), mode)
}

/// openat(2). Unknown flags are ignored, as by the kernel.
pub fn openat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    flags: OpenFlags,
    mode: Mode,
) -> Result<Plan<'a>, Errno> {
    let mut flags = flags.0 & KNOWN;
    if flags & libc::O_PATH != 0 {
        flags &= libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    }
    let mode = if makes(flags) { mode.0 & 0o7777 } else { 0 };
    plan(cx, dir, path, flags, mode, Scope::default())
}

/// openat2(2): stricter about flags, and with limits on the walk.
pub fn openat2<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    how: ResolveHow,
    size: Size,
) -> Result<Plan<'a>, Errno> {
    // struct open_how: flags, mode, resolve; OPEN_HOW_SIZE_VER0 is 24 bytes. Longer structures of
    // later kernels are fine as long as what we don't know is zero.
    let size = usize::try_from(size.0).map_err(|_| Errno::E2BIG)?;
    if size < 24 {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let bytes = cx.bytes(how.0, size)?;
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map(u64::from_ne_bytes).ok_or(Errno::EFAULT)
    };
    let (flags, mode, resolve) = (word(0)?, word(8)?, word(16)?);
    if bytes
        .get(24..)
        .is_some_and(|rest| rest.iter().any(|&b| b != 0))
    {
        return Err(Errno::E2BIG);
    }
    let flags = i32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let with_path = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    if flags & !KNOWN != 0
        || flags & libc::O_PATH != 0 && flags & !with_path != 0
        || mode & !0o7777 != 0
        || !makes(flags) && mode != 0
    {
        return Err(Errno::EINVAL);
    }
    let mode = u32::try_from(mode).map_err(|_| Errno::EINVAL)?;
    plan(cx, dir, path, flags, mode, Scope::new(resolve)?)
}

/// `VALID_OPEN_FLAGS` of the kernel (include/linux/fcntl.h).
const KNOWN: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH
    | libc::O_TMPFILE;

/// The kernel's value of `O_LARGEFILE`, which 64-bit C libraries define as 0.
const LARGEFILE: i32 = 0o100_000;

fn makes(flags: i32) -> bool {
    flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
}

/// What the descriptor will allow. Access mode 3 (neither reading nor writing, for ioctls) wants both.
fn wanted(flags: i32) -> Access {
    if flags & libc::O_PATH != 0 {
        return Access::LOOK;
    }
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ,
        libc::O_WRONLY => Access::WRITE,
        _ => Access::READ.and(Access::WRITE),
    };
    if flags & libc::O_TRUNC != 0 {
        access = access.and(Access::WRITE);
    }
    access
}

fn plan<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    flags: i32,
    mode: u32,
    scope: Scope,
) -> Result<Plan<'a>, Errno> {
    let tmpfile = flags & libc::O_TMPFILE == libc::O_TMPFILE;
    if tmpfile && flags & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(Errno::EINVAL);
    }
    // O_CREAT with O_DIRECTORY is EINVAL since Linux 6.4.
    if flags & libc::O_CREAT != 0 && flags & libc::O_DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    let creates = flags & libc::O_CREAT != 0;
    let exclusive = creates && flags & libc::O_EXCL != 0;
    let path = path.text()?;
    let never = flags & libc::O_NOFOLLOW != 0 || exclusive;
    let follow = match (creates, never) {
        (true, _) if path.to_bytes().ends_with(b"/") => Follow::Make,
        (_, true) => Follow::Never,
        (true, false) => Follow::Make,
        (false, false) => Follow::Last,
    };
    // RESOLVE_IN_ROOT starts absolute paths at the directory too.
    let start = if scope.is_in_root() && !path.is_empty() {
        cx.base(dir.0)?
    } else {
        cx.start(dir.0, path)?
    };
    let Found { place, stat } =
        cx.vfs
            .find_within(cx.caller(), &start, path, follow, scope, cx.arena)?;
    let rule = cx.vfs.rule(&place);
    let Some(stat) = stat else {
        return match &place {
            _ if !creates => Err(Errno::ENOENT),
            Place::Absent { dir, .. } if cx.vfs.is_in_proc(dir) => Err(Errno::ENOENT),
            Place::Absent { hidden, .. } => {
                let errno = if *hidden { Errno::EPERM } else { Errno::EACCES };
                Ok(Plan::ask(Access::CREATE, rule, Act::Fail(errno)))
            }
            _ => {
                let access = Access::CREATE.and(wanted(flags & !libc::O_TRUNC));
                Ok(Plan::ask(
                    access,
                    rule,
                    Act::Open {
                        place,
                        flags,
                        mode,
                        fifo: false,
                        directory: false,
                        seen: None,
                    },
                ))
            }
        };
    };
    if exclusive {
        return Err(Errno::EEXIST);
    }
    let kind = stat.st_mode & libc::S_IFMT;
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let path_only = flags & libc::O_PATH != 0;
    if kind == libc::S_IFLNK && flags & libc::O_DIRECTORY != 0 {
        return Err(Errno::ENOTDIR);
    }
    if kind == libc::S_IFLNK && !path_only {
        return Err(Errno::ELOOP);
    }
    if kind == libc::S_IFDIR {
        if tmpfile {
            let access = Access::CREATE.and(wanted(flags));
            return Ok(Plan::ask(
                access,
                rule,
                Act::Open {
                    place,
                    flags,
                    mode,
                    fifo: false,
                    directory: false,
                    seen: None,
                },
            ));
        }
        if creates || (writes || flags & libc::O_TRUNC != 0) && !path_only {
            return Err(Errno::EISDIR);
        }
    } else if flags & libc::O_DIRECTORY != 0 {
        return Err(Errno::ENOTDIR);
    }
    // Devices exist only in the view's own /dev: a host tree is shown as if mounted `nodev`.
    // A whiteout (0, 0) is none: the kernel has no driver for it (ENXIO).
    let device = kind == libc::S_IFBLK || kind == libc::S_IFCHR && stat.st_rdev != 0;
    if device && matches!(place, Place::Name { .. }) && !path_only {
        return Err(Errno::EACCES);
    }
    let fifo = kind == libc::S_IFIFO && !path_only;
    let directory = kind == libc::S_IFDIR;
    let access = match place {
        // A device or process file of our own: what may be done to it is decided there.
        Place::Synth(_) => Access::LOOK,
        _ if directory && !path_only => Access::LIST,
        _ => wanted(flags),
    };
    Ok(Plan::ask(
        access,
        rule,
        Act::Open {
            place,
            flags,
            mode,
            fifo,
            directory,
            seen: matches!(kind, libc::S_IFREG | libc::S_IFDIR)
                .then_some((stat.st_dev, stat.st_ino)),
        },
    ))
}

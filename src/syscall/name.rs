//! Names: making, removing, renaming, linking.

use super::args::{AtFlags, Dev, DirFd, Mode, OptPath, RenameFlags, UnlinkFlags, UserPath};
use super::path::{check_flags, existing, held};
use super::plan::{Act, Cx, Errno, Plan};
use crate::policy::{Access, RuleId};
use crate::vfs::{Dir, Follow, Last, Place};
use std::ffi::CStr;

const CWD: DirFd = DirFd(libc::AT_FDCWD);

fn locate<'a>(cx: &Cx<'a>, dir: DirFd, path: UserPath<'a>) -> Result<Place<'a>, Errno> {
    let path = path.text()?;
    let start = cx.start(dir.0, path)?;
    cx.vfs.locate(cx.caller(), &start, path, cx.arena)
}

/// The same for rename(2), which looks at nothing before both ways were walked.
fn locate_parent<'a>(cx: &Cx<'a>, dir: DirFd, path: UserPath<'a>) -> Result<Place<'a>, Errno> {
    let place = locate(cx, dir, path)?;
    if let Place::Name { dir, .. } = &place {
        cx.vfs.may_search(dir)?;
    }
    Ok(place)
}

/// The rule that says whether a name may be removed or replaced: that of the directory in which it stands,
/// which for a mount point is not the mount's.
fn rule_of_name(cx: &Cx<'_>, place: &Place<'_>) -> Option<RuleId> {
    let above = cx.vfs.above_mount(place);
    above.map_or_else(|| cx.vfs.rule(place), |(_, rule)| Some(rule))
}

/// False if the directories in which two names stand are known to lie on different mounts.
fn on_one_mount(cx: &Cx<'_>, a: &Place<'_>, b: &Place<'_>) -> bool {
    fn above<'p>(place: &'p Place<'_>) -> Option<&'p Dir> {
        match place {
            Place::Name { dir, .. } | Place::Absent { dir, .. } | Place::Link { dir, .. } => {
                Some(dir)
            }
            Place::Dir(dir, Last::Dot | Last::Root) => Some(dir),
            // The name `..` stands in the directory that it leads out of, mostly on the same mount.
            Place::Dir(dir, Last::DotDot) if dir.host().is_some() || dir.cow().is_some() => {
                Some(dir)
            }
            _ => None,
        }
    }
    let point = |place| cx.vfs.above_mount(place).map(|(mount, _)| mount);
    match (above(a), above(b), point(a), point(b)) {
        (Some(a), Some(b), ..) => a.same_mount(b),
        (Some(dir), _, _, Some(mount)) | (_, Some(dir), Some(mount), _) => dir.mount() == mount,
        (.., Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// What rename(2) says of a name that can't be moved or replaced: before it looks for mounts, the kernel
/// looks whether both are there and of one kind.
fn busy(cx: &Cx<'_>, from: &Place<'_>, to: &Place<'_>, flags: u32) -> Result<Errno, Errno> {
    let is_dir = |stat: libc::stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let old = cx.vfs.stat(from)?.map(is_dir);
    let new = cx.vfs.stat(to)?.map(is_dir);
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    Ok(match (old, new) {
        (None, _) => Errno::ENOENT,
        (_, None) if exchange => Errno::ENOENT,
        (_, Some(_)) if flags & libc::RENAME_NOREPLACE != 0 => Errno::EEXIST,
        (Some(true), Some(false)) if !exchange => Errno::ENOTDIR,
        (Some(false), Some(true)) if !exchange => Errno::EISDIR,
        _ => Errno::EBUSY,
    })
}

/// A call that makes a new name at `place`: EEXIST if it is taken by something of the view's own,
/// else a question to the policy.
fn make<'a>(
    cx: &Cx<'a>,
    place: Place<'a>,
    act: impl FnOnce(Place<'a>) -> Act<'a>,
) -> Result<Plan<'a>, Errno> {
    let rule = cx.vfs.rule(&place);
    match &place {
        Place::Name { .. } => Ok(Plan::ask(Access::CREATE, rule, act(place))),
        // proc(5) has no name that is free.
        Place::Absent { dir, .. } if cx.vfs.is_in_proc(dir) => Err(Errno::ENOENT),
        // A hidden name in a writable directory: taken, but by nothing that can be named.
        Place::Absent { hidden: true, .. } => {
            Ok(Plan::ask(Access::CREATE, rule, Act::Fail(Errno::EPERM)))
        }
        Place::Absent { .. } => Ok(Plan::ask(Access::CREATE, rule, Act::Fail(Errno::EACCES))),
        _ => Err(Errno::EEXIST),
    }
}

/// ENOENT for `name/` where nothing is there, before anything else is looked at: be the name hidden, absent,
/// or on a read-only mount.
pub(super) fn no_directory(cx: &Cx<'_>, path: &CStr, place: &Place<'_>) -> Result<(), Errno> {
    let named = matches!(place, Place::Name { .. } | Place::Absent { .. });
    if named && path.to_bytes().ends_with(b"/") && cx.vfs.stat(place)?.is_none() {
        return Err(Errno::ENOENT);
    }
    Ok(())
}

/// mkdir(2).
pub fn mkdir<'a>(cx: &Cx<'a>, path: UserPath<'a>, mode: Mode) -> Result<Plan<'a>, Errno> {
    mkdirat(cx, CWD, path, mode)
}

/// mkdirat(2).
pub fn mkdirat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: Mode,
) -> Result<Plan<'a>, Errno> {
    let mode = mode.0 & 0o1777;
    let place = locate(cx, dir, path)?;
    make(cx, place, |place| Act::MakeDir { place, mode })
}

/// mknod(2).
pub fn mknod<'a>(cx: &Cx<'a>, path: UserPath<'a>, mode: Mode, dev: Dev) -> Result<Plan<'a>, Errno> {
    mknodat(cx, CWD, path, mode, dev)
}

/// mknodat(2). Devices need a privilege that no guest has.
pub fn mknodat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    mode: Mode,
    dev: Dev,
) -> Result<Plan<'a>, Errno> {
    let kind = mode.0 & libc::S_IFMT;
    match kind {
        0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => {}
        libc::S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    let place = locate(cx, dir, path)?;
    no_directory(cx, path.text()?, &place)?;
    // The device 0, 0 is a whiteout (Linux 5.8): a mark that nobody can open.
    let device = kind == libc::S_IFBLK || kind == libc::S_IFCHR && dev.0 != 0;
    if device && let Place::Name { dir, .. } = &place {
        if cx.vfs.stat(&place)?.is_some() {
            return Err(Errno::EEXIST);
        }
        cx.vfs.may_make(dir)?;
    }
    make(cx, place, |place| match device {
        true => Act::Fail(Errno::EPERM),
        false => Act::MakeNode {
            place,
            mode: mode.0,
            dev: 0,
        },
    })
}

/// symlink(2).
pub fn symlink<'a>(
    cx: &Cx<'a>,
    target: UserPath<'a>,
    path: UserPath<'a>,
) -> Result<Plan<'a>, Errno> {
    symlinkat(cx, target, CWD, path)
}

/// symlinkat(2). The text is the guest's own: it is walked in the view whenever it is followed.
pub fn symlinkat<'a>(
    cx: &Cx<'a>,
    target: UserPath<'a>,
    dir: DirFd,
    path: UserPath<'a>,
) -> Result<Plan<'a>, Errno> {
    let target = target.text()?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let place = locate(cx, dir, path)?;
    no_directory(cx, path.text()?, &place)?;
    make(cx, place, |place| Act::MakeLink { place, target })
}

/// link(2).
pub fn link<'a>(cx: &Cx<'a>, old: UserPath<'a>, new: UserPath<'a>) -> Result<Plan<'a>, Errno> {
    linkat(cx, CWD, old, CWD, new, AtFlags(0))
}

/// linkat(2). Both names must lie on one mount, so a link never widens what may be done to a file.
pub fn linkat<'a>(
    cx: &Cx<'a>,
    old_dir: DirFd,
    old: UserPath<'a>,
    new_dir: DirFd,
    new: UserPath<'a>,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH)?;
    let itself = old.is_empty() && flags.0 & libc::AT_EMPTY_PATH != 0;
    let from = if itself && old_dir.0 == libc::AT_FDCWD {
        Place::Dir(cx.base(old_dir.0)?, Last::Dot)
    } else if itself {
        held(cx, cx.task.descriptor(old_dir.0)?)?
    } else {
        let follows = flags.0 & libc::AT_SYMLINK_FOLLOW != 0;
        existing(
            cx,
            old_dir,
            old,
            if follows { Follow::Last } else { Follow::Never },
        )?
        .0
    };
    let to = locate(cx, new_dir, new)?;
    no_directory(cx, new.text()?, &to)?;
    if !matches!(to, Place::Name { .. }) {
        return make(cx, to, |_| Act::Fail(Errno::EEXIST));
    }
    let rule = cx.vfs.rule(&to);
    let errno = match (&from, &to) {
        (Place::Name { dir: a, .. }, Place::Name { dir: b, .. }) if a.same_mount(b) => {
            let may = cx.vfs.may_carry(&from, &to, false)?;
            (!may).then_some(Errno::EXDEV)
        }
        (Place::Open(_), _) if cx.vfs.rule(&from) == rule => None,
        (Place::Dir(a, _), Place::Name { dir: b, .. }) if a.same_mount(b) => Some(Errno::EPERM),
        _ => Some(Errno::EXDEV),
    };
    let act = match errno {
        None => Act::Link { from, to },
        // The kernel looks at the new name first.
        Some(_) if cx.vfs.stat(&to)?.is_some() => return Err(Errno::EEXIST),
        Some(errno) => {
            if let (Errno::EPERM, Place::Name { dir, .. }) = (errno, &to) {
                cx.vfs.may_make(dir)?;
            }
            Act::Fail(errno)
        }
    };
    Ok(Plan::ask(Access::CREATE, rule, act))
}

/// unlink(2).
pub fn unlink<'a>(cx: &Cx<'a>, path: UserPath<'a>) -> Result<Plan<'a>, Errno> {
    unlinkat(cx, CWD, path, UnlinkFlags(0))
}

/// rmdir(2).
pub fn rmdir<'a>(cx: &Cx<'a>, path: UserPath<'a>) -> Result<Plan<'a>, Errno> {
    unlinkat(cx, CWD, path, UnlinkFlags(libc::AT_REMOVEDIR))
}

/// unlinkat(2).
pub fn unlinkat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    flags: UnlinkFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, libc::AT_REMOVEDIR)?;
    let rmdir = flags.0 & libc::AT_REMOVEDIR != 0;
    let place = locate(cx, dir, path)?;
    let rule = rule_of_name(cx, &place);
    let act = match &place {
        Place::Absent { dir, .. } if cx.vfs.is_in_proc(dir) => return Err(Errno::ENOENT),
        Place::Dir(_, Last::Mounted) => Act::Fail(if rmdir { Errno::EBUSY } else { Errno::EISDIR }),
        // proc(5) lets nothing be removed, though it is not mounted read-only.
        Place::Magic(_) if !rmdir => return Err(Errno::EPERM),
        Place::Name { pinned: true, .. } if rmdir => Act::Fail(Errno::EBUSY),
        Place::Name { .. } => Act::Remove {
            place,
            flags: flags.0,
        },
        Place::Dir(_, last) => {
            return Err(match (rmdir, last) {
                (false, _) => Errno::EISDIR,
                (true, Last::Dot) => Errno::EINVAL,
                (true, Last::DotDot) => Errno::ENOTEMPTY,
                (true, Last::Root | Last::Mounted) => Errno::EBUSY,
            });
        }
        Place::File(_) => Act::Fail(if rmdir { Errno::ENOTDIR } else { Errno::EBUSY }),
        Place::Absent { .. } => Act::Fail(Errno::ENOENT),
        _ => Act::Fail(if rmdir { Errno::ENOTDIR } else { Errno::EPERM }),
    };
    Ok(Plan::ask(Access::DELETE, rule, act))
}

/// rename(2).
pub fn rename<'a>(cx: &Cx<'a>, old: UserPath<'a>, new: UserPath<'a>) -> Result<Plan<'a>, Errno> {
    renameat2(cx, CWD, old, CWD, new, RenameFlags(0))
}

/// renameat(2).
pub fn renameat<'a>(
    cx: &Cx<'a>,
    old_dir: DirFd,
    old: UserPath<'a>,
    new_dir: DirFd,
    new: UserPath<'a>,
) -> Result<Plan<'a>, Errno> {
    renameat2(cx, old_dir, old, new_dir, new, RenameFlags(0))
}

/// renameat2(2). A name on the way to a mount point stays (EBUSY): whoever could move it would move
/// what the view hides or protects below it.
pub fn renameat2<'a>(
    cx: &Cx<'a>,
    old_dir: DirFd,
    old: UserPath<'a>,
    new_dir: DirFd,
    new: UserPath<'a>,
    flags: RenameFlags,
) -> Result<Plan<'a>, Errno> {
    let exchange = flags.0 & libc::RENAME_EXCHANGE != 0;
    let whiteout = flags.0 & libc::RENAME_WHITEOUT != 0;
    let noreplace = flags.0 & libc::RENAME_NOREPLACE != 0;
    if flags.0 & !(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT) != 0
        || exchange && flags.0 & (libc::RENAME_NOREPLACE | libc::RENAME_WHITEOUT) != 0
    {
        return Err(Errno::EINVAL);
    }
    let from = locate_parent(cx, old_dir, old)?;
    let to = locate_parent(cx, new_dir, new)?;
    let (from_rule, to_rule) = (rule_of_name(cx, &from), rule_of_name(cx, &to));
    let unnamed = |p: &Place<'_>| matches!(p, Place::Dir(_, Last::Dot | Last::DotDot | Last::Root));
    if !on_one_mount(cx, &from, &to) {
        return Err(Errno::EXDEV);
    }
    let act = match (&from, &to) {
        _ if unnamed(&from) => return Err(Errno::EBUSY),
        _ if unnamed(&to) => {
            return Err(if noreplace {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            });
        }
        (Place::Name { pinned: true, .. }, _) | (_, Place::Name { pinned: true, .. }) => {
            Act::Fail(busy(cx, &from, &to, flags.0)?)
        }
        _ if !cx.vfs.may_carry(&from, &to, exchange)? => Act::Fail(Errno::EXDEV),
        (Place::Name { .. }, Place::Name { .. }) => Act::Rename {
            from,
            to,
            flags: flags.0,
        },
        (Place::Absent { .. }, _) => Act::Fail(Errno::ENOENT),
        (Place::Name { .. }, Place::Absent { hidden: true, .. }) => Act::Fail(Errno::EPERM),
        (_, Place::Dir(..) | Place::File(_)) | (Place::Dir(..) | Place::File(_), _) => {
            Act::Fail(busy(cx, &from, &to, flags.0)?)
        }
        _ => Act::Fail(Errno::EXDEV),
    };
    let gone = if exchange || whiteout {
        Access::DELETE.and(Access::CREATE)
    } else {
        Access::DELETE
    };
    let mut plan = Plan::ask(gone, from_rule, act);
    plan.also(Access::CREATE.and(Access::DELETE), to_rule);
    Ok(plan)
}

/// What a path of a metadata call names, kept here for callers that need the plain form.
pub(super) fn opt(path: UserPath<'_>) -> OptPath<'_> {
    OptPath(Some(path))
}

//! Deeds on what exists already: modes, owners, times, attributes.
//!
//! In a copy-on-write mount they are done on the copy. A descriptor of a lower's file suffices to change
//! that file, even one opened only to be read: no such call is made on one, whoever asks.

use crate::sys::{self, Errno};
use crate::syscall::plan::Object;
use crate::vfs::cow::CowDir;
use crate::vfs::{Layer, Place, Vfs};
use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Directory and name by which the engine of a copy-on-write tree knows a place; `None` elsewhere.
/// ENOTDIR for `name/` where that is no directory.
pub(super) fn in_tree<'p>(
    place: &'p Place<'_>,
) -> sys::Result<Option<(&'p Arc<CowDir>, Cow<'p, CStr>)>> {
    let (dir, name) = match place {
        Place::Name { dir, name, .. } => (dir, *name),
        Place::Dir(dir, _) => (dir, c"."),
        _ => return Ok(None),
    };
    match dir.cow() {
        Some(cow) => Ok(Some((cow, dir.existing(name)?))),
        None => Ok(None),
    }
}

/// The copy-on-write mount in whose upper the file lies that `fd` names; `None` for a file of no such
/// mount. EROFS for a lower's.
pub(super) fn not_a_lowers(vfs: &Vfs, fd: BorrowedFd<'_>) -> sys::Result<Option<usize>> {
    match vfs.layer_of(fd)? {
        Some((_, Layer::Lower)) => Err(Errno::EROFS),
        Some((id, Layer::Upper)) => Ok(Some(id)),
        None => Ok(None),
    }
}

pub(super) fn is_dir(fd: BorrowedFd<'_>) -> sys::Result<bool> {
    Ok(sys::fs::fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// What a call is made on.
enum Target<'o> {
    /// A name in a copy-on-write tree.
    Tree(&'o Arc<CowDir>, Cow<'o, CStr>),
    /// A descriptor that no lower is behind, and the mount in whose upper it lies.
    Held(Held<'o>, Option<usize>),
}

enum Held<'o> {
    Guests(&'o OwnedFd),
    Ours(OwnedFd),
}

impl Held<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Guests(fd) => fd.as_fd(),
            Self::Ours(fd) => fd.as_fd(),
        }
    }
}

fn target<'o>(vfs: &Vfs, object: &'o Object<'_>) -> sys::Result<Target<'o>> {
    let place = match object {
        Object::Fd(fd) => {
            let mount = not_a_lowers(vfs, fd.as_fd())?;
            return Ok(Target::Held(Held::Guests(fd), mount));
        }
        Object::Place(place) => place,
    };
    if let Some((cow, name)) = in_tree(place)? {
        return Ok(Target::Tree(cow, name));
    }
    let held = vfs.handle(place)?;
    let mount = match place {
        Place::Open(_) => not_a_lowers(vfs, held.as_fd())?,
        // Found in another mount, which says what may be done.
        _ => None,
    };
    Ok(Target::Held(Held::Ours(held), mount))
}

/// Lets go of what was remembered about who may search what.
fn permissions_changed(vfs: &Vfs, mount: Option<usize>) {
    vfs.permissions_changed();
    if let Some(id) = mount {
        vfs.layer_changed(id);
    }
}

pub(super) fn chmod(vfs: &Vfs, object: &Object<'_>, mode: u32) -> sys::Result<()> {
    match target(vfs, object)? {
        Target::Tree(cow, name) => {
            cow.chmod(&name, mode)?;
            vfs.permissions_changed();
        }
        Target::Held(held, mount) => {
            match &held {
                Held::Guests(fd) => sys::fs::fchmod(fd.as_fd(), mode)?,
                Held::Ours(fd) => {
                    // chmod(2) has no way to leave a link alone: hold the inode, look, then change it.
                    let stat = sys::fs::fstat(fd.as_fd())?;
                    if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
                        return Err(Errno::EOPNOTSUPP);
                    }
                    sys::fs::fchmodat(fd.as_fd(), &vfs.fd_path(fd.as_fd())?, mode)?;
                }
            }
            if is_dir(held.fd())? {
                permissions_changed(vfs, mount);
            }
        }
    }
    Ok(())
}

pub(super) fn chown(vfs: &Vfs, object: &Object<'_>, uid: u32, gid: u32) -> sys::Result<()> {
    match target(vfs, object)? {
        Target::Tree(cow, name) => cow.chown(&name, uid, gid),
        Target::Held(held, mount) => {
            sys::fs::fchownat(held.fd(), c"", uid, gid, libc::AT_EMPTY_PATH)?;
            if let Some(id) = mount {
                vfs.layer_changed(id);
            }
            Ok(())
        }
    }
}

pub(super) fn set_times(
    vfs: &Vfs,
    object: &Object<'_>,
    times: Option<&[libc::timespec; 2]>,
) -> sys::Result<()> {
    if let Object::Place(Place::Name { dir, name, .. }) = object {
        return dir.set_times(name, times);
    }
    match target(vfs, object)? {
        Target::Tree(cow, name) => cow.set_times(&name, times),
        Target::Held(Held::Guests(fd), _) => sys::fs::utimensat(fd.as_fd(), None, times, 0),
        Target::Held(Held::Ours(fd), _) => {
            let path = vfs.fd_path(fd.as_fd())?;
            sys::fs::utimensat(fd.as_fd(), Some(&path), times, 0)
        }
    }
}

/// An access control list says who may search a directory, as its mode does (acl(5)).
fn attribute_changed(vfs: &Vfs, name: &CStr, mount: Option<usize>) {
    if name.to_bytes().starts_with(b"system.") {
        permissions_changed(vfs, mount);
    }
}

/// An attribute's name as the file behind a descriptor has it.
fn stored<'n>(vfs: &Vfs, name: &'n CStr, mount: Option<usize>) -> sys::Result<Cow<'n, CStr>> {
    match mount {
        None => Ok(Cow::Borrowed(name)),
        Some(_) => vfs.stored_xattr(name).map(Cow::<CStr>::Owned),
    }
}

pub(super) fn set_xattr(
    vfs: &Vfs,
    object: &Object<'_>,
    name: &CStr,
    value: &[u8],
    flags: i32,
) -> sys::Result<()> {
    match target(vfs, object)? {
        Target::Tree(cow, file) => {
            cow.set_xattr(&file, name, value, flags)?;
            attribute_changed(vfs, name, None);
        }
        Target::Held(held, mount) => {
            let stored = stored(vfs, name, mount)?;
            match &held {
                Held::Guests(fd) => sys::fs::fsetxattr(fd.as_fd(), &stored, value, flags)?,
                Held::Ours(fd) => {
                    sys::fs::setxattr(&vfs.fd_path(fd.as_fd())?, &stored, value, flags)?;
                }
            }
            attribute_changed(vfs, name, mount);
        }
    }
    Ok(())
}

pub(super) fn remove_xattr(vfs: &Vfs, object: &Object<'_>, name: &CStr) -> sys::Result<()> {
    match target(vfs, object)? {
        Target::Tree(cow, file) => {
            cow.remove_xattr(&file, name)?;
            attribute_changed(vfs, name, None);
        }
        Target::Held(held, mount) => {
            let stored = stored(vfs, name, mount)?;
            match &held {
                Held::Guests(fd) => sys::fs::fremovexattr(fd.as_fd(), &stored)?,
                Held::Ours(fd) => sys::fs::removexattr(&vfs.fd_path(fd.as_fd())?, &stored)?,
            }
            attribute_changed(vfs, name, mount);
        }
    }
    Ok(())
}

pub(super) fn set_file_attr(
    vfs: &Vfs,
    object: &Object<'_>,
    attr: &[u8; sys::fs::FILE_ATTR],
) -> sys::Result<()> {
    let set = |fd: BorrowedFd<'_>| sys::fs::file_setattr(&vfs.fd_path(fd)?, attr);
    match target(vfs, object)? {
        Target::Tree(cow, name) => cow.change_owned(&name, set),
        Target::Held(held, _) => set(held.fd()),
    }
}

//! Modes, owners, times, sizes, extended attributes. Links are never followed; `.` means the
//! directory itself.

use super::copyup::Data;
use super::dir::CowDir;
use super::layer::{self, fd_path};
use super::rights;
use crate::sys::{self, Errno};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// True for attributes that belong to whoever may write the file (xattr(7)).
fn is_user(name: &CStr) -> bool {
    name.to_bytes().starts_with(b"user.")
}

fn is_access_list(name: &CStr) -> bool {
    name.to_bytes().starts_with(b"system.posix_acl_")
}

impl CowDir {
    /// chmod(2). EOPNOTSUPP for links.
    pub fn chmod(self: &Arc<Self>, name: &CStr, mode: u32) -> sys::Result<()> {
        let file = self.for_change(name, Data::All, |_, stat| {
            if layer::kind(stat) == libc::S_IFLNK {
                return Err(Errno::EOPNOTSUPP);
            }
            rights::must_own(stat)
        })?;
        sys::fs::fchmodat(file.as_fd(), &fd_path(file.as_fd())?, mode)?;
        self.store.permissions_changed();
        Ok(())
    }

    /// lchown(2).
    pub fn chown(self: &Arc<Self>, name: &CStr, uid: u32, gid: u32) -> sys::Result<()> {
        let file = self.for_change(name, Data::All, |_, stat| rights::may_chown(stat, uid, gid))?;
        sys::fs::fchownat(file.as_fd(), c"", uid, gid, libc::AT_EMPTY_PATH)?;
        self.store.permissions_changed();
        Ok(())
    }

    /// utimensat(2); `None` means now.
    pub fn set_times(
        self: &Arc<Self>,
        name: &CStr,
        times: Option<&[libc::timespec; 2]>,
    ) -> sys::Result<()> {
        let now = times.is_none_or(|t| t.iter().all(|t| t.tv_nsec == libc::UTIME_NOW));
        let file = self.for_change(name, Data::All, |file, stat| {
            // To set them to now, the right to write is enough.
            match rights::must_own(stat) {
                Err(_) if now => rights::may(file, stat, libc::W_OK),
                other => other,
            }
        })?;
        sys::fs::utimensat(file.as_fd(), Some(c""), times, libc::AT_EMPTY_PATH)
    }

    /// truncate(2).
    pub fn truncate(self: &Arc<Self>, name: &CStr, length: i64) -> sys::Result<()> {
        if length < 0 {
            return Err(Errno::EINVAL);
        }
        let data = if length == 0 { Data::None } else { Data::All };
        let file = self.for_change(name, data, |file, stat| match layer::kind(stat) {
            libc::S_IFDIR => Err(Errno::EISDIR),
            libc::S_IFREG => rights::may(file, stat, libc::W_OK),
            _ => Err(Errno::EINVAL),
        })?;
        match layer::kind(&sys::fs::fstat(file.as_fd())?) {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        // A descriptor of a regular file, held: nothing can be put in its place.
        let path = fd_path(file.as_fd())?;
        let flags = libc::O_WRONLY | libc::O_NONBLOCK;
        let file = sys::fs::openat(file.as_fd(), &path, flags, 0)?;
        sys::fs::ftruncate(file.as_fd(), length)
    }

    /// lgetxattr(2). The format's own attributes don't exist.
    pub fn get_xattr(&self, name: &CStr, attribute: &CStr, buf: &mut [u8]) -> sys::Result<usize> {
        let file = self.handle(name)?;
        let stored = layer::stored_name(attribute)?;
        sys::fs::getxattr(&fd_path(file.as_fd())?, &stored, buf)
    }

    /// llistxattr(2): names, each ending in NUL.
    pub fn list_xattrs(&self, name: &CStr) -> sys::Result<Vec<u8>> {
        let file = self.handle(name)?;
        let mut list = Vec::new();
        for stored in layer::attribute_names(&fd_path(file.as_fd())?)? {
            if let Some(shown) = layer::shown_name(stored.to_bytes()) {
                list.extend_from_slice(&shown);
                list.push(0);
            }
        }
        Ok(list)
    }

    /// Lets `change` act on `name` in the upper, if the caller owns it: for attributes that only the
    /// owner may change.
    pub fn change_owned<T>(
        self: &Arc<Self>,
        name: &CStr,
        change: impl FnOnce(BorrowedFd<'_>) -> sys::Result<T>,
    ) -> sys::Result<T> {
        let file = self.for_change(name, Data::All, |_, stat| rights::must_own(stat))?;
        change(file.as_fd())
    }

    /// lsetxattr(2).
    pub fn set_xattr(
        self: &Arc<Self>,
        name: &CStr,
        attribute: &CStr,
        value: &[u8],
        flags: i32,
    ) -> sys::Result<()> {
        let stored = layer::stored_name(attribute)?;
        let file = self.for_change(name, Data::All, |file, stat| may_set(file, stat, attribute))?;
        sys::fs::setxattr(&fd_path(file.as_fd())?, &stored, value, flags)?;
        if is_access_list(attribute) {
            self.store.permissions_changed();
        }
        Ok(())
    }

    /// lremovexattr(2).
    pub fn remove_xattr(self: &Arc<Self>, name: &CStr, attribute: &CStr) -> sys::Result<()> {
        let stored = layer::stored_name(attribute)?;
        let file = self.for_change(name, Data::All, |file, stat| {
            may_set(file, stat, attribute)?;
            // What isn't there needs no copy to be missing in.
            sys::fs::getxattr(&fd_path(file)?, &stored, &mut []).map(drop)
        })?;
        sys::fs::removexattr(&fd_path(file.as_fd())?, &stored)?;
        if is_access_list(attribute) {
            self.store.permissions_changed();
        }
        Ok(())
    }

    /// A descriptor of `name` in the upper, copied there first if `allowed` says that the caller may
    /// change what the lower has. Of what is in the upper the kernel is asked, by the change itself.
    fn for_change(
        self: &Arc<Self>,
        name: &CStr,
        data: Data,
        allowed: impl Fn(BorrowedFd<'_>, &libc::stat) -> sys::Result<()>,
    ) -> sys::Result<OwnedFd> {
        loop {
            {
                let _gate = self.store.look();
                let hit = self.must_find(name)?;
                let file = self.handle_of(&hit, name)?;
                if hit.in_upper() {
                    if layer::kind(&hit.stat) == libc::S_IFLNK {
                        allowed(file.as_fd(), &hit.stat)?;
                    }
                    return Ok(file);
                }
                allowed(file.as_fd(), &hit.stat)?;
            }
            self.bring_up(name, data)?;
        }
    }
}

/// May the caller set this attribute on a lower's file? xattr(7), acl(5).
fn may_set(file: BorrowedFd<'_>, stat: &libc::stat, attribute: &CStr) -> sys::Result<()> {
    if is_user(attribute) {
        let kind = layer::kind(stat);
        if kind != libc::S_IFREG && kind != libc::S_IFDIR {
            return Err(Errno::EPERM);
        }
        if kind == libc::S_IFDIR && stat.st_mode & libc::S_ISVTX != 0 {
            rights::must_own(stat)?;
        }
        return rights::may(file, stat, libc::W_OK);
    }
    if is_access_list(attribute) {
        if layer::kind(stat) == libc::S_IFLNK {
            return Err(Errno::EOPNOTSUPP);
        }
        return rights::must_own(stat);
    }
    if rights::is_admin() {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

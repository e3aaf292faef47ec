//! Names: make, link, remove.

use super::copyup::Data;
use super::dir::CowDir;
use super::layer;
use super::lookup::{At, Hit};
use super::rights;
use super::store::{More, make_whiteout};
use super::upper::{Kind, UpperDir, each_record, widened};
use crate::sys::{self, Errno};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

impl CowDir {
    /// mkdir(2).
    pub fn mkdir(self: &Arc<Self>, name: &CStr, mode: u32) -> sys::Result<()> {
        self.make(name, Kind::Dir, |dir, name| {
            sys::fs::mkdirat(dir, name, mode)
        })
    }

    /// mknod(2) of regular files, FIFOs and sockets. EPERM for devices.
    pub fn mknod(self: &Arc<Self>, name: &CStr, mode: u32) -> sys::Result<()> {
        let kind = mode & libc::S_IFMT;
        if matches!(kind, libc::S_IFCHR | libc::S_IFBLK) {
            return match self.lookup(name)?.stat() {
                Some(_) => Err(Errno::EEXIST),
                None => Err(Errno::EPERM),
            };
        }
        self.make(name, Kind::Other, |dir, name| {
            sys::fs::mknodat(dir, name, mode, 0)
        })
    }

    /// symlink(2).
    pub fn symlink(self: &Arc<Self>, text: &CStr, name: &CStr) -> sys::Result<()> {
        self.make(name, Kind::Other, |dir, name| {
            sys::fs::symlinkat(text, dir, name)
        })
    }

    /// link(2): a further name for `name` of this directory. A lower's file is copied up for it.
    pub fn link(self: &Arc<Self>, name: &CStr, to: &Arc<Self>, new: &CStr) -> sys::Result<()> {
        loop {
            {
                let _gate = self.store.change();
                let hit = self.must_find(name)?;
                if to.find(new)?.is_some() {
                    return Err(Errno::EEXIST);
                }
                if to.is_removed() {
                    return Err(Errno::ENOENT);
                }
                if !Arc::ptr_eq(&self.store, &to.store) {
                    return Err(Errno::EXDEV);
                }
                let file = self.handle_of(&hit, name)?;
                rights::may_link(file.as_fd(), &hit.stat)?;
                to.must_write()?;
                if hit.is_dir() {
                    return Err(Errno::EPERM);
                }
                if let At::Upper(upper) = &hit.at {
                    return to.make_locked(new, Kind::Other, |dir, new| {
                        sys::fs::linkat(upper.fd.as_fd(), name, dir, new, 0)
                    });
                }
            }
            self.bring_up(name, Data::All)?;
        }
    }

    /// link(2) of an open file without a name (open(2), `O_TMPFILE`) to `name`. EXDEV for others: one
    /// that has a name may be a lower's, and a link in the upper would let the guest write to it.
    pub fn link_fd(self: &Arc<Self>, file: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
        if sys::fs::fstat(file)?.st_nlink != 0 {
            return Err(Errno::EXDEV);
        }
        let path = layer::fd_path(file)?;
        self.make(name, Kind::Other, |dir, name| {
            sys::fs::linkat(dir, &path, dir, name, libc::AT_SYMLINK_FOLLOW)
        })
    }

    /// link(2) of an open file that the caller knows to be the upper's, to `name`.
    pub fn link_own(self: &Arc<Self>, file: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
        let path = layer::fd_path(file)?;
        self.make(name, Kind::Other, |dir, name| {
            sys::fs::linkat(dir, &path, dir, name, libc::AT_SYMLINK_FOLLOW)
        })
    }

    /// unlink(2).
    pub fn unlink(self: &Arc<Self>, name: &CStr) -> sys::Result<()> {
        if name == c"." {
            return Err(Errno::EISDIR);
        }
        let _gate = self.store.change();
        let hit = self.must_find(name)?;
        self.may_take(&hit)?;
        if hit.is_dir() {
            return Err(Errno::EISDIR);
        }
        let hides = self.find_below(name)?.is_some();
        let upper = self.make_upper()?;
        let to = upper.fd.as_fd();
        match (&hit.at, hides) {
            (At::Upper(_), false) => {
                upper.widened(0o300, || sys::fs::unlinkat(to, name, 0))?;
                upper.set(name, None);
            }
            (At::Upper(_), true) => {
                let whiteout = self.store.whiteout()?;
                let work = self.store.work.as_fd();
                upper.widened(0o300, || {
                    sys::fs::renameat2(work, &whiteout.name, to, name, 0)
                })?;
                upper.set(name, Some(Kind::Whiteout));
            }
            (At::Lower(_) | At::Index(_), _) => {
                put_whiteout(&upper, name)?;
                self.one_name_less(&hit, name)?;
            }
        }
        Ok(())
    }

    /// To be called when `name` of a lower's file with several names is shown no more, or is a name of the
    /// copy by now: a name that the kernel counts less, or more, than guests do.
    pub(super) fn one_name_less(&self, hit: &Hit, name: &CStr) -> sys::Result<()> {
        let more = self.store.more_links(layer::inode(&hit.stat)) - 1;
        let (key, more) = match &hit.at {
            At::Upper(_) => return Ok(()),
            At::Index(key) => (key.clone(), More::Copy(more)),
            At::Lower(_) => {
                let (dir, spelled) = self.spot(&hit.at, name)?;
                match self.store.index_name(dir, spelled, &hit.stat)? {
                    Some(key) => (key, More::Lower(more)),
                    None => return Ok(()), // it has one name
                }
            }
        };
        self.store.note_links(layer::inode(&hit.stat), &key, more)
    }

    /// rmdir(2).
    pub fn rmdir(self: &Arc<Self>, name: &CStr) -> sys::Result<()> {
        if name == c"." {
            return Err(Errno::EINVAL);
        }
        let _gate = self.store.change();
        let hit = self.must_find(name)?;
        self.may_take(&hit)?;
        if !hit.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let dir = self.child(name)?;
        dir.must_be_empty()?;
        let hides = self.find_below(name)?.is_some();
        let upper = self.make_upper()?;
        match dir.upper() {
            Some(_) if hides => {
                let whiteout = self.store.whiteout()?;
                self.swap_out(&dir, &upper, name, &whiteout.name)?;
                upper.set(name, Some(Kind::Whiteout));
                // What is in `work` under the whiteout's name now is the directory: it goes along.
            }
            Some(inner) => {
                for (name, _) in inner.names()? {
                    let name = CString::new(name.into_vec()).map_err(|_| Errno::EIO)?;
                    inner.widened(0o300, || sys::fs::unlinkat(inner.fd.as_fd(), &name, 0))?;
                    inner.set(&name, None);
                }
                let flags = libc::AT_REMOVEDIR;
                upper.widened(0o300, || sys::fs::unlinkat(upper.fd.as_fd(), name, flags))?;
                upper.set(name, None);
            }
            None => put_whiteout(&upper, name)?,
        }
        self.take_child(name);
        dir.mark_removed();
        Ok(())
    }

    /// Exchanges the upper part of `dir`, which is `name` here, with `temp` of `work`.
    pub(super) fn swap_out(
        &self,
        dir: &Self,
        upper: &UpperDir,
        name: &CStr,
        temp: &CStr,
    ) -> sys::Result<()> {
        let inner = dir.upper().ok_or(Errno::ENOENT)?;
        let (work, to) = (self.store.work.as_fd(), upper.fd.as_fd());
        upper.widened(0o300, || {
            widened(inner.fd.as_fd(), 0o200, || {
                sys::fs::renameat2(work, temp, to, name, libc::RENAME_EXCHANGE)
            })
        })?;
        let path = [self.names(), vec![name.to_owned()]].concat();
        self.store.note_shown(inner.inode.1, path);
        Ok(())
    }

    /// May the caller remove or replace what was found? (unlink(2): EACCES; EPERM where sticky.)
    pub(super) fn may_take(&self, hit: &Hit) -> sys::Result<()> {
        self.must_write()?;
        let dir = self.with_top(sys::fs::fstat)?;
        rights::may_take_from(&dir, &hit.stat)
    }

    /// ENOTEMPTY if this directory shows any name.
    pub(super) fn must_be_empty(&self) -> sys::Result<()> {
        let mut hidden = HashSet::new();
        if let Some(upper) = self.upper() {
            for (name, kind) in upper.names()? {
                if kind != Kind::Whiteout {
                    return Err(Errno::ENOTEMPTY);
                }
                hidden.insert(name);
            }
        }
        for lower in &self.lowers {
            let fd = lower.fd.as_fd();
            let own = sys::fs::openat(fd, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            each_record(own.as_fd(), |_, kind, name| {
                if hidden.contains(name) {
                    return Ok(());
                }
                if matches!(kind, libc::DT_CHR | libc::DT_UNKNOWN) || lower.marked {
                    let text = CString::new(name).map_err(|_| Errno::EIO)?;
                    let stat = sys::fs::fstatat(fd, &text, libc::AT_SYMLINK_NOFOLLOW)?;
                    if layer::is_whiteout(&stat)
                        || lower.marked && layer::is_marker(fd, &text, &stat)
                    {
                        hidden.insert(name.into());
                        return Ok(());
                    }
                }
                Err(Errno::ENOTEMPTY)
            })?;
        }
        Ok(())
    }
}

/// Puts a whiteout where the upper has nothing.
fn put_whiteout(upper: &UpperDir, name: &CStr) -> sys::Result<()> {
    upper.widened(0o300, || make_whiteout(upper.fd.as_fd(), name))?;
    upper.set(name, Some(Kind::Whiteout));
    Ok(())
}

//! Which files lie in a private directory of limited size, and how full it is.

use super::meter::{Meter, PAGE};
use super::path::VPath;
use super::{Dir, Place, Vfs, host_path};
use crate::sys;
use std::os::fd::{AsFd, BorrowedFd};

impl Vfs {
    /// True if some directory has a limit: then calls that make files longer are caught.
    pub fn is_metered(&self) -> bool {
        self.metered
    }

    /// The books of all limited directories, and where these stand in the view.
    pub fn meters(&self) -> impl Iterator<Item = (&VPath, &Meter)> {
        self.table.meters().map(|(mount, meter)| (&mount.at, meter))
    }

    /// The book that names in `dir` are counted in.
    pub fn meter_of_dir(&self, dir: &Dir) -> Option<&Meter> {
        self.table.meter(dir.mount.filter(|_| self.metered)?)
    }

    /// The book that the regular file behind `fd` is counted in, named or not.
    pub fn meter_of_file(&self, fd: BorrowedFd<'_>) -> Option<&Meter> {
        if !self.metered {
            return None;
        }
        let stat = sys::fs::fstat(fd).ok()?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        let id = (stat.st_dev, stat.st_ino);
        let held = self.table.meters().find(|(_, meter)| meter.holds(id));
        if let Some((_, meter)) = held {
            return Some(meter);
        }
        match host_path(fd) {
            Ok(host) => self.table.meter_of(&host.0),
            // So deep that it has no path. In the wrong book it counts too much, in none too little.
            Err(_) => self.table.meters().next().map(|(_, meter)| meter),
        }
    }

    /// True if what `fd` names lies in a limited directory.
    pub fn is_in_limited(&self, fd: BorrowedFd<'_>) -> bool {
        self.metered && host_path(fd).is_ok_and(|host| self.table.meter_of(&host.0).is_some())
    }

    /// statfs(2) of a place as its limit has it: blocks of a page, and as many names.
    pub fn limited_statfs(&self, place: &Place<'_>, found: &mut libc::statfs) {
        let meter = match place {
            Place::Name { dir, .. } | Place::Dir(dir, _) => self.meter_of_dir(dir),
            Place::Open(fd) => self.meter_of_file(fd.as_fd()),
            _ => None,
        };
        if let Some(meter) = meter {
            tell(meter, found);
        }
    }

    /// fstatfs(2) of a guest's descriptor, if what it names lies in a limited directory.
    pub fn limited_fstatfs(&self, fd: BorrowedFd<'_>) -> sys::Result<Option<libc::statfs>> {
        let Ok(host) = host_path(fd) else {
            return Ok(None);
        };
        let Some(meter) = self.table.meter_of(&host.0) else {
            return Ok(None);
        };
        let mut found = sys::fs::fstatfs(fd)?;
        tell(meter, &mut found);
        Ok(Some(found))
    }
}

fn tell(meter: &Meter, found: &mut libc::statfs) {
    let (size, free) = meter.space();
    (found.f_bsize, found.f_frsize) = (PAGE.cast_signed(), PAGE.cast_signed());
    found.f_blocks = size / PAGE;
    (found.f_bfree, found.f_bavail) = (free / PAGE, free / PAGE);
    found.f_files = size / PAGE;
    found.f_ffree = free / PAGE;
}

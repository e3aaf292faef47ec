//! The tasks as the file system knows them, for `/proc`.

use super::{NOBODY, Names, Registry};
use crate::sys::{self, Errno};
use crate::vfs::{Dir, Tasks};
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Tasks for Registry {
    fn groups(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.map().values().map(|t| t.group.tgid).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn zombies(&self) -> Vec<i32> {
        let mut all = self.zombies().all();
        all.retain(|&tgid| self.is_zombie(tgid));
        all
    }

    fn is_zombie(&self, tgid: i32) -> bool {
        !self.lives(tgid) && self.is_member(tgid)
    }

    fn is_stopped(&self, tid: i32) -> bool {
        self.get(tid).is_some_and(|task| task.is_stopped())
    }

    fn threads(&self, tgid: i32) -> Vec<i32> {
        let mut all: Vec<i32> = self
            .map()
            .values()
            .filter(|t| t.group.tgid == tgid)
            .map(|t| t.tid)
            .collect();
        all.sort_unstable();
        all
    }

    fn cwd(&self, tgid: i32) -> Option<Arc<Dir>> {
        Some(self.of_group(tgid)?.fs().cwd())
    }

    fn is_open_to(&self, tgid: i32, caller: i32) -> bool {
        if tgid == caller {
            return true;
        }
        let within = |tgid| self.of_group(tgid).map(|task| task.group.within());
        match (within(tgid), within(caller)) {
            (Some(other), Some(caller)) => other.has(caller),
            // Nothing is left of it, or nobody asks.
            (None, _) => true,
            (_, None) => false,
        }
    }

    fn exe(&self, tgid: i32) -> Option<Vec<u8>> {
        Some(self.of_group(tgid)?.group.exe().text)
    }

    fn descriptor(&self, tgid: i32, fd: i32) -> sys::Result<OwnedFd> {
        self.of_group(tgid).ok_or(Errno::ENOENT)?.descriptor(fd)
    }

    fn process_told(&self, host: i32) -> i32 {
        self.told(host, Names::Thread)
    }

    fn group_told(&self, host: i32) -> i32 {
        self.told(host, Names::Group)
    }

    fn session_told(&self, host: i32) -> i32 {
        self.told(host, Names::Session)
    }

    fn process_meant(&self, number: i32) -> Option<i32> {
        Some(self.meant(number, Names::Thread)).filter(|&host| host != NOBODY)
    }

    fn numbers(&self) -> Option<(i32, i32)> {
        self.range()
    }
}

//! What guests are told where the kernel tells a number, and whom they mean by one.
//!
//! Two kinds of numbers never meet unmarked: functions here that are called `told` turn the host's into the view's, those called
//! `meant` the view's into the host's. Where the view has the host's numbers, both leave them as they are.

use super::ids::{INIT, Known};
use super::zombies::parent_of;
use super::{Ids, Pids, Registry};
use crate::sys;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{MutexGuard, PoisonError};

/// A number that no process has: `PID_MAX_LIMIT` is far below. The kernel gives for it whatever error it has for nobody.
pub const NOBODY: i32 = i32::MAX;

/// The supervisor, which is process 1 of the view, and its process group and session, which are numbered 1 as well: they hold
/// others whom guests don't see.
#[derive(Debug)]
pub(super) struct Own {
    pid: i32,
    group: i32,
    session: i32,
    /// The process that leads session and group where the guests have a terminal, and is the parent of the first; else 0.
    attendant: AtomicI32,
}

impl Own {
    pub(super) fn now() -> Self {
        Self {
            pid: std::process::id().cast_signed(),
            // Neither fails for the caller itself.
            group: sys::process::getpgid(0).unwrap_or(0),
            session: sys::process::getsid(0).unwrap_or(0),
            attendant: AtomicI32::new(0),
        }
    }

    /// The host's number of what is numbered 1.
    fn host(&self, names: Names) -> i32 {
        match (self.attendant.load(Ordering::Relaxed), names) {
            (_, Names::Process | Names::Thread) => self.pid,
            (0, Names::Group) => self.group,
            (0, Names::Session) => self.session,
            (attendant, Names::Group | Names::Session) => attendant,
        }
    }

    /// True if guests know this number of the host's as 1.
    fn is(&self, host: i32, names: Names) -> bool {
        host == self.host(names) || host == self.attendant.load(Ordering::Relaxed)
    }
}

/// What a number is meant to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// A thread group.
    Process,
    /// A thread. The kernel writes the host's numbers of threads into words that it compares itself (futex(2),
    /// set_tid_address(2)), and libraries take them from there: those of guests are understood as well.
    Thread,
    /// A process group.
    Group,
    /// A session.
    Session,
}

impl Registry {
    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the view has numbers of its own.
    pub fn renumbers(&self) -> bool {
        matches!(self.pids, Pids::Virtual { .. })
    }

    /// The process between sbox and the first guest, which the view doesn't tell from sbox.
    pub fn set_attendant(&self, host: i32) {
        self.own.attendant.store(host, Ordering::Relaxed);
    }

    /// Numbers a new task.
    pub(super) fn give_number(&self, host: i32) -> i32 {
        if !self.renumbers() {
            return host;
        }
        if self.ids().is_due() {
            self.forget_the_gone();
        }
        self.ids().enter(host)
    }

    /// A thread has ended, or a process, whose number others may still know.
    pub(super) fn take_number(&self, host: i32, is_process: bool) {
        match is_process {
            true => self.ids().retire(host),
            false => self.ids().leave(host),
        }
    }

    /// Takes the numbers of those who are neither waited for nor name a group or session any more.
    fn forget_the_gone(&self) {
        let dead = self.ids().dead();
        let mut named = Vec::new();
        for tgid in self.all().iter().map(|t| t.group.tgid) {
            named.extend(sys::process::getpgid(tgid));
            named.extend(sys::process::getsid(tgid));
        }
        let gone = |&&host: &&i32| !named.contains(&host) && parent_of(host).is_none();
        let gone: Vec<i32> = dead.iter().filter(gone).copied().collect();
        let mut ids = self.ids();
        for host in gone {
            // Somebody may have been born with it since.
            if ids.of_host(host).is_some_and(|known| known.dead) {
                ids.leave(host);
            }
        }
        ids.asked();
    }

    /// What a number of the host's is told as: 0 if guests can't know whom it names, which is the kernel's word for processes of
    /// an outer namespace (pid_namespaces(7)).
    pub fn told(&self, host: i32, names: Names) -> i32 {
        if !self.renumbers() || host <= 0 {
            return host;
        }
        if self.own.is(host, names) {
            return INIT;
        }
        let known = self.ids().of_host(host);
        match known {
            Some(Known {
                number,
                dead: false,
            }) => number,
            Some(Known { number, dead: true }) if self.is_still(host, names) => number,
            _ => 0,
        }
    }

    /// What a child is told as to its parent, who has just waited for it, or gets a signal of it. The kernel names no others here,
    /// so nothing needs to be asked.
    pub fn told_child(&self, host: i32) -> i32 {
        if !self.renumbers() {
            return host;
        }
        self.ids().of_child(host).unwrap_or(0)
    }

    /// Whether the number of a dead task still means it.
    fn is_still(&self, host: i32, names: Names) -> bool {
        let all = |of: fn(i32) -> sys::Result<i32>| {
            self.all().iter().any(|t| of(t.group.tgid) == Ok(host))
        };
        match names {
            Names::Process | Names::Thread => self.as_told(host) != 0,
            Names::Group => all(sys::process::getpgid),
            Names::Session => all(sys::process::getsid),
        }
    }

    /// The host's number of what a guest calls `number`; [`NOBODY`] if that is nothing. Those of processes may have ended.
    pub fn meant(&self, number: i32, names: Names) -> i32 {
        if !self.renumbers() || number <= 0 {
            return number;
        }
        if number == INIT && matches!(names, Names::Group | Names::Session) {
            return self.own.host(names);
        }
        if let Some(host) = self.ids().to_host(number) {
            return host;
        }
        // Of the host's numbers, those of threads that live.
        if names == Names::Thread && self.get(number).is_some() {
            return number;
        }
        NOBODY
    }

    /// The same of a thread, named together with its process on the host. Where the host's numbers are as small as ours (in a
    /// container), a word that the kernel has written may be another task's number, too: the process tells which.
    pub fn meant_in(&self, number: i32, tgid: i32) -> i32 {
        let is_in = |host: i32| self.get(host).is_some_and(|t| t.group.tgid == tgid);
        let meant = self.meant(number, Names::Thread);
        match !is_in(meant) && is_in(number) {
            true => number,
            false => meant,
        }
    }

    /// The number that was given last, and from which on they begin again.
    pub fn range(&self) -> Option<(i32, i32)> {
        self.renumbers().then(|| {
            let ids = self.ids();
            (ids.last(), ids.max())
        })
    }

    /// True if this number of the view's is sbox.
    pub fn is_init(&self, number: i32) -> bool {
        self.renumbers() && number == INIT
    }
}

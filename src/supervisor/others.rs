//! What is done to other tasks on behalf of a guest.
//!
//! They are named by numbers of the host's, which belong to somebody outside as soon as their task has been reaped. Nobody but the
//! tracer reaps a guest's task first, and it marks it as dead before: so a task that isn't marked still has its number.

use super::act::Hands;
use crate::sys::process as sp;
use crate::sys::{self, Errno, pidfd, sched};
use crate::syscall::plan::{Comparison, Owner, TaskChange};
use crate::task::Task;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl Hands<'_> {
    /// Changes all of them. As the kernel has it with a group, the last that could not be changed tells the error.
    pub(super) fn change_tasks(
        &self,
        targets: &[Arc<Task>],
        change: &TaskChange<'_>,
    ) -> sys::Result<()> {
        if matches!(change, TaskChange::Cpus(_)) {
            self.cpus.leave();
        }
        let mut result = Err(Errno::ESRCH);
        for target in targets {
            let changed = self.held(target, |tid| self.change_task(tid, change));
            result = match (result, changed) {
                (Err(Errno::ESRCH), one) => one,
                (before, Ok(()) | Err(Errno::ESRCH)) => before,
                (_, Err(errno)) => Err(errno),
            };
        }
        result
    }

    /// Does something by a task's number. The caller is held already, as it is served.
    fn held<T>(&self, target: &Task, deed: impl FnOnce(i32) -> sys::Result<T>) -> sys::Result<T> {
        let _held = (target.tid != self.task.tid).then(|| target.serve());
        match target.is_dead() {
            true => Err(Errno::ESRCH),
            false => deed(target.tid),
        }
    }

    /// kcmp(2) of two tasks.
    pub(super) fn compare(
        &self,
        [first, second]: &[Arc<Task>; 2],
        by: &Comparison<'_>,
    ) -> sys::Result<i64> {
        let compared = |one, other| sys::mem::kcmp([one, other], by.kind, by.indices, by.slot);
        if first.tid == second.tid {
            return self.held(first, |tid| compared(tid, tid));
        }
        self.held(first, |one| self.held(second, |other| compared(one, other)))
    }

    /// A pidfd of a guest.
    pub(super) fn open_process(
        &self,
        task: Option<&Task>,
        tid: i32,
        flags: i32,
    ) -> sys::Result<OwnedFd> {
        if let Some(task) = task {
            let opened = self.held(task, |tid| pidfd::open_with(tid, flags));
            if !matches!(opened, Err(Errno::ESRCH)) {
                return opened;
            }
        }
        // It has ended, and waits for its parent. Somebody else who has got its number lives.
        let fd = pidfd::open_with(tid, flags)?;
        match sp::is_dead(tid) && pidfd::pid_of(fd.as_fd())? == Some(tid) {
            true => Ok(fd),
            false => Err(Errno::ESRCH),
        }
    }

    /// Says who gets SIGIO of an open file description.
    pub(super) fn set_owner(&self, file: &OwnedFd, to: &Owner) -> sys::Result<()> {
        let set = |host| sys::fs::set_owner(file.as_fd(), to.kind, host);
        let Some((task, host)) = &to.owner else {
            return set(0);
        };
        self.held(task, |tid| {
            set(*host)?;
            // A group is there as long as somebody is in it: if this one has left, the number may mean another by now.
            if to.kind == Owner::GROUP && sp::getpgid(tid) != Ok(*host) {
                set(0)?;
                return Err(Errno::ESRCH);
            }
            Ok(())
        })
    }

    fn change_task(&self, tid: i32, change: &TaskChange<'_>) -> sys::Result<()> {
        match *change {
            TaskChange::Cpus(mask) => sched::set_affinity(tid, mask),
            TaskChange::Limit { resource, new, old } => {
                let before = sp::limit(tid, resource, new)?;
                if old == 0 {
                    return Ok(());
                }
                let [soft, hard] = before.map(u64::to_ne_bytes);
                self.mem.write(old, &[soft, hard].concat())
            }
            TaskChange::Param(priority) => sched::set_param(tid, priority),
            TaskChange::Scheduler { policy, priority } => {
                sched::set_scheduler(tid, policy, priority)
            }
            TaskChange::Attr { attr, at, flags } => {
                let mut own = attr.to_vec();
                let set = sched::set_attr(tid, &mut own, flags);
                if set == Err(Errno::E2BIG) {
                    // The size that the kernel knows.
                    self.mem.write(at, own.get(..4).unwrap_or_default())?;
                }
                set
            }
            TaskChange::Nice(nice) => sched::set_nice(tid, nice),
            TaskChange::IoPriority(priority) => sched::set_io_priority(tid, priority),
        }
    }

    /// kill(2) to several: success if any could be signalled.
    pub(super) fn signal_all(&self, groups: &[i32], signal: i32) -> sys::Result<()> {
        let mut result = Err(Errno::ESRCH);
        for &tgid in groups {
            let sent = pidfd::open(tgid).and_then(|pidfd| {
                // What lives now had the number when the descriptor was made.
                match self.who.tasks.threads(tgid).is_empty() {
                    true => Err(Errno::ESRCH),
                    false => pidfd::send_signal(pidfd.as_fd(), signal),
                }
            });
            result = match (result, sent) {
                (Ok(()), _) | (_, Ok(())) => Ok(()),
                (_, Err(errno)) => Err(errno),
            };
        }
        result
    }
}

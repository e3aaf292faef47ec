//! Signals to others. Those outside the sandbox don't exist: ESRCH, never EPERM. That is for those inside whom the policy doesn't let
//! the caller signal, and also for signal 0, by which kill(2) tells who may be.

use super::args::{Fd, InBuf, Pid, Signal, UInt};
use super::plan::{Act, Cx, Errno, Plan, RegistersOnly};
use crate::policy::Signals;
use crate::sys;
use crate::vfs::Tasks;
use rustc_hash::FxHashSet;
use std::os::fd::{AsFd, OwnedFd};

const BY_ID: RegistersOnly = RegistersOnly("the target is a number in a register, and a guest's");

pub(super) const GROUP_BY_ID: RegistersOnly =
    RegistersOnly("the group is a number in a register; only guests are in it");

/// Whom the caller may signal.
pub(super) struct Reach<'c, 'a> {
    cx: &'c Cx<'a>,
    /// Their thread groups; `None`: everybody of the sandbox.
    groups: Option<FxHashSet<i32>>,
}

impl<'c, 'a> Reach<'c, 'a> {
    /// By what the policy says.
    pub(super) fn of(cx: &'c Cx<'a>) -> Self {
        let own = &cx.task.group;
        let groups = match cx.signals {
            Signals::Own => None,
            Signals::Children => Some(cx.tasks.started_by(own)),
            Signals::None => Some(FxHashSet::from_iter([own.tgid])),
        };
        Self { cx, groups }
    }

    /// Everybody of the sandbox.
    pub(super) fn is_everybody(&self) -> bool {
        self.groups.is_none()
    }

    /// Whether a member is among them, by the host's number of it or of one of its threads. Of one that has ended its parent
    /// counts, who is to wait for it.
    pub(super) fn has(&self, id: i32) -> bool {
        let Some(groups) = &self.groups else {
            return true;
        };
        let tasks = self.cx.tasks;
        let tgid = tasks.get(id).map_or(id, |task| task.group.tgid);
        let is_childs = |tgid| {
            let parent = tasks.awaited_by(tgid);
            self.cx.signals == Signals::Children && parent.is_some_and(|p| groups.contains(&p))
        };
        groups.contains(&tgid) || is_childs(tgid)
    }
}

fn to_member<'a>(cx: &Cx<'a>, id: i32) -> Result<Plan<'a>, Errno> {
    if !cx.tasks.is_member(id) {
        return Err(Errno::ESRCH);
    }
    Ok(Plan::act(match Reach::of(cx).has(id) {
        true => Act::Continue(BY_ID),
        false => Act::OutOfReach,
    }))
}

/// kill(2), with its three forms that name several processes.
pub fn kill<'a>(cx: &Cx<'a>, pid: Pid, sig: Signal) -> Result<Plan<'a>, Errno> {
    if !(0..=64).contains(&sig.0) {
        return Err(Errno::EINVAL);
    }
    match pid.0 {
        i32::MIN => Err(Errno::ESRCH),
        -1 => {
            // Every guest but the caller, as the kernel spares the caller.
            let groups = cx
                .tasks
                .groups()
                .into_iter()
                .filter(|&g| g != cx.task.group.tgid);
            signal_all(&Reach::of(cx), groups.collect(), sig)
        }
        0 => to_group(cx, sys::process::getpgid(cx.task.tid)?, sig),
        group if group < 0 => to_group(cx, -group, sig),
        id => to_member(cx, id),
    }
}

/// A process group: the kernel may have it, unless the supervisor and its caller are in it too, or not everybody may be signalled.
fn to_group<'a>(cx: &Cx<'a>, pgid: i32, sig: Signal) -> Result<Plan<'a>, Errno> {
    let members: Vec<i32> = cx
        .tasks
        .groups()
        .into_iter()
        .filter(|&tgid| sys::process::getpgid(tgid) == Ok(pgid))
        .collect();
    if members.is_empty() {
        return Err(Errno::ESRCH);
    }
    let reach = Reach::of(cx);
    // Who isn't in the group yet may be when the kernel looks.
    if sys::process::getpgid(0)? == pgid || !reach.is_everybody() {
        return signal_all(&reach, members, sig);
    }
    Ok(Plan::act(Act::Continue(GROUP_BY_ID)))
}

/// True for a process group that some guest is in, and sbox isn't.
pub(super) fn is_guests_own(cx: &Cx<'_>, pgid: i32) -> Result<bool, Errno> {
    let is_in = |tgid: i32| sys::process::getpgid(tgid) == Ok(pgid);
    Ok(sys::process::getpgid(0)? != pgid && cx.tasks.groups().into_iter().any(is_in))
}

/// All of them that are within reach; it is enough if one is, as with the kernel's permissions.
fn signal_all<'a>(
    reach: &Reach<'_, 'a>,
    mut groups: Vec<i32>,
    sig: Signal,
) -> Result<Plan<'a>, Errno> {
    if groups.is_empty() {
        return Err(Errno::ESRCH);
    }
    groups.retain(|&group| reach.has(group));
    Ok(Plan::act(match groups.is_empty() {
        true => Act::OutOfReach,
        false => Act::SignalAll {
            groups,
            signal: sig.0,
        },
    }))
}

/// tkill(2).
pub fn tkill<'a>(cx: &Cx<'a>, tid: Pid, _: Signal) -> Result<Plan<'a>, Errno> {
    one_thread(cx, None, tid)
}

/// tgkill(2).
pub fn tgkill<'a>(cx: &Cx<'a>, tgid: Pid, tid: Pid, _: Signal) -> Result<Plan<'a>, Errno> {
    one_thread(cx, Some(tgid), tid)
}

fn one_thread<'a>(cx: &Cx<'a>, tgid: Option<Pid>, tid: Pid) -> Result<Plan<'a>, Errno> {
    if tid.0 <= 0 || tgid.is_some_and(|t| t.0 <= 0) {
        return Err(Errno::EINVAL);
    }
    if tgid.is_some_and(|t| !cx.tasks.is_member(t.0)) {
        return Err(Errno::ESRCH);
    }
    to_member(cx, tid.0)
}

/// pidfd_send_signal(2). No guest has a pidfd of anybody else than a guest. A directory `/proc/PID` will do as well, as killall(1)
/// has it: there the view's is not the kernel's, and sbox sends.
pub fn pidfd_send_signal<'a>(
    cx: &Cx<'a>,
    pidfd: Fd,
    sig: Signal,
    info: InBuf,
    flags: UInt,
) -> Result<Plan<'a>, Errno> {
    let fd = cx.task.descriptor(pidfd.0)?;
    let reach = Reach::of(cx);
    let Some(group) = cx.vfs.group_of_directory(fd.as_fd()) else {
        if reach.is_everybody() {
            return Ok(Plan::act(Act::Continue(RegistersOnly(
                "the target is behind a descriptor, and a guest",
            ))));
        }
        return behind(&reach, fd, sig, info, flags);
    };
    if flags.0 != 0 || info.0 != 0 {
        return Err(Errno::EINVAL);
    }
    // The number may be another's by now: then it was the guest's to know.
    if !cx.tasks.is_member(group) {
        return Err(Errno::ESRCH);
    }
    signal_all(&reach, vec![group], sig)
}

/// The same where not everybody may be signalled: sbox does it, as another thread of the caller could put another pidfd in the
/// place of the one that was looked at. DIFFERS: the sender is sbox.
fn behind<'a>(
    reach: &Reach<'_, 'a>,
    pidfd: OwnedFd,
    sig: Signal,
    info: InBuf,
    flags: UInt,
) -> Result<Plan<'a>, Errno> {
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2; // Linux 6.9
    let id = sys::pidfd::pid_of(pidfd.as_fd())?.ok_or(Errno::ESRCH)?;
    if flags.0 == PIDFD_SIGNAL_PROCESS_GROUP {
        // DIFFERS: no data comes with it.
        return match info.0 {
            0 => to_group(reach.cx, id, sig),
            _ => Err(Errno::EINVAL),
        };
    }
    let info = match info.0 {
        0 => None,
        at => {
            let bytes = &*reach.cx.bytes(at, sys::pidfd::SIGINFO)?;
            Some(bytes.first_chunk().ok_or(Errno::EFAULT)?)
        }
    };
    Ok(Plan::act(match reach.has(id) {
        true => Act::SignalBehind {
            pidfd,
            signal: sig.0,
            info,
            flags: flags.0,
        },
        false => Act::OutOfReach,
    }))
}

/// rt_sigqueueinfo(2). What the siginfo claims is for the receiver to believe or not; the kernel lets
/// nobody forge a kernel or kill(2) origin.
pub fn rt_sigqueueinfo<'a>(cx: &Cx<'a>, pid: Pid, _: Signal, _: InBuf) -> Result<Plan<'a>, Errno> {
    to_member(cx, pid.0)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo<'a>(
    cx: &Cx<'a>,
    tgid: Pid,
    tid: Pid,
    _: Signal,
    _: InBuf,
) -> Result<Plan<'a>, Errno> {
    one_thread(cx, Some(tgid), tid)
}

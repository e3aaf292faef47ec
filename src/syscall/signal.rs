//! Signals to others. Those outside the sandbox don't exist: ESRCH, never EPERM.

use super::args::{Fd, InBuf, Pid, Signal, UInt};
use super::plan::{Act, Cx, Errno, Plan, RegistersOnly};
use crate::sys;
use crate::vfs::Tasks;
use std::os::fd::AsFd;

const BY_ID: RegistersOnly = RegistersOnly("the target is a number in a register, and a guest's");

pub(super) const GROUP_BY_ID: RegistersOnly =
    RegistersOnly("the group is a number in a register; only guests are in it");

fn to_member<'a>(cx: &Cx<'a>, id: i32) -> Result<Plan<'a>, Errno> {
    if cx.tasks.is_member(id) {
        Ok(Plan::act(Act::Continue(BY_ID)))
    } else {
        Err(Errno::ESRCH)
    }
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
            signal_all(groups.collect(), sig)
        }
        0 => to_group(cx, sys::process::getpgid(cx.task.tid)?, sig),
        group if group < 0 => to_group(cx, -group, sig),
        id => to_member(cx, id),
    }
}

/// A process group: the kernel may have it, unless the supervisor and its caller are in it too.
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
    if sys::process::getpgid(0)? == pgid {
        return signal_all(members, sig);
    }
    Ok(Plan::act(Act::Continue(GROUP_BY_ID)))
}

/// True for a process group that some guest is in, and sbox isn't.
pub(super) fn is_guests_own(cx: &Cx<'_>, pgid: i32) -> Result<bool, Errno> {
    let is_in = |tgid: i32| sys::process::getpgid(tgid) == Ok(pgid);
    Ok(sys::process::getpgid(0)? != pgid && cx.tasks.groups().into_iter().any(is_in))
}

fn signal_all<'a>(groups: Vec<i32>, sig: Signal) -> Result<Plan<'a>, Errno> {
    if groups.is_empty() {
        return Err(Errno::ESRCH);
    }
    Ok(Plan::act(Act::SignalAll {
        groups,
        signal: sig.0,
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
    let Some(group) = cx.vfs.group_of_directory(fd.as_fd()) else {
        return Ok(Plan::act(Act::Continue(RegistersOnly(
            "the target is behind a descriptor, and a guest",
        ))));
    };
    if flags.0 != 0 || info.0 != 0 {
        return Err(Errno::EINVAL);
    }
    // The number may be another's by now: then it was the guest's to know, and no guest is out of reach.
    if !cx.tasks.is_member(group) {
        return Err(Errno::ESRCH);
    }
    signal_all(vec![group], sig)
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

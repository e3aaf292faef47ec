//! Calls that name a process by number and ask the kernel about it.
//!
//! The filter lets 0 ("myself") through. Any other number must be a guest's: then the kernel may run
//! the call as it stands, because the number is in a register. Outsiders don't exist: ESRCH.

use super::args::{Clock, InBuf, Int, OutBuf, Pid, Ptr, UInt, ULong};
use super::plan::{Act, Cx, Errno, Plan, RegistersOnly};
use crate::sys;
use crate::task::{INIT, Names};

const BY_ID: RegistersOnly = RegistersOnly("the process is a number in a register, and a guest's");

fn member<'a>(cx: &Cx<'a>, id: i32) -> Result<Plan<'a>, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    if id == 0 || cx.tasks.is_member(id) {
        return Ok(Plan::act(Act::Continue(BY_ID)));
    }
    Err(Errno::ESRCH)
}

/// getpid(2).
pub fn getpid<'a>(cx: &Cx<'a>) -> Result<Plan<'a>, Errno> {
    Ok(Plan::value(cx.task.group.number.into()))
}

/// gettid(2).
pub fn gettid<'a>(cx: &Cx<'a>) -> Result<Plan<'a>, Errno> {
    Ok(Plan::value(cx.task.number.into()))
}

/// getppid(2).
pub fn getppid<'a>(cx: &Cx<'a>) -> Result<Plan<'a>, Errno> {
    let parent = sys::process::parent(cx.task.group.tgid)?;
    Ok(Plan::value(cx.tasks.told(parent, Names::Process).into()))
}

/// getpgrp(2).
pub fn getpgrp<'a>(cx: &Cx<'a>) -> Result<Plan<'a>, Errno> {
    getpgid(cx, Pid(0))
}

/// getpgid(2).
pub fn getpgid<'a>(cx: &Cx<'a>, pid: Pid) -> Result<Plan<'a>, Errno> {
    group_or_session(cx, pid.0, Names::Group)
}

/// getsid(2).
pub fn getsid<'a>(cx: &Cx<'a>, pid: Pid) -> Result<Plan<'a>, Errno> {
    group_or_session(cx, pid.0, Names::Session)
}

fn group_or_session<'a>(cx: &Cx<'a>, pid: i32, names: Names) -> Result<Plan<'a>, Errno> {
    if cx.tasks.is_init(pid) {
        return Ok(Plan::value(INIT.into()));
    }
    let host = match pid {
        0 => cx.task.group.tgid,
        number => cx.tasks.meant(number, Names::Thread),
    };
    if pid != 0 && !cx.tasks.is_member(host) {
        return Err(Errno::ESRCH);
    }
    let is = match names {
        Names::Session => sys::process::getsid(host)?,
        _ => sys::process::getpgid(host)?,
    };
    Ok(Plan::value(cx.tasks.told(is, names).into()))
}

/// setpgid(2). The group must be one that a guest leads, or the one the sandbox started in.
pub fn setpgid<'a>(cx: &Cx<'a>, pid: Pid, pgid: Pid) -> Result<Plan<'a>, Errno> {
    if pgid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let plan = member(cx, pid.0)?;
    let known = pgid.0 == 0
        || cx.tasks.is_member(pgid.0)
        || cx
            .tasks
            .all()
            .iter()
            .any(|t| sys::process::getpgid(t.group.tgid) == Ok(pgid.0));
    if known { Ok(plan) } else { Err(Errno::EPERM) }
}

/// sched_getparam(2).
pub fn sched_getparam<'a>(cx: &Cx<'a>, pid: Pid, _: OutBuf) -> Result<Plan<'a>, Errno> {
    member(cx, pid.0)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler<'a>(cx: &Cx<'a>, pid: Pid) -> Result<Plan<'a>, Errno> {
    member(cx, pid.0)
}

/// sched_rr_get_interval(2).
pub fn sched_rr_get_interval<'a>(cx: &Cx<'a>, pid: Pid, _: OutBuf) -> Result<Plan<'a>, Errno> {
    member(cx, pid.0)
}

/// sched_getaffinity(2).
pub fn sched_getaffinity<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    len: UInt,
    mask: OutBuf,
) -> Result<Plan<'a>, Errno> {
    Ok(Plan::act(Act::TellCpus {
        tid: super::others::one(cx, pid.0)?.tid,
        mask: mask.0,
        room: len.0 as usize,
    }))
}

/// sched_getattr(2).
pub fn sched_getattr<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    _: OutBuf,
    _: UInt,
    _: UInt,
) -> Result<Plan<'a>, Errno> {
    member(cx, pid.0)
}

/// get_robust_list(2).
pub fn get_robust_list<'a>(cx: &Cx<'a>, pid: Pid, _: OutBuf, _: OutBuf) -> Result<Plan<'a>, Errno> {
    member(cx, pid.0).map_err(|_| Errno::ESRCH)
}

/// getpriority(2), ioprio_get(2) of the group that sbox may be in, too.
const OWN_GROUP: RegistersOnly = RegistersOnly(
    "the caller's own group, by 0 or by its number in a register; asking changes nobody",
);

/// Of the three kinds of target a single process can be told to be ours, a group of guests alone, and the caller's own
/// group.
fn process_or_own_group<'a>(cx: &Cx<'a>, kind: i32, who: Int) -> Result<Plan<'a>, Errno> {
    match (kind, who.0) {
        (0, id) => member(cx, id).map_err(|_| Errno::ESRCH),
        (1, 0) => Ok(Plan::act(Act::Continue(OWN_GROUP))),
        (1, id) if id > 0 && super::signal::is_guests_own(cx, id)? => {
            Ok(Plan::act(Act::Continue(super::signal::GROUP_BY_ID)))
        }
        (1, id) if id > 0 && crate::sys::process::getpgid(cx.task.tid) == Ok(id) => {
            Ok(Plan::act(Act::Continue(OWN_GROUP)))
        }
        _ => Err(Errno::ESRCH),
    }
}

/// getpriority(2).
pub fn getpriority<'a>(cx: &Cx<'a>, which: Int, who: Int) -> Result<Plan<'a>, Errno> {
    process_or_own_group(cx, which.0, who)
}

/// ioprio_get(2), which counts the kinds from 1.
pub fn ioprio_get<'a>(cx: &Cx<'a>, which: Int, who: Int) -> Result<Plan<'a>, Errno> {
    process_or_own_group(cx, which.0.wrapping_sub(1), who)
}

/// A clock of a process or thread, whose number the clock id holds; clock_getcpuclockid(3).
fn clock<'a>(cx: &Cx<'a>, clock: Clock) -> Result<Plan<'a>, Errno> {
    // include/linux/posix-timers_types.h: ~pid << 3, and three bits that tell the kind; 3 in the
    // low bits is a clock behind a descriptor, which the guest holds anyway.
    let id = !(clock.0 >> 3);
    if clock.0 & 7 == 3 || id == 0 || cx.tasks.is_member(id) {
        return Ok(Plan::act(Act::Continue(RegistersOnly(
            "the clock id is in a register",
        ))));
    }
    Err(Errno::EINVAL)
}

/// clock_gettime(2).
pub fn clock_gettime<'a>(cx: &Cx<'a>, id: Clock, _: OutBuf) -> Result<Plan<'a>, Errno> {
    clock(cx, id)
}

/// clock_getres(2).
pub fn clock_getres<'a>(cx: &Cx<'a>, id: Clock, _: OutBuf) -> Result<Plan<'a>, Errno> {
    clock(cx, id)
}

/// clock_nanosleep(2).
pub fn clock_nanosleep<'a>(
    cx: &Cx<'a>,
    id: Clock,
    _: Int,
    _: InBuf,
    _: OutBuf,
) -> Result<Plan<'a>, Errno> {
    clock(cx, id)
}

/// timer_create(2).
pub fn timer_create<'a>(cx: &Cx<'a>, id: Clock, _: InBuf, _: OutBuf) -> Result<Plan<'a>, Errno> {
    clock(cx, id)
}

/// process_vm_readv(2), process_vm_writev(2) of the caller itself, by which programs look at memory that may not be there. Another
/// guest's memory takes the right to trace it (ptrace(2), "Ptrace access mode checking"), which no guest has.
fn own_memory<'a>(cx: &Cx<'a>, pid: Pid, flags: ULong) -> Result<Plan<'a>, Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    match cx.tasks.get(pid.0) {
        Some(task) if task.group.tgid == cx.task.group.tgid => Ok(Plan::act(Act::Continue(
            RegistersOnly("a thread of the caller's process, by a number in a register"),
        ))),
        Some(_) => Err(Errno::EPERM),
        None => Err(Errno::ESRCH),
    }
}

/// process_vm_readv(2).
pub fn process_vm_readv<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    _: Ptr,
    _: ULong,
    _: Ptr,
    _: ULong,
    flags: ULong,
) -> Result<Plan<'a>, Errno> {
    own_memory(cx, pid, flags)
}

/// process_vm_writev(2).
pub fn process_vm_writev<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    _: Ptr,
    _: ULong,
    _: Ptr,
    _: ULong,
    flags: ULong,
) -> Result<Plan<'a>, Errno> {
    own_memory(cx, pid, flags)
}

/// pidfd_open(2). sbox makes it: between look and call the kernel could take a while, and the number be another's by then.
pub fn pidfd_open<'a>(cx: &Cx<'a>, pid: Pid, flags: UInt) -> Result<Plan<'a>, Errno> {
    /// `PIDFD_NONBLOCK` (Linux 5.10) and `PIDFD_THREAD` (6.9).
    const KNOWN: i32 = libc::O_NONBLOCK | libc::O_EXCL;
    let flags = flags.0.cast_signed();
    if pid.0 <= 0 || flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let names = match flags & libc::O_EXCL {
        0 => Names::Process,
        _ => Names::Thread,
    };
    let tid = cx.tasks.meant(pid.0, names);
    if !cx.tasks.is_member(tid) {
        return Err(Errno::ESRCH);
    }
    let task = cx.tasks.get(tid);
    Ok(Plan::act(Act::OpenProcess { task, tid, flags }))
}

/// capget(2). Answered from our own call: the process is named in memory.
pub fn capget<'a>(cx: &Cx<'a>, header: Ptr, data: OutBuf) -> Result<Plan<'a>, Errno> {
    let bytes = cx.bytes(header.0, 8)?;
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    let version = u32::from_ne_bytes(word(0).ok_or(Errno::EFAULT)?);
    let pid = i32::from_ne_bytes(word(4).ok_or(Errno::EFAULT)?);
    // capget(2): version 1 has one word of each set, 2 and 3 have two; an unknown version is
    // answered with the preferred one.
    let words = match version {
        0x1998_0330 => 3,
        0x2007_1026 | 0x2008_0522 => 6,
        _ => {
            let preferred = cx.arena.alloc_slice_copy(&0x2008_0522u32.to_ne_bytes());
            cx.mem.write(header.0, preferred)?;
            return if data.0 == 0 {
                Ok(Plan::value(0))
            } else {
                Err(Errno::EINVAL)
            };
        }
    };
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let pid = cx.tasks.meant(pid, Names::Thread);
    if pid != 0 && !cx.tasks.is_member(pid) {
        return Err(Errno::ESRCH);
    }
    if data.0 == 0 {
        return Ok(Plan::value(0));
    }
    let sets = sys::process::capget(if pid == 0 { cx.task.tid } else { pid })?;
    let bytes: Vec<u8> = sets
        .iter()
        .take(words)
        .flat_map(|w| w.to_ne_bytes())
        .collect();
    Ok(Plan::write(data.0, cx.arena.alloc_slice_copy(&bytes), 0))
}

//! Calls that change a task which they name: limits, priorities, schedulers, CPUs. And kcmp(2), which compares two.
//!
//! Judging such a call and letting the kernel make it would not do. Some read memory before they look for the task, and a guest can
//! have that take half a second; by then the number may mean somebody outside, whom nothing else protects. So the supervisor makes
//! them, with the task held.

use super::args::{InBuf, Int, OutBuf, Pid, Ptr, UInt, ULong};
use super::plan::{Act, Comparison, Cx, Errno, Plan, TaskChange};
use super::signal::Reach;
use crate::sys;
use crate::task::{Names, Task};
use std::sync::Arc;

/// The living thread that a guest means. ESRCH also for one that has ended and waits for its parent: DIFFERS, the kernel lets
/// its limits be changed, to no effect.
pub(super) fn one(cx: &Cx<'_>, number: i32) -> Result<Arc<Task>, Errno> {
    if number == 0 {
        return cx.tasks.get(cx.task.tid).ok_or(Errno::ESRCH);
    }
    if cx.tasks.is_init(number) {
        return Err(Errno::EPERM);
    }
    let host = cx.tasks.meant(number, Names::Thread);
    cx.tasks.get(host).ok_or(Errno::ESRCH)
}

/// The threads of a process group, in which sbox must not be.
fn group<'a>(cx: &Cx<'a>, number: i32, change: TaskChange<'a>) -> Result<Plan<'a>, Errno> {
    let host = match number {
        0 => sys::process::getpgid(cx.task.tid)?,
        number => cx.tasks.meant(number, Names::Group),
    };
    if sys::process::getpgid(0)? == host {
        return Err(if number == 0 {
            Errno::EPERM
        } else {
            Errno::ESRCH
        });
    }
    let mut targets = cx.tasks.all();
    targets.retain(|task| sys::process::getpgid(task.group.tgid) == Ok(host));
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    Ok(Plan::act(Act::Change { targets, change }))
}

fn of_one<'a>(cx: &Cx<'a>, pid: i32, change: TaskChange<'a>) -> Result<Plan<'a>, Errno> {
    let targets = vec![one(cx, pid)?];
    Ok(Plan::act(Act::Change { targets, change }))
}

/// sched_setaffinity(2). What was narrowed by us must be given back first.
pub fn sched_setaffinity<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    len: UInt,
    mask: InBuf,
) -> Result<Plan<'a>, Errno> {
    // The kernel reads no more than it has CPUs, and takes what is missing for zeroes.
    let longest = sys::sched::LONGEST_CPU_MASK;
    let mask = cx.bytes_at_most(mask.0, (len.0 as usize).min(longest))?;
    of_one(cx, pid.0, TaskChange::Cpus(mask))
}

/// prlimit(2).
pub fn prlimit64<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    resource: UInt,
    new: InBuf,
    old: OutBuf,
) -> Result<Plan<'a>, Errno> {
    let new = match new.0 {
        0 => None,
        at => {
            let bytes = cx.bytes(at, 16)?;
            let word = |at: usize| {
                let word = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
                word.map(u64::from_ne_bytes).ok_or(Errno::EFAULT)
            };
            Some([word(0)?, word(8)?])
        }
    };
    let change = TaskChange::Limit {
        resource: resource.0,
        new,
        old: old.0,
    };
    // RLIMIT_CPU and others send signals to whoever comes to them.
    if new.is_some() && !Reach::of(cx).has(one(cx, pid.0)?.tid) {
        return Ok(Plan::act(Act::OutOfReach));
    }
    of_one(cx, pid.0, change)
}

/// struct sched_param: one int.
fn priority(cx: &Cx<'_>, param: InBuf) -> Result<i32, Errno> {
    if param.0 == 0 {
        return Err(Errno::EINVAL);
    }
    let bytes = cx.bytes(param.0, 4)?;
    let bytes = (&*bytes).try_into().map_err(|_| Errno::EFAULT)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// sched_setparam(2).
pub fn sched_setparam<'a>(cx: &Cx<'a>, pid: Pid, param: InBuf) -> Result<Plan<'a>, Errno> {
    if pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = priority(cx, param)?;
    of_one(cx, pid.0, TaskChange::Param(priority))
}

/// sched_setscheduler(2).
pub fn sched_setscheduler<'a>(
    cx: &Cx<'a>,
    pid: Pid,
    policy: Int,
    param: InBuf,
) -> Result<Plan<'a>, Errno> {
    if policy.0 < 0 || pid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let change = TaskChange::Scheduler {
        policy: policy.0,
        priority: priority(cx, param)?,
    };
    of_one(cx, pid.0, change)
}

/// The first `struct sched_attr` (`SCHED_ATTR_SIZE_VER0`), and what no kernel takes more than.
const ATTR_FIRST: usize = 48;
const ATTR_MOST: usize = 4096;

/// sched_setattr(2).
pub fn sched_setattr<'a>(cx: &Cx<'a>, pid: Pid, attr: Ptr, flags: UInt) -> Result<Plan<'a>, Errno> {
    if attr.0 == 0 || pid.0 < 0 || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let head = cx.bytes(attr.0, 4)?;
    let head = (&*head).try_into().map_err(|_| Errno::EFAULT)?;
    // The kernel looks at the size once more, in our copy: one too small or too large is its to refuse.
    let size = (u32::from_ne_bytes(head) as usize).clamp(ATTR_FIRST, ATTR_MOST);
    let change = TaskChange::Attr {
        attr: cx.bytes(attr.0, size)?,
        at: attr.0,
        flags: flags.0,
    };
    of_one(cx, pid.0, change)
}

/// Whom the two calls with `which` and `who` mean, the kinds counted from 0.
fn whom<'a>(cx: &Cx<'a>, kind: i32, who: Int, change: TaskChange<'a>) -> Result<Plan<'a>, Errno> {
    match kind {
        0 => of_one(cx, who.0, change),
        1 if who.0 >= 0 => group(cx, who.0, change),
        1 => Err(Errno::ESRCH),
        // All of a user's: most are outside.
        2 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// setpriority(2).
pub fn setpriority<'a>(cx: &Cx<'a>, which: Int, who: Int, nice: Int) -> Result<Plan<'a>, Errno> {
    whom(cx, which.0, who, TaskChange::Nice(nice.0))
}

/// ioprio_set(2), which counts the kinds from 1.
pub fn ioprio_set<'a>(cx: &Cx<'a>, which: Int, who: Int, priority: Int) -> Result<Plan<'a>, Errno> {
    whom(
        cx,
        which.0.wrapping_sub(1),
        who,
        TaskChange::IoPriority(priority.0),
    )
}

/// kcmp(2). Which of two kernel objects comes first is told in an order that the kernel has drawn; nothing of the host's is.
pub fn kcmp<'a>(
    cx: &Cx<'a>,
    first: Pid,
    second: Pid,
    kind: Int,
    first_index: ULong,
    second_index: ULong,
) -> Result<Plan<'a>, Errno> {
    const KCMP_EPOLL_TFD: i32 = 7;
    // Unlike most calls it has no 0 for the caller.
    let task = |pid: Pid| match pid.0 {
        ..=0 => Err(Errno::ESRCH),
        number => one(cx, number),
    };
    let targets = [task(first)?, task(second)?];
    // struct kcmp_epoll_slot
    let slot = match kind.0 {
        KCMP_EPOLL_TFD => Some(&*cx.bytes(second_index.0, 12)?),
        _ => None,
    };
    Ok(Plan::act(Act::Compare {
        targets,
        by: Comparison {
            kind: kind.0,
            indices: [first_index.0, second_index.0],
            slot,
        },
    }))
}

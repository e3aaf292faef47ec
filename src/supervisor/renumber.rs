//! Calls with numbers of processes in them, which only the guest itself can make: wait4(2), kill(2), setsid(2) …
//!
//! ```text
//! wait4(7) ─RET_TRACE─▶ stop: 7 is 23105 on the host; the register is changed
//!          ─▶ the kernel waits, as long as it takes
//!          ─▶ exit stop: 23105 is 7; the register gets its own value back, whatever the call came to
//! ```
//! So a call that is made again after a signal (`ERESTARTSYS`) is the guest's own once more. fork(2) and its like need the second
//! stop alone: when the tracer hears of the child, its maker is still in the call.
//!
//! What names nobody in the view becomes a number that nobody has, and the kernel answers. What lies in memory is changed in
//! place. Another thread can change it again before the kernel reads it: then it names another of the host's, which is for the kernel to
//! refuse, as it is where the view has the host's numbers. The calls in question (`TIOCSPGRP`, timer_create(2), capset(2))
//! reach nobody but the caller's session, or group.

use super::inject::Regs;
use super::service::Worker;
use super::{Shared, ears};
use crate::sys::Errno;
use crate::sys::process::{self as sp, SeccompStop};
use crate::syscall::numbers::{self, Given, Numbers, Returned, Sender, Sort, Told};
use crate::task::{GuestMem, Names, Registry, Task};
use nix::sys::ptrace;
use nix::unistd::Pid;
use std::sync::Arc;

/// What is to be done at the end of a call that is under way.
#[derive(Debug)]
pub(super) enum Pending {
    /// It has made a child, which has this number in the view.
    Birth(i32),
    /// It has numbers that must be told.
    Call(Call),
}

/// A call whose numbers were translated.
#[derive(Debug)]
pub(super) struct Call {
    nr: u32,
    /// The guest's own registers.
    args: [u64; 6],
    /// Where in memory a word was changed, and what it was.
    word: Option<(u64, [u8; 4])>,
}

/// What comes of a stop before the call.
enum Begun {
    /// This is the answer; the call isn't made.
    Answered(Result<i64, Errno>),
    /// The kernel makes it, and there is something to do at its end.
    Runs(Call),
    /// The kernel makes it, and there is nothing more to do.
    RunsAsItIs,
}

/// At the stop before a call. `judged`: whom it names is asked of the supervisor first. What is to be done at its end.
pub(super) fn at_stop(
    worker: &mut Worker<'_>,
    tasks: &Registry,
    task: &Arc<Task>,
    call: &SeccompStop,
    judged: bool,
) -> nix::Result<Option<Pending>> {
    match begin(worker, tasks, task, call, judged)? {
        Begun::Answered(result) => {
            let value = result.unwrap_or_else(|errno| -i64::from(errno as i32));
            answer(task.tid, value)?;
            Ok(None)
        }
        Begun::RunsAsItIs => sp::ptrace_resume(task.tid, false, 0).map(|()| None),
        Begun::Runs(call) => {
            sp::ptrace_resume(task.tid, true, 0)?;
            Ok(Some(Pending::Call(call)))
        }
    }
}

/// Answers a call at the stop before it.
pub(super) fn answer(tid: i32, value: i64) -> nix::Result<()> {
    let pid = Pid::from_raw(tid);
    let mut regs = ptrace::getregs(pid)?;
    regs.orig_rax = u64::MAX;
    regs.rax = value as u64;
    ptrace::setregs(pid, regs)?;
    sp::ptrace_resume(tid, false, 0)
}

fn begin(
    worker: &mut Worker<'_>,
    tasks: &Registry,
    task: &Arc<Task>,
    call: &SeccompStop,
    judged: bool,
) -> nix::Result<Begun> {
    let nr = call.nr as u32;
    let what = numbers::of(nr, &call.args);
    let mut args = call.args;
    let (mut names_init, mut process) = (false, 0);
    for &(register, sort) in what.registers {
        let Some(word) = args.get_mut(register) else {
            continue;
        };
        let given = *word as i32;
        // The last one says who is concerned.
        names_init = sort.names_init(given) && tasks.is_init(given);
        let meant = match sort {
            // tgkill(2): behind its process.
            Sort::Of(Names::Thread) if register == 1 && what.registers.len() == 2 => {
                sort.translate(given, |n, _| tasks.meant_in(n, process))
            }
            _ => sort.translate(given, |n, names| tasks.meant(n, names)),
        };
        process = meant;
        if meant != given {
            *word = i64::from(meant).cast_unsigned();
        }
    }
    if judged && let Some(answer) = worker.judge_numbers(task, nr, &args).transpose() {
        return Ok(Begun::Answered(match answer {
            Err(Errno::ESRCH) if names_init && what.guards_init => Err(Errno::EPERM),
            answer => answer,
        }));
    }
    let word = match what.given {
        None => None,
        Some(given) => match give(tasks, task, &call.args, given) {
            Ok(word) => word,
            Err(errno) => return Ok(Begun::Answered(Err(errno))),
        },
    };
    let changed = args != call.args;
    if changed {
        set_arguments(task.tid, &args)?;
    }
    let hears = what.ends
        && (!ears::READS.contains(&i64::from(nr)) || ears::is_read_of_signals(task, &call.args));
    let ends = changed || word.is_some() || what.told.is_some() || hears;
    Ok(if ends || what.returned != Returned::Nothing {
        let args = call.args;
        Begun::Runs(Call { nr, args, word })
    } else {
        Begun::RunsAsItIs
    })
}

fn set_arguments(tid: i32, args: &[u64; 6]) -> nix::Result<()> {
    let pid = Pid::from_raw(tid);
    let mut regs = ptrace::getregs(pid)?;
    put(&mut regs, args);
    ptrace::setregs(pid, regs)
}

/// Arguments of a system call, syscall(2).
fn put(regs: &mut Regs, args: &[u64; 6]) {
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = *args;
}

/// Changes the word in memory that the kernel will read. Where it lies and what it was, if it was changed.
fn give(
    tasks: &Registry,
    task: &Task,
    args: &[u64; 6],
    given: Given,
) -> Result<Option<(u64, [u8; 4])>, Errno> {
    let mm = task.group.mm();
    let (register, behind) = given.at;
    let at = args.get(register).copied().unwrap_or(0);
    let read = |behind: u64| -> Option<[u8; 4]> {
        let mut word = [0; 4];
        let whole = mm.read(at.checked_add(behind)?, &mut word) == Ok(word.len());
        whole.then_some(word)
    };
    // What can't be read the kernel can't read either: EFAULT is its to say, in its order.
    if let Some((behind, value)) = given.only_if
        && read(behind).map(i32::from_ne_bytes) != Some(value)
    {
        return Ok(None);
    }
    let Some(was) = read(behind) else {
        return Ok(None);
    };
    let number = i32::from_ne_bytes(was);
    let is = tasks.meant(number, given.names).to_ne_bytes();
    if is == was {
        return Ok(None);
    }
    let at = at.wrapping_add(behind);
    mm.write(at, &is)?;
    Ok(Some((at, was)))
}

/// At the end of the call: every register and word is the guest's own again, and what the kernel tells is told.
pub(super) fn end(shared: &Shared, task: &Task, pending: &Pending) -> nix::Result<()> {
    let tasks = &shared.tasks;
    let pid = Pid::from_raw(task.tid);
    let mut regs = ptrace::getregs(pid)?;
    let result = regs.rax as i64;
    match pending {
        Pending::Birth(number) if result > 0 => regs.rax = *number as u64,
        Pending::Birth(_) => return Ok(()),
        Pending::Call(call) => {
            put(&mut regs, &call.args);
            let what = numbers::of(call.nr, &call.args);
            let mm = task.group.mm();
            if let Some((at, was)) = call.word {
                // If it is gone by now, nobody misses it.
                let _ = mm.write(at, &was);
            }
            // A filter of the guest's own, which sees the call again with the numbers that we have put there, makes it a
            // signal: then the number of the call is where its result would be, and nothing was told.
            if result == i64::from(call.nr) && sp::is_trapped(task.tid) {
                return ptrace::setregs(pid, regs);
            }
            regs.rax = returned(tasks, what, result) as u64;
            let nr = i64::from(call.nr);
            if ears::READS.contains(&nr) && result > 0 {
                // The same.
                let _ = ears::tell(tasks, &*mm, nr, &call.args, result as usize);
            }
            if [libc::SYS_signalfd, libc::SYS_signalfd4].contains(&nr) && result >= 0 {
                regs.rax = ears::listen(task, &regs, result as i32) as u64;
            }
            if let Some(told) = what.told
                && result >= 0
            {
                // The same.
                let _ = tell(tasks, &*mm, &call.args, told);
            }
        }
    }
    ptrace::setregs(pid, regs)
}

fn returned(tasks: &Registry, what: Numbers, result: i64) -> i64 {
    let told = |n, names| tasks.told(n, names);
    match what.returned {
        Returned::Owner => numbers::tell_owner_returned(result, told),
        Returned::Child if result > 0 => tasks.told_child(result as i32).into(),
        Returned::Caller if result > 0 => told(result as i32, Names::Process).into(),
        _ => result,
    }
}

/// Changes what the kernel has written. Until then another thread of the guest could see the host's number.
fn tell(tasks: &Registry, mem: &dyn GuestMem, args: &[u64; 6], told: Told) -> Result<(), Errno> {
    let names = |n, names| tasks.told(n, names);
    let (register, room) = match told {
        Told::Word(register, _) => (register, 4),
        Told::Signal(register) => (register, numbers::SIGNAL_HEAD),
        Told::Lock(register) => (register, numbers::LOCK),
        Told::Owner(register) => (register, numbers::OWNER),
        Told::PidInfo(register) => (register, numbers::PID_INFO),
    };
    let at = args.get(register).copied().unwrap_or(0);
    let mut bytes = [0u8; numbers::LOCK]; // the longest, as PID_INFO is
    let bytes = bytes.get_mut(..room).ok_or(Errno::EFAULT)?;
    if at == 0 || mem.read(at, bytes)? != room {
        return Ok(());
    }
    let changed = match told {
        Told::Word(_, sort) => match bytes.first_chunk_mut() {
            Some(word) => {
                let is = sort
                    .translate(i32::from_ne_bytes(*word), names)
                    .to_ne_bytes();
                std::mem::replace(word, is) != is
            }
            None => false,
        },
        Told::Signal(_) => numbers::tell_signal(bytes, |pid, who| sender(tasks, pid, who)),
        Told::Lock(_) => numbers::tell_lock(bytes, names),
        Told::Owner(_) => numbers::tell_owner(bytes, names),
        Told::PidInfo(_) => numbers::tell_pid_info(bytes, names),
    };
    if changed {
        mem.write(at, bytes)?;
    }
    Ok(())
}

pub(super) fn sender(tasks: &Registry, pid: i32, who: Sender) -> i32 {
    match who {
        Sender::Child => tasks.told_child(pid),
        Sender::Anybody => tasks.told(pid, Names::Process),
    }
}

/// At the stop for a signal: tells who has sent it.
pub(super) fn tell_sender(tasks: &Registry, tid: i32) -> nix::Result<()> {
    let mut info = sp::ptrace_signal_info(tid)?;
    if numbers::tell_signal(&mut info, |pid, who| sender(tasks, pid, who)) {
        sp::ptrace_set_signal_info(tid, &info)?;
    }
    Ok(())
}

/// At the end of recvmsg(2): tells who has sent, in the control messages that a `struct msghdr` leads to.
pub(super) fn tell_credentials(
    tasks: &Registry,
    mem: &dyn GuestMem,
    header: u64,
) -> Result<(), Errno> {
    let word = |at: u64| -> Result<u64, Errno> {
        let mut word = [0; 8];
        match mem.read(at, &mut word)? {
            8 => Ok(u64::from_ne_bytes(word)),
            _ => Err(Errno::EFAULT),
        }
    };
    // struct msghdr: msg_control and msg_controllen. What a socket brings is not longer than what it may hold.
    let control = word(header.wrapping_add(32))?;
    let room = usize::try_from(word(header.wrapping_add(40))?.min(1 << 16)).unwrap_or(0);
    let mut bytes = vec![0; room];
    let n = mem.read(control, &mut bytes)?;
    bytes.truncate(n);
    for at in numbers::credentials(&bytes) {
        let Some(word) = bytes.get(at..).and_then(|b| b.first_chunk()) else {
            break;
        };
        let told = tasks.told(i32::from_ne_bytes(*word), Names::Process);
        mem.write(control.wrapping_add(at as u64), &told.to_ne_bytes())?;
    }
    Ok(())
}

//! Exec, by one thread of a guest, as the tracer sees it.
//!
//! The usual one, of a program that the kernel finds by the guest's own
//! path:
//! ```text
//! execve ─RET_TRACE─▶ stop: resolved in the view, judged (Running, or the errno)
//! ─▶ exec stop, before the first new instruction: the loaded files are the approved ones, or death
//! ```
//! Scripts, relative paths, and whatever lies elsewhere in the view than on the host:
//! ```text
//! execve ─RET_TRACE─▶ stop 1: the number becomes EXEC_PRIVATE ──▶ notification: a worker resolves,
//!    asks the policy, puts the program's descriptor into the guest, answers 0 (Approved)
//! ─▶ exit stop: registers become execveat(slot, "", argv, envp, AT_EMPTY_PATH), back to `syscall`
//! ─RET_TRACE─▶ stop 2: exactly these registers? then on (Running)
//! ─▶ exec stop, before the first new instruction: the loaded files are the approved ones, or death
//! ```
//!
//! Between the stops the guest may do anything: run signal handlers, start another exec, rewrite
//! the empty string or replace the descriptor from another thread. Whatever it does, what runs in
//! the end has been compared with what was approved.

use super::filter::EXEC_PRIVATE;
use super::inject::{self, Regs, SYSCALL_BYTES, inject};
use super::tracer::{Tracer, refuse};
use super::{stack, verify};
use crate::sys::Errno;
use crate::sys::process::{self as sp, SeccompStop};
use crate::task::{Argv, Exe, ExecPlan, ExecState, Task};
use nix::sys::ptrace;
use nix::unistd::Pid;

impl Tracer<'_> {
    /// At the stop before the call, for the first or second time.
    pub(super) fn exec_begins(
        &mut self,
        task: &std::sync::Arc<Task>,
        call: &SeccompStop,
    ) -> nix::Result<()> {
        let tid = task.tid;
        let state = std::mem::take(&mut *task.exec());
        if matches!(&state, ExecState::Running(plan) if is_second_round(call, plan)) {
            *task.exec() = state;
            // To the exec stop if it succeeds, to the exit stop if not.
            return sp::ptrace_resume(tid, true, 0);
        }
        // What else was under way has been overtaken, by a signal handler perhaps.
        if !matches!(state, ExecState::Again) {
            match self.worker.judge_exec(task, call.nr as u32, &call.args) {
                Err(errno) => return refuse(tid, errno),
                Ok(Some(plan)) => {
                    *task.exec() = ExecState::Running(plan);
                    return sp::ptrace_resume(tid, true, 0);
                }
                Ok(None) => {}
            }
        }
        *task.exec() = ExecState::Asked(call.nr as u32);
        let pid = Pid::from_raw(tid);
        let mut regs = ptrace::getregs(pid)?;
        regs.orig_rax = u64::from(EXEC_PRIVATE);
        ptrace::setregs(pid, regs)?;
        sp::ptrace_resume(tid, true, 0)
    }

    /// The end of the private notification, or of an exec that failed.
    pub(super) fn exec_ends(&self, task: &Task, mut regs: Regs) -> nix::Result<()> {
        let (tid, pid) = (task.tid, Pid::from_raw(task.tid));
        let state = std::mem::take(&mut *task.exec());
        match state {
            ExecState::Idle | ExecState::Again => {}
            ExecState::Asked(nr) => {
                // Refused, or interrupted before anybody saw it: the kernel's restart logic must
                // find the guest's own number.
                regs.orig_rax = u64::from(nr);
                ptrace::setregs(pid, regs)?;
            }
            // The program runs either way; only ps(1) would show the interpreter's name.
            ExecState::Naming(name) => drop(inject::set_name(tid, &regs, &name)),
            ExecState::Approved(plan) => return self.second_round(task, regs, plan),
            ExecState::Running(plan) if plan.by_path.is_some() => {
                // What the kernel says of a path of the host is not for the guest, be it that another
                // thread has put a path of its own there, or that the file has just gone: the call is
                // made again, and then by descriptor.
                *task.exec() = ExecState::Again;
                regs.rip -= SYSCALL_BYTES;
                regs.rax = regs.orig_rax;
                regs.orig_rax = u64::MAX;
                ptrace::setregs(pid, regs)?;
            }
            ExecState::Running(plan) => {
                // An approved descriptor has no path: another thread has put one there, to learn
                // what the host has at it.
                if is_walk_error(regs.rax) {
                    return sp::tgkill_any(tid, libc::SIGKILL);
                }
                let result = hide_path_errors(regs.rax);
                // The kernel has begun to load it, and could not: the old program is gone, and a SIGSEGV waits.
                if !inject::is_at_call(tid, &regs) {
                    regs.rax = result;
                    regs.orig_rax = u64::MAX;
                    ptrace::setregs(pid, regs)?;
                    return sp::ptrace_resume(tid, false, 0);
                }
                // The descriptor was close-on-exec, and there was no exec.
                let closed = [plan.slot as u64, 0, 0, 0, 0, 0];
                inject(
                    tid,
                    &regs,
                    regs.rip - SYSCALL_BYTES,
                    libc::SYS_close,
                    closed,
                )?;
                regs.rax = result;
                regs.orig_rax = u64::MAX;
                ptrace::setregs(pid, regs)?;
            }
        }
        sp::ptrace_resume(tid, false, 0)
    }

    /// Turns the approved exec into execveat(2) of the injected descriptor, back at the `syscall`
    /// instruction.
    fn second_round(&self, task: &Task, mut regs: Regs, plan: Box<ExecPlan>) -> nix::Result<()> {
        let pid = Pid::from_raw(task.tid);
        let argv = match &plan.argv {
            Argv::Guest(at) => Ok(*at),
            Argv::Script { first, rest } => inject::place_arguments(task, &regs, first, *rest),
        };
        let argv = match argv {
            Ok(argv) => argv,
            Err(errno) => {
                inject(
                    task.tid,
                    &regs,
                    regs.rip - SYSCALL_BYTES,
                    libc::SYS_close,
                    [plan.slot as u64, 0, 0, 0, 0, 0],
                )?;
                regs.rax = -i64::from(errno as i32) as u64;
                regs.orig_rax = u64::MAX;
                ptrace::setregs(pid, regs)?;
                return sp::ptrace_resume(task.tid, false, 0);
            }
        };
        regs.rip -= SYSCALL_BYTES;
        regs.rax = libc::SYS_execveat as u64;
        regs.orig_rax = u64::MAX; // no restart logic: this is a fresh call
        regs.rdi = plan.slot as u64;
        regs.rsi = plan.empty_at;
        regs.rdx = argv;
        regs.r10 = plan.envp;
        regs.r8 = libc::AT_EMPTY_PATH as u64;
        *task.exec() = ExecState::Running(plan);
        ptrace::setregs(pid, regs)?;
        sp::ptrace_resume(task.tid, false, 0)
    }

    /// A new program stands ready, its first instruction not yet run.
    pub(super) fn at_exec(&mut self, tid: i32) -> nix::Result<()> {
        let pid = Pid::from_raw(tid);
        let old = ptrace::getevent(pid).or_else(|errno| {
            if errno != Errno::ESRCH {
                return Err(errno);
            }
            // A thread that has taken its leader's id says nothing until its stop is consumed
            // (kernel/ptrace.c, looks_like_a_spurious_pid).
            sp::take_stop(tid)?;
            ptrace::getevent(pid)
        })? as i32;
        let Some(task) = self.shared.tasks.become_leader(old, tid) else {
            return sp::tgkill_any(tid, libc::SIGKILL);
        };
        // The other threads are gone, and with them what they were about to report.
        self.drop_orphans();
        self.pending.remove(&old);
        self.pending.remove(&tid);
        let state = std::mem::take(&mut *task.exec());
        let verdict = match &state {
            ExecState::Running(plan) => verify::loaded_as_planned(tid, plan),
            _ => Err("exec without approval"),
        };
        match (verdict, state) {
            (Ok(()), ExecState::Running(plan)) => {
                if let Some(log) = &self.shared.log {
                    log.event(task.number, &format!("exec {}", plan.exe.escape_ascii()));
                }
                let within = task.group.within().and(plan.within);
                let world = self.shared.worlds.within(within);
                if world.is_none_or(|world| world.calls.need_the_kernel()) {
                    // Without it the program's clock would be what the kernel has put into its memory.
                    stack::withdraw_vdso(tid, ptrace::getregs(pid)?.rsp)?;
                }
                if plan.by_path.is_none() {
                    let mut regs = ptrace::getregs(pid)?;
                    // Where there is no room the program finds a name of the kernel's making.
                    if stack::name_program(tid, &mut regs, &plan.asked).is_ok() {
                        ptrace::setregs(pid, regs)?;
                    }
                }
                let named =
                    plan.by_path.is_some() || plan.comm == plan.file_name && self.named_by_file;
                let exe = Exe {
                    text: plan.exe,
                    image: plan.image,
                };
                task.exec_done(exe, plan.within);
                if !named {
                    // To the end of the call, where a call of ours can set the name.
                    *task.exec() = ExecState::Naming(plan.comm);
                }
                sp::ptrace_resume(tid, !named, 0)
            }
            (why, _) => {
                // Another thread has raced the call to load something else. Nothing of it ran.
                if let (Some(log), Err(why)) = (&self.shared.log, why) {
                    log.event(task.number, &format!("killed: {why}"));
                }
                sp::tgkill_any(tid, libc::SIGKILL)
            }
        }
    }
}

/// The registers that [`Tracer::second_round`] has set. A guest that makes this call by its own hand
/// gets no further than the comparison at the exec stop.
fn is_second_round(call: &SeccompStop, plan: &ExecPlan) -> bool {
    let [slot, path, _, _, flags, _] = call.args;
    plan.by_path.is_none()
        && call.nr == libc::SYS_execveat as u64
        && slot == plan.slot as u64
        && path == plan.empty_at
        && flags == libc::AT_EMPTY_PATH as u64
}

/// True for errors that only a path walk gives.
fn is_walk_error(rax: u64) -> bool {
    let errno = Errno::from_raw(-(rax as i64) as i32);
    matches!(
        errno,
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG
    )
}

/// The errno of a second round that failed. Errors of a path walk can't come from an empty path:
/// another thread has put a path there, and must not learn what the host has at it.
fn hide_path_errors(rax: u64) -> u64 {
    let errno = Errno::from_raw(-(rax as i64) as i32);
    match errno {
        Errno::EPERM | Errno::EBADF | Errno::EISDIR | Errno::EINVAL => {
            -i64::from(libc::EACCES) as u64
        }
        _ => rax,
    }
}

pub(super) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let Ok(name) = nix::sys::utsname::uname() else {
        return false;
    };
    let release = name.release().to_string_lossy().into_owned();
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|p| p.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_would_tell_of_the_host_are_hidden() {
        let raw = |e: Errno| -i64::from(e as i32) as u64;
        for (seen, told) in [
            (Errno::EPERM, Errno::EACCES),
            (Errno::EISDIR, Errno::EACCES),
            (Errno::EACCES, Errno::EACCES),
            (Errno::E2BIG, Errno::E2BIG),
            (Errno::ETXTBSY, Errno::ETXTBSY),
            (Errno::ENOMEM, Errno::ENOMEM),
        ] {
            assert_eq!(hide_path_errors(raw(seen)), raw(told), "{seen}");
        }
    }
}

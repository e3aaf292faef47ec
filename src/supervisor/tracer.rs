//! The tracer: the one thread that owns every guest as ptrace(2) wants it.
//!
//! It is attached for what registers are needed for: exec, the order of birth, signal repair, and
//! death. It does no file I/O on behalf of guests and waits for none of them in particular.
//!
//! Exec, by one thread of a guest. The usual one, of a program that the kernel finds by the guest's own
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
//! Calls with numbers of processes in them: `supervisor::renumber`.
//!
//! Between the stops the guest may do anything: run signal handlers, start another exec, rewrite
//! the empty string or replace the descriptor from another thread. Whatever it does, what runs in
//! the end has been compared with what was approved.

use super::cpus;
use super::filter::{
    EXEC_PRIVATE, EXEC_TRACE_DATA, GUARD_TRACE_DATA, GUARDED, NUMBERS_TRACE_DATA, guarded_number,
};
use super::inject::{self, Regs, SYSCALL_BYTES, inject};
use super::renumber::{self, Pending};
use super::service::Worker;
use super::{Outcome, Shared, stack, verify};
use super::{ears, guard};
use crate::sys::Errno;
use crate::sys::process::{self as sp, SeccompStop, Stop, Waited};
use crate::syscall::table::{self, Mechanism};
use crate::task::{Argv, Errand, Exe, ExecPlan, ExecState, Kinship, Registry, Task};
use nix::sys::ptrace;
use nix::unistd::Pid;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// ERESTARTSYS and ERESTARTNOINTR, include/linux/errno.h: "restart, unless a handler runs that
/// wants EINTR" and "restart in any case".
const ERESTARTSYS: u64 = -512i64 as u64;
const ERESTARTNOINTR: u64 = -513i64 as u64;

pub(super) struct Tracer<'s> {
    shared: &'s Arc<Shared>,
    worker: Worker<'s>,
    cpus: cpus::Watch<'s>,
    first: i32,
    /// Whose child is made by the first guest with `CLONE_PARENT`: ours, or the terminal's attendant's.
    parents: [i32; 2],
    /// Children whose first stop came before their parent's event, and when: they wait for their task entry.
    early: HashMap<i32, Instant>,
    /// What is to be done at the end of calls that are under way: their numbers are translated.
    pending: HashMap<i32, Pending>,
    /// The first program has ended: everything that is left or still being born is killed.
    ending: bool,
    outcome: Option<Outcome>,
    /// The kernel calls a program executed by descriptor after its file, not "3" (Linux 6.14).
    named_by_file: bool,
}

impl<'s> Tracer<'s> {
    pub(super) fn new(shared: &'s Arc<Shared>, first: i32) -> Self {
        Self {
            shared,
            worker: Worker::new(shared),
            cpus: cpus::Watch::new(&shared.cpus),
            first,
            parents: [std::process::id().cast_signed(), attendant(shared)],
            early: HashMap::new(),
            pending: HashMap::new(),
            ending: false,
            outcome: None,
            named_by_file: kernel_is_at_least(6, 14),
        }
    }

    /// Serves stops until no guest is left. How the first program ended.
    pub(super) fn run(mut self) -> Option<Outcome> {
        loop {
            self.shared.tracer.serve();
            self.cpus.look();
            self.end_terminal();
            // Usually the parent's event is there already.
            match sp::wait_peek(self.early.is_empty()) {
                Ok(None) if self.early.values().any(|since| since.elapsed() < PAUSE) => {
                    std::thread::yield_now();
                }
                Ok(None) => {
                    std::thread::sleep(PAUSE);
                    self.drop_orphans();
                }
                Ok(Some(Waited { tid, stop: None })) => {
                    // No worker may be using this id when it becomes free.
                    self.shared.tasks.remove(tid);
                    if let Ok(status) = sp::wait_take(tid) {
                        self.died(tid, status);
                    }
                }
                Ok(Some(Waited {
                    tid,
                    stop: Some(stop),
                })) => {
                    let start = self.shared.stats.as_ref().map(|_| Instant::now());
                    match self.stopped(tid, stop) {
                        // ESRCH means that it was killed in its stop: it will be reaped.
                        Ok(()) | Err(Errno::ESRCH) => {}
                        // A guest that can't be handled must not go on, nor stop the others.
                        Err(_) => drop(sp::tgkill_any(tid, libc::SIGKILL)),
                    }
                    if let (Some(stats), Some(start)) = (&self.shared.stats, start) {
                        stats.stopped(start.elapsed());
                    }
                }
                Err(Errno::EINTR) => {}
                // ECHILD: nobody is left.
                Err(_) => return self.outcome,
            }
        }
    }

    /// When no guest is left that could write, the terminal's attendant goes: until then it is a child to wait for.
    fn end_terminal(&self) {
        if let Some(terminal) = &self.shared.terminal
            && self.ending
            && self.early.is_empty()
            && self.shared.tasks.all().is_empty()
        {
            terminal.finish();
        }
    }

    fn died(&mut self, tid: i32, status: i32) {
        self.early.remove(&tid);
        self.pending.remove(&tid);
        self.drop_orphans();
        if tid != self.first {
            return;
        }
        self.outcome = Some(if libc::WIFSIGNALED(status) {
            Outcome::Signaled(libc::WTERMSIG(status))
        } else {
            Outcome::Exited(libc::WEXITSTATUS(status))
        });
        // The run ends with the first program: what is left has nobody to work for.
        self.ending = true;
        for task in self.shared.tasks.all() {
            kill(&task);
        }
        for child in std::mem::take(&mut self.early).into_keys() {
            // ESRCH: it is dead already.
            let _ = sp::tgkill_any(child, libc::SIGKILL);
        }
    }

    /// Kills children that nobody will report any more, as if they had died in time: whoever makes one and is
    /// killed before its event makes none, and nobody else would ever let the child go.
    fn drop_orphans(&mut self) {
        let (tasks, parents) = (&self.shared.tasks, self.parents);
        self.early.retain(|&child, since| {
            // A maker, a living guest, tells in microseconds. The parent is not always the one who made it (`CLONE_PARENT`).
            let waits = since.elapsed() < PATIENCE
                && maker_of(child)
                    .is_some_and(|tgid| since.elapsed() < patience_with(tgid, parents, tasks));
            if !waits {
                // ESRCH: it is dead already.
                let _ = sp::tgkill_any(child, libc::SIGKILL);
            }
            waits
        });
    }

    fn stopped(&mut self, tid: i32, stop: Stop) -> nix::Result<()> {
        let Stop { signal, event } = stop;
        if tid == attendant(self.shared) {
            // By somebody outside, who will continue it.
            return sp::take_stop(tid);
        }
        if self.ending {
            sp::tgkill_any(tid, libc::SIGKILL)?;
            return Ok(());
        }
        match event {
            libc::PTRACE_EVENT_SECCOMP => self.at_seccomp(tid),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.at_birth(tid)
            }
            libc::PTRACE_EVENT_EXEC => self.at_exec(tid),
            libc::PTRACE_EVENT_EXIT => {
                self.count_io(tid);
                sp::ptrace_resume(tid, false, 0)
            }
            libc::PTRACE_EVENT_STOP => self.at_event_stop(tid, signal),
            _ if signal == libc::SIGTRAP | 0x80 => self.at_syscall_exit(tid),
            _ => self.at_signal(tid, signal),
        }
    }

    /// A new child's first stop, an interrupt that was asked for, or a group stop.
    fn at_event_stop(&mut self, tid: i32, signal: i32) -> nix::Result<()> {
        if self.shared.tasks.get(tid).is_none() {
            self.early.insert(tid, Instant::now());
            // It stays in this stop, which must not be seen again.
            return sp::take_stop(tid);
        }
        let stopped =
            [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
        if let Some(terminal) = &self.shared.terminal
            && stopped
            && tid == self.first
        {
            terminal.first_stopped(signal);
        }
        if let Some(task) = self.shared.tasks.get(tid) {
            match task.take_errand() {
                Some(Errand::Take(handover)) => inject::take_descriptor(tid, handover)?,
                Some(Errand::Guard) => guard::put(self.shared, &task)?,
                None => {}
            }
        }
        if stopped {
            // ptrace(2), "Group-stop": it stays stopped, and SIGCONT will report again.
            return sp::ptrace_listen(tid);
        }
        sp::ptrace_resume(tid, false, 0)
    }

    /// fork, vfork or clone has made a child. Whichever of this event and the child's first stop
    /// comes second lets the child go: it makes no call before its task entry exists.
    fn at_birth(&mut self, tid: i32) -> nix::Result<()> {
        let child = ptrace::getevent(Pid::from_raw(tid))? as i32;
        let regs = ptrace::getregs(Pid::from_raw(tid))?;
        let flags = match regs.orig_rax as i64 {
            libc::SYS_clone => regs.rdi,
            libc::SYS_vfork => libc::CLONE_VM as u64,
            _ => 0,
        };
        let has = |flag: i32| flags & flag as u64 != 0;
        let mut kin = Kinship {
            thread: has(libc::CLONE_THREAD),
            fs: has(libc::CLONE_FS),
            files: has(libc::CLONE_FILES),
            memory: has(libc::CLONE_VM),
            guarded: 0,
        };
        if let Some(maker) = self.shared.tasks.get(tid) {
            let filters = maker.group.guarded();
            if filters != 0 && !kin.thread {
                // It may have been born just before its maker was guarded.
                if guard::filters(child).is_ok_and(|count| count >= filters) {
                    kin.guarded = filters;
                } else if kin.files {
                    // It would have its maker's sockets without the guard. ESRCH: it is dead already.
                    let _ = sp::tgkill_any(child, libc::SIGKILL);
                }
            }
            let child = self.shared.tasks.add_child(&maker, child, kin);
            if self.shared.tasks.renumbers() {
                // Whoever had the number before may have ended unseen, in an exec.
                self.pending.remove(&child.tid);
                self.pending.insert(tid, Pending::Birth(child.number));
            }
            self.cpus.birth(tid, child.tid);
        }
        if let Some(stats) = &self.shared.stats {
            stats.new_task();
        }
        if self.early.remove(&child).is_some() {
            // It may have been killed meanwhile.
            let _ = sp::ptrace_resume(child, false, 0);
        }
        sp::ptrace_resume(tid, self.pending.contains_key(&tid), 0)
    }

    /// A call that the filter hands to the tracer: exec, first or second time round.
    fn at_seccomp(&mut self, tid: i32) -> nix::Result<()> {
        let Some(task) = self.shared.tasks.get(tid) else {
            return sp::ptrace_resume(tid, false, 0);
        };
        let call = sp::seccomp_stop(tid)?;
        let nr = call.nr as u32;
        // The number, too: a filter of the guest's own may say the same word about any other.
        if call.data == u32::from(GUARD_TRACE_DATA) && GUARDED.contains(&nr) {
            return guard::at_stop(&task, nr, &call.args);
        }
        if call.data == u32::from(NUMBERS_TRACE_DATA)
            && self.shared.tasks.renumbers()
            && let Some(judged) = table::row(nr)
                .and_then(|row| row.is_renumbered(self.shared.net, &call.args))
                .or_else(|| ears::may_hear(&task, call.nr as i64).then_some(false))
        {
            let pending =
                renumber::at_stop(&mut self.worker, &self.shared.tasks, &task, &call, judged)?;
            self.pending.extend(pending.map(|pending| (tid, pending)));
            return Ok(());
        }
        let is_exec = [libc::SYS_execve, libc::SYS_execveat].contains(&(call.nr as i64));
        if call.data != u32::from(EXEC_TRACE_DATA) || !is_exec {
            // A filter of the guest's own that wants a tracer which the guest hasn't got: ENOSYS,
            // as the kernel answers without a tracer (seccomp(2), SECCOMP_RET_TRACE).
            return refuse(tid, Errno::ENOSYS);
        }
        let state = std::mem::take(&mut *task.exec());
        if matches!(&state, ExecState::Running(plan) if is_second_round(&call, plan)) {
            *task.exec() = state;
            // To the exec stop if it succeeds, to the exit stop if not.
            return sp::ptrace_resume(tid, true, 0);
        }
        // What else was under way has been overtaken, by a signal handler perhaps.
        if !matches!(state, ExecState::Again) {
            match self.worker.judge_exec(&task, call.nr as u32, &call.args) {
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

    /// The end of a call whose numbers are translated, of the private notification, or of a second round that failed.
    fn at_syscall_exit(&mut self, tid: i32) -> nix::Result<()> {
        let pid = Pid::from_raw(tid);
        let Some(task) = self.shared.tasks.get(tid) else {
            return sp::ptrace_resume(tid, false, 0);
        };
        if let Some(pending) = self.pending.remove(&tid) {
            renumber::end(self.shared, &task, &pending)?;
            return sp::ptrace_resume(tid, false, 0);
        }
        let mut regs = ptrace::getregs(pid)?;
        let receipts = task.take_receipts();
        guard::at_end(self.shared, &task, &receipts, regs.rax as i64);
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
            ExecState::Approved(plan) => return self.second_round(&task, regs, plan),
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
    fn at_exec(&mut self, tid: i32) -> nix::Result<()> {
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
                if plan.by_path.is_none() {
                    let mut regs = ptrace::getregs(pid)?;
                    // Where there is no room the program finds a name of the kernel's making.
                    if stack::name_program(tid, &mut regs, &plan.asked).is_ok() {
                        ptrace::setregs(pid, regs)?;
                    }
                }
                let named =
                    plan.by_path.is_some() || plan.comm == plan.file_name && self.named_by_file;
                task.exec_done(Exe {
                    text: plan.exe,
                    image: plan.image,
                });
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

    /// A signal on its way to a guest. A caught call that was interrupted before we received it
    /// had not begun: it is started again after the handler, whatever the handler's flags say,
    /// as if the signal had come a moment earlier.
    fn at_signal(&mut self, tid: i32, signal: i32) -> nix::Result<()> {
        let pid = Pid::from_raw(tid);
        let mut regs = ptrace::getregs(pid)?;
        if regs.rax == ERESTARTSYS && (regs.orig_rax as i64) >= 0 {
            let meant = self
                .shared
                .tasks
                .get(tid)
                .is_some_and(|t| t.take_restarting());
            if !meant && self.was_notified(&regs) {
                regs.rax = ERESTARTNOINTR;
                ptrace::setregs(pid, regs)?;
            }
        }
        if self.shared.tasks.renumbers() {
            renumber::tell_sender(&self.shared.tasks, tid)?;
        }
        sp::ptrace_resume(tid, false, signal)
    }

    fn was_notified(&self, regs: &Regs) -> bool {
        if guarded_number(regs.orig_rax as u32).is_some() {
            return true;
        }
        let Some(row) = table::row(regs.orig_rax as u32) else {
            return false;
        };
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        matches!(row.mechanism, Mechanism::Trace)
            || row.is_notified(self.shared.net, self.shared.tasks.renumbers(), &args)
    }

    fn count_io(&self, tid: i32) {
        let (Some(stats), Some(task)) = (&self.shared.stats, self.shared.tasks.get(tid)) else {
            return;
        };
        if task.group.tgid == tid
            && let Ok(io) = procfs::process::Process::new(tid).and_then(|p| p.io())
        {
            stats.native_io(io.syscr + io.syscw);
        }
    }
}

/// How long a child's maker may take to report it, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for such a report.
const PAUSE: Duration = Duration::from_millis(1);

/// How long this process may take to report a child: no time if it is none of ours. `parents` become those of children whose
/// maker has been killed, and rarely of one that has been made with `CLONE_PARENT`.
fn patience_with(tgid: i32, parents: [i32; 2], tasks: &Registry) -> Duration {
    match tgid {
        _ if parents.contains(&tgid) => Duration::from_millis(100),
        _ if tasks.lives(tgid) => PATIENCE,
        _ => Duration::ZERO,
    }
}

/// The attendant of the guests' terminal, a child that is no guest; 0 where there is none.
fn attendant(shared: &Shared) -> i32 {
    shared.terminal.as_ref().map_or(0, |t| t.attendant)
}

/// The process that a new child comes from: its own if it is a thread, else its parent.
fn maker_of(child: i32) -> Option<i32> {
    let status = procfs::process::Process::new(child)
        .and_then(|p| p.status())
        .ok()?;
    Some(if status.tgid == child {
        status.ppid
    } else {
        status.tgid
    })
}

fn kill(task: &Task) {
    // ESRCH: it was faster.
    let _ = sp::tgkill(task.group.tgid, task.tid, libc::SIGKILL);
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

/// Answers a call with an error, at the stop before it.
fn refuse(tid: i32, errno: Errno) -> nix::Result<()> {
    renumber::answer(tid, -i64::from(errno as i32))
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

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
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

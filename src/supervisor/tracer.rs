//! The tracer: the one thread that owns every guest as ptrace(2) wants it.
//!
//! It is attached for what registers are needed for: exec, the order of birth, signal repair, and
//! death. It does no file I/O on behalf of guests and waits for none of them in particular.
//!
//! Exec: `supervisor::exec`. Calls with numbers of processes in them: `supervisor::renumber`.

use super::calls;
use super::cpus;
use super::filter::{
    EXEC_TRACE_DATA, GUARD_TRACE_DATA, GUARDED, NUMBERS_TRACE_DATA, guarded_number,
};
use super::inject::{self, Regs};
use super::renumber::{self, Pending};
use super::service::Worker;
use super::{Outcome, Shared, ears, exec, guard};
use crate::sys::Errno;
use crate::sys::process::{self as sp, Stop, Waited};
use crate::syscall::table::{self, Mechanism};
use crate::task::{Errand, Kinship, Registry, Task};
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
    pub(super) shared: &'s Arc<Shared>,
    pub(super) worker: Worker<'s>,
    cpus: cpus::Watch<'s>,
    first: i32,
    /// Whose child is made by the first guest with `CLONE_PARENT`: ours, or the terminal's attendant's.
    parents: [i32; 2],
    /// Children whose first stop came before their parent's event, and when: they wait for their task entry.
    early: HashMap<i32, Instant>,
    /// What is to be done at the end of calls that are under way: their numbers are translated.
    pub(super) pending: HashMap<i32, Pending>,
    /// The first program has ended: everything that is left or still being born is killed.
    ending: bool,
    outcome: Option<Outcome>,
    /// The kernel calls a program executed by descriptor after its file, not "3" (Linux 6.14).
    pub(super) named_by_file: bool,
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
            named_by_file: exec::kernel_is_at_least(6, 14),
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
            && self.outcome.is_some()
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
        if self.shared.wait_all {
            // Its number may be another's from now on.
            self.first = 0;
            if let Some(terminal) = &self.shared.terminal {
                terminal.first_ended();
            }
            return;
        }
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
    pub(super) fn drop_orphans(&mut self) {
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
            task.set_stopped(stopped);
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
        calls::tell_stopped(self.shared, &task, nr, &call.args);
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
        self.exec_begins(&task, &call)
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
        let regs = ptrace::getregs(pid)?;
        let receipts = task.take_receipts();
        guard::at_end(self.shared, &task, &receipts, regs.rax as i64);
        self.exec_ends(&task, regs)
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
        let nr = regs.orig_rax as u32;
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        if guarded_number(nr).is_some() || self.shared.calls.is_notified(nr, &args) {
            return true;
        }
        let Some(row) = table::row(regs.orig_rax as u32) else {
            return false;
        };
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

pub(super) fn kill(task: &Task) {
    // ESRCH: it was faster.
    let _ = sp::tgkill(task.group.tgid, task.tid, libc::SIGKILL);
}

/// Answers a call with an error, at the stop before it.
pub(super) fn refuse(tid: i32, errno: Errno) -> nix::Result<()> {
    renumber::answer(tid, -i64::from(errno as i32))
}

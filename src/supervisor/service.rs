//! Serving a call: decode, plan, decide, perform, answer.

use super::act::{Done, Hands};
use super::ask::{self, About, Question};
use super::calls::{self, Verdict};
use super::filter::{self, EXEC_PRIVATE};
use super::hear::{self, Notebook, Told};
use super::worlds::World;
use super::{Shared, approve, fake};
use crate::mechanism::notify::{Notification, Reply};
use crate::policy::{self, Access, Ask};
use crate::sys::{self, Errno};
use crate::syscall::plan::{Act, Cx, Plan};
use crate::syscall::table::{self, Row};
use crate::task::{Errand, ExecPlan, ExecState, GuestMem as _, Handover, Task};
use crate::vfs::Trip;
use bumpalo::Bump;
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Times that a call is planned anew because somebody replaced a name by a link meanwhile.
const LOOKS: usize = 40;

/// The body of a worker thread: one notification after the other until no guest is left.
pub(super) fn work(shared: &Arc<Shared>) {
    // Own umask and working directory; without it threads would change each other's.
    let own = sys::process::unshare_fs();
    debug_assert!(own.is_ok(), "unshare(CLONE_FS) needs no privilege");
    let mut worker = Worker::new(shared);
    while let Some(notification) = shared.listener.receive() {
        worker.serve(notification);
    }
}

/// Serves calls, one at a time.
pub(super) struct Worker<'s> {
    shared: &'s Arc<Shared>,
    arena: Bump,
    buffer: Vec<u8>,
    umask: u32,
    notes: Option<RefCell<String>>,
    /// What is noted for those who want to hear of files.
    notebook: Option<Notebook>,
    /// A name at which the run ends, where there are such.
    trip: Option<Trip>,
    /// The last caller, and how many calls it has made since another one came.
    last: (i32, u32),
}

/// So many calls in a row make a guest the only one that is busy with us.
const ALONE: u32 = 4;

/// A refusal, for those who want to know.
pub(super) struct Denial<'p> {
    /// What was wanted of a file; `None`: it is the call that is refused.
    pub(super) access: Option<Access>,
    /// The rule; `None`: there is none.
    pub(super) by: Option<&'p str>,
    /// Which of the questions of the plan.
    pub(super) which: usize,
    /// The file, where no question of a plan is about it.
    pub(super) path: Option<Vec<u8>>,
    /// It ends the run.
    pub(super) kills: bool,
}

/// A program that is not started, as there are too many sets of policies already that programs go on within.
const UNMADE: Denial<'static> = Denial {
    access: Some(Access::EXEC),
    by: Some("the policies that would hold can't be put together"),
    which: 0,
    path: None,
    kills: false,
};

/// What the policy says of a call whatever it names.
enum Ruled<'p> {
    Refused(Errno, Denial<'p>),
    /// It is refused as the filter would do it.
    Untold(Errno),
    /// It is not made, but answered; by this rule.
    Faked(Result<i64, Errno>, Option<&'p str>),
}

impl<'s> Worker<'s> {
    pub(super) fn new(shared: &'s Arc<Shared>) -> Self {
        let umask = 0o077;
        sys::fs::umask(umask);
        let tells = shared.ledger.as_ref().is_some_and(|ledger| ledger.tells());
        let heard = tells || shared.witness.is_some() || shared.worlds.first().policy.asks();
        let witness = shared.witness.as_ref();
        let reach = witness.and_then(|witness| witness.reach());
        let listened = heard || shared.log.is_some();
        Self {
            shared,
            arena: Bump::with_capacity(16 * 1024),
            buffer: Vec::with_capacity(32 * 1024),
            umask,
            notes: listened.then(RefCell::default),
            notebook: heard.then(|| Notebook::new(reach)),
            trip: shared.worlds.watch().then(Trip::default),
            last: (0, 0),
        }
    }

    fn serve(&mut self, mut notification: Notification) {
        let shared = self.shared;
        self.last = match self.last {
            (tid, calls) if tid == notification.tid => (tid, calls.saturating_add(1)),
            _ => (notification.tid, 0),
        };
        notification.alone = self.last.1 >= ALONE && !shared.cpus.are_together();
        let start = self.begin();
        let Some(task) = shared.tasks.get(notification.tid) else {
            // No guest makes a call before its task is known: this one is not ours to serve.
            return answer(notification, &Reply::Errno(Errno::EPERM));
        };
        let nr = match (notification.nr, &*task.exec()) {
            (EXEC_PRIVATE, ExecState::Asked(nr)) => *nr,
            // The private number by the guest's own hand: no such call.
            (EXEC_PRIVATE, _) => return answer(notification, &Reply::Errno(Errno::ENOSYS)),
            (nr, _) => filter::guarded_number(nr).unwrap_or(nr),
        };
        let done = self.judge(nr, &task, &notification.args, start);
        match done {
            Ok(Done::Reply(reply)) => answer(notification, &reply),
            Err(errno) => answer(notification, &Reply::Errno(errno)),
            Ok(Done::LookAgain) => answer(notification, &Reply::Errno(Errno::ELOOP)),
            Ok(Done::Sleeps(sleeper)) => {
                shared.sleepers.submit(shared, task, notification, sleeper)
            }
            Ok(Done::Guard) => self.guard(&task, notification),
            Ok(Done::TellFd {
                fd,
                value,
                room,
                length,
            }) => {
                let told = tell_fd(&task, &notification, &fd, value, room, length);
                answer(
                    notification,
                    &told.map_or_else(Reply::Errno, |()| Reply::Return(0)),
                );
            }
            Ok(Done::HandOver { fd, cloexec }) => self.hand_over(&task, notification, &fd, cloexec),
            Ok(Done::Exec {
                program,
                own_loader,
                plan,
            }) => approve::exec(shared, task, notification, program, own_loader, plan),
        }
        if let Some((stats, start)) = self.shared.stats.as_ref().zip(start) {
            stats.notified(nr, start.elapsed());
        }
    }

    /// Judges an exec for the tracer, before the kernel has begun with it. The plan is for a program
    /// that the kernel itself finds by the guest's path; `None` if only a descriptor leads to it.
    pub(super) fn judge_exec(
        &mut self,
        task: &Arc<Task>,
        nr: u32,
        registers: &[u64; 6],
    ) -> Result<Option<Box<ExecPlan>>, Errno> {
        let start = self.begin();
        // Only our own timer interrupts the tracer.
        let done = loop {
            match self.judge(nr, task, registers, start) {
                Err(Errno::EINTR) => {}
                done => break done,
            }
        };
        if let Some(stats) = &self.shared.stats {
            stats.judged(nr);
        }
        match done? {
            Done::Exec { plan, .. } => Ok(plan.by_path.is_some().then_some(plan)),
            Done::LookAgain => Err(Errno::ELOOP),
            // No other deed is proposed for an exec.
            _ => Err(Errno::EPERM),
        }
    }

    /// Judges a call with numbers of processes for the tracer; the registers have the host's. `None`: the kernel may make it.
    pub(super) fn judge_numbers(
        &mut self,
        task: &Arc<Task>,
        nr: u32,
        registers: &[u64; 6],
    ) -> Result<Option<i64>, Errno> {
        let start = self.begin();
        let done = self.judge(nr, task, registers, start);
        if let Some(stats) = &self.shared.stats {
            stats.judged(nr);
        }
        match done? {
            Done::Reply(Reply::Continue) => Ok(None),
            Done::Reply(Reply::Return(value)) => Ok(Some(value)),
            // No other deed is proposed for these.
            _ => Err(Errno::EPERM),
        }
    }

    fn begin(&mut self) -> Option<Instant> {
        self.arena.reset();
        if let Some(notes) = &self.notes {
            notes.borrow_mut().clear();
        }
        if let Some(notebook) = &self.notebook {
            notebook.clear();
        }
        if let Some(trip) = &self.trip {
            trip.clear();
        }
        (self.shared.stats.is_some() || self.shared.log.is_some()).then(Instant::now)
    }

    /// Decides and does, and tells those who listen.
    fn judge(
        &mut self,
        nr: u32,
        task: &Arc<Task>,
        registers: &[u64; 6],
        start: Option<Instant>,
    ) -> Result<Done, Errno> {
        let row = table::row(nr);
        let mut faked = None;
        let (done, denial) = match self.ruled_by_itself(nr, row, task, registers) {
            Some(Ruled::Refused(errno, denial)) => (Err(errno), Some(denial)),
            Some(Ruled::Untold(errno)) => (Err(errno), None),
            Some(Ruled::Faked(answer, by)) => {
                faked = by;
                (answer.map(|value| Done::Reply(Reply::Return(value))), None)
            }
            None => self.decide_and_do(nr, row, task, registers),
        };
        if denial.is_some() || self.notebook.is_some() {
            self.tell(
                row,
                task,
                registers,
                denial.as_ref(),
                faked.is_some(),
                &done,
            );
        }
        // Once it is told: the report ends with the guests.
        if denial.as_ref().is_some_and(|denial| denial.kills) {
            calls::kill_all(self.shared, task);
        }
        if let (Some(log), Some(start)) = (&self.shared.log, start) {
            let notes = self.notes.as_ref().map(RefCell::borrow);
            let notes = notes.as_ref().map_or("", |n| n.as_str());
            log.call(
                task,
                row,
                notes,
                denial.as_ref().and_then(|denial| denial.by).or(faked),
                &shown(&done),
                start.elapsed(),
            );
        }
        done
    }

    /// Gives the guest a descriptor that can't be put into it: SECCOMP_IOCTL_NOTIF_ADDFD refuses
    /// what was opened with `O_PATH`, but a message may carry it (unix(7), `SCM_RIGHTS`). So the
    /// guest gets a socket with such a message waiting, and at the end of the call the tracer has it
    /// receive the message.
    fn hand_over(&self, task: &Task, notification: Notification, fd: &OwnedFd, cloexec: bool) {
        let put = sys::socket::message_with(fd.as_fd())
            .and_then(|socket| notification.inject(socket.as_fd()));
        let reply = match put {
            Ok(socket) => self.leave_to_tracer(task, Errand::Take(Handover { socket, cloexec })),
            Err(errno) => Reply::Errno(errno),
        };
        answer(notification, &reply);
    }

    /// At the end of the call, which has done nothing, the tracer puts the guard on and has it made again.
    fn guard(&self, task: &Task, notification: Notification) {
        answer(notification, &self.leave_to_tracer(task, Errand::Guard));
    }

    fn leave_to_tracer(&self, task: &Task, errand: Errand) -> Reply {
        task.set_errand(Some(errand));
        if self.shared.tracer.interrupt(task.tid) {
            Reply::Return(0)
        } else {
            task.set_errand(None);
            Reply::Errno(Errno::EIO)
        }
    }

    /// What a call is answered about which the policy has a rule whatever it names.
    fn ruled_by_itself(
        &self,
        nr: u32,
        row: Option<&Row>,
        task: &Task,
        registers: &[u64; 6],
    ) -> Option<Ruled<'s>> {
        let world = self.shared.worlds.of(task)?;
        if world.net != self.shared.net
            && let Some(errno) = self.shared.calls.is_of_network(nr, registers)
        {
            return Some(Ruled::Untold(errno));
        }
        let (verdict, denial) = world.calls.refusal(nr, registers)?;
        note_registers(self.notes.as_ref(), row, registers);
        let errno = match verdict {
            Verdict::Deny(errno) => errno,
            Verdict::Kill => Errno::EPERM,
            Verdict::Ask => {
                // It waits for our answer, and what is asked about are its registers: nothing changes meanwhile.
                let arguments =
                    row.map_or_else(String::new, |row| calls::arguments(row, registers));
                let question = Question {
                    task: task.number,
                    call: row.map_or("?", |row| row.name),
                    about: About::Call {
                        arguments: &arguments,
                        by: denial.by.unwrap_or_default(),
                    },
                };
                if ask::may(self.shared, task, &question) {
                    if let Some(notes) = &self.notes {
                        notes.borrow_mut().clear();
                    }
                    return None;
                }
                Errno::EPERM
            }
            Verdict::Fake(fake) => {
                let answer = fake::answer(&*task.group.mm(), nr, registers, fake);
                return Some(Ruled::Faked(answer, denial.by));
            }
        };
        Some(Ruled::Refused(errno, denial))
    }

    fn decide_and_do(
        &mut self,
        nr: u32,
        row: Option<&'static Row>,
        task: &Arc<Task>,
        registers: &[u64; 6],
    ) -> (Result<Done, Errno>, Option<Denial<'s>>) {
        let shared = self.shared;
        let handler = row.and_then(|row| row.handler);
        let Some(world) = shared.worlds.of(task) else {
            return (Err(Errno::EPERM), None);
        };
        // From here to the end the tracer doesn't reap this task, so its id stays its own.
        let _serving = task.serve();
        let mm = task.group.mm();
        let cx = Cx {
            task,
            vfs: &world.vfs,
            mem: &*mm,
            arena: &self.arena,
            tasks: &shared.tasks,
            net: world.net,
            signals: shared.signals.0,
            registers,
            notes: self.notes.as_ref(),
            sight: self.notebook.as_ref().map(|notebook| &notebook.sight),
            trip: self.trip.as_ref(),
        };
        let who = cx.caller();
        let mut hands = Hands {
            vfs: &world.vfs,
            task,
            mem: &*mm,
            who,
            buffer: &mut self.buffer,
            umask: &mut self.umask,
            peers: &shared.peers,
            cpus: &shared.cpus,
        };
        for _ in 0..LOOKS {
            let plan = match (shared.calls.otherwise(nr, registers), handler) {
                (Some(act), _) => {
                    note_registers(self.notes.as_ref(), row, registers);
                    Ok(Plan::act(act))
                }
                (None, Some(handler)) => handler(&cx, registers),
                (None, None) => Err(Errno::ENOSYS),
            };
            // Before anything is done, and whatever the handler makes of it.
            if let Some((rule, path)) = self.trip.as_ref().and_then(Trip::taken) {
                let denial = Denial {
                    access: Some(Access::LOOK),
                    by: world.policy.killer(rule),
                    which: 0,
                    path: Some(path),
                    kills: true,
                };
                return (Err(Errno::EPERM), Some(denial));
            }
            let mut plan = match plan {
                Ok(plan) => plan,
                Err(errno) => return (Err(errno), None),
            };
            if matches!(plan.act, Act::OutOfReach) {
                let denial = Denial {
                    access: None,
                    by: shared.signals.1.as_deref(),
                    which: 0,
                    path: None,
                    kills: false,
                };
                return (Err(Errno::EPERM), Some(denial));
            }
            if let Some(notebook) = &self.notebook {
                notebook.note(&world.vfs, &plan);
            }
            let notebook = self.notebook.as_ref();
            if let Some((errno, denial)) = refused((shared, world), task, row, notebook, &plan) {
                let errno = match errno {
                    Errno::EROFS => hands.sooner_than_read_only(&plan.act).unwrap_or(errno),
                    other => other,
                };
                return (Err(errno), Some(denial));
            }
            if let Act::Exec { plan, .. } = &plan.act
                && shared
                    .worlds
                    .within(task.group.within().and(plan.within))
                    .is_none()
            {
                // Nothing could be decided for it.
                return (Err(Errno::EACCES), Some(UNMADE));
            }
            if let Act::Open { flags, mode, .. } = &mut plan.act
                && *flags & libc::O_CREAT != 0
                && !may_make(world, &plan.asks)
            {
                // It was there when we looked. Where it is gone by now, it must not be made.
                *flags &= !libc::O_CREAT;
                *mode = 0;
            }
            // A call that the kernel runs may turn out to concern another file than the one that was judged.
            if world.vfs.is_metered()
                && matches!(
                    plan.act,
                    Act::Grow { .. } | Act::Open { .. } | Act::Continue(_)
                )
            {
                shared.bell.ring();
            }
            match hands.perform(plan.act) {
                Ok(Done::LookAgain) => {
                    if let Some(notebook) = &self.notebook {
                        notebook.clear();
                    }
                }
                done => return (done, None),
            }
        }
        (Err(Errno::ELOOP), None)
    }

    /// Tells those who listen what has come of a call.
    fn tell(
        &self,
        row: Option<&'static Row>,
        task: &Task,
        registers: &[u64; 6],
        denial: Option<&Denial<'_>>,
        faked: bool,
        done: &Result<Done, Errno>,
    ) {
        let notes = self.notes.as_ref().map(RefCell::borrow);
        let told = Told {
            row,
            task,
            registers,
            arguments: notes.as_ref().map_or("", |notes| notes.as_str()),
            answer: &shown(done),
            denial,
            faked,
            failed: done.is_err(),
        };
        hear::tell(self.shared, &told, self.notebook.as_ref());
    }
}

/// Notes the arguments of a call that no handler decodes.
fn note_registers(notes: Option<&RefCell<String>>, row: Option<&Row>, registers: &[u64; 6]) {
    if let (Some(notes), Some(row)) = (notes, row) {
        *notes.borrow_mut() = calls::arguments(row, registers);
    }
}

/// The first question of the plan that the policy answers with no.
fn refused<'s>(
    (shared, world): (&'s Shared, &'s World),
    task: &Task,
    row: Option<&Row>,
    notebook: Option<&Notebook>,
    plan: &Plan<'_>,
) -> Option<(Errno, Denial<'s>)> {
    plan.asks.iter().enumerate().find_map(|(which, wanted)| {
        let decision = world.policy.decide(*wanted);
        match decision.verdict {
            policy::Verdict::Allow => None,
            policy::Verdict::Ask(_)
                if notebook
                    .and_then(|notebook| notebook.path_of(which))
                    .is_some_and(|path| {
                        let question = Question {
                            task: task.number,
                            call: row.map_or("?", |row| row.name),
                            about: About::File {
                                access: wanted.access,
                                path: &path,
                                again: matches!(*task.exec(), ExecState::Asked(_)),
                            },
                        };
                        ask::may(shared, task, &question)
                    }) =>
            {
                None
            }
            verdict => {
                let kills = verdict == policy::Verdict::Kill;
                let errno = match verdict {
                    policy::Verdict::Deny(errno) | policy::Verdict::Ask(errno) => errno,
                    _ => Errno::EPERM,
                };
                let denial = Denial {
                    access: Some(wanted.access),
                    by: decision.because.map(|rule| rule.origin.as_str()),
                    which,
                    path: None,
                    kills,
                };
                Some((errno, denial))
            }
        }
    })
}

/// Whether what was asked about may also be made, should it turn out to be absent. What no rule is about is the guest's own.
fn may_make(world: &World, asks: &[Ask]) -> bool {
    asks.iter().all(|ask| {
        let making = Ask {
            access: Access::CREATE,
            ..*ask
        };
        world.policy.decide(making).verdict == policy::Verdict::Allow
    })
}

/// Puts a descriptor into the guest and tells its number. The kernel leaves none where it can't tell the number, so first
/// the same bytes are written once more: what fails then has done nothing.
fn tell_fd(
    task: &Task,
    notification: &Notification,
    fd: &OwnedFd,
    value: u64,
    room: usize,
    length: u64,
) -> Result<(), Errno> {
    let mm = task.group.mm();
    let mut bytes = [0u8; size_of::<i32>()];
    let bytes = bytes.get_mut(..room).ok_or(Errno::EINVAL)?;
    if mm.read(value, bytes)? != room {
        return Err(Errno::EFAULT);
    }
    mm.write(value, bytes)?;
    mm.write(length, &(room as u32).to_ne_bytes())?;
    let number = notification.inject(fd.as_fd())?.to_ne_bytes();
    mm.write(value, number.get(..room).unwrap_or_default())
}

/// A guest that vanished while we worked needs no answer.
pub(super) fn answer(notification: Notification, reply: &Reply) {
    let _ = notification.answer(reply);
}

fn shown(done: &Result<Done, Errno>) -> String {
    match done {
        Err(errno) => format!("-1 {errno:?}"),
        Ok(Done::Reply(Reply::Return(value))) => value.to_string(),
        Ok(Done::Reply(Reply::Errno(errno))) => format!("-1 {errno:?}"),
        Ok(Done::Reply(Reply::AddFd { .. })) => "a descriptor".into(),
        Ok(Done::Reply(Reply::Continue)) => "as the kernel says".into(),
        Ok(Done::Reply(Reply::Restart)) => "? (restarted)".into(),
        Ok(Done::Sleeps(_)) => "? (sleeps)".into(),
        Ok(Done::Exec { .. }) => "exec".into(),
        Ok(Done::HandOver { .. } | Done::TellFd { .. }) => "a descriptor".into(),
        Ok(Done::Guard) => "? (guarded first)".into(),
        Ok(Done::LookAgain) => "-1 ELOOP".into(),
    }
}

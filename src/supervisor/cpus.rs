//! Which CPUs guests and supervisor run on: all on one, as long as one at a time has something to do.
//!
//! A guest that makes a call for us stops, we go on; we answer and stop, it goes on. The scheduler sees two tasks
//! of which one wakes the other, and likes to put them on two CPUs. Then each step is an interrupt between CPUs and the
//! end of somebody's idle sleep, a fork must have the other CPU flush its translations, and caches are cold: in a virtual machine that doubles
//! what a short-lived process costs. So a run starts on the one CPU that it is on, and guests, which inherit that, stay there until
//!
//! * someone has to wait for a CPU: two guests want to run at a time, or another program is there, too;
//! * nobody runs any more: what comes next may be anything;
//! * a guest says itself where it wants to be (sched_setaffinity(2)), which ends this for the run.
//!
//! Then all may run anywhere again. When a lone guest makes a child, they come together again, unless that went wrong
//! lately. The guests are told what they would have without all that.

use crate::sys::{self, process as sp};
use crate::task::Registry;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::Pid;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the run is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// All on one CPU.
    Together,
    /// Anywhere.
    Apart,
    /// A guest has chosen for itself: never together again.
    Left,
}

/// The CPUs of a run.
#[derive(Debug)]
pub(super) struct Cpus {
    tasks: Arc<Registry>,
    /// What sbox was started with, and all guests have unless they choose otherwise. `None`: there is nothing to choose
    /// from, or it can't be told.
    home: Option<CpuSet>,
    mode: Mutex<(Mode, CpuSet)>,
    /// The mode is `Together`: for those who only want to know.
    together: AtomicBool,
}

impl Cpus {
    /// Begins with this thread on the CPU where it is. Threads and children inherit that.
    pub(super) fn new(tasks: Arc<Registry>) -> Self {
        let home = sched_getaffinity(Pid::from_raw(0))
            .ok()
            .filter(has_a_choice);
        let here = home.and_then(|_| stay_here());
        Self {
            tasks,
            home: home.filter(|_| here.is_some()),
            together: AtomicBool::new(here.is_some()),
            mode: Mutex::new(match here {
                Some(here) => (Mode::Together, here),
                None => (Mode::Left, CpuSet::new()),
            }),
        }
    }

    /// True while all are on one CPU.
    pub(super) fn are_together(&self) -> bool {
        self.together.load(Ordering::Relaxed)
    }

    fn mode(&self) -> MutexGuard<'_, (Mode, CpuSet)> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings all to the CPU of the calling thread.
    fn gather(&self) {
        let mut mode = self.mode();
        if mode.0 != Mode::Apart {
            return;
        }
        let Some(here) = stay_here() else {
            return;
        };
        *mode = (Mode::Together, here);
        self.together.store(true, Ordering::Relaxed);
        for tid in self.everybody() {
            // ESRCH: it is dead.
            let _ = sched_setaffinity(tid, &here);
        }
    }

    /// Lets all run anywhere.
    fn scatter(&self) {
        self.part(Mode::Apart);
    }

    /// A guest chooses for itself.
    pub(super) fn leave(&self) {
        self.part(Mode::Left);
    }

    fn part(&self, to: Mode) {
        let mut mode = self.mode();
        let (from, here) = *mode;
        if from != Mode::Left {
            mode.0 = to;
        }
        if from != Mode::Together {
            return;
        }
        self.together.store(false, Ordering::Relaxed);
        // Who is made meanwhile by one that was still narrow is narrow, too: a thread of ours is found by the next look, a
        // guest when its birth is reported.
        while self
            .everybody()
            .into_iter()
            .filter(|&tid| self.widen(tid, &here))
            .count()
            > 0
        {}
    }

    /// True if this task was narrow, and isn't any more: where the machine has but this CPU left (cpuset(7)), it stays.
    fn widen(&self, tid: Pid, here: &CpuSet) -> bool {
        let is_narrow = || sched_getaffinity(tid).as_ref() == Ok(here);
        // ESRCH: it is dead.
        is_narrow()
            && self
                .home
                .is_some_and(|home| sched_setaffinity(tid, &home).is_ok())
            && !is_narrow()
    }

    /// Guests and threads of ours.
    fn everybody(&self) -> Vec<Pid> {
        let own = std::fs::read_dir("/proc/self/task");
        let own = own
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let guests = self.tasks.all();
        let guests = guests.iter().map(|task| task.tid);
        guests.chain(own).map(Pid::from_raw).collect()
    }

    /// `child` has been made, and may have got less than its maker has by now.
    fn born(&self, maker: i32, child: i32) {
        let mode = self.mode();
        let (now, here) = &*mode;
        let has = |tid, set: &CpuSet| sched_getaffinity(Pid::from_raw(tid)).as_ref() == Ok(set);
        if self.home.is_some() && *now != Mode::Together && has(child, here) && !has(maker, here) {
            self.widen(Pid::from_raw(child), here);
        }
    }

    /// The CPUs of a guest as it is told of them: the kernel's answer to sched_getaffinity(2) with room for `room` bytes.
    pub(super) fn of(&self, tid: i32, room: usize) -> sys::Result<Vec<u8>> {
        let mode = self.mode();
        let mut told = sys::sched::affinity(tid, room)?;
        // Who has chosen for itself has ended this.
        if let (Some(home), Mode::Together) = (self.home, mode.0) {
            for (at, byte) in told.iter_mut().enumerate() {
                *byte = (0..8)
                    .filter(|bit| home.is_set(at * 8 + bit) == Ok(true))
                    .fold(0, |byte, bit| byte | 1 << bit);
            }
        }
        Ok(told)
    }
}

/// True if there is more than one CPU in it.
fn has_a_choice(set: &CpuSet) -> bool {
    let cpus = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true));
    cpus.take(2).count() == 2
}

/// Binds the calling thread to the CPU where it is.
fn stay_here() -> Option<CpuSet> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu().ok()?).ok()?;
    sched_setaffinity(Pid::from_raw(0), &here).ok()?;
    Some(here)
}

/// Between two looks, while all are together.
const LOOK: Duration = Duration::from_millis(5);
/// Guests that wait for a CPU for more than one part in so many of the time: two want to run at a time.
const CROWDED: u32 = 3;
/// Guests that run for less than one part in so many of the time: nobody runs.
const QUIET: u32 = 50;
/// So many looks in a row make sure of it.
const CROWDED_LOOKS: u32 = 2;
const QUIET_LOOKS: u32 = 4;
/// More guests than this aren't looked at one by one.
const MOST: usize = 8;
/// How long all stay apart when together was too crowded, at first and at most.
const SHORTEST_PARTING: Duration = Duration::from_millis(50);
const LONGEST_PARTING: Duration = Duration::from_secs(2);

/// Decides when to come together and when to part. It belongs to the tracer, whose waiting it interrupts to look.
pub(super) struct Watch<'s> {
    cpus: &'s Cpus,
    /// `None`: there is nothing to watch.
    timer: Option<Timer>,
    last: Instant,
    seen: FxHashMap<i32, Time>,
    crowded: u32,
    quiet: u32,
    apart_until: Instant,
    parting: Duration,
}

/// What the scheduler says of a task: how long it has run, and how long it had to wait for a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    ran: Duration,
    waited: Duration,
}

impl<'s> Watch<'s> {
    /// To be made by the tracer's own thread.
    pub(super) fn new(cpus: &'s Cpus) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            cpus,
            timer: cpus.home.and_then(|_| timer()),
            last: now,
            seen: FxHashMap::default(),
            crowded: 0,
            quiet: 0,
            apart_until: now,
            parting: SHORTEST_PARTING,
        };
        if cpus.are_together() {
            watch.begin();
        }
        watch
    }

    /// Starts looking, or lets all go if that can't be.
    fn begin(&mut self) {
        (self.last, self.crowded, self.quiet) = (Instant::now(), 0, 0);
        self.seen.clear();
        let every = Expiration::Interval(LOOK.into());
        let set = self
            .timer
            .as_mut()
            .map(|timer| timer.set(every, TimerSetTimeFlags::empty()));
        if !matches!(set, Some(Ok(()))) {
            self.cpus.leave();
        }
    }

    fn end(&mut self) {
        self.cpus.scatter();
        if let Some(timer) = &mut self.timer {
            // It can't fail; at worst it wakes us for nothing.
            let _ = timer.set(
                Expiration::OneShot(Duration::ZERO.into()),
                TimerSetTimeFlags::empty(),
            );
        }
    }

    /// `maker` has made `child`, and both are known.
    pub(super) fn birth(&mut self, maker: i32, child: i32) {
        if self.timer.is_none() || self.cpus.are_together() {
            return;
        }
        self.cpus.born(maker, child);
        if self.cpus.tasks.count() == 2 && Instant::now() >= self.apart_until {
            self.cpus.gather();
            if self.cpus.are_together() {
                self.begin();
            }
        }
    }

    /// Looks whether it is time to part, if it is time to look.
    pub(super) fn look(&mut self) {
        if !self.cpus.are_together() || self.last.elapsed() < LOOK {
            return;
        }
        let elapsed = self.last.elapsed();
        self.last += elapsed;
        let Some(spent) = self.spent() else {
            return self.end();
        };
        let more = |so_far: u32, yes: bool| if yes { so_far + 1 } else { 0 };
        self.crowded = more(self.crowded, spent.waited > elapsed / CROWDED);
        self.quiet = more(self.quiet, spent.ran < elapsed / QUIET);
        if self.crowded >= CROWDED_LOOKS {
            self.apart_until = self.last + self.parting;
            self.parting = (self.parting * 2).min(LONGEST_PARTING);
            self.end();
        } else if self.quiet >= QUIET_LOOKS {
            self.parting = SHORTEST_PARTING;
            self.end();
        }
    }

    /// What all guests have spent since the last look. `None` if they are too many, or it can't be told.
    fn spent(&mut self) -> Option<Time> {
        let tasks = self.cpus.tasks.all();
        if tasks.len() > MOST {
            return None;
        }
        let mut sum = Time::default();
        let mut seen = FxHashMap::default();
        for task in tasks {
            let Some(now) = time_of(task.tid) else {
                // It may have died. That nobody can be asked is another matter.
                continue;
            };
            let before = self.seen.get(&task.tid).copied().unwrap_or(now);
            sum.ran += now.ran.saturating_sub(before.ran);
            sum.waited += now.waited.saturating_sub(before.waited);
            seen.insert(task.tid, now);
        }
        self.seen = seen;
        (!self.seen.is_empty()).then_some(sum)
    }
}

/// `/proc/TID/schedstat`: nanoseconds run and waited, and the number of turns (Documentation/scheduler/sched-stats.rst).
fn time_of(tid: i32) -> Option<Time> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/schedstat")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
    Some(Time {
        ran: next()?,
        waited: next()?,
    })
}

/// A timer that interrupts the calling thread.
fn timer() -> Option<Timer> {
    // Of all signals the one that means nothing to anybody who sends it to us: by default it is ignored.
    let signal = Signal::SIGURG;
    sp::install_interrupter(signal as i32).ok()?;
    let notify = SigevNotify::SigevThreadId {
        signal,
        thread_id: sp::gettid(),
        si_value: 0,
    };
    Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify)).ok()
}

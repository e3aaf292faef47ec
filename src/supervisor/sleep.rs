//! Calls that sleep for as long as another process likes.
//!
//! Each gets a thread, so that no handler ever waits for a guest. The kernel defers signals to a
//! guest whose notification we hold (`WAIT_KILLABLE_RECV`); natively such a call would be
//! interrupted. So a watchman looks every few milliseconds whether a signal waits, and then ends
//! the sleep and answers `ERESTARTSYS`: the kernel itself then restarts the call or makes it EINTR,
//! as the signal's disposition says (signal(7), `SA_RESTART`).

use super::Shared;
use super::act::Sleeper;
use super::spawn::FailClosed;
use crate::mechanism::notify::{Notification, Reply};
use crate::sys::{self, Errno};
use crate::task::Task;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often the watchman looks.
const ROUND: Duration = Duration::from_millis(10);

/// The calls that are sleeping now.
pub(super) struct Sleepers {
    jobs: Mutex<Vec<Arc<Job>>>,
    some: Condvar,
    /// Whether the watchman's thread is there: it is started with the first job.
    watchman: Mutex<bool>,
}

impl Default for Sleepers {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            some: Condvar::new(),
            watchman: Mutex::new(false),
        }
    }
}

#[derive(Debug)]
struct Job {
    task: Arc<Task>,
    /// The thread that sleeps; 0 until it has started, -1 when it has ended.
    thread: AtomicI32,
    /// It was told to give up because of a signal.
    interrupted: AtomicBool,
}

const ENDED: i32 = -1;

/// The signal that ends a sleep of ours. Its handler does nothing, without `SA_RESTART`.
pub(super) fn wake_signal() -> i32 {
    libc::SIGRTMAX() - 1
}

impl Sleepers {
    /// Gives a call a thread to sleep on.
    pub(super) fn submit(
        &self,
        shared: &Arc<Shared>,
        task: Arc<Task>,
        notification: Notification,
        sleeper: Sleeper,
    ) {
        let job = Arc::new(Job {
            task,
            thread: AtomicI32::new(0),
            interrupted: AtomicBool::new(false),
        });
        let body = {
            let (shared, job) = (Arc::clone(shared), Arc::clone(&job));
            move || sleep(&shared, &job, notification, sleeper)
        };
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&job));
        self.some.notify_one();
        // No thread to be had: the notification is dropped with the closure, which refuses the call.
        let start = || {
            self.start_watchman(shared)?;
            std::thread::Builder::new()
                .name("sleeper".into())
                .stack_size(256 * 1024)
                .spawn(body)
                .map(drop)
        };
        if start().is_err() {
            self.remove(&job);
        }
    }

    fn start_watchman(&self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let mut started = self.watchman.lock().unwrap_or_else(PoisonError::into_inner);
        if !*started {
            let shared = Arc::clone(shared);
            std::thread::Builder::new().spawn(move || {
                let _guard = FailClosed;
                Self::watch(&shared);
            })?;
            *started = true;
        }
        Ok(())
    }

    fn remove(&self, job: &Arc<Job>) {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|j| !Arc::ptr_eq(j, job));
    }

    /// The body of the watchman's thread.
    fn watch(shared: &Arc<Shared>) {
        let this = &shared.sleepers;
        loop {
            let mut jobs = this.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            while jobs.is_empty() {
                jobs = this.some.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
            let now: Vec<_> = jobs.clone();
            drop(jobs);
            for job in now {
                job.look(shared);
            }
            std::thread::sleep(ROUND);
        }
    }
}

impl Job {
    fn look(&self, shared: &Shared) {
        let thread = self.thread.load(Ordering::Acquire);
        if thread <= 0 {
            return;
        }
        if !self.task.is_dead() && !self.interrupted.load(Ordering::Acquire) {
            // The interrupt must be pending before the answer is given: should another thread
            // take the signal meanwhile, it makes the kernel restart the call silently.
            if !signal_waits(self.task.tid) || !shared.tracer.interrupt(self.task.tid) {
                return;
            }
            self.interrupted.store(true, Ordering::Release);
        }
        // Told again each round until it has ended: the signal may come before the sleep begins.
        let _ = sys::process::tgkill(std::process::id() as i32, thread, wake_signal());
    }
}

fn sleep(shared: &Shared, job: &Arc<Job>, notification: Notification, mut sleeper: Sleeper) {
    job.thread.store(sys::process::gettid(), Ordering::Release);
    let reply = loop {
        match sleeper.run() {
            Ok(reply) => break Some(reply),
            Err(Errno::EINTR) if job.task.is_dead() || !notification.is_alive() => break None,
            Err(Errno::EINTR) if job.interrupted.load(Ordering::Acquire) => {
                let reply = sleeper.broken_off();
                if matches!(reply, Reply::Restart) {
                    job.task.set_restarting();
                }
                break Some(reply);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => break Some(Reply::Errno(errno)),
        }
    };
    job.thread.store(ENDED, Ordering::Release);
    shared.sleepers.remove(job);
    // No copy of the guest's socket is left when it goes on: its next close must be the last one.
    drop(sleeper);
    // A guest that vanished needs no answer.
    let _ = match reply {
        Some(Reply::AddFd { fd, cloexec }) => notification.answer_with_last(fd, cloexec),
        Some(reply) => notification.answer(&reply),
        None => Ok(()),
    };
}

/// True if a signal that the task doesn't block waits for it or for its group.
fn signal_waits(tid: i32) -> bool {
    let status = procfs::process::Process::new(tid).and_then(|p| p.status());
    status.is_ok_and(|s| (s.sigpnd | s.shdpnd) & !s.sigblk != 0)
}

//! What other threads ask of the tracer: only the thread that has seized a guest may interrupt it (ptrace(2)).

use crate::sys::process as sp;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Requests to the tracer from other threads.
#[derive(Debug)]
pub(super) struct Mailbox {
    thread: AtomicI32,
    /// There are requests: looked at before each wait, as a tracer that is busy is never interrupted.
    waiting: AtomicBool,
    requests: Mutex<Vec<Arc<Request>>>,
}

#[derive(Debug)]
struct Request {
    tid: i32,
    done: AtomicBool,
    asker: std::thread::Thread,
}

impl Mailbox {
    /// For the thread that will be the tracer.
    pub(super) fn new() -> Self {
        Self {
            thread: AtomicI32::new(sp::gettid()),
            waiting: AtomicBool::new(false),
            requests: Mutex::default(),
        }
    }

    /// Asks for a ptrace interrupt of `tid`; true once it is pending.
    pub(super) fn interrupt(&self, tid: i32) -> bool {
        let request = Arc::new(Request {
            tid,
            done: AtomicBool::new(false),
            asker: std::thread::current(),
        });
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&request));
        self.waiting.store(true, Ordering::Release);
        for _ in 0..500 {
            // The tracer sleeps in waitid(2); the signal may come right before: tell it again.
            let tracer = self.thread.load(Ordering::Acquire);
            let _ = sp::tgkill(
                std::process::id() as i32,
                tracer,
                super::sleep::wake_signal(),
            );
            std::thread::park_timeout(Duration::from_millis(1));
            if request.done.load(Ordering::Acquire) {
                return true;
            }
        }
        false
    }

    /// Does what was asked for; for the tracer.
    pub(super) fn serve(&self) {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        for request in self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            // ESRCH: dead already, or stopped, and then the signal is being handled.
            let _ = sp::ptrace_interrupt(request.tid);
            request.done.store(true, Ordering::Release);
            request.asker.unpark();
        }
    }
}

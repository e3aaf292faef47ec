//! What crossed the boundary, and what didn't, for people and programs.

pub mod advice;
pub mod ledger;
pub mod report;

pub use ledger::{End, Incident, Kind, Ledger};
pub use report::{Record, Report};

use crate::syscall::table::Row;
use crate::task::Task;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One line per call that reached the supervisor:
/// `TIME-US TASK NAME(ARGUMENTS) = REPLY [denied by RULE]`; tasks by their numbers in the view.
#[derive(Debug)]
pub struct Log {
    out: Mutex<BufWriter<File>>,
}

impl Log {
    /// Creates the file. It is opened before the guest runs and never by the guest's hand.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            out: Mutex::new(BufWriter::new(File::create(path)?)),
        })
    }

    /// Writes the line of one call. Arguments come decoded and escaped.
    pub(crate) fn call(
        &self,
        task: &Task,
        row: Option<&Row>,
        arguments: &str,
        denied_by: Option<&str>,
        reply: &str,
        time: Duration,
    ) {
        let name = row.map_or("?", |r| r.name);
        let verdict = denied_by
            .map(|by| format!("  denied: {by}"))
            .unwrap_or_default();
        let us = time.as_secs_f64() * 1e6;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the guest; the log then ends early.
        let _ = writeln!(
            out,
            "{us:8.1} {} {name}({arguments}) = {reply}{verdict}",
            task.number
        );
    }

    /// Writes what a guest's exec came to, which only the tracer sees.
    pub(crate) fn event(&self, number: i32, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(out, "       - {number} {text}");
    }

    /// Writes out what is buffered.
    pub fn flush(&self) {
        let _ = self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush();
    }
}

/// Standard error is a terminal in raw mode, which goes down at a line's end, but not back to its beginning.
static RAW: AtomicBool = AtomicBool::new(false);

/// Tells whether standard error is a raw terminal from now on.
pub(crate) fn on_raw_terminal(raw: bool) {
    RAW.store(raw, Ordering::Relaxed);
}

/// Says something to the user on standard error. A closed pipe is quiet.
pub fn tell(text: &str) {
    let mut text = format!("sbox: {text}\n");
    if RAW.load(Ordering::Relaxed) {
        text = text.replace('\n', "\r\n");
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

//! Running one command: wall time, CPU time of the whole process tree, output and exit status.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;

use crate::Fallible;

/// Longer than any cell should take; a cell that hangs must not hang the run.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Outcome {
    pub(crate) wall_ns: f64,
    /// User and system time of the process and of every descendant that was waited for.
    pub(crate) cpu_ns: f64,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs `command` to its end. Output goes to files under `scratch`, so that nobody has to read along while
/// the clock runs.
pub(crate) fn run(mut command: Command, scratch: &Path) -> Fallible<Outcome> {
    let (out, err) = (scratch.join("stdout"), scratch.join("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .process_group(0);
    let cpu_before = children_cpu_ns()?;
    let start = Instant::now();
    let mut child = command.spawn()?;
    let watchdog = Watchdog::new(child.id(), PATIENCE);
    let status = child.wait()?;
    let wall = start.elapsed();
    let timed_out = watchdog.stop();
    let cpu_ns = children_cpu_ns()? - cpu_before;
    if timed_out {
        return Err(format!("did not end within {} s", PATIENCE.as_secs()).into());
    }
    let wall_ns = wall.as_secs_f64() * 1e9;
    Ok(Outcome {
        wall_ns,
        cpu_ns,
        status,
        stdout: std::fs::read(out)?,
        stderr: std::fs::read(err)?,
    })
}

impl Outcome {
    /// `Err` with the reason unless the program ended with status 0.
    pub(crate) fn succeeded(&self) -> Fallible<()> {
        if self.status.success() {
            return Ok(());
        }
        Err(format!("{}: {}", self.status, complaint(&self.stderr)).into())
    }
}

/// The first error a program reported, or else what it said last, shortened to fit in a note.
pub(crate) fn complaint(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let line = lines
        .clone()
        .find(|line| line.contains("error"))
        .or_else(|| lines.next_back());
    line.unwrap_or("no message")
        .trim()
        .chars()
        .take(160)
        .collect()
}

/// CPU time of all children this process has waited for, with theirs: what `wait4` reports, summed up.
/// One child runs at a time, so the difference of two readings is that child's.
fn children_cpu_ns() -> Fallible<f64> {
    cpu_ns_of(UsageWho::RUSAGE_CHILDREN)
}

/// User and system time in nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a benchmark run fit in 53 bits"
)]
pub(crate) fn cpu_ns_of(who: UsageWho) -> Fallible<f64> {
    let usage = getrusage(who)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 * 1e3)
}

/// Kills the process group of a child that takes too long.
pub(crate) struct Watchdog {
    cancel: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    pub(crate) fn new(leader: u32, patience: Duration) -> Self {
        let (cancel, cancelled) = mpsc::channel();
        let thread = thread::spawn(move || {
            let expired = cancelled.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
            if expired && let Ok(pid) = i32::try_from(leader) {
                // An error means that the group has just ended by itself.
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
            expired
        });
        Self { cancel, thread }
    }

    /// Whether it had to bite.
    pub(crate) fn stop(self) -> bool {
        drop(self.cancel);
        self.thread.join().unwrap_or(false)
    }
}

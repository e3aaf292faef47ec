//! The watch over directories of limited size.
//!
//! Whether a write concerns such a directory is judged by what its descriptor is at that moment. Threads that
//! exchange the descriptor right then write uncounted. So what is open for writing is measured again and again while
//! anything changes, and rarely while nothing does; with nothing open the watch sleeps. Growth that it finds is counted, and who
//! has got further beyond the limit than any honest program can is killed.

use super::Shared;
use super::spawn::FailClosed;
use crate::vfs::{Inode, Tasks};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often the watch looks while something changes, and when nothing has for long.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Several writes under way at one place of a file may be counted once until the next look. Beyond this it was on purpose.
const MARGIN: u64 = 16 << 20;

/// Tells the watch that there is something to look at.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    some: Condvar,
}

impl Bell {
    /// Something may have grown.
    pub(super) fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *rung, true) {
            self.some.notify_one();
        }
    }

    /// Waits for the bell, at most for `patience` if that is told. True if it was rung.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rung = match patience {
            None => self
                .some
                .wait_while(rung, |rung| !*rung)
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.some
                    .wait_timeout_while(rung, patience, |rung| !*rung)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        std::mem::take(&mut *rung)
    }
}

/// Starts the watch, if anything is limited.
pub(super) fn start(shared: &Arc<Shared>) {
    if !shared.vfs().is_metered() {
        return;
    }
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _guard = FailClosed;
        watch(&shared);
    });
}

fn watch(shared: &Shared) {
    let mut patience = None;
    loop {
        let rung = shared.bell.wait(patience);
        if rung && patience.is_none_or(|p| p > SHORTEST) {
            // Not before it had time to do something.
            std::thread::sleep(SHORTEST);
        }
        let (mut any, mut changed) = (false, rung);
        for (at, meter) in shared.vfs().meters() {
            let look = meter.look();
            any |= look.any;
            changed |= look.changed;
            if let Some((beyond, files)) = look.beyond
                && beyond > MARGIN
            {
                crate::trace::tell(&format!(
                    "killed: {at} was {beyond} bytes beyond the size that --tmpfs gives it"
                ));
                kill_writers(shared, &files);
            }
        }
        patience = match patience {
            _ if !any => None,
            Some(before) if !changed => Some((before * 2).min(LONGEST)),
            _ => Some(SHORTEST),
        };
    }
}

/// Kills who has one of `files` open; everybody, if nobody can be found.
fn kill_writers(shared: &Shared, files: &[Inode]) {
    let has_open = |tgid: &i32| {
        let open = std::fs::read_dir(format!("/proc/{tgid}/fd"));
        let mut open = open.into_iter().flatten().flatten();
        open.any(|fd| {
            std::fs::metadata(fd.path()).is_ok_and(|m| files.contains(&(m.dev(), m.ino())))
        })
    };
    let all = shared.tasks.groups();
    let mut guilty: Vec<i32> = all.iter().copied().filter(has_open).collect();
    if guilty.is_empty() {
        guilty = all;
    }
    for task in shared.tasks.all() {
        if guilty.contains(&task.group.tgid) {
            // ESRCH: it is dead already.
            let _ = crate::sys::process::tgkill(task.group.tgid, task.tid, libc::SIGKILL);
        }
    }
}

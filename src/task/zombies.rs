//! Processes that have ended and may not have been waited for: until then they can still be signalled and asked about.
//!
//! Nobody tells us when that is over. So they are remembered, and asked for one by one when there are twice as many as were
//! left the last time: those that the kernel keeps are as many as it allows (getrlimit(2), `RLIMIT_NPROC`).

use crate::sys::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustc_hash::FxHashSet;

/// So many are remembered without asking.
const FEW: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Zombies {
    all: FxHashSet<i32>,
    /// How many there were when they were asked for last.
    left: usize,
}

impl Zombies {
    /// A process has ended. Only the tracer enters any, so no number can pass to another guest that ends while they are asked
    /// for.
    pub(super) fn enter(&mut self, tgid: i32) {
        self.all.insert(tgid);
        if self.all.len() > FEW.max(2 * self.left) {
            self.all.retain(|&tgid| parent_of(tgid).is_some());
            self.left = self.all.len();
        }
    }

    pub(super) fn contains(&self, tgid: i32) -> bool {
        self.all.contains(&tgid)
    }

    pub(super) fn all(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.all.iter().copied().collect();
        all.sort_unstable();
        all
    }
}

/// The parent that is to wait for a process; `None` if that one hasn't ended, or isn't there any more.
pub(super) fn parent_of(zombie: i32) -> Option<i32> {
    // Mostly it is gone, which this tells soonest.
    if kill(Pid::from_raw(zombie), None) == Err(Errno::ESRCH) {
        return None;
    }
    let stat = procfs::process::Process::new(zombie).ok()?.stat().ok()?;
    (stat.state == 'Z').then_some(stat.ppid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn those_that_wait_are_known_and_those_that_are_gone_forgotten() {
        let mut children: Vec<_> = (0..20)
            .map(|_| Command::new("true").spawn().unwrap())
            .collect();
        let waiting: Vec<i32> = children.iter().map(|c| c.id().cast_signed()).collect();
        let end = Instant::now() + Duration::from_secs(30);
        while waiting.iter().any(|&pid| parent_of(pid).is_none()) {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut zombies = Zombies::default();
        waiting.iter().for_each(|&pid| zombies.enter(pid));
        // Beyond the kernel's greatest number.
        (0..100_000).for_each(|n| zombies.enter(5_000_000 + n));
        assert!(waiting.iter().all(|&pid| zombies.contains(pid)));
        assert!(zombies.all().len() <= FEW + 20);
        for child in &mut children {
            child.wait().unwrap();
        }
        assert!(waiting.iter().all(|&pid| parent_of(pid).is_none()));
    }
}

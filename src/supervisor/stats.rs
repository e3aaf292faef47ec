//! Counting: how many calls took which way, and the time the supervisor took.

use crate::syscall::table;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Numbers above the table share the last counter.
const SLOTS: usize = 512;

/// Counters that all threads add to.
#[derive(Debug)]
pub(super) struct Stats {
    by_call: Vec<AtomicU64>,
    notified_ns: AtomicU64,
    judged: AtomicU64,
    stops: AtomicU64,
    stops_ns: AtomicU64,
    tasks: AtomicU64,
    native_io: AtomicU64,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            by_call: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            notified_ns: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            stops_ns: AtomicU64::new(0),
            tasks: AtomicU64::new(1),
            native_io: AtomicU64::new(0),
        }
    }

    fn count(&self, nr: u32) {
        if let Some(counter) = self.by_call.get((nr as usize).min(SLOTS - 1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn notified(&self, nr: u32, time: Duration) {
        self.count(nr);
        self.notified_ns
            .fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A call that the tracer judged, at a stop that is counted as such.
    pub(super) fn judged(&self, nr: u32) {
        self.count(nr);
        self.judged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self, time: Duration) {
        self.stops.fetch_add(1, Ordering::Relaxed);
        self.stops_ns
            .fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn new_task(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what proc(5) `/proc/PID/io` knows of a dying process: its reads and writes.
    pub(super) fn native_io(&self, calls: u64) {
        self.native_io.fetch_add(calls, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        let mut by_call: Vec<(String, u64)> = self
            .by_call
            .iter()
            .enumerate()
            .filter_map(|(nr, count)| {
                let name = table::row(nr as u32).map_or_else(|| nr.to_string(), |r| r.name.into());
                Some((name, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
            })
            .collect();
        by_call.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let ns = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        let served: u64 = by_call.iter().map(|(_, count)| count).sum();
        Summary {
            notified: served - self.judged.load(Ordering::Relaxed),
            by_call,
            notified_time: ns(&self.notified_ns),
            stops: self.stops.load(Ordering::Relaxed),
            stops_time: ns(&self.stops_ns),
            tasks: self.tasks.load(Ordering::Relaxed),
            native_io: self.native_io.load(Ordering::Relaxed),
        }
    }
}

/// What was counted in a run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Calls that reached the supervisor, most frequent first.
    pub by_call: Vec<(String, u64)>,
    /// How many of them came as notifications; the tracer judged the others at a stop.
    pub notified: u64,
    /// Time from receiving to having answered them.
    pub notified_time: Duration,
    /// Stops of guests that the tracer handled: exec, fork, signals.
    pub stops: u64,
    /// Time it took for them.
    pub stops_time: Duration,
    /// Threads and processes seen.
    pub tasks: u64,
    /// Reads and writes that the kernel served natively. Other native calls leave no trace.
    pub native_io: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>10}  calls notified, {:.1} ms in the supervisor",
            self.notified,
            ms(self.notified_time)
        )?;
        writeln!(
            f,
            "{:>10}  stops traced (exec, fork, signals), {:.1} ms in the tracer",
            self.stops,
            ms(self.stops_time)
        )?;
        writeln!(
            f,
            "{:>10}  native reads and writes (other native calls never leave the kernel and can't be counted)",
            self.native_io
        )?;
        writeln!(f, "{:>10}  threads and processes", self.tasks)?;
        self.by_call
            .iter()
            .take(12)
            .try_for_each(|(name, count)| writeln!(f, "{count:>10}  {name}"))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

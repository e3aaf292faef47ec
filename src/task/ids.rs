//! Numbers of the view for tasks of the host: small, in order of birth, used again only when all have been used.
//!
//! A number outlives its task as the kernel's `struct pid` does: a process that has ended keeps it until its parent has
//! waited for it, and as long as it names a process group or a session. Nobody tells us when that is over. So the dead
//! are kept, and asked for one by one when there are many of them ([`Ids::is_due`]).

use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How processes are numbered in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pids {
    /// By the host's numbers.
    Host,
    /// By numbers of the view's own, from 1, which is sbox, up to `max`.
    Virtual {
        /// The number from which on they begin again (proc_sys_kernel(5), `pid_max`).
        max: i32,
    },
}

impl Pids {
    /// The most that the kernel allows, `PID_MAX_LIMIT`.
    pub const MAX: i32 = 4_194_304;

    /// The least: numbers of processes that start a few others.
    pub const MIN: i32 = 16;
}

impl Default for Pids {
    fn default() -> Self {
        Self::Virtual { max: Self::MAX }
    }
}

/// The number of sbox, which is parent of the first program and of those whose parent has ended.
pub const INIT: i32 = 1;

/// What a task of the host is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: i32,
    /// The task has ended. Its number on the host may mean another by now.
    pub(super) dead: bool,
}

/// The map, both ways.
#[derive(Debug)]
pub(super) struct Ids {
    max: i32,
    last: i32,
    by_host: FxHashMap<i32, Known>,
    by_number: FxHashMap<i32, i32>,
    dead: usize,
    /// So many dead are kept without asking whether they are gone.
    patience: usize,
    /// Processes that are gone, the last ones, and their numbers: whoever has waited for one may not have been told yet, and a
    /// signal that tells of its death may still be pending.
    gone: FxHashMap<i32, i32>,
    order: VecDeque<i32>,
}

/// So many of them.
const MAX_GONE: usize = 4096;

/// The dead that are kept at least.
const FEW: usize = 256;

impl Ids {
    pub(super) fn new(max: i32) -> Self {
        let max = max.clamp(Pids::MIN, Pids::MAX);
        Self {
            max,
            last: INIT,
            by_host: FxHashMap::default(),
            by_number: FxHashMap::default(),
            dead: 0,
            patience: few(max),
            gone: FxHashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Gives a new task its number. Whoever had its number on the host is gone for good.
    pub(super) fn enter(&mut self, host: i32) -> i32 {
        self.leave(host);
        self.gone.remove(&host);
        let number = self.free();
        self.last = if number < self.max { number } else { INIT };
        self.by_number.insert(number, host);
        let dead = false;
        self.by_host.insert(host, Known { number, dead });
        number
    }

    /// The next number that nobody has. Where all are taken, those beyond the end are given: a task that has been born can't
    /// be refused one.
    fn free(&self) -> i32 {
        let (after, before) = (self.last + 1..self.max, INIT + 1..=self.last);
        let beyond = self.max..i32::MAX;
        after
            .chain(before)
            .chain(beyond)
            .find(|number| {
                // Guests know the host's numbers of their threads from words that the kernel writes: no other thread is to be
                // meant by them.
                !self.by_number.contains_key(number) && !self.by_host.contains_key(number)
            })
            .unwrap_or(0)
    }

    /// The task has ended, and nobody can know it any more.
    pub(super) fn leave(&mut self, host: i32) {
        if let Some(known) = self.by_host.remove(&host) {
            self.by_number.remove(&known.number);
            if known.dead {
                self.dead -= 1;
                self.bury(host, known.number);
            }
        }
    }

    fn bury(&mut self, host: i32, number: i32) {
        if self.order.len() == MAX_GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        self.order.push_back(host);
        self.gone.insert(host, number);
    }

    /// The number of a child that somebody has waited for, or gets a signal of: it may be gone.
    pub(super) fn of_child(&self, host: i32) -> Option<i32> {
        let known = self.of_host(host).map(|known| known.number);
        known.or_else(|| self.gone.get(&host).copied())
    }

    /// The task has ended; others may still know its number.
    pub(super) fn retire(&mut self, host: i32) {
        if let Some(known) = self.by_host.get_mut(&host)
            && !known.dead
        {
            known.dead = true;
            self.dead += 1;
        }
    }

    pub(super) fn of_host(&self, host: i32) -> Option<Known> {
        self.by_host.get(&host).copied()
    }

    /// The task of the host that has this number.
    pub(super) fn to_host(&self, number: i32) -> Option<i32> {
        self.by_number.get(&number).copied()
    }

    /// The number that was given last.
    pub(super) fn last(&self) -> i32 {
        self.last
    }

    /// Where numbers begin again.
    pub(super) fn max(&self) -> i32 {
        self.max
    }

    /// True if it is time to ask who of the dead is gone: then all that are, must [`leave`](Self::leave).
    pub(super) fn is_due(&self) -> bool {
        self.dead > self.patience
    }

    /// All dead, by their numbers on the host.
    pub(super) fn dead(&self) -> Vec<i32> {
        let all = self.by_host.iter();
        all.filter(|(_, k)| k.dead).map(|(&host, _)| host).collect()
    }

    /// Those that are dead now are to be kept: asks again when there are twice as many.
    pub(super) fn asked(&mut self) {
        self.patience = few(self.max).max(2 * self.dead);
    }
}

/// Of a small range no more than a quarter lies idle.
fn few(max: i32) -> usize {
    usize::try_from(max / 4).map_or(FEW, |quarter| quarter.min(FEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_small_and_in_order() {
        let mut ids = Ids::new(Pids::MAX);
        assert_eq!([70_000, 80_000, 75_000].map(|h| ids.enter(h)), [2, 3, 4]);
        assert_eq!(ids.to_host(3), Some(80_000));
        assert_eq!(ids.of_host(75_000).map(|k| k.number), Some(4));
        assert_eq!((ids.to_host(1), ids.to_host(5)), (None, None));
        assert_eq!(ids.of_host(3), None);
    }

    #[test]
    fn a_number_comes_again_only_after_all_others() {
        let mut ids = Ids::new(Pids::MIN);
        let mut seen = Vec::new();
        for host in 1000..1040 {
            seen.push(ids.enter(host));
            ids.leave(host);
        }
        let round: Vec<i32> = (2..Pids::MIN).collect();
        assert_eq!(seen[..14], round);
        assert_eq!(seen[14..28], round);
        assert_eq!(ids.last(), seen[39]);
    }

    #[test]
    fn who_has_a_number_keeps_it_when_they_begin_again() {
        let mut ids = Ids::new(Pids::MIN);
        assert_eq!([500, 501].map(|h| ids.enter(h)), [2, 3]);
        ids.retire(501);
        for host in 600..611 {
            ids.enter(host);
            ids.leave(host);
        }
        assert_eq!([700, 701, 702].map(|h| ids.enter(h)), [15, 4, 5]);
        ids.leave(501);
        assert_eq!(ids.to_host(3), None);
    }

    #[test]
    fn nobody_is_refused_a_number() {
        let mut ids = Ids::new(Pids::MIN);
        let all: Vec<i32> = (500..530).map(|h| ids.enter(h)).collect();
        let mut each = all.clone();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), 30);
        assert!(each.contains(&(Pids::MIN + 10)), "{each:?}");
        all.iter()
            .zip(500..)
            .for_each(|(&n, h)| assert_eq!(ids.to_host(n), Some(h)));
    }

    #[test]
    fn no_number_is_one_that_a_task_has_on_the_host() {
        let mut ids = Ids::new(Pids::MAX);
        assert_eq!([3, 2, 9].map(|h| ids.enter(h)), [2, 4, 5]);
    }

    #[test]
    fn a_new_task_takes_the_place_of_the_dead_one_with_its_number_on_the_host() {
        let mut ids = Ids::new(Pids::MAX);
        assert_eq!(ids.enter(900), 2);
        ids.retire(900);
        assert!(ids.of_host(900).is_some_and(|k| k.dead));
        assert_eq!(ids.enter(900), 3);
        assert_eq!((ids.to_host(2), ids.to_host(3)), (None, Some(900)));
        assert!(ids.dead().is_empty());
        assert_eq!(ids.of_child(900), Some(3));
    }

    #[test]
    fn who_is_gone_can_be_told_for_a_while() {
        let mut ids = Ids::new(Pids::MAX);
        for host in 10_000..20_000 {
            ids.enter(host);
            ids.retire(host);
            ids.leave(host);
        }
        assert_eq!((ids.of_host(19_000), ids.to_host(9002)), (None, None));
        assert_eq!(ids.of_child(19_000), Some(9002));
        assert_eq!(ids.of_child(10_000), None);
        assert!(ids.gone.len() <= MAX_GONE && ids.order.len() <= MAX_GONE);
    }

    #[test]
    fn the_dead_are_asked_for_when_there_are_many() {
        let mut ids = Ids::new(Pids::MAX);
        for host in 1000..2000 {
            ids.enter(host);
            ids.retire(host);
            ids.retire(host);
            if ids.is_due() {
                // The first hundred are somebody's process group.
                for host in ids.dead() {
                    if host >= 1100 {
                        ids.leave(host);
                    }
                }
                ids.asked();
            }
        }
        let dead = ids.dead().len();
        assert!((100..500).contains(&dead), "{dead}");
        assert_eq!(ids.to_host(2), Some(1000));
    }
}

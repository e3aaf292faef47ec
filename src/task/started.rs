//! Who has started whom. Unlike the parent, that doesn't change when somebody ends, or by `CLONE_PARENT`.

use super::{Group, Registry, Task};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A process has ended: those that it has started are now of the one that has started it. Only the tracer enters and removes
/// processes, so nobody is born to it meanwhile.
pub(super) fn bequeath(tasks: &FxHashMap<i32, Arc<Task>>, dead: &Group) {
    if !dead.starts.load(Ordering::Relaxed) {
        return;
    }
    let heir = dead.starter.load(Ordering::Relaxed);
    let orphans = tasks.values().map(|task| &task.group);
    for group in orphans.filter(|group| group.starter.load(Ordering::Relaxed) == dead.birth) {
        group.starter.store(heir, Ordering::Relaxed);
    }
}

impl Registry {
    /// Thread-group ids of a process and of all that live of what it has started, and what those have, at any remove.
    pub fn started_by(&self, group: &Group) -> FxHashSet<i32> {
        let mut by_starter: FxHashMap<u64, FxHashMap<u64, i32>> = FxHashMap::default();
        for task in self.map().values() {
            let starter = task.group.starter.load(Ordering::Relaxed);
            let started = by_starter.entry(starter).or_default();
            started.insert(task.group.birth, task.group.tgid);
        }
        let mut found = FxHashSet::from_iter([group.tgid]);
        let mut waiting = vec![group.birth];
        while let Some(birth) = waiting.pop() {
            for (birth, tgid) in by_starter.remove(&birth).unwrap_or_default() {
                found.insert(tgid);
                waiting.push(birth);
            }
        }
        found
    }

    /// The parent that is to wait for a guest that has ended.
    pub fn awaited_by(&self, tgid: i32) -> Option<i32> {
        let ended = self.zombies().contains(tgid);
        ended.then(|| super::zombies::parent_of(tgid)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::RuleId;
    use crate::task::{FsContext, Kinship, Registry};
    use crate::vfs::mount::MountTable;
    use crate::vfs::{Scratch, Vfs};
    use rustc_hash::FxHashSet;
    use std::sync::Arc;

    /// Numbers beyond the kernel's greatest.
    const FIRST: i32 = 5_000_000;

    fn set<const N: usize>(all: [i32; N]) -> FxHashSet<i32> {
        all.map(|n| FIRST + n).into_iter().collect()
    }

    #[test]
    fn what_a_process_has_started_stays_its_own_whoever_ends() {
        let tasks = Registry::default();
        let mounts = MountTable::new(Vec::new());
        let vfs = Vfs::new(mounts, Scratch::new().unwrap(), RuleId(0)).unwrap();
        let first = tasks.add_first(FIRST, FsContext::new(Arc::clone(vfs.root()), 0));
        let child = |of: i32, n: i32| {
            let maker = tasks.get(FIRST + of).unwrap();
            tasks.add_child(&maker, FIRST + n, Kinship::default())
        };
        // 0 has started 1 and 4, 1 has started 2, 2 has started 3.
        let (one, two) = (child(0, 1), child(1, 2));
        child(2, 3);
        let four = child(0, 4);
        let thread = Kinship {
            thread: true,
            ..Kinship::default()
        };
        tasks.add_child(&two, FIRST + 9, thread);
        let by = |group: &Arc<super::Task>| tasks.started_by(&group.group);
        assert_eq!(by(&first), set([0, 1, 2, 3, 4]));
        assert_eq!(by(&one), set([1, 2, 3]));
        assert_eq!(by(&four), set([4]));
        tasks.remove(FIRST + 9);
        tasks.remove(FIRST + 2);
        assert_eq!(by(&one), set([1, 3]));
        tasks.remove(FIRST + 1);
        assert_eq!(by(&first), set([0, 3, 4]));
        let three = tasks.get(FIRST + 3).unwrap();
        child(3, 5);
        assert_eq!(by(&three), set([3, 5]));
        tasks.remove(FIRST);
        assert_eq!(by(&three), set([3, 5]));
        assert_eq!(by(&four), set([4]));
    }
}

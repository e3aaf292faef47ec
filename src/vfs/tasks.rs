//! Who calls, and which processes there are: what the file system needs to know of tasks, for `/proc`.

use super::{Dir, Sight, Trip, Vfs};
use crate::sys;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The tasks as the file system needs to know them (for `/proc`).
pub trait Tasks: Send + Sync {
    /// Thread-group ids of all guests, in order.
    fn groups(&self) -> Vec<i32>;
    /// Those that have ended and wait for their parent.
    fn zombies(&self) -> Vec<i32>;

    /// True if this is one of them.
    fn is_zombie(&self, tgid: i32) -> bool;
    /// True if a signal has stopped this thread.
    fn is_stopped(&self, tid: i32) -> bool;
    /// Thread ids of group `tgid`; empty if there is no such group.
    fn threads(&self, tgid: i32) -> Vec<i32>;
    /// The working directory of a group.
    fn cwd(&self, tgid: i32) -> Option<Arc<Dir>>;
    /// True if a group's files, memory and working directory are another group's to look into: not where further policies
    /// hold for the other.
    fn is_open_to(&self, tgid: i32, caller: i32) -> bool;
    /// A group's program, as it was when it was executed.
    fn exe(&self, tgid: i32) -> Option<Vec<u8>>;
    /// A duplicate of a group's descriptor.
    fn descriptor(&self, tgid: i32, fd: i32) -> sys::Result<OwnedFd>;
    /// The number in the view of a process or thread of the host's; 0 for outsiders, if the view has numbers of its own.
    fn process_told(&self, host: i32) -> i32;
    /// The same of a process group.
    fn group_told(&self, host: i32) -> i32;
    /// The same of a session.
    fn session_told(&self, host: i32) -> i32;
    /// The host's number of what guests call `number`.
    fn process_meant(&self, number: i32) -> Option<i32>;
    /// The number given last, and from which on they begin again; `None` if the view has the host's.
    fn numbers(&self) -> Option<(i32, i32)>;
}

/// Who walks: magic links and descriptors are resolved for this task.
#[derive(Clone, Copy)]
pub struct Caller<'c> {
    /// Its thread group.
    pub tgid: i32,
    /// Its thread.
    pub tid: i32,
    /// All tasks of the sandbox.
    pub tasks: &'c dyn Tasks,
    /// Where walks note what they come upon, if somebody listens.
    pub sight: Option<&'c Sight>,
    /// Where they note that they came to a name that ends the run.
    pub trip: Option<&'c Trip>,
}

impl Vfs {
    /// From now on processes are called by the numbers of these tasks.
    pub fn number_by(&self, tasks: Arc<dyn Tasks>) {
        // Once for each run.
        let _ = self.tasks.set(tasks);
    }

    pub(super) fn tasks(&self) -> Option<&dyn Tasks> {
        self.tasks.get().map(|tasks| &**tasks)
    }
}

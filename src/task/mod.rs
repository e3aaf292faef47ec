//! Who is calling: guest threads, thread groups, and what they share.
//!
//! A [`Task`] is a thread, a [`Group`] a thread group (process). The tracer makes and removes them at
//! ptrace events, before the thread concerned can make its first call, so a notification always
//! finds its task. The working directory and umask live in an [`FsContext`], shared as clone(2)
//! `CLONE_FS` says.

mod exe;
mod exec;
mod ids;
mod listed;
mod mem;
mod numbers;
mod started;
mod told;
mod zombies;

pub use exe::Exe;
pub use exec::{ArgumentLimit, Argv, ExecPlan, ExecState};
pub use ids::{INIT, Pids};
pub use mem::{GuestMem, Mm, read_bytes, read_cstr, read_strings};
pub use told::{NOBODY, Names};

use crate::policy::within::Within;
use crate::sys::{self, Errno};
use crate::vfs::{Dir, Tasks as _};
use ids::Ids;
use rustc_hash::FxHashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use zombies::Zombies;

/// A guest thread.
#[derive(Debug)]
pub struct Task {
    /// Its host thread id. Changes in one case, which makes a new `Task`: exec by a non-leader.
    pub tid: i32,
    /// Its number in the view.
    pub number: i32,
    /// Its thread group.
    pub group: Arc<Group>,
    fs: RwLock<Arc<FsContext>>,
    pidfd: OnceLock<OwnedFd>,
    /// Held by a worker while it serves this task, and by the tracer while it reaps it: so the tid
    /// can't come to mean another process under a worker's hands.
    service: Mutex<()>,
    dead: AtomicBool,
    /// A signal has stopped it, until it is continued (signal(7), "Stop").
    stopped: AtomicBool,
    /// A sleeping call of this task was answered with "restart": its EINTR is meant.
    restarting: AtomicBool,
    /// What the tracer is to do at the end of the call.
    errand: Mutex<Option<Errand>>,
    /// Addresses that the kernel is about to write, to be told in the view's terms.
    receipts: Mutex<Vec<Receipt>>,
    /// The table of descriptors: equal for those who share one (clone(2), `CLONE_FILES`), or once did.
    files: RwLock<Arc<Identity>>,
    /// The exec in progress, between its notification and its end.
    exec: Mutex<ExecState>,
}

/// What is shared, and nothing but the same or not.
#[derive(Debug, Default)]
struct Identity {
    /// No two of a size of 0 need have different addresses.
    _place: u8,
}

/// Where the kernel will write the address of who sent or connects.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// The address itself.
    pub name: u64,
    /// How much of it fits there.
    pub room: usize,
    /// Its length, 32 bits.
    pub length: u64,
    /// It is the peer of the socket that the call returns.
    pub of_peer: bool,
    /// The `struct msghdr` that says where control messages are; 0 if there are none.
    pub header: u64,
}

/// What the tracer is to do for a guest at the end of its call.
#[derive(Clone, Copy, Debug)]
pub enum Errand {
    /// Have it take a descriptor that only the guest itself can take.
    Take(Handover),
    /// Put the guard on its process, and have it make the call again.
    Guard,
}

/// A message with a descriptor that waits in a socket which was put into the guest.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// The socket's number in the guest, close-on-exec.
    pub socket: i32,
    /// Whether the descriptor closes at exec.
    pub cloexec: bool,
}

/// A guest thread group (process).
#[derive(Debug)]
pub struct Group {
    /// Its host id.
    pub tgid: i32,
    /// Its number in the view.
    pub number: i32,
    /// Which of all groups it is; unlike the id, that never comes again.
    pub birth: u64,
    /// The birth of the one that has started it or, once that is gone, of the nearest before it that lives; 0: of none.
    starter: AtomicU64,
    /// It has started others.
    starts: AtomicBool,
    mm: RwLock<Arc<Mm>>,
    exe: RwLock<Exe>,
    /// The memory: equal for those who share it (clone(2), `CLONE_VM`).
    space: RwLock<Arc<Identity>>,
    /// Policies beside that of the run which hold for it; it only grows.
    within: AtomicU64,
    /// How many filters its threads have at least, since the guard is one of them; 0 before.
    guarded: AtomicU32,
    /// Descriptors whose reads stop for the tracer, as long as this program and its children's live; `None` stands for all.
    ears: Mutex<Vec<Option<i32>>>,
}

/// What clone(2) `CLONE_FS` shares.
#[derive(Debug)]
pub struct FsContext {
    cwd: RwLock<Arc<Dir>>,
    umask: AtomicU32,
}

impl FsContext {
    /// A context that starts in `cwd`.
    pub fn new(cwd: Arc<Dir>, umask: u32) -> Arc<Self> {
        Arc::new(Self {
            cwd: RwLock::new(cwd),
            umask: AtomicU32::new(umask),
        })
    }

    fn copy(&self) -> Arc<Self> {
        Self::new(self.cwd(), self.umask())
    }

    /// The working directory.
    pub fn cwd(&self) -> Arc<Dir> {
        Arc::clone(&self.cwd.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the working directory.
    pub fn set_cwd(&self, dir: Arc<Dir>) {
        *self.cwd.write().unwrap_or_else(PoisonError::into_inner) = dir;
    }

    /// The file mode creation mask.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Changes the mask, returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

impl Group {
    /// The memory of the program that the group runs now.
    pub fn mm(&self) -> Arc<Mm> {
        Arc::clone(&self.mm.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its program, as it was when it was executed.
    pub fn exe(&self) -> Exe {
        self.exe
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// True once the guard is on all threads (`supervisor::guard`).
    pub fn is_guarded(&self) -> bool {
        self.guarded() != 0
    }

    /// How many filters whoever inherits the guard has at least; 0 if there is no guard.
    pub fn guarded(&self) -> u32 {
        self.guarded.load(Ordering::Acquire)
    }

    /// The guard is on all threads, and this is how many filters they have now.
    pub fn set_guarded(&self, filters: u32) {
        self.guarded.store(filters, Ordering::Release);
    }

    /// Policies beside that of the run which hold for it.
    pub fn within(&self) -> Within {
        Within::of_bits(self.within.load(Ordering::Acquire))
    }

    fn ears(&self) -> MutexGuard<'_, Vec<Option<i32>>> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose reads must be made to stop, so that those of `fd` do: its own, or all if there are `many` already. `None` if they do.
    pub fn hears(&self, fd: i32, many: usize) -> Option<Option<i32>> {
        let ears = self.ears();
        let does = ears.contains(&Some(fd)) || ears.contains(&None);
        (!does).then(|| (ears.len() < many).then_some(fd))
    }

    /// True if reads of some descriptor do.
    pub fn has_ears(&self) -> bool {
        !self.ears().is_empty()
    }

    /// They do now.
    pub fn heard(&self, which: Option<i32>) {
        self.ears().push(which);
    }

    fn space(&self) -> Arc<Identity> {
        Arc::clone(&self.space.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True if both run in the same memory.
    pub fn shares_memory(&self, other: &Group) -> bool {
        Arc::ptr_eq(&self.space(), &other.space())
    }

    fn exec_done(&self, exe: Exe, within: Within) {
        self.within.fetch_or(within.bits(), Ordering::AcqRel);
        *self.space.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        *self.mm.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Mm::new(self.tgid));
        *self.exe.write().unwrap_or_else(PoisonError::into_inner) = exe;
    }
}

impl Task {
    fn new(
        (tid, number): (i32, i32),
        group: Arc<Group>,
        fs: Arc<FsContext>,
        files: Arc<Identity>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tid,
            number,
            group,
            fs: RwLock::new(fs),
            pidfd: OnceLock::new(),
            service: Mutex::default(),
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            restarting: AtomicBool::new(false),
            errand: Mutex::default(),
            receipts: Mutex::default(),
            files: RwLock::new(files),
            exec: Mutex::default(),
        })
    }

    /// The working directory and umask.
    pub fn fs(&self) -> Arc<FsContext> {
        Arc::clone(&self.fs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// unshare(2) `CLONE_FS`: from now on the task has a working directory and umask of its own.
    pub fn unshare_fs(&self) {
        let mut fs = self.fs.write().unwrap_or_else(PoisonError::into_inner);
        *fs = fs.copy();
    }

    /// A duplicate of the task's descriptor `fd` (EBADF if it has none).
    pub fn descriptor(&self, fd: i32) -> sys::Result<OwnedFd> {
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        let pidfd = match self.pidfd.get() {
            Some(pidfd) => pidfd,
            None => {
                let opened = sys::pidfd::open_thread(self.tid)
                    .or_else(|_| sys::pidfd::open(self.group.tgid))?;
                self.pidfd.get_or_init(|| opened)
            }
        };
        sys::pidfd::getfd(pidfd.as_fd(), fd)
    }

    /// Claims the task for serving one of its calls.
    pub fn serve(&self) -> MutexGuard<'_, ()> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once the kernel has reported its death.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// True if a signal has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Notes whether one has.
    pub fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }

    /// Notes that the call is being answered with "restart".
    pub fn set_restarting(&self) {
        self.restarting.store(true, Ordering::Release);
    }

    /// Takes that note back; true if it was there.
    pub fn take_restarting(&self) -> bool {
        self.restarting.swap(false, Ordering::AcqRel)
    }

    fn files(&self) -> Arc<Identity> {
        Arc::clone(&self.files.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True if both may have the same table of descriptors.
    pub fn shares_files(&self, other: &Task) -> bool {
        Arc::ptr_eq(&self.files(), &other.files())
    }

    /// A new program was loaded: fresh memory, another path, an own table of descriptors, further policies perhaps.
    pub fn exec_done(&self, exe: Exe, within: Within) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        self.group.exec_done(exe, within);
    }

    /// Notes where addresses will be written, or takes the note back.
    pub fn set_receipts(&self, receipts: Vec<Receipt>) {
        *self.receipts.lock().unwrap_or_else(PoisonError::into_inner) = receipts;
    }

    /// Where addresses were to be written, once.
    pub fn take_receipts(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces what the tracer will do, or takes that back.
    pub fn set_errand(&self, errand: Option<Errand>) {
        *self.errand.lock().unwrap_or_else(PoisonError::into_inner) = errand;
    }

    /// What the tracer is to do, once.
    pub fn take_errand(&self) -> Option<Errand> {
        self.errand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The exec in progress.
    pub fn exec(&self) -> MutexGuard<'_, ExecState> {
        self.exec.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All tasks of the sandbox.
#[derive(Debug)]
pub struct Registry {
    tasks: RwLock<FxHashMap<i32, Arc<Task>>>,
    /// Thread groups that have died and may not have been waited for by their parent yet: until
    /// then they can still be signalled and asked about.
    zombies: Mutex<Zombies>,
    numbers: Mutex<numbers::Numbers>,
    pids: Pids,
    ids: Mutex<Ids>,
    own: told::Own,
}

impl Default for Registry {
    /// For the host's numbers.
    fn default() -> Self {
        Self::new(Pids::Host)
    }
}

/// How a new task relates to its maker: the clone(2) flags that matter to us.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinship {
    /// `CLONE_THREAD`: same thread group.
    pub thread: bool,
    /// `CLONE_FS`: shared working directory and umask.
    pub fs: bool,
    /// `CLONE_FILES`: shared descriptors.
    pub files: bool,
    /// `CLONE_VM`: shared memory.
    pub memory: bool,
    /// How many filters a child of a guarded process must have to be guarded, if it has so many; else 0.
    pub guarded: u32,
}

impl Registry {
    /// For the process that calls: it is the supervisor.
    pub fn new(pids: Pids) -> Self {
        let max = match pids {
            Pids::Host => Pids::MAX,
            Pids::Virtual { max } => max,
        };
        Self {
            tasks: RwLock::default(),
            zombies: Mutex::default(),
            numbers: Mutex::default(),
            pids,
            ids: Mutex::new(Ids::new(max)),
            own: told::Own::now(),
        }
    }

    fn map(&self) -> std::sync::RwLockReadGuard<'_, FxHashMap<i32, Arc<Task>>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, task: Arc<Task>) {
        self.tasks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task.tid, task);
    }

    fn numbers(&self) -> MutexGuard<'_, numbers::Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task with this thread id.
    pub fn get(&self, tid: i32) -> Option<Arc<Task>> {
        self.map().get(&tid).cloned()
    }

    /// Enters the first guest.
    pub fn add_first(&self, tid: i32, fs: Arc<FsContext>) -> Arc<Task> {
        let number = self.give_number(tid);
        let group = Arc::new(Group {
            tgid: tid,
            number,
            birth: self.numbers().enter(tid),
            starter: AtomicU64::new(0),
            starts: AtomicBool::new(false),
            mm: RwLock::new(Arc::new(Mm::new(tid))),
            exe: RwLock::default(),
            space: RwLock::default(),
            within: AtomicU64::default(),
            guarded: AtomicU32::new(0),
            ears: Mutex::default(),
        });
        let task = Task::new((tid, number), group, fs, Arc::default());
        self.put(Arc::clone(&task));
        task
    }

    /// Enters a task made by fork, vfork or clone.
    pub fn add_child(&self, maker: &Task, tid: i32, kin: Kinship) -> Arc<Task> {
        let number = self.give_number(tid);
        let group = if kin.thread {
            Arc::clone(&maker.group)
        } else {
            maker.group.starts.store(true, Ordering::Relaxed);
            Arc::new(Group {
                tgid: tid,
                number,
                birth: self.numbers().enter(tid),
                starter: AtomicU64::new(maker.group.birth),
                starts: AtomicBool::new(false),
                mm: RwLock::new(Arc::new(Mm::new(tid))),
                exe: RwLock::new(maker.group.exe()),
                space: RwLock::new(if kin.memory {
                    maker.group.space()
                } else {
                    Arc::default()
                }),
                within: AtomicU64::new(maker.group.within().bits()),
                guarded: AtomicU32::new(kin.guarded),
                ears: Mutex::new(maker.group.ears().clone()),
            })
        };
        let fs = if kin.fs {
            maker.fs()
        } else {
            maker.fs().copy()
        };
        let files = if kin.files {
            maker.files()
        } else {
            Arc::default()
        };
        let task = Task::new((tid, number), group, fs, files);
        self.put(Arc::clone(&task));
        task
    }

    /// exec(2) by thread `old` of group `tgid`: it is the leader now, all other threads are gone.
    /// Returns the leader's record.
    pub fn become_leader(&self, old: i32, tgid: i32) -> Option<Arc<Task>> {
        let former = self.get(old)?;
        let gone = self.threads(tgid).into_iter().filter(|&tid| tid != tgid);
        gone.for_each(|tid| self.take_number(tid, false));
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, t| t.group.tgid != tgid || t.tid == tgid && old == tgid);
        if old == tgid {
            return tasks.get(&tgid).cloned();
        }
        let group = Arc::clone(&former.group);
        let leader = Task::new((tgid, group.number), group, former.fs(), former.files());
        *leader.exec() = std::mem::take(&mut *former.exec());
        tasks.insert(tgid, Arc::clone(&leader));
        Some(leader)
    }

    /// Removes a dead task once no worker is serving it; then the caller may reap it.
    pub fn remove(&self, tid: i32) {
        if let Some(task) = self.get(tid) {
            task.dead.store(true, Ordering::Release);
            let busy = task.serve();
            let is_process = task.tid == task.group.tgid;
            self.take_number(tid, is_process);
            if is_process {
                self.zombies().enter(tid);
            }
            let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
            if is_process {
                started::bequeath(&tasks, &task.group);
            }
            tasks.remove(&tid);
            drop((tasks, busy));
        }
    }

    /// True if a guest thread has this id, or is of this thread group.
    pub fn lives(&self, id: i32) -> bool {
        let tasks = self.map();
        tasks.contains_key(&id) || tasks.values().any(|t| t.group.tgid == id)
    }

    /// True if `id` is the id of a guest thread or thread group.
    pub fn is_member(&self, id: i32) -> bool {
        if self.lives(id) {
            return true;
        }
        // The id may mean somebody else by now.
        self.zombies().contains(id) && zombies::parent_of(id).is_some_and(|ppid| self.lives(ppid))
    }

    fn zombies(&self) -> MutexGuard<'_, Zombies> {
        self.zombies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if a guest has or had this number.
    pub fn has_been(&self, tgid: i32) -> bool {
        self.numbers().contains(tgid)
    }

    /// A process that the kernel names, as guests may be told of it: the number of a guest, also of one that has ended;
    /// 0 for others, which is the kernel's word for processes of an outer namespace (pid_namespaces(7)).
    pub fn as_told(&self, tgid: i32) -> i32 {
        // Whoever has the number of a former guest by now is not meant, or must not be told.
        let has_ended = || {
            self.has_been(tgid)
                && nix::sys::signal::kill(nix::unistd::Pid::from_raw(tgid), None)
                    == Err(Errno::ESRCH)
        };
        if tgid > 0 && (self.is_member(tgid) || has_ended()) {
            tgid
        } else {
            0
        }
    }

    /// Which of all groups the one that lives under this number is.
    pub fn birth(&self, tgid: i32) -> Option<u64> {
        self.of_group(tgid).map(|task| task.group.birth)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.map().len()
    }

    /// All thread ids.
    pub fn all(&self) -> Vec<Arc<Task>> {
        self.map().values().cloned().collect()
    }

    fn of_group(&self, tgid: i32) -> Option<Arc<Task>> {
        let tasks = self.map();
        tasks
            .get(&tgid)
            .or_else(|| tasks.values().find(|t| t.group.tgid == tgid))
            .cloned()
    }
}

//! What a handler reads ([`Cx`]) and what it answers ([`Plan`]).

use super::rules::Net;
use crate::policy::{Access, Ask, RuleId, Signals};
use crate::task::{ExecPlan, GuestMem, Registry, Task};
use crate::vfs::{Caller, Dir, Inode, Listing, Place, Sight, Trip, Vfs};
use arrayvec::ArrayVec;
use bumpalo::Bump;
use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt::{Display, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use crate::sys::Errno;

/// What a handler may read: the caller, the view, the caller's memory.
pub struct Cx<'a> {
    /// The calling task.
    pub task: &'a Task,
    /// The view's files.
    pub vfs: &'a Vfs,
    /// The caller's memory.
    pub mem: &'a dyn GuestMem,
    /// Memory for this one call.
    pub arena: &'a Bump,
    /// All tasks.
    pub tasks: &'a Registry,
    /// Which network there is.
    pub net: Net,
    /// Whom guests may signal.
    pub signals: Signals,
    /// The argument registers as they came.
    pub registers: &'a [u64; 6],
    /// Where decoded arguments are noted, if somebody listens.
    pub notes: Option<&'a RefCell<String>>,
    /// Where walks note what they come upon, if somebody listens.
    pub sight: Option<&'a Sight>,
    /// Where they note that they came to a name that ends the run, if there are such names.
    pub trip: Option<&'a Trip>,
}

impl<'a> Cx<'a> {
    /// Tells the trace what an argument was decoded to.
    pub fn note(&self, name: &str, value: &dyn Display) {
        if let Some(notes) = self.notes {
            let mut notes = notes.borrow_mut();
            let comma = if notes.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(notes, "{comma}{name}: {value}");
        }
    }

    /// The caller, as the file system knows it.
    pub fn caller(&self) -> Caller<'a> {
        Caller {
            tgid: self.task.group.tgid,
            tid: self.task.tid,
            tasks: self.tasks,
            sight: self.sight,
            trip: self.trip,
        }
    }

    /// The directory that `path` starts from (path_resolution(7)). EBADF or ENOTDIR for a
    /// descriptor that is none; not looked at for an absolute path.
    pub fn start(&self, dir: i32, path: &CStr) -> Result<Arc<Dir>, Errno> {
        match path.to_bytes().first() {
            // An empty path names nothing, whatever the directory (path_resolution(7)).
            None => Err(Errno::ENOENT),
            Some(b'/') => Ok(Arc::clone(self.vfs.root())),
            Some(_) => self.base(dir),
        }
    }

    /// The directory that a `dirfd` argument names.
    pub fn base(&self, dir: i32) -> Result<Arc<Dir>, Errno> {
        if dir != libc::AT_FDCWD {
            return self.vfs.dir_of(self.task.descriptor(dir)?);
        }
        let fs = self.task.fs();
        let cwd = fs.cwd();
        let current = self.vfs.current(&cwd);
        if !Arc::ptr_eq(&cwd, &current) {
            fs.set_cwd(Arc::clone(&current));
        }
        Ok(current)
    }

    /// Copies a structure of `len` bytes out of the guest.
    pub fn bytes(&self, addr: u64, len: usize) -> Result<&'a mut [u8], Errno> {
        crate::task::read_bytes(self.mem, addr, len, self.arena)
    }

    /// At most `len` bytes of the guest's memory, as many as there are.
    pub fn bytes_at_most(&self, addr: u64, len: usize) -> Result<&'a [u8], Errno> {
        let bytes = self.arena.alloc_slice_fill_copy(len, 0u8);
        let n = self.mem.read(addr, bytes)?;
        Ok(bytes.get(..n).unwrap_or_default())
    }
}

/// A rename asks for two names; an exec for the program, five scripts and an interpreter.
pub const MAX_ASKS: usize = 7;

/// What is changed of a task by a call that names it.
#[derive(Clone, Copy, Debug)]
pub enum TaskChange<'a> {
    /// sched_setaffinity(2).
    Cpus(&'a [u8]),
    /// prlimit(2).
    Limit {
        /// `RLIMIT_*`.
        resource: u32,
        /// Soft and hard.
        new: Option<[u64; 2]>,
        /// Where the guest wants to be told; 0: nowhere.
        old: u64,
    },
    /// sched_setparam(2).
    Param(i32),
    /// sched_setscheduler(2).
    Scheduler {
        /// `SCHED_*`.
        policy: i32,
        /// That of `struct sched_param`.
        priority: i32,
    },
    /// sched_setattr(2). With E2BIG the kernel tells the size that it knows.
    Attr {
        /// `struct sched_attr`, of the size that it says, if that can be.
        attr: &'a [u8],
        /// Its address.
        at: u64,
        /// None is known.
        flags: u32,
    },
    /// setpriority(2).
    Nice(i32),
    /// ioprio_set(2).
    IoPriority(i32),
}

/// What kcmp(2) compares of two tasks.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// `KCMP_*`.
    pub kind: i32,
    /// Numbers of descriptors, where it is about those.
    pub indices: [u64; 2],
    /// `struct kcmp_epoll_slot`, in place of the second.
    pub slot: Option<&'a [u8]>,
}

/// Who gets SIGIO.
#[derive(Debug)]
pub struct Owner {
    /// `F_OWNER_*`.
    pub kind: i32,
    /// A task, or one that is in the group, and its number on the host or that of the group; `None`: nobody.
    pub owner: Option<(Arc<Task>, i32)>,
}

impl Owner {
    /// `F_OWNER_TID`, <linux/fcntl.h>.
    pub const THREAD: i32 = 0;
    /// `F_OWNER_PID`
    pub const PROCESS: i32 = 1;
    /// `F_OWNER_PGRP`
    pub const GROUP: i32 = 2;
}

/// What a handler proposes: questions for the policy, and one deed if all are answered with yes.
#[derive(Debug)]
pub struct Plan<'a> {
    /// One question for each object that the call names.
    pub asks: ArrayVec<Ask, MAX_ASKS>,
    /// The deed.
    pub act: Act<'a>,
}

impl<'a> Plan<'a> {
    /// A deed that needs no permission.
    pub fn act(act: Act<'a>) -> Self {
        Self {
            asks: ArrayVec::new(),
            act,
        }
    }

    /// Nothing to do but to answer.
    pub fn value(value: i64) -> Self {
        Self::act(Act::Return(value))
    }

    /// Writes `data` at `addr`, then answers `value`.
    pub fn write(addr: u64, data: &'a [u8], value: i64) -> Self {
        Self::act(Act::Write { addr, data, value })
    }

    /// A deed that needs `access` under `rule`. Objects without a rule are the guest's own.
    pub fn ask(access: Access, rule: Option<RuleId>, act: Act<'a>) -> Self {
        let mut plan = Self::act(act);
        plan.also(access, rule);
        plan
    }

    /// One more question.
    pub fn also(&mut self, access: Access, rule: Option<RuleId>) {
        if let Some(rule) = rule {
            self.asks.push(Ask { access, rule });
        }
    }
}

/// The one deed of a call, and all that it needs: objects held, strings copied.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments of the calls named, as their man pages have them"
)]
pub enum Act<'a> {
    /// Answer a value.
    Return(i64),
    /// Answer an error, once the policy was asked (what it refuses comes first).
    Fail(Errno),
    /// Copy bytes to the guest, then answer.
    Write {
        addr: u64,
        data: &'a [u8],
        value: i64,
    },
    /// Let the kernel run the call as it stands. Only for calls that were judged by registers.
    Continue(RegistersOnly),
    /// open(2) and its kin.
    Open {
        place: Place<'a>,
        flags: i32,
        mode: u32,
        fifo: bool,
        /// A directory was found there, and what a directory takes was asked for.
        directory: bool,
        /// The regular file or directory that was found there.
        seen: Option<Inode>,
    },
    /// mkdir(2).
    MakeDir { place: Place<'a>, mode: u32 },
    /// mknod(2).
    MakeNode {
        place: Place<'a>,
        mode: u32,
        dev: u64,
    },
    /// symlink(2).
    MakeLink { place: Place<'a>, target: &'a CStr },
    /// link(2).
    Link { from: Place<'a>, to: Place<'a> },
    /// rename(2).
    Rename {
        from: Place<'a>,
        to: Place<'a>,
        flags: u32,
    },
    /// unlink(2), rmdir(2).
    Remove { place: Place<'a>, flags: i32 },
    /// chmod(2).
    Chmod { object: Object<'a>, mode: u32 },
    /// chown(2).
    Chown {
        object: Object<'a>,
        uid: u32,
        gid: u32,
    },
    /// utimensat(2).
    SetTimes {
        object: Object<'a>,
        times: Option<[libc::timespec; 2]>,
    },
    /// truncate(2).
    Truncate { place: Place<'a>, length: i64 },
    /// setxattr(2).
    SetXattr {
        object: Object<'a>,
        name: &'a CStr,
        value: &'a [u8],
        flags: i32,
    },
    /// removexattr(2).
    RemoveXattr { object: Object<'a>, name: &'a CStr },
    /// file_setattr(2).
    SetFileAttr {
        object: Object<'a>,
        attr: [u8; crate::sys::fs::FILE_ATTR],
    },
    /// access(2) of something that exists.
    Access {
        place: Place<'a>,
        mode: i32,
        flags: i32,
    },
    /// chdir(2).
    ChangeDir(Arc<Dir>),
    /// umask(2).
    Umask(u32),
    /// unshare(2) `CLONE_FS`; the kernel then does the rest.
    UnshareFs(RegistersOnly),
    /// Calls that change the task, or the tasks of a group, that they name.
    Change {
        targets: Vec<Arc<Task>>,
        change: TaskChange<'a>,
    },
    /// kcmp(2).
    Compare {
        targets: [Arc<Task>; 2],
        by: Comparison<'a>,
    },
    /// pidfd_open(2) of a guest, by the host's number; it may have ended.
    OpenProcess {
        task: Option<Arc<Task>>,
        tid: i32,
        flags: i32,
    },
    /// fcntl(2) `F_SETOWN`, `F_SETOWN_EX` on the caller's open file description.
    SetOwner { file: OwnedFd, owner: Owner },
    /// sched_getaffinity(2) of a guest.
    TellCpus { tid: i32, mask: u64, room: usize },
    /// inotify_add_watch(2) on the caller's instance.
    Watch {
        inotify: OwnedFd,
        place: Place<'a>,
        mask: u32,
    },
    /// getdents64(2) by the kernel, on the caller's open file description.
    ReadDir {
        dir: OwnedFd,
        buf: u64,
        room: usize,
        old: bool,
    },
    /// getdents64(2) of a directory that the view makes up or adds to.
    List {
        dir: OwnedFd,
        listing: Arc<Listing>,
        /// How far it has been read.
        at: i64,
        buf: u64,
        room: usize,
        old: bool,
    },
    /// execve(2): the program, opened, and what to do with it.
    Exec {
        program: OwnedFd,
        /// Its interpreter, if the kernel wouldn't find it.
        own_loader: Option<Box<crate::vfs::OwnLoader>>,
        plan: Box<ExecPlan>,
    },
    /// connect(2) of the caller's socket to a socket file or address.
    Connect { socket: OwnedFd, to: Address<'a> },
    /// getsockopt(2): who is at the other end of the caller's socket.
    TellPeer {
        socket: OwnedFd,
        by: PeerAs,
        value: u64,
        room: usize,
        length: u64,
    },
    /// Put the guard on the caller's process, and have it make the call again.
    Guard,
    /// sendto(2) and its kin on the caller's socket.
    Send {
        socket: OwnedFd,
        parcels: Vec<Parcel<'a>>,
        flags: i32,
        /// Where the lengths sent are told: the vector of sendmmsg(2).
        vector: Option<u64>,
    },
    /// bind(2) of the caller's socket to a new name or address.
    Bind {
        socket: OwnedFd,
        to: Address<'a>,
        asked: &'a [u8],
    },
    /// A call that may make a file of a limited directory longer.
    Grow { file: OwnedFd, how: Grow<'a> },
    /// bind(2) of the caller's socket to an abstract name that nobody has (unix(7), "Autobind feature").
    Autobind { socket: OwnedFd },
    /// kill(2) to several guests where the kernel would also reach others.
    SignalAll { groups: Vec<i32>, signal: i32 },
    /// pidfd_send_signal(2) by sbox, through a descriptor that the guest can't exchange meanwhile.
    SignalBehind {
        pidfd: OwnedFd,
        signal: i32,
        info: Option<&'a [u8; crate::sys::pidfd::SIGINFO]>,
        flags: u32,
    },
    /// A signal to somebody whom the policy doesn't let the caller signal: EPERM.
    OutOfReach,
}

/// Proof that a call was judged by its registers alone, so that the kernel may run it as it stands:
/// memory can change after a look, registers of a waiting thread can't. The text is the reason.
#[derive(Clone, Copy, Debug)]
pub struct RegistersOnly(pub &'static str);

/// How a process at the other end of a socket is told (unix(7)).
#[derive(Clone, Copy, Debug)]
pub enum PeerAs {
    /// `SO_PEERCRED`.
    Credentials,
    /// `SO_PEERPIDFD`.
    Pidfd,
}

/// How a file may become longer.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments of the calls named, as their man pages have them"
)]
pub enum Grow<'a> {
    /// write(2), pwrite(2): the kernel does it, if there is room.
    Write {
        buf: u64,
        count: u64,
        offset: Option<u64>,
        as_called: RegistersOnly,
    },
    /// writev(2) and its kin: addresses and lengths, copied.
    Pieces {
        pieces: &'a [(u64, u64)],
        offset: Option<u64>,
        flags: i32,
    },
    /// ftruncate(2).
    Resize {
        length: u64,
        as_called: RegistersOnly,
    },
    /// fallocate(2).
    Allocate {
        mode: i32,
        offset: i64,
        len: i64,
        as_called: RegistersOnly,
    },
    /// copy_file_range(2): where each offset came from, and its value.
    Copy {
        from: OwnedFd,
        from_at: Option<(u64, i64)>,
        to_at: Option<(u64, i64)>,
        len: u64,
    },
}

/// What a metadata call acts on.
#[derive(Debug)]
pub enum Object<'a> {
    /// What a path named.
    Place(Place<'a>),
    /// What a descriptor named.
    Fd(OwnedFd),
}

/// One message to be sent.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// To whom, if not to whom the socket is connected to.
    pub to: Option<Address<'a>>,
    /// What.
    pub data: &'a [u8],
    /// Control messages (cmsg(3)), with our own numbers of what they pass.
    pub control: Vec<u8>,
    /// The descriptors that they pass.
    pub passed: Vec<OwnedFd>,
}

/// A socket address.
#[derive(Debug)]
pub enum Address<'a> {
    /// A place in the view.
    Place(Place<'a>),
    /// Bytes for the kernel: an internet address, or an abstract name of this sandbox.
    Bytes(&'a [u8]),
}

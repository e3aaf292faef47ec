//! Kernel calls that `sbox doctor` tries, and the children it tries them in.
//!
//! An experiment runs in a forked child, because it may change the process for good (filters, Landlock, namespaces)
//! or end it (a seccomp filter above us may answer with SIGSYS). The child tells by its exit status how it went.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// How an experiment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The kernel, or a filter above us, refused a call.
    Errno(Errno),
    /// The call succeeded and did something else.
    Wrong,
    /// The process was killed by this signal.
    Signal(i32),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// How an experiment went.
pub type Outcome = Result<(), Fault>;

/// Exit status of a child whose experiment had the wrong effect. No errno is as high (errno(3)).
const WRONG: i32 = 254;

/// Seconds after which a child that hangs is killed by SIGALRM.
const PATIENCE_S: u32 = 5;

/// A child process; dropping it kills it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    ended: bool,
}

impl Child {
    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> Outcome {
        self.reap()
    }

    fn reap(&mut self) -> Outcome {
        loop {
            let status = match waitpid(self.pid, None) {
                Err(Errno::EINTR) => continue,
                Err(errno) => {
                    self.ended = true;
                    return Err(errno.into());
                }
                Ok(status) => status,
            };
            let outcome = match status {
                WaitStatus::Exited(_, 0) => Ok(()),
                WaitStatus::Exited(_, WRONG) => Err(Fault::Wrong),
                WaitStatus::Exited(_, code) => Err(Errno::from_raw(code).into()),
                WaitStatus::Signaled(_, signal, _) => Err(Fault::Signal(signal as i32)),
                _ => continue, // a stop that ptrace(2) reports
            };
            self.ended = true;
            return outcome;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.reap();
        }
    }
}

/// Ends the process when dropped: a panic in a child must not unwind into code of its parent.
struct Ends(i32);

impl Drop for Ends {
    fn drop(&mut self) {
        // SAFETY: never returns; no destructor or exit handler of the parent's copy runs.
        unsafe { libc::_exit(self.0) }
    }
}

/// Runs `work` in a new process, which dies with the thread that made it.
///
/// The caller should be single-threaded, as `sbox doctor` is: the child holds copies of all locks.
pub fn spawn(work: impl FnOnce() -> Outcome) -> Result<Child, Errno> {
    // SAFETY: the child runs `work`, which makes kernel calls and at most allocates (glibc's malloc is usable
    // after fork(2)), and leaves by _exit(2), whether `work` returns or panics.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => {
            let mut ends = Ends(WRONG);
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            let _ = nix::unistd::alarm::set(PATIENCE_S);
            ends.0 = match work() {
                Ok(()) => 0,
                Err(Fault::Errno(errno)) => errno as i32,
                Err(Fault::Wrong) => WRONG,
                Err(Fault::Signal(signal)) => {
                    die_of(signal);
                    WRONG
                }
            };
            drop(ends);
            Err(Errno::ECHILD) // not reached
        }
        pid => Ok(Child {
            pid: Pid::from_raw(pid),
            ended: false,
        }),
    }
}

/// Runs an experiment in a child of its own.
pub fn in_child(work: impl FnOnce() -> Outcome) -> Outcome {
    spawn(work)?.wait()
}

/// Ends this process by a signal, as it would have ended without any handler of ours; returns if that can't be.
pub fn die_of(signal: i32) {
    // The dead program has left a core dump, if one was wanted. One of sbox would only mislead.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: SIG_DFL runs no code of ours; the set is initialised by sigemptyset before use; raise(3) and
    // pthread_sigmask(3) take a number and a set that lives through the call.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Turns the C convention (-1: look at errno) into a `Result`.
fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// Takes a new descriptor.
fn new_fd(ret: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = check(ret)? as RawFd;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`, Linux 6.6.
const SYNC_WAKE_UP: u64 = 1;
/// `PIDFD_THREAD`, Linux 6.9.
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// A filter that answers one call with `action` and allows all others.
///
/// It needs no look at the architecture: only code of this module runs under it.
fn filter(number: u32, action: u32) -> [libc::sock_filter; 4] {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let ret = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    [
        op(load, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        op(equal, 1, number),
        op(ret, 0, action),
        op(ret, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// seccomp(2) `SECCOMP_SET_MODE_FILTER`; needs no_new_privs.
fn set_filter(number: u32, action: u32, flags: libc::c_ulong) -> Result<libc::c_long, Errno> {
    let mut program = filter(number, action);
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` points at `len` instructions that live through the call; the kernel copies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })
}

/// Filters one call: `action` is a `SECCOMP_RET_*` value.
pub fn install(number: u32, action: u32) -> Result<(), Errno> {
    set_filter(number, action, 0).map(drop)
}

/// Filters one call with `SECCOMP_RET_USER_NOTIF` and returns the listener.
pub fn listen(number: u32, flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    new_fd(set_filter(number, libc::SECCOMP_RET_USER_NOTIF, flags)? as libc::c_long)
}

/// seccomp(2) `SECCOMP_GET_ACTION_AVAIL`, Linux 4.14.
pub fn action_available(action: u32) -> Result<(), Errno> {
    let operation = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the kernel reads one 32-bit word.
    check(unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw const action) }).map(drop)
}

/// Waits for a notification; its id.
pub fn receive(listener: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: all-zero is a valid `seccomp_notif`, and the kernel wants it zeroed.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: `notif` has the size that the request's number states.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut notif) }.into())?;
    Ok(notif.id)
}

/// Answers a notification with a value.
pub fn answer(listener: BorrowedFd<'_>, id: u64, val: i64) -> Result<(), Errno> {
    let mut reply = libc::seccomp_notif_resp {
        id,
        val,
        error: 0,
        flags: 0,
    };
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: `reply` has the size that the request's number states.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut reply) }.into()).map(drop)
}

/// Puts a copy of `fd` into the process that waits (Linux 5.9), and with `send` makes it the answer (5.14).
pub fn add_fd(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    send: bool,
) -> Result<i64, Errno> {
    let add = libc::seccomp_notif_addfd {
        id,
        flags: if send {
            libc::SECCOMP_ADDFD_FLAG_SEND as u32
        } else {
            0
        },
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: libc::O_CLOEXEC as u32,
    };
    let request = libc::SECCOMP_IOCTL_NOTIF_ADDFD;
    // SAFETY: `add` has the size that the request's number states; the kernel only reads it.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw const add) }.into())
}

/// Asks for wake-ups on the same CPU (Linux 6.6).
pub fn sync_wake_up(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    let request = libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS;
    // SAFETY: this request takes its argument by value.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, SYNC_WAKE_UP) }.into()).map(drop)
}

/// Makes a call without arguments: getppid(2), or a number above all that a kernel has; EINVAL for others.
pub fn call(number: u32) -> Result<i64, Errno> {
    const NO_KERNEL_HAS: u32 = 0x0fff_0000;
    if i64::from(number) != libc::SYS_getppid && number < NO_KERNEL_HAS {
        return Err(Errno::EINVAL);
    }
    // SAFETY: getppid(2) has no arguments, and the other numbers are no call at all (checked above).
    check(unsafe { libc::syscall(number.into()) })
}

/// True if the descriptor is open.
pub fn is_open(fd: i64) -> bool {
    let Ok(fd) = RawFd::try_from(fd) else {
        return false;
    };
    // SAFETY: F_GETFD passes no memory and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// pidfd_open(2), Linux 5.3.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    new_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// pidfd_open(2) for one thread, Linux 6.9.
pub fn pidfd_open_thread(tid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    new_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, tid.as_raw(), PIDFD_THREAD) })
}

/// pidfd_getfd(2), Linux 5.6.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    new_fd(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })
}

/// faccessat2(2), Linux 5.8: does the path exist? Not the wrapper of the C library, which falls back.
pub fn faccessat2(path: &CStr) -> Result<(), Errno> {
    let (call, dir) = (libc::SYS_faccessat2, libc::AT_FDCWD);
    // SAFETY: `path` is NUL-terminated and outlives the call.
    check(unsafe { libc::syscall(call, dir, path.as_ptr(), libc::F_OK, libc::AT_EACCESS) })
        .map(drop)
}

/// statx(2), Linux 4.11. Not the wrapper of the C library, which falls back.
pub fn statx(path: &CStr) -> Result<(), Errno> {
    let (call, dir) = (libc::SYS_statx, libc::AT_FDCWD);
    let mut out = std::mem::MaybeUninit::<libc::statx>::uninit();
    let mask = libc::STATX_BASIC_STATS;
    // SAFETY: `path` is NUL-terminated; `out` has room for one `struct statx` and is not read.
    check(unsafe { libc::syscall(call, dir, path.as_ptr(), 0, mask, out.as_mut_ptr()) }).map(drop)
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11, of a range in which no descriptor can be.
pub fn close_range_of_none() -> Result<(), Errno> {
    let (call, flags) = (libc::SYS_close_range, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: no memory is passed, and the number is above any that a descriptor may have (INT_MAX).
    check(unsafe { libc::syscall(call, u32::MAX, u32::MAX, flags) }).map(drop)
}

/// fsetxattr(2).
pub fn fsetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let (fd, data) = (fd.as_raw_fd(), value.as_ptr().cast());
    // SAFETY: `name` is NUL-terminated, `data` has `value.len()` bytes, both outlive the call.
    check(unsafe { libc::fsetxattr(fd, name.as_ptr(), data, value.len(), 0) }.into()).map(drop)
}

/// Version of the Landlock interface, landlock_create_ruleset(2), Linux 5.13.
pub fn landlock_abi() -> Result<i64, Errno> {
    const VERSION: u32 = 1;
    let (call, none) = (
        libc::SYS_landlock_create_ruleset,
        std::ptr::null::<libc::c_void>(),
    );
    // SAFETY: with this flag the kernel wants NULL and 0, and reads nothing.
    check(unsafe { libc::syscall(call, none, 0, VERSION) })
}

/// Takes rights from this thread by Landlock, with no exceptions: of files, and of scopes (0 before ABI 6).
pub fn landlock(access_fs: u64, scoped: u64) -> Result<(), Errno> {
    // struct landlock_ruleset_attr: handled_access_fs, handled_access_net (ABI 4), scoped (ABI 6).
    // An older kernel takes a longer structure if the rest is zero.
    let attr: [u64; 3] = [access_fs, 0, scoped];
    let (size, create) = (size_of_val(&attr), libc::SYS_landlock_create_ruleset);
    // SAFETY: the kernel reads `size` bytes of `attr`.
    let rules = new_fd(unsafe { libc::syscall(create, attr.as_ptr(), size, 0) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })
        .map(drop)
}

/// getpid(2) of the x32 table; ENOSYS where the kernel has none.
pub fn x32_getpid() -> Result<i64, Errno> {
    const X32: libc::c_long = 0x4000_0000;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(X32 | libc::SYS_getpid) })
}

/// getpid(2) of the i386 table; SIGSEGV where the kernel has none, so call it in a child.
pub fn i386_getpid() -> Result<i64, Errno> {
    const I386_GETPID: i64 = 20;
    let mut value = I386_GETPID;
    // SAFETY: the call has no arguments and writes no memory. int 0x80 leaves all registers but rax alone;
    // kernels before 4.17 zeroed r8 to r11, hence they are given up.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") value,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if value < 0 {
        Err(Errno::from_raw(-value as i32))
    } else {
        Ok(value)
    }
}

//! Processes, credentials, signals to threads, and the few ptrace requests that nix lacks.

use super::{Errno, Result, check, check_int};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::process::Process;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `AUDIT_ARCH_X86_64` of <linux/audit.h>: `EM_X86_64`, 64 bits, little endian.
pub const ARCH_X86_64: u32 = 0xc000_003e;

/// tgkill(2).
pub fn tgkill(tgid: i32, tid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) }).map(drop)
}

/// gettid(2).
pub fn gettid() -> i32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { libc::gettid() }
}

/// getpgid(2).
pub fn getpgid(pid: i32) -> Result<i32> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::getpgid(pid) }).map(|p| p as i32)
}

/// getsid(2).
pub fn getsid(pid: i32) -> Result<i32> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::getsid(pid) }).map(|p| p as i32)
}

/// The parent of a process (proc_pid_stat(5)); ESRCH if it is gone.
pub fn parent(pid: i32) -> Result<i32> {
    let path = format!("/proc/{pid}/stat");
    // The name, which may hold anything but is no longer than 64 bytes, ends in the last parenthesis.
    let mut text = [0; 512];
    let n = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read(&mut file, &mut text))
        .map_err(|_| Errno::ESRCH)?;
    let text = text.get(..n).unwrap_or_default();
    let name_ends = text.iter().rposition(|&byte| byte == b')');
    name_ends
        .and_then(|at| std::str::from_utf8(text.get(at..)?).ok())
        .and_then(|rest| rest.split(' ').nth(2)?.parse().ok())
        .ok_or(Errno::ESRCH)
}

/// `siginfo_t` as bytes (sigaction(2)).
pub type SignalInfo = [u8; 128];

/// ptrace(PTRACE_GETSIGINFO): the signal that a task has stopped for.
pub fn ptrace_signal_info(tid: i32) -> Result<SignalInfo> {
    let mut info = [0; 128];
    // SAFETY: the kernel writes one siginfo_t, which has 128 bytes.
    check(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0, info.as_mut_ptr()) })?;
    Ok(info)
}

/// ptrace(PTRACE_SETSIGINFO).
pub fn ptrace_set_signal_info(tid: i32, info: &SignalInfo) -> Result<()> {
    // SAFETY: the kernel reads one siginfo_t, which has 128 bytes.
    check(unsafe { libc::ptrace(libc::PTRACE_SETSIGINFO, tid, 0, info.as_ptr()) }).map(drop)
}

/// True if a filter has answered the call that a task is at the end of with a signal instead of letting it be made (seccomp(2),
/// `SECCOMP_RET_TRAP`): it waits among those for this thread alone (ptrace(2), `PTRACE_PEEKSIGINFO`).
pub fn is_trapped(tid: i32) -> bool {
    // <asm-generic/siginfo.h>
    const SYS_SECCOMP: i32 = 1;
    const AT_ONCE: usize = 32;
    let mut infos = [[0u8; 128]; AT_ONCE];
    let args = libc::ptrace_peeksiginfo_args {
        off: 0,
        flags: 0,
        nr: AT_ONCE as i32,
    };
    // SAFETY: the kernel reads `args`, and writes at most `nr` siginfo_t of 128 bytes each.
    let n = unsafe {
        libc::ptrace(
            libc::PTRACE_PEEKSIGINFO,
            tid,
            &raw const args,
            infos.as_mut_ptr(),
        )
    };
    let word = |info: &[u8; 128], at: usize| {
        let bytes = info.get(at..).and_then(|b| b.first_chunk());
        bytes.map(|b| i32::from_ne_bytes(*b))
    };
    // One that was not trapped is told of no siginfo by an error: n is -1.
    let there = infos.iter().take(usize::try_from(n).unwrap_or(0));
    there
        .into_iter()
        .any(|info| (word(info, 0), word(info, 8)) == (Some(libc::SIGSYS), Some(SYS_SECCOMP)))
}

/// prctl(2) with integer arguments only.
pub fn prctl(option: i32, arg2: u64, arg3: u64) -> Result<usize> {
    // SAFETY: callers of this module pass options whose arguments are plain integers.
    check_int(unsafe { libc::prctl(option, arg2, arg3, 0u64, 0u64) })
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC` (Linux 5.11): everything from `first` on closes at exec.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: no descriptor is closed now, so no owner of one is hurt.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// close_range(2) (Linux 5.9): closes everything from `first` on, for a process that will never again use, nor drop,
/// what it had there.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: no memory is passed. Owners of these descriptors remain in memory, but by contract none is used or dropped.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Bytes that our address space may have, getrlimit(2); `None`: as many as there are.
pub fn address_space() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != libc::RLIM_INFINITY).then_some(soft)
}

/// signal(2) with `SIG_DFL` or `SIG_IGN`; what it was before.
fn set_disposition(signal: i32, handler: libc::sighandler_t) -> Result<libc::sighandler_t> {
    // SAFETY: callers pass SIG_DFL or SIG_IGN, which run no code of ours.
    match unsafe { libc::signal(signal, handler) } {
        libc::SIG_ERR => Err(Errno::last()),
        before => Ok(before),
    }
}

/// Whether SIGXFSZ was ignored when we were started.
static LONG_FILES_IGNORED: AtomicBool = AtomicBool::new(false);

/// From now on a file of ours that is too long for our limit is an error, EFBIG, and not the end (setrlimit(2), `RLIMIT_FSIZE`).
pub fn outlive_long_files() {
    if let Ok(before) = ignore_telling(libc::SIGXFSZ) {
        LONG_FILES_IGNORED.store(before, Ordering::Relaxed);
    }
}

/// In a child: as it was before [`outlive_long_files`].
pub fn end_by_long_files() -> Result<()> {
    match LONG_FILES_IGNORED.load(Ordering::Relaxed) {
        true => Ok(()),
        false => default_disposition(libc::SIGXFSZ),
    }
}

fn ignore_telling(signal: i32) -> Result<bool> {
    set_disposition(signal, libc::SIG_IGN).map(|before| before == libc::SIG_IGN)
}

/// Takes all descriptors that we may have, getrlimit(2). The soft and hard limit as they were; `None` if they stay.
pub fn raise_descriptor_limit() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some((soft, hard))
}

/// signal(2) `SIG_DFL`.
pub fn default_disposition(signal: i32) -> Result<()> {
    set_disposition(signal, libc::SIG_DFL).map(drop)
}

/// signal(2) `SIG_IGN`.
pub fn ignore(signal: i32) -> Result<()> {
    ignore_telling(signal).map(drop)
}

/// Drops every capability of the calling thread, and what would give root some at exec, so that what the supervisor
/// does on behalf of a guest is checked exactly as the guest's own call.
///
/// The bounding set stays, being harmless: it says what exec may grant, and to a guest, which has `no_new_privs`, exec
/// grants nothing (capabilities(7)). To empty it takes a call for each of forty.
pub fn drop_capabilities() -> Result<()> {
    let no_root = libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED;
    // EPERM: an ordinary user, who has nothing to lose by it.
    let _ = prctl(libc::PR_SET_SECUREBITS, no_root as u64, 0);
    let _ = prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
        0,
    );
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // _LINUX_CAPABILITY_VERSION_3, capget(2): two words of effective, permitted, inheritable.
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let none = [0u32; 6];
    // SAFETY: the kernel reads the header and, for version 3, six 32-bit words.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) }).map(drop)
}

/// capget(2), version 3: the capability words of `pid` (0: the caller).
pub fn capget(pid: i32) -> Result<[u32; 6]> {
    let mut header = [0x2008_0522u32, pid as u32];
    let mut data = [0u32; 6];
    // SAFETY: the kernel reads and writes the two-word header and writes six words of data.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok(data)
}

/// setgroups(2) with no groups; EPERM for ordinary users.
pub fn drop_groups() -> Result<()> {
    // SAFETY: a size of 0 reads no memory.
    check_int(unsafe { libc::setgroups(0, std::ptr::null()) }).map(drop)
}

/// Gives the calling thread its own umask and working directory (unshare(2) `CLONE_FS`).
pub fn unshare_fs() -> Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::unshare(libc::CLONE_FS) }).map(drop)
}

/// What [`fork`] returned, and in whom.
pub enum Forked {
    /// In the new process.
    Child,
    /// In the caller; the child's pid.
    Parent(i32),
}

/// fork(2). The caller must be single-threaded: then the child may run any code.
pub fn fork() -> Result<Forked> {
    // SAFETY: called once, before the supervisor starts its first thread (checked by `spawn`).
    match check_int(unsafe { libc::fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as i32)),
    }
}

/// _exit(2): ends the process without running destructors or exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(status) }
}

/// execve(2) by pointers that the caller keeps alive; returns only on failure.
pub fn execve(
    path: &std::ffi::CStr,
    argv: &[std::ffi::CString],
    envp: &[std::ffi::CString],
) -> Errno {
    let pointers = |list: &[std::ffi::CString]| {
        let mut out: Vec<*const libc::c_char> = list.iter().map(|s| s.as_ptr()).collect();
        out.push(std::ptr::null());
        out
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: all strings are NUL-terminated, both arrays end in NULL, all outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}

/// ptrace(PTRACE_LISTEN): lets a task stay in its group stop, able to report what follows.
pub fn ptrace_listen(tid: i32) -> Result<()> {
    // SAFETY: LISTEN takes no memory.
    check(unsafe { libc::ptrace(libc::PTRACE_LISTEN, tid, 0, 0) }).map(drop)
}

/// ptrace(PTRACE_CONT or PTRACE_SYSCALL) delivering `signal` (0: none).
pub fn ptrace_resume(tid: i32, to_syscall_exit: bool, signal: i32) -> Result<()> {
    let request = if to_syscall_exit {
        libc::PTRACE_SYSCALL
    } else {
        libc::PTRACE_CONT
    };
    // SAFETY: both requests take the signal by value.
    check(unsafe { libc::ptrace(request, tid, 0, signal as libc::c_long) }).map(drop)
}

/// ptrace(PTRACE_INTERRUPT).
pub fn ptrace_interrupt(tid: i32) -> Result<()> {
    // SAFETY: INTERRUPT takes no memory.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) }).map(drop)
}

/// One state change of a traced task, still waiting to be consumed (`WNOWAIT`).
pub struct Waited {
    /// The task.
    pub tid: i32,
    /// How it stopped; `None` when it is dead and waits to be reaped.
    pub stop: Option<Stop>,
}

/// A ptrace stop, as waitid(2) tells it in `si_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The signal; SIGTRAP with bit 7 set for the stops of system calls.
    pub signal: i32,
    /// `PTRACE_EVENT_*`, or 0.
    pub event: i32,
}

impl Stop {
    const fn from_status(status: i32) -> Self {
        Self {
            signal: status & 0xff,
            event: status >> 8,
        }
    }
}

/// waitid(2) on every child and tracee without consuming the state. A stop that is not consumed is
/// over once its task is resumed, so that the usual stop costs one call. ECHILD: none is left.
/// `None` if there is nothing yet, unless it is to `block`.
pub fn wait_peek(block: bool) -> Result<Option<Waited>> {
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let mut options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL;
    if !block {
        options |= libc::WNOHANG;
    }
    // SAFETY: `info` has room for one siginfo_t.
    check_int(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) })?;
    // SAFETY: waitid fills the SIGCHLD member of the union, or leaves it all zero.
    let (tid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if tid == 0 {
        return Ok(None);
    }
    let stop = (!is_death(&info)).then(|| Stop::from_status(status));
    Ok(Some(Waited { tid, stop }))
}

/// A stop before a system call that a filter has sent to the tracer.
pub struct SeccompStop {
    /// The call's number.
    pub nr: u64,
    /// Its argument registers.
    pub args: [u64; 6],
    /// The filter's data (`SECCOMP_RET_DATA`).
    pub data: u32,
}

/// ptrace(PTRACE_GET_SYSCALL_INFO) at a `PTRACE_EVENT_SECCOMP` stop (Linux 5.3); EINVAL at any other.
pub fn seccomp_stop(tid: i32) -> Result<SeccompStop> {
    let info = syscall_info(tid)?;
    if info.op != libc::PTRACE_SYSCALL_INFO_SECCOMP {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `op` says that this member of the union was filled in; any bits are valid numbers.
    let found = unsafe { info.u.seccomp };
    Ok(SeccompStop {
        nr: found.nr,
        args: found.args,
        data: found.ret_data,
    })
}

/// wait4(2) for one task, consuming its state; the raw status.
pub fn wait_take(tid: i32) -> Result<i32> {
    let mut status = 0;
    // SAFETY: `status` has room for one int; no rusage is asked for.
    check_int(unsafe {
        libc::wait4(
            tid,
            &raw mut status,
            libc::__WALL | libc::WNOHANG,
            std::ptr::null_mut(),
        )
    })
    .and_then(|pid| {
        if pid == 0 {
            Err(Errno::EAGAIN)
        } else {
            Ok(status)
        }
    })
}

/// Makes `signal` interrupt system calls of the thread that gets it, and do nothing else.
pub fn install_interrupter(signal: i32) -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction (empty mask, no SA_RESTART).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, hence is async-signal-safe; the old action is not wanted.
    check_int(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }).map(drop)
}

/// prlimit(2): soft and hard limit as they were, and `new` ones if there are any.
pub fn limit(tid: i32, resource: u32, new: Option<[u64; 2]>) -> Result<[u64; 2]> {
    let mut old = [0u64; 2];
    let new: *const u64 = new.as_ref().map_or(std::ptr::null(), |new| new.as_ptr());
    // SAFETY: `struct rlimit64` is two 64-bit words; the kernel reads one from `new`, if it isn't null, and writes one to `old`.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, tid, resource, new, old.as_mut_ptr()) })?;
    Ok(old)
}

/// ioctl(TIOCGPTN): the number of the pseudo-terminal behind a master, ioctl_tty(2).
pub fn pty_number(master: BorrowedFd<'_>) -> Result<i32> {
    let mut number: libc::c_int = 0;
    // SAFETY: TIOCGPTN writes one int.
    check_int(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Sends `signal` to thread `tid`, whatever its group (tkill(2)).
pub fn tgkill_any(tid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tkill, tid, signal) }).map(drop)
}

/// Waits for the next stop of one task, without consuming it. ESRCH when it is dead: then it is left for
/// [`wait_peek`], whoever else has to hear of its end. ETIMEDOUT after `patience`.
///
/// The kernel doesn't tell the death of a process's first thread as long as there are others, which may wait for us
/// in their turn. So it is asked again and again, and what /proc says counts, too.
pub fn wait_for(tid: i32, patience: Duration) -> Result<Stop> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL;
    let since = Instant::now();
    for round in 0u32.. {
        match wait_id(tid, options) {
            Err(Errno::EINTR) => continue,
            Ok(info) if is_death(&info) => return Err(Errno::ESRCH),
            // SAFETY: waitid fills the SIGCHLD member of the union, or leaves it all zero.
            Ok(info) => unsafe {
                if info.si_pid() == tid {
                    return Ok(Stop::from_status(info.si_status()));
                }
            },
            Err(errno) => return Err(errno),
        }
        // It takes some microseconds, on this CPU if there is no other.
        if round < 200 {
            std::thread::yield_now();
            continue;
        }
        std::thread::sleep(Duration::from_micros(100));
        if round % 16 == 0 && is_dead(tid) {
            return Err(Errno::ESRCH);
        }
        if since.elapsed() > patience {
            break;
        }
    }
    Err(Errno::ETIMEDOUT)
}

/// True for a task that runs no more, whether or not that has been waited for.
pub fn is_dead(tid: i32) -> bool {
    let state = Process::new(tid).and_then(|process| process.stat());
    !matches!(state, Ok(stat) if !matches!(stat.state, 'Z' | 'X'))
}

/// Number and arguments of the call that a task has just entered, from its entry stop. EINVAL in another stop, or for a
/// call of another architecture.
pub fn syscall_entry(tid: i32) -> Result<(u64, [u64; 6])> {
    let info = syscall_info(tid)?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || info.arch != ARCH_X86_64 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `op` says that this member of the union was filled in; any bits are valid numbers.
    let found = unsafe { info.u.entry };
    Ok((found.nr, found.args))
}

/// ptrace(PTRACE_GET_SYSCALL_INFO).
fn syscall_info(tid: i32) -> Result<libc::ptrace_syscall_info> {
    // SAFETY: all-zero is a valid ptrace_syscall_info.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    // SAFETY: the kernel writes at most `size` bytes, which `info` has.
    check(unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, tid, size, &raw mut info) })?;
    Ok(info)
}

/// Consumes the stop that [`wait_peek`] has shown. ESRCH if the task has been killed in it: its death stays
/// to be seen.
pub fn take_stop(tid: i32) -> Result<()> {
    let stop = wait_id(tid, libc::WSTOPPED | libc::WNOHANG | libc::__WALL)?;
    // SAFETY: waitid fills the SIGCHLD member of the union, or leaves it all zero.
    if unsafe { stop.si_pid() } == tid {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

fn wait_id(tid: i32, options: i32) -> Result<libc::siginfo_t> {
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` has room for one siginfo_t.
    check_int(unsafe { libc::waitid(libc::P_PID, tid.cast_unsigned(), &raw mut info, options) })?;
    Ok(info)
}

fn is_death(info: &libc::siginfo_t) -> bool {
    [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED].contains(&info.si_code)
}

/// ptrace(PTRACE_GETSIGMASK): the signals that a stopped task blocks.
pub fn ptrace_get_sigmask(tid: i32) -> Result<u64> {
    let mut mask = 0u64;
    // SAFETY: the kernel writes the eight bytes that `addr` states.
    check(unsafe { libc::ptrace(libc::PTRACE_GETSIGMASK, tid, 8, &raw mut mask) })?;
    Ok(mask)
}

/// ptrace(PTRACE_SETSIGMASK).
pub fn ptrace_set_sigmask(tid: i32, mask: u64) -> Result<()> {
    // SAFETY: the kernel reads the eight bytes that `addr` states.
    check(unsafe { libc::ptrace(libc::PTRACE_SETSIGMASK, tid, 8, &raw const mask) }).map(drop)
}

/// ptrace(PTRACE_SEIZE) with the options that the tracer lives by.
pub fn ptrace_seize(tid: i32, with_exit_stops: bool) -> Result<()> {
    let mut options = libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    if with_exit_stops {
        options |= libc::PTRACE_O_TRACEEXIT;
    }
    // SAFETY: SEIZE takes its options by value.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid, 0, options as libc::c_long) }).map(drop)
}

/// prlimit(2): how long a file a task may make, `RLIMIT_FSIZE`.
pub fn file_size_limit(tid: i32) -> Result<u64> {
    limit(tid, libc::RLIMIT_FSIZE, None).map(|[soft, _]| soft)
}

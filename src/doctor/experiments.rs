//! The experiments: each does what the engine does, once, in a child process.

use std::ffi::CString;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{getpid, getppid, pipe, read, write};

use crate::sys::probe::{self as sys, Fault, Outcome, in_child, spawn};

/// getppid(2): every profile of every container allows it, and nothing in an experiment needs it.
const GETPPID: u32 = libc::SYS_getppid as u32;

/// What the supervisor does with the notification of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Answers with a number.
    Value,
    /// Adds a descriptor, then answers with its number.
    AddFd,
    /// Both in one step.
    AddFdSend,
}

/// One notified call, from the program to the supervisor and back.
#[derive(Debug, Clone, Copy)]
pub struct Trip {
    /// The call.
    pub number: u32,
    /// Flags of the filter.
    pub flags: libc::c_ulong,
    /// Whether wake-ups on the same CPU are asked for.
    pub sync: bool,
    /// The answer.
    pub reply: Reply,
}

impl Trip {
    /// getppid(2), answered with a number.
    pub const PLAIN: Self = Self {
        number: GETPPID,
        flags: 0,
        sync: false,
        reply: Reply::Value,
    };

    /// Makes the trip.
    pub fn run(self) -> Outcome {
        in_child(|| self.supervise())
    }

    /// A number that getppid(2) doesn't return.
    const ANSWER: i64 = 0x5b0c_5b0c;

    fn supervise(self) -> Outcome {
        prctl::set_no_new_privs()?;
        let listener = sys::listen(self.number, self.flags)?;
        if self.sync {
            sys::sync_wake_up(listener.as_fd())?;
        }
        // The guest's end of the pipe closes when it ends, also if the call never came to us.
        let (ended, open) = pipe()?;
        let guest = spawn(|| match sys::call(self.number)? {
            Self::ANSWER if self.reply == Reply::Value => Ok(()),
            fd if self.reply != Reply::Value && sys::is_open(fd) => Ok(()),
            _ => Err(Fault::Wrong),
        })?;
        drop(open);
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        let came = fds
            .first()
            .and_then(PollFd::revents)
            .is_some_and(|events| events.contains(PollFlags::POLLIN));
        if came {
            let id = sys::receive(listener.as_fd())?;
            match self.reply {
                Reply::Value => sys::answer(listener.as_fd(), id, Self::ANSWER)?,
                Reply::AddFd => {
                    let fd = sys::add_fd(listener.as_fd(), id, ended.as_fd(), false)?;
                    sys::answer(listener.as_fd(), id, fd)?;
                }
                Reply::AddFdSend => {
                    sys::add_fd(listener.as_fd(), id, ended.as_fd(), true)?;
                }
            }
        }
        guest.wait()
    }
}

/// prctl(2) `PR_SET_NO_NEW_PRIVS`.
pub fn no_new_privs() -> Outcome {
    in_child(|| {
        prctl::set_no_new_privs()?;
        holds(prctl::get_no_new_privs()?)
    })
}

/// A filter is taken, and does what it says.
pub fn filter() -> Outcome {
    in_child(|| {
        prctl::set_no_new_privs()?;
        let refused = Errno::EXDEV; // getppid(2) has no errors
        sys::install(GETPPID, libc::SECCOMP_RET_ERRNO | refused as u32)?;
        holds(sys::call(GETPPID) == Err(refused))
    })
}

/// The kernel knows `SECCOMP_RET_USER_NOTIF`.
pub fn notification() -> Outcome {
    in_child(|| Ok(sys::action_available(libc::SECCOMP_RET_USER_NOTIF)?))
}

/// A child of ours can be seized and stopped.
pub fn seize() -> Outcome {
    in_child(|| {
        let (guest, _end) = sleeper()?;
        ptrace::seize(guest.pid(), ptrace::Options::PTRACE_O_EXITKILL)?;
        ptrace::interrupt(guest.pid())?;
        let stopped = waitpid(guest.pid(), None)?;
        holds(matches!(stopped, WaitStatus::PtraceEvent(..)))
    })
}

/// A filter stops a call for the tracer, who makes another call of it: getppid(2) becomes getpid(2).
pub fn rewrite() -> Outcome {
    in_child(|| {
        let (go, ready) = pipe()?;
        let guest = spawn(|| {
            prctl::set_no_new_privs()?;
            sys::install(GETPPID, libc::SECCOMP_RET_TRACE)?;
            read(&go, &mut [0])?;
            holds(sys::call(GETPPID)? == i64::from(getpid().as_raw()))
        })?;
        let pid = guest.pid();
        let options = ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESECCOMP;
        ptrace::seize(pid, options)?;
        write(&ready, &[0])?;
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        let stopped = waitid(Id::Pid(pid), peek)?;
        if !matches!(
            stopped,
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_SECCOMP)
        ) {
            // It ended without a stop; an error of its own would be the reason.
            return guest.wait().and(Err(Fault::Wrong));
        }
        let mut regs = ptrace::getregs(pid)?;
        regs.orig_rax = libc::SYS_getpid as u64;
        ptrace::setregs(pid, regs)?;
        waitpid(pid, None)?; // the stop that was peeked at
        ptrace::cont(pid, None)?;
        guest.wait()
    })
}

/// A word of memory, which has the same address in a copy of this process.
static WORD: AtomicU64 = AtomicU64::new(u64::from_ne_bytes(OLD));
const OLD: [u8; 8] = *b"sbox-old";
const NEW: [u8; 8] = *b"sbox-new";

/// The guest's [`WORD`].
fn remote() -> RemoteIoVec {
    RemoteIoVec {
        base: WORD.as_ptr() as usize,
        len: OLD.len(),
    }
}

/// process_vm_readv(2) of a child's memory.
pub fn vm_read() -> Outcome {
    in_child(|| {
        let (guest, _end) = sleeper()?;
        let mut seen = [0; 8];
        process_vm_readv(guest.pid(), &mut [IoSliceMut::new(&mut seen)], &[remote()])?;
        holds(seen == OLD)
    })
}

/// process_vm_writev(2) to a child's memory, which leaves ours as it is.
pub fn vm_write() -> Outcome {
    in_child(|| {
        let (guest, _end) = sleeper()?;
        process_vm_writev(guest.pid(), &[IoSlice::new(&NEW)], &[remote()])?;
        let mut seen = [0; 8];
        process_vm_readv(guest.pid(), &mut [IoSliceMut::new(&mut seen)], &[remote()])?;
        let ours = WORD.load(Ordering::Relaxed).to_ne_bytes();
        holds(seen == NEW && ours == OLD)
    })
}

/// `/proc/PID/mem` of a child can be opened and read.
pub fn proc_mem() -> Outcome {
    in_child(|| {
        let (guest, _end) = sleeper()?;
        let mut seen = [0; 8];
        let mem = File::open(format!("/proc/{}/mem", guest.pid())).map_err(errno)?;
        mem.read_exact_at(&mut seen, WORD.as_ptr() as u64)
            .map_err(errno)?;
        holds(seen == OLD)
    })
}

/// pidfd_open(2) of a child.
pub fn pidfd_open() -> Outcome {
    in_child(|| {
        let (guest, _end) = sleeper()?;
        sys::pidfd_open(guest.pid())?;
        Ok(())
    })
}

/// pidfd_open(2) of a thread.
pub fn pidfd_thread() -> Outcome {
    in_child(|| {
        sys::pidfd_open_thread(getpid())?;
        Ok(())
    })
}

/// pidfd_getfd(2) from a child.
pub fn pidfd_getfd() -> Outcome {
    in_child(|| {
        let (guest, end) = sleeper()?;
        let pidfd = sys::pidfd_open(guest.pid())?;
        sys::pidfd_getfd(pidfd.as_fd(), end.as_raw_fd())?;
        Ok(())
    })
}

/// openat2(2), and its promise not to leave a directory.
pub fn openat2_beneath() -> Outcome {
    in_child(|| {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let at = nix::fcntl::AT_FDCWD;
        openat2(at, ".", how)?;
        holds(matches!(openat2(at, "/", how), Err(Errno::EXDEV)))
    })
}

/// faccessat2(2).
pub fn faccessat2() -> Outcome {
    in_child(|| Ok(sys::faccessat2(c"/")?))
}

/// statx(2).
pub fn statx() -> Outcome {
    in_child(|| Ok(sys::statx(c"/")?))
}

/// close_range(2).
pub fn close_range() -> Outcome {
    in_child(|| Ok(sys::close_range_of_none()?))
}

/// execveat(2) of a descriptor: this very program, asked for its version.
pub fn execveat() -> Outcome {
    in_child(|| {
        let program = File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open("/proc/self/exe")
            .map_err(errno)?;
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(errno)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        let args = [c"sbox", c"--version"];
        let environment: [CString; 0] = [];
        nix::unistd::execveat(&program, c"", &args, &environment, AtFlags::AT_EMPTY_PATH)?;
        Ok(())
    })
}

/// memfd_create(2) of a file that may be executed.
pub fn memfd_exec() -> Outcome {
    in_child(try_memfd_exec)
}

fn try_memfd_exec() -> Outcome {
    // MFD_EXEC, which Linux knows since 6.3: before, all of them may be executed.
    let exec = MFdFlags::from_bits_retain(0x10);
    let made = memfd_create(c"doctor", exec | MFdFlags::MFD_CLOEXEC).or_else(|errno| match errno {
        Errno::EINVAL => memfd_create(c"doctor", MFdFlags::MFD_CLOEXEC),
        other => Err(other),
    });
    let mode = File::from(made?).metadata().map(|m| m.permissions().mode());
    match mode {
        Ok(mode) if mode & 0o100 != 0 => Ok(()),
        _ => Err(Fault::Wrong),
    }
}

/// inotify(7).
pub fn inotify() -> Outcome {
    in_child(|| {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
        watch.add_watch("/", AddWatchFlags::IN_CREATE)?;
        Ok(())
    })
}

/// `LANDLOCK_ACCESS_FS_READ_DIR`.
const READ_DIR: u64 = 1 << 3;
/// `LANDLOCK_SCOPE_SIGNAL`, ABI 6.
const SCOPE_SIGNAL: u64 = 1 << 1;

/// Landlock takes the right to list directories.
pub fn landlock() -> Outcome {
    in_child(|| {
        prctl::set_no_new_privs()?;
        sys::landlock(READ_DIR, 0)?;
        let list = File::open("/").map_err(errno);
        holds(matches!(list, Err(Fault::Errno(Errno::EACCES))))
    })
}

/// Landlock takes the right to signal processes outside.
pub fn landlock_scope() -> Outcome {
    in_child(|| {
        prctl::set_no_new_privs()?;
        sys::landlock(READ_DIR, SCOPE_SIGNAL)?;
        holds(nix::sys::signal::kill(getppid(), None) == Err(Errno::EPERM))
    })
}

/// A user namespace, and a mount namespace in it: some systems give the first without any right in it.
pub fn user_namespace() -> Outcome {
    in_child(|| {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        Ok(())
    })
}

/// A directory can be made below `dir`, a file in it, and an extended attribute on it if wanted.
pub fn scratch(dir: &Path, xattr: bool) -> Outcome {
    let mine = dir.join(format!(".sbox-doctor-{}", std::process::id()));
    std::fs::create_dir(&mine).map_err(errno)?;
    let used = File::create_new(mine.join("file")).map_err(errno);
    let used = used.and_then(|file| {
        if xattr {
            sys::fsetxattr(file.as_fd(), c"user.sbox", b"1")?;
        }
        Ok(())
    });
    let removed = std::fs::remove_dir_all(&mine).map_err(errno);
    used.and(removed)
}

/// Calls of the x32 table are answered.
pub fn x32() -> Outcome {
    in_child(|| {
        sys::x32_getpid()?;
        Ok(())
    })
}

/// Calls of the i386 table are answered.
pub fn i386() -> Outcome {
    in_child(|| {
        sys::i386_getpid()?;
        Ok(())
    })
}

/// A child that does nothing as long as the descriptor is open (it has a copy under the same number).
fn sleeper() -> Result<(sys::Child, OwnedFd), Fault> {
    let (end, open) = pipe()?;
    let child = spawn(|| {
        loop {
            nix::unistd::pause();
        }
    })?;
    drop(end);
    Ok((child, open))
}

/// Right, or wrong.
fn holds(right: bool) -> Outcome {
    if right { Ok(()) } else { Err(Fault::Wrong) }
}

/// The errno of an error of the standard library; what has none is no kernel's answer.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn errno(error: std::io::Error) -> Fault {
    error
        .raw_os_error()
        .map_or(Fault::Wrong, |code| Errno::from_raw(code).into())
}

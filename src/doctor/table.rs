//! The table of kernel features. `sbox doctor` and docs/KERNEL-FEATURES.md are made from it.

use std::fs::read_to_string;

use nix::errno::Errno;

use super::experiments::{self as try_, Reply, Trip};
use crate::supervisor::filter::EXEC_PRIVATE;
use crate::sys::probe::{self as sys, Fault, Outcome};

/// How much sbox depends on a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// No sandbox without it.
    Needed,
    /// Better with it.
    Helpful,
    /// Good to know; nothing depends on it.
    Info,
}

impl Need {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Helpful => "helpful",
            Self::Info => "info",
        }
    }
}

/// A feature, and how to find out about it.
#[derive(Debug)]
pub struct Probe {
    /// Name in all output.
    pub name: &'static str,
    /// How much depends on it.
    pub need: Need,
    /// The first Linux that has it; empty if that isn't a matter of versions.
    pub since: &'static str,
    /// What sbox does with it.
    pub purpose: &'static str,
    /// What is lost without it.
    pub lost: &'static str,
    /// How to get it.
    pub remedy: &'static str,
    /// What must work for this to be tried.
    pub after: &'static [&'static str],
    /// The experiment.
    pub test: fn() -> Outcome,
    /// What else is known.
    pub detail: fn() -> Option<String>,
}

/// A row as most are.
const ROW: Probe = Probe {
    name: "",
    need: Need::Needed,
    since: "",
    purpose: "",
    lost: "sbox does not start",
    remedy: "",
    after: &[],
    test: || Ok(()),
    detail: || None,
};

/// All features, in the order in which they are tried.
#[rustfmt::skip]
pub static PROBES: &[Probe] = &[
    Probe {
        name: "kernel", need: Need::Info,
        purpose: "the version; what follows was tried, not concluded from it",
        lost: "nothing",
        remedy: "none needed",
        detail: || read("/proc/sys/kernel/osrelease"),
        ..ROW
    },
    Probe {
        name: "architecture",
        purpose: "the table of system calls and the registers are those of x86-64",
        remedy: "run sbox on an x86-64 kernel",
        test: || machine().filter(|m| m == "x86_64").map(drop).ok_or(Fault::Errno(Errno::ENOEXEC)),
        detail: machine,
        ..ROW
    },
    Probe {
        name: "no-new-privs", since: "3.5",
        purpose: "lets an ordinary user install filters; set-uid programs gain nothing",
        remedy: "Linux 3.5; in a container, a seccomp profile that allows prctl(2)",
        test: try_::no_new_privs,
        ..ROW
    },
    Probe {
        name: "seccomp-filter", since: "3.17",
        purpose: "catches system calls in the kernel, seccomp(2)",
        remedy: "a kernel with CONFIG_SECCOMP_FILTER; in a container, a seccomp profile that allows seccomp(2)",
        after: &["no-new-privs"], test: try_::filter,
        ..ROW
    },
    Probe {
        name: "seccomp-notify", since: "5.0",
        purpose: "lets the supervisor answer a caught call, seccomp_unotify(2)",
        remedy: "Linux 5.0; in a container, a seccomp profile that allows seccomp(2)",
        test: try_::notification,
        ..ROW
    },
    Probe {
        name: "listener", since: "5.0",
        purpose: "the supervisor receives notifications; the kernel grants one listener per process tree",
        remedy: "EBUSY: another sandbox above this process (another sbox, a container engine, WSL) has the listener; \
            start sbox outside it. Else: a seccomp profile that allows seccomp(2)",
        after: &["seccomp-filter"], test: || Trip::PLAIN.run(),
        ..ROW
    },
    Probe {
        name: "private-call",
        purpose: "a call number that no kernel has reaches the supervisor; exec is announced by it",
        lost: "programs cannot be started",
        remedy: "a filter above this process refuses unknown calls; in Docker and Podman: \
            --security-opt seccomp=unconfined; under systemd: no SystemCallFilter=",
        after: &["listener"], test: || Trip { number: EXEC_PRIVATE, ..Trip::PLAIN }.run(),
        ..ROW
    },
    Probe {
        name: "addfd", since: "5.9",
        purpose: "puts an opened file into the program, SECCOMP_IOCTL_NOTIF_ADDFD",
        remedy: "Linux 5.9",
        after: &["listener"], test: || Trip { reply: Reply::AddFd, ..Trip::PLAIN }.run(),
        ..ROW
    },
    Probe {
        name: "addfd-send", since: "5.14",
        purpose: "puts the file in and answers in one step: no descriptor is left behind if the call is interrupted",
        remedy: "Linux 5.14",
        after: &["addfd"], test: || Trip { reply: Reply::AddFdSend, ..Trip::PLAIN }.run(),
        ..ROW
    },
    Probe {
        name: "wait-killable", since: "5.19",
        purpose: "a signal does not interrupt a call that the supervisor is serving, so that nothing is done twice",
        remedy: "Linux 5.19",
        after: &["listener"],
        test: || Trip { flags: libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, ..Trip::PLAIN }.run(),
        ..ROW
    },
    Probe {
        name: "sync-wake-up", need: Need::Helpful, since: "6.6",
        purpose: "wakes the supervisor on the program's own CPU",
        lost: "speed: programs that make many path calls take about twice as long",
        remedy: "Linux 6.6",
        after: &["listener"], test: || Trip { sync: true, ..Trip::PLAIN }.run(),
        ..ROW
    },
    Probe {
        name: "ptrace", since: "3.4",
        purpose: "follows fork and exec, and kills the program if sbox dies, PTRACE_SEIZE",
        remedy: "if Yama is at 2 or 3: sysctl kernel.yama.ptrace_scope=1 (3 can only be left by a boot); \
            in a container, --cap-add SYS_PTRACE or a seccomp profile that allows ptrace(2)",
        test: try_::seize, detail: yama,
        ..ROW
    },
    Probe {
        name: "trace-rewrite", since: "4.8",
        purpose: "a filter stops a call for the tracer, who makes another of it: exec of an approved descriptor",
        remedy: "Linux 4.8; not in gVisor or under an emulator",
        after: &["ptrace", "seccomp-filter"], test: try_::rewrite,
        ..ROW
    },
    Probe {
        name: "vm-read", since: "3.2",
        purpose: "reads arguments from the program's memory, process_vm_readv(2)",
        remedy: "a kernel with CONFIG_CROSS_MEMORY_ATTACH; in a container, --cap-add SYS_PTRACE or a seccomp \
            profile that allows process_vm_readv(2)",
        test: try_::vm_read,
        ..ROW
    },
    Probe {
        name: "vm-write", since: "3.2",
        purpose: "writes results to the program's memory and respects read-only pages, process_vm_writev(2)",
        remedy: "as vm-read, with process_vm_writev(2)",
        after: &["vm-read"], test: try_::vm_write,
        ..ROW
    },
    Probe {
        name: "proc-mem",
        purpose: "reads the program's memory by a kept descriptor, proc_pid_mem(5), and what /proc says of it",
        remedy: "mount /proc, without hidepid for this user",
        test: try_::proc_mem,
        ..ROW
    },
    Probe {
        name: "pidfd-open", since: "5.3",
        purpose: "names a process for good: numbers are used again",
        remedy: "Linux 5.3; in a container, a seccomp profile that allows pidfd_open(2)",
        test: try_::pidfd_open,
        ..ROW
    },
    Probe {
        name: "pidfd-getfd", since: "5.6",
        purpose: "takes a copy of a descriptor of the program: the listener, sockets to connect",
        remedy: "Linux 5.6; in a container, --cap-add SYS_PTRACE (the profiles of Docker and Podman tie \
            pidfd_getfd(2) to it)",
        after: &["pidfd-open"], test: try_::pidfd_getfd,
        ..ROW
    },
    Probe {
        name: "pidfd-thread", need: Need::Helpful, since: "6.9",
        purpose: "names one thread, PIDFD_THREAD",
        lost: "descriptors of threads that do not share their leader's table, or have outlived it",
        remedy: "Linux 6.9",
        after: &["pidfd-open"], test: try_::pidfd_thread,
        ..ROW
    },
    Probe {
        name: "openat2", need: Need::Info, since: "5.6",
        purpose: "nothing yet: sbox walks paths itself, openat2(2) could walk parts of them at once",
        lost: "nothing",
        remedy: "Linux 5.6; in a container, a seccomp profile that allows openat2(2) (Docker 20.10.0)",
        test: try_::openat2_beneath,
        ..ROW
    },
    Probe {
        name: "execveat", since: "3.19",
        purpose: "starts the very file that was approved, AT_EMPTY_PATH",
        remedy: "Linux 3.19; in a container, a seccomp profile that allows execveat(2)",
        test: try_::execveat,
        ..ROW
    },
    Probe {
        name: "memfd-exec", need: Need::Helpful, since: "3.17",
        purpose: "runs dynamic programs of another root, by a memory file in which they name their own loader, memfd_create(2)",
        lost: "programs whose loader in the view is another file than the host's: they end with EACCES",
        remedy: "sysctl vm.memfd_noexec=0 or 1; in a container, a seccomp profile that allows memfd_create(2)",
        test: try_::memfd_exec,
        ..ROW
    },
    Probe {
        name: "close-range", since: "5.11",
        purpose: "leaves the program no descriptor of sbox or its caller, CLOSE_RANGE_CLOEXEC",
        remedy: "Linux 5.11; in a container, a seccomp profile that allows close_range(2)",
        test: try_::close_range,
        ..ROW
    },
    Probe {
        name: "statx", need: Need::Helpful, since: "4.11",
        purpose: "answers statx(2) in full",
        lost: "times of birth and numbers of mounts in answers of statx(2)",
        remedy: "Linux 4.11; in a container, a seccomp profile that allows statx(2)",
        test: try_::statx,
        ..ROW
    },
    Probe {
        name: "faccessat2", since: "5.8",
        purpose: "answers access checks, and asks for search permission where a path has ..",
        lost: "paths with .. and access checks",
        remedy: "Linux 5.8; in a container, a seccomp profile that allows faccessat2(2) (Docker 20.10.0)",
        test: try_::faccessat2,
        ..ROW
    },
    Probe {
        name: "inotify", need: Need::Helpful, since: "2.6.13",
        purpose: "watches files for programs, inotify(7)",
        lost: "programs that watch files, and speed: no directory is remembered",
        remedy: "a kernel with CONFIG_INOTIFY_USER; EMFILE: raise sysctl fs.inotify.max_user_instances",
        test: try_::inotify,
        ..ROW
    },
    Probe {
        name: "landlock", need: Need::Helpful, since: "5.13",
        purpose: "a second wall, of the kernel's own, landlock(7)",
        lost: "the wall behind the supervisor, where there is one: see landlock-scopes",
        remedy: "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in the boot parameter lsm=",
        after: &["no-new-privs"], test: try_::landlock, detail: landlock_abi,
    },
    Probe {
        name: "landlock-scopes", need: Need::Helpful, since: "6.12",
        purpose: "signals and abstract sockets end at the sandbox, whoever sends them",
        lost: "the second wall around signals and abstract sockets",
        remedy: "Linux 6.12",
        after: &["landlock"], test: try_::landlock_scope,
        ..ROW
    },
    Probe {
        name: "tmp-dir",
        purpose: "keeps what programs write to layers of their own; $TMPDIR or /tmp",
        lost: "views that keep the program's changes apart from the host's files",
        remedy: "set TMPDIR to a directory that you can write to",
        test: || try_::scratch(&std::env::temp_dir(), false),
        detail: || Some(std::env::temp_dir().display().to_string()),
        ..ROW
    },
    Probe {
        name: "user-xattr", need: Need::Helpful,
        purpose: "marks deleted and replaced files in layers as overlayfs does, xattr(7)",
        lost: "layers that overlayfs can mount; on tmpfs, user attributes need Linux 6.6",
        remedy: "set TMPDIR to a directory on ext4, xfs, btrfs, or tmpfs of Linux 6.6",
        after: &["tmp-dir"],
        test: || try_::scratch(&std::env::temp_dir(), true),
        ..ROW
    },
    Probe {
        name: "user-namespaces", need: Need::Info, since: "3.8",
        purpose: "nothing yet: with them the kernel could serve a view itself, faster",
        lost: "nothing",
        remedy: "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian), \
            kernel.apparmor_restrict_unprivileged_userns (Ubuntu)",
        test: try_::user_namespace,
        ..ROW
    },
    Probe {
        name: "x32", need: Need::Info, since: "3.4",
        purpose: "another table of calls for 64-bit programs; sbox answers ENOSYS to all of it",
        lost: "nothing",
        remedy: "none needed",
        test: try_::x32,
        ..ROW
    },
    Probe {
        name: "i386", need: Need::Info,
        purpose: "calls of 32-bit programs; sbox answers ENOSYS to all of them",
        lost: "nothing",
        remedy: "none needed",
        test: try_::i386,
        ..ROW
    },
    Probe {
        name: "unconfined", need: Need::Info,
        purpose: "no filter of someone else's is above sbox; one that is may explain a no",
        lost: "nothing",
        remedy: "none needed",
        test: || status("Seccomp").filter(|mode| mode == "0").map(drop).ok_or(Fault::Wrong),
        detail: confinement,
        ..ROW
    },
];

/// A file's text, if it has any.
fn read(path: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// A field of `/proc/self/status`.
fn status(field: &str) -> Option<String> {
    let text = read("/proc/self/status")?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.trim().to_owned())
}

/// uname(2).
fn machine() -> Option<String> {
    let uname = nix::sys::utsname::uname().ok()?;
    uname.machine().to_str().map(str::to_owned)
}

/// Who may trace whom, by Yama.
fn yama() -> Option<String> {
    let scope = read("/proc/sys/kernel/yama/ptrace_scope")?;
    Some(format!("Yama: ptrace_scope {scope}"))
}

/// How much of Landlock there is.
fn landlock_abi() -> Option<String> {
    sys::landlock_abi().ok().map(|abi| format!("ABI {abi}"))
}

/// Whose filters and profiles are above us.
fn confinement() -> Option<String> {
    let filters = match status("Seccomp")?.as_str() {
        "0" => "no seccomp filter".to_owned(),
        // Seccomp_filters: Linux 5.9, proc_pid_status(5).
        _ => format!(
            "seccomp filters: {}",
            status("Seccomp_filters").unwrap_or_else(|| "some".to_owned())
        ),
    };
    Some(match read("/proc/self/attr/current") {
        Some(label) => format!("{filters}; profile {label}"),
        None => filters,
    })
}

//! Numbers and their names, as in the kernel's headers: what [`args`](super::args) prints and
//! [`rules`](super::rules) compares.

use std::fmt::{self, Formatter};
use std::str::FromStr;

/// Values and names. Words of several bits stand before their parts.
pub type Names = &'static [(u32, &'static str)];

/// A list of names whose values libc knows, or that are given: `O_CREAT, O_LARGEFILE = 0o100000`.
macro_rules! names {
    ($( $(#[$doc:meta])* $list:ident: $( $name:ident $( = $value:literal )? ),* ; )*) => { $(
        $(#[$doc])*
        pub const $list: Names = &[ $( (names!(@ $name $( $value )?), stringify!($name)) ),* ];
    )* };
    (@ $name:ident) => { libc::$name as u32 };
    (@ $name:ident $value:literal) => { $value };
}

/// The same, for words that rules mention by name: a module of constants and the list of their names.
macro_rules! words {
    ($( $(#[$doc:meta])* $module:ident $list:ident { $( $name:ident = $value:literal ),* $(,)? } )*) => { $(
        $(#[$doc])*
        #[expect(missing_docs, reason = "the kernel's headers and man pages document them")]
        pub mod $module {
            $( pub const $name: u32 = $value; )*
        }
        $(#[$doc])*
        pub const $list: Names = &[ $( ($value, stringify!($name)) ),* ];
    )* };
}

/// Access modes of open(2). The fourth, 3, has no name: it checks for both and gives neither.
pub const ACCMODE: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "3"];

names! {
    /// open(2)
    OPEN: O_TMPFILE, O_SYNC, O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK, O_DSYNC, O_ASYNC, O_DIRECT,
        O_LARGEFILE = 0o100000, O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_CLOEXEC, O_PATH;
    /// The *at calls.
    AT: AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_SYMLINK_FOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, AT_STATX_FORCE_SYNC,
        AT_STATX_DONT_SYNC, AT_RECURSIVE, AT_EXECVE_CHECK = 0x10000;
    /// access(2)
    ACCESS: R_OK, W_OK, X_OK;
    /// rename(2)
    RENAME: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT;
    /// setxattr(2)
    XATTR: XATTR_CREATE, XATTR_REPLACE;
    /// clone(2)
    CLONE: CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_PIDFD, CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT,
        CLONE_THREAD, CLONE_NEWNS, CLONE_SYSVSEM, CLONE_SETTLS, CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID,
        CLONE_DETACHED, CLONE_UNTRACED, CLONE_CHILD_SETTID, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
        CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_IO;
    /// send(2), recv(2)
    MSG: MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_EOR, MSG_WAITALL, MSG_CONFIRM,
        MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE, MSG_WAITFORONE, MSG_ZEROCOPY = 0x400_0000, MSG_FASTOPEN, MSG_CMSG_CLOEXEC;
    /// mmap(2), protection
    PROT: PROT_READ, PROT_WRITE, PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP;
    /// mmap(2), flags
    MAP: MAP_SHARED_VALIDATE, MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_32BIT, MAP_GROWSDOWN,
        MAP_DENYWRITE, MAP_EXECUTABLE, MAP_LOCKED, MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_STACK, MAP_HUGETLB,
        MAP_SYNC, MAP_FIXED_NOREPLACE;
    /// inotify(7)
    INOTIFY: IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN, IN_MOVED_FROM, IN_MOVED_TO,
        IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF, IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK,
        IN_MASK_CREATE, IN_MASK_ADD, IN_ISDIR, IN_ONESHOT;
    /// socket(2), address families
    FAMILY: AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_KEY, AF_ALG, AF_VSOCK, AF_BLUETOOTH,
        AF_CAN, AF_RDS, AF_TIPC, AF_XDP;
    /// socket(2), types
    SOCKET: SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP;
    /// socket(2), bits above the type
    SOCKET_BITS: SOCK_NONBLOCK, SOCK_CLOEXEC;
    /// setsockopt(2)
    SOCK_LEVEL: SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, SOL_NETLINK;
    /// personality(2)
    PERSONA: PER_LINUX = 0, ADDR_NO_RANDOMIZE;
    /// lseek(2)
    WHENCE: SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE;
    /// clock_getres(2)
    CLOCK: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM,
        CLOCK_TAI;
}

words! {
    /// ioctl(2): <asm-generic/ioctls.h>, <linux/sockios.h>, <linux/fs.h>, <linux/random.h>, <linux/pidfd.h>
    ioctl IOCTL {
        TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404,
        TCGETA = 0x5405, TCSETA = 0x5406, TCSETAW = 0x5407, TCSETAF = 0x5408,
        TCSBRK = 0x5409, TCXONC = 0x540a, TCFLSH = 0x540b, TIOCEXCL = 0x540c, TIOCNXCL = 0x540d,
        TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f, TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCSTI = 0x5412,
        TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414, TIOCMGET = 0x5415, TIOCMBIS = 0x5416, TIOCMBIC = 0x5417,
        TIOCMSET = 0x5418, FIONREAD = 0x541b, TIOCLINUX = 0x541c, TIOCCONS = 0x541d, TIOCPKT = 0x5420,
        FIONBIO = 0x5421, TIOCNOTTY = 0x5422, TIOCSETD = 0x5423, TIOCGETD = 0x5424, TCSBRKP = 0x5425,
        TIOCSBRK = 0x5427, TIOCCBRK = 0x5428, TIOCGSID = 0x5429,
        TCGETS2 = 0x802c_542a, TCSETS2 = 0x402c_542b, TCSETSW2 = 0x402c_542c, TCSETSF2 = 0x402c_542d,
        TIOCGPTN = 0x8004_5430, TIOCSPTLCK = 0x4004_5431, TIOCGDEV = 0x8004_5432, TIOCGPKT = 0x8004_5438,
        TIOCGPTLCK = 0x8004_5439, TIOCGEXCL = 0x8004_5440, TIOCGPTPEER = 0x5441,
        FIONCLEX = 0x5450, FIOCLEX = 0x5451, FIOASYNC = 0x5452, FIOQSIZE = 0x5460,
        FIOSETOWN = 0x8901, SIOCSPGRP = 0x8902, FIOGETOWN = 0x8903, SIOCGPGRP = 0x8904, SIOCATMARK = 0x8905,
        SIOCGIFNAME = 0x8910, SIOCGIFCONF = 0x8912, SIOCGIFFLAGS = 0x8913, SIOCGIFADDR = 0x8915,
        SIOCGIFDSTADDR = 0x8917, SIOCGIFBRDADDR = 0x8919, SIOCGIFNETMASK = 0x891b, SIOCGIFMETRIC = 0x891d,
        SIOCGIFMTU = 0x8921, SIOCGIFHWADDR = 0x8927, SIOCGIFINDEX = 0x8933, SIOCGIFTXQLEN = 0x8942,
        FICLONE = 0x4004_9409, FICLONERANGE = 0x4020_940d, FIDEDUPERANGE = 0xc018_9436,
        FS_IOC_GETFLAGS = 0x8008_6601, FS_IOC_SETFLAGS = 0x4008_6602, FS_IOC_GETVERSION = 0x8008_7601,
        FS_IOC_FSGETXATTR = 0x801c_581f, FS_IOC_FSSETXATTR = 0x401c_5820, FS_IOC_FIEMAP = 0xc020_660b,
        RNDGETENTCNT = 0x8004_5200,
        // Of each size that the structure has had: Linux 6.13, 6.16, 6.19.
        PIDFD_GET_INFO = 0xc040_ff0b, PIDFD_GET_INFO_72 = 0xc048_ff0b, PIDFD_GET_INFO_80 = 0xc050_ff0b,
    }
    /// fcntl(2)
    fcntl FCNTL {
        F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, F_GETLK = 5, F_SETLK = 6, F_SETLKW = 7,
        F_SETOWN = 8, F_GETOWN = 9, F_SETSIG = 10, F_GETSIG = 11, F_SETOWN_EX = 15, F_GETOWN_EX = 16,
        F_GETOWNER_UIDS = 17, F_OFD_GETLK = 36, F_OFD_SETLK = 37, F_OFD_SETLKW = 38, F_SETLEASE = 1024,
        F_GETLEASE = 1025, F_NOTIFY = 1026, F_DUPFD_QUERY = 1027, F_CREATED_QUERY = 1028, F_DUPFD_CLOEXEC = 1030,
        F_SETPIPE_SZ = 1031, F_GETPIPE_SZ = 1032, F_ADD_SEALS = 1033, F_GET_SEALS = 1034, F_GET_RW_HINT = 1035,
        F_SET_RW_HINT = 1036, F_GET_FILE_RW_HINT = 1037, F_SET_FILE_RW_HINT = 1038,
    }
    /// prctl(2)
    prctl PRCTL {
        PR_SET_PDEATHSIG = 1, PR_GET_PDEATHSIG = 2, PR_GET_DUMPABLE = 3, PR_SET_DUMPABLE = 4, PR_GET_KEEPCAPS = 7,
        PR_SET_KEEPCAPS = 8, PR_GET_TIMING = 13, PR_SET_TIMING = 14, PR_SET_NAME = 15, PR_GET_NAME = 16,
        PR_GET_SECCOMP = 21, PR_SET_SECCOMP = 22, PR_CAPBSET_READ = 23, PR_CAPBSET_DROP = 24, PR_GET_TSC = 25,
        PR_SET_TSC = 26, PR_GET_SECUREBITS = 27, PR_SET_SECUREBITS = 28, PR_SET_TIMERSLACK = 29,
        PR_GET_TIMERSLACK = 30, PR_TASK_PERF_EVENTS_DISABLE = 31, PR_TASK_PERF_EVENTS_ENABLE = 32,
        PR_MCE_KILL = 33, PR_MCE_KILL_GET = 34, PR_SET_MM = 35, PR_SET_CHILD_SUBREAPER = 36,
        PR_GET_CHILD_SUBREAPER = 37, PR_SET_NO_NEW_PRIVS = 38, PR_GET_NO_NEW_PRIVS = 39, PR_GET_TID_ADDRESS = 40,
        PR_SET_THP_DISABLE = 41, PR_GET_THP_DISABLE = 42, PR_CAP_AMBIENT = 47, PR_GET_SPECULATION_CTRL = 52,
        PR_SET_SPECULATION_CTRL = 53, PR_SET_IO_FLUSHER = 57, PR_GET_IO_FLUSHER = 58,
        PR_SET_SYSCALL_USER_DISPATCH = 59, PR_SCHED_CORE = 62, PR_SET_MDWE = 65, PR_GET_MDWE = 66,
        PR_SET_MEMORY_MERGE = 67, PR_GET_MEMORY_MERGE = 68, PR_GET_SHADOW_STACK_STATUS = 74,
        PR_SET_VMA = 0x5356_4d41, PR_SET_PTRACER = 0x5961_6d61,
    }
    /// arch_prctl(2)
    arch_prctl ARCH_PRCTL {
        ARCH_SET_GS = 0x1001, ARCH_SET_FS = 0x1002, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004,
        ARCH_CET_STATUS = 0x3001, ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_GET_XCOMP_PERM = 0x1022,
        ARCH_REQ_XCOMP_PERM = 0x1023, ARCH_SHSTK_STATUS = 0x5005,
    }
}

/// The value of a name in any of these lists, or of a signal. Names are those of the kernel's headers, so none has two.
pub fn value(name: &str) -> Option<u64> {
    const LISTS: [Names; 22] = [
        OPEN,
        AT,
        ACCESS,
        RENAME,
        XATTR,
        CLONE,
        MSG,
        PROT,
        MAP,
        INOTIFY,
        FAMILY,
        SOCKET,
        SOCKET_BITS,
        SOCK_LEVEL,
        PERSONA,
        WHENCE,
        CLOCK,
        IOCTL,
        FCNTL,
        PRCTL,
        ARCH_PRCTL,
        NOTHING,
    ];
    let listed = LISTS.iter().flat_map(|list| list.iter());
    let found = listed.copied().find(|(_, known)| *known == name);
    let mode = || ACCMODE.iter().take(3).position(|known| *known == name);
    let signal = || nix::sys::signal::Signal::from_str(name).ok();
    found
        .map(|(value, _)| u64::from(value))
        .or_else(|| mode().map(|mode| mode as u64))
        .or_else(|| signal().map(|signal| signal as u64))
}

/// Names of nothing.
const NOTHING: Names = &[(0, "PROT_NONE"), (0, "F_OK")];

/// `SIGTERM`, `SIGRT_3`, or the number.
pub fn signal(v: i32, f: &mut Formatter<'_>) -> fmt::Result {
    match nix::sys::signal::Signal::try_from(v) {
        Ok(signal) => f.write_str(signal.as_str()),
        Err(_) if (32..=64).contains(&v) => write!(f, "SIGRT_{}", v - 32),
        Err(_) => write!(f, "{v}"),
    }
}

/// `CLOCK_MONOTONIC`; for negative ids whose clock it is (<linux/posix-timers_types.h>: the complement of a
/// pid or descriptor above three bits that say what kind).
pub fn clock(v: i32, f: &mut Formatter<'_>) -> fmt::Result {
    if let Some((_, name)) = u32::try_from(v)
        .ok()
        .and_then(|v| CLOCK.iter().find(|(value, _)| *value == v))
    {
        return f.write_str(name);
    }
    match (v < 0, v & 7) {
        (true, 3) => write!(f, "FD_TO_CLOCKID({})", !(v >> 3)),
        (true, kind) if kind & 4 == 0 => {
            write!(f, "MAKE_PROCESS_CPUCLOCK({}, {})", !(v >> 3), kind & 3)
        }
        (true, kind) => write!(f, "MAKE_THREAD_CPUCLOCK({}, {})", !(v >> 3), kind & 3),
        (false, _) => write!(f, "{v}"),
    }
}

//! What the rules promise, call by call: registers in, outcome out.

use sbox::syscall::rules::{Net, Outcome};
use sbox::syscall::table::{Mechanism, by_name};

/// What the rule of a call says, in words.
fn ask(name: &str, net: Net, args: [u64; 6]) -> String {
    let rule = match by_name(name).map(|row| row.mechanism) {
        Some(Mechanism::Check(_, rule)) => rule(net),
        other => return format!("{name} has no rule: {other:?}"),
    };
    let outcome: Outcome = rule.decide(&args);
    outcome.to_string()
}

/// Some 64-bit word whose low half is 0: what a guest puts above an `int` to fool a filter.
const HIGH: u64 = 0xdead_beef_0000_0000;

#[test]
fn rules_say_what_they_promise() {
    const UNIX: u64 = libc::AF_UNIX as u64;
    const INET: u64 = libc::AF_INET as u64;
    const INET6: u64 = libc::AF_INET6 as u64;
    const STREAM: u64 = libc::SOCK_STREAM as u64;
    const DGRAM: u64 = libc::SOCK_DGRAM as u64;
    const RAW: u64 = libc::SOCK_RAW as u64;
    const CLOEXEC: u64 = libc::SOCK_CLOEXEC as u64;
    // call, first three arguments, without network, with the host's
    for (name, [a, b, c], none, host) in [
        ("clone", [0x0011, 0, 0], "native", "native"),
        ("clone", [0x003d_0f00, 0, 0], "native", "native"), // pthread_create
        (
            "clone",
            [libc::CLONE_NEWUSER as u64 | 17, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        (
            "clone",
            [HIGH | libc::CLONE_NEWNS as u64, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        (
            "clone",
            [libc::CLONE_UNTRACED as u64, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        ("clone", [HIGH | 17, 0, 0], "native", "native"),
        (
            "unshare",
            [libc::CLONE_FILES as u64, 0, 0],
            "native",
            "native",
        ),
        ("unshare", [libc::CLONE_FS as u64, 0, 0], "notify", "notify"),
        (
            "unshare",
            [libc::CLONE_NEWUSER as u64, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        ("unshare", [0x80, 0, 0], "refuse EPERM", "refuse EPERM"), // CLONE_NEWTIME
        (
            "unshare",
            [HIGH | libc::CLONE_FS as u64, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        ("socket", [UNIX, STREAM | CLOEXEC, 0], "native", "native"),
        ("socket", [UNIX, DGRAM, 0], "notify", "notify"),
        ("socket", [UNIX, RAW, 0], "notify", "notify"),
        (
            "socket",
            [HIGH | UNIX, HIGH | DGRAM, HIGH],
            "notify",
            "notify",
        ),
        ("socket", [INET, STREAM, 6], "refuse EACCES", "native"),
        (
            "socket",
            [INET6, DGRAM | CLOEXEC, 17],
            "refuse EACCES",
            "native",
        ),
        (
            "socket",
            [INET, STREAM, 262],
            "refuse EACCES",
            "refuse EPROTONOSUPPORT",
        ), // MPTCP
        (
            "socket",
            [INET, STREAM, 132],
            "refuse EACCES",
            "refuse EPROTONOSUPPORT",
        ), // SCTP
        (
            "socket",
            [INET6, RAW, 255],
            "refuse EACCES",
            "refuse EPROTONOSUPPORT",
        ),
        (
            "socket",
            [INET, DGRAM, 1],
            "refuse EACCES",
            "refuse EPROTONOSUPPORT",
        ), // ping
        ("socket", [16, RAW, 0], "refuse EAFNOSUPPORT", "native"),
        (
            "socket",
            [16, RAW, 15],
            "refuse EAFNOSUPPORT",
            "refuse EPROTONOSUPPORT",
        ), // uevents
        (
            "socket",
            [17, RAW, 0],
            "refuse EAFNOSUPPORT",
            "refuse EAFNOSUPPORT",
        ), // packets
        (
            "socket",
            [38, 5, 0],
            "refuse EAFNOSUPPORT",
            "refuse EAFNOSUPPORT",
        ), // AF_ALG
        (
            "socket",
            [40, STREAM, 0],
            "refuse EAFNOSUPPORT",
            "refuse EAFNOSUPPORT",
        ), // vsock
        (
            "socketpair",
            [UNIX, STREAM | CLOEXEC, 0],
            "native",
            "native",
        ),
        ("socketpair", [UNIX, DGRAM, 0], "notify", "notify"),
        (
            "socketpair",
            [INET, STREAM, 0],
            "refuse EAFNOSUPPORT",
            "refuse EAFNOSUPPORT",
        ),
        ("setsockopt", [3, 1, 9], "native", "native"), // SO_KEEPALIVE
        ("setsockopt", [3, 1, 16], "number", "number"), // SO_PASSCRED
        ("setsockopt", [3, 1, 25], "refuse EPERM", "refuse EPERM"), // SO_BINDTODEVICE
        (
            "setsockopt",
            [3, HIGH | 1, HIGH | 36],
            "refuse EPERM",
            "refuse EPERM",
        ), // SO_MARK
        ("setsockopt", [3, 6, 36], "native", "native"),
        ("setsockopt", [3, 41, 57], "refuse EPERM", "refuse EPERM"), // IPV6_RTHDR
        ("ioctl", [0, 0x5401, 0], "native", "native"),
        ("ioctl", [0, 0x5412, 0], "refuse EPERM", "refuse EPERM"), // TIOCSTI
        (
            "ioctl",
            [0, HIGH | 0x5412, 0],
            "refuse EPERM",
            "refuse EPERM",
        ),
        (
            "ioctl",
            [0, 0x4008_6602, 0],
            "refuse ENOTTY",
            "refuse ENOTTY",
        ), // FS_IOC_SETFLAGS
        (
            "ioctl",
            [0, 0x401c_5820, 0],
            "refuse ENOTTY",
            "refuse ENOTTY",
        ), // FS_IOC_FSSETXATTR
        ("ioctl", [0, 0x5441, 0], "refuse ENOTTY", "refuse ENOTTY"), // TIOCGPTPEER
        ("ioctl", [0, 0x8912, 0], "refuse ENOTTY", "native"),        // SIOCGIFCONF
        ("fcntl", [0, 1030, 0], "native", "native"),
        ("fcntl", [0, 8, 1], "notify", "notify"), // F_SETOWN
        ("fcntl", [0, HIGH | 8, 1], "notify", "notify"),
        ("fcntl", [0, 5, 0], "retell", "retell"),  // F_GETLK
        ("fcntl", [0, 15, 0], "notify", "notify"), // F_SETOWN_EX
        ("ioctl", [0, 0x8901, 0], "notify", "notify"), // FIOSETOWN
        ("fcntl", [0, 1026, 0], "refuse EINVAL", "refuse EINVAL"), // F_NOTIFY
        ("prctl", [15, 0, 0], "native", "native"),
        ("prctl", [4, 0, 0], "fake 0", "fake 0"), // PR_SET_DUMPABLE
        ("prctl", [HIGH | 59, 0, 0], "refuse EINVAL", "refuse EINVAL"), // user dispatch
        ("prctl", [35, 0, 0], "refuse EINVAL", "refuse EINVAL"), // PR_SET_MM
        ("arch_prctl", [0x1002, 0, 0], "native", "native"),
        (
            "arch_prctl",
            [0x2001, 0, 0],
            "refuse EINVAL",
            "refuse EINVAL",
        ),
        ("personality", [0xffff_ffff, 0, 0], "native", "native"),
        (
            "personality",
            [0x0040_0000, 0, 0],
            "refuse EPERM",
            "refuse EPERM",
        ), // READ_IMPLIES_EXEC
        ("pipe2", [0, 0o2000000, 0], "native", "native"),
        ("pipe2", [0, 0o2000200, 0], "refuse ENOPKG", "refuse ENOPKG"),
        ("getpgid", [HIGH, 0, 0], "number", "number"),
        ("getpgid", [1, 0, 0], "notify", "notify"),
        ("setpgid", [0, 7, 0], "renumber", "renumber"),
        ("move_pages", [1, 0, 0], "refuse EPERM", "refuse EPERM"),
        ("getpriority", [0, 0, 0], "native", "native"),
        ("getpriority", [2, 0, 0], "refuse EPERM", "refuse EPERM"), // PRIO_USER
        ("ioprio_get", [3, 0, 0], "refuse EPERM", "refuse EPERM"),
        ("getpriority", [1, 0, 0], "renumber", "renumber"), // PRIO_PGRP: the group may hold others
        ("ioprio_get", [1, 0, 0], "native", "native"),
        ("ioprio_get", [2, 0, 0], "renumber", "renumber"),
        ("getsockopt", [9, 1, 17], "notify", "notify"), // SO_PEERCRED
        ("getsockopt", [9, 1, 77], "notify", "notify"), // SO_PEERPIDFD
        ("getsockopt", [9, HIGH | 1, HIGH | 17], "notify", "notify"),
        ("getsockopt", [9, 0, 17], "native", "native"),
        ("getsockopt", [9, 1, 16], "native", "native"),
        ("setsockopt", [9, 1, 76], "refuse EPERM", "refuse EPERM"), // SO_PASSPIDFD
        ("clock_gettime", [1, 0, 0], "native", "native"),
        ("clock_gettime", [0xffff_fffa, 0, 0], "renumber", "renumber"),
        ("clock_gettime", [HIGH | 1, 0, 0], "native", "native"),
    ] {
        let args = [a, b, c, 0, 0, 0];
        assert_eq!(
            ask(name, Net::None, args),
            none,
            "{name} {args:x?} without network"
        );
        assert_eq!(
            ask(name, Net::Host, args),
            host,
            "{name} {args:x?} with the host's network"
        );
    }
}

/// The commands and options in `flags` are written as numbers; where libc knows them it agrees.
#[test]
fn words_have_libc_s_values() {
    use sbox::syscall::flags::{fcntl, ioctl, prctl};
    macro_rules! same { ($module:ident: $($name:ident)*) => { $(
        assert_eq!(u64::from($module::$name), libc::$name as u64, stringify!($name));
    )* } }
    same!(ioctl: TCGETS TCSETS TCSETSW TCSETSF TCSBRK TCXONC TCFLSH TIOCEXCL TIOCNXCL TIOCSCTTY TIOCGPGRP TIOCSPGRP
        TIOCOUTQ TIOCSTI TIOCGWINSZ TIOCSWINSZ TIOCMGET TIOCMBIS TIOCMBIC TIOCMSET FIONREAD TIOCLINUX TIOCCONS
        FIONBIO TIOCNOTTY TCSETS2 TCGETS2 TCSETSW2 TCSETSF2 FIONCLEX FIOCLEX FIOASYNC FICLONE FICLONERANGE
        FS_IOC_GETFLAGS FS_IOC_SETFLAGS FS_IOC_GETVERSION SIOCGIFCONF SIOCGIFFLAGS SIOCGIFADDR SIOCGIFINDEX SIOCGIFMTU);
    same!(fcntl: F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN F_OFD_GETLK
        F_OFD_SETLK F_OFD_SETLKW F_SETLEASE F_GETLEASE F_NOTIFY F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ
        F_ADD_SEALS F_GET_SEALS);
    same!(prctl: PR_SET_PDEATHSIG PR_SET_DUMPABLE PR_SET_NAME PR_GET_SECCOMP PR_SET_MM PR_SET_CHILD_SUBREAPER
        PR_SET_NO_NEW_PRIVS PR_CAP_AMBIENT PR_SET_SPECULATION_CTRL PR_SET_PTRACER PR_SET_VMA PR_SET_THP_DISABLE
        PR_SCHED_CORE PR_SET_TIMERSLACK PR_SET_SECUREBITS PR_SET_TSC);
}

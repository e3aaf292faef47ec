//! Calls that the filter decides by their arguments.
//!
//! A rule is data: cases in order, the first whose conditions all hold decides, else `otherwise`. The same
//! data is compiled to BPF, printed in `docs/SYSCALLS.md`, and evaluated in tests ([`ArgRule::decide`]).
//!
//! Two things hold for every rule here:
//! * It looks at registers alone. Memory can change after the look.
//! * An argument that the kernel takes as `int` is compared in 32 bits ([`Width::Int`]): the kernel ignores the
//!   upper half of the register, so a compare of all 64 bits is passed by setting one of them
//!   (CVE-2019-10063, CVE-2019-7303).
//!
//! Long because it is a list: a rule for each call, with its reason.

use std::fmt::{self, Display, Formatter};

use super::args;
use super::flags::{arch_prctl as arch, fcntl as f, ioctl as io, prctl as pr};
use super::table::Param;

/// Makes the rule of a row, for a network mode.
pub type Rule = fn(Net) -> ArgRule;

/// Which network the sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// None: no socket can leave the sandbox.
    None,
    /// The host's.
    Host,
}

/// A decision by arguments.
#[derive(Debug, Clone)]
pub struct ArgRule {
    /// The reason, for people.
    pub why: &'static str,
    /// The first case that holds decides.
    pub cases: Vec<Case>,
    /// If none holds.
    pub otherwise: Outcome,
}

/// Conditions that must all hold, and what then.
#[derive(Debug, Clone)]
pub struct Case {
    /// All must hold.
    pub when: Vec<Cond>,
    /// What then.
    pub then: Outcome,
}

/// One condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cond {
    /// Which argument, from 0.
    pub arg: u8,
    /// How many of its bits the kernel looks at.
    pub width: Width,
    /// The comparison.
    pub op: Op,
    /// What it is compared with.
    pub value: u64,
}

/// How many bits of a register the kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `int`, `unsigned int`: the low 32.
    Int,
    /// `long`, pointers: all.
    Long,
}

/// How an argument is compared; unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Equal in the bits of this mask.
    Masked(u64),
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
}

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel serves it.
    Native,
    /// The supervisor answers.
    Notify,
    /// The tracer changes what the kernel has answered.
    Trace,
    /// The supervisor answers with a number of the view; the kernel, where the view has the host's.
    Number,
    /// The kernel serves it, between two looks of the tracer, who translates numbers of processes (`syscall::numbers`).
    Retell,
    /// The same, and before it the supervisor judges whom the numbers name. Where the view has the host's, it only judges.
    Renumber,
    /// The filter answers with this errno.
    Refuse(i32),
    /// The filter answers 0 and nothing is done.
    Fake,
}
use Outcome::{Fake, Native, Notify, Number, Refuse, Renumber, Retell, Trace};

impl Outcome {
    /// What it comes to where the view has numbers of its own, or the host's.
    pub const fn for_numbers(self, own: bool) -> Self {
        match (self, own) {
            (Number, true) | (Renumber, false) => Notify,
            (Number | Retell, false) => Native,
            (other, _) => other,
        }
    }
}

impl ArgRule {
    /// What the rule says about these registers.
    pub fn decide(&self, args: &[u64; 6]) -> Outcome {
        self.cases
            .iter()
            .find(|case| case.when.iter().all(|cond| cond.holds(args)))
            .map_or(self.otherwise, |case| case.then)
    }

    /// The rule in words, a line for each case; neighbours that ask the same of one argument share a line.
    pub fn describe(&self, params: &[Param]) -> Vec<String> {
        let mut lines: Vec<(String, Outcome)> = Vec::new();
        let mut asked = None;
        for case in &self.cases {
            let text = case
                .when
                .iter()
                .map(|cond| cond.describe(params))
                .collect::<Vec<_>>()
                .join(" and ");
            let asks = match case.when.as_slice() {
                [
                    Cond {
                        arg, op: Op::Eq, ..
                    },
                ] => Some((*arg, case.then)),
                _ => None,
            };
            match (lines.last_mut(), text.split_once(" = ")) {
                (Some((line, _)), Some((_, value))) if asks.is_some() && asks == asked => {
                    line.push_str(", ");
                    line.push_str(value);
                }
                _ => lines.push((text, case.then)),
            }
            asked = asks;
        }
        lines
            .into_iter()
            .map(|(line, then)| format!("{line}: {then}"))
            .chain([format!("otherwise: {}", self.otherwise)])
            .collect()
    }

    /// Everything it may say.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.cases
            .iter()
            .map(|case| case.then)
            .chain([self.otherwise])
    }
}

impl Cond {
    /// The condition in words: `family = AF_UNIX`, with the parameters' names and types.
    pub fn describe(&self, params: &[Param]) -> String {
        let param = params.get(usize::from(self.arg)).copied().unwrap_or(Param {
            name: "?",
            ty: "Ptr",
        });
        let value =
            args::show(param.ty, self.value).unwrap_or_else(|| format!("{:#x}", self.value));
        let name = param.name;
        match self.op {
            Op::Eq => format!("{name} = {value}"),
            Op::Masked(mask) if mask == self.value => format!("{name} has {value}"),
            Op::Masked(mask) if self.value == 0 => match args::show(param.ty, mask) {
                Some(bits) if mask.count_ones() < 32 => format!("{name} has none of {bits}"),
                _ => format!("{name} & {mask:#x} = 0"),
            },
            Op::Masked(mask) => format!("{name} & {mask:#x} = {value}"),
            Op::Ge => format!("{name} >= {:#x}", self.value),
            Op::Le => format!("{name} <= {:#x}", self.value),
        }
    }

    /// Whether it holds for these registers.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let register = args.get(usize::from(self.arg)).copied().unwrap_or(0);
        let value = match self.width {
            Width::Int => register & 0xffff_ffff,
            Width::Long => register,
        };
        match self.op {
            Op::Eq => value == self.value,
            Op::Masked(mask) => value & mask == self.value,
            Op::Ge => value >= self.value,
            Op::Le => value <= self.value,
        }
    }
}

impl Display for Outcome {
    /// `native`, `notify`, `refuse EPERM`, `fake 0`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Native => f.write_str("native"),
            Notify => f.write_str("notify"),
            Trace => f.write_str("trace"),
            Number => f.write_str("number"),
            Retell => f.write_str("retell"),
            Renumber => f.write_str("renumber"),
            Refuse(errno) => write!(f, "refuse {:?}", nix::errno::Errno::from_raw(*errno)),
            Fake => f.write_str("fake 0"),
        }
    }
}

/// Constants of one of the modules in `flags`.
macro_rules! of {
    ($module:ident: $($name:ident)*) => { [ $( $module::$name ),* ] };
}

/// `int` argument `arg` equals `value`.
fn is(arg: u8, value: u32) -> Cond {
    Cond {
        arg,
        width: Width::Int,
        op: Op::Eq,
        value: u64::from(value),
    }
}

/// Of the bits `mask` of `int` argument `arg`, exactly `value` is set.
fn bits(arg: u8, mask: u32, value: u32) -> Cond {
    Cond {
        arg,
        width: Width::Int,
        op: Op::Masked(u64::from(mask)),
        value: u64::from(value),
    }
}

/// Shorthand for a case.
fn when<const N: usize>(conds: [Cond; N], then: Outcome) -> Case {
    Case {
        when: conds.to_vec(),
        then,
    }
}

/// One case for each value of an `int` argument.
fn each(arg: u8, values: &[u32], then: Outcome) -> impl Iterator<Item = Case> {
    values
        .iter()
        .map(move |&value| when([is(arg, value)], then))
}

/// A libc constant, whose type differs from constant to constant, as bits.
const fn word(value: i32) -> u32 {
    value.cast_unsigned()
}

/// clone(2). New namespaces would let the program build another view of the host (a fresh procfs, an overlay
/// over what it sees); `CLONE_UNTRACED` and `CLONE_PTRACE` would hide the child from our tracer. The kernel
/// takes the low 32 bits. `CLONE_NEWTIME` lies in the exit signal's byte and cannot be asked for here.
pub fn clone(_: Net) -> ArgRule {
    let refused = word(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_UNTRACED
            | libc::CLONE_PTRACE,
    );
    ArgRule {
        why: "no new namespaces, no child hidden from the tracer",
        cases: vec![when([bits(0, refused, 0)], Native)],
        otherwise: Refuse(libc::EPERM),
    }
}

/// unshare(2). As clone, by a list of what is allowed, in all 64 bits (the kernel looks at them here).
/// `CLONE_FS` splits the working directory and umask, of which the supervisor keeps the book.
pub fn unshare(_: Net) -> ArgRule {
    let fs = u64::from(word(libc::CLONE_FS));
    let allowed = fs | u64::from(word(libc::CLONE_FILES | libc::CLONE_SYSVSEM));
    let nothing_else = Cond {
        arg: 0,
        width: Width::Long,
        op: Op::Masked(!allowed),
        value: 0,
    };
    ArgRule {
        why: "no new namespaces; a split working directory is the supervisor's business",
        cases: vec![
            when(
                [
                    nothing_else,
                    Cond {
                        op: Op::Masked(fs),
                        value: fs,
                        ..nothing_else
                    },
                ],
                Notify,
            ),
            when([nothing_else], Native),
        ],
        otherwise: Refuse(libc::EPERM),
    }
}

/// The low bits of a socket's type; above are `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const SOCK_TYPE_MASK: u32 = 0xf;

/// `family` and `type` of socket(2).
fn kind(family: i32, kind: i32) -> [Cond; 2] {
    [is(0, word(family)), bits(1, SOCK_TYPE_MASK, word(kind))]
}

/// socket(2). An allow-list of families, types and protocols: each family is another door, most of them
/// unknown to any policy (MPTCP and SCTP reach TCP peers around rules about TCP; vsock reaches the hypervisor;
/// `AF_ALG` was a kernel bug, CVE-2026-31431). A unix datagram socket is made once the process is guarded, since
/// sendmsg(2) on it names paths behind a pointer; the kernel makes `SOCK_RAW` there a datagram socket as well.
pub fn socket(net: Net) -> ArgRule {
    let mut cases = Vec::new();
    for sort in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let [family, sort] = kind(libc::AF_UNIX, sort);
        cases.push(when(
            [
                family,
                sort,
                Cond {
                    op: Op::Le,
                    ..is(2, 1)
                },
            ],
            Native,
        )); // protocol 0 or PF_UNIX
    }
    for sort in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
        cases.push(when(kind(libc::AF_UNIX, sort), Notify));
    }
    let unknown = Cond {
        op: Op::Ge,
        ..is(2, 2)
    };
    cases.push(when(
        [is(0, word(libc::AF_UNIX)), unknown],
        Refuse(libc::EPROTONOSUPPORT),
    ));
    cases.push(when(
        [is(0, word(libc::AF_UNIX))],
        Refuse(libc::ESOCKTNOSUPPORT),
    ));
    match net {
        Net::None => cases.extend(each(
            0,
            &[word(libc::AF_INET), word(libc::AF_INET6)],
            Refuse(libc::EACCES),
        )),
        Net::Host => {
            for inet in [libc::AF_INET, libc::AF_INET6] {
                for (sort, protocol) in [
                    (libc::SOCK_STREAM, libc::IPPROTO_TCP),
                    (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
                ] {
                    let [family, sort] = kind(inet, sort);
                    cases.push(when([family, sort, is(2, 0)], Native));
                    cases.push(when([family, sort, is(2, word(protocol))], Native));
                }
                cases.push(when([is(0, word(inet))], Refuse(libc::EPROTONOSUPPORT)));
            }
            // NETLINK_ROUTE: getaddrinfo(3) and getifaddrs(3) ask it for the host's addresses.
            let netlink = is(0, word(libc::AF_NETLINK));
            cases.push(when([netlink, is(2, word(libc::NETLINK_ROUTE))], Native));
            cases.push(when([netlink], Refuse(libc::EPROTONOSUPPORT)));
        }
    }
    ArgRule {
        why: "an allow-list of families, types and protocols; a process that makes a unix datagram socket is guarded first",
        cases,
        otherwise: Refuse(libc::EAFNOSUPPORT),
    }
}

/// socketpair(2). The pair is private, but a datagram end can address any path: the process is guarded first.
pub fn socketpair(_: Net) -> ArgRule {
    ArgRule {
        why: "unix pairs are private; a process that makes datagram ends is guarded first",
        cases: vec![
            when(kind(libc::AF_UNIX, libc::SOCK_DGRAM), Notify),
            when(kind(libc::AF_UNIX, libc::SOCK_RAW), Notify),
            when(kind(libc::AF_UNIX, libc::SOCK_STREAM), Native),
            when(kind(libc::AF_UNIX, libc::SOCK_SEQPACKET), Native),
            when([is(0, word(libc::AF_UNIX))], Refuse(libc::ESOCKTNOSUPPORT)),
        ],
        otherwise: Refuse(libc::EAFNOSUPPORT),
    }
}

/// A pointer that is none.
fn no_pointer(arg: u8) -> Cond {
    Cond {
        arg,
        width: Width::Long,
        op: Op::Eq,
        value: 0,
    }
}

/// No address: what is sent goes where the socket is connected to.
fn no_address() -> Cond {
    no_pointer(4)
}

/// sendto(2). Without a network only unix addresses can be meant. With one, most are of the internet: there the
/// guard alone looks at them.
pub fn sendto(net: Net) -> ArgRule {
    ArgRule {
        why: "an address of a unix datagram socket is a path of the view",
        cases: match net {
            Net::None => vec![when([no_address()], Native)],
            Net::Host => vec![],
        },
        otherwise: match net {
            Net::None => Notify,
            Net::Host => Native,
        },
    }
}

/// recvfrom(2). The address of who has sent is told in the view's terms. With a network most addresses are of the
/// internet: there the guard alone looks at them.
pub fn recvfrom(net: Net) -> ArgRule {
    ArgRule {
        why: "the address of who has sent is told in the view's terms",
        cases: match net {
            Net::None => vec![when([no_address()], Native)],
            Net::Host => vec![],
        },
        otherwise: match net {
            Net::None => Trace,
            Net::Host => Native,
        },
    }
}

/// accept(2). The kernel's address of who connects is told in the view's terms.
pub fn accept(_: Net) -> ArgRule {
    ArgRule {
        why: "the address of who connects is told in the view's terms",
        cases: vec![when([no_pointer(1)], Native)],
        otherwise: Trace,
    }
}

/// setsockopt(2). Options that send packets another way than their address says, or that hand code to the
/// kernel. The level decides what the option's number means, so each is a pair.
pub fn setsockopt(_: Net) -> ArgRule {
    const REFUSED: [(i32, &[i32]); 4] = [
        (
            libc::SOL_SOCKET,
            &[
                libc::SO_BINDTODEVICE,
                libc::SO_MARK,
                libc::SO_ATTACH_BPF,
                libc::SO_ATTACH_REUSEPORT_CBPF,
                libc::SO_ATTACH_REUSEPORT_EBPF,
                76, // SO_PASSPIDFD, Linux 6.5: a message that the supervisor sends would bring a pidfd of it
                62, // SO_BINDTOIFINDEX, Linux 5.1: SO_BINDTODEVICE by number
            ],
        ),
        (
            libc::IPPROTO_IP,
            &[libc::IP_OPTIONS, libc::IP_RETOPTS, libc::IP_TRANSPARENT],
        ),
        (
            libc::IPPROTO_TCP,
            &[libc::TCP_REPAIR, libc::TCP_FASTOPEN_CONNECT, libc::TCP_ULP],
        ),
        // IPV6_2292RTHDR and IPV6_2292PKTOPTIONS (RFC 2292) are older ways to say IPV6_RTHDR.
        (
            libc::IPPROTO_IPV6,
            &[5, 6, libc::IPV6_RTHDR, 75 /* IPV6_TRANSPARENT */],
        ),
    ];
    let cases = REFUSED.iter().flat_map(|&(level, options)| {
        options.iter().map(move |&option| {
            when(
                [is(1, word(level)), is(2, word(option))],
                Refuse(libc::EPERM),
            )
        })
    });
    // What it has messages bring are numbers of processes.
    let credentials = when(
        [
            is(1, word(libc::SOL_SOCKET)),
            is(2, word(libc::SO_PASSCRED)),
        ],
        Number,
    );
    ArgRule {
        why: "no options that re-route packets or load code into the kernel; who is told credentials is guarded first",
        cases: cases.chain([credentials]).collect(),
        otherwise: Native,
    }
}

/// getsockopt(2): the supervisor makes connections for guests, so the kernel would call it the peer of a unix socket,
/// and a pidfd of it would be a handle to signal it.
pub fn getsockopt(_: Net) -> ArgRule {
    const SO_PEERPIDFD: u32 = 77; // Linux 6.5
    ArgRule {
        why: "the peer of a socket is the guest that has connected, and not the supervisor, which does it for guests",
        cases: [word(libc::SO_PEERCRED), SO_PEERPIDFD]
            .into_iter()
            .map(|option| when([is(1, word(libc::SOL_SOCKET)), is(2, option)], Notify))
            .collect(),
        otherwise: Native,
    }
}

/// ioctl(2). Every driver has its own commands, so a list of what is allowed; what isn't on it gets ENOTTY, as
/// from a file that doesn't know the command. Kept out on purpose:
/// * `TIOCSTI`, `TIOCLINUX`, `TIOCSETD`, `TIOCCONS`: type into, or take over, the terminal of whoever started
///   us (CVE-2017-5226, CVE-2023-28100). EPERM, as the kernel says where it forbids them.
/// * `TIOCGPTPEER` opens a terminal without open(2).
/// * `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`, verity, encryption: change an inode through a read-only descriptor.
/// * `SIOCGIF*` where there is no network: a unix socket answers them too, with the host's interfaces.
pub fn ioctl(net: Net) -> ArgRule {
    const TERMINAL: &[u32] = &of![io:
        TCGETS TCSETS TCSETSW TCSETSF TCGETA TCSETA TCSETAW TCSETAF TCSBRK TCXONC TCFLSH TCSBRKP
        TIOCSBRK TIOCCBRK TIOCEXCL TIOCNXCL TIOCGEXCL TIOCSCTTY TIOCNOTTY TIOCOUTQ TIOCGWINSZ TIOCSWINSZ TIOCMGET TIOCMBIS TIOCMBIC TIOCMSET TIOCGETD
        FIONREAD TCGETS2 TCSETS2 TCSETSW2 TCSETSF2 TIOCGPTN TIOCSPTLCK TIOCGPTLCK TIOCPKT TIOCGPKT
        TIOCGDEV FIONBIO FIOASYNC
    ];
    const FILE: &[u32] = &of![io:
        FIOCLEX FIONCLEX FIOQSIZE SIOCATMARK FICLONE FICLONERANGE
        FS_IOC_GETFLAGS FS_IOC_GETVERSION FS_IOC_FSGETXATTR FS_IOC_FIEMAP RNDGETENTCNT
    ];
    const NUMBERS: &[u32] = &of![io:
        TIOCGPGRP TIOCSPGRP TIOCGSID FIOGETOWN SIOCGPGRP PIDFD_GET_INFO PIDFD_GET_INFO_72 PIDFD_GET_INFO_80
    ];
    const OWNERS: &[u32] = &of![io: FIOSETOWN SIOCSPGRP];
    const INTERFACE: &[u32] = &of![io:
        SIOCGIFNAME SIOCGIFCONF SIOCGIFFLAGS SIOCGIFADDR SIOCGIFDSTADDR SIOCGIFBRDADDR
        SIOCGIFNETMASK SIOCGIFMETRIC SIOCGIFMTU SIOCGIFHWADDR SIOCGIFINDEX SIOCGIFTXQLEN
    ];
    const FORBIDDEN: &[u32] = &of![io:
        TIOCSTI TIOCLINUX TIOCSETD TIOCCONS
    ];
    let mut cases: Vec<Case> = each(1, TERMINAL, Native)
        .chain(each(1, FILE, Native))
        .chain(each(1, NUMBERS, Retell))
        .chain(each(1, OWNERS, Notify))
        .collect();
    if net == Net::Host {
        cases.extend(each(1, INTERFACE, Native));
    }
    cases.extend(each(1, FORBIDDEN, Refuse(libc::EPERM)));
    ArgRule {
        why: "an allow-list of commands",
        cases,
        otherwise: Refuse(libc::ENOTTY),
    }
}

/// ioctl(2) where a directory has a limited size: no `FICLONE`, which makes a file as long as another.
pub fn no_clones(mut rule: ArgRule) -> ArgRule {
    let refused = each(1, &of![io: FICLONE FICLONERANGE], Refuse(libc::EOPNOTSUPP));
    rule.cases.splice(0..0, refused);
    rule
}

/// fcntl(2) where not everybody may be signalled: no `O_ASYNC`, as a terminal takes whoever is in its foreground for the owner,
/// and `F_SETSIG` says which signal they get.
pub fn no_async_fcntl(mut rule: ArgRule) -> ArgRule {
    let asynchronous = word(libc::O_ASYNC);
    let set = [is(1, f::F_SETFL), bits(2, asynchronous, asynchronous)];
    rule.cases.insert(0, when(set, Refuse(libc::EPERM)));
    rule
}

/// ioctl(2) there: no `FIOASYNC`, which is the same.
pub fn no_async_ioctl(mut rule: ArgRule) -> ArgRule {
    let set = when([is(1, io::FIOASYNC)], Refuse(libc::EPERM));
    rule.cases.insert(0, set);
    rule
}

/// fcntl(2). `F_SETOWN` and `F_SETOWN_EX` name who gets SIGIO: the supervisor makes these calls. Leases and `F_NOTIFY` would stall and watch other openers on the host.
pub fn fcntl(_: Net) -> ArgRule {
    const NATIVE: &[u32] = &of![f:
        F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_SETLK F_SETLKW F_SETSIG
        F_GETSIG F_OFD_SETLK F_OFD_SETLKW F_GETLEASE F_DUPFD_QUERY
        F_CREATED_QUERY F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS
        F_GET_RW_HINT F_SET_RW_HINT F_GET_FILE_RW_HINT
    ];
    const NUMBERS: &[u32] = &of![f: F_GETLK F_OFD_GETLK F_GETOWN F_GETOWN_EX];
    ArgRule {
        why: "an allow-list of commands; the supervisor says whom F_SETOWN names",
        cases: each(1, NATIVE, Native)
            .chain(each(1, NUMBERS, Retell))
            .chain([
                when([is(1, f::F_SETOWN)], Notify),
                when([is(1, f::F_SETOWN_EX)], Notify),
            ])
            .collect(),
        otherwise: Refuse(libc::EINVAL),
    }
}

/// prctl(2). `PR_SET_DUMPABLE` and `PR_SET_PTRACER` are answered 0 without doing them: a process that isn't
/// dumpable cannot be read by the supervisor. `PR_SET_MM` can swap the exe link,
/// `PR_SET_SYSCALL_USER_DISPATCH` takes calls away before the filter sees them, `PR_SCHED_CORE` names pids.
pub fn prctl(_: Net) -> ArgRule {
    const NATIVE: &[u32] = &of![pr:
        PR_SET_PDEATHSIG PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_GET_KEEPCAPS PR_SET_KEEPCAPS
        PR_GET_TIMING PR_SET_TIMING PR_SET_NAME PR_GET_NAME PR_GET_SECCOMP PR_SET_SECCOMP
        PR_CAPBSET_READ PR_CAPBSET_DROP PR_GET_TSC PR_SET_TSC PR_GET_SECUREBITS PR_SET_SECUREBITS
        PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_TASK_PERF_EVENTS_DISABLE PR_TASK_PERF_EVENTS_ENABLE
        PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS
        PR_GET_TID_ADDRESS PR_SET_THP_DISABLE PR_GET_THP_DISABLE PR_CAP_AMBIENT
        PR_GET_SPECULATION_CTRL PR_SET_SPECULATION_CTRL PR_SET_MDWE PR_GET_MDWE
        PR_SET_MEMORY_MERGE PR_GET_MEMORY_MERGE PR_GET_SHADOW_STACK_STATUS PR_SET_VMA
    ];
    ArgRule {
        why: "an allow-list of options; the program stays dumpable, or the supervisor could not read it",
        cases: each(0, NATIVE, Native)
            .chain(each(0, &[pr::PR_SET_DUMPABLE, pr::PR_SET_PTRACER], Fake))
            .collect(),
        otherwise: Refuse(libc::EINVAL),
    }
}

/// arch_prctl(2). Segment bases, shadow stack status, AMX permission; the rest changes what the CPU tells the
/// program, or the vDSO.
pub fn arch_prctl(_: Net) -> ArgRule {
    const NATIVE: &[u32] = &of![arch:
        ARCH_SET_GS ARCH_SET_FS ARCH_GET_FS ARCH_GET_GS ARCH_CET_STATUS ARCH_GET_XCOMP_SUPP
        ARCH_GET_XCOMP_PERM ARCH_REQ_XCOMP_PERM ARCH_SHSTK_STATUS
    ];
    ArgRule {
        why: "an allow-list of codes",
        cases: each(0, NATIVE, Native).collect(),
        otherwise: Refuse(libc::EINVAL),
    }
}

/// personality(2). Asking, the default and no address randomisation (debuggers, sanitizers); other bits weaken
/// memory protection or change what paths and uname mean.
pub fn personality(_: Net) -> ArgRule {
    ArgRule {
        why: "only the query, the default and ADDR_NO_RANDOMIZE",
        cases: each(0, &[u32::MAX, 0, word(libc::ADDR_NO_RANDOMIZE)], Native).collect(),
        otherwise: Refuse(libc::EPERM),
    }
}

/// pipe2(2). `O_NOTIFICATION_PIPE` (the bit of `O_EXCL`, Linux 5.8) makes a watch queue on keyrings and such;
/// a kernel built without it says ENOPKG.
pub fn pipe2(_: Net) -> ArgRule {
    ArgRule {
        why: "no notification pipes",
        cases: vec![when([bits(1, word(libc::O_EXCL), 0)], Native)],
        otherwise: Refuse(libc::ENOPKG),
    }
}

/// Calls whose first argument is a pid. 0 is the caller; any other must be proven a member of the sandbox.
pub fn own_pid(_: Net) -> ArgRule {
    ArgRule {
        why: "pid 0 is the caller; others must be in the sandbox",
        cases: vec![when([is(0, 0)], Native)],
        otherwise: Renumber,
    }
}

/// The same for calls that change the one who is named: the supervisor does it, as only it can see to it that the number means
/// nobody else by then.
pub fn own_pid_or_ask(_: Net) -> ArgRule {
    ArgRule {
        why: "pid 0 is the caller; others must be in the sandbox",
        cases: vec![when([is(0, 0)], Native)],
        otherwise: Notify,
    }
}

/// getpgid(2), getsid(2): also of the caller they tell a number.
pub fn group_of(_: Net) -> ArgRule {
    ArgRule {
        why: "pid 0 is the caller; others must be in the sandbox",
        cases: vec![when([is(0, 0)], Number)],
        otherwise: Notify,
    }
}

/// The same for calls that no one needs on other processes: they move another's memory.
pub fn own_pid_only(_: Net) -> ArgRule {
    ArgRule {
        why: "own memory only",
        cases: vec![when([is(0, 0)], Native)],
        otherwise: Refuse(libc::EPERM),
    }
}

/// setpgid(2): both 0 makes the caller a group of its own.
pub fn setpgid(_: Net) -> ArgRule {
    ArgRule {
        why: "pid 0 is the caller; others must be in the sandbox",
        cases: vec![when([is(0, 0), is(1, 0)], Native)],
        otherwise: Renumber,
    }
}

/// getpriority(2). `PRIO_USER` means all processes of a user, most of them outside, also if
/// `who` is 0.
pub fn priority(_: Net) -> ArgRule {
    who_is_self(0, 2) // PRIO_PROCESS, PRIO_USER
}

/// ioprio_get(2), which counts `which` from 1.
pub fn ioprio(_: Net) -> ArgRule {
    who_is_self(1, 3) // IOPRIO_WHO_PROCESS, IOPRIO_WHO_USER, <linux/ioprio.h>
}

/// `which, who`: process 0 is the caller. Group 0 may be one that sbox and its caller are in, so the
/// supervisor looks; a user is never meant.
fn who_is_self(process: u32, user: u32) -> ArgRule {
    ArgRule {
        why: "process 0 is the caller; others, and groups, must be in the sandbox; never all of a user's",
        cases: vec![
            when([is(0, user)], Refuse(libc::EPERM)),
            when([is(0, process), is(1, 0)], Native),
        ],
        otherwise: Renumber,
    }
}

/// Clock ids. A negative one is a pid's, a tid's or a descriptor's clock (clock_getres(2)).
pub fn clock_id(_: Net) -> ArgRule {
    ArgRule {
        why: "a negative id names a process, which must be in the sandbox",
        cases: vec![when([negative_clock()], Renumber)],
        otherwise: Native,
    }
}

fn negative_clock() -> Cond {
    Cond {
        op: Op::Ge,
        ..is(0, 0x8000_0000)
    }
}

/// timer_create(2): a clock id, and a structure that may name the thread that gets the signal.
pub fn timer_create(_: Net) -> ArgRule {
    ArgRule {
        why: "a negative clock names a process, which must be in the sandbox; the event may name a thread",
        cases: vec![
            when([negative_clock()], Renumber),
            when([no_pointer(1)], Native),
        ],
        otherwise: Retell,
    }
}

/// rt_sigtimedwait(2): what it tells of a signal may name who has sent it.
pub fn sigtimedwait(_: Net) -> ArgRule {
    ArgRule {
        why: "what is told of a signal names who has sent it",
        cases: vec![when([no_pointer(1)], Native)],
        otherwise: Retell,
    }
}

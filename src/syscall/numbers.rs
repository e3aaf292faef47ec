//! Where calls name processes by number: in which registers, at which places in memory, in what they return.
//!
//! For the calls that the table marks `Retell` and `Renumber`. In a view with numbers of its own, the tracer translates what a
//! guest gives before the kernel runs the call, and what the kernel tells after it. Pure: words in, words out.

use super::flags::{fcntl, ioctl};
use crate::task::{NOBODY, Names};

/// A number in a register or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Above 0 it names one of these; else it has a meaning of its own, or none.
    Of(Names),
    /// Above 0 a process; below -1 a process group (kill(2), waitpid(2), fcntl(2) `F_SETOWN`).
    Signed,
    /// A clock id, which is below 0 if it names a process or thread (clock_getcpuclockid(3)).
    Clock,
}

/// A number that the kernel reads from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which register points there, and how far behind it lies.
    pub at: (usize, u64),
    /// What it names.
    pub names: Names,
    /// Only if this `int`, as far behind the pointer, has this value.
    pub only_if: Option<(u64, i32)>,
}

/// What the kernel writes to memory, with a number in it; and the register that points there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An `int`.
    Word(usize, Sort),
    /// `siginfo_t`
    Signal(usize),
    /// `struct flock`
    Lock(usize),
    /// `struct f_owner_ex`
    Owner(usize),
    /// `struct pidfd_info`
    PidInfo(usize),
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// No number of a process.
    Nothing,
    /// A child that was waited for.
    Child,
    /// The caller.
    Caller,
    /// A process or, negative, a group.
    Owner,
}

/// All numbers of processes in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Registers.
    pub registers: &'static [(usize, Sort)],
    /// A word of memory.
    pub given: Option<Given>,
    /// What is written.
    pub told: Option<Told>,
    /// What is returned.
    pub returned: Returned,
    /// What it brings is told by `supervisor::ears`.
    pub ends: bool,
    /// Process 1 is one that is there and lets nobody touch it (EPERM); else it is nobody that could be meant.
    pub guards_init: bool,
}

const NONE: Numbers = Numbers {
    registers: &[],
    given: None,
    told: None,
    returned: Returned::Nothing,
    ends: false,
    guards_init: true,
};

const PROCESS: Sort = Sort::Of(Names::Process);
const THREAD: Sort = Sort::Of(Names::Thread);
const GROUP: Sort = Sort::Of(Names::Group);

/// The numbers in a call with these registers.
pub fn of(nr: u32, args: &[u64; 6]) -> Numbers {
    let [first, second, ..] = *args;
    let in_registers = |registers| Numbers { registers, ..NONE };
    let tells = |told| Numbers {
        told: Some(told),
        ..NONE
    };
    match i64::from(nr) {
        libc::SYS_kill => in_registers(&[(0, Sort::Signed)]),
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => {
            in_registers(&[(0, PROCESS), (1, THREAD)])
        }
        libc::SYS_rt_sigqueueinfo => in_registers(&[(0, PROCESS)]),
        libc::SYS_tkill
        | libc::SYS_sched_getparam
        | libc::SYS_sched_getscheduler
        | libc::SYS_sched_rr_get_interval
        | libc::SYS_sched_getattr
        | libc::SYS_get_robust_list
        | libc::SYS_process_vm_readv
        | libc::SYS_process_vm_writev => in_registers(&[(0, THREAD)]),
        // The kinds are counted from 0, and from 1.
        libc::SYS_getpriority => in_registers(whom(first as i32)),
        libc::SYS_ioprio_get => in_registers(whom((first as i32).wrapping_sub(1))),
        libc::SYS_setpgid => Numbers {
            guards_init: false,
            ..in_registers(&[(0, PROCESS), (1, GROUP)])
        },
        libc::SYS_wait4 => Numbers {
            returned: Returned::Child,
            guards_init: false,
            ..in_registers(&[(0, Sort::Signed)])
        },
        libc::SYS_waitid => Numbers {
            registers: match first as u32 {
                libc::P_PID => &[(1, PROCESS)],
                libc::P_PGID => &[(1, GROUP)],
                _ => &[],
            },
            guards_init: false,
            ..tells(Told::Signal(2))
        },
        libc::SYS_setsid => Numbers {
            returned: Returned::Caller,
            ..NONE
        },
        libc::SYS_rt_sigtimedwait => tells(Told::Signal(1)),
        libc::SYS_signalfd | libc::SYS_signalfd4 | libc::SYS_read | libc::SYS_readv => {
            Numbers { ends: true, ..NONE }
        }
        libc::SYS_clock_gettime | libc::SYS_clock_getres | libc::SYS_clock_nanosleep => {
            in_registers(&[(0, Sort::Clock)])
        }
        // struct sigevent: a value of 8 bytes, the signal, how it is told, the thread.
        libc::SYS_timer_create => Numbers {
            given: (second != 0).then_some(Given {
                at: (1, 16),
                names: Names::Thread,
                only_if: Some((12, libc::SIGEV_THREAD_ID)),
            }),
            ..in_registers(&[(0, Sort::Clock)])
        },
        // struct __user_cap_header_struct: version and pid.
        libc::SYS_capset => Numbers {
            given: Some(Given {
                at: (0, 4),
                names: Names::Thread,
                only_if: None,
            }),
            ..NONE
        },
        libc::SYS_fcntl => match second as u32 {
            fcntl::F_GETOWN => Numbers {
                returned: Returned::Owner,
                ..NONE
            },
            fcntl::F_GETOWN_EX => tells(Told::Owner(2)),
            fcntl::F_GETLK | fcntl::F_OFD_GETLK => tells(Told::Lock(2)),
            _ => NONE,
        },
        libc::SYS_ioctl => match second as u32 {
            ioctl::TIOCGPGRP => tells(Told::Word(2, GROUP)),
            ioctl::TIOCGSID => tells(Told::Word(2, Sort::Of(Names::Session))),
            ioctl::FIOGETOWN | ioctl::SIOCGPGRP => tells(Told::Word(2, Sort::Signed)),
            ioctl::PIDFD_GET_INFO | ioctl::PIDFD_GET_INFO_72 | ioctl::PIDFD_GET_INFO_80 => {
                tells(Told::PidInfo(2))
            }
            ioctl::TIOCSPGRP => Numbers {
                given: Some(Given {
                    at: (2, 0),
                    names: Names::Group,
                    only_if: None,
                }),
                ..NONE
            },
            _ => NONE,
        },
        _ => NONE,
    }
}

/// getpriority(2): `PRIO_PROCESS`, `PRIO_PGRP`.
const fn whom(kind: i32) -> &'static [(usize, Sort)] {
    match kind {
        0 => &[(1, THREAD)],
        1 => &[(1, GROUP)],
        _ => &[],
    }
}

impl Sort {
    /// The word with its number translated.
    pub fn translate(self, word: i32, with: impl Fn(i32, Names) -> i32) -> i32 {
        match self {
            Self::Of(names) if word > 0 => with(word, names),
            Self::Of(_) => word,
            Self::Signed if word > 0 => with(word, Names::Process),
            Self::Signed if word < -1 && word != i32::MIN => -with(-word, Names::Group),
            Self::Signed => word,
            Self::Clock => clock(word, with),
        }
    }

    /// True if it names process 1 and that could be meant.
    pub fn names_init(self, word: i32) -> bool {
        matches!(
            self,
            Self::Signed | Self::Of(Names::Process | Names::Thread)
        ) && word == crate::task::INIT
    }
}

/// include/linux/posix-timers_types.h: `~pid << 3`, and three bits: 4 for a thread's, 3 in the lower two for a descriptor's.
fn clock(id: i32, with: impl Fn(i32, Names) -> i32) -> i32 {
    const MOST: i32 = i32::MAX >> 3;
    let pid = !(id >> 3);
    if id >= 0 || id & 3 == 3 || pid <= 0 {
        return id;
    }
    let names = match id & 4 {
        0 => Names::Process,
        _ => Names::Thread,
    };
    let pid = match with(pid, names) {
        NOBODY => MOST,
        pid => pid,
    };
    !pid << 3 | id & 7
}

/// Whose number a `siginfo_t` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Of a process that has called kill(2) or the like.
    Anybody,
    /// Of a child that has ended, stopped or gone on.
    Child,
}

/// The bytes of a `siginfo_t` in which something is to be translated: its head, and `si_pid`.
pub const SIGNAL_HEAD: usize = 20;

/// Translates `si_pid` (sigaction(2)), if the kernel has put a process there: what sigqueue(3) sends, the sender has
/// written.
pub fn tell_signal(info: &mut [u8], told: impl Fn(i32, Sender) -> i32) -> bool {
    let (Some(signal), Some(code), Some(pid)) = (word(info, 0), word(info, 8), word(info, 16))
    else {
        return false;
    };
    who_sends(signal, code).is_some_and(|sender| put(info, 16, told(pid, sender)))
}

fn who_sends(signal: i32, code: i32) -> Option<Sender> {
    const SI_TKILL: i32 = -6;
    match code {
        libc::SI_USER | SI_TKILL => Some(Sender::Anybody),
        libc::CLD_EXITED..=libc::CLD_CONTINUED if signal == libc::SIGCHLD => Some(Sender::Child),
        _ => None,
    }
}

/// Bytes of a `struct signalfd_siginfo`.
pub const SIGNALFD_RECORD: usize = 128;

/// The same for a `struct signalfd_siginfo`, whose head is signal, errno, code and process.
pub fn tell_signalfd(record: &mut [u8], told: impl Fn(i32, Sender) -> i32) -> bool {
    let (Some(signal), Some(code), Some(pid)) =
        (word(record, 0), word(record, 8), word(record, 12))
    else {
        return false;
    };
    who_sends(signal, code).is_some_and(|sender| put(record, 12, told(pid, sender)))
}

/// Translates `l_pid` of a `struct flock`, of which that is the end. -1 stays: nobody's lock.
pub const LOCK: usize = 28;

/// As said there.
pub fn tell_lock(lock: &mut [u8], told: impl Fn(i32, Names) -> i32) -> bool {
    let kind = lock.first_chunk().map(|b| i16::from_ne_bytes(*b));
    if kind == Some(libc::F_UNLCK as i16) {
        return false;
    }
    word(lock, 24).is_some_and(|pid| put(lock, 24, PROCESS.translate(pid, told)))
}

/// The bytes of a `struct f_owner_ex`: what sort of owner, and its number.
pub const OWNER: usize = 8;

/// Translates the number there.
pub fn tell_owner(owner: &mut [u8], told: impl Fn(i32, Names) -> i32) -> bool {
    // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
    let sort = match word(owner, 0) {
        Some(0) => THREAD,
        Some(2) => GROUP,
        _ => PROCESS,
    };
    word(owner, 4).is_some_and(|pid| put(owner, 4, sort.translate(pid, told)))
}

/// The bytes of a `struct pidfd_info` (<linux/pidfd.h>) with what is to be changed.
pub const PID_INFO: usize = 28;

/// Translates process, thread group and parent there. The number of its control group, which is one of the host's, isn't told.
pub fn tell_pid_info(info: &mut [u8], told: impl Fn(i32, Names) -> i32) -> bool {
    const PIDFD_INFO_CGROUPID: i32 = 1 << 2;
    // Flags and group are of 64 bits; no flag is above 32.
    let Some(mask) = word(info, 0) else {
        return false;
    };
    let mut changed = put(info, 0, mask & !PIDFD_INFO_CGROUPID);
    changed |= put(info, 8, 0) | put(info, 12, 0);
    for (at, sort) in [(16, THREAD), (20, PROCESS), (24, PROCESS)] {
        changed |= word(info, at).is_some_and(|pid| put(info, at, sort.translate(pid, &told)));
    }
    changed
}

/// `F_GETOWN` returns minus a group, as if that were an error. What is no group of the view's is one.
pub fn tell_owner_returned(value: i64, told: impl Fn(i32, Names) -> i32) -> i64 {
    const MAX_ERRNO: i64 = 4095;
    let owner = i32::try_from(value).unwrap_or(0);
    match Sort::Signed.translate(owner, told) {
        0 if (-MAX_ERRNO..0).contains(&value) => value,
        told => told.into(),
    }
}

/// Where in control messages (cmsg(3)) credentials have the number of a process: `SCM_CREDENTIALS` of unix(7).
pub fn credentials(control: &[u8]) -> Vec<usize> {
    const HEAD: usize = 16;
    let (mut at, mut found) = (0, Vec::new());
    while let Some(length) = control.get(at..).and_then(|b| b.first_chunk()) {
        let length = usize::try_from(u64::from_ne_bytes(*length)).unwrap_or(0);
        if length < HEAD || length > control.len() - at {
            break;
        }
        if word(control, at + 8) == Some(libc::SOL_SOCKET)
            && word(control, at + 12) == Some(libc::SCM_CREDENTIALS)
            && length >= HEAD + 4
        {
            found.push(at + HEAD);
        }
        at += length.next_multiple_of(8);
    }
    found
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(i32::from_ne_bytes(four.try_into().ok()?))
}

/// Puts a word in; true if that changes something.
fn put(bytes: &mut [u8], at: usize, value: i32) -> bool {
    match bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        Some(place) => std::mem::replace(place, value.to_ne_bytes()) != value.to_ne_bytes(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups are told from the rest by another sum.
    fn add(n: i32, names: Names) -> i32 {
        n + if names == Names::Group { 2000 } else { 1000 }
    }

    #[test]
    fn numbers_are_found_in_words_of_every_sort() {
        for (sort, word, want) in [
            (PROCESS, 5, 1005),
            (PROCESS, 0, 0),
            (PROCESS, -5, -5),
            (GROUP, 5, 2005),
            (Sort::Signed, 5, 1005),
            (Sort::Signed, -5, -2005),
            (Sort::Signed, -1, -1),
            (Sort::Signed, 0, 0),
            (Sort::Signed, i32::MIN, i32::MIN),
            (Sort::Clock, libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC),
            (Sort::Clock, !5 << 3 | 2, !1005 << 3 | 2),
            (Sort::Clock, !5 << 3 | 6, !1005 << 3 | 6),
            (Sort::Clock, !0 << 3 | 2, !0 << 3 | 2),
            (Sort::Clock, !5 << 3 | 3, !5 << 3 | 3),
        ] {
            assert_eq!(sort.translate(word, add), want, "{sort:?} {word}");
        }
        let nobody = Sort::Clock.translate(!5 << 3 | 2, |_, _| NOBODY);
        assert!(nobody < 0 && !(nobody >> 3) > 4_194_304, "{nobody}");
    }

    fn signal(signal: i32, code: i32, pid: i32) -> [u8; 128] {
        let mut info = [0xaa; 128];
        for (at, value) in [(0, signal), (8, code), (16, pid)] {
            put(&mut info, at, value);
        }
        info
    }

    #[test]
    fn only_numbers_that_the_kernel_has_written_are_told() {
        for (number, code, sender) in [
            (libc::SIGUSR1, libc::SI_USER, Some(Sender::Anybody)),
            (libc::SIGUSR1, -6, Some(Sender::Anybody)),
            (libc::SIGCHLD, libc::CLD_EXITED, Some(Sender::Child)),
            (libc::SIGCHLD, libc::CLD_CONTINUED, Some(Sender::Child)),
            (libc::SIGCHLD, libc::SI_USER, Some(Sender::Anybody)),
            (libc::SIGSEGV, 1, None),
            (libc::SIGUSR1, libc::SI_QUEUE, None),
            (libc::SIGALRM, libc::SI_TIMER, None),
            (libc::SIGHUP, libc::SI_KERNEL, None),
        ] {
            let mut info = signal(number, code, 7);
            let seen = std::cell::Cell::new(None);
            let changed = tell_signal(&mut info, |pid, sender| {
                seen.set(Some(sender));
                pid + 1
            });
            assert_eq!(
                (changed, seen.get()),
                (sender.is_some(), sender),
                "{number} {code}"
            );
            let pid = if changed { 8 } else { 7 };
            assert_eq!(info, signal(number, code, pid), "{number} {code}");
        }
    }

    #[test]
    fn signals_that_are_read_tell_senders_elsewhere() {
        let mut record = [0u8; SIGNALFD_RECORD];
        put(&mut record, 0, libc::SIGCHLD);
        put(&mut record, 8, libc::CLD_KILLED);
        put(&mut record, 12, 7);
        assert!(tell_signalfd(&mut record, |pid, _| pid + 1));
        assert_eq!(word(&record, 12), Some(8));
        put(&mut record, 8, libc::SI_QUEUE);
        assert!(!tell_signalfd(&mut record, |pid, _| pid + 1));
    }

    #[test]
    fn credentials_are_found_among_control_messages() {
        let message = |kind: i32, body: usize| {
            let mut bytes = vec![0; (16 + body).next_multiple_of(8)];
            bytes[..8].copy_from_slice(&(16 + body as u64).to_ne_bytes());
            put(&mut bytes, 8, libc::SOL_SOCKET);
            put(&mut bytes, 12, kind);
            bytes
        };
        let (rights, who) = (
            message(libc::SCM_RIGHTS, 4),
            message(libc::SCM_CREDENTIALS, 12),
        );
        assert_eq!(credentials(&[]), Vec::<usize>::new());
        assert_eq!(credentials(&rights), Vec::<usize>::new());
        assert_eq!(credentials(&who), [16]);
        assert_eq!(credentials(&[&rights[..], &who, &who].concat()), [40, 72]);
        // Cut short, too short, too long.
        assert_eq!(credentials(&who[..20]), Vec::<usize>::new());
        assert_eq!(
            credentials(&message(libc::SCM_CREDENTIALS, 0)),
            Vec::<usize>::new()
        );
        assert_eq!(credentials(&[0xff; 64]), Vec::<usize>::new());
    }

    #[test]
    fn pidfds_tell_no_group_of_the_host() {
        let mut info = [0u8; PID_INFO];
        for (at, value) in [(0, 1 << 2 | 1), (8, 77), (12, 1), (16, 4), (20, 4), (24, 0)] {
            put(&mut info, at, value);
        }
        assert!(tell_pid_info(&mut info, add));
        let words = [0, 4, 8, 12, 16, 20, 24].map(|at| word(&info, at));
        assert_eq!(words, [1, 0, 0, 0, 1004, 1004, 0].map(Some));
    }

    #[test]
    fn locks_and_owners() {
        let mut lock = [0u8; LOCK];
        put(&mut lock, 24, 9);
        assert!(tell_lock(&mut lock, add));
        assert_eq!(word(&lock, 24), Some(1009));
        put(&mut lock, 24, -1);
        assert!(!tell_lock(&mut lock, add));
        put(&mut lock, 24, 9);
        lock[0] = libc::F_UNLCK as u8;
        assert!(!tell_lock(&mut lock, add));
        let mut owner = [0u8; OWNER];
        for (kind, want) in [(0, 1004), (1, 1004), (2, 2004)] {
            put(&mut owner, 0, kind);
            put(&mut owner, 4, 4);
            assert!(tell_owner(&mut owner, add));
            assert_eq!(word(&owner, 4), Some(want), "{kind}");
        }
        for (value, want) in [(0, 0), (6, 1006), (-300, -2300), (-1, -1)] {
            assert_eq!(tell_owner_returned(value, add), want, "{value}");
        }
        assert_eq!(tell_owner_returned(-9, |_, _| 0), -9);
        assert_eq!(tell_owner_returned(-9000, |_, _| 0), 0);
    }
}

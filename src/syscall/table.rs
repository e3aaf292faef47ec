//! THE table: every system call of x86-64, what it is, who answers it.
//!
//! A row reads like the prototype in the man page. From this one list come the BPF filter
//! (`supervisor::filter`), the decoding of arguments, traces, the policy's `@groups`, `sbox syscalls`,
//! `docs/SYSCALLS.md` and a good part of the tests. **A number without a row gets ENOSYS**, so a kernel newer
//! than sbox opens no holes; a test fails when the running kernel has a call that has no row.
//!
//! # Mechanisms
//!
//! | word | who answers | why |
//! |---|---|---|
//! | `Native` | the kernel, as if there were no sandbox | the call acts on what the program already holds |
//! | `Notify` | the supervisor (`SECCOMP_RET_USER_NOTIF`) | the arguments name something: a path, an address, a pid |
//! | `Trace` | the tracer (`SECCOMP_RET_TRACE`) | registers must be rewritten: exec |
//! | `Meter` | the kernel; where a directory has a size (`--tmpfs DIR:SIZE`), the supervisor first | what makes files longer must be counted |
//! | `Identify` | the kernel; where there are copy-on-write mounts, the supervisor | a copied file keeps its original's identity |
//! | `Number` | the supervisor; where the view has the host's numbers (`--pids host`), the kernel | it tells a number of the caller's |
//! | `Retell` | the kernel; the tracer translates numbers before and after it | as above, and only the caller can make the call |
//! | `Renumber` | as `Retell`, after the supervisor has judged; with the host's numbers it only judges | a number names another process |
//! | `Refuse(E)` | the filter, with errno `E` | it would reach out of the sandbox, or our answers could not honour it |
//! | `Fake(0)` | the filter, with success | harmless to leave out, and programs take a refusal badly |
//! | `Check(rule)` | the filter, by the arguments | a function in [`rules`] tells Native from Notify from Refuse |
//!
//! The choice follows one rule: *the cheapest mechanism that is sound*. The filter sees registers alone. What
//! lies behind a pointer can change after we looked, so such a call is answered from our own copy (Notify) or
//! not at all; it is never let through after a look.
//!
//! # Columns
//!
//! `x86` and `arm` are the numbers on x86-64 and aarch64 (`_`: aarch64 never had it; its libc uses the *at
//! form). The class gives the policy's group, see [`Class::group`]. Arguments are written `name: Type`, the types
//! being those of [`args`]. A row with `-> family::name` has a handler there, for the cases
//! that reach the supervisor.
//!
//! Long because the list is; it is meant to be read like one.
//!
//! To add a call: add its row; if it is answered, write the handler; run the tests (`BLESS=1` rewrites
//! `docs/SYSCALLS.md`).

use std::fmt::{self, Display, Formatter};

use super::args::{self, Arg};
use super::plan::{Cx, Errno, Plan};
use super::rules::{self, Net, Outcome, Rule};

/// Decodes the arguments of one call and lets its handler make a plan.
pub type Handler = for<'a> fn(&Cx<'a>, &[u64; 6]) -> Result<Plan<'a>, Errno>;

/// One system call.
pub struct Row {
    /// The number on x86-64.
    pub x86: u32,
    /// The number on aarch64, where it exists there.
    pub arm: Option<u32>,
    /// The kernel's name.
    pub name: &'static str,
    /// What it deals with; gives the `@group`.
    pub class: Class,
    /// Who answers.
    pub mechanism: Mechanism,
    /// The parameters in order.
    pub params: &'static [Param],
    /// Decodes and plans; for the cases that reach the supervisor.
    pub handler: Option<Handler>,
    /// `family::name` of the handler.
    pub handler_name: Option<&'static str>,
    /// Why it is refused, where the table says so.
    pub why: Option<&'static str>,
}

/// One parameter: `flags: OpenFlags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its type in [`args`].
    pub ty: &'static str,
}

/// Who answers a call. See the head of this file.
#[derive(Debug, Clone, Copy)]
pub enum Mechanism {
    /// The kernel.
    Native,
    /// The kernel, or the supervisor in runs in which some directory has a limited size.
    Meter,
    /// The kernel, or the supervisor in runs in which files may be copied.
    Identify,
    /// The supervisor.
    Notify,
    /// The tracer.
    Trace,
    /// The kernel, until the process has made a unix datagram socket: then the guard, a second filter.
    Guarded,
    /// The supervisor, with a number of the view; or the kernel, where the view has the host's.
    Number,
    /// The kernel, and the tracer translates numbers before and after it.
    Retell,
    /// The same, once the supervisor has judged.
    Renumber,
    /// The filter, with an errno.
    Refuse(Errno),
    /// The filter, with success and without doing it.
    Fake,
    /// The filter, by the arguments: name of the rule, and the rule.
    Check(&'static str, Rule),
}

impl Display for Mechanism {
    /// `native`, `refuse EPERM`, `check ioctl`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Mechanism::Native => f.write_str("native"),
            Mechanism::Meter => f.write_str("meter"),
            Mechanism::Identify => f.write_str("identify"),
            Mechanism::Notify => f.write_str("notify"),
            Mechanism::Trace => f.write_str("trace"),
            Mechanism::Guarded => f.write_str("guarded"),
            Mechanism::Number => f.write_str("number"),
            Mechanism::Retell => f.write_str("retell"),
            Mechanism::Renumber => f.write_str("renumber"),
            Mechanism::Refuse(errno) => {
                write!(f, "refuse {:?}", errno)
            }
            Mechanism::Fake => f.write_str("fake 0"),
            Mechanism::Check(name, _) => write!(f, "check {name}"),
        }
    }
}

/// What a call deals with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Names a file or directory by its path, or the directory that paths start from.
    Path,
    /// Acts on an open descriptor.
    Fd,
    /// Sockets.
    Net,
    /// Tasks: birth, death, waiting, scheduling, limits.
    Process,
    /// Starts a program.
    Exec,
    /// Sends, blocks or awaits signals.
    Signal,
    /// The address space, and words in it (futex).
    Memory,
    /// Clocks and timers.
    Time,
    /// Pipes, System V and POSIX IPC, keyrings.
    Ipc,
    /// User, group, capabilities, labels.
    Creds,
    /// Mounts and roots.
    Mount,
    /// The host as a whole.
    System,
    /// Numbers that no longer do anything.
    Dead,
}

impl Class {
    /// All classes, in the order in which they are listed.
    pub const ALL: [Class; 13] = [
        Class::Path,
        Class::Fd,
        Class::Net,
        Class::Process,
        Class::Exec,
        Class::Signal,
        Class::Memory,
        Class::Time,
        Class::Ipc,
        Class::Creds,
        Class::Mount,
        Class::System,
        Class::Dead,
    ];

    /// The group that policies and the command line call this class by. One class, one group: a call is in
    /// exactly one. The words are strace's where it has one (`%file`, `%desc`, `%network` …).
    pub const fn group(self) -> &'static str {
        match self {
            Class::Path => "@file",
            Class::Fd => "@desc",
            Class::Net => "@network",
            Class::Process => "@process",
            Class::Exec => "@exec",
            Class::Signal => "@signal",
            Class::Memory => "@memory",
            Class::Time => "@time",
            Class::Ipc => "@ipc",
            Class::Creds => "@creds",
            Class::Mount => "@mount",
            Class::System => "@system",
            Class::Dead => "@obsolete",
        }
    }
}

impl Row {
    /// Why the call is treated as it is: the row's reason, or its rule's.
    pub fn reason(&self) -> Option<&'static str> {
        match self.mechanism {
            Mechanism::Check(_, rule) => Some(rule(Net::None).why),
            _ => self.why,
        }
    }

    /// What the call comes to for the numbers of processes in it, and for who judges those. `None` for calls that are caught, or not, for
    /// other reasons.
    fn outcome(&self, net: Net, args: &[u64; 6]) -> Option<Outcome> {
        match self.mechanism {
            Mechanism::Notify => Some(Outcome::Notify),
            Mechanism::Number => Some(Outcome::Number),
            Mechanism::Retell => Some(Outcome::Retell),
            Mechanism::Renumber => Some(Outcome::Renumber),
            Mechanism::Check(_, rule) => Some(rule(net).decide(args)),
            _ => None,
        }
    }

    /// True if the supervisor is asked about this call, by a notification; `own`: the view has numbers of its own.
    pub fn is_notified(&self, net: Net, own: bool, args: &[u64; 6]) -> bool {
        let outcome = self.outcome(net, args).map(|o| o.for_numbers(own));
        outcome == Some(Outcome::Notify)
    }

    /// True if the tracer stops this call for its numbers, in a view with numbers of its own; with `true` in it if the supervisor judges
    /// the call.
    pub fn is_renumbered(&self, net: Net, args: &[u64; 6]) -> Option<bool> {
        match self.outcome(net, args)? {
            Outcome::Retell => Some(false),
            Outcome::Renumber => Some(true),
            _ => None,
        }
    }

    /// `name(param: Type, …)`, as the table writes it.
    pub fn prototype(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|p| format!("{}: {}", p.name, p.ty))
            .collect();
        format!("{}({})", self.name, params.join(", "))
    }
}

/// The row of an x86-64 number.
pub fn row(nr: u32) -> Option<&'static Row> {
    let slot = INDEX.get(usize::try_from(nr).ok()?)?;
    TABLE.get(usize::from(*slot))
}

/// The row of a name.
pub fn by_name(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// The rows of a group, `@` included; empty if there is no such group.
pub fn group(name: &str) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.class.group() == name)
}

/// Marks a number that has no row.
const NO_ROW: u16 = u16::MAX;

/// One more than the highest number in the table.
const NUMBERS: usize = 470;

/// Number to position in [`TABLE`], made by the compiler: a number beyond the end doesn't compile.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where a bad index is an error"
)]
static INDEX: [u16; NUMBERS] = {
    let mut index = [NO_ROW; NUMBERS];
    let mut position = 0;
    while position < TABLE.len() {
        index[TABLE[position].x86 as usize] = position as u16;
        position += 1;
    }
    index
};

/// Turns the rows into [`TABLE`]. In `Refuse(EPERM) (pid: Pid)` two groups follow the mechanism, in
/// `Native (fd: Fd)` one: `$first` is what belongs to the mechanism if `$second` is there, else the arguments.
macro_rules! syscalls {
    ($(
        $x86:literal $arm:tt $name:ident $class:ident $mechanism:ident $first:tt $( ( $($second:tt)* ) )?
        $( -> $family:ident :: $handler:ident )? ;
    )*) => {
        /// Every system call, by number.
        pub static TABLE: &[Row] = &[ $( Row {
            x86: $x86,
            arm: arm!($arm),
            name: stringify!($name),
            class: Class::$class,
            mechanism: mechanism!($mechanism $first $( ( $($second)* ) )?),
            params: params!($first $( ( $($second)* ) )?),
            handler: handler!([ $first $( ( $($second)* ) )? ] [ $( $family $handler )? ]),
            handler_name: handler_name!($( $family $handler )?),
            why: why!($mechanism $first $( ( $($second)* ) )?),
        } ),* ];
    };
}

/// An aarch64 number or `_`.
macro_rules! arm {
    (_) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

/// The mechanism, with what it is given in parentheses.
macro_rules! mechanism {
    (Native $args:tt) => {
        Mechanism::Native
    };
    (Meter $args:tt) => {
        Mechanism::Meter
    };
    (Identify $args:tt) => {
        Mechanism::Identify
    };
    (Notify $args:tt) => {
        Mechanism::Notify
    };
    (Trace $args:tt) => {
        Mechanism::Trace
    };
    (Guarded $args:tt) => {
        Mechanism::Guarded
    };
    (Number $args:tt) => {
        Mechanism::Number
    };
    (Retell $args:tt) => {
        Mechanism::Retell
    };
    (Renumber $args:tt) => {
        Mechanism::Renumber
    };
    (Fake (0) $args:tt) => {
        Mechanism::Fake
    };
    (Refuse ($errno:ident, $why:literal) $args:tt) => {
        Mechanism::Refuse(Errno::$errno)
    };
    (Check ($rule:ident) $args:tt) => {
        Mechanism::Check(stringify!($rule), rules::$rule)
    };
}

/// The reason of a refusal: a row that refuses and doesn't say why doesn't compile.
macro_rules! why {
    (Refuse ($errno:ident, $why:literal) $args:tt) => {
        Some($why)
    };
    ($($other:tt)*) => {
        None
    };
}

/// The parameters. Each type must exist in `args`, print itself and decode itself, handler or not.
macro_rules! params {
    ($given:tt ( $($arg:ident : $ty:ident),* )) => { params!(( $($arg : $ty),* )) };
    (( $($arg:ident : $ty:ident),* )) => {{
        $( const _: fn() = is_arg::<args::$ty>; )*
        &[ $( Param { name: stringify!($arg), ty: stringify!($ty) } ),* ]
    }};
}

/// Instantiated for each type that the table mentions.
fn is_arg<'a, T: Arg<'a> + Display>() {}

/// A function that takes registers, decodes them by the row's types in order (so that the first bad argument
/// gives the errno, as in the kernel), tells the trace, and calls the handler.
macro_rules! handler {
    ([ $($any:tt)* ] []) => { None };
    ([ $given:tt $args:tt ] [ $family:ident $handler:ident ]) => { handler!([ $args ] [ $family $handler ]) };
    ([ ( $($arg:ident : $ty:ident),* ) ] [ $family:ident $handler:ident ]) => {{
        #[allow(unused_mut, unused_variables, reason = "a call without arguments reads no register")]
        fn shim<'a>(cx: &Cx<'a>, raw: &[u64; 6]) -> Result<Plan<'a>, Errno> {
            let mut registers = raw.iter().copied();
            $(
                let $arg = <args::$ty as Arg>::decode(cx, registers.next().unwrap_or(0))?;
                cx.note(stringify!($arg), &$arg);
            )*
            crate::syscall::$family::$handler(cx, $( $arg ),*)
        }
        Some(shim as Handler)
    }};
}

/// `family::name`.
macro_rules! handler_name {
    () => {
        None
    };
    ($family:ident $handler:ident) => {
        Some(concat!(stringify!($family), "::", stringify!($handler)))
    };
}

syscalls! {
    // x86  arm  name                    class   mechanism          arguments                                                                   handler

    // Reading and writing open files. Whatever an open file allows was decided when it was opened.
        0   63  read                    Fd      Native             (fd: Fd, buf: OutBuf, count: Size);
        1   64  write                   Fd      Meter              (fd: Fd, buf: InBuf, count: Size)                                             -> meter::write;
        2    _  open                    Path    Notify             (path: UserPath, flags: OpenFlags, mode: Mode)                                -> open::open;
        3   57  close                   Fd      Native             (fd: Fd);
        4    _  stat                    Path    Notify             (path: UserPath, buf: OutBuf)                                                 -> path::stat;
        5   80  fstat                   Fd      Identify           (fd: Fd, buf: OutBuf)                                                         -> path::fstat;
        6    _  lstat                   Path    Notify             (path: UserPath, buf: OutBuf)                                                 -> path::lstat;
        7    _  poll                    Fd      Native             (fds: Ptr, count: UInt, timeout_ms: Int);
        8   62  lseek                   Fd      Native             (fd: Fd, offset: Off, whence: Whence);

    // The address space.
        9  222  mmap                    Memory  Native             (addr: Ptr, len: Size, prot: MmapProt, flags: MmapFlags, fd: Fd, offset: Off);
       10  226  mprotect                Memory  Native             (addr: Ptr, len: Size, prot: MmapProt);
       11  215  munmap                  Memory  Native             (addr: Ptr, len: Size);
       12  214  brk                     Memory  Native             (addr: Ptr);

    // What a thread does about its own signals.
       13  134  rt_sigaction            Signal  Native             (sig: Signal, act: Ptr, old: Ptr, set_size: Size);
       14  135  rt_sigprocmask          Signal  Native             (how: Int, set: Ptr, old: Ptr, set_size: Size);
       15  139  rt_sigreturn            Signal  Native             ();

    // One number, a thousand calls: the rule lists the commands that are known to be harmless.
       16   29  ioctl                   Fd      Check(ioctl)       (fd: Fd, cmd: IoctlCmd, arg: Ptr)                                            -> owner::ioctl;
       17   67  pread64                 Fd      Native             (fd: Fd, buf: OutBuf, count: Size, offset: Off);
       18   68  pwrite64                Fd      Meter              (fd: Fd, buf: InBuf, count: Size, offset: Off)                                -> meter::pwrite64;
       19   65  readv                   Fd      Native             (fd: Fd, iov: Ptr, count: ULong);
       20   66  writev                  Fd      Meter              (fd: Fd, iov: Ptr, count: ULong)                                              -> meter::writev;
       21    _  access                  Path    Notify             (path: UserPath, mode: AccessMode)                                            -> path::access;
       22    _  pipe                    Ipc     Native             (fds: OutBuf);
       23    _  select                  Fd      Native             (count: Int, read: Ptr, write: Ptr, except: Ptr, timeout: Ptr);
       24  124  sched_yield             Process Native             ();
       25  216  mremap                  Memory  Native             (addr: Ptr, old_len: Size, new_len: Size, flags: ULong, new_addr: Ptr);
       26  227  msync                   Memory  Native             (addr: Ptr, len: Size, flags: Int);
       27  232  mincore                 Memory  Native             (addr: Ptr, len: Size, vec: OutBuf);
       28  233  madvise                 Memory  Native             (addr: Ptr, len: Size, advice: Int);

    // System V shared memory. Ids are plain integers, valid for every program on the host: no filter can tell them apart.
       29  194  shmget                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (key: Int, size: Size, flags: Int);
       30  196  shmat                   Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, addr: Ptr, flags: Int);
       31  195  shmctl                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, cmd: Int, buf: Ptr);
       32   23  dup                     Fd      Native             (fd: Fd);
       33    _  dup2                    Fd      Native             (old: Fd, new: Fd);

    // Waiting, timers, own pid.
       34    _  pause                   Signal  Native             ();
       35  101  nanosleep               Time    Native             (request: Ptr, remain: Ptr);
       36  102  getitimer               Time    Native             (which: Int, value: OutBuf);
       37    _  alarm                   Time    Native             (seconds: UInt);
       38  103  setitimer               Time    Native             (which: Int, value: InBuf, old: OutBuf);
       39  172  getpid                  Process Number             ()                                                                            -> process::getpid;
       40   71  sendfile                Fd      Meter              (to: Fd, from: Fd, offset: Ptr, count: Size)                                  -> meter::sendfile;

    // Sockets. What sort of socket may exist is decided at socket(2), whom it may reach at bind(2) and connect(2).
    // Only a unix datagram socket reaches a file by an address that is sent with a message: the process that makes one is guarded.
       41  198  socket                  Net     Check(socket)      (family: SocketFamily, kind: SocketType, protocol: Int)                      -> net::socket;
       42  203  connect                 Net     Notify             (fd: Fd, addr: InBuf, len: Int)                                               -> net::connect;
       43  202  accept                  Net     Check(accept)      (fd: Fd, addr: OutBuf, len: Ptr);
       44  206  sendto                  Net     Check(sendto)      (fd: Fd, buf: InBuf, len: Size, flags: MsgFlags, addr: InBuf, addr_len: Int) -> send::sendto;
       45  207  recvfrom                Net     Check(recvfrom)    (fd: Fd, buf: OutBuf, len: Size, flags: MsgFlags, addr: OutBuf, addr_len: Ptr);
       46  211  sendmsg                 Net     Guarded            (fd: Fd, msg: Ptr, flags: MsgFlags)                                           -> send::sendmsg;
       47  212  recvmsg                 Net     Guarded            (fd: Fd, msg: Ptr, flags: MsgFlags);
       48  210  shutdown                Net     Native             (fd: Fd, how: Int);
       49  200  bind                    Net     Notify             (fd: Fd, addr: InBuf, len: Int)                                               -> net::bind;
       50  201  listen                  Net     Native             (fd: Fd, backlog: Int);
       51  204  getsockname             Net     Notify             (fd: Fd, addr: OutBuf, len: Ptr)                                              -> net::getsockname;
       52  205  getpeername             Net     Notify             (fd: Fd, addr: OutBuf, len: Ptr)                                              -> net::getpeername;
       53  199  socketpair              Net     Check(socketpair)  (family: SocketFamily, kind: SocketType, protocol: Int, fds: OutBuf)         -> net::socketpair;
       54  208  setsockopt              Net     Check(setsockopt)  (fd: Fd, level: SockLevel, option: Int, value: InBuf, len: Int)      -> net::setsockopt;
       55  209  getsockopt              Net     Check(getsockopt)  (fd: Fd, level: SockLevel, option: Int, value: OutBuf, len: Ptr)                         -> net::getsockopt;

    // Birth, exec, death. Children are seized by the tracer before their first instruction.
       56  220  clone                   Process Check(clone)       (flags: CloneFlags, stack: Ptr, parent_tid: Ptr, child_tid: Ptr, tls: Ptr);
       57    _  fork                    Process Native             ();
       58    _  vfork                   Process Native             ();
       59  221  execve                  Exec    Trace              (path: UserPath, argv: Ptr, envp: Ptr)                                        -> exec::execve;
       60   93  exit                    Process Native             (status: Int);
       61  260  wait4                   Process Retell             (pid: Pid, status: OutBuf, options: Int, usage: OutBuf);
       62  129  kill                    Signal  Renumber           (pid: Pid, sig: Signal)                                                       -> signal::kill;
       63  160  uname                   System  Notify             (buf: OutBuf)                                                                 -> identity::uname;

    // System V semaphores and messages.
       64  190  semget                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (key: Int, count: Int, flags: Int);
       65  193  semop                   Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, ops: Ptr, count: UInt);
       66  191  semctl                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, index: Int, cmd: Int, arg: Ptr);
       67  197  shmdt                   Ipc     Refuse(ENOSYS, "ids are shared with the host") (addr: Ptr);
       68  186  msgget                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (key: Int, flags: Int);
       69  189  msgsnd                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, msg: Ptr, size: Size, flags: Int);
       70  188  msgrcv                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, msg: Ptr, size: Size, kind: Long, flags: Int);
       71  187  msgctl                  Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, cmd: Int, buf: Ptr);

    // Descriptors: flags, locks, flushing.
       72   25  fcntl                   Fd      Check(fcntl)       (fd: Fd, cmd: FcntlCmd, arg: ULong)                                           -> owner::fcntl;
       73   32  flock                   Fd      Native             (fd: Fd, operation: Int);
       74   82  fsync                   Fd      Native             (fd: Fd);
       75   83  fdatasync               Fd      Native             (fd: Fd);
       76   45  truncate                Path    Notify             (path: UserPath, len: Off)                                                    -> attr::truncate;
       77   46  ftruncate               Fd      Meter              (fd: Fd, len: Off)                                                            -> meter::ftruncate;

    // Directories and names.
       78    _  getdents                Fd      Notify             (fd: Fd, buf: OutBuf, count: UInt)                                            -> dir::getdents;
       79   17  getcwd                  Path    Notify             (buf: OutBuf, size: Size)                                                     -> dir::getcwd;
       80   49  chdir                   Path    Notify             (path: UserPath)                                                              -> dir::chdir;
       81   50  fchdir                  Path    Notify             (fd: Fd)                                                                      -> dir::fchdir;
       82    _  rename                  Path    Notify             (old: UserPath, new: UserPath)                                                -> name::rename;
       83    _  mkdir                   Path    Notify             (path: UserPath, mode: Mode)                                                  -> name::mkdir;
       84    _  rmdir                   Path    Notify             (path: UserPath)                                                              -> name::rmdir;
       85    _  creat                   Path    Notify             (path: UserPath, mode: Mode)                                                  -> open::creat;
       86    _  link                    Path    Notify             (old: UserPath, new: UserPath)                                                -> name::link;
       87    _  unlink                  Path    Notify             (path: UserPath)                                                              -> name::unlink;
       88    _  symlink                 Path    Notify             (target: UserPath, path: UserPath)                                            -> name::symlink;
       89    _  readlink                Path    Notify             (path: UserPath, buf: OutBuf, size: Int)                                      -> path::readlink;

    // Attributes. The fd forms are answered too: they would change a read-only file's inode.
       90    _  chmod                   Path    Notify             (path: UserPath, mode: Mode)                                                  -> attr::chmod;
       91   52  fchmod                  Fd      Notify             (fd: Fd, mode: Mode)                                                          -> attr::fchmod;
       92    _  chown                   Path    Notify             (path: UserPath, uid: Uid, gid: Gid)                                          -> attr::chown;
       93   55  fchown                  Fd      Notify             (fd: Fd, uid: Uid, gid: Gid)                                                  -> attr::fchown;
       94    _  lchown                  Path    Notify             (path: UserPath, uid: Uid, gid: Gid)                                          -> attr::lchown;
       95  166  umask                   Path    Notify             (mask: Mode)                                                                  -> dir::umask;

    // Facts about oneself and the host.
       96  169  gettimeofday            Time    Native             (tv: OutBuf, tz: OutBuf);
       97  163  getrlimit               Process Native             (resource: UInt, limit: OutBuf);
       98  165  getrusage               Process Native             (who: Int, usage: OutBuf);
       99  179  sysinfo                 System  Native             (info: OutBuf);
      100  153  times                   Time    Native             (buf: OutBuf);
      101  117  ptrace                  Process Refuse(EPERM, "every task already has a tracer, sbox") (request: Long, pid: Pid, addr: Ptr, data: Ptr);

    // Identity. no_new_privs is set: a process can lose rights here, not gain any.
      102  174  getuid                  Creds   Native             ();
      103  116  syslog                  System  Refuse(EPERM, "the kernel's log is the host's") (kind: Int, buf: OutBuf, len: Int);
      104  176  getgid                  Creds   Native             ();
      105  146  setuid                  Creds   Native             (uid: Uid);
      106  144  setgid                  Creds   Native             (gid: Gid);
      107  175  geteuid                 Creds   Native             ();
      108  177  getegid                 Creds   Native             ();
      109  154  setpgid                 Process Check(setpgid)     (pid: Pid, pgid: Pid)                                                         -> process::setpgid;
      110  173  getppid                 Process Number             ()                                                                            -> process::getppid;
      111    _  getpgrp                 Process Number             ()                                                                            -> process::getpgrp;
      112  157  setsid                  Process Retell             ();
      113  145  setreuid                Creds   Native             (real: Uid, effective: Uid);
      114  143  setregid                Creds   Native             (real: Gid, effective: Gid);
      115  158  getgroups               Creds   Native             (size: Int, list: OutBuf);
      116  159  setgroups               Creds   Native             (size: Int, list: InBuf);
      117  147  setresuid               Creds   Native             (real: Uid, effective: Uid, saved: Uid);
      118  148  getresuid               Creds   Native             (real: OutBuf, effective: OutBuf, saved: OutBuf);
      119  149  setresgid               Creds   Native             (real: Gid, effective: Gid, saved: Gid);
      120  150  getresgid               Creds   Native             (real: OutBuf, effective: OutBuf, saved: OutBuf);
      121  155  getpgid                 Process Check(group_of)    (pid: Pid)                                                                    -> process::getpgid;
      122  151  setfsuid                Creds   Native             (uid: Uid);
      123  152  setfsgid                Creds   Native             (gid: Gid);
      124  156  getsid                  Process Check(group_of)    (pid: Pid)                                                                    -> process::getsid;
      125   90  capget                  Creds   Notify             (header: Ptr, data: OutBuf)                                                   -> process::capget;
      126   91  capset                  Creds   Retell             (header: Ptr, data: InBuf);

    // Signals again: pending, waiting, queueing to others.
      127  136  rt_sigpending           Signal  Native             (set: OutBuf, set_size: Size);
      128  137  rt_sigtimedwait         Signal  Check(sigtimedwait) (set: InBuf, info: OutBuf, timeout: InBuf, set_size: Size);
      129  138  rt_sigqueueinfo         Signal  Renumber           (pid: Pid, sig: Signal, info: InBuf)                                          -> signal::rt_sigqueueinfo;
      130  133  rt_sigsuspend           Signal  Native             (set: InBuf, set_size: Size);
      131  132  sigaltstack             Signal  Native             (new: InBuf, old: OutBuf);

    // Odds and ends of the seventies to nineties.
      132    _  utime                   Path    Notify             (path: UserPath, times: InBuf)                                                -> attr::utime;
      133    _  mknod                   Path    Notify             (path: UserPath, mode: Mode, dev: Dev)                                        -> name::mknod;
      134    _  uselib                  Dead    Refuse(ENOSYS, "loads a.out libraries; gone since Linux 5.19") (library: UserPath);
      135   92  personality             Process Check(personality) (persona: Persona);
      136    _  ustat                   Dead    Refuse(ENOSYS, "superseded by statfs; takes host device numbers") (dev: Dev, buf: OutBuf);
      137   43  statfs                  Path    Notify             (path: UserPath, buf: OutBuf)                                                 -> path::statfs;
      138   44  fstatfs                 Fd      Meter              (fd: Fd, buf: OutBuf)                                                         -> meter::fstatfs;
      139    _  sysfs                   Dead    Refuse(ENOSYS, "superseded by /proc/filesystems") (option: Int, a: ULong, b: ULong);

    // Scheduling. Pid 0 is the caller and goes native; other pids must be in the sandbox.
      140  141  getpriority             Process Check(priority)    (which: Int, who: Int)                                                        -> process::getpriority;
      141  140  setpriority             Process Notify              (which: Int, who: Int, nice: Int)                                             -> others::setpriority;
      142  118  sched_setparam          Process Check(own_pid_or_ask) (pid: Pid, param: InBuf)                                                      -> others::sched_setparam;
      143  121  sched_getparam          Process Check(own_pid)     (pid: Pid, param: OutBuf)                                                     -> process::sched_getparam;
      144  119  sched_setscheduler      Process Check(own_pid_or_ask) (pid: Pid, policy: Int, param: InBuf)                                         -> others::sched_setscheduler;
      145  120  sched_getscheduler      Process Check(own_pid)     (pid: Pid)                                                                    -> process::sched_getscheduler;
      146  125  sched_get_priority_max  Process Native             (policy: Int);
      147  126  sched_get_priority_min  Process Native             (policy: Int);
      148  127  sched_rr_get_interval   Process Check(own_pid)     (pid: Pid, interval: OutBuf)                                                  -> process::sched_rr_get_interval;
      149  228  mlock                   Memory  Native             (addr: Ptr, len: Size);
      150  229  munlock                 Memory  Native             (addr: Ptr, len: Size);
      151  230  mlockall                Memory  Native             (flags: Int);
      152  231  munlockall              Memory  Native             ();

    // The machine itself: hardware, roots, clocks, swap, modules.
      153   58  vhangup                 System  Refuse(EPERM, "hangs up the host's terminal") ();
      154    _  modify_ldt              System  Refuse(ENOSYS, "16-bit segments: a history of kernel bugs") (func: Int, ptr: Ptr, size: ULong);
      155   41  pivot_root              Mount   Refuse(EPERM, "the policy decides what is mounted") (new_root: UserPath, put_old: UserPath);
      156    _  _sysctl                 Dead    Refuse(ENOSYS, "removed in Linux 5.5") (args: Ptr);
      157  167  prctl                   Process Check(prctl)       (option: PrctlOption, a: ULong, b: ULong, c: ULong, d: ULong);
      158    _  arch_prctl              Process Check(arch_prctl)  (code: ArchPrctlCode, addr: Ptr);
      159  171  adjtimex                Time    Refuse(EPERM, "sets the host's clock") (buf: Ptr);
      160  164  setrlimit               Process Native             (resource: UInt, limit: InBuf);
      161   51  chroot                  Mount   Refuse(EPERM, "the policy decides what the root is") (path: UserPath);
      162   81  sync                    System  Fake(0)            ();
      163   89  acct                    System  Refuse(EPERM, "host-wide accounting") (path: UserPath);
      164  170  settimeofday            Time    Refuse(EPERM, "sets the host's clock") (tv: InBuf, tz: InBuf);
      165   40  mount                   Mount   Refuse(EPERM, "the policy decides what is mounted") (source: UserPath, target: UserPath, kind: UserName, flags: ULong, data: Ptr);
      166   39  umount2                 Mount   Refuse(EPERM, "the policy decides what is mounted") (target: UserPath, flags: Int);
      167  224  swapon                  System  Refuse(EPERM, "host-wide") (path: UserPath, flags: Int);
      168  225  swapoff                 System  Refuse(EPERM, "host-wide") (path: UserPath);
      169  142  reboot                  System  Refuse(EPERM, "host-wide") (magic1: Int, magic2: Int, cmd: UInt, arg: Ptr);
      170  161  sethostname             System  Refuse(EPERM, "host-wide") (name: InBuf, len: Int);
      171  162  setdomainname           System  Refuse(EPERM, "host-wide") (name: InBuf, len: Int);
      172    _  iopl                    System  Refuse(EPERM, "hardware ports") (level: UInt);
      173    _  ioperm                  System  Refuse(EPERM, "hardware ports") (from: ULong, count: ULong, on: Int);
      174    _  create_module           Dead    Refuse(ENOSYS, "removed in Linux 2.6") ();
      175  105  init_module             System  Refuse(EPERM, "loads kernel code") (image: InBuf, len: ULong, params: Ptr);
      176  106  delete_module           System  Refuse(EPERM, "unloads kernel code") (name: UserName, flags: UInt);
      177    _  get_kernel_syms         Dead    Refuse(ENOSYS, "removed in Linux 2.6") ();
      178    _  query_module            Dead    Refuse(ENOSYS, "removed in Linux 2.6") ();
      179   60  quotactl                System  Refuse(EPERM, "the quotas are the host's") (cmd: UInt, special: UserPath, id: Int, addr: Ptr);
      180   42  nfsservctl              Dead    Refuse(ENOSYS, "removed in Linux 3.1") ();
      181    _  getpmsg                 Dead    Refuse(ENOSYS, "never implemented") ();
      182    _  putpmsg                 Dead    Refuse(ENOSYS, "never implemented") ();
      183    _  afs_syscall             Dead    Refuse(ENOSYS, "never implemented") ();
      184    _  tuxcall                 Dead    Refuse(ENOSYS, "never implemented") ();
      185    _  security                Dead    Refuse(ENOSYS, "never implemented") ();
      186  178  gettid                  Process Number             ()                                                                            -> process::gettid;
      187  213  readahead               Fd      Native             (fd: Fd, offset: Off, count: Size);

    // Extended attributes.
      188    5  setxattr                Path    Notify             (path: UserPath, name: UserName, value: InBuf, size: Size, flags: XattrFlags) -> attr::setxattr;
      189    6  lsetxattr               Path    Notify             (path: UserPath, name: UserName, value: InBuf, size: Size, flags: XattrFlags) -> attr::lsetxattr;
      190    7  fsetxattr               Fd      Notify             (fd: Fd, name: UserName, value: InBuf, size: Size, flags: XattrFlags)         -> attr::fsetxattr;
      191    8  getxattr                Path    Notify             (path: UserPath, name: UserName, value: OutBuf, size: Size)                   -> xattr::getxattr;
      192    9  lgetxattr               Path    Notify             (path: UserPath, name: UserName, value: OutBuf, size: Size)                   -> xattr::lgetxattr;
      193   10  fgetxattr               Fd      Notify             (fd: Fd, name: UserName, value: OutBuf, size: Size)                           -> xattr::fgetxattr;
      194   11  listxattr               Path    Notify             (path: UserPath, list: OutBuf, size: Size)                                    -> xattr::listxattr;
      195   12  llistxattr              Path    Notify             (path: UserPath, list: OutBuf, size: Size)                                    -> xattr::llistxattr;
      196   13  flistxattr              Fd      Notify             (fd: Fd, list: OutBuf, size: Size)                                           -> xattr::flistxattr;
      197   14  removexattr             Path    Notify             (path: UserPath, name: UserName)                                              -> attr::removexattr;
      198   15  lremovexattr            Path    Notify             (path: UserPath, name: UserName)                                              -> attr::lremovexattr;
      199   16  fremovexattr            Fd      Notify             (fd: Fd, name: UserName)                                                      -> attr::fremovexattr;

    // Threads: signals to one, futexes, CPU sets.
      200  130  tkill                   Signal  Renumber           (tid: Pid, sig: Signal)                                                       -> signal::tkill;
      201    _  time                    Time    Native             (out: OutBuf);
      202   98  futex                   Memory  Native             (word: Ptr, op: Int, value: UInt, timeout: Ptr, word2: Ptr, value3: UInt);
      203  122  sched_setaffinity       Process Notify             (pid: Pid, len: UInt, mask: InBuf)                                            -> others::sched_setaffinity;
      204  123  sched_getaffinity       Process Notify             (pid: Pid, len: UInt, mask: OutBuf)                                           -> process::sched_getaffinity;
      205    _  set_thread_area         Dead    Refuse(ENOSYS, "i386 only") (info: Ptr);

    // POSIX AIO: acts on descriptors the program holds.
      206    0  io_setup                Fd      Meter              (count: UInt, ctx: OutBuf)                                                    -> meter::io_setup;
      207    1  io_destroy              Fd      Native             (ctx: ULong);
      208    4  io_getevents            Fd      Native             (ctx: ULong, min: Long, count: Long, events: OutBuf, timeout: InBuf);
      209    2  io_submit               Fd      Native             (ctx: ULong, count: Long, iocbs: Ptr);
      210    3  io_cancel               Fd      Native             (ctx: ULong, iocb: Ptr, result: OutBuf);
      211    _  get_thread_area         Dead    Refuse(ENOSYS, "i386 only") (info: Ptr);
      212   18  lookup_dcookie          Dead    Refuse(ENOSYS, "removed in Linux 6.7; gave host paths") (cookie: ULong, buf: OutBuf, len: Size);
      213    _  epoll_create            Fd      Native             (size: Int);
      214    _  epoll_ctl_old           Dead    Refuse(ENOSYS, "never implemented") ();
      215    _  epoll_wait_old          Dead    Refuse(ENOSYS, "never implemented") ();
      216  234  remap_file_pages        Memory  Refuse(ENOSYS, "superseded by mmap") (addr: Ptr, size: Size, prot: MmapProt, page: ULong, flags: ULong);
      217   61  getdents64              Fd      Notify             (fd: Fd, buf: OutBuf, count: UInt)                                            -> dir::getdents64;
      218   96  set_tid_address         Process Native             (word: Ptr);
      219  128  restart_syscall         Signal  Native             ();
      220  192  semtimedop              Ipc     Refuse(ENOSYS, "ids are shared with the host") (id: Int, ops: Ptr, count: UInt, timeout: Ptr);
      221  223  fadvise64               Fd      Native             (fd: Fd, offset: Off, len: Size, advice: Int);

    // Timers and clocks. A negative clock id names a process: that pid must be in the sandbox.
      222  107  timer_create            Time    Check(timer_create) (clock: Clock, event: InBuf, timer: OutBuf)                                  -> process::timer_create;
      223  110  timer_settime           Time    Native             (timer: Int, flags: Int, new: InBuf, old: OutBuf);
      224  108  timer_gettime           Time    Native             (timer: Int, value: OutBuf);
      225  109  timer_getoverrun        Time    Native             (timer: Int);
      226  111  timer_delete            Time    Native             (timer: Int);
      227  112  clock_settime           Time    Refuse(EPERM, "sets the host's clock") (clock: Clock, time: InBuf);
      228  113  clock_gettime           Time    Check(clock_id)    (clock: Clock, time: OutBuf)                                                  -> process::clock_gettime;
      229  114  clock_getres            Time    Check(clock_id)    (clock: Clock, resolution: OutBuf)                                            -> process::clock_getres;
      230  115  clock_nanosleep         Time    Check(clock_id)    (clock: Clock, flags: Int, request: InBuf, remain: OutBuf)                    -> process::clock_nanosleep;
      231   94  exit_group              Process Native             (status: Int);
      232    _  epoll_wait              Fd      Native             (epoll: Fd, events: OutBuf, max: Int, timeout_ms: Int);
      233   21  epoll_ctl               Fd      Native             (epoll: Fd, op: Int, fd: Fd, event: InBuf);
      234  131  tgkill                  Signal  Renumber           (tgid: Pid, tid: Pid, sig: Signal)                                            -> signal::tgkill;
      235    _  utimes                  Path    Notify             (path: UserPath, times: InBuf)                                                -> attr::utimes;
      236    _  vserver                 Dead    Refuse(ENOSYS, "never implemented") ();

    // NUMA placement of own memory.
      237  235  mbind                   Memory  Native             (addr: Ptr, len: Size, mode: Int, nodes: InBuf, max: ULong, flags: UInt);
      238  237  set_mempolicy           Memory  Native             (mode: Int, nodes: InBuf, max: ULong);
      239  236  get_mempolicy           Memory  Native             (mode: OutBuf, nodes: OutBuf, max: ULong, addr: Ptr, flags: ULong);

    // POSIX message queues, keyrings: names and keys that no path view covers.
      240  180  mq_open                 Ipc     Refuse(ENOSYS, "names are shared with the host") (name: UserName, flags: OpenFlags, mode: Mode, attr: Ptr);
      241  181  mq_unlink               Ipc     Refuse(ENOSYS, "names are shared with the host") (name: UserName);
      242  182  mq_timedsend            Ipc     Refuse(ENOSYS, "names are shared with the host") (queue: Fd, msg: InBuf, len: Size, priority: UInt, timeout: Ptr);
      243  183  mq_timedreceive         Ipc     Refuse(ENOSYS, "names are shared with the host") (queue: Fd, msg: OutBuf, len: Size, priority: Ptr, timeout: Ptr);
      244  184  mq_notify               Ipc     Refuse(ENOSYS, "names are shared with the host") (queue: Fd, event: InBuf);
      245  185  mq_getsetattr           Ipc     Refuse(ENOSYS, "names are shared with the host") (queue: Fd, new: InBuf, old: OutBuf);
      246  104  kexec_load              System  Refuse(EPERM, "loads a kernel") (entry: Ptr, count: ULong, segments: Ptr, flags: ULong);
      247   95  waitid                  Process Retell             (which: Int, pid: Pid, info: OutBuf, options: Int, usage: OutBuf);
      248  217  add_key                 Ipc     Refuse(ENOSYS, "keyrings belong to the user, not to the view") (kind: UserName, description: UserName, payload: InBuf, len: Size, ring: Int);
      249  218  request_key             Ipc     Refuse(ENOSYS, "keyrings belong to the user, not to the view") (kind: UserName, description: UserName, info: UserName, ring: Int);
      250  219  keyctl                  Ipc     Refuse(ENOSYS, "keyrings belong to the user, not to the view") (op: Int, a: ULong, b: ULong, c: ULong, d: ULong);
      251   30  ioprio_set              Process Notify             (which: Int, who: Int, priority: Int)                                         -> others::ioprio_set;
      252   31  ioprio_get              Process Check(ioprio)      (which: Int, who: Int)                                                        -> process::ioprio_get;
      253    _  inotify_init            Fd      Native             ();
      254   27  inotify_add_watch       Path    Notify             (fd: Fd, path: UserPath, mask: InotifyMask)                                   -> path::inotify_add_watch;
      255   28  inotify_rm_watch        Fd      Native             (fd: Fd, watch: Int);
      256  238  migrate_pages           Memory  Check(own_pid_only) (pid: Pid, max: ULong, from: InBuf, to: InBuf);

    // The *at family: the same calls, relative to a directory's descriptor (Linux 2.6.16).
      257   56  openat                  Path    Notify             (dir: DirFd, path: UserPath, flags: OpenFlags, mode: Mode)                    -> open::openat;
      258   34  mkdirat                 Path    Notify             (dir: DirFd, path: UserPath, mode: Mode)                                      -> name::mkdirat;
      259   33  mknodat                 Path    Notify             (dir: DirFd, path: UserPath, mode: Mode, dev: Dev)                            -> name::mknodat;
      260   54  fchownat                Path    Notify             (dir: DirFd, path: UserPath, uid: Uid, gid: Gid, flags: AtFlags)              -> attr::fchownat;
      261    _  futimesat               Path    Notify             (dir: DirFd, path: OptPath, times: InBuf)                                     -> attr::futimesat;
      262   79  newfstatat              Path    Notify             (dir: DirFd, path: OptPath, buf: OutBuf, flags: AtFlags)                      -> path::newfstatat;
      263   35  unlinkat                Path    Notify             (dir: DirFd, path: UserPath, flags: UnlinkFlags)                              -> name::unlinkat;
      264   38  renameat                Path    Notify             (old_dir: DirFd, old: UserPath, new_dir: DirFd, new: UserPath)                -> name::renameat;
      265   37  linkat                  Path    Notify             (old_dir: DirFd, old: UserPath, new_dir: DirFd, new: UserPath, flags: AtFlags) -> name::linkat;
      266   36  symlinkat               Path    Notify             (target: UserPath, dir: DirFd, path: UserPath)                                -> name::symlinkat;
      267   78  readlinkat              Path    Notify             (dir: DirFd, path: UserPath, buf: OutBuf, size: Int)                          -> path::readlinkat;
      268   53  fchmodat                Path    Notify             (dir: DirFd, path: UserPath, mode: Mode)                                      -> attr::fchmodat;
      269   48  faccessat               Path    Notify             (dir: DirFd, path: UserPath, mode: AccessMode)                                -> path::faccessat;
      270   72  pselect6                Fd      Native             (count: Int, read: Ptr, write: Ptr, except: Ptr, timeout: Ptr, mask: InBuf);
      271   73  ppoll                   Fd      Native             (fds: Ptr, count: UInt, timeout: Ptr, mask: InBuf, set_size: Size);
      272   97  unshare                 Process Check(unshare)     (flags: CloneFlags)                                                           -> dir::unshare;
      273   99  set_robust_list         Process Native             (head: Ptr, len: Size);
      274  100  get_robust_list         Process Check(own_pid)     (pid: Pid, head: OutBuf, len: OutBuf)                                         -> process::get_robust_list;

    // Moving data between descriptors without copying it through the program.
      275   76  splice                  Fd      Meter              (from: Fd, from_offset: Ptr, to: Fd, to_offset: Ptr, len: Size, flags: UInt)  -> meter::splice;
      276   77  tee                     Fd      Native             (from: Fd, to: Fd, len: Size, flags: UInt);
      277   84  sync_file_range         Fd      Native             (fd: Fd, offset: Off, len: Off, flags: UInt);
      278   75  vmsplice                Fd      Refuse(ENOSYS, "lends memory pages to a pipe: a history of kernel bugs") (fd: Fd, iov: Ptr, count: ULong, flags: UInt);
      279  239  move_pages              Memory  Check(own_pid_only) (pid: Pid, count: ULong, pages: Ptr, nodes: Ptr, status: OutBuf, flags: Int);
      280   88  utimensat               Path    Notify             (dir: DirFd, path: OptPath, times: InBuf, flags: AtFlags)                     -> attr::utimensat;

    // Descriptors that stand for events.
      281   22  epoll_pwait             Fd      Native             (epoll: Fd, events: OutBuf, max: Int, timeout_ms: Int, mask: InBuf, set_size: Size);
      282    _  signalfd                Signal  Retell             (fd: Fd, mask: InBuf, set_size: Size);
      283   85  timerfd_create          Time    Native             (clock: Clock, flags: Int);
      284    _  eventfd                 Fd      Native             (count: UInt);
      285   47  fallocate               Fd      Meter              (fd: Fd, mode: Int, offset: Off, len: Off)                                    -> meter::fallocate;
      286   86  timerfd_settime         Time    Native             (fd: Fd, flags: Int, new: InBuf, old: OutBuf);
      287   87  timerfd_gettime         Time    Native             (fd: Fd, value: OutBuf);
      288  242  accept4                 Net     Check(accept)      (fd: Fd, addr: OutBuf, len: Ptr, flags: FdFlags);
      289   74  signalfd4               Signal  Retell             (fd: Fd, mask: InBuf, set_size: Size, flags: FdFlags);
      290   19  eventfd2                Fd      Native             (count: UInt, flags: FdFlags);
      291   20  epoll_create1           Fd      Native             (flags: FdFlags);
      292   24  dup3                    Fd      Native             (old: Fd, new: Fd, flags: FdFlags);
      293   59  pipe2                   Ipc     Check(pipe2)       (fds: OutBuf, flags: FdFlags);
      294   26  inotify_init1           Fd      Native             (flags: FdFlags);
      295   69  preadv                  Fd      Native             (fd: Fd, iov: Ptr, count: ULong, offset: Off, offset_high: Off);
      296   70  pwritev                 Fd      Meter              (fd: Fd, iov: Ptr, count: ULong, offset: Off, offset_high: Off)               -> meter::pwritev;
      297  240  rt_tgsigqueueinfo       Signal  Renumber           (tgid: Pid, tid: Pid, sig: Signal, info: InBuf)                               -> signal::rt_tgsigqueueinfo;

    // Watching others, and the insides of other processes.
      298  241  perf_event_open         System  Refuse(EPERM, "measures the host") (attr: Ptr, pid: Pid, cpu: Int, group: Fd, flags: ULong);
      299  243  recvmmsg                Net     Guarded            (fd: Fd, msgs: Ptr, count: UInt, flags: MsgFlags, timeout: Ptr);
      300  262  fanotify_init           Path    Refuse(ENOSYS, "watches whole file systems of the host") (flags: UInt, event_flags: UInt);
      301  263  fanotify_mark           Path    Refuse(ENOSYS, "watches whole file systems of the host") (fd: Fd, flags: UInt, mask: ULong, dir: DirFd, path: OptPath);
      302  261  prlimit64               Process Check(own_pid_or_ask) (pid: Pid, resource: UInt, new: InBuf, old: OutBuf)                           -> others::prlimit64;
      303  264  name_to_handle_at       Path    Refuse(EOPNOTSUPP, "handles bypass names") (dir: DirFd, path: UserPath, handle: Ptr, mount_id: OutBuf, flags: AtFlags);
      304  265  open_by_handle_at       Path    Refuse(EPERM, "handles bypass names") (mount: DirFd, handle: Ptr, flags: OpenFlags);
      305  266  clock_adjtime           Time    Refuse(EPERM, "sets the host's clock") (clock: Clock, buf: Ptr);
      306  267  syncfs                  Fd      Native             (fd: Fd);
      307  269  sendmmsg                Net     Guarded            (fd: Fd, msgs: Ptr, count: UInt, flags: MsgFlags)                            -> send::sendmmsg;
      308  268  setns                   Process Refuse(EPERM, "another namespace is another view") (fd: Fd, flags: CloneFlags);
      309  168  getcpu                  Process Native             (cpu: OutBuf, node: OutBuf, cache: Ptr);
      310  270  process_vm_readv        Process Renumber           (pid: Pid, local: Ptr, local_count: ULong, remote: Ptr, remote_count: ULong, flags: ULong) -> process::process_vm_readv;
      311  271  process_vm_writev       Process Renumber           (pid: Pid, local: Ptr, local_count: ULong, remote: Ptr, remote_count: ULong, flags: ULong) -> process::process_vm_writev;
      312  272  kcmp                    Process Notify             (pid1: Pid, pid2: Pid, kind: Int, index1: ULong, index2: ULong) -> others::kcmp;
      313  273  finit_module            System  Refuse(EPERM, "loads kernel code") (fd: Fd, params: Ptr, flags: Int);
      314  274  sched_setattr           Process Check(own_pid_or_ask) (pid: Pid, attr: Ptr, flags: UInt)                                            -> others::sched_setattr;
      315  275  sched_getattr           Process Check(own_pid)     (pid: Pid, attr: OutBuf, size: UInt, flags: UInt)                             -> process::sched_getattr;
      316  276  renameat2               Path    Notify             (old_dir: DirFd, old: UserPath, new_dir: DirFd, new: UserPath, flags: RenameFlags) -> name::renameat2;
      317  277  seccomp                 Process Native             (op: UInt, flags: UInt, args: Ptr);
      318  278  getrandom               System  Native             (buf: OutBuf, len: Size, flags: UInt);
      319  279  memfd_create            Memory  Native             (name: UserName, flags: UInt);
      320  294  kexec_file_load         System  Refuse(EPERM, "loads a kernel") (kernel: Fd, initrd: Fd, len: ULong, cmdline: Ptr, flags: ULong);
      321  280  bpf                     System  Refuse(EPERM, "runs code in the kernel") (cmd: Int, attr: Ptr, size: UInt);
      322  281  execveat                Exec    Trace              (dir: DirFd, path: UserPath, argv: Ptr, envp: Ptr, flags: AtFlags)            -> exec::execveat;
      323  282  userfaultfd             Memory  Refuse(ENOSYS, "could stall whoever reads the page") (flags: Int);
      324  283  membarrier              Memory  Native             (cmd: Int, flags: UInt, cpu: Int);
      325  284  mlock2                  Memory  Native             (addr: Ptr, len: Size, flags: Int);
      326  285  copy_file_range         Fd      Meter              (from: Fd, from_offset: Ptr, to: Fd, to_offset: Ptr, len: Size, flags: UInt)  -> meter::copy_file_range;
      327  286  preadv2                 Fd      Native             (fd: Fd, iov: Ptr, count: ULong, offset: Off, offset_high: Off, flags: Int);
      328  287  pwritev2                Fd      Meter              (fd: Fd, iov: Ptr, count: ULong, offset: Off, offset_high: Off, flags: Int)   -> meter::pwritev2;
      329  288  pkey_mprotect           Memory  Native             (addr: Ptr, len: Size, prot: MmapProt, key: Int);
      330  289  pkey_alloc              Memory  Native             (flags: ULong, rights: ULong);
      331  290  pkey_free               Memory  Native             (key: Int);
      332  291  statx                   Path    Notify             (dir: DirFd, path: OptPath, flags: AtFlags, mask: UInt, buf: OutBuf)          -> path::statx;
      333  292  io_pgetevents           Fd      Native             (ctx: ULong, min: Long, count: Long, events: OutBuf, timeout: InBuf, mask: InBuf);
      334  293  rseq                    Process Native             (area: Ptr, len: UInt, flags: Int, sig: UInt);

    // Entered from the kernel's own trampolines only; blocking them would kill programs that the host probes (Linux 6.11, 6.18).
      335    _  uretprobe               System  Native             ();
      336    _  uprobe                  System  Native             ();

    // Since Linux 5.1 all architectures share one numbering, starting at 424.
      424  424  pidfd_send_signal       Signal  Notify             (pidfd: Fd, sig: Signal, info: InBuf, flags: UInt)                            -> signal::pidfd_send_signal;
      425  425  io_uring_setup          Fd      Refuse(ENOSYS, "performs calls that no filter sees") (entries: UInt, params: Ptr);
      426  426  io_uring_enter          Fd      Refuse(ENOSYS, "performs calls that no filter sees") (fd: Fd, submit: UInt, complete: UInt, flags: UInt, arg: Ptr, size: Size);
      427  427  io_uring_register       Fd      Refuse(ENOSYS, "performs calls that no filter sees") (fd: Fd, op: UInt, arg: Ptr, count: UInt);
      428  428  open_tree               Mount   Refuse(EPERM, "the policy decides what is mounted") (dir: DirFd, path: UserPath, flags: UInt);
      429  429  move_mount              Mount   Refuse(EPERM, "the policy decides what is mounted") (from_dir: DirFd, from: UserPath, to_dir: DirFd, to: UserPath, flags: UInt);
      430  430  fsopen                  Mount   Refuse(EPERM, "the policy decides what is mounted") (kind: UserName, flags: UInt);
      431  431  fsconfig                Mount   Refuse(EPERM, "the policy decides what is mounted") (fd: Fd, cmd: UInt, key: UserName, value: Ptr, aux: Int);
      432  432  fsmount                 Mount   Refuse(EPERM, "the policy decides what is mounted") (fd: Fd, flags: UInt, attr_flags: UInt);
      433  433  fspick                  Mount   Refuse(EPERM, "the policy decides what is mounted") (dir: DirFd, path: UserPath, flags: UInt);
      434  434  pidfd_open              Process Notify             (pid: Pid, flags: UInt)                                                       -> process::pidfd_open;
      435  435  clone3                  Process Refuse(ENOSYS, "its flags are in memory; libc falls back to clone") (args: Ptr, size: Size);
      436  436  close_range             Fd      Native             (first: UInt, last: UInt, flags: UInt);
      437  437  openat2                 Path    Notify             (dir: DirFd, path: UserPath, how: ResolveHow, size: Size)                     -> open::openat2;
      438  438  pidfd_getfd             Process Refuse(EPERM, "another process's descriptors") (pidfd: Fd, fd: Fd, flags: UInt);
      439  439  faccessat2              Path    Notify             (dir: DirFd, path: UserPath, mode: AccessMode, flags: AtFlags)                -> path::faccessat2;
      440  440  process_madvise         Process Refuse(EPERM, "another process's memory") (pidfd: Fd, iov: Ptr, count: Size, advice: Int, flags: UInt);
      441  441  epoll_pwait2            Fd      Native             (epoll: Fd, events: OutBuf, max: Int, timeout: InBuf, mask: InBuf, set_size: Size);
      442  442  mount_setattr           Mount   Refuse(EPERM, "the policy decides what is mounted") (dir: DirFd, path: UserPath, flags: UInt, attr: Ptr, size: Size);
      443  443  quotactl_fd             System  Refuse(EPERM, "the quotas are the host's") (fd: Fd, cmd: UInt, id: Int, addr: Ptr);

    // Self-restriction. The supervisor acts for the program and would not honour the program's own rules: better absent.
      444  444  landlock_create_ruleset Process Refuse(ENOSYS, "rules that our answers would not honour") (attr: Ptr, size: Size, flags: UInt);
      445  445  landlock_add_rule       Process Refuse(ENOSYS, "rules that our answers would not honour") (ruleset: Fd, kind: Int, attr: Ptr, flags: UInt);
      446  446  landlock_restrict_self  Process Refuse(ENOSYS, "rules that our answers would not honour") (ruleset: Fd, flags: UInt);
      447  447  memfd_secret            Memory  Refuse(ENOSYS, "pages that the supervisor cannot read") (flags: UInt);
      448  448  process_mrelease        Process Refuse(ENOSYS, "another process's memory") (pidfd: Fd, flags: UInt);
      449  449  futex_waitv             Memory  Native             (waiters: InBuf, count: UInt, flags: UInt, timeout: InBuf, clock: Clock);
      450  450  set_mempolicy_home_node Memory  Native             (addr: Ptr, len: Size, node: ULong, flags: ULong);
      451  451  cachestat               Fd      Refuse(ENOSYS, "tells what others read") (fd: Fd, range: Ptr, stat: OutBuf, flags: UInt);
      452  452  fchmodat2               Path    Notify             (dir: DirFd, path: UserPath, mode: Mode, flags: AtFlags)                      -> attr::fchmodat2;
      453  453  map_shadow_stack        Memory  Native             (addr: Ptr, size: Size, flags: UInt);
      454  454  futex_wake              Memory  Native             (word: Ptr, mask: ULong, count: Int, flags: UInt);
      455  455  futex_wait              Memory  Native             (word: Ptr, value: ULong, mask: ULong, flags: UInt, timeout: InBuf, clock: Clock);
      456  456  futex_requeue           Memory  Native             (waiters: InBuf, flags: UInt, wake: Int, requeue: Int);
      457  457  statmount               Mount   Refuse(ENOSYS, "would show the host's mounts") (request: Ptr, buf: OutBuf, size: Size, flags: UInt);
      458  458  listmount               Mount   Refuse(ENOSYS, "would show the host's mounts") (request: Ptr, ids: OutBuf, count: Size, flags: UInt);
      459  459  lsm_get_self_attr       Creds   Refuse(ENOSYS, "the labels are the host's") (attr: UInt, ctx: OutBuf, size: Ptr, flags: UInt);
      460  460  lsm_set_self_attr       Creds   Refuse(ENOSYS, "the labels are the host's") (attr: UInt, ctx: InBuf, size: UInt, flags: UInt);
      461  461  lsm_list_modules        System  Refuse(ENOSYS, "the labels are the host's") (ids: OutBuf, size: Ptr, flags: UInt);
      462  462  mseal                   Memory  Native             (addr: Ptr, len: Size, flags: ULong);
      463  463  setxattrat              Path    Notify             (dir: DirFd, path: OptPath, flags: AtFlags, name: UserName, args: Ptr, size: Size) -> attr::setxattrat;
      464  464  getxattrat              Path    Notify             (dir: DirFd, path: OptPath, flags: AtFlags, name: UserName, args: Ptr, size: Size) -> xattr::getxattrat;
      465  465  listxattrat             Path    Notify             (dir: DirFd, path: OptPath, flags: AtFlags, list: OutBuf, size: Size)         -> xattr::listxattrat;
      466  466  removexattrat           Path    Notify             (dir: DirFd, path: OptPath, flags: AtFlags, name: UserName)                   -> attr::removexattrat;
      467  467  open_tree_attr          Mount   Refuse(EPERM, "the policy decides what is mounted") (dir: DirFd, path: UserPath, flags: UInt, attr: Ptr, size: Size);
      468  468  file_getattr            Path    Notify             (dir: DirFd, path: OptPath, attr: OutBuf, size: Size, flags: AtFlags)         -> path::file_getattr;
      469  469  file_setattr            Path    Notify             (dir: DirFd, path: OptPath, attr: InBuf, size: Size, flags: AtFlags)          -> attr::file_setattr;
}

//! Registers to typed arguments.
//!
//! A register holds 64 bits and no type. The kernel gives it one by the parameter it is passed to, and cuts
//! it to that parameter's width: `int fd` is the low half of the register, whatever the high half says. A
//! filter or decoder that looks at all 64 bits can be lied to (CVE-2019-10063), so each type here cuts as
//! the kernel does. This file and `sys` are the only places where `as` may narrow a number.
//!
//! Every type also prints itself as a tracer would: `O_RDONLY|O_CLOEXEC`, `AT_FDCWD`, `0644`, `SIGTERM`.

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter, Write as _};

use super::flags::{self, Names};
use super::plan::{Cx, Errno};
use crate::task::read_cstr;

/// The longest name of an extended attribute, xattr(7).
const XATTR_NAME_MAX: usize = 255;

/// A typed argument of a system call: copied out of the guest exactly once.
pub trait Arg<'a>: Sized {
    /// Makes the argument from the raw register; reads guest memory at most once.
    fn decode(cx: &Cx<'a>, raw: u64) -> Result<Self, Errno>;
}

/// Declares argument types that are just the low bits of a register, and how each prints.
macro_rules! scalars {
    ($( $(#[$doc:meta])* $name:ident($repr:ty): $show:expr; )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $repr);

        impl $name {
            /// Cuts the register to the parameter's width, as the kernel does.
            pub const fn from_register(raw: u64) -> Self {
                Self(raw as $repr)
            }
        }

        impl<'a> Arg<'a> for $name {
            fn decode(_: &Cx<'a>, raw: u64) -> Result<Self, Errno> {
                Ok(Self::from_register(raw))
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let show: fn($repr, &mut Formatter<'_>) -> fmt::Result = $show;
                show(self.0, f)
            }
        }
    )*
        /// How many bits of a register the kernel takes for a type, and whether they have a sign; `None`: it is none of
        /// these types.
        pub fn width(ty: &str) -> Option<(u32, bool)> {
            #[expect(unused_comparisons, reason = "unsigned types are not below 0")]
            match ty {
                $( stringify!($name) => Some((<$repr>::BITS, <$repr>::MIN < 0)), )*
                _ => None,
            }
        }

        /// A register printed as an argument of the type of this name (`Param::ty` of the table), if that type
        /// needs no memory of the guest: for traces of calls that the kernel serves, and for people who read rules.
        pub fn show(ty: &str, raw: u64) -> Option<String> {
            match ty {
                $( stringify!($name) => Some($name::from_register(raw).to_string()), )*
                "Mode" => Some(Mode::from_register(raw).to_string()),
                _ => None,
            }
        }
    };
}

scalars! {
    // Plain numbers.
    /// `int`
    Int(i32): |v, f| write!(f, "{v}");
    /// `unsigned int`
    UInt(u32): |v, f| write!(f, "{v}");
    /// `long`
    Long(i64): |v, f| write!(f, "{v}");
    /// `unsigned long`
    ULong(u64): |v, f| if v < 0x1_0000 { write!(f, "{v}") } else { write!(f, "{v:#x}") };
    /// `size_t`
    Size(u64): |v, f| write!(f, "{v}");
    /// `off_t`, `loff_t`
    Off(i64): |v, f| write!(f, "{v}");

    // Things that numbers name.
    /// A file descriptor.
    Fd(i32): |v, f| write!(f, "{v}");
    /// The directory that a relative path starts from: a descriptor or `AT_FDCWD`.
    DirFd(i32): |v, f| if v == libc::AT_FDCWD { f.write_str("AT_FDCWD") } else { write!(f, "{v}") };
    /// A process, a thread, or minus a process group.
    Pid(i32): |v, f| write!(f, "{v}");
    /// A user id; -1 often means "leave it".
    Uid(u32): |v, f| id(v, f);
    /// A group id; -1 often means "leave it".
    Gid(u32): |v, f| id(v, f);
    /// A device number, in the kernel's 32-bit form (makedev(3) of 12 and 20 bits).
    Dev(u32): |v, f| {
        let dev = u64::from(v);
        write!(f, "makedev({}, {})", libc::major(dev), libc::minor(dev))
    };
    /// A signal number.
    Signal(i32): |v, f| flags::signal(v, f);
    /// A clock id; negative ones name a process, a thread or a descriptor (clock_getres(2)).
    Clock(i32): |v, f| flags::clock(v, f);

    // Addresses in the guest.
    /// An address whose meaning the row does not tell.
    Ptr(u64): |v, f| address(v, f);
    /// Where the answer goes.
    OutBuf(u64): |v, f| address(v, f);
    /// Where bytes or a structure come from.
    InBuf(u64): |v, f| address(v, f);
    /// `struct open_how *` of openat2(2).
    ResolveHow(u64): |v, f| address(v, f);

    // Words made of named bits.
    /// Flags of open(2): an access mode in the low two bits, then bits.
    OpenFlags(i32): |v, f| {
        f.write_str(flags::ACCMODE.get((v & 3) as usize).copied().unwrap_or("3"))?;
        if v & !3 == 0 { return Ok(()); }
        f.write_char('|')?;
        bits(f, (v & !3) as u32, flags::OPEN)
    };
    /// Flags of calls that make a descriptor: `O_CLOEXEC`, `O_NONBLOCK` and few others.
    FdFlags(i32): |v, f| bits(f, v as u32, flags::OPEN);
    /// Flags of the *at calls.
    AtFlags(i32): |v, f| bits(f, v as u32, flags::AT);
    /// Flags of unlinkat(2): 0x200 means another thing there than in faccessat2(2).
    UnlinkFlags(i32): |v, f| bits(f, v as u32, &[(0x200, "AT_REMOVEDIR")]);
    /// What access(2) asks for.
    AccessMode(i32): |v, f| if v == 0 { f.write_str("F_OK") } else { bits(f, v as u32, flags::ACCESS) };
    /// Flags of renameat2(2).
    RenameFlags(u32): |v, f| bits(f, v, flags::RENAME);
    /// Flags of setxattr(2).
    XattrFlags(i32): |v, f| bits(f, v as u32, flags::XATTR);
    /// Flags of clone(2), unshare(2) and setns(2); in clone the low byte is the exit signal.
    CloneFlags(u64): |v, f| {
        let signal = (v & 0xff) as i32;
        if v & !0xff != 0 || signal == 0 { bits(f, (v & !0xff) as u32, flags::CLONE)?; }
        if v & !0xff != 0 && signal != 0 { f.write_char('|')?; }
        if signal == 0 { Ok(()) } else { flags::signal(signal, f) }
    };
    /// Flags of send(2) and recv(2).
    MsgFlags(u32): |v, f| bits(f, v, flags::MSG);
    /// Protection of mmap(2) and mprotect(2).
    MmapProt(u64): |v, f| if v == 0 { f.write_str("PROT_NONE") } else { bits(f, v as u32, flags::PROT) };
    /// Flags of mmap(2).
    MmapFlags(u64): |v, f| bits(f, v as u32, flags::MAP);
    /// Events of inotify_add_watch(2).
    InotifyMask(u32): |v, f| bits(f, v, flags::INOTIFY);

    // Words that are one of many.
    /// The second argument of ioctl(2): 32 bits, whatever the high half of the register says.
    IoctlCmd(u32): |v, f| one_of(f, v, flags::IOCTL);
    /// The second argument of fcntl(2).
    FcntlCmd(u32): |v, f| one_of(f, v, flags::FCNTL);
    /// The first argument of prctl(2).
    PrctlOption(i32): |v, f| one_of(f, v as u32, flags::PRCTL);
    /// The first argument of arch_prctl(2).
    ArchPrctlCode(i32): |v, f| one_of(f, v as u32, flags::ARCH_PRCTL);
    /// The argument of personality(2).
    Persona(u32): |v, f| one_of(f, v, flags::PERSONA);
    /// Whose options setsockopt(2) means.
    SockLevel(i32): |v, f| one_of(f, v as u32, flags::SOCK_LEVEL);
    /// An address family.
    SocketFamily(i32): |v, f| one_of(f, v as u32, flags::FAMILY);
    /// A socket type in the low four bits, `SOCK_NONBLOCK` and `SOCK_CLOEXEC` above.
    SocketType(i32): |v, f| {
        one_of(f, (v & 0xf) as u32, flags::SOCKET)?;
        if v & !0xf == 0 { return Ok(()); }
        f.write_char('|')?;
        bits(f, (v & !0xf) as u32, flags::SOCKET_BITS)
    };
    /// Where lseek(2) counts from.
    Whence(u32): |v, f| one_of(f, v, flags::WHENCE);
}

/// File mode bits. The kernel's `umode_t` has 16 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Mode {
    /// Cuts the register to the parameter's width, as the kernel does.
    pub const fn from_register(raw: u64) -> Self {
        Self(raw as u16 as u32)
    }
}

impl<'a> Arg<'a> for Mode {
    fn decode(_: &Cx<'a>, raw: u64) -> Result<Self, Errno> {
        Ok(Self::from_register(raw))
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "0{:o}", self.0)
    }
}

/// A path, copied out of the guest; or why it could not be. The kernel copies a path before it looks at
/// other arguments, but tells what went wrong with that only when it begins to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserPath<'a>(pub Result<&'a CStr, Errno>);

/// Another string, copied out of the guest, or why not: the name of an attribute, a queue, a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserName<'a>(pub Result<&'a CStr, Errno>);

impl<'a> UserPath<'a> {
    /// The text, when its turn comes.
    pub fn text(self) -> Result<&'a CStr, Errno> {
        self.0
    }

    /// True for a path of no bytes.
    pub fn is_empty(self) -> bool {
        self.0.is_ok_and(CStr::is_empty)
    }
}

impl<'a> UserName<'a> {
    /// The text, when its turn comes.
    pub fn text(self) -> Result<&'a CStr, Errno> {
        self.0
    }
}

/// A path where NULL has a meaning of its own: the descriptor itself (utimensat(2); with `AT_EMPTY_PATH`
/// fstatat(2) and statx(2) since Linux 6.11, the *xattrat calls from their beginning).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptPath<'a>(pub Option<UserPath<'a>>);

impl<'a> Arg<'a> for UserPath<'a> {
    /// Copies the string out of the guest exactly once. Handlers never see the pointer, so no later
    /// step can read bytes that another guest thread has changed meanwhile.
    fn decode(cx: &Cx<'a>, raw: u64) -> Result<Self, Errno> {
        let text = read_cstr(cx.mem, raw, libc::PATH_MAX as usize, cx.arena);
        Ok(Self(text))
    }
}

impl<'a> Arg<'a> for UserName<'a> {
    /// ERANGE for an empty name and one without end, as xattr(7) says; no other name is that long.
    fn decode(cx: &Cx<'a>, raw: u64) -> Result<Self, Errno> {
        let text = read_cstr(cx.mem, raw, XATTR_NAME_MAX + 1, cx.arena);
        Ok(Self(match text {
            Ok(name) if name.is_empty() => Err(Errno::ERANGE),
            Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
            other => other,
        }))
    }
}

impl<'a> Arg<'a> for OptPath<'a> {
    fn decode(cx: &Cx<'a>, raw: u64) -> Result<Self, Errno> {
        if raw == 0 {
            Ok(Self(None))
        } else {
            UserPath::decode(cx, raw).map(|path| Self(Some(path)))
        }
    }
}

impl Display for UserPath<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        string(f, self.0)
    }
}

impl Display for UserName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        string(f, self.0)
    }
}

fn string(f: &mut Formatter<'_>, text: Result<&CStr, Errno>) -> fmt::Result {
    match text {
        Ok(text) => quoted(f, text.to_bytes()),
        Err(errno) => write!(f, "{errno:?}"),
    }
}

impl Display for OptPath<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => path.fmt(f),
            None => f.write_str("NULL"),
        }
    }
}

/// A string of the guest's in double quotes. Bytes that could drive a terminal or are no UTF-8 are escaped.
pub fn quoted(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                // Also the C1 controls, and what reorders or hides text on a screen.
                c if c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
                {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                }
                c => f.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_char('"')
}

/// `NULL` or the number in hex.
fn address(v: u64, f: &mut Formatter<'_>) -> fmt::Result {
    if v == 0 {
        f.write_str("NULL")
    } else {
        write!(f, "{v:#x}")
    }
}

/// A uid or gid: -1 as such, it is the one that callers spell so.
fn id(v: u32, f: &mut Formatter<'_>) -> fmt::Result {
    if v == u32::MAX {
        f.write_str("-1")
    } else {
        write!(f, "{v}")
    }
}

/// The names of the bits in `v`, joined by `|`; bits without a name in hex; `0` if there are none.
/// Words of several bits stand before their parts in the list and swallow them (`O_SYNC`, `O_DSYNC`).
fn bits(f: &mut Formatter<'_>, v: u32, names: Names) -> fmt::Result {
    let mut left = v;
    let mut first = true;
    for &(value, name) in names {
        if value != 0 && left & value == value {
            left &= !value;
            if !std::mem::take(&mut first) {
                f.write_char('|')?;
            }
            f.write_str(name)?;
        }
    }
    match (left, first) {
        (0, true) => f.write_char('0'),
        (0, false) => Ok(()),
        (left, true) => write!(f, "{left:#x}"),
        (left, false) => write!(f, "|{left:#x}"),
    }
}

/// The name of `v`, or its number in hex.
fn one_of(f: &mut Formatter<'_>, v: u32, names: Names) -> fmt::Result {
    match names.iter().find(|(value, _)| *value == v) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "{v:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row, one promise: how a register reads in a trace. High halves of `int` registers don't count.
    #[test]
    fn registers_print_as_a_tracer_would_print_them() {
        for (ty, raw, want) in [
            ("Fd", 3, "3"),
            ("Fd", 0xdead_beef_0000_0003, "3"),
            ("DirFd", 0xffff_ff9c, "AT_FDCWD"),
            ("DirFd", 0xffff_ffff_ffff_ff9c, "AT_FDCWD"),
            ("Pid", 0xffff_ffff, "-1"),
            ("Off", u64::MAX, "-1"),
            ("Uid", 0xffff_ffff, "-1"),
            ("Mode", 0xabc0_01a4, "0644"),
            ("Dev", 0x0801, "makedev(8, 1)"),
            ("Signal", 15, "SIGTERM"),
            ("Signal", 34, "SIGRT_2"),
            ("Clock", 1, "CLOCK_MONOTONIC"),
            ("Clock", (!7u64 << 3) | 2, "MAKE_PROCESS_CPUCLOCK(7, 2)"),
            ("Clock", (!7u64 << 3) | 6, "MAKE_THREAD_CPUCLOCK(7, 2)"),
            ("Ptr", 0, "NULL"),
            ("Ptr", 0x7fff_0000_1234, "0x7fff00001234"),
            ("OpenFlags", 0, "O_RDONLY"),
            ("OpenFlags", 0o2000101, "O_WRONLY|O_CREAT|O_CLOEXEC"),
            ("OpenFlags", 0o20200000, "O_RDONLY|O_TMPFILE"),
            ("OpenFlags", 0o4010000, "O_RDONLY|O_SYNC"),
            ("FdFlags", 0o2000000, "O_CLOEXEC"),
            ("AtFlags", 0x1100, "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH"),
            ("AtFlags", 0x8000_0000, "0x80000000"),
            ("UnlinkFlags", 0x200, "AT_REMOVEDIR"),
            ("AccessMode", 0, "F_OK"),
            ("AccessMode", 5, "R_OK|X_OK"),
            ("RenameFlags", 9, "RENAME_NOREPLACE|0x8"),
            ("CloneFlags", 17, "SIGCHLD"),
            ("CloneFlags", 0x4111, "CLONE_VM|CLONE_VFORK|SIGCHLD"),
            ("CloneFlags", 0, "0"),
            ("IoctlCmd", 0x1_0000_5401, "TCGETS"),
            ("IoctlCmd", 0xdead, "0xdead"),
            ("FcntlCmd", 1030, "F_DUPFD_CLOEXEC"),
            ("PrctlOption", 15, "PR_SET_NAME"),
            ("SocketFamily", 10, "AF_INET6"),
            ("SocketType", 0o2000001, "SOCK_STREAM|SOCK_CLOEXEC"),
            ("MmapProt", 0, "PROT_NONE"),
            ("MmapFlags", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
            ("Whence", 2, "SEEK_END"),
        ] {
            assert_eq!(show(ty, raw).as_deref(), Some(want), "{ty} {raw:#x}");
        }
        assert_eq!(show("UserPath", 1), None, "needs the guest's memory");
    }

    #[test]
    fn strings_of_the_guest_cannot_drive_a_terminal() {
        for (bytes, want) in [
            (&b"/etc/hosts"[..], r#""/etc/hosts""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x1b[31m\n", r#""\x1b[31m\n""#),
            (b"\xff\xfe", r#""\xff\xfe""#),
            ("ü\u{9b}31m".as_bytes(), r#""ü\xc2\x9b31m""#),
            ("\u{202e}gpj".as_bytes(), r#""\xe2\x80\xaegpj""#),
        ] {
            let mut shown = String::new();
            quoted(&mut shown, bytes).unwrap();
            assert_eq!(shown, want);
        }
    }
}

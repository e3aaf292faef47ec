//! Files and directories: every call takes a directory descriptor and a name.

use super::{Errno, Result, check, check_int};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// openat(2). `O_CLOEXEC` is added: no descriptor of ours may survive an exec.
pub fn openat(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: `name` is NUL-terminated and outlives the call; the kernel reads nothing else.
    let fd = check_int(unsafe {
        libc::openat(
            dir.as_raw_fd(),
            name.as_ptr(),
            flags | libc::O_CLOEXEC,
            mode,
        )
    })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// openat2(2) (Linux 5.6) of a name that must not be a symbolic link. Unlike `O_NOFOLLOW`, which
/// stays in the descriptor's flags, this leaves no trace for fcntl(2), `F_GETFL`.
pub fn open_no_link(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: all-zero is a valid `open_how`.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = u64::from((flags | libc::O_CLOEXEC) as u32);
    how.mode = mode.into();
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: `name` is NUL-terminated, `how` is one `struct open_how` of the size told.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// [`open_no_link`] of an absolute path: ELOOP for a symbolic link anywhere in it.
pub fn open_without_links(path: &CStr, flags: i32) -> Result<OwnedFd> {
    // SAFETY: AT_FDCWD is not a descriptor that could be closed under us.
    let here = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };
    open_no_link(here, path, flags, 0)
}

/// open(2) of a host path of our own (never one of the guest's).
pub fn open(path: &CStr, flags: i32) -> Result<OwnedFd> {
    // SAFETY: AT_FDCWD is not a descriptor that could be closed under us.
    openat(
        unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) },
        path,
        flags,
        0,
    )
}

/// fstatat(2) into the structure that stat(2) hands to programs on x86-64.
pub fn fstatat(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<libc::stat> {
    let mut out = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `name` is NUL-terminated; `out` has room for one `struct stat`.
    check_int(unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), out.as_mut_ptr(), flags) })?;
    // SAFETY: the call succeeded, so the kernel has filled the whole structure.
    Ok(unsafe { out.assume_init() })
}

/// stat(2) of an absolute path of the host.
pub fn stat(path: &CStr) -> Result<libc::stat> {
    let mut out = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` is NUL-terminated; `out` has room for one `struct stat`.
    check_int(unsafe { libc::stat(path.as_ptr(), out.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel has filled the whole structure.
    Ok(unsafe { out.assume_init() })
}

/// fstat(2).
pub fn fstat(fd: BorrowedFd<'_>) -> Result<libc::stat> {
    let mut out = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `out` has room for one `struct stat`.
    check_int(unsafe { libc::fstat(fd.as_raw_fd(), out.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel has filled the whole structure.
    Ok(unsafe { out.assume_init() })
}

/// statx(2).
pub fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mask: u32) -> Result<libc::statx> {
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `name` is NUL-terminated; `out` has room for one `struct statx`.
    check_int(unsafe {
        libc::statx(
            dir.as_raw_fd(),
            name.as_ptr(),
            flags,
            mask,
            out.as_mut_ptr(),
        )
    })?;
    // SAFETY: zeroed above and filled by the kernel; every bit pattern is valid.
    Ok(unsafe { out.assume_init() })
}

/// The basic fields of statx(2) from stat(2), for objects that no descriptor names.
pub fn statx_from(stat: &libc::stat) -> libc::statx {
    // SAFETY: all-zero is a valid `statx`.
    let mut out: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
    let time = |sec: i64, nsec: i64| {
        // SAFETY: all-zero is a valid `statx_timestamp`.
        let mut at: libc::statx_timestamp = unsafe { MaybeUninit::zeroed().assume_init() };
        (at.tv_sec, at.tv_nsec) = (sec, nsec as u32);
        at
    };
    out.stx_mask = libc::STATX_BASIC_STATS;
    out.stx_blksize = stat.st_blksize as u32;
    out.stx_nlink = stat.st_nlink as u32;
    (out.stx_uid, out.stx_gid) = (stat.st_uid, stat.st_gid);
    out.stx_mode = stat.st_mode as u16;
    out.stx_ino = stat.st_ino;
    out.stx_size = stat.st_size as u64;
    out.stx_blocks = stat.st_blocks as u64;
    out.stx_atime = time(stat.st_atime, stat.st_atime_nsec);
    out.stx_mtime = time(stat.st_mtime, stat.st_mtime_nsec);
    out.stx_ctime = time(stat.st_ctime, stat.st_ctime_nsec);
    (out.stx_dev_major, out.stx_dev_minor) = (libc::major(stat.st_dev), libc::minor(stat.st_dev));
    out
}

/// fstatfs(2); works on `O_PATH` descriptors.
pub fn fstatfs(fd: BorrowedFd<'_>) -> Result<libc::statfs> {
    let mut out = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `out` has room for one `struct statfs`.
    check_int(unsafe { libc::fstatfs(fd.as_raw_fd(), out.as_mut_ptr()) })?;
    // SAFETY: zeroed above and filled by the kernel; every bit pattern is valid.
    Ok(unsafe { out.assume_init() })
}

/// The bytes of a plain kernel structure, to be written to a guest.
///
/// Only for the `libc` structures below: they are copied as the kernel gave them.
pub trait KernelStruct: Sized {
    /// The structure's memory.
    fn bytes(&self) -> &[u8] {
        // SAFETY: implemented below only for `repr(C)` structures that the kernel filled in
        // whole (padding included, as we zero or the kernel writes it), so all bytes are set.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}
impl KernelStruct for libc::stat {}
impl KernelStruct for libc::statx {}
impl KernelStruct for libc::statfs {}

/// readlinkat(2) into `buf`; an empty `name` reads the link that `dir` itself is (`O_PATH`).
pub fn readlinkat<'b>(dir: BorrowedFd<'_>, name: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8]> {
    // SAFETY: `name` is NUL-terminated and the kernel writes at most `buf.len()` bytes to `buf`.
    let n = check(unsafe {
        libc::readlinkat(
            dir.as_raw_fd(),
            name.as_ptr(),
            buf.as_mut_ptr().cast(),
            buf.len(),
        )
    } as libc::c_long)?;
    buf.get(..n).ok_or(Errno::EIO)
}

/// readlink(2) of a path of our own.
pub fn readlink<'b>(path: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8]> {
    // SAFETY: AT_FDCWD is not a descriptor that could be closed under us.
    readlinkat(unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }, path, buf)
}

/// getdents64(2): raw directory records; returns the number of bytes filled.
pub fn getdents64(dir: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            dir.as_raw_fd(),
            buf.as_mut_ptr(),
            buf.len(),
        )
    })
}

/// lseek(2).
pub fn lseek(fd: BorrowedFd<'_>, offset: i64, whence: i32) -> Result<i64> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) }).map(|n| n as i64)
}

/// mkdirat(2).
pub fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check_int(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

/// mknodat(2).
pub fn mknodat(dir: BorrowedFd<'_>, name: &CStr, mode: u32, dev: u64) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check_int(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, dev) }).map(drop)
}

/// unlinkat(2).
pub fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check_int(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

/// renameat2(2).
pub fn renameat2(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
    flags: u32,
) -> Result<()> {
    // SAFETY: both names are NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// linkat(2).
pub fn linkat(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
    flags: i32,
) -> Result<()> {
    // SAFETY: both names are NUL-terminated.
    check_int(unsafe {
        libc::linkat(
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// symlinkat(2).
pub fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated.
    check_int(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// fchmod(2).
pub fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
}

/// fchmodat(2) as the system call is: no flags, a symbolic link is followed.
pub fn fchmodat(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_fchmodat, dir.as_raw_fd(), name.as_ptr(), mode) })
        .map(drop)
}

/// fchownat(2).
pub fn fchownat(dir: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32, flags: i32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check_int(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) }).map(drop)
}

/// utimensat(2); `None` for the name acts on the descriptor, `None` for the times means now.
pub fn utimensat(
    dir: BorrowedFd<'_>,
    name: Option<&CStr>,
    times: Option<&[libc::timespec; 2]>,
    flags: i32,
) -> Result<()> {
    let name = name.map_or(std::ptr::null(), CStr::as_ptr);
    let times = times.map_or(std::ptr::null(), |t| t.as_ptr());
    // SAFETY: `name` is NULL or NUL-terminated, `times` is NULL or two timespecs. The raw call is
    // used because the C library refuses a NULL name.
    check(unsafe { libc::syscall(libc::SYS_utimensat, dir.as_raw_fd(), name, times, flags) })
        .map(drop)
}

/// ftruncate(2).
pub fn ftruncate(fd: BorrowedFd<'_>, length: i64) -> Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::ftruncate(fd.as_raw_fd(), length) }).map(drop)
}

/// fsync(2).
pub fn fsync(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::fsync(fd.as_raw_fd()) }).map(drop)
}

/// copy_file_range(2) from one offset to the same offset; returns the number of bytes copied.
pub fn copy_file_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: i64,
    len: usize,
) -> Result<usize> {
    let (mut source, mut target) = (offset, offset);
    // SAFETY: both offsets are ours and outlive the call; the kernel writes nothing else.
    check(unsafe {
        libc::copy_file_range(
            from.as_raw_fd(),
            &raw mut source,
            to.as_raw_fd(),
            &raw mut target,
            len,
            0,
        )
    } as libc::c_long)
}

/// ioctl_ficlone(2): makes `to` share all data of `from`, copied by the file system when either changes.
pub fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: FICLONE takes a descriptor as its argument and touches no memory.
    check_int(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) }).map(drop)
}

/// faccessat2(2) (Linux 5.8).
pub fn faccessat2(dir: BorrowedFd<'_>, name: &CStr, mode: i32, flags: i32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            mode,
            flags,
        )
    })
    .map(drop)
}

/// fcntl(F_SETFL): sets the status flags of an open file description.
pub fn set_status_flags(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: F_SETFL takes an int.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// fcntl(F_SETOWN_EX): who gets SIGIO of an open file description; 0 is nobody.
pub fn set_owner(fd: BorrowedFd<'_>, kind: i32, number: i32) -> Result<()> {
    const F_SETOWN_EX: i32 = 15;
    let owner = [kind, number];
    // SAFETY: F_SETOWN_EX reads a `struct f_owner_ex`, which is two ints.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, owner.as_ptr()) }).map(drop)
}

/// fcntl(F_GETFL): the status flags of an open file description.
pub fn status_flags(fd: BorrowedFd<'_>) -> Result<i32> {
    // SAFETY: F_GETFL takes no argument.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }).map(|f| f as i32)
}

/// fcntl(F_DUPFD_CLOEXEC): a duplicate at `min` or above.
pub fn dup_above(fd: BorrowedFd<'_>, min: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an int.
    let new = check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, min) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(new as RawFd) })
}

/// umask(2): sets the calling thread's file mode creation mask, returns the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { libc::umask(mask) }
}

/// getxattr(2) on a path of our own (`/proc/self/fd/N`); an empty buffer asks for the size.
pub fn getxattr(path: &CStr, name: &CStr, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: both strings are NUL-terminated; the kernel writes at most `buf.len()` bytes.
    check(unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            buf.as_mut_ptr().cast(),
            buf.len(),
        )
    } as libc::c_long)
}

/// listxattr(2) on a path of our own; an empty buffer asks for the size.
pub fn listxattr(path: &CStr, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `path` is NUL-terminated; the kernel writes at most `buf.len()` bytes.
    check(
        unsafe { libc::listxattr(path.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) }
            as libc::c_long,
    )
}

/// setxattr(2) on a path of our own.
pub fn setxattr(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Result<()> {
    // SAFETY: both strings are NUL-terminated; the kernel reads `value.len()` bytes of `value`.
    check_int(unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    })
    .map(drop)
}

/// removexattr(2) on a path of our own.
pub fn removexattr(path: &CStr, name: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated.
    check_int(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

/// fsetxattr(2).
pub fn fsetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8], flags: i32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated; the kernel reads `value.len()` bytes of `value`.
    check_int(unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    })
    .map(drop)
}

/// fremovexattr(2).
pub fn fremovexattr(fd: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    check_int(unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// Bytes of `struct file_attr`, whose fields nobody here looks at.
pub const FILE_ATTR: usize = 24;
/// Numbers of calls of Linux 6.17, on every architecture.
const SYS_FILE_GETATTR: libc::c_long = 468;
const SYS_FILE_SETATTR: libc::c_long = 469;

/// file_getattr(2) (Linux 6.17) on a path of our own.
pub fn file_getattr(path: &CStr) -> Result<[u8; FILE_ATTR]> {
    let mut out = [0u8; FILE_ATTR];
    let (at, to) = (path.as_ptr(), out.as_mut_ptr());
    // SAFETY: `path` is NUL-terminated; the kernel writes at most `FILE_ATTR` bytes to `out`.
    check(unsafe { libc::syscall(SYS_FILE_GETATTR, libc::AT_FDCWD, at, to, FILE_ATTR, 0) })?;
    Ok(out)
}

/// file_setattr(2) (Linux 6.17) on a path of our own.
pub fn file_setattr(path: &CStr, attr: &[u8; FILE_ATTR]) -> Result<()> {
    let (at, from) = (path.as_ptr(), attr.as_ptr());
    // SAFETY: `path` is NUL-terminated; the kernel reads `FILE_ATTR` bytes of `attr`.
    check(unsafe { libc::syscall(SYS_FILE_SETATTR, libc::AT_FDCWD, at, from, FILE_ATTR, 0) })
        .map(drop)
}

/// inotify_add_watch(2) on a path of our own; returns the watch descriptor.
pub fn inotify_add_watch(inotify: BorrowedFd<'_>, path: &CStr, mask: u32) -> Result<usize> {
    // SAFETY: `path` is NUL-terminated.
    check_int(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) })
}

/// fcntl(2), `F_SETLEASE`, tried and given back: true if nobody else has the file behind `fd` open for
/// writing or, with `at_all`, in any way. `fd` must be open for reading. False as well if there are no leases.
pub fn nobody_else_has(fd: BorrowedFd<'_>, at_all: bool) -> bool {
    let kind = if at_all { libc::F_WRLCK } else { libc::F_RDLCK };
    // SAFETY: F_SETLEASE takes an int.
    let set = |kind: i32| check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) });
    set(kind).is_ok() && set(libc::F_UNLCK).is_ok()
}

/// True if a regular file that `fd` has open for reading is open for writing somewhere, as far as fcntl(2), F_SETLEASE,
/// tells those who don't own it: nothing.
pub fn is_being_written(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_SETLEASE takes an int.
    let set = |kind: i32| check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) });
    match set(libc::F_RDLCK) {
        Ok(_) => set(libc::F_UNLCK).is_err(),
        Err(errno) => errno == Errno::EAGAIN,
    }
}

/// pwritev2(2) of one piece; at the file's own position, which moves, if `offset` is -1.
pub fn write_at(fd: BorrowedFd<'_>, data: &[u8], offset: i64, flags: i32) -> Result<usize> {
    let piece = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: `piece` spans exactly `data`, which the kernel only reads.
    let n = unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const piece, 1, offset, flags) };
    check(n as libc::c_long)
}

/// fallocate(2).
pub fn fallocate(fd: BorrowedFd<'_>, mode: i32, offset: i64, len: i64) -> Result<()> {
    // SAFETY: no memory is passed.
    check_int(unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset, len) }).map(drop)
}

/// copy_file_range(2); `None` for an offset means the file's own position.
pub fn copy_between(
    from: BorrowedFd<'_>,
    from_at: Option<&mut i64>,
    to: BorrowedFd<'_>,
    to_at: Option<&mut i64>,
    len: usize,
) -> Result<usize> {
    let source = from_at.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    let target = to_at.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: both offsets are NULL or exclusively borrowed for the whole call.
    let n =
        unsafe { libc::copy_file_range(from.as_raw_fd(), source, to.as_raw_fd(), target, len, 0) };
    check(n as libc::c_long)
}

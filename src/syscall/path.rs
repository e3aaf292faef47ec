//! Values read by path: the stat, access, readlink, statfs and getxattr families, and inotify watches.

use super::args::{
    AccessMode, AtFlags, DirFd, Fd, InotifyMask, Int, OptPath, OutBuf, Ptr, Size, UInt, UserName,
    UserPath,
};
use super::plan::stubs;

stubs! {
    stat(UserPath<'_>, OutBuf);
    lstat(UserPath<'_>, OutBuf);
    access(UserPath<'_>, AccessMode);
    readlink(UserPath<'_>, OutBuf, Int);
    statfs(UserPath<'_>, OutBuf);
    getxattr(UserPath<'_>, UserName<'_>, OutBuf, Size);
    lgetxattr(UserPath<'_>, UserName<'_>, OutBuf, Size);
    listxattr(UserPath<'_>, OutBuf, Size);
    llistxattr(UserPath<'_>, OutBuf, Size);
    inotify_add_watch(Fd, UserPath<'_>, InotifyMask);
    newfstatat(DirFd, OptPath<'_>, OutBuf, AtFlags);
    readlinkat(DirFd, UserPath<'_>, OutBuf, Int);
    faccessat(DirFd, UserPath<'_>, AccessMode);
    statx(DirFd, OptPath<'_>, AtFlags, UInt, OutBuf);
    faccessat2(DirFd, UserPath<'_>, AccessMode, AtFlags);
    getxattrat(DirFd, OptPath<'_>, AtFlags, UserName<'_>, Ptr, Size);
    listxattrat(DirFd, OptPath<'_>, AtFlags, OutBuf, Size);
    file_getattr(DirFd, OptPath<'_>, OutBuf, Size, AtFlags);
}

//! Changing attributes: chmod, chown, utimes, truncate, extended attributes, by path and by descriptor.

use super::args::{
    AtFlags, DirFd, Fd, Gid, InBuf, Mode, Off, OptPath, Ptr, Size, Uid, UserName, UserPath,
    XattrFlags,
};
use super::plan::stubs;

stubs! {
    truncate(UserPath<'_>, Off);
    chmod(UserPath<'_>, Mode);
    fchmod(Fd, Mode);
    chown(UserPath<'_>, Uid, Gid);
    fchown(Fd, Uid, Gid);
    lchown(UserPath<'_>, Uid, Gid);
    utime(UserPath<'_>, InBuf);
    setxattr(UserPath<'_>, UserName<'_>, InBuf, Size, XattrFlags);
    lsetxattr(UserPath<'_>, UserName<'_>, InBuf, Size, XattrFlags);
    fsetxattr(Fd, UserName<'_>, InBuf, Size, XattrFlags);
    removexattr(UserPath<'_>, UserName<'_>);
    lremovexattr(UserPath<'_>, UserName<'_>);
    fremovexattr(Fd, UserName<'_>);
    utimes(UserPath<'_>, InBuf);
    fchownat(DirFd, UserPath<'_>, Uid, Gid, AtFlags);
    futimesat(DirFd, OptPath<'_>, InBuf);
    fchmodat(DirFd, UserPath<'_>, Mode);
    utimensat(DirFd, OptPath<'_>, InBuf, AtFlags);
    fchmodat2(DirFd, UserPath<'_>, Mode, AtFlags);
    setxattrat(DirFd, OptPath<'_>, AtFlags, UserName<'_>, Ptr, Size);
    removexattrat(DirFd, OptPath<'_>, AtFlags, UserName<'_>);
    file_setattr(DirFd, OptPath<'_>, InBuf, Size, AtFlags);
}

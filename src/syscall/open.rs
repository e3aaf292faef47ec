//! Path to descriptor: open(2), openat(2), openat2(2), creat(2).

use super::args::{DirFd, Mode, OpenFlags, ResolveHow, Size, UserPath};
use super::plan::stubs;

stubs! {
    open(UserPath<'_>, OpenFlags, Mode);
    creat(UserPath<'_>, Mode);
    openat(DirFd, UserPath<'_>, OpenFlags, Mode);
    openat2(DirFd, UserPath<'_>, ResolveHow, Size);
}

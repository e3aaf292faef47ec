//! The working directory, the umask and directory listings.

use super::args::{CloneFlags, Fd, Mode, OutBuf, Size, UInt, UserPath};
use super::plan::stubs;

stubs! {
    getdents(Fd, OutBuf, UInt);
    getcwd(OutBuf, Size);
    chdir(UserPath<'_>);
    fchdir(Fd);
    umask(Mode);
    getdents64(Fd, OutBuf, UInt);
    unshare(CloneFlags);
}

//! Making, removing and renaming names: mkdir, mknod, rmdir, unlink, rename, link, symlink.

use super::args::{AtFlags, Dev, DirFd, Mode, RenameFlags, UnlinkFlags, UserPath};
use super::plan::stubs;

stubs! {
    rename(UserPath<'_>, UserPath<'_>);
    mkdir(UserPath<'_>, Mode);
    rmdir(UserPath<'_>);
    link(UserPath<'_>, UserPath<'_>);
    unlink(UserPath<'_>);
    symlink(UserPath<'_>, UserPath<'_>);
    mknod(UserPath<'_>, Mode, Dev);
    mkdirat(DirFd, UserPath<'_>, Mode);
    mknodat(DirFd, UserPath<'_>, Mode, Dev);
    unlinkat(DirFd, UserPath<'_>, UnlinkFlags);
    renameat(DirFd, UserPath<'_>, DirFd, UserPath<'_>);
    linkat(DirFd, UserPath<'_>, DirFd, UserPath<'_>, AtFlags);
    symlinkat(UserPath<'_>, DirFd, UserPath<'_>);
    renameat2(DirFd, UserPath<'_>, DirFd, UserPath<'_>, RenameFlags);
}

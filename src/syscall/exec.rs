//! execve(2) and execveat(2).

use super::args::{AtFlags, DirFd, Ptr, UserPath};
use super::plan::stubs;

stubs! {
    execve(UserPath<'_>, Ptr, Ptr);
    execveat(DirFd, UserPath<'_>, Ptr, Ptr, AtFlags);
}

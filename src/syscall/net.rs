//! Socket addresses: connect(2), bind(2), getsockname(2), getpeername(2).

use super::args::{Fd, InBuf, Int, OutBuf, Ptr};
use super::plan::stubs;

stubs! {
    connect(Fd, InBuf, Int);
    bind(Fd, InBuf, Int);
    getsockname(Fd, OutBuf, Ptr);
    getpeername(Fd, OutBuf, Ptr);
}

//! Signals to other processes.

use super::args::{InBuf, Pid, Signal};
use super::plan::stubs;

stubs! {
    kill(Pid, Signal);
    rt_sigqueueinfo(Pid, Signal, InBuf);
    tkill(Pid, Signal);
    tgkill(Pid, Pid, Signal);
    rt_tgsigqueueinfo(Pid, Pid, Signal, InBuf);
}

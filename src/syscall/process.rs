//! Calls that name another process by its pid.

use super::args::{Clock, FcntlCmd, Fd, InBuf, Int, OutBuf, Pid, Ptr, UInt, ULong};
use super::plan::stubs;

stubs! {
    fcntl_setown(Fd, FcntlCmd, ULong);
    setpgid(Pid, Pid);
    getpgid(Pid);
    getsid(Pid);
    capget(Ptr, OutBuf);
    getpriority(Int, Int);
    setpriority(Int, Int, Int);
    sched_setparam(Pid, InBuf);
    sched_getparam(Pid, OutBuf);
    sched_setscheduler(Pid, Int, InBuf);
    sched_getscheduler(Pid);
    sched_rr_get_interval(Pid, OutBuf);
    sched_setaffinity(Pid, UInt, InBuf);
    sched_getaffinity(Pid, UInt, OutBuf);
    timer_create(Clock, InBuf, OutBuf);
    clock_gettime(Clock, OutBuf);
    clock_getres(Clock, OutBuf);
    clock_nanosleep(Clock, Int, InBuf, OutBuf);
    ioprio_set(Int, Int, Int);
    ioprio_get(Int, Int);
    get_robust_list(Pid, OutBuf, OutBuf);
    prlimit64(Pid, UInt, InBuf, OutBuf);
    sched_setattr(Pid, Ptr, UInt);
    sched_getattr(Pid, OutBuf, UInt, UInt);
    pidfd_open(Pid, UInt);
}

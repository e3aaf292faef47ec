//! Scheduling of tasks, sched(7): where they run, and how much.

use super::{Errno, Result, check};

/// No kernel has more CPUs than bits in so many bytes (`CONFIG_NR_CPUS`).
pub const LONGEST_CPU_MASK: usize = 1 << 10;

/// sched_setaffinity(2) with a mask of any length.
pub fn set_affinity(tid: i32, mask: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads at most `len` bytes of the mask.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, tid, mask.len(), mask.as_ptr()) })
        .map(drop)
}

/// sched_getaffinity(2): the mask of a task as the kernel writes it where there is room for `room` bytes.
pub fn affinity(tid: i32, room: usize) -> Result<Vec<u8>> {
    // The kernel looks whether there is room for all CPUs in 32 bits, as many of which are lost as make a byte of bits.
    let seen = room & (u32::MAX >> 3) as usize;
    if seen != room {
        affinity(tid, seen)?;
    }
    // It writes no more than it has CPUs, and refuses part of a word.
    let mut mask = vec![0u8; room.min(LONGEST_CPU_MASK | (room % size_of::<usize>()))];
    // SAFETY: the kernel writes at most `len` bytes to the buffer.
    let n = check(unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            tid,
            mask.len(),
            mask.as_mut_ptr(),
        )
    })?;
    mask.truncate(n as usize);
    Ok(mask)
}

/// sched_setparam(2).
pub fn set_param(tid: i32, priority: i32) -> Result<()> {
    // SAFETY: the kernel reads one int, which is all of `struct sched_param`.
    check(unsafe { libc::syscall(libc::SYS_sched_setparam, tid, &raw const priority) }).map(drop)
}

/// sched_setscheduler(2).
pub fn set_scheduler(tid: i32, policy: i32, priority: i32) -> Result<()> {
    let param = &raw const priority;
    // SAFETY: the kernel reads one int, which is all of `struct sched_param`.
    check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, tid, policy, param) }).map(drop)
}

/// sched_setattr(2). `attr` begins with its size; E2BIG puts the one there that the kernel knows. EINVAL if it isn't as long as it says.
pub fn set_attr(tid: i32, attr: &mut [u8], flags: u32) -> Result<()> {
    let size = attr
        .first_chunk()
        .map(|size| u32::from_ne_bytes(*size) as usize);
    // Sizes out of this range the kernel refuses (E2BIG), but for 0, which stands for 48 (SCHED_ATTR_SIZE_VER0).
    let too_long = |size: usize| (48..=4096).contains(&size) && size > attr.len();
    if attr.len() < 48 || size.is_none_or(too_long) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: of a size between 48 and a page the kernel reads as many bytes, which are there; of any other at most 48. It
    // writes to the first four.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, tid, attr.as_mut_ptr(), flags) })
        .map(drop)
}

/// setpriority(2) of one thread.
pub fn set_nice(tid: i32, nice: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, tid, nice) }).map(drop)
}

/// ioprio_set(2) of one thread.
pub fn set_io_priority(tid: i32, priority: i32) -> Result<()> {
    // IOPRIO_WHO_PROCESS, <linux/ioprio.h>.
    const PROCESS: i32 = 1;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, tid, priority) }).map(drop)
}

//! What signalfd(2) tells of senders.
//!
//! Signals are read from such a descriptor with read(2), which is the kernel's and is caught nowhere. So a process that makes one
//! gets a filter that stops its reads of this very number for the tracer, which translates what they bring. The filter can't
//! be taken off; whoever reuses the number has slower reads. Nothing is guarded by it: all it hides is a number of the host's. A
//! duplicate of the descriptor has another number, and isn't heard.

use super::inject::{Regs, SYSCALL_BYTES, inject};
use super::renumber::sender;
use super::{filter, guard};
use crate::sys::Errno;
use crate::syscall::numbers;
use crate::task::{GuestMem, Registry, Task};

/// Calls that read.
pub(super) const READS: [i64; 2] = [libc::SYS_read, libc::SYS_readv];

/// So many numbers get filters of their own; then there is one for all.
const MANY: usize = 4;

/// At the end of signalfd(2), which has returned `fd`. What the call returns.
pub(super) fn listen(task: &Task, regs: &Regs, fd: i32) -> i64 {
    match task.group.hears(fd, MANY) {
        None => fd.into(),
        Some(which) => match put(task.tid, regs, which) {
            Ok(()) => {
                task.group.heard(which);
                fd.into()
            }
            Err(errno) => {
                // Without a filter it would tell numbers of the host's: better none.
                let close = [fd as u64, 0, 0, 0, 0, 0];
                let _ = inject(
                    task.tid,
                    regs,
                    regs.rip - SYSCALL_BYTES,
                    libc::SYS_close,
                    close,
                );
                -i64::from(errno as i32)
            }
        },
    }
}

fn put(tid: i32, regs: &Regs, which: Option<i32>) -> Result<(), Errno> {
    let program = filter::ears(which).map_err(|_| Errno::ENOSYS)?;
    match guard::place(tid, regs, &program)? {
        0 => Ok(()),
        // Threads with filters of their own: they would not all have it.
        _ => Err(Errno::ENOSYS),
    }
}

/// True for a read of a process with such a filter.
pub(super) fn may_hear(task: &Task, nr: i64) -> bool {
    READS.contains(&nr) && task.group.has_ears()
}

/// True if this read is of signals.
pub(super) fn is_read_of_signals(task: &Task, args: &[u64; 6]) -> bool {
    let [fd, ..] = *args;
    std::fs::read_link(format!("/proc/{}/fd/{}", task.tid, fd as i32))
        .is_ok_and(|link| link.as_os_str() == "anon_inode:[signalfd]")
}

/// At the end of such a read, which has brought `length` bytes.
pub(super) fn tell(
    tasks: &Registry,
    mem: &dyn GuestMem,
    nr: i64,
    args: &[u64; 6],
    length: usize,
) -> Result<(), Errno> {
    let [_, buffer, count, ..] = *args;
    let pieces = match nr {
        libc::SYS_readv => vector(mem, buffer, count)?,
        _ => vec![(buffer, length)],
    };
    let mut bytes = Vec::with_capacity(length);
    for &(at, room) in &pieces {
        let from = bytes.len();
        bytes.resize(length.min(from.saturating_add(room)), 0);
        let piece = bytes.get_mut(from..).unwrap_or_default();
        if mem.read(at, piece)? != piece.len() {
            return Err(Errno::EFAULT);
        }
    }
    let mut changed = false;
    for record in bytes.chunks_exact_mut(numbers::SIGNALFD_RECORD) {
        changed |= numbers::tell_signalfd(record, |pid, who| sender(tasks, pid, who));
    }
    let mut rest = bytes.as_slice();
    for (at, room) in pieces.into_iter().filter(|_| changed) {
        let (piece, after) = rest.split_at(room.min(rest.len()));
        mem.write(at, piece)?;
        rest = after;
    }
    Ok(())
}

/// The pieces of readv(2).
fn vector(mem: &dyn GuestMem, at: u64, count: u64) -> Result<Vec<(u64, usize)>, Errno> {
    const UIO_MAXIOV: u64 = 1024;
    let mut bytes = vec![0; count.min(UIO_MAXIOV) as usize * 16];
    if mem.read(at, &mut bytes)? != bytes.len() {
        return Err(Errno::EFAULT);
    }
    let words = bytes.chunks_exact(8);
    let words: Vec<u64> = words
        .map(|w| w.try_into().map_or(0, u64::from_ne_bytes))
        .collect();
    let pairs = words.chunks_exact(2);
    Ok(pairs
        .filter_map(|pair| Some((*pair.first()?, *pair.get(1)? as usize)))
        .collect())
}

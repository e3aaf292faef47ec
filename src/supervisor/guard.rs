//! The guard: a second filter, for a process that is about to make a unix datagram socket.
//!
//! Such a socket reaches any file of the host by an address that sendmsg(2) takes from memory, and no filter can tell
//! sockets apart. So from then on the process's calls that send and receive with addresses are caught; everybody
//! else's stay the kernel's. Two things make that enough:
//! * Whoever has such a socket is guarded. It is made in a guarded process only; children inherit both; a message that
//!   would carry one elsewhere is sent by us, and refused (`syscall::send`). A process that shares its table of
//!   descriptors with one that isn't guarded gets none.
//! * The guard is the one that we wrote. The kernel reads it from the guest's memory, so everybody who could write there is
//!   stopped meanwhile, and what the call came to is not believed but counted: the filters of each thread.

use super::inject::{Regs, SYSCALL_BYTES, inject, inject_with};
use super::{Shared, filter, renumber};
use crate::sys::{self, Errno, process as sp};
use crate::syscall::net;
use crate::syscall::table;
use crate::task::{GuestMem, Mm, Receipt, Task};
use crate::vfs::Vfs;
use nix::sys::ptrace;
use nix::unistd::Pid;
use procfs::process::Process;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long others may take to stop: they do at once, unless they wait for a disk.
const PATIENCE: Duration = Duration::from_secs(2);

const PAGE: u64 = 4096;

/// At the end of socket(2), which has done nothing yet: puts the guard on the process, and stands it before the call
/// again. If that can't be, the call has failed.
pub(super) fn put(shared: &Shared, task: &Task) -> nix::Result<()> {
    let pid = Pid::from_raw(task.tid);
    let mut regs = ptrace::getregs(pid)?;
    match on_all_threads(shared, task, &regs) {
        Ok(()) => {
            regs.rip -= SYSCALL_BYTES;
            regs.rax = regs.orig_rax;
        }
        Err(errno) => {
            if let Some(log) = &shared.log {
                log.event(task.number, &format!("no guard: {}", errno.desc()));
            }
            regs.rax = -i64::from(libc::EACCES) as u64;
        }
    }
    regs.orig_rax = u64::MAX;
    ptrace::setregs(pid, regs)
}

fn on_all_threads(shared: &Shared, task: &Task, regs: &Regs) -> Result<(), Errno> {
    if task.group.is_guarded() {
        return Ok(());
    }
    let all = shared.tasks.all();
    let ours = |t: &Task| t.group.tgid == task.group.tgid;
    let strangers = all.iter().filter(|t| !ours(t));
    if strangers
        .clone()
        .any(|t| all.iter().any(|own| ours(own) && own.shares_files(t)))
    {
        return Err(Errno::EPERM);
    }
    for other in all.iter().filter(|t| t.tid != task.tid) {
        if ours(other) || other.group.shares_memory(&task.group) {
            hold(shared, other)?;
        }
    }
    let before = filters(task.tid)?;
    // Counted below, and not believed.
    let program = filter::guard().map_err(|_| Errno::EINVAL)?;
    place(task.tid, regs, &program)?;
    for own in all.iter().filter(|t| ours(t) && !t.is_dead()) {
        match filters(own.tid) {
            Ok(count) if count == before + 1 => {}
            // It has ended.
            Err(Errno::ESRCH) => {}
            _ if sp::is_dead(own.tid) => {}
            // A filter of the guest's own has answered, or stands on one thread alone.
            _ => return Err(Errno::EBUSY),
        }
    }
    task.group.set_guarded(before + 1);
    Ok(())
}

/// Waits until a thread runs no instruction of its own, nor a call of the kernel's that could write to its memory. It
/// goes on at the stop that this asks for, which the tracer finds in its turn.
fn hold(shared: &Shared, other: &Arc<Task>) -> Result<(), Errno> {
    let since = Instant::now();
    // ESRCH: it is dead, or stopped already.
    let _ = sp::ptrace_interrupt(other.tid);
    while !is_still(shared, other.tid) {
        if since.elapsed() > PATIENCE {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

fn is_still(shared: &Shared, tid: i32) -> bool {
    let state = Process::new(tid).and_then(|p| p.stat()).map(|s| s.state);
    match state {
        Ok('t' | 'T' | 'Z' | 'X') => true,
        // It waits for our answer, or for its child (vfork(2)); then it comes to the stop.
        Ok('D') => waits_for_us(shared, tid),
        Ok(_) => false,
        // It is gone.
        Err(_) => true,
    }
}

/// True if a thread sleeps in a call that the listener has received, or in vfork(2).
fn waits_for_us(shared: &Shared, tid: i32) -> bool {
    // proc(5), /proc/PID/syscall: number and arguments, or "running".
    let Ok(text) = std::fs::read_to_string(format!("/proc/{tid}/syscall")) else {
        return false;
    };
    let mut words = text.split_whitespace();
    let Some(nr) = words.next().and_then(|w| w.parse::<i64>().ok()) else {
        return false;
    };
    let mut args = [0u64; 6];
    for arg in &mut args {
        let word = words.next().and_then(|w| w.strip_prefix("0x"));
        *arg = word
            .and_then(|w| u64::from_str_radix(w, 16).ok())
            .unwrap_or(0);
    }
    let nr = u32::try_from(nr).unwrap_or(u32::MAX);
    let [flags, ..] = args;
    match table::row(nr) {
        Some(row) => {
            row.is_notified(shared.net, shared.tasks.renumbers(), &args)
                || i64::from(nr) == libc::SYS_vfork
                || i64::from(nr) == libc::SYS_clone && flags & libc::CLONE_VFORK as u64 != 0
        }
        None => nr == filter::EXEC_PRIVATE || filter::guarded_number(nr).is_some(),
    }
}

/// Has the guest install a filter for all its threads. What the call says, which its own filters may have answered.
pub(super) fn place(tid: i32, regs: &Regs, program: &[libc::sock_filter]) -> Result<i64, Errno> {
    let at = regs.rip - SYSCALL_BYTES;
    // Where nobody expects it: a call that one of the others has begun may still write somewhere.
    let hint = 0x1000_0000_0000 + (RandomState::new().build_hasher().finish() >> 20 & !(PAGE - 1));
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
    let base = inject(
        tid,
        regs,
        at,
        libc::SYS_mmap,
        [hint, PAGE, prot, flags, u64::MAX, 0],
    )?;
    if base.cast_unsigned() != hint {
        return Err(Errno::ENOMEM);
    }
    // struct sock_fprog: length, padding, pointer; then the instructions.
    let mut image = Vec::with_capacity(16 + program.len() * 8);
    image.extend_from_slice(&(program.len() as u64).to_ne_bytes());
    image.extend_from_slice(&(hint + 16).to_ne_bytes());
    for one in program {
        image.extend_from_slice(&one.code.to_ne_bytes());
        image.extend_from_slice(&[one.jt, one.jf]);
        image.extend_from_slice(&one.k.to_ne_bytes());
    }
    let mode = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    let sync = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // Written when the call has been entered: until then even this thread is the guest's.
    let said = inject_with(
        tid,
        regs,
        at,
        libc::SYS_seccomp,
        [mode, sync, hint, 0, 0, 0],
        || Mm::new(tid).write(hint, &image),
    )?;
    inject(tid, regs, at, libc::SYS_munmap, [hint, PAGE, 0, 0, 0, 0])?;
    Ok(said)
}

/// How many filters a thread has (proc(5), `Seccomp_filters`, Linux 5.9).
pub(super) fn filters(tid: i32) -> Result<u32, Errno> {
    let status =
        std::fs::read_to_string(format!("/proc/{tid}/status")).map_err(|_| Errno::ESRCH)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp_filters:"))
        .and_then(|count| count.trim().parse().ok())
        .ok_or(Errno::ENOSYS)
}

/// Messages of recvmmsg(2) that the kernel takes (`UIO_MAXIOV`).
const MAX_MESSAGES: u64 = 1024;

/// At the stop of a call that sends, receives or accepts. One that sends goes on to the listener, under another number.
/// The others run as they are, and the addresses that they bring are changed at their end: what they tell could be
/// told to anybody, so that nothing is lost if the guest changes its memory meanwhile.
pub(super) fn at_stop(task: &Task, nr: u32, args: &[u64; 6]) -> nix::Result<()> {
    let pid = Pid::from_raw(task.tid);
    if let Some(private) = filter::private_number(nr) {
        let mut regs = ptrace::getregs(pid)?;
        regs.orig_rax = u64::from(private);
        ptrace::setregs(pid, regs)?;
        return sp::ptrace_resume(task.tid, false, 0);
    }
    let mm = task.group.mm();
    let [_, second, third, _, fifth, sixth] = *args;
    let receipts: Vec<Receipt> = match i64::from(nr) {
        libc::SYS_recvfrom => by_value(&*mm, fifth, sixth).into_iter().collect(),
        libc::SYS_recvmsg => in_header(&*mm, second).into_iter().collect(),
        // struct mmsghdr is a header of 56 bytes, a length and padding.
        libc::SYS_recvmmsg => (0..third.min(MAX_MESSAGES))
            .map_while(|i| in_header(&*mm, second.checked_add(i * 64)?))
            .collect(),
        _ => by_value(&*mm, second, third)
            .map(|receipt| Receipt {
                of_peer: true,
                ..receipt
            })
            .into_iter()
            .collect(),
    };
    let to_the_end = !receipts.is_empty();
    task.set_receipts(receipts);
    sp::ptrace_resume(task.tid, to_the_end, 0)
}

/// An address with a pointer to its length, which says how much room there is.
fn by_value(mem: &dyn GuestMem, name: u64, length: u64) -> Option<Receipt> {
    let mut room = [0u8; 4];
    let whole = mem.read(length, &mut room) == Ok(room.len());
    let room = usize::try_from(i32::from_ne_bytes(room)).ok()?;
    (whole && name != 0).then_some(Receipt {
        name,
        room,
        length,
        of_peer: false,
        header: 0,
    })
}

/// The address that a `struct msghdr` has room for. Without a pointer there is none, but others may follow.
fn in_header(mem: &dyn GuestMem, header: u64) -> Option<Receipt> {
    let mut start = [0u8; 12];
    if mem.read(header, &mut start) != Ok(start.len()) {
        return None;
    }
    let (name, room) = start.split_first_chunk::<8>()?;
    let name = u64::from_ne_bytes(*name);
    let room = i32::from_ne_bytes(room.try_into().ok()?);
    Some(Receipt {
        name,
        room: if name == 0 {
            0
        } else {
            usize::try_from(room).unwrap_or(0)
        },
        length: header.checked_add(8)?,
        of_peer: false,
        header,
    })
}

/// At the end of such a call: what the kernel has written becomes what the view calls it.
pub(super) fn at_end(shared: &Shared, task: &Task, receipts: &[Receipt], result: i64) {
    let vfs = shared.vfs();
    if result < 0 {
        return;
    }
    // recvmmsg(2) returns how many there are; the others have one.
    let count = if receipts.len() == 1 {
        1
    } else {
        result as usize
    };
    let mm = task.group.mm();
    for receipt in receipts.iter().take(count) {
        // What can't be read or written is the guest's own loss.
        let _ = if receipt.of_peer {
            retell_peer(vfs, task, &*mm, receipt, result)
        } else {
            retell(vfs, &*mm, receipt)
        };
        if receipt.header != 0 && shared.tasks.renumbers() {
            let _ = renumber::tell_credentials(&shared.tasks, &*mm, receipt.header);
        }
    }
}

/// Of a connection just accepted, the whole address can be asked for.
fn retell_peer(
    vfs: &Vfs,
    task: &Task,
    mem: &dyn GuestMem,
    receipt: &Receipt,
    fd: i64,
) -> Result<(), Errno> {
    let socket = task.descriptor(fd as i32)?;
    let mut address = [0u8; 128];
    let full = sys::socket::name(socket.as_fd(), true, &mut address)?;
    let address = address.get(..full.min(128)).unwrap_or_default();
    tell(mem, receipt, address, net::in_view(vfs, address, false))
}

fn retell(vfs: &Vfs, mem: &dyn GuestMem, receipt: &Receipt) -> Result<(), Errno> {
    let mut length = [0u8; 4];
    if mem.read(receipt.length, &mut length)? != length.len() {
        return Err(Errno::EFAULT);
    }
    let full = u32::from_ne_bytes(length) as usize;
    let there = full.min(receipt.room).min(128);
    let mut address = [0u8; 128];
    let address = address.get_mut(..there).unwrap_or_default();
    if mem.read(receipt.name, address)? != there {
        return Err(Errno::EFAULT);
    }
    let mut told = net::in_view(vfs, address, there < full);
    if told.len() == 2 && there > 2 {
        // Of a sender without a name the kernel tells no address, not even the family.
        told.clear();
    }
    tell(mem, receipt, address, told)
}

fn tell(mem: &dyn GuestMem, receipt: &Receipt, was: &[u8], is: Vec<u8>) -> Result<(), Errno> {
    if was == is {
        return Ok(());
    }
    let fits = is.get(..is.len().min(receipt.room)).unwrap_or_default();
    mem.write(receipt.name, fits)?;
    mem.write(receipt.length, &(is.len() as u32).to_ne_bytes())
}

//! System calls that a stopped guest makes for us, because only it can: placing a script's arguments,
//! taking a descriptor out of a message, naming a fresh program.
//!
//! Its own filters may fake the results, and its other threads may change the memory, so nothing is
//! believed that matters: at worst a descriptor stays open, a name is wrong, or an exec fails.

use crate::sys::{Errno, process as sp};
use crate::task::{GuestMem, Handover, Mm, Task};
use nix::sys::ptrace;
use nix::unistd::Pid;
use std::time::Duration;

pub(super) type Regs = libc::user_regs_struct;

/// Length of the `syscall` instruction.
pub(super) const SYSCALL_BYTES: u64 = 2;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Places a script's argument vector in fresh memory of the guest: below the stack there may be
/// other data (Go, coroutines), and a vfork child shares it all with its parent.
pub(super) fn place_arguments(
    task: &Task,
    regs: &Regs,
    first: &[Vec<u8>],
    rest: u64,
) -> Result<u64, Errno> {
    let mm = Mm::new(task.group.tgid);
    let mut pointers: Vec<u64> = Vec::new();
    let mut at = rest;
    while at != 0 {
        let mut word = [0u8; 8];
        if mm.read(at, &mut word)? < word.len() {
            return Err(Errno::EFAULT);
        }
        let pointer = u64::from_ne_bytes(word);
        if pointer == 0 {
            break;
        }
        pointers.push(pointer);
        // MAX_ARG_STRINGS of the kernel is larger than any vector that fits the stack limit.
        if pointers.len() > 1 << 20 {
            return Err(Errno::E2BIG);
        }
        at += 8;
    }
    let strings: usize = first.iter().map(Vec::len).sum();
    let size = (first.len() + pointers.len() + 1) * 8 + strings;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let base = inject(
        task.tid,
        regs,
        regs.rip - SYSCALL_BYTES,
        libc::SYS_mmap,
        [0, size as u64, prot, flags, u64::MAX, 0],
    )?;
    let base = u64::try_from(base).map_err(|_| Errno::ENOMEM)?;
    let mut text_at = base + ((first.len() + pointers.len() + 1) * 8) as u64;
    let mut block: Vec<u8> = Vec::with_capacity(size);
    for word in first {
        block.extend_from_slice(&text_at.to_ne_bytes());
        text_at += word.len() as u64;
    }
    pointers.push(0);
    pointers
        .iter()
        .for_each(|p| block.extend_from_slice(&p.to_ne_bytes()));
    first.iter().for_each(|word| block.extend_from_slice(word));
    mm.write(base, &block)?;
    Ok(base)
}

/// Runs one harmless system call in a stopped guest and restores its registers. Its own filters
/// may fake the result, so nothing is believed of it that matters: at worst a descriptor stays
/// open, or the exec fails.
///
/// `rip` is the address of a `syscall` instruction. The guest goes back to user mode for it, and there the
/// code is its own: another thread may have overwritten the instruction, and in a restartable sequence (rseq(2))
/// the kernel goes on elsewhere, with our registers. So the call is looked at as it is entered, from where no instruction of
/// the guest's runs any more; what enters another one, or does anything else, is killed (ESRCH).
pub(super) fn inject(tid: i32, regs: &Regs, rip: u64, nr: i64, args: [u64; 6]) -> nix::Result<i64> {
    inject_with(tid, regs, rip, nr, args, || Ok(()))
}

/// [`inject`], and `ready` is done when the call has been entered: what the kernel reads from memory must be written there.
pub(super) fn inject_with(
    tid: i32,
    regs: &Regs,
    rip: u64,
    nr: i64,
    args: [u64; 6],
    ready: impl FnOnce() -> Result<(), Errno>,
) -> nix::Result<i64> {
    let pid = Pid::from_raw(tid);
    let [rdi, rsi, rdx, r10, r8, r9] = args;
    let call = Regs {
        rip,
        rax: nr as u64,
        orig_rax: u64::MAX,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..*regs
    };
    let blocked = sp::ptrace_get_sigmask(tid)?;
    sp::ptrace_set_sigmask(tid, u64::MAX)?;
    ptrace::setregs(pid, call)?;
    let mut held = None;
    let value = run(tid, nr as u64, args, ready, &mut held).inspect_err(|_| {
        // Dead already, or it must not go on. An error of the second kind is that it is just dying.
        let _ = sp::tgkill_any(tid, libc::SIGKILL);
    })?;
    sp::ptrace_set_sigmask(tid, blocked)?;
    ptrace::setregs(pid, *regs)?;
    if let Some(signal) = held {
        sp::tgkill_any(tid, signal)?;
    }
    Ok(value)
}

/// True if the guest's memory still has the `syscall` instruction that it came by.
pub(super) fn is_at_call(tid: i32, regs: &Regs) -> bool {
    let mut code = [0u8; SYSCALL_BYTES as usize];
    let read = Mm::new(tid).read(regs.rip.wrapping_sub(SYSCALL_BYTES), &mut code);
    read == Ok(code.len()) && code == SYSCALL
}

fn run(
    tid: i32,
    nr: u64,
    args: [u64; 6],
    ready: impl FnOnce() -> Result<(), Errno>,
    held: &mut Option<i32>,
) -> nix::Result<i64> {
    to_syscall_stop(tid, held, false)?;
    if sp::syscall_entry(tid)? != (nr, args) {
        return Err(Errno::ESRCH);
    }
    ready()?;
    to_syscall_stop(tid, held, true)?;
    Ok(ptrace::getregs(Pid::from_raw(tid))?.rax as i64)
}

/// Lets a task run to its next system call stop. Stop signals, which can't be blocked, wait in `held`. ESRCH for whatever else
/// happens on the way: signals are blocked, so it is the guest's doing.
fn to_syscall_stop(tid: i32, held: &mut Option<i32>, entered: bool) -> nix::Result<()> {
    const STOPS: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    loop {
        sp::ptrace_resume(tid, true, 0)?;
        let stop = sp::wait_for(tid, PATIENCE)?;
        match (stop.event, stop.signal) {
            (0, signal) if signal == libc::SIGTRAP | 0x80 => return Ok(()),
            (0 | libc::PTRACE_EVENT_STOP, signal) if STOPS.contains(&signal) => {
                *held = Some(signal);
            }
            (libc::PTRACE_EVENT_STOP, _) => {}
            // A filter of the guest's own asks for a tracer: it has us, and the call goes on.
            (libc::PTRACE_EVENT_SECCOMP, _) if entered => {}
            _ => return Err(Errno::ESRCH),
        }
    }
}

/// For a call that never sleeps.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has a guest receive the descriptor that waits for it in a socket, as the result of the call that
/// it is at the end of. What it could do meanwhile, from another thread, is to take the descriptor
/// early or to lie about its number: it is meant for it, and the number is its own affair.
pub(super) fn take_descriptor(tid: i32, handover: Handover) -> nix::Result<()> {
    let pid = Pid::from_raw(tid);
    let mut regs = ptrace::getregs(pid)?;
    let at = regs.rip - SYSCALL_BYTES;
    let result = receive(tid, &regs, at, handover).unwrap_or_else(|errno| -i64::from(errno as i32));
    inject(
        tid,
        &regs,
        at,
        libc::SYS_close,
        [handover.socket as u64, 0, 0, 0, 0, 0],
    )?;
    regs.rax = result as u64;
    ptrace::setregs(pid, regs)
}

fn receive(tid: i32, regs: &Regs, at: u64, handover: Handover) -> Result<i64, Errno> {
    const PAGE: u64 = 4096;
    let mm = Mm::new(tid);
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let base = inject(
        tid,
        regs,
        at,
        libc::SYS_mmap,
        [0, PAGE, prot, private, u64::MAX, 0],
    )?;
    let base = u64::try_from(base).map_err(|_| Errno::ENOMEM)?;
    // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags; then one iovec; then
    // room for struct cmsghdr (16 bytes) and one int.
    let (iov, control, text) = (base + 64, base + 128, base + 256);
    let header: [u64; 10] = [0, 0, iov, 1, control, 24, 0, 0, text, 1];
    let bytes: Vec<u8> = header.iter().flat_map(|w| w.to_ne_bytes()).collect();
    mm.write(base, &bytes)?;
    let mut flags = libc::MSG_DONTWAIT;
    if handover.cloexec {
        flags |= libc::MSG_CMSG_CLOEXEC;
    }
    let args = [handover.socket as u64, base, flags as u64, 0, 0, 0];
    let received = inject(tid, regs, at, libc::SYS_recvmsg, args)?;
    let mut answer = [0u8; 20];
    let mut length = [0u8; 8];
    mm.read(control, &mut answer)?;
    mm.read(base + 40, &mut length)?;
    inject(tid, regs, at, libc::SYS_munmap, [base, PAGE, 0, 0, 0, 0])?;
    if received < 0 {
        return Ok(received);
    }
    // No number was free: the kernel drops the descriptor and cuts the message (MSG_CTRUNC).
    if u64::from_ne_bytes(length) < 20 {
        return Err(Errno::EMFILE);
    }
    let number = answer
        .get(16..)
        .and_then(|n| n.try_into().ok())
        .ok_or(Errno::EFAULT)?;
    Ok(i32::from_ne_bytes(number).into())
}

/// Gives a new program its name by prctl(2), run from the `syscall` instruction in its vDSO. The name
/// is put below the red zone of its fresh stack.
pub(super) fn set_name(tid: i32, regs: &Regs, name: &[u8]) -> nix::Result<()> {
    const AT_SYSINFO_EHDR: u64 = 33;
    let vdso = Auxv::of(tid).map_err(|_| Errno::EIO)?.get(AT_SYSINFO_EHDR);
    let mut code = vec![0u8; 8192];
    let n = Mm::new(tid).read(vdso, &mut code)?;
    let syscall = code
        .get(..n)
        .unwrap_or_default()
        .windows(2)
        .position(|w| w == SYSCALL);
    let rip = vdso + syscall.ok_or(Errno::ENOEXEC)? as u64;
    // TASK_COMM_LEN is 16, the NUL included; prctl(2) cuts longer ones.
    let mut text = name.get(..name.len().min(15)).unwrap_or_default().to_vec();
    text.push(0);
    let at = regs.rsp - 128 - 32;
    Mm::new(tid).write(at, &text)?;
    inject(
        tid,
        regs,
        rip,
        libc::SYS_prctl,
        [libc::PR_SET_NAME as u64, at, 0, 0, 0, 0],
    )
    .map(drop)
}

/// The auxiliary vector of a program, getauxval(3).
pub(super) struct Auxv(Vec<u8>);

impl Auxv {
    /// That of `tid`.
    pub(super) fn of(tid: i32) -> Result<Self, &'static str> {
        // proc(5): some twenty pairs of words.
        let mut words = vec![0u8; 1024];
        let n = std::fs::File::open(format!("/proc/{tid}/auxv"))
            .and_then(|mut file| std::io::Read::read(&mut file, &mut words))
            .map_err(|_| "auxv can't be read")?;
        words.truncate(n);
        Ok(Self(words))
    }

    /// The word of this kind; 0 if it isn't there.
    pub(super) fn get(&self, wanted: u64) -> u64 {
        let mut words = self
            .0
            .chunks_exact(8)
            .map(|w| w.try_into().map_or(0, u64::from_ne_bytes));
        while let (Some(kind), Some(value)) = (words.next(), words.next()) {
            if kind == wanted {
                return value;
            }
        }
        0
    }
}

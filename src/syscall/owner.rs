//! Who gets SIGIO of a descriptor: fcntl(2) `F_SETOWN`, `F_SETOWN_EX`, and what sockets have in their place.
//!
//! sbox makes these calls, on its copy of the descriptor, which is the same open file description: between a look and the call a number
//! in memory could change, and one in a register come to mean somebody else.
//!
//! Who may not signal everybody names no process group: others may come into it.

use super::args::{FcntlCmd, Fd, Int, IoctlCmd, Ptr, ULong};
use super::flags::fcntl as f;
use super::plan::{Act, Cx, Errno, Owner, Plan};
use super::signal::Reach;
use crate::sys;
use crate::task::Names;
use std::os::fd::{AsFd, OwnedFd};

/// fcntl(2), commands that name an owner.
pub fn fcntl<'a>(cx: &Cx<'a>, fd: Fd, cmd: FcntlCmd, arg: ULong) -> Result<Plan<'a>, Errno> {
    let file = cx.task.descriptor(fd.0)?;
    if cmd.0 != f::F_SETOWN_EX {
        return signed(cx, file, Int::from_register(arg.0).0);
    }
    // struct f_owner_ex: what sort of owner, and its number.
    let [kind, number] = ints(cx, arg.0)?;
    if !(Owner::THREAD..=Owner::GROUP).contains(&kind) {
        return Err(Errno::EINVAL);
    }
    owned(cx, file, kind, number)
}

/// ioctl(2) `FIOSETOWN`, `SIOCSPGRP`: `F_SETOWN` for sockets, with the number in memory.
pub fn ioctl<'a>(cx: &Cx<'a>, fd: Fd, _: IoctlCmd, arg: Ptr) -> Result<Plan<'a>, Errno> {
    let file = cx.task.descriptor(fd.0)?;
    if sys::fs::status_flags(file.as_fd())? & libc::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if sys::fs::fstat(file.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Errno::ENOTTY);
    }
    let [number] = ints(cx, arg.0)?;
    signed(cx, file, number)
}

/// A process or, negative, a process group.
fn signed<'a>(cx: &Cx<'a>, file: OwnedFd, number: i32) -> Result<Plan<'a>, Errno> {
    match number {
        0.. => owned(cx, file, Owner::PROCESS, number),
        // The least has no counterpart above 0.
        _ => owned(
            cx,
            file,
            Owner::GROUP,
            number.checked_neg().ok_or(Errno::EINVAL)?,
        ),
    }
}

fn ints<const N: usize>(cx: &Cx<'_>, addr: u64) -> Result<[i32; N], Errno> {
    let bytes = cx.bytes(addr, N * size_of::<i32>())?;
    let mut words = bytes.chunks_exact(size_of::<i32>());
    Ok(std::array::from_fn(|_| {
        let word = words.next().and_then(|word| word.try_into().ok());
        word.map_or(0, i32::from_ne_bytes)
    }))
}

/// Sets one; 0 is nobody. DIFFERS: one that has ended and waits for its parent is nobody, too.
fn owned<'a>(cx: &Cx<'a>, file: OwnedFd, kind: i32, number: i32) -> Result<Plan<'a>, Errno> {
    let reach = Reach::of(cx);
    let owner = match (kind, number) {
        (_, 0) => None,
        (_, ..0) => return Err(Errno::ESRCH),
        (Owner::GROUP, _) => {
            let host = cx.tasks.meant(number, Names::Group);
            let in_it = |tid: i32| sys::process::getpgid(tid) == Ok(host);
            // The group that sbox is in has others in it.
            if in_it(0) {
                return Err(Errno::ESRCH);
            }
            let member = cx.tasks.all().into_iter().find(|task| in_it(task.tid));
            let member = member.ok_or(Errno::ESRCH)?;
            if !reach.is_everybody() {
                return Ok(Plan::act(Act::OutOfReach));
            }
            Some((member, host))
        }
        _ => {
            let task = super::others::one(cx, number)?;
            let host = task.tid;
            if !reach.has(host) {
                return Ok(Plan::act(Act::OutOfReach));
            }
            Some((task, host))
        }
    };
    Ok(Plan::act(Act::SetOwner {
        file,
        owner: Owner { kind, owner },
    }))
}

//! The last look at an exec: is what the kernel has loaded what was approved?
//!
//! Done at the exec stop, before the first instruction of the new program. Whatever other threads did to the
//! path, the descriptor or the arguments meanwhile ends here.

use super::inject::Auxv;
use crate::policy::arguments::Reach;
use crate::sys;
use crate::task::{ArgumentLimit, ExecPlan, GuestMem, Mm, read_strings};
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Compares what was loaded with what was approved.
pub(super) fn loaded_as_planned(tid: i32, plan: &ExecPlan) -> Result<(), &'static str> {
    let exe =
        std::fs::metadata(format!("/proc/{tid}/exe")).map_err(|_| "the program can't be seen")?;
    let inode = |m: &std::fs::Metadata| {
        use std::os::unix::fs::MetadataExt;
        (m.dev(), m.ino())
    };
    if inode(&exe) != plan.program {
        return Err("another program was loaded than approved");
    }
    // The same program may run by way of a script of the host, whose first line it would then see:
    // the kernel remembers what it was asked for.
    const AT_EXECFN: u64 = 31;
    let mut asked = match &plan.by_path {
        Some(path) => path.clone(),
        None => format!("/dev/fd/{}", plan.slot).into_bytes(),
    };
    asked.push(0);
    let mut found = vec![0u8; asked.len()];
    let auxv = Auxv::of(tid)?;
    let at = auxv.get(AT_EXECFN);
    if Mm::new(tid).read(at, &mut found) != Ok(asked.len()) || found != asked {
        return Err("the program was loaded by another path");
    }
    if !plan.limits.is_empty() && !has_arguments(tid, &plan.limits) {
        return Err("its arguments were changed to some that a rule doesn't allow");
    }
    let Some(approved) = &plan.mapped else {
        return Ok(());
    };
    // A guest that can write to its program can give it another interpreter, or a first one: nothing else
    // than what was approved may have been mapped, at whatever address.
    let mapped = sys::mem::mapped_files(&format!("/proc/{tid}/maps"))
        .ok_or("what is mapped can't be seen")?;
    let is_mapped = |file: &(u64, u64)| mapped.iter().any(|one| one.file == *file);
    if !mapped.iter().all(|one| approved.contains(&one.file)) {
        return Err("something was mapped that was not approved");
    }
    if !approved.iter().all(is_mapped) {
        return Err("not all of what was approved is mapped");
    }
    Ok(())
}

/// Whether the arguments on the new program's stack are allowed. Nobody else can write there: its memory is its own, and
/// it has one thread, which stands.
fn has_arguments(tid: i32, limits: &[ArgumentLimit]) -> bool {
    let Ok(regs) = ptrace::getregs(Pid::from_raw(tid)) else {
        return false;
    };
    let mm = Mm::new(tid);
    limits.iter().all(|limit| {
        let reach = limit.arguments.reach();
        let whole = Reach {
            count: reach.count + limit.from,
            ..reach
        };
        // The System V ABI, "Initial Process Stack": argc, then argv.
        let argv = regs.rsp.checked_add(8);
        let all = argv.map(|argv| read_strings(&mm, argv, whole));
        match all {
            Some(Ok(all)) => all
                .get(limit.from..)
                .is_some_and(|given| limit.arguments.allow(given)),
            _ => false,
        }
    })
}

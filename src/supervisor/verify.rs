//! The last look at an exec: is what the kernel has loaded what was approved?
//!
//! Done at the exec stop, before the first instruction of the new program. Whatever other threads did to the
//! path, the descriptor or the arguments meanwhile ends here.

use super::inject::Auxv;
use crate::sys;
use crate::task::{ExecPlan, GuestMem, Mm};

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
    /// Where the ELF interpreter was mapped; 0 for static programs.
    const AT_BASE: u64 = 7;
    match (auxv.get(AT_BASE), plan.interpreter) {
        (0, None) => Ok(()),
        (base, Some(approved)) if base != 0 => {
            let found = sys::mem::mapped_at(&format!("/proc/{tid}/maps"), base)
                .ok_or("the interpreter can't be seen")?;
            if found == approved {
                Ok(())
            } else {
                Err("another interpreter was loaded than approved")
            }
        }
        _ => Err("an interpreter was loaded that was not approved, or none at all"),
    }
}

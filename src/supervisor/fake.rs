//! The action `fake`: what a call answers that never reaches the kernel.

use crate::policy::lang::Fake;
use crate::sys::Errno;
use crate::task::GuestMem;

/// The answer. A time is written where the call wants it.
pub(super) fn answer(
    mem: &dyn GuestMem,
    nr: u32,
    registers: &[u64; 6],
    fake: Fake,
) -> Result<i64, Errno> {
    let (seconds, nanoseconds) = match fake {
        Fake::Result(value) => return Ok(value),
        Fake::Time(seconds, nanoseconds) => (seconds, i64::from(nanoseconds)),
    };
    let [first, second, ..] = *registers;
    match i64::from(nr) {
        // time(2): the result, and behind the pointer, if there is one.
        libc::SYS_time => {
            if first != 0 {
                mem.write(first, &seconds.to_ne_bytes())?;
            }
            Ok(seconds)
        }
        // gettimeofday(2): struct timeval, and the zone of a kernel that knows none.
        libc::SYS_gettimeofday => {
            if first != 0 {
                write_pair(mem, first, seconds, nanoseconds / 1000)?;
            }
            if second != 0 {
                mem.write(second, &[0; 8])?;
            }
            Ok(0)
        }
        // clock_gettime(2): struct timespec.
        _ => write_pair(mem, second, seconds, nanoseconds).map(|()| 0),
    }
}

fn write_pair(mem: &dyn GuestMem, at: u64, first: i64, second: i64) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    let (a, b) = bytes.split_at_mut(8);
    a.copy_from_slice(&first.to_ne_bytes());
    b.copy_from_slice(&second.to_ne_bytes());
    mem.write(at, &bytes)
}

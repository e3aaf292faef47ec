//! Another process's memory.

use super::{Result, check};

/// process_vm_readv(2): fills `buf` from address `addr` of task `tid`; returns the bytes read,
/// fewer than asked where the guest's mapping ends (process_vm_readv(2), "partial transfers").
pub fn read(tid: i32, addr: u64, buf: &mut [u8]) -> Result<usize> {
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut _,
        iov_len: buf.len(),
    };
    // SAFETY: `local` spans exactly `buf`, borrowed mutably for the whole call. `remote` is an
    // address in the guest: the kernel checks it (EFAULT), we never touch it.
    check(unsafe { libc::process_vm_readv(tid, &local, 1, &remote, 1, 0) } as libc::c_long)
}

/// process_vm_writev(2): copies `data` to address `addr` of task `tid`; returns the bytes written.
///
/// Unlike `/proc/PID/mem` it respects read-only pages, as the kernel's own copy-out would.
pub fn write(tid: i32, addr: u64, data: &[u8]) -> Result<usize> {
    let local = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut _,
        iov_len: data.len(),
    };
    // SAFETY: `local` spans exactly `data`, which the kernel only reads. `remote` is an address
    // in the guest: the kernel checks it, we never touch it.
    check(unsafe { libc::process_vm_writev(tid, &local, 1, &remote, 1, 0) } as libc::c_long)
}

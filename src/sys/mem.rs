//! Another process's memory, and what kernel objects two of them share.

use super::{Errno, Result, check};

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

/// kcmp(2): how two tasks' kernel objects of this kind compare. A `slot` takes the place of the second index.
pub fn kcmp(
    [first, second]: [i32; 2],
    kind: i32,
    indices: [u64; 2],
    slot: Option<&[u8]>,
) -> Result<i64> {
    let [one, mut other] = indices;
    // In words, as the kernel wants it aligned; three ints at most.
    let mut words = [0u32; 3];
    if let Some(slot) = slot {
        for (word, bytes) in words.iter_mut().zip(slot.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
        }
        other = words.as_ptr() as u64;
    }
    // SAFETY: with a slot, `other` is the address of three ints, as a `struct kcmp_epoll_slot` has; the kernel only reads them.
    // Without, it is a number that the kernel takes for one, or for an address of ours that it only reads.
    let order = check(unsafe { libc::syscall(libc::SYS_kcmp, first, second, kind, one, other) })?;
    Ok(order as i64)
}

/// A mapping of a file.
pub struct Mapped {
    /// Where it lies.
    pub at: std::ops::Range<u64>,
    /// Device and inode. The device is the file system's own, which is not what stat(2) says on btrfs and
    /// some overlays.
    pub file: (u64, u64),
}

/// All mappings of files that `maps` (proc(5), `/proc/PID/maps`) shows. `None` if it can't be read, or not
/// understood.
pub fn mapped_files(maps: &str) -> Option<Vec<Mapped>> {
    let text = std::fs::read(maps).ok()?;
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let mut all = Vec::new();
    for line in lines {
        // from-to perms offset major:minor inode path; only the path may be anything but ASCII.
        let mut words = line.split(|&b| b == b' ').filter(|w| !w.is_empty());
        let mut word = || words.next().and_then(|w| std::str::from_utf8(w).ok());
        let (from, to) = word()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (_, _) = (word()?, word()?);
        let (major, minor) = word()?.split_once(':')?;
        let device = libc::makedev(hex(major)? as u32, hex(minor)? as u32);
        let inode = word()?.parse().ok()?;
        if inode != 0 {
            all.push(Mapped {
                at: hex(from)?..hex(to)?,
                file: (device, inode),
            });
        }
    }
    Some(all)
}

/// Device and inode of `file` as [`mapped_files`] would show them, found by mapping it.
pub fn identity_when_mapped(file: std::os::fd::BorrowedFd<'_>) -> Result<(u64, u64)> {
    use std::os::fd::AsRawFd;
    const PAGE: usize = 4096;
    let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: a fresh mapping at an address of the kernel's choice; nothing of ours is touched, and
    // no byte of it is read.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, prot, flags, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let found = mapped_files("/proc/self/maps")
        .and_then(|all| all.into_iter().find(|one| one.at.contains(&(at as u64))));
    // SAFETY: exactly what was mapped above; nobody else knows of it.
    unsafe { libc::munmap(at, PAGE) };
    found.map(|one| one.file).ok_or(Errno::EIO)
}

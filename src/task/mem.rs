//! The guest's memory, as an allegation: every address may be wrong, and every byte may change.

use crate::policy::arguments::Reach;
use crate::sys::{self, Errno};
use bumpalo::Bump;
use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Reading and writing a guest's memory.
pub trait GuestMem {
    /// Fills as much of `buf` from `addr` as is mapped; EFAULT if not even one byte is.
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Writes all of `data` at `addr`, respecting the protection of its pages; else EFAULT.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
}

/// The memory of one program image, by the id of its thread group.
#[derive(Debug)]
pub struct Mm {
    tgid: i32,
    /// `/proc/TGID/mem`: 0.4 us cheaper a read than process_vm_readv(2), and bound to this memory
    /// for good. Opened when the image has made a few calls: short-lived ones don't repay it.
    file: OnceLock<Option<File>>,
    reads: AtomicU32,
}

/// Reads before `/proc/TGID/mem` is opened.
const READS_BEFORE_OPEN: u32 = 6;

impl Mm {
    /// The memory that `tgid` has now.
    pub fn new(tgid: i32) -> Self {
        Self {
            tgid,
            file: OnceLock::new(),
            reads: AtomicU32::new(0),
        }
    }

    fn file(&self) -> Option<&File> {
        if let Some(file) = self.file.get() {
            return file.as_ref();
        }
        if self.reads.fetch_add(1, Ordering::Relaxed) < READS_BEFORE_OPEN {
            return None;
        }
        self.file
            .get_or_init(|| File::open(format!("/proc/{}/mem", self.tgid)).ok())
            .as_ref()
    }
}

impl GuestMem for Mm {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let n = match self.file() {
            // pread(2) takes a signed offset: addresses of the kernel's half are no guest's.
            Some(file) if i64::try_from(addr).is_ok() => {
                file.read_at(buf, addr).map_err(|_| Errno::EFAULT)?
            }
            Some(_) => 0,
            None => sys::mem::read(self.tgid, addr, buf).map_err(|_| Errno::EFAULT)?,
        };
        if n == 0 && !buf.is_empty() {
            Err(Errno::EFAULT)
        } else {
            Ok(n)
        }
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        // Not through /proc/TGID/mem, which writes to read-only pages as well (ptrace(2)).
        match sys::mem::write(self.tgid, addr, data) {
            Ok(n) if n == data.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// Copies a NUL-terminated string of fewer than `limit` bytes out of the guest, exactly once.
///
/// EFAULT when it runs into unmapped memory, ENAMETOOLONG when `limit` bytes hold no NUL.
pub fn read_cstr<'a>(
    mem: &dyn GuestMem,
    addr: u64,
    limit: usize,
    arena: &'a Bump,
) -> Result<&'a CStr, Errno> {
    // Most paths are short; a read of a page costs more than one of a few cache lines.
    let mut chunk = [0u8; 256];
    let want = chunk.len().min(limit);
    let n = mem.read(addr, chunk.get_mut(..want).unwrap_or_default())?;
    let head = chunk.get(..n).unwrap_or_default();
    if let Ok(found) = CStr::from_bytes_until_nul(head) {
        let copy = arena.alloc_slice_copy(found.to_bytes_with_nul());
        return CStr::from_bytes_with_nul(copy).map_err(|_| Errno::EFAULT);
    }
    if n < want {
        return Err(Errno::EFAULT);
    }
    let mut text = bumpalo::collections::Vec::with_capacity_in(limit.min(4096), arena);
    text.extend_from_slice(head);
    while text.len() < limit {
        let want = chunk.len().min(limit - text.len());
        let n = mem.read(
            addr + text.len() as u64,
            chunk.get_mut(..want).unwrap_or_default(),
        )?;
        let got = chunk.get(..n).unwrap_or_default();
        if let Some(end) = got.iter().position(|&b| b == 0) {
            text.extend_from_slice(got.get(..=end).unwrap_or_default());
            return CStr::from_bytes_with_nul(text.into_bump_slice()).map_err(|_| Errno::EFAULT);
        }
        text.extend_from_slice(got);
        if n < want {
            return Err(Errno::EFAULT);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Copies `len` bytes out of the guest; EFAULT unless all of them are there.
pub fn read_bytes<'a>(
    mem: &dyn GuestMem,
    addr: u64,
    len: usize,
    arena: &'a Bump,
) -> Result<&'a mut [u8], Errno> {
    let buf = arena.alloc_slice_fill_copy(len, 0u8);
    let mut done = 0;
    while done < len {
        let rest = buf.get_mut(done..).unwrap_or_default();
        done += mem.read(addr.checked_add(done as u64).ok_or(Errno::EFAULT)?, rest)?;
    }
    Ok(buf)
}

/// The strings of a vector that ends in NULL, as many and of each as much as `reach` says. EFAULT where there are none.
pub fn read_strings(mem: &dyn GuestMem, vector: u64, reach: Reach) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    for at in 0..reach.count as u64 {
        let mut word = [0u8; 8];
        let at = vector.checked_add(at * 8).ok_or(Errno::EFAULT)?;
        if mem.read(at, &mut word)? != word.len() {
            return Err(Errno::EFAULT);
        }
        let pointer = u64::from_ne_bytes(word);
        if pointer == 0 {
            break;
        }
        let mut text = vec![0u8; reach.bytes];
        let there = mem.read(pointer, &mut text)?;
        match text.iter().take(there).position(|&b| b == 0) {
            Some(end) => text.truncate(end),
            None if there < text.len() => return Err(Errno::EFAULT),
            // It is longer than what it is compared with.
            None => {}
        }
        all.push(text);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory of a few bytes at address 1000, with nothing behind it.
    struct Few(&'static [u8]);

    impl GuestMem for Few {
        fn read(&self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
            let from = addr.checked_sub(1000).ok_or(Errno::EFAULT)? as usize;
            let rest = self
                .0
                .get(from..)
                .filter(|r| !r.is_empty())
                .ok_or(Errno::EFAULT)?;
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
        fn write(&self, _: u64, _: &[u8]) -> Result<(), Errno> {
            Err(Errno::EFAULT)
        }
    }

    #[test]
    fn a_string_ends_at_its_nul_and_nowhere_else() {
        let arena = Bump::new();
        let long: &'static [u8] = Box::leak(vec![b'x'; 5000].into());
        for (bytes, addr, want) in [
            (&b"/etc\0junk"[..], 1000, Ok(&b"/etc"[..])),
            (b"\0", 1000, Ok(b"")),
            (b"/etc", 1000, Err(Errno::EFAULT)),
            (b"/etc\0", 5000, Err(Errno::EFAULT)),
            (b"/etc\0", 0, Err(Errno::EFAULT)),
            (long, 1000, Err(Errno::ENAMETOOLONG)),
        ] {
            let got = read_cstr(&Few(bytes), addr, 4096, &arena).map(CStr::to_bytes);
            assert_eq!(got, want, "{} bytes at {addr}", bytes.len());
        }
    }

    #[test]
    fn a_string_of_4095_bytes_is_the_longest() {
        let arena = Bump::new();
        for (len, fits) in [
            (255, true),
            (256, true),
            (257, true),
            (4095, true),
            (4096, false),
        ] {
            let mut bytes = vec![b'x'; len];
            bytes.push(0);
            let got = read_cstr(&Few(Box::leak(bytes.into())), 1000, 4096, &arena);
            assert_eq!(
                got.map(|s| s.count_bytes()).ok(),
                fits.then_some(len),
                "{len}"
            );
        }
    }
}

//! The first stack of a new program (the System V ABI, "Initial Process Stack"), as the kernel has laid it out:
//!
//! ```text
//! sp ─▶ argc, argv…, 0, envp…, 0, auxv…, AT_NULL   words
//!       …                                          strings: what the words point to
//! ```
//!
//! A program that was executed by descriptor is called `/dev/fd/N` there (getauxval(3), `AT_EXECFN`). It is to
//! find the path that was asked for.

use super::inject::Regs;
use crate::sys::Errno;
use crate::task::{GuestMem, Mm};

const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_SYSINFO_EHDR: u64 = 33;
const AT_EXECFN: u64 = 31;
const WORD: usize = size_of::<u64>();

/// Has `AT_EXECFN` name `path`: the words move down, and it takes the room between them and the strings. `regs` are those
/// of the exec stop, where nothing of the program has run yet. EFAULT where there is no room: nothing was changed then.
///
/// DIFFERS: `/proc/PID/auxv` goes on to tell where the kernel has put its own text.
pub(super) fn name_program(tid: i32, regs: &mut Regs, path: &[u8]) -> Result<(), Errno> {
    let mm = Mm::new(tid);
    let mut words = read_words(&mm, regs.rsp)?;
    let mut text = path.to_vec();
    text.push(0);
    // The ABI wants the stack pointer to be a multiple of 16.
    text.resize(text.len().next_multiple_of(16), 0);
    let sp = regs.rsp - text.len() as u64;
    let text_at = sp + (words.len() * WORD) as u64;
    let auxv = auxv_at(&words).ok_or(Errno::EFAULT)?;
    let name = words
        .get_mut(auxv..)
        .into_iter()
        .flat_map(|auxv| auxv.chunks_exact_mut(2))
        .find_map(|pair| match pair {
            [AT_EXECFN, value] => Some(value),
            _ => None,
        });
    *name.ok_or(Errno::EFAULT)? = text_at;
    let mut block: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    block.append(&mut text);
    mm.write(sp, &block)?;
    regs.rsp = sp;
    Ok(())
}

/// Has a program not know of the code that the kernel maps into it, so that it makes calls for what that would answer (vdso(7)).
///
/// DIFFERS: `/proc/PID/auxv` and `/proc/PID/maps` go on to tell of it.
pub(super) fn withdraw_vdso(tid: i32, sp: u64) -> Result<(), Errno> {
    let mm = Mm::new(tid);
    let words = read_words(&mm, sp)?;
    let auxv = auxv_at(&words).ok_or(Errno::EFAULT)?;
    let pairs = words.get(auxv..).unwrap_or_default().chunks_exact(2);
    for (number, pair) in pairs.enumerate() {
        if pair.first() == Some(&AT_SYSINFO_EHDR) {
            let at = sp + ((auxv + number * 2) * WORD) as u64;
            mm.write(at, &AT_IGNORE.to_ne_bytes())?;
        }
    }
    Ok(())
}

/// All words from the stack pointer on.
fn read_words(mm: &Mm, sp: u64) -> Result<Vec<u64>, Errno> {
    let mut bytes = vec![0u8; 4096];
    // No stack has more than the kernel lets arguments have: 6 MiB of strings and pointers.
    while bytes.len() <= 64 << 20 {
        let n = mm.read(sp, &mut bytes)?;
        let words: Vec<u64> = bytes
            .get(..n)
            .unwrap_or_default()
            .chunks_exact(WORD)
            .map(|word| word.try_into().map_or(0, u64::from_ne_bytes))
            .collect();
        if let Some(end) = words_end(&words) {
            return Ok(words.into_iter().take(end).collect());
        }
        if n < bytes.len() {
            break;
        }
        bytes.resize(bytes.len() * 8, 0);
    }
    Err(Errno::EFAULT)
}

/// Where the auxiliary vector begins.
fn auxv_at(words: &[u64]) -> Option<usize> {
    let argc = usize::try_from(*words.first()?).ok()?;
    let envp = argc.checked_add(2)?;
    let count = words.get(envp..)?.iter().position(|&word| word == 0)?;
    Some(envp + count + 1)
}

/// Where it ends.
fn words_end(words: &[u64]) -> Option<usize> {
    let auxv = auxv_at(words)?;
    let pairs = words.get(auxv..)?.chunks_exact(2);
    let count = pairs
        .into_iter()
        .position(|pair| pair.first() == Some(&AT_NULL))?;
    Some(auxv + (count + 1) * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_end_with_the_auxiliary_vector() {
        let words = [2, 10, 11, 0, 20, 0, 6, 4096, AT_EXECFN, 99, AT_NULL, 0, 77];
        assert_eq!(auxv_at(&words), Some(6));
        assert_eq!(words_end(&words), Some(12));
        for cut in 0..12 {
            assert_eq!(words_end(&words[..cut]), None, "{cut}");
        }
        assert_eq!(auxv_at(&[u64::MAX, 0, 0]), None);
        assert_eq!(words_end(&[0, 0, 0, AT_NULL, 0]), Some(5));
    }
}

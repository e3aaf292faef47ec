//! The header of an ELF program (elf(5)): what the kernel will load of it, and by which interpreter.
//!
//! It is read as fs/binfmt_elf.c reads it. Whatever it says comes from a guest: nothing here is believed further than
//! to be refused, and at the exec stop the loaded files are compared.

use super::plan::Errno;
use goblin::elf::header::{ELFCLASS64, EM_X86_64, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PT_INTERP, ProgramHeader};
use goblin::elf::{Elf, header};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The size of a program header.
const ENTRY: usize = goblin::elf64::program_header::SIZEOF_PHDR;
/// The size of the ELF header.
const HEADER: usize = goblin::elf64::header::SIZEOF_EHDR;
/// The kernel takes at most 64 KiB of program headers (`load_elf_phdrs`).
const MAX_HEADERS: usize = 65_536;

/// A program that names an interpreter.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// The path that `PT_INTERP` names.
    pub(super) interpreter: CString,
    /// Where in the file the program header lies that names it.
    pub(super) named_at: u64,
    /// What the kernel may read of the file or map: both headers, and all that they describe.
    pub(super) pieces: Vec<Range<u64>>,
}

/// Pages of x86-64.
const PAGE: u64 = 4096;

/// Reads the headers of `file`, whose first bytes are `head`: `None` for a program without an interpreter, ENOEXEC for
/// what isn't an x86-64 program.
pub(super) fn dynamic(file: &File, head: &[u8]) -> Result<Option<Dynamic>, Errno> {
    if head.len() < HEADER {
        return Err(Errno::ENOEXEC);
    }
    let header = Elf::parse_header(head).map_err(|_| Errno::ENOEXEC)?;
    let is_64 = header.e_ident.get(header::EI_CLASS) == Some(&ELFCLASS64);
    let is_program = matches!(header.e_type, ET_EXEC | ET_DYN);
    if !is_64
        || !is_program
        || header.e_machine != EM_X86_64
        || usize::from(header.e_phentsize) != ENTRY
    {
        return Err(Errno::ENOEXEC);
    }
    let size = usize::from(header.e_phnum) * ENTRY;
    if size == 0 || size > MAX_HEADERS {
        return Err(Errno::ENOEXEC);
    }
    let mut table = vec![0u8; size];
    file.read_exact_at(&mut table, header.e_phoff)
        .map_err(|_| Errno::ENOEXEC)?;
    let ctx = goblin::container::Ctx::default();
    let headers = ProgramHeader::parse(&table, 0, usize::from(header.e_phnum), ctx)
        .map_err(|_| Errno::ENOEXEC)?;
    let Some((index, interp)) = headers
        .iter()
        .enumerate()
        .find(|(_, h)| h.p_type == PT_INTERP)
    else {
        return Ok(None);
    };
    // The kernel maps whole pages of the file, beyond what is described.
    let described = headers.iter().map(|h| {
        let end = h.p_offset.saturating_add(h.p_filesz);
        let whole = end.checked_next_multiple_of(PAGE).unwrap_or(end);
        h.p_offset - h.p_offset % PAGE..whole
    });
    let own = [
        0..HEADER as u64,
        header.e_phoff..header.e_phoff + size as u64,
    ];
    Ok(Some(Dynamic {
        interpreter: interpreter(file, interp)?,
        named_at: header.e_phoff + (index * ENTRY) as u64,
        pieces: own.into_iter().chain(described).collect(),
    }))
}

/// Two bytes at least, PATH_MAX at most, and NUL at the end.
fn interpreter(file: &File, interp: &ProgramHeader) -> Result<CString, Errno> {
    if !(2..=libc::PATH_MAX as u64).contains(&interp.p_filesz) {
        return Err(Errno::ENOEXEC);
    }
    let mut text = vec![0u8; interp.p_filesz as usize];
    file.read_exact_at(&mut text, interp.p_offset)
        .map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if text.last() != Some(&0) {
        return Err(Errno::ENOEXEC);
    }
    let path = CStr::from_bytes_until_nul(&text).map_err(|_| Errno::ENOEXEC)?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_bit_programs_of_this_machine_are_elf() {
        let file = File::open("/bin/sh").unwrap();
        let mut head = vec![0; 256];
        file.read_exact_at(&mut head, 0).unwrap();
        let found = dynamic(&file, &head).unwrap().unwrap();
        assert!(found.named_at >= HEADER as u64 && found.pieces.len() > 4);
        head[header::EI_CLASS] = 1;
        assert_eq!(dynamic(&file, &head).unwrap_err(), Errno::ENOEXEC);
        head[header::EI_CLASS] = ELFCLASS64;
        head[18] = 183; // EM_AARCH64
        assert_eq!(dynamic(&file, &head).unwrap_err(), Errno::ENOEXEC);
        assert_eq!(dynamic(&file, b"\x7fELF").unwrap_err(), Errno::ENOEXEC);
    }

    #[test]
    fn headers_that_lie_outside_of_the_file_are_refused() {
        let file = File::open("/bin/sh").unwrap();
        let mut head = vec![0; 256];
        file.read_exact_at(&mut head, 0).unwrap();
        for far in [1 << 40, u64::MAX, u64::MAX - 64] {
            head[32..40].copy_from_slice(&far.to_ne_bytes());
            assert_eq!(
                dynamic(&file, &head).unwrap_err(),
                Errno::ENOEXEC,
                "{far:x}"
            );
        }
    }
}

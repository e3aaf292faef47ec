//! Programs whose ELF interpreter the kernel would not find: it looks for `PT_INTERP` on the host, and the view has
//! another file there.
//!
//! The kernel is given an *image* in the program's place: a memory file with the program's bytes, in which the program
//! header of the interpreter names a link of ours to the view's. All else is the kernel's own work, so layout, stack,
//! auxiliary vector and errors are what they would be.
//!
//! An image is sealed: nobody can change it any more, whatever happens to the program. It is kept for the next exec of
//! the same program, as long as the program is the same by inode, size and both times. One that has changed
//! within the last moments may change again without another time, so its image is used once; and one that is
//! open for writing is not run at all (ETXTBSY, as the kernel has it).
//!
//! Guests are told of the program wherever the kernel tells of the image (`/proc/PID/exe`, `maps`): see [`Vfs::program_of`].

use super::{Inode, Place, Vfs, host_path, lock};
use crate::sys::{self, Errno};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the kernel calls an image (proc(5), `/proc/PID/exe`). A guest may give a file of its own that name: it is known
/// by its inode.
const NAME: &[u8] = b"/memfd:sbox image (deleted)";

/// Together the images that are kept for the next exec hold no more than this; each needs two descriptors.
const MAX_KEPT_BYTES: u64 = 512 << 20;
const MAX_KEPT: usize = 128;

/// What one image may hold.
const MAX_BYTES: u64 = 1 << 30;

/// A millisecond's work.
const LARGE_BYTES: u64 = 1 << 20;

/// Interpreters that a run may have. Each takes a name on the host until the end of the run.
const MAX_LINKS: usize = 4096;

/// A program that changed more recently may change again at what the file system takes for the same time: a tick of the
/// clock, or two seconds where times have no fractions.
const SETTLED_NS: i128 = 100_000_000;
const SETTLED_COARSE_NS: i128 = 2_100_000_000;

/// File systems on which a lease is a matter of the server (statfs(2)): NFS, CIFS, SMB, AFS, Ceph. EAGAIN says nothing there.
const REMOTE: [i64; 5] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x6b41_4653, 0x00c3_6400];

/// The offsets of `p_offset` and `p_filesz` in a program header (elf(5), `Elf64_Phdr`).
const P_OFFSET: u64 = 8;
const P_FILESZ: u64 = 32;
/// The size of the ELF header.
const EHDR: u64 = 64;

/// What a program names its interpreter by, and the file that is meant.
#[derive(Debug)]
pub struct OwnLoader {
    /// The interpreter, as the view has it.
    pub loader: OwnedFd,
    /// Where in the program the program header lies that names it.
    pub named_at: u64,
    /// What the kernel reads or maps of the program.
    pub pieces: Vec<Range<u64>>,
}

impl OwnLoader {
    /// True if an image takes so long to make that nobody else should have to wait for it.
    pub fn is_large(&self) -> bool {
        let bytes = union(&self.pieces, u64::MAX);
        bytes
            .iter()
            .map(|piece| piece.end - piece.start)
            .sum::<u64>()
            > LARGE_BYTES
    }
}

/// What runs in a program's place.
#[derive(Debug)]
pub struct Image {
    /// Sealed, and open for reading only: a program that is open for writing can't be executed.
    file: OwnedFd,
    /// As stat(2) tells it.
    pub inode: Inode,
    /// As `/proc/PID/maps` tells it.
    pub mapped: Inode,
    /// The program, and its identity.
    program: OwnedFd,
    of: Inode,
    bytes: u64,
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Which program an image was made of, with which interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    program: (Inode, i64, [(i64, i64); 2]),
    link: usize,
}

/// All images of a run.
#[derive(Debug, Default)]
pub(super) struct Images {
    table: Mutex<Table>,
    /// Most runs have none.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// Kept for the next exec, the last one used last.
    kept: Vec<(Key, Arc<Image>)>,
    /// All that live: some process runs them, or they are kept.
    /// With the identity of their programs.
    known: HashMap<Inode, (Inode, Weak<Image>)>,
    /// Interpreters, and by which number in its name each has its link.
    links: HashMap<(Inode, Box<[u8]>), usize>,
}

impl Table {
    /// That of an earlier exec.
    fn take(&mut self, key: &Key) -> Option<Arc<Image>> {
        let at = self.kept.iter().position(|(known, _)| known == key)?;
        let entry = self.kept.remove(at);
        let image = Arc::clone(&entry.1);
        self.kept.push(entry);
        Some(image)
    }

    fn keep(&mut self, key: Key, image: &Arc<Image>) {
        // Two may have been made at once.
        self.kept.retain(|(known, _)| *known != key);
        self.kept.push((key, Arc::clone(image)));
        let bytes = |kept: &[(Key, Arc<Image>)]| kept.iter().map(|(_, one)| one.bytes).sum::<u64>();
        while self.kept.len() > MAX_KEPT || bytes(&self.kept) > MAX_KEPT_BYTES {
            self.kept.remove(0);
        }
    }

    fn runs(&self, program: Inode) -> bool {
        let of_it = self.known.values().filter(|(of, _)| *of == program);
        of_it.filter_map(|(_, image)| image.upgrade()).any(|image| {
            let kept = self.kept.iter().any(|(_, one)| Arc::ptr_eq(one, &image));
            Arc::strong_count(&image) > 1 + usize::from(kept)
        })
    }

    fn enter(&mut self, image: &Arc<Image>) {
        self.known.retain(|_, (_, known)| known.strong_count() > 0);
        self.known
            .insert(image.inode, (image.of, Arc::downgrade(image)));
    }
}

const MODE: u32 = 0o555;

impl Vfs {
    /// What the kernel is to run in the place of `program`, so that it finds the interpreter that the view has, if an
    /// earlier exec has made it.
    ///
    /// ETXTBSY while somebody may write to the program, ENOEXEC for an interpreter without a name on the host.
    pub fn kept_image(
        &self,
        program: BorrowedFd<'_>,
        own_loader: &OwnLoader,
    ) -> sys::Result<Option<Arc<Image>>> {
        let stat = sys::fs::fstat(program)?;
        // Whose file it isn't can't have a lease. If it may be written nevertheless, nothing tells whether it is.
        if stat.st_uid != nix::unistd::geteuid().as_raw() && stat.st_mode & 0o022 != 0 {
            return Ok(None);
        }
        if sys::fs::is_being_written(program)
            && !REMOTE.contains(&sys::fs::fstatfs(program)?.f_type)
        {
            return Err(Errno::ETXTBSY);
        }
        let key = self.key(&stat, own_loader)?;
        let kept = lock(&self.images.table).take(&key);
        Ok(kept.filter(|image| image.is_fit()))
    }

    /// Makes it. ETXTBSY if the program changes meanwhile, ENOEXEC for headers in odd places, ENOMEM beyond a gigabyte.
    pub fn new_image(
        &self,
        program: BorrowedFd<'_>,
        own_loader: &OwnLoader,
    ) -> sys::Result<Arc<Image>> {
        let stat = sys::fs::fstat(program)?;
        let key = self.key(&stat, own_loader)?;
        let began = now_ns();
        let image = Arc::new(self.make_image(program, &stat, own_loader, key.link)?);
        if identity(&sys::fs::fstat(program)?) != key.program {
            return Err(Errno::ETXTBSY);
        }
        let changed = i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec);
        let settled = match stat.st_ctime_nsec {
            0 => SETTLED_COARSE_NS,
            _ => SETTLED_NS,
        };
        let mut table = lock(&self.images.table);
        table.enter(&image);
        self.images.any.store(true, Ordering::Relaxed);
        if began - changed > settled {
            table.keep(key, &image);
        }
        Ok(image)
    }

    fn key(&self, program: &libc::stat, own_loader: &OwnLoader) -> sys::Result<Key> {
        Ok(Key {
            program: identity(program),
            link: self.link_to(own_loader.loader.as_fd())?,
        })
    }

    fn make_image(
        &self,
        program: BorrowedFd<'_>,
        stat: &libc::stat,
        own_loader: &OwnLoader,
        link: usize,
    ) -> sys::Result<Image> {
        // Where the headers overlap, naming another interpreter could make the kernel find other headers.
        if own_loader.named_at < EHDR {
            return Err(Errno::ENOEXEC);
        }
        let source = File::from(sys::fs::dup_above(program, super::FIRST_FD)?);
        let image = File::from(memory_file()?);
        let size = u64::try_from(stat.st_size).map_err(|_| Errno::ENOEXEC)?;
        let mut text = self.text_of_link(link);
        text.push(0);
        let text_at = size.next_multiple_of(4096);
        image.set_len(text_at + text.len() as u64).map_err(errno)?;
        let bytes = copy(&source, &image, union(&own_loader.pieces, size))?;
        let put = |bytes: &[u8], at: u64| image.write_all_at(bytes, at).map_err(errno);
        put(&text, text_at)?;
        put(&text_at.to_ne_bytes(), own_loader.named_at + P_OFFSET)?;
        put(
            &(text.len() as u64).to_ne_bytes(),
            own_loader.named_at + P_FILESZ,
        )?;
        seal(&image)?;
        let file = self.reopen(image.as_fd(), libc::O_RDONLY)?;
        let own = sys::fs::fstat(file.as_fd())?;
        Ok(Image {
            inode: (own.st_dev, own.st_ino),
            mapped: self.when_mapped(file.as_fd())?,
            file,
            program: source.into(),
            of: (stat.st_dev, stat.st_ino),
            bytes,
        })
    }

    /// The number of the link that leads the kernel to an interpreter.
    fn link_to(&self, loader: BorrowedFd<'_>) -> sys::Result<usize> {
        let stat = sys::fs::fstat(loader)?;
        let inode = (stat.st_dev, stat.st_ino);
        let host = host_path(loader)?.0;
        let key = (inode, host);
        let mut table = lock(&self.images.table);
        if let Some(&known) = table.links.get(&key) {
            return Ok(known);
        }
        if table.links.len() >= MAX_LINKS {
            return Err(Errno::ENOMEM);
        }
        // A removed file, or a memory file, is not found by its name.
        let path = CString::new(&*key.1).map_err(|_| Errno::ENOEXEC)?;
        let there = sys::fs::stat(&path).map_err(|_| Errno::ENOEXEC)?;
        if path.to_bytes().first() != Some(&b'/') || (there.st_dev, there.st_ino) != inode {
            return Err(Errno::ENOEXEC);
        }
        let number = table.links.len();
        self.scratch.link(&link_name(number), &path)?;
        table.links.insert(key, number);
        Ok(number)
    }

    /// How the kernel finds a link from where it takes each guest to be. It tells nothing of the host's paths.
    fn text_of_link(&self, link: usize) -> Vec<u8> {
        self.scratch.seen_from_parking(&link_name(link))
    }

    /// True if processes run an image of what is at a place: it can't be opened for writing then (ETXTBSY).
    pub fn is_running(&self, place: &Place<'_>) -> bool {
        if !self.images.any.load(Ordering::Relaxed) {
            return false;
        }
        let stat = self
            .handle(place)
            .and_then(|handle| sys::fs::fstat(handle.as_fd()));
        stat.is_ok_and(|stat| lock(&self.images.table).runs((stat.st_dev, stat.st_ino)))
    }

    /// The program in whose place the image runs that the kernel tells of: an image is known by its inode.
    pub(super) fn program_of(&self, inode: Inode) -> Option<Arc<Image>> {
        lock(&self.images.table).known.get(&inode)?.1.upgrade()
    }

    /// The same by what `/proc/PID/maps` tells of a file.
    pub(super) fn program_mapped(&self, host: &[u8], ino: Option<u64>) -> Option<Arc<Image>> {
        if host != NAME {
            return None;
        }
        let table = lock(&self.images.table);
        let found = table.known.iter().find(|(inode, _)| Some(inode.1) == ino);
        found?.1.1.upgrade()
    }
}

impl Image {
    /// Its contents are sealed, but a guest that got hold of it may have changed its mode, or have it open for writing:
    /// the next one takes its place.
    fn is_fit(&self) -> bool {
        let stat = sys::fs::fstat(self.file.as_fd());
        stat.is_ok_and(|stat| stat.st_mode & 0o777 == MODE)
            && !sys::fs::is_being_written(self.file.as_fd())
    }

    /// The program, for reading.
    pub(super) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

fn link_name(number: usize) -> CString {
    CString::new(format!("ld{number}")).unwrap_or_default()
}

/// Device, inode, size and both times: what is another program has another of these.
fn identity(stat: &libc::stat) -> (Inode, i64, [(i64, i64); 2]) {
    let times = [
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ];
    ((stat.st_dev, stat.st_ino), stat.st_size, times)
}

fn now_ns() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |age| age.as_nanos().cast_signed())
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// An empty memory file that may be executed.
fn memory_file() -> sys::Result<OwnedFd> {
    // Linux 6.3; before, every memory file may be executed.
    let exec = MFdFlags::from_bits_retain(0x10);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let made = memfd_create(c"sbox image", flags | exec);
    made.or_else(|_| memfd_create(c"sbox image", flags))
}

/// Whoever holds it from now on can read it, and no more.
fn seal(image: &File) -> sys::Result<()> {
    sys::fs::fchmod(image.as_fd(), MODE)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(image, FcntlArg::F_ADD_SEALS(seals)).map(drop)
}

/// The pieces of a file of `size` bytes in order, none twice.
fn union(pieces: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = pieces
        .iter()
        .map(|piece| piece.start.min(size)..piece.end.min(size))
        .filter(|piece| !piece.is_empty())
        .collect();
    sorted.sort_by_key(|piece| piece.start);
    let mut all: Vec<Range<u64>> = Vec::new();
    for piece in sorted {
        match all.last_mut() {
            Some(last) if piece.start <= last.end => last.end = last.end.max(piece.end),
            _ => all.push(piece),
        }
    }
    all
}

/// Copies pieces of a file to the same places in another, but for its holes. How many bytes that were.
fn copy(from: &File, to: &File, pieces: Vec<Range<u64>>) -> sys::Result<u64> {
    let mut buffer = vec![0u8; 256 << 10];
    let mut copied = 0;
    for piece in pieces {
        let mut at = piece.start;
        while let Some(data) = data_from(from, at, piece.end)? {
            at = data.start;
            while at < data.end {
                let room = buffer.len().min((data.end - at) as usize);
                let n = from
                    .read_at(buffer.get_mut(..room).unwrap_or_default(), at)
                    .map_err(errno)?;
                // Shorter by now: it is being written to.
                if n == 0 {
                    return Err(Errno::ETXTBSY);
                }
                to.write_all_at(buffer.get(..n).unwrap_or_default(), at)
                    .map_err(errno)?;
                at += n as u64;
                copied += n as u64;
                if copied > MAX_BYTES {
                    return Err(Errno::ENOMEM);
                }
            }
        }
    }
    Ok(copied)
}

/// The next part of `at..end` that is no hole (lseek(2), `SEEK_DATA`).
fn data_from(file: &File, at: u64, end: u64) -> sys::Result<Option<Range<u64>>> {
    if at >= end {
        return Ok(None);
    }
    let seek = |at: u64, whence| sys::fs::lseek(file.as_fd(), at.cast_signed(), whence);
    match seek(at, libc::SEEK_DATA) {
        Err(Errno::ENXIO) => Ok(None),
        // Not every file system knows its holes.
        Err(Errno::EINVAL) => Ok(Some(at..end)),
        Err(errno) => Err(errno),
        Ok(start) if start.cast_unsigned() >= end => Ok(None),
        Ok(start) => {
            let stop = seek(start.cast_unsigned(), libc::SEEK_HOLE)?;
            Ok(Some(start.cast_unsigned()..end.min(stop.cast_unsigned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_cut() {
        let pieces = [10..20, 0..5, 15..30, 30..31, 90..u64::MAX, 200..300];
        assert_eq!(union(&pieces, 100), [0..5, 10..31, 90..100]);
        assert_eq!(union(&[], 100), []);
    }

    #[test]
    fn holes_are_not_copied() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(1 << 40).unwrap();
        from.write_all_at(b"head", 0).unwrap();
        from.write_all_at(b"tail", (1 << 40) - 4).unwrap();
        to.set_len(1 << 40).unwrap();
        let all = Range {
            start: 0,
            end: 1 << 40,
        };
        assert!(copy(&from, &to, vec![all]).unwrap() < 1 << 20);
        let mut tail = [0; 4];
        to.read_exact_at(&mut tail, (1 << 40) - 4).unwrap();
        assert_eq!(&tail, b"tail");
    }
}

//! Trees: random ones for lowers, and what is in one, line by line.

use crate::support::Random;
use sbox::sys;
use sbox::vfs::cow::CowDir;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

pub(crate) const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Times before this were set on purpose and are compared; later ones are "now".
const LONG_AGO: i64 = 1_200_000_000;

/// Fills `dir` with a random tree. `upper_layers` allows whiteouts and opaque directories.
pub(crate) fn fill(dir: &Path, random: &mut Random, depth: u32, marks: bool) {
    for name in NAMES {
        let path = dir.join(name);
        match random.below(if depth == 0 { 7 } else { 11 }) {
            0 | 1 => {
                let text =
                    format!("{name} {}\n", random.below(1000)).repeat(random.below(300) as usize);
                fs::write(&path, text).unwrap();
                let mode = [0o644, 0o600, 0o444, 0o755, 0o4755, 0o444][random.below(6) as usize];
                if random.below(3) == 0 {
                    let held = sys::fs::open(&c_path(&path), libc::O_RDONLY).unwrap();
                    sys::fs::fsetxattr(held.as_fd(), c"user.from", b"lower", 0).unwrap();
                }
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            2 => symlink(["a", "b/c", "nowhere"][random.below(3) as usize], &path).unwrap(),
            3 if random.below(2) == 0 => make_node(dir, name, libc::S_IFIFO | 0o644),
            4 if marks => make_node(dir, name, libc::S_IFCHR),
            7.. => {
                fs::create_dir(&path).unwrap();
                fill(&path, random, depth - 1, marks);
                let held = sys::fs::open(&c_path(&path), libc::O_RDONLY).unwrap();
                if marks && random.below(4) == 0 {
                    sys::fs::fsetxattr(held.as_fd(), c"user.overlay.opaque", b"y", 0).unwrap();
                }
                if random.below(4) == 0 {
                    sys::fs::fsetxattr(held.as_fd(), c"user.from", b"lower", 0).unwrap();
                }
                let mode = [0o755, 0o755, 0o700, 0o2755, 0o1777, 0o555][random.below(6) as usize];
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            _ => continue,
        }
        set_time(dir, name, 1_000_000_000 + random.below(1000) as i64);
    }
}

fn make_node(dir: &Path, name: &str, mode: u32) {
    let dir = sys::fs::open(&c_path(dir), libc::O_PATH).unwrap();
    sys::fs::mknodat(dir.as_fd(), &CString::new(name).unwrap(), mode, 0).unwrap();
}

pub(crate) fn set_time(dir: &Path, name: &str, sec: i64) {
    let dir = sys::fs::open(&c_path(dir), libc::O_PATH).unwrap();
    let time = libc::timespec {
        tv_sec: sec,
        tv_nsec: 7,
    };
    let name = CString::new(name).unwrap();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    sys::fs::utimensat(dir.as_fd(), Some(&name), Some(&[time, time]), flags).unwrap();
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

/// What is compared of a file's attributes.
pub(crate) fn attributes(stat: &libc::stat) -> String {
    let kind = stat.st_mode & libc::S_IFMT;
    let size = match kind {
        libc::S_IFDIR => String::new(),
        _ => format!(" size {}", stat.st_size),
    };
    let time = if stat.st_mtime < LONG_AGO {
        format!(" time {}.{}", stat.st_mtime, stat.st_mtime_nsec)
    } else {
        " time now".to_owned()
    };
    format!("{:o}{size}{time}", stat.st_mode)
}

/// One line for each file of a real tree.
pub(crate) fn dump_kernel(dir: &OwnedFd, at: &str, lines: &mut Vec<String>) {
    let own = sys::fs::openat(dir.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0).unwrap();
    for (name, listed) in kernel_names(&own) {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = sys::fs::openat(dir.as_fd(), &name, flags, 0).unwrap();
        let path = CString::new(format!("/proc/self/fd/{}", raw(&file))).unwrap();
        let stat = sys::fs::fstat(file.as_fd()).unwrap();
        assert_eq!(
            u32::from(listed) << 12,
            stat.st_mode & libc::S_IFMT,
            "{at}/{name:?}"
        );
        let content = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => digest(&fs::read(path.to_str().unwrap()).unwrap()),
            libc::S_IFLNK => {
                let mut buf = [0; 100];
                format!(
                    "{:?}",
                    sys::fs::readlinkat(file.as_fd(), c"", &mut buf).unwrap()
                )
            }
            _ => String::new(),
        };
        let mut list = [0u8; 1000];
        let n = sys::fs::listxattr(&path, &mut list).unwrap();
        let text = name.to_str().unwrap();
        lines.push(format!(
            "{at}/{text} {} {content} {}",
            attributes(&stat),
            attribute_names(&list[..n])
        ));
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            let sub =
                sys::fs::openat(dir.as_fd(), &name, libc::O_PATH | libc::O_DIRECTORY, 0).unwrap();
            dump_kernel(&sub, &format!("{at}/{text}"), lines);
        }
    }
}

/// One line for each file of a merged tree.
pub(crate) fn dump_engine(dir: &Arc<CowDir>, at: &str, lines: &mut Vec<String>) {
    for (name, listed) in engine_names(dir).unwrap() {
        let stat = dir.stat(&name).unwrap();
        assert_eq!(
            u32::from(listed) << 12,
            stat.st_mode & libc::S_IFMT,
            "{at}/{name:?}"
        );
        let content = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {
                let file = dir.open(&name, libc::O_RDONLY, 0).unwrap();
                digest(&fs::read(format!("/proc/self/fd/{}", raw(&file))).unwrap())
            }
            libc::S_IFLNK => format!("{:?}", dir.readlink(&name, &mut [0; 100]).unwrap()),
            _ => String::new(),
        };
        let text = name.to_str().unwrap();
        lines.push(format!(
            "{at}/{text} {} {content} {}",
            attributes(&stat),
            attribute_names(&dir.list_xattrs(&name).unwrap())
        ));
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            dump_engine(
                &dir.open_dir(&name).unwrap(),
                &format!("{at}/{text}"),
                lines,
            );
        }
    }
}

fn raw(fd: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}

fn digest(bytes: &[u8]) -> String {
    let sum = bytes
        .iter()
        .fold(7u64, |h, &b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b));
    format!("{sum:x}")
}

/// Attribute names that are compared, in order.
pub(crate) fn attribute_names(list: &[u8]) -> String {
    let mut names: Vec<_> = list
        .split(|&b| b == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(String::from_utf8_lossy)
        .collect();
    names.sort();
    names.join(",")
}

/// Names and types as getdents64(2) gives them, in order.
pub(crate) fn kernel_names(dir: &OwnedFd) -> Vec<(CString, u8)> {
    let mut names = vec![];
    let mut buf = vec![0u8; 8192];
    sys::fs::lseek(dir.as_fd(), 0, libc::SEEK_SET).unwrap();
    loop {
        let n = sys::fs::getdents64(dir.as_fd(), &mut buf).unwrap();
        let mut rest = &buf[..n];
        while rest.len() > 19 {
            let len = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
            let name = CStr::from_bytes_until_nul(&rest[19..len]).unwrap();
            names.push((name.to_owned(), rest[18]));
            rest = &rest[len..];
        }
        if n == 0 {
            // In a directory that only one lower has, overlayfs lists that lower's whiteouts, though a
            // look-up doesn't find them. The engine doesn't.
            names.retain(|(name, kind)| {
                name.as_c_str() != c"." && name.as_c_str() != c".." && *kind != libc::DT_CHR
            });
            names.sort();
            return names;
        }
    }
}

/// The same of a merged directory.
pub(crate) fn engine_names(dir: &CowDir) -> sys::Result<Vec<(CString, u8)>> {
    let listing = dir.list()?;
    let entries = listing.entries();
    let mut names: Vec<_> = entries
        .map(|(name, _, kind)| (CString::new(name).unwrap(), kind))
        .filter(|(name, _)| name.as_c_str() != c"." && name.as_c_str() != c"..")
        .collect();
    names.sort();
    Ok(names)
}

//! `/proc/PID/maps`, `smaps` and `numa_maps`, proc(5): the kernel's text, with the view's paths.
//!
//! The kernel tells the host's path of each mapped file: layers of copy-on-write mounts, private
//! directories, what is bound to another place. The rest of each line stays what it is.

use super::made::made;
use crate::sys::{self, Errno};
use crate::vfs::Vfs;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};

/// A file that tells the mappings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapsFile {
    /// `maps` and `smaps`: the path is the rest of a line that begins with a range of addresses.
    Maps,
    /// `numa_maps`: the path is a word that begins with `file=`.
    NumaMaps,
}

/// The path that a line tells, and what it tells of the file besides.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// Where in the line the path begins and ends.
    from: usize,
    to: usize,
    /// `None` where the line doesn't tell it.
    ino: Option<u64>,
    /// `None` where stat(2) would tell another one.
    device: Option<u64>,
}

/// Inode number and device, as far as they are known.
type Identity = (Option<u64>, Option<u64>);

impl MapsFile {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "maps" | "smaps" => Some(Self::Maps),
            "numa_maps" => Some(Self::NumaMaps),
            _ => None,
        }
    }

    /// What the kernel writes in octal in paths here.
    const fn escapes(self) -> &'static [u8] {
        match self {
            Self::Maps => b"\n",
            Self::NumaMaps => b"\n\t= ",
        }
    }

    /// The path in a line without its newline; `None` if there is none.
    fn find(self, line: &[u8]) -> Option<Named> {
        match self {
            Self::Maps => find_in_maps(line),
            Self::NumaMaps => {
                let from = line.windows(6).position(|w| w == b" file=")? + 6;
                let rest = line.get(from..)?;
                let to = rest.iter().position(|&b| b == b' ');
                Some(Named {
                    from,
                    to: to.map_or(line.len(), |n| from + n),
                    ino: None,
                    device: None,
                })
            }
        }
    }
}

/// `7f00-7f01 r-xp 00000000 fe:00 1234      /path`; other lines of smaps are no such.
fn find_in_maps(line: &[u8]) -> Option<Named> {
    let mut at = 0;
    let mut field = || {
        let rest = line.get(at..)?;
        let end = rest.iter().position(|&b| b == b' ')?;
        at += end + 1;
        std::str::from_utf8(rest.get(..end)?).ok()
    };
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = field()?.split_once('-')?;
    let (_, _) = (hex(start)?, hex(end)?);
    let (_perms, _offset) = (field()?, field()?);
    let (major, minor) = field()?.split_once(':')?;
    let (major, minor) = (hex(major)?, hex(minor)?);
    let ino: u64 = field()?.parse().ok()?;
    let from = at + line.get(at..)?.iter().position(|&b| b != b' ')?;
    let device = libc::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    Some(Named {
        from,
        to: line.len(),
        ino: Some(ino),
        // Anonymous devices (btrfs, overlays) are told otherwise by stat(2).
        device: (major != 0).then_some(device),
    })
}

/// Takes octal escapes of these bytes out of a path.
fn plain(text: &[u8], escapes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = escapes.iter().find(|&&b| rest.starts_with(&octal(b)));
        out.push(escaped.copied().unwrap_or(first));
        rest = match escaped {
            Some(_) => rest.get(4..).unwrap_or_default(),
            None => tail,
        };
    }
    out
}

/// Puts them in.
fn escaped(text: &[u8], escapes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match escapes.contains(&byte) {
            true => out.extend(octal(byte)),
            false => out.push(byte),
        }
    }
    out
}

fn octal(byte: u8) -> [u8; 4] {
    [
        b'\\',
        b'0' + (byte >> 6),
        b'0' + (byte >> 3 & 7),
        b'0' + (byte & 7),
    ]
}

impl Vfs {
    /// The host's file `relative` below `/proc`, with paths of the view, as of now.
    pub(super) fn open_maps(&self, file: MapsFile, relative: &str) -> sys::Result<OwnedFd> {
        let name = CString::new(relative).map_err(|_| Errno::ENOENT)?;
        let host = sys::fs::openat(self.proc_root.as_fd(), &name, libc::O_RDONLY, 0)?;
        let mut host = BufReader::new(File::from(host));
        let files = match file {
            MapsFile::Maps => HashMap::new(),
            MapsFile::NumaMaps => self.mapped_files(relative)?,
        };
        made(&self.shown(relative), |out| {
            let mut line = Vec::new();
            // Neighbours mostly map one file.
            let mut last: Option<(Vec<u8>, Option<u64>, Vec<u8>)> = None;
            loop {
                line.clear();
                if host.read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                let bare = line.strip_suffix(b"\n").unwrap_or(&line);
                let found = file.find(bare);
                let path = found.as_ref().and_then(|n| bare.get(n.from..n.to));
                let path = path.filter(|path| path.starts_with(b"/"));
                let (Some(mut named), Some(path)) = (found, path) else {
                    out.write_all(&line)?;
                    continue;
                };
                if let Some(of) = address(bare).and_then(|start| files.get(&start)) {
                    (named.ino, named.device) = *of;
                }
                let text = match &last {
                    Some((known, ino, text)) if known == path && *ino == named.ino => text.clone(),
                    _ => {
                        let escapes = file.escapes();
                        let host = plain(path, escapes);
                        let text = self.text_of_path(&host, named.ino, named.device);
                        escaped(&text, escapes)
                    }
                };
                out.write_all(&self.before_path(&line, &named, path))?;
                out.write_all(&text)?;
                out.write_all(line.get(named.to..).unwrap_or_default())?;
                last = Some((path.to_vec(), named.ino, text));
            }
        })
    }
}

impl Vfs {
    /// What stands before the path in a line. Of what runs in a program's place (`vfs::image`) the program's device and
    /// inode are told.
    fn before_path<'l>(&self, line: &'l [u8], named: &Named, path: &[u8]) -> Cow<'l, [u8]> {
        let own = line.get(..named.from).unwrap_or_default();
        let image = self.program_mapped(path, named.ino);
        let file = image.and_then(|image| self.when_mapped(image.program()).ok());
        let spaces = own.iter().enumerate().filter(|(_, b)| **b == b' ');
        let Some(((device, ino), (end, _))) = file.zip(spaces.into_iter().nth(2)) else {
            return Cow::Borrowed(own);
        };
        let mut told = own.get(..=end).unwrap_or_default().to_vec();
        let (major, minor) = (libc::major(device), libc::minor(device));
        told.extend(format!("{major:02x}:{minor:02x} {ino} ").bytes());
        told.resize(told.len().max(own.len()), b' ');
        Cow::Owned(told)
    }

    /// What `maps` tells of the files mapped at each address, for the file beside it that tells only paths.
    fn mapped_files(&self, relative: &str) -> sys::Result<HashMap<u64, Identity>> {
        let beside = relative.rsplit_once('/').ok_or(Errno::ENOENT)?.0;
        let name = CString::new(format!("{beside}/maps")).map_err(|_| Errno::ENOENT)?;
        let maps = sys::fs::openat(self.proc_root.as_fd(), &name, libc::O_RDONLY, 0)?;
        let mut files = HashMap::new();
        for line in BufReader::new(File::from(maps)).split(b'\n') {
            let line = line.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
            if let (Some(start), Some(named)) = (address(&line), find_in_maps(&line)) {
                files.insert(start, (named.ino, named.device));
            }
        }
        Ok(files)
    }
}

/// The address that a line begins with.
fn address(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|b| !b.is_ascii_hexdigit())?;
    u64::from_str_radix(std::str::from_utf8(line.get(..end)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(file: MapsFile, line: &str) -> Option<&str> {
        let named = file.find(line.as_bytes())?;
        line.get(named.from..named.to)
    }

    #[test]
    fn a_line_of_maps_ends_in_its_path() {
        let line = "7f00-7f01 r-xp 00002000 fe:01 1234                       /a b/c  (deleted)";
        let named = MapsFile::Maps.find(line.as_bytes()).unwrap();
        assert_eq!(path(MapsFile::Maps, line), Some("/a b/c  (deleted)"));
        let device = Some(libc::makedev(0xfe, 1));
        assert_eq!((named.ino, named.device), (Some(1234), device));
        let line = "7f00-7f01 rw-p 00000000 00:1d 77                         [anon:x y]";
        assert_eq!(path(MapsFile::Maps, line), Some("[anon:x y]"));
        assert_eq!(MapsFile::Maps.find(line.as_bytes()).unwrap().device, None);
        for none in [
            "7f00-7f01 rw-p 00000000 00:00 0 ",
            "Size:                  4 kB",
            "VmFlags: rd mr mw me sd ",
            "",
        ] {
            assert_eq!(path(MapsFile::Maps, none), None, "{none}");
        }
    }

    #[test]
    fn numa_maps_has_paths_in_words() {
        let line = "7f00 default file=/a\\040b mapped=3 N0=3";
        assert_eq!(path(MapsFile::NumaMaps, line), Some("/a\\040b"));
        assert_eq!(path(MapsFile::NumaMaps, "7f00 default heap anon=1"), None);
        assert_eq!(path(MapsFile::NumaMaps, "7f00 default file=/a"), Some("/a"));
    }

    #[test]
    fn escapes_are_taken_out_and_put_in() {
        let escapes = MapsFile::NumaMaps.escapes();
        assert_eq!(plain(b"/a\\040b\\075\\012\\011c", escapes), b"/a b=\n\tc");
        assert_eq!(escaped(b"/a b=\n\tc", escapes), b"/a\\040b\\075\\012\\011c");
        assert_eq!(
            plain(b"/a\\040b\\012", MapsFile::Maps.escapes()),
            b"/a\\040b\n"
        );
        assert_eq!(escaped(b"/a b\n", MapsFile::Maps.escapes()), b"/a b\\012");
    }
}

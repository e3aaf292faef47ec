//! `/proc/PID/mounts` and `mountinfo`, proc(5): made up from the mounts of the view.
//!
//! They tell places in the view and kinds of file systems, no path and no device of the host.

use super::super::mount::{Mount, MountTable, Source};
use super::super::path::VPath;
use super::super::{Vfs, lock};
use super::made::made;
use crate::sys;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A file that tells the mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountFile {
    /// `/proc/PID/mounts`, in the form of fstab(5).
    Mounts,
    /// `/proc/PID/mountinfo`
    MountInfo,
}

impl MountFile {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "mounts" => Some(Self::Mounts),
            "mountinfo" => Some(Self::MountInfo),
            _ => None,
        }
    }
}

/// Kinds of file systems that programs tell apart, by `f_type` of statfs(2).
const KINDS: [(i64, &str); 10] = [
    (0x0000_ef53, "ext4"),
    (0x0102_1994, "tmpfs"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x794c_7630, "overlay"),
    (0x2fc1_2fc1, "zfs"),
    (0x0000_6969, "nfs"),
    (0x0000_9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6573_5546, "fuse"),
];

/// What one line tells.
struct Line<'t> {
    id: usize,
    parent: usize,
    at: &'t VPath,
    device: u64,
    kind: &'static str,
    writable: bool,
}

impl Vfs {
    /// The text of a file, as a file of its own.
    pub(super) fn open_mounts(&self, file: MountFile, tgid: i32) -> sys::Result<OwnedFd> {
        let text = self.mounts_text(file)?;
        let name = match file {
            MountFile::Mounts => "mounts",
            MountFile::MountInfo => "mountinfo",
        };
        made(&self.shown(&format!("{tgid}/{name}")), |out| {
            out.write_all(text.as_bytes())
        })
    }

    fn mounts_text(&self, file: MountFile) -> sys::Result<String> {
        let mut text = String::new();
        for line in self.mount_lines()? {
            let at = escaped(line.at.as_bytes());
            let (kind, rw) = (line.kind, if line.writable { "rw" } else { "ro" });
            // Writing to a String cannot fail.
            let _ = match file {
                MountFile::Mounts => writeln!(text, "sbox {at} {kind} {rw},nosuid,nodev 0 0"),
                MountFile::MountInfo => writeln!(
                    text,
                    "{} {} {}:{} / {at} {rw},nosuid,nodev - {kind} sbox {rw}",
                    line.id,
                    line.parent,
                    libc::major(line.device),
                    libc::minor(line.device),
                ),
            };
        }
        Ok(text)
    }

    /// One line for each mount that can be seen, those above first.
    fn mount_lines(&self) -> sys::Result<Vec<Line<'_>>> {
        let root = sys::fs::fstat(self.stand_in(&self.root)?)?;
        let mut lines = vec![];
        let mut open = vec![(MountTable::ROOT, ROOT_ID)];
        while let Some((node, mut above)) = open.pop() {
            let shown = self.table.mount_at(node).map(|(id, mount)| (id + 2, mount));
            match (shown, self.table.path(node)) {
                (Some(_), Some(at)) if self.hides_mount(at) => {}
                // What is shown below has its own line.
                (Some((_, mount)), _) if matches!(mount.source, Source::Hidden) => {}
                (Some((_, mount)), _) if matches!(mount.source, Source::Symlink(_)) => continue,
                (Some((id, mount)), Some(at)) => {
                    let (device, kind) = self.kind_of(mount, root.st_dev)?;
                    let id = if node == MountTable::ROOT {
                        ROOT_ID
                    } else {
                        id
                    };
                    lines.push(Line {
                        id,
                        parent: if node == MountTable::ROOT { 0 } else { above },
                        at,
                        device,
                        kind,
                        writable: lock(&self.writable).contains(&mount.rule),
                    });
                    above = id;
                }
                (None, Some(at)) if node == MountTable::ROOT => lines.push(Line {
                    id: ROOT_ID,
                    parent: 0,
                    at,
                    device: root.st_dev,
                    kind: "tmpfs",
                    writable: false,
                }),
                _ => {}
            }
            open.extend(self.table.children(node).map(|(_, child)| (child, above)));
        }
        Ok(lines)
    }

    /// The device and the kind of file system behind a mount.
    fn kind_of(&self, mount: &Mount, made_up: u64) -> sys::Result<(u64, &'static str)> {
        let of_host = |fd: BorrowedFd<'_>| -> sys::Result<_> {
            let kind = sys::fs::fstatfs(fd)?.f_type;
            let known = KINDS.iter().find(|(magic, _)| *magic == kind);
            let device = sys::fs::fstat(fd)?.st_dev;
            Ok((device, known.map_or("unknown", |(_, name)| name)))
        };
        Ok(match &mount.source {
            Source::Dir(object) | Source::File(object) => of_host(object.fd.as_fd())?,
            Source::Text(_) => of_host(self.scratch.parking())?,
            Source::Private(dir) => of_host(dir.enter(&self.scratch)?)?,
            Source::Cow(tree) => {
                let (device, _) = of_host(tree.cow.root().top()?)?;
                (device, "overlay")
            }
            Source::Proc => (made_up, "proc"),
            Source::Dev => (made_up, "devtmpfs"),
            Source::Symlink(_) | Source::Hidden => (made_up, "none"),
        })
    }
}

/// The number of the root; mounts have those after it.
const ROOT_ID: usize = 1;

/// White space and backslashes in octal, proc(5).
fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' | '\t' | '\n' | '\\' => text.push_str(&format!("\\{:03o}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\{byte:03o}"));
        }
    }
    text
}

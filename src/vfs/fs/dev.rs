//! `/dev`: the few devices that every program expects, and the terminals of the sandbox.

use super::{SynthDir, SynthFile, SynthNode};
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Passed on from the host under the same name.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "ptmx"];

/// Links, as every Linux system has them.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

pub(super) fn child(name: &[u8]) -> SynthNode {
    if let Some(device) = DEVICES.iter().find(|d| d.as_bytes() == name) {
        return SynthNode::File(SynthFile::Device(device));
    }
    if let Some((_, text)) = LINKS.iter().find(|(link, _)| link.as_bytes() == name) {
        return SynthNode::Link(text.as_bytes().into());
    }
    match name {
        b"tty" => SynthNode::File(SynthFile::Tty),
        b"pts" => SynthNode::Dir(SynthDir::Pts),
        _ => SynthNode::Absent,
    }
}

pub(super) fn names() -> Vec<(Vec<u8>, u8)> {
    let devices = DEVICES
        .iter()
        .chain(&["tty"])
        .map(|d| (d.as_bytes().to_vec(), libc::DT_CHR));
    let links = LINKS
        .iter()
        .map(|(link, _)| (link.as_bytes().to_vec(), libc::DT_LNK));
    devices
        .chain(links)
        .chain([(b"pts".to_vec(), libc::DT_DIR)])
        .collect()
}

/// A pseudo-terminal of the sandbox. The number alone says little: when the master is closed, the next
/// terminal that anybody on the host opens gets the same. So the slave's inode is held (`O_PATH` opens
/// no terminal); it goes with the master, and never comes to mean another.
#[derive(Debug)]
pub(in crate::vfs) struct Terminal {
    pub(super) number: u32,
    pub(super) slave: OwnedFd,
}

impl Terminal {
    /// The one behind a master that was just opened.
    pub(super) fn behind(master: BorrowedFd<'_>, dir: BorrowedFd<'_>) -> sys::Result<Self> {
        let number = terminal_number(master)?;
        let name = CString::new(format!("/dev/pts/{number}")).map_err(|_| Errno::EIO)?;
        let slave = sys::fs::openat(dir, &name, libc::O_PATH, 0)?;
        Ok(Self { number, slave })
    }

    /// True until the master is closed.
    pub(super) fn lives(&self) -> bool {
        sys::fs::fstat(self.slave.as_fd()).is_ok_and(|stat| stat.st_nlink > 0)
    }
}

pub(super) fn pts_child(name: &[u8], terminals: &[Terminal]) -> SynthNode {
    let number = std::str::from_utf8(name)
        .ok()
        .and_then(|n| n.parse::<u32>().ok());
    match number {
        Some(n)
            if terminals.iter().any(|t| t.number == n && t.lives())
                && n.to_string().as_bytes() == name =>
        {
            SynthNode::File(SynthFile::Pts(n))
        }
        _ if name == b"ptmx" => SynthNode::File(SynthFile::Device("ptmx")),
        _ => SynthNode::Absent,
    }
}

pub(super) fn pts_names(terminals: &[Terminal]) -> Vec<(Vec<u8>, u8)> {
    let numbers = terminals
        .iter()
        .filter(|t| t.lives())
        .map(|t| (t.number.to_string().into_bytes(), libc::DT_CHR));
    numbers.chain([(b"ptmx".to_vec(), libc::DT_CHR)]).collect()
}

/// The number N of `/dev/pts/N` behind a pseudo-terminal master.
fn terminal_number(master: BorrowedFd<'_>) -> sys::Result<u32> {
    let name = sys::process::pty_number(master)?;
    u32::try_from(name).map_err(|_| Errno::EIO)
}

/// The number N of `/dev/pts/N`, the controlling terminal of `tgid`, from field tty_nr of its stat file.
pub(super) fn controlling_terminal(tgid: i32) -> Option<u32> {
    let stat = procfs::process::Process::new(tgid).ok()?.stat().ok()?;
    let (major, minor) = stat.tty_nr();
    // Documentation/admin-guide/devices.txt: 136-143 are Unix98 pseudo-terminals.
    (136..=143)
        .contains(&major)
        .then(|| u32::try_from((major - 136) * 256 + minor).ok())
        .flatten()
}

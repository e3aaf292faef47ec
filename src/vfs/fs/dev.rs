//! `/dev`: the few devices that every program expects, and terminals made in the sandbox.

use super::{SynthDir, SynthFile, SynthNode};
use crate::sys::{self, Errno};
use std::ffi::CString;
use std::os::fd::BorrowedFd;

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

pub(super) fn pts_child(name: &[u8], terminals: &[u32]) -> SynthNode {
    let number = std::str::from_utf8(name)
        .ok()
        .and_then(|n| n.parse::<u32>().ok());
    match number {
        Some(n) if terminals.contains(&n) && n.to_string().as_bytes() == name => {
            SynthNode::File(SynthFile::Pts(n))
        }
        _ if name == b"ptmx" => SynthNode::File(SynthFile::Device("ptmx")),
        _ => SynthNode::Absent,
    }
}

pub(super) fn pts_names(terminals: &[u32]) -> Vec<(Vec<u8>, u8)> {
    let numbers = terminals
        .iter()
        .map(|n| (n.to_string().into_bytes(), libc::DT_CHR));
    numbers.chain([(b"ptmx".to_vec(), libc::DT_CHR)]).collect()
}

/// The number N of `/dev/pts/N` behind a pseudo-terminal master.
pub(super) fn terminal_number(master: BorrowedFd<'_>) -> sys::Result<u32> {
    let name = sys::process::pty_number(master)?;
    u32::try_from(name).map_err(|_| Errno::EIO)
}

/// The host path of the controlling terminal of `tgid`, from field tty_nr of its stat file.
pub(super) fn controlling_terminal(tgid: i32) -> Option<CString> {
    let stat = procfs::process::Process::new(tgid).ok()?.stat().ok()?;
    let (major, minor) = stat.tty_nr();
    let path = match major {
        // Documentation/admin-guide/devices.txt: 136-143 are Unix98 pseudo-terminals, 4 the consoles.
        136..=143 => format!("/dev/pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("/dev/tty{minor}"),
        4 => format!("/dev/ttyS{}", minor - 64),
        _ => return None,
    };
    CString::new(path).ok()
}

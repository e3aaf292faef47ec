//! Which paths of the host no guest can lead elsewhere.
//!
//! Where a guest's path leads the kernel to the file that the view has there, the kernel may take the path
//! itself, provided that no guest can change what it leads to between our look and the kernel's: not the
//! file, and none of the directories and links on the way.

use super::Vfs;
use super::lock;
use super::mount::Source;
use super::path::strip_prefix;
use crate::sys::{self, Errno};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

/// As for any walk (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Trees of the kernel whose links and names mean something else to each process.
const OF_THE_CALLER: [&[u8]; 3] = [b"/proc", b"/dev", b"/sys"];

impl Vfs {
    /// True if all that the kernel passes on its way along `path`, an absolute path of the host, lies where
    /// no guest can change anything.
    ///
    /// By path only: a file may have a second name in a place that guests can write to.
    pub fn is_fixed(&self, path: &CStr) -> bool {
        path.to_bytes().first() == Some(&b'/') && self.walk_fixed(path.to_bytes()).is_ok()
    }

    fn walk_fixed(&self, path: &[u8]) -> sys::Result<()> {
        let changeable = self.changeable.get_or_init(|| self.find_changeable());
        // Names still to be walked, the next one last.
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        push(&mut names, path);
        while let Some(name) = names.pop() {
            match &*name {
                b"." => continue,
                b".." => {
                    let above = at.iter().rposition(|&b| b == b'/').unwrap_or(0);
                    at.truncate(above);
                    continue;
                }
                _ => {}
            }
            let before = at.len();
            at.push(b'/');
            at.extend_from_slice(&name);
            let below = |tree: &[u8]| strip_prefix(&at, tree).is_some();
            if changeable.iter().any(|tree| below(tree)) || OF_THE_CALLER.into_iter().any(below) {
                return Err(Errno::EXDEV);
            }
            let mut text = [0u8; libc::PATH_MAX as usize];
            let here = CString::new(at.as_slice()).map_err(|_| Errno::EINVAL)?;
            match sys::fs::readlink(&here, &mut text) {
                // No link.
                Err(Errno::EINVAL) => {}
                Err(errno) => return Err(errno),
                Ok(text) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    at.truncate(if text.first() == Some(&b'/') {
                        0
                    } else {
                        before
                    });
                    push(&mut names, text);
                }
            }
        }
        Ok(())
    }

    /// Trees of the host that guests can change things in: what is shown writable, and what is ours.
    fn find_changeable(&self) -> Vec<Box<[u8]>> {
        let writable = lock(&self.writable);
        let mut trees: Vec<Box<[u8]>> = vec![self.scratch.base_path()];
        let mut shown: Vec<Box<[u8]>> = Vec::new();
        for mount in self.table.mounts() {
            match &mount.source {
                Source::Dir(object) | Source::File(object) if writable.contains(&mount.rule) => {
                    shown.push(object.path.0.clone());
                }
                // The first is the upper; the others are only read.
                Source::Cow(tree) => trees.extend(tree.layers.first().map(|path| path.0.clone())),
                _ => {}
            }
        }
        if !shown.is_empty() {
            // What can't be known may be anywhere.
            trees.extend(other_names(&shown).unwrap_or_else(|| vec![b"/".as_slice().into()]));
        }
        trees.extend(shown);
        trees
    }
}

/// Where else on the host these trees are seen: a bind mount shows the same directories at another place.
fn other_names(trees: &[Box<[u8]>]) -> Option<Vec<Box<[u8]>>> {
    let mounts = procfs::process::Process::myself()
        .and_then(|p| p.mountinfo())
        .ok()?;
    let point = |at: usize| {
        mounts
            .0
            .get(at)
            .map(|m| m.mount_point.as_os_str().as_bytes())
    };
    let mut names = Vec::new();
    for tree in trees {
        // Of mounts on top of each other the last one is seen.
        let holder = (0..mounts.0.len())
            .filter(|&at| point(at).is_some_and(|point| strip_prefix(tree, point).is_some()))
            .max_by_key(|&at| (point(at).map(<[u8]>::len), at))?;
        let own = mounts.0.get(holder)?;
        let inside = join(own.root.as_bytes(), strip_prefix(tree, point(holder)?)?);
        let others = mounts
            .0
            .iter()
            .filter(|m| m.majmin == own.majmin && m.mnt_id != own.mnt_id);
        names.extend(others.filter_map(|other| {
            let (point, root) = (
                other.mount_point.as_os_str().as_bytes(),
                other.root.as_bytes(),
            );
            match strip_prefix(&inside, root) {
                Some(rest) => Some(join(point, rest).into()),
                None => strip_prefix(root, &inside).map(|_| point.into()),
            }
        }));
    }
    Some(names)
}

fn join(dir: &[u8], rest: &[u8]) -> Vec<u8> {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    match rest {
        b"" if dir.is_empty() => b"/".to_vec(),
        b"" => dir.to_vec(),
        _ => [dir, b"/", rest].concat(),
    }
}

fn push(names: &mut Vec<Vec<u8>>, text: &[u8]) {
    let parts = text.split(|&b| b == b'/').filter(|part| !part.is_empty());
    let first = names.len();
    names.extend(parts.map(<[u8]>::to_vec));
    if let Some(new) = names.get_mut(first..) {
        new.reverse();
    }
}

//! The walk of openat2(2) with limits (`RESOLVE_BENEATH` and its kin). It keeps the rules of the walk without
//! limits, and remembers where it has been.

use super::{Follow, Found};
use super::{Last, Place, Walk, is_link};
use crate::sys::{self, Errno};
use crate::vfs::dir::Dir;
use crate::vfs::fs::SynthDir;
use crate::vfs::mount::MountId;
use crate::vfs::path::components;
use bumpalo::Bump;
use std::sync::Arc;

/// Limits that openat2(2) puts on a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope(u64);

impl Scope {
    /// Checks `resolve` of `struct open_how`. EINVAL for unknown or contradicting bits.
    pub fn new(resolve: u64) -> sys::Result<Self> {
        let known = libc::RESOLVE_NO_XDEV
            | libc::RESOLVE_NO_MAGICLINKS
            | libc::RESOLVE_NO_SYMLINKS
            | libc::RESOLVE_BENEATH
            | libc::RESOLVE_IN_ROOT
            | libc::RESOLVE_CACHED;
        let both = libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT;
        if resolve & !known != 0 || resolve & both == both {
            return Err(Errno::EINVAL);
        }
        if resolve & libc::RESOLVE_CACHED != 0 {
            // "Try again without it" is always a right answer to RESOLVE_CACHED.
            return Err(Errno::EAGAIN);
        }
        Ok(Self(resolve))
    }

    /// True if absolute paths start at the directory too.
    pub fn is_in_root(self) -> bool {
        self.has(libc::RESOLVE_IN_ROOT)
    }

    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    pub(super) const fn is_plain(self) -> bool {
        self.0 == 0
    }
}

/// The file system that a walk with `RESOLVE_NO_XDEV` must not leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Mount(Option<MountId>),
    Dev,
    Proc,
}

impl Origin {
    fn of(dir: &Dir) -> Self {
        match dir.synth() {
            Some(SynthDir::Proc(_)) => Self::Proc,
            Some(SynthDir::Dev | SynthDir::Pts) => Self::Dev,
            _ => Self::Mount(dir.mount),
        }
    }
}

impl Walk<'_> {
    /// The walk of openat2(2) with limits: component by component, remembering where it has been.
    pub(super) fn find_within<'a>(
        &mut self,
        start: &Arc<Dir>,
        path: &[u8],
        follow: Follow,
        scope: Scope,
        arena: &'a Bump,
    ) -> sys::Result<Found<'a>> {
        let confined = scope.has(libc::RESOLVE_BENEATH) || scope.has(libc::RESOLVE_IN_ROOT);
        let mut work: Vec<Vec<u8>> = Vec::new();
        let mut trail: Vec<Arc<Dir>> = Vec::new();
        let mut base = Arc::clone(start);
        let mut must_be_dir = path.last() == Some(&b'/');
        let origin = Origin::of(start);
        let push = |work: &mut Vec<Vec<u8>>, text: &[u8]| {
            let names: Vec<_> = components(text).map(<[u8]>::to_vec).collect();
            work.extend(names.into_iter().rev());
        };
        if path.first() == Some(&b'/') {
            if scope.has(libc::RESOLVE_BENEATH) {
                return Err(Errno::EXDEV);
            }
            if !scope.has(libc::RESOLVE_IN_ROOT) {
                base = Arc::clone(&self.vfs.root);
            }
        }
        push(&mut work, path);
        trail.push(base);
        while let Some(name) = work.pop() {
            let dir = trail.last().cloned().ok_or(Errno::EIO)?;
            let is_last = work.is_empty();
            if self.who.trip.is_some() {
                let rest: Vec<u8> = work
                    .iter()
                    .rev()
                    .flat_map(|n| [n, &b"/"[..]].concat())
                    .collect();
                self.lost = None;
                self.lose(&dir, &name, &rest);
            }
            match name.as_slice() {
                b"." => {
                    self.vfs.may_search(&dir)?;
                    continue;
                }
                b".." if confined => {
                    self.vfs.may_search(&dir)?;
                    if trail.len() > 1 {
                        trail.pop();
                    } else if scope.has(libc::RESOLVE_BENEATH) {
                        return Err(Errno::EXDEV);
                    }
                    continue;
                }
                b".." => {
                    let above = self.parent(&dir)?;
                    trail.push(above);
                    self.check_crossing(&trail, origin, scope)?;
                    continue;
                }
                _ => {}
            }
            let place = self.child(&dir, &name, arena)?;
            if is_last && follow == Follow::Make && must_be_dir {
                self.refuse_file(&place)?;
            }
            if scope.has(libc::RESOLVE_NO_XDEV)
                && matches!(&place, Place::Dir(d, _) if Origin::of(d) != origin)
            {
                return Err(Errno::EXDEV);
            }
            let text = match &place {
                Place::Link { text, .. } => Some(text.to_vec()),
                Place::Name { dir, name, .. } => match dir.stat_name(name) {
                    Ok(stat) if is_link(&stat) => {
                        let mut buf = [0u8; libc::PATH_MAX as usize];
                        Some(dir.read_link(name, &mut buf)?.to_vec())
                    }
                    Err(Errno::ENOENT) if is_last => {
                        return Ok(Found { place, stat: None });
                    }
                    Ok(_) => None,
                    Err(e) => return Err(e),
                },
                Place::Magic(link) if !(is_last && follow == Follow::Never) => {
                    // It leads out of every scope.
                    if confined || scope.has(libc::RESOLVE_NO_XDEV) {
                        return Err(Errno::EXDEV);
                    }
                    if scope.has(libc::RESOLVE_NO_MAGICLINKS)
                        || scope.has(libc::RESOLVE_NO_SYMLINKS)
                    {
                        return Err(Errno::ELOOP);
                    }
                    self.count_link()?;
                    let place = self.vfs.magic_target(*link, self.who, arena)?;
                    if is_last {
                        let stat = self.vfs.stat(&place)?;
                        return Ok(Found { place, stat });
                    }
                    let Place::Dir(found, _) = place else {
                        return Err(Errno::ENOTDIR);
                    };
                    trail.push(found);
                    continue;
                }
                _ => None,
            };
            if let Some(text) = text {
                if is_last && follow == Follow::Never && !must_be_dir {
                    let stat = self.vfs.stat(&place)?;
                    return Ok(Found { place, stat });
                }
                if scope.has(libc::RESOLVE_NO_SYMLINKS) {
                    return Err(Errno::ELOOP);
                }
                self.count_link()?;
                if text.first() == Some(&b'/') {
                    if scope.has(libc::RESOLVE_BENEATH) {
                        return Err(Errno::EXDEV);
                    }
                    if scope.has(libc::RESOLVE_IN_ROOT) {
                        trail.truncate(1);
                    } else {
                        trail.push(Arc::clone(&self.vfs.root));
                        self.check_crossing(&trail, origin, scope)?;
                    }
                }
                must_be_dir |= is_last && text.last() == Some(&b'/');
                push(&mut work, &text);
                continue;
            }
            if is_last {
                let stat = self.vfs.stat(&place)?;
                if must_be_dir && stat.is_some_and(|s| s.st_mode & libc::S_IFMT != libc::S_IFDIR) {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(Found { place, stat });
            }
            let next = match place {
                Place::Dir(found, _) => found,
                Place::Name { name, pinned, .. } => self.step_on_host(&dir, name, pinned)?,
                Place::Absent { .. } => return Err(Errno::ENOENT),
                _ => return Err(Errno::ENOTDIR),
            };
            trail.push(next);
        }
        let dir = trail.pop().ok_or(Errno::EIO)?;
        let place = Place::Dir(dir, Last::Dot);
        let stat = self.vfs.stat(&place)?;
        Ok(Found { place, stat })
    }

    fn check_crossing(&self, trail: &[Arc<Dir>], origin: Origin, scope: Scope) -> sys::Result<()> {
        let crossed = trail.last().is_some_and(|dir| Origin::of(dir) != origin);
        if crossed && scope.has(libc::RESOLVE_NO_XDEV) {
            Err(Errno::EXDEV)
        } else {
            Ok(())
        }
    }
}

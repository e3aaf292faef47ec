//! The walk: from a start directory and a path text to a [`Place`].
//!
//! Kept rules, each of which closes a way out of the view:
//! - one component, one `openat(O_PATH | O_NOFOLLOW)` on a held directory: nothing that a guest
//!   renames meanwhile can redirect the kernel;
//! - `..` is looked up in the view, never asked of the kernel, which knows no mount of ours (`resolve/above.rs`);
//! - the text of a symbolic link is read and walked here: absolute means the view's root;
//! - `/proc` magic links are ours and resolved for the calling task (path_resolution(7)).
//!
//! Long because the walk is one argument: whoever checks that nothing leads out must see all of it. What it is asked and answers is in
//! `resolve/place.rs`, the records of directories in `resolve/dirs.rs`.

mod above;
mod dirs;
mod place;
mod within;

use super::cow::CowDir;
use super::dir::{Dir, DirKind};
use super::fs::{SynthDir, SynthNode};
use super::mount::{NodeId, Source};
use super::path::{VPath, components};
use super::{Caller, Met, Vfs};
use crate::sys::{self, Errno};
use bumpalo::Bump;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

pub use place::{Follow, Found, Last, Place};
pub use within::Scope;

/// Symbolic links that one walk may follow (path_resolution(7): ELOOP beyond 40).
const MAX_LINKS: u32 = 40;

pub(super) struct Walk<'v> {
    vfs: &'v Vfs,
    who: Caller<'v>,
    links: u32,
    /// Something on the way belongs to the calling task alone.
    uncacheable: bool,
    generation: u64,
    /// What was asked for, where the walk could not go on: for those who listen for names that end the run.
    lost: Option<VPath>,
}

impl Vfs {
    /// Walks to the last component of `path` and stops there: symbolic links in the middle are
    /// followed, the last one isn't. For calls that make, remove or read names.
    pub fn locate<'a>(
        &self,
        who: Caller<'_>,
        start: &Arc<Dir>,
        path: &'a CStr,
        arena: &'a Bump,
    ) -> sys::Result<Place<'a>> {
        check_path(path)?;
        let mut walk = self.walk(who);
        let place = walk.locate(start, path.to_bytes(), arena);
        walk.tell_lost(place.is_err());
        if let Some(sight) = who.sight {
            match &place {
                Ok(place) => self.tell_end(sight, place, Met::Name),
                Err(_) => sight.failed(start, path.to_bytes()),
            }
        }
        place
    }

    /// Walks to what `path` names and looks at it.
    pub fn find<'a>(
        &self,
        who: Caller<'_>,
        start: &Arc<Dir>,
        path: &'a CStr,
        follow: Follow,
        arena: &'a Bump,
    ) -> sys::Result<Found<'a>> {
        check_path(path)?;
        let mut walk = self.walk(who);
        let found = walk.find(start, path.to_bytes(), follow, arena);
        walk.tell_lost(found.is_err());
        if let Some(sight) = who.sight {
            match &found {
                Ok(found) => self.tell_found(sight, found),
                Err(_) => sight.failed(start, path.to_bytes()),
            }
        }
        found
    }

    /// [`Vfs::find`] within the limits of openat2(2).
    pub fn find_within<'a>(
        &self,
        who: Caller<'_>,
        start: &Arc<Dir>,
        path: &'a CStr,
        follow: Follow,
        scope: Scope,
        arena: &'a Bump,
    ) -> sys::Result<Found<'a>> {
        if scope.is_plain() {
            return self.find(who, start, path, follow, arena);
        }
        check_path(path)?;
        let mut walk = self.walk(who);
        let found = walk.find_within(start, path.to_bytes(), follow, scope, arena);
        walk.tell_lost(found.is_err());
        if let Some(sight) = who.sight
            && let Ok(found) = &found
        {
            self.tell_found(sight, found);
        }
        found
    }
}

/// An empty path names nothing (path_resolution(7)); callers with AT_EMPTY_PATH don't come here.
fn check_path(path: &CStr) -> sys::Result<()> {
    if path.is_empty() {
        Err(Errno::ENOENT)
    } else {
        Ok(())
    }
}

/// A component as the kernel takes it. ENAMETOOLONG beyond 255 bytes comes from the kernel, but
/// not for names that only we look at.
fn name_in<'a>(name: &[u8], arena: &'a Bump) -> sys::Result<&'a CStr> {
    let copy = arena.alloc_slice_fill_copy(name.len() + 1, 0u8);
    copy.get_mut(..name.len())
        .ok_or(Errno::ENAMETOOLONG)?
        .copy_from_slice(name);
    CStr::from_bytes_with_nul(copy).map_err(|_| Errno::ENOENT)
}

fn trim_end(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    path.get(..end).unwrap_or_default()
}

fn trim_start(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

/// Splits a path without trailing slashes into the text before the last name, and the name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

impl<'v> Walk<'v> {
    pub(super) fn new(vfs: &'v Vfs, who: Caller<'v>) -> Self {
        let generation = vfs.cache.generation();
        Self {
            vfs,
            who,
            links: 0,
            uncacheable: false,
            generation,
            lost: None,
        }
    }

    fn start<'p>(&self, start: &Arc<Dir>, path: &'p [u8]) -> (Arc<Dir>, &'p [u8]) {
        if path.first() == Some(&b'/') {
            (Arc::clone(&self.vfs.root), trim_start(path))
        } else {
            (Arc::clone(start), path)
        }
    }

    /// The directory that `path`, relative or absolute, leads to, following everything.
    pub(super) fn dir_at(&mut self, start: &Arc<Dir>, path: &[u8]) -> sys::Result<Arc<Dir>> {
        let (start, rest) = self.start(start, path);
        self.dir(&start, rest)
    }

    /// The directory that `text` leads to from `start`, following everything.
    ///
    /// `text` is relative. The longest prefix that the cache knows is where the walk begins.
    pub(super) fn dir(&mut self, start: &Arc<Dir>, text: &[u8]) -> sys::Result<Arc<Dir>> {
        let text = trim_end(text);
        if text.is_empty() {
            return Ok(Arc::clone(start));
        }
        let before = self.links;
        let (mut at, known) = self.known_prefix(start, text)?;
        // `end` is where the component just walked ends within `text`.
        let mut end = known;
        while end < text.len() {
            let rest = text.get(end..).unwrap_or_default();
            let skipped = rest.len() - trim_start(rest).len();
            let from = end + skipped;
            let rest = text.get(from..).unwrap_or_default();
            let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let name = rest.get(..len).unwrap_or_default();
            end = from + len;
            let prefix = text.get(..end).unwrap_or_default();
            at = match self.still_there(start, prefix, &at, name) {
                Some(same) => same,
                None => match self.step(&at, name) {
                    Ok(found) => found,
                    Err(errno) => {
                        self.lose(&at, name, text.get(end..).unwrap_or_default());
                        return Err(errno);
                    }
                },
            };
            if !self.uncacheable {
                let links = self.links - before;
                at = self.vfs.cache.put(
                    (self.vfs.within(), start),
                    prefix,
                    at,
                    (links, self.generation),
                );
            }
        }
        Ok(at)
    }

    /// The longest prefix of `text` that the cache knows, and its length. A few are tried:
    /// neighbours of known directories are what programs ask for.
    fn known_prefix(&mut self, start: &Arc<Dir>, text: &[u8]) -> sys::Result<(Arc<Dir>, usize)> {
        let mut prefix = text;
        for _ in 0..8 {
            if prefix.is_empty() {
                break;
            }
            if let Some((dir, links)) = self.vfs.cache.get(self.vfs.within(), start, prefix) {
                self.count_links(links)?;
                return Ok((dir, prefix.len()));
            }
            prefix = trim_end(split(prefix).0);
        }
        Ok((Arc::clone(start), 0))
    }

    /// The directory that `prefix` led to before, if it still stands at `name` of `at`: that takes one
    /// call, where finding it anew takes three.
    fn still_there(
        &self,
        start: &Arc<Dir>,
        prefix: &[u8],
        at: &Arc<Dir>,
        name: &[u8],
    ) -> Option<Arc<Dir>> {
        let dir = self.vfs.cache.expired(self.vfs.within(), start, prefix)?;
        let (above, last) = dir.path()?.split_last()?;
        // No mount begins here, so it has the rule and mount of what is above it.
        let is_plain = at.path()?.below_root() == above
            && last == name
            && (dir.mount, dir.rule) == (at.mount, at.rule)
            && at
                .node
                .is_none_or(|node| self.vfs.table.child(node, name).is_none());
        if !is_plain {
            return None;
        }
        let mut text = [0u8; 256];
        text.get_mut(..name.len())?.copy_from_slice(name);
        let name = CStr::from_bytes_until_nul(&text).ok()?;
        let same = match (&at.kind, &dir.kind) {
            (DirKind::Host { fd, .. }, DirKind::Host { inode, .. }) => {
                let flags = libc::AT_SYMLINK_NOFOLLOW;
                let stat = sys::fs::fstatat(fd.as_fd(), name, flags).ok()?;
                (stat.st_dev, stat.st_ino) == *inode
            }
            (DirKind::Cow(at), DirKind::Cow(dir)) => at.still_has(name, dir),
            _ => false,
        };
        if !same {
            return None;
        }
        *super::lock(&dir.seen) = Instant::now();
        Some(dir)
    }

    /// One component of a path, which must lead to a directory.
    fn step(&mut self, dir: &Arc<Dir>, name: &[u8]) -> sys::Result<Arc<Dir>> {
        match name {
            b"" => return Ok(Arc::clone(dir)),
            b"." => return self.vfs.may_search(dir).map(|()| Arc::clone(dir)),
            b".." => return self.parent(dir),
            _ => {}
        }
        let arena = Bump::new();
        match self.child(dir, name, &arena)? {
            Place::Dir(found, _) => Ok(found),
            Place::Name { name, pinned, .. } => self.step_on_host(dir, name, pinned),
            Place::Link { text, .. } => {
                self.tell(dir, name, Met::Link);
                self.follow_to_dir(dir, text)
            }
            Place::Absent { .. } => Err(Errno::ENOENT),
            Place::Magic(link) => {
                self.count_link()?;
                match self.vfs.magic_target(link, self.who, &arena)? {
                    Place::Dir(found, _) => Ok(found),
                    _ => Err(Errno::ENOTDIR),
                }
            }
            Place::Open(_) | Place::File(_) | Place::Synth(_) => Err(Errno::ENOTDIR),
        }
    }

    /// What the view has at `name` of `dir`: a mount, something of our own, or a host name.
    fn child<'a>(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        arena: &'a Bump,
    ) -> sys::Result<Place<'a>> {
        let bare = trim_end(name);
        let node = dir.node.and_then(|node| self.vfs.table.child(node, bare));
        if let Some(node) = node
            && let Some(place) = self.mounted(dir, bare, node, arena)?
        {
            let place = self.vfs.as_shown_here(dir, bare, place);
            if matches!(place, Place::Absent { .. }) {
                self.tell_nothing(dir, bare);
            }
            return Ok(place);
        }
        let ruled = !matches!(dir.synth(), Some(SynthDir::Ancestor(_)));
        if self.vfs.names.is_some() && ruled && self.vfs.hides(dir, bare) {
            self.tell_nothing(dir, bare);
            return Ok(Place::Absent {
                dir: Arc::clone(dir),
                hidden: true,
            });
        }
        match dir.synth() {
            None => Ok(Place::Name {
                dir: Arc::clone(dir),
                name: name_in(name, arena)?,
                pinned: node.is_some(),
            }),
            Some(_) if bare.len() > 255 => Err(Errno::ENAMETOOLONG),
            Some(what) => {
                // Per-task contents: never remembered by text.
                self.uncacheable |= matches!(what, SynthDir::Proc(_));
                let place = match self.vfs.synth_child(what, bare, self.who)? {
                    SynthNode::Dir(child) => {
                        let path = dir.path.as_ref().map(|p| p.join(bare));
                        Place::Dir(self.vfs.synth_dir(child, path)?, Last::Mounted)
                    }
                    SynthNode::File(file) => Place::Synth(file),
                    SynthNode::Link(text) => Place::Link {
                        dir: Arc::clone(dir),
                        text: arena.alloc_slice_copy(&text),
                    },
                    SynthNode::Magic(link) => Place::Magic(link),
                    SynthNode::Absent => Place::Absent {
                        dir: Arc::clone(dir),
                        hidden: false,
                    },
                };
                let place = self.vfs.as_shown_here(dir, bare, place);
                if matches!(place, Place::Absent { .. }) {
                    self.tell_nothing(dir, bare);
                }
                Ok(place)
            }
        }
    }

    /// What a mount puts at `node`; `None` when the node is only on the way to one and `dir` is a
    /// host directory that has the name itself.
    fn mounted<'a>(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        node: NodeId,
        arena: &'a Bump,
    ) -> sys::Result<Option<Place<'a>>> {
        let path = self.vfs.table.path(node).cloned();
        let Some((id, mount)) = self.vfs.table.mount_at(node) else {
            if dir.synth().is_none() {
                let name = name_in(name, arena)?;
                if let Ok(stat) = dir.stat_name(name) {
                    // It may be opened without ever being walked into: then too its listing is ours.
                    super::lock(&self.vfs.mixed).insert((stat.st_dev, stat.st_ino));
                    return Ok(None);
                }
            }
            let found = self.vfs.synth_dir(SynthDir::Ancestor(node), path)?;
            return Ok(Some(Place::Dir(found, Last::Mounted)));
        };
        Ok(Some(match &mount.source {
            Source::Dir(_) | Source::Private(_) => {
                Place::Dir(self.mount_root(id, node)?, Last::Mounted)
            }
            Source::Cow(tree) => {
                let root = self.cow_dir(tree.cow.root(), path, Some(node), mount.rule, Some(id));
                Place::Dir(root, Last::Mounted)
            }
            Source::File(_) | Source::Text(_) => Place::File(id),
            Source::Symlink(text) => Place::Link {
                dir: Arc::clone(dir),
                text: arena.alloc_slice_copy(text),
            },
            Source::Hidden if self.vfs.table.is_gone(node) => Place::Absent {
                dir: Arc::clone(dir),
                hidden: true,
            },
            Source::Hidden => {
                let found = self.vfs.synth_dir(SynthDir::Ancestor(node), path)?;
                Place::Dir(found, Last::Mounted)
            }
            Source::Dev => {
                let found = self.vfs.synth_dir(SynthDir::Dev, path)?;
                Place::Dir(found, Last::Mounted)
            }
            Source::Proc => {
                let found = self.vfs.synth_dir(SynthDir::PROC, path)?;
                Place::Dir(found, Last::Mounted)
            }
        }))
    }

    /// Tells what stands at a name on the way.
    fn tell(&self, dir: &Dir, name: &[u8], met: Met) {
        if let Some(sight) = self.who.sight {
            sight.at(dir, name, met);
        }
    }

    /// Notes what was asked for of a walk that ends at a name of `dir`, from inside out: where links have led elsewhere, below that.
    pub(super) fn lose(&mut self, dir: &Dir, name: &[u8], rest: &[u8]) {
        if self.who.trip.is_none() {
            return;
        }
        let begun = self.lost.take();
        let begun = begun.or_else(|| Some(dir.path()?.join(name)));
        // Above what isn't there is nothing.
        let names = components(rest).take_while(|name| *name != b"..");
        let names = names.filter(|name| *name != b".");
        self.lost = begun.map(|begun| names.fold(begun, |path, name| path.join(name)));
    }

    /// Tells if what was asked for in vain ends the run.
    fn tell_lost(&self, failed: bool) {
        if let Some(trip) = self.who.trip.filter(|_| failed)
            && let Some(lost) = &self.lost
            && let Some(at) = self
                .vfs
                .names
                .as_ref()
                .and_then(|n| n.trips(lost.as_bytes()))
        {
            trip.set(at.rule(), lost.as_bytes().to_vec());
        }
    }

    /// Tells that nothing is at a name, and if naming it ends the run. What was there is gone on with as if it were not.
    fn tell_nothing(&self, dir: &Dir, name: &[u8]) {
        self.tell(dir, name, Met::Nothing);
        if let Some(trip) = self.who.trip
            && let Some((rule, path)) = self.vfs.trips(dir, name)
        {
            trip.set(rule, path.as_bytes().to_vec());
        }
    }

    /// [`Walk::step_on_host`] in a copy-on-write tree.
    fn step_on_cow(
        &mut self,
        dir: &Arc<Dir>,
        cow: &Arc<CowDir>,
        name: &CStr,
    ) -> sys::Result<Arc<Dir>> {
        match cow.open_dir(name) {
            Ok(found) => {
                let path = dir.path.as_ref().map(|p| p.join(name.to_bytes()));
                let child = |node| self.vfs.table.child(node, name.to_bytes());
                let node = dir.node.and_then(child);
                let inode = found.top_inode();
                let found = self.cow_dir(&found, path, node, dir.rule, dir.mount);
                if let Some(inode) = inode {
                    self.vfs.cache.adopt(&found, inode);
                }
                Ok(found)
            }
            Err(Errno::ENOTDIR) => self.step_on_link(dir, name),
            Err(e) => Err(e),
        }
    }

    fn step_on_host(&mut self, dir: &Arc<Dir>, name: &CStr, pinned: bool) -> sys::Result<Arc<Dir>> {
        if let Some(cow) = dir.cow() {
            return self.step_on_cow(dir, cow, name);
        }
        let fd = dir.host().ok_or(Errno::ENOENT)?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        match sys::fs::openat(fd, name, flags, 0) {
            Ok(fd) => {
                let path = dir.path.as_ref().map(|p| p.join(name.to_bytes()));
                let node = match (pinned, dir.node) {
                    (true, Some(node)) => self.vfs.table.child(node, name.to_bytes()),
                    _ => None,
                };
                let generation = self.generation;
                let found = self.host_dir(fd, path, node, dir.rule, dir.mount, generation)?;
                if let DirKind::Host { inode, .. } = &found.kind {
                    self.vfs.cache.adopt(&found, *inode);
                }
                Ok(found)
            }
            Err(Errno::ENOTDIR) => self.step_on_link(dir, name),
            Err(e) => Err(e),
        }
    }

    /// `name` is no directory: then it must be a link to one.
    fn step_on_link(&mut self, dir: &Arc<Dir>, name: &CStr) -> sys::Result<Arc<Dir>> {
        let mut buf = [0u8; libc::PATH_MAX as usize];
        // EINVAL: not a link, so it really is no directory.
        let text = dir.read_link(name, &mut buf).map_err(|e| match e {
            Errno::EINVAL => Errno::ENOTDIR,
            other => other,
        })?;
        if let Some(path) = &dir.path {
            self.vfs.cache.pass_link(path.join(name.to_bytes()));
        }
        self.tell(dir, name.to_bytes(), Met::Link);
        self.follow_to_dir(dir, text)
    }

    fn follow_to_dir(&mut self, dir: &Arc<Dir>, text: &[u8]) -> sys::Result<Arc<Dir>> {
        self.count_link()?;
        self.dir_at(dir, text)
    }

    fn count_link(&mut self) -> sys::Result<()> {
        self.count_links(1)
    }

    fn count_links(&mut self, links: u32) -> sys::Result<()> {
        self.links += links;
        if self.links > MAX_LINKS {
            Err(Errno::ELOOP)
        } else {
            Ok(())
        }
    }

    fn locate<'a>(
        &mut self,
        start: &Arc<Dir>,
        path: &[u8],
        arena: &'a Bump,
    ) -> sys::Result<Place<'a>> {
        let (start, rest) = self.start(start, path);
        let bare = trim_end(rest);
        if bare.is_empty() {
            return Ok(Place::Dir(start, Last::Root));
        }
        let (head, last) = split(bare);
        let dir = match self.dir(&start, head) {
            Ok(dir) => dir,
            Err(errno) => {
                self.lose(&start, b"", last);
                return Err(errno);
            }
        };
        match last {
            b"." => {
                self.vfs.may_search(&dir)?;
                return Ok(Place::Dir(dir, Last::Dot));
            }
            b".." => return Ok(Place::Dir(self.parent(&dir)?, Last::DotDot)),
            _ => {}
        }
        // One trailing slash says as much as several.
        let from = bare.len() - last.len();
        let to = (bare.len() + 1).min(rest.len());
        let place = self.child(&dir, rest.get(from..to).unwrap_or(last), arena)?;
        if matches!(place, Place::Synth(_) | Place::Link { .. }) {
            self.tell(&dir, last, Met::There);
        }
        Ok(place)
    }

    fn find<'a>(
        &mut self,
        start: &Arc<Dir>,
        path: &[u8],
        follow: Follow,
        arena: &'a Bump,
    ) -> sys::Result<Found<'a>> {
        let mut start = Arc::clone(start);
        let mut path: &[u8] = path;
        let mut must_be_dir = path.last() == Some(&b'/');
        loop {
            let bare = if trim_end(path).is_empty() {
                path
            } else {
                trim_end(path)
            };
            let place = self.locate(&start, bare, arena)?;
            if follow == Follow::Make && must_be_dir {
                self.refuse_file(&place)?;
            }
            let follows = follow != Follow::Never || must_be_dir;
            let link: (&Arc<Dir>, &'a [u8]) = match &place {
                Place::Name { dir, name, .. } => match dir.stat_name(name) {
                    Ok(stat) if follows && is_link(&stat) => {
                        let mut buf = [0u8; libc::PATH_MAX as usize];
                        let text = dir.read_link(name, &mut buf)?;
                        (dir, arena.alloc_slice_copy(text))
                    }
                    Ok(stat) => {
                        if must_be_dir && stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
                            return Err(Errno::ENOTDIR);
                        }
                        return Ok(Found {
                            place,
                            stat: Some(stat),
                        });
                    }
                    Err(Errno::ENOENT) => {
                        return Ok(Found { place, stat: None });
                    }
                    Err(e) => return Err(e),
                },
                Place::Link { dir, text } if follows => (dir, *text),
                Place::Magic(link) if follows => {
                    self.count_link()?;
                    let place = self.vfs.magic_target(*link, self.who, arena)?;
                    let stat = self.vfs.stat(&place)?;
                    if must_be_dir && !matches!(place, Place::Dir(..)) {
                        return Err(Errno::ENOTDIR);
                    }
                    return Ok(Found { place, stat });
                }
                _ => {
                    let stat = self.vfs.stat(&place)?;
                    if must_be_dir
                        && stat.is_some_and(|s| s.st_mode & libc::S_IFMT != libc::S_IFDIR)
                    {
                        return Err(Errno::ENOTDIR);
                    }
                    return Ok(Found { place, stat });
                }
            };
            self.count_link()?;
            self.tell(link.0, split(bare).1, Met::Link);
            start = Arc::clone(link.0);
            path = link.1;
            must_be_dir |= path.last() == Some(&b'/');
        }
    }

    /// What [`Follow::Make`] says of `name/`.
    fn refuse_file(&self, place: &Place<'_>) -> sys::Result<()> {
        match place {
            Place::Dir(_, Last::Dot | Last::DotDot | Last::Root) => Ok(()),
            Place::Name { dir, .. } => self.vfs.may_search(dir).and(Err(Errno::EISDIR)),
            _ => Err(Errno::EISDIR),
        }
    }
}

fn is_link(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFLNK
}

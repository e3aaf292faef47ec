//! A merged directory: the layers it consists of, and where it hangs.

use super::super::{Inode, lock};
use super::copyup;
use super::layer::{self, LowerDir, Opacity};
use super::lookup::check_name;
use super::store::{Store, open_dir};
use super::upper::{Kind, UpperDir};
use crate::sys::{self, Errno};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A directory of a copy-on-write tree, held: it stays the same directory when it is moved.
///
/// As long as somebody holds it, everybody who looks it up gets this record.
#[derive(Debug)]
pub struct CowDir {
    pub(super) store: Arc<Store>,
    /// The lowers' directories that shine through, topmost first.
    pub(super) lowers: Box<[LowerDir]>,
    /// The upper's directory, made when something here changes first. Then it stays the same.
    upper: OnceLock<Arc<UpperDir>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    above: Option<(Arc<CowDir>, CString)>,
    removed: bool,
    // Keys are chosen by guests: hashed with a secret.
    children: HashMap<CString, Weak<CowDir>>,
}

impl CowDir {
    pub(super) fn root(store: Arc<Store>, lowers: Vec<OwnedFd>) -> sys::Result<Arc<Self>> {
        let upper = open_dir(store.upper.as_fd(), c".")?;
        let upper = store.adopt(upper)?;
        let count = lowers.len();
        let mut found = Vec::with_capacity(count);
        for (layer, fd) in lowers.into_iter().enumerate() {
            let (lower, last) = lower_dir(fd, layer, layer + 1 < count)?;
            found.push(lower);
            if last {
                break;
            }
        }
        Ok(Arc::new(Self {
            store,
            lowers: found.into(),
            upper: OnceLock::from(upper),
            state: Mutex::default(),
        }))
    }

    /// The directory `name` in this one. ENOTDIR for anything else, links included.
    pub fn open_dir(self: &Arc<Self>, name: &CStr) -> sys::Result<Arc<Self>> {
        let _gate = self.store.look();
        self.child(name)
    }

    /// The topmost layer's directory (`O_PATH`), for calls that only look: its attributes are the
    /// merged directory's.
    pub fn top(&self) -> sys::Result<BorrowedFd<'_>> {
        match (self.upper.get(), self.lowers.first()) {
            (Some(upper), _) => Ok(upper.fd.as_fd()),
            (None, Some(lower)) => Ok(lower.fd.as_fd()),
            (None, None) => Err(Errno::ENOENT),
        }
    }

    /// The names that lead here from the root; `None` once the directory was removed.
    pub fn path(&self) -> Option<Vec<CString>> {
        let _gate = self.store.look();
        (!self.is_removed()).then(|| self.names())
    }

    /// [`CowDir::path`]; of a removed directory the one that it had.
    pub fn last_path(&self) -> Vec<CString> {
        let _gate = self.store.look();
        self.names()
    }

    /// [`CowDir::last_path`] with the gate held.
    pub(super) fn names(&self) -> Vec<CString> {
        let mut names = Vec::new();
        let mut at = lock(&self.state).above.clone();
        while let Some((dir, name)) = at {
            names.push(name);
            at = lock(&dir.state).above.clone();
        }
        names.reverse();
        names
    }

    /// The directory above; `None` for the root.
    pub fn above(&self) -> Option<Arc<Self>> {
        let _gate = self.store.look();
        lock(&self.state)
            .above
            .as_ref()
            .map(|(dir, _)| Arc::clone(dir))
    }

    /// True if the host directory with this identity has a part in this one.
    pub fn has_layer(&self, inode: Inode) -> bool {
        self.upper.get().is_some_and(|upper| upper.inode == inode)
            || self.lowers.iter().any(|lower| lower.inode == inode)
    }

    /// True if both are records of one directory.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    pub(super) fn is_removed(&self) -> bool {
        lock(&self.state).removed
    }

    /// This directory's part of the upper, if it has one yet.
    pub(super) fn upper(&self) -> Option<Arc<UpperDir>> {
        self.upper.get().cloned()
    }

    /// True if the upper alone says what is here.
    pub(super) fn is_pure(&self) -> bool {
        self.lowers.is_empty()
    }

    /// True if this is `other` or lies below it.
    pub(super) fn is_within(self: &Arc<Self>, other: &Self) -> bool {
        let mut at = Some(Arc::clone(self));
        while let Some(dir) = at {
            if dir.is_same(other) {
                return true;
            }
            at = lock(&dir.state)
                .above
                .as_ref()
                .map(|(dir, _)| Arc::clone(dir));
        }
        false
    }

    /// [`CowDir::open_dir`] with the gate held.
    pub(super) fn child(self: &Arc<Self>, name: &CStr) -> sys::Result<Arc<Self>> {
        if name == c"." {
            return Ok(Arc::clone(self));
        }
        check_name(name)?;
        if self.is_removed() {
            return self.must_search().and(Err(Errno::ENOENT));
        }
        let mut upper = None;
        if let Some(mine) = self.upper() {
            let kind = mine.kind(name)?;
            if kind != Some(Kind::Dir) {
                mine.check_search(self.store.permissions())?;
            }
            match kind {
                Some(Kind::Dir) => {
                    upper = Some(self.store.adopt(open_dir(mine.fd.as_fd(), name)?)?);
                }
                Some(Kind::Whiteout) => return Err(Errno::ENOENT),
                Some(Kind::Other) => return Err(Errno::ENOTDIR),
                None => {}
            }
        }
        let opaque = match &upper {
            Some(upper) if !self.lowers.is_empty() => upper.opacity()? == Opacity::Opaque,
            Some(_) => true,
            None => false,
        };
        let lowers = if opaque { vec![] } else { self.below(name)? };
        if upper.is_none() && lowers.is_empty() {
            return Err(match self.find_below(name)? {
                Some(_) => Errno::ENOTDIR,
                None => Errno::ENOENT,
            });
        }
        let mut state = lock(&self.state);
        if let Some(known) = state.children.get(name).and_then(Weak::upgrade)
            && known.consists_of(upper.as_ref(), &lowers)
        {
            return Ok(known);
        }
        if state.children.len() >= 64 && state.children.len().is_power_of_two() {
            state.children.retain(|_, dir| dir.strong_count() > 0);
        }
        let new = Arc::new(Self {
            store: Arc::clone(&self.store),
            lowers: lowers.into(),
            upper: upper.map_or_else(OnceLock::new, OnceLock::from),
            state: Mutex::new(State {
                above: Some((Arc::clone(self), name.to_owned())),
                ..State::default()
            }),
        });
        state.children.insert(name.to_owned(), Arc::downgrade(&new));
        Ok(new)
    }

    /// True if `name` here is still the directory `child`, which was found there before. Of the upper
    /// nobody needs to be asked, and of lowers only what they have at the name.
    pub fn still_has(&self, name: &CStr, child: &Arc<Self>) -> bool {
        let _gate = self.store.look();
        let known = lock(&self.state).children.get(name).map(Weak::as_ptr);
        if known != Some(Arc::as_ptr(child)) || self.is_removed() || child.is_removed() {
            return false;
        }
        // Of a lower the kernel asks for the right to search.
        let upper = self.upper();
        if upper.is_some_and(|upper| upper.check_search(self.store.permissions()).is_err()) {
            return false;
        }
        let mut left = child.lowers.iter().map(|lower| lower.inode);
        for lower in &self.lowers {
            // Opaque below here, or all found.
            if left.len() == 0 {
                return true;
            }
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            match sys::fs::fstatat(lower.fd.as_fd(), name, flags) {
                Err(Errno::ENOENT) => {}
                Ok(stat) if left.next() == Some(layer::inode(&stat)) => {}
                _ => return false,
            }
        }
        left.len() == 0
    }

    fn consists_of(&self, upper: Option<&Arc<UpperDir>>, lowers: &[LowerDir]) -> bool {
        !self.is_removed()
            && self.upper.get().map(|u| u.inode) == upper.map(|u| u.inode)
            && self
                .lowers
                .iter()
                .map(|l| l.inode)
                .eq(lowers.iter().map(|l| l.inode))
    }

    /// The lowers' directories of this name, down to the first that hides the rest.
    fn below(&self, name: &CStr) -> sys::Result<Vec<LowerDir>> {
        let mut found = Vec::new();
        for (at, lower) in self.lowers.iter().enumerate() {
            let fd = match open_dir(lower.fd.as_fd(), name) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                // A file, a link or a whiteout: what lies deeper is hidden.
                Err(Errno::ENOTDIR | Errno::ELOOP) => break,
                Err(errno) => return Err(errno),
            };
            let (dir, last) = lower_dir(fd, lower.layer, at + 1 < self.lowers.len())?;
            found.push(dir);
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// This directory's part of the upper, made with those of all directories above it, from the
    /// top down. The gate must be held exclusively.
    pub(super) fn make_upper(self: &Arc<Self>) -> sys::Result<Arc<UpperDir>> {
        let mut missing = Vec::new();
        let mut at = Arc::clone(self);
        let mut upper = loop {
            if at.is_removed() {
                return Err(Errno::ENOENT);
            }
            if let Some(upper) = at.upper() {
                break upper;
            }
            let above = lock(&at.state).above.clone();
            let (above, name) = above.ok_or(Errno::ENOENT)?;
            missing.push((at, name));
            at = above;
        };
        while let Some((dir, name)) = missing.pop() {
            let made = match upper.kind(&name)? {
                // Made on behalf of another record of the same directory.
                Some(Kind::Dir) => self.store.adopt(open_dir(upper.fd.as_fd(), &name)?)?,
                Some(_) => return Err(Errno::ENOENT),
                None => {
                    let lower = dir.lowers.first().ok_or(Errno::ENOENT)?;
                    let fd = copyup::copy_dir(&self.store, lower, &upper, &name)?;
                    self.store.adopt(fd)?
                }
            };
            // The gate is ours alone, so nobody else has set it.
            upper = Arc::clone(dir.upper.get_or_init(|| made));
        }
        Ok(upper)
    }

    /// Nothing can be found or made here any more.
    pub(super) fn mark_removed(&self) {
        lock(&self.state).removed = true;
    }

    /// Takes the record of a child out, because its name is going away.
    pub(super) fn take_child(&self, name: &CStr) -> Option<Arc<Self>> {
        lock(&self.state).children.remove(name)?.upgrade()
    }

    /// Hangs a child up here, under `name`.
    pub(super) fn put_child(self: &Arc<Self>, name: &CStr, child: &Arc<Self>) {
        let before = lock(&child.state)
            .above
            .replace((Arc::clone(self), name.to_owned()));
        lock(&self.state)
            .children
            .insert(name.to_owned(), Arc::downgrade(child));
        drop(before); // perhaps the last hold on the old parent: with no lock taken
    }

    /// Asks the topmost layer's directory something.
    pub(super) fn with_top<T>(
        &self,
        ask: impl FnOnce(BorrowedFd<'_>) -> sys::Result<T>,
    ) -> sys::Result<T> {
        ask(self.top()?)
    }

    /// The inode number that `..` of a listing has.
    pub(super) fn inode_above(&self) -> Option<u64> {
        let above = lock(&self.state)
            .above
            .as_ref()
            .map(|(dir, _)| Arc::clone(dir))?;
        above.top_inode().map(|inode| inode.1)
    }

    /// The identity of the topmost layer's directory.
    pub fn top_inode(&self) -> Option<Inode> {
        let upper = self.upper().map(|u| u.inode);
        upper.or_else(|| self.lowers.first().map(|l| l.inode))
    }
}

impl Drop for CowDir {
    /// Lets the directories above go one by one: guests can nest them deeper than our stack.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let mut next = state.map(|s| s.above.take()).unwrap_or_default();
        while let Some((dir, _)) = next {
            next = Arc::into_inner(dir).and_then(|mut dir| {
                let state = dir.state.get_mut();
                state.map(|s| s.above.take()).unwrap_or_default()
            });
        }
    }
}

/// A lower's directory, and whether it hides those of deeper layers.
fn lower_dir(fd: OwnedFd, layer: usize, has_deeper: bool) -> sys::Result<(LowerDir, bool)> {
    let stat = sys::fs::fstat(fd.as_fd())?;
    if !layer::is_dir(&stat) {
        return Err(Errno::ENOTDIR);
    }
    // The bottom can hide nothing; only markers, which nobody puts into a single lower, are missed.
    let opacity = if has_deeper {
        match layer::opacity(fd.as_fd()) {
            // Nobody's upper: its owner could read it.
            Err(Errno::EACCES | Errno::EPERM) => Opacity::Clear,
            other => other?,
        }
    } else {
        Opacity::Clear
    };
    let dir = LowerDir {
        fd,
        inode: layer::inode(&stat),
        layer,
        marked: opacity == Opacity::Marked,
    };
    Ok((dir, opacity == Opacity::Opaque))
}

//! rename(2).
//!
//! What a lower has at the old name is hidden by a whiteout that the kernel leaves in the same
//! step (`RENAME_WHITEOUT`), so at no moment does the lower's file show again.

use super::copyup::Data;
use super::dir::CowDir;
use super::layer;
use super::lookup::Hit;
use super::rights;
use super::store::open_dir;
use super::upper::{Kind, UpperDir, widened};
use crate::sys::{self, Errno};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The record of a name's directory, if it is one.
type MaybeDir = Option<Arc<CowDir>>;

/// What is to be moved where, as looked up under the gate.
struct Move<'m> {
    from: &'m Arc<CowDir>,
    old: &'m CStr,
    to: &'m Arc<CowDir>,
    new: &'m CStr,
    source: Hit,
    target: Option<Hit>,
    exchange: bool,
}

/// Whether something had to be copied up first.
enum Step {
    Done,
    CopyUp(/* the target rather than the source */ bool),
}

impl CowDir {
    /// renameat2(2) of `old` here to `new` in `to`, with `RENAME_NOREPLACE` or `RENAME_EXCHANGE`.
    ///
    /// EXDEV for directories that a lower has a part in, as overlayfs without `redirect_dir`.
    pub fn rename(
        self: &Arc<Self>,
        old: &CStr,
        to: &Arc<Self>,
        new: &CStr,
        flags: u32,
    ) -> sys::Result<()> {
        let known = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE;
        if flags & !known != 0 || flags & known == known {
            return Err(Errno::EINVAL);
        }
        if old == c"." || new == c"." {
            return Err(Errno::EBUSY);
        }
        if !Arc::ptr_eq(&self.store, &to.store) {
            return Err(Errno::EXDEV);
        }
        loop {
            let step = {
                let _gate = self.store.change();
                self.must_search()?;
                to.must_search()?;
                let source = self.must_find(old)?;
                let target = to.find(new)?;
                if to.is_removed() {
                    return Err(Errno::ENOENT);
                }
                let exchange = flags & libc::RENAME_EXCHANGE != 0;
                if flags & libc::RENAME_NOREPLACE != 0 && target.is_some() {
                    return Err(Errno::EEXIST);
                }
                if exchange && target.is_none() {
                    return Err(Errno::ENOENT);
                }
                let this = Move {
                    from: self,
                    old,
                    to,
                    new,
                    source,
                    target,
                    exchange,
                };
                this.run()?
            };
            match step {
                Step::Done => return Ok(()),
                Step::CopyUp(false) => self.bring_up(old, Data::All)?,
                Step::CopyUp(true) => to.bring_up(new, Data::All)?,
            }
        }
    }
}

impl Move<'_> {
    fn run(&self) -> sys::Result<Step> {
        let (moved, replaced) = self.check()?;
        if let (Some(target), None) = (&self.target, &replaced)
            && layer::inode(&target.stat) == layer::inode(&self.source.stat)
        {
            return Ok(Step::Done); // two names of one file: nothing to do, rename(2)
        }
        let can_move = |dir: &MaybeDir| dir.as_ref().is_none_or(|d| d.is_pure());
        if !can_move(&moved) || self.exchange && !can_move(&replaced) {
            return Err(Errno::EXDEV);
        }
        if !self.source.in_upper() {
            return Ok(Step::CopyUp(false));
        }
        if let Some(target) = &self.target
            && self.exchange
            && !target.in_upper()
        {
            return Ok(Step::CopyUp(true));
        }
        let from = self.from.make_upper()?;
        let to = self.to.make_upper()?;
        if let (Some(dir), false) = (&replaced, self.exchange) {
            dir.must_be_empty()?;
            self.clear(dir, &to)?;
        }
        self.set_opaque(moved.as_ref(), replaced.as_ref())?;
        let (left, flags) = self.plan(moved.is_some(), to.kind(self.new)?)?;
        let both = || {
            to.widened(0o300, || {
                sys::fs::renameat2(from.fd.as_fd(), self.old, to.fd.as_fd(), self.new, flags)
            })
        };
        from.widened(0o300, both)?;
        if let (Some(target), false) = (&self.target, self.exchange) {
            self.to.one_name_less(target, self.new)?;
        }
        self.note(&from, &to, left, flags);
        self.rehang(moved, replaced);
        Ok(Step::Done)
    }

    /// The checks of rename(2), in the kernel's order; the directories among the two.
    fn check(&self) -> sys::Result<(MaybeDir, MaybeDir)> {
        let dir = |at: &Arc<CowDir>, name, hit: &Hit| match hit.is_dir() {
            true => at.child(name).map(Some),
            false => Ok(None),
        };
        let moved = dir(self.from, self.old, &self.source)?;
        let replaced = match &self.target {
            Some(target) => dir(self.to, self.new, target)?,
            None => None,
        };
        if moved.as_ref().is_some_and(|d| self.to.is_within(d)) {
            return Err(Errno::EINVAL);
        }
        if replaced.as_ref().is_some_and(|d| self.from.is_within(d)) {
            return Err(if self.exchange {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        if let Some(target) = &self.target
            && layer::inode(&target.stat) == layer::inode(&self.source.stat)
        {
            return Ok((moved, None));
        }
        self.from.may_take(&self.source)?;
        match &self.target {
            None => self.to.must_write()?,
            Some(target) => {
                self.to.may_take(target)?;
                if !self.exchange && moved.is_some() && replaced.is_none() {
                    return Err(Errno::ENOTDIR);
                }
                if !self.exchange && moved.is_none() && replaced.is_some() {
                    return Err(Errno::EISDIR);
                }
            }
        }
        if !self.from.is_same(self.to) {
            // A directory's `..` changes with its parent.
            for dir in moved
                .iter()
                .chain(replaced.iter().filter(|_| self.exchange))
            {
                dir.with_top(|top| rights::may(top, &sys::fs::fstat(top)?, libc::W_OK))?;
            }
        }
        Ok((moved, replaced))
    }

    /// Makes an empty-looking directory that is to be replaced empty for the kernel too. It stays
    /// opaque, so that being killed now shows nothing of the lowers.
    fn clear(&self, dir: &Arc<CowDir>, to: &UpperDir) -> sys::Result<()> {
        let Some(inner) = dir.upper() else {
            return Ok(());
        };
        if !inner.has_whiteouts()? {
            return Ok(());
        }
        let store = &self.to.store;
        let temp = store.temp()?;
        let work = store.work.as_fd();
        sys::fs::mkdirat(work, &temp.name, 0o700)?;
        let empty = open_dir(work, &temp.name)?;
        let stat = sys::fs::fstat(inner.fd.as_fd())?;
        layer::set_opaque(empty.as_fd())?;
        super::copyup::copy_metadata(inner.fd.as_fd(), &stat, empty.as_fd())?;
        widened(empty.as_fd(), 0o200, || {
            self.to.swap_out(dir, to, self.new, &temp.name)
        })?;
        // Its part of the upper is in `work` now. Should the rename fail yet, who looks the name up
        // gets a record of the new one.
        dir.mark_removed();
        Ok(())
    }

    /// A directory that comes to stand over a lower's must not let that shine through.
    fn set_opaque(
        &self,
        moved: Option<&Arc<CowDir>>,
        replaced: Option<&Arc<CowDir>>,
    ) -> sys::Result<()> {
        let mark = |dir: &CowDir| dir.upper().ok_or(Errno::ENOENT)?.set_opaque();
        if let Some(dir) = moved
            && !self.to.is_pure()
        {
            mark(dir)?;
        }
        if let Some(dir) = replaced
            && self.exchange
            && !self.from.is_pure()
        {
            mark(dir)?;
        }
        Ok(())
    }

    /// What stays at the old name, and the flags by which the kernel brings that about.
    fn plan(&self, is_dir: bool, at_new: Option<Kind>) -> sys::Result<(Option<Kind>, u32)> {
        if self.exchange {
            return Ok((at_new, libc::RENAME_EXCHANGE));
        }
        let over_whiteout = at_new == Some(Kind::Whiteout);
        let hides = self.from.find_below(self.old)?.is_some();
        Ok(match (hides, over_whiteout) {
            // The whiteout there is the one needed here.
            (true, true) => (Some(Kind::Whiteout), libc::RENAME_EXCHANGE),
            (true, false) => (Some(Kind::Whiteout), libc::RENAME_WHITEOUT),
            // A directory can't replace what is none.
            (false, true) if is_dir => (None, libc::RENAME_EXCHANGE),
            (false, _) => (None, 0),
        })
    }

    /// Notes the new names, and removes a whiteout that nothing needs.
    fn note(&self, from: &UpperDir, to: &UpperDir, mut left: Option<Kind>, flags: u32) {
        let kind = |hit: &Hit| match hit.is_dir() {
            true => Kind::Dir,
            false => Kind::Other,
        };
        if left.is_none() && flags == libc::RENAME_EXCHANGE {
            let removed = from.widened(0o300, || sys::fs::unlinkat(from.fd.as_fd(), self.old, 0));
            left = removed.is_err().then_some(Kind::Whiteout);
        }
        from.set(self.old, left);
        to.set(self.new, Some(kind(&self.source)));
    }

    /// Hangs the records of directories where they are now.
    fn rehang(&self, moved: MaybeDir, replaced: MaybeDir) {
        self.from.take_child(self.old);
        self.to.take_child(self.new);
        if let Some(dir) = moved {
            self.to.put_child(self.new, &dir);
        }
        match replaced {
            Some(dir) if self.exchange => self.from.put_child(self.old, &dir),
            Some(dir) => dir.mark_removed(),
            None => {}
        }
    }
}

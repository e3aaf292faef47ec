//! Where names stand in the rules of a policy file: what is hidden, what governs them, where they may be taken.
//!
//! The path of a directory decides, not the way by which somebody came there: a [`Dir`] knows its path, whoever
//! holds it, and gets a new record when that changes. Without a policy file all of this is one look at a `None`.

use super::dir::Dir;
use super::fs::SynthDir;
use super::mount::Source;
use super::path::VPath;
use super::resolve::Place;
use super::{Vfs, deed};
use crate::policy::RuleId;
use crate::policy::arguments::Limit;
use crate::policy::names::{Names, Standing};
use crate::policy::within::Within;
use crate::sys;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Vfs {
    /// Has a policy file decide about names.
    pub fn rule_by(&mut self, names: Arc<Names>) {
        self.names = Some(names);
    }

    /// The rules of a policy file.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// True if there are names at which the run ends.
    pub fn watches(&self) -> bool {
        self.names.as_ref().is_some_and(|names| names.watches())
    }

    /// True if a policy file decides about names.
    pub fn is_ruled(&self) -> bool {
        self.names.is_some()
    }

    /// The rules, and where a directory stands in them. For the policy of the run a directory of our own that only leads to
    /// mounts has no standing: the mount table decides what is there.
    pub(super) fn standing<'v>(&'v self, dir: &Dir) -> Option<(&'v Names, Standing)> {
        let names = self.names.as_deref()?;
        let within = self.within();
        if let Some(SynthDir::Ancestor(_)) = dir.synth()
            && within.is_none()
        {
            return None;
        }
        let standing = dir.standing.of(within, || match dir.path() {
            Some(path) => names.at(path.as_bytes()),
            None => names.nowhere(),
        });
        Some((names, standing))
    }

    /// True if the rules hide `name` of `dir`, and it is no directory that leads to something shown.
    pub(super) fn hides(&self, dir: &Dir, name: &[u8]) -> bool {
        let Some((names, standing)) = self.standing(dir) else {
            return false;
        };
        let standing = names.step(&standing, name);
        if !standing.is_hidden() {
            return false;
        }
        let is_dir = || {
            let name = CString::new(name).ok()?;
            let stat = dir.stat_name(&name).ok()?;
            Some(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
        };
        !names.leads(&standing) || is_dir() != Some(true)
    }

    /// The rule, and the path, of a name of `dir` at which the run ends.
    pub(super) fn trips(&self, dir: &Dir, name: &[u8]) -> Option<(RuleId, VPath)> {
        let names = self.names.as_deref()?;
        let path = dir.path()?.join(name);
        let at = match self.standing(dir) {
            Some((_, standing)) => names.step(&standing, name),
            None => names.at(path.as_bytes()),
        };
        names.ends(&at).then(|| (at.rule(), path))
    }

    /// True if a listing of `dir` must be looked through for hidden names.
    pub(super) fn lists_in_part(&self, dir: &Dir) -> bool {
        self.standing(dir)
            .is_some_and(|(names, standing)| names.hides(&standing))
    }

    /// The rule that governs a directory.
    pub(super) fn rule_in(&self, dir: &Dir) -> RuleId {
        if let Some(rule) = self.narrowed_rule(dir) {
            return rule;
        }
        match self.standing(dir) {
            Some((_, standing)) if dir.synth().is_none() => standing.rule(),
            _ => dir.rule(),
        }
    }

    /// The rule that governs a name of a directory.
    pub(super) fn rule_of_name(&self, dir: &Dir, name: &CStr) -> RuleId {
        match self.standing(dir) {
            Some((names, standing)) => names.step(&standing, deed::bare(name).0.to_bytes()).rule(),
            None => dir.rule(),
        }
    }

    /// What a policy file says of an object by its path in the view; `None`: its mount says it.
    pub(super) fn ruled_path(&self, path: Option<&VPath>) -> Option<RuleId> {
        let names = self.names.as_deref()?;
        let Some(path) = path else {
            return Some(names.nowhere().rule());
        };
        let mount = self.table.mount(self.table.covering(path)?)?;
        match &mount.source {
            Source::Dir(_) | Source::Private(_) | Source::Cow(_) => {
                let standing = names.at(path.as_bytes());
                match standing.is_hidden() && !names.leads(&standing) {
                    true => Some(names.nowhere().rule()),
                    false => Some(standing.rule()),
                }
            }
            _ => self
                .parts()
                .map(|_| self.rule_of_made(mount.rule, |names| names.at(path.as_bytes()))),
        }
    }

    /// How the program at a place may be started, whose rule is `rule`: with which arguments, and within which further
    /// policies it goes on then.
    pub fn starts(&self, place: &Place<'_>, rule: Option<RuleId>) -> (&[Limit], Within) {
        let names = self.names.as_deref();
        let Some(names) = names.filter(|names| names.is_limited()) else {
            return (&[], Within::NONE);
        };
        // A file that is a mount of its own has the mount's rule; by its path it has these.
        let by_path = match place {
            Place::File(id) => self.table.mount(*id).map(|mount| mount.at.clone()),
            Place::Open(fd) => self
                .path_of(fd.as_fd())
                .and_then(|path| VPath::clean(&path)),
            _ => None,
        };
        let rule = by_path
            .map(|path| names.at(path.as_bytes()).rule())
            .or(rule);
        rule.map_or((&[], Within::NONE), |rule| {
            // What nobody knows is not started.
            let within = names.switches_of(rule).unwrap_or(Within::NONE);
            (names.limits_of(rule), within)
        })
    }

    /// True if what stands at the name `from` may get the name `to`: neither it nor anything below it gets wider
    /// rights there. With `both` the same the other way round.
    pub fn may_carry(&self, from: &Place<'_>, to: &Place<'_>, both: bool) -> sys::Result<bool> {
        let (
            Place::Name { dir, name, .. },
            Place::Name {
                dir: other,
                name: new,
                ..
            },
        ) = (from, to)
        else {
            return Ok(true);
        };
        let is_dir = |place: &Place<'_>| {
            let stat = self.stat(place)?;
            sys::Result::Ok(stat.is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR))
        };
        let may = |names: &Names, a: &Standing, b: &Standing| {
            let a = names.step(a, deed::bare(name).0.to_bytes());
            let b = names.step(b, deed::bare(new).0.to_bytes());
            sys::Result::Ok(
                names.may_carry(&a, &b, is_dir(from)?)
                    && (!both || names.may_carry(&b, &a, is_dir(to)?)),
            )
        };
        if let Some(parts) = self.parts() {
            // Where all together give no more one alone might: others, within less, would have it then.
            let at = |names: &Names, dir: &Dir| match dir.path() {
                Some(path) => names.at(path.as_bytes()),
                None => names.nowhere(),
            };
            for names in parts {
                if !may(names, &at(names, dir), &at(names, other))? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        match (self.standing(dir), self.standing(other)) {
            (Some((names, a)), Some((_, b))) => may(names, &a, &b),
            _ => Ok(true),
        }
    }
}

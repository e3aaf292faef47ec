//! The view of processes that `[exec]` has switched to further policies: the same files, and rules that give less.
//!
//! What stands where stays as the policy of the run has it, and all is shared: directories, caches of what lies where, what
//! guests have changed. Only decisions differ, and each is made on the path that a walk comes to. What those rules say of
//! places that no walk asks about (mounts, `/dev`, `/proc`) is added here.

use super::dir::Dir;
use super::path::VPath;
use super::resolve::Place;
use super::{Common, Vfs};
use crate::policy::RuleId;
use crate::policy::names::{Names, Rights, Standing};
use crate::policy::within::Within;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

impl Deref for Vfs {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// What holds in such a view beside its names.
pub(super) struct Narrowed {
    within: Within,
    /// What the rules of the view's own places grant, by their numbers.
    rights: Rights,
    /// The rules of the run, and of it with each of the further policies: no name is carried to where one of them gives more.
    parts: Vec<Arc<Names>>,
}

/// Where a directory stands in the rules, for each set of policies that has asked.
#[derive(Default)]
pub(super) struct Standings {
    first: OnceLock<Standing>,
    narrowed: Mutex<Vec<(Within, Standing)>>,
}

/// So many are kept for one directory.
const MOST: usize = 8;

impl fmt::Debug for Standings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standings").finish_non_exhaustive()
    }
}

impl Standings {
    pub(super) fn of(&self, within: Within, find: impl FnOnce() -> Standing) -> Standing {
        if within.is_none() {
            return self.first.get_or_init(find).clone();
        }
        let mut narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = narrowed.iter().find(|(of, _)| *of == within) {
            return known.clone();
        }
        let found = find();
        if narrowed.len() >= MOST {
            narrowed.remove(0);
        }
        narrowed.push((within, found.clone()));
        found
    }
}

impl Vfs {
    /// The same view for processes within further policies. `names` are the rules of all that holds for them; `parts`
    /// those of the run, and of it with each further policy; `rights` what the rules of the view's own places grant.
    pub fn narrowed(
        &self,
        within: Within,
        names: Arc<Names>,
        parts: Vec<Arc<Names>>,
        rights: Rights,
    ) -> Self {
        Self {
            common: Arc::<Common>::clone(&self.common),
            names: Some(names),
            narrowed: Some(Narrowed {
                within,
                rights,
                parts,
            }),
        }
    }

    /// The policies beside that of the run within which this view is.
    pub(super) fn within(&self) -> Within {
        let narrowed = self.narrowed.as_ref();
        narrowed.map_or(Within::NONE, |narrowed| narrowed.within)
    }

    /// True if the policies of a run must be asked one by one whether a name may be carried; whose rules those are.
    pub(super) fn parts(&self) -> Option<&[Arc<Names>]> {
        Some(&self.narrowed.as_ref()?.parts)
    }

    /// The rule of one of the view's own places, which lies at a path: what both say.
    pub(super) fn rule_of_made(&self, rule: RuleId, at: impl FnOnce(&Names) -> Standing) -> RuleId {
        let (Some(names), Some(narrowed)) = (self.names.as_deref(), &self.narrowed) else {
            return rule;
        };
        names.made(&at(names), rule, &narrowed.rights)
    }

    /// What a directory's rule is for those within further policies; `None` for all others.
    pub(super) fn narrowed_rule(&self, dir: &Dir) -> Option<RuleId> {
        self.narrowed.as_ref()?;
        let (names, standing) = self.standing(dir)?;
        Some(match dir.synth() {
            Some(_) => self.rule_of_made(dir.rule(), |_| standing),
            None => names.held(&standing),
        })
    }

    /// True if further policies hide a mount of the view, with all that is in it.
    pub(super) fn hides_mount(&self, at: &VPath) -> bool {
        self.narrowed.is_some()
            && self.names.as_ref().is_some_and(|names| {
                let at = names.at(at.as_bytes());
                at.is_hidden() && !names.leads(&at)
            })
    }

    /// What the view itself puts at `name` of `dir`, if the rules show it.
    pub(super) fn as_shown_here<'a>(
        &self,
        dir: &Arc<Dir>,
        name: &[u8],
        place: Place<'a>,
    ) -> Place<'a> {
        if self.narrowed.is_none() {
            return place;
        }
        let Some((names, standing)) = self.standing(dir) else {
            return place;
        };
        let at = names.step(&standing, name);
        let shown = match &place {
            Place::Dir(..) => !at.is_hidden() || names.leads(&at),
            // What may be done to these is decided where they are made: who may not read them has none.
            Place::Synth(_) | Place::Magic(_) => names.shows(&at),
            _ => !at.is_hidden(),
        };
        match shown {
            true => place,
            false => Place::Absent {
                dir: Arc::clone(dir),
                hidden: true,
            },
        }
    }
}

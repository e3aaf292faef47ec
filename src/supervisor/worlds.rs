//! What holds for which process: the view and the decisions of the run, and those of processes that `[exec]` has switched
//! to further policies.
//!
//! What holds within a set of policies is put together when a program is first started into it, and kept. It is ready before
//! the exec is approved, so from the exec stop on no call finds less.

use super::calls::{Refused, Rules};
use crate::policy::Policy;
use crate::policy::lang::{Sheets, Switching};
use crate::policy::names::Names;
use crate::policy::within::Within;
use crate::syscall::rules::Net;
use crate::task::Task;
use crate::vfs::Vfs;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Sets that a run may come to, beside the policy of the run alone. Who switches so often is refused the next start.
const MOST: usize = 64;

/// The policies that programs may be switched to.
pub struct Switches {
    /// They, with the policy of the run.
    pub policies: Arc<Switching>,
    /// The calls that a policy refuses.
    pub refused: fn(&Sheets) -> Vec<Refused>,
    /// Those that some of them refuse: the filter, which is the same for all, brings them to the supervisor.
    pub further: Vec<Refused>,
}

/// What holds for a process.
pub(super) struct World {
    /// The files that it sees.
    pub(super) vfs: Vfs,
    /// What may be done to them.
    pub(super) policy: Policy,
    /// What is said of calls by themselves.
    pub(super) calls: Rules,
    /// Which network it may use.
    pub(super) net: Net,
    /// The rules of all that holds, where it isn't the policy of the run alone.
    pub(super) sheets: Option<Arc<Sheets>>,
}

/// All of them.
pub(super) struct Worlds {
    first: World,
    narrowed: Box<[OnceLock<World>]>,
    /// Which of those it is; what could not be put together is not tried again.
    known: Mutex<FxHashMap<Within, Option<usize>>>,
    switching: Option<Switches>,
}

impl Worlds {
    /// Those of a run, which begins with the one.
    pub(super) fn new(
        (vfs, policy): (Vfs, Policy),
        calls: Rules,
        net: Net,
        switching: Option<Switches>,
    ) -> Self {
        Self {
            first: World {
                vfs,
                policy,
                calls,
                net,
                sheets: None,
            },
            narrowed: (0..MOST).map(|_| OnceLock::new()).collect(),
            known: Mutex::default(),
            switching,
        }
    }

    /// The policy of the run alone.
    pub(super) fn first(&self) -> &World {
        &self.first
    }

    /// What holds for a task; `None`: it could not be put together, so nothing is allowed.
    pub(super) fn of(&self, task: &Task) -> Option<&World> {
        self.within(task.group.within())
    }

    /// What holds within these policies. `None`: there are too many such sets, or they make no sense together.
    pub(super) fn within(&self, within: Within) -> Option<&World> {
        if within.is_none() {
            return Some(&self.first);
        }
        // Held while it is put together: all that wait want the same, or would soon.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match known.get(&within) {
            Some(at) => *at,
            None => {
                let at = self.make(&mut known, within);
                known.insert(within, at);
                at
            }
        };
        self.narrowed.get(at?)?.get()
    }

    /// Puts it together, and whatever that takes.
    fn make(&self, known: &mut FxHashMap<Within, Option<usize>>, within: Within) -> Option<usize> {
        let first = self.first.vfs.names()?;
        let mut parts = vec![Arc::clone(first)];
        let mut each = within.each().map(|(_, one)| one);
        let (one, more) = (each.next(), each.next());
        if more.is_some() {
            for one in [one, more].into_iter().flatten().chain(each) {
                let at = match known.get(&one) {
                    Some(at) => *at,
                    None => {
                        let at = self.make(known, one);
                        known.insert(one, at);
                        at
                    }
                };
                let part = self.narrowed.get(at?)?.get()?;
                parts.push(Arc::clone(part.vfs.names()?));
            }
        }
        let at = self.narrowed.iter().position(|one| one.get().is_none())?;
        let Switches {
            policies, refused, ..
        } = self.switching.as_ref()?;
        let sheets = Arc::new(policies.sheets(within).ok()?);
        let names = Arc::new(Names::new(Arc::clone(&sheets)));
        if more.is_none() {
            parts.push(Arc::clone(&names));
        }
        let mut policy = self.first.policy.clone();
        policy.rule_by(Arc::clone(&names));
        let rights = policy.rights();
        let made = World {
            vfs: self.first.vfs.narrowed(within, names, parts, rights),
            policy,
            calls: Rules::new(refused(&sheets)),
            net: match sheets.net() {
                true => self.first.net,
                false => Net::None,
            },
            sheets: Some(sheets),
        };
        self.narrowed.get(at)?.set(made).ok()?;
        Some(at)
    }

    /// True if some policy that may come to hold ends the run where a path is named.
    pub(super) fn watch(&self) -> bool {
        // What a program may be switched to is read with the policy of the run, but compiled only when it is.
        self.first.vfs.watches() || self.switching.is_some()
    }
}

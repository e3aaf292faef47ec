//! Who listens to a recording.

use crate::policy::Access;
use crate::policy::arguments::Reach;
use crate::supervisor::hear::{Heard, Met, Witness};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Paths that are kept at most.
const MOST: usize = 1 << 18;

/// What was wanted of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// All of it.
    pub(super) access: Access,
    /// How often.
    pub(super) times: u64,
}

/// All paths of a run.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    seen: Mutex<BTreeMap<Vec<u8>, Seen>>,
}

impl Recorder {
    /// What was wanted so far.
    pub(super) fn seen(&self) -> BTreeMap<Vec<u8>, Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// There were more paths than are kept.
    pub(super) fn is_full(&self) -> bool {
        self.seen().len() >= MOST
    }
}

impl Witness for Recorder {
    fn calls(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Programs are proposed with any arguments.
    fn reach(&self) -> Option<Reach> {
        None
    }

    /// What failed counts as well: the program has asked for it, and would be refused it.
    fn hear(&self, heard: &Heard<'_>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for want in heard.wants {
            if want.met == Met::Nothing && Access::READ_ONLY.has(want.access) {
                continue;
            }
            if let Some(known) = seen.get_mut(&want.path) {
                known.access = known.access.and(want.access);
                known.times += 1;
            } else if seen.len() < MOST {
                let new = Seen {
                    access: want.access,
                    times: 1,
                };
                seen.insert(want.path.clone(), new);
            }
        }
    }
}

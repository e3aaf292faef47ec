//! Calls about which a policy has a rule by themselves, whatever they name.
//!
//! Such a call is not refused by the filter, which nobody hears, but brought to the supervisor, who answers it and tells
//! who listens. What else the filter does with the call it does no longer, as a notification outranks what the tracer
//! or the guard would be told. So a call that is only *heard*, and then made, is none of those that need them.

use super::filter::{self, GUARDED, Profile};
use super::hear::{self, Told};
use super::service::Denial;
use super::{Shared, ears};
use crate::sys::Errno;
use crate::sys::process as sp;
use crate::syscall::args;
use crate::syscall::plan::{Act, RegistersOnly};
use crate::syscall::rules::Outcome;
use crate::syscall::table::{Row, row};
use crate::task::Task;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// What becomes of a call that a rule is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers this errno.
    Deny(Errno),
    /// All guests are killed.
    Kill,
}

/// A call that is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its number.
    pub nr: u32,
    /// With what.
    pub verdict: Verdict,
    /// The rule, for people; `None`: no rule allows it.
    pub by: Option<String>,
}

/// All of them, by number.
pub(super) struct Calls {
    refused: FxHashMap<u32, (Verdict, Option<String>)>,
    heard: FxHashSet<u32>,
    profile: Profile,
    /// A rule has killed the guests.
    killed: AtomicBool,
}

impl Calls {
    pub(super) fn new(profile: Profile, refused: Vec<Refused>, heard: &[u32]) -> Self {
        let refused = refused.into_iter();
        Self {
            refused: refused.map(|one| (one.nr, (one.verdict, one.by))).collect(),
            heard: heard.iter().copied().filter(can_be_heard).collect(),
            profile,
            killed: AtomicBool::new(false),
        }
    }

    /// True if the filter brings it here whatever the table says.
    pub(super) fn is_notified(&self, nr: u32) -> bool {
        self.refused.contains_key(&nr) || self.heard.contains(&nr)
    }

    /// Numbers that the filter refuses no more, but brings to the supervisor.
    pub(super) fn refused(&self) -> impl Iterator<Item = u32> {
        self.refused.keys().copied()
    }

    /// What a call is refused with, and by which rule.
    pub(super) fn refusal(&self, nr: u32) -> Option<(Verdict, Denial<'_>)> {
        let (verdict, by) = self.refused.get(&nr)?;
        let denial = Denial {
            access: None,
            by: by.as_deref(),
            which: 0,
            kills: *verdict == Verdict::Kill,
        };
        Some((*verdict, denial))
    }

    /// What the filter would have answered to a call that is only heard; `None`: the supervisor serves it anyhow.
    pub(super) fn otherwise(&self, nr: u32, registers: &[u64; 6]) -> Option<Act<'static>> {
        if !self.heard.contains(&nr) {
            return None;
        }
        match filter::outcome(row(nr)?, &self.profile, registers) {
            Outcome::Native => Some(Act::Continue(RegistersOnly(
                "the kernel serves this call in every run; in this one it is told about first",
            ))),
            Outcome::Refuse(errno) => Some(Act::Fail(Errno::from_raw(errno))),
            Outcome::Fake => Some(Act::Return(0)),
            _ => None,
        }
    }

    /// True once a rule has killed the guests.
    pub(super) fn have_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }
}

/// A call whose stop at the tracer, or at the guard, a notification would take away can't be heard.
pub(super) fn can_be_heard(nr: &u32) -> bool {
    let read = ears::READS.iter().any(|read| *read as u32 == *nr);
    !GUARDED.contains(nr) && !read
}

/// The arguments of a call that no handler has decoded, as far as registers tell.
pub(super) fn arguments(row: &Row, registers: &[u64; 6]) -> String {
    let one = |(param, raw): (&crate::syscall::table::Param, &u64)| {
        let shown = args::show(param.ty, *raw).unwrap_or_else(|| format!("{raw:#x}"));
        format!("{}: {shown}", param.name)
    };
    let all: Vec<String> = row.params.iter().zip(registers).map(one).collect();
    all.join(", ")
}

/// Kills all guests, as a rule demands: the caller last, so that nobody sees it end and goes on. What is born meanwhile
/// the tracer kills, when the first has died.
pub(super) fn kill_all(shared: &Shared, caller: &Task) {
    shared.calls.killed.store(true, Ordering::Release);
    let all = shared.tasks.all();
    let others = all.iter().filter(|task| task.tid != caller.tid);
    for task in others.map(|task| &**task).chain([caller]) {
        // ESRCH: it is dead already.
        let _ = sp::tgkill(task.group.tgid, task.tid, libc::SIGKILL);
    }
}

/// Tells of a call that stops for the tracer, and that somebody wants to hear.
pub(super) fn tell_stopped(shared: &Shared, task: &Task, nr: u32, registers: &[u64; 6]) {
    if shared.witness.is_none() || !shared.calls.heard.contains(&nr) {
        return;
    }
    let Some(row) = row(nr) else {
        return;
    };
    let told = Told {
        row: Some(row),
        task,
        registers,
        arguments: &arguments(row, registers),
        answer: "as the kernel says",
        denial: None,
        failed: false,
    };
    hear::tell(shared, &told, None);
}

//! Calls about which a policy has a rule by themselves, whatever they name.
//!
//! Such a call is not refused by the filter, which nobody hears, but brought to the supervisor, who answers it and tells
//! who listens. What else the filter does with the call it does no longer, as a notification outranks what the tracer
//! or the guard would be told. So a call that is only *heard*, and then made, is none of those that need them.

use super::filter::{self, GUARDED, Profile};
use super::hear::{self, Told};
use super::service::Denial;
use super::{Shared, ears};
use crate::policy::lang::predicate::{Expr, Test};
use crate::policy::lang::regions::{Bit, Region, regions};
use crate::policy::lang::{Does, Fake, Sheets, Step};
use crate::sys::Errno;
use crate::syscall::args;
use crate::syscall::plan::{Act, RegistersOnly};
use crate::syscall::rules::{Net, Outcome};
use crate::syscall::table::{Mechanism, Row, row};
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
    /// The user is asked; if the answer is no, it answers EPERM.
    Ask,
    /// It is not made, and seems to be.
    Fake(Fake),
}

impl Verdict {
    /// What becomes of a call, if it isn't just made.
    fn of(does: Does) -> Option<Self> {
        Some(match does {
            Does::Allow => return None,
            Does::Deny(errno) => Self::Deny(errno),
            Does::Kill => Self::Kill,
            Does::Ask => Self::Ask,
            Does::Fake(fake) => Self::Fake(fake),
        })
    }
}

/// A call that a policy refuses, or may.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its number.
    pub nr: u32,
    /// What each sheet says; the first step that holds decides.
    sheets: Vec<Vec<Decided>>,
    /// The arguments with which it is refused; `None`: with any.
    cases: Option<Vec<Vec<Test>>>,
}

#[derive(Clone, Debug)]
struct Decided {
    when: Option<Expr>,
    verdict: Option<Verdict>,
    by: Option<String>,
    is_default: bool,
}

/// Combinations of conditions that are put into the filter for one call.
const MOST: usize = 64;

/// What each sheet says of a call.
fn decided(sheets: &Sheets, row: &Row) -> Vec<Vec<Decided>> {
    let one = |step: &Step| Decided {
        when: step.when.clone(),
        verdict: Verdict::of(step.does),
        by: step.by.map(|id| sheets.tell(id)),
        is_default: step.is_default,
    };
    let steps = sheets.steps(row.name, row.class.group());
    let all = steps.iter();
    all.map(|steps| steps.iter().map(one).collect()).collect()
}

impl Refused {
    /// What a policy says of a call; `None`: it never refuses it. An error: its conditions can't be put into the filter.
    pub fn of(sheets: &Sheets, row: &Row) -> Result<Option<Self>, Unfit> {
        let steps = sheets.steps(row.name, row.class.group());
        let says = || steps.iter().flatten().map(|step| step.does);
        if says().all(|does| does == Does::Allow) {
            return Ok(None);
        }
        if says().any(|does| does == Does::Ask) && !can_be_asked(row) {
            return Err(Unfit::Stopped);
        }
        let mut fakes = says().filter(|does| matches!(does, Does::Fake(_)));
        let fake = fakes.next();
        if steps.len() > 1 && fakes.any(|other| Some(other) != fake) {
            return Err(Unfit::Fakes);
        }
        if fake.is_some() && BIRTHS.contains(&row.name) {
            return Err(Unfit::Birth);
        }
        // Refused where any sheet refuses: a step that holds hides those behind it.
        let refused = steps.iter().map(|steps| {
            let never = Expr::Or(Vec::new());
            steps.iter().rev().fold(never, |rest, step| {
                let when = step.when.clone().unwrap_or(Expr::And(Vec::new()));
                match step.does {
                    Does::Allow => Expr::And(vec![Expr::Not(Box::new(when)), rest]),
                    _ => Expr::Or(vec![when, rest]),
                }
            })
        });
        let always = steps.iter().any(|steps| {
            let first = steps.first();
            first.is_some_and(|step| step.when.is_none() && step.does != Does::Allow)
        });
        let cases = match always {
            true => None,
            // Its stop at the tracer is no outcome of arguments.
            false if matches!(row.mechanism, Mechanism::Trace) => return Err(Unfit::Exec),
            false => Some(
                Expr::Or(refused.collect())
                    .cases(MOST)
                    .ok_or(Unfit::TooMany)?,
            ),
        };
        Ok(Some(Self {
            nr: row.x86,
            sheets: decided(sheets, row),
            cases,
        }))
    }

    /// A call about which nobody can be asked, where that is taken on: the answer is no.
    pub fn unasked(sheets: &Sheets, row: &Row) -> Self {
        let steps = sheets.steps(row.name, row.class.group());
        let mut asking = steps.iter().flatten();
        let by = asking.find(|step| step.does == Does::Ask);
        Self {
            nr: row.x86,
            sheets: vec![vec![Decided {
                when: None,
                verdict: Some(Verdict::Deny(Errno::EPERM)),
                by: by.and_then(|step| step.by).map(|id| sheets.tell(id)),
                is_default: by.is_some_and(|step| step.is_default),
            }]],
            cases: None,
        }
    }

    /// What a policy says of a call that the filter brings here whatever that is: for those within further policies.
    pub fn brought(sheets: &Sheets, row: &Row) -> Self {
        match Self::of(sheets, row) {
            Ok(Some(refused)) => refused,
            // Which arguments are meant is looked at here.
            Ok(None) | Err(_) => Self {
                nr: row.x86,
                sheets: decided(sheets, row),
                cases: None,
            },
        }
    }

    /// A call that the filter brings here with any arguments.
    pub fn always(row: &Row) -> Self {
        Self {
            nr: row.x86,
            sheets: Vec::new(),
            cases: None,
        }
    }

    /// True if the filter brings it here with these arguments.
    fn brings(&self, registers: &[u64; 6]) -> bool {
        self.cases.is_none() || self.refusal(registers).is_some()
    }

    /// The arguments with which it is refused; `None`: with any.
    pub fn cases(&self) -> Option<&[Vec<Test>]> {
        self.cases.as_deref()
    }

    /// What becomes of it with which arguments, in regions that don't overlap; `None`: they are more than `most`.
    pub fn regions(&self, most: usize) -> Option<Vec<(Region, Option<Verdict>)>> {
        let one = |steps: &Vec<Decided>, region: &Region| -> Result<Option<Verdict>, Bit> {
            for step in steps {
                let holds = step
                    .when
                    .as_ref()
                    .map_or(Ok(true), |when| when.within(region));
                if holds? {
                    return Ok(step.verdict);
                }
            }
            Ok(None)
        };
        let answer = |region: &Region| {
            let verdicts = self.sheets.iter().map(|steps| one(steps, region));
            let verdicts: Vec<_> = verdicts.collect::<Result<_, _>>()?;
            Ok(strictest(verdicts.into_iter().flatten(), |verdict| {
                *verdict
            }))
        };
        regions(&answer, most)
    }

    /// The rules that have a say, of those that were written.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        let steps = self.sheets.iter().flatten();
        steps.filter_map(|step| step.by.as_deref())
    }

    /// Some step of it asks or fakes.
    pub fn is_special(&self) -> bool {
        let mut steps = self.sheets.iter().flatten();
        steps.any(|step| matches!(step.verdict, Some(Verdict::Ask | Verdict::Fake(_))))
    }

    fn asks(&self) -> bool {
        let mut steps = self.sheets.iter().flatten();
        steps.any(|step| step.verdict == Some(Verdict::Ask))
    }

    /// Some rule, and not only a default, is against it.
    fn is_by_rule(&self) -> bool {
        let mut steps = self.sheets.iter().flatten();
        steps.any(|step| step.verdict.is_some() && !step.is_default)
    }

    /// What becomes of it with these arguments, and by which rule; the strictest sheet decides.
    pub fn refusal(&self, registers: &[u64; 6]) -> Option<(Verdict, Option<&str>)> {
        let one = |steps: &'_ Vec<Decided>| -> Option<usize> {
            let holds =
                |step: &Decided| step.when.as_ref().is_none_or(|when| when.holds(registers));
            steps.iter().position(holds)
        };
        let decided = self
            .sheets
            .iter()
            .filter_map(|steps| steps.get(one(steps)?));
        let refusing = decided.filter_map(|step| Some((step.verdict?, step.by.as_deref())));
        strictest(refusing, |(verdict, _)| *verdict)
    }
}

/// Of what sheets say, what happens: the first of the strictest.
fn strictest<T>(refusing: impl Iterator<Item = T>, verdict: impl Fn(&T) -> Verdict) -> Option<T> {
    refusing.min_by_key(|one| match verdict(one) {
        Verdict::Kill => 0,
        Verdict::Deny(_) => 1,
        Verdict::Ask => 2,
        Verdict::Fake(_) => 3,
    })
}

/// Calls of which the number says that there is a new task.
const BIRTHS: [&str; 4] = ["fork", "vfork", "clone", "clone3"];

/// A call whose stop at the tracer, or at the guard, a notification would take away can't be made after an answer.
pub fn can_be_asked(row: &Row) -> bool {
    let goes_on = |outcome: Outcome| {
        !matches!(
            outcome,
            Outcome::Retell | Outcome::Renumber | Outcome::Trace
        )
    };
    can_be_heard(&row.x86)
        && match row.mechanism {
            Mechanism::Trace | Mechanism::Guarded | Mechanism::Retell | Mechanism::Renumber => {
                false
            }
            Mechanism::Check(_, rule) => [Net::None, Net::Host].into_iter().all(|net| {
                let rule = rule(net);
                goes_on(rule.otherwise) && rule.cases.iter().all(|case| goes_on(case.then))
            }),
            _ => true,
        }
}

/// Calls that a program makes without the kernel, by what it maps of it (vdso(7)).
const IN_MEMORY: [libc::c_long; 5] = [
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_clock_getres,
    libc::SYS_getcpu,
];

/// Why the conditions on the arguments of a call can't be put into the filter.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Unfit {
    /// Each combination takes instructions.
    #[error("its conditions come to more than {MOST} combinations")]
    TooMany,
    /// The supervisor decides it by what it names.
    #[error("it is judged by the program that it names")]
    Exec,
    /// It would have to be made after the answer.
    #[error(
        "sbox stops this call elsewhere, so nobody can be asked about it; 'deny' and 'kill' are enforced"
    )]
    Stopped,
    /// Two policies.
    #[error("a policy and its ceiling fake different answers")]
    Fakes,
    /// There would be a task that is none.
    #[error("a new process can't be faked; 'deny' is enforced")]
    Birth,
}

/// What a policy says of calls by themselves, by number.
pub(super) struct Rules(FxHashMap<u32, Refused>);

impl Rules {
    pub(super) fn new(refused: Vec<Refused>) -> Self {
        let refused = refused.into_iter();
        Self(refused.map(|one| (one.nr, one)).collect())
    }

    /// What a call is refused with, and by which rule.
    pub(super) fn refusal(&self, nr: u32, registers: &[u64; 6]) -> Option<(Verdict, Denial<'_>)> {
        let (verdict, by) = self.0.get(&nr)?.refusal(registers)?;
        let denial = Denial {
            access: None,
            by,
            which: 0,
            path: None,
            kills: verdict == Verdict::Kill,
        };
        Some((verdict, denial))
    }

    /// True if rules are about calls that programs make without the kernel.
    pub(super) fn need_the_kernel(&self) -> bool {
        IN_MEMORY.iter().any(|nr| {
            let refused = u32::try_from(*nr).ok().and_then(|nr| self.0.get(&nr));
            refused.is_some_and(Refused::is_by_rule)
        })
    }
}

/// What the filter brings here of calls that it would else answer, or leave to the kernel.
pub(super) struct Calls {
    /// What some policy refuses.
    refused: FxHashMap<u32, Refused>,
    /// Of these some that go on where it isn't the caller's.
    further: FxHashSet<u32>,
    heard: FxHashSet<u32>,
    profile: Profile,
    /// A rule has killed the guests.
    killed: AtomicBool,
}

impl Calls {
    /// `refused`: by the policy of the run; `further`: by it or another that programs may be switched to.
    pub(super) fn new(
        profile: Profile,
        refused: &[Refused],
        further: &[Refused],
        heard: &[u32],
    ) -> Self {
        let all = refused.iter().chain(further);
        Self {
            refused: all.map(|one| (one.nr, one.clone())).collect(),
            further: further.iter().map(|one| one.nr).collect(),
            heard: heard.iter().copied().filter(can_be_heard).collect(),
            profile,
            killed: AtomicBool::new(false),
        }
    }

    /// True if the filter brings it here whatever the table says.
    pub(super) fn is_notified(&self, nr: u32, registers: &[u64; 6]) -> bool {
        let refused = self.refused.get(&nr);
        self.heard.contains(&nr) || refused.is_some_and(|one| one.brings(registers))
    }

    /// Numbers that the filter refuses no more, but brings to the supervisor.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.refused.values()
    }

    /// True if a call is refused where there is no network, and not where there is the host's.
    pub(super) fn is_of_network(&self, nr: u32, registers: &[u64; 6]) -> Option<Errno> {
        let outcome = |net| {
            let profile = Profile {
                net,
                ..self.profile
            };
            Some(filter::outcome(row(nr)?, &profile, registers))
        };
        match (outcome(Net::None)?, outcome(Net::Host)?) {
            (Outcome::Refuse(errno), other) if other != Outcome::Refuse(errno) => {
                Some(Errno::from_raw(errno))
            }
            _ => None,
        }
    }

    /// What the filter would have answered to a call that is only heard; `None`: the supervisor serves it anyhow.
    pub(super) fn otherwise(&self, nr: u32, registers: &[u64; 6]) -> Option<Act<'static>> {
        let asks = self.refused.get(&nr).is_some_and(Refused::asks);
        if !self.heard.contains(&nr) && !self.further.contains(&nr) && !asks {
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
        super::tracer::kill(task);
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
        faked: false,
        failed: false,
    };
    hear::tell(shared, &told, None);
}

//! Telling those who listen what a call has wanted, and what came of it.
//!
//! Nothing here decides. A guest's call has been answered, or is about to be, by what `service` made of it.

use super::Shared;
use super::service::Denial;
use crate::policy::Access;
use crate::policy::arguments::Reach;
use crate::policy::files::FileRule;
use crate::policy::lang::{Sheets, Stands};
use crate::syscall::plan::{Act, Object, Plan};
use crate::syscall::table::Row;
use crate::task::Task;
use crate::trace::{Incident, Kind};
pub use crate::vfs::Met;
use crate::vfs::{Sight, Vfs};
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A file that a call has named, and what it wanted to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// What it wanted.
    pub access: Access,
    /// The file, as a path of the view.
    pub path: Vec<u8>,
    /// What is there.
    pub met: Met,
    /// Where nothing is: all that was asked for, as it was written.
    pub whole: Option<Vec<u8>>,
    /// Of a program that is started: what it is given behind `argv[0]`, as far as the witness wants to know.
    pub arguments: Option<Vec<Vec<u8>>>,
}

/// A call, for a [`Witness`].
#[derive(Clone, Copy)]
pub struct Heard<'h> {
    /// Who made it, by the number in the view.
    pub task: i32,
    /// Its row.
    pub row: &'static Row,
    /// Its registers.
    pub registers: &'h [u64; 6],
    /// Its arguments, decoded and escaped.
    pub arguments: &'h str,
    /// What it answered, as text.
    pub answer: &'h str,
    /// What it wanted of files.
    pub wants: &'h [Want],
    /// The policy has refused it.
    pub denied: bool,
    /// The policy has answered it in the kernel's place.
    pub faked: bool,
    /// It came to an error.
    pub failed: bool,
}

/// Somebody who hears every call that names a file, and those that he asks for, and decides nothing.
pub trait Witness: Send + Sync {
    /// The numbers of calls that he wants to hear though they name no file.
    fn calls(&self) -> Vec<u32>;
    /// How much he wants to know of the arguments of programs; `None`: nothing.
    fn reach(&self) -> Option<Reach>;
    /// A call.
    fn hear(&self, heard: &Heard<'_>);
}

/// What was noted of a call while it was served, by one of the threads that serve.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    /// What its walks have met.
    pub(super) sight: Sight,
    /// What was asked of the policy, in order.
    asked: RefCell<Vec<Access>>,
    /// The first paths are those asked about: of execve(2), which then looks for an interpreter.
    first: Cell<bool>,
    /// The file of a call that names it by a descriptor.
    held: RefCell<Option<Vec<u8>>>,
}

impl Notebook {
    /// One for a witness who wants to know so much of the arguments of programs.
    pub(super) fn new(reach: Option<Reach>) -> Self {
        Self {
            sight: Sight::new(reach),
            ..Self::default()
        }
    }

    /// Forgets the last call, or the last look of this one.
    pub(super) fn clear(&self) {
        self.sight.clear();
        self.asked.borrow_mut().clear();
        self.held.take();
    }

    /// Notes a plan before it is done.
    pub(super) fn note(&self, vfs: &Vfs, plan: &Plan<'_>) {
        let mut asked = self.asked.borrow_mut();
        asked.extend(plan.asks.iter().map(|ask| ask.access));
        let path = held(&plan.act).and_then(|fd| vfs.path_of(fd));
        self.held.replace(path);
        self.first.set(matches!(plan.act, Act::Exec { .. }));
    }

    /// The path that a question of the plan is about.
    pub(super) fn path_of(&self, which: usize) -> Option<Vec<u8>> {
        let all = self.sight.all();
        let mut ends = all.iter().filter(|seen| seen.met != Met::Link);
        let count = ends.clone().count();
        if count == 0 {
            return self.held.borrow().clone();
        }
        ends.nth(self.first_asked(count) + which)
            .map(|seen| seen.path.clone())
    }

    /// Which of so many ends of walks the first question is about.
    fn first_asked(&self, ends: usize) -> usize {
        match self.first.get() {
            true => 0,
            false => ends.saturating_sub(self.asked.borrow().len()),
        }
    }

    /// The files of the call with what was wanted of each. The last paths that a call walks are those it asks about: of
    /// link(2) the new name, of rename(2) both.
    fn wants(&self) -> Vec<Want> {
        let all = self.sight.all();
        let asks = self.asked.borrow();
        let ends = all.iter().filter(|seen| seen.met != Met::Link).count();
        let from = self.first_asked(ends);
        let skipped = asks.len().saturating_sub(ends);
        let mut end = 0usize;
        let mut wants: Vec<Want> = Vec::with_capacity(all.len());
        for seen in all.iter() {
            let mut access = None;
            if seen.met != Met::Link {
                let which = end.checked_sub(from).map(|at| at + skipped);
                access = which.and_then(|which| asks.get(which)).copied();
                end += 1;
            }
            wants.push(Want {
                access: access.unwrap_or(Access::LOOK),
                path: seen.path.clone(),
                met: seen.met,
                whole: seen.whole.clone(),
                arguments: self.sight.arguments_of(&seen.path),
            });
        }
        if ends == 0
            && let (Some(path), [access, ..]) = (&*self.held.borrow(), &asks[..])
        {
            wants.push(Want {
                access: *access,
                path: path.clone(),
                met: Met::There,
                whole: None,
                arguments: self.sight.arguments_of(path),
            });
        }
        wants
    }
}

/// The descriptor that a deed is done on, if it names none.
fn held<'p>(act: &'p Act<'_>) -> Option<std::os::fd::BorrowedFd<'p>> {
    match act {
        Act::Chmod { object, .. }
        | Act::Chown { object, .. }
        | Act::SetTimes { object, .. }
        | Act::SetXattr { object, .. }
        | Act::RemoveXattr { object, .. }
        | Act::SetFileAttr { object, .. } => match object {
            Object::Fd(fd) => Some(fd.as_fd()),
            Object::Place(_) => None,
        },
        Act::Exec { program, .. } => Some(program.as_fd()),
        _ => None,
    }
}

/// What is told of one call.
pub(super) struct Told<'t> {
    pub(super) row: Option<&'static Row>,
    pub(super) task: &'t Task,
    pub(super) registers: &'t [u64; 6],
    pub(super) arguments: &'t str,
    pub(super) answer: &'t str,
    pub(super) denial: Option<&'t Denial<'t>>,
    pub(super) faked: bool,
    pub(super) failed: bool,
}

/// Tells the ledger of a refusal, and the witness of the call.
pub(super) fn tell(shared: &Shared, told: &Told<'_>, notebook: Option<&Notebook>) {
    let wants = notebook.map(Notebook::wants).unwrap_or_default();
    let narrowed = shared.worlds.of(told.task);
    let narrowed = narrowed.and_then(|world| world.sheets.as_deref());
    if let (Some(ledger), Some(denial)) = (&shared.ledger, told.denial) {
        let known = || notebook.and_then(|notebook| notebook.path_of(denial.which));
        let path = denial.path.clone().or_else(known);
        ledger.enter(&Incident {
            kind: if denial.kills {
                Kind::Killed
            } else {
                Kind::Denied
            },
            path: path.as_deref(),
            sheets: narrowed,
            ..told.incident(denial.access, denial.by)
        });
    } else if let Some(ledger) = shared.ledger.as_ref().filter(|ledger| ledger.tells())
        && let Some(sheets) = narrowed.or(ledger.sheets())
        && told.failed
    {
        for want in wants.iter().filter(|want| want.met == Met::Nothing) {
            if let Some(Refusal { by, .. }) = hides(sheets, want) {
                ledger.enter(&Incident {
                    path: Some(&want.path),
                    sheets: narrowed,
                    ..told.incident(Some(Access::LOOK), by.as_deref())
                });
            }
        }
    }
    if let (Some(witness), Some(row)) = (&shared.witness, told.row) {
        witness.hear(&Heard {
            task: told.task.number,
            row,
            registers: told.registers,
            arguments: told.arguments,
            answer: told.answer,
            wants: &wants,
            denied: told.denial.is_some(),
            faked: told.faked,
            failed: told.failed,
        });
    }
}

impl<'t> Told<'t> {
    fn incident(&self, wanted: Option<Access>, by: Option<&'t str>) -> Incident<'t> {
        Incident {
            kind: Kind::Denied,
            task: self.task.number,
            call: self.row.map_or("?", |row| row.name),
            arguments: self.arguments,
            answer: self.answer,
            wanted,
            path: None,
            by,
            sheets: None,
        }
    }
}

/// What a policy would have said against the use of a file.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// By which rule; `None`: no rule allows it.
    pub(super) by: Option<String>,
    /// It would have ended the run.
    pub(super) ends: bool,
}

/// Whether a policy lets a file of the view be used so.
pub(super) fn refuses(sheets: &Sheets, want: &Want) -> Option<Refusal> {
    let ruling = sheets.decide(&want.path);
    if ruling.effect.granted().has(want.access) {
        let given = want.arguments.as_ref();
        let refused = given.and_then(|given| sheets.refuses_arguments(&ruling, given));
        return refused.map(|id| Refusal {
            by: Some(sheets.tell(id)),
            ends: false,
        });
    }
    // What is hidden itself is shown all the same if it is a directory that leads to something visible.
    if ruling.effect.hides()
        && Access::READ_ONLY.has(want.access)
        && leads(sheets, &want.path)
        && on_host(sheets, &want.path).is_none_or(|path| path.is_dir())
    {
        return None;
    }
    let ends = ruling.ends_at(want.access);
    let by = sheets.refuser(&ruling, want.access);
    Some(Refusal {
        by: by.map(|id| sheets.tell(id)),
        ends,
    })
}

/// Whether something below a path may be visible, by a rule that names it.
fn leads(sheets: &Sheets, path: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let below = |rule: &FileRule| {
        let place = rule.pattern.place();
        let rest = place.and_then(|(place, _)| place.strip_prefix(path));
        !rule.forbid && !rule.effect.hides() && rest.is_some_and(|r| r.starts_with(b"/"))
    };
    let mut all = sheets.all.iter();
    all.all(|sheet| sheet.files.rules().iter().any(below))
}

/// Whether a policy hides what was looked for in vain, though the host has it.
pub(super) fn hides(sheets: &Sheets, want: &Want) -> Option<Refusal> {
    let whole = want.whole.as_deref().unwrap_or(&want.path);
    std::fs::symlink_metadata(on_host(sheets, whole)?).ok()?;
    refuses(sheets, want)
}

/// What of the host a path of the view means, shown or not.
fn on_host(sheets: &Sheets, path: &[u8]) -> Option<PathBuf> {
    let own = sheets.all.first()?;
    let below = |at: &str| {
        let at = at.as_bytes();
        let rest = path.strip_prefix(at.strip_suffix(b"/").unwrap_or(at))?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
    };
    let mounts = own.mounts.iter();
    let nearest = mounts
        .filter_map(|mount| Some((mount, below(&mount.at)?)))
        .max_by_key(|(mount, _)| mount.at.len());
    let text = match nearest {
        Some((mount, rest)) => match &mount.what {
            Stands::Bind(dir, _) | Stands::Cow(dir) => [dir.as_bytes(), rest].concat(),
            Stands::Tmpfs(_) | Stands::Text(_) => return None,
        },
        None if own.view.host_root => path.to_vec(),
        None => return None,
    };
    Some(OsStr::from_bytes(&text).into())
}

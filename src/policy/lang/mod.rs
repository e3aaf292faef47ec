//! The policy language, version 1: one TOML file for the view and what may be done in it.
//!
//! ```text
//! text ─read─▶ settings with places ─merge─▶ extends, within ─check─▶ rules ─▶ policy::files, one automaton
//! ```
//!
//! Pure but for the function that reads a named file, which is given. Nothing that stands in a file is passed
//! over: what has no meaning is a [`Fault`], and what has one but nobody to enforce it is a [`Gap`].

mod args;
mod calls;
mod check;
mod fault;
mod fmt;
mod merge;
pub mod predicate;
pub mod presets;
mod read;
pub mod regions;
mod schema;
mod sections;
mod switching;
mod value;
mod vars;

pub use calls::{CallRule, Calls, Does, Fake, Network, Step};
pub use check::{Operation, parse_operation};
pub use fault::{Fault, Source, Sources, Where};
pub use fmt::tidy;
pub use merge::{Loader, Merged, Reader};
pub use read::{Raw, Setting};
pub use schema::schema;
pub use switching::Switching;
pub use value::rights as rights_of;
pub use vars::World;

use super::arguments::{Arguments, Reach};
use super::files::{self, Difference, Effect, FileRule, Files, Ruling, State};
use super::within::{self, Within};
use super::{Access, RuleId, Signals};
use std::sync::Arc;

/// Finds a parameter of a call by its name, or tells what is wrong with it.
pub type ParamOf = fn(&str, &str) -> Result<predicate::Param, String>;

/// Names that the language can't know by itself.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// All system calls.
    pub calls: Vec<&'static str>,
    /// Groups of them, with the `@`.
    pub groups: Vec<&'static str>,
    /// A parameter of a call, for conditions; or what is wrong with its name.
    pub param: Option<ParamOf>,
    /// A constant of the kernel's headers.
    pub constant: Option<fn(&str) -> Option<u64>>,
    /// Whether a machine can be called so.
    pub hostname: Option<fn(&str) -> bool>,
}

/// A rule, for people.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// `files."/usr/**"`, or the `id` that it was given.
    pub name: String,
    /// What it says, as it was written.
    pub says: String,
    /// Where.
    pub at: Where,
    /// The reason that its author gives.
    pub why: Option<String>,
    /// It is of `[default]`.
    pub is_default: bool,
    /// The arguments with which it lets a program be started; `None`: with any.
    pub arguments: Option<Arc<Arguments>>,
    /// The policy within which a program that it lets be started goes on: a file, or `std/NAME`.
    pub switch: Option<String>,
}

impl RuleInfo {
    /// True for a rule that says how a program is started.
    pub fn is_of_start(&self) -> bool {
        self.arguments.is_some() || self.switch.is_some()
    }
}

/// What stands at a place of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// `{ cow = "DIR" }`
    Cow(String),
    /// `{ bind = "PATH", ro = true }`
    Bind(String, bool),
    /// `{ tmpfs = "256M" }`, in bytes; 0: no limit.
    Tmpfs(u64),
    /// `{ text = "…" }`
    Text(String),
}

/// A line of `[view.mounts]`.
#[derive(Clone, Debug)]
pub struct MountRule {
    /// Path of the view.
    pub at: String,
    /// What stands there.
    pub what: Stands,
    /// The rule.
    pub id: RuleId,
}

/// `[view]`, beside its mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewKeys {
    /// The host's tree is shown, as far as `[files]` lists it.
    pub host_root: bool,
    /// Another directory of the host is the root, which is the mount at `/`.
    pub other_root: Option<String>,
    /// Where the program starts.
    pub cwd: Option<String>,
    /// Processes have numbers of their own; `None`: nothing is said.
    pub own_pids: Option<bool>,
    /// What the machine is called.
    pub hostname: Option<String>,
}

/// `[env]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// Kept, if they are set; `*`: all.
    pub keep: Vec<String>,
    /// Set.
    pub set: Vec<(String, String)>,
    /// Dropped.
    pub drop: Vec<String>,
}

impl Env {
    /// Whether a ceiling lets a variable pass.
    pub fn lets(&self, name: &str) -> bool {
        let all = self.keep.iter().any(|kept| kept == "*" || kept == name);
        let base = ["PATH", "LANG", "TERM", "HOME"].contains(&name);
        (all || base || self.set.iter().any(|(set, _)| set == name))
            && !self.drop.iter().any(|d| d == name)
    }
}

/// What a rule asks for and nobody enforces here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The rule.
    pub id: RuleId,
    /// What is missing.
    pub why: String,
}

/// The rules of one policy, or of one of its ceilings.
#[derive(Debug)]
pub struct Sheet {
    /// About files.
    pub files: Files,
    /// About programs: what may not be executed though `[files]` grants x.
    pub exec: Files,
    /// `[view.mounts]`
    pub mounts: Vec<MountRule>,
    /// What else `[view]` says.
    pub view: ViewKeys,
    /// Variables.
    pub env: Env,
    /// System calls.
    pub calls: Calls,
    /// The host's network.
    pub net: Network,
    /// To whom signals may be sent, and which rule says so.
    pub signals: (Signals, Option<RuleId>),
    /// Gaps are told, and the run begins all the same.
    pub best_effort: bool,
}

/// A policy: what it says, and its ceilings.
#[derive(Debug)]
pub struct Sheets {
    /// Its files.
    pub sources: Sources,
    /// All rules, by their id.
    pub rules: Vec<RuleInfo>,
    /// The policy, and behind it the ceilings, all of which must allow what is allowed.
    pub all: Vec<Sheet>,
    /// What can't be enforced.
    pub gaps: Vec<Gap>,
    /// The policies that it may switch to, by their full names; the place of each is its number in a [`Within`].
    pub switched: Arc<[String]>,
}

impl Sheets {
    /// Reads a policy: a file, or `std/NAME`. `ceilings` are further ones that it stays within.
    pub fn load(
        name: &str,
        ceilings: &[String],
        world: &World,
        words: &Words,
        read: Reader<'_>,
    ) -> Result<Self, (Vec<Fault>, Sources)> {
        Switching::load(name, ceilings, world.clone(), words.clone(), read)?.sheets(Within::NONE)
    }

    fn lists(&self) -> impl Iterator<Item = (&Files, bool)> {
        let all = self.all.iter();
        all.flat_map(|sheet| [(&sheet.files, false), (&sheet.exec, true)])
    }

    /// Where all rules stand before a path.
    pub(super) fn start(&self) -> Vec<State> {
        self.lists().map(|(files, _)| files.start()).collect()
    }

    /// Where they stand one byte further.
    pub(super) fn advance(&self, states: &[State], byte: u8) -> Vec<State> {
        let lists = self.lists().zip(states);
        lists
            .map(|((files, _), state)| files.advance(state, byte))
            .collect()
    }

    /// True if some rule that may still match behind these states hides.
    pub(super) fn hides_below(&self, states: &[State]) -> bool {
        let mut lists = self.lists().zip(states);
        lists.any(|((files, _), state)| files.hides_below(state))
    }

    /// What holds at a path, and by which rules.
    pub fn decide(&self, path: &[u8]) -> Ruling {
        let mut states = self.start();
        for &byte in path.strip_suffix(b"/").unwrap_or(path) {
            states = self.advance(&states, byte);
        }
        self.ruling(&states)
    }

    /// What holds where rules stand so. The one decision about files.
    pub(super) fn ruling(&self, states: &[State]) -> Ruling {
        let mut all: Option<Ruling> = None;
        for ((files, is_exec), state) in self.lists().zip(states) {
            let mut one = files.rule_at(state);
            if is_exec {
                (one.effect, one.kills) = one.effect.of_program();
            }
            all = Some(match all {
                None => one,
                Some(mut all) => {
                    let met = all.effect.meet(one.effect);
                    // First those who took something away: a refusal is told as theirs.
                    let at = if met == all.effect {
                        all.because.len()
                    } else {
                        0
                    };
                    all.because.splice(at..at, one.because.iter().copied());
                    all.effect = met;
                    all.kills = all.kills.and(one.kills);
                    // Programs are no way down: only what is shown leads anywhere.
                    all.leads &= one.leads || is_exec;
                    all
                }
            });
        }
        all.unwrap_or(Ruling {
            effect: Effect::Hide,
            because: Vec::new(),
            leads: false,
            kills: Access::NONE,
        })
    }

    /// The rules about files that match where rules stand so.
    pub(super) fn matching(&self, states: &[State]) -> Vec<&FileRule> {
        let lists = self.lists().zip(states);
        let files = lists.filter(|((_, is_exec), _)| !is_exec);
        files
            .flat_map(|((files, _), state)| files.matching(state))
            .collect()
    }

    /// Where another policy says something else of files and programs, ceilings included. `None`: too large to tell.
    pub fn differences(&self, other: &Self, most: usize) -> Option<Vec<Difference>> {
        let old: Vec<&Files> = self.lists().map(|(files, _)| files).collect();
        let new: Vec<&Files> = other.lists().map(|(files, _)| files).collect();
        files::differences(
            [&old, &new],
            most,
            |states| self.ruling(states),
            |states| other.ruling(states),
        )
    }

    /// True if there is a rule, or a default, for which the user is asked.
    pub fn asks(&self) -> bool {
        let asks = |effect: Effect| matches!(effect, Effect::Ask { .. });
        let mut lists = self.lists().map(|(files, _)| files);
        let mut calls = self.all.iter().flat_map(|sheet| &sheet.calls.rules);
        lists.any(|files| asks(files.default()) || files.rules().iter().any(|r| asks(r.effect)))
            || calls.any(|rule| rule.does == Does::Ask)
            || self.all.iter().any(|sheet| {
                let default = sheet.calls.default;
                sheet.net.does == Does::Ask || default.is_some_and(|(does, _)| does == Does::Ask)
            })
    }

    /// The rule that is told of a ruling: one of those that decided together which says what came out.
    pub fn culprit(&self, ruling: &Ruling) -> Option<RuleId> {
        let says = |id: &&RuleId| {
            let rules = self.lists().flat_map(|(files, _)| files.rules());
            let mut own = rules.filter(|rule| rule.id == **id);
            own.any(|rule| rule.effect == ruling.effect)
        };
        let mut because = ruling.because.iter();
        because.clone().find(says).or(because.next()).copied()
    }

    /// The rule by which an access ends the run.
    pub fn killer(&self, ruling: &Ruling) -> Option<RuleId> {
        let kills = |id: &&RuleId| {
            let mut rules = self.lists().flat_map(|(files, _)| files.rules());
            rules.any(|rule| rule.id == **id && rule.effect == Effect::Kill)
        };
        ruling.because.iter().find(kills).copied()
    }

    /// The rule that is told where an access is refused.
    pub fn refuser(&self, ruling: &Ruling, access: Access) -> Option<RuleId> {
        match ruling.ends_at(access) {
            true => self.killer(ruling),
            false => self.culprit(ruling),
        }
    }

    /// The rules of a ruling that say with which arguments a program may be started; all of them must allow them.
    pub fn argument_rules<'s>(
        &'s self,
        ruling: &'s Ruling,
    ) -> impl Iterator<Item = (RuleId, &'s Arc<Arguments>)> {
        let because = ruling.because.iter();
        because.filter_map(|id| Some((*id, self.rule(*id)?.arguments.as_ref()?)))
    }

    /// The rules of a ruling that say how a program is started: with which arguments, within which further policies.
    pub fn start_rules<'s>(&'s self, ruling: &'s Ruling) -> impl Iterator<Item = RuleId> {
        let of_start = |id: &RuleId| self.rule(*id).is_some_and(RuleInfo::is_of_start);
        ruling.because.iter().copied().filter(of_start)
    }

    /// The rule of a ruling that doesn't let a program be started with these arguments behind `argv[0]`.
    pub fn refuses_arguments<A: AsRef<[u8]>>(
        &self,
        ruling: &Ruling,
        given: &[A],
    ) -> Option<RuleId> {
        let mut rules = self.argument_rules(ruling);
        rules.find_map(|(id, rule)| (!rule.allow(given)).then_some(id))
    }

    /// The policies within which a program of this ruling goes on when it is started, beside the one that holds.
    pub fn switches<'s>(&'s self, ruling: &'s Ruling) -> impl Iterator<Item = &'s str> {
        let because = ruling.because.iter();
        because.filter_map(|id| self.rule(*id)?.switch.as_deref())
    }

    /// The same, as a set.
    pub fn switched_by(&self, ruling: &Ruling) -> Within {
        let numbers = self.switches(ruling).map(|name| {
            let number = self.switched.iter().position(|known| known == name);
            Within::one(number.unwrap_or(within::MOST))
        });
        numbers.fold(Within::NONE, Within::and)
    }

    /// The rules that switch, each with the policy that it names.
    pub fn switching(&self) -> impl Iterator<Item = (RuleId, &str)> {
        let ids = (0..).map(RuleId).zip(&self.rules);
        ids.filter_map(|(id, rule)| Some((id, rule.switch.as_deref()?)))
    }

    /// The rule that [`Sheets::tell`] tells of so.
    pub fn told(&self, by: &str) -> Option<&RuleInfo> {
        let mut ids = (0..).map(RuleId).zip(&self.rules);
        let told = ids.find(|(id, _)| self.tell(*id) == by);
        told.map(|(_, rule)| rule)
    }

    /// How much of arguments the rules must see; `None`: there is no rule about them.
    pub fn reach(&self) -> Option<Reach> {
        let rules = self.rules.iter().filter_map(|rule| rule.arguments.as_ref());
        rules.map(|rule| rule.reach()).reduce(Reach::or)
    }

    /// Whether the network is the host's.
    pub fn net(&self) -> bool {
        self.all.iter().all(|sheet| sheet.net.is_there())
    }

    /// To whom signals may be sent, and by which rule: the strictest decides.
    pub fn signals(&self) -> (Signals, Option<RuleId>) {
        let strictest = self.all.iter().map(|sheet| sheet.signals);
        let strictest = strictest.reduce(|a, b| if b.0 > a.0 { b } else { a });
        strictest.unwrap_or_default()
    }

    /// What becomes of a call whatever its arguments, if it isn't just made.
    pub fn plain(&self, call: &str, group: &str) -> Option<(Does, Option<RuleId>)> {
        let all = self.all.iter();
        let mut all = all.map(|sheet| sheet.calls.plain(call, group));
        all.find(|(does, _)| *does != Does::Allow)
    }

    /// What each sheet says of a call, in order, and then each of the network: of its steps the first whose condition holds decides.
    pub fn steps(&self, call: &str, group: &str) -> Vec<Vec<Step>> {
        let all = self.all.iter();
        let by_calls = all.map(|sheet| sheet.calls.steps(call, group));
        // To ask for what there isn't would be in vain.
        let asked = self.net();
        let nets = self.all.iter().map(|sheet| sheet.net);
        let nets = nets.filter(|net| call == "socket" && (asked || net.does != Does::Ask));
        by_calls.chain(nets.filter_map(|net| net.steps())).collect()
    }

    /// The line that decides about the network: the strictest.
    pub fn network(&self) -> Network {
        let nets = self.all.iter().map(|sheet| sheet.net);
        let stricter = |a: Network, b: Network| match b.does.strictness() > a.does.strictness() {
            true => b,
            false => a,
        };
        nets.reduce(stricter).unwrap_or(Network::NONE)
    }

    /// The rule of an id.
    pub fn rule(&self, id: RuleId) -> Option<&RuleInfo> {
        self.rules.get(id.0 as usize)
    }

    /// `files."/usr/**" = "rx" (grader.toml:12)`
    pub fn tell(&self, id: RuleId) -> String {
        match self.rule(id) {
            Some(rule) => format!(
                "{} = {} ({})",
                rule.name,
                rule.says,
                self.sources.place(rule.at)
            ),
            None => "?".into(),
        }
    }
}

//! The decision about files, carried along a walk: one step for each component of a path.
//!
//! A directory of the view has a [`Standing`]: where all patterns stand behind its path, and what holds there.
//! From it the standing of a name in it is one step, which is remembered, so that it costs a look-up whatever the
//! number of rules. Nothing is made before it is asked for, and what guests can make grow is bounded.

use super::arguments::Limit;
use super::files::{Effect, FileRule, Ruling, State};
use super::glob::alphabet;
use super::lang::{RuleInfo, Sheets};
use super::within::Within;
use super::{Access, Rule, RuleId};
use crate::sys::Errno;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Steps and standings that are remembered. A guest chooses the names: when they are too many, all are forgotten.
const MOST_KEPT: usize = 8192;
/// States that one question about all that lies below a place may look at.
const MOST_LOOKED_AT: usize = 1024;
/// Numbers of rulings begin here; those below are of the view's own rules.
const FIRST: u32 = 1 << 31;
const CHUNK: usize = 1024;
const CHUNKS: usize = 128;

/// Where all patterns stand behind a path, one state for each list of rules.
type States = Vec<State>;

/// Where a path stands in the rules, and what holds there.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Node>);

#[derive(Debug)]
struct Node {
    id: u32,
    states: States,
    effect: Effect,
    /// These accesses end the run.
    kills: Access,
    /// The rules that say how a program here is started.
    limits: Box<[RuleId]>,
    rule: RuleId,
    /// Nothing is here, as far as the rules of this very path go.
    hidden: bool,
    /// Something below may be visible.
    leads: OnceLock<bool>,
    /// Something below may be hidden.
    hides: OnceLock<bool>,
}

impl Standing {
    /// The ruling, for the policy.
    pub fn rule(&self) -> RuleId {
        self.0.rule
    }

    /// The rules hide this very path. It may still lead to what they show ([`Names::leads`]).
    pub fn is_hidden(&self) -> bool {
        self.0.hidden
    }
}

/// What a ruling says, for [`super::Policy::decide`].
#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) rule: Rule,
    pub(super) refusal: Option<Errno>,
    /// For these accesses the user is asked.
    pub(super) asked: Access,
    /// These accesses end the run, by this rule.
    pub(super) kills: Option<(Access, Rule)>,
    /// With which arguments a program may be started there.
    limits: Vec<Limit>,
    /// Within which further policies it goes on.
    switches: Within,
}

/// Rulings in a row, made when the first of them is.
type Chunk = Box<[OnceLock<Ruled>]>;

/// Rulings by their number. They stay where they are, so that decisions can name them.
#[derive(Default)]
struct Rulings {
    known: HashMap<(Key, Vec<RuleId>), u32>,
}

/// What distinguishes two effects.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Grant(u16),
    Ask(u16, u16),
    Deny(i32),
    Hide,
    Kill,
}

#[derive(Default)]
struct Cache {
    steps: HashMap<u32, HashMap<Box<[u8]>, Standing>>,
    kept: usize,
    by_states: HashMap<States, Standing>,
}

/// What the rules of a view's own places grant at most, by their numbers.
#[derive(Clone, Debug)]
pub struct Rights(pub(super) Arc<[Access]>);

/// The file rules of a run, compiled for walks.
pub struct Names {
    sheets: Arc<Sheets>,
    cache: Mutex<Cache>,
    rulings: Mutex<Rulings>,
    ruled: Box<[OnceLock<Chunk>]>,
    letters: OnceLock<Vec<u8>>,
    /// There are rules about how programs are started.
    limited: bool,
    next: AtomicU32,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is only remembered: it is never half true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    /// True if there is a rule for which the user is asked.
    pub fn asks(&self) -> bool {
        self.sheets.asks()
    }

    /// Compiles nothing yet: that happens as paths are walked.
    pub fn new(sheets: Arc<Sheets>) -> Self {
        Self {
            limited: sheets.rules.iter().any(RuleInfo::is_of_start),
            sheets,
            cache: Mutex::default(),
            rulings: Mutex::default(),
            ruled: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            letters: OnceLock::new(),
            next: AtomicU32::new(0),
        }
    }

    /// Where a clean absolute path stands.
    pub fn at(&self, path: &[u8]) -> Standing {
        let mut at = self.standing(self.sheets.start());
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            at = self.step(&at, name);
        }
        at
    }

    /// Where `name` stands in a directory.
    pub fn step(&self, dir: &Standing, name: &[u8]) -> Standing {
        let known = {
            let cache = lock(&self.cache);
            let steps = cache.steps.get(&dir.0.id);
            steps.and_then(|steps| steps.get(name)).cloned()
        };
        if let Some(known) = known {
            return known;
        }
        let mut states = self.sheets.advance(&dir.0.states, b'/');
        for &byte in name {
            states = self.sheets.advance(&states, byte);
        }
        let found = self.standing(states);
        let mut cache = lock(&self.cache);
        if cache.kept >= MOST_KEPT {
            *cache = Cache::default();
        }
        cache.kept += 1;
        let steps = cache.steps.entry(dir.0.id).or_default();
        steps.insert(name.into(), found.clone());
        found
    }

    /// What holds at a place that has no path any more: nothing is granted.
    pub fn nowhere(&self) -> Standing {
        Standing(Arc::new(Node {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            states: States::new(),
            effect: Effect::Hide,
            kills: Access::NONE,
            limits: Box::default(),
            rule: RuleId(u32::MAX),
            hidden: false,
            leads: OnceLock::from(false),
            hides: OnceLock::from(true),
        }))
    }

    fn standing(&self, states: States) -> Standing {
        if let Some(known) = lock(&self.cache).by_states.get(&states) {
            return known.clone();
        }
        let ruling = self.sheets.ruling(&states);
        let hidden = ruling.effect.hides();
        let node = Node {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            effect: ruling.effect,
            kills: ruling.kills,
            limits: self.limits(&ruling),
            rule: self.number(&ruling),
            states: states.clone(),
            hidden,
            leads: OnceLock::new(),
            hides: OnceLock::new(),
        };
        let standing = Standing(Arc::new(node));
        let mut cache = lock(&self.cache);
        if cache.by_states.len() >= MOST_KEPT {
            *cache = Cache::default();
        }
        cache.by_states.insert(states, standing.clone());
        standing
    }

    /// The number of a ruling. When there are too many, nothing is granted.
    fn number(&self, ruling: &Ruling) -> RuleId {
        // What only leads to something can be looked at and listed, so far as something is shown.
        let leads = Access::LOOK.and(Access::LIST);
        let (look, none) = (Access::LOOK, Access::NONE);
        let (key, grants, refusal, asked) = match ruling.effect {
            Effect::Grant(access) => (Key::Grant(access.0), access, None, none),
            Effect::Ask { granted, asked } => (Key::Ask(granted.0, asked.0), granted, None, asked),
            Effect::Deny(errno) => (Key::Deny(errno as i32), look, Some(errno), none),
            Effect::Hide => (Key::Hide, leads, None, none),
            Effect::Kill => (Key::Kill, leads, None, none),
        };
        let limits = self
            .sheets
            .argument_rules(ruling)
            .map(|(id, arguments)| Limit {
                arguments: Arc::clone(arguments),
                otherwise: self.number(&Ruling {
                    effect: Effect::Grant(ruling.effect.granted().without(Access::EXEC)),
                    because: vec![id],
                    kills: ruling.kills,
                    leads: false,
                }),
            });
        // Those that don't let it be started have no limits.
        let limits = match ruling.effect.at_most().has(Access::EXEC) {
            true => limits.collect(),
            false => Vec::new(),
        };
        let mut rulings = lock(&self.rulings);
        let next = rulings.known.len();
        let id = (key, ruling.because.clone());
        if let Some(&known) = rulings.known.get(&id) {
            return RuleId(FIRST + known);
        }
        let (chunk, at) = (next / CHUNK, next % CHUNK);
        let Some(chunk) = self.ruled.get(chunk) else {
            return RuleId(u32::MAX);
        };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        let origin = match self.sheets.culprit(ruling) {
            Some(id) => self.sheets.tell(id),
            None => "the policy's default".into(),
        };
        let rule = Rule { grants, origin };
        // Which rules decide says what ends the run, too.
        let killer = self.sheets.killer(ruling);
        let kills = killer.map(|id| {
            let origin = self.sheets.tell(id);
            (ruling.kills, Rule { grants, origin })
        });
        // Nobody else has this number: the lock is held.
        let _ = chunk.get(at).map(|place| {
            place.set(Ruled {
                rule,
                refusal,
                asked,
                kills,
                limits,
                switches: self.sheets.switched_by(ruling),
            })
        });
        let number = u32::try_from(next).unwrap_or(u32::MAX - FIRST);
        rulings.known.insert(id, number);
        RuleId(FIRST + number)
    }

    /// What a number of [`Standing::rule`] stands for.
    pub(super) fn ruled(&self, id: RuleId) -> Option<&Ruled> {
        let at = id.0.checked_sub(FIRST)? as usize;
        self.ruled.get(at / CHUNK)?.get()?.get(at % CHUNK)?.get()
    }

    /// Who names what stands here ends the run. What leads to something shown is a directory like others.
    pub fn ends(&self, at: &Standing) -> bool {
        at.0.effect == Effect::Kill && !self.leads(at)
    }

    /// The rule of the policy by which what stands here ends the run.
    pub fn killer(&self, at: &Standing) -> Option<RuleId> {
        self.sheets.killer(&self.sheets.ruling(&at.0.states))
    }

    /// True if there is a rule by which to name a path ends the run.
    pub fn watches(&self) -> bool {
        let all = self.sheets.all.iter();
        all.flat_map(|sheet| sheet.files.rules())
            .any(|rule| rule.effect == Effect::Kill)
    }

    /// What ends the run where a path is named: it comes to a name at which it does, or leads through one.
    pub fn trips(&self, path: &[u8]) -> Option<Standing> {
        let mut at = self.standing(self.sheets.start());
        let names = path.split(|&b| b == b'/').filter(|name| !name.is_empty());
        for name in names {
            at = self.step(&at, name);
            if self.ends(&at) {
                return Some(at);
            }
        }
        None
    }

    /// True if there are rules about how programs are started: their arguments, what they go on within.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// With which arguments a program of this ruling may be started; each of the limits must allow them.
    pub fn limits_of(&self, rule: RuleId) -> &[Limit] {
        self.ruled(rule).map_or(&[], |ruled| &ruled.limits)
    }

    /// Within which further policies a program of this ruling goes on; `None`: nobody knows the ruling.
    pub fn switches_of(&self, rule: RuleId) -> Option<Within> {
        self.ruled(rule).map(|ruled| ruled.switches)
    }

    /// The rule of a directory that somebody may hold though it is hidden: nothing is granted then.
    pub fn held(&self, at: &Standing) -> RuleId {
        match at.is_hidden() && !self.leads(at) {
            true => self.nowhere().rule(),
            false => at.rule(),
        }
    }

    /// The rule of a place that the view itself has put there by its rule `own`: no more than both grant.
    pub fn made(&self, at: &Standing, own: RuleId, rights: &Rights) -> RuleId {
        if at.is_hidden() && !self.leads(at) {
            return self.nowhere().rule();
        }
        let most = rights.0.get(own.0 as usize).copied();
        let mut ruling = self.sheets.ruling(&at.0.states);
        let most = Effect::Grant(most.unwrap_or(Access::NONE));
        ruling.effect = ruling.effect.meet(most);
        self.number(&ruling)
    }

    /// True if what stands at a place may be read.
    pub fn shows(&self, at: &Standing) -> bool {
        at.0.effect.granted().has(Access::READ)
    }

    /// The policy that these rules are of.
    pub fn sheets(&self) -> &Arc<Sheets> {
        &self.sheets
    }

    fn limits(&self, ruling: &Ruling) -> Box<[RuleId]> {
        self.sheets.start_rules(ruling).collect()
    }

    /// Something below may be visible: a directory there exists, though hidden itself.
    pub fn leads(&self, at: &Standing) -> bool {
        *at.0.leads.get_or_init(|| {
            if at.0.effect == Effect::Kill {
                return self.leads_past(at);
            }
            self.sheets.ruling(&at.0.states).leads
                && self
                    .search([&at.0.states], |[states]| {
                        !self.sheets.ruling(states).effect.hides()
                    })
                    .unwrap_or(true)
        })
    }

    /// The same of what ends the run: a rule that is about what is below alone, and not anywhere, shows it.
    fn leads_past(&self, at: &Standing) -> bool {
        let here = self.sheets.matching(&at.0.states);
        let is_own = |rule: &&FileRule| {
            !rule.effect.hides()
                && rule.pattern.literal().len() > 1
                && !here.iter().any(|other| other.id == rule.id)
        };
        let search = self.search([&at.0.states], |[states]| {
            !self.sheets.ruling(states).effect.hides()
                && self.sheets.matching(states).iter().any(is_own)
        });
        // What nobody can tell is watched.
        search.unwrap_or(false)
    }

    /// Something below may be hidden, so a listing must be looked through.
    pub fn hides(&self, at: &Standing) -> bool {
        *at.0.hides.get_or_init(|| {
            // What stands as the directory itself is not met below it.
            at.0.hidden
                || self.sheets.hides_below(&at.0.states)
                || self
                    .search([&at.0.states], |[states]| {
                        self.sheets.ruling(states).effect.hides()
                    })
                    .unwrap_or(true)
        })
    }

    /// True if what has the rights of `from` may come to `to`: it gets no wider ones there, and if it is a directory,
    /// nothing below it does.
    pub fn may_carry(&self, from: &Standing, to: &Standing, is_dir: bool) -> bool {
        from.0.id == to.0.id
            || is_within((to.0.effect, to.0.kills), (from.0.effect, from.0.kills))
                && has_all(&to.0.limits, &from.0.limits)
                && (!is_dir
                    || from.0.states == to.0.states
                    || self.search([&from.0.states, &to.0.states], |[from, to]| {
                        let (from, to) = (self.sheets.ruling(from), self.sheets.ruling(to));
                        !is_within((to.effect, to.kills), (from.effect, from.kills))
                            || self.limited && !has_all(&self.limits(&to), &self.limits(&from))
                    }) == Some(false))
    }

    /// True if two trees have the same rights, each path as that of the same name in the other.
    pub fn same_below(&self, a: &[u8], b: &[u8]) -> bool {
        let (a, b) = (self.at(a), self.at(b));
        self.may_carry(&a, &b, true) && self.may_carry(&b, &a, true)
    }

    /// True if below `at` something is allowed that is not of `most`, or nobody can tell.
    pub fn grants_beyond(&self, at: &Standing, most: Access) -> bool {
        let beyond = |effect: Effect| !most.has(effect.at_most());
        beyond(at.0.effect)
            || self
                .search([&at.0.states], |[states]| {
                    beyond(self.sheets.ruling(states).effect)
                })
                .unwrap_or(true)
    }

    /// Whether something holds at some path below places, whatever is put behind all of them. `None`: too many states.
    fn search<const N: usize>(
        &self,
        from: [&States; N],
        mut found: impl FnMut(&[States; N]) -> bool,
    ) -> Option<bool> {
        let letters = self.letters.get_or_init(|| {
            let lists = self.sheets.all.iter().flat_map(|s| [&s.files, &s.exec]);
            let rules = lists.flat_map(|files| files.rules());
            alphabet(rules.map(|rule| &rule.pattern))
        });
        let first = (from.map(Clone::clone), true);
        let mut seen = HashSet::from([first.clone()]);
        let mut queue = VecDeque::from([(first, true)]);
        while let Some(((states, whole), start)) = queue.pop_front() {
            for &byte in letters {
                // A slash is followed by a name, and what is below begins with one.
                if byte == b'/' && !whole || start && byte != b'/' {
                    continue;
                }
                let next = states.each_ref().map(|s| self.sheets.advance(s, byte));
                let key = (next, byte != b'/');
                if seen.contains(&key) {
                    continue;
                }
                if key.1 && found(&key.0) {
                    return Some(true);
                }
                if seen.len() >= MOST_LOOKED_AT {
                    return None;
                }
                seen.insert(key.clone());
                queue.push_back((key, false));
            }
        }
        Some(false)
    }
}

/// True if what is limited by `from` is limited by all of it in `to`, too.
fn has_all(to: &[RuleId], from: &[RuleId]) -> bool {
    from.iter().all(|id| to.contains(id))
}

/// True if `to` allows nothing that `from` doesn't, asked for or not, and ends the run where that does.
fn is_within((to, then): (Effect, Access), (from, kills): (Effect, Access)) -> bool {
    // What is granted where it comes to was granted, and what is asked for there was at least asked for.
    then.has(kills)
        && (to.hides()
            || !from.hides()
                && from.granted().has(to.granted())
                && from.at_most().has(to.at_most()))
}

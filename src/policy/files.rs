//! The decision about files: which rule of a policy holds at a path, and what it says.
//!
//! All patterns are one automaton, walked over the bytes of a path (`trie`). Of the rules that match, one that
//! matches a true subset of what another matches is the narrower and beats it; what is left and can't be compared is
//! met: the stricter holds, rights intersect.

mod trie;

pub(super) use trie::State;

use super::glob::{Pattern, alphabet};
use super::{Access, RuleId};
use crate::sys::Errno;
use rustc_hash::FxBuildHasher;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use trie::Trie;

/// What a rule says of the paths that it matches. Ordered from the laxest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These accesses are allowed, others refused.
    Grant(Access),
    /// Some accesses are allowed, for others the user is asked, and the rest is refused.
    Ask {
        /// These are allowed.
        granted: Access,
        /// For these the user is asked.
        asked: Access,
    },
    /// It is there and may be looked at; every other access is refused, with this errno (EACCES if none is said).
    Deny(Errno),
    /// There is nothing: ENOENT, and absent from listings.
    Hide,
    /// As [`Effect::Hide`], and who names it ends the run. Of a rule of `[exec]`: who executes it does.
    Kill,
}

impl Effect {
    /// What asks about all but looking.
    pub const ASK: Self = Self::Ask {
        granted: Access::LOOK,
        asked: Access::ALL.without(Access::LOOK),
    };

    /// What both allow. Commutative, associative, idempotent.
    pub fn meet(self, other: Self) -> Self {
        match (self, other) {
            (Self::Kill, _) | (_, Self::Kill) => Self::Kill,
            (Self::Hide, _) | (_, Self::Hide) => Self::Hide,
            (Self::Deny(a), Self::Deny(b)) => {
                Self::Deny(if (a as i32) < (b as i32) { a } else { b })
            }
            (Self::Deny(errno), _) | (_, Self::Deny(errno)) => Self::Deny(errno),
            (Self::Grant(a), Self::Grant(b)) => Self::Grant(a.both(b)),
            (a, b) => {
                let granted = a.granted().both(b.granted());
                let asked = a.at_most().both(b.at_most()).without(granted);
                match asked.is_empty() {
                    true => Self::Grant(granted),
                    false => Self::Ask { granted, asked },
                }
            }
        }
    }

    /// The accesses that are allowed.
    pub fn granted(self) -> Access {
        match self {
            Self::Grant(access) => access,
            Self::Ask { granted, .. } => granted,
            Self::Deny(_) => Access::LOOK,
            Self::Hide | Self::Kill => Access::NONE,
        }
    }

    /// The accesses that may come to be allowed: those that are, and those for which the user is asked.
    pub fn at_most(self) -> Access {
        match self {
            Self::Ask { granted, asked } => granted.and(asked),
            _ => self.granted(),
        }
    }

    /// There is nothing, for who only looks around.
    pub fn hides(self) -> bool {
        matches!(self, Self::Hide | Self::Kill)
    }

    /// What a rule of `[exec]` says, in the words of one about files; and the accesses that end the run.
    pub fn of_program(self) -> (Self, Access) {
        match self {
            Self::Kill => (Self::Grant(Access::ALL.without(Access::EXEC)), Access::EXEC),
            other => (other, Access::NONE),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(access) => f.write_str(&letters(*access)),
            Self::Ask { .. } => f.write_str("ask"),
            Self::Deny(errno) => write!(f, "deny {errno:?}"),
            Self::Hide => f.write_str("hide"),
            Self::Kill => f.write_str("kill"),
        }
    }
}

/// The letters of the policy language, and what each grants.
pub const LETTERS: [(char, Access); 6] = [
    ('r', Access::LOOK.and(Access::READ).and(Access::LIST)),
    ('w', Access::WRITE.and(Access::CONNECT)),
    ('c', Access::CREATE),
    ('d', Access::DELETE),
    ('x', Access::LOOK.and(Access::EXEC)),
    ('m', Access::META),
];

/// Rights as the language writes them. What may be read may be listed: that has a word of its own only where it is all.
pub fn letters(access: Access) -> String {
    let has = |of: Access| access.has(of.without(Access::LIST));
    let out: String = LETTERS
        .iter()
        .filter(|(_, of)| has(*of))
        .map(|(letter, _)| *letter)
        .collect();
    match out.as_str() {
        "" if access.has(Access::LOOK) => "list".into(),
        "" => "deny".into(),
        _ => out,
    }
}

/// A rule about files.
#[derive(Clone, Debug)]
pub struct FileRule {
    /// The paths it is about.
    pub pattern: Pattern,
    /// What it says of them.
    pub effect: Effect,
    /// It is of `[forbid]`: nothing opens again what it matches.
    pub forbid: bool,
    /// Names the rule to whoever made the list.
    pub id: RuleId,
}

/// What holds at a path, and by which rules; none: the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What holds.
    pub effect: Effect,
    /// The rules that decided, in their order.
    pub because: Vec<RuleId>,
    /// Something below may be visible, so the path exists as a directory that leads there.
    pub leads: bool,
    /// These accesses end the run, where they are not granted.
    pub kills: Access,
}

impl Ruling {
    /// Whether an access ends the run.
    pub fn ends_at(&self, access: Access) -> bool {
        let missing = access.without(self.effect.granted());
        !missing.both(self.kills).is_empty()
    }
}

/// The rules of one policy, compiled.
#[derive(Debug)]
pub struct Files {
    trie: Trie,
    default: Effect,
}

impl Files {
    /// Compiles. The order of the rules doesn't matter.
    pub fn new(rules: Vec<FileRule>, default: Effect) -> Self {
        Self {
            trie: Trie::new(rules),
            default,
        }
    }

    /// All rules.
    pub fn rules(&self) -> &[FileRule] {
        self.trie.rules()
    }

    /// What holds where no rule matches.
    pub fn default(&self) -> Effect {
        self.default
    }

    /// Two rules for one set of paths: an error, as neither is the narrower.
    pub fn equals(&self) -> Vec<(&FileRule, &FileRule)> {
        // Equal patterns have the same shortest path, and few others have.
        let mut first: HashMap<(bool, Cow<'_, [u8]>), &FileRule, FxBuildHasher> =
            HashMap::with_capacity_and_hasher(self.rules().len(), FxBuildHasher);
        let mut more: HashMap<(bool, Cow<'_, [u8]>), Vec<&FileRule>> = HashMap::new();
        for rule in self.rules() {
            let key = (rule.forbid, rule.pattern.shortest());
            match first.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(rule);
                }
                Entry::Occupied(taken) => {
                    let bucket = more.entry(taken.key().clone());
                    bucket.or_insert_with(|| vec![taken.get()]).push(rule);
                }
            }
        }
        let mut found = Vec::new();
        for bucket in more.values_mut() {
            bucket.sort_by(|a, b| a.pattern.spelling(&b.pattern));
            for (at, a) in bucket.iter().enumerate() {
                for b in bucket.iter().skip(at + 1) {
                    if a.pattern.is_within(&b.pattern) && b.pattern.is_within(&a.pattern) {
                        found.push((*a, *b));
                    }
                }
            }
        }
        found
    }

    /// What holds at `path` (clean; `/` or `/a/b`).
    pub fn decide(&self, path: &[u8]) -> Ruling {
        self.rule_at(&self.trie.walk(as_text(path)))
    }

    /// Where all patterns stand before a path.
    pub(super) fn start(&self) -> State {
        self.trie.start()
    }

    /// Where they stand one byte further.
    pub(super) fn advance(&self, state: &State, byte: u8) -> State {
        self.trie.advance(state, byte)
    }

    pub(super) fn rule_at(&self, state: &State) -> Ruling {
        let matching = self.trie.matching(state);
        let deciding = deciding(&matching);
        let effects = deciding.iter().map(|rule| rule.effect);
        let effect = effects.reduce(Effect::meet).unwrap_or(self.default);
        let mut because: Vec<RuleId> = deciding.iter().map(|rule| rule.id).collect();
        because.sort_unstable_by_key(|id| id.0);
        let forbidden = deciding.iter().any(|rule| rule.forbid);
        let leads = !forbidden && self.trie.shows_below(state);
        Ruling {
            effect,
            because,
            leads,
            kills: match effect {
                Effect::Kill => Access::ALL,
                _ => Access::NONE,
            },
        }
    }

    /// The rules that match in a state.
    pub(super) fn matching(&self, state: &State) -> Vec<&FileRule> {
        self.trie.matching(state)
    }

    /// True if some rule that may still match behind `state` hides.
    pub(super) fn hides_below(&self, state: &State) -> bool {
        self.trie.hides_below(state)
    }

    /// The rules that match `path`, and for each the narrower ones that beat it.
    pub fn candidates(&self, path: &[u8]) -> Vec<Candidate<'_>> {
        let mut matching = self.trie.matching(&self.trie.walk(as_text(path)));
        matching.sort_by(|a, b| a.pattern.spelling(&b.pattern));
        let forbidden = matching.iter().any(|rule| rule.forbid);
        matching
            .iter()
            .map(|rule| Candidate {
                rule,
                beaten_by: beaten_by(rule, &matching, forbidden),
            })
            .collect()
    }

    /// Every answer that this policy gives, with the rules and a path that gets it. `None`: too many to tell.
    pub fn answers(&self, most: usize) -> Option<Vec<(Ruling, Vec<u8>)>> {
        let mut all: HashMap<Vec<RuleId>, (Ruling, Vec<u8>)> = HashMap::new();
        let mut met = HashSet::new();
        explore(&[self], most, |states, path| {
            let [state] = states else {
                return;
            };
            let matching = self.trie.matching(state);
            let matching = matching.iter().map(|rule| (rule.id, rule.pattern.text()));
            // Where the same rules match, the same ones decide.
            if met.insert(matching.collect::<Vec<_>>()) {
                let ruling = self.rule_at(state);
                let key = ruling.because.clone();
                all.entry(key).or_insert_with(|| (ruling, path()));
            }
        })?;
        let mut all: Vec<_> = all.into_values().collect();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        Some(all)
    }
}

/// Where two lists of rules answer otherwise: for each pair of answers one path, the shortest found. `was` and `is` say what comes of
/// where the lists stand. `None`: too many states.
pub(super) fn differences(
    [before, after]: [&[&Files]; 2],
    most: usize,
    was: impl Fn(&[State]) -> Ruling,
    is: impl Fn(&[State]) -> Ruling,
) -> Option<Vec<Difference>> {
    let mut all: HashMap<(String, Vec<RuleId>, Vec<RuleId>), Difference> = HashMap::new();
    explore(&[before, after].concat(), most, |states, path| {
        let (old, new) = states.split_at(before.len());
        let (a, b) = (was(old), is(new));
        if (a.effect, a.kills) != (b.effect, b.kills) {
            let effects = format!("{} {}", a.effect, b.effect);
            let key = (effects, a.because.clone(), b.because.clone());
            all.entry(key).or_insert_with(|| Difference {
                before: a.effect,
                after: b.effect,
                ends: [a.kills, b.kills],
                old: a.because,
                new: b.because,
                path: path(),
            });
        }
    })?;
    let mut all: Vec<Difference> = all.into_values().collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Some(all)
}

/// A path at which two policies answer otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the first says.
    pub before: Effect,
    /// What the second says.
    pub after: Effect,
    /// The accesses that end the run, by the first and by the second.
    pub ends: [Access; 2],
    /// The rules of the first.
    pub old: Vec<RuleId>,
    /// The rules of the second.
    pub new: Vec<RuleId>,
    /// Where.
    pub path: Vec<u8>,
}

/// A rule that matches, and those that beat it there.
#[derive(Debug)]
pub struct Candidate<'f> {
    /// The rule.
    pub rule: &'f FileRule,
    /// Narrower rules, or those of `[forbid]`; empty: it decides.
    pub beaten_by: Vec<&'f FileRule>,
}

/// `/` is the empty text.
fn as_text(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn beaten_by<'f>(rule: &FileRule, all: &[&'f FileRule], forbidden: bool) -> Vec<&'f FileRule> {
    let beats = |other: &&FileRule| {
        if forbidden {
            return other.forbid && !rule.forbid;
        }
        other.id != rule.id
            && other.pattern.is_within(&rule.pattern)
            && !rule.pattern.is_within(&other.pattern)
    };
    all.iter().copied().filter(|other| beats(other)).collect()
}

fn deciding<'f>(matching: &[&'f FileRule]) -> Vec<&'f FileRule> {
    let forbidden = matching.iter().any(|rule| rule.forbid);
    let unbeaten = |rule: &&&FileRule| beaten_by(rule, matching, forbidden).is_empty();
    matching.iter().filter(unbeaten).copied().collect()
}

/// Visits every state that can be reached, of several policies at once, shortest paths first.
fn explore(
    of: &[&Files],
    most: usize,
    mut visit: impl FnMut(&[State], &mut dyn FnMut() -> Vec<u8>),
) -> Option<()> {
    let patterns = of.iter().flat_map(|f| f.rules()).map(|rule| &rule.pattern);
    let letters = alphabet(patterns);
    let first: Vec<State> = of.iter().map(|f| f.start()).collect();
    let mut seen = HashMap::from([((first.clone(), true), 0usize)]);
    // How each was reached: the one before, and the byte.
    let mut from: Vec<(usize, u8)> = vec![(0, 0)];
    let mut queue = VecDeque::from([(first, true, 0usize)]);
    while let Some((states, whole, at)) = queue.pop_front() {
        if whole {
            visit(&states, &mut || {
                let mut path = Vec::new();
                let mut step = at;
                while step != 0
                    && let Some(&(before, byte)) = from.get(step)
                {
                    path.push(byte);
                    step = before;
                }
                path.reverse();
                path
            });
        }
        for &byte in &letters {
            // A slash is followed by a name; the root is the empty text, and all else begins with a slash.
            if byte == b'/' && !whole || at == 0 && byte != b'/' {
                continue;
            }
            let next: Vec<State> = of
                .iter()
                .zip(&states)
                .map(|(f, s)| f.advance(s, byte))
                .collect();
            let key = (next, byte != b'/');
            if seen.contains_key(&key) {
                continue;
            }
            if seen.len() >= most {
                return None;
            }
            let id = from.len();
            from.push((at, byte));
            seen.insert(key.clone(), id);
            queue.push_back((key.0, key.1, id));
        }
    }
    Some(())
}

/// Rules that never decide, whatever the path.
pub fn dead(files: &Files, answers: &[(Ruling, Vec<u8>)]) -> Vec<RuleId> {
    let alive: BTreeSet<u32> = answers
        .iter()
        .flat_map(|(r, _)| &r.because)
        .map(|id| id.0)
        .collect();
    let ids = files.rules().iter().map(|rule| rule.id);
    ids.filter(|id| !alive.contains(&id.0)).collect()
}

#[cfg(test)]
mod tests;

//! What may be done: rules, and the one function that decides.
//!
//! Pure: no I/O, no knowledge of how calls are caught or how files are found. Every question the
//! sandbox has (`Ask`) goes through [`Policy::decide`], and the answer names the rule that made it.

pub mod arguments;
pub mod files;
pub mod foreign;
pub mod glob;
pub mod lang;
pub mod names;
pub mod within;

use crate::sys::Errno;
use names::{Names, Rights};
use std::fmt;
use std::sync::Arc;

/// Names a rule of the policy; stable for the life of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub u32);

/// What a call wants to do to an object. A set: one call may want several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access(u16);

impl Access {
    /// Look: stat, read a link, search.
    pub const LOOK: Self = Self(1);
    /// Read content: of what isn't a directory.
    pub const READ: Self = Self(2);
    /// Change content of what exists.
    pub const WRITE: Self = Self(4);
    /// Make a new name.
    pub const CREATE: Self = Self(8);
    /// Remove a name.
    pub const DELETE: Self = Self(16);
    /// Change metadata: mode, owner, times, extended attributes.
    pub const META: Self = Self(32);
    /// Execute.
    pub const EXEC: Self = Self(64);
    /// Connect to whoever listens on a socket.
    pub const CONNECT: Self = Self(128);
    /// List the names in a directory.
    pub const LIST: Self = Self(256);
    /// All of them.
    pub const ALL: Self = Self(511);
    /// Everything that leaves no trace.
    pub const READ_ONLY: Self = Self(1 | 2 | 64 | 256);
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is left without `other`.
    pub const fn without(self, other: Self) -> Self {
        self.beyond(other)
    }

    /// True if all of `other` is in the set.
    pub const fn has(self, other: Self) -> bool {
        other.beyond(self).is_empty()
    }

    /// What of `self` is not in `granted`.
    const fn beyond(self, granted: Self) -> Self {
        Self(self.0 & !granted.0)
    }

    /// True if nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (1u16, "look"),
            (2, "read"),
            (4, "write"),
            (8, "create"),
            (16, "delete"),
            (32, "change metadata of"),
            (64, "execute"),
            (128, "connect to"),
            (256, "list"),
        ];
        let mut words = names
            .iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, name)| *name);
        f.write_str(words.next().unwrap_or("nothing"))?;
        words.try_for_each(|word| write!(f, "+{word}"))
    }
}

/// To whom of the sandbox a process may send signals; the stricter is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signals {
    /// To all.
    #[default]
    Own,
    /// To itself, and to what it has started, at any remove.
    Children,
    /// To itself: its own threads.
    None,
}

impl Signals {
    /// The words of the policy language.
    pub const WORDS: [(&str, Self); 3] = [
        ("own", Self::Own),
        ("children", Self::Children),
        ("none", Self::None),
    ];
}

impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Self::WORDS.iter();
        f.write_str(all.find(|(_, of)| of == self).map_or("", |(word, _)| word))
    }
}

/// A rule: what is granted, and where the rule comes from.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The accesses it grants.
    pub grants: Access,
    /// How the user would recognise it: `flag --ro /srv`, `default: system directory /usr`.
    pub origin: String,
}

/// One question to the policy.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What the call wants to do.
    pub access: Access,
    /// The rule that governs the object, found while its path was walked.
    pub rule: RuleId,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Answer this errno.
    Deny(Errno),
    /// Ask the user; if the answer is no, answer this errno.
    Ask(Errno),
    /// End the run.
    Kill,
}

/// The answer with the rule that made it.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'p> {
    /// The answer.
    pub verdict: Verdict,
    /// The rule; `None`: no rule allows it.
    pub because: Option<&'p Rule>,
}

/// All rules of a sandbox.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    /// What some rules refuse with, where it is not what a read-only mount says.
    refusals: Vec<(RuleId, Errno)>,
    /// For what some rules have the user asked.
    asked: Vec<(RuleId, Access)>,
    /// Accesses to what some rules govern that end the run, and by which other rule.
    kills: Vec<(RuleId, Access, Rule)>,
    /// The rulings of a policy file about paths.
    names: Option<Arc<Names>>,
}

/// A rule with all that it says.
struct Said<'p> {
    rule: &'p Rule,
    refusal: Option<Errno>,
    asked: Access,
    /// By which rule these accesses end the run.
    kills: Option<(Access, &'p Rule)>,
}

impl Policy {
    /// Adds a rule and names it.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        self.rules.push(rule);
        RuleId(self.rules.len() as u32 - 1)
    }

    /// Gives a rule other rights, and what it refuses with.
    pub fn set(&mut self, id: RuleId, grants: Access, refusal: Option<Errno>) {
        if let Some(rule) = self.rules.get_mut(id.0 as usize) {
            rule.grants = grants;
        }
        self.refusals.extend(refusal.map(|errno| (id, errno)));
    }

    /// For these accesses the user is asked, beyond what the rule grants.
    pub fn ask(&mut self, id: RuleId, access: Access) {
        self.asked.push((id, access));
    }

    /// These accesses end the run, by another rule.
    pub fn kill(&mut self, id: RuleId, access: Access, by: Rule) {
        self.kills.push((id, access, by));
    }

    /// What each of its own rules grants at most, by number.
    pub fn rights(&self) -> Rights {
        let rules = self.rules.iter().enumerate();
        let asked = |number: usize| {
            let mut asked = self.asked.iter();
            asked.find(|(of, _)| of.0 as usize == number)
        };
        let most = rules.map(|(number, rule)| match asked(number) {
            Some((_, asked)) => rule.grants.and(*asked),
            None => rule.grants,
        });
        Rights(most.collect())
    }

    /// True if there is a rule for which the user is asked.
    pub fn asks(&self) -> bool {
        !self.asked.is_empty() || self.names.as_ref().is_some_and(|names| names.asks())
    }

    /// Takes in the rulings of a policy file about paths.
    pub fn rule_by(&mut self, names: Arc<Names>) {
        self.names = Some(names);
    }

    /// By which rule the run ends, where what `id` governs does that.
    pub fn killer(&self, id: RuleId) -> Option<&str> {
        let (_, by) = self.rule(id)?.kills?;
        Some(&by.origin)
    }

    fn rule(&self, id: RuleId) -> Option<Said<'_>> {
        if let Some(rule) = self.rules.get(id.0 as usize) {
            let refusal = self.refusals.iter().find(|(of, _)| *of == id);
            let asked = self.asked.iter().find(|(of, _)| *of == id);
            let kills = self.kills.iter().find(|(of, ..)| *of == id);
            return Some(Said {
                rule,
                refusal: refusal.map(|(_, errno)| *errno),
                asked: asked.map_or(Access::NONE, |(_, access)| *access),
                kills: kills.map(|(_, access, by)| (*access, by)),
            });
        }
        let ruled = self.names.as_ref()?.ruled(id)?;
        Some(Said {
            rule: &ruled.rule,
            refusal: ruled.refusal,
            asked: ruled.asked,
            kills: ruled.kills.as_ref().map(|(access, by)| (*access, by)),
        })
    }

    /// Decides one question. The only place where the sandbox says yes or no to an access.
    ///
    /// A write where only reading is granted answers EROFS, as a read-only mount does
    /// (mount(2), `MS_RDONLY`); anything else that is not granted answers EACCES.
    pub fn decide(&self, ask: Ask) -> Decision<'_> {
        let Some(Said {
            rule,
            refusal,
            asked,
            kills,
        }) = self.rule(ask.rule)
        else {
            return Decision {
                verdict: Verdict::Deny(Errno::EACCES),
                because: None,
            };
        };
        let missing = ask.access.beyond(rule.grants);
        if let Some((kills, by)) = kills
            && !missing.both(kills).is_empty()
        {
            return Decision {
                verdict: Verdict::Kill,
                because: Some(by),
            };
        }
        let verdict = if missing.is_empty() {
            Verdict::Allow
        } else if asked.has(missing) {
            Verdict::Ask(Errno::EACCES)
        } else if let Some(errno) = refusal {
            Verdict::Deny(errno)
        } else if missing
            .beyond(Access::READ_ONLY.and(Access::CONNECT))
            .is_empty()
        {
            Verdict::Deny(Errno::EACCES)
        } else {
            Verdict::Deny(Errno::EROFS)
        };
        Decision {
            verdict,
            because: Some(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_grants_what_it_lists_and_names_itself() {
        let mut policy = Policy::default();
        let ro = policy.add(Rule {
            grants: Access::READ_ONLY,
            origin: "flag --ro /srv".into(),
        });
        let rw = policy.add(Rule {
            grants: Access::ALL,
            origin: "flag --rw /work".into(),
        });
        let none = policy.add(Rule {
            grants: Access::NONE,
            origin: "flag --hide /x".into(),
        });
        for (rule, access, want) in [
            (ro, Access::READ, Verdict::Allow),
            (ro, Access::EXEC.and(Access::READ), Verdict::Allow),
            (ro, Access::WRITE, Verdict::Deny(Errno::EROFS)),
            (
                ro,
                Access::READ.and(Access::CREATE),
                Verdict::Deny(Errno::EROFS),
            ),
            (rw, Access::ALL, Verdict::Allow),
            (none, Access::LOOK, Verdict::Deny(Errno::EACCES)),
            (RuleId(99), Access::LOOK, Verdict::Deny(Errno::EACCES)),
        ] {
            assert_eq!(
                policy.decide(Ask { access, rule }).verdict,
                want,
                "{access} {rule:?}"
            );
        }
        let decision = policy.decide(Ask {
            access: Access::WRITE,
            rule: ro,
        });
        assert_eq!(
            decision.because.map(|r| r.origin.as_str()),
            Some("flag --ro /srv")
        );
    }
}

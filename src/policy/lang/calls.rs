//! `[syscalls]`: which calls are refused. A name is narrower than its group, a group than `*`.

use super::predicate::{Expr, Test};
use crate::policy::RuleId;
use crate::sys::Errno;

/// What a call answers that never reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fake {
    /// This number.
    Result(i64),
    /// It is this time: seconds since 1970, and nanoseconds.
    Time(i64, u32),
}

/// What the network is to a program: all of it, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// What becomes of a socket of the internet; never faked.
    pub does: Does,
    /// The rule; `None`: nothing is said.
    pub by: Option<RuleId>,
}

impl Network {
    /// None, and nobody says so.
    pub const NONE: Self = Self {
        does: Does::Deny(Errno::EACCES),
        by: None,
    };

    /// There is one, for who is allowed to have it.
    pub fn is_there(&self) -> bool {
        matches!(self.does, Does::Allow | Does::Ask)
    }

    /// What is said of socket(2) beside the rules about calls. With the host's network, netlink(7) tells of it; without one its
    /// sockets are none at all.
    pub(super) fn steps(&self) -> Option<Vec<Step>> {
        let families: &[i32] = match self.does {
            Does::Ask => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
            Does::Kill => &[libc::AF_INET, libc::AF_INET6],
            _ => return None,
        };
        let family = |family: &i32| {
            Expr::Test(Test::Masked {
                arg: 0,
                bits: 32,
                mask: u64::from(u32::MAX),
                value: u64::from(family.cast_unsigned()),
            })
        };
        let step = |when, does, by| Step {
            when,
            does,
            by,
            is_default: false,
        };
        let of_families = Expr::Or(families.iter().map(family).collect());
        Some(vec![
            step(Some(of_families), self.does, self.by),
            step(None, Does::Allow, None),
        ])
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It is made, as far as sbox can.
    Allow,
    /// It is not made, and seems to be.
    Fake(Fake),
    /// The user is asked.
    Ask,
    /// It answers this errno.
    Deny(Errno),
    /// The run ends.
    Kill,
}

/// A line of `[syscalls]`.
#[derive(Clone, Debug)]
pub struct CallRule {
    /// A call's name, a group with its `@`, or `*`.
    pub key: String,
    /// The key as it was written, with the condition.
    pub text: String,
    /// It holds for calls with these arguments only.
    pub when: Option<Expr>,
    /// What becomes of it.
    pub does: Does,
    /// It is of `[forbid]`.
    pub forbid: bool,
    /// The rule.
    pub id: RuleId,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// The rules.
    pub rules: Vec<CallRule>,
    /// What becomes of a call that none names, and which line says so; `None`: it is made.
    pub default: Option<(Does, RuleId)>,
}

/// Groups without which no program can run: the default doesn't reach them. Rules do.
const BASE: [&str; 4] = ["@memory", "@desc", "@time", "@signal"];

/// The same of calls.
const BASE_CALLS: [&str; 6] = [
    "exit",
    "exit_group",
    "execve",
    "execveat",
    "set_tid_address",
    "wait4",
];

/// What one rule, or the default, says of a call.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of calls with these arguments; `None`: of all.
    pub when: Option<Expr>,
    /// What becomes of it.
    pub does: Does,
    /// The rule, or the line of the default; `None`: nothing is said.
    pub by: Option<RuleId>,
    /// It is the default.
    pub is_default: bool,
}

impl Calls {
    /// All that is said of a call; the first whose condition holds decides. A condition is narrower than the name alone; of
    /// conditions that hold together the stricter decides.
    pub fn steps(&self, call: &str, group: &str) -> Vec<Step> {
        let (does, by) = self.plain(call, group);
        let forbidden = self.rules.iter().find(|rule| {
            let keys = [call, group, "*"];
            rule.forbid && keys.contains(&rule.key.as_str())
        });
        let mut conditions: Vec<&CallRule> = self
            .rules
            .iter()
            .filter(|rule| forbidden.is_none() && rule.when.is_some() && rule.key == call)
            .collect();
        conditions.sort_by_key(|rule| std::cmp::Reverse(rule.does.strictness()));
        let mut steps = Vec::with_capacity(conditions.len() + 1);
        for rule in conditions {
            let (when, by) = (rule.when.clone(), Some(rule.id));
            let step = Step {
                when,
                does: rule.does,
                by,
                is_default: false,
            };
            push(&mut steps, call, step);
        }
        let default = self.default.map(|(_, id)| id);
        let is_default = by.is_none() && does != Does::Allow;
        let step = Step {
            when: None,
            does,
            by: by.or(default.filter(|_| is_default)),
            is_default,
        };
        push(&mut steps, call, step);
        steps
    }

    /// What becomes of a call whatever its arguments, and by which rule.
    pub fn plain(&self, call: &str, group: &str) -> (Does, Option<RuleId>) {
        let of = |key: &str, forbid: bool| {
            self.rules
                .iter()
                .find(|rule| rule.key == key && rule.forbid == forbid && rule.when.is_none())
        };
        let keys = [call, group, "*"];
        if let Some(rule) = keys.iter().find_map(|key| of(key, true)) {
            return (rule.does, Some(rule.id));
        }
        match keys.iter().find_map(|key| of(key, false)) {
            Some(rule) => (rule.does, Some(rule.id)),
            None if BASE.contains(&group) || BASE_CALLS.contains(&call) => (Does::Allow, None),
            None => (self.default.map_or(Does::Allow, |(does, _)| does), None),
        }
    }
}

/// Clocks that tell the time of day, clock_gettime(2): `CLOCK_REALTIME`, `_COARSE`, `_ALARM`, `CLOCK_TAI`.
const WALL_CLOCKS: [u64; 4] = [0, 5, 8, 11];

/// Adds a step. A time is that of the clocks that tell one: the others go on.
fn push(steps: &mut Vec<Step>, call: &str, step: Step) {
    if let (Does::Fake(Fake::Time(..)), "clock_gettime") = (step.does, call) {
        let clock = |value| {
            Expr::Test(Test::Masked {
                arg: 0,
                bits: 32,
                mask: u64::from(u32::MAX),
                value,
            })
        };
        let wall = Expr::Or(WALL_CLOCKS.map(clock).to_vec());
        let when = step.when.clone().into_iter().chain([wall]);
        steps.push(Step {
            when: Some(Expr::And(when.collect())),
            ..step
        });
        steps.push(Step {
            does: Does::Allow,
            ..step
        });
    } else {
        steps.push(step);
    }
}

impl Does {
    pub(super) fn strictness(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Fake(_) => 1,
            Self::Ask => 2,
            Self::Deny(_) => 3,
            Self::Kill => 4,
        }
    }
}

impl std::fmt::Display for Does {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Fake(_) => f.write_str("fake"),
            Self::Ask => f.write_str("ask"),
            Self::Deny(errno) => write!(f, "{errno:?}"),
            Self::Kill => f.write_str("kill"),
        }
    }
}

//! `[syscalls]`: which calls are refused. A name is narrower than its group, a group than `*`.

use super::predicate::Expr;
use crate::policy::RuleId;
use crate::sys::Errno;

/// A line of `[syscalls]`.
#[derive(Clone, Debug)]
pub struct CallRule {
    /// A call's name, a group with its `@`, or `*`.
    pub key: String,
    /// The key as it was written, with the condition.
    pub text: String,
    /// It holds for calls with these arguments only.
    pub when: Option<Expr>,
    /// Refused with this; `None`: allowed, as far as sbox can.
    pub refuse: Option<Errno>,
    /// The refusal kills.
    pub kill: bool,
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
    /// What a call gets that none names; `None`: it is allowed.
    pub default: Option<Errno>,
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
    /// Refused with this; `None`: allowed.
    pub refuse: Option<Errno>,
    /// The refusal kills.
    pub kill: bool,
    /// The rule; `None`: the default.
    pub by: Option<RuleId>,
}

impl Calls {
    /// All that is said of a call; the first whose condition holds decides. A condition is narrower than the name alone; of
    /// conditions that hold together the stricter decides.
    pub fn steps(&self, call: &str, group: &str) -> Vec<Step> {
        let refusal = self.refuses(call, group);
        let forbidden = self.rules.iter().find(|rule| {
            let keys = [call, group, "*"];
            rule.forbid && keys.contains(&rule.key.as_str())
        });
        let mut conditions: Vec<&CallRule> = self
            .rules
            .iter()
            .filter(|rule| forbidden.is_none() && rule.when.is_some() && rule.key == call)
            .collect();
        conditions.sort_by_key(|rule| (!rule.kill, rule.refuse.is_none()));
        let step = |rule: &CallRule| Step {
            when: rule.when.clone(),
            refuse: rule.refuse,
            kill: rule.kill,
            by: Some(rule.id),
        };
        let mut steps: Vec<Step> = conditions.into_iter().map(step).collect();
        let by = refusal.and_then(|(_, id)| id);
        let kills = |rule: &CallRule| Some(rule.id) == by && rule.kill;
        steps.push(Step {
            when: None,
            refuse: refusal.map(|(errno, _)| errno),
            kill: self.rules.iter().any(kills),
            by,
        });
        steps
    }

    /// What a call is refused with whatever its arguments, and by which rule; `None`: it is not.
    pub fn refuses(&self, call: &str, group: &str) -> Option<(Errno, Option<RuleId>)> {
        let of = |key: &str, forbid: bool| {
            self.rules
                .iter()
                .find(|rule| rule.key == key && rule.forbid == forbid && rule.when.is_none())
        };
        let keys = [call, group, "*"];
        if let Some(rule) = keys.iter().find_map(|key| of(key, true)) {
            return Some((rule.refuse.unwrap_or(Errno::EPERM), Some(rule.id)));
        }
        match keys.iter().find_map(|key| of(key, false)) {
            Some(rule) => rule.refuse.map(|errno| (errno, Some(rule.id))),
            None if BASE.contains(&group) || BASE_CALLS.contains(&call) => None,
            None => self.default.map(|errno| (errno, None)),
        }
    }
}

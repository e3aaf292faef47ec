//! `[syscalls]`: which calls are refused. A name is narrower than its group, a group than `*`.

use crate::policy::RuleId;
use crate::sys::Errno;

/// A line of `[syscalls]`.
#[derive(Clone, Debug)]
pub struct CallRule {
    /// A call's name, a group with its `@`, or `*`.
    pub key: String,
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

impl Calls {
    /// What a call is refused with, and by which rule; `None`: it is not.
    pub fn refuses(&self, call: &str, group: &str) -> Option<(Errno, Option<RuleId>)> {
        let of = |key: &str, forbid: bool| {
            self.rules
                .iter()
                .find(|rule| rule.key == key && rule.forbid == forbid)
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

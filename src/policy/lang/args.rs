//! `[exec]`: which programs may be started, and with which arguments
//! (`"/usr/bin/git" = { args = ["--version"] }`).

use super::check::Checker;
use super::fault::{Fault, Where};
use super::read::{Raw, Setting};
use super::value::Says;
use crate::policy::Access;
use crate::policy::arguments::{Arguments, List, MORE};
use crate::policy::files::{Effect, FileRule};
use std::sync::Arc;

/// So many lists may come of one by the values of variables.
const MOST: usize = 256;

impl Checker<'_> {
    pub(super) fn exec(&mut self, setting: &Setting, exec: &mut Vec<FileRule>) {
        let part = |name: &str| match &setting.value {
            Raw::Table(parts) => parts.iter().find(|part| part.key == name),
            _ => None,
        };
        let all = Effect::Grant(Access::ALL);
        let no_exec = Access::ALL.without(Access::EXEC);
        let mut switch = None;
        let (effect, arguments) = if let Some(first) = part("args").or(part("policy")) {
            let keys = self.only_with(&first.key, setting);
            self.or_fault(keys);
            if let Some(policy) = part("policy") {
                let Some(name) = self.or_fault(policy.text()) else {
                    return;
                };
                switch = Some(self.sources.path_of(name, Some(policy.value_at)));
            }
            match part("args").map(|args| self.arguments(args)) {
                Some(None) => return,
                Some(arguments) => (all, arguments.map(Arc::new)),
                None => (all, None),
            }
        } else {
            match self.says(setting, &["allow", "deny", "kill", "ask"]) {
                None => return,
                Some(Says::Allow) => (all, None),
                Some(Says::Kill) => (Effect::Kill, None),
                Some(Says::Ask) => {
                    let ask = Effect::Ask {
                        granted: no_exec,
                        asked: Access::EXEC,
                    };
                    (ask, None)
                }
                Some(_) => (Effect::Grant(no_exec), None),
            }
        };
        let id = self.rule(setting);
        if let Some(rule) = self.rules.last_mut() {
            rule.arguments = arguments;
            rule.switch.clone_from(&switch);
        }
        for pattern in self.patterns(&setting.key, setting.at) {
            exec.push(FileRule {
                pattern,
                effect,
                forbid: false,
                id,
            });
        }
    }

    /// What may stand beside `args` and `policy`.
    fn only_with(&self, first: &str, setting: &Setting) -> Result<(), Fault> {
        const KEYS: [&str; 5] = ["args", "policy", "log", "why", "id"];
        let Raw::Table(parts) = &setting.value else {
            return Ok(());
        };
        for part in parts {
            match (part.key.as_str(), &part.value) {
                ("args" | "policy", _) | ("log", Raw::Truth(_)) => {}
                ("log", _) => {
                    return Err(Fault::at(part.value_at, "'log' wants true or false"));
                }
                ("why" | "id", _) => drop(part.text()?),
                ("do", _) => {
                    let what = format!("a rule with '{first}' allows: 'do' can't stand beside it");
                    let hint = format!("to refuse the program altogether, leave '{first}' out");
                    return Err(Fault::at(part.at, what).hint(hint));
                }
                (key, _) => {
                    let what = format!("unknown key '{key}' of a rule with '{first}'");
                    return Err(Fault::at(part.at, what).nearest(key, KEYS));
                }
            }
        }
        Ok(())
    }

    /// The value of `args`: a list of texts, or several such lists.
    pub(super) fn arguments(&mut self, part: &Setting) -> Option<Arguments> {
        let read = self.lists(part);
        self.or_fault(read).map(Arguments)
    }

    fn lists(&self, part: &Setting) -> Result<Vec<List>, Fault> {
        let wanted = |at: Where| {
            Fault::at(at, "'args' wants a list of texts, or a list of such lists")
                .hint("args = [\"--version\"], or args = [[\"status\"], [\"log\", \"...\"]]")
        };
        let Raw::List(all) = &part.value else {
            return Err(wanted(part.value_at));
        };
        let is_list = |one: &&Setting| matches!(one.value, Raw::List(_));
        match all.iter().filter(is_list).count() {
            0 => self.list(all, part.value_at),
            lists if lists == all.len() => {
                let lists = all.iter().map(|one| match &one.value {
                    Raw::List(inner) => self.list(inner, one.value_at),
                    _ => Err(wanted(one.value_at)),
                });
                Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
            }
            _ => Err(wanted(part.value_at)),
        }
    }

    /// One list, or several, as a variable may have several values.
    fn list(&self, all: &[Setting], at: Where) -> Result<Vec<List>, Fault> {
        let mut lists = vec![List::default()];
        for (number, one) in all.iter().enumerate() {
            let Raw::Text(text) = &one.value else {
                return Err(Fault::at(one.value_at, "an argument is a text in quotes"));
            };
            if text == MORE {
                if number + 1 < all.len() {
                    return Err(Fault::at(
                        one.value_at,
                        "'...' stands for any further arguments, so nothing can follow it",
                    ));
                }
                lists.iter_mut().for_each(|list| list.more = true);
                continue;
            }
            if text.contains('\0') {
                return Err(Fault::at(one.value_at, "no argument has a NUL in it"));
            }
            let texts = self.vars.expand(text, one.value_at, false)?;
            let with = |(list, text): (&List, &String)| {
                let mut list = list.clone();
                list.words.push(text.clone());
                list
            };
            let pairs = lists
                .iter()
                .flat_map(|list| texts.iter().map(move |t| (list, t)));
            lists = pairs.map(with).collect();
            if lists.len() > MOST {
                let what = format!("the values of variables make more than {MOST} lists of this");
                return Err(Fault::at(at, what));
            }
        }
        Ok(lists)
    }
}

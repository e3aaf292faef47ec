//! Sections that are not about patterns of files: the view, variables, calls, the network.

use super::calls::{CallRule, Calls, Does, Fake, Network};
use super::check::Checker;
use super::fault::{Fault, Where};
use super::predicate::{self, Expr, Names};
use super::read::{Raw, Setting};
use super::regions::{Region, regions};
use super::value::{ACTIONS, Says};
use super::{Env, MountRule, Stands, ViewKeys};
use crate::policy::files::{Effect, FileRule};
use crate::policy::{RuleId, Signals};
use crate::similar;
use crate::sys::Errno;

impl Checker<'_> {
    pub(super) fn view(
        &mut self,
        setting: &Setting,
        key: &str,
        view: &mut ViewKeys,
        mounts: &mut Vec<MountRule>,
    ) {
        let text = setting.text().map(str::to_owned);
        let Some(text) = self.or_fault(text) else {
            return;
        };
        match (key, text.as_str()) {
            ("root", "host") => view.host_root = true,
            ("root", "empty") => view.host_root = false,
            ("root", _) => self.root(setting, &text, view, mounts),
            ("pids", "own") => view.own_pids = Some(true),
            ("pids", "host") => view.own_pids = Some(false),
            ("pids", _) => self.fault(
                Fault::at(
                    setting.value_at,
                    format!("'{text}' is no way to number processes"),
                )
                .nearest(&text, ["host", "own"]),
            ),
            ("hostname", _) => match self.words.hostname {
                Some(is_name) if !is_name(&text) => self.fault(
                    Fault::at(
                        setting.value_at,
                        format!("no machine can be called '{text}'"),
                    )
                    .hint("letters, digits and hyphens, with dots between them, 64 bytes at most"),
                ),
                _ => view.hostname = Some(text),
            },
            ("user", "keep") => {}
            ("user", "root") => {
                let id = self.rule(setting);
                self.gap(id, "view.user = \"root\" is not enforced yet");
            }
            ("user", _) => self.fault(
                Fault::at(setting.value_at, format!("'{text}' is no user of a view"))
                    .nearest(&text, ["keep", "root"]),
            ),
            _ => {
                let path = self.vars.expand(&text, setting.value_at, false);
                let path = self.or_fault(path).and_then(|all| all.into_iter().next());
                match path {
                    Some(path) if path.starts_with('/') => view.cwd = Some(path),
                    Some(_) => self.fault(Fault::at(
                        setting.value_at,
                        "the program starts at an absolute path of the view",
                    )),
                    None => {}
                }
            }
        }
    }

    /// `root = "/srv/trixie"`, with `:ro` or `:rw` behind it: that directory stands at `/`.
    fn root(
        &mut self,
        setting: &Setting,
        text: &str,
        view: &mut ViewKeys,
        mounts: &mut Vec<MountRule>,
    ) {
        let (dir, how) = match (text.strip_suffix(":ro"), text.strip_suffix(":rw")) {
            (Some(dir), _) => (dir, Some(true)),
            (_, Some(dir)) => (dir, Some(false)),
            _ => (text, None),
        };
        let all = self.vars.expand(dir, setting.value_at, false);
        let Some(dir) = self.or_fault(all).and_then(|all| all.into_iter().next()) else {
            return;
        };
        if !dir.starts_with('/') || dir == "/" {
            let fault = Fault::at(setting.value_at, format!("'{text}' is no root"));
            let fault = match dir.as_str() {
                "/" => fault.hint("\"host\" is the host's own"),
                _ if similar::nearest(text, ["host", "empty"]).is_some() => {
                    fault.nearest(text, ["host", "empty"])
                }
                _ => fault.hint("\"host\", \"empty\", or a directory by its absolute path"),
            };
            return self.fault(fault);
        }
        let id = self.rule(setting);
        view.host_root = false;
        view.other_root = Some(dir.clone());
        mounts.push(MountRule {
            at: "/".into(),
            what: match how {
                None => Stands::Cow(dir),
                Some(ro) => Stands::Bind(dir, ro),
            },
            id,
        });
    }

    pub(super) fn mount(&mut self, setting: &Setting, mounts: &mut Vec<MountRule>) {
        let what = self.stands(setting);
        let places = self.vars.expand(&setting.key, setting.at, false);
        let (Some(what), Some(places)) = (self.or_fault(what), self.or_fault(places)) else {
            return;
        };
        let id = self.rule(setting);
        for at in places {
            if !at.starts_with('/')
                || at.contains(['*', '?', '[', '{'])
                || at.len() > 1 && at.ends_with('/')
            {
                self.fault(Fault::at(setting.at, format!("'{at}': a mount stands at one absolute path, without wildcards and slash at its end")));
                continue;
            }
            mounts.push(MountRule {
                at,
                what: what.clone(),
                id,
            });
        }
    }

    pub(super) fn stands(&mut self, setting: &Setting) -> Result<Stands, Fault> {
        const KINDS: [&str; 4] = ["cow", "bind", "tmpfs", "text"];
        let Raw::Table(parts) = &setting.value else {
            return Err(Fault::at(setting.value_at, "a mount is a table").hint("{ cow = \"${cwd}\" }, { bind = \"/srv\", ro = true }, { tmpfs = \"64M\" } or { text = \"…\" }"));
        };
        let mut found = None;
        let mut ro = None;
        for part in parts {
            if part.key == "ro" {
                let Raw::Truth(truth) = part.value else {
                    return Err(Fault::at(part.value_at, "'ro' wants true or false"));
                };
                ro = Some((truth, part.at));
            } else if !KINDS.contains(&part.key.as_str()) {
                return Err(
                    Fault::at(part.at, format!("unknown key '{}' of a mount", part.key))
                        .nearest(&part.key, KINDS.into_iter().chain(["ro"])),
                );
            } else if found.replace(part).is_some() {
                return Err(Fault::at(
                    part.at,
                    "one thing stands at a place: keep one of them",
                ));
            }
        }
        let Some(part) = found else {
            return Err(Fault::at(setting.value_at, "nothing stands at this place")
                .hint("say one of cow, bind, tmpfs, text"));
        };
        if let (Some((_, at)), false) = (ro, part.key == "bind") {
            return Err(Fault::at(
                at,
                "only a bind can be 'ro'; [files] says what may be done elsewhere",
            ));
        }
        let text = part.text()?;
        let one = || -> Result<String, Fault> {
            let mut all = self.vars.expand(text, part.value_at, false)?;
            let first = all.pop().filter(|path| path.starts_with('/'));
            match first {
                Some(path) if all.is_empty() => Ok(path),
                _ => Err(Fault::at(
                    part.value_at,
                    "this wants one absolute path of the host",
                )),
            }
        };
        Ok(match part.key.as_str() {
            "cow" => Stands::Cow(one()?),
            "bind" => Stands::Bind(one()?, ro.is_some_and(|(truth, _)| truth)),
            "text" => Stands::Text(text.to_owned()),
            _ if text.is_empty() => Stands::Tmpfs(0),
            _ => Stands::Tmpfs(size(text).ok_or_else(|| {
                Fault::at(part.value_at, format!("'{text}' is no size"))
                    .hint("a number of bytes above 0, or with K, M or G behind it")
            })?),
        })
    }

    pub(super) fn env(&mut self, setting: &Setting, key: &str, env: &mut Env) {
        if key == "set" {
            let Raw::Table(parts) = &setting.value else {
                return self.fault(
                    Fault::at(setting.value_at, "'set' wants a table")
                        .hint("set = { NAME = \"value\" }"),
                );
            };
            for part in parts {
                let value = part
                    .text()
                    .and_then(|text| self.vars.expand(text, part.value_at, false));
                match self.or_fault(value).as_deref() {
                    Some([one]) => env.set.push((part.key.clone(), one.clone())),
                    Some(_) => self.fault(Fault::at(
                        part.value_at,
                        "a variable of the environment has one value",
                    )),
                    None => {}
                }
            }
            return;
        }
        let texts = setting.texts().map(|all| {
            all.iter()
                .map(|(name, at)| ((*name).to_owned(), *at))
                .collect::<Vec<_>>()
        });
        for (name, at) in self.or_fault(texts).unwrap_or_default() {
            if name.is_empty()
                || name.contains(['=', '\0'])
                || name.contains('*') && (name != "*" || key == "drop")
            {
                self.fault(Fault::at(at, format!("'{name}' is no name of a variable")));
            } else if key == "keep" {
                env.keep.push(name);
            } else {
                env.drop.push(name);
            }
        }
    }

    pub(super) fn known_call(&mut self, key: &str, at: Where) -> bool {
        let known =
            key == "*" || self.words.calls.contains(&key) || self.words.groups.contains(&key);
        if !known {
            let what = if key.starts_with('@') {
                "group of calls"
            } else {
                "system call"
            };
            let words = if key.starts_with('@') {
                &self.words.groups
            } else {
                &self.words.calls
            };
            let fault = Fault::at(at, format!("there is no {what} '{key}'"))
                .nearest(key, words.iter().copied());
            self.fault(fault);
        }
        known
    }

    pub(super) fn call(&mut self, setting: &Setting, calls: &mut Calls) {
        let Some(says) = self.says(setting, &ACTIONS) else {
            return;
        };
        let (name, condition) = match setting.key.split_once('(') {
            Some((name, rest)) => (name.trim(), Some(rest)),
            None => (setting.key.as_str(), None),
        };
        if !self.known_call(name, setting.at) {
            return;
        }
        let when = match condition.map(|text| self.condition(name, text)) {
            None => None,
            Some(Ok(expr)) => Some(expr),
            Some(Err(why)) => {
                return self.fault(Fault::at(setting.at, format!("'{}': {why}", setting.key)));
            }
        };
        let id = self.rule(setting);
        let does = match says {
            Says::Allow => Does::Allow,
            Says::Kill => Does::Kill,
            Says::Deny(errno) => Does::Deny(errno.unwrap_or(Errno::EPERM)),
            Says::Ask => Does::Ask,
            Says::Fake(Fake::Time(..)) if !CLOCKS.contains(&name) => {
                let fault = Fault::at(setting.value_at, format!("{name} tells no time"));
                let hint = format!("a time is told by {}", CLOCKS.join(", "));
                return self.fault(fault.hint(hint));
            }
            Says::Fake(fake) => Does::Fake(fake),
            Says::Grant(_) | Says::Hide => return,
        };
        calls.rules.push(CallRule {
            key: name.to_owned(),
            text: setting.key.clone(),
            when,
            does,
            forbid: false,
            id,
        });
    }

    /// What is faked is nothing else: of two rules that may hold together both must say so.
    pub(super) fn fakes(&mut self, calls: &Calls) {
        let conditional = || {
            calls
                .rules
                .iter()
                .filter_map(|r| Some((r, r.when.as_ref()?)))
        };
        let mut clashes = Vec::new();
        for (a, when) in conditional().filter(|(r, _)| matches!(r.does, Does::Fake(_))) {
            for (b, other) in conditional().filter(|(b, _)| b.key == a.key && b.does != a.does) {
                let both = |region: &Region| Ok(when.within(region)? && other.within(region)?);
                // What is too much to compare may hold together.
                let meet = regions(&both, 256).is_none_or(|all| all.iter().any(|(_, both)| *both));
                if meet {
                    clashes.push((a.id, b.id));
                }
            }
        }
        for (a, b) in clashes {
            let rule = |id: RuleId| self.rules.get(id.0 as usize);
            if let (Some(a), Some(b)) = (rule(a), rule(b)) {
                let place = self.sources.place(b.at);
                let what = format!(
                    "{} may hold together with {} ({place}), and says something else",
                    a.name, b.name
                );
                let fault =
                    Fault::at(a.at, what).hint("what is faked can't be allowed or refused as well");
                self.faults.push(fault);
            }
        }
    }

    /// What stands in the parentheses behind a call's name.
    fn condition(&self, call: &str, text: &str) -> Result<Expr, String> {
        if call.starts_with(['@', '*']) {
            return Err("a condition is about one call".into());
        }
        let text = text.trim_end().strip_suffix(')');
        let text = text.ok_or("the parenthesis is never closed")?;
        let param = |name: &str| match self.words.param {
            Some(param) => param(call, name),
            None => Err(format!("nothing is known of '{name}'")),
        };
        let constant = |name: &str| self.words.constant.and_then(|constant| constant(name));
        let names = Names {
            param: &param,
            constant: &constant,
        };
        predicate::parse(text, &names)
    }

    /// What becomes of calls, or of the network: all but what is faked.
    pub(super) fn does(&mut self, setting: &Setting, otherwise: Errno) -> Option<Does> {
        let says = self.says(setting, &["allow", "deny", "kill", "ask"])?;
        Some(match says {
            Says::Kill => Does::Kill,
            Says::Deny(errno) => Does::Deny(errno.unwrap_or(otherwise)),
            Says::Ask => Does::Ask,
            Says::Allow | Says::Grant(_) | Says::Hide | Says::Fake(_) => Does::Allow,
        })
    }

    /// What becomes of the network.
    pub(super) fn network(&mut self, setting: &Setting) -> Option<Network> {
        let does = self.does(setting, Errno::EACCES)?;
        let by = Some(self.rule(setting));
        Some(Network { does, by })
    }

    pub(super) fn net(&mut self, setting: &Setting) -> Option<Network> {
        let operation = ["connect ", "listen "]
            .iter()
            .any(|word| setting.key.starts_with(word));
        if setting.key != "inet" && !operation {
            let fault = Fault::at(
                setting.at,
                format!("'{}' is no family and no operation", setting.key),
            );
            self.fault(
                fault.hint("known: inet, \"connect tcp HOST:PORT\", \"listen tcp ADDRESS:PORT\""),
            );
            return None;
        }
        let network = self.network(setting)?;
        if operation {
            self.gap(
                network.by?,
                "single hosts and ports are not enforced yet; inet as a whole is",
            );
            return None;
        }
        Some(network)
    }

    /// Settings of which one value is what sbox always does.
    pub(super) fn only(&mut self, setting: &Setting, key: &str) {
        let (always, others, why): (&str, &[&str], &str) = match key {
            "see" => (
                "own",
                &["host"],
                "processes outside stay hidden; pids = \"host\" in [view] shows the host's numbers",
            ),
            "ptrace" => (
                "none",
                &["own"],
                "sbox traces every process itself, and the kernel allows one tracer",
            ),
            "stdin" => ("inherit", &["null"], "only \"inherit\" is enforced"),
            _ => ("deny ENOSYS", &[], ""),
        };
        let text = setting.text().map(str::to_owned);
        let Some(text) = self.or_fault(text) else {
            return;
        };
        if text == always {
            return;
        }
        if others.contains(&text.as_str()) {
            let id = self.rule(setting);
            return self.gap(id, why);
        }
        let known = others.iter().copied().chain([always]);
        let fault = Fault::at(setting.value_at, format!("'{text}' is no value of '{key}'"))
            .nearest(&text, known);
        self.fault(fault);
    }

    /// To whom signals may be sent.
    pub(super) fn signals(&mut self, setting: &Setting) -> Option<(Signals, Option<RuleId>)> {
        let text = setting.text().map(str::to_owned);
        let text = self.or_fault(text)?;
        match Signals::WORDS.iter().find(|(word, _)| *word == text) {
            // What holds in any case is no rule.
            Some((_, Signals::Own)) => Some((Signals::Own, None)),
            Some((_, signals)) => Some((*signals, Some(self.rule(setting)))),
            None => {
                let what = format!("'{text}' is no value of '{}'", setting.key);
                let words = Signals::WORDS.iter().map(|(word, _)| *word);
                self.fault(Fault::at(setting.value_at, what).nearest(&text, words));
                None
            }
        }
    }

    /// `enforce = "best-effort"`: what can't be enforced is told rather than refused.
    pub(super) fn best_effort(&mut self, setting: &Setting) -> bool {
        let text = setting.text().map(str::to_owned);
        match self.or_fault(text).as_deref() {
            Some("best-effort") => true,
            Some("strict") | None => false,
            Some(text) => {
                let what = format!("'{text}' is no value of 'enforce'");
                let known = ["strict", "best-effort"];
                self.fault(Fault::at(setting.value_at, what).nearest(text, known));
                false
            }
        }
    }

    /// What a line of `[forbid]` is about, and whether it ends the run: a text, or a table with `what`.
    fn forbidden(&self, setting: &Setting, one: &Setting) -> Result<(String, bool), Fault> {
        const KEYS: [&str; 4] = ["what", "do", "why", "id"];
        let parts = match &one.value {
            Raw::Text(text) => return Ok((text.clone(), false)),
            Raw::Table(parts) => parts,
            _ => {
                let what = format!("'{}' wants a text or a list of texts", setting.key);
                return Err(Fault::at(one.value_at, what));
            }
        };
        for part in parts {
            if !KEYS.contains(&part.key.as_str()) {
                let what = format!("unknown key '{}' of what is forbidden", part.key);
                return Err(Fault::at(part.at, what).nearest(&part.key, KEYS));
            }
            part.text()?;
        }
        let part = |name: &str| parts.iter().find(|part| part.key == name);
        let Some(what) = part("what") else {
            let fault = Fault::at(one.value_at, "what is forbidden needs 'what'");
            return Err(fault.hint("{ what = \"…\", do = \"kill\" }"));
        };
        let kill = match part("do") {
            None => false,
            Some(part) => match part.text()? {
                "kill" => true,
                other => {
                    let what = format!("'{other}' is no action that can stand here");
                    return Err(Fault::at(part.value_at, what).nearest(other, ["kill"]));
                }
            },
        };
        Ok((what.text()?.to_owned(), kill))
    }

    pub(super) fn forbid(
        &mut self,
        setting: &Setting,
        files: &mut Vec<FileRule>,
        calls: &mut Calls,
    ) {
        let all = match &setting.value {
            Raw::List(all) => all.clone(),
            _ => vec![setting.clone()],
        };
        for one in all {
            let forbidden = self.forbidden(setting, &one);
            let Some((text, kill)) = self.or_fault(forbidden) else {
                continue;
            };
            let at = one.value_at;
            let one = Setting {
                section: setting.section,
                key: text.clone(),
                at,
                ..one
            };
            let id = self.rule(&one);
            if let Some(rule) = self.rules.last_mut() {
                rule.name = format!("forbid.{}", setting.key);
            }
            if setting.key == "files" {
                for pattern in self.patterns(&text, at) {
                    files.push(FileRule {
                        pattern,
                        effect: if kill { Effect::Kill } else { Effect::Hide },
                        forbid: true,
                        id,
                    });
                }
            } else if self.known_call(&text, at) {
                calls.rules.push(CallRule {
                    key: text.clone(),
                    text,
                    when: None,
                    does: if kill {
                        Does::Kill
                    } else {
                        Does::Deny(Errno::EPERM)
                    },
                    forbid: true,
                    id,
                });
            }
        }
    }
}

/// Calls that tell the time.
const CLOCKS: [&str; 3] = ["clock_gettime", "gettimeofday", "time"];

/// `512`, `64K`, `10M`, `2G`; powers of 1024.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 1u64 << 10),
        Some(digits) if text.ends_with('M') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
        None => (text, 1),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|&bytes| bytes > 0)
}

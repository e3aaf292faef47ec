//! A profile to `[syscalls]`.
//!
//! An entry that is laxer than what the call gets without it must hold for no more calls than in the profile; one that is
//! stricter, for no fewer. So a test that can't be said never holds in the one, and always in the other.

use super::condition::{Said, said};
use super::joined::joined;
use super::{Action, Cond, Format, Host, Profile, Remark, Rule, Weight};
use crate::policy::lang::{Fault, Sources, Where, tidy};
use crate::sys::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A profile as a policy.
#[derive(Debug)]
pub struct Translated {
    /// The policy's file.
    pub text: String,
    /// What is to be told, the weightiest first.
    pub remarks: Vec<Remark>,
    /// What the remarks are about.
    pub sources: Sources,
}

/// Translates. An error is one of ours: what was made is no policy.
pub(super) fn to_policy(
    profile: Profile,
    host: &Host<'_>,
) -> Result<Translated, (Vec<Fault>, Sources)> {
    let mut unfit = BTreeMap::new();
    let (mut lines, mut remarks) = Writer::of(&profile, host, &unfit);
    // What the filter can't hold is known once it is written; then all of the call is refused.
    match (host.unfit)(&policy(&lines)) {
        Ok(found) if found.is_empty() => {}
        Ok(found) => {
            unfit.extend(found);
            (lines, remarks) = Writer::of(&profile, host, &unfit);
        }
        Err(why) => {
            let what = format!("what was made of this profile is no policy: {why}");
            return Err((vec![Fault::at(profile.default_at, what)], profile.sources));
        }
    }
    let remarks: Vec<Remark> = {
        let mut all = profile.remarks.clone();
        all.extend(remarks);
        all.sort_by_key(|remark| (remark.weight, remark.at));
        all
    };
    let text = header(&profile, &remarks) + &policy(&lines);
    Ok(Translated {
        text: tidy(&text).unwrap_or(text),
        remarks,
        sources: profile.sources,
    })
}

fn policy(lines: &BTreeMap<String, String>) -> String {
    let mut out = String::from("sbox = 1\n\n[syscalls]\n");
    for (key, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key:?} = {value}");
    }
    out
}

/// What a reader must know, as comments.
fn header(profile: &Profile, remarks: &[Remark]) -> String {
    let name = profile.sources.0.first().map_or("", |s| s.name.as_str());
    let mut out = format!(
        "# Calls as in {} ({}), by `sbox policy import`.\n\
         # A profile says nothing of files, network and environment. To run with it: extends = [\"std/cli\", \"THIS FILE\"].\n\
         # What sbox always refuses stays refused, unknown calls get ENOSYS, and `kill` ends all of the sandbox.\n",
        clean(name),
        profile.format.name()
    );
    let mut weight = None;
    for remark in remarks {
        if weight != Some(remark.weight) {
            weight = Some(remark.weight);
            out += match remark.weight {
                Weight::Wider => "#\n# WIDER than it, as nobody can refuse this in sbox:\n",
                Weight::Stricter => "#\n# Stricter than it, or not quite the same:\n",
                Weight::Note => "#\n# To know:\n",
            };
        }
        let place = profile.sources.place(remark.at);
        let _ = writeln!(out, "# {}: {}", clean(&place), clean(&remark.what));
    }
    out + "\n"
}

/// Text of somebody else's stays in its comment.
fn clean(text: &str) -> String {
    let visible = |c: char| if crate::plain::obeyed(c) { '?' } else { c };
    text.chars().map(visible).collect()
}

struct Writer<'w> {
    profile: &'w Profile,
    host: &'w Host<'w>,
    unfit: &'w BTreeMap<String, String>,
    lines: BTreeMap<String, String>,
    remarks: Vec<Remark>,
    /// What was told of an action once needn't be told of each call.
    told: BTreeSet<&'static str>,
}

impl<'w> Writer<'w> {
    fn of(
        profile: &'w Profile,
        host: &'w Host<'w>,
        unfit: &'w BTreeMap<String, String>,
    ) -> (BTreeMap<String, String>, Vec<Remark>) {
        let mut writer = Writer {
            profile,
            host,
            unfit,
            lines: BTreeMap::new(),
            remarks: Vec::new(),
            told: BTreeSet::new(),
        };
        let default = writer.word(profile.default, profile.default_at);
        if profile.default != Action::Allow {
            writer.lines.insert("*".into(), default);
        }
        let mut by_call: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
        for rule in &profile.rules {
            by_call.entry(&rule.call).or_default().push(rule);
        }
        let mut known: Vec<&str> = host.words.calls.clone();
        known.sort_unstable();
        for call in known {
            let rules = by_call.remove(call).unwrap_or_default();
            writer.call(call, &rules);
        }
        for (call, rules) in by_call {
            for rule in rules {
                let what = format!(
                    "'{call}' is no call of x86-64 that sbox knows: it gets ENOSYS there, whatever the profile says"
                );
                // A name of another machine's table changes nothing here.
                writer.remark(Weight::Note, rule.at, what);
            }
        }
        (writer.lines, writer.remarks)
    }

    fn remark(&mut self, weight: Weight, at: Where, what: impl Into<String>) {
        self.remarks.push(Remark::new(weight, at, what));
    }

    /// What an action is in the language, as a TOML value. What is lost in that is told.
    fn word(&mut self, action: Action, at: Where) -> String {
        let (word, lost) = match action {
            Action::Allow => ("\"allow\"", None),
            Action::KillProcess => ("\"kill\"", None),
            Action::KillThread => (
                "\"kill\"",
                Some("killing a thread is killing all of the sandbox"),
            ),
            Action::Log => (
                "{ do = \"allow\", log = true }",
                Some("the call is allowed, and no line is written to the kernel's log"),
            ),
            Action::Trap => (
                "\"kill\"",
                Some("SIGSYS that a program could handle is death to all of the sandbox"),
            ),
            Action::Trace => (
                "\"deny ENOSYS\"",
                Some("there is no tracer to ask: ENOSYS, as the kernel says then"),
            ),
            Action::Notify => (
                "\"deny ENOSYS\"",
                Some("there is no listener to ask: ENOSYS, as the kernel says then"),
            ),
            Action::Errno(number) => {
                let errno = i32::try_from(number).map_or(Errno::UnknownErrno, Errno::from_raw);
                if errno != Errno::UnknownErrno {
                    return format!("\"deny {errno:?}\"");
                }
                let what = match number {
                    0 => "success without doing anything can't be said: EPERM instead".into(),
                    _ => format!("{number} is no errno of Linux: EPERM instead"),
                };
                self.remark(Weight::Stricter, at, what);
                return "\"deny EPERM\"".into();
            }
        };
        if let Some(lost) = lost
            && self.told.insert(lost)
        {
            self.remark(Weight::Stricter, at, lost);
        }
        word.into()
    }

    fn call(&mut self, call: &str, rules: &[&Rule]) {
        let default = (self.profile.default, self.profile.default_at);
        let whole = rules.iter().filter(|rule| rule.when.is_none());
        let strictest = whole.clone().max_by_key(|rule| rule.action.strictness());
        for other in whole {
            let differs = strictest.filter(|rule| rule.action != other.action);
            if differs.is_some() {
                let what = format!("'{call}' has two actions: the stricter holds");
                self.remark(Weight::Stricter, other.at, what);
            }
        }
        let (mut base, mut base_at) = strictest.map_or(default, |rule| (rule.action, rule.at));
        if let Some(why) = (self.host.refuses)(call) {
            let allowing = rules.iter().find(|rule| rule.action.strictness() == 0);
            if base.strictness() > 0 && strictest.is_some() {
                return self.line(call.into(), base, base_at);
            }
            if let Some(rule) = allowing {
                let what = format!("sbox always refuses {call}: {why}");
                self.remark(Weight::Stricter, rule.at, what);
            }
            return;
        }
        let needed = self.host.needed.contains(&call);
        let joined = match self.profile.format {
            Format::Minijail => None,
            _ => joined(call, rules, self.host),
        };
        if let Some((action, first)) = joined
            .as_ref()
            .and_then(|joined| joined.base)
            .zip(rules.first())
        {
            (base, base_at) = (action, first.at);
        }
        let put_together: Option<Vec<&Rule>> =
            joined.as_ref().map(|joined| joined.rules.iter().collect());
        let rules = put_together.as_deref().unwrap_or(rules);
        if strictest.is_none() {
            let always = rules.iter().filter(|rule| self.always(call, rule));
            if let Some(rule) = always.max_by_key(|rule| rule.action.strictness()) {
                (base, base_at) = (rule.action, rule.at);
            }
        }
        let mut conditional = Vec::new();
        let mut floor = 0;
        for rule in rules {
            let Some(when) = &rule.when else { continue };
            let laxer = rule.action.strictness() < base.strictness();
            if self.profile.format != Format::Minijail && strictest.is_some() && laxer {
                let what =
                    format!("'{call}': an entry without arguments is there, which beats this one");
                self.remark(Weight::Note, rule.at, what);
                continue;
            }
            if self.profile.format != Format::Minijail && strictest.is_some() && !laxer {
                let what = format!(
                    "'{call}': an entry without arguments would beat this one in libseccomp; here both hold"
                );
                self.remark(Weight::Stricter, rule.at, what);
            }
            let (condition, narrowed) = self.condition(call, rule, when, laxer);
            if narrowed {
                floor = floor.max(rule.action.strictness());
            }
            match condition {
                Condition::When(text) => conditional.push((text, *rule)),
                Condition::Always if !laxer => {
                    (base, base_at) = (rule.action, rule.at);
                    floor = floor.max(base.strictness());
                }
                // Laxer, and it holds for all that the profile says of the call: it was taken for the base.
                Condition::Always | Condition::Never => {}
            }
        }
        // What may hold for fewer calls than it should, or for all, leaves nothing laxer beside it.
        for (text, rule) in &conditional {
            if rule.action.strictness() < floor {
                let what =
                    format!("'{call}({text})' might allow what another entry refuses: left out");
                self.remark(Weight::Stricter, rule.at, what);
            }
        }
        conditional.retain(|(_, rule)| rule.action.strictness() >= floor);
        if needed {
            return self.needed(call, base, base_at, &conditional);
        }
        if let Some(why) = self.unfit.get(call) {
            let all = conditional.iter().map(|(_, rule)| (rule.action, rule.at));
            let strict = all
                .chain([(base, base_at)])
                .max_by_key(|(action, _)| action.strictness());
            let (action, at) = strict.unwrap_or((base, base_at));
            let what = format!("'{call}' is refused whatever its arguments: {why}");
            self.remark(Weight::Stricter, at, what);
            return self.line(call.into(), action, at);
        }
        self.line(call.into(), base, base_at);
        let strict = |action: Action| action.strictness();
        let least = conditional
            .iter()
            .map(|(_, rule)| strict(rule.action))
            .min();
        for (text, rule) in &conditional {
            // It changes something unless all that is laxer was left out.
            if rule.action == base && least == Some(strict(base)) {
                continue;
            }
            let key = format!("{call}({text})");
            let word = self.word(rule.action, rule.at);
            let other = self.lines.get(&key).is_some_and(|there| *there != word);
            if other {
                let what = format!("'{key}' has two actions: the stricter holds");
                self.remark(Weight::Stricter, rule.at, what);
            }
            let stricter = conditional
                .iter()
                .any(|(same, other)| same == text && strict(other.action) > strict(rule.action));
            if !stricter {
                self.lines.insert(key, word);
            }
        }
    }

    /// A line, unless the call gets that anyhow.
    fn line(&mut self, key: String, action: Action, at: Where) {
        let word = self.word(action, at);
        let anyhow = match self.lines.get("*") {
            Some(default) => *default == word,
            None => action == Action::Allow,
        };
        if !anyhow {
            self.lines.insert(key, word);
        }
    }

    /// A call that sbox makes in the program itself is allowed whatever a policy says.
    fn needed(&mut self, call: &str, base: Action, at: Where, conditional: &[(String, &Rule)]) {
        let refused = conditional
            .iter()
            .filter(|(_, rule)| rule.action.strictness() > 0);
        let refused: Vec<(String, Where)> = refused
            .map(|(text, rule)| (format!("{call}({text})"), rule.at))
            .collect();
        let base = (base.strictness() > 0).then(|| (call.to_owned(), at));
        let allowed = conditional
            .iter()
            .filter(|(_, rule)| rule.action.strictness() == 0);
        let but: Vec<&str> = allowed.map(|(text, _)| text.as_str()).collect();
        for (what, at) in refused.into_iter().chain(base.clone()) {
            let but = match (what.contains('('), but.is_empty()) {
                (false, false) => format!(" but with {}", but.join(" || ")),
                _ => String::new(),
            };
            let what = format!(
                "{what} is refused{but} by the profile: sbox itself makes this call in the program, and it stays allowed"
            );
            self.remark(Weight::Wider, at, what);
        }
        if self.lines.contains_key("*") {
            self.lines.insert(call.into(), "\"allow\"".into());
        }
    }

    /// True if an entry has tests, and they hold whatever the arguments.
    fn always(&self, call: &str, rule: &Rule) -> bool {
        let holds = |test: &Cond| matches!(said(call, test, self.host), Ok(Said::Always));
        let mut lists = rule.when.iter().flatten();
        lists.any(|tests| tests.iter().all(holds))
    }

    /// The condition of an entry; `laxer`: it may not hold for more than in the profile, else not for less.
    /// True: it may hold for fewer.
    fn condition(
        &mut self,
        call: &str,
        rule: &Rule,
        when: &[Vec<Cond>],
        laxer: bool,
    ) -> (Condition, bool) {
        let mut narrowed = false;
        let mut all = Vec::new();
        let mut always = false;
        for tests in when {
            let mut texts = Vec::new();
            let mut never = false;
            for test in tests {
                match said(call, test, self.host) {
                    Ok(Said::Text(text)) => texts.push(text),
                    Ok(Said::Always) => {}
                    Ok(Said::Never) => never = true,
                    Err(why) => {
                        never |= laxer;
                        narrowed |= laxer;
                        let done = match laxer {
                            true => "what it would allow is not allowed",
                            false => "it is refused whatever this argument is",
                        };
                        let what = format!("'{call}', argument {}: {why}; {done}", test.arg);
                        self.remark(Weight::Stricter, rule.at, what);
                    }
                }
            }
            match texts.len() {
                _ if never => {}
                0 => always = true,
                // An alternative needs no parentheses of its own where it stands alone.
                1 => all.extend(texts.iter().map(|text| alone(text).to_owned())),
                _ => all.push(texts.join(" && ")),
            }
        }
        let condition = match all.len() {
            _ if always => Condition::Always,
            0 => Condition::Never,
            _ => Condition::When(all.join(" || ")),
        };
        (condition, narrowed)
    }
}

fn alone(text: &str) -> &str {
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    inner.unwrap_or(text)
}

/// What an entry's tests come to.
enum Condition {
    When(String),
    Always,
    Never,
}

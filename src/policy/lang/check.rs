//! Settings to rules: what each means, or why it has no meaning.

use super::calls::{Calls, Network};
use super::fault::{Fault, Sources, Where};
use super::merge::Merged;
use super::read::{Raw, Setting};
use super::value::{Says, WORDS};
use super::vars::{Vars, World};
use super::{Env, Gap, RuleInfo, Sheet, Sheets, ViewKeys, Words};
use crate::policy::files::{Effect, FileRule, Files, Ruling};
use crate::policy::glob::{self, Pattern};
use crate::policy::{Access, RuleId, Signals};
use crate::sys::Errno;
use std::sync::Arc;

pub(super) struct Checker<'c> {
    pub(super) vars: Vars<'c>,
    pub(super) sources: &'c Sources,
    pub(super) words: &'c Words,
    pub(super) rules: &'c mut Vec<RuleInfo>,
    pub(super) gaps: &'c mut Vec<Gap>,
    pub(super) faults: Vec<Fault>,
}

/// Checks all, and compiles.
pub(super) fn check(
    merged: &Merged,
    world: &World,
    words: &Words,
    sources: Sources,
) -> Result<Sheets, (Vec<Fault>, Sources)> {
    let mut rules = Vec::new();
    let mut gaps = Vec::new();
    let mut faults = Vec::new();
    let mut all = Vec::new();
    let mut examples = Vec::new();
    let mut waiting = vec![merged];
    let mut declared: Vec<&str> = Vec::new();
    while let Some(one) = waiting.pop() {
        // The policy itself comes first; of the ceilings the order means nothing.
        waiting.extend(&one.within);
        declared.extend(
            one.settings
                .keys()
                .filter(|(s, _)| *s == "vars")
                .map(|(_, key)| key.as_str()),
        );
        let vars = match Vars::of(one, world, &sources) {
            Ok(vars) => vars,
            Err(more) => {
                faults.extend(more);
                continue;
            }
        };
        let mut checker = Checker {
            vars,
            sources: &sources,
            words,
            rules: &mut rules,
            gaps: &mut gaps,
            faults: Vec::new(),
        };
        let sheet = checker.sheet(one);
        faults.append(&mut checker.faults);
        for setting in one.settings.values().filter(|s| s.section == "examples") {
            match checker.vars.expand(&setting.key, setting.at, false) {
                Ok(asked) => {
                    examples.extend(asked.into_iter().map(|asked| (all.len(), asked, setting)))
                }
                Err(fault) => faults.push(fault),
            }
        }
        all.push(sheet);
    }
    for (name, _) in &world.set {
        if !declared.contains(&name.as_str()) {
            let fault = Fault {
                at: None,
                what: format!("--set {name}: the policy has no such variable"),
                hint: None,
            };
            faults.push(fault.nearest(name, declared.iter().copied()));
        }
    }
    if !faults.is_empty() {
        return Err((faults, sources));
    }
    let sheets = Sheets {
        sources,
        rules,
        all,
        gaps,
        switched: Arc::default(),
    };
    let wrong: Vec<Fault> = examples
        .into_iter()
        .filter_map(|(sheet, asked, setting)| example(&sheets, sheet, &asked, setting).err())
        .collect();
    if wrong.is_empty() {
        Ok(sheets)
    } else {
        Err((wrong, sheets.sources))
    }
}

/// An example must get the answer that its author expects.
fn example(sheets: &Sheets, sheet: usize, asked: &str, setting: &Setting) -> Result<(), Fault> {
    let asked = parse_operation(asked).map_err(|why| Fault::at(setting.at, why))?;
    let path = asked.path.as_bytes();
    let expected = setting.text()?;
    const ANSWERS: [&str; 4] = ["allow", "deny", "hide", "kill"];
    if !ANSWERS.contains(&expected) {
        return Err(
            Fault::at(setting.value_at, format!("'{expected}' is no answer"))
                .nearest(expected, ANSWERS),
        );
    }
    // An example belongs to the policy that it stands in, not to those around.
    let Some(sheet) = sheets.all.get(sheet) else {
        return Ok(());
    };
    let mut ruling = sheet.files.decide(path);
    let program = sheet.exec.decide(path);
    let (exec, kills) = program.effect.of_program();
    let effect = ruling.effect.meet(exec);
    let missing = asked.access.without(effect.granted());
    let other_arguments = asked.other_arguments(sheets, &program);
    let got = match effect {
        _ if !missing.both(kills.and(ruling.kills)).is_empty() => "kill",
        Effect::Hide => "hide",
        effect if effect.granted().has(asked.access) && other_arguments.is_none() => "allow",
        _ => "deny",
    };
    if got == expected {
        return Ok(());
    }
    ruling.because.splice(0..0, other_arguments);
    let by = ruling
        .because
        .first()
        .map_or("no rule".into(), |id| sheets.tell(*id));
    Err(Fault::at(
        setting.at,
        format!("this example is not true: the answer is {got}, by {by}"),
    ))
}

/// `write /w/src/.env`, as people ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is wanted.
    pub access: Access,
    /// A clean path.
    pub path: String,
    /// What a program is given behind `argv[0]`.
    pub arguments: Vec<String>,
}

impl Operation {
    /// The rule of a ruling that lets the program be started, but not with these arguments.
    pub fn other_arguments(&self, sheets: &Sheets, ruling: &Ruling) -> Option<RuleId> {
        let starts = self.access.has(Access::EXEC);
        let refused = starts.then(|| sheets.refuses_arguments(ruling, &self.arguments));
        refused.flatten()
    }
}

/// Words between blanks; a backslash takes the next character for itself.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => all.extend(word.take()),
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().unwrap_or('\\')),
            c => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// `write /w/src/.env`: an access and a clean path. `exec /usr/bin/git --version`: behind the path, arguments.
pub fn parse_operation(text: &str) -> Result<Operation, String> {
    const OPERATIONS: [(&str, Access); 8] = [
        ("read", Access::READ),
        ("write", Access::WRITE),
        ("create", Access::CREATE),
        ("delete", Access::DELETE),
        ("exec", Access::EXEC),
        ("meta", Access::META),
        ("stat", Access::LOOK),
        ("list", Access::LIST),
    ];
    let (word, path) = text.split_once(' ').ok_or_else(|| {
        format!("'{text}': wanted an operation and a path, as in \"read /etc/hosts\"")
    })?;
    let found = OPERATIONS.iter().find(|(name, _)| *name == word);
    let Some((_, access)) = found else {
        let names: Vec<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "'{word}' is no operation on files: wanted one of {}",
            names.join(", ")
        ));
    };
    let (path, arguments) = match *access == Access::EXEC {
        true => {
            let mut words = words(path).into_iter();
            (words.next().unwrap_or_default(), words.collect())
        }
        false => (path.trim().to_owned(), Vec::new()),
    };
    let clean = path.starts_with('/')
        && !path.split('/').any(|part| part == "." || part == "..")
        && !path.contains("//");
    if clean {
        Ok(Operation {
            access: *access,
            path,
            arguments,
        })
    } else {
        Err(format!("'{path}' is no clean absolute path"))
    }
}

/// A text with one blank where it has white space.
fn on_one_line(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// What a check finds, or nothing and a fault.
    pub(super) fn or_fault<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    pub(super) fn rule(&mut self, setting: &Setting) -> RuleId {
        let part = |name: &str| match &setting.value {
            Raw::Table(parts) => parts
                .iter()
                .find(|p| p.key == name)
                .and_then(|p| p.text().ok()),
            _ => None,
        };
        let source = self.sources.0.get(setting.value_at.file as usize);
        let range = setting.value_at.start as usize..setting.value_at.end as usize;
        let says = source.and_then(|s| s.text.get(range)).unwrap_or_default();
        let name = match part("id") {
            Some(id) => id.to_owned(),
            None => [setting.section, ".\"", &setting.key, "\""].concat(),
        };
        let why = part("why").map(str::to_owned);
        self.rules.push(RuleInfo {
            name,
            says: on_one_line(says),
            at: setting.at,
            why,
            is_default: setting.section == "default",
            arguments: None,
            switch: None,
        });
        RuleId(u32::try_from(self.rules.len() - 1).unwrap_or(u32::MAX))
    }

    pub(super) fn gap(&mut self, id: RuleId, why: impl Into<String>) {
        self.gaps.push(Gap {
            id,
            why: why.into(),
        });
    }

    pub(super) fn sheet(&mut self, merged: &Merged) -> Sheet {
        let many = merged.settings.len();
        self.rules.reserve(many);
        let mut files = Vec::with_capacity(many);
        let mut exec = Vec::new();
        let mut mounts = Vec::new();
        let mut env = Env::default();
        let mut calls = Calls::default();
        let mut view = ViewKeys {
            host_root: true,
            ..ViewKeys::default()
        };
        let mut net = Network::NONE;
        let mut general = None;
        let mut signals = (Signals::Own, None);
        let mut best_effort = false;
        let mut default = Effect::Hide;
        for setting in merged.settings.values() {
            match (setting.section, setting.key.as_str()) {
                ("", "name" | "description") => {
                    self.or_fault(setting.text());
                }
                ("view", key) => self.view(setting, key, &mut view, &mut mounts),
                ("view.mounts", _) => self.mount(setting, &mut mounts),
                ("files", _) => self.file(setting, &mut files),
                ("exec", _) => self.exec(setting, &mut exec),
                ("env", key) => self.env(setting, key, &mut env),
                ("syscalls", _) => self.call(setting, &mut calls),
                ("proc", "signal") => signals = self.signals(setting).unwrap_or(signals),
                ("default", "signals") => {
                    // Read in any case: what is wrong with it is wrong.
                    let by_default = self.signals(setting);
                    if !merged.settings.contains_key(&("proc", "signal".into())) {
                        signals = by_default.unwrap_or(signals);
                    }
                }
                ("proc", key) => self.only(setting, key),
                ("net", _) => net = self.net(setting).unwrap_or(net),
                ("default", "files") => match self.default_files(setting) {
                    Some((effect, None)) => default = effect,
                    Some((_, by)) => general = by,
                    None => {}
                },
                ("default", "syscalls") => {
                    let does = self.does(setting, Errno::EPERM);
                    calls.default = does.map(|does| (does, self.rule(setting)));
                }
                ("default", "net") => {
                    // Read in any case: what is wrong with it is wrong.
                    let by_default = self.network(setting);
                    if !merged.settings.contains_key(&("net", "inet".into())) {
                        net = by_default.unwrap_or(net);
                    }
                }
                ("default", "enforce") => best_effort = self.best_effort(setting),
                ("default", key) => self.only(setting, key),
                ("limits", _) => {
                    let id = self.rule(setting);
                    self.gap(id, "limits are not enforced yet; ulimit(1) around sbox is");
                }
                _ => {}
            }
        }
        self.fakes(&calls);
        for setting in &merged.forbid {
            self.forbid(setting, &mut files, &mut calls);
        }
        let tops: Vec<RuleId> = mounts
            .iter()
            .filter(|m| m.at == "/")
            .map(|m| m.id)
            .collect();
        if let [first, second, ..] = tops[..]
            && let (Some(first), Some(second)) = (
                self.rules.get(first.0 as usize),
                self.rules.get(second.0 as usize),
            )
        {
            let what = format!(
                "{} stands at / as well ({})",
                first.name,
                self.sources.place(first.at)
            );
            self.faults
                .push(Fault::at(second.at, what).hint("keep one of them"));
        }
        files.extend(general.filter(|_| !says_all(&files)));
        let files = Files::new(files, default);
        for (a, b) in files.equals() {
            let (Some(first), Some(second)) = (
                self.rules.get(a.id.0 as usize),
                self.rules.get(b.id.0 as usize),
            ) else {
                continue;
            };
            // What a variable stands for may be what another rule names: there both hold, so the stricter.
            let by_value = first.name.contains("${") != second.name.contains("${");
            if a.effect != b.effect && !by_value {
                let what = format!(
                    "{} matches the same paths as {} ({})",
                    second.name,
                    first.name,
                    self.sources.place(first.at)
                );
                let fault = Fault::at(second.at, what).hint("keep one of them");
                self.faults.push(fault);
            }
        }
        Sheet {
            files,
            exec: Files::new(exec, Effect::Grant(Access::ALL)),
            mounts,
            view,
            env,
            calls,
            net,
            signals,
            best_effort,
        }
    }

    pub(super) fn patterns(&mut self, text: &str, at: Where) -> Vec<Pattern> {
        let mut all = Vec::with_capacity(1);
        if !text.contains(['$', '{', '}'])
            && let Ok(pattern) = Pattern::parse(text)
        {
            // Of thousands of rules mostly all are so: one pattern, as it stands there.
            all.push(pattern);
            return all;
        }
        let texts = self.vars.expand(text, at, true);
        for text in self.or_fault(texts).unwrap_or_default() {
            let made = glob::braces(&text).and_then(|texts| {
                let mut patterns = texts.iter().map(|text| Pattern::parse(text));
                patterns.try_for_each(|pattern| pattern.map(|pattern| all.push(pattern)))
            });
            match made {
                Ok(()) => {}
                Err(bad) => {
                    let fault = Fault::at(at, format!("'{text}': {}", bad.why));
                    let fault = if text.starts_with("~/") {
                        fault.hint("write ${home}/…")
                    } else {
                        fault
                    };
                    self.fault(fault);
                }
            }
        }
        all
    }

    pub(super) fn file(&mut self, setting: &Setting, files: &mut Vec<FileRule>) {
        let Some(says) = self.says(setting, &WORDS) else {
            return;
        };
        if let Says::Fake(_) = says {
            let fault = Fault::at(setting.value_at, "a file can't be faked");
            return self.fault(
                fault.hint("{ text = \"…\" } in [view.mounts] shows a file with another content"),
            );
        }
        let id = self.rule(setting);
        let effect = match says {
            Says::Grant(access) => Effect::Grant(access),
            Says::Deny(errno) => Effect::Deny(errno.unwrap_or(Errno::EACCES)),
            Says::Hide | Says::Allow | Says::Fake(_) => Effect::Hide,
            Says::Ask => Effect::ASK,
            Says::Kill => Effect::Kill,
        };
        for pattern in self.patterns(&setting.key, setting.at) {
            let whole = pattern.place().is_some_and(|(path, _)| path.is_empty());
            if whole && effect.granted().has(Access::WRITE) && setting.key.contains("${") {
                self.fault(Fault::at(
                    setting.at,
                    "a variable is / here, and all of the tree would be writable",
                ));
            }
            files.push(FileRule {
                pattern,
                effect,
                forbid: false,
                id,
            });
        }
    }

    /// What holds where no rule matches; a default that asks or kills is a rule about all.
    pub(super) fn default_files(
        &mut self,
        setting: &Setting,
    ) -> Option<(Effect, Option<FileRule>)> {
        let effect = match self.says(setting, &["hide", "deny", "ask", "kill"])? {
            Says::Deny(errno) => Effect::Deny(errno.unwrap_or(Errno::EACCES)),
            Says::Ask => Effect::ASK,
            Says::Kill => Effect::Kill,
            _ => Effect::Hide,
        };
        if !matches!(effect, Effect::Kill | Effect::Ask { .. }) {
            return Some((effect, None));
        }
        let rule = FileRule {
            pattern: Pattern::parse(ALL).ok()?,
            effect,
            forbid: false,
            id: self.rule(setting),
        };
        Some((effect, Some(rule)))
    }
}

/// All paths.
const ALL: &str = "/**";

/// Whether some rule is about all paths: then the default never decides.
fn says_all(files: &[FileRule]) -> bool {
    let Ok(all) = Pattern::parse(ALL) else {
        return false;
    };
    files
        .iter()
        .any(|rule| !rule.forbid && all.is_within(&rule.pattern))
}

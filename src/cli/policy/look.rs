//! `sbox policy check`, `show` and `diff`.

use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind, escape_bytes};
use crate::plain;
use crate::policy::files::{Effect, Ruling, dead};
use crate::policy::lang::{Does, Env, Network, RuleInfo, Sheet, Sheets, Stands, Switching};
use crate::policy::within::Within;
use crate::policy::{Access, RuleId, Signals};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// States of the automata that are looked at, at most: some seconds.
const MOST: usize = 1 << 16;

/// What every path of a policy gets is looked at, so nothing is missed.
pub(super) fn check(switching: &Switching) -> Result<Exit, Exit> {
    let sheets = &Arc::new(super::sheets(switching, Within::NONE)?);
    let mut out = String::new();
    for sheet in &sheets.all {
        for files in [&sheet.files, &sheet.exec] {
            let Some(answers) = files.answers(MOST) else {
                term::message(
                    Kind::Warning,
                    "this policy is too large to look for overlaps and dead rules",
                );
                continue;
            };
            let forbidden = |id: &RuleId| files.rules().iter().any(|r| r.forbid && r.id == *id);
            // Where something is forbidden nothing else is said: several such rules are no question.
            let open = |ruling: &Ruling| !ruling.because.first().is_some_and(forbidden);
            for (ruling, path) in answers.iter().filter(|(ruling, _)| open(ruling)) {
                overlap(sheets, ruling, path, &mut out);
            }
            for id in dead(files, &answers) {
                // Several patterns may be of one rule, by a variable or braces.
                let _ = writeln!(
                    out,
                    "dead: {} never decides: narrower rules cover all of it",
                    sheets.tell(id)
                );
            }
        }
    }
    let gaps = super::enforce::gaps(sheets);
    let mut all = super::switch::gaps(switching, sheets.all.len(), &gaps)?;
    all.insert(0, (Arc::clone(sheets), gaps));
    for (sheets, gaps) in &all {
        for gap in gaps {
            let _ = writeln!(
                out,
                "can't be enforced: {}: {}",
                sheets.tell(gap.id),
                gap.why
            );
        }
    }
    let rules = sheets.rules.len();
    let gaps: usize = all.iter().map(|(_, gaps)| gaps.len()).sum();
    let _ = writeln!(out, "{rules} rules, {gaps} can't be enforced");
    Ok(match term::print(&out) {
        Exit::Ok if gaps > 0 => Exit::CannotEnforce,
        other => other,
    })
}

fn overlap(sheets: &Sheets, ruling: &Ruling, path: &[u8], out: &mut String) {
    let [first, rest @ ..] = &ruling.because[..] else {
        return;
    };
    let says = |id: &RuleId| sheets.rule(*id).map(|rule| rule.says.as_str());
    if rest.iter().all(|id| says(id) == says(first)) {
        return;
    }
    let all: Vec<String> = ruling.because.iter().map(|id| sheets.tell(*id)).collect();
    let _ = writeln!(
        out,
        "overlap: {}: neither is narrower, so at {} together they say {}",
        all.join(" and "),
        shown(path),
        ruling.effect
    );
}

/// The root is the empty text.
fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        "/".into()
    } else {
        escape_bytes(path)
    }
}

pub(super) fn show(sheets: &Sheets, flat: bool) -> Exit {
    let mut out = String::new();
    if !flat {
        let text = sheets.sources.0.first().map(|source| source.text.as_str());
        return term::print(text.unwrap_or_default());
    }
    for (number, sheet) in sheets.all.iter().enumerate() {
        let whose = if number == 0 { "" } else { "# a ceiling\n" };
        let origin = |id| {
            sheets
                .rule(id)
                .map(|rule| sheets.sources.place(rule.at))
                .unwrap_or_default()
        };
        let view = &sheet.view;
        // Another root stands at / below.
        let root = if view.host_root { "host" } else { "empty" };
        let _ = writeln!(out, "{whose}sbox = 1\n\n[view]\nroot = \"{root}\"");
        if let Some(own) = view.own_pids {
            let pids = if own { "own" } else { "host" };
            let _ = writeln!(out, "pids = \"{pids}\"");
        }
        for (key, value) in [("hostname", &view.hostname), ("cwd", &view.cwd)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{key} = {value:?}");
            }
        }
        if !sheet.mounts.is_empty() {
            let _ = writeln!(out, "\n[view.mounts]");
        }
        for mount in &sheet.mounts {
            let what = match &mount.what {
                Stands::Cow(dir) => format!("cow = {dir:?}"),
                Stands::Bind(path, ro) => format!("bind = {path:?}, ro = {ro}"),
                Stands::Tmpfs(0) => "tmpfs = \"\"".into(),
                Stands::Tmpfs(bytes) => format!("tmpfs = \"{bytes}\""),
                Stands::Text(text) => format!("text = {text:?}"),
            };
            let _ = writeln!(out, "{:?} = {{ {what} }} # {}", mount.at, origin(mount.id));
        }
        let _ = writeln!(
            out,
            "\n[default]\nfiles = \"{}\"",
            default_of(sheets, sheet)
        );
        if let Some((does, _)) = sheet.calls.default {
            let _ = writeln!(out, "syscalls = \"{}\"", written(does));
        }
        for (name, files) in [("files", &sheet.files), ("exec", &sheet.exec)] {
            let mut rules: Vec<_> = files.rules().iter().filter(|rule| !rule.forbid).collect();
            rules.retain(|rule| !is_default(sheets, rule.id));
            rules.sort_by(|a, b| a.pattern.text().cmp(b.pattern.text()));
            if !rules.is_empty() {
                let _ = writeln!(out, "\n[{name}]");
            }
            for rule in rules {
                let says = sheets.rule(rule.id).map_or_else(String::new, |rule| {
                    started(rule).unwrap_or_else(|| rule.says.clone())
                });
                let _ = writeln!(
                    out,
                    "{:?} = {says} # {}",
                    rule.pattern.text(),
                    origin(rule.id)
                );
            }
        }
        if sheet.net.does != Network::NONE.does {
            let _ = writeln!(out, "\n[net]\ninet = \"{}\"", written(sheet.net.does));
        }
        if sheet.signals.0 != Signals::Own {
            let _ = writeln!(out, "\n[proc]\nsignal = \"{}\"", sheet.signals.0);
        }
        let mut calls: Vec<_> = sheet
            .calls
            .rules
            .iter()
            .filter(|rule| !rule.forbid)
            .collect();
        calls.sort_by(|a, b| a.text.cmp(&b.text));
        if !calls.is_empty() {
            let _ = writeln!(out, "\n[syscalls]");
        }
        for rule in calls {
            let says = sheets.rule(rule.id).map_or("", |rule| rule.says.as_str());
            let _ = writeln!(out, "{:?} = {says} # {}", rule.text, origin(rule.id));
        }
        let env = &sheet.env;
        if *env != crate::policy::lang::Env::default() {
            let set: Vec<String> = env
                .set
                .iter()
                .map(|(name, value)| format!("{name:?} = {value:?}"))
                .collect();
            let _ = writeln!(
                out,
                "\n[env]\nkeep = {:?}\nset = {{ {} }}\ndrop = {:?}",
                env.keep,
                set.join(", "),
                env.drop
            );
        }
        let forbidden = sheet.files.rules().iter().filter(|rule| rule.forbid);
        let kills = |what: &str, kill: bool| match kill {
            true => format!("{{ what = {what:?}, do = \"kill\" }}"),
            false => format!("{what:?}"),
        };
        let calls = sheet.calls.rules.iter().filter(|rule| rule.forbid);
        let calls: Vec<String> = calls
            .map(|rule| kills(&rule.key, rule.does == Does::Kill))
            .collect();
        let lines: Vec<String> = forbidden
            .map(|rule| {
                let what = kills(rule.pattern.text(), rule.effect == Effect::Kill);
                format!("    {what}, # {}\n", origin(rule.id))
            })
            .collect();
        if !lines.is_empty() || !calls.is_empty() {
            let _ = writeln!(
                out,
                "\n[forbid]\nfiles = [\n{}]\nsyscalls = [{}]",
                lines.concat(),
                calls.join(", ")
            );
        }
    }
    term::print(&out)
}

/// An action as the language writes it.
fn written(does: Does) -> String {
    match does {
        Does::Deny(errno) => format!("deny {errno:?}"),
        does => does.to_string(),
    }
}

/// A default that is a rule about all.
fn is_default(sheets: &Sheets, id: RuleId) -> bool {
    sheets.rule(id).is_some_and(|rule| rule.is_default)
}

fn default_of(sheets: &Sheets, sheet: &Sheet) -> Effect {
    let mut rules = sheet.files.rules().iter();
    let by_rule = rules.find(|rule| is_default(sheets, rule.id));
    by_rule.map_or(sheet.files.default(), |rule| rule.effect)
}

/// What the second allows and the first doesn't, and the other way round; a path for each.
pub(super) fn diff(before: &Sheets, after: &Sheets) -> Exit {
    let mut out = String::new();
    let Some(differences) = before.differences(after, MOST) else {
        term::message(Kind::Error, "these policies are too large to compare");
        return Exit::Internal;
    };
    for one in differences {
        let by = |sheets: &Sheets, ids: &[RuleId]| match ids.first() {
            Some(id) => sheets.tell(*id),
            None => "the default".into(),
        };
        let (was, is) = (one.before.granted(), one.after.granted());
        let word = match (is.has(was), was.has(is)) {
            (true, false) => "newly allowed",
            (false, true) => "newly denied",
            (false, false) => "other rights",
            (true, true) if one.after == Effect::Hide => "newly hidden",
            (true, true) if one.ends[1].without(one.ends[0]) != Access::NONE => {
                "newly ends the run"
            }
            (true, true) => "denied otherwise",
        };
        let _ = writeln!(
            out,
            "{word}: {}: {} before, by {}; {} now, by {}",
            shown(&one.path),
            one.before,
            by(before, &one.old),
            one.after,
            by(after, &one.new)
        );
    }
    other_starts(before, after, &mut out);
    other_world(before, after, &mut out);
    for row in crate::syscall::table::TABLE {
        let group = row.class.group();
        let (was, is) = (before.plain(row.name, group), after.plain(row.name, group));
        match (was, is) {
            (Some(_), None) => out += &format!("newly allowed: the call {}\n", row.name),
            (None, Some((Does::Fake(_), _))) => {
                out += &format!("newly faked: the call {}\n", row.name)
            }
            (None, Some((Does::Ask, _))) => {
                out += &format!("newly asked about: the call {}\n", row.name)
            }
            (None, Some((does, _))) => {
                out += &format!("newly denied: the call {}: {does}\n", row.name)
            }
            (Some((was, _)), Some((is, _))) if was != is => {
                out += &format!(
                    "other answer: the call {}: {was} before, {is} now\n",
                    row.name
                )
            }
            _ => {}
        }
        let conditions = |sheets: &Sheets| -> Vec<_> {
            let steps = sheets.steps(row.name, group).into_iter().flatten();
            let conditional = steps.filter(|step| step.when.is_some());
            conditional.map(|step| (step.when, step.does)).collect()
        };
        if conditions(before) != conditions(after) {
            let _ = writeln!(out, "other conditions: the call {}", row.name);
        }
    }
    let (was, is) = (before.network().does, after.network().does);
    if was != is {
        let word = match is {
            Does::Allow => "newly allowed",
            Does::Ask => "newly asked about",
            Does::Kill => "newly ends the run",
            _ if before.net() => "newly denied",
            _ => "denied otherwise",
        };
        let _ = writeln!(out, "{word}: the network");
    }
    let (was, is) = (before.signals().0, after.signals().0);
    if was != is {
        let word = if is < was {
            "newly allowed"
        } else {
            "newly denied"
        };
        let _ = writeln!(out, "{word}: signals: {was} before, {is} now");
    }
    let exit = if out.is_empty() {
        Exit::Ok
    } else {
        Exit::Refused
    };
    match term::print(&out) {
        Exit::Ok => exit,
        failed => failed,
    }
}

/// What else a program sees: the policy's view, and the environment that it and its ceilings let pass.
fn other_world(before: &Sheets, after: &Sheets, out: &mut String) {
    let (Some(a), Some(b)) = (before.all.first(), after.all.first()) else {
        return;
    };
    if a.view != b.view {
        *out += "other view: what [view] says\n";
    }
    if a.best_effort != b.best_effort {
        *out += "other enforcement: what [default] says of it\n";
    }
    let mounts = |sheet: &Sheet| -> BTreeMap<String, Stands> {
        let all = sheet.mounts.iter();
        all.map(|mount| (mount.at.clone(), mount.what.clone()))
            .collect()
    };
    let (was, is) = (mounts(a), mounts(b));
    let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for at in all.into_iter().filter(|at| was.get(*at) != is.get(*at)) {
        let word = match (was.contains_key(at), is.contains_key(at)) {
            (false, _) => "new mount",
            (_, false) => "no mount any more",
            _ => "other mount",
        };
        let _ = writeln!(out, "{word}: {}", escape_bytes(at.as_bytes()));
    }
    let lets = |sheets: &Sheets| -> Vec<Env> {
        let all = sheets.all.iter();
        all.map(|sheet| sheet.env.clone()).collect()
    };
    if lets(before) != lets(after) {
        *out += "other environment: what [env] says\n";
    }
}

/// What a rule of `[exec]` says of how programs are started: with which arguments, within which policy.
fn started(rule: &RuleInfo) -> Option<String> {
    let arguments = rule.arguments.as_ref().map(|all| format!("args = {all}"));
    let switch = rule.switch.as_deref();
    let switch = switch.map(|policy| format!("policy = {}", plain::toml(policy)));
    let parts: Vec<String> = arguments.into_iter().chain(switch).collect();
    (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
}

/// Patterns of programs that one policy has started otherwise than the other.
fn other_starts(before: &Sheets, after: &Sheets, out: &mut String) {
    let listed = |sheets: &Sheets| -> BTreeMap<String, String> {
        let rules = sheets
            .all
            .iter()
            .take(1)
            .flat_map(|sheet| sheet.exec.rules());
        let lists = rules.filter_map(|rule| {
            let how = started(sheets.rule(rule.id)?)?;
            Some((rule.pattern.text().to_owned(), how))
        });
        lists.collect()
    };
    let (was, is) = (listed(before), listed(after));
    let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for pattern in all {
        let tell = |lists: &BTreeMap<String, String>| {
            let list = lists.get(pattern).map(String::as_str);
            list.unwrap_or("anyhow").to_owned()
        };
        let (was, is) = (tell(&was), tell(&is));
        if was != is {
            let _ = writeln!(out, "started otherwise: {pattern}: {was} before, {is} now");
        }
    }
}

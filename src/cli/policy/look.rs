//! `sbox policy check`, `show` and `diff`.

use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind, escape_bytes};
use crate::policy::RuleId;
use crate::policy::files::{Effect, Ruling, dead};
use crate::policy::lang::{Sheets, Stands};
use std::fmt::Write as _;

/// States of the automata that are looked at, at most: some seconds.
const MOST: usize = 1 << 16;

/// What every path of a policy gets is looked at, so nothing is missed.
pub(super) fn check(sheets: &std::sync::Arc<Sheets>) -> Exit {
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
    for gap in &gaps {
        let _ = writeln!(
            out,
            "can't be enforced: {}: {}",
            sheets.tell(gap.id),
            gap.why
        );
    }
    let rules = sheets.rules.len();
    let verdict = if gaps.is_empty() {
        Exit::Ok
    } else {
        Exit::CannotEnforce
    };
    let _ = writeln!(out, "{rules} rules, {} can't be enforced", gaps.len());
    match term::print(&out) {
        Exit::Ok => verdict,
        failed => failed,
    }
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
        let _ = writeln!(out, "\n[default]\nfiles = \"{}\"", sheet.files.default());
        for (name, files) in [("files", &sheet.files), ("exec", &sheet.exec)] {
            let mut rules: Vec<_> = files.rules().iter().filter(|rule| !rule.forbid).collect();
            rules.sort_by(|a, b| a.pattern.text().cmp(b.pattern.text()));
            if !rules.is_empty() {
                let _ = writeln!(out, "\n[{name}]");
            }
            for rule in rules {
                let says = sheets.rule(rule.id).map_or("", |rule| rule.says.as_str());
                let _ = writeln!(
                    out,
                    "{:?} = {says} # {}",
                    rule.pattern.text(),
                    origin(rule.id)
                );
            }
        }
        if sheet.net {
            let _ = writeln!(out, "\n[net]\ninet = \"allow\"");
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
        let calls: Vec<&String> = sheet
            .calls
            .rules
            .iter()
            .filter(|rule| rule.forbid)
            .map(|rule| &rule.key)
            .collect();
        let lines: Vec<String> = forbidden
            .map(|rule| format!("    {:?}, # {}\n", rule.pattern.text(), origin(rule.id)))
            .collect();
        if !lines.is_empty() || !calls.is_empty() {
            let _ = writeln!(
                out,
                "\n[forbid]\nfiles = [\n{}]\nsyscalls = {calls:?}",
                lines.concat()
            );
        }
    }
    term::print(&out)
}

/// What the second allows and the first doesn't, and the other way round; a path for each.
pub(super) fn diff(before: &Sheets, after: &Sheets) -> Exit {
    let (Some(a), Some(b)) = (before.all.first(), after.all.first()) else {
        return Exit::Internal;
    };
    let mut out = String::new();
    for (old, new) in [(&a.files, &b.files), (&a.exec, &b.exec)] {
        let Some(differences) = old.differences(new, MOST) else {
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
    }
    for row in crate::syscall::table::TABLE {
        let group = row.class.group();
        let (was, is) = (
            before.refuses(row.name, group),
            after.refuses(row.name, group),
        );
        match (was, is) {
            (Some(_), None) => out += &format!("newly allowed: the call {}\n", row.name),
            (None, Some((errno, _))) => {
                out += &format!("newly denied: the call {}: {errno:?}\n", row.name)
            }
            _ => {}
        }
        let conditions = |sheets: &Sheets| -> Vec<_> {
            let steps = sheets.steps(row.name, group).into_iter().flatten();
            let conditional = steps.filter(|step| step.when.is_some());
            conditional
                .map(|step| (step.when, step.refuse, step.kill))
                .collect()
        };
        if conditions(before) != conditions(after) {
            let _ = writeln!(out, "other conditions: the call {}", row.name);
        }
    }
    if before.net() != after.net() {
        let word = if after.net() {
            "newly allowed"
        } else {
            "newly denied"
        };
        let _ = writeln!(out, "{word}: the network");
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

//! `sbox policy explain`: the same decision as in a run, with those who lost it.

use super::Which;
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind, escape};
use crate::policy::files::{Candidate, Effect};
use crate::policy::lang::{Sheets, parse_operation};
use crate::policy::names::Names;
use crate::policy::within::Within;
use crate::policy::{Access, Signals};
use std::fmt::Write as _;
use std::sync::Arc;

pub(super) fn explain(sheets: &Arc<Sheets>, operations: &[String]) -> Exit {
    let names = Names::new(Arc::clone(sheets));
    let mut out = String::new();
    for asked in operations {
        if let Some(whom) = asked.strip_prefix("signal ") {
            match signal(sheets, whom) {
                Ok(answer) => out += &format!("{}\n{answer}", escape(asked)),
                Err(why) => {
                    term::message(Kind::Error, &why);
                    return Exit::Usage;
                }
            }
            continue;
        }
        let operation = match parse_operation(asked) {
            Ok(parsed) => parsed,
            Err(why) => {
                term::message(Kind::Error, &why);
                return Exit::Usage;
            }
        };
        let (access, path) = (operation.access, &operation.path);
        let ruling = sheets.decide(path.as_bytes());
        let other_arguments = operation.other_arguments(sheets, &ruling);
        let starts = access.has(Access::EXEC)
            && ruling.effect.granted().has(access)
            && other_arguments.is_none();
        let trip = names.trips(path.as_bytes());
        let looks = Access::LOOK.and(Access::READ).and(Access::LIST);
        let answer = match ruling.effect {
            _ if trip.is_some() => "kill".to_owned(),
            effect if effect.granted().has(access) => match other_arguments {
                None => "allow".to_owned(),
                Some(id) => format!("deny: other arguments than {} says", sheets.tell(id)),
            },
            _ if ruling.ends_at(access) && ruling.effect != Effect::Kill => "kill".to_owned(),
            Effect::Kill if !looks.has(access) => "kill".to_owned(),
            Effect::Kill => "hide; a directory there only leads to what is shown".to_owned(),
            Effect::Ask { granted, asked } if !granted.and(asked).has(access) => {
                format!("deny: {} is granted", Effect::Grant(granted))
            }
            Effect::Grant(granted) => format!("deny: {} is granted", Effect::Grant(granted)),
            Effect::Hide if ruling.leads => {
                "hide; a directory there only leads to what is shown".to_owned()
            }
            effect => effect.to_string(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}\n  {answer}", escape(asked));
        for policy in sheets.switches(&ruling).filter(|_| starts) {
            let _ = writeln!(out, "    then it goes on within {}", escape(policy));
        }
        for (number, sheet) in sheets.all.iter().enumerate() {
            let whose = if number == 0 { "" } else { "within: " };
            for files in [&sheet.files, &sheet.exec] {
                for candidate in files.candidates(path.as_bytes()) {
                    let _ = writeln!(out, "    {whose}{}", line(sheets, &candidate));
                }
            }
            if sheet.files.candidates(path.as_bytes()).is_empty() {
                let _ = writeln!(
                    out,
                    "    {whose}no rule of [files] matches: default {}",
                    sheet.files.default()
                );
            }
        }
        let above = trip.and_then(|at| names.killer(&at));
        if let Some(above) = above.filter(|id| !ruling.because.contains(id)) {
            let _ = writeln!(out, "    ends the run on the way  {}", sheets.tell(above));
        }
        if let Some(why) = ruling
            .because
            .iter()
            .find_map(|id| sheets.rule(*id)?.why.as_deref())
        {
            let _ = writeln!(out, "  why: {}", escape(why));
        }
    }
    term::print(&out)
}

/// Whether a process may send signals to one that it has started, or to another one of the sandbox.
fn signal(sheets: &Sheets, whom: &str) -> Result<String, String> {
    let (signals, by) = sheets.signals();
    let may = match whom {
        "children" => signals < Signals::None,
        "others" => signals == Signals::Own,
        _ => {
            return Err(format!(
                "'signal {whom}': wanted children, or others of the sandbox"
            ));
        }
    };
    let answer = if may { "allow" } else { "deny" };
    let rule = by.map(|id| format!("    decides  {}\n", sheets.tell(id)));
    Ok(format!("  {answer}\n{}", rule.unwrap_or_default()))
}

/// What holds for a program, and all that it starts, once it has been started by the policy `of`, one after the other.
pub(super) fn after(of: &Which, programs: &[String]) -> Result<Sheets, Exit> {
    let switching = of.switching()?;
    let mut within = Within::NONE;
    let mut sheets = super::sheets(&switching, within)?;
    for program in programs {
        let operation = parse_operation(&format!("exec {program}")).map_err(|why| {
            term::message(Kind::Error, &why);
            Exit::Usage
        })?;
        let ruling = sheets.decide(operation.path.as_bytes());
        let starts = ruling.effect.granted().has(operation.access);
        if !starts || operation.other_arguments(&sheets, &ruling).is_some() {
            let what = format!("--after {}: it can't be started", escape(program));
            term::message(Kind::Error, &what);
            return Err(Exit::Usage);
        }
        within = within.and(sheets.switched_by(&ruling));
        sheets = super::sheets(&switching, within)?;
    }
    Ok(sheets)
}

fn line(sheets: &Sheets, candidate: &Candidate<'_>) -> String {
    let rule = sheets.tell(candidate.rule.id);
    match candidate.beaten_by.first() {
        None if candidate.rule.forbid => {
            format!("decides  {rule}: forbidden, which nothing opens again")
        }
        None => format!("decides  {rule}"),
        Some(other) if other.forbid => format!(
            "lost     {rule}: to {}, as [forbid] beats all",
            sheets.tell(other.id)
        ),
        Some(other) => format!(
            "lost     {rule}: to {}, which is narrower",
            sheets.tell(other.id)
        ),
    }
}

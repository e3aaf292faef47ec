//! `sbox policy explain`: the same decision as in a run, with those who lost it.

use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind, escape};
use crate::policy::files::{Candidate, Effect};
use crate::policy::lang::{Sheets, parse_operation};
use std::fmt::Write as _;

pub(super) fn explain(sheets: &Sheets, operations: &[String]) -> Exit {
    let mut out = String::new();
    for asked in operations {
        let (access, path) = match parse_operation(asked) {
            Ok(parsed) => parsed,
            Err(why) => {
                term::message(Kind::Error, &why);
                return Exit::Usage;
            }
        };
        let ruling = sheets.decide(path.as_bytes());
        let answer = match ruling.effect {
            effect if effect.granted().has(access) => "allow".to_owned(),
            Effect::Grant(granted) => format!("deny: {} is granted", Effect::Grant(granted)),
            Effect::Hide if ruling.leads => {
                "hide; a directory there only leads to what is shown".to_owned()
            }
            effect => effect.to_string(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}\n  {answer}", escape(asked));
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

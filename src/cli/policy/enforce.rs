//! A policy for a run: what it says, in the words of the supervisor.

use super::{Which, switch};
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind};
use crate::policy::lang::{Does, Gap, Sheet, Sheets, Switching};
use crate::policy::within::Within;
use crate::supervisor::calls::Refused;
use crate::supervisor::view::policy;
use crate::syscall::table::{Mechanism, Row, TABLE, by_name};
use std::ffi::{CString, OsString};
use std::sync::Arc;

/// Calls that sbox makes in the program itself: between the filter and the first instruction, at the
/// hand-over of descriptors, and for the guard of datagram sockets.
pub const NEEDED: [&str; 15] = [
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "rt_sigreturn",
    "sendto",
    "sendmsg",
    "recvmsg",
    "read",
    "close",
    "close_range",
    "mmap",
    "munmap",
    "seccomp",
    "prctl",
];

/// A policy of a run, and the gaps that it takes on.
pub type Loaded = (Arc<Sheets>, Vec<String>);

/// Reads the policy of a run with all that it switches to, and refuses what can't be enforced.
/// With it the calls that only a policy refuses which it switches to.
pub fn load(which: &Which) -> Result<(Loaded, Switching, Vec<Refused>), Exit> {
    let switching = which.switching()?;
    let sheets = Arc::new(super::sheets(&switching, Within::NONE)?);
    let known = gaps(&sheets);
    let mut told = tell_gaps(&sheets, &known)?;
    for (both, gaps) in switch::gaps(&switching, sheets.all.len(), &known)? {
        told.extend(tell_gaps(&both, &gaps)?);
    }
    let further = switch::further(&switching, &sheets)?;
    Ok(((sheets, told), switching, further))
}

/// Refuses a policy with gaps, unless it takes them on.
pub fn without_gaps(sheets: Sheets) -> Result<Loaded, Exit> {
    let sheets = Arc::new(sheets);
    let told = tell_gaps(&sheets, &gaps(&sheets))?;
    Ok((sheets, told))
}

/// Tells gaps. An error: the policy doesn't take them on.
pub(super) fn tell_gaps(sheets: &Sheets, gaps: &[Gap]) -> Result<Vec<String>, Exit> {
    let best_effort = sheets.all.iter().all(|sheet| sheet.best_effort);
    let kind = if best_effort {
        Kind::Warning
    } else {
        Kind::Error
    };
    let mut told = Vec::new();
    for gap in gaps {
        let text = format!(
            "can't enforce {}\n  because: {}",
            sheets.tell(gap.id),
            gap.why
        );
        term::message(kind, &text);
        told.push(format!("{}: {}", sheets.tell(gap.id), gap.why));
    }
    if gaps.is_empty() || best_effort {
        Ok(told)
    } else {
        Err(Exit::CannotEnforce)
    }
}

/// All that nobody enforces here.
pub(super) fn gaps(sheets: &Arc<Sheets>) -> Vec<Gap> {
    let mut all = policy::gaps(sheets);
    for sheet in &sheets.all {
        for rule in sheet
            .calls
            .rules
            .iter()
            .filter(|rule| matches!(rule.does, Does::Allow | Does::Ask))
        {
            if let Some(row) = by_name(&rule.key)
                && matches!(row.mechanism, Mechanism::Refuse(_))
            {
                let why = row
                    .reason()
                    .unwrap_or("no program in a sandbox has this call");
                all.push(Gap {
                    id: rule.id,
                    why: format!("sbox always refuses {}: {why}", row.name),
                });
            }
        }
    }
    for sheet in &sheets.all {
        for rule in &sheet.calls.rules {
            let special = matches!(rule.does, Does::Ask | Does::Fake(_));
            let unfit = |row: &&Row| {
                let group = row.class.group();
                let own = |sheet: &Sheet| sheet.calls.plain(row.name, group).1 == Some(rule.id);
                special
                    && !NEEDED.contains(&row.name)
                    && sheets.all.iter().any(own)
                    && Refused::of(sheets, row).is_err()
            };
            let row = match by_name(&rule.key) {
                Some(row) if rule.when.is_some() || special => row,
                // Of a group, the first of its calls for which it can't be.
                None if special => match TABLE.iter().find(unfit) {
                    Some(row) => row,
                    None => continue,
                },
                _ => continue,
            };
            let why = match Refused::of(sheets, row) {
                Err(error) if rule.key != row.name => format!("{}: {error}", row.name),
                Err(error) => error.to_string(),
                Ok(_) if rule.when.is_none() => continue,
                Ok(_) if NEEDED.contains(&row.name) => {
                    format!("sbox itself makes the call {} in the program", row.name)
                }
                Ok(_) => continue,
            };
            all.push(Gap { id: rule.id, why });
        }
    }
    for name in NEEDED {
        let group = by_name(name).map_or("", |row| row.class.group());
        if let Some((_, Some(id))) = sheets.plain(name, group) {
            let why = format!("sbox itself makes the call {name} in the program");
            all.push(Gap { id, why });
        }
    }
    all
}

/// The calls that are refused.
pub fn refused(sheets: &Sheets) -> Vec<Refused> {
    // What can't be put into the filter is a gap: where gaps are taken on it is not refused.
    refused_or(sheets, |_| None)
}

/// The same of processes that a policy holds for which was switched to: the filter is that of all.
pub fn refused_within(sheets: &Sheets) -> Vec<Refused> {
    refused_or(sheets, |row| Some(Refused::brought(sheets, row)))
}

fn refused_or(sheets: &Sheets, unfit: impl Fn(&Row) -> Option<Refused>) -> Vec<Refused> {
    // The default reaches only what no program needs to start; sbox's own calls are among those.
    let rows = TABLE.iter().filter(|row| !NEEDED.contains(&row.name));
    let asks = |row: &Row| {
        let steps = sheets.steps(row.name, row.class.group());
        steps.iter().flatten().any(|step| step.does == Does::Ask)
    };
    let one = |row| match Refused::of(sheets, row) {
        // Nobody can be asked: the answer is no.
        Err(_) if asks(row) => Some(Refused::unasked(sheets, row)),
        Err(_) => unfit(row),
        Ok(refused) => refused,
    };
    rows.filter_map(one).collect()
}

/// What `[env]` keeps and sets, as flags would.
pub fn variables(sheets: &Sheets) -> Vec<OsString> {
    let Some(env) = sheets.all.first().map(|sheet| &sheet.env) else {
        return Vec::new();
    };
    let kept = env.keep.iter().map(OsString::from);
    let set = env
        .set
        .iter()
        .map(|(name, value)| format!("{name}={value}").into());
    kept.chain(set).collect()
}

/// Takes out what `[env]` drops, and what a ceiling doesn't let pass.
pub fn let_pass(sheets: &Sheets, vars: &mut Vec<CString>) {
    vars.retain(|var| {
        let bytes = var.as_bytes();
        let name = bytes.split(|&b| b == b'=').next().unwrap_or_default();
        // What is no text no policy names: it passes where all do.
        let name = std::str::from_utf8(name).unwrap_or("\u{fffd}");
        let dropped =
            |sheet: &crate::policy::lang::Sheet| sheet.env.drop.iter().any(|drop| drop == name);
        let (own, ceilings) = match &sheets.all[..] {
            [own, ceilings @ ..] => (own, ceilings),
            [] => return true,
        };
        !dropped(own) && ceilings.iter().all(|sheet| sheet.env.lets(name))
    });
}

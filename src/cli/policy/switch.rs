//! What the switches of `[exec]` ask for and nobody enforces.

use super::{enforce, sheets};
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind};
use crate::policy::files::Effect;
use crate::policy::lang::{CallRule, Does, Gap, Sheet, Sheets, Switching};
use crate::policy::within::Within;
use crate::policy::{RuleId, Signals};
use crate::supervisor::calls::{Refused, Unfit, can_be_asked};
use crate::syscall::table::{Row, TABLE};
use std::sync::Arc;

/// A policy, and what nobody enforces of it.
type Gapped = (Arc<Sheets>, Vec<Gap>);

/// All that a policy may switch to.
fn all(switching: &Switching) -> Within {
    let names = 0..switching.names().len();
    names.map(Within::one).fold(Within::NONE, Within::and)
}

/// What nobody enforces of each policy that is switched to, together with the policy of the run, and is not `known` of that
/// one, whose sheets are the `first`. What several of them have together none has that hasn't one alone.
pub fn gaps(switching: &Switching, first: usize, known: &[Gap]) -> Result<Vec<Gapped>, Exit> {
    let mut all_gaps = Vec::new();
    if switching.names().is_empty() {
        return Ok(all_gaps);
    }
    let whole = Arc::new(sheets(switching, all(switching))?);
    let mut of_switches = different_fakes(&whole);
    for (number, name) in switching.names().iter().enumerate() {
        let both = Arc::new(sheets(switching, Within::one(number))?);
        let mut gaps = enforce::gaps(&both);
        // Rules of the first have the same numbers in both.
        gaps.retain(|gap| !known.contains(gap));
        let further = both.all.get(first..).unwrap_or_default();
        for sheet in further {
            gaps.extend(asks(sheet).map(|id| Gap {
                id,
                why: UNASKED.into(),
            }));
            gaps.extend(sheet.calls.rules.iter().filter_map(|rule| {
                let why = unfit(sheet, rule)?;
                Some(Gap { id: rule.id, why })
            }));
        }
        gaps.sort_by_key(|gap| gap.id.0);
        gaps.dedup();
        all_gaps.push((both.clone(), gaps));
        let why = further.iter().flat_map(of_sheet);
        let mut switches = whole.switching();
        if let Some((id, _)) = switches.find(|(_, switched)| switched == name) {
            of_switches.extend(why.map(|why| Gap {
                id,
                why: format!("{name}: {why}"),
            }));
        }
    }
    all_gaps.push((whole, of_switches));
    Ok(all_gaps)
}

const UNASKED: &str = "nobody is asked by the rules of a policy that is switched to";

/// What no rule of a policy says that is switched to, and nobody enforces.
fn of_sheet(sheet: &Sheet) -> impl Iterator<Item = &'static str> + use<> {
    let asks = matches!(sheet.files.default(), Effect::Ask { .. }) || sheet.net.does == Does::Ask;
    let all = [
        (
            sheet.signals.0 != Signals::Own,
            "to whom signals may be sent is said for a whole run",
        ),
        (asks, UNASKED),
        (
            sheet.net.does == Does::Kill,
            "it ends the run by its network, which the run's own policy alone can",
        ),
        (
            sheet.calls.default.is_some(),
            "its default for calls refuses, and no switch changes so many",
        ),
        (
            !sheet.env.drop.is_empty(),
            "it drops variables, which the run alone gives",
        ),
    ];
    all.into_iter().filter_map(|(is, why)| is.then_some(why))
}

/// Calls that are faked differently by policies which may come to hold together.
fn different_fakes(whole: &Sheets) -> Vec<Gap> {
    let rows = TABLE.iter();
    let differ = rows.filter(|row| matches!(Refused::of(whole, row), Err(Unfit::Fakes)));
    let switch = whole.switching().next();
    let gap = |row: &Row| {
        Some(Gap {
            id: switch?.0,
            why: format!(
                "policies that may hold together fake different answers of {}",
                row.name
            ),
        })
    };
    differ.filter_map(gap).collect()
}

/// Why a rule about calls can't be one for some processes alone.
fn unfit(sheet: &Sheet, rule: &CallRule) -> Option<String> {
    match rule.does {
        Does::Allow => return None,
        Does::Ask => return Some(UNASKED.into()),
        Does::Deny(_) | Does::Kill | Does::Fake(_) => {}
    }
    let says = |row: &&Row| {
        let steps = sheet.calls.steps(row.name, row.class.group());
        steps.iter().any(|step| step.by == Some(rule.id))
    };
    let mut rows = TABLE.iter().filter(says);
    let row = rows.find(|row| !can_be_asked(row))?;
    Some(format!(
        "sbox stops {} elsewhere, so it is made or not by all processes alike",
        row.name
    ))
}

/// The calls that some policy refuses which is switched to, be it that the policy of the run doesn't.
pub fn further(switching: &Switching, first: &Sheets) -> Result<Vec<Refused>, Exit> {
    if switching.names().is_empty() {
        return Ok(Vec::new());
    }
    let whole = sheets(switching, all(switching))?;
    // Without a network some sockets can't be made.
    let of_network = |row: &Row| row.name == "socket" && first.net() != whole.net();
    let says = |row: &&Row| {
        let steps = whole.steps(row.name, row.class.group());
        let mut steps = steps.iter().skip(first.all.len()).flatten();
        of_network(row) || steps.any(|step| step.does != Does::Allow)
    };
    let rows = TABLE
        .iter()
        .filter(|row| !enforce::NEEDED.contains(&row.name));
    let rows = rows.filter(says).filter(|row| can_be_asked(row));
    let brought = |row| match of_network(row) {
        true => Refused::always(row),
        false => Refused::brought(&whole, row),
    };
    Ok(rows.map(brought).collect())
}

fn asks(sheet: &Sheet) -> impl Iterator<Item = RuleId> {
    let lists = [&sheet.files, &sheet.exec].into_iter();
    let rules = lists.flat_map(|files| files.rules());
    let asking = rules.filter(|rule| matches!(rule.effect, Effect::Ask { .. }));
    asking.map(|rule| rule.id)
}

/// Refuses a policy that switches, for what only tells what a policy would do.
pub fn not_with(of: &Sheets, flag: &str) -> Result<(), Exit> {
    let Some((id, _)) = of.switching().next() else {
        return Ok(());
    };
    let text = format!(
        "can't enforce {} with {flag}\n  because: what is told there is about one policy from the start to the end of a run",
        of.tell(id)
    );
    term::message(Kind::Error, &text);
    Err(Exit::CannotEnforce)
}

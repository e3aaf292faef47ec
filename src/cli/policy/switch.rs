//! What the switches of `[exec]` ask for and nobody enforces.

use super::{enforce, sheets};
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind};
use crate::policy::RuleId;
use crate::policy::files::Effect;
use crate::policy::lang::{Does, Gap, Sheet, Sheets, Switching};
use crate::policy::within::Within;
use std::sync::Arc;

/// A policy, and what nobody enforces of it.
type Gapped = (Arc<Sheets>, Vec<Gap>);

/// What nobody enforces of each policy that is switched to, together with the policy of the run, and is not `known` of that
/// one. What several of them have together none has that hasn't one alone.
pub fn gaps(switching: &Switching, first: usize, known: &[Gap]) -> Result<Vec<Gapped>, Exit> {
    let names = switching.names().iter().enumerate();
    let of = |(number, name): (usize, &String)| {
        let both = Arc::new(sheets(switching, Within::one(number))?);
        let mut gaps = enforce::gaps(&both);
        // Rules of the first have the same numbers in both.
        gaps.retain(|gap| !known.contains(gap));
        gaps.extend(of_one(&both, first, name));
        gaps.sort_by_key(|gap| gap.id.0);
        gaps.dedup();
        Ok((both, gaps))
    };
    names.map(of).collect()
}

/// What nobody enforces of a process that has been switched: all but files and programs. `first`: so many sheets are the run's.
fn of_one(both: &Sheets, first: usize, name: &str) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let (own, further) = both.all.split_at(first.min(both.all.len()));
    for sheet in further {
        gaps.extend(asks(sheet).map(|id| Gap {
            id,
            why: "nobody is asked by the rules of a policy that is switched to".into(),
        }));
        let calls = sheet.calls.rules.iter();
        gaps.extend(
            calls
                .filter(|rule| rule.does != Does::Allow)
                .map(|rule| Gap {
                    id: rule.id,
                    why: "calls are those of the policy of the run: no switch changes them yet"
                        .into(),
                }),
        );
    }
    let switch = both.switching().find(|(_, switched)| *switched == name);
    let Some((id, _)) = switch else {
        return gaps;
    };
    let mut of_switch = |why: &str| {
        let why = format!("{name}: {why}");
        gaps.push(Gap { id, why });
    };
    if own.iter().all(|sheet| sheet.net) && further.iter().any(|sheet| !sheet.net) {
        of_switch(
            "the network is the run's, and it doesn't allow that: no switch takes it away yet",
        );
    }
    if further.iter().any(|sheet| sheet.calls.default.is_some()) {
        of_switch("its default for calls refuses: no switch changes them yet");
    }
    if further.iter().any(|sheet| !sheet.env.drop.is_empty()) {
        of_switch("it drops variables, which the run alone gives");
    }
    if further
        .iter()
        .any(|sheet| matches!(sheet.files.default(), Effect::Ask { .. }))
    {
        of_switch("nobody is asked by the default of a policy that is switched to");
    }
    gaps
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

//! A policy that decides nothing: what it would have said of the calls of a run (`--mode audit`, `--shadow`).

use super::calls::{Refused, Verdict, can_be_heard};
use super::hear::{self, Heard, Refusal, Want, Witness};
use crate::policy::Access;
use crate::policy::arguments::Reach;
use crate::policy::lang::Sheets;
use crate::policy::names::Names;
use crate::syscall::table::{TABLE, row};
use crate::trace::{Incident, Kind, Ledger};
use crate::vfs::Met;
use std::sync::Arc;

/// It, and where its answers are entered.
pub struct Second {
    sheets: Arc<Sheets>,
    names: Names,
    ledger: Arc<Ledger>,
    /// Calls that it refuses.
    refused: Vec<Refused>,
    /// What it refuses is entered so.
    denies: Kind,
}

impl Second {
    /// The policy of an audit. Calls in `never` it can't refuse.
    pub fn audit(sheets: Arc<Sheets>, ledger: Arc<Ledger>, never: &[&str]) -> Self {
        Self::new(sheets, ledger, never, Kind::WouldDeny)
    }

    /// A shadow of the policy that is enforced.
    pub fn shadow(sheets: Arc<Sheets>, ledger: Arc<Ledger>, never: &[&str]) -> Self {
        Self::new(sheets, ledger, never, Kind::ShadowDenies)
    }

    fn new(sheets: Arc<Sheets>, ledger: Arc<Ledger>, never: &[&str], denies: Kind) -> Self {
        let rows = TABLE.iter().filter(|row| !never.contains(&row.name));
        let refused = rows.filter_map(|row| Refused::of(&sheets, row).ok().flatten());
        let refused = refused.collect();
        Self {
            names: Names::new(Arc::clone(&sheets)),
            sheets,
            ledger,
            refused,
            denies,
        }
    }

    /// Calls that it refuses, and that nobody can hear of.
    pub fn silent(&self) -> Vec<&'static str> {
        let unheard = self.refused.iter().filter(|one| !can_be_heard(&one.nr));
        unheard.filter_map(|one| Some(row(one.nr)?.name)).collect()
    }

    /// Whether it lets a file be used so.
    fn refuses(&self, want: &Want) -> Option<Refusal> {
        if let Some(at) = self.names.trips(want.whole.as_ref().unwrap_or(&want.path)) {
            let by = self.names.killer(&at).map(|id| self.sheets.tell(id));
            return Some(Refusal { by, ends: true });
        }
        let missing = want.met == Met::Nothing && want.access == Access::LOOK;
        if missing {
            return None;
        }
        hear::refuses(&self.sheets, want)
    }

    /// It would have allowed what was refused.
    fn allows(&self, heard: &Heard<'_>, want: Option<&Want>) {
        if self.denies != Kind::ShadowDenies {
            return;
        }
        let ruling = want.map(|want| self.sheets.decide(&want.path));
        let id = ruling.and_then(|ruling| self.sheets.culprit(&ruling));
        let by = id.map_or_else(|| "its default".into(), |id| self.sheets.tell(id));
        self.enter(heard, Kind::ShadowAllows, want, Some(&by));
    }

    fn enter(&self, heard: &Heard<'_>, kind: Kind, want: Option<&Want>, by: Option<&str>) {
        self.ledger.enter(&Incident {
            kind,
            task: heard.task,
            call: heard.row.name,
            arguments: heard.arguments,
            answer: heard.answer,
            wanted: want.map(|want| want.access),
            path: want.map(|want| &*want.path),
            by,
            sheets: None,
        });
    }
}

impl Witness for Second {
    fn calls(&self) -> Vec<u32> {
        self.refused.iter().map(|one| one.nr).collect()
    }

    fn reach(&self) -> Option<Reach> {
        self.sheets.reach()
    }

    fn hear(&self, heard: &Heard<'_>) {
        let row = heard.row;
        let rule = self.refused.iter().find(|one| one.nr == row.x86);
        let rule = rule.and_then(|one| one.refusal(heard.registers));
        if heard.denied {
            let allowed = rule.is_none() && heard.wants.iter().all(|w| self.refuses(w).is_none());
            if allowed {
                self.allows(heard, heard.wants.last());
            }
            return;
        }
        // What is faked refuses nothing: an audit does it, too.
        if self.denies == Kind::WouldDeny && matches!(rule, Some((Verdict::Fake(_), _))) {
            return;
        }
        match rule {
            Some((Verdict::Fake(_), _)) if heard.faked => return,
            None if heard.faked => return self.allows(heard, None),
            _ => {}
        }
        if let Some((_, by)) = rule {
            return self.enter(heard, self.denies, None, by);
        }
        let refused = heard.wants.iter().map(|want| (want, self.refuses(want)));
        let refused: Vec<_> = refused.collect();
        for (want, refusal) in &refused {
            if let Some(Refusal { by, ends: true }) = refusal {
                let kind = match self.denies {
                    Kind::WouldDeny => Kind::WouldKill,
                    other => other,
                };
                // Nothing more would have come of the call.
                return self.enter(heard, kind, Some(want), by.as_deref());
            }
        }
        // What did not succeed was not there, or not the caller's to have.
        if heard.failed {
            let enforced = self.ledger.sheets();
            for want in heard.wants.iter().filter(|w| w.met == Met::Nothing) {
                let hidden = enforced.is_some_and(|e| hear::hides(e, want).is_some());
                if hidden && hear::hides(&self.sheets, want).is_none() {
                    self.allows(heard, Some(want));
                }
            }
            return;
        }
        for (want, refusal) in refused {
            if let Some(Refusal { by, .. }) = refusal {
                self.enter(heard, self.denies, Some(want), by.as_deref());
            }
        }
    }
}

//! What was refused, or would have been: counted, told, reported.
//!
//! A guest may be refused a million times, with a million names. So what is kept and written is bounded: equal incidents
//! are told once and counted, and beyond some thousand different ones all are counted by their rule alone.

use super::advice;
use super::report::{Body, Record, Report};
use crate::policy::lang::Sheets;
use crate::policy::{Access, RuleId};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// Different incidents that are told.
const MOST: usize = 4096;
/// Rules that the summary names.
const RULES: usize = 5;
/// What is counted where no rule has decided.
const NO_RULE: &str = "no rule";
/// Bytes of arguments that are told.
const LONGEST: usize = 1024;

/// What has come of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It was refused.
    Denied,
    /// It was refused, and all was killed.
    Killed,
    /// It was done, as this run only listens; the policy would refuse it.
    WouldDeny,
    /// It was done; the policy would end the run at it.
    WouldKill,
    /// It was done; another policy would refuse it.
    ShadowDenies,
    /// It was refused; another policy would let it be done.
    ShadowAllows,
}

impl Kind {
    /// All of them, in the order of the summary.
    const ALL: [Self; 6] = [
        Self::Denied,
        Self::Killed,
        Self::WouldDeny,
        Self::WouldKill,
        Self::ShadowDenies,
        Self::ShadowAllows,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Killed => "killed",
            Self::WouldDeny => "would be denied",
            Self::WouldKill => "would end the run",
            Self::ShadowDenies => "would be denied by the shadow",
            Self::ShadowAllows => "would be allowed by the shadow",
        }
    }
}

/// One call that a rule is against.
#[derive(Clone, Copy, Debug)]
pub struct Incident<'i> {
    /// What came of it.
    pub kind: Kind,
    /// Who made it, by the number in the view.
    pub task: i32,
    /// Its name.
    pub call: &'i str,
    /// Its arguments, decoded and escaped.
    pub arguments: &'i str,
    /// What it answered, as text.
    pub answer: &'i str,
    /// What it wanted to do to a file; `None`: the call itself is meant.
    pub wanted: Option<Access>,
    /// The file, as a path of the view.
    pub path: Option<&'i [u8]>,
    /// The rule, as [`Sheets::tell`] has it, or what else it is called; `None`: no rule.
    pub by: Option<&'i str>,
    /// The rules that hold for it, where the process goes on within further policies.
    pub sheets: Option<&'i Sheets>,
}

/// Where the rules of a policy stand, by what they are called.
type Places = HashMap<String, RuleId>;

/// The book of a run.
#[derive(Debug)]
pub struct Ledger {
    verbose: bool,
    sheets: Option<Arc<Sheets>>,
    shadow: Option<Arc<Sheets>>,
    places: [Places; 2],
    report: Option<Report>,
    book: Mutex<Book>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Book {
    by_rule: BTreeMap<(Kind, String), u64>,
    /// What was told: its number, and how often it has come again.
    told: HashMap<u64, (u64, u64)>,
    /// Incidents that were not told, as there are too many different ones.
    untold: u64,
}

/// How a run has ended, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program has exited so.
    Status(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It never ran.
    NotStarted,
}

fn places(sheets: Option<&Sheets>) -> Places {
    let Some(sheets) = sheets else {
        return Places::new();
    };
    let ids = (0..).map(RuleId).take(sheets.rules.len());
    ids.map(|id| (sheets.tell(id), id)).collect()
}

impl Ledger {
    /// A book. `sheets`: the policy; `shadow`: the one that decides nothing.
    pub fn new(
        verbose: bool,
        sheets: Option<Arc<Sheets>>,
        shadow: Option<Arc<Sheets>>,
        report: Option<Report>,
    ) -> Self {
        let of = |sheets: &Option<Arc<Sheets>>| match report {
            Some(_) => places(sheets.as_deref()),
            None => Places::new(),
        };
        Self {
            verbose,
            places: [of(&sheets), of(&shadow)],
            sheets,
            shadow,
            report,
            book: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Whether each incident is told: with arguments and paths.
    pub fn tells(&self) -> bool {
        self.verbose || self.report.is_some()
    }

    /// The policy that decides, if one does.
    pub fn sheets(&self) -> Option<&Sheets> {
        self.sheets.as_deref()
    }

    /// Enters an incident.
    pub fn enter(&self, incident: &Incident<'_>) {
        let by = incident.by.unwrap_or(NO_RULE);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        match book.by_rule.get_mut(&(incident.kind, by.to_owned())) {
            Some(count) => *count += 1,
            None => drop(book.by_rule.insert((incident.kind, by.to_owned()), 1)),
        }
        if !self.tells() {
            return;
        }
        // Addresses and descriptors differ between two calls for one thing.
        let what = match incident.path {
            Some(path) => path,
            None => incident.arguments.as_bytes(),
        };
        let wanted = incident.wanted.map(|access| access.to_string());
        let key = self
            .hasher
            .hash_one((incident.kind, by, incident.call, what, wanted));
        if let Some((_, again)) = book.told.get_mut(&key) {
            *again += 1;
            return;
        }
        if book.told.len() >= MOST {
            book.untold += 1;
            return;
        }
        let number = book.told.len() as u64 + 1;
        book.told.insert(key, (number, 0));
        // Held meanwhile, so that what is told stands in its order.
        self.tell(number, incident);
    }

    fn tell(&self, number: u64, incident: &Incident<'_>) {
        let shadow = matches!(incident.kind, Kind::ShadowDenies | Kind::ShadowAllows);
        let (sheets, places) = match (shadow, &self.places) {
            (false, [places, _]) => (incident.sheets.or(self.sheets.as_deref()), places),
            (true, [_, places]) => (self.shadow.as_deref(), places),
        };
        let advice = match incident.kind {
            Kind::ShadowAllows => None,
            _ => advice::smallest(sheets, incident),
        };
        let arguments = shortened(incident.arguments);
        let path = incident.path.map(|path| path.escape_ascii().to_string());
        let rule = incident.by.and_then(|by| match incident.sheets {
            Some(sheets) => Some((sheets, sheets.told(by)?)),
            None => Some((sheets?, sheets?.rule(*places.get(by)?)?)),
        });
        if self.verbose {
            let mut text = format!(
                "{}: {}({arguments}) = {}\n  because: {}",
                incident.kind.word(),
                incident.call,
                incident.answer,
                incident.by.unwrap_or("no rule allows it")
            );
            let why = match (rule, sheets, incident.by) {
                (Some((_, rule)), ..) => rule.why.clone(),
                // Without a report nobody has looked where the rules stand.
                (None, Some(sheets), Some(by)) => sheets.told(by).and_then(|rule| rule.why.clone()),
                _ => None,
            };
            // Writing to a String cannot fail.
            if let Some(why) = why {
                let _ = write!(text, "\n  why: {}", why.escape_debug());
            }
            if let Some(access) = incident.wanted {
                let path = path.as_deref().map_or(String::new(), |p| format!(" {p}"));
                let _ = write!(
                    text,
                    "\n  wanted: to {access}{path} (task {})",
                    incident.task
                );
            } else {
                let _ = write!(text, "\n  wanted: the call itself (task {})", incident.task);
            }
            if let Some(advice) = &advice {
                let _ = write!(text, "\n  would allow it: {advice}");
            }
            super::tell(&text);
        }
        if let Some(report) = &self.report {
            let place = rule.map(|(sheets, rule)| sheets.sources.place(rule.at));
            let place = place.as_deref().and_then(|place| place.rsplit_once(':'));
            let body = Body {
                number,
                task: incident.task,
                call: incident.call,
                arguments: &arguments,
                answer: incident.answer,
                wanted: incident.wanted.map(|access| access.to_string()),
                path,
                rule: match (rule, incident.by) {
                    (Some((_, rule)), _) => Some(&rule.name),
                    (None, by) => by,
                },
                says: rule.map(|(_, rule)| rule.says.as_str()),
                file: place.map(|(file, _)| file),
                line: place.and_then(|(_, line)| line.parse().ok()),
                why: rule.and_then(|(_, rule)| rule.why.as_deref()),
                would_allow: advice.as_deref(),
            };
            report.write(&match incident.kind {
                Kind::Denied => Record::Denied(body),
                Kind::Killed => Record::Killed(body),
                Kind::WouldDeny => Record::WouldDeny(body),
                Kind::WouldKill => Record::WouldKill(body),
                Kind::ShadowDenies => Record::ShadowDenies(body),
                Kind::ShadowAllows => Record::ShadowAllows(body),
            });
        }
    }

    /// A few lines for people: how many calls, by which rules. `None` if there is nothing to say.
    pub fn summary(&self) -> Option<String> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for kind in Kind::ALL {
            let mut rules: Vec<(&str, u64)> = book
                .by_rule
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|((_, by), count)| (by.as_str(), *count))
                .collect();
            if rules.is_empty() {
                continue;
            }
            rules.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            let calls = rules.iter().map(|(_, count)| count).sum();
            let hint = if self.verbose { "" } else { " (-v tells each)" };
            let line = if out.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let named = rules.iter().filter(|(by, _)| *by != NO_RULE).count() as u64;
            let and = match (named, named < rules.len() as u64) {
                (0, _) => "as no rule allows them".to_owned(),
                (_, true) => format!("by {} or by none", number(named, "rule")),
                (_, false) => format!("by {}", number(named, "rule")),
            };
            let _ = write!(
                out,
                "{line}{} {}, {and}{hint}",
                number(calls, "call"),
                kind.word()
            );
            for (by, count) in rules
                .iter()
                .take(RULES)
                .filter(|_| rules.len() > 1 || named > 0)
            {
                let _ = write!(out, "\n  {count} by {by}");
            }
            if let Some(more) = rules.len().checked_sub(RULES).filter(|more| *more > 0) {
                let _ = write!(out, "\n  and {more} more");
            }
        }
        if book.untold > 0 {
            let _ = write!(
                out,
                "\n  {} of them were not told one by one: there are more than {MOST} different ones",
                book.untold
            );
        }
        (!out.is_empty()).then_some(out)
    }

    /// Ends the report. `unasked`: questions that nobody was there to answer.
    pub fn close(&self, end: End, unasked: u64) {
        let Some(report) = &self.report else {
            return;
        };
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again: Vec<(u64, u64)> = book
            .told
            .values()
            .copied()
            .filter(|(_, again)| *again > 0)
            .collect();
        again.sort_unstable();
        for (number, times) in again {
            report.write(&Record::Again { number, times });
        }
        for ((kind, by), calls) in &book.by_rule {
            report.write(&Record::Count {
                kind: kind.word(),
                by,
                calls: *calls,
            });
        }
        let of = |wanted: Kind| {
            let counts = book.by_rule.iter().filter(|((kind, _), _)| *kind == wanted);
            counts.map(|(_, count)| count).sum()
        };
        let (status, signal) = match end {
            End::Status(status) => (Some(status), None),
            End::Signal(signal) => (None, Some(signal)),
            End::NotStarted => (None, None),
        };
        report.write(&Record::End {
            status,
            signal,
            denied: of(Kind::Denied),
            killed: of(Kind::Killed),
            killed_by: book
                .by_rule
                .keys()
                .find(|(kind, _)| *kind == Kind::Killed)
                .map(|(_, by)| by.as_str()),
            would_deny: of(Kind::WouldDeny),
            would_kill: of(Kind::WouldKill),
            shadow_denies: of(Kind::ShadowDenies),
            shadow_allows: of(Kind::ShadowAllows),
            untold: book.untold,
            unasked,
        });
        report.finish();
    }
}

/// `1 call`, `2 calls`.
fn number(of: u64, word: &str) -> String {
    let plural = if of == 1 { "" } else { "s" };
    format!("{of} {word}{plural}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident<'i>(path: &'i [u8], by: &'i str) -> Incident<'i> {
        Incident {
            kind: Kind::Denied,
            task: 2,
            call: "openat",
            arguments: "",
            answer: "-1 EACCES",
            wanted: Some(Access::READ),
            path: Some(path),
            by: Some(by),
            sheets: None,
        }
    }

    #[test]
    fn a_flood_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("r");
        let ledger = Ledger::new(false, None, None, Some(Report::create(&at).unwrap()));
        for n in 0..20_000u32 {
            ledger.enter(&incident(format!("/{n}").as_bytes(), "some rule"));
            ledger.enter(&incident(b"/same", "some rule"));
        }
        ledger.close(End::Status(0), 0);
        let text = std::fs::read_to_string(&at).unwrap();
        // Each that is told, one that came again, one count, the end.
        assert_eq!(text.lines().count(), MOST + 3);
        assert!(text.contains(r#"{"event":"again","number":2,"times":19999}"#));
        assert!(
            text.contains(r#""denied":40000"#) && text.contains(r#""untold":15905"#),
            "{text}"
        );
        let summary = ledger.summary().unwrap();
        assert!(
            summary.starts_with("40000 calls denied, by 1 rule (-v"),
            "{summary}"
        );
        assert!(summary.lines().count() <= 3, "{summary}");
    }

    #[test]
    fn the_summary_names_few_rules() {
        let ledger = Ledger::new(false, None, None, None);
        assert_eq!(ledger.summary(), None);
        for n in 0..50u32 {
            ledger.enter(&incident(b"/a", &format!("rule {n}")));
        }
        let summary = ledger.summary().unwrap();
        assert_eq!(summary.lines().count(), RULES + 2, "{summary}");
        assert!(summary.ends_with("and 45 more"), "{summary}");
    }
}

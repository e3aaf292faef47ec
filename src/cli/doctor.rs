//! `sbox doctor`: what this host lets sbox do.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::exit::Exit;
use super::term::{self, Colour, Hue, Kind};
use crate::doctor::{self, Finding, Level, Need, PROBES, State};

/// Show what this host lets sbox do, by trying each kernel feature.
///
/// Exit status: 0 if sbox can enforce here, 3 if not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox doctor                what works, what doesn't, and the remedy
  sbox doctor && make check  only where sbox can enforce
  sbox doctor --json | jq -r '.probes[] | select(.state != \"yes\") | .name'")]
pub struct Args {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// The text of docs/KERNEL-FEATURES.md.
    #[arg(long, hide = true, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    if args.markdown {
        return term::print(&markdown());
    }
    let findings = doctor::run();
    let level = Level::of(&findings);
    let printed = if args.json {
        match json(&findings) {
            Ok(text) => term::print(&text),
            Err(error) => {
                term::message(Kind::Error, &format!("doctor: {error}"));
                Exit::Internal
            }
        }
    } else {
        term::print(&text(&findings, Colour::of(&io::stdout())))
    };
    match (printed, level) {
        (Exit::Ok, Level::None) => Exit::CannotEnforce,
        (exit, _) => exit,
    }
}

/// Columns of a terminal that all text fits in.
const WIDTH: usize = 80;

/// The findings for people.
pub fn text(findings: &[Finding], colour: Colour) -> String {
    let mut out = format!(
        "{:<8} {:<8} {:<16} {:<7} NOTE\n",
        "WORKS", "NEED", "FEATURE", "SINCE"
    );
    for finding in findings {
        let Finding {
            probe,
            state,
            detail,
        } = finding;
        let notes: Vec<String> = state
            .reason()
            .filter(|_| finding.missing() || detail.is_none())
            .into_iter()
            .chain(detail.clone())
            .collect();
        // Padded first: the sequences of colours have no width.
        let word = format!("{:<8}", state.word());
        let word = match (finding.missing(), state, probe.need) {
            (_, _, Need::Info) => word,
            (false, ..) => colour.paint(Hue::Green, &word),
            (true, State::No(_), Need::Needed) => colour.paint(Hue::Red, &word),
            (true, ..) => colour.paint(Hue::Yellow, &word),
        };
        let _ = write!(
            out,
            "{word} {:<8} {:<16} {:<7} ",
            probe.need.word(),
            probe.name,
            probe.since
        );
        wrap(&mut out, 43, 43, &term::escape(&notes.join("; ")));
    }
    for finding in findings.iter().filter(|f| f.missing()) {
        let probe = finding.probe;
        let reason = finding.state.reason().unwrap_or_default();
        let _ = write!(out, "\n{} ({}): ", probe.name, probe.need.word());
        wrap(&mut out, probe.name.len() + 12, 2, &reason);
        for (title, text) in [
            ("use", probe.purpose),
            ("lost", probe.lost),
            ("remedy", probe.remedy),
        ] {
            let _ = write!(out, "  {title:<7} ");
            wrap(&mut out, 10, 10, text);
        }
    }
    let level = Level::of(findings);
    let hue = match level {
        Level::Full => Hue::Green,
        Level::Reduced => Hue::Yellow,
        Level::None => Hue::Red,
    };
    let word = colour.paint(hue, level.word());
    let _ = writeln!(out, "\nlevel: {word}: {}", level.meaning());
    let reasons = reasons(findings, level);
    if !reasons.is_empty() {
        out.push_str("  because these are missing: ");
        wrap(&mut out, 29, 4, &reasons.join(", "));
    }
    out
}

/// Writes words from a column on, and further lines with an indent.
fn wrap(out: &mut String, mut column: usize, indent: usize, text: &str) {
    let mut first = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !first && column + 1 + length > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
            first = true;
        }
        if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        first = false;
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// The features whose lack makes the level what it is.
fn reasons(findings: &[Finding], level: Level) -> Vec<&'static str> {
    let need = match level {
        Level::Full => return Vec::new(),
        Level::Reduced => Need::Helpful,
        Level::None => Need::Needed,
    };
    findings
        .iter()
        .filter(|f| f.probe.need == need && matches!(f.state, State::No(_)))
        .map(|f| f.probe.name)
        .collect()
}

/// The findings for programs.
#[derive(Serialize)]
struct Report {
    /// Of this format.
    version: u32,
    sbox: &'static str,
    level: &'static str,
    enforces: bool,
    reasons: Vec<&'static str>,
    probes: Vec<Record>,
}

/// A row.
#[derive(Serialize)]
struct Record {
    name: &'static str,
    need: &'static str,
    since: Option<&'static str>,
    state: &'static str,
    errno: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
    purpose: &'static str,
    lost: &'static str,
    remedy: &'static str,
}

/// One object on one line.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    let level = Level::of(findings);
    let record = |finding: &Finding| Record {
        name: finding.probe.name,
        need: finding.probe.need.word(),
        since: Some(finding.probe.since).filter(|since| !since.is_empty()),
        state: finding.state.word(),
        errno: finding.state.errno().map(|errno| format!("{errno:?}")),
        reason: finding.state.reason(),
        detail: finding.detail.clone(),
        purpose: finding.probe.purpose,
        lost: finding.probe.lost,
        remedy: finding.probe.remedy,
    };
    let report = Report {
        version: 1,
        sbox: env!("CARGO_PKG_VERSION"),
        level: level.word(),
        enforces: level != Level::None,
        reasons: reasons(findings, level),
        probes: findings.iter().map(record).collect(),
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

/// The text of `docs/KERNEL-FEATURES.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Kernel features\n\n\
         <!-- Written by `sbox doctor --markdown` from src/doctor/table.rs; a test holds them equal. -->\n\n\
         What sbox uses of Linux, since which version there is such a thing, and what is lost without it.\n\
         `sbox doctor` tries each on your machine, with the reason of every no and the remedy: a kernel new enough\n\
         is not all it takes, as containers and other sandboxes take features away.\n",
    );
    for (need, title) in [
        (Need::Needed, "Needed\n\nsbox does not start without these."),
        (Need::Helpful, "Helpful\n\nsbox is better with these."),
        (Need::Info, "Shown for information"),
    ] {
        let _ = write!(
            out,
            "\n## {title}\n\n| feature | since | use | lost without it | remedy |\n|---|---|---|---|---|\n"
        );
        for probe in PROBES.iter().filter(|probe| probe.need == need) {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} |",
                probe.name, probe.since, probe.purpose, probe.lost, probe.remedy
            );
        }
    }
    out
}

//! `sbox syscalls`: prints the table of system calls, or what it says about some of them.

use std::fmt::Write as _;

use serde::Serialize;

use super::exit::Exit;
use super::similar;
use super::term::{self, Kind};
use crate::syscall::rules::Net;
use crate::syscall::table::{self, Class, Mechanism, Row, TABLE};

/// Show how each system call is treated, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox syscalls              the whole table
  sbox syscalls openat       one call, with its rule
  sbox syscalls @network     a group
  sbox syscalls --json | jq 'select(.mechanism == \"notify\") | .name'")]
pub struct Args {
    /// Names of calls, or groups such as @file.
    #[arg(value_name = "NAME|@GROUP")]
    names: Vec<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// The text of docs/SYSCALLS.md.
    #[arg(long, hide = true, conflicts_with_all = ["json", "names"])]
    markdown: bool,
}

/// Runs the verb: 0, or 2 if a name is unknown.
pub fn run(args: &Args) -> Exit {
    if args.markdown {
        return term::print(&markdown());
    }
    match select(&args.names) {
        Ok(rows) if args.json => match json(&rows) {
            Ok(text) => term::print(&text),
            Err(error) => {
                term::message(Kind::Error, &format!("syscalls: {error}"));
                Exit::Internal
            }
        },
        Ok(rows) => match (args.names.as_slice(), rows.as_slice()) {
            ([_], [row]) => term::print(&detail(row)),
            _ => term::print(&text(&rows)),
        },
        Err(message) => {
            term::message(Kind::Error, &message);
            Exit::Usage
        }
    }
}

/// The rows that the names select, in the table's order; all, if there are no names.
pub fn select(names: &[String]) -> Result<Vec<&'static Row>, String> {
    for name in names {
        let known = table::by_name(name).is_some() || table::group(name).next().is_some();
        if !known {
            let what = if name.starts_with('@') {
                "group"
            } else {
                "system call"
            };
            let shown = term::escape(name);
            return Err(match nearest(name) {
                Some(near) => format!("no {what} '{shown}'\n\n  hint: did you mean '{near}'?"),
                None => format!("no {what} '{shown}'\n\n  hint: 'sbox syscalls' lists all"),
            });
        }
    }
    let wanted = |row: &&Row| {
        names.is_empty()
            || names
                .iter()
                .any(|n| n == row.name || n == row.class.group())
    };
    Ok(TABLE.iter().filter(wanted).collect())
}

/// The call or group whose name is most like this one, if any is like it at all.
fn nearest(name: &str) -> Option<&'static str> {
    let groups = Class::ALL.into_iter().map(Class::group);
    similar::nearest(name, TABLE.iter().map(|row| row.name).chain(groups))
}

/// The table for people.
pub fn text(rows: &[&Row]) -> String {
    let mut out = format!(
        "{:>4}  {:<24} {:<10} {:<18} WHY OR HANDLER\n",
        "NR", "NAME", "GROUP", "MECHANISM"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:>4}  {:<24} {:<10} {:<18} {}",
            row.x86,
            row.name,
            row.class.group(),
            row.mechanism.to_string(),
            row.reason().or(row.handler_name).unwrap_or("-"),
        );
    }
    out
}

/// Everything about one call.
fn detail(row: &Row) -> String {
    let arm = row
        .arm
        .map_or_else(|| "none".to_owned(), |nr| nr.to_string());
    let mut out = format!("{}\n", row.prototype());
    let _ = writeln!(out, "  number     {} (x86-64), {arm} (aarch64)", row.x86);
    let _ = writeln!(out, "  group      {}", row.class.group());
    let _ = writeln!(
        out,
        "  mechanism  {}: {}",
        row.mechanism,
        meaning(&row.mechanism)
    );
    if let Some(why) = row.reason() {
        let _ = writeln!(out, "  because    {why}");
    }
    if let Some(handler) = row.handler_name {
        let _ = writeln!(out, "  handler    {handler}");
    }
    for (title, lines) in rule_texts(row) {
        let _ = writeln!(out, "  rule{title}");
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

/// What a mechanism means, in one line.
const fn meaning(mechanism: &Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Native => "the kernel serves it",
        Mechanism::Meter => {
            "the kernel serves it; where a directory has a size, the supervisor counts first"
        }
        Mechanism::Identify => {
            "the kernel serves it; where there are copy-on-write mounts, the supervisor answers"
        }
        Mechanism::Notify => "the supervisor answers",
        Mechanism::Trace => "the tracer prepares it, the supervisor answers",
        Mechanism::Guarded => {
            "the kernel serves it; once the process has made a unix datagram socket, a second filter catches it"
        }
        Mechanism::Number => {
            "the supervisor tells a number of the view; the kernel its own, with --pids host"
        }
        Mechanism::Retell => "the kernel serves it; the tracer translates numbers of processes",
        Mechanism::Renumber => {
            "the supervisor judges whom it names, then the kernel serves it; the tracer translates numbers"
        }
        Mechanism::Refuse(_) => "the filter refuses it",
        Mechanism::Fake => "the filter answers 0, nothing is done",
        Mechanism::Check(..) => "the filter decides by the arguments",
    }
}

/// A row's rule in words: one text, or one for each network mode if they differ.
fn rule_texts(row: &Row) -> Vec<(&'static str, Vec<String>)> {
    let Mechanism::Check(_, rule) = row.mechanism else {
        return Vec::new();
    };
    let (none, host) = (
        rule(Net::None).describe(row.params),
        rule(Net::Host).describe(row.params),
    );
    if none == host {
        vec![("", none)]
    } else {
        vec![
            (" without network", none),
            (" with the host's network", host),
        ]
    }
}

/// A row as JSON.
#[derive(Serialize)]
struct Record {
    x86_64: u32,
    aarch64: Option<u32>,
    name: &'static str,
    group: &'static str,
    mechanism: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    params: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Without network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rule: Vec<String>,
    /// With the host's network, where it differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rule_with_network: Vec<String>,
}

/// One object per line; the first tells the format's version.
pub fn json(rows: &[&Row]) -> serde_json::Result<String> {
    let mut out = format!("{{\"version\":1,\"calls\":{}}}\n", rows.len());
    for row in rows {
        let (mechanism, errno) = match row.mechanism {
            Mechanism::Native => ("native", None),
            Mechanism::Meter => ("meter", None),
            Mechanism::Identify => ("identify", None),
            Mechanism::Notify => ("notify", None),
            Mechanism::Trace => ("trace", None),
            Mechanism::Guarded => ("guarded", None),
            Mechanism::Number => ("number", None),
            Mechanism::Retell => ("retell", None),
            Mechanism::Renumber => ("renumber", None),
            Mechanism::Refuse(errno) => ("refuse", Some(format!("{:?}", errno))),
            Mechanism::Fake => ("fake", None),
            Mechanism::Check(..) => ("check", None),
        };
        let mut rules = rule_texts(row).into_iter().map(|(_, lines)| lines);
        let (rule, rule_with_network) = (
            rules.next().unwrap_or_default(),
            rules.next().unwrap_or_default(),
        );
        let record = Record {
            x86_64: row.x86,
            aarch64: row.arm,
            name: row.name,
            group: row.class.group(),
            mechanism,
            errno,
            params: row
                .params
                .iter()
                .map(|p| format!("{}: {}", p.name, p.ty))
                .collect(),
            handler: row.handler_name,
            why: row.reason(),
            rule,
            rule_with_network,
        };
        out.push_str(&serde_json::to_string(&record)?);
        out.push('\n');
    }
    Ok(out)
}

/// The text of `docs/SYSCALLS.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# System calls\n\n\
         <!-- Written by `sbox syscalls --markdown` from src/syscall/table.rs; a test holds them equal. -->\n\n\
         Every system call of x86-64, who answers it in a sandbox, and why. A number that is not listed gets\n\
         ENOSYS, and so do the numbers of other call tables (i386 by `int 0x80`, x32).\n\n\
         | mechanism | meaning | calls |\n|---|---|---|\n",
    );
    for word in [
        "native", "meter", "notify", "trace", "refuse", "fake", "check",
    ] {
        let mut rows = TABLE
            .iter()
            .filter(|row| row.mechanism.to_string().starts_with(word))
            .peekable();
        let says = rows.peek().map_or("", |row| meaning(&row.mechanism));
        let _ = writeln!(out, "| {word} | {says} | {} |", rows.count());
    }
    out.push_str("\nPolicies, filters of traces and `sbox syscalls` know these groups; each call is in one.\n\n");
    out.push_str("| group | calls |\n|---|---|\n");
    for class in Class::ALL {
        let names: Vec<&str> = table::group(class.group()).map(|row| row.name).collect();
        let _ = writeln!(out, "| `{}` | {} |", class.group(), names.join(" "));
    }
    out.push_str("\n## The table\n\n| x86-64 | aarch64 | call | group | mechanism | why |\n|---|---|---|---|---|---|\n");
    for row in TABLE {
        let arm = row.arm.map_or_else(String::new, |nr| nr.to_string());
        let why = row.reason().unwrap_or("");
        let (nr, call, group, mechanism) =
            (row.x86, row.prototype(), row.class.group(), &row.mechanism);
        let _ = writeln!(
            out,
            "| {nr} | {arm} | `{call}` | {group} | {mechanism} | {why} |"
        );
    }
    out.push_str("\n## Rules about arguments\n\nThe first line that holds decides. `int` arguments are compared in 32 bits.\n");
    let mut seen: Vec<&str> = Vec::new();
    for row in TABLE {
        let Mechanism::Check(name, rule) = row.mechanism else {
            continue;
        };
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let same = |other: &&Row| matches!(other.mechanism, Mechanism::Check(n, _) if n == name);
        let users: Vec<&str> = TABLE.iter().filter(same).map(|row| row.name).collect();
        let _ = write!(out, "\n### {name}\n\n{}", capital(rule(Net::None).why));
        if users.as_slice() != [name] {
            let _ = write!(out, " ({})", users.join(", "));
        }
        out.push_str(".\n");
        for (title, lines) in rule_texts(row) {
            let _ = write!(
                out,
                "\n{}",
                if title.is_empty() {
                    String::new()
                } else {
                    format!("{}:\n\n", capital(title.trim()))
                }
            );
            for line in lines {
                let _ = writeln!(out, "- {line}");
            }
        }
    }
    out
}

/// With a capital first letter.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

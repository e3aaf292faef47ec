//! Reads the project's own files and fails where they break one of its rules.
//!
//! | test | rule |
//! |---|---|
//! | `unsafe_lives_in_sys` | `unsafe` only in `src/sys`, and each use of it there has a `// SAFETY:` comment |
//! | `modules_know_only_whom_they_may` | the table [`MAY_KNOW`] |
//! | `long_files_say_why` | beyond [`COMFORT`] lines a file's header has a line `//! Long because …` |
//! | `calls_are_let_through_for_a_reason` | each `RegistersOnly` has a text, and `docs/THREATS.md` has the same text |
//! | `nothing_is_left_for_later` | no marks of unfinished work |
//! | `links_lead_somewhere` | relative links in `*.md`, with their anchors |
//! | `the_changelog_knows_this_version` | `CHANGELOG.md` has a section for the version in `Cargo.toml` |
//! | `the_readme_lists_every_flag` | the flags of `sbox run`, and all exit statuses, are in `README.md` |
//!
//! Long because each check brings the texts that it must notice.
//!
//! A check is a function from a file's path and text to complaints. Each test first shows it a text that breaks the
//! rule: a check that notices nothing proves nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, which may fail"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Who may know whom: a top module of `src` and what it may name of the others. `m` is all of a module, `m::n` one
/// item or submodule of it. Every module may know itself.
const MAY_KNOW: [(&str, &[&str]); 13] = [
    ("sys", &[]),
    ("mechanism", &["sys"]),
    ("plain", &[]),
    ("similar", &[]),
    ("policy", &["plain", "sys::Errno", "similar"]),
    (
        "vfs",
        &[
            "sys",
            "policy::RuleId",
            "policy::arguments",
            "policy::names",
            "policy::within",
        ],
    ),
    (
        "task",
        &[
            "sys",
            "policy::arguments",
            "policy::within",
            "vfs::Dir",
            "vfs::Image",
            "vfs::Tasks",
        ],
    ),
    (
        "syscall",
        &[
            "sys",
            "task",
            "policy::Access",
            "policy::Ask",
            "policy::RuleId",
            "policy::Signals",
            "policy::arguments",
            "policy::within",
            "vfs::Caller",
            "vfs::Dir",
            "vfs::Follow",
            "vfs::Found",
            "vfs::Last",
            "vfs::Inode",
            "vfs::NO_DOMAIN",
            "vfs::Listing",
            "vfs::OwnLoader",
            "vfs::Place",
            "vfs::Scope",
            "vfs::Sight",
            "vfs::Trip",
            "vfs::Tasks",
            "vfs::Vfs",
        ],
    ),
    ("trace", &["plain", "policy", "syscall::table", "task"]),
    (
        "supervisor",
        &[
            "mechanism",
            "policy",
            "sys",
            "syscall",
            "task",
            "trace",
            "vfs",
        ],
    ),
    ("doctor", &["sys", "supervisor::filter"]),
    ("layers", &["sys", "vfs::cow"]),
    // On top: uses the others, and nobody uses it.
    (
        "cli",
        &[
            "doctor",
            "layers",
            "plain",
            "policy",
            "similar",
            "supervisor",
            "sys",
            "syscall",
            "trace",
        ],
    ),
];

/// Lines that a reader takes in without asking why there are more.
const COMFORT: usize = 600;

/// A file of the project: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// All files below `dirs` with one of these endings, in order.
fn files(dirs: &[&str], endings: &[&str]) -> Vec<Source> {
    fn collect(dir: &Path, endings: &[&str], all: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, endings, all);
            } else if path
                .extension()
                .is_some_and(|e| endings.iter().any(|w| e == *w))
            {
                all.insert(path);
            }
        }
    }
    let root = root();
    let mut all = BTreeSet::new();
    for dir in dirs {
        collect(&root.join(dir), endings, &mut all);
    }
    let found: Vec<Source> = all
        .iter()
        .map(|path| Source {
            path: path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect();
    assert!(!found.is_empty(), "no files in {dirs:?}");
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Fails with all complaints at once.
fn report(rule: &str, complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "{rule}:\n  {}",
        complaints.join("\n  ")
    );
}

/// The code of a Rust file, line by line: comments and the insides of string literals are blanked. Simple on purpose;
/// raw strings with quotes in them would confuse it, and the sources have none.
fn code(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (mut in_string, mut in_block) = (false, false);
    for line in text.lines() {
        let mut kept = String::new();
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if in_block && chars.peek() == Some(&'/') => {
                    chars.next();
                    in_block = false;
                }
                _ if in_block => {}
                '\\' if in_string => drop(chars.next()),
                '"' => {
                    in_string = !in_string;
                    kept.push('"');
                }
                _ if in_string => {}
                '/' if chars.peek() == Some(&'/') => break,
                '/' if chars.peek() == Some(&'*') => in_block = true,
                // A character literal: '"' and '\'' are no quotes. A lifetime has no closing quote.
                '\'' => {
                    let rest: Vec<char> = chars.clone().take(3).collect();
                    let skip = match rest.as_slice() {
                        ['\\', _, '\''] => 3,
                        [_, '\'', ..] => 2,
                        _ => 0,
                    };
                    for _ in 0..skip {
                        chars.next();
                    }
                }
                c => kept.push(c),
            }
        }
        out.push(kept);
    }
    out
}

/// [`code`] without the unit tests at the end of the file: those may use what they like.
fn code_without_tests(text: &str) -> String {
    let mut lines = code(text);
    if let Some(at) = lines
        .windows(2)
        .position(|w| w[0].trim() == "#[cfg(test)]" && w[1].trim_start().starts_with("mod "))
    {
        lines.truncate(at);
    }
    lines.join("\n")
}

/// The words of a line of code.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

// ---------------------------------------------------------------------------------------------------------------------

fn complaints_about_unsafe(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in code(text).iter().enumerate() {
        if line.contains("unsafe_code") && line.contains("allow") && path != "src/sys/mod.rs" {
            complaints.push(format!(
                "{path}:{}: only src/sys/mod.rs may allow unsafe code",
                at + 1
            ));
        }
        if !words(line).any(|word| word == "unsafe") {
            continue;
        }
        if !path.starts_with("src/sys/") {
            complaints.push(format!("{path}:{}: unsafe outside src/sys", at + 1));
        } else if !lines
            .get(at.saturating_sub(8)..at)
            .unwrap_or_default()
            .iter()
            .rev()
            // Back to the statement before: what stands above that is about something else.
            .take_while(|l| l.trim_start().starts_with("//") || !l.trim_end().ends_with([';', '}']))
            .any(|l| l.contains("// SAFETY:"))
        {
            complaints.push(format!(
                "{path}:{}: unsafe without a SAFETY comment",
                at + 1
            ));
        }
    }
    complaints
}

#[test]
fn unsafe_lives_in_sys() {
    let bare = "fn f() {\n    let x = 1;\n    unsafe { g() }\n}\n";
    let proven = "fn f() {\n    // SAFETY: g takes nothing.\n    unsafe { g() }\n}\n";
    assert_eq!(complaints_about_unsafe("src/sys/x.rs", bare).len(), 1);
    assert_eq!(complaints_about_unsafe("src/sys/x.rs", proven).len(), 0);
    assert_eq!(complaints_about_unsafe("src/vfs/x.rs", proven).len(), 1);
    assert_eq!(
        complaints_about_unsafe("src/vfs/x.rs", "#![allow(unsafe_code)]").len(),
        1
    );
    assert_eq!(
        complaints_about_unsafe("src/vfs/x.rs", "// unsafe\nlet s = \"unsafe\";").len(),
        0
    );

    let sources = files(&["src"], &["rs"]);
    let all = sources
        .iter()
        .flat_map(|s| complaints_about_unsafe(&s.path, &s.text));
    report("unsafe code", all.collect());
}

/// The paths below `crate::` that `code` names, braces expanded: `crate::a::{self, b::C}` gives `a` and `a::b::C`.
fn crate_paths(code: &str) -> BTreeSet<String> {
    fn expand(text: &str, prefix: &str, all: &mut BTreeSet<String>) -> usize {
        let mut path = prefix.to_owned();
        let mut at = 0;
        loop {
            let rest = &text[at..];
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            if trimmed.starts_with('{') {
                at += 1;
                loop {
                    at += expand(&text[at..], &path, all);
                    let rest = text[at..].trim_start();
                    at = text.len() - rest.len();
                    match rest.chars().next() {
                        Some(',') => at += 1,
                        Some('}') => return at + 1,
                        _ => return at,
                    }
                }
            }
            let word: String = trimmed
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*')
                .collect();
            at += word.len();
            if !word.is_empty() && word != "self" {
                if !path.is_empty() {
                    path += "::";
                }
                path += &word;
            }
            if text[at..].starts_with("::") && !text[at..].starts_with("::<") {
                at += 2;
                continue;
            }
            if !(path.is_empty() || word.is_empty() && path == prefix) {
                all.insert(path);
            }
            // `use a as b`: the new name says nothing.
            let rest = &text[at..];
            if let Some(renamed) = rest.strip_prefix(" as ") {
                let name = renamed
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(renamed.len());
                at += " as ".len() + name;
            }
            return at;
        }
    }
    let mut all = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
            expand(&code[at + "crate::".len()..], "", &mut all);
        }
    }
    all
}

fn complaints_about_imports(path: &str, text: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("src/") else {
        return Vec::new();
    };
    // lib.rs lists the modules, main.rs calls one: they know all.
    let Some((module, file)) = inside.split_once('/') else {
        return Vec::new();
    };
    let Some((_, may)) = MAY_KNOW.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: module {module} is not in MAY_KNOW")];
    };
    let code = code_without_tests(text);
    let mut complaints: Vec<String> = crate_paths(&code)
        .into_iter()
        .filter(|named| named.split("::").next() != Some(module))
        .filter(|named| {
            !may.iter()
                .any(|m| named == m || named.strip_prefix(m).is_some_and(|r| r.starts_with("::")))
        })
        .map(|named| format!("{path}: {module} may not know {named}"))
        .collect();
    // As many `super` as lead out of the module would be a way round the list.
    let depth = file.split('/').count() - usize::from(file.ends_with("mod.rs"));
    if code.contains(&"super::".repeat(depth + 1)) {
        complaints.push(format!(
            "{path}: super:: leads out of {module}; write crate::"
        ));
    }
    complaints
}

#[test]
fn modules_know_only_whom_they_may() {
    for (path, text, breaches) in [
        ("src/sys/fs.rs", "use crate::vfs::Dir;", 1),
        ("src/policy/mod.rs", "use crate::sys::{self, Errno};", 1),
        ("src/vfs/x.rs", "use crate::policy::{Rule, RuleId};", 1),
        (
            "src/vfs/fs/x.rs",
            "use super::super::super::policy::Rule;",
            1,
        ),
        ("src/vfs/mod.rs", "use super::policy::Rule;", 1),
        (
            "src/task/mod.rs",
            "use crate::{\n    sys,\n    vfs::{Dir, Vfs, mount::Source},\n};",
            2,
        ),
        (
            "src/syscall/x.rs",
            "fn f() { crate::mechanism::notify::g(); }",
            1,
        ),
        (
            "src/syscall/x.rs",
            "// use crate::mechanism::bpf;\nuse crate::vfs::{Found, Place as P};",
            0,
        ),
        (
            "src/syscall/x.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::policy::Rule;\n}",
            0,
        ),
        (
            "src/doctor/x.rs",
            "use crate::supervisor::{filter::Net, spawn};",
            1,
        ),
        ("src/another/x.rs", "", 1),
    ] {
        let found = complaints_about_imports(path, text);
        assert_eq!(found.len(), breaches, "{path}: {text}: {found:?}");
    }

    let sources = files(&["src"], &["rs"]);
    let all = sources
        .iter()
        .flat_map(|s| complaints_about_imports(&s.path, &s.text));
    report("who may know whom", all.collect());
}

fn complaints_about_length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let reason = text
        .lines()
        .take_while(|l| l.starts_with("//!"))
        .any(|l| l.starts_with("//! Long because "));
    if lines <= COMFORT || reason {
        return Vec::new();
    }
    vec![format!(
        "{path}: {lines} lines: divide it, or say `//! Long because …` in its header"
    )]
}

#[test]
fn long_files_say_why() {
    let body = "fn f() {}\n".repeat(COMFORT);
    for (head, breaches) in [
        ("//! Does things.\n", 1),
        ("//! Does things.\n//!\n//! Long because it is a list.\n", 0),
        ("\n//! Long because nobody reads this far.\n", 1),
    ] {
        let found = complaints_about_length("x.rs", &format!("{head}{body}"));
        assert_eq!(found.len(), breaches, "{head}");
    }

    let sources = files(&["src", "tests", "benches"], &["rs"]);
    let all = sources
        .iter()
        .flat_map(|s| complaints_about_length(&s.path, &s.text));
    report("long files", all.collect());
}

/// The texts of all `RegistersOnly("…")` of a file; complaints about those that have none worth the name, and about
/// replies of CONTINUE that come from somewhere else.
fn reasons_to_continue(path: &str, text: &str) -> (Vec<String>, Vec<String>) {
    const PERFORMS: [&str; 3] = [
        "src/mechanism/notify.rs",
        "src/supervisor/act.rs",
        "src/supervisor/service.rs",
    ];
    let (mut reasons, mut complaints) = (Vec::new(), Vec::new());
    for (at, _) in text.match_indices("RegistersOnly(") {
        let given = text[at + "RegistersOnly(".len()..].trim_start();
        if text[..at].ends_with("pub struct ")
            || given.starts_with("pub ")
            || text[..at].ends_with('`')
        {
            continue;
        }
        // Where an act is declared or matched, the type stands without a text.
        let reason = given.strip_prefix('"').and_then(|g| g.split('"').next());
        match reason {
            Some(reason) if words(reason).count() >= 5 => reasons.push(reason.to_owned()),
            _ => {
                let line = text[..at].lines().count().max(1);
                complaints.push(format!("{path}:{line}: RegistersOnly without a reason"));
            }
        }
    }
    if !PERFORMS.contains(&path) {
        for (at, line) in code(text).iter().enumerate() {
            if line.contains("Reply::Continue") {
                complaints.push(format!(
                    "{path}:{}: an answer of CONTINUE that no plan proposed",
                    at + 1
                ));
            }
        }
    }
    (reasons, complaints)
}

#[test]
fn calls_are_let_through_for_a_reason() {
    let bad = "Act::Continue(RegistersOnly(\"fine\"))";
    assert_eq!(reasons_to_continue("src/syscall/x.rs", bad).1.len(), 1);
    let bad = "Act::Continue(RegistersOnly(reason))";
    assert_eq!(reasons_to_continue("src/syscall/x.rs", bad).1.len(), 1);
    assert_eq!(
        reasons_to_continue("src/syscall/x.rs", "Reply::Continue")
            .1
            .len(),
        1
    );
    let good = "RegistersOnly(\n    \"the id is a number in a register\",\n)";
    assert_eq!(reasons_to_continue("src/syscall/x.rs", good).0.len(), 1);

    let threats = read("docs/THREATS.md");
    let mut all = Vec::new();
    let mut found = 0;
    for source in files(&["src"], &["rs"]) {
        let (reasons, complaints) = reasons_to_continue(&source.path, &source.text);
        found += reasons.len();
        all.extend(complaints);
        for reason in reasons.iter().filter(|r| !threats.contains(r.as_str())) {
            all.push(format!(
                "{}: docs/THREATS.md does not have: {reason}",
                source.path
            ));
        }
    }
    assert!(found > 0, "no call is let through at all?");
    report("reasons to continue", all);
}

fn complaints_about_leftovers(path: &str, text: &str) -> Vec<String> {
    // Put together here, or this file would be the first to fail.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|m| m.concat());
    text.lines()
        .enumerate()
        .filter(|(_, line)| words(line).any(|word| marks.iter().any(|mark| word == mark)))
        .map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim()))
        .collect()
}

#[test]
fn nothing_is_left_for_later() {
    let mark = ["TO", "DO"].concat();
    assert_eq!(
        complaints_about_leftovers("x", &format!("a\n// {mark}: b")).len(),
        1
    );

    let dirs = ["src", "tests", "benches", "testdata", "docs", ".ci"];
    let mut sources = files(&dirs, &["rs", "c", "h", "md"]);
    for path in ["README.md", "CHANGELOG.md", ".ci/run", "Cargo.toml"] {
        let text = read(path);
        sources.push(Source {
            path: path.to_owned(),
            text,
        });
    }
    let all = sources
        .iter()
        .flat_map(|s| complaints_about_leftovers(&s.path, &s.text));
    report("unfinished work", all.collect());
}

/// The text of a Markdown file outside code blocks and code spans.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece between backticks is code.
            out.extend(line.split('`').step_by(2));
            out.push('\n');
        }
    }
    out
}

/// The anchors of a Markdown file's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    text.lines()
        .filter(|line| {
            fenced ^= line.trim_start().starts_with("```");
            !fenced && line.starts_with('#')
        })
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

fn complaints_about_links(root: &Path, path: &str, text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.match_indices("](").filter_map(|(at, _)| {
        let target = &prose[at + 2..];
        target.get(..target.find(')')?)
    });
    targets
        .filter(|target| !target.contains("://"))
        .filter_map(|target| {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let full = match file {
                "" => root.join(path),
                file => root.join(path).parent()?.join(file),
            };
            if !full.exists() {
                return Some(format!("{path}: no file {target}"));
            }
            let known = || anchors(&fs::read_to_string(&full).unwrap_or_default());
            if !anchor.is_empty()
                && file.ends_with(".md") | file.is_empty()
                && !known().contains(anchor)
            {
                return Some(format!("{path}: no heading {target}"));
            }
            None
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    for (text, breaches) in [
        ("see [it](docs/NOWHERE.md)", 1),
        ("see [it](Cargo.toml) and [that](https://example.org/x)", 0),
        ("see [it](docs/TESTING.md#no-such-heading)", 1),
        ("see [it](docs/TESTING.md#adding-a-guest)", 0),
        ("`[it](nowhere)`\n```\n[it](nowhere)\n```\n", 0),
    ] {
        let found = complaints_about_links(&root, "README.md", text);
        assert_eq!(found.len(), breaches, "{text}: {found:?}");
    }

    let mut sources = files(&["docs"], &["md"]);
    for path in ["README.md", "CHANGELOG.md"] {
        let text = read(path);
        sources.push(Source {
            path: path.to_owned(),
            text,
        });
    }
    let all = sources
        .iter()
        .flat_map(|s| complaints_about_links(&root, &s.path, &s.text));
    report("links", all.collect());
}

fn changelog_has(text: &str, version: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix("## [").and_then(|l| l.split(']').next()) == Some(version))
}

#[test]
fn the_changelog_knows_this_version() {
    assert!(!changelog_has("## [0.1.0] - unreleased", "0.1.1"));
    let version = env!("CARGO_PKG_VERSION");
    let text = read("CHANGELOG.md");
    assert!(
        changelog_has(&text, version),
        "CHANGELOG.md has no section [{version}]"
    );
}

/// What of the command line `text` does not mention.
fn missing_from_readme(text: &str) -> Vec<String> {
    let command = sbox::cli::command();
    let run = command.find_subcommand("run").expect("the verb run");
    let flags = run
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .filter(|f| *f != "help");
    let flags = flags.map(|flag| format!("`--{flag}"));
    let verbs = command
        .get_subcommands()
        .map(|verb| format!("sbox {}", verb.get_name()));
    let statuses = sbox::cli::exit::Exit::FIXED
        .iter()
        .map(|(exit, _)| format!("| {} |", exit.code()));
    flags
        .chain(verbs)
        .chain(statuses)
        .filter(|wanted| !text.contains(wanted))
        .collect()
}

#[test]
fn the_readme_lists_every_flag() {
    assert!(!missing_from_readme("sbox run `--ro PATH`").is_empty());
    report(
        "README.md does not mention",
        missing_from_readme(&read("README.md")),
    );
}

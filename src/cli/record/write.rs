//! A proposal as a file: a new one, or added to one that is there.
//!
//! Rules that a recording has brought carry a mark, `# seen 12x in 3 runs`. Those are rewritten; all else, with its
//! comments, stays as it is.

use super::propose::{Entry, Places, Proposal};
use crate::cli::policy::shown;
use crate::policy::Access;
use crate::policy::glob::{self, Pattern, Reach};
use crate::policy::lang::rights_of;
use crate::trace::advice::rights;
use toml_edit::{DocumentMut, InlineTable, Item, Table, TomlError, Value};

/// What a proposal has beside rules.
pub(super) struct Extras<'e> {
    pub(super) command: String,
    pub(super) net: bool,
    pub(super) env: Vec<String>,
    pub(super) secrets: &'e [&'e str],
}

/// The mark of a rule.
fn mark(times: u64, runs: u64) -> String {
    let plural = if runs == 1 { "" } else { "s" };
    format!(" # seen {times}x in {runs} run{plural}")
}

/// How often a marked rule was seen, and in how many runs.
fn read_mark(text: &str) -> Option<(u64, u64)> {
    let rest = text.trim().strip_prefix("# seen ")?;
    let (times, rest) = rest.split_once("x in ")?;
    let (runs, _) = rest.split_once(" run")?;
    Some((times.parse().ok()?, runs.parse().ok()?))
}

/// The variable that a path begins with, and the rest.
fn variable<'p>(path: &'p [u8], places: &Places) -> (&'static str, &'p [u8]) {
    let variables = [("${cwd}", &places.cwd), ("${home}", &places.home)];
    let held = variables
        .iter()
        .filter(|(_, value)| value.len() > 1)
        .filter_map(|(name, value)| {
            let rest = path.strip_prefix(value.as_slice())?;
            (rest.is_empty() || rest.starts_with(b"/")).then_some((*name, rest))
        });
    // The longer value says more.
    held.min_by_key(|(_, rest)| rest.len())
        .unwrap_or(("", path.strip_suffix(b"/").unwrap_or(path)))
}

/// A path as a rule writes it.
fn key(path: &[u8], tree: bool, places: &Places) -> String {
    let (variable, rest) = variable(path, places);
    let begun = format!("{variable}{}", glob::escape(&String::from_utf8_lossy(rest)));
    if tree { format!("{begun}/**") } else { begun }
}

/// A path as a mount writes it: there it stands for itself, and is no pattern.
fn place(path: &[u8], places: &Places) -> String {
    let (variable, rest) = variable(path, places);
    format!("{variable}{}", String::from_utf8_lossy(rest))
}

/// Marked rules of a policy.
pub(super) fn prior(text: &str, places: &Places) -> Vec<Entry> {
    let Ok(document) = text.parse::<DocumentMut>() else {
        return Vec::new();
    };
    let table = |path: &[&str]| {
        let mut item = document.as_item();
        for name in path {
            item = item.get(name)?;
        }
        item.as_table_like()
    };
    let Some(files) = table(&["files"]) else {
        return Vec::new();
    };
    let mounts = table(&["view", "mounts"]);
    let expanded = |key: &str| {
        key.replace(
            "${cwd}",
            &glob::escape(&String::from_utf8_lossy(&places.cwd)),
        )
        .replace(
            "${home}",
            &glob::escape(&String::from_utf8_lossy(&places.home)),
        )
    };
    let entry = |(key, item): (&str, &Item)| {
        let value = item.as_value()?;
        let (times, runs) = read_mark(value.decor().suffix()?.as_str()?)?;
        let pattern = Pattern::parse(&expanded(key)).ok()?;
        let (path, reach) = pattern.place()?;
        let top = place(path, places);
        let cow = mounts.and_then(|mounts| mounts.get(&top)?.as_table_like()?.get("cow"));
        Some(Entry {
            path: path.to_vec(),
            tree: reach == Reach::Tree,
            written: cow.is_some(),
            access: rights_of(value.as_str()?)?,
            times,
            runs,
        })
    };
    files.iter().filter_map(entry).collect()
}

/// The text of the policy.
pub(super) fn written(
    before: Option<&str>,
    proposal: &Proposal,
    extras: &Extras<'_>,
    places: &Places,
) -> Result<String, String> {
    let head = format!(
        "# Proposed by `sbox record` from: {}\n\
         # A lower bound: what the program did not do in these runs is not allowed. Read it before you use it.\n\
         sbox = 1\n",
        extras.command.replace(|c: char| c.is_control(), " ")
    );
    let mut document: DocumentMut = before
        .unwrap_or(&head)
        .parse()
        .map_err(|error: TomlError| error.to_string())?;
    let view = section(document.as_table_mut(), "view")?;
    // Without keys of its own it needs no heading.
    view.set_implicit(true);
    let mounts = section(view, "mounts")?;
    let mut mount = |at: String, kind: &str, value: &str| {
        if !mounts.contains_key(&at) {
            let mut what = InlineTable::new();
            what.insert(kind, value.into());
            mounts.insert_formatted(&shown(&at), Item::Value(Value::InlineTable(what)));
        }
    };
    for entry in proposal.rules.iter().filter(|entry| entry.written) {
        let at = place(&entry.path, places);
        mount(at.clone(), "cow", &at);
    }
    let made = proposal.private.iter().copied();
    for dir in made.chain(proposal.empty.iter().map(Vec::as_slice)) {
        mount(place(dir, places), "tmpfs", "");
    }
    if mounts.is_empty() {
        view.remove("mounts");
    }
    let files = section(document.as_table_mut(), "files")?;
    let marked: Vec<String> = files
        .iter()
        .filter(|(_, item)| {
            let suffix = item.as_value().and_then(|value| value.decor().suffix());
            suffix
                .and_then(|s| s.as_str())
                .and_then(read_mark)
                .is_some()
        })
        .map(|(key, _)| key.to_owned())
        .collect();
    let mut kept = Vec::new();
    let mut rule = |key: String, says: String, note: String| {
        let own = files.contains_key(&key) && !marked.contains(&key);
        if !own {
            let mut value = Value::from(says);
            value.decor_mut().set_prefix(" ");
            value.decor_mut().set_suffix(note);
            match files.get_mut(&key) {
                // The comment above it stays.
                Some(item) => *item = Item::Value(value),
                None => drop(files.insert_formatted(&shown(&key), Item::Value(value))),
            }
        }
        kept.push(key);
    };
    for entry in &proposal.rules {
        let key = key(&entry.path, entry.tree, places);
        rule(key, rights(entry.access), mark(entry.times, entry.runs));
    }
    for (pattern, says) in [("/dev/**", "rxw"), ("/proc/**", "rx")] {
        rule(pattern.into(), says.into(), String::new());
    }
    let made = proposal.private.iter().map(|dir| (*dir, Access::ALL));
    let empty = proposal
        .empty
        .iter()
        .map(|dir| (&**dir, Access::LOOK.and(Access::READ)));
    for (dir, access) in made.chain(empty) {
        rule(key(dir, true, places), rights(access), String::new());
    }
    for gone in marked.iter().filter(|key| !kept.contains(key)) {
        files.remove(gone);
    }
    if extras.net {
        let net = section(document.as_table_mut(), "net")?;
        if !net.contains_key("inet") {
            net.insert("inet", toml_edit::value("allow"));
        }
    }
    environment(&mut document, &extras.env)?;
    let forbid = section(document.as_table_mut(), "forbid")?;
    if !forbid.contains_key("files") {
        let mut all = toml_edit::Array::new();
        for secret in extras.secrets {
            let mut value = Value::from(*secret);
            value.decor_mut().set_prefix("\n    ");
            all.push_formatted(value);
        }
        all.set_trailing("\n");
        all.set_trailing_comma(true);
        forbid.insert("files", toml_edit::value(all));
    }
    crate::policy::lang::tidy(&document.to_string()).map_err(|error| error.to_string())
}

fn environment(document: &mut DocumentMut, vars: &[String]) -> Result<(), String> {
    if vars.is_empty() {
        return Ok(());
    }
    let env = section(document.as_table_mut(), "env")?;
    for var in vars {
        if let Some((name, value)) = var.split_once('=') {
            let set = env
                .entry("set")
                .or_insert(toml_edit::value(InlineTable::new()));
            if let Some(set) = set.as_table_like_mut() {
                set.insert(name, toml_edit::value(value));
            }
        } else {
            let keep = env
                .entry("keep")
                .or_insert(toml_edit::value(toml_edit::Array::new()));
            if let Some(keep) = keep.as_array_mut()
                && !keep.iter().any(|known| known.as_str() == Some(var))
            {
                keep.push(var);
            }
        }
    }
    Ok(())
}

/// A section, made where it is missing.
fn section<'t>(table: &'t mut Table, name: &str) -> Result<&'t mut Table, String> {
    let item = table.entry(name).or_insert(Item::Table(Table::new()));
    item.as_table_mut()
        .ok_or_else(|| format!("'{name}' is not written as [{name}]"))
}

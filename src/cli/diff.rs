//! `sbox diff`: what a copy-on-write run has changed.

use super::exit::Exit;
use super::term::{self, Colour, Hue, Kind as Message};
use crate::layers::{Aspect, Change, Kind, Layer, Layers, Node, changes};
use crate::sys;
use serde::Serialize;
use similar::TextDiff;
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Show what a run has changed in its layer
///
/// Without LAYER: the newest of this directory, else the newest of all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox diff                      a tree: A added, M modified, D removed, R replaced, m attributes,
                                 ! changed on the host meanwhile
  sbox diff --patch | less       the text, as diff -u has it
  sbox diff --json | jq -r '.changes[].path'")]
pub struct Args {
    /// The layer
    #[arg(value_name = "LAYER")]
    layer: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The changes of text files, for patch(1)
    #[arg(long, conflicts_with = "json")]
    patch: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let found = Layers::of_user()
        .and_then(|layers| meant(&layers, args.layer.as_deref()))
        .and_then(|layer| Ok((changes(&layer)?, layer)));
    let (changes, layer) = match found {
        Ok(found) => found,
        Err(error) => {
            term::message(Message::Error, &error.to_string());
            return Exit::Internal;
        }
    };
    if args.json {
        return json(&layer, &changes);
    }
    if args.patch {
        // What is compared must stay as it is.
        return match layer.claim() {
            Ok(_claim) => patch(&layer, &changes),
            Err(error) => {
                term::message(Message::Error, &error.to_string());
                Exit::Internal
            }
        };
    }
    term::print(&tree(&layer, &changes, Colour::of(&io::stdout())))
}

/// The layer that a command line means.
pub(super) fn meant(layers: &Layers, name: Option<&str>) -> Result<Layer, crate::layers::Error> {
    let here = std::env::current_dir().ok();
    layers.meant(name, here.as_deref())
}

/// The letter that stands for a change.
pub(super) fn letter(kind: &Kind) -> (&'static str, Hue) {
    match kind {
        Kind::Added => ("A", Hue::Green),
        Kind::Modified => ("M", Hue::Yellow),
        Kind::Removed => ("D", Hue::Red),
        Kind::Replaced => ("R", Hue::Red),
        Kind::Attributes(_) => ("m", Hue::Yellow),
    }
}

fn tree(layer: &Layer, changes: &[Change], colour: Colour) -> String {
    let source = term::escape_bytes(layer.source.as_os_str().as_bytes());
    let mut out = format!("layer {}: {}\n", layer.name, summary(changes, &source));
    let mut sorted: Vec<(Vec<&[u8]>, &Change)> = changes
        .iter()
        .map(|change| (change.path.split(|&b| b == b'/').collect(), change))
        .collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut at: Vec<&[u8]> = Vec::new();
    for (names, change) in sorted {
        let shared = at.iter().zip(&names).take_while(|(a, b)| a == b).count();
        let above = names.len().saturating_sub(1);
        for (depth, name) in names.iter().enumerate().take(above).skip(shared) {
            let _ = writeln!(
                out,
                "   {:indent$}{}/",
                "",
                term::escape_bytes(name),
                indent = 2 * depth
            );
        }
        let (letter, hue) = letter(&change.kind);
        let mark = if change.conflict { "!" } else { " " };
        let name = names.last().copied().unwrap_or_default();
        let _ = writeln!(
            out,
            "{}{mark} {:indent$}{}{}",
            colour.paint(hue, letter),
            "",
            term::escape_bytes(name),
            details(change),
            indent = 2 * above
        );
        at = names;
    }
    out
}

/// "2 files changed in /src/proj".
pub(super) fn summary(changes: &[Change], source: &str) -> String {
    let conflicts = changes.iter().filter(|c| c.conflict).count();
    let some = match changes.len() {
        0 => return format!("nothing changed in {source}"),
        1 => format!("1 change in {source}"),
        n => format!("{n} changes in {source}"),
    };
    match conflicts {
        0 => some,
        n => format!("{some}; {n} of what it changes was changed on the host meanwhile (!)"),
    }
}

fn is_dir(node: Option<Node>) -> bool {
    node.is_some_and(|n| n.is_dir())
}

fn details(change: &Change) -> String {
    let slash = if is_dir(change.new.or(change.old)) {
        "/"
    } else {
        ""
    };
    let rest = match (&change.kind, change.old, change.new) {
        (Kind::Attributes(aspects), old, new) => {
            let all: Vec<String> = aspects.iter().map(|a| aspect(*a, old, new)).collect();
            all.join(", ")
        }
        (Kind::Modified, Some(old), Some(new)) => {
            format!("{} -> {}", size(old.size), size(new.size))
        }
        (Kind::Replaced, Some(old), Some(new)) => {
            format!("{} -> {}", type_name(old.mode), type_name(new.mode))
        }
        (Kind::Added, _, Some(new)) if !is_dir(Some(new)) => size(new.size),
        _ => String::new(),
    };
    if rest.is_empty() {
        slash.to_owned()
    } else {
        format!("{slash}  {rest}")
    }
}

fn aspect(aspect: Aspect, old: Option<Node>, new: Option<Node>) -> String {
    match (aspect, old, new) {
        (Aspect::Mode, Some(old), Some(new)) => {
            format!(
                "mode {:04o} -> {:04o}",
                old.mode & 0o7777,
                new.mode & 0o7777
            )
        }
        (Aspect::Mode, ..) => "mode".into(),
        (Aspect::Owner, ..) => "owner".into(),
        (Aspect::Xattrs, ..) => "extended attributes".into(),
        (Aspect::Time, ..) => "time".into(),
    }
}

fn type_name(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFLNK => "symbolic link",
        libc::S_IFIFO => "FIFO",
        libc::S_IFSOCK => "socket",
        _ => "device",
    }
}

/// Bytes, as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"");
    if unit == 0 {
        format!("{bytes} {name}")
    } else {
        format!("{value:.1} {name}")
    }
}

#[derive(Serialize)]
struct Report<'r> {
    layer: &'r str,
    source: String,
    changes: Vec<Entry>,
}

/// Names that are no text have `\xHH` for what isn't.
#[derive(Serialize)]
struct Entry {
    path: String,
    change: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_mode: Option<u32>,
    attributes: Vec<&'static str>,
    conflict: bool,
}

fn json(layer: &Layer, changes: &[Change]) -> Exit {
    let entry = |change: &Change| Entry {
        path: term::escape_bytes(&change.path),
        change: match change.kind {
            Kind::Added => "added",
            Kind::Modified => "modified",
            Kind::Removed => "removed",
            Kind::Replaced => "replaced",
            Kind::Attributes(_) => "attributes",
        },
        kind: change.new.or(change.old).map_or("", |n| type_name(n.mode)),
        old_size: change.old.map(|n| n.size),
        new_size: change.new.map(|n| n.size),
        old_mode: change.old.map(|n| n.mode & 0o7777),
        new_mode: change.new.map(|n| n.mode & 0o7777),
        attributes: match &change.kind {
            Kind::Attributes(aspects) => aspects
                .iter()
                .map(|aspect| match aspect {
                    Aspect::Mode => "mode",
                    Aspect::Owner => "owner",
                    Aspect::Xattrs => "xattrs",
                    Aspect::Time => "time",
                })
                .collect(),
            _ => Vec::new(),
        },
        conflict: change.conflict,
    };
    let report = Report {
        layer: &layer.name,
        source: term::escape_bytes(layer.source.as_os_str().as_bytes()),
        changes: changes.iter().map(entry).collect(),
    };
    match serde_json::to_string_pretty(&report) {
        Ok(text) => term::print(&(text + "\n")),
        Err(error) => {
            term::message(Message::Error, &format!("diff: {error}"));
            Exit::Internal
        }
    }
}

/// The largest text that is compared line by line.
const TEXT_LIMIT: u64 = 4 << 20;

fn patch(layer: &Layer, changes: &[Change]) -> Exit {
    let mut out = String::new();
    let upper = layer.dir.join("upper");
    let upper = upper.canonicalize().unwrap_or(upper);
    for change in changes {
        let path = Path::new(std::ffi::OsStr::from_bytes(&change.path));
        let shown = term::escape_bytes(&change.path);
        let old = text_of(change.old, &layer.source.join(path));
        let new = text_of(change.new, &upper.join(path));
        let (Some(old), Some(new)) = (&old, &new) else {
            if !matches!(change.kind, Kind::Attributes(_)) && !is_dir(change.new.or(change.old)) {
                let _ = writeln!(out, "Files a/{shown} and b/{shown} differ (not text)");
            }
            continue;
        };
        if matches!(change.kind, Kind::Attributes(_)) {
            continue;
        }
        let side = |node: Option<Node>, side: &str| match node {
            Some(_) => format!("{side}/{shown}"),
            None => "/dev/null".to_owned(),
        };
        // Lines end at line feeds alone, as patch(1) has it.
        let old: Vec<&str> = old.split_inclusive('\n').collect();
        let new: Vec<&str> = new.split_inclusive('\n').collect();
        // Not the shortest for texts that have little in common.
        let diff = TextDiff::configure()
            .timeout(Duration::from_secs(2))
            .newline_terminated(true)
            .diff_slices(&old, &new);
        let _ = write!(
            out,
            "{}",
            diff.unified_diff()
                .context_radius(3)
                .header(&side(change.old, "a"), &side(change.new, "b"))
        );
    }
    // A terminal would obey what the files say; programs get them as they are.
    if io::stdout().is_terminal() {
        let shown = out
            .lines()
            .map(|line| term::escape(line).replace("\\t", "\t"));
        out = shown.map(|line| line + "\n").collect();
    }
    term::print(&out)
}

/// The text of a regular file; none of what is no text. A name that isn't there has an empty one.
fn text_of(node: Option<Node>, path: &Path) -> Option<String> {
    let Some(node) = node else {
        return Some(String::new());
    };
    if !node.is_file() || node.size > TEXT_LIMIT {
        return None;
    }
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let file = sys::fs::open_without_links(&path, libc::O_RDONLY | libc::O_NONBLOCK).ok()?;
    let stat = sys::fs::fstat(file.as_fd()).ok()?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let mut text = Vec::new();
    File::from(file)
        .take(TEXT_LIMIT)
        .read_to_end(&mut text)
        .ok()?;
    let text = String::from_utf8(text).ok()?;
    (!text.contains('\0')).then_some(text)
}

//! `sbox layers`: which layers there are.

use super::diff::size;
use super::exit::Exit;
use super::term::{self, Kind};
use crate::layers::{Error, Layer, Layers, changes};
use serde::Serialize;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// List the layers that copy-on-write runs have left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox layers                  name, age, size, and the directory that each belongs to
  sbox layers --prune 30       drop those older than 30 days, and those without changes")]
pub struct Args {
    /// One JSON array
    #[arg(long)]
    json: bool,
    /// Drop layers older than this many days, and those without changes, unless a run uses them
    #[arg(long, value_name = "DAYS", conflicts_with = "json")]
    prune: Option<u32>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let done = Layers::of_user().and_then(|layers| {
        let (list, damaged) = layers.list()?;
        for error in damaged {
            term::message(Kind::Warning, &error.to_string());
        }
        match args.prune {
            Some(days) => prune(&list, days),
            None if args.json => json(&list),
            None => Ok(term::print(&table(&list))),
        }
    });
    match done {
        Ok(exit) => exit,
        Err(error) => {
            term::message(Kind::Error, &error.to_string());
            Exit::Internal
        }
    }
}

fn age(layer: &Layer) -> Duration {
    SystemTime::now()
        .duration_since(layer.made)
        .unwrap_or_default()
}

/// The largest whole unit.
fn rounded(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn table(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return "no layers\n".to_owned();
    }
    let width = layers
        .iter()
        .map(|l| l.name.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut out = format!(
        "{:<width$}  {:>6}  {:>10}  SOURCE\n",
        "LAYER", "AGE", "SIZE"
    );
    for layer in layers {
        let used = if layer.claim().is_ok() {
            ""
        } else {
            "  (in use)"
        };
        let _ = writeln!(
            out,
            "{:<width$}  {:>6}  {:>10}  {}{used}",
            layer.name,
            rounded(age(layer)),
            size(layer.size()),
            term::escape_bytes(layer.source.as_os_str().as_bytes()),
        );
    }
    out
}

#[derive(Serialize)]
struct Entry<'e> {
    name: &'e str,
    source: String,
    directory: String,
    made: u64,
    bytes: u64,
    in_use: bool,
    command: Vec<String>,
}

fn json(layers: &[Layer]) -> Result<Exit, Error> {
    let entries: Vec<Entry<'_>> = layers
        .iter()
        .map(|layer| Entry {
            name: &layer.name,
            source: term::escape_bytes(layer.source.as_os_str().as_bytes()),
            directory: term::escape_bytes(layer.dir.as_os_str().as_bytes()),
            made: layer
                .made
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            bytes: layer.size(),
            in_use: layer.claim().is_err(),
            command: layer
                .command
                .iter()
                .map(|word| term::escape_bytes(word.as_bytes()))
                .collect(),
        })
        .collect();
    match serde_json::to_string_pretty(&entries) {
        Ok(text) => Ok(term::print(&(text + "\n"))),
        Err(error) => {
            term::message(Kind::Error, &format!("layers: {error}"));
            Ok(Exit::Internal)
        }
    }
}

fn prune(layers: &[Layer], days: u32) -> Result<Exit, Error> {
    let limit = Duration::from_secs(u64::from(days) * 86_400);
    let mut dropped = 0u32;
    let mut freed = 0;
    for layer in layers {
        // A source that can't be read keeps its layer: its changes may be all that is left.
        let empty = || changes(layer).is_ok_and(|changes| changes.is_empty());
        let Ok(claim) = layer.claim() else {
            continue;
        };
        if age(layer) > limit || empty() {
            freed += layer.size();
            layer.remove(claim)?;
            dropped += 1;
        }
    }
    Ok(term::print(&format!(
        "dropped {dropped} layers, {}\n",
        size(freed)
    )))
}

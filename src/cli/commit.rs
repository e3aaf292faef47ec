//! `sbox commit`: a layer's changes become the directory's own.

use super::diff::{letter, meant, summary};
use super::exit::Exit;
use super::term::{self, Kind};
use crate::layers::{self, Change, Error, Layer, Layers};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Apply the changes of a layer to the directory they belong to
///
/// Each file is replaced in one step. Nothing is done if the host's file was changed since, or if a file
/// would give its rights to whoever runs it (setuid, setgid). What was applied leaves the layer; an empty
/// layer is removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox commit                       all changes of the newest layer of this directory
  sbox commit proj-69215ac4 src     only what is below src
  sbox commit --force               also over files that were changed meanwhile

Exit status: 0 done; 1 refused, nothing was changed; 125 failed on the way, as the message says.")]
pub struct Args {
    /// The layer
    #[arg(value_name = "LAYER")]
    layer: Option<String>,
    /// Files and directories, from the layer's directory
    #[arg(value_name = "PATH", requires = "layer")]
    paths: Vec<PathBuf>,
    /// Also what would lose changes of the host, or give rights
    #[arg(long)]
    force: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    match commit(args) {
        Ok(exit) => exit,
        Err(error) => {
            term::message(Kind::Error, &error.to_string());
            Exit::Internal
        }
    }
}

fn commit(args: &Args) -> Result<Exit, Error> {
    let layer = meant(&Layers::of_user()?, args.layer.as_deref())?;
    let mut paths = Vec::new();
    for path in &args.paths {
        match inside(path, &layer) {
            Some(path) => paths.push(path),
            None => {
                let text = format!(
                    "{} is not in {}, to which layer '{}' belongs",
                    path.display(),
                    layer.source.display(),
                    layer.name
                );
                term::message(Kind::Error, &text);
                return Ok(Exit::Usage);
            }
        }
    }
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let claim = layer.claim()?;
    let done = layers::commit(&layer, &claim, &paths, args.force)?;
    let source = term::escape_bytes(layer.source.as_os_str().as_bytes());
    if !done.conflicts.is_empty() || !done.linked.is_empty() || !done.dangerous.is_empty() {
        let mut text = format!("nothing was committed to {source}\n");
        list(&mut text, "changed on the host since:", &done.conflicts);
        list(
            &mut text,
            "has other names on the host, which would keep the old content:",
            &done.linked,
        );
        list(
            &mut text,
            "would give rights to whoever runs it:",
            &done.dangerous,
        );
        text += "  hint: 'sbox diff --patch' shows both sides; --force takes the layer's; PATH takes some";
        term::message(Kind::Error, &text);
        return Ok(Exit::Refused);
    }
    let rest = layers::changes(&layer)?;
    if rest.is_empty() {
        layer.remove(claim)?;
    }
    let what = match done.applied {
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    };
    let left = match rest.len() {
        0 => String::new(),
        _ => format!("; left: {}", summary(&rest, &source)),
    };
    Ok(term::print(&format!(
        "committed {what} to {source}{left}\n"
    )))
}

/// At most this many are named.
const NAMED: usize = 10;

fn list(text: &mut String, title: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    *text += &format!("  {title}\n");
    for change in changes.iter().take(NAMED) {
        let (letter, _) = letter(&change.kind);
        *text += &format!("    {letter} {}\n", term::escape_bytes(&change.path));
    }
    if let Some(more) = changes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        *text += &format!("    and {more} more\n");
    }
}

/// A path from the layer's directory, given so or by its absolute name.
fn inside(path: &Path, layer: &Layer) -> Option<PathBuf> {
    let path = if path.is_absolute() {
        path.strip_prefix(&layer.source).ok()?
    } else {
        path
    };
    path.components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

//! `sbox discard`: a layer's changes are dropped.

use super::diff::meant;
use super::exit::Exit;
use super::term::{self, Kind};
use crate::layers::{Error, Layers};

/// Drop a layer with all changes in it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox discard                      the newest layer of this directory
  sbox discard proj-69215ac4 try    these two")]
pub struct Args {
    /// The layers
    #[arg(value_name = "LAYER")]
    layers: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    match discard(args) {
        Ok(exit) => exit,
        Err(error) => {
            term::message(Kind::Error, &error.to_string());
            Exit::Internal
        }
    }
}

fn discard(args: &Args) -> Result<Exit, Error> {
    let all = Layers::of_user()?;
    let chosen = if args.layers.is_empty() {
        vec![meant(&all, None)?]
    } else {
        // All of them exist before any is dropped.
        args.layers
            .iter()
            .map(|name| all.get(name))
            .collect::<Result<_, _>>()?
    };
    for layer in chosen {
        layer.remove(layer.claim()?)?;
        term::print(&format!("discarded {}\n", layer.name));
    }
    Ok(Exit::Ok)
}

//! The layers of one `sbox run`: found or made at the start, settled at the end.

use super::diff::summary;
use super::run::Args;
use super::term;
use crate::layers::{Depth, Error, Layer, Layers, compare};
use crate::supervisor::view::{Store, Sync};
use crate::trace::tell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a run keeps.
pub(super) struct Keeper {
    command: Vec<OsString>,
    /// The name for the next directory that has none.
    name: Option<String>,
    discard: bool,
    layers: Vec<Kept>,
}

struct Kept {
    layer: Layer,
    /// Nobody gave it a name: without changes it goes as it came.
    nameless: bool,
}

impl Keeper {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            command: args.command.clone(),
            name: args.keep.clone(),
            discard: args.discard,
            layers: Vec::new(),
        }
    }

    /// The store for the changes of `dir`.
    pub(super) fn store_for(&mut self, dir: &Path, layer: Option<&str>) -> Result<Store, String> {
        let name = layer.map(str::to_owned).or_else(|| self.name.take());
        if let (true, Some(name)) = (self.discard, &name) {
            return Err(format!("layer '{name}' would keep what --discard drops"));
        }
        let layer = Layers::of_user()
            .and_then(|all| all.prepare(name.as_deref(), dir, &self.command))
            .map_err(|e| e.to_string())?;
        let path = layer.dir.clone();
        self.layers.push(Kept {
            layer,
            nameless: name.is_none(),
        });
        Ok(Store {
            path,
            sync: if self.discard {
                Sync::Never
            } else {
                Sync::Copies
            },
        })
    }

    /// The run did not begin: what was made for it goes.
    pub(super) fn drop_new(self) {
        for kept in self.layers.iter().filter(|kept| kept.nameless) {
            remove(&kept.layer);
        }
    }

    /// Drops what is to be dropped, and says what is kept.
    pub(super) fn settle(self, args: &Args) {
        for Kept { layer, nameless } in self.layers {
            if self.discard {
                remove(&layer);
                continue;
            }
            let source = term::escape_bytes(layer.source.as_os_str().as_bytes());
            // Before a layer is dropped for holding nothing, files are compared byte by byte.
            let changes = match compare(&layer, Depth::Times) {
                Ok(changes) if changes.is_empty() && nameless => compare(&layer, Depth::Content),
                other => other,
            };
            match changes {
                Ok(changes) if changes.is_empty() && nameless => remove(&layer),
                Ok(changes) if changes.is_empty() || args.quiet => {}
                Ok(changes) => tell(&format!(
                    "{}, kept in a layer: sbox diff, commit or discard {}",
                    summary(&changes, &source),
                    layer.name
                )),
                Err(error) => tell(&error.to_string()),
            }
        }
    }
}

fn remove(layer: &Layer) {
    match layer.remove(layer.own()) {
        Ok(()) | Err(Error::Unknown(_)) => {}
        Err(error) => tell(&error.to_string()),
    }
}

//! `--root DIR`: a directory of the host, with its own libc, takes the place of the host's system directories.
//!
//! `/proc`, `/dev`, `/dev/shm` and `/tmp` stay sbox's, and flags for single places are laid over it as over the default
//! view. Of the host's own files nothing is shown, the current directory included.

use super::{Builder, Stores, ViewError};
use crate::policy::Access;
use crate::policy::lang::Sheets;
use crate::sys::Errno;
use crate::vfs::mount::Source;
use crate::vfs::path::VPath;
use std::fs;
use std::path::{Path, PathBuf};

/// What `--root` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// On the host.
    pub dir: PathBuf,
    /// What becomes of changes.
    pub changes: Changes,
}

/// What becomes of changes in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// They go to a layer.
    Kept,
    /// They are made in the directory itself.
    Made,
    /// There are none.
    Refused,
}

impl Root {
    /// The root of a policy, if it is another one than the host's. Who may change it the policy says.
    pub(super) fn of_policy(sheets: &Sheets) -> Option<Self> {
        let dir = sheets.all.first()?.view.other_root.as_ref()?;
        Some(Self {
            dir: dir.into(),
            changes: Changes::Kept,
        })
    }

    /// How the user wrote it.
    fn origin(&self) -> String {
        let tail = match self.changes {
            Changes::Kept => "",
            Changes::Made => ":rw",
            Changes::Refused => ":ro",
        };
        format!("flag --root {}{tail}", self.dir.display())
    }
}

impl Builder {
    /// Makes a directory of the host the root of the view. What the user is told about it.
    pub(super) fn root(
        &mut self,
        root: &Root,
        stores: &mut Stores<'_>,
    ) -> Result<String, ViewError> {
        let origin = root.origin();
        let fail = |why: String| ViewError {
            what: origin.clone(),
            why,
        };
        let dir = fs::canonicalize(&root.dir).map_err(|e| fail(e.to_string()))?;
        if !dir.is_dir() {
            return Err(fail(Errno::ENOTDIR.desc().into()));
        }
        let shown = root.dir.display();
        let note = match root.changes {
            Changes::Kept => match self.tree(&dir, None, &origin, stores) {
                Ok(tree) => {
                    let grants = Access::ALL;
                    self.mount(VPath::root(), Source::Cow(tree), grants, origin.clone());
                    format!("{shown} as /, copy-on-write")
                }
                Err(error) if stores.named => return Err(error),
                Err(ViewError { why, .. }) => {
                    self.host(VPath::root(), &dir, true, origin.clone())?;
                    format!("{shown} as /, read-only (no copy-on-write: {why})")
                }
            },
            Changes::Made => {
                self.host(VPath::root(), &dir, false, origin.clone())?;
                format!("{shown} as /, writable")
            }
            Changes::Refused => {
                self.host(VPath::root(), &dir, true, origin.clone())?;
                format!("{shown} as /, read-only")
            }
        };
        if dir == Path::new("/") {
            self.secrets();
        }
        Ok(note)
    }
}

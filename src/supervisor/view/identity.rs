//! The files in which a system keeps who it is: in the view they tell of the view's machine.
//!
//! They are shown where the system has them, so that no listing shows what wasn't there, and are laid below what flags ask
//! for: `--ro /etc/hosts` shows the host's.

use super::{Builder, Identity, PrivateText, Root, Source, ViewError};
use crate::policy::Access;
use crate::syscall::rules::Net;
use crate::vfs::path::{HostPath, VPath};
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where D-Bus keeps its copy; on many systems a link to the other.
const SECOND_MACHINE_ID: &str = "/var/lib/dbus/machine-id";

impl Builder {
    /// `/etc/hostname`, `/etc/hosts` and `/etc/machine-id`.
    pub(super) fn identity(
        &mut self,
        machine: &Identity,
        root: Option<&Root>,
        net: Net,
    ) -> Result<(), ViewError> {
        let system = root.map_or(Path::new("/"), |root| &root.dir);
        let hosts = match net {
            Net::None => machine.hosts().into_bytes(),
            // What the host calls others is of use only where they can be reached.
            Net::Host => {
                let name = nix::unistd::gethostname().unwrap_or_default();
                machine.hosts_after(&fs::read("/etc/hosts").unwrap_or_default(), name.as_bytes())
            }
        };
        let hostname = format!("{}\n", machine.hostname());
        let files = [
            ("etc/hostname", c"hostname", hostname.into_bytes()),
            ("etc/hosts", c"hosts", hosts),
            (
                "etc/machine-id",
                c"machine-id",
                machine.machine_id().into_bytes(),
            ),
        ];
        for (path, name, text) in files {
            if fs::symlink_metadata(system.join(path)).is_ok() {
                self.text(&format!("/{path}"), name, text);
            }
        }
        Ok(())
    }

    /// The other place of the machine's id, if it is shown and has one of its own.
    pub(super) fn second_machine_id(&mut self, machine: &Identity) {
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
        let Some(at) = VPath::clean(SECOND_MACHINE_ID.as_bytes()) else {
            return;
        };
        let own = self.mounts.iter().any(|mount| mount.at == at);
        if !own && self.host_place(&at).is_some_and(|path| is_file(&path)) {
            let text = machine.machine_id().into_bytes();
            self.text(SECOND_MACHINE_ID, c"machine-id2", text);
        }
    }

    /// What of the host is shown at a place, if a directory of the host is.
    fn host_place(&self, at: &VPath) -> Option<PathBuf> {
        let above = self.mounts.iter().filter(|m| at.below(&m.at).is_some());
        let mount = above.max_by_key(|m| m.at.as_bytes().len())?;
        let rest = OsStr::from_bytes(at.below(&mount.at)?);
        let host = |dir: &HostPath| Path::new(OsStr::from_bytes(&dir.0)).join(rest);
        match &mount.source {
            Source::Dir(object) => Some(host(&object.path)),
            Source::Cow(tree) => {
                let mut layers = tree.layers.iter().map(host);
                layers.find(|path| fs::symlink_metadata(path).is_ok())
            }
            _ => None,
        }
    }

    fn text(&mut self, path: &str, name: &CStr, text: Vec<u8>) {
        if let Some(at) = VPath::clean(path.as_bytes()) {
            let text = Source::Text(PrivateText::new(&self.scratch, name, text));
            self.mount(at, text, Access::READ_ONLY, format!("default: {path}"));
        }
    }
}

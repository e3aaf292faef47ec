//! `--net host`: names are looked up as on the host.

use super::{Builder, ViewError, absolute};
use crate::vfs::path::VPath;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Builder {
    /// With a network names are looked up: `/etc/resolv.conf` is often a link out of `/etc`
    /// (resolv.conf(5)), whose target is then shown too.
    pub(super) fn resolver(&mut self) -> Result<(), ViewError> {
        let Ok(target) = fs::canonicalize("/etc/resolv.conf") else {
            return Ok(());
        };
        match VPath::clean(target.as_os_str().as_bytes()) {
            Some(at) if !self.covers(&at) => {
                self.host(at, &target, true, "default: name servers".into())
            }
            _ => Ok(()),
        }
    }

    /// The network is the host's, and so is what names are looked up by (resolv.conf(5)): what the root has says
    /// something about another machine, if anything.
    pub(super) fn name_servers(&mut self) -> Result<(), ViewError> {
        let origin = "default: name servers";
        match fs::canonicalize("/etc/resolv.conf") {
            Ok(real) => {
                let at = absolute(Path::new("/etc/resolv.conf"), origin)?;
                self.host(at, &real, true, origin.into())
            }
            Err(_) => Ok(()),
        }
    }
}

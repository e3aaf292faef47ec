//! What is shown of the host's own system, and what is not.

use super::Builder;
use crate::policy::Access;
use crate::vfs::mount::{HostObject, Source};
use crate::vfs::path::VPath;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Directories that make up a system; links among them (`/bin`) are shown as links.
const SYSTEM: [&str; 9] = [
    "/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];

/// How many processors there are and how they share caches and memory: what allocators, thread pools and runtimes ask for.
const MACHINE: [&str; 3] = [
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
];

/// Secrets below them, which root could read.
const SECRETS: [&str; 11] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/security/opasswd",
    "/etc/ssl/private",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
];

impl Builder {
    pub(super) fn system(&mut self) {
        self.show_all(&SYSTEM);
        self.secrets();
    }

    /// Whatever the root is.
    pub(super) fn machine(&mut self) {
        self.show_all(&MACHINE);
    }

    fn show_all(&mut self, dirs: &[&str]) {
        for &dir in dirs {
            let (Some(at), Ok(path)) = (VPath::clean(dir.as_bytes()), CString::new(dir)) else {
                continue;
            };
            let origin = format!("default: system directory {dir}");
            match HostObject::open_real(&path) {
                Ok(Some(object)) => {
                    // What can't even be looked at can't be shown.
                    let _ = self.object(at, object, true, origin);
                }
                // What it leads to is another of these, or not shown.
                Ok(None) => {
                    if let Ok(text) = fs::read_link(dir) {
                        let text = text.as_os_str().as_bytes().into();
                        self.mount(at, Source::Symlink(text), Access::READ_ONLY, origin);
                    }
                }
                // A system without it.
                Err(_) => {}
            }
        }
    }

    /// What root could read of the host's secrets is hidden.
    pub(super) fn secrets(&mut self) {
        for secret in SECRETS {
            if let Some(at) = VPath::clean(secret.as_bytes()) {
                let origin = format!("default: secret {secret}");
                self.mount(at, Source::Hidden, Access::NONE, origin);
            }
        }
    }
}

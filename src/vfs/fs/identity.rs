//! Which machine the guest takes its own for: its name and its numbers, the same as long as the run lasts.
//!
//! The host's would tell one run from another, and all runs of one machine from those of others. So the name is what the
//! user says, and the numbers are drawn for each run.

use super::made::made;
use crate::sys::{self, Errno};
use crate::vfs::Vfs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write as _;
use std::os::fd::OwnedFd;

/// What uname(2) tells for the NIS domain where none was set.
pub const NO_DOMAIN: &str = "(none)";

/// The machine of the view.
#[derive(Clone, Debug)]
pub struct Identity {
    hostname: String,
    machine: u128,
    boot: u128,
}

/// A file of `/proc` that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFile {
    /// `/proc/sys/kernel/hostname`
    Hostname,
    /// `/proc/sys/kernel/domainname`
    Domainname,
    /// `/proc/sys/kernel/random/boot_id`
    BootId,
}

impl IdentityFile {
    /// The one at a path below `/proc`.
    pub(super) fn at(relative: &str) -> Option<Self> {
        match relative {
            "sys/kernel/hostname" => Some(Self::Hostname),
            "sys/kernel/domainname" => Some(Self::Domainname),
            "sys/kernel/random/boot_id" => Some(Self::BootId),
            _ => None,
        }
    }

    /// Its path below `/proc`.
    pub(super) fn relative(self) -> &'static str {
        match self {
            Self::Hostname => "sys/kernel/hostname",
            Self::Domainname => "sys/kernel/domainname",
            Self::BootId => "sys/kernel/random/boot_id",
        }
    }
}

impl Identity {
    /// A machine of this name, which no other run has seen.
    pub fn new(hostname: &str) -> Self {
        // Keyed by random numbers of the kernel's.
        let hasher = RandomState::new();
        let number = |salt: u64| {
            let half = |salt: u64| {
                let mut hasher = hasher.build_hasher();
                hasher.write_u64(salt);
                u128::from(hasher.finish())
            };
            half(salt) << 64 | half(salt + 1)
        };
        Self {
            hostname: hostname.to_owned(),
            machine: number(0),
            boot: number(2),
        }
    }

    /// hostname(7).
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// machine-id(5), with its newline.
    pub fn machine_id(&self) -> String {
        // As uuid_generate_random(3) makes them: version 4, variant 1.
        format!("{:032x}\n", version_4(self.machine))
    }

    /// random(4), `boot_id`.
    pub fn boot_id(&self) -> String {
        let text = format!("{:032x}", version_4(self.boot));
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
        let parts = parts.map(|part| text.get(part).unwrap_or_default());
        parts.join("-")
    }

    /// hosts(5): the machine's own names, and no others.
    pub fn hosts(&self) -> String {
        format!(
            "127.0.0.1\tlocalhost\n{}::1\tlocalhost ip6-localhost ip6-loopback\n",
            self.own_line()
        )
    }

    /// The same behind what the hosts(5) of a machine called `own` says of others.
    pub fn hosts_after(&self, others: &[u8], own: &[u8]) -> Vec<u8> {
        let is_own = |name: &&[u8]| {
            let rest = name.strip_prefix(own);
            !own.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        };
        let mut text = Vec::new();
        let others = others.strip_suffix(b"\n").unwrap_or(others);
        for line in others.split(|&b| b == b'\n').filter(|_| !others.is_empty()) {
            let said = line.split(|&b| b == b'#').next().unwrap_or_default();
            let mut words = said
                .split(|b| b.is_ascii_whitespace())
                .filter(|word| !word.is_empty());
            let address = words.next().unwrap_or_default();
            let names: Vec<&[u8]> = words.collect();
            let kept: Vec<&[u8]> = names.iter().copied().filter(|name| !is_own(name)).collect();
            if kept.len() == names.len() {
                text.extend_from_slice(line);
            } else if kept.is_empty() {
                continue;
            } else {
                text.extend_from_slice(&[&[address][..], &kept].concat().join(&b' '));
            }
            text.push(b'\n');
        }
        text.extend_from_slice(self.own_line().as_bytes());
        text
    }

    fn own_line(&self) -> String {
        match self.hostname.split_once('.') {
            Some((short, _)) => format!("127.0.1.1\t{} {short}\n", self.hostname),
            None => format!("127.0.1.1\t{}\n", self.hostname),
        }
    }
}

fn version_4(number: u128) -> u128 {
    number & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62
}

impl Vfs {
    /// The same file system on this machine.
    pub fn on(self, identity: Identity) -> Self {
        // Once, before anybody has asked.
        let _ = self.identity.set(identity);
        self
    }

    /// The machine of the view.
    pub fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| Identity::new("sbox"))
    }

    /// Makes the file of `/proc`.
    pub(super) fn open_identity(&self, file: IdentityFile) -> sys::Result<OwnedFd> {
        let text = match file {
            IdentityFile::Hostname => self.identity().hostname.clone(),
            IdentityFile::Domainname => NO_DOMAIN.to_owned(),
            IdentityFile::BootId => self.identity().boot_id(),
        };
        made(file.relative(), |out| writeln!(out, "{text}"))
    }
}

/// Checks a name as hostname(7) has it: labels of letters, digits and hyphens, 64 bytes in all (`HOST_NAME_MAX`).
pub fn check_hostname(name: &str) -> Result<(), Errno> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match name.len() {
        1..=64 if name.split('.').all(is_label) => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_drawn_and_well_formed() {
        let (one, two) = (Identity::new("a"), Identity::new("a"));
        assert_ne!(one.machine_id(), two.machine_id());
        assert_ne!(one.boot_id(), two.boot_id());
        assert_eq!(one.boot_id(), one.boot_id());
        assert_ne!(one.boot_id().replace('-', ""), one.machine_id().trim());
        let id = one.machine_id();
        assert_eq!((id.len(), &id[12..13]), (33, "4"), "{id}");
        assert!(matches!(&id[16..17], "8" | "9" | "a" | "b"), "{id}");
        let boot = one.boot_id();
        let lengths: Vec<usize> = boot.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }

    #[test]
    fn its_own_name_can_be_looked_up() {
        let plain = Identity::new("sbox");
        assert!(plain.hosts().contains("127.0.1.1\tsbox\n"));
        let full = Identity::new("a.b.c");
        assert!(full.hosts().contains("127.0.1.1\ta.b.c a\n"));
        let after = |others: &str| {
            let text = plain.hosts_after(others.as_bytes(), b"vm");
            String::from_utf8(text).unwrap()
        };
        for (others, kept) in [
            ("", ""),
            ("::1 x", "::1 x\n"),
            ("# of vm\n\n1.2.3.4 vmx\n", "# of vm\n\n1.2.3.4 vmx\n"),
            ("127.0.0.1 localhost vm\n", "127.0.0.1 localhost\n"),
            ("127.0.1.1\tvm.lan vm # me\n::1 x\n", "::1 x\n"),
        ] {
            assert_eq!(after(others), format!("{kept}127.0.1.1\tsbox\n"));
        }
    }

    #[test]
    fn names_of_machines() {
        let long = "x".repeat(64);
        for good in ["a", "sbox", "A-1.example", "9", long.as_str()] {
            assert_eq!(check_hostname(good), Ok(()), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "a b",
            "-a",
            "a-",
            "a..b",
            ".",
            "a_b",
            "a/b",
            "ä",
            long.as_str(),
        ] {
            assert_eq!(check_hostname(bad), Err(Errno::EINVAL), "{bad}");
        }
    }
}

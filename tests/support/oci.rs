//! A small oracle of OCI seccomp profiles, which knows nothing of ours; and what the tests of both directions share.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Output;

/// Runs sbox in a directory.
pub(crate) fn sbox_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(super::sbox());
    command.args(args).current_dir(dir);
    // Only runs make it, which have a directory of their own.
    command.env("XDG_STATE_HOME", dir.join("state"));
    super::job::run(command, b"", Duration::from_secs(60))
}

/// Compares a text with a file, or writes that with `BLESS=1`.
pub(crate) fn golden(file: &Path, said: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, said).expect("write");
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    if said != wanted {
        wrong.push(format!("{}:\n{said}wanted:\n{wanted}", file.display()));
    }
}

/// A small stream of pseudo-random numbers (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 5) % n
    }
}

/// An entry of a profile: a call, an action's name and errno, and tests that must all hold.
pub(crate) struct Entry {
    pub(crate) call: &'static str,
    pub(crate) action: (&'static str, i32),
    pub(crate) tests: Vec<(usize, &'static str, u64, u64)>,
}

impl Entry {
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        self.tests.iter().all(|(arg, op, value, second)| {
            let is = args[*arg];
            match *op {
                "EQ" => is == *value,
                "NE" => is != *value,
                "LT" => is < *value,
                "LE" => is <= *value,
                "GT" => is > *value,
                "GE" => is >= *value,
                _ => is & value == *second,
            }
        })
    }
}

pub(crate) const CALLS: [&str; 9] = [
    "dup3", "lseek", "fcntl", "ioctl", "socket", "futex", "clone", "umask", "mprotect",
];
pub(crate) const ACTIONS: [(&str, i32); 4] = [
    ("ALLOW", 0),
    ("ERRNO", 1),
    ("ERRNO", 38),
    ("KILL_PROCESS", -1),
];

pub(crate) fn value(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => u64::from(u32::MAX) - random.below(3),
        1 => u64::MAX - random.below(3),
        2 => (1 << 31) - 1 + random.below(3),
        3 => 1 << random.below(64),
        _ => random.below(12),
    }
}

/// How strict a refusal is: 0 is none.
pub(crate) fn strictness(action: (&str, i32)) -> u8 {
    match action.0 {
        "ALLOW" => 0,
        "ERRNO" => 1,
        _ => 2,
    }
}

/// What a profile says of a call: an entry without tests beats those with, of those that hold the strictest decides.
pub(crate) fn decided(
    own: &[&Entry],
    args: &[u64; 6],
    default: (&'static str, i32),
) -> (&'static str, i32) {
    let strictest = |whole: bool| {
        let of = own
            .iter()
            .filter(|e| e.tests.is_empty() == whole && e.holds(args));
        of.map(|e| e.action)
            .max_by_key(|action| strictness(*action))
    };
    strictest(true)
        .or_else(|| strictest(false))
        .unwrap_or(default)
}

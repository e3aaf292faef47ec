//! What the integration tests share: jobs, guests, scratch directories, skips.
//!
//! A test is a function that returns [`Test`]: it panics to fail, and returns [`Skip`] when the host lacks something.
//! [`main`] runs a list of them, counts all three outcomes and names the reason of every skip at the end.
//!
//! | variable       | meaning                                             | default                          |
//! |----------------|-----------------------------------------------------|----------------------------------|
//! | `SBOX_BIN`     | the binary under test                               | the one cargo built              |
//! | `SBOX_TEST_TMP`| where guests are built and scratch directories made | cargo's directory for test files |

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod fsops;
pub(crate) mod guest;
pub(crate) mod job;
pub(crate) mod oci;
pub(crate) mod root;
pub(crate) mod steps;
pub(crate) mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};

use libtest_mimic::{Arguments, Completion, Trial};

#[allow(unused_imports, reason = "every test file uses its own part of this")]
pub(crate) use guest::{guest, guest_defining, guest_static};
#[allow(unused_imports, reason = "every test file uses its own part of this")]
pub(crate) use job::{Job, Output};

/// What the host lacks.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

/// A test's result: passed, or skipped. Failures panic.
pub(crate) type Test = Result<(), Skip>;

static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A named test.
pub(crate) type Named = (&'static str, fn() -> Test);

/// Runs the tests, prints the counts and then one `skipped: TEST: REASON` line for each skip.
pub(crate) fn main(tests: Vec<Named>) -> ExitCode {
    // A shell's job in the background and nohup(1) ignore these, and so would all that the tests start.
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        sbox::sys::process::default_disposition(signal).expect("signal");
    }
    // The message comes with the report at the end; this says where it was.
    std::panic::set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            eprintln!("failed at {place}");
        }
    }));
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::ignorable_test(name, move || match test() {
                Ok(()) => Ok(Completion::Completed),
                Err(Skip(reason)) => {
                    let mut skipped = SKIPPED.lock().unwrap_or_else(|e| e.into_inner());
                    skipped.push(format!("skipped: {name}: {reason}"));
                    Ok(Completion::ignored_with(reason))
                }
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    for line in SKIPPED.lock().unwrap_or_else(|e| e.into_inner()).iter() {
        println!("{line}");
    }
    conclusion.exit_code()
}

/// The list for [`main`]: functions and their names.
#[macro_export]
macro_rules! tests {
    ($($test:path),* $(,)?) => {
        vec![$((stringify!($test), $test as fn() -> $crate::support::Test)),*] as Vec<$crate::support::Named>
    };
}

/// The binary under test.
pub(crate) fn sbox() -> PathBuf {
    std::env::var_os("SBOX_BIN").map_or_else(|| env!("CARGO_BIN_EXE_sbox").into(), PathBuf::from)
}

/// Skips when sbox says that it can't enforce anything on this host (exit status 3); any other trouble is for the test to find.
pub(crate) fn need_sbox() -> Test {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let missing = ANSWER.get_or_init(|| {
        let probe = Job::new(["/bin/true"]).run_sbox();
        (probe.code() == Some(3)).then(|| probe.stderr_text())
    });
    match missing {
        None => Ok(()),
        Some(why) => Err(Skip(format!("sbox cannot enforce here: {}", why.trim()))),
    }
}

/// The directory of the sources: cargo's variable at run time, so that a copied tree works too.
pub(crate) fn source_dir() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Where guests and scratch directories live.
pub(crate) fn scratch_base() -> PathBuf {
    let base = std::env::var_os("SBOX_TEST_TMP")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    std::fs::create_dir_all(&base).expect("scratch directory");
    base
}

/// An empty directory that is removed at the end of the test.
pub(crate) fn scratch() -> tempfile::TempDir {
    scratch_in(&scratch_base())
}

/// The same, where names of files can be addresses of sockets: those are short (unix(7)).
pub(crate) fn scratch_for_sockets() -> tempfile::TempDir {
    let base = scratch_base();
    match base.as_os_str().len() <= 60 {
        true => scratch_in(&base),
        false => scratch_in(Path::new("/var/tmp")),
    }
}

fn scratch_in(base: &Path) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("t-")
        .tempdir_in(base)
        .expect("scratch directory")
}

/// The first of these programs that exists, or the reason to skip.
pub(crate) fn need(candidates: &[&str]) -> Result<String, Skip> {
    candidates
        .iter()
        .find(|path| Path::new(path).exists())
        .map(|path| (*path).to_owned())
        .ok_or_else(|| Skip(format!("no {}", candidates.join(" or "))))
}

/// A small stream of pseudo-random numbers (xorshift), seeded by the clock; the seed is for failure messages.
pub(crate) struct Random {
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("clock");
        Self::from_seed(now.as_nanos() as u64)
    }

    /// The stream that a failure message told the seed of.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let seed = seed | 1;
        Self { seed, state: seed }
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % n
    }
}

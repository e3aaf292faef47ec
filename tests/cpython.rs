//! CPython's own tests of processes, signals and threads: whatever fails in sbox fails natively, too.
//!
//! | variable           | meaning                                                                 | default             |
//! |--------------------|-------------------------------------------------------------------------|---------------------|
//! | `SBOX_PYTHON`      | a python that has its `test` package                                    | python3, or pyenv's |
//! | `SBOX_PYTHON_TESTS`| `all`, or some of `ALL` with blanks between                             | `test_posix`        |

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use support::{Job, Output, Skip, Test, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![its_own_tests_end_as_natively])
}

/// They take two minutes natively.
const ALL: &str =
    "test_subprocess test_signal test_os test_posix test_threading test_multiprocessing_fork";

/// What fails in sbox alone, with the host's network.
const DIFFERS: &[&str] = &[];

/// A python that has the tests, and the directory where it is installed.
fn python() -> Result<(String, PathBuf), Skip> {
    let wanted = std::env::var("SBOX_PYTHON").ok();
    let home = std::env::var("HOME").unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    let mut of_pyenv: Vec<String> = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/python3").display().to_string())
        .collect();
    // 3.13 is newer than 3.9.
    of_pyenv.sort_by_key(|path| {
        let numbers = path.split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|n| n.parse().ok()).collect::<Vec<u32>>()
    });
    let others = std::iter::once("/usr/bin/python3".to_owned()).chain(of_pyenv.into_iter().rev());
    let mut candidates: Vec<String> = wanted.clone().into_iter().collect();
    if wanted.is_none() {
        candidates.extend(others);
    }
    let ask = "import sys, test.test_posix, test.test_subprocess, test.test_multiprocessing_fork; print(sys.base_prefix)";
    let found = candidates.into_iter().find_map(|python| {
        let output = Command::new(&python)
            .args(["-I", "-c", ask])
            .output()
            .ok()?;
        let prefix = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some((python, prefix.into()))
    });
    found.ok_or(Skip("no python with its test package (SBOX_PYTHON)".into()))
}

/// Tests that did not pass, by what the report at the end calls them.
fn failed(output: &Output) -> BTreeSet<String> {
    let text = output.all();
    let lines = text.lines();
    lines
        .filter_map(|l| l.strip_prefix("ERROR: ").or(l.strip_prefix("FAIL: ")))
        .map(str::to_owned)
        .collect()
}

/// How many there were.
fn total(output: &Output) -> u64 {
    let text = output.all();
    let counts = text.lines().filter_map(|l| l.strip_prefix("Ran "));
    let numbers = counts.filter_map(|l| l.split(' ').next()?.parse::<u64>().ok());
    numbers.sum()
}

fn its_own_tests_end_as_natively() -> Test {
    let (python, prefix) = python()?;
    let setpriv = need(&["/usr/bin/setpriv"])?;
    need_sbox()?;
    let tests = std::env::var("SBOX_PYTHON_TESTS").unwrap_or("test_posix".into());
    let tests = if tests == "all" { ALL.into() } else { tests };
    let (outside, inside) = (scratch(), scratch());
    let job = |before: &[&str]| {
        let python = [&python, "-I", "-m", "test", "-v", "--timeout", "600"];
        let all = before.iter().copied().chain(python);
        Job::new(all.chain(tests.split_whitespace())).limit_secs(1800)
    };
    // In sbox nobody has capabilities.
    let bare: &[&str] = &[
        &setpriv,
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let bare = if nix::unistd::geteuid().is_root() {
        bare
    } else {
        &[]
    };
    let native = job(bare).dir(outside.path()).native();
    let boxed = job(&[])
        .writable_dir(inside.path())
        .flags([
            "--net",
            "host",
            "--ro",
            prefix.to_str().expect("a plain path"),
        ])
        .run_sbox();
    let (wanted, said) = (failed(&native), failed(&boxed));
    assert!(total(&native) > 50, "{}", native.all());
    assert_eq!(total(&boxed), total(&native), "{}", boxed.all());
    let new: Vec<&String> = said
        .difference(&wanted)
        .filter(|name| !DIFFERS.iter().any(|d| name.contains(d)))
        .collect();
    println!(
        "{tests}: {} tests, {} fail natively",
        total(&native),
        wanted.len()
    );
    assert!(new.is_empty(), "{new:#?}\n{}", boxed.all());
    Ok(())
}

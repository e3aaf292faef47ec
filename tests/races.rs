//! Races: another thread or process rewrites a call's argument while the call is under way.
//!
//! First natively, where the attack must succeed (else it proves nothing), then in sbox, where it must never.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use support::tree::{assert_unchanged, snapshot};
use support::{Job, Output, Test, guest, guest_defining, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        open_against_a_thread,
        open_against_a_process,
        stat_against_a_thread,
        rename_against_a_thread,
        exec_against_a_thread,
        connect_against_a_thread,
    ])
}

/// How many calls of a race went where.
#[derive(Debug)]
struct Counts {
    calls: u64,
    allowed: u64,
    forbidden: u64,
    other: u64,
}

fn counts(output: &Output) -> Counts {
    let text = output.stdout_text();
    let line = text
        .lines()
        .find(|l| l.starts_with("calls "))
        .unwrap_or_else(|| panic!("no counts: {}", output.all()));
    let number = |word: &str| -> u64 {
        let mut words = line.split(' ').skip_while(|w| *w != word);
        words
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or_else(|| panic!("{line}"))
    };
    Counts {
        calls: number("calls"),
        allowed: number("allowed"),
        forbidden: number("forbidden"),
        other: number("other"),
    }
}

/// The race natively with few calls, then in sbox with many, in a directory with `ok/` (writable) and `no/` (hidden).
fn race(mode: &str, name: &str, few: u64, many: u64, prepare: impl Fn(&Path)) -> Test {
    let program = guest("race_open")?;
    need_sbox()?;
    let dir = scratch();
    for sub in ["ok", "no"] {
        fs::create_dir(dir.path().join(sub)).expect("mkdir");
    }
    prepare(dir.path());
    let job = |count: u64| {
        let job = Job::new([&program]).arg(mode).arg(count.to_string());
        job.arg(format!("ok/{name}"))
            .arg(format!("no/{name}"))
            .writable_dir(dir.path())
            .limit_secs(180)
    };
    let native = counts(&job(few).native());
    assert!(
        native.forbidden > 0 && native.allowed > 0,
        "natively the race is no race: {native:?}"
    );
    let leftover = dir.path().join("no").join(name);
    if mode == "rename" {
        fs::remove_file(&leftover).expect("what the native race left");
    }
    if mode == "connect" {
        fs::remove_file(dir.path().join("ok").join(name)).expect("the allowed socket");
    }

    let before = snapshot(&dir.path().join("no"));
    let output = job(many)
        .flags([Path::new("--hide"), &dir.path().join("no")])
        .run_sbox();
    let boxed = counts(&output);
    assert!(
        boxed.forbidden == 0,
        "the forbidden one was reached: {boxed:?}"
    );
    assert!(
        boxed.allowed > many / 20 && boxed.calls == many && boxed.other == 0,
        "{boxed:?}\n{}",
        output.all()
    );
    assert_eq!(output.code(), Some(0), "{}", output.all());
    assert_unchanged(&before, &dir.path().join("no"));
    Ok(())
}

/// An allowed file and a forbidden one that begins with F and has 4242 bytes.
fn two_files(dir: &Path) {
    fs::write(dir.join("ok/f"), "allowed").expect("write");
    fs::write(dir.join("no/f"), "F".repeat(4242)).expect("write");
}

fn open_against_a_thread() -> Test {
    race("open", "f", 20_000, 100_000, two_files)
}

fn open_against_a_process() -> Test {
    race("proc", "f", 20_000, 100_000, two_files)
}

fn stat_against_a_thread() -> Test {
    race("stat", "f", 20_000, 100_000, two_files)
}

fn rename_against_a_thread() -> Test {
    race("rename", "f", 5_000, 10_000, |_| ())
}

fn exec_against_a_thread() -> Test {
    let (allowed, forbidden) = (
        guest_defining("answer", "-DANSWER=7")?,
        guest_defining("answer", "-DANSWER=66")?,
    );
    race("exec", "prog", 300, 400, |dir| {
        fs::copy(&allowed, dir.join("ok/prog")).expect("copy");
        fs::copy(&forbidden, dir.join("no/prog")).expect("copy");
    })
}

fn connect_against_a_thread() -> Test {
    race("connect", "s", 5_000, 10_000, |dir| {
        let no = fs::File::open(dir.join("no")).expect("open");
        let listener =
            UnixListener::bind(format!("/proc/self/fd/{}/s", no.as_raw_fd())).expect("bind");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _peer_may_be_gone = stream.write_all(b"F");
            }
        });
    })
}

//! Endings: nothing of a sandbox outlives it, however it ends.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use support::{Job, Random, Test, guest, need_sbox};

fn main() -> ExitCode {
    support::main(tests![
        killed_at_200_random_moments,
        ended_by_signals_to_sbox,
        ended_by_signals_from_a_terminal,
        background_processes_end_with_the_program,
        stdout_closed_early,
    ])
}

/// Pids whose command line holds the marker. Zombies have none.
fn alive(marker: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|path| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            line.windows(marker.len()).any(|w| w == marker.as_bytes())
        })
        .map(|path| path.display().to_string())
        .collect()
}

/// Fails, after killing them, if processes with the marker are left after a second.
fn assert_none_left(marker: &str, situation: &str) {
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut left = alive(marker);
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
        left = alive(marker);
    }
    let mut states = vec![];
    for process in &left {
        states.push(
            fs::read_to_string(format!("{process}/status"))
                .unwrap_or_default()
                .lines()
                .take(8)
                .collect::<Vec<_>>()
                .join(" "),
        );
        if let Some(pid) = process.strip_prefix("/proc/").and_then(|p| p.parse().ok()) {
            let _gone_meanwhile = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    assert!(
        left.is_empty(),
        "{situation}: {} processes left after a second\n{}",
        left.len(),
        states.join("\n")
    );
}

/// A marker that no other process has.
fn marker(test: &str, round: u64) -> String {
    format!("sbox-{test}-{}-{round}-end", std::process::id())
}

fn start(job: &Job) -> Child {
    let mut command = job.sbox_command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command.spawn().expect("sbox")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("pid"))
}

fn killed_at_200_random_moments() -> Test {
    let program = guest("forkstorm")?;
    need_sbox()?;
    let mut random = Random::new();
    let mut grown = 0;
    for round in 0..200 {
        let marker = marker("kill", round);
        let mut child = start(&Job::new([&program]).arg(&marker));
        // From before the first instruction of the program to the middle of the storm.
        let delay =
            Duration::from_micros(random.below(if round % 4 == 0 { 8_000 } else { 60_000 }));
        std::thread::sleep(delay);
        grown += usize::from(alive(&marker).len() > 2);
        assert!(
            child.try_wait().expect("wait").is_none(),
            "round {round}: sbox ended by itself after {delay:?}"
        );
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_none_left(
            &marker,
            &format!(
                "round {round}, killed after {delay:?}, seed {}",
                random.seed
            ),
        );
    }
    // Most rounds must have had something to leave behind.
    assert!(
        grown > 60,
        "only {grown} of 200 rounds had more than two processes when killed"
    );
    Ok(())
}

/// Signals to sbox alone, as a supervisor of services sends them, end the sandbox; at 40 random moments of a fork storm.
fn ended_by_signals_to_sbox() -> Test {
    let signals = [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGTERM,
        Signal::SIGABRT,
    ]
    .repeat(10);
    ended_by("alone", &signals, |child, signal| {
        kill(pid_of(child), signal)
    })
}

/// Signals to the whole group, as a terminal sends them, reach the program, and its death is sbox's.
fn ended_by_signals_from_a_terminal() -> Test {
    ended_by(
        "group",
        &[
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGHUP,
            Signal::SIGTERM,
        ],
        |child, signal| killpg(pid_of(child), signal),
    )
}

fn ended_by(how: &str, signals: &[Signal], send: fn(&Child, Signal) -> nix::Result<()>) -> Test {
    let program = guest("forkstorm")?;
    need_sbox()?;
    let mut random = Random::new();
    for (round, &signal) in (0..).zip(signals) {
        let marker = marker(how, round);
        let mut child = start(&Job::new([&program]).arg(&marker));
        std::thread::sleep(Duration::from_micros(20_000 + random.below(80_000)));
        send(&child, signal).expect("kill");
        let status = support::job::wait(&mut child, Duration::from_secs(5));
        let status =
            status.unwrap_or_else(|| panic!("round {round}: {signal} ({how}) did not end sbox"));
        assert!(!status.success(), "{signal} ({how}): {status}");
        assert_none_left(&marker, signal.as_str());
    }
    Ok(())
}

fn background_processes_end_with_the_program() -> Test {
    for (round, how) in (0..).zip([
        "sleep 30 &",
        "(setsid sleep 30 &);",
        "(trap '' TERM HUP INT; sleep 30) &",
    ]) {
        let marker = marker("background", round);
        // The marker is in the shell's command line and in the sleeps' names.
        let script = format!(
            "{} exit 4 # {marker}",
            how.replace("sleep 30", &format!("sh -c 'sleep 30; : {marker}'"))
        );
        let output = Job::sh(&script).limit_secs(20).sandboxed()?;
        assert_eq!(output.code(), Some(4), "{how}: {}", output.all());
        assert!(
            output.elapsed < Duration::from_secs(10),
            "{how}: waited {:?} for the background process",
            output.elapsed
        );
        assert_none_left(&marker, how);
    }
    Ok(())
}

fn stdout_closed_early() -> Test {
    need_sbox()?;
    let marker = marker("pipe", 0);
    let mut command = Job::sh(&format!("yes | cat # {marker}")).sbox_command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command.spawn().expect("sbox");
    std::thread::sleep(Duration::from_millis(100));
    assert!(
        child.try_wait().expect("wait").is_none(),
        "ended before the pipe was closed"
    );
    drop(child.stdout.take());
    let ended = support::job::wait(&mut child, Duration::from_secs(5));
    assert!(
        ended.is_some(),
        "a pipeline whose reader went away still runs"
    );
    assert_none_left(&marker, "closed stdout");
    Ok(())
}

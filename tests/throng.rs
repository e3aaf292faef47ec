//! Many processes and threads: none is lost, taken for another, or left behind, and sbox remembers nothing of them.
//!
//! | variable         | meaning                                                  | default |
//! |------------------|----------------------------------------------------------|---------|
//! | `SBOX_PROCESSES` | how many processes `memory_does_not_grow` makes in a run | 20,000  |

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use support::{Job, Test, guest, guest_static, need_sbox};

fn main() -> ExitCode {
    support::main(tests![
        zombies_are_there_until_they_are_waited_for,
        zombies_with_the_hosts_numbers,
        ten_thousand_programs,
        a_thousand_threads,
        mutexes_across_processes,
        numbers_that_are_taken_are_not_given,
        memory_does_not_grow,
    ])
}

/// Natively and in sbox.
fn throng(args: &[&str], flags: &[&str]) -> Test {
    let job = args.iter().fold(Job::new([&guest("throng")?]), Job::arg);
    let job = job.flags(["--cwd", "/"]).flags(flags).limit_secs(120);
    job.both()?.assert_guest_ok(args[0]);
    Ok(())
}

fn zombies_are_there_until_they_are_waited_for() -> Test {
    throng(&["zombies", "3000"], &[])
}

fn zombies_with_the_hosts_numbers() -> Test {
    throng(&["zombies", "3000"], &["--pids", "host"])
}

fn ten_thousand_programs() -> Test {
    let job = Job::new([guest_static("throng")?.as_os_str()])
        .arg("exec")
        .arg("10000");
    let job = job.flags(["--cwd", "/"]).limit_secs(300);
    job.both()?.assert_guest_ok("exec");
    Ok(())
}

fn a_thousand_threads() -> Test {
    throng(&["threads", "1000"], &[])
}

/// Words that the kernel compares hold the host's numbers.
fn mutexes_across_processes() -> Test {
    throng(&["mutexes"], &[])
}

fn numbers_that_are_taken_are_not_given() -> Test {
    throng(&["wrap", "1000"], &["--pid-max", "40"])
}

/// What `/proc/PID/status` says of a process, in KiB or as it is.
fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    let number = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

/// Processes whose parent is `pid`, and which of them have ended.
fn children(pid: u32) -> (usize, usize) {
    let (mut all, mut ended) = (0, 0);
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, parent) = (fields.next(), fields.next());
        if parent == Some(&pid.to_string()) {
            all += 1;
            ended += usize::from(state == Some("Z"));
        }
    }
    (all, ended)
}

/// Nor is a zombie left. The guest waits at each tenth, when sbox has nothing to do.
fn memory_does_not_grow() -> Test {
    let program = guest_static("throng")?;
    need_sbox()?;
    let count = std::env::var("SBOX_PROCESSES").unwrap_or("20000".into());
    let mut command = Job::new([program.as_os_str()])
        .arg("fork")
        .arg(&count)
        .flags(["--cwd", "/"])
        .sbox_command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sbox");
    let mut stdin = child.stdin.take().expect("a pipe");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut seen = vec![];
    let mut said = vec![];
    for line in lines.map_while(Result::ok) {
        if line.starts_with("# at ") {
            let pid = child.id();
            seen.push(status(pid, "VmRSS"));
            let (all, ended) = children(pid);
            assert_eq!((all, ended), (1, 0), "children of sbox");
            stdin.write_all(b"x").expect("write");
        }
        said.push(line);
    }
    let status = support::job::wait(&mut child, Duration::from_secs(60));
    assert!(
        status.is_some_and(|s| s.success()) && seen.len() == 10,
        "{said:?}"
    );
    println!("{count} processes: {seen:?} KiB");
    // From the second tenth on nothing is new. A byte for each process would be seen.
    let per_process = (seen[9].saturating_sub(seen[1])) as f64 * 1024.0
        / (count.parse::<f64>().expect("a number") * 0.8);
    assert!(per_process < 8.0, "{per_process:.1} bytes each: {seen:?}");
    Ok(())
}

//! `--wait-all`: the run ends with the last program, with the status of the first.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Job, Test, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        what_is_left_goes_on,
        without_it_the_rest_is_killed,
        the_status_is_the_first_ones,
        orphans_and_sessions,
        a_program_that_cannot_be_started,
        signals_end_what_is_left,
        signals_reach_the_first_while_it_lives,
        its_number_may_be_anothers,
        changes_are_kept,
    ])
}

fn job(script: &str) -> Job {
    Job::sh(script).flags(["--wait-all"])
}

fn what_is_left_goes_on() -> Test {
    let dir = scratch();
    let output =
        job("(sleep 0.3; echo late; cat f; echo later > g; (sleep 0.2; echo last) &) & echo early")
            .writable_dir(dir.path());
    fs::write(dir.path().join("f"), "text\n").expect("write");
    let output = output.sandboxed()?;
    assert_eq!(
        output.stdout_text(),
        "early\nlate\ntext\nlast\n",
        "{}",
        output.all()
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("g")).expect("g"),
        "later\n"
    );
    assert_eq!(output.code(), Some(0));
    Ok(())
}

fn without_it_the_rest_is_killed() -> Test {
    let output = Job::sh("(sleep 0.3; echo late) & echo early")
        .flags(["--cwd", "/"])
        .sandboxed()?;
    assert_eq!(output.stdout_text(), "early\n", "{}", output.all());
    Ok(())
}

fn the_status_is_the_first_ones() -> Test {
    for (end, code, by) in [
        ("exit 7", Some(7), None),
        ("exit 0", Some(0), None),
        ("kill -TERM $$", None, Some(15)),
        ("kill -KILL $$", None, Some(9)),
    ] {
        let script = format!("(sleep 0.2; echo late; exit 5) & {end}");
        let output = job(&script).flags(["--cwd", "/"]).sandboxed()?;
        assert_eq!((output.code(), output.signal()), (code, by), "{end}");
        assert_eq!(output.stdout_text(), "late\n", "{end}");
    }
    Ok(())
}

/// All become children of process 1, who waits for them.
fn orphans_and_sessions() -> Test {
    let output = job(
        "setsid sh -c 'sleep 0.3; sed -n s/^PPid:.//p /proc/$$/status; exit 4' &
         (trap '' HUP; (sleep 0.6; echo $(ls -d /proc/[0-9]*)) &) ; exit 3",
    )
    .flags(["--cwd", "/"])
    .sandboxed()?;
    let text = output.stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1", "{}", output.all());
    // The subshell, and the one that lists.
    assert!(
        lines[1].starts_with("/proc/1 /proc/") && lines[1].split(' ').count() <= 4,
        "{text}"
    );
    assert_eq!(output.code(), Some(3));
    Ok(())
}

fn a_program_that_cannot_be_started() -> Test {
    let output = Job::new(["/absent"])
        .flags(["--wait-all", "--cwd", "/"])
        .sandboxed()?;
    assert_eq!(output.code(), Some(127), "{}", output.all());
    Ok(())
}

fn start(script: &str) -> Child {
    let mut command = job(script).flags(["--cwd", "/"]).sbox_command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().expect("sbox")
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("kill");
}

/// What a guest prints, up to so many bytes.
fn read(child: &mut Child, bytes: usize) -> String {
    use std::io::Read;
    let mut text = vec![0; bytes];
    let out = child.stdout.as_mut().expect("a pipe");
    out.read_exact(&mut text).expect("as much as that");
    String::from_utf8_lossy(&text).into_owned()
}

/// When the first has ended, nobody else is meant by a signal for the program.
fn signals_end_what_is_left() -> Test {
    need_sbox()?;
    for sent in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut child = start(
            "(trap '' TERM HUP; sleep 0.2; echo on; while :; do (sleep 0.01); done) & exit 6",
        );
        assert_eq!(read(&mut child, 3), "on\n");
        let started = Instant::now();
        signal(&child, Signal::SIGUSR1);
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            child.try_wait().expect("wait").is_none(),
            "ended by SIGUSR1"
        );
        signal(&child, sent);
        let status = support::job::wait(&mut child, Duration::from_secs(20)).expect("the end");
        assert_eq!((status.code(), status.signal()), (Some(6), None), "{sent}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    Ok(())
}

fn signals_reach_the_first_while_it_lives() -> Test {
    need_sbox()?;
    let mut child = start(
        "trap 'echo got; exit 9' TERM; (sleep 1; echo late) & echo on; while :; do sleep 0.02; done",
    );
    assert_eq!(read(&mut child, 3), "on\n");
    signal(&child, Signal::SIGTERM);
    assert_eq!(read(&mut child, 9), "got\nlate\n");
    let status = support::job::wait(&mut child, Duration::from_secs(20)).expect("the end");
    assert_eq!(status.code(), Some(9));
    Ok(())
}

/// Another guest's, later: its end isn't the first one's.
fn its_number_may_be_anothers() -> Test {
    let script =
        "(sleep 0.1; i=0; while [ $i -lt 200 ]; do i=$((i+1)); (exit 8); done; echo done) & exit 2";
    let output = job(script)
        .flags(["--cwd", "/", "--pid-max", "16"])
        .sandboxed()?;
    assert_eq!(output.stdout_text(), "done\n", "{}", output.all());
    assert_eq!(output.code(), Some(2));
    Ok(())
}

/// Those that came after the end of the first, too.
fn changes_are_kept() -> Test {
    let (dir, state) = (scratch(), scratch());
    let output = job("(sleep 0.3; echo late > late) & echo early > early")
        .dir(dir.path())
        .state(state.path())
        .flags(["--keep", "all"])
        .sandboxed()?;
    assert_eq!(output.code(), Some(0), "{}", output.all());
    let seen = Job::sh("cat early late")
        .dir(dir.path())
        .state(state.path())
        .flags(["--keep", "all"])
        .sandboxed()?;
    assert_eq!(seen.stdout_text(), "early\nlate\n", "{}", seen.all());
    Ok(())
}

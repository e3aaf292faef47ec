//! Tools that show, find and signal processes say what they say in a PID namespace of the kernel's, where bwrap(1) is process 1,
//! as sbox is here, and the first program is 2.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::{Job, Skip, Test, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        ps_and_top,
        pstree,
        pgrep_and_pidof,
        kill_and_killall,
        lsof,
        a_crowd_is_listed_in_order,
    ])
}

/// Processes 4 to 10, born in turn: jobs, a shell's children, and those of a session.
const THERE: &str = "rm -f a b; sleep 100 & sleep 200 &
    sh -c 'sleep 300 & sleep 400 & : > a; wait' & while [ ! -e a ]; do :; done
    setsid sh -c 'sleep 500 & : > b; wait' & while [ ! -e b ]; do :; done
    for p in 4 5 7 8 10; do c=; while [ \"$c\" != sleep ]; do read c < /proc/$p/comm; done; done; sleep 0.5
";

/// Runs a script behind [`THERE`] in a PID namespace and in sbox; what both say, each line made alike by `tidy`.
fn compare(programs: &[&str], script: &str, tidy: fn(&str) -> Option<String>) -> Test {
    let bwrap = need(&["/usr/bin/bwrap"])?;
    for program in programs {
        need(&[program])?;
    }
    need_sbox()?;
    let dir = scratch();
    let job = Job::sh(&format!("{THERE}{script}")).writable_dir(dir.path());
    let native = job.native_command();
    let mut command = Command::new(&bwrap);
    command.args(["--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"]);
    let inside = |mut command: Command, native: &Command, dir: &Path| {
        command.arg(native.get_program()).args(native.get_args());
        command.current_dir(dir).env_clear();
        for (name, value) in native.get_envs() {
            command.env(name, value.expect("set"));
        }
        support::job::run(command, &[], Duration::from_secs(60))
    };
    let output = inside(command, &native, dir.path());
    if output.stderr_text().starts_with("bwrap: ") {
        return Err(Skip(format!("no PID namespace: {}", output.stderr_text())));
    }
    let tidied = |output: &support::Output| {
        let text = output.stdout_text();
        let lines: Vec<String> = text.lines().filter_map(tidy).collect();
        assert!(lines.len() > 3, "{}", output.all());
        support::Output {
            status: output.status,
            stdout: lines.join("\n").into_bytes(),
            stderr: vec![],
            elapsed: output.elapsed,
        }
    };
    job.compare(&tidied(&output), &tidied(&job.run_sbox()));
    Ok(())
}

/// Some columns of a line, by number from 0; all from the last one on. `None` for process 1, which differs by its name, and whose
/// memory is nobody's business.
fn columns<const N: usize>(line: &str, pid: usize, kept: [usize; N]) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.get(pid) == Some(&"1") {
        return None;
    }
    let last = kept.last().copied().unwrap_or(0);
    let some = words.iter().enumerate();
    let some = some.filter(|(at, _)| kept.contains(at) || *at > last);
    Some(some.map(|(_, &word)| word).collect::<Vec<_>>().join(" "))
}

fn ps_and_top() -> Test {
    // User, number, state, command.
    compare(&["/usr/bin/ps"], "ps auxf", |l| {
        columns(l, 1, [0, 1, 7, 10])
    })?;
    compare(&["/usr/bin/ps"], "ps -ef", |l| columns(l, 1, [0, 1, 2, 7]))?;
    compare(
        &["/usr/bin/ps"],
        "ps -eLo pid,ppid,tid,nlwp,ni,pri,stat,comm,args; ps -o pid,ppid,pgid,sid,comm -s 9; ps --ppid 6 -o pid,cmd; ps -p 5,4 -o pid=,comm=",
        |l| columns(l, 0, [0]),
    )?;
    // Number, user, priority, nice value, state, command; of the head the counts of processes.
    compare(&["/usr/bin/top"], "top -bn1", |l| {
        let is_process = l.split_whitespace().count() == 12;
        match l {
            l if l.starts_with("Tasks:") => Some(l.to_owned()),
            l if is_process && !l.starts_with("top") => columns(l, 0, [0, 1, 2, 3, 7, 11]),
            _ => None,
        }
    })
}

fn pstree() -> Test {
    compare(
        &["/usr/bin/pstree"],
        "pstree -p 2; pstree -pa 2; pstree -p 6; pstree -ps 10; pstree -pn 2; pstree -pT",
        |l| {
            // What is drawn below the name of process 1 is as far to the right as that is long.
            match l.split_once("(1)") {
                Some((_, rest)) => Some(format!("1{rest}")),
                None => Some(l.trim_start().to_owned()),
            }
        },
    )
}

fn pgrep_and_pidof() -> Test {
    compare(
        &["/usr/bin/pgrep", "/usr/bin/pidof"],
        "pgrep -l sleep; pgrep -P $$; pgrep -fa '^sleep [34]'; pgrep -c sleep; pgrep -o sleep; pgrep -n sleep; pgrep -s 9 -l
         pgrep absent || echo none; pgrep -x slee || echo none; pgrep -g 9
         pidof sleep; pidof -s sleep; pidof -o 4 sleep; pidof absent || echo none",
        |l| Some(l.to_owned()),
    )
}

fn kill_and_killall() -> Test {
    compare(
        &["/usr/bin/killall", "/usr/bin/pkill"],
        "kill -0 2; echo $?; kill -0 4000000 2>&1; echo $?; kill 5; wait 5; echo $?; kill -KILL 4; wait 4; echo $?
         kill -STOP 8; sleep 0.1; ps -o pid,stat,comm 8; kill -CONT 8; sleep 0.1; ps -o pid,stat,comm 8
         pkill -f '^sleep 300'; echo $?; sleep 0.4; pgrep -l sleep; pkill -P 9; echo $?; sleep 0.4; ps -e -o pid=,comm=
         killall -w sleep; echo $?; killall sleep; echo $?; killall -0 sh; echo $?; pgrep -l sleep || echo none
         kill -TERM -- -9 2>&1; echo $?; ps -e -o pid,ppid,stat,comm",
        |l| columns(l, 0, [0]).or(Some("1".into())).filter(|l| l != "1"),
    )
}

fn lsof() -> Test {
    // Command, number, descriptor, type, name: devices and inodes of a view are its own.
    compare(
        &["/usr/bin/lsof"],
        "exec 5> file; lsof -p $$ 2>&1; lsof -c sleep -a -d cwd,txt; lsof -t file",
        |l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            // Those that the tests themselves were started with.
            let number = words.get(3)?.trim_end_matches(['r', 'w', 'u']);
            if number.parse::<u32>().is_ok_and(|fd| fd > 9) {
                return None;
            }
            let (last, first) = (words.last()?, words.get(..2)?);
            let kind = words.get(3..5).unwrap_or_default();
            Some([first, kind, &[last]].concat().join(" "))
        },
    )
}

/// More than a listing brings at once.
fn a_crowd_is_listed_in_order() -> Test {
    compare(
        &["/usr/bin/ps"],
        "i=0; while [ $i -lt 300 ]; do i=$((i+1)); sleep 60 & done
         ls -U /proc | grep '^[0-9]'; ps -e -o pid=,comm= ; kill -KILL $(pgrep sleep); ",
        |l| columns(l, 0, [0]),
    )
}

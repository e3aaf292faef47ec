//! Numbers of processes: the view's own agree among each other as the kernel's do, and no number of the host's is told.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::{Job, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        relations_hold_as_natively,
        no_number_of_the_hosts_is_told,
        relations_hold_with_the_hosts_numbers,
        numbers_begin_again,
        the_first_program_is_2_and_its_parent_is_1,
        process_1_is_there_and_can_not_be_touched,
        nothing_is_left_of_many_processes,
        signals_of_the_whole_group_are_sent_by_1,
        tools_show_what_is_there,
        killed_at_any_moment,
        filters_that_make_signals_of_calls,
        the_hosts_numbers_may_be_small_too,
    ])
}

/// Runs `pids` natively and in sbox; what it noted inside: the greatest number that it was told, and the last one born.
fn relations(flags: &[&str], differs: &[&str]) -> Result<(i64, i64), support::Skip> {
    let (program, outside, inside) = (guest("pids")?, scratch(), scratch());
    need_sbox()?;
    let job = Job::new([&program]).limit_secs(120);
    let native = job.clone().dir(outside.path()).native();
    native.assert_guest_ok("pids, natively");
    let boxed = job
        .clone()
        .flags(flags)
        .writable_dir(inside.path())
        .run_sbox();
    if differs.is_empty() {
        job.compare(&native, &boxed);
        boxed.assert_guest_ok("pids");
    }
    let text = boxed.stdout_text();
    let failed: Vec<&str> = text.lines().filter(|l| l.starts_with("FAIL")).collect();
    let unexpected = failed
        .iter()
        .filter(|l| !differs.iter().any(|d| l.contains(d)));
    assert_eq!(unexpected.count(), 0, "{failed:#?}");
    let held = text.lines().filter(|l| l.starts_with("ok ")).count();
    assert!(held > 200, "{held} relations");
    let note = text.lines().find(|l| l.starts_with("# greatest"));
    let words: Vec<&str> = note.expect("a note").split(' ').collect();
    let number = |at: usize| words[at].parse().expect("a number");
    Ok((number(2), number(4)))
}

fn relations_hold_as_natively() -> Test {
    let (greatest, last) = relations(&[], &[])?;
    // All numbers were given to processes of this run. The guest makes fewer than a thousand.
    assert!(greatest <= last && last < 1000, "{greatest} {last}");
    Ok(())
}

/// Where the guest has found numbers of the host's in its memory, and behind which relation; `sbox`: in the sandbox.
fn words_of_the_host(program: &Path, boxed: bool) -> Result<BTreeSet<String>, support::Skip> {
    let dir = scratch();
    let job = Job::new([program]).writable_dir(dir.path());
    let command = match boxed {
        true => job.sbox_command(),
        false => Command::new(program),
    };
    // The shell's number becomes sbox's.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" search $$", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(dir.path());
    let output = support::job::run(shell, &[], Duration::from_secs(120));
    output.assert_guest_ok("pids search");
    let text = output.stdout_text();
    if text.contains("# no number is told") {
        return Err(support::Skip("no futex with priority inheritance".into()));
    }
    let held = text.lines().filter(|l| l.starts_with("ok ")).count();
    assert!(held > 200, "{held} relations");
    let hits = text.lines().filter(|l| l.starts_with("# host"));
    // There libc itself takes the number from its own word.
    let hits = hits.filter(|l| !l.ends_with(" pthread_sigqueue") && !l.ends_with(" pthread_kill"));
    Ok(hits.map(str::to_owned).collect())
}

/// In no result of any call, wherever in memory it came to lie. What two runs have at the same place is no chance.
fn no_number_of_the_hosts_is_told() -> Test {
    let program = guest("pids")?;
    need_sbox()?;
    let [first, second] = [(); 2].map(|()| words_of_the_host(&program, true));
    let (first, second) = (first?, second?);
    let told: Vec<_> = first.intersection(&second).collect();
    assert!(told.is_empty(), "{told:#?}");
    // It would be found: natively all numbers are the host's.
    let found = words_of_the_host(&program, false)?.len();
    assert!(found > 1000, "{found} places");
    Ok(())
}

/// There the tracer is seen.
fn relations_hold_with_the_hosts_numbers() -> Test {
    relations(&["--pids", "host"], &["no tracer"]).map(drop)
}

/// Numbers don't rise for ever: but for that, all holds.
fn numbers_begin_again() -> Test {
    let (greatest, _) = relations(&["--pid-max", "60"], &["each number is above"])?;
    assert!(greatest < 60, "{greatest}");
    Ok(())
}

/// What a script prints in sbox.
fn says(script: &str) -> Result<String, support::Skip> {
    need_sbox()?;
    let out = Job::sh(script).flags(["--cwd", "/"]).run_sbox();
    assert!(out.status.success(), "{}", out.all());
    Ok(out.stdout_text())
}

fn the_first_program_is_2_and_its_parent_is_1() -> Test {
    let said = says("echo $$ $PPID; sh -c 'echo $$ $PPID'; (sh -c 'echo $$'); echo /proc/[0-9]*")?;
    assert_eq!(said, "2 1\n3 2\n4\n/proc/1 /proc/2\n");
    // An orphan's parent.
    let said = says("(sh -c 'sleep 0.2; grep PPid /proc/$$/status; exit' &); sleep 0.6; true")?;
    assert_eq!(said, "PPid:\t1\n");
    Ok(())
}

fn process_1_is_there_and_can_not_be_touched() -> Test {
    let said = says(
        "cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline; echo
         cut -d' ' -f1-6 /proc/1/stat; grep -E '^(Name|Pid|PPid|Threads)' /proc/1/status
         ls /proc/1; for s in 9 0; do (kill -$s 1) 2>&1 | grep -o 'not permitted'; done
         cat /proc/1/environ /proc/1/maps 2>/dev/null || echo nothing else
         renice 5 1 >/dev/null 2>&1 || echo refused",
    )?;
    assert_eq!(
        said,
        "sbox\nsbox \n1 (sbox) S 0 1 1\nName:\tsbox\nPid:\t1\nPPid:\t0\nThreads:\t1\n\
         cmdline\ncomm\nstat\nstatm\nstatus\nnot permitted\nnot permitted\nnothing else\nrefused\n"
    );
    Ok(())
}

fn nothing_is_left_of_many_processes() -> Test {
    let said = says(
        "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); (exit 0); done
         (sleep 0.1 &) ; sleep 0.4; echo /proc/[0-9]*; sh -c 'test $$ -gt 1500 && echo counted'",
    )?;
    assert_eq!(said, "/proc/1 /proc/2\ncounted\n");
    Ok(())
}

/// The group that sbox itself is in.
fn signals_of_the_whole_group_are_sent_by_1() -> Test {
    let program = "import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print(os.getpgrp(), os.getsid(0), os.getpgid(1))
os.kill(0, signal.SIGUSR1)
print(signal.sigwaitinfo([signal.SIGUSR1]).si_pid)
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwaitinfo([signal.SIGUSR1]).si_pid == os.getpid())";
    let python = support::need(&["/usr/bin/python3"])?;
    need_sbox()?;
    let out = Job::new([python.as_str(), "-c", program])
        .flags(["--cwd", "/"])
        .run_sbox();
    let said = out.stdout_text();
    assert!(said.ends_with("\n1\nTrue\n"), "{}", out.all());
    Ok(())
}

/// procps and psmisc, and a shell's jobs.
fn tools_show_what_is_there() -> Test {
    support::need(&["/usr/bin/ps", "/bin/ps"])?;
    let said = says(
        "sleep 77 & p=$!
         ps -o pid=,ppid=,comm= -e > /tmp/ps; tr -s ' ' < /tmp/ps | grep -v ps | sort -n
         [ \"$(pgrep -x sleep)\" = $p ] && echo pgrep; [ \"$(pidof sleep)\" = $p ] && echo pidof
         kill $p; wait $p; echo $?; kill -0 $p 2>/dev/null || echo gone",
    )?;
    assert_eq!(
        said,
        " 1 0 sbox\n 2 1 sh\n 3 2 sleep\npgrep\npidof\n143\ngone\n"
    );
    Ok(())
}

/// With numbers that soon begin again, so that one that is lost would be found by the next who gets it.
fn killed_at_any_moment() -> Test {
    let program = guest("pids_storm")?;
    need_sbox()?;
    let job = Job::new([&program]).flags(["--cwd", "/", "--pid-max", "40"]);
    job.native().assert_guest_ok("pids_storm, natively");
    job.run_sbox().assert_guest_ok("pids_storm");
    Ok(())
}

/// They see calls as they were made, but for those that name others by number: these they see twice.
fn filters_that_make_signals_of_calls() -> Test {
    let job = Job::new([&guest("trapped")?]).flags(["--cwd", "/"]);
    job.both()?.assert_guest_ok("trapped");
    Ok(())
}

/// In a container the host's numbers are those of the view, of others.
fn the_hosts_numbers_may_be_small_too() -> Test {
    let (program, dir) = (guest("pids")?, scratch());
    let bwrap = support::need(&["/usr/bin/bwrap"])?;
    need_sbox()?;
    let contained = || {
        let mut command = Command::new(&bwrap);
        command.args(["--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"]);
        command
    };
    if !contained()
        .arg("true")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        return Err(support::Skip("no pid namespace".into()));
    }
    let plain = Job::new([&program]).writable_dir(dir.path()).sbox_command();
    let mut command = contained();
    command.arg(plain.get_program()).args(plain.get_args());
    command.current_dir(dir.path()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("set"));
    }
    let out = support::job::run(command, &[], Duration::from_secs(60));
    out.assert_guest_ok("pids");
    assert!(
        out.stdout_text().matches("ok ").count() > 200,
        "{}",
        out.all()
    );
    Ok(())
}

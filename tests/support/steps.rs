//! Killing a program at a step of its own: as it enters its Nth system call, which then isn't done.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

/// Which steps are tried: all if `SBOX_KILL_ALL` is set, else every fourth, by turns with the clock.
pub(crate) fn is_chosen(step: u64) -> bool {
    static TURN: OnceLock<Option<u64>> = OnceLock::new();
    let turn = TURN.get_or_init(|| match std::env::var_os("SBOX_KILL_ALL") {
        Some(_) => None,
        None => UNIX_EPOCH.elapsed().ok().map(|now| now.as_secs() % 4),
    });
    turn.is_none_or(|turn| step % 4 == turn)
}

/// Runs `command` and kills it at its `at`th system call. The command prints a line, and waits for one on its
/// standard input, before it does what is of interest; what comes before is not counted. False if it ended
/// before.
#[expect(clippy::zombie_processes, reason = "waited for below, by waitpid(2)")]
pub(crate) fn kill_at(command: &mut Command, at: u64) -> bool {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command is there");
    let first = Pid::from_raw(child.id().cast_signed());
    let mut pipe = BufReader::new(child.stdout.take().expect("a pipe"));
    pipe.read_line(&mut String::new()).expect("it says when");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(first, options).expect("a child can be traced");
    ptrace::interrupt(first).expect("it runs");
    let mut input = child.stdin.take();
    let (mut calls, mut killed) = (0, false);
    loop {
        // Only what this thread traces: other tests have children, too.
        let flags = WaitPidFlag::__WNOTHREAD | WaitPidFlag::__WALL;
        let status = match waitpid(Pid::from_raw(-1), Some(flags)) {
            Err(Errno::ECHILD) => break,
            other => other.expect("children to wait for"),
        };
        let (task, signal) = match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceSyscall(task) => {
                if at_a_step(task) == Ok(true) {
                    calls += 1;
                    if calls == at {
                        kill(first, Signal::SIGKILL).expect("it is there");
                        killed = true;
                    }
                }
                (task, None)
            }
            WaitStatus::PtraceEvent(task, ..) => {
                // Stopped for the first time: from here every call is seen.
                if let Some(mut input) = input.take() {
                    input.write_all(b"\n").expect("it reads");
                }
                (task, None)
            }
            WaitStatus::Stopped(task, signal) => (task, Some(signal)),
            other => panic!("{other:?}"),
        };
        match ptrace::syscall(task, signal) {
            // Being killed, it left the stop by itself.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("restarting {task}: {errno}"),
        }
    }
    killed
}

/// True where a call is entered that doesn't wait for the line. ESRCH: the task is being killed.
fn at_a_step(task: Pid) -> nix::Result<bool> {
    let entered = ptrace::syscall_info(task)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
    let registers = ptrace::getregs(task)?;
    let waits = registers.orig_rax == libc::SYS_read as u64 && registers.rdi == 0;
    Ok(entered && !waits)
}

//! Finds the order in which a start first comes to the functions of `sbox`, for the linker (see `build.rs`).
//!
//! `cargo bench --bench order -- --write` rewrites `src/start.order`; without `--write` it tells how many 64 KiB of text are touched, each of
//! which is a page fault. Starts are followed instruction by instruction, which takes half a minute each.

use std::collections::HashSet;
use std::error::Error;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use goblin::elf::{Elf, sym};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What is started most: with and without a layer, under a policy.
const STARTS: [&[&str]; 3] = [
    &["--ro", "DIR", "--cwd", "/"],
    &["--cow", "DIR", "--cwd", "DIR"],
    &["--policy", "std/cli", "--cwd", "/"],
];

fn main() -> ExitCode {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    // `cargo test --benches` passes no --bench.
    if !has("--bench") {
        return ExitCode::SUCCESS;
    }
    match order(has("--write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("order: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn order(write: bool) -> Fallible<()> {
    let program = env!("CARGO_BIN_EXE_sbox");
    let bytes = std::fs::read(program)?;
    let functions = functions(&Elf::parse(&bytes)?);
    let text = functions.first().map_or(0, |f| f.0)..=functions.last().map_or(0, |f| f.0);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (mut met, mut names) = (HashSet::new(), Vec::new());
    for start in STARTS {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read go; exec \"$0\" \"$@\"", program, "run", "-q"]);
        for word in start {
            let is_dir = *word == "DIR";
            command.arg(if is_dir {
                dir.path().as_os_str()
            } else {
                word.as_ref()
            });
        }
        command
            .args(["--", "/bin/true"])
            .env("XDG_STATE_HOME", dir.path().join("state"));
        let mut windows = HashSet::new();
        follow(command, |at| {
            if !text.contains(&at) {
                return;
            }
            windows.insert(at >> 16);
            let next = functions.partition_point(|(start, _)| *start <= at);
            if let Some((start, name)) = next.checked_sub(1).and_then(|i| functions.get(i))
                && met.insert(*start)
            {
                names.push(name.clone());
            }
        })?;
        println!(
            "{}: {} times 64 KiB of text",
            start.join(" "),
            windows.len()
        );
    }
    println!("{} functions in all", names.len());
    if write {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/start.order");
        std::fs::write(path, names.join("\n") + "\n")?;
    }
    Ok(())
}

/// Where functions begin, in order, and their names.
fn functions(elf: &Elf<'_>) -> Vec<(u64, String)> {
    let functions = elf
        .syms
        .iter()
        .filter(|symbol| symbol.st_type() == sym::STT_FUNC);
    let named = functions.filter_map(|symbol| {
        let name = elf.strtab.get_at(symbol.st_name)?;
        Some((symbol.st_value, name.to_owned()))
    });
    let mut all: Vec<_> = named.filter(|(at, _)| *at != 0).collect();
    all.sort();
    all.dedup_by_key(|(at, _)| *at);
    all
}

/// Runs what a shell that waits for a line is about to execute, and tells of each instruction of its first thread.
fn follow(mut command: Command, mut at: impl FnMut(u64)) -> Fallible<()> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(child.id().try_into()?);
    ptrace::seize(
        pid,
        Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL,
    )?;
    child.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    let mut runs = false;
    loop {
        let signal = match waitpid(pid, None)? {
            WaitStatus::Exited(_, 0) if runs => return Ok(()),
            WaitStatus::PtraceEvent(..) => {
                runs = true;
                None
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            ended => return Err(format!("{ended:?}").into()),
        };
        if runs {
            at(ptrace::getregs(pid)?.rip);
            ptrace::step(pid, signal)?;
        } else {
            ptrace::cont(pid, signal)?;
        }
    }
}

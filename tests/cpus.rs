//! CPUs taken from a run while it runs (cpuset(7)).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use support::{Job, Skip, Test, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![all_cpus_but_one_are_taken_away])
}

/// A set of CPUs, for the processes that enter it.
struct CpuSet {
    dir: PathBuf,
    /// The file by which a process enters.
    door: &'static str,
}

impl CpuSet {
    /// With all there are: by version 1 of control groups, else by version 2.
    fn new() -> Option<Self> {
        let name = format!("sbox-test-{}", std::process::id());
        let roads = [
            ("/sys/fs/cgroup/cpuset", "tasks"),
            ("/sys/fs/cgroup", "cgroup.procs"),
        ];
        roads.into_iter().find_map(|(above, door)| {
            let set = Self {
                dir: Path::new(above).join(&name),
                door,
            };
            fs::create_dir(&set.dir).ok()?;
            let all = |file: &str| {
                let of = [".effective", ""].iter().find_map(|kind| {
                    fs::read_to_string(format!("{above}/cpuset.{file}{kind}")).ok()
                });
                of.filter(|all| !all.trim().is_empty())
            };
            for file in ["mems", "cpus"] {
                fs::write(set.dir.join(format!("cpuset.{file}")), all(file)?).ok()?;
            }
            Some(set)
        })
    }

    fn narrow(&self, to: &str) {
        fs::write(self.dir.join("cpuset.cpus"), to).expect("cpuset.cpus");
    }
}

impl Drop for CpuSet {
    fn drop(&mut self) {
        // Whoever was in it is gone, unless the test has failed.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Where a process may run, as the kernel lists it: `0-3`.
fn allowed(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}

/// While all of a run are on one CPU, as they are when one at a time has something to do, that one is all that is left of the
/// machine. Then two want to run: they can't part, and must not try for ever.
fn all_cpus_but_one_are_taken_away() -> Test {
    need_sbox()?;
    let Some(set) = CpuSet::new() else {
        return Err(Skip("no set of CPUs can be made".into()));
    };
    let dir = scratch();
    let script = "while [ ! -e go ]; do (:); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done
        busy() { i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; }
        busy & busy & wait; (:); cat /etc/hostname";
    let boxed = Job::sh(script).writable_dir(dir.path()).sbox_command();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
        .arg(set.dir.join(set.door))
        .arg(boxed.get_program())
        .args(boxed.get_args())
        .current_dir(dir.path());
    let mut child = command
        .stdout(fs::File::create(dir.path().join("out")).expect("create"))
        .spawn()
        .expect("sh");
    let started = Instant::now();
    let one = loop {
        let now = allowed(child.id());
        // The shell has all, sbox one, if the machine lets it.
        if !now.is_empty() && now.parse::<u32>().is_ok() {
            break now;
        }
        if started.elapsed() > Duration::from_secs(30) {
            child.kill().expect("kill");
            child.wait().expect("wait");
            return Err(Skip(
                "never on one CPU: this machine has no other, or no idle moment".into(),
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    set.narrow(&one);
    fs::write(dir.path().join("go"), "").expect("write");
    let status = support::job::wait(&mut child, Duration::from_secs(60));
    assert!(status.is_some_and(|s| s.success()), "{status:?}");
    let said = fs::read_to_string(dir.path().join("out")).expect("read");
    assert_eq!(said, "sbox\n");
    Ok(())
}

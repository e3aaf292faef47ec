//! Running a command natively and in sbox, with a time limit, and comparing.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Skip, guest, need_sbox, sbox};

/// The environment of every job, inside and outside: nothing of the caller's matters.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command to run, natively or in sbox.
#[derive(Clone)]
pub(crate) struct Job {
    argv: Vec<OsString>,
    flags: Vec<OsString>,
    dir: Option<PathBuf>,
    env: Vec<(String, String)>,
    state: Option<PathBuf>,
    stdin: Vec<u8>,
    limit: Duration,
    ignore_stderr: bool,
}

/// How a job ended, and what it said.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
}

impl Job {
    /// A program by absolute path (or found in PATH) with its arguments.
    pub(crate) fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|a| a.as_ref().to_owned()).collect(),
            flags: vec![],
            dir: None,
            env: vec![],
            state: None,
            stdin: vec![],
            limit: Duration::from_secs(60),
            ignore_stderr: false,
        }
    }

    /// A shell command.
    pub(crate) fn sh(script: &str) -> Self {
        Self::new(["/bin/sh", "-c", script])
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Flags for `sbox run`, of no effect natively.
    pub(crate) fn flags<S: AsRef<OsStr>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags
            .extend(flags.into_iter().map(|f| f.as_ref().to_owned()));
        self
    }

    /// The current directory, natively and for sbox itself. By default copy-on-write inside, as sbox has it.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// The current directory, writable inside too.
    pub(crate) fn writable_dir(self, dir: &Path) -> Self {
        self.flags([OsStr::new("--rw"), dir.as_os_str()]).dir(dir)
    }

    /// A variable, set natively and by `--env`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where sbox itself keeps the layers of copy-on-write mounts.
    pub(crate) fn state(mut self, dir: &Path) -> Self {
        self.state = Some(dir.to_owned());
        self
    }

    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_owned();
        self
    }

    /// The time after which the job is killed and the test fails. One minute unless told.
    pub(crate) fn limit_secs(mut self, secs: u64) -> Self {
        self.limit = Duration::from_secs(secs);
        self
    }

    /// For programs whose messages hold times or numbers: [`Job::both`] won't compare stderr.
    pub(crate) fn ignore_stderr(mut self) -> Self {
        self.ignore_stderr = true;
        self
    }

    fn command(&self, argv: &[OsString]) -> Command {
        let (program, args) = argv.split_first().expect("a program");
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb");
        command.env("HOME", std::env::var_os("HOME").unwrap_or("/".into()));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// The command as it runs outside.
    pub(crate) fn native_command(&self) -> Command {
        let mut command = self.command(&self.argv);
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Arguments of sbox for this job, beginning with `run`.
    pub(crate) fn sbox_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            "run".into(),
            "-q".into(),
            "--ro".into(),
            guest::dir().into(),
        ];
        for (name, value) in &self.env {
            args.extend(["--env".into(), format!("{name}={value}").into()]);
        }
        args.extend(self.flags.iter().cloned());
        args.push("--".into());
        args.extend(self.argv.iter().cloned());
        args
    }

    /// The command as it runs inside.
    pub(crate) fn sbox_command(&self) -> Command {
        let mut argv = vec![sbox().into_os_string()];
        argv.extend(self.sbox_args());
        let mut command = self.command(&argv);
        let state = self.state.clone();
        command.env("XDG_STATE_HOME", state.unwrap_or_else(super::scratch_base));
        command
    }

    pub(crate) fn native(&self) -> Output {
        run(self.native_command(), &self.stdin, self.limit)
    }

    /// Runs in sbox, or skips where sbox can't work.
    pub(crate) fn sandboxed(&self) -> Result<Output, Skip> {
        need_sbox()?;
        Ok(self.run_sbox())
    }

    pub(crate) fn run_sbox(&self) -> Output {
        run(self.sbox_command(), &self.stdin, self.limit)
    }

    /// Runs natively, then in sbox: same stdout (but for lines beginning with `# `), stderr and status. Returns the second.
    pub(crate) fn both(&self) -> Result<Output, Skip> {
        need_sbox()?;
        let (outside, inside) = (self.native(), self.run_sbox());
        self.compare(&outside, &inside);
        Ok(inside)
    }

    /// Panics with the first differences if two runs aren't alike.
    pub(crate) fn compare(&self, outside: &Output, inside: &Output) {
        let mut wrong = differences("stdout", &outside.stdout, &inside.stdout);
        if !self.ignore_stderr {
            wrong.extend(differences("stderr", &outside.stderr, &inside.stderr));
        }
        if outside.status != inside.status {
            wrong.push(format!(
                "status: natively {}, in sbox {}",
                outside.status, inside.status
            ));
        }
        let stderr = inside.stderr_text();
        assert!(
            wrong.is_empty(),
            "natively and in sbox differ:\n{}\nstderr in sbox: {}",
            wrong.join("\n"),
            tail(&stderr)
        );
    }
}

/// Lines of one and not of the other, in order, at most 40.
fn differences(name: &str, outside: &[u8], inside: &[u8]) -> Vec<String> {
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes)
            .lines()
            .filter(|l| !l.starts_with("# "))
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (lines(outside), lines(inside));
    if a == b {
        return vec![];
    }
    let mut out = vec![format!(
        "{name}: {} lines natively, {} in sbox",
        a.len(),
        b.len()
    )];
    let (mut i, mut j) = (0, 0);
    while (i < a.len() || j < b.len()) && out.len() < 40 {
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x == y => (i, j) = (i + 1, j + 1),
            (Some(x), y) => {
                // Step over whichever side has lines that the other lacks; a changed line is both.
                let later_in_b = b.iter().skip(j).take(60).position(|l| l == x);
                let later_in_a = y.and_then(|y| a.iter().skip(i).take(60).position(|l| l == y));
                match (later_in_b, later_in_a, y) {
                    (Some(n), a_n, _) if n > 0 && a_n.is_none_or(|m| n <= m) => {
                        out.extend(b.iter().skip(j).take(n).map(|l| format!("  + {l}")));
                        j += n;
                    }
                    (_, Some(m), _) if m > 0 => {
                        out.extend(a.iter().skip(i).take(m).map(|l| format!("  - {l}")));
                        i += m;
                    }
                    (_, _, Some(y)) => {
                        out.push(format!("  - {x}"));
                        out.push(format!("  + {y}"));
                        (i, j) = (i + 1, j + 1);
                    }
                    (_, _, None) => {
                        out.push(format!("  - {x}"));
                        i += 1;
                    }
                }
            }
            (None, Some(y)) => {
                out.push(format!("  + {y}"));
                j += 1;
            }
            (None, None) => break,
        }
    }
    out
}

/// The end of a long text.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(2000);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Runs to the end, or kills the process group at the limit and fails.
pub(crate) fn run(mut command: Command, stdin: &[u8], limit: Duration) -> Output {
    let started = Instant::now();
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.stdin(if stdin.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    });
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    if let Some(mut pipe) = child.stdin.take() {
        let bytes = stdin.to_owned();
        std::thread::spawn(move || pipe.write_all(&bytes)); // a program that doesn't read is its own business
    }
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, limit);
    // What the program left running may hold the pipes open; it isn't waited for long.
    let patience = Duration::from_secs(if status.is_some() { 3 } else { 1 });
    let read = |from: mpsc::Receiver<Vec<u8>>| {
        from.recv_timeout(patience).unwrap_or_else(|_| {
            kill_group(&child);
            from.recv_timeout(patience).unwrap_or_default()
        })
    };
    let (stdout, stderr) = (read(stdout), read(stderr));
    let Some(status) = status else {
        panic!(
            "{command:?}: still running after {limit:?}\nstdout: {}\nstderr: {}",
            tail(&String::from_utf8_lossy(&stdout)),
            tail(&String::from_utf8_lossy(&stderr))
        );
    };
    Output {
        status,
        stdout,
        stderr,
        elapsed: started.elapsed(),
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = vec![];
        if let Some(mut pipe) = pipe {
            let _partial_is_fine = pipe.read_to_end(&mut bytes);
        }
        send.send(bytes)
    });
    receive
}

/// Waits for a child; at the limit kills its group and returns `None`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
        if Instant::now() > deadline {
            kill_group(child);
            child.kill().expect("kill");
            child.wait().expect("wait");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills the process group that [`run`] gave the child.
fn kill_group(child: &Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    let _gone_already_is_fine = killpg(group, Signal::SIGKILL);
}

impl Output {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    pub(crate) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Everything, for messages.
    pub(crate) fn all(&self) -> String {
        format!(
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout_text(),
            self.stderr_text()
        )
    }

    /// Without the lines that begin so.
    pub(crate) fn without(&self, beginnings: &[&str]) -> Self {
        let keep = |l: &&str| !beginnings.iter().any(|b| l.starts_with(b));
        let text = self.stdout_text();
        let lines: Vec<&str> = text.lines().filter(keep).collect();
        Self {
            status: self.status,
            stdout: lines.join("\n").into_bytes(),
            stderr: self.stderr.clone(),
            elapsed: self.elapsed,
        }
    }

    /// For guests: exit status 0 and no line beginning with FAIL.
    pub(crate) fn assert_guest_ok(&self, name: &str) {
        let text = self.stdout_text();
        let failed: Vec<&str> = text
            .lines()
            .filter(|l| l.starts_with("FAIL"))
            .take(40)
            .collect();
        let failed = failed.join("\n");
        assert!(
            self.code() == Some(0) && failed.is_empty(),
            "{name}: {}\n{failed}\nstderr: {}",
            self.status,
            tail(&self.stderr_text())
        );
        assert!(text.lines().count() > 0, "{name} said nothing");
    }
}

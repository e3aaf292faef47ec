//! What is told of refusals: the summary, `-v`, `--report`; and the modes that tell instead of refusing.
//!
//! Long because each case brings its policy and its program.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use support::{Output, Test, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        a_flood_is_told_in_few_lines,
        a_report_is_lines_of_json,
        a_report_follows_no_link,
        a_killed_run_leaves_whole_lines,
        each_refusal_is_explained,
        what_would_allow_it_does,
        an_audit_refuses_nothing_and_changes_nothing,
        an_audit_keeps_what_nothing_opens,
        a_shadow_tells_the_difference,
        a_rule_that_kills_ends_all,
        best_effort_says_what_is_missing,
        conditions_on_arguments,
    ])
}

/// A directory with a policy that denies some of it, the guest, and a state of its own.
struct Case {
    dir: tempfile::TempDir,
}

const POLICY: &str = r#"sbox = 1
extends = "std/cli"
[files]
"${cwd}/ro/**" = "r"
"${cwd}/deny/**" = { do = "deny", why = "not before the exam" }
"${cwd}/gone/**" = "hide"
[syscalls]
"getrandom" = "deny ENOSYS"
"#;

impl Case {
    fn new(policy: &str) -> Self {
        let dir = scratch();
        for name in ["ro", "deny", "gone"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
            fs::write(dir.path().join(name).join("file"), "text\n").expect("write");
        }
        fs::write(dir.path().join("p.toml"), policy).expect("write");
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, flags: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new(support::sbox());
        command.args(["run", "--policy", "p.toml"]).args(flags);
        command.arg("--").args(program).current_dir(self.path());
        command.env("XDG_STATE_HOME", self.path().join("state"));
        command
    }

    fn run(&self, flags: &[&str], program: &[&str]) -> Output {
        support::job::run(self.command(flags, program), b"", Duration::from_secs(120))
    }

    fn sh(&self, flags: &[&str], script: &str) -> Output {
        self.run(flags, &["/bin/sh", "-c", script])
    }

    /// The records of a report; each line must be one.
    fn report(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join(name)).expect("report");
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        let plain = |c: char| c == '\n' || !c.is_control();
        assert!(text.chars().all(plain), "controls in {text:?}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    }

    /// The guest, where the view shows it.
    fn guest(&self) -> Result<String, support::Skip> {
        let built = guest_static("denied")?;
        fs::copy(built, self.path().join("denied")).expect("copy");
        Ok("./denied".into())
    }
}

fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    let all = records.iter();
    all.filter(|record| record["event"] == event).collect()
}

const ANSWERS: &str = "30 13 38\n30 13 38\n30 13 38\n30 13 38\n";

fn a_flood_is_told_in_few_lines() -> Test {
    need_sbox()?;
    let case = Case::new(POLICY);
    let guest = case.guest()?;
    let plain = case.run(&[], &[&guest, "3000", "r.json"]);
    assert!(plain.stdout_text().starts_with(ANSWERS), "{}", plain.all());
    assert_eq!(plain.code(), Some(7), "{}", plain.all());
    let said = plain.stderr_text();
    // The C library may ask for random bytes, too.
    assert!(said.contains("sbox: 3600"), "{said}");
    assert!(said.contains(" calls denied, by 3 rules"), "{said}");
    assert!(
        said.contains("  12000 by files.\"${cwd}/ro/**\" = \"r\" (p.toml:4)"),
        "{said}"
    );
    assert!(
        said.contains(" by syscalls.\"getrandom\" = \"deny ENOSYS\" (p.toml:8)"),
        "{said}"
    );
    assert!(said.lines().count() <= 6, "{said}");
    // One thread has asked for more different names than are told.
    let told = case.run(&["-v", "--report", "r.json"], &[&guest, "6000", "r.json"]);
    assert!(
        told.stdout_text().starts_with(ANSWERS),
        "{}",
        told.stdout_text()
    );
    assert!(
        told.stdout_text()
            .contains("report: open 2 unlink 2 link 2 rename 2 stat 2"),
        "a guest has found the report: {}",
        told.stdout_text()
    );
    assert!(
        told.stderr_text().contains("sbox: 7200"),
        "{}",
        told.stdout_text()
    );
    let records = case.report("r.json");
    assert!(records.len() < 5000, "{}", records.len());
    let end = records.last().expect("end");
    assert_eq!((&end["event"], &end["status"]), (&"end".into(), &7.into()));
    // Looking for the report is not refused: it is not there.
    let calls = end["denied"].as_u64().expect("denied");
    assert!((72000..72010).contains(&calls), "{end}");
    assert!(end["untold"].as_u64() > Some(1000), "{end}");
    let again: u64 = of(&records, "again")
        .iter()
        .filter_map(|r| r["times"].as_u64())
        .sum();
    let denied = of(&records, "denied").len() as u64;
    assert_eq!(denied + again + end["untold"].as_u64().unwrap_or(0), calls);
    Ok(())
}

fn a_report_is_lines_of_json() -> Test {
    need_sbox()?;
    let case = Case::new(POLICY);
    fs::write(case.path().join("r.json"), "old\n").expect("write");
    fs::set_permissions(
        case.path().join("r.json"),
        fs::Permissions::from_mode(0o666),
    )
    .expect("chmod");
    let output = case.sh(
        &["-q", "--report", "r.json"],
        "ls r.json; cat deny/file; cat gone/file; echo x > \"$(printf 'ro/a\\nb\\033[m\\377')\"; exit 5",
    );
    assert_eq!(output.code(), Some(5), "{}", output.all());
    assert!(
        output.stdout_text().is_empty(),
        "the report is seen: {}",
        output.all()
    );
    let meta = fs::metadata(case.path().join("r.json")).expect("report");
    assert_eq!(meta.mode() & 0o777, 0o600);
    let records = case.report("r.json");
    assert_eq!(records[0]["event"], "start");
    assert_eq!(
        (&records[0]["mode"], &records[0]["policy"]),
        (&"enforce".into(), &"p.toml".into())
    );
    let denied = of(&records, "denied");
    let one = |call: &str, path: &str| {
        let found = denied
            .iter()
            .find(|r| r["call"] == call && r["path"] == path);
        found.unwrap_or_else(|| panic!("no {call} {path} in {denied:#?}"))
    };
    let base = case.path().display();
    let deny = one("openat", &format!("{base}/deny/file"));
    assert_eq!(deny["answer"], "-1 EACCES");
    assert_eq!(
        (&deny["file"], &deny["line"]),
        (&"p.toml".into(), &5.into()),
        "{deny}"
    );
    assert_eq!(deny["rule"], "files.\"${cwd}/deny/**\"");
    assert_eq!(
        (&deny["wanted"], &deny["why"]),
        (&"read".into(), &"not before the exam".into())
    );
    let gone = one("openat", &format!("{base}/gone/file"));
    assert_eq!(
        (&gone["answer"], &gone["line"]),
        (&"-1 ENOENT".into(), &6.into())
    );
    let odd = one("openat", &format!("{base}/ro/a\\nb\\x1b[m\\xff"));
    assert_eq!(odd["answer"], "-1 EROFS", "{odd}");
    assert_eq!(records.last().expect("end")["status"], 5);
    Ok(())
}

fn a_report_follows_no_link() -> Test {
    need_sbox()?;
    let case = Case::new(POLICY);
    let victim = case.path().join("victim");
    fs::write(&victim, "precious\n").expect("write");
    symlink("victim", case.path().join("link")).expect("symlink");
    fs::hard_link(&victim, case.path().join("hard")).expect("link");
    nix::unistd::mkfifo(&case.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    for (name, why) in [
        ("link", "symbolic link"),
        ("hard", "no file with one name"),
        ("fifo", "--report fifo"),
        ("deny", "--report deny"),
        ("missing/r", "No such file"),
    ] {
        let output = case.sh(&["-q", "--report", name], "echo ran");
        assert_eq!(output.code(), Some(125), "{name}: {}", output.all());
        assert!(
            output.stderr_text().contains(why),
            "{name}: {}",
            output.all()
        );
        assert_eq!(output.stdout_text(), "", "{name}: nothing is run");
    }
    assert_eq!(fs::read_to_string(&victim).expect("victim"), "precious\n");
    Ok(())
}

fn a_killed_run_leaves_whole_lines() -> Test {
    need_sbox()?;
    let case = Case::new(POLICY);
    let guest = case.guest()?;
    let mut command = case.command(
        &["-q", "--report", "r.json"],
        &[&guest, "1000000000", "r.json"],
    );
    let mut running = command.stderr(Stdio::null()).spawn().expect("spawn");
    let start = Instant::now();
    let path = case.path().join("r.json");
    while fs::metadata(&path).map_or(0, |meta| meta.len()) < 4000 {
        assert!(start.elapsed() < Duration::from_secs(60), "no report");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().expect("kill");
    running.wait().expect("wait");
    let records = case.report("r.json");
    assert!(of(&records, "denied").len() > 3);
    assert!(of(&records, "end").is_empty(), "a report without its end");
    Ok(())
}

fn each_refusal_is_explained() -> Test {
    need_sbox()?;
    let case = Case::new(&format!(
        "{POLICY}[forbid]\nfiles = [\"${{cwd}}/deny/no\"]\n"
    ));
    fs::write(case.path().join("deny/no"), "").expect("write");
    let output = case.sh(
        &["-qv"],
        "cat deny/file; cat gone/file; cat deny/no; mv ro/file ro/b",
    );
    let said = output.stderr_text();
    let base = case.path().display();
    for wanted in [
        format!(
            "  because: files.\"${{cwd}}/deny/**\" = {{ do = \"deny\", why = \"not before the exam\" }} (p.toml:5)\n  \
             why: not before the exam\n  wanted: to read {base}/deny/file (task "
        ),
        format!("  would allow it: [files] \"{base}/deny/file\" = \"r\"\n"),
        format!("  wanted: to look {base}/gone/file (task "),
        "would allow it: none: what [forbid] lists no rule opens again".into(),
        format!("  wanted: to delete {base}/ro/file (task "),
    ] {
        assert!(said.contains(&wanted), "no {wanted:?} in {said}");
    }
    Ok(())
}

/// The rule that is named makes the same call succeed, and nothing beside.
fn what_would_allow_it_does() -> Test {
    need_sbox()?;
    let case = Case::new(POLICY);
    let script = "cat deny/file && cat gone/file";
    let mut policy = POLICY.to_owned();
    for _ in 0..4 {
        fs::write(case.path().join("p.toml"), &policy).expect("write");
        let output = case.sh(&["-q", "--report", "r.json"], script);
        if output.code() == Some(0) {
            assert_eq!(output.stdout_text(), "text\ntext\n");
            assert_eq!(case.sh(&["-q"], "ls gone/; cat deny/no").code(), Some(1));
            return Ok(());
        }
        let records = case.report("r.json");
        let base = case.path().display().to_string();
        let below = |r: &&&Value| {
            r["path"]
                .as_str()
                .is_some_and(|path| path.starts_with(&base))
        };
        let denied = of(&records, "denied");
        let denied = denied
            .iter()
            .find(below)
            .unwrap_or_else(|| panic!("{}", output.all()));
        let advice = denied["would_allow"].as_str().expect("advice");
        let rule = advice
            .strip_prefix("[files] ")
            .unwrap_or_else(|| panic!("{advice}"));
        policy = policy.replace("[syscalls]", &format!("{rule}\n[syscalls]"));
    }
    panic!("still refused under\n{policy}");
}

/// All files below a directory with their contents.
fn contents(dir: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).expect("read_dir").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path.clone());
            }
            all.push((path.display().to_string(), fs::read(&path).ok()));
        }
    }
    all.sort();
    all
}

fn an_audit_refuses_nothing_and_changes_nothing() -> Test {
    need_sbox()?;
    let case = Case::new(&format!(
        "{POLICY}[exec]\n\"/usr/bin/id\" = \"deny\"\n[view.mounts]\n\"/srv/x\" = {{ bind = \"${{cwd}}/ro\" }}\n"
    ));
    let state = scratch();
    let before = contents(case.path());
    let mut command = case.command(
        &["--mode", "audit", "--discard"],
        &[
            "/bin/sh",
            "-c",
            "cat deny/file gone/file; id -u; echo new > ro/new && cat ro/new; echo y > /srv/x/file; rm -r deny && ls; \
             /usr/bin/python3 -c 'import os; print(len(os.getrandom(4)))'",
        ],
    );
    command.env("XDG_STATE_HOME", state.path());
    let output = support::job::run(command, b"", Duration::from_secs(60));
    let uid = nix::unistd::geteuid();
    let mut wanted = format!("text\ntext\n{uid}\nnew\ngone\np.toml\nro\n");
    if Path::new("/usr/bin/python3").exists() {
        wanted.push_str("4\n");
        assert_eq!(output.code(), Some(0), "{}", output.all());
    }
    assert_eq!(output.stdout_text(), wanted, "{}", output.all());
    assert_eq!(
        contents(case.path()),
        before,
        "an audit has changed the host"
    );
    let said = output.stderr_text();
    assert!(said.contains("calls would be denied, by"), "{said}");
    for rule in [
        "files.\"${cwd}/deny/**\"",
        "files.\"${cwd}/ro/**\"",
        "syscalls.\"getrandom\"",
        "exec.\"/usr/bin/id\"",
    ] {
        let mut command = case.command(
            &["--mode", "audit", "--discard", "-qv"],
            &[
                "/bin/sh",
                "-c",
                "cat deny/file; id; echo > ro/new; /bin/true",
            ],
        );
        command.env("XDG_STATE_HOME", state.path());
        let told = support::job::run(command, b"", Duration::from_secs(60));
        assert!(
            told.stderr_text().contains(&format!("  because: {rule}")),
            "{rule}: {}",
            told.all()
        );
        assert!(
            !told.stderr_text().contains("sbox: denied"),
            "{}",
            told.all()
        );
    }
    Ok(())
}

fn an_audit_keeps_what_nothing_opens() -> Test {
    need_sbox()?;
    let case = Case::new(
        "sbox = 1\nextends = \"std/cli\"\n[syscalls]\nsched_yield = \"kill\"\n[forbid]\nfiles = [\"${cwd}/gone/**\"]\nsyscalls = [\"getrandom\"]\n",
    );
    let guest = case.guest()?;
    let listener = std::os::unix::net::UnixListener::bind(case.path().join("sock")).expect("bind");
    let audit = ["-q", "--mode", "audit", "--discard", "--report", "r.json"];
    // Forbidden, built in, and connections to sockets of the host.
    let output = case.sh(
        &audit,
        "cat gone/file; kill -9 1; cat /proc/1/environ; echo end",
    );
    assert_eq!(output.stdout_text(), "end\n", "{}", output.all());
    assert!(
        output.stderr_text().contains("gone/file: No such file"),
        "{}",
        output.all()
    );
    if Path::new("/usr/bin/python3").exists() {
        let elsewhere = scratch();
        let socket = elsewhere.path().join("sock");
        let outside = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        let code = format!(
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect({:?})",
            socket.display().to_string()
        );
        let output = case.run(&audit, &["/usr/bin/python3", "-c", &code]);
        assert!(
            output.stderr_text().contains("PermissionError"),
            "{}",
            output.all()
        );
        drop(outside);
    }
    drop(listener);
    let killed = case.run(&audit, &[&guest, "1", "r.json", "yield"]);
    assert_eq!(killed.signal(), Some(libc::SIGSYS), "{}", killed.all());
    assert!(
        killed.stdout_text().contains(" 1\n"),
        "getrandom is forbidden: {}",
        killed.all()
    );
    let records = case.report("r.json");
    assert_eq!(of(&records, "killed").len(), 1);
    assert_eq!(records.last().expect("end")["signal"], libc::SIGSYS);
    Ok(())
}

fn a_shadow_tells_the_difference() -> Test {
    need_sbox()?;
    let case = Case::new(
        "sbox = 1\nextends = \"std/cli\"\n[files]\n\"${cwd}/gone/**\" = \"hide\"\n\"${cwd}/ro/**\" = \"r\"\n",
    );
    fs::write(
        case.path().join("new.toml"),
        "sbox = 1\nextends = \"std/cli\"\n[files]\n\"${cwd}/deny/**\" = \"deny\"\n\"${cwd}/ro/**\" = \"r\"\n[syscalls]\nmkdir = \"deny\"\nmkdirat = \"deny\"\n",
    )
    .expect("write");
    let output = case.sh(
        &["--shadow", "new.toml", "--report", "r.json"],
        "cat deny/file; cat gone/file; echo > ro/x; mkdir new; cat ro/file",
    );
    assert_eq!(output.stdout_text(), "text\ntext\n", "{}", output.all());
    let records = case.report("r.json");
    let told = |event: &str| -> Vec<String> {
        let of = of(&records, event);
        let base = format!("{}/", case.path().display());
        let text = |r: &&Value| {
            let path = r["path"].as_str().unwrap_or_default().replace(&base, "");
            format!("{} {path}", r["call"].as_str().unwrap_or_default())
        };
        of.iter()
            .filter(|r| r["path"].as_str().is_none_or(|p| p.contains(&base)))
            .map(text)
            .collect()
    };
    assert!(
        told("shadow-denies").contains(&"openat deny/file".into()),
        "{records:#?}"
    );
    assert!(
        told("shadow-denies")
            .iter()
            .any(|one| one.starts_with("mkdir")),
        "{records:#?}"
    );
    assert_eq!(told("shadow-allows"), ["openat gone/file"], "{records:#?}");
    assert!(
        told("denied").contains(&"openat ro/x".into()),
        "{records:#?}"
    );
    assert!(
        !told("shadow-denies").iter().any(|one| one.contains("ro/")),
        "{records:#?}"
    );
    let said = output.stderr_text();
    assert!(said.contains("would be denied by the shadow, by"), "{said}");
    Ok(())
}

fn a_rule_that_kills_ends_all() -> Test {
    need_sbox()?;
    let case = Case::new(&format!("{POLICY}sched_yield = \"kill\"\n"));
    let guest = case.guest()?;
    let start = Instant::now();
    let output = case.sh(
        &[],
        &format!("sleep 60 & (sleep 60; sleep 60) & {guest} 1 r.json yield; echo survived"),
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(output.signal(), Some(libc::SIGSYS), "{}", output.all());
    assert!(
        !output.stdout_text().contains("survived"),
        "{}",
        output.all()
    );
    assert!(
        output.stderr_text().contains("1 call killed, by 1 rule"),
        "{}",
        output.all()
    );
    Ok(())
}

fn best_effort_says_what_is_missing() -> Test {
    need_sbox()?;
    let rules = "sbox = 1\nextends = \"std/cli\"\n[limits]\nwall = \"5s\"\n";
    let case = Case::new(rules);
    let strict = case.sh(&["-q"], "echo ran");
    assert_eq!(
        (strict.code(), strict.stdout_text()),
        (Some(3), String::new()),
        "{}",
        strict.all()
    );
    fs::write(
        case.path().join("p.toml"),
        format!("{rules}[default]\nenforce = \"best-effort\"\n"),
    )
    .expect("write");
    let output = case.sh(&["-q", "--report", "r.json"], "echo ran");
    assert_eq!(
        (output.code(), output.stdout_text().as_str()),
        (Some(0), "ran\n"),
        "{}",
        output.all()
    );
    assert!(
        output
            .stderr_text()
            .contains("warning: can't enforce limits.\"wall\""),
        "{}",
        output.all()
    );
    let gaps = &case.report("r.json")[0]["gaps"];
    assert!(
        gaps[0]
            .as_str()
            .is_some_and(|gap| gap.contains("limits.\"wall\"")),
        "{gaps}"
    );
    // Programs go on being judged by what they are.
    let text = format!(
        "{rules}[default]\nenforce = \"best-effort\"\n[syscalls]\n\"execveat(flags == 1)\" = \"deny\"\n"
    );
    fs::write(case.path().join("p.toml"), text).expect("write");
    fs::copy("/bin/echo", case.path().join("echo")).expect("copy");
    let output = case.sh(&["-q"], "./echo ran");
    assert!(
        output.stdout_text() == "ran\n" && output.stderr_text().contains("judged by the program"),
        "{}",
        output.all()
    );
    fs::write(case.path().join("p.toml"), rules).expect("write");
    // A ceiling that is strict is not loosened by who stays within it.
    fs::write(case.path().join("top.toml"), rules).expect("write");
    let within = case.sh(&["-q", "--within", "top.toml"], "echo ran");
    assert_eq!(within.code(), Some(3), "{}", within.all());
    Ok(())
}

/// By what is in the registers, whatever their upper halves say, and the reason is told.
fn conditions_on_arguments() -> Test {
    need_sbox()?;
    support::need(&["/usr/bin/python3"])?;
    let case = Case::new(
        "sbox = 1\nextends = \"std/cli\"\n[syscalls]\n\"socket(family == AF_UNIX && kind & SOCK_CLOEXEC)\" = \"deny EXDEV\"\n\
         \"dup3(flags == O_CLOEXEC || new > 1000)\" = \"deny ENOSYS\"\ndup2 = \"deny EPERM\"\n\"dup2(new in [77, 78])\" = \"allow\"\n\
         \"kill(sig == SIGUSR2)\" = \"kill\"\n",
    );
    let program = "import ctypes, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    r = libc.syscall(*[ctypes.c_long(a) for a in args])
    print('ok' if r >= 0 else os.strerror(ctypes.get_errno()))
call(41, 1, 1 | 0o2000000, 0)
call(41, 1, 1, 0)
call(41, 1 | 1 << 32, 1 | 0o2000000, 0)
call(292, 1, 50, 0o2000000)
call(292, 1, 50, 0)
call(33, 1, 77)
call(33, 1, 79)
os.kill(os.getpid(), signal.SIGCONT)
print('alive', flush=True)
os.kill(os.getpid(), signal.SIGUSR2)
print('survived')
";
    let output = case.run(
        &["-q", "--report", "r.json"],
        &["/usr/bin/python3", "-c", program],
    );
    assert_eq!(
        output.stdout_text(),
        "Invalid cross-device link\nok\nInvalid cross-device link\nFunction not implemented\nok\nok\nOperation not permitted\nalive\n",
        "{}",
        output.all()
    );
    assert_eq!(output.signal(), Some(libc::SIGSYS), "{}", output.all());
    let records = case.report("r.json");
    let denied = of(&records, "denied");
    let socket = denied
        .iter()
        .find(|r| r["call"] == "socket")
        .expect("socket");
    assert_eq!(
        socket["rule"], "syscalls.\"socket(family == AF_UNIX && kind & SOCK_CLOEXEC)\"",
        "{socket}"
    );
    assert_eq!(
        socket["arguments"], "family: AF_UNIX, kind: SOCK_STREAM|SOCK_CLOEXEC, protocol: 0",
        "{socket}"
    );
    assert_eq!(of(&records, "killed").len(), 1);
    Ok(())
}

//! `sbox record`: a program that runs under what was proposed of it is refused nothing, and does the same.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::{Output, Test, need_sbox, scratch_for_sockets};

fn main() -> ExitCode {
    support::main(tests![
        programs_run_under_what_was_proposed,
        a_proposal_is_not_wider_than_the_run,
        a_proposal_is_not_overwritten,
        what_appears_meanwhile_is_not_overwritten,
        odd_names_let_nothing_through_to_the_host,
        servers_of_the_host_are_not_proposed,
        runs_are_merged_and_comments_kept,
        what_is_forbidden_is_not_proposed,
        a_recording_changes_nothing,
        names_that_a_terminal_would_obey_are_shown,
    ])
}

/// A project directory, a home and a state of its own.
struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let dir = scratch_for_sockets();
        for name in ["proj", "proj/sub", "home"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join("proj").join(name), text).expect("write");
        };
        write("a.txt", "one\ntwo\nthree\n");
        write("b.txt", "one\n2\nthree\n");
        write("sub/c.txt", "deep\n");
        write(
            "a.c",
            "#include <stdio.h>\nint main(void) { return printf(\"built\\n\") != 6; }\n",
        );
        write(
            "Makefile",
            "all: prog\n\t./prog\nprog: a.c\n\tcc -o prog a.c\n",
        );
        write(
            "s.py",
            "import json, os, sys\nprint(json.dumps(sorted(os.listdir('.'))), sys.argv)\nopen('out', 'w').write('x')\n",
        );
        Self { dir }
    }

    fn project(&self) -> std::path::PathBuf {
        self.dir.path().join("proj")
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.project());
        command.env("XDG_STATE_HOME", self.dir.path().join("state"));
        command.env("HOME", self.dir.path().join("home"));
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        support::job::run(command, b"", Duration::from_secs(120))
    }

    fn record(&self, policy: &str, flags: &[&str], script: &str) -> Output {
        let args = [
            &["record", "-q", "-o", policy],
            flags,
            &["--", "/bin/sh", "-c", script],
        ]
        .concat();
        self.sbox(&args)
    }

    /// Runs a script under a policy; its output and the end of the report.
    fn under(&self, policy: &str, script: &str) -> (Output, Vec<Value>) {
        let report = self.dir.path().join("r.json");
        let report = report.to_str().expect("plain");
        let args = [
            "run",
            "-q",
            "--discard",
            "--report",
            report,
            "--policy",
            policy,
            "--",
            "/bin/sh",
            "-c",
            script,
        ];
        let output = self.sbox(&args);
        let text = fs::read_to_string(report).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        (output, lines.collect())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.project().join(name)).expect("policy")
    }
}

/// What a program needs, and what it is told to do.
const PROGRAMS: [(&str, &str); 28] = [
    (
        "/bin/sh",
        "echo shell; [ -f a.txt ] && test -d sub && echo yes",
    ),
    (
        "/bin/bash",
        "bash -c 'shopt -s globstar; echo **; x=$(<a.txt); echo ${#x}'",
    ),
    ("/bin/cat", "cat a.txt b.txt sub/c.txt"),
    ("/bin/ls", "ls -l --time-style=+ sub; ls /etc | wc -l"),
    (
        "/bin/cp",
        "cp -a sub copy && ls copy && cmp sub/c.txt copy/c.txt",
    ),
    ("/bin/mv", "mv a.txt sub/ && ls sub && rm -r sub && ls"),
    ("/bin/grep", "grep -rn e . | sort"),
    ("/bin/sed", "sed -i s/one/uno/ a.txt && cat a.txt"),
    (
        "/usr/bin/awk",
        "awk '{ n += length($1) } END { print n }' a.txt b.txt",
    ),
    (
        "/usr/bin/find",
        "find . -type f -newer Makefile -o -name 'c*' | sort | head -3",
    ),
    (
        "/bin/tar",
        "tar cf x.tar a.txt sub && tar tf x.tar && mkdir out && tar xf x.tar -C out && ls out",
    ),
    ("/bin/gzip", "gzip -k a.txt && gunzip -c a.txt.gz"),
    (
        "/usr/bin/sort",
        "sort -S 1M a.txt | uniq -c; date -u -d @0; id -u; env | wc -l",
    ),
    (
        "/usr/bin/diff",
        "diff -u --label a --label b a.txt b.txt | tee d.patch; patch -p0 a.txt < d.patch; cat a.txt",
    ),
    (
        "/usr/bin/xargs",
        "ls *.txt | xargs -n1 wc -l; stat -c %s a.txt; du -s sub | cut -f2; df . | wc -l",
    ),
    ("/usr/bin/python3", "/usr/bin/python3 s.py; cat out"),
    (
        "/usr/bin/python3",
        "/usr/bin/python3 -c 'import sqlite3, tempfile, hashlib, subprocess; db = sqlite3.connect(\"x.db\"); db.execute(\"create table t(a)\"); db.commit(); print(tempfile.mkdtemp()[:5], hashlib.md5(b\"\").hexdigest()); subprocess.run([\"true\"], check=True)'",
    ),
    (
        "/usr/bin/perl",
        "perl -MFile::Temp=tempfile -MPOSIX -e '($h, $n) = tempfile(); print $h 1; close $h; print -s $n, getuid() < 0, \"\\n\"'",
    ),
    (
        "/usr/bin/git",
        "git init -q r && cd r && git config user.email a@b && git config user.name n && echo x > f && git add f && git commit -qm c && git log --format=%s && git status --short",
    ),
    (
        "/usr/bin/gcc",
        "gcc -Wall -o prog a.c && ./prog && nm prog | grep -c main",
    ),
    ("/usr/bin/make", "make 2>&1 && make -n"),
    (
        "/usr/bin/md5sum",
        "md5sum a.txt b.txt > sums && md5sum -c sums && sha256sum a.txt | cut -c1-8",
    ),
    (
        "/usr/bin/sqlite3",
        "sqlite3 x.db 'create table t(a); insert into t values (7); select * from t'",
    ),
    (
        "/usr/bin/node",
        "node -e 'require(\"fs\").writeFileSync(\"o\", \"x\"); console.log(require(\"os\").platform(), require(\"fs\").readdirSync(\".\").length)'",
    ),
    (
        "/usr/bin/vim",
        "vim -es -u NONE -c '%s/two/dos/' -c wq a.txt; cat a.txt",
    ),
    ("/usr/bin/rsync", "rsync -a sub/ there && cat there/c.txt"),
    (
        "/usr/bin/openssl",
        "openssl dgst -sha256 a.txt; openssl rand -hex 4 | wc -c",
    ),
    (
        "/usr/bin/zip",
        "zip -q x.zip a.txt && unzip -l x.zip | tail -1",
    ),
];

fn programs_run_under_what_was_proposed() -> Test {
    need_sbox()?;
    let mut ran = 0;
    let mut missing = Vec::new();
    let mut wrong = Vec::new();
    for (program, script) in PROGRAMS {
        if !Path::new(program).exists() {
            missing.push(program);
            continue;
        }
        ran += 1;
        let case = Case::new();
        let recorded = case.record("../p.toml", &[], script);
        assert!(
            case.project().join("../p.toml").exists(),
            "{script}: {}",
            recorded.all()
        );
        // The policy is a file of the project, which a second run sees.
        let again = case.record("../p.toml", &["--merge"], script);
        let (output, report) = case.under("../p.toml", script);
        let end = report.last().cloned().unwrap_or_default();
        let same = |a: &Output, b: &Output| {
            a.code() == b.code()
                && a.stdout_text() == b.stdout_text()
                && a.stderr_text() == b.stderr_text()
        };
        if end["denied"] != 0 || end["event"] != "end" || !same(&again, &output) {
            let denied: Vec<String> = report
                .iter()
                .filter(|r| r["event"] == "denied")
                .map(Value::to_string)
                .collect();
            wrong.push(format!(
                "{script}\nrecorded: {}\nunder it: {}\n{}\n{}",
                again.all(),
                output.all(),
                denied.join("\n"),
                case.text("../p.toml")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {ran}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    if ran < 20 {
        return Err(support::Skip(format!(
            "only {ran} programs: no {}",
            missing.join(", ")
        )));
    }
    Ok(())
}

fn a_proposal_is_not_wider_than_the_run() -> Test {
    need_sbox()?;
    let case = Case::new();
    fs::write(case.dir.path().join("home/diary"), "dear\n").expect("write");
    let outside = case.dir.path().join("other");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("one"), "1\n").expect("write");
    fs::write(outside.join("two"), "2\n").expect("write");
    case.record(
        "../p.toml",
        &[],
        &format!("cat a.txt {}/one; ls -d ~", outside.display()),
    );
    let (output, report) = case.under(
        "../p.toml",
        &format!("cat {0}/one; cat {0}/two; ls -A ~; cat ~/diary; echo x > a.txt; echo > /etc/x; cat a.txt", outside.display()),
    );
    assert_eq!(
        output.stdout_text(),
        "1\none\ntwo\nthree\n",
        "{}\n{}",
        output.all(),
        case.text("../p.toml")
    );
    assert!(
        report
            .last()
            .is_some_and(|end| end["denied"].as_u64() >= Some(3)),
        "{report:#?}"
    );
    let text = case.text("../p.toml");
    assert!(
        text.contains("\"${cwd}/a.txt\" = \"r\" # seen 1x in 1 run"),
        "{text}"
    );
    assert!(
        text.starts_with("# Proposed by `sbox record`") && text.contains("lower bound"),
        "{text}"
    );
    Ok(())
}

fn a_proposal_is_not_overwritten() -> Test {
    need_sbox()?;
    let case = Case::new();
    fs::write(case.project().join("../p.toml"), "mine").expect("write");
    let output = case.record("../p.toml", &[], "echo ran");
    assert_eq!(
        (output.code(), output.stdout_text().as_str()),
        (Some(1), ""),
        "{}",
        output.all()
    );
    assert!(output.stderr_text().contains("--merge"), "{}", output.all());
    let output = case.record("../p.toml", &["--merge"], "echo ran");
    assert_eq!(
        (output.code(), output.stdout_text().as_str()),
        (Some(2), ""),
        "{}",
        output.all()
    );
    assert_eq!(case.text("../p.toml"), "mine");
    Ok(())
}

fn what_appears_meanwhile_is_not_overwritten() -> Test {
    need_sbox()?;
    let case = Case::new();
    let policy = case.project().join("p.toml");
    // The recording has begun by then, and lasts.
    let mine = "sbox = 1 # mine\n";
    std::thread::scope(|scope| {
        let recorded = scope.spawn(|| case.record("p.toml", &[], "sleep 4; cat a.txt"));
        std::thread::sleep(Duration::from_secs(2));
        fs::write(&policy, mine).expect("write");
        let output = recorded.join().expect("record");
        assert_eq!(output.code(), Some(125), "{}", output.all());
        assert!(output.stdout_text().contains("[files]"), "{}", output.all());
    });
    assert_eq!(fs::read_to_string(&policy).expect("read"), mine);
    Ok(())
}

/// Whatever a directory is called: what is changed in it stays in the sandbox, also when a second run is added.
fn odd_names_let_nothing_through_to_the_host() -> Test {
    need_sbox()?;
    for name in [
        "plain",
        "back\\slash",
        "\\a",
        "a\\*b",
        "${home}",
        "${cwd}",
        "$x",
        "*",
        "a?",
        "[a]",
        "{a,b}",
        "new\nline",
        "'",
        "\"",
    ] {
        let case = Case::new();
        let odd = case.dir.path().join(name);
        fs::create_dir(&odd).expect("mkdir");
        fs::write(odd.join("f"), "host").expect("write");
        let link = case.project().join("link");
        std::os::unix::fs::symlink(&odd, link).expect("symlink");
        let script = "echo GUEST > link/f; echo GUEST > link/new; cat link/f";
        let mut flags: Vec<&str> = Vec::new();
        for round in 0..2 {
            let recorded = case.record("p.toml", &flags, script);
            assert_eq!(recorded.code(), Some(0), "{name}: {}", recorded.all());
            let (output, _) = case.under("p.toml", script);
            let text = fs::read_to_string(odd.join("f")).expect("read");
            let policy = fs::read_to_string(case.project().join("p.toml")).expect("policy");
            assert_eq!(text, "host", "{name}, {round}: {policy}");
            assert!(!odd.join("new").exists(), "{name}, {round}: {policy}");
            if !name.contains(['*', '?', '[', '{']) {
                assert_eq!(output.stdout_text(), "GUEST\n", "{name}: {}", output.all());
            }
            flags.push("--merge");
        }
    }
    Ok(())
}

fn servers_of_the_host_are_not_proposed() -> Test {
    need_sbox()?;
    let python = support::need(&["/usr/bin/python3"])?;
    let case = Case::new();
    let path = case.dir.path().join("home/s");
    let _server = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    let script = format!(
        "{python} -c \"import socket; socket.socket(socket.AF_UNIX).connect('{}')\"",
        path.display()
    );
    let recorded = case.record("p.toml", &[], &script);
    assert!(
        recorded.stderr_text().contains("a socket of the host"),
        "{}",
        recorded.all()
    );
    let (output, _) = case.under("p.toml", &script);
    assert_eq!(output.code(), Some(1), "{}", output.all());
    Ok(())
}

fn runs_are_merged_and_comments_kept() -> Test {
    need_sbox()?;
    let case = Case::new();
    for name in ["x1", "x2", "x3"] {
        fs::create_dir(case.dir.path().join(name)).expect("mkdir");
        fs::write(case.dir.path().join(name).join("f"), "f\n").expect("write");
    }
    let up = case.dir.path().display().to_string();
    case.record("../p.toml", &[], &format!("cat a.txt {up}/x1/f"));
    // A rule of one's own, and a comment above one that was proposed.
    let text = case.text("../p.toml");
    let text = text.replace(
        "[files]\n",
        "[files]\n# Nobody may.\n\"${cwd}/b.txt\" = \"hide\" # own\n",
    );
    let text = text.replace("\"${cwd}/a.txt\"", "# The input.\n\"${cwd}/a.txt\"");
    fs::write(case.project().join("../p.toml"), text).expect("write");
    let output = case.record("../p.toml", &["--merge"], "cat a.txt a.txt b.txt sub/c.txt");
    assert_eq!(output.code(), Some(0), "{}", output.all());
    let text = case.text("../p.toml");
    for line in [
        "# Nobody may.\n\"${cwd}/b.txt\" = \"hide\" # own\n",
        "# The input.\n\"${cwd}/a.txt\" = \"r\" # seen 3x in 2 runs\n",
        "\"${cwd}/sub/c.txt\" = \"r\" # seen 1x in 1 run\n",
        "/x1/f\" = \"r\" # seen 1x in 1 run\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let (output, _) = case.under("../p.toml", &format!("cat a.txt b.txt sub/c.txt {up}/x1/f"));
    assert!(
        output.stdout_text() == "one\ntwo\nthree\ndeep\nf\n",
        "{}",
        output.all()
    );
    // Siblings of several runs are their directory.
    case.record("../p.toml", &["--merge"], "cat Makefile a.c s.py");
    let text = case.text("../p.toml");
    assert!(text.contains("\"${cwd}/**\" = \"r\" # seen"), "{text}");
    assert!(text.contains("\"${cwd}/b.txt\" = \"hide\" # own"), "{text}");
    assert!(!text.contains("sub/c.txt"), "{text}");
    Ok(())
}

fn what_is_forbidden_is_not_proposed() -> Test {
    need_sbox()?;
    let case = Case::new();
    fs::create_dir(case.dir.path().join("home/.ssh")).expect("mkdir");
    fs::write(case.dir.path().join("home/.ssh/id"), "key\n").expect("write");
    let output = case.record(
        "../p.toml",
        &[],
        "HOME=$(cd ../home; pwd); cat $HOME/.ssh/id /etc/shadow a.txt",
    );
    assert_eq!(
        output.stdout_text(),
        "one\ntwo\nthree\n",
        "{}",
        output.all()
    );
    let text = case.text("../p.toml");
    let rules = text.split("[forbid]").next().unwrap_or_default();
    let rules = rules.split("[files]").nth(1).expect("rules");
    assert!(
        !rules.contains(".ssh") && !rules.contains("shadow"),
        "{text}"
    );
    assert!(text.contains("\"${home}/.ssh/**\""), "{text}");
    Ok(())
}

fn a_recording_changes_nothing() -> Test {
    need_sbox()?;
    let case = Case::new();
    let outside = case.dir.path().join("home/new");
    let output = case.record(
        "../p.toml",
        &[],
        &format!(
            "echo x > made && rm a.txt && echo y > {} && cat made",
            outside.display()
        ),
    );
    assert_eq!(
        (output.code(), output.stdout_text().as_str()),
        (Some(0), "x\n"),
        "{}",
        output.all()
    );
    assert!(!case.project().join("made").exists() && case.project().join("a.txt").exists());
    assert!(!outside.exists());
    assert!(
        output.stderr_text().contains("all of it would be shown"),
        "{}",
        output.all()
    );
    Ok(())
}

/// In a proposal, which is to be read, and in the rule that would allow what was refused: both are TOML, and say the very name.
fn names_that_a_terminal_would_obey_are_shown() -> Test {
    use std::os::unix::ffi::OsStrExt;
    need_sbox()?;
    const NAME: &str = "x\u{9b}2J\u{202e}\u{1b}c\"y";
    let case = Case::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::write(case.project().join(NAME), "text\n").expect("write");
    fs::write(case.project().join(odd), "text\n").expect("write");
    let script = "cat x* && cat [!a-zA-Z]*";
    let recorded = case.record("../p.toml", &[], script);
    assert_eq!(recorded.code(), Some(0), "{}", recorded.all());
    assert!(
        recorded.stderr_text().contains("1 names are no text"),
        "{}",
        recorded.all()
    );
    let proposal = fs::read_to_string(case.dir.path().join("p.toml")).expect("proposal");
    let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!proposal.chars().any(obeyed), "{proposal:?}");
    let again = case.sbox(&[
        "run",
        "-q",
        "--policy",
        "../p.toml",
        "--",
        "/bin/sh",
        "-c",
        "cat x*",
    ]);
    assert_eq!(again.stdout_text(), "text\n", "{}", again.all());
    let denies = "sbox = 1\nextends = \"std/cli\"\n[files]\n\"${cwd}/x*\" = \"deny\"\n";
    fs::write(case.dir.path().join("d.toml"), denies).expect("write");
    let args = [
        "run",
        "-qv",
        "--policy",
        "../d.toml",
        "--",
        "/bin/sh",
        "-c",
        "cat x*",
    ];
    let denied = case.sbox(&args).stderr_text();
    let (_, advice) = denied.split_once("would allow it: ").expect("advice");
    let (section, rule) = advice.split_once(' ').expect("a section and a rule");
    let allows = format!(
        "sbox = 1\n{section}\n{}\n",
        rule.lines().next().expect("a line")
    );
    fs::write(case.dir.path().join("a.toml"), allows).expect("write");
    let check = case.sbox(&[
        "policy",
        "explain",
        "../a.toml",
        &format!("read {}", case.project().join(NAME).display()),
    ]);
    assert!(check.stdout_text().contains("allow"), "{}", check.all());
    Ok(())
}

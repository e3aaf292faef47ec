//! The command line: exit statuses, messages, environment, streams, statistics and log.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::{Job, Output, Skip, Test, need_sbox, sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        exit_status_is_the_programs,
        fatal_signals_are_raised_again,
        programs_that_cannot_start,
        wrong_flags,
        one_line_says_what_is_enforced,
        environment_is_clean,
        environment_by_flags,
        current_directory,
        changes_are_kept_apart,
        standard_streams,
        large_streams,
        statistics,
        log,
        arguments_pass_unchanged,
        inside_itself,
        small_limits,
        no_place_for_temporary_files,
    ])
}

/// `sbox` with these arguments, nothing added.
fn bare(args: &[&str]) -> Output {
    let mut command = Command::new(sbox());
    command.args(args);
    support::job::run(command, &[], Duration::from_secs(20))
}

/// A shell command in sbox.
fn sh(flags: &[&str], script: &str) -> Result<Output, Skip> {
    Job::sh(script).flags(flags).sandboxed()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

fn exit_status_is_the_programs() -> Test {
    for code in [0, 1, 2, 3, 42, 125, 126, 127, 128, 255] {
        let output = sh(&[], &format!("exit {code}"))?;
        assert_eq!(output.code(), Some(code), "{}", output.all());
        assert_eq!(output.stderr_text(), "", "-q says nothing");
    }
    Ok(())
}

fn fatal_signals_are_raised_again() -> Test {
    let signals = [
        ("KILL", 9),
        ("SEGV", 11),
        ("TERM", 15),
        ("INT", 2),
        ("ABRT", 6),
        ("USR1", 10),
        ("PIPE", 13),
        ("HUP", 1),
    ];
    for (name, number) in signals {
        let output = sh(&[], &format!("ulimit -c 0; kill -{name} $$"))?;
        assert_eq!(output.signal(), Some(number), "SIG{name}: {}", output.all());
    }
    Ok(())
}

fn programs_that_cannot_start() -> Test {
    need_sbox()?;
    let dir = scratch();
    fs::write(dir.path().join("text"), "#!/bin/sh\n").expect("write");
    fs::write(dir.path().join("broken"), "\x7fELF no more").expect("write");
    fs::set_permissions(dir.path().join("broken"), fs::Permissions::from_mode(0o755))
        .expect("chmod");
    for (program, code) in [
        ("/bin/no-such-program", 127),
        ("no-such-program-in-path", 127),
        ("./absent", 127),
        ("./text", 126),
        ("./broken", 126),
        ("/usr", 126),
        ("/etc/passwd", 126),
    ] {
        let output = Job::new([program]).dir(dir.path()).sandboxed()?;
        assert_eq!(output.code(), Some(code), "{program}: {}", output.all());
        assert!(
            output.stderr_text().starts_with("sbox: "),
            "{program}: {}",
            output.all()
        );
        assert!(output.stdout.is_empty(), "{program}: {}", output.all());
    }
    let found = Job::new(["true"]).sandboxed()?;
    assert_eq!(
        found.code(),
        Some(0),
        "a program is looked up in PATH: {}",
        found.all()
    );
    let absent = dir.path().join("no-such-directory");
    for flag in ["--ro", "--rw"] {
        let output = Job::new(["/bin/true"])
            .flags([flag, text(&absent)])
            .sandboxed()?;
        assert_eq!(output.code(), Some(125), "{flag}: {}", output.all());
        assert!(
            output.stderr_text().contains("no-such-directory"),
            "names the path: {}",
            output.all()
        );
    }
    Ok(())
}

fn wrong_flags() -> Test {
    for args in [
        &["run", "--no-such-flag", "--", "/bin/true"][..],
        &["no-such-verb"],
        &["run"],
        &["run", "--net", "everything", "--", "/bin/true"],
        &["run", "--ro"],
        &["run", "--keep", "../x", "--", "/bin/true"],
    ] {
        let output = bare(args);
        assert_eq!(output.code(), Some(2), "{args:?}: {}", output.all());
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{args:?}: {}",
            output.all()
        );
    }
    let help = bare(&["--help"]);
    assert!(
        help.code() == Some(0) && help.stdout_text().contains("run"),
        "{}",
        help.all()
    );
    let version = bare(&["--version"]);
    assert_eq!(
        version.stdout_text().trim(),
        concat!("sbox ", env!("CARGO_PKG_VERSION")),
        "{}",
        version.all()
    );
    Ok(())
}

fn one_line_says_what_is_enforced() -> Test {
    need_sbox()?;
    let loud = bare(&["run", "--", "/bin/sh", "-c", "echo out"]);
    assert_eq!(loud.stdout_text(), "out\n");
    let said = loud.stderr_text();
    assert!(
        said.lines().count() == 1 && said.starts_with("sbox: "),
        "one line: {}",
        loud.all()
    );
    let quiet = bare(&["run", "-q", "--", "/bin/sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (quiet.stdout_text().as_str(), quiet.stderr_text().as_str()),
        ("out\n", "err\n")
    );
    Ok(())
}

fn environment_is_clean() -> Test {
    need_sbox()?;
    let mut command = Job::new(["/usr/bin/env"]).sbox_command();
    command
        .env("SECRET_TOKEN", "hunter2")
        .env("LD_BIND_NOW", "1")
        .env("TERM", "vt100");
    let output = support::job::run(command, &[], Duration::from_secs(20));
    let text = output.stdout_text();
    let names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
    for name in &names {
        let expected = [
            "PATH", "LANG", "TERM", "HOME", "PWD", "USER", "LOGNAME", "SHELL",
        ];
        assert!(expected.contains(name), "{name} came in:\n{text}");
    }
    assert!(names.contains(&"PATH") && names.contains(&"HOME"), "{text}");
    assert!(text.contains("TERM=vt100"), "{text}");
    Ok(())
}

fn environment_by_flags() -> Test {
    need_sbox()?;
    let run = |flags: &[&str]| {
        let mut command = Job::sh("echo \"$ONE|$TWO|$THREE\"")
            .flags(flags)
            .sbox_command();
        command.env("ONE", "1").env("TWO", "2");
        support::job::run(command, &[], Duration::from_secs(20)).stdout_text()
    };
    assert_eq!(run(&[]), "||\n");
    assert_eq!(
        run(&["--env", "ONE"]),
        "1||\n",
        "a name alone passes the caller's value"
    );
    assert_eq!(
        run(&["--env", "ONE=uno", "--env", "THREE=a=b c"]),
        "uno||a=b c\n",
        "a value may hold = and spaces"
    );
    assert_eq!(run(&["--env", "*"]), "1|2|\n", "* passes everything");
    assert_eq!(
        run(&["--env", "*", "--env", "TWO=due"]),
        "1|due|\n",
        "a value wins over *"
    );
    assert_eq!(
        run(&["--env", "THREE"]),
        "||\n",
        "a name that isn't set passes nothing"
    );
    Ok(())
}

fn current_directory() -> Test {
    let dir = scratch();
    let real = dir.path().canonicalize().expect("canonical");
    let here = Job::new(["/bin/pwd", "-P"]).dir(dir.path()).both()?;
    assert_eq!(here.stdout_text().trim_end(), text(&real));
    let elsewhere = sh(&["--cwd", "/usr/bin"], "pwd -P; ls sh")?;
    assert_eq!(
        elsewhere.stdout_text(),
        "/usr/bin\nsh\n",
        "{}",
        elsewhere.all()
    );
    let absent = sh(&["--cwd", "/no/such/place"], "pwd")?;
    assert_eq!(absent.code(), Some(125), "{}", absent.all());
    Ok(())
}

fn changes_are_kept_apart() -> Test {
    let (dir, state) = (scratch(), scratch());
    std::fs::write(dir.path().join("a"), "as it was\n").expect("write");
    let job = |script: &str, flags: &[&str]| {
        Job::sh(script)
            .dir(dir.path())
            .state(state.path())
            .flags(flags)
    };
    need_sbox()?;
    let names = || {
        let all = std::fs::read_dir(dir.path()).expect("read");
        let mut all: Vec<_> = all.flatten().map(|e| e.file_name()).collect();
        all.sort();
        all
    };
    let layers = || {
        let all = std::fs::read_dir(state.path().join("sbox/layers"));
        let names = all.into_iter().flatten().flatten().map(|e| e.file_name());
        names
            .map(|n| n.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let look = job("cat a; ls -a", &[]).run_sbox();
    assert_eq!(
        look.stdout_text(),
        "as it was\n.\n..\na\n",
        "{}",
        look.all()
    );
    assert_eq!(layers(), [""; 0], "nothing changed, nothing is kept");

    let change = job("echo new > b; echo more >> a; cat a b", &["--keep", "try"]).run_sbox();
    assert_eq!(
        change.stdout_text(),
        "as it was\nmore\nnew\n",
        "{}",
        change.all()
    );
    assert_eq!(names(), ["a"], "the host's directory is what it was");
    assert_eq!(
        std::fs::read(dir.path().join("a")).expect("read"),
        b"as it was\n"
    );
    assert_eq!(layers(), ["try"]);

    // The same layer again: the program goes on where it was.
    let flag = format!("{}=try", dir.path().display());
    let again = job("cat b; rm a", &["--cow", &flag]).run_sbox();
    assert_eq!(again.stdout_text(), "new\n", "{}", again.all());
    assert_eq!(names(), ["a"]);

    // A layer that was named is used, or nothing is run.
    let about = state.path().join("sbox/layers/try/about.json");
    let text = std::fs::read_to_string(&about).expect("read");
    std::fs::write(&about, "{").expect("write");
    let damaged = job("echo ran", &["--keep", "try"]).run_sbox();
    assert_eq!(damaged.code(), Some(125), "{}", damaged.all());
    assert_eq!(damaged.stdout_text(), "", "{}", damaged.all());
    std::fs::write(&about, text).expect("write");

    let gone = job("rm a; echo x > y; ls", &["--discard"]).run_sbox();
    assert_eq!(gone.stdout_text(), "y\n", "{}", gone.all());
    assert_eq!(
        (names().len(), layers().len()),
        (1, 1),
        "and nothing is left of it"
    );

    // Equal in size and time, and yet another: kept.
    let script = "touch -r a /tmp/r; printf 'is another' > a; touch -r /tmp/r a";
    assert_eq!(job(script, &[]).run_sbox().code(), Some(0));
    assert_eq!(layers().len(), 2);

    let named = job("true", &["--cow", &flag, "--discard"]).run_sbox();
    assert_eq!(named.code(), Some(125), "{}", named.all());
    let read_only = job("echo x > y", &["--ro", "."]).run_sbox();
    assert!(
        read_only.all().contains("Read-only file system"),
        "{}",
        read_only.all()
    );
    // What is kept is in no view: the program would change what sbox opens.
    let state_flag = state.path().to_str().expect("text");
    let hidden = job("ls $1/sbox/layers", &["--rw", state_flag])
        .arg("sh")
        .arg(state_flag)
        .run_sbox();
    assert!(hidden.all().contains("No such file"), "{}", hidden.all());
    Ok(())
}

fn standard_streams() -> Test {
    Job::sh("cat; echo out; echo err >&2")
        .stdin(b"in\n")
        .both()?;
    let by_name =
        "test -t 0 || echo no terminal; echo x > /dev/stdout; echo y > /dev/stderr; cat /dev/stdin";
    Job::sh(by_name).stdin(b"in\n").both()?;
    Job::sh("cat <&-; echo x >&-; ls /proc/self/fd | grep -c '^[0-3]$'")
        .ignore_stderr()
        .both()?;
    let nothing = Job::sh("read line && echo got $line").sandboxed()?;
    assert_eq!(
        nothing.code(),
        Some(1),
        "end of file at once: {}",
        nothing.all()
    );
    Ok(())
}

fn large_streams() -> Test {
    let input: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let output = Job::new(["/bin/cat"]).stdin(&input).sandboxed()?;
    assert!(
        output.stdout == input,
        "{} of {} bytes, or others",
        output.stdout.len(),
        input.len()
    );
    Ok(())
}

fn statistics() -> Test {
    let output = sh(
        &["--stats"],
        "cat /etc/passwd > /dev/null; ls /usr/bin > /dev/null; exit 7",
    )?;
    assert_eq!(output.code(), Some(7), "{}", output.all());
    assert!(output.stdout.is_empty(), "{}", output.all());
    let said = output.stderr_text();
    assert!(
        said.bytes().any(|b| b.is_ascii_digit()) && said.lines().count() >= 2,
        "{said}"
    );
    assert!(
        sh(&[], "true")?.stderr.is_empty(),
        "nothing without the flag"
    );
    Ok(())
}

fn log() -> Test {
    let dir = scratch();
    let file = dir.path().join("log");
    let job = Job::sh(
        "cat /no/such/file; touch /usr/denied; printf '\\033[31m' > \"/tmp/$(printf 'esc\\033[2J')\"; exit 5",
    );
    let output = job
        .dir(Path::new("/"))
        .flags(["--log", text(&file)])
        .sandboxed()?;
    assert_eq!(output.code(), Some(5), "{}", output.all());
    assert!(
        !output.stderr_text().contains("sbox:"),
        "the log goes to the file: {}",
        output.all()
    );
    let log = fs::read(&file).expect("log");
    let log = String::from_utf8(log).expect("the log is text");
    assert!(
        log.lines()
            .any(|l| l.contains("/usr/denied") && l.contains("EROFS")),
        "the refusal is in the log:\n{log}"
    );
    assert!(
        log.chars()
            .all(|c| c == '\n' || c == '\t' || !c.is_control()),
        "control characters in the log"
    );
    assert!(log.lines().all(|l| !l.trim().is_empty()), "no empty lines");
    let bad = Job::new(["/bin/true"])
        .flags(["--log", "/no/such/dir/log"])
        .sandboxed()?;
    assert_eq!(
        bad.code(),
        Some(125),
        "a log that can't be written: {}",
        bad.all()
    );
    Ok(())
}

fn arguments_pass_unchanged() -> Test {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe bytes");
    let job = Job::new([
        "/usr/bin/printf",
        "[%s]\n",
        "",
        "a b",
        "--net",
        "-q",
        "--",
        "$HOME",
        "*",
        "new\nline",
    ])
    .arg(odd);
    job.both()?;
    Ok(())
}

/// The kernel gives a process one seccomp listener: the inner sbox can't work, and must say so rather than run the program.
fn inside_itself() -> Test {
    let binary = sbox().canonicalize().expect("binary");
    let job = Job::new([binary.as_os_str()])
        .arg("run")
        .arg("--")
        .arg("/bin/echo")
        .arg("ran");
    let output = job.flags([Path::new("--ro"), &binary]).sandboxed()?;
    if output.code() == Some(0) {
        assert_eq!(output.stdout_text(), "ran\n", "{}", output.all());
    } else {
        assert!(
            matches!(output.code(), Some(3 | 125)) && output.stdout.is_empty(),
            "{}",
            output.all()
        );
        assert!(output.stderr_text().contains("sbox: "), "{}", output.all());
    }
    Ok(())
}

/// What the caller's limits leave sbox, it does with (setrlimit(2)); what the program meets is as outside.
fn small_limits() -> Test {
    need_sbox()?;
    let dir = scratch();
    let (here, program) = (text(dir.path()), sbox());
    let run = |before: &str, flags: &str, inside: &str| {
        let script = format!("{before} exec \"$0\" run {flags} -- sh -c '{inside}'");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&program);
        command.current_dir(here).env("XDG_STATE_HOME", here);
        support::job::run(command, &[], Duration::from_secs(20))
    };
    // The walk over the layer has less stack.
    let little = run("ulimit -v 200000;", "", "mkdir -p a/b; echo x > a/b/c");
    assert!(
        little.code() == Some(0) && little.stderr_text().contains("3 changes"),
        "{}",
        little.all()
    );
    // A layer can't be described in no bytes.
    let none = run("ulimit -f 0;", "", "echo x > f");
    assert!(
        none.code() == Some(2) && none.stderr_text().contains("no copy-on-write"),
        "{}",
        none.all()
    );
    let write = "head -c 4000 /dev/zero > f; echo $?";
    let killed = run("ulimit -f 1;", "--discard -q", write);
    assert_eq!(killed.stdout_text(), "153\n", "SIGXFSZ: {}", killed.all());
    let ignored = run("ulimit -f 1; trap \"\" XFSZ;", "--discard -q", write);
    assert_eq!(ignored.stdout_text(), "1\n", "EFBIG: {}", ignored.all());
    let few = run("ulimit -S -n 32;", "-q", "ulimit -n; ls / | wc -l");
    assert!(few.stdout_text().starts_with("32\n"), "{}", few.all());
    assert_eq!(few.code(), Some(0), "{}", few.all());
    Ok(())
}

fn no_place_for_temporary_files() -> Test {
    need_sbox()?;
    let mut command = Command::new(sbox());
    command.args(["run", "--", "true"]);
    command.env("TMPDIR", "/nonexistent");
    let output = support::job::run(command, &[], Duration::from_secs(20));
    assert_eq!(output.code(), Some(125), "{}", output.all());
    let said = output.stderr_text();
    assert!(
        said.contains("/nonexistent") && said.contains("TMPDIR"),
        "{said}"
    );
    Ok(())
}

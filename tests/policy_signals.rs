//! `signal` in `[proc]`: whom a process may signal, by every call that sends signals or has the kernel send them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::{Output, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        everybody_of_the_sandbox_is_within_reach,
        what_it_has_started_is_within_reach,
        nobody_else_is_within_reach,
        the_default_and_ceilings_count,
        a_pidfd_is_not_exchanged_after_the_look,
        shells_control_jobs,
        a_refusal_is_told,
        explain_diff_and_show_know_of_it,
    ])
}

fn sbox(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(support::sbox());
    command.args(args).current_dir(dir);
    command.env("XDG_STATE_HOME", dir.join("state"));
    support::job::run(command, b"", Duration::from_secs(90))
}

fn write(dir: &Path, name: &str, rules: &str) {
    let text =
        format!("sbox = 1\nextends = \"std/cli\"\n[view]\nhostname = \"reaches\"\n{rules}\n");
    fs::write(dir.join(name), text).expect("write");
}

/// What the guest says under a policy.
fn reaches(rules: &str, flags: &[&str], args: &[&str]) -> Result<String, support::Skip> {
    need_sbox()?;
    let dir = scratch();
    write(dir.path(), "p.toml", rules);
    fs::copy(guest("reaches")?, dir.path().join("reaches")).expect("copy");
    let start = ["run", "-q", "--discard", "--policy", "p.toml"];
    let words = [&start[..], flags, &["--", "./reaches"], args].concat();
    let output = sbox(dir.path(), &words);
    assert_eq!(output.code(), Some(0), "{rules}: {}", output.all());
    Ok(output.stdout_text().to_owned())
}

/// Ways that send at once.
const SENDS: [&str; 9] = [
    "kill",
    "tkill",
    "tgkill",
    "sigqueue",
    "tgsigqueue",
    "pidfd",
    "pidfd-info",
    "pidfd-thread",
    "directory",
];
/// Ways that have the kernel send later, or only ask.
const OTHERS: [&str; 6] = [
    "kill-0",
    "setown",
    "setown-ex",
    "fiosetown",
    "siocspgrp",
    "limit",
];
const ALL: [&str; 7] = [
    "self",
    "thread",
    "child",
    "grandchild",
    "ended",
    "sibling",
    "parent",
];
/// Calls of which the kernel, or sbox in its place, doesn't find a process that has ended, or a thread's number.
const NOT_FOUND: [(&str, &str); 6] = [
    ("pidfd-thread", "ended"),
    ("tkill", "ended"),
    ("tgkill", "ended"),
    ("setown-ex", "ended"),
    ("fiosetown", "ended"),
    ("siocspgrp", "ended"),
];

/// Each way reaches these and no others.
fn check(text: &str, near: &[&str]) {
    let line = |start: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(start)?.strip_prefix(' '));
        found
            .unwrap_or_else(|| panic!("no {start} in {text}"))
            .to_owned()
    };
    for way in SENDS.iter().chain(&OTHERS) {
        for whom in ALL {
            let said = line(&format!("{way} {whom}"));
            let (error, got) = said.split_once(' ').expect("a count");
            let sends = SENDS.contains(way) && whom != "ended";
            if near.contains(&whom) {
                let found = error == "0" || NOT_FOUND.contains(&(way, whom)) || whom == "ended";
                assert!(found, "{way} {whom}: {said}");
                assert_eq!(got, if sends { "1" } else { "0" }, "{way} {whom}");
            } else {
                let barred = error == "EPERM" || whom == "ended" && error == "ESRCH";
                assert!(barred && got == "0", "{way} {whom}: {said}");
            }
        }
    }
    // To look at a limit sends nothing.
    for whom in ALL.into_iter().filter(|whom| *whom != "ended") {
        assert_eq!(line(&format!("ask-limit {whom}")), "0 0", "{whom}");
    }
    assert_eq!(line("nonblock"), "0");
    let processes: Vec<&str> = ALL
        .into_iter()
        .filter(|whom| near.contains(whom) && !["thread", "ended"].contains(whom))
        .collect();
    let restricted = near.len() < ALL.len();
    let first = if restricted { "" } else { " first" };
    let group = format!("0 {}{first}", processes.join(" "));
    assert_eq!(line("group"), group);
    assert_eq!(line("group-by-number"), group);
    // kill(-1) spares the caller.
    let others: Vec<&str> = processes
        .into_iter()
        .filter(|whom| *whom != "self")
        .collect();
    let all = match others.is_empty() {
        true => "EPERM".to_owned(),
        false => format!("0 {}{first}", others.join(" ")),
    };
    assert_eq!(line("all"), all);
    for way in [
        "own-group",
        "own-group-ex",
        "own-group-ioctl",
        "async",
        "async-ioctl",
    ] {
        let barred = if restricted { "EPERM" } else { "0" };
        assert_eq!(line(way), barred, "{way}");
    }
    let by_pidfd = line("pidfd-group");
    // EINVAL: the flag is of Linux 6.9.
    assert!(
        by_pidfd == group || !restricted && by_pidfd == "EINVAL",
        "{by_pidfd}"
    );
}

fn everybody_of_the_sandbox_is_within_reach() -> Test {
    for rules in [
        "",
        "[proc]\nsignal = \"own\"",
        "[default]\nsignals = \"own\"",
    ] {
        check(&reaches(rules, &[], &[])?, &ALL);
    }
    Ok(())
}

const STARTED: [&str; 5] = ["self", "thread", "child", "grandchild", "ended"];

fn what_it_has_started_is_within_reach() -> Test {
    let rules = "[proc]\nsignal = \"children\"";
    for flags in [&[][..], &["--pids", "host"], &["-v"], &["--mode", "audit"]] {
        check(&reaches(rules, flags, &[])?, &STARTED);
    }
    Ok(())
}

fn nobody_else_is_within_reach() -> Test {
    let rules = "[proc]\nsignal = \"none\"";
    for flags in [&[][..], &["--pids", "host"]] {
        check(&reaches(rules, flags, &[])?, &["self", "thread"]);
    }
    Ok(())
}

fn the_default_and_ceilings_count() -> Test {
    check(
        &reaches("[default]\nsignals = \"children\"", &[], &[])?,
        &STARTED,
    );
    // [proc] says it for this policy, whatever the default is.
    let both = "[proc]\nsignal = \"children\"\n[default]\nsignals = \"none\"";
    check(&reaches(both, &[], &[])?, &STARTED);
    let dir = scratch();
    write(dir.path(), "ceiling.toml", "[proc]\nsignal = \"none\"");
    let ceiling = dir.path().join("ceiling.toml");
    let within = ["--within", ceiling.to_str().expect("plain")];
    let rules = "[proc]\nsignal = \"children\"";
    check(&reaches(rules, &within, &[])?, &["self", "thread"]);
    Ok(())
}

fn a_pidfd_is_not_exchanged_after_the_look() -> Test {
    let text = reaches("[proc]\nsignal = \"children\"", &[], &["race"])?;
    assert_eq!(text, "race some 0\n");
    Ok(())
}

fn shells_control_jobs() -> Test {
    need_sbox()?;
    let dir = scratch();
    write(dir.path(), "p.toml", "[proc]\nsignal = \"children\"");
    let run = |script: &str| {
        let words = [
            "run",
            "-q",
            "--discard",
            "--policy",
            "p.toml",
            "--",
            "/bin/sh",
            "-c",
            script,
        ];
        sbox(dir.path(), &words)
    };
    let jobs =
        run("sleep 30 & a=$!; sleep 30 & kill $! && wait $!; echo $?; kill $a && wait $a; echo $?");
    assert_eq!(jobs.stdout_text(), "143\n143\n", "{}", jobs.all());
    // A background job outlives the one that has put it there, and still is its starter's.
    let orphan = run(
        "p=$(sh -c 'sleep 30 >/dev/null & echo $!'); kill $p && echo sent; kill -0 $$ && echo self",
    );
    assert_eq!(orphan.stdout_text(), "sent\nself\n", "{}", orphan.all());
    let up = run("sh -c 'kill -0 $PPID; kill $PPID' 2>/dev/null; echo alive $?");
    assert_eq!(up.stdout_text(), "alive 1\n", "{}", up.all());
    Ok(())
}

fn a_refusal_is_told() -> Test {
    need_sbox()?;
    let dir = scratch();
    write(dir.path(), "p.toml", "[proc]\nsignal = \"none\"");
    let script = "sleep 5 & kill $!; exit 0";
    let words = [
        "run",
        "-v",
        "--discard",
        "--policy",
        "p.toml",
        "--",
        "/bin/sh",
        "-c",
        script,
    ];
    let output = sbox(dir.path(), &words);
    let told = output.stderr_text();
    for part in [
        "sbox: denied: kill(pid: ",
        "= -1 EPERM\n  because: proc.\"signal\" = \"none\" (p.toml:6)\n",
        "would allow it: [proc] signal = \"own\"\n",
    ] {
        assert!(told.contains(part), "{part:?}: {told}");
    }
    Ok(())
}

fn explain_diff_and_show_know_of_it() -> Test {
    let dir = scratch();
    write(dir.path(), "own.toml", "");
    write(dir.path(), "children.toml", "[proc]\nsignal = \"children\"");
    write(dir.path(), "none.toml", "[default]\nsignals = \"none\"");
    let policy = |args: &[&str]| sbox(dir.path(), &[&["policy"], args].concat());
    for (file, children, others) in [
        ("own", "  allow\n", "  allow\n"),
        (
            "children",
            "  allow\n    decides  proc.\"signal\" = \"children\" (children.toml:6)\n",
            "  deny\n    decides  proc.\"signal\" = \"children\" (children.toml:6)\n",
        ),
        (
            "none",
            "  deny\n    decides  default.\"signals\" = \"none\" (none.toml:6)\n",
            "  deny\n    decides  default.\"signals\" = \"none\" (none.toml:6)\n",
        ),
    ] {
        let file = format!("{file}.toml");
        let said = policy(&["explain", &file, "signal children", "signal others"]);
        let wanted = format!("signal children\n{children}signal others\n{others}");
        assert_eq!(said.stdout_text(), wanted, "{file}");
        assert_eq!(policy(&["check", &file]).code(), Some(0), "{file}");
    }
    let asked = policy(&["explain", "own.toml", "signal 7"]);
    assert_eq!(asked.code(), Some(2), "{}", asked.all());
    for (from, to, word) in [
        (
            "own",
            "children",
            "newly denied: signals: own before, children now\n",
        ),
        (
            "none",
            "children",
            "newly allowed: signals: none before, children now\n",
        ),
    ] {
        let said = policy(&["diff", &format!("{from}.toml"), &format!("{to}.toml")]);
        assert_eq!((said.code(), &*said.stdout_text()), (Some(1), word));
    }
    let shown = policy(&["show", "--flat", "children.toml"])
        .stdout_text()
        .to_owned();
    assert!(
        shown.contains("\n[proc]\nsignal = \"children\"\n"),
        "{shown}"
    );
    fs::write(dir.path().join("flat.toml"), shown).expect("write");
    let same = policy(&["diff", "flat.toml", "children.toml"]);
    assert_eq!(same.code(), Some(0), "{}", same.all());
    Ok(())
}

//! The action `fake`: numbers and times that calls answer without the kernel.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::{Output, Test, guest, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        numbers_are_faked_and_all_else_is_as_it_was,
        a_time_is_that_of_every_wall_clock,
        programs_see_the_time,
        what_cant_be_faked_is_refused,
        what_cant_be_asked_about_is_no,
        of_a_policy_and_its_ceiling_the_stricter_holds,
        an_audit_fakes_and_a_shadow_tells,
    ])
}

fn sbox(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(support::sbox());
    command.args(args).current_dir(dir);
    command.env("XDG_STATE_HOME", dir.join("state"));
    support::job::run(command, b"", Duration::from_secs(60))
}

fn policy(rules: &str) -> tempfile::TempDir {
    let dir = scratch();
    let text = format!("sbox = 1\nextends = \"std/cli\"\n[syscalls]\n{rules}\n");
    fs::write(dir.path().join("p.toml"), text).expect("write");
    dir
}

/// What the guest says by itself and of the program that it executes.
fn said(output: &Output) -> Vec<BTreeMap<String, String>> {
    let text = output.stdout_text();
    let each = text.split("vdso ").skip(1);
    let lines = each.map(|part| {
        let lines = part.lines().skip(1).filter_map(|line| line.split_once(' '));
        let vdso = part.lines().next().unwrap_or_default();
        let own = [("vdso".to_owned(), vdso.to_owned())].into_iter();
        own.chain(lines.map(|(a, b)| (a.to_owned(), b.to_owned())))
            .collect()
    });
    lines.collect()
}

fn run(guest: &Path, rules: &str) -> Vec<BTreeMap<String, String>> {
    let dir = policy(rules);
    let bound = dir.path().join("guest");
    fs::copy(guest, &bound).expect("copy");
    let output = sbox(
        dir.path(),
        &[
            "run",
            "-q",
            "--discard",
            "--policy",
            "p.toml",
            "--",
            "./guest",
        ],
    );
    let said = said(&output);
    assert_eq!(
        (output.code(), said.len()),
        (Some(0), 2),
        "{}",
        output.all()
    );
    said
}

fn guests() -> Result<Vec<PathBuf>, support::Skip> {
    Ok(vec![guest("faked")?, guest_static("faked")?])
}

fn numbers_are_faked_and_all_else_is_as_it_was() -> Test {
    need_sbox()?;
    for guest in guests()? {
        let plain = run(&guest, "");
        let faked = run(
            &guest,
            "getuid = { fake = 4711, why = \"nobody\" }\n\"dup3(old == 1)\" = { fake = 9223372036854775807 }\numask = { fake = 0 }",
        );
        for (plain, faked) in plain.iter().zip(&faked) {
            assert_eq!(faked["getuid"], "4711");
            assert_eq!(faked["geteuid"], plain["geteuid"]);
            assert_eq!(
                (&*plain["dup3"], &*faked["dup3"]),
                ("9", "9223372036854775807")
            );
            assert_eq!(
                faked["dup3-else"], plain["dup3-else"],
                "the condition doesn't hold"
            );
            // Nothing has reached the kernel: there is no such descriptor.
            assert_eq!((&*plain["write"], &*faked["write"]), ("0", "-1"));
            assert_eq!(faked["umask"], "0");
            // Programs tell the time without a call, as long as nothing is said of it.
            assert_eq!((&*plain["vdso"], &*faked["vdso"]), ("1", "1"));
        }
    }
    Ok(())
}

const TIMES: &str = "clock_gettime = { fake = \"2026-01-01T02:00:00.5+02:00\" }\ngettimeofday = { fake = \"2026-01-01T00:00:00.25Z\" }\ntime = { fake = \"2024-02-29T23:59:59Z\" }";

fn a_time_is_that_of_every_wall_clock() -> Test {
    need_sbox()?;
    for guest in guests()? {
        let (plain, faked) = (run(&guest, ""), run(&guest, TIMES));
        for (plain, faked) in plain.iter().zip(&faked) {
            assert_eq!((&*plain["vdso"], &*faked["vdso"]), ("1", "0"));
            for clock in ["realtime", "coarse", "tai", "alarm"] {
                assert_eq!(
                    faked[clock], "0 0 1767225600.500000000 1767225600.500000000",
                    "{clock}"
                );
                assert_ne!(plain[clock], faked[clock]);
            }
            for clock in ["monotonic", "boottime"] {
                let seconds = |of: &BTreeMap<String, String>| {
                    let words = of[clock].split(' ').nth(2);
                    words.and_then(|w| w.parse::<f64>().ok()).expect("seconds")
                };
                let ahead = seconds(faked) - seconds(plain);
                assert!((0.0..60.0).contains(&ahead), "{clock}: {ahead}");
            }
            assert_eq!(
                faked["gettimeofday"],
                "0 0 1767225600.250000 1767225600.250000 zone 0"
            );
            assert_eq!(faked["time"], "1709251199 1709251199 1709251199");
            for error in ["bad", "no"] {
                assert_eq!(faked[error], plain[error]);
            }
        }
    }
    Ok(())
}

fn programs_see_the_time() -> Test {
    need_sbox()?;
    let dir = policy(&TIMES.replace("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00Z"));
    let mut seen = 0;
    for (program, args, wanted) in [
        ("/bin/date", &["-u", "+%s %Y"][..], "1767225600 2026\n"),
        (
            "/usr/bin/python3",
            &[
                "-c",
                "import time, datetime; a = time.monotonic(); time.sleep(.01); print(int(time.time()), datetime.date.today().year, time.monotonic() > a)",
            ],
            "1767225600 2026 True\n",
        ),
        (
            "/usr/bin/perl",
            &["-e", "print time, qq(\\n)"],
            "1709251199\n",
        ),
        ("/bin/busybox", &["date", "-u", "+%Y"], "2024\n"),
    ] {
        if !Path::new(program).exists() {
            continue;
        }
        let command = [
            &[
                "run",
                "-q",
                "--discard",
                "--policy",
                "p.toml",
                "--",
                program,
            ],
            args,
        ]
        .concat();
        let output = sbox(dir.path(), &command);
        assert!(output.code() == Some(0), "{program}: {}", output.all());
        if program == "/usr/bin/perl" {
            // By time(2) or gettimeofday(2), as it was built.
            assert!(
                ["1709251199\n", "1767225600\n"].contains(&&*output.stdout_text()),
                "{}",
                output.all()
            );
        } else {
            assert_eq!(output.stdout_text(), wanted, "{program}: {}", output.all());
        }
        seen += 1;
    }
    assert!(seen > 0, "there is no date(1)");
    // A file's times are those of the host, as the kernel writes them.
    let script = "echo > new; test $(stat -c %Y new) -gt 1767225600";
    let output = sbox(
        dir.path(),
        &[
            "run",
            "-q",
            "--discard",
            "--policy",
            "p.toml",
            "--",
            "sh",
            "-c",
            script,
        ],
    );
    assert_eq!(output.code(), Some(0), "{}", output.all());
    // Any rule about a clock is obeyed: date(1) doesn't look whether it was told a time.
    let dir = policy("clock_gettime = \"deny\"");
    let args = [
        "run",
        "-q",
        "--discard",
        "--policy",
        "p.toml",
        "--",
        "date",
        "+%s",
    ];
    let told: i64 = sbox(dir.path(), &args)
        .stdout_text()
        .trim()
        .parse()
        .unwrap_or(0);
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    assert!(told.abs_diff(now.cast_signed()) > 86_400, "{told}");
    Ok(())
}

/// Status 2 for what makes no sense, 3 for what sbox can't do.
fn what_cant_be_faked_is_refused() -> Test {
    let dir = policy("");
    for (rules, status, why) in [
        ("getuid = \"fake\"", 2, "'fake' needs what the call answers"),
        ("getuid = { fake = -1 }", 2, "not negative"),
        (
            "getuid = { fake = \"2026-01-01T00:00:00Z\" }",
            2,
            "getuid tells no time",
        ),
        (
            "\"@time\" = { fake = \"2026-01-01T00:00:00Z\" }",
            2,
            "@time tells no time",
        ),
        ("time = { fake = \"2026-01-01\" }", 2, "is no time"),
        ("time = { fake = \"2026-01-01T00:00:00\" }", 2, "is no time"),
        (
            "time = { fake = \"1969-12-31T23:59:59Z\" }",
            2,
            "is no time",
        ),
        ("time = { fake = true }", 2, "wants a number"),
        ("getuid = { fake = 0, do = \"deny\" }", 2, "too much"),
        (
            "\"dup3(old == 1)\" = { fake = 0 }\n\"dup3(new == 2)\" = \"deny\"",
            2,
            "may hold together",
        ),
        (
            "\"dup3(old == 1)\" = { fake = 0 }\n\"dup3(new == 2)\" = { fake = 1 }",
            2,
            "may hold together",
        ),
        (
            "\"dup3(old == 1)\" = { fake = 0 }\n\"dup3(new == 2)\" = \"allow\"",
            2,
            "may hold together",
        ),
        (
            "\"dup3(old == 1)\" = { fake = 0 }\n\"dup3(old == 2)\" = \"deny\"",
            0,
            "",
        ),
        (
            "\"dup3(old == 1)\" = { fake = 0 }\n\"dup3(new == 2)\" = { fake = 0 }\ndup3 = \"kill\"",
            0,
            "",
        ),
        (
            "\"/a\" = { fake = 0 }\n[files]\n\"/a\" = { fake = 0 }",
            2,
            "there is no system call",
        ),
        ("[files]\n\"/a\" = { fake = 0 }", 2, "a file can't be faked"),
        (
            "[exec]\n\"/a\" = { fake = 0 }",
            2,
            "nothing can be faked here",
        ),
        ("mmap = { fake = 0 }", 3, "itself"),
        ("execve = { fake = 0 }", 3, "itself"),
        ("exit_group = { fake = 0 }", 3, "itself"),
        ("fork = { fake = 1 }", 3, "a new process can't be faked"),
        ("\"@process\" = { fake = 1 }", 3, "can't enforce"),
        ("\"*\" = { fake = 0 }", 3, "itself"),
    ] {
        let text = format!("sbox = 1\nextends = \"std/cli\"\n[syscalls]\n{rules}\n");
        let text = text.replace("[syscalls]\n[", "[");
        fs::write(dir.path().join("p.toml"), text).expect("write");
        let output = sbox(
            dir.path(),
            &[
                "run",
                "-q",
                "--discard",
                "--policy",
                "p.toml",
                "--",
                "/bin/true",
            ],
        );
        assert_eq!(output.code(), Some(status), "{rules}: {}", output.all());
        assert!(
            output.stderr_text().contains(why),
            "{rules}: {}",
            output.all()
        );
    }
    Ok(())
}

/// Where gaps are taken on, a call about which nobody can be asked is refused.
fn what_cant_be_asked_about_is_no() -> Test {
    need_sbox()?;
    for (rule, status) in [("", 0), ("kill = \"ask\"\n", 1)] {
        let dir = policy(&format!("{rule}[default]\nenforce = \"best-effort\""));
        let script = "kill -0 $$ || exit 1";
        let args = [
            "run",
            "-q",
            "--discard",
            "--policy",
            "p.toml",
            "--",
            "sh",
            "-c",
            script,
        ];
        let output = sbox(dir.path(), &args);
        assert_eq!(output.code(), Some(status), "{rule}: {}", output.all());
    }
    Ok(())
}

fn of_a_policy_and_its_ceiling_the_stricter_holds() -> Test {
    need_sbox()?;
    let dir = policy("getuid = { fake = 7 }\ngeteuid = { fake = 8 }");
    let ceiling = |rules: &str| {
        let text = format!("sbox = 1\n[files]\n\"/**\" = \"rwx\"\n[syscalls]\n{rules}\n");
        fs::write(dir.path().join("c.toml"), text).expect("write");
        let python = "import os; print(os.getuid(), os.geteuid())";
        let args = [
            "run",
            "-q",
            "--discard",
            "--policy",
            "p.toml",
            "--within",
            "c.toml",
            "--",
            "python3",
            "-c",
            python,
        ];
        sbox(dir.path(), &args)
    };
    assert_eq!(ceiling("getuid = \"allow\"").stdout_text(), "7 8\n");
    let refused = ceiling("getuid = \"deny\"").stdout_text();
    assert!(
        refused.ends_with(" 8\n") && !refused.starts_with("7 "),
        "{refused}"
    );
    let mixed = ceiling("getuid = { fake = 9 }");
    assert_eq!(mixed.code(), Some(3), "{}", mixed.all());
    assert!(
        mixed.stderr_text().contains("fake different answers"),
        "{}",
        mixed.all()
    );
    Ok(())
}

fn an_audit_fakes_and_a_shadow_tells() -> Test {
    need_sbox()?;
    let dir = policy("getuid = { fake = 7 }");
    let python = ["python3", "-c", "import os; print(os.getuid())"];
    let run = |flags: &[&str]| {
        let args = [&["run", "--discard", "--policy"], flags, &["--"], &python].concat();
        sbox(dir.path(), &args)
    };
    let audit = run(&["p.toml", "--mode", "audit"]);
    assert_eq!(audit.stdout_text(), "7\n", "{}", audit.all());
    assert!(
        !audit.stderr_text().contains("syscalls.\"getuid\""),
        "{}",
        audit.all()
    );
    for (flags, told) in [
        (
            ["std/cli", "--shadow", "p.toml"],
            "would be denied by the shadow",
        ),
        (
            ["p.toml", "--shadow", "std/cli"],
            "would be allowed by the shadow",
        ),
    ] {
        let output = run(&flags);
        assert!(
            output.stderr_text().contains(told),
            "{flags:?}: {}",
            output.all()
        );
    }
    let same = run(&["p.toml", "--shadow", "p.toml"]);
    assert!(!same.stderr_text().contains("shadow"), "{}", same.all());
    Ok(())
}

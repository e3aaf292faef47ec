//! Seccomp profiles of others: what is wrong with them is told with its place; what is right becomes a policy that allows
//! nothing that the profile refuses, and the same where nothing else was told.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use sbox::policy::foreign::{Format, Weight};
use sbox::policy::lang::{Sheets, World};
use sbox::supervisor::calls::{Refused, Verdict};
use sbox::syscall::args::width;
use sbox::syscall::table::by_name;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use support::oci::{ACTIONS, CALLS, Entry, Random, decided, golden, sbox_in, strictness, value};
use support::{Test, need_sbox, scratch, source_dir};

fn main() -> ExitCode {
    support::main(tests![
        broken_profiles,
        profiles_become_policies,
        what_is_there_is_not_overwritten,
        a_profile_never_gets_wider,
        a_run_does_what_the_profile_says,
    ])
}

fn named(dir: &Path, endings: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("read_dir");
    let names = entries.map(|e| e.expect("entry").file_name().into_string().expect("plain"));
    let mut all: Vec<String> = names
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .collect();
    all.sort();
    all
}

/// Each has the message that stands beside it, and nothing is written.
fn broken_profiles() -> Test {
    let dir = source_dir().join("testdata/policies/foreign/broken");
    let names = named(&dir, &[".json", ".policy"]);
    assert!(names.len() >= 25, "{} broken profiles", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let output = sbox_in(&dir, &["policy", "import", &name]);
        assert_eq!(output.code(), Some(2), "{name}: {}", output.all());
        assert!(output.stdout.is_empty(), "{name}");
        let said = output.stderr_text();
        assert!(said.contains(&format!("{name}:")), "{name}: {said}");
        golden(&dir.join(format!("{name}.stderr")), &said, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What they become stands beside them; it can be read and enforced, and tells by its status how far it is from the original.
fn profiles_become_policies() -> Test {
    let dir = source_dir().join("testdata/policies/foreign");
    let mut wrong = Vec::new();
    let mut statuses = Vec::new();
    for name in named(&dir, &[".json", "l.policy"]) {
        let output = sbox_in(&dir, &["policy", "import", &name]);
        statuses.push((name.clone(), output.code().expect("a status")));
        golden(
            &dir.join(format!("{name}.toml")),
            &output.stdout_text(),
            &mut wrong,
        );
        golden(
            &dir.join(format!("{name}.stderr")),
            &output.stderr_text(),
            &mut wrong,
        );
        for verb in [&["check"][..], &["fmt", "--check"]] {
            let made = format!("{name}.toml");
            let args = [&["policy"], verb, &[&made]].concat();
            let output = sbox_in(&dir, &args);
            assert_eq!(output.code(), Some(0), "{name}: {}", output.all());
        }
        // Each warning is a comment as well.
        let text = output.stdout_text();
        for line in output.stderr_text().lines() {
            let said = line.rsplit_once("wider than the profile: ").map_or_else(
                || line.splitn(4, ": ").nth(3).unwrap_or_default(),
                |(_, said)| said,
            );
            assert!(!said.is_empty() && text.contains(said), "{name}: {line}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let wanted = [
        ("config.json", 1),
        ("docker.json", 1),
        ("plain.json", 0),
        ("tool.policy", 3),
    ];
    assert_eq!(statuses, wanted.map(|(name, code)| (name.to_owned(), code)));
    Ok(())
}

fn what_is_there_is_not_overwritten() -> Test {
    let dir = scratch();
    let profile = source_dir().join("testdata/policies/foreign/plain.json");
    let profile = profile.to_str().expect("plain");
    let args = ["policy", "import", profile, "-o", "p.toml"];
    assert_eq!(sbox_in(dir.path(), &args).code(), Some(0));
    fs::write(dir.path().join("p.toml"), "mine").expect("write");
    let again = sbox_in(dir.path(), &args);
    assert_eq!(again.code(), Some(2), "{}", again.all());
    assert!(
        again.stderr_text().contains("File exists"),
        "{}",
        again.all()
    );
    let link = dir.path().join("l.toml");
    std::os::unix::fs::symlink("nowhere", &link).expect("symlink");
    let args = ["policy", "import", profile, "-o", "l.toml"];
    assert_eq!(sbox_in(dir.path(), &args).code(), Some(2));
    assert_eq!(fs::read(dir.path().join("p.toml")).expect("read"), b"mine");
    // Docker's keys mean nothing to the OCI's runtimes.
    let docker = source_dir().join("testdata/policies/foreign/docker.json");
    let args = [
        "policy",
        "import",
        "--format",
        "oci",
        docker.to_str().expect("plain"),
    ];
    let oci = sbox_in(dir.path(), &args);
    assert_eq!(oci.code(), Some(2), "{}", oci.all());
    Ok(())
}

/// Profiles that chance has made, for registers as programs set them: the policy refuses what the profile refuses, and
/// where no difference was told it answers the same.
fn a_profile_never_gets_wider() -> Test {
    let mut random = Random(0x0c1_5ecc);
    let (mut same, mut refused, mut stricter) = (0, 0, 0);
    for _ in 0..400 {
        let default = ACTIONS[random.below(4) as usize];
        let mut entries = Vec::new();
        for call in CALLS {
            for _ in 0..random.below(4) {
                let count = by_name(call).expect("a call").params.len() as u64;
                let mut tests: Vec<(usize, &str, u64, u64)> = Vec::new();
                for arg in 0..count as usize {
                    if random.below(3) > 0 {
                        continue;
                    }
                    let op =
                        ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"][random.below(7) as usize];
                    let first = value(&mut random);
                    let second = if op == "MASKED_EQ" {
                        first & value(&mut random)
                    } else {
                        0
                    };
                    tests.push((arg, op, first, second));
                }
                let action = ACTIONS[random.below(4) as usize];
                entries.push(Entry {
                    call,
                    action,
                    tests,
                });
            }
        }
        let errno = |(_, errno): (&str, i32)| if errno > 0 { errno } else { 1 };
        let mut text = format!(
            "{{\"defaultAction\": \"SCMP_ACT_{}\", \"defaultErrnoRet\": {}, \"syscalls\": [",
            default.0,
            errno(default)
        );
        for (number, entry) in entries.iter().enumerate() {
            let tests: Vec<String> = entry
                .tests
                .iter()
                .map(|(arg, op, value, second)| {
                    format!(
                        "{{\"index\": {arg}, \"op\": \"SCMP_CMP_{op}\", \"value\": {value}, \"valueTwo\": {second}}}"
                    )
                })
                .collect();
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}\n{{\"names\": [\"{}\"], \"action\": \"SCMP_ACT_{}\", \"errnoRet\": {}, \"args\": [{}]}}",
                entry.call,
                entry.action.0,
                errno(entry.action),
                tests.join(", ")
            );
        }
        text += "]}";
        let none = |_: &Path| Err(String::new());
        let translated =
            sbox::cli::policy::import::read("p.json", text.clone(), Format::Oci, &none, (6, 1));
        let translated = translated.unwrap_or_else(|_| panic!("{text}"));
        let read = |_: &Path| Ok(translated.text.clone());
        let words = sbox::cli::policy::words();
        let sheets = Sheets::load("p", &[], &World::default(), &words, &read)
            .unwrap_or_else(|(faults, sources)| panic!("{}", faults[0].show(&sources)));
        for call in CALLS {
            let row = by_name(call).expect("a call");
            let policy = Refused::of(&sheets, row).expect("it can be enforced");
            let told = translated.remarks.iter().any(|remark| {
                let line = translated.sources.place(remark.at);
                let at: usize = line
                    .rsplit(':')
                    .next()
                    .expect("a line")
                    .parse()
                    .expect("a number");
                // The line of an entry; the first is the default's.
                let about = at < 2 || entries[at - 2].call == call;
                remark.weight < Weight::Note && about
            });
            let own: Vec<&Entry> = entries.iter().filter(|e| e.call == call).collect();
            for _ in 0..60 {
                let mut args = [(); 6].map(|()| value(&mut random));
                // Half of them at the edges of a test.
                if let (0, Some(entry)) = (random.below(2), own.first()) {
                    for (arg, _, value, second) in &entry.tests {
                        let near = [*value, *second][random.below(2) as usize];
                        args[*arg] = near.wrapping_add(random.below(3)).wrapping_sub(1);
                    }
                }
                for (arg, param) in args.iter_mut().zip(row.params) {
                    if let Some((32, _)) = width(param.ty) {
                        *arg &= u64::from(u32::MAX);
                    }
                }
                // A negative int is one to the kernel, with its sign in the upper half of the register or without.
                let negative: Vec<usize> = (0..row.params.len())
                    .filter(|arg| width(row.params[*arg].ty).is_some_and(|w| w.0 == 32))
                    .filter(|arg| args[*arg] >> 31 == 1)
                    .collect();
                let wanted: Vec<(&str, i32)> = (0..1usize << negative.len())
                    .map(|extended| {
                        let mut args = args;
                        for (bit, arg) in negative.iter().enumerate() {
                            args[*arg] |= u64::from(extended >> bit & 1 == 1) * (u64::MAX << 32);
                        }
                        decided(&own, &args, default)
                    })
                    .collect();
                let got = policy.as_ref().and_then(|policy| policy.refusal(&args));
                let got = match got {
                    None => ("ALLOW", 0),
                    Some((Verdict::Kill, _)) => ("KILL_PROCESS", -1),
                    Some((Verdict::Deny(errno), _)) => ("ERRNO", errno as i32),
                    Some((other, _)) => panic!("no profile says {other:?}"),
                };
                let context = || {
                    format!(
                        "{call} {args:x?}: {got:?}, the profile {wanted:?}\n{text}\n{}",
                        translated.text
                    )
                };
                let least = wanted.iter().map(|one| strictness(*one)).min().unwrap_or(0);
                assert!(strictness(got) >= least, "{}", context());
                // Of two errnos that both hold, one is as good as the other.
                let is = wanted.iter().any(|one| strictness(*one) == strictness(got));
                assert!(told || is, "{}", context());
                refused += u32::from(got.0 != "ALLOW");
                same += u32::from(wanted.contains(&got));
                stricter += u32::from(strictness(got) > least);
            }
        }
    }
    assert!(
        refused > 30_000 && same > 100_000,
        "{same} {refused} {stricter}"
    );
    assert!(stricter > 100, "something can't be said: {stricter}");
    Ok(())
}

/// The profile for a program, and one that it breaks.
fn a_run_does_what_the_profile_says() -> Test {
    need_sbox()?;
    support::need(&["/usr/bin/setarch", "/usr/bin/nice"])?;
    let dir = scratch();
    let profile = "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [\
        {\"names\": [\"getpriority\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 33},\
        {\"names\": [\"personality\"], \"action\": \"SCMP_ACT_KILL_PROCESS\",\
         \"args\": [{\"index\": 0, \"value\": 262144, \"valueTwo\": 262144, \"op\": \"SCMP_CMP_MASKED_EQ\"}]}]}";
    fs::write(dir.path().join("p.json"), profile).expect("write");
    let import = sbox_in(
        dir.path(),
        &["policy", "import", "p.json", "-o", "calls.toml"],
    );
    assert_eq!(import.code(), Some(0), "{}", import.all());
    let policy = "sbox = 1\nextends = [\"std/cli\", \"calls.toml\"]\n";
    fs::write(dir.path().join("p.toml"), policy).expect("write");
    let run = |script: &str| {
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
        sbox_in(dir.path(), &args)
    };
    let said = run("nice; echo done");
    assert!(
        said.stderr_text()
            .contains("Numerical argument out of domain"),
        "{}",
        said.all()
    );
    assert_eq!(said.stdout_text().trim(), "done", "{}", said.all());
    let killed = run("setarch -R true; echo alive");
    assert!(!killed.stdout_text().contains("alive"), "{}", killed.all());
    assert_eq!(killed.code(), None, "it dies of SIGSYS: {}", killed.all());
    Ok(())
}

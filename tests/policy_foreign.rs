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
use sbox::syscall::table::{Mechanism, Row, TABLE, by_name};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::{Output, Test, need_sbox, scratch, source_dir};

fn main() -> ExitCode {
    support::main(tests![
        broken_profiles,
        profiles_become_policies,
        what_is_there_is_not_overwritten,
        a_profile_never_gets_wider,
        a_run_does_what_the_profile_says,
        an_export_decides_as_the_policy,
        exports_and_their_refusals,
    ])
}

fn sbox_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(support::sbox());
    command.args(args).current_dir(dir);
    command.env("XDG_STATE_HOME", std::env::temp_dir().join("sbox-state"));
    support::job::run(command, b"", Duration::from_secs(60))
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

/// Compares a text with a file, or writes that with `BLESS=1`.
fn golden(file: &Path, said: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, said).expect("write");
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    if said != wanted {
        wrong.push(format!("{}:\n{said}wanted:\n{wanted}", file.display()));
    }
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

/// A small stream of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 5) % n
    }
}

/// An entry of a profile: a call, an action's name and errno, and tests that must all hold.
struct Entry {
    call: &'static str,
    action: (&'static str, i32),
    tests: Vec<(usize, &'static str, u64, u64)>,
}

impl Entry {
    fn holds(&self, args: &[u64; 6]) -> bool {
        self.tests.iter().all(|(arg, op, value, second)| {
            let is = args[*arg];
            match *op {
                "EQ" => is == *value,
                "NE" => is != *value,
                "LT" => is < *value,
                "LE" => is <= *value,
                "GT" => is > *value,
                "GE" => is >= *value,
                _ => is & value == *second,
            }
        })
    }
}

const CALLS: [&str; 9] = [
    "dup3", "lseek", "fcntl", "ioctl", "socket", "futex", "clone", "umask", "mprotect",
];
const ACTIONS: [(&str, i32); 4] = [
    ("ALLOW", 0),
    ("ERRNO", 1),
    ("ERRNO", 38),
    ("KILL_PROCESS", -1),
];

fn value(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => u64::from(u32::MAX) - random.below(3),
        1 => u64::MAX - random.below(3),
        2 => (1 << 31) - 1 + random.below(3),
        3 => 1 << random.below(64),
        _ => random.below(12),
    }
}

/// How strict a refusal is: 0 is none.
fn strictness(action: (&str, i32)) -> u8 {
    match action.0 {
        "ALLOW" => 0,
        "ERRNO" => 1,
        _ => 2,
    }
}

/// What a profile says of a call: an entry without tests beats those with, of those that hold the strictest decides.
fn decided(own: &[&Entry], args: &[u64; 6], default: (&'static str, i32)) -> (&'static str, i32) {
    let strictest = |whole: bool| {
        let of = own
            .iter()
            .filter(|e| e.tests.is_empty() == whole && e.holds(args));
        of.map(|e| e.action)
            .max_by_key(|action| strictness(*action))
    };
    strictest(true)
        .or_else(|| strictest(false))
        .unwrap_or(default)
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

/// A rule's condition that chance has made, on arguments that a rule may look at.
fn condition(random: &mut Random, call: &str) -> Option<String> {
    let param = sbox::cli::policy::words().param?;
    let row = by_name(call)?;
    let names: Vec<(&str, u32)> = row
        .params
        .iter()
        .filter_map(|one| Some((one.name, param(call, one.name).ok()?.bits)))
        .collect();
    if names.is_empty() {
        return None;
    }
    let mut out = String::new();
    for number in 0..=random.below(4) / 3 {
        if number > 0 {
            out += ["&&", "||"][random.below(2) as usize];
        }
        let (name, bits) = *names.get(random.below(names.len() as u64) as usize)?;
        let all = u64::MAX >> (64 - bits);
        let is = value(random) & all;
        let of = match random.below(5) {
            0 => format!("{name} & {:#x}", is.max(1)),
            1 => format!("{name} & {is:#x} == {:#x}", is & value(random)),
            2 => format!("!({name} in [{is}, {}])", value(random) & all),
            _ => {
                let op = ["==", "!=", "<", "<=", ">", ">="][random.below(6) as usize];
                format!("{name} {op} {is}")
            }
        };
        let _ = write!(out, " {of} ");
    }
    Some(out.trim().to_owned())
}

/// `[syscalls]` that chance has made.
fn random_policy(random: &mut Random) -> String {
    let words = ["allow", "deny EPERM", "deny ENOSYS", "kill", "deny EACCES"];
    let mut lines = std::collections::BTreeMap::new();
    for key in ["*", "@network", "@file", "ptrace", "getppid"] {
        if random.below(4) == 0 && (key, random.below(2)) != ("*", 0) {
            lines.insert(key.to_owned(), words[1 + random.below(4) as usize]);
        }
    }
    for call in CALLS {
        if random.below(2) == 0 {
            lines.insert(call.to_owned(), words[random.below(5) as usize]);
        }
        for _ in 0..[0, 0, 0, 1, 1, 1, 1, 2][random.below(8) as usize] {
            if let Some(condition) = condition(random, call) {
                let key = format!("{call}({condition})");
                lines.insert(key, words[random.below(5) as usize]);
            }
        }
    }
    let mut text = "sbox = 1\n[syscalls]\n".to_owned();
    for (key, word) in lines {
        // What sbox makes itself, or refuses whatever is said, is no rule's matter.
        let _ = writeln!(text, "{key:?} = {word:?}");
    }
    for call in sbox::cli::policy::enforce::NEEDED {
        let _ = writeln!(text, "{call:?} = \"allow\"");
    }
    text
}

fn load(text: &str, ceiling: &str) -> Sheets {
    let read = |path: &Path| {
        Ok(if path == Path::new("q") {
            ceiling
        } else {
            text
        }
        .to_owned())
    };
    let ceilings = if ceiling.is_empty() {
        vec![]
    } else {
        vec!["q".into()]
    };
    let words = sbox::cli::policy::words();
    let sheets = Sheets::load("p", &ceilings, &World::default(), &words, &read);
    sheets.unwrap_or_else(|(faults, sources)| panic!("{}\n{text}", faults[0].show(&sources)))
}

/// What a policy says of a call, as the supervisor does it.
fn model(refused: &[Refused], row: &Row, args: &[u64; 6]) -> (&'static str, i32) {
    let own = refused.iter().find(|one| one.nr == row.x86);
    match own.map(|own| own.refusal(args)) {
        Some(Some((Verdict::Kill, _))) => ("KILL_PROCESS", -1),
        Some(Some((Verdict::Deny(errno), _))) => ("ERRNO", errno as i32),
        Some(None) => ("ALLOW", 0),
        None => match row.mechanism {
            Mechanism::Refuse(errno) => ("ERRNO", errno as i32),
            _ => ("ALLOW", 0),
        },
    }
}

/// Reads a profile of ours for the oracle, and holds it to what runc and libseccomp take exactly.
fn entries(text: &str) -> (Vec<Entry>, (&'static str, i32)) {
    let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let number = |of: &serde_json::Value| of.as_u64().expect("a number");
    let action = |of: &serde_json::Value, key: &str, errno: &str| {
        let word = of[key]
            .as_str()
            .and_then(|word| word.strip_prefix("SCMP_ACT_"));
        match word.expect("an action") {
            "ALLOW" => ("ALLOW", 0),
            "KILL_PROCESS" => ("KILL_PROCESS", -1),
            "ERRNO" => ("ERRNO", number(&of[errno]) as i32),
            other => panic!("{other}"),
        }
    };
    let default = action(&json, "defaultAction", "defaultErrnoRet");
    let mut all: Vec<Entry> = Vec::new();
    for one in json["syscalls"].as_array().expect("a list") {
        let tests = one["args"].as_array().into_iter().flatten().map(|arg| {
            let op = arg["op"]
                .as_str()
                .and_then(|op| op.strip_prefix("SCMP_CMP_"));
            assert_eq!(op, Some("MASKED_EQ"));
            let index = number(&arg["index"]) as usize;
            (
                index,
                "MASKED_EQ",
                number(&arg["value"]),
                number(&arg["valueTwo"]),
            )
        });
        let tests: Vec<_> = tests.collect();
        let mut indices: Vec<usize> = tests.iter().map(|test| test.0).collect();
        indices.dedup();
        assert_eq!(indices.len(), tests.len(), "alternatives to runc: {one}");
        let action = action(one, "action", "errnoRet");
        assert_ne!(
            action, default,
            "libseccomp takes no rule that is the default"
        );
        for name in one["names"].as_array().expect("names") {
            let call = by_name(name.as_str().expect("a name"))
                .expect("a call")
                .name;
            let tests = tests.clone();
            let other = all.iter().find(|other| other.call == call);
            let beside = other.is_some_and(|other| other.tests.is_empty() || tests.is_empty());
            assert!(!beside, "{call} has an entry that beats others");
            all.push(Entry {
                call,
                action,
                tests,
            });
        }
    }
    (all, default)
}

/// Policies that chance has made: the export answers as the policy, by an oracle of the OCI's that knows nothing of it; and what is
/// imported of that again does too.
fn an_export_decides_as_the_policy() -> Test {
    let mut random = Random(0xe_0c1);
    let (mut exact, mut told, mut too_many, mut unfit, mut asked) = (0, 0, 0, 0, 0);
    for round in 0..400 {
        let text = random_policy(&mut random);
        let ceiling = if round % 4 == 0 {
            random_policy(&mut random)
        } else {
            String::new()
        };
        let sheets = load(&text, &ceiling);
        if CALLS
            .iter()
            .any(|call| Refused::of(&sheets, by_name(call).expect("a call")).is_err())
        {
            unfit += 1;
            continue;
        }
        let refused = sbox::cli::policy::enforce::refused(&sheets);
        let Ok(json) = sbox::cli::policy::export::profile(&sheets) else {
            too_many += 1;
            continue;
        };
        let (entries, default) = entries(&json);
        let none = |_: &Path| Err(String::new());
        let again =
            sbox::cli::policy::import::read("p.json", json.clone(), Format::Oci, &none, (6, 1));
        let again = again.unwrap_or_else(|_| panic!("{json}"));
        let differs = again
            .remarks
            .iter()
            .any(|remark| remark.weight < Weight::Note);
        let back = sbox::cli::policy::enforce::refused(&load(&again.text, ""));
        for row in TABLE {
            let own: Vec<&Entry> = entries.iter().filter(|e| e.call == row.name).collect();
            for _ in 0..if CALLS.contains(&row.name) { 25 } else { 1 } {
                let mut args = [(); 6].map(|()| value(&mut random));
                if let Some(entry) = own.get(random.below(own.len().max(1) as u64 * 2) as usize) {
                    for (arg, _, mask, second) in &entry.tests {
                        args[*arg] = second.wrapping_add(random.below(3)).wrapping_sub(1)
                            | value(&mut random) & !mask & !0xffff_ffff;
                    }
                }
                let wanted = model(&refused, row, &args);
                let context = |got| {
                    format!(
                        "{} {args:x?}: {got:?}, wanted {wanted:?}\n{text}\n{ceiling}",
                        row.name
                    )
                };
                let holding = own.iter().filter(|entry| entry.holds(&args)).count();
                assert!(holding <= 1, "{}", context(default));
                let got = decided(&own, &args, default);
                assert_eq!(got, wanted, "{}", context(got));
                let got = model(&back, row, &args);
                let stricter = differs && strictness(got) >= strictness(wanted).min(1);
                assert!(
                    got == wanted || stricter,
                    "{}\n{}",
                    context(got),
                    again.text
                );
                asked += 1;
            }
        }
        exact += u32::from(!differs);
        told += u32::from(differs);
    }
    let counts = format!("{exact} exact, {told} told, {too_many} too many, {unfit} unfit, {asked}");
    assert!(exact >= 200 && asked > 100_000, "{counts}");
    assert!(told < exact / 3 && too_many > 10, "{counts}");
    Ok(())
}

/// What is written and what isn't, and the statuses.
fn exports_and_their_refusals() -> Test {
    let dir = scratch();
    let export = |args: &[&str]| {
        let all = [&["policy", "export", "--oci"], args].concat();
        sbox_in(dir.path(), &all)
    };
    for name in sbox::policy::lang::presets::names() {
        let output = export(&[name]);
        assert_eq!(output.code(), Some(0), "{name}: {}", output.all());
        let (entries, default) = entries(&output.stdout_text());
        assert_eq!(default, ("ERRNO", 38));
        assert!(entries.len() > 300, "{name}");
        assert!(output.stderr_text().contains("[files]"), "{}", output.all());
    }
    let written = "sbox = 1\n[syscalls]\nptrace = \"kill\"\n\
        \"socket(family == AF_NETLINK)\" = \"deny\"\n\"dup3(old >= 3 && new < 0)\" = \"kill\"\n";
    fs::write(dir.path().join("p.toml"), written).expect("write");
    let mut wrong = Vec::new();
    let file = source_dir().join("testdata/policies/foreign/export/p.json");
    golden(&file, &export(&["p.toml"]).stdout_text(), &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let out = dir.path().join("out.json");
    for (text, status, says) in [
        (
            "sbox = 1\n[syscalls]\nno_such_call = \"deny\"\n",
            2,
            "no_such_call",
        ),
        ("sbox = 1\n[syscalls]\nmmap = \"deny\"\n", 3, "w.toml:3"),
        ("sbox = 1\n[default]\nsyscalls = \"ask\"\n", 3, "w.toml:3"),
        (
            "sbox = 1\n[syscalls]\n\"mremap(old_len == 1 || new_len == 2 || flags == 3)\" = \"deny\"\n",
            3,
            "w.toml:3",
        ),
    ] {
        fs::write(dir.path().join("w.toml"), text).expect("write");
        let output = export(&["w.toml", "-o", "out.json"]);
        assert_eq!(output.code(), Some(status), "{text}: {}", output.all());
        assert!(output.stderr_text().contains(says), "{}", output.all());
        assert!(output.stdout.is_empty() && !out.exists(), "{text}");
    }
    assert_eq!(export(&["missing.toml"]).code(), Some(2));
    let without = sbox_in(dir.path(), &["policy", "export", "p.toml"]);
    assert_eq!(without.code(), Some(2), "{}", without.all());
    // What is there stays.
    assert_eq!(export(&["p.toml", "-o", "out.json"]).code(), Some(0));
    fs::write(&out, "mine").expect("write");
    assert_eq!(export(&["p.toml", "-o", "out.json"]).code(), Some(2));
    assert_eq!(fs::read(&out).expect("read"), b"mine");
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("symlink");
    assert_eq!(export(&["p.toml", "-o", "link"]).code(), Some(2));
    assert!(!dir.path().join("nowhere").exists());
    Ok(())
}

//! Policies as seccomp profiles of the OCI: an oracle that knows nothing of policies decides by what is written as the policy does,
//! and so does a policy that is imported of that again.

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
use sbox::syscall::table::{Mechanism, Row, TABLE, by_name};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use support::oci::{CALLS, Entry, Random, decided, golden, sbox_in, strictness, value};
use support::{Test, scratch, source_dir};

fn main() -> ExitCode {
    support::main(tests![
        an_export_decides_as_the_policy,
        exports_and_their_refusals,
    ])
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
        Some(Some((other, _))) => panic!("no policy here says {other:?}"),
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

//! Policies: what is wrong with them is told with its place, what is right is explained, and a run does what
//! `explain` says.
//!
//! Long because it holds all promises of the policy language, one test for each.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::{Output, Test, guest_static, need_sbox, scratch, source_dir};

fn main() -> ExitCode {
    support::main(tests![
        broken_policies,
        presets_have_no_gaps,
        explain_tells_who_lost,
        check_finds_what_never_decides,
        diff_has_a_witness,
        diff_tells_of_ceilings_and_of_the_world,
        fmt_changes_nothing_twice,
        flat_is_a_policy_again,
        the_schema_is_json,
        what_nobody_enforces_is_refused,
        a_second_name_is_no_way_around,
        a_link_in_the_way_is_found_among_many_names,
        no_road_to_what_is_denied,
        a_run_does_what_explain_says,
        a_run_does_what_explain_says_of_wildcards,
        a_denied_file_is_no_program_of_any_kind,
        a_preset_runs_where_it_names_the_directory,
        environment_and_calls,
        a_ceiling_only_takes_away,
        denials_are_summed_up,
        the_presets_run_programs,
        an_online_program_talks_to_the_host,
        an_agent_works_and_sees_no_secret,
    ])
}

fn sbox_in(dir: &Path, args: &[&str]) -> Output {
    sbox_with(dir, args, "")
}

fn sbox_with(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(support::sbox());
    command.args(args).current_dir(dir);
    if dir.starts_with(std::env::temp_dir()) || dir.join("p.toml").exists() {
        command.env("XDG_STATE_HOME", dir.join("state"));
    }
    support::job::run(command, input.as_bytes(), Duration::from_secs(60))
}

/// A policy in a directory of its own.
fn policy(text: &str) -> tempfile::TempDir {
    let dir = scratch();
    fs::write(dir.path().join("p.toml"), format!("sbox = 1\n{text}")).expect("write");
    dir
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

/// Each has the message that stands beside it; `BLESS=1` writes it anew.
fn broken_policies() -> Test {
    let dir = source_dir().join("testdata/policies/broken");
    let mut names: Vec<String> = fs::read_dir(&dir)
        .expect("read_dir")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("plain")
        })
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "{} broken policies", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let output = sbox_in(&dir, &["policy", "check", &name]);
        let said = output.stderr_text();
        let expected = dir.join(name.replace(".toml", ".stderr"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &said).expect("write");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if output.code() != Some(2)
            || said != wanted
            || !said.contains(".toml:") && !said.contains("std/")
        {
            wrong.push(format!(
                "{name}: status {:?}\n{said}wanted:\n{wanted}",
                output.code()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

const PRESETS: [&str; 7] = [
    "std/none",
    "std/cli",
    "std/python",
    "std/compiler",
    "std/grader",
    "std/online",
    "std/agent",
];

fn presets_have_no_gaps() -> Test {
    let dir = scratch();
    for name in PRESETS {
        let output = sbox_in(dir.path(), &["policy", "check", name]);
        assert_eq!(output.code(), Some(0), "{name}: {}", output.all());
        // What several rules forbid is no overlap.
        assert!(
            !output.stdout_text().contains("overlap: forbid"),
            "{name}: {}",
            output.all()
        );
        assert!(
            !output.stdout_text().contains("dead"),
            "{name}: {}",
            output.all()
        );
    }
    Ok(())
}

fn explain_tells_who_lost() -> Test {
    let dir = policy(
        "[files]\n\"/w/**\" = \"rw\"\n\"/w/a\" = \"r\"\n\"/w/k\" = { do = \"deny\", why = \"keys\" }\n[forbid]\nfiles = [\"/w/f\"]\n",
    );
    let output = sbox_in(
        dir.path(),
        &[
            "policy",
            "explain",
            "p.toml",
            "write /w/a",
            "read /w/k",
            "read /w/f",
            "read /x",
        ],
    );
    assert_eq!(
        output.stdout_text(),
        r#"write /w/a
  deny: r is granted
    lost     files."/w/**" = "rw" (p.toml:3): to files."/w/a" = "r" (p.toml:4), which is narrower
    decides  files."/w/a" = "r" (p.toml:4)
read /w/k
  deny EACCES
    lost     files."/w/**" = "rw" (p.toml:3): to files."/w/k" = { do = "deny", why = "keys" } (p.toml:5), which is narrower
    decides  files."/w/k" = { do = "deny", why = "keys" } (p.toml:5)
  why: keys
read /w/f
  hide
    lost     files."/w/**" = "rw" (p.toml:3): to forbid.files = "/w/f" (p.toml:7), as [forbid] beats all
    decides  forbid.files = "/w/f" (p.toml:7): forbidden, which nothing opens again
read /x
  hide
    no rule of [files] matches: default hide
"#,
        "{}",
        output.all()
    );
    let output = sbox_in(dir.path(), &["policy", "explain", "p.toml", "eat /w/a"]);
    assert_eq!(output.code(), Some(2), "{}", output.all());
    Ok(())
}

fn check_finds_what_never_decides() -> Test {
    let dir = policy(
        "[files]\n\"/usr/?*\" = \"r\"\n\"/usr/[!a]*\" = \"r\"\n\"/usr/a*\" = \"r\"\n\"/usr/*b\" = \"rw\"\n",
    );
    let output = sbox_in(dir.path(), &["policy", "check", "p.toml"]);
    let said = output.stdout_text();
    assert!(!said.contains("dead: files.\"/usr/a*\""), "{said}");
    assert!(
        said.contains("overlap: files.\"/usr/*b\" = \"rw\" (p.toml:6)"),
        "{said}"
    );
    assert!(said.contains("so at /usr/ab together they say r"), "{said}");
    assert_eq!(
        output.code(),
        Some(0),
        "wildcards are no gap: {}",
        output.all()
    );
    let dir = policy("[files]\n\"/w/**\" = \"r\"\n[forbid]\nfiles = [\"/w/**\"]\n");
    let output = sbox_in(dir.path(), &["policy", "check", "p.toml"]);
    assert!(
        output
            .stdout_text()
            .contains("dead: files.\"/w/**\" = \"r\" (p.toml:3) never decides"),
        "{}",
        output.all()
    );
    Ok(())
}

/// What a ceiling takes away, and what the program finds elsewhere than in `[files]`, are differences too; a rule about programs that can't
/// be executed anyway is none.
fn diff_tells_of_ceilings_and_of_the_world() -> Test {
    let dir = scratch();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), format!("sbox = 1\n{text}")).expect("write");
    };
    const RULES: &str = "[files]\n\"/a/**\" = \"rw\"\n\"/b/**\" = \"rx\"\n";
    write("p.toml", RULES);
    write(
        "ceiling.toml",
        "[files]\n\"/a/**\" = \"r\"\n\"/b/**\" = \"rx\"\n",
    );
    for (name, text, want) in [
        (
            "within.toml",
            format!("within = \"ceiling.toml\"\n{RULES}"),
            "newly denied: /a",
        ),
        (
            "mount.toml",
            format!("{RULES}[view.mounts]\n\"/a\" = {{ tmpfs = \"1M\" }}\n"),
            "new mount: /a",
        ),
        (
            "view.toml",
            format!("{RULES}[view]\npids = \"host\"\n"),
            "other view",
        ),
        (
            "env.toml",
            format!("{RULES}[env]\nkeep = [\"A\"]\n"),
            "other environment",
        ),
        (
            "kill.toml",
            format!("{RULES}[exec]\n\"/b/x\" = \"kill\"\n"),
            "newly denied: /b/x",
        ),
        (
            "nothing.toml",
            format!("{RULES}[exec]\n\"/a/x\" = \"deny\"\n"),
            "",
        ),
    ] {
        write(name, &text);
        let output = sbox_in(dir.path(), &["policy", "diff", "p.toml", name]);
        let told = output.stdout_text();
        assert!(told.contains(want), "{name}: {}", output.all());
        assert_eq!(
            output.code(),
            Some(i32::from(!want.is_empty())),
            "{name}: {told}"
        );
        assert!(!want.is_empty() || told.is_empty(), "{name}: {told}");
    }
    Ok(())
}

fn diff_has_a_witness() -> Test {
    let dir = policy("[files]\n\"/w/**\" = \"r\"\n\"/k/**\" = \"r\"\n");
    let other = "sbox = 1\n[files]\n\"/w/**\" = \"r\"\n\"/w/b/**\" = \"rw\"\n[syscalls]\n\"socket\" = \"deny\"\n";
    fs::write(dir.path().join("q.toml"), other).expect("write");
    let output = sbox_in(dir.path(), &["policy", "diff", "p.toml", "q.toml"]);
    assert_eq!(
        output.stdout_text(),
        "newly denied: /k: r before, by files.\"/k/**\" = \"r\" (p.toml:4); hide now, by the default\n\
         newly allowed: /w/b: r before, by files.\"/w/**\" = \"r\" (p.toml:3); rwcdm now, by files.\"/w/b/**\" = \"rw\" (q.toml:4)\n\
         newly denied: the call socket: EPERM\n",
        "{}",
        output.all()
    );
    assert_eq!(output.code(), Some(1));
    let same = sbox_in(dir.path(), &["policy", "diff", "p.toml", "p.toml"]);
    assert_eq!((same.code(), same.stdout_text().as_str()), (Some(0), ""));
    Ok(())
}

fn fmt_changes_nothing_twice() -> Test {
    let dir = policy(
        "# above\n[files]\n\n\n\"/w/**\"=\"r\" # beside\n# of a\n\"/a\"   = \"rw\"\n[view]\nroot=\"host\"\n",
    );
    let check = sbox_in(dir.path(), &["policy", "fmt", "--check", "p.toml"]);
    assert_eq!(check.code(), Some(1), "{}", check.all());
    assert_eq!(
        sbox_in(dir.path(), &["policy", "fmt", "p.toml"]).code(),
        Some(0)
    );
    let text = fs::read_to_string(dir.path().join("p.toml")).expect("read");
    assert_eq!(
        text,
        "sbox = 1\n\n[view]\nroot = \"host\"\n\n# above\n[files]\n# of a\n\"/a\" = \"rw\"\n\n\"/w/**\" = \"r\" # beside\n"
    );
    assert_eq!(
        sbox_in(dir.path(), &["policy", "fmt", "--check", "p.toml"]).code(),
        Some(0)
    );
    for name in [
        "none", "cli", "python", "compiler", "grader", "online", "agent",
    ] {
        let file = source_dir().join(format!("policies/{name}.toml"));
        let output = sbox_in(dir.path(), &["policy", "fmt", "--check", plain(&file)]);
        assert_eq!(output.code(), Some(0), "{}", output.all());
    }
    Ok(())
}

fn flat_is_a_policy_again() -> Test {
    let dir = scratch();
    for name in PRESETS {
        let flat = sbox_in(dir.path(), &["policy", "show", "--flat", name]);
        fs::write(dir.path().join("flat.toml"), &flat.stdout).expect("write");
        let diff = sbox_in(dir.path(), &["policy", "diff", name, "flat.toml"]);
        assert_eq!(
            (diff.code(), diff.stdout_text().as_str()),
            (Some(0), ""),
            "{name}: {}\n{}",
            diff.all(),
            flat.stdout_text()
        );
    }
    Ok(())
}

fn the_schema_is_json() -> Test {
    let output = sbox_in(Path::new("/"), &["policy", "schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for section in [
        "view", "files", "exec", "env", "syscalls", "proc", "net", "default", "vars", "forbid",
        "examples",
    ] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    Ok(())
}

fn what_nobody_enforces_is_refused() -> Test {
    let dir = policy("");
    fs::write(dir.path().join("x.toml"), "sbox = 1\n").expect("write");
    for (text, why) in [
        ("[files]\n\"/dev/*\" = \"r\"", "no rights of its own"),
        ("[net]\n\"listen tcp a:1\" = \"kill\"", "hosts and ports"),
        ("[files]\n\"/proc/**\" = \"list\"", "nothing less"),
        ("[files]\n\"/dev/**\" = \"deny\"", "nothing less"),
        ("[syscalls]\n\"mmap(fd == -1)\" = \"deny\"", "itself"),
        ("[syscalls]\n\"ptrace\" = \"allow\"", "always refuses"),
        ("[syscalls]\n\"execve\" = \"deny\"", "itself"),
        ("[syscalls]\n\"execveat\" = \"deny\"", "itself"),
        ("[syscalls]\n\"close_range\" = \"deny ENOSYS\"", "itself"),
        (
            "[syscalls]\n\"close_range(flags == 4)\" = \"kill\"",
            "itself",
        ),
        ("[syscalls]\n\"read\" = \"deny\"", "itself"),
        ("[net]\n\"connect tcp a:1\" = \"allow\"", "hosts and ports"),
        ("[limits]\nwall = \"5s\"", "limits"),
        (
            "[files]\n\"/proc/**\" = \"r\"\n\"/proc\" = \"hide\"",
            "is a directory",
        ),
        (
            "[view.mounts]\n\"/b\" = { bind = \"/usr\", ro = true }\n[files]\n\"/b/**\" = \"r\"\n\"/b/*/x\" = \"rw\"",
            "ro = true",
        ),
        (
            "[view.mounts]\n\"/b\" = { bind = \"/usr/lib\" }\n[files]\n\"/{b,usr}/**\" = \"r\"\n\"/b/*.so\" = \"hide\"",
            "is shown as",
        ),
        (
            "[view.mounts]\n\"/b\" = { bind = \"/usr/bin\" }\n[files]\n\"/{b,usr/bin}/**\" = \"rx\"\n[exec]\n\"/b/env\" = { args = [\"x\"] }",
            "started without this rule",
        ),
        ("[proc]\nsee = \"host\"", "stay hidden"),
        ("[proc]\nptrace = \"own\"", "one tracer"),
    ] {
        fs::write(dir.path().join("p.toml"), format!("sbox = 1\n{text}\n")).expect("write");
        let run = sbox_in(
            dir.path(),
            &["run", "--policy", "p.toml", "--", "/bin/true"],
        );
        assert_eq!(run.code(), Some(3), "{text}: {}", run.all());
        let said = run.stderr_text();
        assert!(
            said.contains(why) && said.contains("p.toml:"),
            "{text}: {said}"
        );
        let check = sbox_in(dir.path(), &["policy", "check", "p.toml"]);
        assert_eq!(check.code(), Some(3), "{text}: {}", check.all());
    }
    Ok(())
}

fn a_second_name_is_no_way_around() -> Test {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("d/in")).expect("mkdir");
    fs::write(dir.path().join("d/in/key"), "secret").expect("write");
    let d = plain(dir.path());
    let text = format!(
        "sbox = 1\n[view.mounts]\n\"/v\" = {{ bind = \"{d}/d/in\" }}\n[files]\n\"{d}/d/**\" = \"rw\"\n\"{d}/d/in/key\" = \"hide\"\n\"/v/**\" = \"rw\"\n"
    );
    fs::write(dir.path().join("p.toml"), &text).expect("write");
    let output = sbox_in(
        dir.path(),
        &["run", "--policy", "p.toml", "--", "/bin/true"],
    );
    assert_eq!(output.code(), Some(3), "{}", output.all());
    assert!(
        output.stderr_text().contains("is shown as /v/key too"),
        "{}",
        output.all()
    );
    let text = format!("{text}\"/v/key\" = \"hide\"\n");
    fs::write(dir.path().join("p.toml"), text).expect("write");
    let output = sbox_in(dir.path(), &["policy", "check", "p.toml"]);
    assert_eq!(output.code(), Some(0), "{}", output.all());
    Ok(())
}

/// Rules about names in one directory: at first each is looked for, then all that is there is listed.
fn a_link_in_the_way_is_found_among_many_names() -> Test {
    let dir = scratch();
    let d = plain(dir.path());
    fs::create_dir(dir.path().join("real")).expect("mkdir");
    for link in ["aaa", "zzz"] {
        std::os::unix::fs::symlink("real", dir.path().join(link)).expect("symlink");
    }
    let mut text = format!("sbox = 1\n[files]\n\"{d}/**\" = \"r\"\n\"{d}/real/f\" = \"hide\"\n");
    for n in 0..200 {
        text += &format!("\"{d}/no{n}/f\" = \"hide\"\n");
    }
    let check = |more: &str| {
        fs::write(dir.path().join("p.toml"), format!("{text}{more}")).expect("write");
        sbox_in(dir.path(), &["policy", "check", "p.toml"])
    };
    let output = check("");
    assert_eq!(output.code(), Some(0), "{}", output.all());
    for link in ["aaa", "zzz"] {
        let output = check(&format!("\"{d}/{link}/f\" = \"hide\"\n"));
        assert_eq!(output.code(), Some(3), "{link}: {}", output.all());
        let all = output.all();
        assert_eq!(all.matches("symbolic link").count(), 1, "{all}");
        assert!(all.contains(&format!("must say {d}/real/f")), "{all}");
    }
    Ok(())
}

/// What a policy needs for a static guest and nothing else.
fn base(guest: &Path) -> String {
    format!(
        "sbox = 1\n[files]\n\"{}/**\" = \"rx\"\n\"/proc/**\" = \"rx\"\n",
        plain(guest.parent().expect("parent"))
    )
}

fn no_road_to_what_is_denied() -> Test {
    need_sbox()?;
    let guest = guest_static("roads")?;
    let literal = ["T/in/denied", "T/in/gone"];
    let wild = ["T/*/den[h-j]ed", "**/g?ne"];
    for (how, [denied, gone]) in [
        ("bind", literal),
        ("bind", wild),
        ("cow", literal),
        ("cow", wild),
    ] {
        let dir = scratch();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("in")).expect("mkdir");
        for name in ["denied", "gone"] {
            fs::write(top.join("in").join(name), "secret").expect("write");
        }
        let native = support::job::run(
            {
                let mut command = Command::new(&guest);
                command.arg(&top);
                command
            },
            b"",
            Duration::from_secs(20),
        );
        let roads: BTreeSet<String> = native.stdout_text().lines().map(str::to_owned).collect();
        assert!(roads.len() > 28, "natively all roads lead there: {roads:?}");
        let t = plain(&top);
        let [denied, gone] = [denied, gone].map(|rule| rule.replace('T', t));
        let text = base(&guest)
            + &format!(
                "\"{t}/**\" = \"rw\"\n\"{denied}\" = \"deny\"\n\"{gone}\" = \"hide\"\n[view.mounts]\n\"{t}\" = {{ {how} = \"{t}\" }}\n"
            );
        fs::write(dir.path().join("p.toml"), text).expect("write");
        let output = sbox_in(
            dir.path(),
            &["run", "-q", "--policy", "p.toml", "--", plain(&guest), t],
        );
        assert_eq!(
            output.stdout_text(),
            "listed denied\ndone\n",
            "{how}: {}",
            output.all()
        );
        for name in ["denied", "gone"] {
            assert_eq!(
                fs::read(top.join("in").join(name)).expect("read"),
                b"secret"
            );
        }
    }
    Ok(())
}

/// The same operations asked of `explain` and done by a shell.
fn a_run_does_what_explain_says() -> Test {
    need_sbox()?;
    let dir = scratch();
    let top = dir.path().join("top");
    let t = plain(&top).to_owned();
    for name in ["a", "ro", "x", "hid", "no", "w"] {
        fs::create_dir_all(top.join(name)).expect("mkdir");
        fs::write(top.join(name).join("f"), "#!/bin/true\n").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(top.join(name).join("f"), mode).expect("chmod");
    }
    let text = format!(
        "sbox = 1\nextends = \"std/cli\"\n[view.mounts]\n\"{t}\" = {{ bind = \"{t}\" }}\n[files]\n\"{t}/**\" = \"rwx\"\n\"{t}/ro/**\" = \"r\"\n\"{t}/x/**\" = \"rx\"\n\"{t}/hid/**\" = \"hide\"\n\"{t}/no/**\" = \"deny\"\n\"{t}/w/**\" = \"rw\"\n[exec]\n\"{t}/a/f\" = \"deny\"\n"
    );
    fs::write(dir.path().join("p.toml"), text).expect("write");
    let mut seen = BTreeSet::new();
    for place in ["a", "ro", "x", "hid", "no", "w"] {
        for (word, name, script) in [
            ("stat", "f", "stat P"),
            ("read", "f", "cat P"),
            ("write", "f", "printf '' >> P"),
            ("exec", "f", "P"),
            ("meta", "f", "touch P"),
            ("create", "new", "mkdir P"),
            ("delete", "new", "rmdir P"),
        ] {
            let path = format!("{t}/{place}/{name}");
            let explained = sbox_in(
                dir.path(),
                &["policy", "explain", "p.toml", &format!("{word} {path}")],
            );
            let allowed = explained.stdout_text().lines().nth(1) == Some("  allow");
            if word == "delete" {
                // There must be something to delete, whoever made it.
                fs::create_dir_all(&path).expect("mkdir");
            }
            let script = script.replace('P', &path);
            let output = sbox_in(
                dir.path(),
                &["run", "-q", "--policy", "p.toml", "--", "sh", "-c", &script],
            );
            assert_eq!(
                output.code() == Some(0),
                allowed,
                "{script}: {}\n{}",
                output.all(),
                explained.all()
            );
            seen.insert((word, allowed));
            if word == "create" {
                let _ = fs::remove_dir(&path);
            }
        }
    }
    assert_eq!(
        seen.len(),
        14,
        "each operation is allowed somewhere and refused elsewhere: {seen:?}"
    );
    Ok(())
}

/// The same of policies with wildcards that chance has made, and of every path of a small tree.
fn a_run_does_what_explain_says_of_wildcards() -> Test {
    need_sbox()?;
    let guest = guest_static("asked")?;
    let seed = std::env::var("SBOX_POLICY_SEED").ok();
    let mut state: u64 = seed.map_or(0x9e37_79b9, |seed| seed.parse().expect("a number"));
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let dir = scratch();
        let top = dir.path().join("top");
        let t = plain(&top).to_owned();
        let names = ["a", "b", "ab"];
        let mut files = Vec::new();
        for one in names {
            for two in names {
                fs::create_dir_all(top.join(one).join(two)).expect("mkdir");
                for three in names {
                    let path = top.join(one).join(two).join(three);
                    fs::write(&path, "text").expect("write");
                    files.push(plain(&path).to_owned());
                }
            }
        }
        let parts = ["a", "b", "*", "?", "[!b]", "a*", "**", "{a,b}"];
        let rights = ["r", "rw", "rwx", "hide", "deny", "rm", "rd", "rc", "hide"];
        let mut rules = BTreeMap::new();
        let whole = if round < 2 { "rw" } else { "hide" };
        rules.insert(format!("{t}/**"), whole);
        for _ in 0..3 + chance(8) {
            let depth = 1 + chance(4);
            let mut pattern: String = (0..depth)
                .map(|_| format!("/{}", parts[chance(parts.len())]))
                .collect();
            pattern = match chance(3) {
                // What sbox makes has no such names.
                0 => format!("**{pattern}/{}", ["ab", "a*", "b"][chance(3)]),
                _ => format!("{t}{pattern}"),
            };
            rules.insert(pattern, rights[chance(rights.len())]);
        }
        let how = ["bind", "cow"][round % 2];
        // Two spellings of one set of paths are an error: of those the later goes.
        let text = loop {
            let lines: String = rules
                .iter()
                .map(|(p, r)| format!("\"{p}\" = \"{r}\"\n"))
                .collect();
            let text = base(&guest)
                + &lines
                + &format!("[view.mounts]\n\"{t}\" = {{ {how} = \"{t}\" }}\n");
            fs::write(dir.path().join("p.toml"), &text).expect("write");
            let check = sbox_in(dir.path(), &["policy", "show", "p.toml"]);
            if check.code() == Some(0) {
                break text;
            }
            let last = rules.keys().find(|p| **p != format!("{t}/**")).cloned();
            rules.remove(&last.expect("a rule without which it can be read"));
        };
        let mut asked = Vec::new();
        for path in &files {
            let word = ["stat", "read", "write", "meta"][chance(4)];
            asked.push((word, path.clone()));
            asked.push(("list", path.clone()));
            if chance(2) == 0 {
                asked.push(("create", format!("{path}x")));
            }
        }
        let input: String = asked
            .iter()
            .map(|(word, path)| format!("{word} {path}\n"))
            .collect();
        let output = sbox_with(
            dir.path(),
            &["run", "-q", "--policy", "p.toml", "--", plain(&guest)],
            &input,
        );
        assert_eq!(output.code(), Some(0), "{text}{}", output.all());
        let said = output.stdout_text();
        assert_eq!(said.lines().count(), asked.len(), "{}", output.all());
        for ((word, path), line) in asked.iter().zip(said.lines()) {
            // Whether a name is listed is up to its directory too.
            let explains = |word: &str, path: &str| {
                let question = format!("{word} {path}");
                let explained = sbox_in(dir.path(), &["policy", "explain", "p.toml", &question]);
                let said = explained.stdout_text();
                match said.contains("only leads") {
                    true => "leads".to_owned(),
                    false => said.lines().nth(1).unwrap_or_default().to_owned(),
                }
            };
            let wanted = match *word {
                "list" => {
                    let above = path.rsplit_once('/').expect("a directory").0;
                    let lists = explains("read", above);
                    explains("stat", path) == "  allow" && (lists == "  allow" || lists == "leads")
                }
                word => explains(word, path) == "  allow",
            };
            let did = line.starts_with("yes ");
            assert_eq!(did, wanted, "round {round}: {word} {path}\n{text}");
            seen.insert((*word, did));
        }
    }
    assert_eq!(
        seen.len(),
        12,
        "each is allowed somewhere and refused elsewhere: {seen:?}"
    );
    Ok(())
}

/// What a denied file is can't be told by trying to execute it.
fn a_denied_file_is_no_program_of_any_kind() -> Test {
    need_sbox()?;
    let dir = scratch();
    let d = plain(dir.path());
    for name in ["text", "denied"] {
        fs::write(dir.path().join(name), "no program").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path().join(name), mode).expect("chmod");
    }
    let text = format!(
        "sbox = 1\nextends = \"std/cli\"\n[files]\n\"{d}/den*\" = \"deny\"\n[view.mounts]\n\"{d}\" = {{ bind = \"{d}\" }}\n"
    );
    fs::write(dir.path().join("p.toml"), text).expect("write");
    for (name, said) in [
        ("text", "Exec format error"),
        ("denied", "Permission denied"),
    ] {
        let script = format!(
            "import os\ntry: os.execv('{d}/{name}', ['x'])\nexcept OSError as e: print(e.strerror)"
        );
        let args = [
            "run", "-q", "--policy", "p.toml", "--", "python3", "-c", &script,
        ];
        let output = sbox_in(dir.path(), &args);
        assert_eq!(
            output.stdout_text().trim(),
            said,
            "{name}: {}",
            output.all()
        );
    }
    Ok(())
}

/// A preset may be used in a directory that it names itself.
fn a_preset_runs_where_it_names_the_directory() -> Test {
    need_sbox()?;
    for place in ["/usr", "/tmp", "/etc"] {
        let args = ["run", "-q", "--discard", "--policy", "std/cli", "--", "pwd"];
        let output = sbox_in(Path::new(place), &args);
        assert_eq!(output.stdout_text().trim(), place, "{}", output.all());
    }
    Ok(())
}

fn environment_and_calls() -> Test {
    need_sbox()?;
    let dir = policy(
        "extends = \"std/cli\"\n[env]\nkeep = [\"SBOX_T_KEPT\"]\nset = { SBOX_T_SET = \"1\" }\ndrop = [\"LANG\"]\n[syscalls]\n\"getpriority\" = \"deny EDOM\"\n\"@ipc\" = \"deny ENOSYS\"\n\"pipe\" = \"allow\"\n\"pipe2\" = \"allow\"\n",
    );
    let mut command = Command::new(support::sbox());
    command.args([
        "run",
        "-q",
        "--policy",
        "p.toml",
        "--",
        "sh",
        "-c",
        "env | sort; nice",
    ]);
    command
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"));
    command.envs([("SBOX_T_KEPT", "k"), ("SBOX_T_LOST", "l"), ("LANG", "C")]);
    let output = support::job::run(command, b"", Duration::from_secs(20));
    let said = output.stdout_text();
    assert!(
        said.contains("SBOX_T_KEPT=k\nSBOX_T_SET=1\n"),
        "{}",
        output.all()
    );
    assert!(
        !said.contains("LOST") && !said.contains("LANG"),
        "{}",
        output.all()
    );
    assert!(
        output
            .stderr_text()
            .contains("Numerical argument out of domain"),
        "{}",
        output.all()
    );
    Ok(())
}

fn a_ceiling_only_takes_away() -> Test {
    need_sbox()?;
    let dir = policy("extends = \"std/cli\"\n[env]\nset = { A = \"1\" }\n");
    let ceiling = "sbox = 1\n[files]\n\"/**\" = \"rx\"\n\"/usr/bin/id\" = \"hide\"\n";
    fs::write(dir.path().join("c.toml"), ceiling).expect("write");
    let args = [
        "run",
        "-q",
        "--policy",
        "p.toml",
        "--within",
        "c.toml",
        "--",
        "sh",
        "-c",
        "ls /usr/bin/id; echo x > new; echo A=$A; cat p.toml | head -1",
    ];
    let output = sbox_in(dir.path(), &args);
    assert_eq!(output.stdout_text(), "A=\nsbox = 1\n", "{}", output.all());
    assert!(
        output.stderr_text().contains("/usr/bin/id': No such file"),
        "{}",
        output.all()
    );
    Ok(())
}

fn denials_are_summed_up() -> Test {
    need_sbox()?;
    let dir = policy("extends = \"std/python\"\n");
    let output = sbox_in(
        dir.path(),
        &[
            "run",
            "--policy",
            "p.toml",
            "--",
            "sh",
            "-c",
            "echo > a; echo > b; echo > /usr/c",
        ],
    );
    let said = output.stderr_text();
    assert!(said.contains("3 calls denied, by 2 rules"), "{said}");
    assert!(
        said.contains("  2 by files.\"${cwd}/**\" = \"rx\" (std/python:"),
        "{said}"
    );
    Ok(())
}

fn the_presets_run_programs() -> Test {
    need_sbox()?;
    let dir = scratch();
    fs::write(dir.path().join("a.c"), "int main(void) { return 7; }\n").expect("write");
    let run = |policy: &str, script: &str| {
        sbox_in(
            dir.path(),
            &["run", "-q", "--policy", policy, "--", "sh", "-c", script],
        )
    };
    // Of the homes, the working directory is in one at most.
    let cli = run("std/cli", "echo x > made && cat made; ls /home /root");
    assert!(
        cli.stdout_text().starts_with("x\n") && cli.stderr_text().contains("ls: "),
        "{}",
        cli.all()
    );
    assert!(
        !dir.path().join("made").exists(),
        "changes are kept in a layer"
    );
    let python = run("std/python", "echo x > made");
    assert!(
        python.stderr_text().contains("Read-only file system"),
        "{}",
        python.all()
    );
    let none = sbox_in(
        dir.path(),
        &["run", "-q", "--policy", "std/none", "--", "/bin/true"],
    );
    assert_eq!(none.code(), Some(127), "{}", none.all());
    support::need(&["/usr/bin/gcc"])?;
    let compiler = run(
        "std/compiler",
        "gcc -o a a.c && ./a; echo $?; cat /root/.profile /etc/shadow",
    );
    assert_eq!(compiler.stdout_text(), "7\n", "{}", compiler.all());
    let grader = run(
        "std/grader",
        "gcc -o /tmp/a a.c && /tmp/a; echo $?; gcc -o a a.c",
    );
    assert_eq!(grader.stdout_text(), "7\n", "{}", grader.all());
    Ok(())
}

/// What listens on the host's loopback is reached under std/online, and not under std/cli.
fn an_online_program_talks_to_the_host() -> Test {
    use std::io::{Read as _, Write as _};
    need_sbox()?;
    support::need(&["/usr/bin/python3"])?;
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback");
    let port = server.local_addr().expect("an address").port();
    let serve = std::thread::spawn(move || {
        let (mut client, _) = server.accept().expect("accept");
        let mut asked = [0; 512];
        let length = client.read(&mut asked).expect("read");
        let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        client.write_all(answer).expect("write");
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    let dir = scratch();
    let fetch = format!(
        "import urllib.request as r\ntry: print(r.build_opener(r.ProxyHandler({{}})).open('http://127.0.0.1:{port}/page').read().decode())\nexcept OSError: print('no')"
    );
    for (policy, said) in [("std/cli", "no"), ("std/online", "hello")] {
        let args = [
            "run",
            "-q",
            "--discard",
            "--policy",
            policy,
            "--",
            "python3",
            "-c",
            &fetch,
        ];
        let output = sbox_in(dir.path(), &args);
        assert_eq!(
            output.stdout_text().trim(),
            said,
            "{policy}: {}",
            output.all()
        );
    }
    let asked = serve.join().expect("the server");
    assert!(asked.starts_with("GET /page "), "{asked}");
    Ok(())
}

/// git works; what would run outside can't be changed, and secrets aren't there.
fn an_agent_works_and_sees_no_secret() -> Test {
    need_sbox()?;
    support::need(&["/usr/bin/git"])?;
    let dir = scratch();
    let git = |args: &[&str]| {
        let mut command = Command::new("/usr/bin/git");
        command.args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=b",
            "-C",
            plain(dir.path()),
        ]);
        command.args(args).env("HOME", dir.path());
        support::job::run(command, b"", Duration::from_secs(20))
    };
    fs::write(dir.path().join("code"), "one\n").expect("write");
    for (name, text) in [
        (".env", "KEY=s3cret"),
        ("id_rsa", "s3cret"),
        (".netrc", "s3cret"),
    ] {
        fs::write(dir.path().join(name), text).expect("write");
    }
    fs::create_dir(dir.path().join(".aws")).expect("mkdir");
    fs::write(dir.path().join(".aws/credentials"), "s3cret").expect("write");
    for args in [
        &["init", "-q", "."][..],
        &["add", "code"],
        &["commit", "-qm", "one"],
    ] {
        let output = git(args);
        assert_eq!(output.code(), Some(0), "{}", output.all());
    }
    let script = "cat .env id_rsa .netrc .aws/credentials; ls -A; echo two >> code; \
        git -c user.name=a -c user.email=b commit -qam two && git log --oneline | wc -l; git diff HEAD~1 | tail -1; \
        echo evil > .git/hooks/post-checkout || echo no hook; git config alias.x '!evil' || echo no alias; mv .git/hooks h || echo no move";
    let args = [
        "run",
        "-q",
        "--discard",
        "--policy",
        "std/agent",
        "--",
        "sh",
        "-c",
        script,
    ];
    let output = sbox_in(dir.path(), &args);
    assert_eq!(
        output.stdout_text(),
        ".git\ncode\n2\n+two\nno hook\nno alias\nno move\n",
        "{}",
        output.all()
    );
    assert_eq!(fs::read(dir.path().join("code")).expect("read"), b"one\n");
    assert!(!dir.path().join(".git/hooks/post-checkout").exists());
    Ok(())
}

//! Rules that end the run: at a name, at an execution, in `[forbid]`; what is told of it, and what an audit makes of them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use support::{Output, Test, guest_static, need_sbox, scratch_for_sockets};

fn main() -> ExitCode {
    support::main(tests![
        every_way_to_name_it_ends_the_run,
        what_is_near_does_not,
        a_name_ends_the_run_whether_or_not_anything_is_there,
        what_it_leads_to_is_shown,
        executing_ends_the_run_and_reading_does_not,
        explain_says_what_happens,
        the_report_says_which_rule,
        an_audit_tells_what_would_end_the_run,
        a_tripwire_is_carried_nowhere,
    ])
}

/// A tree with a watched name in it, and a policy.
struct Case {
    dir: tempfile::TempDir,
    guest: PathBuf,
}

impl Case {
    fn new(rules: &str) -> Result<Self, support::Skip> {
        let guest = guest_static("trips")?;
        let dir = scratch_for_sockets();
        let t = dir.path().join("t");
        for name in ["in", "out"] {
            fs::create_dir_all(t.join(name)).expect("mkdir");
        }
        fs::write(t.join("in/key"), "secret").expect("write");
        fs::write(t.join("in/plain"), "plain").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(t.join("in/plain"), mode).expect("chmod");
        fs::copy("/bin/true", t.join("in/prog")).expect("copy");
        let case = Self { dir, guest };
        case.write("p.toml", rules);
        Ok(case)
    }

    fn tree(&self) -> String {
        let tree = self.dir.path().join("t");
        tree.to_str().expect("plain").to_owned()
    }

    fn write(&self, name: &str, rules: &str) {
        let guests = self.guest.parent().expect("parent").display().to_string();
        let text = format!(
            "sbox = 1\n[view.mounts]\n\"T\" = {{ bind = \"T\" }}\n[files]\n\"{guests}/**\" = \"rx\"\n\"/{{lib,lib64,usr}}/**\" = \"rx\"\n\"/proc/**\" = \"rx\"\n\"T/**\" = \"rwx\"\n{rules}\n"
        );
        fs::write(self.dir.path().join(name), text.replace('T', &self.tree())).expect("write");
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.dir.path().join("state"));
        support::job::run(command, b"", Duration::from_secs(60))
    }

    fn run(&self, flags: &[&str], way: &str, path: &str) -> Output {
        let guest = self.guest.to_str().expect("plain");
        let out = format!("{}/out", self.tree());
        let mut args = vec!["run", "--policy", "p.toml"];
        args.extend(flags);
        args.extend(["--", guest, way, path, &out]);
        self.sbox(&args)
    }

    fn native(&self, way: &str, path: &str) -> Output {
        let mut command = Command::new(&self.guest);
        command.args([way, path, &format!("{}/out", self.tree())]);
        support::job::run(command, b"", Duration::from_secs(20))
    }
}

fn is_killed(output: &Output) -> bool {
    output.signal() == Some(libc::SIGSYS) && output.stdout_text().is_empty()
}

const WAYS: [&str; 27] = [
    "stat",
    "access",
    "open",
    "path",
    "create",
    "mkdir",
    "unlink",
    "link",
    "rename",
    "rename-over",
    "symlink",
    "relative",
    "openat",
    "proc",
    "dots",
    "below",
    "within",
    "chmod",
    "xattr",
    "readlink",
    "chdir",
    "truncate",
    "watch",
    "exec",
    "vfork-exec",
    "connect",
    "bind",
];

fn every_way_to_name_it_ends_the_run() -> Test {
    need_sbox()?;
    for rules in [
        "\"T/in/key\" = \"kill\"",
        "\"**/k?y\" = \"kill\"",
        "[forbid]\nfiles = [{ what = \"T/in/key\", do = \"kill\" }]",
    ] {
        for way in WAYS {
            let case = Case::new(rules)?;
            let key = format!("{}/in/key", case.tree());
            let output = case.run(&[], way, &key);
            assert!(is_killed(&output), "{rules} {way}: {}", output.all());
            assert!(
                output.stderr_text().contains("1 call killed, by 1 rule"),
                "{way}: {}",
                output.all()
            );
            assert_eq!(fs::read(&key).expect("it is as it was"), b"secret", "{way}");
        }
    }
    // They do something where no rule watches.
    let case = Case::new("")?;
    for way in WAYS {
        let output = case.native(way, &format!("{}/in/plain", case.tree()));
        assert!(output.stdout_text().starts_with(way), "{}", output.all());
    }
    Ok(())
}

/// Natively the listing has the name; all else that comes near is as it is there.
fn what_is_near_does_not() -> Test {
    need_sbox()?;
    let case = Case::new("\"T/in/key\" = \"kill\"")?;
    let key = format!("{}/in/key", case.tree());
    let native = case.native("near", &key).stdout_text();
    assert!(native.starts_with("listed 1\n"), "{native}");
    let inside = case.run(&["-q"], "near", &key);
    assert_eq!(inside.code(), Some(0), "{}", inside.all());
    assert_eq!(
        inside.stdout_text(),
        native
            .replace("listed 1", "listed 0")
            .replace("child lives\n", ""),
        "{}",
        inside.all()
    );
    Ok(())
}

fn a_name_ends_the_run_whether_or_not_anything_is_there() -> Test {
    need_sbox()?;
    let case = Case::new(
        "\"T/no/such/**\" = \"kill\"\n\"/home/nobody-at-all/.ssh/**\" = \"kill\"\n\"/proc/kcore/**\" = \"kill\"\n\"/srv\" = \"kill\"",
    )?;
    let tree = case.tree();
    for path in [
        &format!("{tree}/no/such"),
        &format!("{tree}/no/such/file"),
        &format!("{tree}/no/other/../such"),
        "/home/nobody-at-all/.ssh/id_rsa",
        "/proc/kcore",
        "/proc/self/root/proc/kcore",
        "/srv",
        "/srv/www",
    ] {
        for way in ["stat", "open", "within"] {
            let output = case.run(&["-q"], way, path);
            // Where openat2(2) is to begin isn't there.
            let begins = path.ends_with("/no/such");
            let wanted = !(path.contains("..") || way == "within" && begins);
            assert_eq!(is_killed(&output), wanted, "{way} {path}: {}", output.all());
        }
    }
    for path in ["/home/nobody-at-all/.sshd", "/home", "/srvx"] {
        let output = case.run(&["-q"], "stat", path);
        assert_eq!(output.code(), Some(0), "{path}: {}", output.all());
    }
    Ok(())
}

fn what_it_leads_to_is_shown() -> Test {
    need_sbox()?;
    let case = Case::new("\"T/in/**\" = \"kill\"\n\"T/in/plain\" = \"r\"")?;
    let tree = case.tree();
    for (way, name, killed) in [
        ("open", "in/plain", false),
        ("chdir", "in", false),
        ("open", "in/key", true),
        ("open", "in/plainer", true),
        // What is not granted of the directory ends the run, too.
        ("chmod", "in", true),
        ("create", "in/new", true),
    ] {
        let output = case.run(&["-q"], way, &format!("{tree}/{name}"));
        assert_eq!(is_killed(&output), killed, "{way} {name}: {}", output.all());
        assert_eq!(
            output.stdout_text().contains("done"),
            !killed,
            "{}",
            output.all()
        );
    }
    Ok(())
}

fn executing_ends_the_run_and_reading_does_not() -> Test {
    need_sbox()?;
    let case = Case::new("\"T/in/plain\" = \"r\"\n[exec]\n\"T/in/{prog,plain}\" = \"kill\"")?;
    let tree = case.tree();
    for (way, name, killed) in [
        ("stat", "prog", false),
        ("open", "prog", false),
        ("near", "prog", false),
        ("exec", "prog", true),
        ("vfork-exec", "prog", true),
        ("exec", "plain", true),
    ] {
        let output = case.run(&["-q"], way, &format!("{tree}/in/{name}"));
        assert_eq!(is_killed(&output), killed, "{way} {name}: {}", output.all());
    }
    // By a link, by a script whose interpreter it is, by descriptor.
    let script = format!("{tree}/in/script");
    fs::write(&script, format!("#!{tree}/in/prog\n")).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("chmod");
    std::os::unix::fs::symlink("prog", format!("{tree}/in/link")).expect("symlink");
    for name in ["script", "link"] {
        let output = case.run(&["-q"], "exec", &format!("{tree}/in/{name}"));
        assert!(is_killed(&output), "{name}: {}", output.all());
    }
    // Writing to what may only be read is refused, as without the rule.
    let output = case.run(&["-q"], "chmod", &format!("{tree}/in/plain"));
    assert!(
        output.stdout_text().contains("Read-only file system"),
        "{}",
        output.all()
    );
    Ok(())
}

/// Of each operation and path the answer of `explain` is what a program sees.
fn explain_says_what_happens() -> Test {
    need_sbox()?;
    let rules = "\"T/in/key\" = \"kill\"\n\"T/in/d*\" = \"kill\"\n\"T/in/deep/x\" = \"r\"\n\"T/in/plain\" = \"r\"\n[exec]\n\"T/in/pr*\" = \"kill\"";
    let case = Case::new(rules)?;
    let tree = case.tree();
    fs::create_dir(format!("{tree}/in/deep")).expect("mkdir");
    fs::write(format!("{tree}/in/deep/x"), "x").expect("write");
    let mut seen = [0; 2];
    for name in [
        "in/key",
        "in/key/below",
        "in/dim",
        "in/deep",
        "in/deep/x",
        "in/deep/y",
        "in/plain",
        "in/prog",
        "in",
    ] {
        for (word, way) in [
            ("stat", "stat"),
            ("read", "open"),
            ("exec", "exec"),
            ("meta", "chmod"),
        ] {
            let path = format!("{tree}/{name}");
            // A directory is no program, whatever its rights.
            if way == "exec" && Path::new(&path).is_dir() {
                continue;
            }
            let question = format!("{word} {path}");
            let explained = case.sbox(&["policy", "explain", "p.toml", &question]);
            let said = explained.stdout_text();
            let says = said.lines().nth(1).expect("an answer").trim() == "kill";
            let output = case.run(&["-q"], way, &path);
            assert_eq!(
                is_killed(&output),
                says,
                "{way} {path}: {said}{}",
                output.all()
            );
            seen[usize::from(says)] += 1;
        }
    }
    assert!(seen[0] > 8 && seen[1] > 8, "{seen:?}");
    Ok(())
}

fn report(dir: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(dir.join("r.json")).expect("report");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn the_report_says_which_rule() -> Test {
    need_sbox()?;
    let case = Case::new("\"T/in/key\" = { do = \"kill\", why = \"a tripwire\" }")?;
    let key = format!("{}/in/key", case.tree());
    let output = case.run(&["-v", "--report", "r.json"], "open", &key);
    let said = output.stderr_text();
    assert!(is_killed(&output), "{}", output.all());
    assert!(
        said.contains("killed: openat(") && said.contains("why: a tripwire"),
        "{said}"
    );
    let all = report(case.dir.path());
    let killed: Vec<_> = all.iter().filter(|r| r["event"] == "killed").collect();
    assert_eq!(killed.len(), 1, "{all:?}");
    assert_eq!(killed[0]["path"], key.as_str());
    assert_eq!(killed[0]["why"], "a tripwire");
    let end = all.last().expect("an end");
    assert_eq!(
        (&end["event"], &end["killed"], &end["signal"]),
        (&"end".into(), &1.into(), &libc::SIGSYS.into())
    );
    let by = end["killed_by"].as_str().expect("a rule");
    assert!(
        by.starts_with("files.\"") && by.ends_with("(p.toml:9)"),
        "{by}"
    );
    Ok(())
}

fn an_audit_tells_what_would_end_the_run() -> Test {
    need_sbox()?;
    let case = Case::new(
        "\"T/in/key\" = \"kill\"\n\"/no/**\" = \"kill\"\n[exec]\n\"T/in/prog\" = \"kill\"",
    )?;
    let tree = case.tree();
    for (way, path) in [
        ("open", format!("{tree}/in/key")),
        ("exec", format!("{tree}/in/prog")),
        ("stat", "/no".into()),
    ] {
        let output = case.run(
            &["--mode", "audit", "--discard", "--report", "r.json"],
            way,
            &path,
        );
        assert_eq!(output.code(), Some(0), "{way}: {}", output.all());
        let all = report(case.dir.path());
        let would: Vec<_> = all.iter().filter(|r| r["event"] == "would-kill").collect();
        assert_eq!(would.len(), 1, "{way}: {all:?}");
        assert_eq!(would[0]["path"], path.as_str(), "{way}");
        assert_eq!(all.last().expect("an end")["would_kill"], 1, "{way}");
        assert!(
            output
                .stderr_text()
                .contains("1 call would end the run, by 1 rule"),
            "{}",
            output.all()
        );
    }
    // What [forbid] lists ends an audit, too.
    case.write(
        "p.toml",
        "[forbid]\nfiles = [{ what = \"T/in/key\", do = \"kill\" }]",
    );
    let output = case.run(
        &["-q", "--mode", "audit", "--discard"],
        "open",
        &format!("{tree}/in/key"),
    );
    assert!(is_killed(&output), "{}", output.all());
    // A shadow that would end the run.
    case.write("p.toml", "");
    case.write("s.toml", "\"T/in/key\" = \"kill\"");
    let output = case.run(&["--shadow", "s.toml"], "open", &format!("{tree}/in/key"));
    assert!(
        output
            .stderr_text()
            .contains("1 call would be denied by the shadow, by 1 rule"),
        "{}",
        output.all()
    );
    Ok(())
}

/// Its directory can't be brought to where no rule watches.
fn a_tripwire_is_carried_nowhere() -> Test {
    need_sbox()?;
    let case = Case::new("\"T/in/key\" = \"kill\"")?;
    let output = case.run(&["-q"], "rename", &format!("{}/in", case.tree()));
    assert!(
        output.stdout_text().contains("Invalid cross-device link"),
        "{}",
        output.all()
    );
    let native = case.native("rename", &format!("{}/in", case.tree()));
    assert!(
        native.stdout_text().contains("rename done"),
        "{}",
        native.all()
    );
    Ok(())
}

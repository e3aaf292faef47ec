//! `kill` and `ask` in `[net]`, and in `[default]` for files, calls and the network.

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
use support::{Output, Test, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        a_socket_of_the_internet_ends_the_run,
        nobody_to_ask_about_the_network_is_no,
        the_strictest_of_what_is_said_of_sockets_holds,
        a_path_that_no_rule_is_about_ends_the_run,
        a_path_that_no_rule_is_about_is_asked_about,
        what_sbox_makes_is_there_if_a_rule_says_so,
        a_rule_about_all_leaves_nothing_to_the_default,
        a_call_that_no_rule_is_about_ends_the_run,
        a_call_that_no_rule_is_about_is_asked_about,
        an_audit_tells_of_defaults,
        verbs_know_of_them,
    ])
}

/// A directory with a guest and a policy.
struct Case(tempfile::TempDir);

impl Case {
    fn new(text: &str) -> Result<Self, support::Skip> {
        need_sbox()?;
        let case = Self(scratch());
        fs::copy(guest_static("doors")?, case.dir().join("doors")).expect("copy");
        fs::write(case.dir().join("a"), "text").expect("write");
        case.write("p.toml", text);
        Ok(case)
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), format!("sbox = 1\n{text}\n")).expect("write");
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.dir());
        command.env("XDG_STATE_HOME", self.dir().join("state"));
        support::job::run(command, b"", Duration::from_secs(60))
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        let start = [
            "run",
            "-q",
            "--discard",
            "--report",
            "r.json",
            "--policy",
            "p.toml",
        ];
        self.sbox(&[&start[..], flags, &["--"], command].concat())
    }

    fn report(&self) -> String {
        fs::read_to_string(self.dir().join("r.json")).expect("report")
    }
}

/// It has printed this much, and then the run has ended by this rule.
fn killed(case: &Case, output: &Output, before: &str, by: &str) {
    assert_eq!(output.signal(), Some(libc::SIGSYS), "{}", output.all());
    assert_eq!(output.stdout_text(), before, "{}", output.all());
    let by = serde_json::to_string(by).expect("a text");
    let report = case.report();
    assert!(
        report.contains(&format!("\"killed_by\":{by}")),
        "{by}: {report}"
    );
}

const CLI: &str = "extends = \"std/cli\"\n";

fn a_socket_of_the_internet_ends_the_run() -> Test {
    for (rule, by) in [
        (
            "[net]\ninet = \"kill\"",
            "net.\"inet\" = \"kill\" (p.toml:4)",
        ),
        (
            "[default]\nnet = \"kill\"",
            "default.\"net\" = \"kill\" (p.toml:4)",
        ),
    ] {
        let case = Case::new(&format!("{CLI}{rule}"))?;
        for door in ["inet", "inet6", "raw", "high"] {
            let output = case.run(&[], &["./doors", "unix", door, "unix"]);
            killed(&case, &output, "unix 0\n", by);
        }
        let other = case.run(&[], &["./doors", "unix", "datagram", "netlink", "packet"]);
        assert_eq!(
            other.stdout_text(),
            "unix 0\ndatagram 0\nnetlink EAFNOSUPPORT\npacket EAFNOSUPPORT\n",
            "{}",
            other.all()
        );
        // It stays in an audit, as the network does.
        let audit = case.run(&["--mode", "audit"], &["./doors", "inet"]);
        killed(&case, &audit, "", by);
    }
    // What [net] says the default doesn't.
    let case = Case::new(&format!(
        "{CLI}[net]\ninet = \"allow\"\n[default]\nnet = \"kill\""
    ))?;
    let output = case.run(&[], &["./doors", "inet"]);
    assert_eq!(output.stdout_text(), "inet 0\n", "{}", output.all());
    Ok(())
}

fn nobody_to_ask_about_the_network_is_no() -> Test {
    let doors = [
        "./doors", "unix", "datagram", "inet", "inet6", "raw", "high", "netlink",
    ];
    for rule in ["[net]\ninet = \"ask\"", "[default]\nnet = \"ask\""] {
        let case = Case::new(&format!("{CLI}{rule}"))?;
        let output = case.run(&[], &doors);
        assert_eq!(
            output.stdout_text(),
            "unix 0\ndatagram 0\ninet EPERM\ninet6 EPERM\nraw EPERM\nhigh EPERM\nnetlink EPERM\n",
            "{}",
            output.all()
        );
        assert!(case.report().contains("\"unasked\":5"), "{}", case.report());
        let told = case.run(&["-v"], &["./doors", "inet"]);
        let advice = "would allow it: [net] inet = \"allow\"\n";
        assert!(told.stderr_text().contains(advice), "{}", told.all());
    }
    Ok(())
}

fn the_strictest_of_what_is_said_of_sockets_holds() -> Test {
    let inet = |own: &str, ceiling: &str| -> Result<Output, support::Skip> {
        let case = Case::new(&format!("{CLI}{own}"))?;
        let all = "[files]\n\"/**\" = \"rwx\"\n[env]\nkeep = [\"*\"]\n";
        case.write("c.toml", &format!("{all}{ceiling}"));
        let output = case.run(&["--within", "c.toml"], &["./doors", "inet"]);
        // Nobody is asked in vain.
        let asked = output.stderr_text().contains("not asked");
        assert_eq!(
            asked,
            output.stdout_text() == "inet EPERM\n",
            "{}",
            output.all()
        );
        Ok(output)
    };
    let net = |says: &str| format!("[net]\ninet = \"{says}\"\n");
    let answers = ["allow", "ask", "deny", "kill"];
    for (own, one) in answers.iter().enumerate() {
        for (ceiling, other) in answers.iter().enumerate() {
            let output = inet(&net(one), &net(other))?;
            let wanted = ["inet 0\n", "inet EPERM\n", "inet EACCES\n", ""][own.max(ceiling)];
            assert_eq!(
                output.stdout_text(),
                wanted,
                "{one} {other}: {}",
                output.all()
            );
            let dies = own.max(ceiling) == 3;
            assert_eq!(
                output.signal() == Some(libc::SIGSYS),
                dies,
                "{}",
                output.all()
            );
        }
    }
    // A rule about the call is no narrower one: both must allow it.
    for (says, wanted) in [("ask", "inet EIO\n"), ("allow", "inet EIO\n")] {
        let rules = format!("{}[syscalls]\nsocket = \"deny EIO\"\n", net(says));
        let case = Case::new(&format!("{CLI}{rules}"))?;
        let output = case.run(&[], &["./doors", "inet"]);
        assert_eq!(output.stdout_text(), wanted, "{}", output.all());
    }
    let rules = format!(
        "{}[syscalls]\n\"socket(family == AF_INET)\" = \"allow\"\n",
        net("kill")
    );
    let case = Case::new(&format!("{CLI}{rules}"))?;
    killed(
        &case,
        &case.run(&[], &["./doors", "inet"]),
        "",
        "net.\"inet\" = \"kill\" (p.toml:4)",
    );
    Ok(())
}

/// The current directory can be executed from, and nothing else is there.
const HERE: &str = "[files]\n\"${cwd}/**\" = \"rx\"\n\"/usr/**\" = \"rx\"\n\"/{bin,lib,lib64}/**\" = \"rx\"\n\"/proc/**\" = \"r\"\n\"/etc/ld.so.*\" = \"r\"\n";

fn a_path_that_no_rule_is_about_ends_the_run() -> Test {
    let by = "default.\"files\" = \"kill\" (p.toml:9)";
    let case = Case::new(&format!("{HERE}[default]\nfiles = \"kill\""))?;
    let doors = case.run(&[], &["./doors", "unix"]);
    assert_eq!(doors.stdout_text(), "unix 0\n", "{}", doors.all());
    let own = case.run(&[], &["./doors", "file:a", "names:/"]);
    assert_eq!(own.code(), Some(0), "{}", own.all());
    // Who looks around finds what leads to something shown.
    let text = own.stdout_text();
    let (file, names) = text.split_once('\n').expect("lines");
    let names: Vec<&str> = names.lines().collect();
    assert!(
        file == "text" && names.contains(&"usr") && !names.contains(&"root"),
        "{text}"
    );
    for path in ["/etc/passwd", "/no/such", "/dev/null", "../no"] {
        let output = case.run(&[], &["./doors", "unix", &format!("file:{path}"), "unix"]);
        killed(&case, &output, "unix 0\n", by);
    }
    // The loader's own probes are names, too.
    let etc = HERE.replace("\"/etc/ld.so.*\" = \"r\"\n", "");
    let bare = Case::new(&format!("{etc}[default]\nfiles = \"kill\""))?;
    let dynamic = bare.run(&[], &["/usr/bin/true"]);
    killed(
        &bare,
        &dynamic,
        "",
        "default.\"files\" = \"kill\" (p.toml:8)",
    );
    Ok(())
}

fn a_path_that_no_rule_is_about_is_asked_about() -> Test {
    let case = Case::new(&format!("{HERE}[default]\nfiles = \"ask\""))?;
    let cat = case.run(&["-v"], &["/usr/bin/cat", "a", "/etc/passwd"]);
    assert_eq!(
        (cat.code(), &*cat.stdout_text()),
        (Some(1), "text"),
        "{}",
        cat.all()
    );
    let told = cat.stderr_text();
    for part in [
        "because: default.\"files\" = \"ask\" (p.toml:9)\n",
        "would allow it: [files] \"/etc/passwd\" = \"r\"\n",
        "not asked: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // It can be looked at.
    let stat = case.run(&[], &["/usr/bin/stat", "-c", "%n", "/etc/passwd"]);
    assert_eq!(stat.stdout_text(), "/etc/passwd\n", "{}", stat.all());
    Ok(())
}

fn what_sbox_makes_is_there_if_a_rule_says_so() -> Test {
    let here = HERE.replace("\"/proc/**\" = \"r\"\n", "");
    let gap = "enforce = \"best-effort\"\n[files]\n\"/proc/**\" = \"rwx\"\n\"/proc\" = \"r\"";
    for rest in [
        "[default]\nfiles = \"deny\"".to_owned(),
        "[default]\nfiles = \"ask\"".to_owned(),
        format!("[default]\n{gap}"),
        format!("[default]\n{gap}").replace("rwx", "list"),
    ] {
        let text = match rest.split_once("[files]\n") {
            None => format!("{here}{rest}"),
            Some((default, files)) => format!("{default}{here}{files}"),
        };
        let case = Case::new(&text)?;
        let cat = case.run(&[], &["/usr/bin/cat", "a", "/proc/1/comm", "/proc/version"]);
        let said = cat.all();
        assert_eq!(
            (cat.code(), &*cat.stdout_text()),
            (Some(1), "text"),
            "{rest}: {said}"
        );
        let stat = case.run(&[], &["/usr/bin/stat", "/proc/1"]);
        assert!(stat.stdout_text().is_empty(), "{rest}: {}", stat.all());
    }
    Ok(())
}

fn a_rule_about_all_leaves_nothing_to_the_default() -> Test {
    for all in ["/**", "/{**,x}"] {
        let rules = format!("[default]\nfiles = \"kill\"\n[files]\n\"{all}\" = \"rx\"");
        let case = Case::new(&rules)?;
        let cat = case.run(&[], &["/usr/bin/cat", "a", "/no/such"]);
        assert_eq!(
            (cat.code(), &*cat.stdout_text()),
            (Some(1), "text"),
            "{}",
            cat.all()
        );
    }
    Ok(())
}

/// What the guest needs, but its sockets.
const CALLS: &str = "[syscalls]\n\"@process\" = \"allow\"\n\"@file\" = \"allow\"\n\"@system\" = \"allow\"\n\"@creds\" = \"allow\"\n";

fn a_call_that_no_rule_is_about_ends_the_run() -> Test {
    let case = Case::new(&format!("{CLI}{CALLS}[default]\nsyscalls = \"kill\""))?;
    let none = case.run(&[], &["./doors"]);
    assert_eq!(none.code(), Some(0), "{}", none.all());
    let by = "default.\"syscalls\" = \"kill\" (p.toml:9)";
    killed(&case, &case.run(&[], &["./doors", "unix"]), "", by);
    let ruled = format!("{CLI}{CALLS}socket = \"allow\"\n[default]\nsyscalls = \"kill\"");
    let case = Case::new(&ruled)?;
    let unix = case.run(&[], &["./doors", "unix"]);
    assert_eq!(unix.stdout_text(), "unix 0\n", "{}", unix.all());
    // A ceiling's default is one, too.
    let own = Case::new(CLI)?;
    own.write(
        "c.toml",
        &format!("{CALLS}[files]\n\"/**\" = \"rwx\"\n[default]\nsyscalls = \"kill\""),
    );
    let output = own.run(&["--within", "c.toml"], &["./doors", "unix"]);
    killed(
        &own,
        &output,
        "",
        "default.\"syscalls\" = \"kill\" (c.toml:10)",
    );
    Ok(())
}

fn a_call_that_no_rule_is_about_is_asked_about() -> Test {
    let case = Case::new(&format!("{CLI}{CALLS}[default]\nsyscalls = \"ask\""))?;
    let output = case.run(&["-v"], &["./doors", "unix", "datagram"]);
    assert_eq!(
        output.stdout_text(),
        "unix EPERM\ndatagram EPERM\n",
        "{}",
        output.all()
    );
    let told = output.stderr_text();
    for part in [
        "because: default.\"syscalls\" = \"ask\" (p.toml:9)\n",
        "would allow it: [syscalls] \"socket\" = \"allow\"\n",
        "not asked: 2 times",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    Ok(())
}

fn an_audit_tells_of_defaults() -> Test {
    let case = Case::new(&format!(
        "{HERE}{CALLS}[default]\nfiles = \"kill\"\nsyscalls = \"kill\""
    ))?;
    let output = case.run(&["--mode", "audit"], &["./doors", "unix"]);
    assert_eq!(output.stdout_text(), "unix 0\n", "{}", output.all());
    let cat = case.run(&["--mode", "audit"], &["/usr/bin/cat", "/etc/passwd"]);
    assert_eq!(cat.code(), Some(0), "{}", cat.all());
    let told = case.report();
    let of_file = told
        .lines()
        .find(|line| line.contains("/etc/passwd") && line.contains("would-kill"));
    assert!(of_file.is_some(), "{told}");
    Ok(())
}

fn verbs_know_of_them() -> Test {
    let plain = "[files]\n\"/usr/**\" = \"rx\"\n";
    let case = Case::new(plain)?;
    case.write(
        "kill.toml",
        &format!("{plain}[net]\ninet = \"kill\"\n[default]\nfiles = \"kill\"\nsyscalls = \"kill\""),
    );
    case.write(
        "ask.toml",
        &format!("{plain}[net]\ninet = \"ask\"\n[default]\nfiles = \"ask\"\nsyscalls = \"ask\""),
    );
    let policy = |args: &[&str]| case.sbox(&[&["policy"], args].concat());
    for file in ["kill.toml", "ask.toml"] {
        let check = policy(&["check", file]);
        assert_eq!(check.code(), Some(0), "{}", check.all());
        let flat = policy(&["show", "--flat", file]);
        fs::write(case.dir().join("flat.toml"), &flat.stdout).expect("write");
        let same = policy(&["diff", "flat.toml", file]);
        assert_eq!(same.code(), Some(0), "{}{}", flat.all(), same.all());
    }
    let says = |file: &str| policy(&["diff", "p.toml", file]).stdout_text().to_owned();
    let (kill, ask) = (says("kill.toml"), says("ask.toml"));
    for line in [
        "newly ends the run: the network\n",
        "newly ends the run: /: ",
        "newly denied: the call socket: kill\n",
    ] {
        assert!(kill.contains(line), "{line}: {kill}");
    }
    for line in [
        "newly asked about: the network\n",
        "newly asked about: the call socket\n",
    ] {
        assert!(ask.contains(line), "{line}: {ask}");
    }
    let explained = policy(&["explain", "kill.toml", "read /etc/passwd"]);
    assert!(
        explained
            .stdout_text()
            .contains("  kill\n    decides  default.\"files\" = \"kill\""),
        "{}",
        explained.all()
    );
    // A profile has only what is said of calls.
    let exported = policy(&["export", "--oci", "p.toml"]);
    case.write("net.toml", &format!("{plain}[net]\ninet = \"kill\""));
    assert_eq!(
        policy(&["export", "--oci", "net.toml"]).stdout,
        exported.stdout
    );
    Ok(())
}

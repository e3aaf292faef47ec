//! `[exec]` with `policy`: a program goes on within another policy, and no road leads out of it.
//!
//! Long because all of it is about one tree and one guest, whose roads are listed here.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::{Output, Random, Test, guest_static, need, need_sbox, scratch_for_sockets};

fn main() -> ExitCode {
    support::main(tests![
        no_road_leads_out,
        what_is_granted_stays,
        however_it_is_started,
        a_second_switch_takes_away_more,
        no_name_is_without_the_rule,
        who_is_wider_changes_nothing_for_good,
        the_guest_sees_what_explain_says,
        places_of_the_view_are_ruled_too,
        a_refusal_is_told,
        calls_are_refused_to_some_alone,
        the_network_is_taken_away,
        what_cannot_be_enforced_is_refused,
        a_run_comes_to_few_sets,
    ])
}

/// A tree with something secret in it, and programs.
struct Case {
    dir: tempfile::TempDir,
    _socket: UnixListener,
}

const WIDE: &str = "\"T/**\" = \"rwx\"\n[exec]\n\"T/bin/narrow\" = { policy = \"n.toml\" }\n\"T/bin/script\" = { policy = \"n.toml\" }\n";
const NARROW: &str = "\"T/open/**\" = \"rwx\"\n\"T/ro/**\" = \"r\"\n\"T/deny/**\" = \"deny\"\n\"T/bin/**\" = \"rx\"\n";

impl Case {
    fn new() -> Result<Self, support::Skip> {
        let guest = guest_static("switched")?;
        let dir = scratch_for_sockets();
        let top = dir.path().join("t");
        for name in ["open", "secret/sub", "secret/empty", "ro", "deny", "bin"] {
            fs::create_dir_all(top.join(name)).expect("mkdir");
        }
        for name in ["open/f", "secret/f", "secret/sub/g", "ro/f", "deny/f"] {
            fs::write(top.join(name), "text").expect("write");
        }
        fs::write(top.join("secret/f"), "secret").expect("write");
        for name in ["bin/wide", "bin/narrow", "bin/second", "secret/prog"] {
            fs::copy(&guest, top.join(name)).expect("copy");
        }
        symlink("../secret/f", top.join("open/link")).expect("link");
        symlink(top.join("secret"), top.join("open/dirlink")).expect("link");
        symlink("f", top.join("secret/l")).expect("link");
        let socket = UnixListener::bind(top.join("secret/sock"));
        let case = Self {
            dir,
            _socket: socket.expect("bind"),
        };
        let t = case.top();
        case.program("bin/script", &format!("#!{t}/bin/wide script\n"));
        case.program("bin/plain", &format!("#!{t}/bin/narrow script\n"));
        case.program("bin/broken", "");
        case.write("p.toml", WIDE);
        case.write("n.toml", NARROW);
        Ok(case)
    }

    fn top(&self) -> String {
        let top = self.dir.path().join("t");
        top.to_str().expect("plain").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("t").join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn write(&self, name: &str, rules: &str) {
        let text = format!(
            "sbox = 1\n[view.mounts]\n\"T\" = {{ bind = \"T\" }}\n[files]\n\"/proc/**\" = \"rx\"\n\"/dev/**\" = \"rxw\"\n{rules}\n"
        );
        let text = text.replace("\"T", &format!("\"{}", self.top()));
        fs::write(self.path(name), text).expect("write");
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.path("state"));
        support::job::run(command, b"", Duration::from_secs(60))
    }

    fn run(&self, flags: &[&str], start: &str, road: &str) -> Output {
        let wide = format!("{}/bin/wide", self.top());
        let run = ["run", "-q", "--policy", "p.toml"];
        let guest = ["--", &wide, start, road, &self.top()];
        self.sbox(&[&run[..], flags, &guest].concat())
    }

    /// What a road has come to.
    fn said(&self, start: &str, road: &str) -> String {
        let output = self.run(&[], start, road);
        assert_eq!(output.code(), Some(0), "{start} {road}: {}", output.all());
        output.stdout_text().trim_end().to_owned()
    }
}

/// To the secret directory, or into it; all of them lead there without a switch.
const ROADS: [&str; 65] = [
    "absolute",
    "relative",
    "dots",
    "through",
    "known",
    "openat",
    "openat-top",
    "openat2",
    "openat2-held",
    "symlink",
    "symlink-dir",
    "proc-root",
    "proc-cwd",
    "proc-fd-dir",
    "proc-fd-file",
    "proc-fd-write",
    "proc-fd-path",
    "proc-task",
    "wide-root",
    "wide-cwd",
    "wide-fd",
    "wide-environ",
    "wide-task-environ",
    "dot",
    "stat",
    "stat-relative",
    "stat-dir",
    "statfs",
    "access",
    "readlink",
    "getxattr",
    "chdir",
    "fchdir",
    "chdir-below",
    "watch",
    "watch-cwd",
    "exec",
    "exec-relative",
    "exec-held",
    "exec-proc",
    "create",
    "create-relative",
    "create-held",
    "tmpfile",
    "write",
    "truncate",
    "mkdir",
    "mkfifo",
    "make-link",
    "unlink",
    "unlink-held",
    "rmdir",
    "rename-out",
    "rename-dir",
    "rename-in",
    "exchange",
    "link",
    "link-held",
    "link-proc",
    "chmod",
    "utimes",
    "bind",
    "connect",
    "ro-write",
    "ro-move",
];

/// All below a directory: what is there, and what it is.
fn tree(of: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut waiting = vec![of.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("attributes");
            let text = fs::read(entry.path()).unwrap_or_default();
            all.push(format!(
                "{} {:o} {} {:?}",
                entry.path().display(),
                meta.permissions().mode(),
                text.len(),
                meta.modified().ok(),
            ));
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

fn no_road_leads_out() -> Test {
    need_sbox()?;
    for road in ROADS {
        let case = Case::new()?;
        let (before, open) = (tree(&case.path("t/secret")), tree(&case.path("t/open")));
        let said = case.said("fork-itself", road);
        assert!(
            said.starts_with('E') && said != "ENOSYS",
            "{road}, switched: {said}"
        );
        assert_eq!(tree(&case.path("t/secret")), before, "{road}");
        assert_eq!(tree(&case.path("t/open")), open, "{road}");
        // It is the switch that refuses it.
        case.write("p.toml", "\"T/**\" = \"rwx\"\n");
        let said = case.said("calm-itself", road);
        assert_eq!(said, "done", "{road}, not switched");
    }
    Ok(())
}

/// What is held stays, and so does what both policies grant.
fn what_is_granted_stays() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    for (road, want) in [
        ("held-read", "done"),
        ("held-stat", "done"),
        ("stat-cwd", "done"),
        ("open", "done"),
        ("dots-out", "done"),
        ("open-create", "done"),
        ("ro", "done"),
        ("ro-write", "EROFS"),
        ("deny", "EACCES"),
        ("deny-stat", "done"),
        ("null", "done"),
        ("zero", "done"),
        ("status", "done"),
        ("environ", "done"),
        ("list", "ENOENT"),
        ("list-held", "done"),
        ("list-dot", "EACCES"),
        ("relative", "ENOENT"),
    ] {
        assert_eq!(case.said("fork-itself", road), want, "{road}");
    }
    let listed = case.said("fork-itself", "list-top");
    let mut names: Vec<&str> = listed.split(' ').collect();
    names.sort_unstable();
    assert_eq!(names, ["bin", "deny", "done", "open", "ro"]);
    Ok(())
}

fn however_it_is_started() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    for start in ["fork", "thread", "spawn", "script", "interpreter"] {
        for how in ["itself", "fork", "thread", "wide", "narrow"] {
            for road in ["relative", "openat", "proc-fd-file", "exec-held"] {
                let said = case.said(&format!("{start}-{how}"), road);
                assert!(said.starts_with('E'), "{start} {how} {road}: {said}");
            }
            let said = case.said(&format!("{start}-{how}"), "open");
            assert_eq!(said, "done", "{start} {how}");
        }
    }
    Ok(())
}

/// A switch within another policy, or of two programs of the first: both are left in no way.
fn a_second_switch_takes_away_more() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    case.write(
        "s.toml",
        "\"T/secret/**\" = \"rwx\"\n\"T/open/**\" = \"r\"\n\"T/bin/**\" = \"rx\"\n",
    );
    let top = case.top();
    let said = |program: &str, how: &str, road: &str| {
        let program = format!("{top}/bin/{program}");
        let run = ["run", "-q", "--policy", "p.toml", "--"];
        let output = case.sbox(&[&run[..], &[&program, "go", how, road, &top]].concat());
        assert_eq!(output.code(), Some(0), "{}", output.all());
        output.stdout_text().trim_end().to_owned()
    };
    let wants = [("absolute", "ENOENT"), ("open", "EROFS"), ("ro", "ENOENT")];
    case.write(
        "p.toml",
        &format!("{WIDE}\"T/bin/second\" = {{ policy = \"s.toml\" }}\n"),
    );
    assert_eq!(said("second", "itself", "absolute"), "done");
    assert_eq!(said("narrow", "itself", "open"), "done");
    assert_eq!(said("narrow", "itself", "ro"), "done");
    for (road, want) in wants {
        assert_eq!(said("second", "narrow", road), want, "{road}");
        assert_eq!(said("narrow", "second", road), want, "{road}");
    }
    case.write("p.toml", WIDE);
    case.write(
        "n.toml",
        &format!("{NARROW}[exec]\n\"T/bin/second\" = {{ policy = \"s.toml\" }}\n"),
    );
    for (road, want) in wants {
        assert_eq!(said("narrow", "second", road), want, "{road}, nested");
    }
    assert_eq!(
        said("second", "itself", "absolute"),
        "done",
        "only after the first"
    );
    Ok(())
}

/// A program with a switch gets no name without it, and no process carries names for those that are within less.
fn no_name_is_without_the_rule() -> Test {
    need_sbox()?;
    need(&["/usr/bin/perl"])?;
    let case = Case::new()?;
    let top = case.top();
    let perl = |rules: &str, narrow: &str, call: &str| {
        let system = "\"/{bin,lib,lib64,usr,etc}/**\" = \"rx\"\n";
        case.write("p.toml", &format!("{system}{rules}"));
        case.write("n.toml", &format!("{system}{narrow}"));
        let script = format!("exit(({call}) ? 0 : $!{{EXDEV}} ? 7 : 8)").replace('T', &top);
        let run = ["run", "-q", "--policy", "p.toml", "--", "/usr/bin/perl"];
        let output = case.sbox(&[&run[..], &["-MErrno", "-e", &script]].concat());
        output.code().unwrap_or_else(|| panic!("{}", output.all()))
    };
    for call in ["rename", "link"] {
        let of_narrow = format!("{call}('T/bin/narrow', 'T/bin/other')");
        assert_eq!(perl(WIDE, NARROW, &of_narrow), 7, "{call}");
        let of_other = format!("{call}('T/bin/second', 'T/bin/other')");
        assert_eq!(perl(WIDE, NARROW, &of_other), 0, "{call}");
        fs::remove_file(case.path("t/bin/other")).expect("it is there");
        fs::copy(case.path("t/bin/wide"), case.path("t/bin/second")).expect("copy");
    }
    // Where both policies together give the same, the one of the run doesn't.
    let rules = |ro: &str| {
        format!(
            "\"T/**\" = \"rwx\"\n\"T/ro/**\" = \"{ro}\"\n[exec]\n\"/usr/bin/perl\" = {{ policy = \"n.toml\" }}\n"
        )
    };
    let narrow = "\"T/**\" = \"rcd\"\n";
    let call = "rename('T/ro/f', 'T/open/got')";
    assert_eq!(perl(&rules("rcd"), narrow, call), 7);
    assert_eq!(perl(&rules("rwx"), narrow, call), 0);
    Ok(())
}

/// Somebody wider moves the directory that a narrower process stands in.
fn who_is_wider_changes_nothing_for_good() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    fs::create_dir(case.path("t/open/d")).expect("mkdir");
    fs::write(case.path("t/open/d/f"), "text").expect("write");
    assert_eq!(case.said("mover-itself", "race"), "done");
    Ok(())
}

/// Some rules about a small tree.
fn rules(random: &mut Random) -> String {
    let mut out = String::new();
    let mut taken = Vec::new();
    for _ in 0..=random.below(7) {
        let names = ["a", "b", "c", "*", "?", "[ab]", "**", "{a,b}"];
        let mut pattern = String::from("T/x");
        for _ in 0..=random.below(3) {
            let name = names[random.below(names.len() as u64) as usize];
            pattern = format!("{pattern}/{name}");
        }
        let rights = ["r", "rw", "rwx", "hide", "deny", "rx", "rw"];
        let right = rights[random.below(rights.len() as u64) as usize];
        if !taken.contains(&pattern) {
            out += &format!("\"{pattern}\" = \"{right}\"\n");
            taken.push(pattern);
        }
    }
    out
}

/// `explain --after` and a run come to the same, whatever the policies, in host directories and in copy-on-write ones.
fn the_guest_sees_what_explain_says() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let top = case.top();
    let mut files = Vec::new();
    for a in ["a", "b", "c"] {
        for b in ["a", "b", "c"] {
            let dir = format!("{top}/x/{a}/{b}");
            fs::create_dir_all(&dir).expect("mkdir");
            for c in ["a", "b"] {
                files.push(format!("{dir}/{c}"));
                fs::write(format!("{dir}/{c}"), "text").expect("write");
            }
        }
    }
    fs::write(case.path("t/bin/list"), files.join("\n")).expect("write");
    let operations: Vec<String> = files
        .iter()
        .flat_map(|file| ["stat", "read", "write"].map(|word| format!("{word} {file}")))
        .collect();
    let program = |name: &str| format!("{top}/bin/{name}");
    let (narrow, second) = (program("narrow"), program("second"));
    let mut random = Random::new();
    let (mut rounds, mut allowed, mut refused) = (0, 0, 0);
    while rounds < 16 {
        let bin = "\"T/bin/**\" = \"rx\"\n";
        let switch = "[exec]\n\"T/bin/narrow\" = { policy = \"n.toml\" }\n\"T/bin/second\" = { policy = \"s.toml\" }\n";
        let all = "\"T/x/**\" = \"rwx\"\n";
        let base = match random.below(2) {
            0 => all.to_owned(),
            _ => rules(&mut random),
        };
        case.write("p.toml", &format!("{bin}{base}{switch}"));
        case.write("n.toml", &format!("{bin}{}", rules(&mut random)));
        case.write("s.toml", &format!("{bin}{}", rules(&mut random)));
        if rounds % 2 == 1 {
            let text = fs::read_to_string(case.path("p.toml")).expect("read");
            fs::write(case.path("p.toml"), text.replace("bind = ", "cow = ")).expect("write");
        }
        let check = case.sbox(&["policy", "check", "p.toml"]);
        if check.code() == Some(2) {
            // Two rules for the same paths.
            continue;
        }
        rounds += 1;
        let twice = rounds % 4 == 0;
        let mut explain = vec!["policy", "explain", "--after", &narrow];
        if twice {
            explain.extend(["--after", &second]);
        }
        explain.push("p.toml");
        explain.extend(operations.iter().map(String::as_str));
        let told = case.sbox(&explain);
        let text = told.stdout_text();
        let is_answer = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let answers: Vec<bool> = text
            .lines()
            .filter(is_answer)
            .map(|line| line == "  allow")
            .collect();
        assert_eq!(answers.len(), operations.len(), "{}", told.all());
        let how = if twice { "second" } else { "itself" };
        let run = ["run", "-q", "--discard", "--policy", "p.toml", "--"];
        let output = case.sbox(&[&run[..], &[&narrow, "go", how, "each", &top]].concat());
        let said = output.stdout_text();
        let policies = ["p.toml", "n.toml", "s.toml"]
            .map(|name| fs::read_to_string(case.path(name)).expect("read"));
        let lines: Vec<&str> = said.lines().collect();
        let wrong = || format!("{twice} {} {}", policies.join("\n"), output.all());
        assert_eq!(lines.len(), files.len() + 1, "{}", wrong());
        for ((file, line), answers) in files.iter().zip(lines).zip(answers.chunks(3)) {
            let digit = |answer: &bool| if *answer { '1' } else { '0' };
            let digits: String = answers.iter().map(digit).collect();
            assert_eq!(line, format!("{file} {digits}"), "{}", wrong());
            allowed += answers.iter().filter(|a| **a).count();
            refused += answers.iter().filter(|a| !**a).count();
        }
    }
    assert!(allowed > 30 && refused > 30, "{allowed} {refused}");
    Ok(())
}

/// Where no rule of the run's decides but a mount: files and directories that are put somewhere, `/dev`, `/proc`.
fn places_of_the_view_are_ruled_too() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let top = case.top();
    let rows = [
        ("/job/text", "110", "000"),
        ("/job/other", "110", "110"),
        ("/job/file", "111", "110"),
        ("/job/denied", "111", "100"),
        ("/job/dir/f", "111", "000"),
        ("/job/dir2/sub/g", "111", "110"),
        ("/tmp/none", "000", "000"),
        ("/dev/zero", "111", "000"),
        ("/dev/full", "111", "111"),
        ("/proc/self/status", "110", "000"),
        ("/proc/self/stat", "110", "110"),
        ("/proc/version", "110", "000"),
    ];
    let list: Vec<&str> = rows.iter().map(|(path, ..)| *path).collect();
    fs::write(case.path("t/bin/list"), list.join("\n")).expect("write");
    let base = "\"/job/{file,denied,dir/**,dir2/sub/**}\" = \"rw\"\n\"/job/{text,other}\" = \"r\"\n\"/tmp/**\" = \"rw\"\n\"T/bin/**\" = \"rx\"\n";
    let mounts = "[view.mounts]\n\"/job/text\" = { text = \"x\" }\n\"/job/other\" = { text = \"x\" }\n\"/job/file\" = { bind = \"T/open/f\" }\n\"/job/denied\" = { bind = \"T/ro/f\" }\n\"/job/dir\" = { bind = \"T/secret\" }\n\"/job/dir2\" = { bind = \"T/secret/sub\" }\n\"/tmp\" = { tmpfs = \"\" }\n";
    case.write("p.toml", base);
    let text = fs::read_to_string(case.path("p.toml")).expect("read");
    let own = "[view.mounts]\n";
    let text = text.replace(own, &mounts.replace('T', &top));
    let text = text.replace("/job/dir2\"", "/job/dir2/sub\"");
    let exec = format!("{text}[exec]\n\"{top}/bin/narrow\" = {{ policy = \"n.toml\" }}\n");
    fs::write(case.path("p.toml"), exec).expect("write");
    case.write(
        "n.toml",
        "\"T/bin/**\" = \"rx\"\n\"/job/other\" = \"rw\"\n\"/job/file\" = \"r\"\n\"/job/denied\" = \"deny\"\n\"/job/dir2/**\" = \"r\"\n\"/dev/zero/**\" = \"hide\"\n\"/proc/*/status\" = \"hide\"\n\"/proc/version/**\" = \"hide\"\n",
    );
    for (program, narrowed) in [("wide", false), ("narrow", true)] {
        let program = format!("{top}/bin/{program}");
        let run = ["run", "-q", "--policy", "p.toml", "--"];
        let output = case.sbox(&[&run[..], &[&program, "go", "itself", "each", &top]].concat());
        let said = output.stdout_text();
        assert_eq!(said.lines().count(), rows.len() + 1, "{}", output.all());
        for ((path, wide, narrow), line) in rows.iter().zip(said.lines()) {
            let want = if narrowed { narrow } else { wide };
            assert_eq!(line, format!("{path} {want}"), "{}", output.all());
        }
        let output = case.sbox(&[&run[..], &[&program, "go", "itself", "mounts", &top]].concat());
        let said = output.stdout_text();
        let has = |place: &str| said.split(' ').any(|one| one == place);
        for (place, hidden) in [
            ("/job/text", true),
            ("/job/dir", true),
            ("/job/other", false),
        ] {
            assert_eq!(has(place), !(narrowed && hidden), "{place}: {said}");
        }
    }
    Ok(())
}

/// On standard error and in the report, with the rule of the policy that was switched to and its place.
fn a_refusal_is_told() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let rule = "{ do = \"deny\", why = \"not for you\" }";
    case.write("n.toml", &NARROW.replace("\"deny\"", rule));
    let text = fs::read_to_string(case.path("n.toml")).expect("read");
    let line = text.lines().position(|line| line.contains("not for you"));
    let line = line.expect("it is there") + 1;
    for flags in [&["-v"][..], &["-v", "--report", "report"]] {
        let output = case.run(flags, "calm-itself", "deny");
        let said = output.stderr_text();
        assert!(
            said.contains(&format!("(n.toml:{line})")),
            "{}",
            output.all()
        );
        assert!(said.contains("why: not for you"), "{}", output.all());
    }
    let report = fs::read_to_string(case.path("report")).expect("a report");
    let denied = report.lines().find(|line| line.contains("deny/f"));
    let denied = denied.expect("it is there");
    for part in [
        "\"file\":\"n.toml\"",
        &format!("\"line\":{line}"),
        "\"why\":\"not for you\"",
    ] {
        assert!(denied.contains(part), "{part}: {denied}");
    }
    // What is hidden is told of too, though nothing was refused.
    let output = case.run(&["-v"], "calm-itself", "absolute");
    let said = output.stderr_text();
    assert!(said.contains("secret/f (task"), "{}", output.all());
    Ok(())
}

/// What a policy says of calls holds for those that it was switched to for, and for nobody else.
fn calls_are_refused_to_some_alone() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let calls = "[syscalls]\n\"getuid\" = \"deny ENOSYS\"\n\"getrandom(flags == 1)\" = \"deny ENOSPC\"\n\"acct\" = \"kill\"\ngetppid = { fake = 4242 }\ntime = { fake = \"2026-01-01T00:00:00Z\" }\n";
    let rows = [
        ("getuid", "done", "ENOSYS"),
        ("random", "done", "ENOSPC"),
        ("random-other", "done", "done"),
        ("faked", "ERANGE", "done"),
        ("clock", "ERANGE", "done"),
        ("open", "done", "done"),
    ];
    case.write("n.toml", &format!("{NARROW}{calls}"));
    for (road, wide, narrow) in rows {
        for start in ["fork-itself", "thread-itself", "spawn-fork", "fork-wide"] {
            assert_eq!(case.said(start, road), narrow, "{start} {road}");
        }
        let (program, top) = (format!("{}/bin/wide", case.top()), case.top());
        let run = ["run", "-q", "--policy", "p.toml", "--"];
        let output = case.sbox(&[&run[..], &[&program, "go", "itself", road, &top]].concat());
        assert_eq!(output.stdout_text().trim_end(), wide, "{}", output.all());
    }
    let killed = case.run(&[], "fork-itself", "acct");
    assert_eq!(killed.signal(), Some(libc::SIGSYS), "{}", killed.all());
    let told = case.run(&["-v"], "calm-itself", "getuid");
    assert!(
        told.stderr_text().contains("\"deny ENOSYS\" (n.toml:"),
        "{}",
        told.all()
    );
    // A policy of its own for calls, which stays the stricter where both speak.
    case.write(
        "p.toml",
        &format!("{WIDE}[syscalls]\n\"getuid\" = \"deny EPERM\"\n"),
    );
    case.write(
        "n.toml",
        &format!("{NARROW}[syscalls]\n\"getuid\" = {{ fake = 7 }}\n"),
    );
    assert_eq!(case.said("calm-itself", "getuid"), "EPERM");
    Ok(())
}

/// Sockets of the network are made by those alone for whom all policies allow it.
fn the_network_is_taken_away() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let net = "[net]\ninet = \"allow\"\n";
    case.write("p.toml", &format!("{WIDE}{net}"));
    assert_eq!(case.said("fork-itself", "inet"), "EACCES");
    assert_eq!(case.said("fork-itself", "unix"), "done");
    assert_eq!(case.said("fork-wide", "inet"), "EACCES");
    let (program, top) = (format!("{}/bin/wide", case.top()), case.top());
    let run = ["run", "-q", "--policy", "p.toml", "--"];
    let output = case.sbox(&[&run[..], &[&program, "go", "itself", "inet", &top]].concat());
    assert_eq!(output.stdout_text().trim_end(), "done", "{}", output.all());
    case.write("n.toml", &format!("{NARROW}{net}"));
    assert_eq!(case.said("fork-itself", "inet"), "done");
    Ok(())
}

fn what_cannot_be_enforced_is_refused() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let rows = [
        ("\"T/open/f\" = \"ask\"\n", "n.toml:7"),
        ("[exec]\n\"T/bin/wide\" = \"ask\"\n", "n.toml:8"),
        ("[syscalls]\n\"getuid\" = \"ask\"\n", "n.toml:8"),
        ("[syscalls]\n\"accept\" = \"deny\"\n", "n.toml:8"),
        ("[syscalls]\n\"@network\" = \"deny\"\n", "n.toml:8"),
        ("[syscalls]\n\"close\" = \"deny\"\n", "n.toml:8"),
        ("[syscalls]\n\"mount\" = \"allow\"\n", "n.toml:8"),
        ("[default]\nsyscalls = \"deny EPERM\"\n", "p.toml:9"),
        ("[env]\ndrop = [\"LANG\"]\n", "p.toml:9"),
        ("[net]\ninet = \"kill\"\n", "p.toml:9"),
        ("[net]\ninet = \"ask\"\n", "p.toml:9"),
        ("[proc]\nsignal = \"none\"\n", "p.toml:9"),
        ("\"/dev/null\" = \"deny\"\n", "n.toml:7"),
    ];
    for (rules, why) in rows {
        let narrow = "[exec]\n\"T/bin/narrow\" = { policy = \"n.toml\" }\n";
        case.write("n.toml", rules);
        case.write("p.toml", &format!("\"T/**\" = \"rwx\"\n{narrow}"));
        let output = case.run(&[], "calm-itself", "open");
        assert_eq!(output.code(), Some(3), "{rules}: {}", output.all());
        assert!(
            output.stderr_text().contains(why),
            "{rules}: {}",
            output.all()
        );
        // Both must take it on.
        for name in ["n.toml", "p.toml"] {
            let text = fs::read_to_string(case.path(name)).expect("read");
            let text = match text.contains("[default]") {
                true => text.replace("[default]", "[default]\nenforce = \"best-effort\""),
                false => format!("{text}\n[default]\nenforce = \"best-effort\"\n"),
            };
            fs::write(case.path(name), text).expect("write");
            let output = case.run(&[], "calm-itself", "null");
            let status = if name == "n.toml" { Some(3) } else { Some(0) };
            let all = output.all();
            match status {
                Some(3) => assert_eq!(output.code(), status, "{rules}: {all}"),
                _ => assert_ne!(output.code(), Some(3), "{rules}: {all}"),
            }
        }
    }
    case.write("n.toml", NARROW);
    case.write("p.toml", WIDE);
    let told_only = [
        &["--mode", "audit", "--discard"][..],
        &["--shadow", "n.toml"],
    ];
    for flags in told_only {
        let output = case.run(flags, "calm-itself", "open");
        assert_eq!(output.code(), Some(3), "{}", output.all());
        assert!(output.stderr_text().contains("p.toml:"), "{}", output.all());
    }
    Ok(())
}

/// Who starts programs of many policies in many orders is refused some starts at last, and nothing else happens.
fn a_run_comes_to_few_sets() -> Test {
    need_sbox()?;
    let case = Case::new()?;
    let mut switches = String::new();
    for number in 0..12 {
        let name = format!("p{number}");
        fs::copy(case.path("t/bin/wide"), case.path("t/bin").join(&name)).expect("copy");
        switches += &format!("\"T/bin/{name}\" = {{ policy = \"{name}.toml\" }}\n");
        case.write(&format!("{name}.toml"), NARROW);
    }
    case.write("p.toml", &format!("\"T/**\" = \"rwx\"\n[exec]\n{switches}"));
    let output = case.run(&["-v"], "sets", "12");
    assert_eq!(output.code(), Some(0), "{}", output.all());
    let said = output.stdout_text();
    let count = |word: &str| said.lines().filter(|line| *line == word).count();
    // Twelve alone and 66 pairs, each of which two orders come to.
    assert_eq!(count("done") + count("EACCES"), 144, "{}", output.all());
    assert!(count("EACCES") >= 14, "{}", output.all());
    assert!(count("done") >= 100, "{}", output.all());
    let told = output.stderr_text();
    assert!(told.contains("can't be put together"), "{}", output.all());
    Ok(())
}

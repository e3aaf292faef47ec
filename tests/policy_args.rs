//! `[exec]` with `args`: a program starts with the arguments that a rule lists, and with no others.

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

use support::guest::guest_bare;
use support::{Output, Test, guest, guest_static, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        programs_of_the_host,
        a_run_does_what_explain_says,
        scripts_and_their_interpreters,
        arguments_that_change_after_the_look,
        no_other_name_is_without_the_rule,
        what_is_named_as_a_loader_is_started_too,
        a_refusal_is_told,
        an_audit_and_a_shadow_tell,
        broken_lists_are_told,
        what_is_said_of_arguments_is_shown,
        a_switch_only_takes_away,
        switches_are_checked,
    ])
}

struct Case(tempfile::TempDir);

impl Case {
    fn new(rules: &str) -> Self {
        let case = Self(scratch());
        case.write("p.toml", rules);
        case
    }

    fn write(&self, name: &str, rules: &str) {
        let text = format!("sbox = 1\nextends = \"std/cli\"\n{rules}");
        fs::write(self.0.path().join(name), text).expect("write");
    }

    fn put(&self, name: &str, program: &Path) {
        fs::copy(program, self.0.path().join(name)).expect("copy");
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.0.path());
        command.env("XDG_STATE_HOME", self.0.path().join("state"));
        support::job::run(command, b"", Duration::from_secs(120))
    }

    fn run(&self, flags: &[&str], program: &[&str]) -> Output {
        let run = ["run", "-q", "--discard", "--policy", "p.toml"];
        self.sbox(&[&run[..], flags, &["--"], program].concat())
    }
}

fn programs_of_the_host() -> Test {
    need_sbox()?;
    need(&["/usr/bin/sort"])?;
    let case = Case::new(
        "[vars]\nhow = [\"-r\", \"-n\"]\n[exec]\n\"/usr/bin/sort\" = { args = [[\"--version\"], [\"${how}\", \"...\"]] }\n",
    );
    for (given, status) in [
        (&["--version"][..], 0),
        (&["-r", "/dev/null"], 0),
        (&["-n"], 0),
        (&["--version", "-r"], 126),
        (&["--versio"], 126),
        (&["--versions"], 126),
        (&["-u"], 126),
        (&[], 126),
    ] {
        let direct = case.run(&[], &[&["/usr/bin/sort"], given].concat());
        assert_eq!(direct.code(), Some(status), "{given:?}: {}", direct.all());
        // By a relative name the program is handed over by descriptor.
        let script = "cd /usr/bin && exec ./sort \"$@\"";
        let by_name = case.run(&[], &[&["/bin/sh", "-c", script, "sh"], given].concat());
        assert_eq!(by_name.code(), Some(status), "{given:?}: {}", by_name.all());
    }
    Ok(())
}

/// What is asked of `explain` is done in a run.
fn a_run_does_what_explain_says() -> Test {
    need_sbox()?;
    let case = Case::new(
        "[vars]\nx = [\"p q\", \"\\\\\"]\n[files]\n\"${cwd}/**\" = \"rx\"\n[exec]\n\"${cwd}/t*\" = { args = [\"target\", \"...\"] }\n\"${cwd}/*e\" = { args = [[\"target\", \"a\"], [\"x\"], []] }\n\"${cwd}/t2\" = { args = [[], [\"${x}\"]] }\n\"${cwd}/no\" = \"deny\"\n",
    );
    let echo = guest_static("echoargs")?;
    for name in ["t1", "te", "t2", "e", "no"] {
        case.put(name, &echo);
    }
    let lists: [&[&str]; 9] = [
        &[],
        &["target"],
        &["target", "a"],
        &["target", "a", "b"],
        &["x"],
        &["x", ""],
        &["p q"],
        &["\\"],
        &["p", "q"],
    ];
    let (mut allowed, mut denied) = (0, 0);
    let here = case.0.path().to_str().expect("plain");
    for name in ["t1", "te", "t2", "e", "no"] {
        for list in lists.iter().filter(|list| !list.contains(&"")) {
            let written: Vec<String> = list
                .iter()
                .map(|word| word.replace('\\', "\\\\").replace(' ', "\\ "))
                .collect();
            let asked = format!("exec {here}/{name} {}", written.join(" "));
            let explained = case.sbox(&["policy", "explain", "p.toml", &asked]);
            let says = explained.stdout_text().contains("\n  allow\n");
            let ran = case.run(&[], &[&[&*format!("./{name}")], *list].concat());
            let wanted = if says { 0 } else { 126 };
            assert_eq!(
                ran.code(),
                Some(wanted),
                "{asked}: {}{}",
                explained.all(),
                ran.all()
            );
            *(if says { &mut allowed } else { &mut denied }) += 1;
        }
    }
    assert!(allowed >= 8 && denied >= 15, "{allowed} {denied}");
    Ok(())
}

/// The rule of a script is about what the script is given, the rule of its interpreter about what that is given.
fn scripts_and_their_interpreters() -> Test {
    need_sbox()?;
    let echo = guest("echoargs")?;
    for (rules, given, status) in [
        ("\"${cwd}/s\" = { args = [\"a\"] }", &["a"][..], 0),
        ("\"${cwd}/s\" = { args = [\"a\"] }", &["b"], 126),
        ("\"${cwd}/s\" = { args = [\"a\"] }", &["a", "b"], 126),
        ("\"${cwd}/s\" = { args = [] }", &[], 0),
        (
            "\"${cwd}/i\" = { args = [\"-o\", \"./s\", \"a\"] }",
            &["a"],
            0,
        ),
        (
            "\"${cwd}/i\" = { args = [\"-o\", \"./s\", \"a\"] }",
            &["b"],
            126,
        ),
        ("\"${cwd}/i\" = { args = [\"-o\", \"...\"] }", &["b"], 0),
        ("\"${cwd}/i\" = { args = [\"-p\", \"...\"] }", &["b"], 126),
        (
            "\"${cwd}/s\" = { args = [\"a\"] }\n\"${cwd}/i\" = { args = [\"-o\", \"./s\", \"...\"] }",
            &["a"],
            0,
        ),
        (
            "\"${cwd}/s\" = { args = [\"a\"] }\n\"${cwd}/i\" = { args = [\"-o\", \"./s\", \"...\"] }",
            &["b"],
            126,
        ),
    ] {
        let case = Case::new(&format!("[exec]\n{rules}\n"));
        case.put("i", &echo);
        let here = case.0.path().display();
        case.script("s", &format!("#!{here}/i -o\n"));
        let ran = case.run(&[], &[&["./s"], given].concat());
        assert_eq!(ran.code(), Some(status), "{rules} {given:?}: {}", ran.all());
    }
    Ok(())
}

/// The argument changes between the look and the start: it never starts with another.
fn arguments_that_change_after_the_look() -> Test {
    need_sbox()?;
    let argued = guest_static("argued")?;
    let number = |text: &str, word: &str| -> u32 {
        let mut words = text.split_whitespace().skip_while(|w| *w != word);
        words.nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    let case =
        Case::new("[exec]\n\"${cwd}/t\" = { args = [[\"target\", \"a\"], [\"race\", \"...\"]] }\n");
    case.put("t", &argued);
    let native = Command::new(case.0.path().join("t"))
        .args([
            "race",
            case.0.path().join("t").to_str().expect("plain"),
            "200",
        ])
        .output()
        .expect("run");
    let native = String::from_utf8_lossy(&native.stdout).into_owned();
    assert!(number(&native, "others") > 0, "no race: {native}");
    for program in ["./t", case.0.path().join("t").to_str().expect("plain")] {
        let ran = case.run(&[], &["./t", "race", program, "300"]);
        let said = ran.stdout_text();
        assert_eq!(number(&said, "others"), 0, "{}", ran.all());
        assert_eq!(number(&said, "odd"), 0, "{}", ran.all());
        assert!(number(&said, "ran") > 0, "{}", ran.all());
        let stopped = number(&said, "refused") + number(&said, "killed");
        assert!(stopped > 0, "{}", ran.all());
    }
    Ok(())
}

/// A rename or a hard link never takes a program to where it may have other arguments.
fn no_other_name_is_without_the_rule() -> Test {
    need_sbox()?;
    need(&["/usr/bin/perl"])?;
    let case = Case::new(
        "[exec]\n\"${cwd}/d/t\" = { args = [\"x\"] }\n\"${cwd}/e/t\" = { args = [\"x\"] }\n",
    );
    fs::create_dir(case.0.path().join("d")).expect("mkdir");
    case.put("d/t", &guest_static("echoargs")?);
    let rename = |from: &str, to: &str| {
        let script = "$!=0; rename $ARGV[0], $ARGV[1] or link $ARGV[0], $ARGV[1]; print $!+0";
        case.run(&[], &["/usr/bin/perl", "-e", script, from, to])
            .stdout_text()
    };
    let exdev = libc::EXDEV.to_string();
    assert_eq!(rename("d/t", "d/u"), exdev);
    assert_eq!(rename("d/t", "u"), exdev);
    // Two rules are two rules, whatever they say.
    assert_eq!(rename("d/t", "e/t"), libc::ENOENT.to_string());
    assert_eq!(rename("d", "f"), exdev);
    assert_eq!(rename("p.toml", "q.toml"), "0");
    // A symbolic link leads to the program itself.
    let script = "ln -s d/t l; ./l x && ! ./l y && ! /proc/self/cwd/d/t y";
    let ran = case.run(&[], &["/bin/sh", "-c", script]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    Ok(())
}

/// The kernel starts whatever a program names as its loader (`PT_INTERP`).
fn what_is_named_as_a_loader_is_started_too() -> Test {
    need_sbox()?;
    let compiler = need(&["/usr/bin/cc"])?;
    let target = guest_bare("answer", "-DANSWER=7")?;
    for (files, exec, status) in [
        ("rx", "", Some(7)),
        ("r", "", Some(126)),
        ("x", "", Some(7)),
        ("deny", "", Some(126)),
        ("hide", "", Some(127)),
        ("kill", "", None),
        ("rx", "\"deny\"", Some(126)),
        ("rx", "\"kill\"", None),
        ("rx", "\"ask\"", Some(126)),
        ("rx", "{ args = [[\"evil\"]] }", Some(126)),
    ] {
        let rules =
            format!("[files]\n\"${{cwd}}/**\" = \"rx\"\n\"${{cwd}}/target\" = \"{files}\"\n");
        let case = Case::new(&match exec {
            "" => rules,
            exec => format!("{rules}[exec]\n\"${{cwd}}/target\" = {exec}\n"),
        });
        case.put("target", &target);
        let dir = case.0.path();
        fs::write(dir.join("main.c"), "int main(void) { return 1; }\n").expect("write");
        let made = Command::new(&compiler)
            .arg(dir.join("main.c"))
            .arg(format!("-Wl,--dynamic-linker={}/target", dir.display()))
            .arg("-o")
            .arg(dir.join("run"))
            .status();
        assert!(made.expect("cc").success());
        for program in ["./run", "/proc/self/cwd/run"] {
            let ran = case.run(&[], &[program, "evil"]);
            assert_eq!(ran.code(), status, "{files} {exec}: {}", ran.all());
        }
    }
    Ok(())
}

fn a_refusal_is_told() -> Test {
    need_sbox()?;
    let rule = "[exec]\n\"${cwd}/t\" = { args = [\"x\"], why = \"only x\", id = \"t-with-x\" }\n";
    let case = Case::new(rule);
    case.put("t", &guest_static("echoargs")?);
    let flags = [
        "run",
        "-v",
        "--discard",
        "--policy",
        "p.toml",
        "--report",
        "r",
        "--",
        "./t",
        "y",
    ];
    let ran = case.sbox(&flags);
    assert_eq!(ran.code(), Some(126), "{}", ran.all());
    let said = ran.stderr_text();
    for part in [
        "t-with-x",
        "(p.toml:4)",
        "why: only x",
        "to execute",
        "[exec] ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let report = fs::read_to_string(case.0.path().join("r")).expect("report");
    assert!(
        report.contains("t-with-x") && report.contains("\"denied\""),
        "{report}"
    );
    // What is said to allow it does.
    let advice = said.split("would allow it: ").nth(1).expect("advice");
    let advice = advice
        .lines()
        .next()
        .expect("a line")
        .replacen("] ", "]\n", 1);
    case.write("p.toml", &format!("{advice}\n"));
    assert_eq!(case.run(&[], &["./t", "y"]).code(), Some(0), "{advice}");
    Ok(())
}

fn an_audit_and_a_shadow_tell() -> Test {
    need_sbox()?;
    let case = Case::new("[exec]\n\"${cwd}/{t,s}\" = { args = [\"x\"] }\n");
    case.write("open.toml", "");
    case.put("t", &guest_static("echoargs")?);
    case.script("s", "#!/bin/sh\nexit 0\n");
    for (flags, event) in [
        (&["--policy", "p.toml", "--mode", "audit"][..], "would-deny"),
        (
            &["--policy", "open.toml", "--shadow", "p.toml"],
            "shadow-denies",
        ),
    ] {
        for (program, told) in [
            (&["./t", "x"][..], false),
            (&["./t", "y"], true),
            (&["./s", "x"], false),
            (&["./s"], true),
        ] {
            let run = [
                &["run", "-q", "--discard", "--report", "r"],
                flags,
                &["--"],
                program,
            ];
            let ran = case.sbox(&run.concat());
            assert_eq!(ran.code(), Some(0), "{program:?}: {}", ran.all());
            let report = fs::read_to_string(case.0.path().join("r")).expect("report");
            let lines = report.lines().filter(|line| line.contains("execve"));
            let heard = lines.filter(|line| line.contains(event)).count();
            assert_eq!(heard, usize::from(told), "{event} {program:?}: {report}");
        }
    }
    // The other way round: a shadow that allows.
    let run = [
        "run",
        "-q",
        "--discard",
        "--report",
        "r",
        "--policy",
        "p.toml",
    ];
    let run = [&run[..], &["--shadow", "open.toml", "--", "./t", "y"]].concat();
    assert_eq!(case.sbox(&run).code(), Some(126));
    let report = fs::read_to_string(case.0.path().join("r")).expect("report");
    assert!(report.contains("shadow-allows"), "{report}");
    Ok(())
}

fn broken_lists_are_told() -> Test {
    let case = Case::new("");
    for (value, why) in [
        ("{ args = \"x\" }", "wants a list"),
        ("{ args = [1] }", "a text in quotes"),
        ("{ args = [[\"a\"], \"b\"] }", "wants a list"),
        ("{ args = [[[\"a\"]]] }", "a text in quotes"),
        ("{ args = [\"...\", \"a\"] }", "nothing can follow"),
        ("{ args = [\"\\u0000\"] }", "NUL"),
        ("{ args = [\"${nope}\"] }", "not defined"),
        ("{ args = [], do = \"deny\" }", "'do'"),
        ("{ args = [], wy = \"x\" }", "'wy'"),
        ("{ args = [], why = 1 }", "'why'"),
        ("{ args = [], log = 1 }", "'log'"),
    ] {
        case.write("p.toml", &format!("[exec]\n\"/usr/bin/x\" = {value}\n"));
        let checked = case.sbox(&["policy", "check", "p.toml"]);
        let said = checked.stderr_text();
        assert_eq!(checked.code(), Some(2), "{value}: {said}");
        assert!(
            said.contains(why) && said.contains("p.toml:4:"),
            "{value}: {said}"
        );
    }
    Ok(())
}

/// `show --flat` gives a policy that says the same, `diff` and `check` see what differs, examples are checked.
fn what_is_said_of_arguments_is_shown() -> Test {
    let case = Case::new(
        "[exec]\n\"/usr/bin/x\" = { args = [\"a\"] }\n\"/usr/*/x\" = { args = [\"...\"] }\n[examples]\n\"exec /usr/bin/x a\" = \"allow\"\n\"exec /usr/bin/x\" = \"deny\"\n",
    );
    let flat = case.sbox(&["policy", "show", "--flat", "p.toml"]);
    assert_eq!(flat.code(), Some(0), "{}", flat.all());
    fs::write(case.0.path().join("flat.toml"), flat.stdout_text()).expect("write");
    assert!(
        flat.stdout_text().contains("args = [\"a\"]"),
        "{}",
        flat.all()
    );
    let same = case.sbox(&["policy", "diff", "p.toml", "flat.toml"]);
    assert_eq!(same.code(), Some(0), "{}", same.all());
    case.write(
        "q.toml",
        "[exec]\n\"/usr/bin/x\" = { args = [\"b\"] }\n\"/usr/*/x\" = { args = [\"...\"] }\n",
    );
    let other = case.sbox(&["policy", "diff", "p.toml", "q.toml"]);
    assert_eq!(other.code(), Some(1), "{}", other.all());
    assert!(
        other.stdout_text().contains("started otherwise"),
        "{}",
        other.all()
    );
    case.write("q.toml", "[exec]\n\"/usr/bin/x\" = { args = [\"a\"] }\n[examples]\n\"exec /usr/bin/x b\" = \"allow\"\n");
    let wrong = case.sbox(&["policy", "check", "q.toml"]);
    assert_eq!(wrong.code(), Some(2), "{}", wrong.all());
    // A ceiling's list holds as well.
    let within = ["policy", "explain", "--within", "q2.toml", "p.toml"];
    case.write("q2.toml", "[exec]\n\"/usr/bin/x\" = { args = [\"b\"] }\n");
    let said = case.sbox(&[&within[..], &["exec /usr/bin/x a"]].concat());
    assert!(
        said.stdout_text().contains("deny: other arguments"),
        "{}",
        said.all()
    );
    Ok(())
}

/// Under a switch is allowed what both allow: the policy that holds, and the one that it switches to. Other starts leave it.
fn a_switch_only_takes_away() -> Test {
    let case = Case::new(
        "[files]\n\"/a/**\" = \"rw\"\n\"/a/k\" = \"hide\"\n\"/b/**\" = \"r\"\n[exec]\n\"/usr/bin/one\" = { policy = \"sub/one.toml\", args = [\"go\"] }\n\"/usr/bin/two\" = { policy = \"two.toml\" }\n",
    );
    fs::create_dir(case.0.path().join("sub")).expect("mkdir");
    // Files are named relative to the one that names them; that it names itself is no harm.
    case.write(
        "sub/one.toml",
        "[files]\n\"/a/*\" = \"r\"\n\"/b/**\" = \"rw\"\n\"/c/**\" = \"rw\"\n[exec]\n\"/usr/bin/one\" = { policy = \"one.toml\" }\n[forbid]\nfiles = [\"/b/x\"]\n",
    );
    case.write(
        "two.toml",
        "[files]\n\"/a/*\" = \"w\"\n\"/b/**\" = \"hide\"\n",
    );
    let operations: Vec<String> = ["read", "write", "create", "delete", "meta", "stat"]
        .into_iter()
        .flat_map(|word| {
            let paths = [
                "/a/k",
                "/a/x",
                "/a/x/y",
                "/b/x",
                "/b/y",
                "/c/z",
                "/usr/bin/two",
            ];
            paths.map(|path| format!("{word} {path}"))
        })
        .collect();
    let asked: Vec<&str> = operations.iter().map(String::as_str).collect();
    let answers = |flags: &[&str]| -> Vec<bool> {
        let said = case.sbox(&[&["policy", "explain"], flags, &asked[..]].concat());
        assert_eq!(said.code(), Some(0), "{flags:?}: {}", said.all());
        let text = said.stdout_text();
        let is_answer = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let lines = text.lines().filter(is_answer);
        lines.map(|line| line == "  allow").collect()
    };
    let own = answers(&["p.toml"]);
    let one = answers(&["sub/one.toml"]);
    let two = answers(&["two.toml"]);
    assert_eq!(own.len(), operations.len());
    let both =
        |a: &[bool], b: &[bool]| -> Vec<bool> { a.iter().zip(b).map(|(a, b)| *a && *b).collect() };
    let after_one = both(&own, &one);
    assert!(after_one != own && after_one != one && after_one.contains(&true));
    let first = ["--after", "/usr/bin/one go"];
    assert_eq!(answers(&[&first[..], &["p.toml"]].concat()), after_one);
    let other = [&first[..], &["--after", "/usr/bin/true", "p.toml"]].concat();
    assert_eq!(answers(&other), after_one, "what has no switch leaves it");
    let again = [&first[..], &first[..], &["p.toml"]].concat();
    assert_eq!(answers(&again), after_one, "it is its own ceiling");
    let then_two = [&first[..], &["--after", "/usr/bin/two", "p.toml"]].concat();
    assert_eq!(answers(&then_two), both(&after_one, &two));
    let ask = [
        "policy",
        "explain",
        "--after",
        "/usr/bin/one",
        "p.toml",
        "read /a",
    ];
    let refused = case.sbox(&ask);
    assert_eq!(refused.code(), Some(2), "{}", refused.all());
    let told = case.sbox(&["policy", "explain", "p.toml", "exec /usr/bin/one go"]);
    let said = told.stdout_text();
    assert!(said.contains("within sub/one.toml"), "{}", told.all());
    Ok(())
}

/// What is wrong with a policy that another switches to is told before anything runs, as is what no run does yet.
fn switches_are_checked() -> Test {
    let case = Case::new("[exec]\n\"/usr/bin/one\" = { policy = \"one.toml\" }\n");
    let check = |status: i32, why: &str| {
        let checked = case.sbox(&["policy", "check", "p.toml"]);
        assert_eq!(checked.code(), Some(status), "{why}: {}", checked.all());
        assert!(checked.all().contains(why), "{why}: {}", checked.all());
    };
    check(2, "one.toml: ");
    case.write("one.toml", "[files]\n\"/a\" = \"what\"\n");
    check(2, "one.toml:4:");
    case.write(
        "one.toml",
        "[exec]\n\"/usr/bin/two\" = { policy = \"two.toml\" }\n",
    );
    check(2, "two.toml: ");
    case.write("two.toml", "[examples]\n\"read /nowhere\" = \"allow\"\n");
    check(2, "two.toml:4:");
    case.write("two.toml", "[syscalls]\n\"getuid\" = \"ask\"\n");
    check(3, "(two.toml:4)");
    let ran = case.run(&[], &["/bin/true"]);
    assert_eq!(ran.code(), Some(3), "{}", ran.all());
    assert!(ran.stderr_text().contains("two.toml:4"), "{}", ran.all());
    case.write("two.toml", "");
    check(0, "0 can't be enforced");
    case.write("p.toml", "[exec]\n\"/usr/bin/one\" = { policy = 1 }\n");
    check(2, "'policy'");
    Ok(())
}

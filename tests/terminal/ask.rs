//! Rules that have the user asked, with the answers typed.
//!
//! Long because each kind of question is played with each of its answers.

use crate::pty::Pty;
use crate::screens::Window;
use crate::support::{self, Named, Test, need_sbox, sbox, scratch};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Named> {
    crate::tests![
        once_is_once,
        a_long_path_stands_on_lines_of_its_own,
        this_run_is_all_of_it,
        always_is_written_down,
        always_writes_to_no_place_of_a_guests,
        any_other_key_is_no,
        what_was_typed_before_is_no_answer,
        programs_are_asked_about_too,
        several_bytes_at_once_are_no,
        nobody_to_ask_is_no,
        who_ends_waits_for_no_answer,
        nothing_comes_over_a_question,
        what_the_terminal_was_told_before_hides_nothing,
        a_terminal_shows_every_question_plainly,
        always_grants_what_was_asked_and_no_more,
        once_is_not_for_the_exec_after_one_that_failed,
        executing_alone_can_be_asked_about,
        calls_can_be_asked_about,
        a_group_is_asked_about_call_by_call,
        nobody_to_ask_about_a_call_is_no,
        defaults_and_the_network_are_asked_about,
        what_no_rule_is_about_is_asked_about,
    ]
}

const POLICY: &str = "# Mine.\nsbox = 1\nextends = \"std/cli\"\n\n[files]\n# Ask me.\n\"${cwd}/k/**\" = \"ask\" # really\n";

/// A directory with a policy that asks about `k`.
fn case() -> tempfile::TempDir {
    let dir = scratch();
    fs::create_dir(dir.path().join("k")).expect("mkdir");
    for name in ["a", "b"] {
        fs::write(dir.path().join("k").join(name), format!("text {name}\n")).expect("write");
    }
    fs::copy("/bin/true", dir.path().join("k/prog")).expect("copy");
    fs::write(dir.path().join("p.toml"), POLICY).expect("write");
    dir
}

/// In a window so wide that no path of the tests is broken into lines.
fn start(dir: &Path, script: &str) -> Pty {
    start_in_columns(400, dir, script)
}

fn start_in_columns(columns: usize, dir: &Path, script: &str) -> Pty {
    let line = format!(
        "stty cols {columns} && cd '{}' && XDG_STATE_HOME=$PWD/state exec '{}' run -q --discard --report r.json --policy p.toml -- /bin/sh -c '{script}'",
        dir.display(),
        sbox().display()
    );
    Pty::start(["/bin/sh", "-c", &line])
}

/// Waits for the question, and longer than what was typed ahead is let pass.
fn asked(pty: &mut Pty, what: &str) {
    pty.see(what);
    pty.see("any other key: no");
    std::thread::sleep(Duration::from_millis(300));
}

fn count(pty: &Pty, what: &str) -> usize {
    pty.text().matches(what).count()
}

fn report(dir: &Path) -> String {
    fs::read_to_string(dir.join("r.json")).expect("report")
}

fn once_is_once() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(dir.path(), "cat k/a; cat k/a; echo end=$?");
    asked(&mut pty, "openat wants to read ");
    assert!(pty.text().contains("/k/a (task "), "{}", pty.text());
    assert!(
        pty.text()
            .contains("rule: files.\"${cwd}/k/**\" = \"ask\" (p.toml:7)"),
        "{}",
        pty.text()
    );
    pty.send("o");
    asked(&mut pty, "openat wants to read ");
    pty.send("o");
    pty.see("end=0");
    // What is written just before a question may be shown after it.
    assert_eq!(count(&pty, "text a"), 2, "{}", pty.text());
    assert!(pty.end().success());
    assert_eq!(
        fs::read_to_string(dir.path().join("p.toml")).expect("policy"),
        POLICY
    );
    assert!(report(dir.path()).contains("\"denied\":0"));
    Ok(())
}

fn a_long_path_stands_on_lines_of_its_own() -> Test {
    need_sbox()?;
    let dir = case();
    let name = "n".repeat(100);
    fs::write(dir.path().join("k").join(&name), "text long\n").expect("write");
    let mut pty = start_in_columns(80, dir.path(), &format!("cat k/{name}"));
    asked(&mut pty, "openat wants to read (task ");
    let text = pty.text();
    let path: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("  | "))
        .collect();
    assert!(path.ends_with(&format!("/k/{name}")), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    pty.send("o");
    pty.see("text long");
    assert!(pty.end().success());
    Ok(())
}

fn this_run_is_all_of_it() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(
        dir.path(),
        "cat k/a; cat k/a; cat k/a; echo x >> k/a; cat k/b; echo end=$?",
    );
    asked(&mut pty, "to read ");
    pty.send("r");
    // Writing is another matter, and so is another file.
    asked(&mut pty, "to write");
    pty.send("r");
    asked(&mut pty, "/k/b (task ");
    pty.send("n");
    pty.see("end=1");
    assert!(pty.end().success());
    assert_eq!(count(&pty, "text a"), 3, "{}", pty.text());
    assert_eq!(count(&pty, "wants to"), 3, "{}", pty.text());
    assert_eq!(
        fs::read_to_string(dir.path().join("p.toml")).expect("policy"),
        POLICY
    );
    Ok(())
}

fn always_is_written_down() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(dir.path(), "cat k/a; cat k/a");
    asked(&mut pty, "to read ");
    pty.send("a");
    pty.see("p.toml allows it from now on");
    pty.see("text a");
    pty.see("text a");
    assert!(pty.end().success());
    let path = fs::canonicalize(dir.path()).expect("path").join("k/a");
    let wanted = format!("{POLICY}\"{}\" = \"r\"\n", path.display());
    assert_eq!(
        fs::read_to_string(dir.path().join("p.toml")).expect("policy"),
        wanted
    );
    let mut again = start(dir.path(), "cat k/a; cat k/b");
    asked(&mut again, "/k/b (task ");
    again.send("n");
    assert!(!again.end().success());
    assert_eq!(
        (count(&again, "wants to"), count(&again, "text a")),
        (1, 1),
        "{}",
        again.text()
    );
    Ok(())
}

/// The policy lies where the guest can write: what it puts into the way is neither read nor written.
fn always_writes_to_no_place_of_a_guests() -> Test {
    need_sbox()?;
    let outside = scratch();
    let other = outside.path().join("other.toml");
    let other = other.display();
    for way in [
        format!("ln -s {other} p.toml.new"),
        format!("ln -sf {other} p.toml"),
        format!("mv p.toml q; ln {other} p.toml || cp {other} p.toml"),
        "rm p.toml; mkfifo p.toml".to_owned(),
        "echo >> p.toml".to_owned(),
    ] {
        let dir = case();
        let bound = "\n[view.mounts]\n\"${cwd}\" = { bind = \"${cwd}\" }\n";
        fs::write(dir.path().join("p.toml"), format!("{POLICY}{bound}")).expect("write");
        fs::write(outside.path().join("other.toml"), "sbox = 1\n").expect("write");
        let mut pty = start(dir.path(), &format!("{way}; cat k/a; echo end"));
        asked(&mut pty, "to read ");
        pty.send("a");
        pty.see("text a");
        pty.see("end");
        assert!(pty.end().success());
        let now = fs::read_to_string(outside.path().join("other.toml")).expect("read");
        assert_eq!(now, "sbox = 1\n", "{way}: {}", pty.text());
        assert!(
            way.ends_with("new") || pty.text().contains("allowed for this run only: p.toml"),
            "{way}: {}",
            pty.text()
        );
    }
    Ok(())
}

fn any_other_key_is_no() -> Test {
    need_sbox()?;
    for key in ["n", "\r", "\u{3}", "\u{1b}", "O"] {
        let dir = case();
        let mut pty = start(dir.path(), "cat k/a; cat k/a; echo end=$?");
        asked(&mut pty, "to read ");
        pty.send(key);
        pty.see("end=1");
        // Refused once is refused for this run.
        assert_eq!(count(&pty, "wants to"), 1, "{}", pty.text());
        assert_eq!(count(&pty, "Permission denied"), 2, "{}", pty.text());
        assert!(pty.end().success());
        assert!(report(dir.path()).contains("\"denied\":2"));
    }
    Ok(())
}

fn what_was_typed_before_is_no_answer() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(
        dir.path(),
        "echo ready; read line; cat k/a; read line; echo got=$line",
    );
    pty.see("ready");
    pty.send("\n");
    // A key on its way when the question comes is no answer to it.
    pty.see("any other key: no");
    pty.send("a");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(&pty, "text a"), 0, "{}", pty.text());
    pty.send("o");
    pty.see("text a");
    pty.send("fter\n");
    pty.see("got=after");
    assert!(pty.end().success());
    assert_eq!(
        fs::read_to_string(dir.path().join("p.toml")).expect("policy"),
        POLICY
    );
    Ok(())
}

fn programs_are_asked_about_too() -> Test {
    need_sbox()?;
    let dir = case();
    // Told at the end: what is written just before a question may be shown after it.
    let mut pty = start(dir.path(), "k/prog; first=$?; k/prog; echo ends=$first,$?");
    asked(&mut pty, "execve wants to execute ");
    pty.send("o");
    asked(&mut pty, "execve wants to execute ");
    pty.send("n");
    pty.see("ends=0,126");
    assert!(pty.end().success());
    Ok(())
}

/// What a terminal sends by itself, asked by what the guest has written, begins as it was set up to begin.
fn several_bytes_at_once_are_no() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(dir.path(), "cat k/a; echo end=$?");
    asked(&mut pty, "openat wants to read ");
    pty.send("ooo");
    pty.see("end=1");
    assert_eq!(count(&pty, "text a"), 0, "{}", pty.text());
    assert!(pty.end().success());
    Ok(())
}

fn nobody_to_ask_is_no() -> Test {
    need_sbox()?;
    let dir = case();
    let mut command = Command::new(sbox());
    command.args([
        "run", "-q", "--report", "r.json", "--policy", "p.toml", "--", "/bin/cat", "k/a", "p.toml",
    ]);
    command
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"));
    let output = support::job::run(command, b"aaa\n", Duration::from_secs(60));
    assert_eq!(
        (output.code(), output.stdout_text().as_str()),
        (Some(1), POLICY),
        "{}",
        output.all()
    );
    assert!(
        output.stderr_text().contains("not asked: 1 times"),
        "{}",
        output.all()
    );
    assert!(
        report(dir.path()).contains("\"unasked\":1"),
        "{}",
        report(dir.path())
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("p.toml")).expect("policy"),
        POLICY
    );
    Ok(())
}

fn who_ends_waits_for_no_answer() -> Test {
    use nix::sys::signal::Signal;
    need_sbox()?;
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let dir = case();
        let mut pty = start(dir.path(), "exec cat k/a");
        asked(&mut pty, "openat wants to read ");
        crate::lives::signal(pty.pid(), signal);
        assert_eq!(pty.end().signal(), Some(signal as i32), "{}", pty.text());
        assert_eq!(count(&pty, "text a"), 0, "{}", pty.text());
    }
    Ok(())
}

/// What was read of the guests' output comes before the question, the rest after the answer.
fn nothing_comes_over_a_question() -> Test {
    need_sbox()?;
    for _ in 0..3 {
        let dir = case();
        let mut pty = start(
            dir.path(),
            "for i in 1 2 3; do yes FLOOD & all=\"$all $!\"; done; sleep 0.3; cat k/a; kill $all; wait; echo; echo all=over",
        );
        asked(&mut pty, "openat wants to read ");
        let text = pty.text();
        let (_, behind) = text.rsplit_once("any other key: no").expect("the question");
        assert_eq!(behind.trim(), "", "{} bytes came over it", behind.len());
        pty.send("o");
        pty.see("text a");
        pty.see("all=over");
        assert!(pty.end().success());
    }
    Ok(())
}

/// Sequences end, attributes are as at first, and it stands at the bottom.
fn what_the_terminal_was_told_before_hides_nothing() -> Test {
    need_sbox()?;
    let dir = case();
    let line = format!(
        "cd '{}' && XDG_STATE_HOME=$PWD/state TERM=xterm exec '{}' run -q --discard --policy p.toml -- /bin/sh -c 'printf \"before\\033]0;\"; cat k/a'",
        dir.path().display(),
        sbox().display()
    );
    let mut pty = Pty::start(["/bin/sh", "-c", &line]);
    asked(&mut pty, "openat wants to read ");
    let text = pty.text();
    let (_, rest) = text
        .split_once("before\u{1b}]0;")
        .expect("what was written");
    let (afresh, _) = rest.split_once("sbox: openat").expect("the question");
    assert!(afresh.starts_with("\u{18}\u{1b}\\"), "{afresh:?}");
    for sequence in ["\u{1b}[m", "\u{1b}[r", "\u{1b}[?25h", "\u{1b}]110\u{1b}\\"] {
        assert!(afresh.contains(sequence), "{sequence:?} in {afresh:?}");
    }
    assert!(afresh.ends_with("\u{1b}[999;1H\r\n"), "{afresh:?}");
    pty.send("n");
    assert!(!pty.end().success());
    Ok(())
}

/// tmux(1) is the terminal.
fn a_terminal_shows_every_question_plainly() -> Test {
    need_sbox()?;
    for way in [
        "\\033[8m",
        "\\033[30;40m",
        "\\033]0;a title",
        "\\033Pq",
        "\\033(0",
        "\\033[1;2r\\033[H",
        "\\033[?6h\\033[5;6r",
        "\\033[?7l\\033[1;75H",
        "\\033[4h",
        "\\033[3",
    ] {
        let dir = case();
        let script = dir.path().join("w.sh");
        let text = format!("printf \"may I read README? \\r\\n{way}\"; cat k/a");
        fs::write(&script, text).expect("write");
        let line = format!(
            "cd '{0}' && XDG_STATE_HOME={0}/state exec '{1}' run -q --discard --policy p.toml -- /bin/sh w.sh",
            dir.path().display(),
            sbox().display()
        );
        let window = Window::open(&["/bin/sh".into(), "-c".into(), line])?;
        window.see("any other key: no");
        let screen = window.tmux(&["capture-pane", "-p", "-e"]);
        let lines: Vec<&str> = screen.trim_end().lines().collect();
        let begin = lines
            .iter()
            .rposition(|l| l.starts_with("sbox: openat wants to read "));
        let question = &lines[begin.unwrap_or_else(|| panic!("{way}:\n{screen}"))..];
        assert!(
            question
                .last()
                .is_some_and(|l| l.ends_with("any other key: no")),
            "{way}:\n{screen}"
        );
        // Not a single attribute.
        assert!(!question.concat().contains('\u{1b}'), "{way}:\n{screen:?}");
    }
    Ok(())
}

/// Who may write for ever may not read for that.
fn always_grants_what_was_asked_and_no_more() -> Test {
    need_sbox()?;
    let dir = case();
    let mut pty = start(dir.path(), "echo x >> k/a; cat k/a; echo end=$?");
    asked(&mut pty, "to write");
    pty.send("a");
    asked(&mut pty, "to read ");
    pty.send("n");
    pty.see("end=1");
    assert!(pty.end().success());
    let now = fs::read_to_string(dir.path().join("p.toml")).expect("policy");
    assert!(now.ends_with("/k/a\" = \"w\"\n"), "{now}");
    // The same rule again: writing is no question any more, and reading is refused.
    let mut again = start(
        dir.path(),
        "echo x >> k/a; echo wrote=$?; cat k/a; echo read=$?",
    );
    again.see("wrote=0");
    again.see("read=1");
    assert!(again.end().success());
    assert_eq!(count(&again, "wants to"), 0, "{}", again.text());
    Ok(())
}

fn once_is_not_for_the_exec_after_one_that_failed() -> Test {
    need_sbox()?;
    let dir = case();
    fs::write(dir.path().join("k/none"), "\u{1}\u{2}\u{3}\u{4}").expect("write");
    let none = dir.path().join("k/none");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(none, mode).expect("chmod");
    // The same process, two times.
    let python = support::need(&["/usr/bin/python3"])?;
    let script = format!(
        "exec {python} -c \"
import os
for _ in range(2):
    try: os.execv(\\\"k/none\\\", [\\\"none\\\"])
    except OSError as e: print(e.strerror, flush=True)
\""
    );
    let mut pty = start(dir.path(), &script);
    asked(&mut pty, "execve wants to execute ");
    pty.send("o");
    pty.see("Exec format error");
    asked(&mut pty, "execve wants to execute ");
    pty.send("n");
    pty.see("Permission denied");
    assert!(pty.end().success());
    Ok(())
}

/// A policy with other rules than about `k`.
fn ruled(rules: &str) -> tempfile::TempDir {
    let dir = case();
    let text = format!("sbox = 1\nextends = \"std/cli\"\n{rules}");
    fs::write(dir.path().join("p.toml"), text).expect("write");
    dir
}

fn policy(dir: &Path) -> String {
    fs::read_to_string(dir.join("p.toml")).expect("policy")
}

/// Reading the program is no question; its own rule becomes "allow", and another program gets one of its own.
fn executing_alone_can_be_asked_about() -> Test {
    need_sbox()?;
    for (rule, becomes) in [
        (
            "\"${cwd}/k/prog\" = \"ask\" # mine\n",
            "[exec]\n\"${cwd}/k/prog\" = \"allow\" # mine\n",
        ),
        (
            "\"${cwd}/k/*\" = \"ask\"\n",
            "[exec]\n\"${cwd}/k/*\" = \"ask\"\n\"D/k/prog\" = \"allow\"\n",
        ),
    ] {
        let dir = ruled(&format!("[exec]\n{rule}"));
        let mut pty = start(
            dir.path(),
            "cat k/a; k/prog; one=$?; k/prog; echo ends=$one,$?",
        );
        asked(&mut pty, "execve wants to execute ");
        pty.send("o");
        asked(&mut pty, "execve wants to execute ");
        pty.send("a");
        pty.see("ends=0,0");
        assert!(pty.end().success());
        assert_eq!(
            (count(&pty, "wants to"), count(&pty, "text a")),
            (2, 1),
            "{}",
            pty.text()
        );
        let path = fs::canonicalize(dir.path()).expect("path");
        let becomes = becomes.replace('D', &path.display().to_string());
        assert!(
            policy(dir.path()).ends_with(&becomes),
            "{}",
            policy(dir.path())
        );
        let mut again = start(dir.path(), "k/prog; echo ends=$?");
        again.see("ends=0");
        assert!(again.end().success());
        assert_eq!(count(&again, "wants to"), 0, "{}", again.text());
    }
    let dir = ruled("[exec]\n\"${cwd}/k/*\" = \"ask\"\n");
    let mut pty = start(dir.path(), "k/prog; one=$?; k/prog; echo ends=$one,$?");
    asked(&mut pty, "execve wants to execute ");
    pty.send("n");
    pty.see("ends=126,126");
    assert!(pty.end().success());
    Ok(())
}

/// Makes some sockets and tells what came of each.
const SOCKETS: &str = "import socket\nfor family in (socket.AF_UNIX, socket.AF_UNIX, socket.AF_INET):\n    try: socket.socket(family); print('made', flush=True)\n    except OSError as e: print(e.strerror, flush=True)\n";

fn calls_can_be_asked_about() -> Test {
    need_sbox()?;
    let python = support::need(&["/usr/bin/python3"])?;
    let rule =
        "[syscalls]\n# Ask me.\n\"socket(family == AF_UNIX)\" = { do = \"ask\", why = \"w\" }\n";
    for (keys, made) in [("oo", 2), ("on", 1), ("r", 2), ("a", 2), ("n", 0)] {
        let dir = ruled(rule);
        fs::write(dir.path().join("s.py"), SOCKETS).expect("write");
        let mut pty = start(dir.path(), &format!("{python} s.py; echo end"));
        for key in keys.chars() {
            asked(&mut pty, "family: AF_UNIX");
            pty.send(key.to_string());
        }
        pty.see("end");
        assert!(pty.end().success());
        let text = pty.text();
        assert!(text.contains("is to be called (task "), "{text}");
        assert_eq!(count(&pty, "is to be called"), keys.len(), "{text}");
        assert_eq!(count(&pty, "made"), made, "{keys}: {text}");
        assert_eq!(
            count(&pty, "Operation not permitted"),
            2 - made,
            "{keys}: {text}"
        );
        // What the condition doesn't concern is as without it.
        assert_eq!(count(&pty, "Permission denied"), 1, "{text}");
        let denied = format!("\"denied\":{}", 2 - made);
        assert!(
            report(dir.path()).contains(&denied),
            "{}",
            report(dir.path())
        );
        let is = "[syscalls]\n# Ask me.\n\"socket(family == AF_UNIX)\" = \"allow\"\n";
        let wanted = if keys == "a" { is } else { rule };
        assert!(
            policy(dir.path()).ends_with(wanted),
            "{}",
            policy(dir.path())
        );
    }
    Ok(())
}

fn a_group_is_asked_about_call_by_call() -> Test {
    need_sbox()?;
    let rule = "[syscalls]\nsched_yield = \"ask\"\nsocket = \"ask\"\n";
    let python = support::need(&["/usr/bin/python3"])?;
    let dir = ruled(rule);
    fs::write(
        dir.path().join("s.py"),
        "import ctypes, socket, threading\n\
         libc = ctypes.CDLL(None)\n\
         def info(): print('info', libc.sched_yield(), flush=True)\n\
         all = [threading.Thread(target=info) for _ in range(2)]\n\
         [one.start() for one in all]; [one.join() for one in all]\n\
         try: socket.socket(socket.AF_UNIX); print('made', flush=True)\n\
         except OSError as e: print(e.strerror, flush=True)\n",
    )
    .expect("write");
    let mut pty = start(dir.path(), &format!("{python} s.py; echo end"));
    // Two threads, each its own question: once is one call.
    asked(&mut pty, "sched_yield(");
    pty.send("o");
    asked(&mut pty, "sched_yield(");
    pty.send("n");
    asked(&mut pty, "family: AF_UNIX");
    pty.send("a");
    pty.see("made");
    pty.see("end");
    assert!(pty.end().success());
    assert_eq!(
        (count(&pty, "info 0"), count(&pty, "info -1")),
        (1, 1),
        "{}",
        pty.text()
    );
    assert!(
        policy(dir.path()).ends_with("sched_yield = \"ask\"\nsocket = \"allow\"\n"),
        "{}",
        policy(dir.path())
    );
    Ok(())
}

fn nobody_to_ask_about_a_call_is_no() -> Test {
    need_sbox()?;
    let dir = ruled("[syscalls]\nsethostname = \"deny\"\nsched_yield = \"ask\"\n");
    let python = support::need(&["/usr/bin/python3"])?;
    let script = "import ctypes; print(ctypes.CDLL(None).sched_yield())";
    let mut command = Command::new(sbox());
    command.args([
        "run",
        "-q",
        "--discard",
        "--report",
        "r.json",
        "--policy",
        "p.toml",
        "--",
        &python,
        "-c",
        script,
    ]);
    command
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"));
    let output = support::job::run(command, b"", Duration::from_secs(60));
    assert_eq!(output.stdout_text(), "-1\n", "{}", output.all());
    assert!(
        output.stderr_text().contains("not asked: 1 times"),
        "{}",
        output.all()
    );
    assert!(report(dir.path()).contains("\"unasked\":1"));
    Ok(())
}

/// The network, and what no rule is about: "always" is written where it is read.
fn defaults_and_the_network_are_asked_about() -> Test {
    need_sbox()?;
    let python = support::need(&["/usr/bin/python3"])?;
    let allowed = "[net]\n# Ask me.\ninet = \"allow\"\n";
    let by_default = "[default]\nnet = \"ask\"\n\n[net]\ninet = \"allow\"\n";
    for (rule, keys, made, wanted) in [
        ("[net]\n# Ask me.\ninet = \"ask\"\n", "o", 3, None),
        ("[net]\n# Ask me.\ninet = \"ask\"\n", "n", 2, None),
        ("[net]\n# Ask me.\ninet = \"ask\"\n", "a", 3, Some(allowed)),
        ("[default]\nnet = \"ask\"\n", "a", 3, Some(by_default)),
    ] {
        let dir = ruled(rule);
        fs::write(dir.path().join("s.py"), SOCKETS).expect("write");
        let mut pty = start(dir.path(), &format!("{python} s.py; echo end"));
        asked(&mut pty, "family: AF_INET,");
        pty.send(keys);
        pty.see("end");
        assert!(pty.end().success());
        assert_eq!(count(&pty, "made"), made, "{rule}{keys}: {}", pty.text());
        let text = policy(dir.path());
        assert!(text.ends_with(wanted.unwrap_or(rule)), "{text}");
    }
    Ok(())
}

fn what_no_rule_is_about_is_asked_about() -> Test {
    need_sbox()?;
    let dir = ruled("[default]\nfiles = \"ask\"\n");
    let script = "echo /var/lib/dpkg/stat?s; read line </var/lib/dpkg/status; echo end=$?";
    let mut pty = start(dir.path(), script);
    asked(&mut pty, "wants to list /var/lib/dpkg");
    pty.send("o");
    asked(&mut pty, "wants to read /var/lib/dpkg/status");
    pty.send("a");
    pty.see("end=0");
    assert!(pty.end().success());
    assert_eq!(count(&pty, "/var/lib/dpkg/status\r\n"), 1, "{}", pty.text());
    let text = policy(dir.path());
    assert!(
        text.contains("\"/var/lib/dpkg/status\" = \"r\"\n"),
        "{text}"
    );
    Ok(())
}

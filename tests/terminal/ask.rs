//! Rules that have the user asked, with the answers typed.

use crate::pty::Pty;
use crate::support::{self, Named, Test, need_sbox, sbox, scratch};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Named> {
    crate::tests![
        once_is_once,
        this_run_is_all_of_it,
        always_is_written_down,
        always_writes_to_no_place_of_a_guests,
        any_other_key_is_no,
        what_was_typed_before_is_no_answer,
        programs_are_asked_about_too,
        several_bytes_at_once_are_no,
        nobody_to_ask_is_no,
        who_ends_waits_for_no_answer,
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

fn start(dir: &Path, script: &str) -> Pty {
    let line = format!(
        "cd '{}' && XDG_STATE_HOME=$PWD/state exec '{}' run -q --discard --report r.json --policy p.toml -- /bin/sh -c '{script}'",
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

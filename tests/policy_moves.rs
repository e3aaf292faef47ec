//! Rules are about names, and names change: directories that are moved while a program uses them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use support::{Test, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        what_is_held_loses_its_rights,
        what_somebody_else_moves_does_too,
        no_race_leads_to_what_is_hidden,
    ])
}

/// `ruled_moves` with these arguments, in `top`, where these rules hold; natively without.
fn command(guest: &Path, dir: &Path, how: Option<(&str, &str)>, args: &[&str]) -> Command {
    let top = dir.join("top");
    let Some((mount, rules)) = how else {
        let mut native = Command::new(guest);
        native.args(args).current_dir(top);
        return native;
    };
    let t = top.to_str().expect("scratch directories have plain names");
    let place = guest.parent().and_then(Path::to_str).expect("plain");
    let source = if mount == "tmpfs" { "" } else { t };
    let policy = format!(
        "sbox = 1\n[view.mounts]\n\"{t}\" = {{ {mount} = \"{source}\" }}\n[files]\n\"{place}/**\" = \"rx\"\n\"/proc/**\" = \"rx\"\n{}",
        rules.replace('T', t)
    );
    fs::write(dir.join("p.toml"), policy).expect("write");
    let mut boxed = Command::new(support::sbox());
    boxed.args(["run", "-q", "--discard", "--policy"]);
    boxed
        .arg(dir.join("p.toml"))
        .arg("--")
        .arg(guest)
        .args(args);
    boxed
        .current_dir(top)
        .env("XDG_STATE_HOME", dir.join("state"));
    boxed
}

fn directories(of: &[&str], files: &[&str]) -> tempfile::TempDir {
    let dir = scratch();
    for name in of {
        fs::create_dir_all(dir.path().join("top").join(name)).expect("mkdir");
    }
    for name in files {
        fs::write(dir.path().join("top").join(name), "secret").expect("write");
    }
    dir
}

fn held() -> tempfile::TempDir {
    directories(&["free/deep", "locked"], &["free/f", "free/deep/f"])
}

const MOVED: &str = "\"T/**\" = \"rw\"\n\"T/locked/**\" = \"rcd\"\n";

/// What leads to a change, before and after: all, and then only `kept`.
fn assert_lost(said: &str, kept: &[&str]) {
    let done = |when: &str| -> Vec<&str> {
        let lines = said.lines().filter_map(|l| l.strip_prefix(when));
        lines.filter_map(|l| l.strip_suffix(": done")).collect()
    };
    assert_eq!(done("before ").len(), 13, "{said}");
    assert_eq!(said.matches("after ").count(), 13, "{said}");
    assert_eq!(done("after "), kept, "{said}");
}

fn what_is_held_loses_its_rights() -> Test {
    let guest = guest_static("ruled_moves")?;
    need_sbox()?;
    for mount in [None, Some("bind"), Some("cow"), Some("tmpfs")] {
        // A directory of the host's can't be renamed in a copy-on-write one, but one that was made there can.
        let (dir, args): (_, &[&str]) = match mount {
            Some("cow" | "tmpfs") => (directories(&["other"], &[]), &["held", "made"]),
            _ => (held(), &["held"]),
        };
        let how = mount.map(|mount| (mount, MOVED));
        let output = support::job::run(
            command(&guest, dir.path(), how, args),
            b"",
            Duration::from_secs(30),
        );
        let said = output.stdout_text();
        match mount {
            None => assert_eq!(said.matches(": done").count(), 26, "{}", output.all()),
            Some(mount) => assert_lost(
                &format!("{said}# {mount}: {}", output.stderr_text()),
                &["unlink", "link"],
            ),
        }
    }
    Ok(())
}

fn what_somebody_else_moves_does_too() -> Test {
    let guest = guest_static("ruled_moves")?;
    need_sbox()?;
    let dir = held();
    let mut command = command(&guest, dir.path(), Some(("bind", MOVED)), &["held", "wait"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sbox");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.ends_with("move\n") {
        assert!(output.read_line(&mut said).expect("text") > 0, "{said}");
    }
    let top = dir.path().join("top");
    fs::rename(top.join("free"), top.join("locked/free")).expect("rename");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"\n").expect("go on");
    output.read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("status").success());
    assert_lost(&said, &["unlink", "link"]);
    Ok(())
}

/// The way up from a directory leads to where it is now, or was; never to both at once.
fn no_race_leads_to_what_is_hidden() -> Test {
    let guest = guest_static("ruled_moves")?;
    need_sbox()?;
    let rules = "\"T/**\" = \"rw\"\n\"T/y/secret\" = \"hide\"\n";
    for (how, found) in [
        (None, "yes"),
        (Some(("bind", rules)), "no"),
        (
            Some(("bind", "\"T/**\" = \"rw\"\n\"**/secr[a-f]t\" = \"hide\"\n")),
            "no",
        ),
    ] {
        let dir = directories(&["x/d/e", "y"], &["y/secret"]);
        let output = support::job::run(
            command(&guest, dir.path(), how, &["race"]),
            b"",
            Duration::from_secs(60),
        );
        let said = output.stdout_text();
        assert!(
            said.contains(&format!("found: {found}\n")),
            "{}",
            output.all()
        );
    }
    Ok(())
}

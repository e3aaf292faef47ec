//! What `[view]` of a policy says beside its mounts: the machine's name, numbers of processes, another root.

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

use support::{Output, Test, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        who_the_machine_is_and_how_processes_count,
        another_root,
    ])
}

fn sbox_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(support::sbox());
    command.args(args).current_dir(dir);
    command.env("XDG_STATE_HOME", dir.join("state"));
    support::job::run(command, b"", Duration::from_secs(60))
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

/// A flag that is given wins over the policy, and the policy over what holds without either.
fn who_the_machine_is_and_how_processes_count() -> Test {
    need_sbox()?;
    let dir =
        policy("extends = \"std/cli\"\n[view]\nhostname = \"box.example\"\npids = \"host\"\n");
    let script = "uname -n; cat /etc/hostname; [ $$ -gt 2 ] && [ -d /proc/$PPID ] || echo own";
    let run = |flags: &[&str]| {
        let all = [
            &["run", "-q", "--policy", "p.toml"],
            flags,
            &["--", "sh", "-c", script],
        ]
        .concat();
        sbox_in(dir.path(), &all).stdout_text()
    };
    // Shells number themselves as the host does, and the supervisor is an outsider there.
    assert!(
        run(&[]).starts_with("box.example\nbox.example\n"),
        "{}",
        run(&[])
    );
    assert_eq!(
        run(&["--hostname", "sbox", "--pids", "virtual"]),
        "sbox\nsbox\nown\n"
    );
    assert_eq!(
        run(&["--pid-max", "400"]),
        "box.example\nbox.example\nown\n"
    );
    let number = |pids: &str| {
        let text = format!("sbox = 1\nextends = \"std/cli\"\n[view]\npids = \"{pids}\"\n");
        fs::write(dir.path().join("p.toml"), text).expect("write");
        let output = sbox_in(
            dir.path(),
            &[
                "run", "-q", "--policy", "p.toml", "--", "sh", "-c", "echo $$",
            ],
        );
        output
            .stdout_text()
            .trim()
            .parse::<i32>()
            .expect("a number")
    };
    assert_eq!(number("own"), 2);
    assert!(number("host") > 2);
    Ok(())
}

fn another_root() -> Test {
    need_sbox()?;
    let root = support::root::root_of(&["/bin/sh", "/bin/cat", "/bin/ls"])?;
    fs::write(root.path().join("etc-note"), "of the root\n").expect("write");
    let at = plain(root.path());
    let files = "[files]\n\"/**\" = \"rwx\"\n\"/etc-note\" = \"r\"\n\"/gone\" = \"hide\"\n";
    fs::write(root.path().join("gone"), "").expect("write");
    for (how, kept) in [("", false), (":ro", false), (":rw", true)] {
        let rights = if how == ":ro" {
            files.replace("rwx", "rx")
        } else {
            files.to_owned()
        };
        let dir = policy(&format!("[view]\nroot = \"{at}{how}\"\n{rights}"));
        let script =
            "cat /etc-note; ls /gone; echo new > /made && cat /made; echo > /etc-note; ls /home";
        let output = sbox_in(
            dir.path(),
            &[
                "run",
                "-q",
                "--discard",
                "--policy",
                "p.toml",
                "--",
                "/bin/sh",
                "-c",
                script,
            ],
        );
        let wanted = if how == ":ro" {
            "of the root\n"
        } else {
            "of the root\nnew\n"
        };
        assert_eq!(output.stdout_text(), wanted, "{how}: {}", output.all());
        assert_eq!(root.path().join("made").exists(), kept, "{how}");
        assert_eq!(
            fs::read_to_string(root.path().join("etc-note")).expect("note"),
            "of the root\n"
        );
        let flat = sbox_in(dir.path(), &["policy", "show", "--flat", "p.toml"]);
        assert!(flat.stdout_text().contains(at), "{}", flat.all());
    }
    // The flag and the policy both say what the root is.
    let dir = policy("extends = \"std/cli\"\n");
    let both = sbox_in(
        dir.path(),
        &["run", "--root", at, "--policy", "p.toml", "--", "/bin/true"],
    );
    assert_eq!(both.code(), Some(2), "{}", both.all());
    Ok(())
}

//! Help, manual and completions come from one definition, and the command line behaves as a good tool does.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn sbox(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbox"));
    command.args(args);
    command
}

fn output(args: &[&str]) -> Output {
    sbox(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = output(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}");
    assert!(output.stderr.is_empty(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All verbs that are shown.
fn verbs() -> Vec<String> {
    let command = sbox::cli::command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    verbs.map(|verb| verb.get_name().to_owned()).collect()
}

#[test]
fn short_help_is_one_screen_with_examples_first() {
    let help = stdout(&["-h"]);
    assert!(help.lines().count() <= 40, "{help}");
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
    let (examples, usage) = (
        help.find("Examples:").unwrap(),
        help.find("Usage:").unwrap(),
    );
    assert!(examples < usage, "{help}");
}

#[test]
fn long_help_has_the_examples_and_all_verbs() {
    let help = stdout(&["--help"]);
    assert!(help.contains("Examples:"), "{help}");
    for verb in verbs() {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
    }
}

/// In the help of sbox and of each verb: what it says to type is understood.
#[test]
fn every_example_parses() {
    let mut seen = 0;
    let mut pages = vec![stdout(&["-h"])];
    pages.extend(verbs().iter().map(|verb| stdout(&[verb, "-h"])));
    for page in pages {
        let Some((_, examples)) = page.split_once("Examples:\n") else {
            continue;
        };
        for line in examples
            .lines()
            .take_while(|line| line.starts_with("  sbox "))
        {
            let example = line.trim().split("  ").next().unwrap();
            let words = example
                .split(' ')
                .take_while(|word| !["|", ">", "&&"].contains(word));
            let parsed = sbox::cli::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{example}: {parsed:?}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} examples");
}

#[test]
fn a_mistyped_verb_gets_a_suggestion() {
    for (args, said) in [
        (
            &["docter"] as &[&str],
            "no verb 'docter'\n\n  hint: did you mean 'doctor'?",
        ),
        (
            &["man", "sycalls"],
            "no verb 'sycalls'\n\n  hint: did you mean 'syscalls'?",
        ),
        (
            &["\x1bdoctor"],
            "no verb '\\x1bdoctor'\n\n  hint: did you mean 'doctor'?",
        ),
    ] {
        let output = output(args);
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("sbox: {said}\n")
        );
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
    }
    let unlike = String::from_utf8(output(&["xyzzyplugh"]).stderr).unwrap();
    assert!(
        unlike.contains("hint:") && !unlike.contains("did you mean"),
        "{unlike}"
    );
}

#[test]
fn usage_errors_are_told_by_sbox_and_end_with_2() {
    for args in [
        &[] as &[&str],
        &["doctor", "--jsn"],
        &["completions", "tcsh"],
        &["man", "--al"],
    ] {
        let output = output(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("sbox: "), "{said}");
        assert!(
            !said.contains("error:") && !said.contains("  tip:"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

/// `sbox syscalls | head -1` is no failure, and a message that can't be written no panic.
#[test]
fn a_closed_pipe_is_quiet() {
    let closed = || Stdio::from(std::io::pipe().unwrap().1); // the reading end is dropped
    for args in [
        &["syscalls"] as &[&str],
        &["syscalls", "--json"],
        &["--help"],
        &["--version"],
        &["man"],
        &["completions", "bash"],
    ] {
        let output = sbox(args)
            .stdout(closed())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
    for args in [
        &["docter"] as &[&str],
        &["doctor", "--jsn"],
        &[],
        &["syscalls", "opennat"],
    ] {
        let status = sbox(args).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    for args in [&["syscalls"] as &[&str], &["man"], &["--help"]] {
        let output = sbox(args)
            .stdout(full())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("sbox: standard output: No space left"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(125), "{args:?}");
    }
}

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
    }
}

/// The pages in a directory, by file name.
fn pages(dir: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "1"))
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// The manual in docs is what the code prints; `BLESS=1 cargo test` rewrites it.
#[test]
fn the_manual_is_the_command_line() {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(
        stdout(&["man", "--all", fresh.path().to_str().unwrap()]),
        ""
    );
    let want = pages(fresh.path());
    assert_eq!(want.get("sbox.1"), Some(&stdout(&["man"])));
    for verb in verbs() {
        assert_eq!(
            want.get(&format!("sbox-{verb}.1")),
            Some(&stdout(&["man", &verb]))
        );
    }
    assert_eq!(want.len(), 1 + verbs().len());
    if std::env::var_os("BLESS").is_some() {
        for name in pages(docs).keys() {
            std::fs::remove_file(docs.join(name)).unwrap();
        }
        for (name, text) in &want {
            std::fs::write(docs.join(name), text).unwrap();
        }
    }
    let have = pages(docs);
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&have), names(&want), "BLESS=1 cargo test");
    for (name, text) in &want {
        assert!(
            have.get(name) == Some(text),
            "docs/{name} is old: BLESS=1 cargo test"
        );
    }
}

/// Where there is one: the formatter has nothing to complain about.
#[test]
fn pages_are_clean_troff() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("skipped: no groff");
        return;
    }
    for name in pages(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))).keys() {
        let page = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z", &page])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
}

//! The right `list`: names and what stat(2) tells of them, and nothing of what is in files.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Output, Test, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        names_are_listed_and_nothing_is_opened,
        what_is_denied_is_not_listed,
        what_may_be_read_may_be_listed,
        the_narrower_rule_shows_or_hides_below,
        a_file_in_a_directorys_place_is_not_read,
        programs_list,
        explain_and_diff_tell_listing_from_reading,
        a_refusal_says_which_right,
    ])
}

/// A tree, a guest in it, and a policy.
struct Case {
    dir: tempfile::TempDir,
    guest: PathBuf,
}

impl Case {
    /// `stands`: how the tree is shown.
    fn new(stands: &str, rules: &str) -> Result<Self, support::Skip> {
        need_sbox()?;
        let guest = guest_static("lists")?;
        let dir = scratch();
        let d = dir.path().join("t/d");
        fs::create_dir_all(d.join("sub")).expect("mkdir");
        fs::create_dir_all(dir.path().join("t/out")).expect("mkdir");
        fs::copy("/bin/true", d.join("f")).expect("copy");
        fs::write(d.join("hid"), "secret").expect("write");
        fs::write(d.join("sub/g"), "shown").expect("write");
        std::os::unix::fs::symlink("f", d.join("link")).expect("symlink");
        let case = Self { dir, guest };
        case.write("p.toml", stands, rules);
        Ok(case)
    }

    fn write(&self, name: &str, stands: &str, rules: &str) {
        let tree = self.dir.path().join("t").display().to_string();
        let guests = self.guest.parent().expect("parent").display().to_string();
        let mounts = match stands {
            "" => String::new(),
            kind => format!("[view.mounts]\n\"T\" = {{ {kind} = \"T\" }}\n"),
        };
        let text = format!(
            "sbox = 1\n{mounts}[files]\n\"{guests}/**\" = \"rx\"\n\"/{{bin,lib,lib64,usr}}/**\" = \"rx\"\n\"/proc/**\" = \"r\"\n\"T/out/**\" = \"rw\"\n{rules}\n"
        );
        fs::write(self.dir.path().join(name), text.replace('T', &tree)).expect("write");
    }

    fn d(&self) -> String {
        self.dir.path().join("t/d").display().to_string()
    }

    fn sbox(&self, args: &[&str]) -> Output {
        let mut command = Command::new(support::sbox());
        command.args(args).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.dir.path().join("state"));
        support::job::run(command, b"", Duration::from_secs(60))
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        let start = ["run", "-q", "--policy", "p.toml", "--discard"];
        self.sbox(&[&start[..], flags, &["--"], command].concat())
    }

    /// What the guest says of each way.
    fn said(&self) -> BTreeMap<String, String> {
        let guest = self.guest.to_str().expect("plain");
        let out = self.dir.path().join("t/out").display().to_string();
        let output = self.run(&[], &[guest, &self.d(), &out]);
        assert_eq!(output.code(), Some(0), "{}", output.all());
        let text = output.stdout_text();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(way, said)| (way.to_owned(), said.to_owned()))
            .collect()
    }
}

/// Ways to list, and what changes nothing and reads nothing.
const LISTS: [&str; 8] = [
    "open-dir",
    "openat2-dir",
    "again-dir",
    "dot-dir",
    "r-dir",
    "watch-dir",
    "here",
    "names",
];
const LOOKS: [&str; 7] = [
    "path-dir", "x-dir", "stat", "exists", "path", "readlink", "chdir",
];
/// Ways to what is in a file.
const READS: [&str; 7] = [
    "r",
    "open",
    "openat2",
    "again",
    "watch",
    "through-link",
    "f-here",
];
const CHANGES: [&str; 9] = [
    "write", "truncate", "chmod", "unlink", "rename", "link", "mkdir", "create", "nameless",
];

/// `granted`: these ways are open, and no others.
fn check(case: &Case, granted: &[&[&str]]) {
    let said = case.said();
    let open = granted.concat();
    for way in [&LISTS[..], &LOOKS, &READS, &["exec", "x"]].concat() {
        let wanted = if open.contains(&way) { "0" } else { "EACCES" };
        let own = said[way].split(' ').next().expect("a word");
        assert_eq!(own, wanted, "{way}");
    }
    for way in CHANGES {
        let refused = ["EROFS", "EACCES", "EXDEV"].contains(&&*said[way]);
        assert!(refused, "{way}: {}", said[way]);
    }
    assert_eq!(said["held-names"], "EBADF");
    assert_eq!(said["open-dir-file"], "ENOTDIR");
    assert_eq!(
        fs::read(format!("{}/hid", case.d())).expect("there"),
        b"secret"
    );
}

const STANDS: [&str; 3] = ["", "bind", "cow"];

fn names_are_listed_and_nothing_is_opened() -> Test {
    for stands in STANDS {
        let case = Case::new(stands, "\"T/d/**\" = \"list\"\n\"T/d/hid\" = \"hide\"")?;
        check(&case, &[&LISTS, &LOOKS]);
        assert_eq!(case.said()["names"], "0 f link sub", "{stands}");
    }
    // Together with a rule that is no narrower it says what both grant.
    let rules = "\"T/d/**\" = \"r\"\n\"T/d/*\" = \"list\"\n\"T/*/f\" = \"rwx\"";
    let case = Case::new("bind", rules)?;
    check(&case, &[&LISTS, &LOOKS]);
    Ok(())
}

fn what_is_denied_is_not_listed() -> Test {
    for stands in STANDS {
        let case = Case::new(stands, "\"T/d/**\" = \"deny\"")?;
        check(&case, &[&LOOKS]);
    }
    let case = Case::new("bind", "\"T/d/**\" = \"x\"")?;
    check(&case, &[&LOOKS, &["exec", "x"]]);
    Ok(())
}

fn what_may_be_read_may_be_listed() -> Test {
    for stands in STANDS {
        let case = Case::new(stands, "\"T/d/**\" = \"r\"")?;
        check(&case, &[&LISTS, &LOOKS, &READS]);
        assert_eq!(case.said()["names"], "0 f hid link sub", "{stands}");
    }
    Ok(())
}

fn the_narrower_rule_shows_or_hides_below() -> Test {
    let rules = "\"T/d\" = \"list\"\n\"T/d/sub/**\" = \"list\"\n\"T/d/sub/g\" = \"r\"";
    for stands in STANDS {
        let case = Case::new(stands, rules)?;
        // What no rule is about is hidden, as everywhere.
        assert_eq!(case.said()["names"], "0 sub", "{stands}");
        let d = case.d();
        let cat = case.run(&[], &["/bin/cat", &format!("{d}/sub/g")]);
        assert_eq!(cat.stdout_text(), "shown", "{}", cat.all());
    }
    Ok(())
}

fn a_file_in_a_directorys_place_is_not_read() -> Test {
    for stands in ["bind", "cow"] {
        let case = Case::new(stands, "\"T/d/**\" = \"list\"")?;
        let [file, dir] = ["hid", "sub"].map(|name| format!("{}/{name}", case.d()));
        let over = AtomicBool::new(false);
        let said = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    exchange(&file, &dir);
                }
            });
            let guest = case.guest.to_str().expect("plain");
            let said = case.run(&[], &[guest, "race", &dir]);
            over.store(true, Ordering::Relaxed);
            said
        });
        assert_eq!(
            said.stdout_text(),
            "race some 0\n",
            "{stands}: {}",
            said.all()
        );
    }
    Ok(())
}

/// renameat2(2), `RENAME_EXCHANGE`.
fn exchange(a: &str, b: &str) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).expect("exchange");
}

fn programs_list() -> Test {
    let case = Case::new("cow", "\"T/d/**\" = \"list\"")?;
    let d = case.d();
    let find = case.run(
        &[],
        &[
            "/usr/bin/find",
            &d,
            "-type",
            "f",
            "-size",
            "+0",
            "-printf",
            "%P\\n",
        ],
    );
    let text = find.stdout_text();
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["f", "hid", "sub/g"], "{}", find.all());
    let cat = case.run(&[], &["/bin/cat", &format!("{d}/hid")]);
    assert!(
        cat.stdout_text().is_empty() && cat.stderr_text().contains("Permission denied"),
        "{}",
        cat.all()
    );
    Ok(())
}

fn explain_and_diff_tell_listing_from_reading() -> Test {
    let case = Case::new("bind", "\"T/d/**\" = \"list\"")?;
    case.write("r.toml", "bind", "\"T/d/**\" = \"r\"");
    case.write("deny.toml", "bind", "\"T/d/**\" = \"deny\"");
    let d = case.d();
    let answer = |file: &str, word: &str| {
        let asked = format!("{word} {d}/f");
        let said = case.sbox(&["policy", "explain", file, &asked]);
        said.stdout_text()
            .lines()
            .nth(1)
            .expect("an answer")
            .trim()
            .to_owned()
    };
    let answers = |file: &str| ["stat", "list", "read"].map(|word| answer(file, word));
    assert_eq!(
        answers("p.toml"),
        ["allow", "allow", "deny: list is granted"]
    );
    assert_eq!(answers("r.toml"), ["allow", "allow", "allow"]);
    assert_eq!(
        answers("deny.toml"),
        ["allow", "deny EACCES", "deny EACCES"]
    );
    assert_eq!(case.sbox(&["policy", "check", "p.toml"]).code(), Some(0));
    for (from, to, word) in [
        ("p.toml", "r.toml", "newly allowed: "),
        ("r.toml", "p.toml", "newly denied: "),
        ("deny.toml", "p.toml", "newly allowed: "),
    ] {
        let diff = case.sbox(&["policy", "diff", from, to]);
        assert_eq!(diff.code(), Some(1));
        assert!(diff.stdout_text().starts_with(word), "{}", diff.all());
    }
    Ok(())
}

fn a_refusal_says_which_right() -> Test {
    let case = Case::new("bind", "\"T/d/**\" = \"deny\"")?;
    let ls = case.run(&["-v"], &["/bin/ls", &case.d()]);
    let told = ls.stderr_text();
    let (wanted, rule) = (
        format!("wanted: to list {} ", case.d()),
        format!("would allow it: [files] \"{}\" = \"list\"\n", case.d()),
    );
    assert!(told.contains(&wanted) && told.contains(&rule), "{told}");
    let allowed = Case::new("bind", "\"T/d/**\" = \"deny\"\n\"T/d\" = \"list\"")?;
    let ls = allowed.run(&[], &["/bin/ls", &allowed.d()]);
    assert_eq!(ls.stdout_text(), "f\nhid\nlink\nsub\n", "{}", ls.all());
    Ok(())
}

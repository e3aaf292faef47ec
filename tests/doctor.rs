//! `sbox doctor` says what is here: also when a filter above takes something away, as containers and old kernels do.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Output, Stdio};

use sbox::doctor::{Need, PROBES};
use sbox::supervisor::filter::EXEC_PRIVATE;
use sbox::sys::probe;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use serde_json::Value;

fn sbox(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sbox"))
        .args(args)
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

/// The report, and its exit status.
fn doctor() -> (Value, i32) {
    let output = sbox(&["doctor", "--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (
        serde_json::from_str(&text).unwrap(),
        output.status.code().unwrap(),
    )
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["probes"].as_array().unwrap();
    rows.iter()
        .find(|row| row["name"] == name)
        .unwrap_or_else(|| panic!("no row {name}"))
}

/// A call that a filter refuses, if its argument is so.
struct Refuse {
    call: i64,
    when: Option<(u8, SeccompCmpOp, u64)>,
    how: SeccompAction,
}

impl Refuse {
    fn all(call: i64, errno: i32) -> Self {
        let how = SeccompAction::Errno(errno as u32);
        Self {
            call,
            when: None,
            how,
        }
    }

    fn when(call: i64, arg: u8, op: SeccompCmpOp, value: u64, errno: i32) -> Self {
        Self {
            when: Some((arg, op, value)),
            ..Self::all(call, errno)
        }
    }

    /// Filters the calling thread and the processes that it starts.
    fn apply(self) {
        let rules = self.when.map(|(arg, op, value)| {
            let condition = SeccompCondition::new(arg, SeccompCmpArgLen::Qword, op, value).unwrap();
            SeccompRule::new(vec![condition]).unwrap()
        });
        let rules = BTreeMap::from([(self.call, rules.into_iter().collect())]);
        let arch = TargetArch::x86_64;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, self.how, arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    }
}

/// Runs below a filter, which lasts as long as the thread.
fn below<T: Send>(filter: impl FnOnce() + Send, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            filter();
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn json_names_every_probe_and_the_exit_status_follows() {
    let (report, status) = doctor();
    assert_eq!(report["version"], 1);
    assert_eq!(report["sbox"], env!("CARGO_PKG_VERSION"));
    let names: Vec<&str> = report["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let want: Vec<&str> = PROBES.iter().map(|probe| probe.name).collect();
    assert_eq!(names, want);
    for probe in PROBES {
        let row = row(&report, probe.name);
        assert!(["yes", "no", "untried"].contains(&row["state"].as_str().unwrap()));
        assert_eq!(row["state"] == "yes", row["reason"].is_null(), "{row}");
        for field in ["purpose", "lost", "remedy"] {
            assert_ne!(row[field], "", "{row}");
        }
    }
    assert_eq!(report["enforces"] == true, status == 0);
    assert_eq!(report["enforces"] == false, status == 3);
}

#[test]
fn the_table_is_sound() {
    for (i, probe) in PROBES.iter().enumerate() {
        let before = &PROBES[..i];
        assert!(!before.iter().any(|other| other.name == probe.name));
        assert!(
            probe.name.len() <= 16 && probe.since.len() <= 7,
            "{}",
            probe.name
        );
        for name in probe.after {
            // Or a needed row could be left untried without any reason for the level.
            let first = before.iter().find(|other| other.name == *name);
            let first =
                first.unwrap_or_else(|| panic!("{} comes before {name}, or is none", probe.name));
            assert!(
                probe.need != Need::Needed || first.need == Need::Needed,
                "{name}"
            );
        }
    }
}

/// A filter, what turns to "no" by it and why, what can't be tried then, and the level.
type Case = (
    Refuse,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static str,
);

const AFTER_LISTENER: &[&str] = &[
    "private-call",
    "addfd",
    "addfd-send",
    "wait-killable",
    "sync-wake-up",
];

fn cases() -> Vec<Case> {
    use libc::{EINVAL, EMFILE, ENOSYS, EPERM};
    let killed = |call| Refuse {
        how: SeccompAction::KillProcess,
        ..Refuse::all(call, 0)
    };
    let ioctl = |request: libc::Ioctl, errno| {
        Refuse::when(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, request, errno)
    };
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    vec![
        (
            Refuse::all(libc::SYS_openat2, ENOSYS),
            &[("openat2", "ENOSYS")],
            &[],
            "full",
        ),
        (
            Refuse::all(libc::SYS_pidfd_open, EPERM),
            &[("pidfd-open", "EPERM")],
            &["pidfd-getfd", "pidfd-thread"],
            "none",
        ),
        (
            Refuse::all(libc::SYS_pidfd_getfd, EPERM),
            &[("pidfd-getfd", "EPERM")],
            &[],
            "none",
        ),
        (
            Refuse::when(
                libc::SYS_pidfd_open,
                1,
                SeccompCmpOp::Eq,
                libc::O_EXCL as u64,
                EINVAL,
            ),
            &[("pidfd-thread", "EINVAL")],
            &[],
            "reduced",
        ),
        (
            Refuse::all(libc::SYS_seccomp, ENOSYS),
            &[("seccomp-filter", "ENOSYS"), ("seccomp-notify", "ENOSYS")],
            &[
                "trace-rewrite",
                "listener",
                "private-call",
                "addfd",
                "addfd-send",
                "wait-killable",
                "sync-wake-up",
            ],
            "none",
        ),
        (
            Refuse::when(
                libc::SYS_seccomp,
                1,
                SeccompCmpOp::MaskedEq(killable),
                killable,
                EINVAL,
            ),
            &[("wait-killable", "EINVAL")],
            &[],
            "none",
        ),
        (
            ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, EINVAL),
            &[("addfd", "EINVAL")],
            &["addfd-send"],
            "none",
        ),
        (
            ioctl(libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, EINVAL),
            &[("sync-wake-up", "EINVAL")],
            &[],
            "reduced",
        ),
        (
            ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, EPERM),
            &[("listener", "EPERM")],
            AFTER_LISTENER,
            "none",
        ),
        // As Docker's default profile does: unknown numbers don't exist.
        (
            Refuse::all(EXEC_PRIVATE.into(), ENOSYS),
            &[("private-call", "ENOSYS")],
            &[],
            "none",
        ),
        (
            Refuse::all(libc::SYS_ptrace, EPERM),
            &[("ptrace", "EPERM")],
            &["trace-rewrite"],
            "none",
        ),
        (
            killed(libc::SYS_ptrace),
            &[("ptrace", "SIGSYS")],
            &["trace-rewrite"],
            "none",
        ),
        (
            Refuse::all(libc::SYS_process_vm_readv, EPERM),
            &[("vm-read", "EPERM")],
            &["vm-write"],
            "none",
        ),
        (
            Refuse::all(libc::SYS_process_vm_writev, ENOSYS),
            &[("vm-write", "ENOSYS")],
            &[],
            "none",
        ),
        (
            Refuse::all(libc::SYS_execveat, ENOSYS),
            &[("execveat", "ENOSYS")],
            &[],
            "none",
        ),
        (
            Refuse::all(libc::SYS_memfd_create, ENOSYS),
            &[("memfd-exec", "ENOSYS")],
            &[],
            "reduced",
        ),
        (
            Refuse::all(libc::SYS_close_range, ENOSYS),
            &[("close-range", "ENOSYS")],
            &[],
            "none",
        ),
        (
            Refuse::all(libc::SYS_statx, ENOSYS),
            &[("statx", "ENOSYS")],
            &[],
            "reduced",
        ),
        (
            killed(libc::SYS_faccessat2),
            &[("faccessat2", "SIGSYS")],
            &[],
            "none",
        ),
        (
            Refuse::all(libc::SYS_inotify_init1, EMFILE),
            &[("inotify", "EMFILE")],
            &[],
            "reduced",
        ),
        (
            Refuse::all(libc::SYS_landlock_restrict_self, EPERM),
            &[("landlock", "EPERM")],
            &["landlock-scopes"],
            "reduced",
        ),
        (
            Refuse::all(libc::SYS_fsetxattr, libc::EOPNOTSUPP),
            &[("user-xattr", "EOPNOTSUPP")],
            &[],
            "reduced",
        ),
        (
            Refuse::all(libc::SYS_mkdir, libc::EROFS),
            &[("tmp-dir", "EROFS")],
            &["user-xattr"],
            "none",
        ),
        (
            Refuse::all(libc::SYS_unshare, EPERM),
            &[("user-namespaces", "EPERM")],
            &[],
            "full",
        ),
    ]
}

#[test]
fn what_a_filter_takes_away_turns_to_no_and_nothing_else_does() {
    let (whole, _) = doctor();
    if whole["level"] != "full" {
        eprintln!("skipped: something is missing here already");
        return;
    }
    for (refuse, no, untried, level) in cases() {
        let what = format!("{} {:?}", refuse.call, no);
        let (report, status) = below(|| refuse.apply(), doctor);
        for probe in PROBES {
            // What is only shown may change with any filter: seccompiler's kills i386 calls, for one.
            let listed = no.iter().any(|(name, _)| *name == probe.name);
            if probe.need == Need::Info && !listed {
                continue;
            }
            let row = row(&report, probe.name);
            if let Some((_, why)) = no.iter().find(|(name, _)| *name == probe.name) {
                assert_eq!(row["state"], "no", "{what}: {row}");
                assert!(
                    row["reason"].as_str().unwrap().contains(why),
                    "{what}: {row}"
                );
                let errno = Some(*why).filter(|why| why.starts_with('E'));
                assert_eq!(row["errno"].as_str(), errno, "{what}: {row}");
            } else if untried.contains(&probe.name) {
                assert_eq!(row["state"], "untried", "{what}: {row}");
            } else {
                assert_eq!(row["state"], "yes", "{what}: {row}");
            }
        }
        assert_eq!(report["level"], level, "{what}");
        assert_eq!(status, if level == "none" { 3 } else { 0 }, "{what}");
        let reasons: Vec<&str> = no.iter().map(|(name, _)| *name).collect();
        if level != "full" {
            assert_eq!(report["reasons"], serde_json::json!(reasons), "{what}");
        }
        assert_eq!(row(&report, "unconfined")["state"], "no", "{what}");
    }
}

/// The kernel grants one listener to a tree of processes; seccomp_unotify(2), EBUSY.
#[test]
fn below_another_sandbox_there_is_no_listener() {
    let listen = || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        // Kept open on purpose: the sandbox above is alive as long as this test.
        std::mem::forget(probe::listen(EXEC_PRIVATE - 1, 0).unwrap());
    };
    let (report, status) = below(listen, doctor);
    assert_eq!(row(&report, "listener")["errno"], "EBUSY");
    for name in AFTER_LISTENER {
        assert_eq!(row(&report, name)["state"], "untried");
    }
    assert_eq!((&report["level"], status), (&Value::from("none"), 3));
    assert_eq!(report["reasons"], serde_json::json!(["listener"]));
}

#[test]
fn text_fits_80_columns_and_tells_the_remedy() {
    let refuse = || Refuse::all(libc::SYS_seccomp, libc::ENOSYS).apply();
    for (text, remedies) in [
        (sbox(&["doctor"]).stdout, false),
        (below(refuse, || sbox(&["doctor"])).stdout, true),
    ] {
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('\x1b'), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert_eq!(line, line.trim_end());
        }
        for probe in PROBES {
            assert!(text.contains(probe.name), "{}", probe.name);
        }
        if remedies {
            assert!(
                text.contains("\nseccomp-notify (needed): ENOSYS: Function not implemented\n"),
                "{text}"
            );
            assert!(text.contains("level: none: sbox cannot enforce here\n  because these are missing: seccomp-filter, seccomp-notify\n"), "{text}");
        }
    }
}

/// What `sbox doctor` writes to a terminal.
fn on_terminal(no_color: Option<&str>) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbox"));
    command
        .arg("doctor")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let mut child = command.stdout(Stdio::from(terminal.slave)).spawn().unwrap();
    drop(command); // holds the last copy of the slave's descriptor but the child's
    let mut text = Vec::new();
    // At the end a terminal's master reads EIO.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut text);
    child.wait().unwrap();
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

#[test]
fn colour_is_for_terminals_and_says_nothing_more() {
    let plain = String::from_utf8(sbox(&["doctor"]).stdout).unwrap();
    let coloured = on_terminal(None);
    assert!(coloured.contains("\x1b[3"), "{coloured}");
    assert_eq!(on_terminal(Some("1")), plain);
    let mut stripped = coloured;
    for sequence in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
        stripped = stripped.replace(sequence, "");
    }
    assert_eq!(stripped, plain);
}

/// `BLESS=1 cargo test` rewrites it.
#[test]
fn the_document_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/KERNEL-FEATURES.md");
    let want = sbox::cli::doctor::markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(have == want, "{path} is old: BLESS=1 cargo test");
}

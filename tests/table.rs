//! The table agrees with other people's lists, with the running kernel, and with itself.

use std::collections::HashSet;

use sbox::cli::syscalls;
use sbox::supervisor::filter::SENDS;
use sbox::syscall::rules::{Net, Outcome};
use sbox::syscall::table::{Class, Mechanism, TABLE, by_name, group, row};

#[test]
fn x86_64_numbers_are_those_of_the_syscalls_crate() {
    use ::syscalls::x86_64::Sysno;
    for nr in 0..1000 {
        let theirs = Sysno::new(nr).map(|call| call.name());
        assert_eq!(row(nr as u32).map(|row| row.name), theirs, "{nr}");
    }
}

#[test]
fn aarch64_numbers_are_those_of_the_syscalls_crate() {
    use ::syscalls::aarch64::Sysno;
    // 403 to 423 are the 64-bit-time calls of 32-bit machines (<asm-generic/unistd.h>); the crate lists them here too.
    for nr in (0..403).chain(424..1000) {
        let theirs = Sysno::new(nr).map(|call| call.name());
        // The kernel's own name is that of its function, sys_newfstatat, on both.
        let theirs = theirs.map(|name| {
            if name == "fstatat" {
                "newfstatat"
            } else {
                name
            }
        });
        let ours = TABLE
            .iter()
            .find(|row| row.arm == Some(nr as u32))
            .map(|row| row.name);
        assert_eq!(ours, theirs, "{nr}");
    }
}

/// libc's list is older than the table, but nothing in it may differ.
#[test]
fn numbers_are_those_of_libc() {
    macro_rules! same { ($($sys:ident $name:literal),* $(,)?) => { $(
        assert_eq!(by_name($name).map(|row| i64::from(row.x86)), Some(libc::$sys), $name);
    )* } }
    same!(
        SYS_read "read", SYS_open "open", SYS_mmap "mmap", SYS_ioctl "ioctl", SYS_clone "clone", SYS_execve "execve",
        SYS_ptrace "ptrace", SYS_prctl "prctl", SYS_chroot "chroot", SYS_gettid "gettid", SYS_openat "openat",
        SYS_unshare "unshare", SYS_prlimit64 "prlimit64", SYS_setns "setns", SYS_seccomp "seccomp",
        SYS_execveat "execveat", SYS_statx "statx", SYS_rseq "rseq", SYS_io_uring_setup "io_uring_setup",
        SYS_clone3 "clone3", SYS_openat2 "openat2", SYS_faccessat2 "faccessat2", SYS_fchmodat2 "fchmodat2",
        SYS_mseal "mseal", SYS_pidfd_getfd "pidfd_getfd", SYS_memfd_secret "memfd_secret",
    );
}

#[test]
fn no_number_and_no_name_twice_and_in_order() {
    assert!(TABLE.windows(2).all(|pair| pair[0].x86 < pair[1].x86));
    let names: HashSet<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), TABLE.len());
    let arm: Vec<u32> = TABLE.iter().filter_map(|row| row.arm).collect();
    assert_eq!(
        arm.iter().collect::<HashSet<_>>().len(),
        arm.len(),
        "an aarch64 number twice"
    );
    let numbers: Vec<u32> = TABLE.iter().map(|row| row.x86).collect();
    assert_eq!(numbers, (0..=336).chain(424..=469).collect::<Vec<u32>>());
}

#[test]
fn row_finds_each_number_and_no_other() {
    for nr in (0..1000).chain([u32::MAX]) {
        let slow = TABLE.iter().find(|row| row.x86 == nr).map(|row| row.name);
        assert_eq!(row(nr).map(|row| row.name), slow, "{nr}");
    }
}

/// A kernel newer than the table shows here first. Its new calls get ENOSYS until they have a row.
#[test]
fn every_call_of_the_running_kernel_has_a_row() {
    // Names that differ: the kernel's functions that serve a call under another name.
    let renamed = |name: &str| match name {
        "newstat" => "stat".to_owned(),
        "newfstat" => "fstat".to_owned(),
        "newlstat" => "lstat".to_owned(),
        "sendfile64" => "sendfile".to_owned(),
        "newuname" => "uname".to_owned(),
        "umount" => "umount2".to_owned(),
        name => name.to_owned(),
    };
    let Ok(events) = std::fs::read_dir("/sys/kernel/tracing/events/syscalls") else {
        println!("skipped: tracefs not readable");
        return;
    };
    let names: Vec<String> = events
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_prefix("sys_enter_")
                .map(renamed)
        })
        .collect();
    if names.is_empty() {
        println!("skipped: tracefs not readable");
        return;
    }
    println!("{} calls", names.len());
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| by_name(name).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "{} calls, without a row: {missing:?}",
        names.len()
    );
}

#[test]
fn every_row_that_reaches_the_supervisor_has_a_handler_and_no_other_has() {
    for row in TABLE {
        let reaches = match row.mechanism {
            Mechanism::Notify
            | Mechanism::Trace
            | Mechanism::Meter
            | Mechanism::Identify
            | Mechanism::Number
            | Mechanism::Renumber => true,
            Mechanism::Check(_, rule) => {
                let asked = [Outcome::Notify, Outcome::Number, Outcome::Renumber];
                [Net::None, Net::Host]
                    .iter()
                    .any(|net| rule(*net).outcomes().any(|o| asked.contains(&o)))
            }
            // Only what sends is answered; what receives is left to the kernel and then told in the view's terms.
            Mechanism::Guarded => SENDS.contains(&row.x86),
            Mechanism::Native | Mechanism::Retell | Mechanism::Refuse(_) | Mechanism::Fake => false,
        };
        assert_eq!(row.handler.is_some(), reaches, "{}", row.name);
        assert_eq!(
            row.handler.is_some(),
            row.handler_name.is_some(),
            "{}",
            row.name
        );
    }
}

/// What the tracer translates is known for each call that it stops for that.
#[test]
fn numbers_are_known_for_every_call_that_is_stopped_for_them() {
    use sbox::syscall::numbers::{Returned, of};
    let mut rows = 0;
    for row in TABLE {
        // All pairs of what the rule names, a process, a clock.
        let rule = match row.mechanism {
            Mechanism::Check(_, rule) => Some(rule(Net::None)),
            _ => None,
        };
        let cases = rule.iter().flat_map(|rule| &rule.cases);
        let conds = cases.flat_map(|case| &case.when);
        let mut values: Vec<u64> = conds.map(|cond| cond.value).collect();
        values.extend([1, 7, u64::from(u32::MAX) - 700]);
        let (mut stops, mut known) = (0, 0);
        for args in values
            .iter()
            .flat_map(|a| values.iter().map(|b| [*a, *b, 4096, 0, 0, 0]))
        {
            let numbers = of(row.x86, &args);
            let knows = !numbers.registers.is_empty()
                || numbers.given.is_some()
                || numbers.told.is_some()
                || numbers.ends
                || numbers.returned != Returned::Nothing;
            match row.is_renumbered(Net::None, &args) {
                None => {}
                Some(judged) => {
                    assert!(
                        knows || judged,
                        "{} {args:x?}: stopped for nothing",
                        row.name
                    );
                    stops += 1;
                    known += u32::from(knows);
                }
            }
        }
        assert!(stops == 0 || known > 0, "{}: stopped for nothing", row.name);
        rows += u32::from(stops > 0);
    }
    assert!(rows > 25, "{rows}");
}

#[test]
fn no_row_has_more_parameters_than_registers_nor_a_rule_about_one_it_lacks() {
    for row in TABLE {
        assert!(row.params.len() <= 6, "{}", row.name);
        if let Mechanism::Check(name, rule) = row.mechanism {
            for cond in [Net::None, Net::Host]
                .iter()
                .flat_map(|net| rule(*net).cases)
                .flat_map(|case| case.when)
            {
                assert!(
                    usize::from(cond.arg) < row.params.len(),
                    "{name} asks for argument {} of {}",
                    cond.arg,
                    row.name
                );
            }
        }
    }
}

#[test]
fn each_call_is_in_one_group_and_no_group_is_empty() {
    let sizes: Vec<usize> = Class::ALL
        .iter()
        .map(|class| group(class.group()).count())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), TABLE.len());
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
}

#[test]
fn a_mistyped_name_gets_a_suggestion() {
    let ask = |name: &str| {
        syscalls::select(&[name.to_owned()])
            .err()
            .unwrap_or_default()
    };
    assert!(
        ask("opennat").contains("did you mean 'openat'?"),
        "{}",
        ask("opennat")
    );
    assert!(
        ask("@netwrok").contains("did you mean '@network'?"),
        "{}",
        ask("@netwrok")
    );
    assert!(
        !ask("xyzzyplugh").contains("did you mean"),
        "{}",
        ask("xyzzyplugh")
    );
    assert!(ask("a\x1b[31m").contains("\\x1b"), "{}", ask("a\x1b[31m"));
    assert_eq!(
        syscalls::select(&["openat".to_owned(), "@exec".to_owned()])
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn json_is_one_object_per_line() {
    let rows: Vec<_> = TABLE.iter().collect();
    let text = syscalls::json(&rows).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["version"], 1);
    assert_eq!(lines.len(), TABLE.len() + 1);
    assert_eq!(lines[1 + 2]["name"], "open");
    assert_eq!(lines[1 + 2]["params"][0], "path: UserPath");
}

/// `BLESS=1` rewrites the file.
#[test]
fn the_document_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SYSCALLS.md");
    let want = syscalls::markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
        std::fs::write(path, &want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        have == want,
        "docs/SYSCALLS.md is stale: run the tests with BLESS=1"
    );
}

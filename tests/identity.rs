//! Which machine the guest takes its own for: name, numbers, and the files that keep them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use support::root::root_of;
use support::{Job, Output, Skip, Test, guest, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        uname_is_the_kernels_but_for_the_name,
        every_program_tells_the_name,
        python_looks_its_own_name_up,
        the_hosts_own_is_told_nowhere,
        numbers_last_as_long_as_the_run,
        nothing_of_it_can_be_changed,
        only_what_the_system_has,
        flags_for_these_files_win,
        names_that_are_none,
    ])
}

fn sh(flags: &[&str], script: &str) -> Result<Output, Skip> {
    Job::sh(script).flags(flags).sandboxed()
}

/// In a user namespace natively nobody is the administrator either, so errors can be compared.
fn uname_is_the_kernels_but_for_the_name() -> Test {
    let program = guest("uts")?;
    need_sbox()?;
    let job = Job::new([&program]).dir(Path::new("/"));
    let boxed = job.clone().env("GUEST_HOST", "sbox").sandboxed()?;
    boxed.assert_guest_ok("uts");
    if nix::unistd::geteuid().is_root() {
        // The administrator may name the host: it is not asked to.
        return Ok(());
    }
    let native = job.native();
    native.assert_guest_ok("uts, natively");
    let facts = |output: &Output| -> Vec<String> {
        let text = output.stdout_text();
        text.lines()
            .filter(|l| !l.contains("the name is"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(facts(&native), facts(&boxed));
    Ok(())
}

fn every_program_tells_the_name() -> Test {
    let script = "uname -n; cat /proc/sys/kernel/hostname; sysctl -n kernel.hostname 2>/dev/null || cat /proc/sys/kernel/hostname; cat /etc/hostname";
    if !Path::new("/etc/hostname").exists() {
        return Err(Skip("no /etc/hostname".into()));
    }
    for (flags, name) in [
        (vec![], "sbox"),
        (vec!["--hostname", "a-1.example.org"], "a-1.example.org"),
    ] {
        let output = sh(&flags, script)?;
        assert_eq!(
            output.stdout_text(),
            format!("{name}\n").repeat(4),
            "{}",
            output.all()
        );
    }
    if Path::new("/usr/bin/hostname").exists() || Path::new("/bin/hostname").exists() {
        let output = sh(&["--hostname", "box"], "hostname; bash -c 'echo $HOSTNAME'")?;
        assert_eq!(output.stdout_text(), "box\nbox\n", "{}", output.all());
    }
    Ok(())
}

fn python_looks_its_own_name_up() -> Test {
    let python = need(&["/usr/bin/python3"])?;
    let script = "import os, platform, socket; print(platform.node(), socket.gethostname(), os.uname().nodename, socket.gethostbyname(socket.gethostname()))";
    for net in ["none", "host"] {
        let output = Job::new([&python, "-c", script])
            .flags(["--hostname", "here", "--net", net])
            .sandboxed()?;
        assert_eq!(
            output.stdout_text(),
            "here here here 127.0.1.1\n",
            "--net {net}: {}",
            output.all()
        );
    }
    Ok(())
}

/// Not by any file of `/etc` and `/proc` that tells who a machine is.
fn the_hosts_own_is_told_nowhere() -> Test {
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let boot = read("/proc/sys/kernel/random/boot_id");
    let machine = read("/etc/machine-id");
    assert!(!boot.is_empty());
    let output = sh(
        &[],
        "cat /proc/sys/kernel/random/boot_id /etc/machine-id /etc/hosts /etc/hostname /var/lib/dbus/machine-id 2>/dev/null; uname -a",
    )?;
    let said = output.stdout_text();
    assert!(!said.contains(&boot), "{said}");
    assert!(machine.is_empty() || !said.contains(&machine), "{said}");
    Ok(())
}

fn numbers_last_as_long_as_the_run() -> Test {
    if !Path::new("/etc/machine-id").exists() {
        return Err(Skip("no /etc/machine-id".into()));
    }
    let script = "f() { cat /proc/sys/kernel/random/boot_id /etc/machine-id; }; f; f; sh -c 'cat /etc/machine-id'; stat -c %i /etc/machine-id; stat -c %i /etc/machine-id";
    let runs = [
        sh(&[], script)?.stdout_text(),
        sh(&[], script)?.stdout_text(),
    ];
    let lines = runs.each_ref().map(|run| run.lines().collect::<Vec<_>>());
    for run in &lines {
        assert_eq!(run.len(), 7, "{run:?}");
        assert_eq!((run[0], run[1]), (run[2], run[3]));
        assert_eq!((run[1], run[5]), (run[4], run[6]));
        assert_ne!(run[0].replace('-', ""), run[1]);
    }
    assert_ne!(lines[0][0], lines[1][0]);
    assert_ne!(lines[0][1], lines[1][1]);
    Ok(())
}

fn nothing_of_it_can_be_changed() -> Test {
    let output = sh(
        &[],
        "for f in /proc/sys/kernel/hostname /proc/sys/kernel/domainname /proc/sys/kernel/random/boot_id /etc/hostname /etc/hosts /etc/machine-id; do
            [ -e $f ] || continue
            (echo x > $f) 2>/dev/null && echo written $f; rm -f $f 2>/dev/null && echo removed $f; chmod 777 $f 2>/dev/null && echo chmod $f
            mv $f /tmp/x 2>/dev/null && echo moved $f; ln $f /tmp/y 2>/dev/null && echo linked $f
        done; uname -n",
    )?;
    assert_eq!(output.stdout_text(), "sbox\n", "{}", output.all());
    Ok(())
}

/// A listing shows no file that the system hasn't got.
fn only_what_the_system_has() -> Test {
    let (bare, full) = (
        root_of(&["/bin/sh", "/bin/cat", "/bin/ls"])?,
        root_of(&["/bin/sh", "/bin/cat", "/bin/ls"])?,
    );
    for dir in ["etc", "var/lib/dbus"] {
        fs::create_dir_all(full.path().join(dir)).expect("mkdir");
    }
    for file in [
        "etc/hosts",
        "etc/machine-id",
        "etc/hostname",
        "var/lib/dbus/machine-id",
    ] {
        fs::write(full.path().join(file), "of the root\n").expect("write");
    }
    let list = "ls /etc /var/lib/dbus 2>/dev/null | cat; cat /etc/hostname /etc/hosts; cat /etc/machine-id > /tmp/a; cat /var/lib/dbus/machine-id > /tmp/b; read a < /tmp/a; read b < /tmp/b; [ $a = $b ] && echo same $a";
    let run = |root: &Path, how: &str| {
        let flag = format!("{}{how}", root.display());
        Job::sh(list)
            .dir(Path::new("/"))
            .flags(["--root", &flag, "--hostname", "rooted"])
            .sandboxed()
    };
    for how in ["", ":ro"] {
        let output = run(full.path(), how)?;
        let said = output.stdout_text();
        assert!(
            said.starts_with("/etc:\nhostname\nhosts\nmachine-id\n\n/var/lib/dbus:\nmachine-id\nrooted\n127.0.0.1\tlocalhost\n127.0.1.1\trooted\n")
                && said.contains("same ") && !said.contains("of the root"),
            "{}",
            output.all()
        );
    }
    let output = run(bare.path(), "")?;
    assert!(
        output.stderr_text().contains("/etc/hosts: No such file"),
        "{}",
        output.all()
    );
    Ok(())
}

fn flags_for_these_files_win() -> Test {
    let dir = scratch();
    let file = dir.path().join("f");
    fs::write(&file, "given\n").expect("write");
    for path in ["/etc/hosts", "/etc/machine-id"] {
        if !Path::new(path).exists() {
            return Err(Skip(format!("no {path}")));
        }
        let bind = format!("{}:{path}:ro", file.display());
        let text = format!("{path}=given\n");
        for flags in [["--bind", &bind], ["--file", &text]] {
            let output = sh(&flags, &format!("cat {path}"))?;
            assert_eq!(output.stdout_text(), "given\n", "{}", output.all());
        }
        let output = sh(&["--ro", path], &format!("cat {path}"))?;
        assert_eq!(
            output.stdout,
            fs::read(path).expect("read"),
            "{}",
            output.all()
        );
        let output = sh(&["--hide", path], &format!("ls {path}"))?;
        assert!(
            output.stderr_text().contains("No such file"),
            "{}",
            output.all()
        );
    }
    Ok(())
}

fn names_that_are_none() -> Test {
    let long = "x".repeat(65);
    for name in ["", "a b", "-a", "a_b", "a..b", long.as_str()] {
        let flag = format!("--hostname={name}");
        let output = sh(&[&flag], "true")?;
        assert_eq!(output.code(), Some(2), "{name}: {}", output.all());
        assert!(
            output.stderr_text().contains("64 bytes"),
            "{}",
            output.all()
        );
    }
    Ok(())
}

//! The view: which files, devices and processes exist inside, and what each flag of `sbox run` changes about that.

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
use std::time::Duration;

use support::tree::{assert_unchanged, snapshot};
use support::{Job, Output, Skip, Test, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        ro_and_rw,
        the_narrower_flag_wins,
        hide,
        home_is_hidden,
        bind,
        tmpfs,
        private_tmp,
        devices,
        own_processes_only,
        proc_links,
        mounts_are_those_of_the_view,
    ])
}

/// A shell command in sbox.
fn sh(flags: &[&str], script: &str) -> Result<Output, Skip> {
    Job::sh(script).flags(flags).sandboxed()
}

/// Lists a private /tmp, but for the way to what the tests themselves show there: the sources, if they
/// lie below /tmp.
fn list_tmp(dir: &str) -> String {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"))
        .strip_prefix("/tmp")
        .ok();
    let ours = ours
        .and_then(|p| p.components().next())
        .map(|c| c.as_os_str().to_owned());
    let ours = ours.unwrap_or("-".into());
    format!("ls -A {dir} | grep -vxF -e '{}'; ", ours.display())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

fn ro_and_rw() -> Test {
    let dir = scratch();
    for sub in ["r", "w", "n"] {
        fs::create_dir(dir.path().join(sub)).expect("mkdir");
        fs::write(dir.path().join(sub).join("f"), sub).expect("write");
    }
    let (r, w) = (dir.path().join("r"), dir.path().join("w"));
    let script = format!(
        "cd {0}; cat r/f w/f n/f; echo; echo new > w/new; echo no > r/new; echo no > n/new; rm -f w/f r/f; ls",
        text(dir.path())
    );
    let output = sh(&["--cwd", "/", "--ro", text(&r), "--rw", text(&w)], &script)?;
    assert_eq!(
        output.stdout_text(),
        "rw\nr\nw\n",
        "siblings that no flag names don't exist: {}",
        output.all()
    );
    assert_eq!(
        fs::read_to_string(w.join("new")).expect("written through"),
        "new\n"
    );
    assert!(!w.join("f").exists() && r.join("f").exists() && !r.join("new").exists());
    assert!(
        output.stderr_text().contains("Read-only file system"),
        "{}",
        output.all()
    );

    let file = dir.path().join("n/f");
    let script = format!(
        "echo more >> {}; ls {}",
        text(&file),
        text(&dir.path().join("n"))
    );
    let output = sh(&["--cwd", "/", "--rw", text(&file)], &script)?;
    assert_eq!(
        output.stdout_text(),
        "f\n",
        "a single file can be bound: {}",
        output.all()
    );
    assert_eq!(fs::read_to_string(&file).expect("read"), "nmore\n");
    Ok(())
}

fn the_narrower_flag_wins() -> Test {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("a/b/c")).expect("mkdir");
    let at = |p: &str| dir.path().join(p).to_str().expect("plain").to_owned();
    let script = format!(
        "cd {}; touch a/x a/b/x a/b/c/x; ls a a/b a/b/c",
        text(dir.path())
    );
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let flags = [
            ["--ro".to_owned(), at("a")],
            ["--rw".to_owned(), at("a/b")],
            ["--ro".to_owned(), at("a/b/c")],
        ];
        let mut job = Job::sh(&script).flags(["--cwd", "/"]).ignore_stderr();
        for i in order {
            job = job.flags(flags[i].clone());
        }
        let output = job.sandboxed()?;
        assert!(
            dir.path().join("a/b/x").exists(),
            "the inner --rw: {}",
            output.all()
        );
        assert!(
            !dir.path().join("a/x").exists() && !dir.path().join("a/b/c/x").exists(),
            "{}",
            output.all()
        );
        fs::remove_file(dir.path().join("a/b/x")).expect("remove");
    }
    Ok(())
}

fn hide() -> Test {
    let dir = scratch();
    fs::create_dir(dir.path().join("d")).expect("mkdir");
    for file in ["a", "b", "d/c"] {
        fs::write(dir.path().join(file), file).expect("write");
    }
    let before = snapshot(dir.path());
    let (b, d) = (dir.path().join("b"), dir.path().join("d"));
    let job = Job::sh("ls; cat b; cat d/c; cd d; rm b; mv a b; mkdir d; : > b; :")
        .writable_dir(dir.path());
    let output = job
        .flags(["--hide", text(&b), "--hide", text(&d)])
        .sandboxed()?;
    assert!(output.stdout_text().starts_with("a\n"), "{}", output.all());
    assert!(
        !output.stdout_text().contains("b\n") && !output.stdout_text().contains("d/c"),
        "{}",
        output.all()
    );
    let b_before: Vec<String> = before
        .iter()
        .filter(|l| l.contains("/b ino"))
        .cloned()
        .collect();
    assert_unchanged(&b_before, &b);
    assert_eq!(
        fs::read_to_string(dir.path().join("d/c")).expect("read"),
        "d/c"
    );
    let system = sh(
        &["--hide", "/etc/passwd", "--hide", "/usr/share"],
        "cat /etc/passwd; ls /usr/share; ls /etc | grep -cx passwd",
    )?;
    assert_eq!(system.stdout_text(), "0\n", "{}", system.all());
    Ok(())
}

fn home_is_hidden() -> Test {
    need_sbox()?;
    let home = tempfile::Builder::new()
        .prefix("home-")
        .tempdir_in("/var/tmp")
        .map_err(|e| Skip(format!("/var/tmp: {e}")))?;
    fs::write(home.path().join(".secret"), "s").expect("write");
    fs::create_dir(home.path().join("project")).expect("mkdir");
    fs::write(home.path().join("project/code"), "c").expect("write");
    let run = |dir: &str, script: &str| {
        let mut command = Job::sh(script).dir(Path::new(dir)).sbox_command();
        command.env("HOME", home.path());
        support::job::run(command, &[], Duration::from_secs(20))
    };
    let h = text(home.path());
    let outside = run(
        "/",
        &format!("cat {h}/.secret; ls {h}; {} :", list_tmp("~")),
    );
    assert_eq!(outside.stdout_text(), "", "{}", outside.all());
    let project = run(
        &format!("{h}/project"),
        &format!("cat code; cat ../.secret; ls -A {h}; cat ../.ssh/id_rsa; :"),
    );
    assert_eq!(
        project.stdout_text(),
        "cproject\n",
        "a directory inside stays visible, its neighbours not: {}",
        project.all()
    );
    Ok(())
}

fn bind() -> Test {
    let dir = scratch();
    let real = dir.path().join("real");
    fs::create_dir(&real).expect("mkdir");
    fs::write(real.join("f"), "real").expect("write");
    let r = text(&real);
    let script =
        "cat /data/set/f; echo x > /data/set/new; ls /data /data/set; cd /data/set && pwd && ls ..";
    let output = sh(&["--bind", &format!("{r}:/data/set")], script)?;
    assert_eq!(
        output.stdout_text(),
        "real/data:\nset\n\n/data/set:\nf\nnew\n/data/set\nset\n",
        "{}",
        output.all()
    );
    assert_eq!(
        fs::read_to_string(real.join("new")).expect("written through"),
        "x\n"
    );
    let output = sh(
        &["--bind", &format!("{r}:/data:ro")],
        "cat /data/f; echo x > /data/other; ls /data",
    )?;
    assert_eq!(output.stdout_text(), "realf\nnew\n", "{}", output.all());
    assert!(
        output.stderr_text().contains("Read-only file system"),
        "{}",
        output.all()
    );
    let over = sh(
        &[
            "--bind",
            &format!("{}:/etc/hostname:ro", text(&real.join("f"))),
        ],
        "cat /etc/hostname; ls /etc/passwd",
    )?;
    assert_eq!(
        over.stdout_text(),
        "real/etc/passwd\n",
        "a file over a file: {}",
        over.all()
    );
    let none = sh(&["--bind", &format!("{r}-absent:/data")], "true")?;
    assert_eq!(none.code(), Some(125), "{}", none.all());
    // The source isn't visible at its own path.
    let output = sh(
        &["--cwd", "/", "--bind", &format!("{r}:/data")],
        &format!("ls -d {r}; ls /data/f"),
    )?;
    assert_eq!(output.stdout_text(), "/data/f\n", "{}", output.all());
    Ok(())
}

fn tmpfs() -> Test {
    let dir = scratch();
    fs::write(dir.path().join("f"), "host").expect("write");
    let before = snapshot(dir.path());
    let d = text(dir.path());
    let script = format!(
        "ls {d}; cd {d}; echo x > f; mkdir s; ln -s f l; mv f s/g; cat s/g; rm -r s; ls; echo $?"
    );
    let output = sh(&["--tmpfs", d], &script)?;
    assert_eq!(output.stdout_text(), "x\nl\n0\n", "{}", output.all());
    assert_unchanged(&before, dir.path());
    Ok(())
}

fn private_tmp() -> Test {
    need_sbox()?;
    let mine = tempfile::Builder::new()
        .prefix("sbox-visible-")
        .tempdir_in("/tmp")
        .expect("directory in /tmp");
    let output = Job::sh(&format!(
        "{}echo x > /tmp/sbox-leak && cat /tmp/sbox-leak; stat -c %a /tmp",
        list_tmp("/tmp")
    ))
    .dir(Path::new("/"))
    .sandboxed()?;
    assert_eq!(output.stdout_text(), "x\n1777\n", "{}", output.all());
    assert!(!Path::new("/tmp/sbox-leak").exists() && mine.path().exists());
    let again = Job::sh(&format!("{}:", list_tmp("/tmp")))
        .dir(Path::new("/"))
        .sandboxed()?;
    assert_eq!(
        again.stdout_text(),
        "",
        "nothing is left for the next run: {}",
        again.all()
    );
    Ok(())
}

fn devices() -> Test {
    let output = sh(&[], "for d in null zero full random urandom tty ptmx pts fd stdin stdout stderr shm; do test -e /dev/$d || test -L /dev/$d || echo no $d; done
        ls /dev | sort | tr '\\n' ' '; echo
        echo x > /dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 100 /dev/urandom | wc -c
        (/bin/echo x > /dev/full) 2>&1 | grep -c 'No space'; echo y > /dev/shm/f && cat /dev/shm/f
        test -e /dev/mem || test -e /dev/sda || test -e /dev/vda || test -e /dev/kmsg || echo clean")?;
    let text = output.stdout_text();
    assert!(!text.contains("no "), "{}", output.all());
    let rest: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        rest,
        [" 00 00 00 00", "100", "1", "y", "clean"],
        "{}",
        output.all()
    );
    Ok(())
}

/// `df`, findmnt(8) and mount(8) read these files. Nothing of the host's mounts is in them.
fn mounts_are_those_of_the_view() -> Test {
    let dir = scratch();
    let source = dir.path().join("a place");
    fs::create_dir(&source).expect("mkdir");
    let bind = format!("{}:/shown here:ro", text(&source));
    let output = sh(
        &["--bind", &bind, "--tmpfs", "/scratch", "--hide", "/etc/init.d", "--cwd", "/"],
        "cat /proc/mounts; echo; cat /proc/self/mountinfo; echo; cat /proc/$$/task/$$/mountinfo | wc -l
         readlink /proc/mounts; (echo x > /proc/self/mounts) 2>&1 | grep -c denied; df -P / | tail -1 | grep -c '/$'",
    )?;
    let said = output.stdout_text();
    let parts: Vec<&str> = said.split("\n\n").collect();
    let [mounts, info, rest] = parts[..] else {
        panic!("{}", output.all());
    };
    let kind = |line: &str| line.split(' ').nth(2).map(str::to_owned);
    for (at, rw) in [
        ("/", "ro"),
        ("/usr", "ro"),
        ("/shown\\040here", "ro"),
        ("/scratch", "rw"),
        ("/tmp", "rw"),
        ("/proc", "ro"),
    ] {
        let line = mounts
            .lines()
            .find(|l| l.split(' ').nth(1) == Some(at))
            .unwrap_or_else(|| panic!("no {at}: {}", output.all()));
        assert!(kind(line).is_some_and(|k| !k.is_empty()), "{line}");
        assert!(line.ends_with(&format!(" {rw},nosuid,nodev 0 0")), "{line}");
        let in_info = info.lines().any(|l| l.split(' ').nth(4) == Some(at));
        assert!(in_info, "{at} in {info}");
    }
    // Numbers are told once, and parents before their children.
    let mut seen = vec!["0"];
    for line in info.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(
            seen.contains(&fields[1]) && !seen.contains(&fields[0]),
            "{line} in {info}"
        );
        seen.push(fields[0]);
        assert_eq!(fields[3], "/", "{line}");
    }
    assert!(!said.contains("init.d"), "hidden: {said}");
    assert!(
        !said.contains("/dev/vd") && !said.contains("a\\040place"),
        "{said}"
    );
    let lines = info.lines().count().to_string();
    let rest: Vec<&str> = rest.lines().map(str::trim).collect();
    assert_eq!(
        rest,
        [lines.as_str(), "self/mounts", "1", "1"],
        "{}",
        output.all()
    );
    Ok(())
}

fn own_processes_only() -> Test {
    let output = sh(
        &[],
        "sleep 5 & for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; kill %1; cat /proc/self/comm",
    )?;
    let text = output.stdout_text();
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("tr "))
        .collect();
    assert_eq!(lines.pop(), Some("cat"), "{}", output.all());
    assert!(
        lines.iter().any(|l| l.starts_with("sleep")),
        "{}",
        output.all()
    );
    assert!(
        lines
            .iter()
            .all(|l| l.starts_with("sleep") || l.contains("/bin/sh -c") || l.contains("sbox")),
        "{}",
        output.all()
    );
    let pid = std::process::id();
    let output = sh(
        &[],
        &format!("kill -0 {pid} && echo reached; test -e /proc/{pid} && echo seen; :"),
    )?;
    assert_eq!(output.stdout_text(), "", "{}", output.all());
    Ok(())
}

fn proc_links() -> Test {
    let dir = scratch();
    fs::write(dir.path().join("f"), "text").expect("write");
    let script = "readlink /proc/self/exe; readlink /proc/self/cwd; readlink /proc/self/root; exec 4<f; cat /proc/self/fd/4; readlink /proc/$$/fd/4
        cat /dev/fd/4; ls /proc/self/fd | grep -c '^[0-3]$'; ls -d /proc/self/root/etc/passwd; cd /proc/self && pwd | tr -d 0-9; cat /proc/self/root/proc/self/comm";
    Job::sh(script).dir(dir.path()).both()?;
    Ok(())
}

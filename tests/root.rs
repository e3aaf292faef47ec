//! `--root DIR`: a directory with its own libc is the root of the view, and its programs run there by their own loader.
//!
//! The roots are copies of the host's programs and libraries: other files at the same paths, so that the kernel would find
//! another loader than the view has. What guests say there must be what they say natively.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use support::guest::guest_bare;
use support::root::root_of;
use support::tree::{assert_unchanged, snapshot};
use support::{Job, Skip, Test, guest, guest_defining, guest_static, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        exec_in_every_form,
        exec_names_the_thread,
        a_program_finds_itself,
        odd_headers_end_as_the_kernel_ends_them,
        random_headers_are_survived,
        shells_and_their_tools,
        python,
        another_libc,
        changes_go_to_a_layer,
        read_only_and_writable,
        other_mounts_lie_over_it,
        nothing_of_the_host_is_shown,
        name_servers_are_the_hosts,
        what_is_no_root,
        a_changed_program_is_run_anew,
        many_large_programs,
        a_limit_of_files_is_an_error,
        an_exchanged_descriptor_runs_nothing_else,
        a_changing_interpreter_is_never_run,
        what_runs_in_its_place_can_be_had_but_not_changed,
    ])
}

/// What most shell scripts need.
const TOOLS: [&str; 12] = [
    "/bin/sh",
    "/bin/true",
    "/bin/sleep",
    "/bin/cat",
    "/bin/ls",
    "/bin/sed",
    "/bin/chmod",
    "/bin/mv",
    "/bin/rm",
    "/usr/bin/env",
    "/usr/bin/sort",
    "/usr/bin/id",
];

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

/// Runs a guest natively on the host and by the loader of a root, in two directories of its own, and compares. `fill`
/// prepares each; the first argument is a copy of the guest there if `copied`.
fn as_natively(name: &str, args: &[&str], copied: bool, fill: impl Fn(&Path)) -> Test {
    let (program, root) = (guest(name)?, root_of(&TOOLS)?);
    need_sbox()?;
    let run = |inside: bool| {
        let dir = scratch();
        fill(dir.path());
        let program = if copied {
            let copy = dir.path().join("the-program-itself");
            fs::copy(&program, &copy).expect("copy");
            copy
        } else {
            program.clone()
        };
        let job = args
            .iter()
            .fold(Job::new([&program]), Job::arg)
            .limit_secs(200);
        if inside {
            let job = job.writable_dir(dir.path());
            job.flags(["--root", text(root.path())]).run_sbox()
        } else {
            job.dir(dir.path()).native()
        }
    };
    let (native, boxed) = (run(false), run(true));
    native.assert_guest_ok(&format!("{name}, natively"));
    Job::new([&program]).compare(&native, &boxed);
    boxed.assert_guest_ok(name);
    Ok(())
}

fn exec_in_every_form() -> Test {
    exec_forms(&[])
}

fn exec_names_the_thread() -> Test {
    exec_forms(&["names"])
}

fn exec_forms(args: &[&str]) -> Test {
    let (dynamic, fixed) = (guest("echoargs")?, guest_static("echoargs")?);
    as_natively("exec_forms", args, false, |dir| {
        fs::copy(&dynamic, dir.join("dyn")).expect("copy");
        fs::copy(&fixed, dir.join("static")).expect("copy");
    })
}

/// No file of `/proc`, no word of the auxiliary vector and no error tells that something else runs in its place.
fn a_program_finds_itself() -> Test {
    as_natively("program", &[], true, |_| {})
}

fn odd_headers_end_as_the_kernel_ends_them() -> Test {
    let answer = guest_defining("answer", "-DANSWER=7")?;
    as_natively("hostile_elf", &[text(&answer)], false, |_| {})
}

fn random_headers_are_survived() -> Test {
    let answer = guest_defining("answer", "-DANSWER=7")?;
    let seed = std::process::id().to_string();
    as_natively("hostile_elf", &[text(&answer), &seed, "300"], false, |_| {})
}

/// The same script natively and in a root.
fn script(programs: &[&str], flags: &[&str], script: &str) -> Test {
    let root = root_of(programs)?;
    let (outside, inside) = (scratch(), scratch());
    let job = Job::sh(script);
    let native = job.clone().dir(outside.path()).native();
    let boxed = job
        .clone()
        .writable_dir(inside.path())
        .flags(["--root", text(root.path())])
        .flags(flags);
    job.compare(&native, &boxed.sandboxed()?);
    Ok(())
}

fn shells_and_their_tools() -> Test {
    script(
        &TOOLS,
        &[],
        "printf '#!/bin/sh\\necho script \"$@\"\\n' > s; chmod 2>/dev/null +x s || :
        cat s | sed s/script/SCRIPT/ | sort -r; /bin/sh ./s a b; env -i X=1 env; ls /bin/sh
        for i in 1 2 3 4 5 6 7 8; do sort < s > /dev/null || echo no; done; sleep 0.01 & wait; (exit 3); echo $?; absent; echo $?",
    )
}

/// The library is the host's, at its place; the program and its loader are the root's.
fn python() -> Test {
    let python = need(&["/usr/bin/python3"])?;
    let real = fs::canonicalize(&python).expect("python");
    let ask = "import sys; print(sys.prefix, 'lib/python%d.%d' % sys.version_info[:2])";
    let output = Command::new(&python)
        .args(["-c", ask])
        .output()
        .expect("python");
    let library = String::from_utf8_lossy(&output.stdout)
        .trim()
        .replace(' ', "/");
    let modules = Path::new(&library).join("lib-dynload");
    if !modules.is_dir() {
        return Err(Skip(format!("no {}", modules.display())));
    }
    let program = r#"
import os, subprocess, sys, platform
print(sys.version, os.readlink("/proc/self/exe"), platform.libc_ver())
print(subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True))
pid = os.fork()
if pid == 0: os.execv("/proc/self/exe", ["python3", "-c", "import sys; print(sys.argv); sys.exit(7)"])
print(os.waitpid(pid, 0)[1])
"#;
    let quoted = program.replace('\'', "'\\''");
    script(
        &[text(&real), "/bin/sh"],
        &["--ro", &library],
        &format!("exec {} -c '{quoted}'", real.display()),
    )
}

/// musl's loader is its libc, and the host need have none at that path.
fn another_libc() -> Test {
    let compiler = need(&["/usr/bin/musl-gcc"])?;
    let loader = need(&[
        "/lib/x86_64-linux-musl/libc.so",
        "/usr/lib/x86_64-linux-musl/libc.so",
    ])?;
    need_sbox()?;
    let root = scratch();
    let source = root.path().join("a.c");
    let code = "#include <stdio.h>\n#include <unistd.h>\nint main(int c, char **v) { char b[99] = \"\"; readlink(\"/proc/self/exe\", b, 98); printf(\"%s %s %d\\n\", v[0], b, c); if (c < 3) execl(\"/proc/self/exe\", v[0], \"a\", \"b\", (char *)0); return 5; }";
    fs::write(&source, code).expect("write");
    fs::create_dir_all(root.path().join("opt")).expect("mkdir");
    for (path, name) in [
        ("/opt/odd-ld.so", "hello"),
        ("/lib/ld-musl-x86_64.so.1", "usual"),
    ] {
        let place = root.path().join(&path[1..]);
        fs::create_dir_all(place.parent().expect("parent")).expect("mkdir");
        fs::copy(&loader, &place).expect("copy");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("chmod");
        let made = Command::new(&compiler)
            .arg(&source)
            .arg(format!("-Wl,--dynamic-linker={path}"))
            .arg("-o")
            .arg(root.path().join(name))
            .output();
        assert!(made.expect("musl-gcc").status.success());
        let output = Job::new([format!("/{name}")])
            .flags(["--root", text(root.path())])
            .sandboxed()?;
        assert_eq!(
            (output.stdout_text().as_str(), output.code()),
            (
                format!("/{name} /{name} 1\n/{name} /{name} 3\n").as_str(),
                Some(5)
            ),
            "{}",
            output.all()
        );
    }
    Ok(())
}

fn changes_go_to_a_layer() -> Test {
    let (root, state) = (root_of(&TOOLS)?, scratch());
    fs::write(root.path().join("was"), "old\n").expect("write");
    let before = snapshot(root.path());
    let job = |script: &str| {
        let job = Job::sh(script).dir(Path::new("/")).state(state.path());
        job.flags(["--root", text(root.path()), "--keep", "rooted"])
    };
    let output = job("echo new > /was; echo more > /etc2; cat /was; cat /bin/cat > /copy; /bin/sh -c 'cat /etc2'").sandboxed()?;
    assert_eq!(output.stdout_text(), "new\nmore\n", "{}", output.all());
    assert_unchanged(&before, root.path());
    let output = job("cat /was; ls -d /etc2").run_sbox();
    assert_eq!(output.stdout_text(), "new\n/etc2\n", "{}", output.all());
    let diff = Command::new(support::sbox())
        .args(["diff", "rooted"])
        .env("XDG_STATE_HOME", state.path())
        .output()
        .expect("sbox");
    let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(diff.contains("was") && diff.contains("etc2"), "{diff}");
    Ok(())
}

fn read_only_and_writable() -> Test {
    let root = root_of(&TOOLS)?;
    let run = |how: &str| {
        let flag = format!("{}{how}", text(root.path()));
        Job::sh("echo x > /made; cat /made; pwd")
            .dir(Path::new("/"))
            .flags(["--root", &flag])
            .sandboxed()
    };
    let output = run(":ro")?;
    assert!(
        output.stderr_text().contains("Read-only file system"),
        "{}",
        output.all()
    );
    assert!(!root.path().join("made").exists());
    let output = run(":rw")?;
    assert_eq!(output.stdout_text(), "x\n/\n", "{}", output.all());
    assert_eq!(
        fs::read_to_string(root.path().join("made")).expect("made"),
        "x\n"
    );
    Ok(())
}

fn other_mounts_lie_over_it() -> Test {
    let (root, work) = (root_of(&TOOLS)?, scratch());
    fs::write(work.path().join("f"), "work\n").expect("write");
    fs::create_dir(root.path().join("tmp")).expect("mkdir");
    fs::write(root.path().join("tmp/hidden"), "").expect("write");
    fs::create_dir(root.path().join("proc")).expect("mkdir");
    fs::write(root.path().join("proc/not"), "").expect("write");
    let output = Job::sh("cat f /given/f /text; pwd; ls -A /tmp /empty; ls /proc/not /dev/null; echo x > /empty/x; cat /empty/x")
        .flags(["--root", text(root.path())])
        .flags(["--ro", text(work.path())])
        .flags(["--bind", &format!("{}:/given:ro", text(work.path()))])
        .flags(["--tmpfs", "/empty", "--file", "/text=given\n"])
        .dir(work.path())
        .sandboxed()?;
    // Where the tests themselves are built below /tmp, the way there is shown.
    let shown = output.stdout_text().replace("hidden\n", "HIDDEN\n");
    assert!(
        shown.starts_with(&format!("work\nwork\ngiven\n{}\n", work.path().display()))
            && shown.ends_with("/dev/null\nx\n")
            && !shown.contains("HIDDEN"),
        "{}",
        output.all()
    );
    assert!(
        output.stderr_text().contains("/proc/not"),
        "{}",
        output.all()
    );
    Ok(())
}

/// Neither its directories, nor the current one, nor its PATH.
fn nothing_of_the_host_is_shown() -> Test {
    let (root, here) = (root_of(&TOOLS)?, scratch());
    let output = Job::sh("ls -A / | sort; ls -d \"$0\"; echo \"$PATH\"; pwd; cat /etc/passwd")
        .arg(here.path())
        .flags(["--root", text(root.path())])
        .dir(here.path())
        .env("X", "1")
        .sandboxed()?;
    let names: Vec<String> = fs::read_dir(root.path())
        .expect("read")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .collect();
    let out = output.stdout_text();
    let listed: Vec<&str> = out
        .lines()
        .take_while(|line| !line.starts_with('/'))
        .collect();
    let guests = support::guest::dir();
    let own = [
        "dev",
        "proc",
        "sys",
        "tmp",
        text(&guests).split('/').nth(1).expect("absolute"),
    ];
    for name in &listed {
        assert!(
            own.contains(name) || names.iter().any(|n| n == name),
            "{name}"
        );
    }
    assert!(
        out.ends_with("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/\n"),
        "{}",
        output.all()
    );
    assert!(
        output.stderr_text().contains("/etc/passwd: No such file"),
        "{}",
        output.all()
    );
    Ok(())
}

/// With the host's network; without it the root's own file is shown.
fn name_servers_are_the_hosts() -> Test {
    let Ok(host) = fs::read("/etc/resolv.conf") else {
        return Err(Skip("no /etc/resolv.conf".into()));
    };
    let root = root_of(&TOOLS)?;
    fs::create_dir_all(root.path().join("etc")).expect("mkdir");
    std::os::unix::fs::symlink("/absent/place", root.path().join("etc/resolv.conf")).expect("link");
    for (net, wanted) in [("host", host.as_slice()), ("none", b"")] {
        let output = Job::sh("cat /etc/resolv.conf")
            .dir(Path::new("/"))
            .flags(["--root", text(root.path()), "--net", net])
            .sandboxed()?;
        assert_eq!(output.stdout, wanted, "{net}: {}", output.all());
    }
    Ok(())
}

fn what_is_no_root() -> Test {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").expect("write");
    for (path, wanted) in [
        (dir.path().join("absent"), "No such file or directory"),
        (file, "Not a directory"),
    ] {
        let output = Job::new(["/bin/true"])
            .flags(["--root", text(&path)])
            .sandboxed()?;
        assert_eq!(output.code(), Some(125), "{}", output.all());
        let said = output.stderr_text();
        assert!(said.contains("--root") && said.contains(wanted), "{said}");
    }
    let output = Job::new(["/bin/true"])
        .flags(["--root", text(dir.path())])
        .sandboxed()?;
    assert_eq!(output.code(), Some(127), "{}", output.all());
    Ok(())
}

/// What is kept of one exec for the next is the program's as it is: by every way to change it.
fn a_changed_program_is_run_anew() -> Test {
    let root = root_of(&TOOLS)?;
    let [one, two] = ["-DANSWER=1", "-DANSWER=2"].map(|answer| guest_defining("answer", answer));
    let (one, two) = (one?, two?);
    let job = Job::sh(
        "for wait in 0 0.3; do
            cat \"$0\" > p; chmod +x p; ./p; echo $?; sleep $wait; ./p; echo $?; sleep $wait
            cat \"$1\" > p; ./p; echo $?; sleep $wait; cat \"$0\" > p; ./p; echo $?; sleep $wait
            cat \"$1\" > q; chmod +x q; mv q p; ./p; echo $?; rm p
        done",
    );
    let dir = scratch();
    let output = job
        .arg(&one)
        .arg(&two)
        .writable_dir(dir.path())
        .flags(["--root", text(root.path())])
        .sandboxed()?;
    assert_eq!(
        output.stdout_text(),
        "1\n1\n2\n1\n2\n".repeat(2),
        "{}",
        output.all()
    );
    Ok(())
}

/// More than is kept for the next exec: each runs, again and again.
fn many_large_programs() -> Test {
    let (root, dir) = (root_of(&TOOLS)?, scratch());
    let answer = guest_defining("answer", "-DANSWER=0")?;
    let mut bytes = fs::read(&answer).expect("read");
    bytes.resize(bytes.len() + 100, 0);
    for number in 0..300 {
        let path = dir.path().join(format!("p{number}"));
        fs::write(&path, &bytes).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let output = Job::sh("ulimit -n 64; for n in 1 2; do for p in ./p*; do $p || echo \"$p $?\"; done; done; echo done")
        .writable_dir(dir.path())
        .flags(["--root", text(root.path())])
        .limit_secs(120)
        .sandboxed()?;
    assert_eq!(output.stdout_text(), "done\n", "{}", output.all());
    Ok(())
}

/// What sbox makes of a program may be longer than it may make a file.
fn a_limit_of_files_is_an_error() -> Test {
    let root = root_of(&TOOLS)?;
    need_sbox()?;
    let job = Job::new(["/bin/true"]).flags(["--root", text(root.path())]);
    let output = job.run_sbox();
    assert_eq!(output.code(), Some(0), "{}", output.all());
    let mut limited = vec![
        "/bin/sh".into(),
        "-c".into(),
        "ulimit -f 8; exec \"$0\" \"$@\"".into(),
    ];
    limited.push(support::sbox().into_os_string());
    limited.extend(job.sbox_args());
    let output = Job::new(limited).native();
    assert_eq!(output.code(), Some(126), "{}", output.all());
    assert!(
        output.stderr_text().contains("File too large"),
        "{}",
        output.all()
    );
    Ok(())
}

/// Runs the guest `attack_image` in a root.
fn attack(mode: &str, rounds: &str) -> Test {
    let (program, answer) = (
        guest("attack_image")?,
        guest_defining("answer", "-DANSWER=7")?,
    );
    let (root, dir, outside) = (root_of(&TOOLS)?, scratch(), scratch());
    let hidden = outside.path().join("hidden");
    fs::copy(guest_bare("answer", "-DANSWER=66")?, &hidden).expect("copy");
    let name = root
        .path()
        .file_name()
        .and_then(|n| n.to_str())
        .expect("name");
    let output = Job::new([program])
        .arg(mode)
        .arg(answer)
        .arg(hidden)
        .arg(name)
        .arg(rounds)
        .writable_dir(dir.path())
        .flags(["--root", text(root.path())])
        .limit_secs(150)
        .sandboxed()?;
    output.assert_guest_ok(mode);
    Ok(())
}

/// The descriptor that the kernel is to execute: of what another one names nothing runs.
fn an_exchanged_descriptor_runs_nothing_else() -> Test {
    attack("swap", "400")
}

/// The program's file, between our look and the kernel's.
fn a_changing_interpreter_is_never_run() -> Test {
    attack("header", "400")
}

/// What the kernel is given instead of the program: it is read-only, tells nothing of the host, and whoever spoils it
/// spoils it for nobody else.
fn what_runs_in_its_place_can_be_had_but_not_changed() -> Test {
    attack("steal", "400")
}

//! Mounts of the view against mounts of the kernel: nested, over files, one directory at two places; and what
//! only the view has: files of a given text, hidden directories with something shown below.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use support::{Job, Skip, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        as_the_kernel_has_them,
        hidden_and_shown_below,
        devices_are_the_hosts,
        mountinfo_lists_them_once,
        a_file_of_a_given_text,
        a_given_file_over_others,
    ])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

/// A directory that the guest `mounts` has filled.
fn prepared() -> Result<tempfile::TempDir, Skip> {
    let (program, dir) = (guest("mounts")?, scratch());
    let job = Job::new([program.as_path(), Path::new("prepare"), dir.path()]);
    let output = job.native();
    assert!(output.status.success(), "{}", output.all());
    Ok(dir)
}

/// The flags that show below `top` what the guest mounts there natively.
fn flags(top: &Path) -> Vec<String> {
    let at = |rest: &str| format!("{}/{rest}", text(top));
    let bind = |from: &str, to: &str| format!("{}:{}", at(from), at(to));
    [
        ["--rw", text(top)].map(str::to_owned),
        ["--ro".to_owned(), at("rw/ro")],
        ["--rw".to_owned(), at("rw/ro/rw")],
        ["--tmpfs".to_owned(), at("rw/ro/rw/tmp")],
        ["--tmpfs".to_owned(), at("rw/tmp")],
        ["--bind".to_owned(), bind("src/file", "rw/file")],
        ["--bind".to_owned(), bind("src/other", "rw/ro/file") + ":ro"],
        ["--bind".to_owned(), bind("src/dir", "one")],
        ["--bind".to_owned(), bind("src/dir", "two")],
        ["--rw".to_owned(), at("hold/in/mount")],
    ]
    .concat()
}

fn as_the_kernel_has_them() -> Test {
    let program = guest("mounts")?;
    need_sbox()?;
    let (outside, inside) = (prepared()?, prepared()?);
    let job = |what: &str, top: &Path| Job::new([program.as_path(), Path::new(what), top]);
    let native = job("jail", outside.path()).native();
    let boxed = job("try", inside.path())
        .dir(inside.path())
        .flags(flags(inside.path()))
        .run_sbox();
    boxed.assert_guest_ok("mounts");
    if native.code() == Some(2) {
        return Err(Skip(format!(
            "no mounts to compare with: {}",
            native.stderr_text()
        )));
    }
    native.assert_guest_ok("mounts, natively");
    job("try", inside.path()).compare(&native, &boxed);
    Ok(())
}

fn hidden_and_shown_below() -> Test {
    let program = guest("mounts")?;
    need_sbox()?;
    let dir = prepared()?;
    let at = |rest: &str| format!("{}/{rest}", text(dir.path()));
    let output = Job::new([program.as_path(), Path::new("hidden"), dir.path()])
        .dir(dir.path())
        .flags(flags(dir.path()))
        .flags(["--hide", &at("hide"), "--ro", &at("hide/shown")])
        .flags(["--hide", &at("hide/shown/deep")])
        .run_sbox();
    output.assert_guest_ok("mounts");
    let said = output.stdout_text();
    assert!(said.contains("list hide: ./4 ../4 shown/4\n"), "{said}");
    assert!(said.contains("list hide/shown: ./4 ../4 f/8\n"), "{said}");
    Ok(())
}

fn devices_are_the_hosts() -> Test {
    let program = guest("mounts")?;
    need_sbox()?;
    Job::new([program.as_path(), Path::new("devices"), Path::new("/")]).both()?;
    Ok(())
}

fn mountinfo_lists_them_once() -> Test {
    let dir = prepared()?;
    let output = Job::sh("cut -d' ' -f5,6 /proc/self/mountinfo")
        .dir(dir.path())
        .flags(flags(dir.path()))
        .sandboxed()?;
    let said = output.stdout_text();
    for (at, rw) in [
        ("", "rw"),
        ("/rw/ro", "ro"),
        ("/rw/ro/rw", "rw"),
        ("/rw/ro/rw/tmp", "rw"),
        ("/rw/tmp", "rw"),
        ("/rw/file", "rw"),
        ("/rw/ro/file", "ro"),
        ("/one", "rw"),
        ("/two", "rw"),
        ("/hold/in/mount", "rw"),
    ] {
        let line = format!("{}{at} {rw},", text(dir.path()));
        let count = said.lines().filter(|l| l.starts_with(&line)).count();
        assert_eq!(count, 1, "{line}: {}", output.all());
    }
    Ok(())
}

/// Everything that a file of a read-only mount is.
fn a_file_of_a_given_text() -> Test {
    let dir = scratch();
    let script = r#"cat /made/f; stat -c '%a %F %s %h' /made/f; ls -F /made /made/; i=$(stat -c %i /made/f); test $i = $(stat -Lc %i /proc/self/fd/0) && echo same
        readlink /proc/self/fd/0; cat <&0 | wc -c; grep -c equals /made/f; cat /made/empty | wc -c
        for call in 'echo > /made/f' 'echo >> /made/f' 'echo > /proc/self/fd/0' 'rm /made/f' 'mv /made/f /tmp' 'chmod 700 /made/f' 'touch /made/f' 'chmod 700 /proc/self/fd/0' 'truncate -s 1 /made/f' 'ln /made/f /made/g'; do
            sh -c "$call" 2>&1 | grep -oE 'Read-only|denied' | head -1; done; rm -f /tmp/f
        /made/f; echo $?; cp /made/f /tmp/f && cmp /tmp/f /made/f && echo copied; ln -s /made/f /tmp/l && cat /tmp/l | wc -c"#;
    let made = "/made/f=one\ntwo \\n = equals";
    let output = Job::new(["/bin/sh", "-c", &format!("exec < /made/f; {script}")])
        .dir(dir.path())
        .flags(["--file", made, "--file", "/made/empty="])
        .sandboxed()?;
    let body = "one\ntwo \\n = equals";
    // Without O_TRUNC the kernel, too, looks at the mode before it looks at the mount.
    let (mount, mode) = ("Read-only\n", "denied\n");
    let errors = [
        mount, mode, mount, mount, mount, mount, mode, mount, mode, mount,
    ]
    .concat();
    let want = format!(
        "{body}444 regular file {0} 1\n/made:\nempty\nf\n\n/made/:\nempty\nf\nsame\n/made/f\n{0}\n1\n0\n{1}126\ncopied\n{0}\n",
        body.len(),
        errors,
    );
    assert_eq!(output.stdout_text(), want, "{}", output.all());
    Ok(())
}

fn a_given_file_over_others() -> Test {
    let dir = scratch();
    for file in ["host", "shown"] {
        std::fs::write(dir.path().join(file), "of the host").expect("write");
    }
    std::os::unix::fs::symlink("shown", dir.path().join("link")).expect("link");
    let before = dir
        .path()
        .join("host")
        .metadata()
        .expect("there")
        .ctime_nsec();
    // Later flags win, relative paths start here, and a link itself is replaced.
    let output = Job::sh("cat host link shown; ls; rm host 2>&1 | grep -o busy; cat /bin/given /usr/bin/given; cat /etc/passwd")
        .dir(dir.path())
        .flags(["--rw", ".", "--file", "host=first;", "--file", "host=given;", "--file", "link=mine;"])
        .flags(["--file", "/bin/given=tool;", "--file", "/etc/passwd=nobody"])
        .sandboxed()?;
    let want = "given;mine;of the hosthost\nlink\nshown\nbusy\ntool;tool;nobody";
    assert_eq!(output.stdout_text(), want, "{}", output.all());
    let after = dir
        .path()
        .join("host")
        .metadata()
        .expect("there")
        .ctime_nsec();
    assert_eq!(before, after);
    for flag in ["/x", "=text", ""] {
        let output = Job::sh("true").flags(["--file", flag]).sandboxed()?;
        assert_eq!(output.code(), Some(2), "{flag}: {}", output.all());
    }
    Ok(())
}

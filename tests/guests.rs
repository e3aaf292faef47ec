//! The guest programs: natively and in sbox with the same answers, or in sbox alone for the attacks.
//!
//! The kernel is the oracle: what `paths`, `files`, `exec_forms` and the others print outside is what they must print inside.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{fs, io::Write};

use support::tree::{assert_unchanged, snapshot};
use support::{Job, Test, guest, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        path_calls_are_never_interrupted,
        fifos_meet_and_nobody_waits,
        fifos_meet_in_the_private_tmp,
        exec_in_every_form,
        exec_names_the_thread,
        threads_share_what_they_should,
        cpus_are_what_they_would_be,
        job_control,
        path_errors,
        path_only_descriptors,
        attributes_by_the_newer_calls,
        path_errors_below_a_tmpfs,
        file_operations,
        unix_sockets,
        peers_of_sockets,
        peers_outside_are_nobody,
        datagram_names,
        datagram_errors,
        datagrams_wait_for_room,
        datagrams_pass_descriptors,
        datagrams_beside_busy_threads,
        sockets_below_a_long_path,
        loopback_with_the_hosts_network,
        network_is_refused_by_default,
        sockets_outside_the_view,
        read_only_binds,
        read_only_directories,
        hidden_and_absent_are_the_same,
        every_syscall_number,
        escapes,
    ])
}

/// Runs a guest in two directories of its own, natively and in sbox, and compares. `prepare` fills each directory.
fn in_fresh_directories(name: &str, args: &[&str], prepare: impl Fn(&Path)) -> Test {
    let (program, outside, inside) = (guest(name)?, scratch(), scratch());
    need_sbox()?;
    prepare(outside.path());
    prepare(inside.path());
    let mut job = Job::new([&program]);
    for arg in args {
        job = job.arg(arg);
    }
    let native = job.clone().dir(outside.path()).native();
    native.assert_guest_ok(&format!("{name}, natively"));
    let boxed = job.clone().writable_dir(inside.path()).run_sbox();
    job.compare(&native, &boxed);
    boxed.assert_guest_ok(name);
    Ok(())
}

/// Nothing to prepare.
fn empty(_: &Path) {}

/// Whose job it is to be outside; killed when dropped.
struct Outsider(Child);

impl Outsider {
    /// A process that reports every signal it gets.
    fn start() -> Result<Self, support::Skip> {
        let mut child = Command::new(guest("sentinel")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sentinel");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("stdout"))
            .read_line(&mut line)
            .expect("ready");
        assert_eq!(line, "ready\n");
        Ok(Self(child))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Ends it: what it saw. Nothing, if all is well.
    fn finish(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let mut out = BufReader::new(self.0.stdout.take().expect("stdout"));
        while out.read_line(&mut said).expect("read") > 0 {}
        assert!(
            support::job::wait(&mut self.0, Duration::from_secs(5)).is_some_and(|s| s.success()),
            "sentinel: {said}"
        );
        said
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

/// A job whose guest gets the pid of sbox itself as the argument after the given ones: the shell's pid becomes sbox's.
fn with_own_pid(job: &Job, before_exec: &str, more: &[&str]) -> Command {
    let plain = job.sbox_command();
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("{before_exec} exec \"$@\" $$ {}", more.join(" ")))
        .arg("sh");
    command
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("set"));
    }
    if let Some(dir) = plain.get_current_dir() {
        command.current_dir(dir);
    }
    command
}

fn path_calls_are_never_interrupted() -> Test {
    let program = guest("eintr_storm")?;
    Job::new([&program])
        .native()
        .assert_guest_ok("eintr_storm, natively");
    Job::new([&program])
        .limit_secs(120)
        .sandboxed()?
        .assert_guest_ok("eintr_storm");
    Ok(())
}

fn fifos_meet_and_nobody_waits() -> Test {
    in_fresh_directories("fifo", &[], empty)
}

/// The same on a file system that sbox makes up.
fn fifos_meet_in_the_private_tmp() -> Test {
    let program = guest("fifo")?;
    Job::new([&program])
        .flags(["--cwd", "/tmp"])
        .sandboxed()?
        .assert_guest_ok("fifo in /tmp");
    Ok(())
}

fn exec_in_every_form() -> Test {
    exec_forms(&[])
}

/// The same, and the name of the new program's thread (`comm`), which Linux takes from the path of the call.
fn exec_names_the_thread() -> Test {
    exec_forms(&["names"])
}

fn exec_forms(args: &[&str]) -> Test {
    let (dynamic, fixed) = (guest("echoargs")?, guest_static("echoargs")?);
    in_fresh_directories("exec_forms", args, |dir| {
        fs::copy(&dynamic, dir.join("dyn")).expect("copy");
        fs::copy(&fixed, dir.join("static")).expect("copy");
    })
}

fn threads_share_what_they_should() -> Test {
    in_fresh_directories("threads", &[], empty)
}

/// sbox keeps a guest on one CPU while it is alone, and must neither tell it so nor hold it there when it isn't.
fn cpus_are_what_they_would_be() -> Test {
    let job = Job::new([&guest("cpus")?]).arg("busy").limit_secs(300);
    job.both()?.assert_guest_ok("cpus");
    Ok(())
}

fn job_control() -> Test {
    in_fresh_directories("jobctl", &[], empty)
}

fn path_errors() -> Test {
    in_fresh_directories("paths", &[], empty)
}

fn path_only_descriptors() -> Test {
    in_fresh_directories("opath", &[], empty)
}

fn attributes_by_the_newer_calls() -> Test {
    in_fresh_directories("attrs", &[], empty)
}

/// The private /tmp has no host directory whose errors could shine through; compared with the host's own /tmp.
fn path_errors_below_a_tmpfs() -> Test {
    let program = guest("paths")?;
    need_sbox()?;
    let outside = tempfile::Builder::new()
        .prefix("sbox-")
        .tempdir_in("/tmp")
        .expect("directory in /tmp");
    let job = Job::new([&program]).dir(outside.path());
    let native = job.native();
    let boxed = Job::sh(&format!("mkdir x && cd x && exec {}", program.display()))
        .flags(["--cwd", "/tmp"])
        .run_sbox();
    job.compare(&native, &boxed);
    Ok(())
}

fn file_operations() -> Test {
    in_fresh_directories("files", &[], empty)
}

fn unix_sockets() -> Test {
    in_fresh_directories("sockets", &["unix"], empty)
}

fn peers_of_sockets() -> Test {
    in_fresh_directories("peers", &["inside"], empty)
}

/// A descriptor that was passed in, a listener outside, and one outside that connects. They see no name of a guest's socket.
fn peers_outside_are_nobody() -> Test {
    let (program, dir) = (guest("peers")?, scratch());
    need_sbox()?;
    let held = fs::File::open(dir.path()).expect("open");
    let at = format!("/proc/self/fd/{}", held.as_raw_fd());
    let theirs = UnixListener::bind(format!("{at}/theirs")).expect("bind");
    let outsider = std::thread::spawn(move || {
        let (mut stream, address) = theirs.accept().expect("accept");
        stream.read_exact(&mut [0]).expect("it listens");
        let connection = UnixStream::connect(format!("{at}/ours")).expect("connect");
        stream.write_all(b"x").expect("write");
        drop((connection, held));
        address.is_unnamed()
    });
    let (passed, _kept) = UnixStream::pair().expect("pair");
    let job = Job::new([&program]).arg("outside").writable_dir(dir.path());
    let mut child = job
        .sbox_command()
        .stdin(Stdio::from(OwnedFd::from(passed)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("sbox");
    let status = support::job::wait(&mut child, Duration::from_secs(30));
    let mut said = String::new();
    if status.is_none() {
        child.kill().expect("it hangs");
    }
    let mut out = child.stdout.take().expect("stdout");
    out.read_to_string(&mut said).expect("text");
    assert!(status.is_some_and(|s| s.success()), "{said}");
    assert_eq!(said.matches("ok ").count(), 9, "{said}");
    assert!(outsider.join().expect("outsider"), "the client has a name");
    Ok(())
}

fn datagram_names() -> Test {
    in_fresh_directories("datagrams", &["names"], empty)
}

fn datagram_errors() -> Test {
    in_fresh_directories("datagrams", &["errors"], empty)
}

fn datagrams_wait_for_room() -> Test {
    in_fresh_directories("datagrams", &["sleeping"], empty)
}

fn datagrams_pass_descriptors() -> Test {
    in_fresh_directories("datagrams", &["passing"], empty)
}

fn datagrams_beside_busy_threads() -> Test {
    in_fresh_directories("datagrams", &["threads"], empty)
}

/// The path on the host is longer than any address may be; natively the same names in a short one.
fn sockets_below_a_long_path() -> Test {
    let program = guest("datagrams")?;
    need_sbox()?;
    let short = tempfile::Builder::new()
        .prefix("s-")
        .tempdir_in("/tmp")
        .expect("directory in /tmp");
    let deep = scratch();
    let long = deep.path().join("d".repeat(120));
    fs::create_dir(&long).expect("mkdir");
    let here = short.path().display();
    let job = Job::new([&program]).arg("long").arg(short.path());
    let native = job.native();
    let boxed = job
        .clone()
        .flags(["--bind".into(), format!("{}:{here}", long.display())])
        .run_sbox();
    job.compare(&native, &boxed);
    boxed.assert_guest_ok("datagrams long");
    Ok(())
}

fn loopback_with_the_hosts_network() -> Test {
    let job = Job::new([guest("sockets")?])
        .arg("loopback")
        .flags(["--net", "host"]);
    let native = job.native();
    if native.stdout_text().contains("tcp bind: E") {
        return Err(support::Skip("no loopback interface".into()));
    }
    job.both()?.assert_guest_ok("sockets loopback");
    Ok(())
}

fn network_is_refused_by_default() -> Test {
    let name = format!("sbox-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("name");
    let _listener = UnixListener::bind_addr(&address).expect("abstract socket");
    let job = Job::new([guest("sockets")?])
        .arg("refused")
        .env("GUEST_ABSTRACT", &name);
    job.sandboxed()?.assert_guest_ok("sockets refused");
    Ok(())
}

/// A listening socket of the host under a hidden name is no more reachable than one that doesn't exist.
fn sockets_outside_the_view() -> Test {
    let (program, dir) = (guest("sockets")?, scratch());
    need_sbox()?;
    fs::create_dir(dir.path().join("hid")).expect("mkdir");
    // Bound through a descriptor: socket paths have no more than 108 bytes, and the scratch directory may be deep.
    let hid = fs::File::open(dir.path().join("hid")).expect("open");
    let short = format!("/proc/self/fd/{}/s", hid.as_raw_fd());
    let listener = UnixListener::bind(&short).expect("bind");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _peer_may_be_gone = stream.write_all(b"F");
        }
    });
    let job = Job::new([&program])
        .arg("reach")
        .arg("hid/s")
        .dir(dir.path());
    assert!(
        job.native().stdout_text().contains("got F"),
        "the socket works outside"
    );
    let hidden = job
        .clone()
        .flags([Path::new("--hide"), &dir.path().join("hid")])
        .run_sbox();
    assert_eq!(
        hidden.stdout_text(),
        "stat: ENOENT\nconnect: ENOENT\n",
        "{}",
        hidden.all()
    );
    let single = job
        .flags([Path::new("--hide"), &dir.path().join("hid/s")])
        .run_sbox();
    assert_eq!(
        single.stdout_text(),
        "stat: ENOENT\nconnect: ENOENT\n",
        "{}",
        single.all()
    );
    Ok(())
}

/// Fills a directory with what the guest `readonly` attacks.
fn precious(dir: &Path) {
    fs::write(dir.join("file"), "content of the host's file").expect("write");
    fs::create_dir(dir.join("sub")).expect("mkdir");
    fs::write(dir.join("sub/inner"), "inner").expect("write");
    std::os::unix::fs::symlink("file", dir.join("link")).expect("symlink");
}

fn read_only_binds() -> Test {
    let (program, dir) = (guest("readonly")?, scratch());
    precious(dir.path());
    let before = snapshot(dir.path());
    let job = Job::new([&program])
        .arg(dir.path())
        .arg("/tmp")
        .flags([Path::new("--ro"), dir.path()]);
    let result = job.sandboxed()?;
    result.assert_guest_ok("readonly");
    assert_unchanged(&before, dir.path());
    Ok(())
}

/// The current directory needs no flag to be read-only, nor do the system's directories.
fn read_only_directories() -> Test {
    let (program, dir) = (guest("readonly")?, scratch());
    precious(dir.path());
    let before = snapshot(dir.path());
    let result = Job::new([&program])
        .arg(dir.path())
        .arg("/tmp")
        .dir(dir.path())
        .flags([Path::new("--ro"), dir.path()])
        .sandboxed()?;
    result.assert_guest_ok("readonly");
    assert_unchanged(&before, dir.path());
    let usr = Job::sh(
        "for d in /usr /etc /bin /lib; do touch $d/sbox-was-here && echo wrote $d; done; :",
    )
    .sandboxed()?;
    assert_eq!(usr.stdout_text(), "", "{}", usr.all());
    assert_eq!(
        usr.stderr_text().matches("Read-only file system").count(),
        4,
        "{}",
        usr.all()
    );
    Ok(())
}

fn hidden_and_absent_are_the_same() -> Test {
    let (program, dir) = (guest("hidden")?, scratch());
    let at = |name: &str| dir.path().join(name);
    fs::write(at("secret.txt"), "SECRET-MARKER").expect("write");
    fs::create_dir(at("secretd")).expect("mkdir");
    fs::write(at("secretd/inside"), "SECRET-MARKER").expect("write");
    let before = (snapshot(&at("secret.txt")), snapshot(&at("secretd")));
    let outsider = Outsider::start()?;
    let mut job = Job::new([&program]).writable_dir(dir.path());
    job = job
        .flags([Path::new("--hide"), &at("secret.txt")])
        .flags([Path::new("--hide"), &at("secretd")]);
    for name in ["secret.txt", "absent.txt", "secretd", "absentd"] {
        job = job.arg(at(name));
    }
    job = job.arg(outsider.pid());
    need_sbox()?;
    let result = support::job::run(with_own_pid(&job, "", &[]), &[], Duration::from_secs(60));
    assert_eq!(outsider.finish(), "", "signals reached a process outside");
    result.assert_guest_ok("hidden");
    assert_unchanged(&before.0, &at("secret.txt"));
    assert_unchanged(&before.1, &at("secretd"));
    Ok(())
}

fn every_syscall_number() -> Test {
    let (program, dir) = (guest_static("all_numbers")?, scratch());
    let hidden = dir.path().join("hidden-file");
    let file = fs::File::create(&hidden).expect("create");
    (&file).write_all(b"SECRET-MARKER").expect("write");
    file.set_len(7_654_321).expect("size");
    drop(file);
    let before = snapshot(dir.path());
    let job = Job::new([&program])
        .arg(&hidden)
        .arg(dir.path().join("absent-file"))
        .arg(dir.path());
    let job = job
        .dir(dir.path())
        .flags([Path::new("--ro"), dir.path()])
        .flags([Path::new("--hide"), &hidden])
        .limit_secs(240);
    let result = job.sandboxed()?;
    result.assert_guest_ok("all_numbers");
    assert_unchanged(&before, dir.path());
    Ok(())
}

fn escapes() -> Test {
    let (program, dir) = (guest("escape")?, scratch());
    need_sbox()?;
    let secret = dir.path().join("secret");
    fs::write(&secret, "SECRET-MARKER").expect("write");
    let before = snapshot(dir.path());
    let outsider = Outsider::start()?;
    // From /, so that the secret isn't below a current directory that is shown.
    let job = Job::new([&program]).dir(Path::new("/"));
    // Descriptors that sbox inherits and must not pass on, one of them open for writing.
    let leak = format!("exec 5</etc/passwd 8<'{0}' 9>>'{0}';", secret.display());
    let command = with_own_pid(
        &job,
        &leak,
        &[&outsider.pid(), &format!("'{}'", secret.display())],
    );
    let result = support::job::run(command, &[], Duration::from_secs(120));
    assert_eq!(outsider.finish(), "", "signals reached a process outside");
    result.assert_guest_ok("escape");
    assert_unchanged(&before, dir.path());
    Ok(())
}

//! Attacks that once succeeded: each guest `attack_*` broke out of a sandbox or hung it.
//!
//! They run in sbox alone. What they were after is looked at from outside.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::major;
use nix::sys::statvfs::{FsFlags, statvfs};
use support::guest::guest_static_defining;
use support::tree::{assert_unchanged, snapshot};
use support::{Job, Output, Skip, Test, guest, need_sbox, scratch, scratch_base};
use tempfile::TempDir;

/// None of the guests takes more than a few seconds; a hung sandbox is what some of them are after.
const LIMIT: u64 = 20;

fn main() -> ExitCode {
    support::main(tests![
        connect_never_blocks_the_supervisor,
        datagrams_reach_no_socket_of_the_host,
        files_too_deep_for_a_path_stay_read_only,
        exec_never_runs_a_script_of_the_host,
        the_callers_group_keeps_its_priority,
        nobody_is_changed_by_the_number_of_one_that_has_ended,
        killed_in_exec_leaves_no_process_behind,
        killed_in_fork_lets_the_run_end,
        hidden_names_are_not_listed,
        a_slash_follows_no_link_on_the_host,
        files_that_come_and_go_are_not_made,
        own_files_are_out_of_reach,
        closed_terminals_are_not_those_of_the_host,
        a_link_exchanged_in_exec_shows_no_hidden_script,
        a_link_exchanged_in_exec_tells_no_hidden_directory,
        a_late_interpreter_is_never_run,
        a_fifo_for_an_interpreter_blocks_nobody,
        a_dead_runs_directory_is_no_link,
        a_dead_runs_directory_is_no_fifo,
        killed_in_clone_leaves_no_child_stopped,
        a_busy_tracer_serves_the_others,
        calls_made_for_a_guest_are_not_hijacked,
        signals_while_calls_are_made_for_a_guest,
    ])
}

/// A guest that runs in sbox from `/`: nothing but what its flags say is shown of the scratch directories.
fn attack(name: &str) -> Result<Job, Skip> {
    let job = Job::new([guest(name)?]);
    need_sbox()?;
    Ok(job.dir(Path::new("/")).limit_secs(LIMIT))
}

/// A new directory in `dir`.
fn subdirectory(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir(&path).expect("mkdir");
    path
}

fn connect_never_blocks_the_supervisor() -> Test {
    let output = attack("attack_connect")?
        .arg("/tmp/full")
        .arg("600")
        .run_sbox();
    output.assert_guest_ok("attack_connect");
    Ok(())
}

/// What has arrived since the last look.
fn arrived(socket: &UnixDatagram) -> usize {
    let mut buffer = [0u8; 16];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}

fn datagrams_reach_no_socket_of_the_host() -> Test {
    let job = attack("attack_datagram")?;
    // In the host's /tmp, whose paths are short; the view has a /tmp of its own.
    let dir = tempfile::Builder::new()
        .prefix("sbox-")
        .tempdir_in("/tmp")
        .expect("directory in /tmp");
    let path = dir.path().join("log");
    let name = format!("sbox-attack-{}", std::process::id());
    let by_path = UnixDatagram::bind(&path).expect("bind");
    let address = SocketAddr::from_abstract_name(&name).expect("name");
    let by_name = UnixDatagram::bind_addr(&address).expect("bind");
    for socket in [&by_path, &by_name] {
        socket.set_nonblocking(true).expect("nonblocking");
    }
    let job = job.arg(&path).arg(&name);
    job.clone().arg("0").native();
    assert!(
        arrived(&by_path) > 0 && arrived(&by_name) > 0,
        "outside, both can be reached"
    );
    let output = job.arg("300").limit_secs(60).run_sbox();
    assert_eq!(
        (arrived(&by_path), arrived(&by_name)),
        (0, 0),
        "datagrams have left the sandbox: {}",
        output.all()
    );
    output.assert_guest_ok("attack_datagram");
    Ok(())
}

fn files_too_deep_for_a_path_stay_read_only() -> Test {
    const LEVELS: usize = 20;
    let (dir, name) = (scratch(), "d".repeat(250));
    let job = attack("attack_deep_readonly")?;
    // Step by step: the whole path is longer than any call takes.
    let mut deepest = File::open(dir.path()).expect("open");
    let below = |dir: &File, name: &str| format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    for _ in 0..LEVELS {
        let next = below(&deepest, &name);
        fs::create_dir(&next).expect("mkdir");
        deepest = File::open(&next).expect("open");
    }
    let file = below(&deepest, "f");
    fs::write(&file, "old").expect("write");
    let look = || {
        let meta = fs::metadata(&file).expect("stat");
        let text = fs::read_to_string(&file).expect("read");
        (meta.mode(), meta.ctime(), meta.ctime_nsec(), text)
    };
    let before = look();
    let output = job
        .arg(dir.path())
        .arg(&name)
        .arg(LEVELS.to_string())
        .flags([OsStr::new("--ro"), dir.path().as_os_str()])
        .run_sbox();
    output.assert_guest_ok("attack_deep_readonly");
    assert_eq!(before, look(), "the host's file changed");
    Ok(())
}

fn exec_never_runs_a_script_of_the_host() -> Test {
    let (job, dir) = (attack("attack_exec_by_path")?, scratch());
    let script = dir.path().join("script");
    telling_script(&script);
    let output = job.arg(&script).arg("1000").run_sbox();
    output.assert_guest_ok("attack_exec_by_path");
    Ok(())
}

/// A shell is the caller: it leads the group that sbox and the guest are in.
fn the_callers_group_keeps_its_priority() -> Test {
    let inner = attack("attack_group_nice")?.sbox_command();
    let mut caller = Command::new("/bin/sh");
    caller
        .args(["-c", "nice; \"$@\"; status=$?; nice; exit $status", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir("/");
    let output = support::job::run(caller, &[], Duration::from_secs(LIMIT));
    output.assert_guest_ok("attack_group_nice");
    let text = output.stdout_text();
    let (first, last) = (text.lines().next(), text.lines().next_back());
    assert!(
        first == last && first.is_some_and(|n| n.parse::<i32>().is_ok()),
        "the caller was reniced: {}",
        output.all()
    );
    Ok(())
}

fn nobody_is_changed_by_the_number_of_one_that_has_ended() -> Test {
    let output = attack("attack_zombie_number")?.run_sbox();
    output.assert_guest_ok("attack_zombie_number");
    Ok(())
}

fn killed_in_exec_leaves_no_process_behind() -> Test {
    let output = attack("attack_kill_in_exec")?.arg("400").run_sbox();
    output.assert_guest_ok("attack_kill_in_exec");
    Ok(())
}

fn killed_in_fork_lets_the_run_end() -> Test {
    let output = attack("attack_kill_in_fork")?.arg("400").run_sbox();
    output.assert_guest_ok("attack_kill_in_fork");
    Ok(())
}

fn hidden_names_are_not_listed() -> Test {
    let (job, dir) = (attack("attack_list_hidden")?, scratch());
    // Not what a flag shows, but a directory in it: the view has nothing of its own there.
    let listed = subdirectory(dir.path(), "listed");
    fs::write(listed.join("shown"), "").expect("write");
    fs::write(listed.join("secret"), "").expect("write");
    let output = job
        .arg(&listed)
        .flags([OsStr::new("--ro"), dir.path().as_os_str()])
        .flags([OsStr::new("--hide"), listed.join("secret").as_os_str()])
        .run_sbox();
    let text = output.stdout_text();
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    assert_eq!(names, [".", "..", "shown"], "{}", output.all());
    Ok(())
}

/// On a read-only mount `O_CREAT` opens what is there. What somebody removes just then must not be made anew.
fn files_that_come_and_go_are_not_made() -> Test {
    let (job, dir) = (attack("attack_open_creat")?, scratch());
    let file = dir.path().join("file");
    let job = job
        .arg(&file)
        .flags([OsStr::new("--ro"), dir.path().as_os_str()]);
    let guest = std::thread::spawn(move || job.run_sbox());
    let mut made_inside = 0;
    while !guest.is_finished() {
        match File::create_new(&file) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => made_inside += 1,
            Err(e) => panic!("create: {e}"),
        }
        fs::remove_file(&file).expect("remove");
    }
    guest
        .join()
        .expect("the guest's thread")
        .assert_guest_ok("attack_open_creat");
    assert_eq!(made_inside, 0, "files made on a read-only mount");
    Ok(())
}

fn a_slash_follows_no_link_on_the_host() -> Test {
    let (job, dir) = (attack("attack_mkdir_slash")?, scratch());
    let shown = subdirectory(dir.path(), "shown");
    let outside = subdirectory(dir.path(), "outside");
    let before = snapshot(&outside);
    let alias = format!("{}:/alias:ro", shown.display());
    let output = job
        .arg(&shown)
        .arg("/alias")
        .arg(&outside)
        .arg(dir.path().join("absent"))
        .flags([OsStr::new("--rw"), shown.as_os_str()])
        .flags(["--bind", &alias])
        .run_sbox();
    output.assert_guest_ok("attack_mkdir_slash");
    assert_unchanged(&before, &outside);
    Ok(())
}

fn own_files_are_out_of_reach() -> Test {
    let (job, dir) = (attack("attack_scratch")?, scratch());
    // A temporary directory of this run alone: the guest must not find what other runs keep in the host's.
    let tmp = subdirectory(dir.path(), "tmp");
    let victim = subdirectory(dir.path(), "victim");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).expect("chmod");
    let before = snapshot(&victim);
    let job = job
        .arg(&tmp)
        .arg(&victim)
        .flags([OsStr::new("--rw"), tmp.as_os_str()]);
    let mut command = job.sbox_command();
    command.env("TMPDIR", &tmp);
    let output = support::job::run(command, &[], Duration::from_secs(LIMIT));
    assert_unchanged(&before, &victim);
    output.assert_guest_ok("attack_scratch");
    assert!(
        fs::read_dir(&tmp).is_ok_and(|mut entries| entries.next().is_some()),
        "sbox kept its files elsewhere: the guest had nothing to find"
    );
    Ok(())
}

/// A terminal of the host that another process may open, and its number.
fn terminal() -> Result<(PtyMaster, u32), Skip> {
    let missing = |e| Skip(format!("no pseudo-terminals: {e}"));
    let master =
        posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).map_err(missing)?;
    grantpt(&master).map_err(missing)?;
    unlockpt(&master).map_err(missing)?;
    let name = ptsname_r(&master).map_err(missing)?;
    let number = name.rsplit('/').next().and_then(|n| n.parse().ok());
    Ok((master, number.expect("number")))
}

fn closed_terminals_are_not_those_of_the_host() -> Test {
    let (job, dir) = (attack("attack_terminal")?, scratch());
    let (_, lowest) = terminal()?;
    let (closed, go) = (dir.path().join("closed"), dir.path().join("go"));
    let job = job.arg((lowest + 64).to_string()).writable_dir(dir.path());
    let guest = std::thread::spawn(move || job.run_sbox());
    let deadline = Instant::now() + Duration::from_secs(LIMIT);
    while !closed.exists() && !guest.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let numbers = fs::read_to_string(&closed).unwrap_or_default();
    // The lowest free numbers are given first: more terminals than the guest closed take all of its numbers.
    let terminals: Result<Vec<_>, Skip> = (0..16).map(|_| terminal()).collect();
    fs::write(&go, "").expect("write");
    let output = guest.join().expect("the guest's thread");
    let terminals = terminals?;
    output.assert_guest_ok("attack_terminal");
    let again = numbers.lines().filter_map(|n| n.parse().ok());
    let again = again.filter(|n: &u32| terminals.iter().any(|(_, host)| host == n));
    if again.count() == 0 {
        return Err(Skip("the host's terminals got other numbers".into()));
    }
    Ok(())
}

/// Runs the guest `attack_exec_by_link`: `evil` may be followed by no exec.
fn exec_by_link(shown: &Path, evil: &Path) -> Test {
    let output = attack("attack_exec_by_link")?
        .arg(shown)
        .arg(evil)
        .arg("200")
        .flags([OsStr::new("--rw"), shown.as_os_str()])
        .run_sbox();
    output.assert_guest_ok("attack_exec_by_link");
    Ok(())
}

/// A script whose first line shows in what its interpreter says.
fn telling_script(path: &Path) {
    fs::write(path, "#!/bin/sh -secretarg\n").expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

fn a_link_exchanged_in_exec_shows_no_hidden_script() -> Test {
    let dir = scratch();
    let script = dir.path().join("script");
    telling_script(&script);
    exec_by_link(&subdirectory(dir.path(), "shown"), &script)
}

fn a_link_exchanged_in_exec_tells_no_hidden_directory() -> Test {
    let dir = scratch();
    let shown = subdirectory(dir.path(), "shown");
    let hidden = subdirectory(dir.path(), "hidden");
    telling_script(&shown.join("script"));
    exec_by_link(&shown, &hidden.join("../shown/script"))
}

fn a_late_interpreter_is_never_run() -> Test {
    let (job, dir) = (attack("attack_late_interpreter")?, scratch());
    let program = guest_static_defining("answer", "-DANSWER=7")?;
    let hidden = dir.path().join("hidden");
    fs::copy(guest_static_defining("answer", "-DANSWER=66")?, &hidden).expect("copy");
    let shown = subdirectory(dir.path(), "shown");
    let output = job
        .arg(&shown)
        .arg(program)
        .arg(hidden)
        .arg("400")
        .flags([OsStr::new("--rw"), shown.as_os_str()])
        .run_sbox();
    output.assert_guest_ok("attack_late_interpreter");
    Ok(())
}

/// What a guest is sent to user mode for, it makes; else it is killed before it makes anything.
fn calls_made_for_a_guest_are_not_hijacked() -> Test {
    for mode in ["exec", "socket", "guard"] {
        let (job, dir) = (attack("attack_restart")?, scratch());
        let output = job.arg(mode).writable_dir(dir.path()).run_sbox();
        if output.stdout_text().starts_with("skip: ") {
            return Err(Skip(output.stdout_text()));
        }
        output.assert_guest_ok(mode);
    }
    Ok(())
}

/// A process that is killed or stopped meanwhile holds nobody up, and loses no signal.
fn signals_while_calls_are_made_for_a_guest() -> Test {
    for mode in ["script", "socket", "stop"] {
        let (job, dir) = (attack("attack_kill_injected")?, scratch());
        let output = job.arg(mode).writable_dir(dir.path()).run_sbox();
        output.assert_guest_ok(mode);
    }
    Ok(())
}

/// A new directory where the supervisor can't tell by stat(2) how the kernel shows a mapped file.
fn scratch_without_device() -> Result<TempDir, Skip> {
    let places = [scratch_base(), "/dev/shm".into(), "/tmp".into()];
    let fits = |place: &&PathBuf| {
        fs::metadata(place).is_ok_and(|meta| major(meta.dev()) == 0)
            && statvfs(place.as_path()).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_NOEXEC))
    };
    let dirs = places.iter().filter(fits);
    dirs.filter_map(|place| tempfile::tempdir_in(place).ok())
        .next()
        .ok_or_else(|| Skip("no tmpfs to run programs in".into()))
}

fn a_fifo_for_an_interpreter_blocks_nobody() -> Test {
    let (job, dir) = (
        attack("attack_interpreter_fifo")?,
        scratch_without_device()?,
    );
    let output = job
        .arg(dir.path())
        .arg("200")
        .flags([OsStr::new("--rw"), dir.path().as_os_str()])
        .run_sbox();
    output.assert_guest_ok("attack_interpreter_fifo");
    Ok(())
}

/// Lets the guest plant something of this kind, and runs a second sandbox in whose temporary directory that lies.
fn after_a_dead_run(plant: Job, tmp: &Path) -> Result<Output, Skip> {
    plant
        .flags([OsStr::new("--rw"), tmp.as_os_str()])
        .run_sbox()
        .assert_guest_ok("attack_dead_runs");
    // A directory that is sbox's own: that is when it removes what is left of others.
    let next = Job::sh("exec 3</proc").dir(Path::new("/"));
    let mut command = next.sbox_command();
    command.env("TMPDIR", tmp);
    Ok(support::job::run(command, &[], Duration::from_secs(LIMIT)))
}

fn a_dead_runs_directory_is_no_link() -> Test {
    let (job, dir) = (attack("attack_dead_runs")?, scratch());
    let tmp = subdirectory(dir.path(), "tmp");
    let victim = subdirectory(dir.path(), "victim");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o711)).expect("chmod");
    let before = snapshot(&victim);
    let output = after_a_dead_run(job.arg("link").arg(&tmp).arg(&victim), &tmp)?;
    assert_unchanged(&before, &victim);
    assert_eq!(output.code(), Some(0), "{}", output.all());
    Ok(())
}

fn a_dead_runs_directory_is_no_fifo() -> Test {
    let (job, dir) = (attack("attack_dead_runs")?, scratch());
    let tmp = subdirectory(dir.path(), "tmp");
    let output = after_a_dead_run(job.arg("fifo").arg(&tmp), &tmp)?;
    assert_eq!(output.code(), Some(0), "{}", output.all());
    Ok(())
}

fn killed_in_clone_leaves_no_child_stopped() -> Test {
    let output = attack("attack_kill_in_clone")?.arg("40").run_sbox();
    output.assert_guest_ok("attack_kill_in_clone");
    Ok(())
}

fn a_busy_tracer_serves_the_others() -> Test {
    let output = attack("attack_starve")?.arg("4").arg("8").run_sbox();
    output.assert_guest_ok("attack_starve");
    Ok(())
}

//! `/proc` of the view: each file that it has is what the kernel has, and can be read as there.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;

use support::{Job, Test, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        each_file_is_read_as_natively,
        groups_of_the_host_are_not_told,
        descriptors_are_read_again,
        namespaces_can_be_told_and_compared,
        tools_see_what_changes,
    ])
}

/// For each file of a process, of a thread, and of the system: its type, and what reading it comes to, twice from one descriptor.
const LOOK: &str = r"
import os, stat
def look(directory):
    for name in sorted(os.listdir(directory)):
        path = directory + '/' + name
        if name.isdigit(): continue
        mode = os.lstat(path).st_mode
        said = ''
        try:
            if stat.S_ISLNK(mode): os.readlink(path)
            if stat.S_ISREG(mode):
                fd = os.open(path, os.O_RDONLY)
                first = len(os.read(fd, 1 << 16)) > 0
                again = os.pread(fd, 1 << 16, 0)
                os.lseek(fd, 0, 0)
                said = (first, len(again) > 0, len(os.read(fd, 1 << 16)) > 0)
                os.close(fd)
        except OSError as e: said = e.strerror
        print(where, name, stat.S_IFMT(mode), said)
for where, directory in [('process', '/proc/self'), ('thread', '/proc/self/task/%d' % os.getpid()), ('system', '/proc')]: look(directory)
";

/// Ordinary tools look for these.
const USUAL: [&str; 31] = [
    "process auxv",
    "process cgroup",
    "process cmdline",
    "process comm",
    "process cwd",
    "process environ",
    "process exe",
    "process fd",
    "process fdinfo",
    "process gid_map",
    "process io",
    "process limits",
    "process maps",
    "process mountinfo",
    "process mounts",
    "process ns",
    "process oom_score",
    "process root",
    "process smaps",
    "process stat",
    "process statm",
    "process status",
    "process task",
    "process uid_map",
    "process wchan",
    "system cpuinfo",
    "system loadavg",
    "system meminfo",
    "system stat",
    "system uptime",
    "system version",
];

fn each_file_is_read_as_natively() -> Test {
    let (python, setpriv) = (need(&["/usr/bin/python3"])?, need(&["/usr/bin/setpriv"])?);
    need_sbox()?;
    // In sbox nobody has capabilities.
    let bare: &[&str] = &[
        &setpriv,
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let bare = if nix::unistd::geteuid().is_root() {
        bare
    } else {
        &[]
    };
    let look = [python.as_str(), "-c", LOOK];
    let native = Job::new(bare.iter().copied().chain(look)).native();
    let boxed = Job::new(look).flags(["--cwd", "/"]).run_sbox();
    assert!(
        boxed.status.success() && native.status.success(),
        "{}{}",
        boxed.all(),
        native.all()
    );
    let files = |text: String| -> BTreeMap<String, String> {
        let lines = text.lines().map(|line| {
            let at = line.match_indices(' ').nth(1).map_or(0, |(at, _)| at);
            (line[..at].to_owned(), line[at..].to_owned())
        });
        lines.collect()
    };
    let (wanted, said) = (files(native.stdout_text()), files(boxed.stdout_text()));
    for (name, what) in &said {
        assert_eq!(Some(what), wanted.get(name), "{name}");
    }
    for name in USUAL {
        assert!(said.contains_key(name), "no {name}");
    }
    Ok(())
}

fn groups_of_the_host_are_not_told() -> Test {
    for pids in ["virtual", "host"] {
        let output = Job::sh("cat /proc/self/cgroup /proc/$$/cpuset /proc/$$/task/$$/cgroup; head -c 9 /proc/self/uid_map | wc -c; (echo 0 0 1 > /proc/self/uid_map) 2>&1 | grep -c denied")
            .flags(["--cwd", "/", "--pids", pids])
            .sandboxed()?;
        assert_eq!(
            output.stdout_text(),
            "0::/\n/\n0::/\n9\n1\n",
            "{}",
            output.all()
        );
    }
    Ok(())
}

/// top(1), free(1) and uptime(1) keep such descriptors.
fn descriptors_are_read_again() -> Test {
    let python = need(&["/usr/bin/python3"])?;
    let program = "import os, time
for path in ['/proc/uptime', '/proc/stat', '/proc/self/schedstat', '/proc/self/io']:
    fd = os.open(path, os.O_RDONLY)
    first = os.read(fd, 1 << 16)
    end = time.time() + 0.2
    while time.time() < end: os.lseek(fd, 0, os.SEEK_SET); os.read(fd, 1)
    os.lseek(fd, 0, os.SEEK_SET)
    print(path, os.read(fd, 1 << 16) != first, os.pread(fd, 1 << 16, 0) != first)";
    let output = Job::new([&python, "-c", program])
        .flags(["--cwd", "/"])
        .both()?;
    assert_eq!(
        output.stdout_text().matches("True True").count(),
        4,
        "{}",
        output.all()
    );
    Ok(())
}

/// A busy process is seen to be busy by whoever looks twice.
fn tools_see_what_changes() -> Test {
    need(&["/usr/bin/top"])?;
    let dir = scratch();
    let output = Job::sh(
        "while :; do :; done & p=$!; top -bn2 -d 0.5 -p $p | tail -1; kill $p; free -c 2 -s 0.2 | grep -c ^Mem; vmstat 1 2 | wc -l",
    )
    .dir(dir.path())
    .sandboxed()?;
    let text = output.stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    let busy: f64 = words[8].parse().expect("%CPU");
    assert!(words[7] == "R" && busy > 10.0, "{}", output.all());
    assert_eq!(lines[1..], ["2", "4"], "{}", output.all());
    Ok(())
}

/// As lsns(1) and `ps -o pidns` do. A descriptor of one is good for nothing.
fn namespaces_can_be_told_and_compared() -> Test {
    const PROGRAM: &str = r"
import ctypes, os, re, subprocess
child = subprocess.Popen(['/bin/sleep', '9'])
for name in sorted(os.listdir('/proc/self/ns')):
    path = '/proc/self/ns/' + name
    kind, number = re.fullmatch(r'(\w+):\[(\d+)\]', os.readlink(path)).groups()
    same = os.readlink('/proc/%d/ns/%s' % (child.pid, name)) == os.readlink(path) == os.readlink('/proc/thread-self/ns/' + name)
    told = os.stat(path).st_ino == int(number) == os.stat('/proc/self/ns/../ns/' + name).st_ino
    fd = os.open(path, os.O_RDONLY)
    held = os.readlink('/proc/self/fd/%d' % fd) == os.readlink(path) and os.path.getsize('/proc/self/fd/%d' % fd) == 0
    refused = []
    for attempt in (lambda: os.open(path, os.O_RDWR), lambda: ctypes.CDLL(None, use_errno=True).setns(fd, 0)):
        try: refused.append(ctypes.get_errno() if attempt() == -1 else 'done')
        except OSError as e: refused.append(e.errno)
    print(name, kind, same, told, held, refused)
child.kill()
child.wait()
for path in ('/proc/self/ns/none', '/proc/1/ns', '/proc/%d/ns/pid' % child.pid):
    print(os.path.lexists(path))
";
    let python = need(&["/usr/bin/python3"])?;
    let output = Job::new([python.as_str(), "-c", PROGRAM])
        .flags(["--cwd", "/"])
        .sandboxed()?;
    let said = output.stdout_text();
    assert!(output.status.success(), "{}", output.all());
    let (mut kinds, mut paths) = (Vec::new(), Vec::new());
    for line in said.lines() {
        match line.split_once(' ') {
            Some((name, rest)) => {
                let kind = name.strip_suffix("_for_children").unwrap_or(name);
                assert_eq!(rest, format!("{kind} True True True [13, 1]"), "{said}");
                kinds.push(name.to_owned());
            }
            None => paths.push(line),
        }
    }
    let native = std::fs::read_dir("/proc/self/ns").expect("namespaces");
    let native = native.map(|entry| entry.expect("entry").file_name().into_string());
    let mut native: Vec<_> = native.map(|name| name.expect("text")).collect();
    native.sort();
    assert_eq!(kinds, native);
    assert_eq!(paths, ["False"; 3]);
    Ok(())
}

//! Lives of sandboxes on a terminal: what passes, what is put back, and who hears of what.

use crate::pty::{Pty, Session};
use crate::support::{Named, Random, Test, need, need_sbox, sbox, scratch};
use crate::tests;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Named> {
    tests![
        a_terminal_of_its_own,
        names_of_the_terminal,
        statuses_are_passed_on,
        nothing_where_nothing_is_a_terminal,
        descriptors_that_are_no_terminals_stay,
        lines_end_alike_in_pipelines,
        all_output_comes_before_the_end,
        bytes_pass_unchanged,
        a_big_paste_arrives,
        a_slow_reader_is_waited_for,
        many_resizes,
        a_terminal_that_hangs_up,
        a_terminal_of_another_session,
        the_background_cannot_hold_the_terminal,
        closing_all_descriptors,
        children_made_for_the_parent,
        typing_into_the_caller_is_impossible,
        waiting_costs_nothing,
    ]
}

/// The command for a program in sbox.
pub(crate) fn run(program: &[&str]) -> Vec<String> {
    let mut all = vec![sbox().to_str().expect("a path in UTF-8").to_owned()];
    all.extend(["run", "-q", "--cwd", "/", "--env", "PS1", "--"].map(str::to_owned));
    all.extend(program.iter().map(|&s| s.to_owned()));
    all
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    run(&["sh", "-c", script])
}

/// A shell command for a shell outside.
pub(crate) fn outside(script: &str) -> Vec<String> {
    let script = script.replace("SBOX", &run(&[]).join(" "));
    ["bash", "-c", &script].map(str::to_owned).to_vec()
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("kill");
}

/// Processes whose command line holds this.
pub(crate) fn alive(marker: &str) -> Vec<i32> {
    let mut all = vec![];
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().parse();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if let Ok(pid) = name
            && line.windows(marker.len()).any(|w| w == marker.as_bytes())
        {
            all.push(pid);
        }
    }
    all
}

/// The pid of the program itself: the one that has this in its command line and isn't sbox.
pub(crate) fn guest_of(marker: &str) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = alive(marker).into_iter().find(|pid| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe != sbox() && !exe.ends_with("setsid") && exe != Path::new("")
        });
        if let Some(pid) = found {
            return pid;
        }
        assert!(Instant::now() < deadline, "no guest {marker}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn assert_none_left(marker: &str) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while !alive(marker).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", alive(marker));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A number that no other command line holds, and sleep(1) takes.
pub(crate) fn marker() -> String {
    format!("{}", 1_000_000_000 + Random::new().below(1_000_000_000))
}

fn a_terminal_of_its_own() -> Test {
    need_sbox()?;
    let mut pty = Pty::start(shell(
        "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo three",
    ));
    assert!(pty.end().success());
    let text = pty.text();
    assert!(text.ends_with("24 80\r\nthree\r\n"), "{text:?}");
    let name = text.lines().next().expect("a name");
    assert!(
        name.starts_with("/dev/pts/") && name != pty.name(),
        "{name}"
    );
    Ok(())
}

fn names_of_the_terminal() -> Test {
    need_sbox()?;
    let script = "a=$(tty); [ -c $a ] && echo there; \
        [ \"$(echo $(ls /dev/pts))\" = \"${a#/dev/pts/} ptmx\" ] && echo alone; \
        readlink /proc/self/fd/0 | grep -qx $a && echo by link; \
        [ $(stat -c %r $a) = $(stat -Lc %r /proc/self/fd/0) ] && echo same; echo written > /dev/tty; \
        stat -c %F:%t,%T /dev/tty";
    let mut pty = Pty::start(shell(script));
    assert!(pty.end().success());
    assert_eq!(
        pty.text().replace('\r', ""),
        "there\nalone\nby link\nsame\nwritten\ncharacter special file:5,0\n"
    );
    Ok(())
}

fn statuses_are_passed_on() -> Test {
    need_sbox()?;
    for (script, code, by) in [
        ("exit 0", Some(0), None),
        ("exit 42", Some(42), None),
        ("kill -TERM $$", None, Some(15)),
        ("kill -KILL $$", None, Some(9)),
        ("kill -INT $$", None, Some(2)),
    ] {
        let mut pty = Pty::start(shell(script));
        let status = pty.end();
        assert_eq!((status.code(), status.signal()), (code, by), "{script}");
    }
    let mut pty = Pty::start(run(&["/no/such/program"]));
    assert_eq!(pty.end().code(), Some(127));
    Ok(())
}

/// Neither a pty nor another process.
fn nothing_where_nothing_is_a_terminal() -> Test {
    need_sbox()?;
    let dir = scratch();
    let out = dir.path().join("out");
    let marker = marker();
    let script = format!(
        "SBOX sh -c 'ls /dev/pts; (exec 3<>/dev/tty); sleep 1.{marker}' < /dev/null > {} 2>&1 & \
         sleep 0.6; pgrep -fc 'sbox run.*{marker}'; wait",
        out.display()
    );
    let mut pty = Pty::start(outside(&script));
    pty.end();
    // pgrep(1) itself is not counted, the shell that runs all this is.
    assert_eq!(pty.text().trim(), "2");
    let said = fs::read_to_string(&out).expect("read");
    assert!(
        said.starts_with("ptmx\n") && said.contains("/dev/tty"),
        "{said}"
    );
    Ok(())
}

fn descriptors_that_are_no_terminals_stay() -> Test {
    need_sbox()?;
    let dir = scratch();
    let path = dir.path().join("f");
    let f = path.display();
    for (script, said, file) in [
        ("echo x | SBOX cat".to_owned(), "x\r\n", ""),
        (
            format!("SBOX sh -c 'tty; echo y >&2' > {f}"),
            "y\r\n",
            "/dev/pts/",
        ),
        (
            format!("SBOX sh -c 'tty >&2; echo z' 2> {f}"),
            "z\r\n",
            "/dev/pts/",
        ),
        (
            format!("SBOX sh -c 'cat; tty >&2; echo w' < /dev/null 2> {f}"),
            "w\r\n",
            "not a tty",
        ),
        ("SBOX echo a | tr a b".to_owned(), "b\r\n", ""),
        (
            "SBOX sh -c '[ -t 1 ] || echo no' | cat; SBOX sh -c '[ -t 2 ] && echo yes' < /dev/null"
                .to_owned(),
            "no\r\nyes\r\n",
            "",
        ),
    ] {
        fs::write(&path, "").expect("write");
        let mut pty = Pty::start(outside(&script));
        pty.end();
        assert_eq!(pty.text(), said, "{script}");
        let there = fs::read_to_string(&path).expect("read");
        assert!(
            there.starts_with(file) && there.is_empty() == file.is_empty(),
            "{script}: {there}"
        );
    }
    Ok(())
}

/// Two terminals make a line's end of each LF, and yet there is one: while nobody reads, while a guest does, and when it has
/// set its terminal to leave lines alone.
fn lines_end_alike_in_pipelines() -> Test {
    need_sbox()?;
    let script = "exec >&2; printf 'a\\nb\\n'; read x; printf 'c\\nd\\n'; sleep 0.3; stty -opost; printf 'e\\nf\\n'; \
        sleep 0.3; stty opost; printf 'g\\n'";
    let mut pty = Pty::start(outside(&format!("SBOX sh -c \"{script}\" | cat; echo end")));
    pty.see("b");
    // When it is wanted: what is typed before is shown by either terminal.
    pty.wait_for_modes(&pty.first_modes().clone(), false);
    pty.send("typed\r");
    assert!(pty.end().success());
    let text = pty.text();
    let text = text.replacen("typed\r\n", "", 1);
    assert_eq!(text, "a\r\nb\r\nc\r\nd\r\ne\nf\ng\r\nend\r\n");
    Ok(())
}

fn all_output_comes_before_the_end() -> Test {
    need_sbox()?;
    for round in 0..30 {
        let mut pty = Pty::start(run(&["seq", "20000"]));
        assert!(pty.end().success());
        let text = pty.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines.len(), lines.last()),
            (20000, Some(&"20000")),
            "round {round}"
        );
    }
    Ok(())
}

/// All bytes, both ways, as far as the guest's modes let them.
fn bytes_pass_unchanged() -> Test {
    need_sbox()?;
    let mut pty = Pty::start(shell(
        "stty raw -echo; echo ready; head -c 512 | od -An -v -tu1 -w1; stty sane",
    ));
    pty.see("ready");
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    pty.send(&bytes);
    assert!(pty.end().success());
    let text = pty.text();
    let came: Vec<u8> = text.lines().filter_map(|l| l.trim().parse().ok()).collect();
    assert!(came == bytes, "{came:?}");

    Ok(())
}

fn a_big_paste_arrives() -> Test {
    need_sbox()?;
    // By lines, through the line discipline's buffer of 4096 bytes.
    let text: String = (0..40_000).map(|n| format!("line number {n}\n")).collect();
    let want = text.clone();
    let mut pty = Pty::start(shell("stty -echo; echo ready; cat | md5sum; cat | wc"));
    pty.see("ready");
    pty.send_slowly([text.as_bytes(), b"\x04second\n\x04"].concat());
    assert!(pty.end().success());
    let mut sum = crate::support::Job::new(["md5sum"])
        .stdin(want.as_bytes())
        .native();
    sum.stdout.truncate(32);
    let seen = pty.text();
    assert!(seen.contains(&sum.stdout_text()), "{seen:?}");
    Ok(())
}

/// 100 MB, of which nothing is lost or out of order.
fn a_slow_reader_is_waited_for() -> Test {
    need_sbox()?;
    let mut pty = Pty::start(shell("seq -f %015.0f 2000000"));
    assert!(pty.end().success());
    let out = pty.output();
    assert_eq!(out.len(), 2_000_000 * 17);
    for (n, line) in out.chunks(17).enumerate() {
        assert_eq!(line, format!("{:015}\r\n", n + 1).as_bytes(), "line {n}");
    }
    Ok(())
}

fn many_resizes() -> Test {
    need_sbox()?;
    need(&["/usr/bin/stty", "/bin/stty"])?;
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";
    let mut pty = Pty::start(shell(script));
    pty.see("ready");
    for n in 1..=100 {
        pty.resize(n + 1, n + 2);
    }
    pty.see("101 102");
    signal(pty.pid(), Signal::SIGTERM);
    pty.end();
    Ok(())
}

/// The guest hears of it as it would outside, and the run ends.
fn a_terminal_that_hangs_up() -> Test {
    need_sbox()?;
    let dir = scratch();
    let said = dir.path().join("said");
    let script = format!(
        "trap 'echo hangup >> {0}; exit 3' HUP; echo ready; while :; do sleep 0.05; done",
        said.display()
    );
    let mut command = run(&[]);
    command.truncate(command.len() - 1);
    command.extend([
        "--rw".into(),
        dir.path().to_str().expect("UTF-8").into(),
        "--".into(),
    ]);
    command.extend(["sh", "-c", &script].map(str::to_owned));
    let mut pty = Pty::start(command);
    pty.see("ready");
    let status = pty.hang_up();
    assert!(
        status.code() == Some(3) || status.signal().is_some(),
        "{status}"
    );
    assert_eq!(fs::read_to_string(&said).unwrap_or_default(), "hangup\n");
    Ok(())
}

/// No job control is possible, but reading and writing are.
fn a_terminal_of_another_session() -> Test {
    need_sbox()?;
    let script = "echo ready; read x; echo \"<$x>\"; tty; stty size";
    let mut pty = Pty::start_in(Session::Without, shell(script));
    let before = pty.first_modes().clone();
    pty.see("ready");
    pty.send("typed\n");
    pty.see("<typed>");
    assert!(pty.end().success());
    assert_eq!(pty.modes(), before);
    Ok(())
}

fn the_background_cannot_hold_the_terminal() -> Test {
    need_sbox()?;
    let marker = marker();
    let script = format!(
        "(trap '' HUP TERM; exec sleep {marker}) & setsid sleep {marker} & (sleep 0.1; echo late) & echo end"
    );
    let mut pty = Pty::start(shell(&script));
    let before = pty.first_modes().clone();
    let started = Instant::now();
    assert!(pty.end().success());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(pty.text().starts_with("end\r\n"));
    assert_eq!(pty.modes(), before);
    assert_none_left(&marker);
    Ok(())
}

/// A guest that has nothing open any more still has its terminal.
fn closing_all_descriptors() -> Test {
    need_sbox()?;
    let script = "exec 0<&- 1>&- 2>&-; sleep 0.3; exec 1<> /dev/tty; echo back";
    let mut pty = Pty::start(shell(script));
    assert!(pty.end().success());
    assert_eq!(pty.text(), "back\r\n");
    Ok(())
}

fn children_made_for_the_parent() -> Test {
    need_sbox()?;
    let python = need(&["/usr/bin/python3"])?;
    // clone(CLONE_PARENT | SIGCHLD), many times: siblings of the first guest.
    let script = "import ctypes, os
c = ctypes.CDLL(None)
for i in range(200):
    pid = c.syscall(56, 0x8000 | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    assert pid > 0
print('done')";
    let mut pty = Pty::start(run(&[&python, "-c", script]));
    assert!(pty.end().success(), "{}", pty.text());
    assert_eq!(pty.text(), "done\r\n");
    Ok(())
}

/// By TIOCSTI, by TIOCLINUX, by opening the caller's terminal.
fn typing_into_the_caller_is_impossible() -> Test {
    need_sbox()?;
    let python = need(&["/usr/bin/python3"])?;
    let script = "import fcntl, os, struct
for request, arg in [(0x5412, b'x'), (0x541c, b'\\x03'), (0x5412 | 1 << 32, b'x')]:
    for path in ['/dev/tty', '/proc/self/fd/0']:
        fd = os.open(path, os.O_RDWR)
        try: fcntl.ioctl(fd, request & 0xffffffff, arg); print('DONE')
        except OSError as e: print(e.strerror)
seen = [n for n in os.listdir('/dev/pts') if n != 'ptmx']
opened = []
for n in range(4096):
    try: opened.append(str(n)); os.close(os.open(f'/dev/pts/{n}', os.O_RDWR | os.O_NOCTTY))
    except OSError: opened.pop()
print('one' if opened == seen and len(seen) == 1 else (opened, seen))";
    let mut pty = Pty::start(run(&[&python, "-c", script]));
    let status = pty.end();
    assert!(status.success(), "{status}: {}", pty.text());
    let text = pty.text();
    assert!(
        text.ends_with("one\r\n") && !text.contains("DONE"),
        "{text}"
    );
    assert_eq!(text.matches("Operation not permitted").count(), 6, "{text}");
    Ok(())
}

/// A relay that has nothing to do sleeps.
fn waiting_costs_nothing() -> Test {
    need_sbox()?;
    let marker = marker();
    let mut pty = Pty::start(run(&["sleep", &marker]));
    let before = pty.first_modes().clone();
    pty.wait_for_modes(&before, false);
    guest_of(&marker);
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split(' ')
            .filter_map(|f| f.parse().ok())
            .collect();
        // utime and stime; the state before them is no number.
        fields[10] + fields[11]
    };
    let start = ticks(pty.pid());
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(pty.pid()) - start;
    signal(pty.pid(), Signal::SIGTERM);
    pty.end();
    assert!(used <= 2, "{used} ticks in a second");
    Ok(())
}

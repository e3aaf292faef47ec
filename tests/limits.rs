//! Directories of limited size: `--tmpfs PATH:SIZE` holds, whatever a program does to get beyond it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use support::{Job, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        every_way_to_fill_it,
        programs_meet_the_limit,
        the_size_is_told,
        sizes_of_the_command_line,
        limits_are_apart,
        the_book_balances,
        descriptors_swapped_during_the_call,
    ])
}

const LIMIT: u64 = 1 << 20;

/// Blocks and names below a directory of the host.
fn on_disk(dir: &Path) -> u64 {
    let mut total = 0;
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let stat = entry.metadata().expect("there");
        total += 4096;
        match stat.is_dir() {
            true => total += on_disk(&entry.path()),
            false => total += stat.blocks() * 512,
        }
    }
    total
}

/// The private directories of the one run whose TMPDIR this is.
fn private(tmp: &Path) -> u64 {
    let mut total = 0;
    for base in std::fs::read_dir(tmp).expect("TMPDIR").flatten() {
        for run in std::fs::read_dir(base.path()).expect("ours").flatten() {
            for part in std::fs::read_dir(run.path()).expect("ours").flatten() {
                if part.file_name().to_string_lossy().starts_with("tmp") {
                    total += on_disk(&part.path());
                }
            }
        }
    }
    total
}

fn every_way_to_fill_it() -> Test {
    let program = guest("fill")?;
    need_sbox()?;
    for mode in [
        "write",
        "append",
        "flags",
        "pwrite",
        "vectors",
        "small",
        "names",
        "allocation",
        "mapping",
        "copying",
        "nameless",
        "passing",
        "handles",
        "unreadable",
        "storm",
        "shm",
        "attributes",
    ] {
        let (tmp, at) = (scratch(), if mode == "shm" { "/dev/shm" } else { "/full" });
        let job = Job::new([&program])
            .arg(at)
            .arg(LIMIT.to_string())
            .arg(mode)
            .flags(["--cwd", "/", "--tmpfs", &format!("{at}:{LIMIT}")]);
        let mut command = job.sbox_command();
        command.env("TMPDIR", tmp.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("sbox");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut said = String::new();
        while !said.ends_with("full\n") && out.read_line(&mut said).expect("text") > 0 {}
        let held = private(tmp.path());
        drop(child.stdin.take());
        out.read_to_string(&mut said).expect("text");
        let status = support::job::wait(&mut child, Duration::from_secs(60)).expect("ends");
        assert!(
            status.success() && !said.contains("FAIL"),
            "{mode}: {status}\n{said}"
        );
        // The file system's own blocks for a long file come on top.
        assert!(held <= LIMIT + LIMIT / 8, "{mode}: {held} bytes on disk");
    }
    Ok(())
}

/// Programs say what they say of a full disk, and go on when there is room.
fn programs_meet_the_limit() -> Test {
    let script = "cd /full; dd if=/dev/zero of=a bs=64k count=100 2>&1 | grep -o 'No space left on device'
        wc -c < a; cp /bin/sh a2 2>&1 | grep -o 'No space left on device'; rm -f a a2
        (head -c 600000 /dev/zero; head -c 600000 /dev/zero) | tee b 2>&1 >/dev/null | grep -o 'No space left on device'
        rm b; mkdir d && cp /etc/passwd d/p && cmp d/p /etc/passwd && mv d/p q && tar cf t.tar q && tar tf t.tar";
    let output = Job::sh(script)
        .flags(["--cwd", "/", "--tmpfs", "/full:1M"])
        .sandboxed()?;
    let full = "No space left on device\n";
    assert_eq!(
        output.stdout_text(),
        format!("{full}{}\n{full}{full}q\n", LIMIT - 4096),
        "{}",
        output.all()
    );
    Ok(())
}

fn the_size_is_told() -> Test {
    let script = "df -kP /full | tail -1 | tr -s ' '; cd /full; head -c 10000 /dev/zero > a; df -kP . | tail -1 | tr -s ' '
        df -iP a | tail -1 | tr -s ' '; rm a; df -kP . | tail -1 | tr -s ' '";
    let output = Job::sh(script)
        .flags(["--cwd", "/", "--tmpfs", "/full:2048K"])
        .sandboxed()?;
    let text = output.stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    let free = "sbox 2048 0 2048 0% /full";
    assert_eq!(
        lines,
        [
            free,
            "sbox 2048 16 2032 1% /full",
            "sbox 512 4 508 1% /full",
            free
        ],
        "{}",
        output.all()
    );
    Ok(())
}

fn sizes_of_the_command_line() -> Test {
    need_sbox()?;
    for (flag, blocks) in [
        ("/t:8192", Some("2")),
        ("/t:8193", Some("2")),
        ("/t:64K", Some("16")),
        ("/t:2m", Some("512")),
        ("/t:1G", Some("262144")),
        ("/t", None),
        ("/t:", None),
    ] {
        let output = Job::sh("stat -f -c %b /t")
            .flags(["--cwd", "/", "--tmpfs", flag])
            .sandboxed()?;
        let text = output.stdout_text();
        match blocks {
            Some(blocks) => assert_eq!(text.trim(), blocks, "{flag}: {}", output.all()),
            None => assert_ne!(text.trim(), "", "{flag}: {}", output.all()),
        }
    }
    for flag in ["/a:b", "/a:b:"] {
        let output = Job::sh("ls -d /a:b")
            .flags(["--cwd", "/", "--tmpfs", flag])
            .sandboxed()?;
        let fine = flag.ends_with(':');
        assert_eq!(
            output.code(),
            Some(if fine { 0 } else { 2 }),
            "{}",
            output.all()
        );
        let hint = output.stderr_text().contains("ends in one: /a:b:");
        assert_eq!(hint, !fine, "{}", output.all());
    }
    for flag in [
        "/t:0",
        "/t:-1",
        "/t:+1",
        "/t:1T",
        "/t:K",
        "/t:1 M",
        ":1M",
        "/t:99999999999G",
    ] {
        let output = Job::sh("true").flags(["--tmpfs", flag]).sandboxed()?;
        assert_eq!(output.code(), Some(2), "{flag}: {}", output.all());
    }
    Ok(())
}

/// Two limits, a directory without one inside the other's, and the ordinary /tmp.
fn limits_are_apart() -> Test {
    let script = "fill() { head -c 3000000 /dev/zero > $1/f; stat -c %s $1/f; }
        fill /a; fill /a/in; fill /b; fill /tmp; mv /tmp/f /b/g; ls /b; echo x > /dev/null; (echo x; echo y) | cat";
    let output = Job::sh(script)
        .flags([
            "--cwd", "/", "--tmpfs", "/a:1M", "--tmpfs", "/a/in", "--tmpfs", "/b:2M",
        ])
        .sandboxed()?;
    let (one, two) = (LIMIT - 4096, 2 * LIMIT - 4096);
    let want = format!("{one}\n3000000\n{two}\n3000000\nf\nx\ny\n");
    assert_eq!(output.stdout_text(), want, "{}", output.all());
    Ok(())
}

/// After all that programs do with files, what df(1) says is what du(1) counts; and nothing, when all is removed.
fn the_book_balances() -> Test {
    let script = r#"cd /b; tar c -C /usr/include linux 2>/dev/null | tar x 2>/dev/null
        for i in 1 2 3 4 5 6 7 8 9; do seq $i 5000 > n$i; sed -i s/9/nine/ n$i; ln n$i l$i; ln -s n$i s$i; mkfifo p$i; mkdir d$i; cp n$i d$i; done
        mv l1 l2; mv n3 n4; mv d5 moved; rm l6 n6; truncate -s 100 n7; truncate -s 70000 n8; dd if=n9 of=n9 bs=1 seek=10 count=1 conv=notrunc 2>/dev/null
        (exec 5<> deleted; rm deleted; seq 10000 >&5); sort -R n9 | sort -n -o n9; cat n1 >> n2; : > l9; ln -f n1 n2; cp -a d1 copy; rm -r d2
        used() { df -B4096 --output=iused,used /b | awk 'END {print $2}'; }
        names=$(find . -mindepth 1 | wc -l)
        pages=$(find . -type f -printf '%i %s
' | sort -u | awk '{n += int(($2 + 4095) / 4096)} END {print n}')
        test $(used) = $((names + pages)) && echo balanced || echo $(used) is not $names + $pages
        rm -rf /b/*; used"#;
    let output = Job::sh(script)
        .flags(["--cwd", "/", "--tmpfs", "/b:1G"])
        .ignore_stderr()
        .sandboxed()?;
    assert_eq!(output.stdout_text(), "balanced\n0\n", "{}", output.all());
    Ok(())
}

/// A thread exchanges the descriptor between the look and the write: what gets through is found, and
/// who gets far beyond the limit is killed.
fn descriptors_swapped_during_the_call() -> Test {
    let program = guest("race_write")?;
    need_sbox()?;
    let tmp = scratch();
    let job = Job::new([&program])
        .arg("/full/f")
        .flags(["--cwd", "/", "--tmpfs", "/full:64K"]);
    let mut command = job.sbox_command();
    command.env("TMPDIR", tmp.path());
    let output = support::job::run(command, &[], Duration::from_secs(100));
    let killed = output.signal() == Some(9) && output.stderr_text().contains("beyond the size");
    // On a machine where the race is hardly ever won, it is not worth a kill.
    let text = output.stdout_text();
    let won = text.split(' ').nth(3).and_then(|n| n.parse::<u64>().ok());
    assert!(
        killed || won.is_some_and(|mib| mib <= 17),
        "{}",
        output.all()
    );
    Ok(())
}

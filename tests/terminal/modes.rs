//! The modes of the caller's terminal: whatever happens, they are in the end what they were.

use crate::lives::{alive, assert_none_left, guest_of, marker, outside, run, shell, signal};
use crate::pty::Pty;
use crate::support::{Named, Random, Test, need_sbox, sbox};
use crate::tests;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Named> {
    tests![
        modes_come_back_after_each_end,
        modes_come_back_at_random_moments,
        modes_changed_by_others_stay,
        a_guest_changes_its_own_modes_only,
        stopped_from_outside,
        messages_on_a_raw_terminal,
    ]
}

fn modes_come_back_after_each_end() -> Test {
    need_sbox()?;
    for ending in [
        "exit",
        "guest",
        "TERM",
        "HUP",
        "INT",
        "QUIT",
        "KILL",
        "attendant",
    ] {
        let marker = marker();
        let mut pty = Pty::start(run(&["sleep", &marker]));
        let before = pty.first_modes().clone();
        pty.wait_for_modes(&before, false);
        let guest = guest_of(&marker);
        match ending {
            "exit" => signal(guest, Signal::SIGINT),
            "guest" => signal(guest, Signal::SIGKILL),
            "TERM" => signal(pty.pid(), Signal::SIGTERM),
            "HUP" => signal(pty.pid(), Signal::SIGHUP),
            "INT" => signal(pty.pid(), Signal::SIGINT),
            "QUIT" => signal(pty.pid(), Signal::SIGQUIT),
            "KILL" => signal(pty.pid(), Signal::SIGKILL),
            _ => {
                let attendant = alive(&marker).into_iter();
                let attendant = attendant.filter(|&pid| pid != pty.pid() && pid != guest);
                attendant.for_each(|pid| signal(pid, Signal::SIGKILL));
            }
        }
        let status = pty.end();
        assert!(status.signal().is_some(), "{ending}: {status}");
        if ending == "KILL" {
            pty.wait_for_modes(&before, true);
        }
        // At once, where sbox itself was there to do it.
        assert_eq!(pty.modes(), before, "{ending}");
        assert_none_left(&marker);
    }
    Ok(())
}

fn modes_come_back_at_random_moments() -> Test {
    need_sbox()?;
    let mut random = Random::new();
    for round in 0..40 {
        let marker = marker();
        let script = format!("while :; do echo {marker}; done");
        let mut pty = Pty::start(shell(&script));
        let before = pty.first_modes().clone();
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        if round % 2 == 0 {
            signal(pty.pid(), Signal::SIGKILL);
        } else {
            for pid in alive(&marker) {
                if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != sbox()) {
                    // It may be setsid(1) yet; or gone.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            let _ = kill(Pid::from_raw(pty.pid()), Signal::SIGTERM);
        }
        pty.end();
        pty.wait_for_modes(&before, true);
        assert_none_left(&marker);
    }
    Ok(())
}

/// Who takes the terminal over before sbox knows that it has lost it keeps it as it likes.
fn modes_changed_by_others_stay() -> Test {
    need_sbox()?;
    let marker = marker();
    let mut pty = Pty::start(run(&["sleep", &marker]));
    let before = pty.first_modes().clone();
    pty.wait_for_modes(&before, false);
    let mut others = before.clone();
    others
        .local_flags
        .toggle(nix::sys::termios::LocalFlags::ECHO);
    pty.set_modes(&others);
    signal(pty.pid(), Signal::SIGKILL);
    pty.end();
    assert_none_left(&marker);
    assert_eq!(pty.modes(), others);
    Ok(())
}

fn a_guest_changes_its_own_modes_only() -> Test {
    need_sbox()?;
    let mut pty = Pty::start(shell(
        "stty raw -echo rows 10 cols 10; stty -a < /dev/tty | head -1",
    ));
    let before = pty.first_modes().clone();
    assert!(pty.end().success());
    assert_eq!(pty.modes(), before);
    assert!(pty.text().contains("rows 10; columns 10"));
    let mut after = Pty::start(["stty", "size"]);
    after.end();
    assert_eq!(after.text(), "24 80\r\n");
    Ok(())
}

/// By kill(1), from a shell that then changes the terminal's modes: as they are afterwards they are put back.
fn stopped_from_outside() -> Test {
    need_sbox()?;
    let script = "set -m; SBOX sh -c 'echo ready; read x; echo \"<$x>\"' & sleep 0.8; jobs; stty tostop; fg; stty -a | grep -o '.tostop'";
    let mut pty = Pty::start(outside(script));
    pty.see("Stopped");
    std::thread::sleep(Duration::from_millis(500));
    pty.send("typed\n");
    pty.see("<typed>");
    pty.see(" tostop");
    pty.end();

    let marker = marker();
    let mut pty = Pty::start(run(&[
        "sh",
        "-c",
        &format!("echo {marker}; read x; echo \"<$x>\""),
    ]));
    let before = pty.first_modes().clone();
    pty.see(&marker);
    pty.wait_for_modes(&before, false);
    signal(pty.pid(), Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(100));
    pty.set_modes(&before);
    signal(pty.pid(), Signal::SIGCONT);
    pty.wait_for_modes(&before, false);
    pty.send("typed\r");
    pty.see("<typed>");
    assert!(pty.end().success());
    assert_eq!(pty.modes(), before);
    Ok(())
}

fn messages_on_a_raw_terminal() -> Test {
    need_sbox()?;
    let mut command = run(&["sh", "-c", "echo x > /etc/x; read x; echo y > /etc/y"]);
    command[2] = "-qv".into();
    let mut pty = Pty::start(command);
    pty.see("sh: 1:");
    pty.send("\r");
    pty.end();
    let text = pty.text();
    assert_eq!(text.matches("sbox: denied").count(), 2, "{text}");
    assert!(!text.replace("\r\n", "").contains('\n'), "{text:?}");
    Ok(())
}

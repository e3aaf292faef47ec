//! SIGINT and SIGQUIT that somebody sends to sbox, as timeout(1) or a shell's kill(1) do: they mean the guests' group in front,
//! as a key would.

use crate::lives::{run, shell, signal};
use crate::pty::Pty;
use crate::support::{Named, Skip, Test, guest, need_sbox};
use crate::tests;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Named> {
    tests![
        a_signal_reaches_the_group_in_front_alone,
        a_signal_for_an_ended_group_reaches_nobody,
        the_terminal_is_the_callers_when_the_first_has_ended,
    ]
}

/// The shell has job control, so each of its jobs is a group; the one in front has two processes, of which the one with a handler may be the
/// last to end: the run must not end before it.
fn a_signal_reaches_the_group_in_front_alone() -> Test {
    need_sbox()?;
    for (name, sent, code) in [("INT", Signal::SIGINT, 130), ("QUIT", Signal::SIGQUIT, 131)] {
        let script = format!(
            "set -m; trap : {name}
             sh -c \"trap 'echo behind' {name}; echo one; while :; do sleep 0.05; done\" &
             sh -c \"sh -c \\\"trap 'echo in front; : > /tmp/told; exit' {name}; echo two; while :; do sleep 0.05; done\\\"; exit\"
             echo status $?; for i in $(seq 100); do [ -e /tmp/told ] && break; sleep 0.05; done; kill -KILL %1; echo end"
        );
        let mut pty = Pty::start(shell(&script));
        pty.see("one");
        pty.see("two");
        signal(pty.pid(), sent);
        pty.see("end");
        pty.end();
        let text = pty.text();
        assert!(text.contains("in front"), "{text}");
        assert!(!text.contains("behind"), "{text}");
        // The other process of the group, which has no handler.
        assert!(text.contains(&format!("status {code}")), "{text}");
    }
    Ok(())
}

/// Its number may be a host's process's by then.
fn a_signal_for_an_ended_group_reaches_nobody() -> Test {
    let (front_ended, taker) = (guest("front_ended")?, guest("taker")?);
    need_sbox()?;
    let mut command = run(&[]);
    command.pop();
    let path = front_ended.to_str().expect("a path in UTF-8");
    let dir = front_ended.parent().and_then(|dir| dir.to_str());
    command.extend(["--ro", dir.expect("a path in UTF-8"), "--", path].map(str::to_owned));
    let mut pty = Pty::start(command);
    pty.see("ready");
    let text = pty.text();
    let number = text.split("host=").nth(1).and_then(|t| t.split(' ').next());
    let mut taker = Command::new(&taker)
        .arg(number.expect("a number"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("taker");
    let mut said = BufReader::new(taker.stdout.take().expect("a pipe")).lines();
    let first = said.next().expect("a line").expect("text");
    if first != "have" {
        signal(pty.pid(), Signal::SIGTERM);
        pty.end();
        taker.wait().expect("wait");
        return Err(Skip(format!("no process with a given number: {first}")));
    }
    for sent in [Signal::SIGINT, Signal::SIGQUIT] {
        signal(pty.pid(), sent);
        std::thread::sleep(Duration::from_millis(300));
    }
    signal(pty.pid(), Signal::SIGTERM);
    pty.end();
    taker.kill().expect("kill");
    taker.wait().expect("wait");
    let hits: Vec<String> = said.map_while(Result::ok).collect();
    assert!(hits.is_empty(), "{hits:?}");
    Ok(())
}

/// With `--wait-all`: its modes are put back, what is left can write there, and its keys end the run.
fn the_terminal_is_the_callers_when_the_first_has_ended() -> Test {
    need_sbox()?;
    let mut command = shell("(trap '' HUP INT; echo left; sleep 0.5; echo on; sleep 100) & exit 4");
    command.insert(2, "--wait-all".into());
    let mut pty = Pty::start(command);
    let before = pty.first_modes().clone();
    pty.wait_for_modes(&before, false);
    pty.see("on");
    pty.wait_for_modes(&before, true);
    pty.send("\x03");
    assert_eq!(pty.end().code(), Some(4), "{}", pty.text());
    assert_eq!(pty.modes(), before);
    Ok(())
}

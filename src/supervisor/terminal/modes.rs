//! The modes of the caller's terminal, termios(3): made raw, and put back by whoever is the last to be there.
//!
//! | sbox … | who puts them back |
//! |---|---|
//! | ends, stops, goes to the background | the relay ([`Raw`] is dropped) |
//! | ends by an internal error | the thread that has it ([`restore`]) |
//! | is killed by a signal that can't be caught, or isn't | the attendant ([`put_back`]) |

use crate::sys;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

/// The terminal that this process has made raw, and its modes before.
static RAW: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// Makes the terminal raw, but for these flags of its output. Stops, as any program in the background would (SIGTTOU),
/// if it isn't ours to change.
pub(super) fn make_raw(
    terminal: BorrowedFd<'_>,
    saved: &mut Option<Termios>,
    output: OutputFlags,
) -> sys::Result<()> {
    remember(terminal, saved)?;
    let Some(modes) = saved else {
        return Ok(());
    };
    let mut wanted = raw(modes);
    wanted.output_flags = output;
    tcsetattr(terminal, SetArg::TCSANOW, &wanted)?;
    let copy = sys::fs::dup_above(terminal, 3)?;
    if let Ok(mut raw) = RAW.lock() {
        *raw = Some((copy, modes.clone()));
    }
    Ok(())
}

/// Puts the terminal of this process back if it is raw. At most one thread does it; any may.
pub(in crate::supervisor) fn restore() {
    // Whoever holds the lock is about to panic or to restore: it isn't waited for.
    let raw = RAW.try_lock().ok().and_then(|mut raw| raw.take());
    if let Some((terminal, modes)) = raw {
        // Nobody is left to be told.
        let _ = put_back(terminal.as_fd(), &modes);
        crate::trace::on_raw_terminal(false);
    }
}

/// Forgets that the terminal was made raw: it is somebody else's now.
pub(super) fn let_go() {
    if let Ok(mut raw) = RAW.lock() {
        *raw = None;
    }
    crate::trace::on_raw_terminal(false);
}

/// Notes the modes, unless they are those that were set here: then what was noted before is right.
pub(super) fn remember(terminal: BorrowedFd<'_>, saved: &mut Option<Termios>) -> sys::Result<()> {
    let now = tcgetattr(terminal)?;
    if !saved.as_ref().is_some_and(|saved| is_raw(&now, saved)) {
        *saved = Some(now);
    }
    Ok(())
}

/// Sets the modes to what they were, unless somebody has changed them since they were made raw: a shell that has
/// noticed first knows better.
pub(super) fn put_back(terminal: BorrowedFd<'_>, saved: &Termios) -> sys::Result<()> {
    if is_raw(&tcgetattr(terminal)?, saved) {
        tcsetattr(terminal, SetArg::TCSANOW, saved)?;
    }
    Ok(())
}

fn raw(modes: &Termios) -> Termios {
    let mut raw = modes.clone();
    cfmakeraw(&mut raw);
    raw
}

/// True for modes that were made from `saved` here.
fn is_raw(now: &Termios, saved: &Termios) -> bool {
    let mut raw = raw(saved);
    raw.output_flags = now.output_flags;
    alike(now, &raw)
}

/// Gives the guests' terminal the modes that the caller's has had before it was raw, if it still has those of `last` time: who
/// starts in the background sees the modes of a shell that is being typed into, and not those of its commands.
pub(super) fn pass_on(
    master: BorrowedFd<'_>,
    last: &mut Termios,
    saved: &Termios,
) -> sys::Result<()> {
    if alike(&tcgetattr(master)?, last) && !alike(last, saved) {
        tcsetattr(master, SetArg::TCSANOW, saved)?;
        *last = saved.clone();
    }
    Ok(())
}

/// Equal in all that programs look at. Of speeds and the like a driver may not have taken what it was told.
fn alike(a: &Termios, b: &Termios) -> bool {
    a.input_flags == b.input_flags
        && a.control_chars == b.control_chars
        && a.output_flags == b.output_flags
        && a.local_flags == b.local_flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::termios::LocalFlags;

    fn modes(terminal: BorrowedFd<'_>) -> Termios {
        tcgetattr(terminal).unwrap()
    }

    #[test]
    fn what_was_raw_comes_back_and_what_others_set_stays() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let terminal = pair.slave.as_fd();
        let before = modes(terminal);
        let mut saved = None;
        remember(terminal, &mut saved).unwrap();
        let mut raw_but_for_output = raw(&before);
        raw_but_for_output.output_flags = before.output_flags;
        tcsetattr(terminal, SetArg::TCSANOW, &raw_but_for_output).unwrap();
        // Seen raw, it is not taken for what it was before.
        remember(terminal, &mut saved).unwrap();
        let saved = saved.unwrap();
        assert!(alike(&saved, &before));
        put_back(terminal, &saved).unwrap();
        assert_eq!(modes(terminal), before);

        let mut others = raw(&before);
        others.local_flags.insert(LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSANOW, &others).unwrap();
        put_back(terminal, &saved).unwrap();
        assert!(alike(&modes(terminal), &others));
    }
}

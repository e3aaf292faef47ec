//! A run that lasts as long as its last guest (`--wait-all`): whoever wants to end it when the first one has ended.
//!
//! Signals for the program go to the first guest. When that one is gone they mean the run: SIGTERM, SIGHUP, and what a terminal
//! sends. The guests have no say in that, as they have none in the end of the first.

use super::Shared;
use super::spawn::{FailClosed, own};
use crate::sys::process as sp;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks for guests that were being born.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts a thread that kills all guests when it is told so by one of the signals that [`crate::sys::forward::forward`] forwards; where
/// it is to be told.
pub(super) fn start(shared: &Arc<Shared>) -> Result<OwnedFd, super::Error> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(own("making a pipe"))?;
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _guard = FailClosed;
        if wait(File::from(read)) {
            loop {
                let all = shared.tasks.all();
                all.iter().for_each(|task| super::tracer::kill(task));
                std::thread::sleep(PAUSE);
            }
        }
    });
    Ok(write)
}

/// Waits for a signal that ends programs who don't expect it. False if none can come any more.
fn wait(mut told: File) -> bool {
    let mut signal = [0];
    while told.read_exact(&mut signal).is_ok() {
        if ![libc::SIGUSR1, libc::SIGUSR2].contains(&i32::from(signal[0])) {
            return true;
        }
    }
    false
}

/// As if somebody had sent sbox a SIGTERM.
pub(super) fn end() {
    // It can't fail: the process is our own.
    let _ = sp::tgkill_any(std::process::id().cast_signed(), libc::SIGTERM);
}

//! A question at the caller's terminal: nothing of the guests' comes over it, and nothing that they have told the terminal hides it.

use super::relay::Relay;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An answer that is no key of a question's.
pub(super) const NO_KEY: u8 = 0;

/// Where the relay and whoever asks the user meet.
#[derive(Default)]
pub(super) struct Desk {
    /// What is typed comes to the relay.
    pub(super) given: AtomicBool,
    question: Mutex<Option<Asked>>,
}

/// A question that stands.
pub(super) struct Asked {
    /// What is to be shown, until it is on its way.
    pub(super) text: Option<String>,
    /// When all of it was written to the caller's terminal.
    pub(super) shown: Option<Instant>,
    pub(super) answer: SyncSender<u8>,
}

/// What is typed sooner was not meant as an answer: it is the guests'.
const TYPED_AHEAD: Duration = Duration::from_millis(200);

impl Desk {
    pub(super) fn question(&self) -> MutexGuard<'_, Option<Asked>> {
        self.question.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question stands, so that guests write nothing over it.
    pub(super) fn is_asked(&self) -> bool {
        self.question().is_some()
    }

    /// What is to be shown, once.
    pub(super) fn to_show(&self) -> Option<String> {
        self.question().as_mut()?.text.take()
    }

    /// All of it is written.
    pub(super) fn is_shown(&self) {
        if let Some(asked) = self
            .question()
            .as_mut()
            .filter(|asked| asked.text.is_none())
        {
            asked.shown.get_or_insert_with(Instant::now);
        }
    }

    /// Takes a key for the answer. False: there is no question, or it was typed before that could be read.
    pub(super) fn takes_keys(&self) -> bool {
        let question = self.question();
        let shown = question.as_ref().and_then(|asked| asked.shown);
        shown.is_some_and(|shown| shown.elapsed() >= TYPED_AHEAD)
    }

    pub(super) fn answer(&self, key: u8) {
        if let Some(asked) = self.question().take() {
            // Nobody waits any more.
            let _ = asked.answer.try_send(key);
        }
    }
}

impl Relay {
    /// Shows a question, behind all that was read of the guests' output: nothing of theirs comes over it. Whatever that has done to the
    /// terminal is undone first.
    pub(super) fn pose(&mut self) {
        if !self.desk.is_asked() {
            return;
        }
        self.output.complete();
        let mut is_shown = self.show();
        if is_shown
            && !self.output.is_ready()
            && let Some(text) = self.desk.to_show()
        {
            let text = text.replace('\n', "\r\n");
            self.output.put(&[&self.afresh, text.as_bytes()].concat());
            is_shown = self.show();
        }
        if !is_shown {
            // Whom nobody can ask gets no yes.
            self.desk.answer(NO_KEY);
        } else if !self.output.is_ready() {
            self.desk.is_shown();
        }
    }
}

/// What makes a terminal show text as it is, whatever it was told before, in this order: ECMA-48, console_codes(4), and xterm's
/// control sequences, which most terminals know. Who doesn't know one passes over it.
const AFRESH: &[&str] = &[
    "\x18",        // CAN: a sequence that was begun ends here
    "\x1b\\",      // ST: a string, such as a window's title, does
    "\x1b[4i",     // what comes goes to the screen, not to a printer
    "\x1b[?2026l", // and is shown now, not at the end of an update
    "\x1b[!p", // DECSTR: attributes, character sets, margins and modes as at first; and one by one for who doesn't know that
    "\x1b[m",
    "\x0f\x1b(B",
    "\x1b[4l\x1b[?7h\x1b[?25h",
    "\x1b[?6l\x1b[?69l\x1b[r",
    // Colours have not been given other values.
    "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\",
    // No picture lies over the text.
    "\x1b_Ga=d\x1b\\",
    // A new line at the bottom of the screen: nothing stands below it.
    "\x1b[999;1H\r\n",
];

/// For the caller's terminal. One that is said to have no sequences (`TERM=dumb`) can't be told to hide anything.
pub(super) fn afresh() -> Vec<u8> {
    match std::env::var_os("TERM") {
        Some(name) if name == "dumb" => b"\r\n".to_vec(),
        _ => AFRESH.concat().into_bytes(),
    }
}

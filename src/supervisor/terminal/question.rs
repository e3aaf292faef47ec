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
    /// When a question was taken back last.
    withdrawn: Mutex<Option<Instant>>,
}

/// A question that stands.
pub(super) struct Asked {
    /// What is to be shown, until it is on its way.
    pub(super) text: Option<String>,
    /// When all of it was written to the caller's terminal.
    pub(super) shown: Option<Instant>,
    pub(super) answer: SyncSender<u8>,
    /// What is typed sooner was not meant as an answer to it: it is the guests'.
    pub(super) patience: Duration,
}

/// Before anybody can have read it.
const TYPED_AHEAD: Duration = Duration::from_millis(200);
/// Where it has taken the place of one that was withdrawn, whose answer may be on its way from the eye to the finger.
const MEANT_BEFORE: Duration = Duration::from_secs(2);

impl Desk {
    pub(super) fn question(&self) -> MutexGuard<'_, Option<Asked>> {
        self.question.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question stands, so that guests write nothing over it.
    pub(super) fn is_asked(&self) -> bool {
        self.question().is_some()
    }

    /// Puts a question.
    pub(super) fn put(&self, text: &str, answer: SyncSender<u8>) {
        let withdrawn = *self
            .withdrawn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let replaces = withdrawn.is_some_and(|when| when.elapsed() < MEANT_BEFORE);
        let (note, patience) = match replaces {
            true => ("sbox: this is another question\n", MEANT_BEFORE),
            false => ("", TYPED_AHEAD),
        };
        *self.question() = Some(Asked {
            text: Some(format!("{note}sbox: {text}\n")),
            shown: None,
            answer,
            patience,
        });
    }

    /// Takes it back. Whoever reads it is told that no key answers it any more.
    pub(super) fn withdraw(&self) {
        let shown = self.question().take().and_then(|asked| asked.shown);
        if shown.is_some() {
            crate::trace::tell("the question is no more: who wanted to know has ended");
        }
        let mut withdrawn = self
            .withdrawn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *withdrawn = Some(Instant::now());
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
        self.question().as_ref().is_some_and(|asked| {
            let shown = asked.shown.map(|shown| shown.elapsed());
            shown.is_some_and(|since| since >= asked.patience)
        })
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

/// The same for what only the Linux console obeys, console_codes(4): palette, font, and the colours that count as default.
const CONSOLE: &str = "\x1b]R\x1b[10m\x1b[37;40m\x1b[8]\x1b[m";

/// For the caller's terminal. One that is said to have no sequences (`TERM=dumb`) can't be told to hide anything.
pub(super) fn afresh() -> Vec<u8> {
    match std::env::var_os("TERM") {
        Some(name) if name == "dumb" => b"\r\n".to_vec(),
        // In front of the rest, which ends with the new line.
        Some(name) if name.as_encoded_bytes().starts_with(b"linux") => {
            [CONSOLE, &AFRESH.concat()].concat().into_bytes()
        }
        _ => AFRESH.concat().into_bytes(),
    }
}

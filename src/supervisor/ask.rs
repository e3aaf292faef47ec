//! Rules that have the user asked: a question at the caller's terminal, while the calls of all guests wait.

use super::Shared;
use crate::policy::Access;
use crate::sys::forward::asked_to_end;
use crate::task::Task;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Who wants it, by the number in the view.
    pub task: i32,
    /// The call.
    pub call: &'q str,
    /// What it is about.
    pub about: About<'q>,
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub enum About<'q> {
    /// A file.
    File {
        /// What is wanted.
        access: Access,
        /// Of which file, as a path of the view.
        path: &'q [u8],
        /// The same exec is judged for the second time.
        again: bool,
    },
    /// The call itself.
    Call {
        /// Its arguments, decoded and escaped.
        arguments: &'q str,
        /// The rule, as the policy tells it.
        by: &'q str,
    },
}

/// What comes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This key.
    Key(u8),
    /// Who wanted to know has ended, or is to end.
    Withdrawn,
    /// What is typed doesn't come to sbox, or no longer.
    Nobody,
}

/// Who knows the rules, and what was answered before.
pub trait Asker: Send + Sync {
    /// Whether it may be done. `prompt` shows a text and waits for a key.
    fn may(&self, question: &Question<'_>, prompt: &dyn Fn(&str) -> Answer) -> bool;
}

/// Asks. Without a terminal in whose foreground sbox is the answer is no, and so it is if the task ends that wants to know, or
/// is asked to: it is traced, and gets no signal but SIGKILL before its call is answered.
pub(super) fn may(shared: &Shared, task: &Task, question: &Question<'_>) -> bool {
    // The tracer marks it, and then waits for its call to be served.
    let before = asked_to_end();
    let wants = || !task.is_dead() && asked_to_end() == before;
    let prompt = |text: &str| match &shared.terminal {
        Some(terminal) => terminal.ask(text, &wants),
        None => Answer::Nobody,
    };
    let asker = shared.asker.as_ref();
    asker.is_some_and(|asker| asker.may(question, &prompt))
}

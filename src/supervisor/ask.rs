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
    /// What it wants.
    pub access: Access,
    /// Of which file, as a path of the view.
    pub path: &'q [u8],
}

/// Who knows the rules, and what was answered before.
pub trait Asker: Send + Sync {
    /// Whether it may be done. `prompt` shows a text and waits for a key; `None`: there is nobody to ask.
    fn may(&self, question: &Question<'_>, prompt: &dyn Fn(&str) -> Option<u8>) -> bool;
}

/// Asks. Without a terminal in whose foreground sbox is the answer is no, and so it is if the task ends that wants to know, or
/// is asked to: it is traced, and gets no signal but SIGKILL before its call is answered.
pub(super) fn may(shared: &Shared, task: &Task, question: &Question<'_>) -> bool {
    // The tracer marks it, and then waits for its call to be served.
    let before = asked_to_end();
    let wants = || !task.is_dead() && asked_to_end() == before;
    let prompt = |text: &str| shared.terminal.as_ref()?.ask(text, &wants);
    let asker = shared.asker.as_ref();
    asker.is_some_and(|asker| asker.may(question, &prompt))
}

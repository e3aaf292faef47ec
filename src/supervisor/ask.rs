//! Rules that have the user asked: a question at the caller's terminal, while the calls of all guests wait.

use super::Shared;
use crate::policy::Access;

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

/// Asks. Without a terminal in whose foreground sbox is the answer is no.
pub(super) fn may(shared: &Shared, question: &Question<'_>) -> bool {
    let prompt = |text: &str| shared.terminal.as_ref()?.ask(text);
    let asker = shared.asker.as_ref();
    asker.is_some_and(|asker| asker.may(question, &prompt))
}

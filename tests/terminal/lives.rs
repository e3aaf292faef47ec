//! Runs on a pty of the test's own.
use crate::support::Named;
pub(crate) fn tests() -> Vec<Named> {
    vec![]
}

//! What the comparison with overlayfs doesn't reach.

use crate::support::Named;

pub(crate) fn all() -> Vec<Named> {
    crate::tests![]
}

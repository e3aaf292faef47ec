//! A terminal of the test's own.

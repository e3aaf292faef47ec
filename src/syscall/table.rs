//! THE table.

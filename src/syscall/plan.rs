//! What a handler reads ([`Cx`]) and what it answers ([`Plan`]).

/// What a handler may read (placeholder until the engine lands).
pub struct Cx<'a>(pub std::marker::PhantomData<&'a ()>);
/// What a handler proposes (placeholder until the engine lands).
pub struct Plan<'a>(pub std::marker::PhantomData<&'a ()>);
/// An errno of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

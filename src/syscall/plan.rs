//! What a handler reads ([`Cx`]) and what it answers ([`Plan`]).

/// What a handler may read (placeholder until the engine lands).
pub struct Cx<'a>(pub std::marker::PhantomData<&'a ()>);

impl Cx<'_> {
    /// Tells the trace what an argument was decoded to.
    pub fn note(&self, _name: &str, _value: &dyn std::fmt::Display) {}
}

/// What a handler proposes (placeholder until the engine lands).
pub struct Plan<'a>(pub std::marker::PhantomData<&'a ()>);

/// An errno of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Handlers that are still to be written: they take the arguments of their row and answer ENOSYS.
macro_rules! stubs {
    ($( $name:ident( $($ty:ty),* ); )*) => { $(
        #[doc = concat!("`", stringify!($name), "(2)`: not answered yet.")]
        pub fn $name<'a>(
            _: &super::plan::Cx<'a>, $( _: $ty ),*
        ) -> Result<super::plan::Plan<'a>, super::plan::Errno> {
            Err(super::plan::Errno(libc::ENOSYS))
        }
    )* };
}
pub(super) use stubs;

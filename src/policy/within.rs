//! Which policies hold for a process beside that of the run: those that `[exec]` has switched it to.

/// Policies that can be switched to; their number is a bit.
pub const MOST: usize = 64;

/// A set of policies, by the numbers that the policy of the run gives them. It only grows: a process never leaves one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Within(u64);

impl Within {
    /// The policy of the run alone.
    pub const NONE: Self = Self(0);

    /// One of them; all for a number that none can have: nothing is within so many.
    pub fn one(number: usize) -> Self {
        let bit = u32::try_from(number).ok().and_then(|n| 1u64.checked_shl(n));
        Self(bit.unwrap_or(u64::MAX))
    }

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if all of `other` is in the set: who is within this one may do nothing that who is within `other` may not.
    pub const fn has(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// True for [`Within::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Each of them, as a set of one.
    pub fn each(self) -> impl Iterator<Item = (usize, Self)> {
        let all = (0..MOST).map(|number| (number, Self::one(number)));
        all.filter(move |(_, one)| self.has(*one))
    }

    /// For what keeps it in an atomic number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The same, back.
    pub const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_only_grows() {
        let (a, b) = (Within::one(0), Within::one(63));
        let both = a.and(b);
        assert!(both.has(a) && both.has(b) && both.has(Within::NONE));
        assert!(!a.has(both) && !Within::NONE.has(a));
        assert_eq!(both.each().map(|(n, _)| n).collect::<Vec<_>>(), [0, 63]);
        assert_eq!(Within::of_bits(both.bits()), both);
        assert!(Within::one(64).has(both), "none can have this number");
    }
}

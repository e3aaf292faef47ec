//! Registers taken apart by what is decided of them: a tree that splits at one bit of one argument, and stops where the
//! answer is the same whatever the other bits are.
//!
//! So its leaves never overlap, together they are all registers, and each is a test of masked bits per argument.

use super::predicate::{Expr, Test, all_bits};

/// Registers of which some bits are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region([(u64, u64); 6]);

/// A bit of an argument, on which an answer depends.
#[derive(Clone, Copy, Debug)]
pub struct Bit {
    arg: usize,
    bit: u64,
}

impl Region {
    /// Arguments of which something is known: which, the mask, and the value of these bits.
    pub fn masked(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let all = self.0.iter().enumerate();
        all.filter(|(_, (mask, _))| *mask != 0)
            .map(|(arg, (mask, value))| (arg, *mask, *value))
    }

    fn with(mut self, Bit { arg, bit }: Bit, set: bool) -> Self {
        if let Some((mask, value)) = self.0.get_mut(arg) {
            *mask |= bit;
            *value |= if set { bit } else { 0 };
        }
        self
    }

    fn known(&self, arg: u8) -> (u64, u64) {
        self.0.get(usize::from(arg)).copied().unwrap_or_default()
    }
}

impl Test {
    /// Whether it holds in all of a region; or the bit that tells.
    fn within(self, region: &Region) -> Result<bool, Bit> {
        let split = |arg: u8, unknown: u64| Bit {
            arg: usize::from(arg),
            bit: 1 << unknown.ilog2(),
        };
        let (arg, bits, least, most) = match self {
            Self::Ge { arg, bits, value } => (arg, bits, value, u64::MAX),
            Self::Le { arg, bits, value } => (arg, bits, 0, value),
            Self::Masked {
                arg,
                bits,
                mask,
                value,
            } => {
                let (known, is) = region.known(arg);
                let wanted = mask & all_bits(bits);
                return match wanted & !known {
                    _ if value & !wanted != 0 || (is ^ value) & known & wanted != 0 => Ok(false),
                    0 => Ok(true),
                    unknown => Err(split(arg, unknown)),
                };
            }
        };
        let (known, is) = region.known(arg);
        let unknown = all_bits(bits) & !known;
        let low = is & all_bits(bits);
        let high = low | unknown;
        match (low >= least && high <= most, high < least || low > most) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(split(arg, unknown)),
        }
    }
}

impl Expr {
    /// Whether it holds in all of a region; or a bit that tells more.
    pub fn within(&self, region: &Region) -> Result<bool, Bit> {
        let (all, decisive) = match self {
            Self::Test(test) => return test.within(region),
            Self::Not(inner) => return inner.within(region).map(|holds| !holds),
            Self::And(all) => (all, false),
            Self::Or(all) => (all, true),
        };
        let mut open = None;
        for one in all {
            match one.within(region) {
                Ok(holds) if holds == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(bit) => open = open.or(Some(bit)),
            }
        }
        open.map_or(Ok(!decisive), Err)
    }
}

/// Takes all registers apart by an answer, which tells a bit where it depends on one. `None`: into more than `most`.
pub fn regions<T: Copy + PartialEq>(
    answer: &impl Fn(&Region) -> Result<T, Bit>,
    most: usize,
) -> Option<Vec<(Region, T)>> {
    let all = split(answer, Region::default(), most)?;
    (all.len() <= most).then_some(all)
}

fn split<T: Copy + PartialEq>(
    answer: &impl Fn(&Region) -> Result<T, Bit>,
    region: Region,
    most: usize,
) -> Option<Vec<(Region, T)>> {
    let bit = match answer(&region) {
        Ok(answer) => return Some(vec![(region, answer)]),
        Err(bit) => bit,
    };
    let mut all = split(answer, region.with(bit, false), most)?;
    let set = split(answer, region.with(bit, true), most.checked_sub(all.len())?)?;
    if let ([(_, clear)], [(_, other)]) = (&all[..], &set[..])
        && clear == other
    {
        return Some(vec![(region, *clear)]);
    }
    all.extend(set);
    (all.len() <= most).then_some(all)
}

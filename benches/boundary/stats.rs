//! Medians, spreads and a shuffle: as much statistics as the tables need.

use std::hash::{BuildHasher, Hasher, RandomState};

/// What is left of several turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// First and third quartile.
    pub(crate) quartiles: (f64, f64),
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) turns: usize,
}

impl Summary {
    /// Of a figure that was taken once.
    pub(crate) fn single(value: f64) -> Self {
        Self {
            median: value,
            quartiles: (value, value),
            min: value,
            max: value,
            turns: 1,
        }
    }
}

/// `None` without samples.
pub(crate) fn summarise(samples: impl Iterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = samples.collect();
    sorted.sort_by(f64::total_cmp);
    Some(Summary {
        median: quantile(&sorted, 2)?,
        quartiles: (quantile(&sorted, 1)?, quantile(&sorted, 3)?),
        min: *sorted.first()?,
        max: *sorted.last()?,
        turns: sorted.len(),
    })
}

pub(crate) fn median(samples: impl Iterator<Item = f64>) -> Option<f64> {
    summarise(samples).map(|summary| summary.median)
}

/// The value `quarters` quarters up a sorted list, between two neighbours if need be.
fn quantile(sorted: &[f64], quarters: usize) -> Option<f64> {
    let position = sorted.len().checked_sub(1)? * quarters;
    let below = *sorted.get(position / 4)?;
    let above = *sorted.get(position.div_ceil(4))?;
    let share = [0.0, 0.25, 0.5, 0.75].get(position % 4)?;
    Some(below + (above - below) * share)
}

/// A generator good enough to put lanes in a random order (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or(0) % bound.max(1)
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

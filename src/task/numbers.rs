//! Numbers of processes that are or were guests.

use rustc_hash::FxHashMap;

/// Numbers in one piece of the set.
const PIECE: usize = 4096;

/// The set of all thread groups that there have been: a bit for each number, so that a run of any length takes no more
/// than half a megabyte (proc_sys_kernel(5), `pid_max`).
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pieces: FxHashMap<usize, Box<[u64; PIECE / 64]>>,
    births: u64,
}

/// Piece, word and bit of a number.
fn place(tgid: i32) -> Option<(usize, usize, u64)> {
    let n = usize::try_from(tgid).ok()?;
    Some((n / PIECE, n % PIECE / 64, 1 << (n % 64)))
}

impl Numbers {
    /// Enters a new thread group. Which of all it is, from 1: unlike its number, that never comes again.
    pub(super) fn enter(&mut self, tgid: i32) -> u64 {
        if let Some((piece, word, bit)) = place(tgid) {
            let piece = self
                .pieces
                .entry(piece)
                .or_insert_with(|| Box::new([0; PIECE / 64]));
            if let Some(word) = piece.get_mut(word) {
                *word |= bit;
            }
        }
        self.births += 1;
        self.births
    }

    /// True if a thread group has had this number.
    pub(super) fn contains(&self, tgid: i32) -> bool {
        place(tgid).is_some_and(|(piece, word, bit)| {
            let word = self.pieces.get(&piece).and_then(|piece| piece.get(word));
            word.is_some_and(|word| word & bit != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_once_it_was_entered_and_no_other() {
        let all = [1, 63, 64, 4095, 4096, 4_194_303, i32::MAX];
        let mut numbers = Numbers::default();
        for (i, tgid) in all.into_iter().enumerate() {
            assert!(!numbers.contains(tgid), "{tgid}");
            assert_eq!(numbers.enter(tgid), i as u64 + 1);
            assert!(numbers.contains(tgid), "{tgid}");
        }
        for tgid in [-1, 0, 2, 62, 65, 4094, 4097, 8191, 4_194_302] {
            assert!(!numbers.contains(tgid), "{tgid}");
        }
    }
}

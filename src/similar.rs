//! "Did you mean …?"

/// The word most like this one, if any is like it at all; of equals, the first in the alphabet.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (distance(word, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be changed, left out or put in to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(x != y));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_finger_and_no_more() {
        let verbs = ["run", "trace", "doctor", "syscalls"];
        for (word, want) in [
            ("docter", Some("doctor")),
            ("rnu", None), // two changes in a word of three
            ("runn", Some("run")),
            ("syscall", Some("syscalls")),
            ("ls", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, verbs), want, "{word}");
        }
    }
}

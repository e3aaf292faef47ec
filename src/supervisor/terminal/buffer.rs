//! Bytes on their way from one terminal to the other.

use crate::sys::{self, Errno};
use nix::sys::termios::OutputFlags;
use std::os::fd::{AsFd, BorrowedFd};

/// What has been read and not yet written. Its size is fixed: who fills it faster than it is emptied has to wait.
///
/// ```text
/// | written | ready to be written | a CR, perhaps |  room  |
///         start                 ready            end
/// ```
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    ready: usize,
    end: usize,
}

/// What becomes of the lines that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// They stay as they are.
    Kept,
    /// The pty has made CR LF of each LF (`ONLCR`). That is taken back, for a terminal that will do so itself.
    Plain,
}

impl Lines {
    /// What is to be done if the caller's terminal treats output as the guests' does, by these flags.
    pub(super) fn by(output: OutputFlags) -> Self {
        if output.contains(OutputFlags::OPOST | OutputFlags::ONLCR) {
            Self::Plain
        } else {
            Self::Kept
        }
    }
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All there was for now, or all that found room.
    Bytes,
    /// The other side is gone.
    End,
}

impl Buffer {
    pub(super) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            start: 0,
            ready: 0,
            end: 0,
        }
    }

    /// True if there is something to write.
    pub(super) fn is_ready(&self) -> bool {
        self.start < self.ready
    }

    pub(super) fn has_room(&self) -> bool {
        self.end - self.start < self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.ready, self.end) = (0, 0, 0);
    }

    /// Reads until there is no more, or no room; once only where reading might wait.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>, may_wait: bool, lines: Lines) -> Came {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.ready -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        loop {
            let Some(room) = self.bytes.get_mut(self.end..).filter(|r| !r.is_empty()) else {
                return Came::Bytes;
            };
            match nix::unistd::read(from, room) {
                // EIO: the other end of a pty is closed, or a terminal has hung up.
                Ok(0) => return Came::End,
                Ok(n) => self.end += n,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Came::Bytes,
                Err(_) => return Came::End,
            }
            match lines {
                Lines::Kept => self.ready = self.end,
                Lines::Plain => self.take_back(),
            }
            if may_wait {
                return Came::Bytes;
            }
        }
    }

    /// Drops each CR before a LF. One at the end isn't ready before it is known what follows.
    fn take_back(&mut self) {
        let mut to = self.ready;
        for from in self.ready..self.end {
            let byte = self.bytes.get(from).copied();
            let next = self.bytes.get(from + 1).filter(|_| from + 1 < self.end);
            if byte == Some(b'\r') && next == Some(&b'\n') {
                continue;
            }
            self.bytes.copy_within(from..=from, to);
            to += 1;
        }
        let cr_at_the_end = to > self.ready && self.bytes.get(to - 1) == Some(&b'\r');
        self.end = to;
        self.ready = if cr_at_the_end { to - 1 } else { to };
    }

    /// Nothing follows: what is there is all there will be.
    pub(super) fn complete(&mut self) {
        self.ready = self.end;
    }

    /// Puts a text behind what is there, as far as there is room: all of it, if nothing is.
    pub(super) fn put(&mut self, text: &[u8]) {
        if self.start == self.end {
            self.clear();
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let n = text.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..n), text.get(..n)) {
            to.copy_from_slice(from);
        }
        self.end += n;
        self.ready = self.end;
    }

    /// Writes as much as is taken.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> sys::Result<()> {
        while let Some(rest) = self.bytes.get(self.start..self.ready)
            && !rest.is_empty()
        {
            match nix::unistd::write(to.as_fd(), rest) {
                Ok(n) => self.start += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// What comes out if these pieces are read one by one.
    fn through(pieces: &[&str], lines: Lines) -> String {
        let mut buffer = Buffer::new(64);
        let (mut out, to) = std::io::pipe().unwrap();
        for piece in pieces {
            let (from, mut feed) = std::io::pipe().unwrap();
            feed.write_all(piece.as_bytes()).unwrap();
            assert_eq!(buffer.fill(from.as_fd(), true, lines), Came::Bytes);
            buffer.drain(to.as_fd()).unwrap();
        }
        buffer.complete();
        buffer.drain(to.as_fd()).unwrap();
        drop(to);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_the_pty_did_to_lines_is_taken_back_wherever_the_pieces_end() {
        // What a program has written, after ONLCR.
        let (written, seen) = ("a\nb\r\n\n\rc\r\r\nd\r", "a\r\nb\r\r\n\r\n\rc\r\r\r\nd\r");
        for at in 0..seen.len() {
            for more in at..seen.len() {
                let pieces = [&seen[..at], &seen[at..more], &seen[more..]];
                let pieces: Vec<&str> = pieces.into_iter().filter(|p| !p.is_empty()).collect();
                assert_eq!(through(&pieces, Lines::Plain), written, "{pieces:?}");
                assert_eq!(through(&pieces, Lines::Kept), seen, "{pieces:?}");
            }
        }
    }

    #[test]
    fn a_full_buffer_takes_no_more_and_loses_nothing() {
        let (from, mut feed) = std::io::pipe().unwrap();
        let (mut out, to) = std::io::pipe().unwrap();
        feed.write_all(b"0123456789").unwrap();
        let mut buffer = Buffer::new(4);
        let mut text = Vec::new();
        for _ in 0..3 {
            buffer.fill(from.as_fd(), true, Lines::Kept);
            assert_eq!(buffer.has_room(), text.len() == 8);
            buffer.drain(to.as_fd()).unwrap();
            let mut piece = [0u8; 16];
            let n = out.read(&mut piece).unwrap();
            text.extend_from_slice(&piece[..n]);
        }
        assert_eq!(text, b"0123456789");
        drop(feed);
        assert_eq!(buffer.fill(from.as_fd(), true, Lines::Kept), Came::End);
    }
}

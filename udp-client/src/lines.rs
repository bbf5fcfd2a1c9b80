//! Requests from a stream of bytes: one a line.

use std::io::{self, BufRead as _, BufReader, Read};

use protocol::TEXT_BYTES_MAX;

/// A longer line is cut here: one byte more than a request may have, so that it is still seen to be too long.
const LINE_BYTES_MAX: usize = TEXT_BYTES_MAX + 1;

/// Reads lines; a line ends with `\n` or `\r\n`, the last one at the end of the stream.
pub(crate) struct Lines<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream: BufReader::new(stream), line: Vec::new() }
    }

    /// Whether the next line may be long in coming.
    pub(crate) fn may_wait(&self) -> bool {
        !self.stream.buffer().contains(&b'\n')
    }

    /// The next line, without its end; `None` once there are no more.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let line_and_end = LINE_BYTES_MAX as u64 + 2;
        if self.stream.by_ref().take(line_and_end).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        match self.line.strip_suffix(b"\n") {
            Some(line) => {
                let len = line.strip_suffix(b"\r").unwrap_or(line).len();
                self.line.truncate(len);
            }
            None if self.line.len() > LINE_BYTES_MAX => {
                self.stream.skip_until(b'\n')?;
            }
            None => {}
        }
        self.line.truncate(LINE_BYTES_MAX);
        Ok(Some(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &[u8], expected: &[&[u8]]) {
        let mut lines = Lines::new(stream);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(line.to_vec());
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_end_in_either_way() {
        check(b"", &[]);
        check(b"GET", &[b"GET"]);
        check(b"PUT:a\nPUT:b\r\n\n\r\nPUT:\r\r\nPUT:\xff\0", &[b"PUT:a", b"PUT:b", b"", b"", b"PUT:\r", b"PUT:\xff\0"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let longest = vec![b'x'; TEXT_BYTES_MAX];
        let too_long = vec![b'x'; LINE_BYTES_MAX];
        for end in [&b"\n"[..], b"\r\n"] {
            check(&[&longest, end, b"GET"].concat(), &[&longest, b"GET"]);
            check(&[&too_long, end, b"GET"].concat(), &[&too_long, b"GET"]);
            check(&[&too_long, &b"y"[..], end, b"GET"].concat(), &[&too_long, b"GET"]);
            check(&[&too_long, &too_long[..], end, b"GET"].concat(), &[&too_long, b"GET"]);
        }
        check(&too_long.repeat(5), &[&too_long]);
    }

    #[test]
    fn only_a_whole_line_is_at_hand() {
        let mut lines = Lines::new(&b"GET\nSIZE\nGE"[..]);
        assert!(lines.may_wait());
        for may_wait in [false, true, true] {
            lines.next().unwrap();
            assert_eq!(lines.may_wait(), may_wait);
        }
    }
}

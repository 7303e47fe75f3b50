//! The receiver of DATA. Only CRLF.CRLF ends a message, and `.CRLF` at once after 354 ends an empty one
//! (RFC 5321 §4.1.1.4); any other end that a lenient reader would take is SMTP smuggling. Bare CR, bare LF and
//! NUL are data like any other and come out as they came in.

/// Where in a line the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// After the first dot of a line, which belongs to SMTP and not to the message.
    Dot,
    /// After that dot and a CR: one LF away from the end.
    DotCr,
    Inside,
    /// Inside a line, after a CR.
    Cr,
}

/// Takes octets in any pieces and removes the dots that the sender added (RFC 5321 §4.5.2).
#[derive(Debug)]
pub struct DataReceiver {
    at: At,
    message: Vec<u8>,
    octets_max: usize,
    too_large: bool,
    taken: usize,
}

impl DataReceiver {
    pub fn new(octets_max: usize) -> DataReceiver {
        DataReceiver { at: At::LineStart, message: Vec::new(), octets_max, too_large: false, taken: 0 }
    }

    /// How many octets of `input` it took, and whether the last of them ended the message.
    pub fn take(&mut self, input: &[u8]) -> (usize, bool) {
        let mut n = 0;
        while n < input.len() {
            let byte = input[n];
            match (self.at, byte) {
                (At::DotCr, b'\n') => return (n + 1, true),
                (At::LineStart, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, _) => {
                    // it was no end: that CR was data, and this octet is looked at again behind it
                    self.put(b"\r");
                    self.at = At::Cr;
                    continue;
                }
                (At::Cr, b'\n') => {
                    self.put(b"\n");
                    self.at = At::LineStart;
                }
                (_, b'\r') => {
                    self.put(b"\r");
                    self.at = At::Cr;
                }
                _ => {
                    let run = input[n..].iter().position(|b| *b == b'\r').unwrap_or(input.len() - n);
                    self.put(&input[n..n + run]);
                    self.at = At::Inside;
                    n += run;
                    continue;
                }
            }
            n += 1;
        }
        (n, false)
    }

    /// Octets of the message so far, kept or not.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Octets of it in memory.
    pub fn held(&self) -> usize {
        self.message.len()
    }

    fn put(&mut self, octets: &[u8]) {
        self.taken = self.taken.saturating_add(octets.len());
        if self.message.len() + octets.len() > self.octets_max {
            self.too_large = true;
            self.message = Vec::new();
        }
        if !self.too_large {
            self.message.extend_from_slice(octets);
        }
    }

    /// The message, or `None` when it was larger than allowed.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.too_large).then_some(self.message)
    }
}

/// What a sender writes after 354 (RFC 5321 §4.5.2); only CRLF begins a line. The caller has made sure that the
/// message ends in CRLF or is empty.
pub fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    let (mut start, mut before) = (true, 0u8);
    for byte in raw {
        if start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        start = *byte == b'\n' && before == b'\r';
        before = *byte;
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn receive(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut receiver = DataReceiver::new(1 << 20);
        let (n, done) = receiver.take(wire);
        done.then(|| (receiver.finish().unwrap(), n))
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        let sequences: [&[u8]; 14] = [
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\n.\r",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r\n.\r\0\n",
            b"\r\r\n.\r\r\n",
            b"\r\n..\r\n",
            b"\r\n .\r\n",
        ];
        for sequence in sequences {
            let wire = [b"a".as_slice(), sequence, b"MAIL FROM:<evil@example>\r\n"].concat();
            assert_eq!(receive(&wire), None, "{:?} ended a message", String::from_utf8_lossy(sequence));
            let whole = [wire.as_slice(), b"\r\n.\r\n"].concat();
            let (message, n) = receive(&whole).expect("the real end ends it");
            assert_eq!(n, whole.len());
            assert!(message.ends_with(b"MAIL FROM:<evil@example>\r\n\r\n"));
        }
        assert_eq!(receive(b".\r\n"), Some((vec![], 3)), "an empty message ends at once");
        assert_eq!(receive(b"x\r\n.\r\nQUIT\r\n").map(|r| r.1), Some(6), "what follows is left alone");
    }

    #[test]
    fn too_large_is_swallowed_to_its_end() {
        let mut receiver = DataReceiver::new(10);
        assert_eq!(receiver.take(b"0123456789abc\r\n.\r\n"), (18, true));
        assert_eq!(receiver.finish(), None);
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b".".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\0".to_vec()),
            Just(b"text".to_vec())
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|p| p.concat())
    }

    proptest! {
        #[test]
        fn stuffed_and_received_is_identity(raw in octets()) {
            let raw = if raw.is_empty() { raw } else { [raw.as_slice(), b"\r\n"].concat() };
            let wire = stuffed(&raw);
            prop_assert_eq!(receive(&wire), Some((raw, wire.len())));
        }

        #[test]
        fn octet_by_octet_is_all_at_once(wire in octets()) {
            let mut slow = DataReceiver::new(1 << 20);
            let mut end = None;
            for (n, byte) in wire.iter().enumerate() {
                if slow.take(&[*byte]).1 {
                    end = Some(n + 1);
                    break;
                }
            }
            let fast = receive(&wire);
            prop_assert_eq!(end, fast.as_ref().map(|f| f.1));
            if let Some((message, _)) = fast {
                prop_assert_eq!(slow.finish(), Some(message));
            }
        }
    }
}

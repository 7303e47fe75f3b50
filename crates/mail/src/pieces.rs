//! A message in pieces: what was not changed is a part of the octets that came, what was added stands beside it.
//! A large message is in memory once, however many copies of it go out.

use bytes::Bytes;

/// Octets in order; no piece is empty.
#[derive(Clone, Debug, Default)]
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    pub fn push(&mut self, octets: Bytes) {
        if !octets.is_empty() {
            self.0.push(octets);
        }
    }
    /// Octets of all pieces.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn as_slice(&self) -> &[Bytes] {
        &self.0
    }
    /// In one buffer: a copy unless there is but one piece.
    pub fn joined(&self) -> Bytes {
        match &self.0[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(octets: Bytes) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.push(octets);
        pieces
    }
}

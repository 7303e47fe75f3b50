//! ClamAV's daemon over TCP or a UNIX socket: clamd(8), INSTREAM in its `z` form (commands and answers end with NUL).

use crate::settings::{Address, Kind};
use crate::wire::{Peer, Question, exchange};
use crate::{Fault, found, limits, words};
use bytes::{BufMut, Bytes, BytesMut};
use verdict::{Category, Finding, Severity};

pub(crate) struct Clamd(pub Address);

impl Clamd {
    pub async fn ask(&self, raw: &Bytes) -> Result<Vec<Finding>, Fault> {
        read(&self.say(stream(raw)).await?)
    }

    /// `ClamAV 1.4.3/27520/Mon Jan 13 …`: of the engine and of its signatures.
    pub async fn version(&self) -> Result<String, Fault> {
        Ok(words(&self.say(vec![Bytes::from_static(b"zVERSION\0")]).await?))
    }

    async fn say(&self, pieces: Vec<Bytes>) -> Result<String, Fault> {
        let peer = match &self.0 {
            Address::Tcp(at) => Peer::Tcp(at),
            Address::Unix(path) | Address::Folder(path) => Peer::Unix(path),
            Address::Url { authority, .. } => Peer::Tcp(authority),
        };
        let is_whole = |answer: &[u8]| answer.ends_with(b"\0");
        let question = Question { pieces, answer_octets_max: limits::CLAMD_ANSWER_OCTETS_MAX, is_whole: &is_whole };
        let answer = exchange(peer, question).await?;
        // half an answer may be the beginning of any
        if !answer.ends_with(b"\0") {
            return Err(Fault::garbage(String::from_utf8_lossy(&answer)));
        }
        Ok(String::from_utf8_lossy(&answer).trim_end_matches(['\0', '\n']).to_owned())
    }
}

/// The message in pieces, each after its length in network order; a length of nothing ends it.
fn stream(raw: &Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(raw.len() / limits::CHUNK_OCTETS * 2 + 4);
    pieces.push(Bytes::from_static(b"zINSTREAM\0"));
    for begin in (0..raw.len()).step_by(limits::CHUNK_OCTETS) {
        let chunk = raw.slice(begin..raw.len().min(begin + limits::CHUNK_OCTETS));
        let mut length = BytesMut::with_capacity(4);
        length.put_u32(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        pieces.extend([length.freeze(), chunk]);
    }
    pieces.push(Bytes::from_static(&[0; 4]));
    pieces
}

/// `stream: OK`, `stream: NAME FOUND`, `… ERROR`.
fn read(answer: &str) -> Result<Vec<Finding>, Fault> {
    if let Some(error) = answer.strip_suffix("ERROR") {
        let error = words(error);
        return Err(match error.contains("size limit exceeded") {
            true => Fault::TooLarge(format!("{error} (StreamMaxLength of clamd.conf)")),
            false => Fault::Failed(error),
        });
    }
    let said = answer.strip_prefix("stream: ").ok_or_else(|| Fault::garbage(answer))?;
    match said.strip_suffix(" FOUND") {
        None if said == "OK" => Ok(Vec::new()),
        Some(name) if !name.trim().is_empty() => Ok(vec![finding(&words(name))]),
        _ => Err(Fault::garbage(answer)),
    }
}

/// Names that begin with these tell of something else than harm: what could not be looked into (AlertEncrypted,
/// AlertExceedsMax), deceit, and what an owner may want (PUA), in clamd.conf(5).
const OTHERWISE: [(&str, Category); 4] = [
    ("Heuristics.Encrypted.", Category::Unscannable),
    ("Heuristics.Limits.Exceeded", Category::Unscannable),
    ("Heuristics.Phishing.", Category::Phishing),
    ("PUA.", Category::Malware),
];

fn finding(name: &str) -> Finding {
    let otherwise = OTHERWISE.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, category)| *category);
    let (category, severity) = match otherwise {
        Some(category) => (category, Severity::Suspicious),
        None => (Category::Malware, Severity::Malicious),
    };
    let summary = format!("ClamAV found \"{name}\"");
    found(Kind::Clamd, category, severity, verdict::finding::HOLD_POINTS, summary, Vec::new())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_and_nothing_else_is_clean() {
        let said = |answer: &str| match read(answer) {
            Ok(found) => found.iter().map(|f| format!("{:?} {:?} {}", f.severity, f.category, f.summary)).collect(),
            Err(fault) => format!("{}: {fault}", fault.kind()),
        };
        assert_eq!(said("stream: OK"), "");
        assert_eq!(
            said("stream: Win.Test.EICAR_HDB-1 FOUND"),
            "Malicious Malware ClamAV found \"Win.Test.EICAR_HDB-1\""
        );
        assert_eq!(
            said("stream: Heuristics.Encrypted.Zip FOUND"),
            "Suspicious Unscannable ClamAV found \"Heuristics.Encrypted.Zip\""
        );
        assert!(said("INSTREAM size limit exceeded. ERROR").starts_with("too_large: "));
        assert!(said("Can't allocate memory ERROR").starts_with("failed: "));
        for garbage in ["", "OK", "stream: ", "stream: FOUND", "stream: OKAY", "HTTP/1.1 200 OK", "stream: \u{1}x"] {
            assert!(said(garbage).starts_with("garbage: "), "{garbage:?}: {}", said(garbage));
        }
    }

    #[test]
    fn a_message_is_sent_in_pieces_with_their_lengths() {
        let raw = Bytes::from(vec![b'x'; limits::CHUNK_OCTETS + 3]);
        let sent: Vec<usize> = stream(&raw).iter().map(Bytes::len).collect();
        assert_eq!(sent, [10, 4, limits::CHUNK_OCTETS, 4, 3, 4]);
        assert_eq!(stream(&raw)[3].as_ref(), [0, 0, 0, 3]);
        assert_eq!(stream(&Bytes::new()).concat(), b"zINSTREAM\0\0\0\0\0");
    }
}

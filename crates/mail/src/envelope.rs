//! The SMTP envelope (RFC 5321 §2.3.1) with every parameter that must survive the round trip
//! unchanged (transport.md G17): RFC 3461 DSN, RFC 6152 8BITMIME, RFC 3030 BINARYMIME, RFC 6531 SMTPUTF8.

use serde::{Deserialize, Serialize};

/// BODY= of MAIL FROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    SevenBit,
    EightBitMime,
    /// RFC 3030 §3: lines have no limit and no meaning; travels by BDAT only.
    BinaryMime,
}

/// RET= of MAIL FROM (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Return {
    Full,
    Headers,
}

/// One RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Exactly as it stood between the angle brackets, quoting kept.
    pub address: String,
    /// NOTIFY= as received, e.g. `SUCCESS,FAILURE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// ORCPT= as received (xtext kept).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
}

impl Recipient {
    pub fn new(address: impl Into<String>) -> Recipient {
        Recipient { address: address.into(), notify: None, orcpt: None }
    }
}

/// Sender, recipients and their parameters; goes back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Exactly as it stood between the angle brackets; empty for the null sender `<>`.
    pub sender: String,
    pub body: Option<Body>,
    pub smtputf8: bool,
    pub ret: Option<Return>,
    /// ENVID= as received (xtext kept).
    pub envid: Option<String>,
    pub recipients: Vec<Recipient>,
}

impl Envelope {
    pub fn new<R: Into<String>>(sender: impl Into<String>, recipients: impl IntoIterator<Item = R>) -> Envelope {
        Envelope {
            sender: sender.into(),
            recipients: recipients.into_iter().map(Recipient::new).collect(),
            ..Envelope::default()
        }
    }
    pub fn is_null_sender(&self) -> bool {
        self.sender.is_empty()
    }
}

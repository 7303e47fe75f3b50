//! One SMTP conversation of ours as the client, without I/O: what to write, which replies to expect, and what became
//! of each recipient. Whoever drives it writes, reads and shakes hands; [`ClientSession::next_action`] says when.
//!
//! A reply counts for exactly one command: a host that answers before it is asked is out of step, and what it says
//! next could be taken for the answer to another message. Such a connection ends.

use crate::client::ClientError;
use crate::{Reply, limits};
use bytes::{Buf, BytesMut};
use mail::{Body, Envelope, Pieces, Recipient, Return};
use std::collections::VecDeque;
use std::time::Duration;

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Write these command lines.
    Write(String),
    /// Write the message, stuffed and ended as DATA wants it or else as it is.
    WriteMessage { stuffed: bool },
    /// Read and [`ClientSession::feed`] until a whole reply is there, all of it within this time.
    Hear { stage: &'static str, within: Duration },
    /// Shake hands, then [`ClientSession::secured`].
    Handshake,
    /// Nothing is under way: [`ClientSession::begin`] takes a message.
    Ready,
    /// The message is done; nothing else is under way.
    Done(Delivery),
}

/// What the host said to one message.
#[derive(Debug)]
pub struct Delivery {
    /// One reply a recipient, in the order of the envelope.
    pub recipients: Vec<Reply>,
    /// The reply to the message itself; `None` when no recipient was taken.
    pub data: Option<Reply>,
}

impl Delivery {
    /// What became of recipient `n`: its own refusal, else the answer to the message.
    pub fn of(&self, n: usize) -> &Reply {
        let own = &self.recipients[n];
        match &self.data {
            Some(data) if own.is_success() => data,
            _ => own,
        }
    }
}

/// What of a message's octets decides whether a host that lacks an extension can take it unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// What DATA cannot carry past every reader: see the file data.rs.
    pub not_for_data: Option<&'static str>,
    pub eight_bit: bool,
}

impl Form {
    pub fn of(raw: &Pieces) -> Form {
        let mut form = Form { not_for_data: None, eight_bit: raw.as_slice().iter().any(|piece| !piece.is_ascii()) };
        let mut before = 0;
        for byte in raw.as_slice().iter().flatten() {
            match (before, *byte) {
                (b'\r', b'\n') => {}
                (b'\r', _) => form.not_for_data = Some("a bare CR"),
                (_, b'\n') => form.not_for_data = Some("a bare LF"),
                _ => {}
            }
            if form.not_for_data.is_some() {
                return form;
            }
            before = *byte;
        }
        form.not_for_data = match before {
            b'\r' => Some("a bare CR"),
            b'\n' => None,
            _ => (!raw.is_empty()).then_some("no line end at its end"),
        };
        form
    }
}

/// The command whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    StartTls,
    Rset,
    Mail,
    Rcpt,
    Data,
    EndOfData,
}

pub(crate) const END_OF_DATA: &str = "the end of data";

impl Asked {
    fn stage(self) -> &'static str {
        match self {
            Asked::Greeting => "the connection",
            Asked::Ehlo => "EHLO",
            Asked::StartTls => "STARTTLS",
            Asked::Rset => "RSET",
            Asked::Mail => "MAIL",
            Asked::Rcpt => "RCPT",
            Asked::Data => "DATA",
            Asked::EndOfData => END_OF_DATA,
        }
    }
    fn within(self) -> Duration {
        if self == Asked::EndOfData { limits::END_OF_DATA_TIMEOUT } else { limits::REPLY_TIMEOUT }
    }
}

/// One message under way.
#[derive(Debug, Default)]
struct Transaction {
    mail: Option<String>,
    rcpts: VecDeque<String>,
    /// RCPT commands that were written and not answered.
    open: usize,
    octets: usize,
    sender: Option<Reply>,
    recipients: Vec<Reply>,
}

#[derive(Debug)]
pub struct ClientSession {
    server: String,
    helo: String,
    needs_tls: bool,
    secure: bool,
    features: Vec<String>,
    input: BytesMut,
    asked: Option<Asked>,
    actions: VecDeque<Action>,
    transaction: Transaction,
    /// The host may still think of the last message: RSET before the next one.
    unclean: bool,
}

impl ClientSession {
    /// `server` is the host's name, for errors; without `needs_tls` nothing is encrypted.
    pub fn new(server: impl Into<String>, helo: impl Into<String>, needs_tls: bool) -> ClientSession {
        ClientSession {
            server: server.into(),
            helo: helo.into(),
            needs_tls,
            secure: false,
            features: Vec::new(),
            input: BytesMut::new(),
            asked: Some(Asked::Greeting),
            actions: VecDeque::new(),
            transaction: Transaction::default(),
            unclean: false,
        }
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether the host said so in its EHLO.
    pub fn offers(&self, word: &str) -> bool {
        self.features.iter().any(|f| f.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(word)))
    }

    /// Takes what the host wrote; true when a whole reply waits, or too much that is none.
    pub fn feed(&mut self, octets: &[u8]) -> bool {
        self.input.extend_from_slice(octets);
        !matches!(whole_reply(&self.input), Heard::Part)
    }

    /// TLS is up: what was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        self.secure = true;
        self.features.clear();
        self.actions.push_back(Action::Write(format!("EHLO {}\r\n", self.helo)));
        self.asked = Some(Asked::Ehlo);
    }

    /// Offers one message of `octets` octets. `form` is asked only when the host lacks an extension.
    pub fn begin(
        &mut self,
        envelope: &Envelope,
        octets: usize,
        form: impl FnOnce() -> Form,
    ) -> Result<(), ClientError> {
        let utf8 = envelope.smtputf8
            || !envelope.sender.is_ascii()
            || envelope.recipients.iter().any(|r| !r.address.is_ascii());
        if utf8 && !self.offers("SMTPUTF8") {
            // RFC 6531 §3.2
            let text = format!("{} does not take internationalised addresses", self.server);
            self.refuse(envelope, &Reply::new(550, (5, 6, 7), text));
            return Ok(());
        }
        let chunking = self.offers("CHUNKING");
        let binary = envelope.body == Some(Body::BinaryMime);
        if binary && !(chunking && self.offers("BINARYMIME")) {
            // RFC 3030 §3: no binary octets to a host that does not ask for them, and a permanent refusal
            let text = format!("{} does not take BODY=BINARYMIME, and nothing is converted here", self.server);
            self.refuse(envelope, &Reply::new(554, (5, 6, 3), text));
            return Ok(());
        }
        self.representable(chunking, form)?;
        let dsn = self.offers("DSN");
        self.transaction = Transaction {
            mail: Some(self.mail_line(envelope, octets, utf8, dsn)),
            rcpts: envelope.recipients.iter().map(|r| rcpt_line(r, dsn)).collect(),
            octets,
            ..Transaction::default()
        };
        if std::mem::take(&mut self.unclean) { self.say("RSET\r\n".into(), Asked::Rset) } else { self.go_on() }
    }

    /// The next thing to do. `Err` leaves the conversation unusable.
    pub fn next_action(&mut self) -> Result<Action, ClientError> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Ok(action);
            }
            let Some(asked) = self.asked else { return Ok(Action::Ready) };
            let lines = match whole_reply(&self.input) {
                Heard::Whole(octets) => self.input.split_to(octets),
                Heard::Part => return Ok(Action::Hear { stage: asked.stage(), within: asked.within() }),
                Heard::TooMuch => return Err(self.garbled(asked)),
            };
            let lines: Vec<String> = String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect();
            let reply = Reply::parse(&lines).ok_or_else(|| self.garbled(asked))?;
            self.heard(asked, reply)?;
        }
    }

    fn heard(&mut self, asked: Asked, reply: Reply) -> Result<(), ClientError> {
        self.asked = None;
        match asked {
            Asked::Greeting => {
                self.accepted(asked, reply)?;
                self.say(format!("EHLO {}\r\n", self.helo), Asked::Ehlo)
            }
            Asked::Ehlo => {
                let reply = self.accepted(asked, reply)?;
                self.features = reply.text.split('\n').skip(1).map(str::to_owned).collect();
                match (self.needs_tls && !self.secure, self.offers("STARTTLS")) {
                    (false, _) => Ok(()),
                    (true, true) => self.say("STARTTLS\r\n".into(), Asked::StartTls),
                    (true, false) => Err(ClientError::NoTls { server: self.server.clone() }),
                }
            }
            Asked::StartTls => {
                self.accepted(asked, reply)?;
                // RFC 3207 §4.2, CVE-2011-0411: what came in the clear must not count as said under TLS
                self.in_step("STARTTLS")?;
                self.actions.push_back(Action::Handshake);
                Ok(())
            }
            Asked::Rset => self.accepted(asked, reply).and_then(|_| self.go_on()),
            Asked::Mail => {
                self.transaction.sender = Some(self.judged(asked, reply)?);
                if self.transaction.open > 0 { self.expect(Asked::Rcpt) } else { self.go_on() }
            }
            Asked::Rcpt => {
                let own = self.judged(asked, reply)?;
                let sender = self.transaction.sender.clone().filter(|s| !s.is_success());
                // after a refused sender every RCPT is out of order: the sender's refusal is the reason
                self.transaction.recipients.push(sender.unwrap_or(own));
                self.transaction.open -= 1;
                if self.transaction.open > 0 { self.expect(Asked::Rcpt) } else { self.go_on() }
            }
            Asked::Data if reply.code == 354 => {
                self.in_step("DATA")?;
                self.actions.push_back(Action::WriteMessage { stuffed: true });
                self.expect(Asked::EndOfData)
            }
            // a "yes" before anything was sent is no yes to the message
            Asked::Data if reply.is_success() => Err(self.refused(asked, reply)),
            Asked::Data => self.judged(asked, reply).map(|reply| self.done(Some(reply))),
            Asked::EndOfData if matches!(reply.code / 100, 2 | 4 | 5) => {
                self.done(Some(reply));
                Ok(())
            }
            Asked::EndOfData => Err(self.garbled(asked)),
        }
    }

    /// The next commands of the envelope, pipelined where the host allows it (RFC 2920), or the message.
    fn go_on(&mut self) -> Result<(), ClientError> {
        let group = if self.offers("PIPELINING") { limits::PIPELINED_MAX } else { 1 };
        let transaction = &mut self.transaction;
        if let Some(refusal) = transaction.sender.clone().filter(|s| !s.is_success()) {
            let rest = std::mem::take(&mut transaction.rcpts).len();
            transaction.recipients.extend(std::iter::repeat_n(refusal, rest));
        }
        let mail = transaction.mail.take();
        let part = if mail.is_some() && group == 1 { 0 } else { group.min(transaction.rcpts.len()) };
        transaction.open = part;
        let lines: String = transaction.rcpts.drain(..part).collect();
        match mail {
            Some(mail) => self.say(mail + &lines, Asked::Mail),
            None if part > 0 => self.say(lines, Asked::Rcpt),
            None => self.message(),
        }
    }

    /// BDAT where it is offered: octets are counted, so nothing in them can end a message.
    fn message(&mut self) -> Result<(), ClientError> {
        if !self.transaction.recipients.iter().any(Reply::is_success) {
            self.done(None);
            return Ok(());
        }
        if !self.offers("CHUNKING") {
            return self.say("DATA\r\n".into(), Asked::Data);
        }
        self.say(format!("BDAT {} LAST\r\n", self.transaction.octets), Asked::EndOfData)?;
        self.actions.push_back(Action::WriteMessage { stuffed: false });
        Ok(())
    }

    fn done(&mut self, data: Option<Reply>) {
        self.unclean = !data.as_ref().is_some_and(Reply::is_success);
        let recipients = std::mem::take(&mut self.transaction).recipients;
        self.actions.push_back(Action::Done(Delivery { recipients, data }));
    }

    /// Nothing is said to the host.
    fn refuse(&mut self, envelope: &Envelope, reply: &Reply) {
        let recipients = vec![reply.clone(); envelope.recipients.len()];
        self.actions.push_back(Action::Done(Delivery { recipients, data: None }));
    }

    fn representable(&self, chunking: bool, form: impl FnOnce() -> Form) -> Result<(), ClientError> {
        let eight_bit = self.offers("8BITMIME");
        if chunking && eight_bit {
            return Ok(());
        }
        let form = form();
        let not = |what, missing| ClientError::NotRepresentable { server: self.server.clone(), what, missing };
        match form.not_for_data.filter(|_| !chunking) {
            Some(what) => Err(not(what, "CHUNKING")),
            // RFC 6152 §3: no octets above 127 to a host that does not ask for them
            None if form.eight_bit && !eight_bit => Err(not("octets above 127", "8BITMIME")),
            None => Ok(()),
        }
    }

    fn say(&mut self, lines: String, asked: Asked) -> Result<(), ClientError> {
        self.in_step(asked.stage())?;
        self.actions.push_back(Action::Write(lines));
        self.expect(asked)
    }

    fn expect(&mut self, asked: Asked) -> Result<(), ClientError> {
        self.asked = Some(asked);
        Ok(())
    }

    fn in_step(&self, stage: &'static str) -> Result<(), ClientError> {
        if self.input.has_remaining() {
            return Err(ClientError::OutOfStep { server: self.server.clone(), stage });
        }
        Ok(())
    }

    fn accepted(&self, asked: Asked, reply: Reply) -> Result<Reply, ClientError> {
        if reply.is_success() { Ok(reply) } else { Err(self.refused(asked, reply)) }
    }

    /// A yes or a no to one command; 421 is a no to the connection (RFC 5321 §4.2.3), 3xx makes no sense.
    fn judged(&self, asked: Asked, reply: Reply) -> Result<Reply, ClientError> {
        if reply.code == 421 || reply.code / 100 == 3 { Err(self.refused(asked, reply)) } else { Ok(reply) }
    }

    fn refused(&self, asked: Asked, reply: Reply) -> ClientError {
        ClientError::Refused { server: self.server.clone(), stage: asked.stage(), reply }
    }

    fn garbled(&self, asked: Asked) -> ClientError {
        ClientError::Garbled { server: self.server.clone(), stage: asked.stage() }
    }

    fn mail_line(&self, envelope: &Envelope, octets: usize, utf8: bool, dsn: bool) -> String {
        let mut line = format!("MAIL FROM:<{}>", envelope.sender);
        if self.offers("SIZE") {
            line += &format!(" SIZE={octets}");
        }
        line += match envelope.body {
            Some(Body::BinaryMime) => " BODY=BINARYMIME",
            Some(Body::EightBitMime) if self.offers("8BITMIME") => " BODY=8BITMIME",
            Some(Body::SevenBit) if self.offers("8BITMIME") => " BODY=7BIT",
            _ => "",
        };
        if utf8 {
            line += " SMTPUTF8";
        }
        if dsn {
            line += match envelope.ret {
                Some(Return::Full) => " RET=FULL",
                Some(Return::Headers) => " RET=HDRS",
                None => "",
            };
            line += &envelope.envid.as_ref().map(|id| format!(" ENVID={id}")).unwrap_or_default();
        }
        line + "\r\n"
    }
}

fn rcpt_line(recipient: &Recipient, dsn: bool) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if dsn {
        line += &recipient.notify.as_ref().map(|n| format!(" NOTIFY={n}")).unwrap_or_default();
        line += &recipient.orcpt.as_ref().map(|o| format!(" ORCPT={o}")).unwrap_or_default();
    }
    line + "\r\n"
}

enum Heard {
    /// So many octets are one reply.
    Whole(usize),
    Part,
    /// More than any reply has.
    TooMuch,
}

/// The last line of a reply is the first without a hyphen behind its code (RFC 5321 §4.2.1).
fn whole_reply(input: &[u8]) -> Heard {
    let mut at = 0;
    for _ in 0..limits::REPLY_LINES_MAX {
        let rest = &input[at..];
        let end = rest.iter().take(limits::COMMAND_OCTETS_MAX).position(|b| *b == b'\n');
        match end {
            Some(end) if rest[..end].get(3) == Some(&b'-') => at += end + 1,
            Some(end) => return Heard::Whole(at + end + 1),
            None if rest.len() >= limits::COMMAND_OCTETS_MAX => return Heard::TooMuch,
            None => return Heard::Part,
        }
        if at > limits::REPLY_OCTETS_MAX {
            break;
        }
    }
    Heard::TooMuch
}

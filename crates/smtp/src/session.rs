//! One SMTP conversation without I/O: octets in, events out. Whoever drives it writes the replies and asks
//! somebody about senders, recipients and messages; [`Session::answered`] tells the session what was said.

use crate::command::{self, Command};
use crate::{DataReceiver, Reply, limits};
use bytes::{Buf, Bytes, BytesMut};
use mail::{Body, Envelope, HeaderSection, Recipient};

/// What to do next.
#[derive(Debug)]
pub enum Event {
    /// Say this.
    Reply(Reply),
    /// Say this and end the connection.
    Close(Reply),
    /// Say 220 and begin the handshake, then [`Session::secured`].
    StartTls,
    /// Ask about the sender, say the answer, then [`Session::answered`].
    Mail(Envelope, usize),
    /// Ask about one recipient, say the answer, then [`Session::answered`].
    Rcpt(Recipient),
    /// A whole message: take it, say the answer, then [`Session::answered`].
    Message(Envelope, Bytes),
}

enum Mode {
    Commands,
    Data(DataReceiver),
    /// Octets of a chunk that are still to come, and whether they belong to a message.
    Chunk {
        left: usize,
        last: bool,
        wanted: bool,
    },
}

enum Waiting {
    Mail(Envelope),
    Rcpt(Recipient),
    Message,
}

pub struct Session {
    hostname: String,
    octets_max: usize,
    binarymime: bool,
    secure: bool,
    greeted: Option<String>,
    input: BytesMut,
    mode: Mode,
    envelope: Option<Envelope>,
    /// Chunks of a BDAT message so far; `None` outside one.
    chunks: Option<Vec<u8>>,
    /// A chunk was refused: the rest of that message is swallowed until RSET (RFC 3030 §4.2).
    broken: bool,
    /// Octets of chunks that were read and not kept, since the last message.
    swallowed: usize,
    /// What the peer said of the size of the message under way.
    announced: usize,
    /// Why the message under way is read and not kept, where it is not its size.
    given_up: Option<Reply>,
    /// Recipients of this message beyond those that are taken.
    recipients_beyond: usize,
    waiting: Option<Waiting>,
    errors: u32,
    refusals: u32,
    idle_commands: u32,
}

impl Session {
    /// `binarymime`: whether that extension is offered (RFC 3030 §3).
    pub fn new(hostname: impl Into<String>, octets_max: usize, binarymime: bool) -> Session {
        Session {
            hostname: hostname.into(),
            octets_max,
            binarymime,
            secure: false,
            greeted: None,
            input: BytesMut::new(),
            mode: Mode::Commands,
            envelope: None,
            chunks: None,
            broken: false,
            swallowed: 0,
            announced: 0,
            given_up: None,
            recipients_beyond: 0,
            waiting: None,
            errors: 0,
            refusals: 0,
            idle_commands: 0,
        }
    }

    pub fn greeting(&self) -> Reply {
        Reply::plain(220, format!("{} ESMTP Posthouse", self.hostname))
    }
    /// What the peer called itself.
    pub fn helo(&self) -> &str {
        self.greeted.as_deref().unwrap_or_default()
    }
    /// True while a message is on its way in: the peer gets another time-out then.
    pub fn in_data(&self) -> bool {
        !matches!(self.mode, Mode::Commands)
    }
    /// True while no message is under way, from MAIL to its last octet.
    pub fn rests(&self) -> bool {
        !self.in_data() && self.envelope.is_none()
    }
    /// True when octets wait that were sent too early.
    pub fn has_pending_input(&self) -> bool {
        !self.input.is_empty()
    }
    /// Octets in memory on behalf of the peer.
    pub fn octets_held(&self) -> usize {
        self.input.len() + self.message_octets()
    }
    /// What the peer sent and nobody looked at yet; octets are read to its end.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }
    pub fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// TLS is up: everything said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        self.secure = true;
        self.greeted = None;
        self.input.clear();
        self.forget();
    }

    fn forget(&mut self) {
        self.envelope = None;
        self.chunks = None;
        self.broken = false;
        self.swallowed = 0;
        self.given_up = None;
        self.recipients_beyond = 0;
    }

    /// Octets of the message under way that are kept so far.
    pub fn message_octets(&self) -> usize {
        match &self.mode {
            Mode::Data(receiver) => receiver.held(),
            _ => self.chunks.as_ref().map_or(0, Vec::len),
        }
    }

    /// There is no room for the message under way: the rest of it is read and forgotten, and this is said at its end.
    pub fn give_up(&mut self, reply: Reply) {
        self.given_up = Some(reply);
        match &mut self.mode {
            Mode::Data(receiver) => receiver.forget(),
            Mode::Chunk { wanted, .. } => *wanted = false,
            Mode::Commands => {}
        }
        self.broken |= self.chunks.take().is_some();
    }

    fn not_kept(&mut self) -> Reply {
        self.given_up.clone().unwrap_or_else(|| too_large(self.octets_max))
    }

    /// Room for the whole at once, where the peer told the truth: growing copies.
    fn expected(&self) -> usize {
        self.announced.saturating_add(limits::ANNOUNCED_SLACK_OCTETS).min(self.octets_max)
    }

    /// Lets go of what a large message needed; many sessions wait for nothing.
    pub fn idle(&mut self) {
        if self.input.is_empty() && self.input.capacity() > limits::IDLE_READ_OCTETS {
            self.input = BytesMut::with_capacity(limits::IDLE_READ_OCTETS);
        }
    }

    /// Tells the answer to the last question, which was said to the peer.
    pub fn answered(&mut self, reply: &Reply) {
        let waiting = self.waiting.take();
        match &waiting {
            Some(Waiting::Message) => self.idle_commands = 0,
            _ if !reply.is_success() => self.refusals += 1,
            _ => {}
        }
        match waiting {
            Some(Waiting::Mail(envelope)) if reply.is_success() => self.envelope = Some(envelope),
            Some(Waiting::Rcpt(recipient)) if reply.is_success() => {
                if let Some(envelope) = &mut self.envelope {
                    envelope.recipients.push(recipient);
                }
            }
            _ => {}
        }
    }

    /// The next thing to do, or `None` when more octets are needed.
    pub fn next_event(&mut self) -> Option<Event> {
        debug_assert!(self.waiting.is_none(), "the last question was not answered");
        loop {
            match &mut self.mode {
                Mode::Commands => {
                    if self.refusals > limits::REFUSALS_MAX {
                        return Some(Event::Close(Reply::new(421, (4, 7, 0), "Too many refusals")));
                    }
                    let line = match self.line()? {
                        Ok(line) => line,
                        Err(event) => return Some(event),
                    };
                    if let Some(event) = self.command(&line) {
                        return Some(event);
                    }
                }
                Mode::Data(receiver) => {
                    let (n, done) = receiver.take(&self.input);
                    self.input.advance(n);
                    let too_much = self.octets_max.saturating_mul(limits::SWALLOWED_SIZES_MAX);
                    if receiver.taken() > too_much {
                        return Some(Event::Close(too_large(self.octets_max)));
                    }
                    if !done {
                        return None;
                    }
                    let Mode::Data(receiver) = std::mem::replace(&mut self.mode, Mode::Commands) else { return None };
                    return Some(self.whole(receiver.finish()));
                }
                Mode::Chunk { left, last, wanted } => {
                    let n = self.input.len().min(*left);
                    if *wanted && let Some(chunks) = &mut self.chunks {
                        chunks.extend_from_slice(&self.input[..n]);
                    }
                    self.input.advance(n);
                    *left -= n;
                    if !*wanted {
                        self.swallowed = self.swallowed.saturating_add(n);
                        if self.swallowed > self.octets_max.saturating_mul(limits::SWALLOWED_SIZES_MAX) {
                            return Some(Event::Close(too_large(self.octets_max)));
                        }
                    }
                    if *left > 0 {
                        return None;
                    }
                    let (last, wanted) = (*last, *wanted);
                    self.mode = Mode::Commands;
                    return Some(self.chunk_done(last, wanted));
                }
            }
        }
    }

    fn whole(&mut self, message: Option<Vec<u8>>) -> Event {
        let (envelope, refusal) = (self.envelope.take().unwrap_or_default(), self.not_kept());
        self.forget();
        match message {
            Some(raw) if header_too_large(&raw) => Event::Reply(Reply::new(
                552,
                (5, 3, 4),
                format!("Header is larger than {} octets", limits::HEADER_OCTETS_MAX),
            )),
            Some(raw) => {
                self.waiting = Some(Waiting::Message);
                Event::Message(envelope, raw.into())
            }
            None => Event::Reply(refusal),
        }
    }

    fn chunk_done(&mut self, last: bool, wanted: bool) -> Event {
        if !wanted {
            if !self.broken {
                return self.error(out_of_order("BDAT needs MAIL and RCPT first"));
            }
            let refusal = self.not_kept();
            if last {
                self.forget();
            }
            return Event::Reply(refusal);
        }
        if last {
            let message = self.chunks.take();
            return self.whole(message);
        }
        Event::Reply(Reply::new(250, (2, 0, 0), "Chunk taken"))
    }

    /// One line, or what is wrong with it; `None` when it is not complete.
    fn line(&mut self) -> Option<Result<BytesMut, Event>> {
        let end = self.input.iter().take(limits::COMMAND_OCTETS_MAX).position(|b| *b == b'\n');
        let Some(end) = end else {
            let long = self.input.len() >= limits::COMMAND_OCTETS_MAX;
            return long.then(|| Err(Event::Close(Reply::new(500, (5, 5, 2), "Line too long"))));
        };
        let mut line = self.input.split_to(end + 1);
        if !line.ends_with(b"\r\n") {
            // a peer that ends lines so would smuggle commands past somebody else
            return Some(Err(self.error(Reply::new(500, (5, 5, 2), "Lines end in CRLF"))));
        }
        line.truncate(end - 1);
        Some(Ok(line))
    }

    fn error(&mut self, reply: Reply) -> Event {
        self.errors += 1;
        if self.errors > limits::ERRORS_MAX {
            Event::Close(Reply::new(421, (4, 7, 0), "Too many errors"))
        } else {
            Event::Reply(reply)
        }
    }

    fn command(&mut self, line: &[u8]) -> Option<Event> {
        let command = match command::parse(line) {
            Ok(command) => command,
            // nobody knows how many octets follow, and none of them is a command
            Err(reply) if line.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"BDAT")) => {
                return Some(Event::Close(reply));
            }
            Err(reply) => return Some(self.error(reply)),
        };
        if !matches!(command, Command::Mail(..) | Command::Rcpt(_) | Command::Data | Command::Bdat { .. }) {
            self.idle_commands += 1;
        }
        if self.idle_commands > limits::IDLE_COMMANDS_MAX {
            return Some(Event::Close(Reply::new(421, (4, 7, 0), "Too many commands without a message")));
        }
        let ok = |text: &str| Some(Event::Reply(Reply::new(250, (2, 0, 0), text)));
        match command {
            Command::Ehlo(name) => {
                self.greeted = Some(name);
                self.forget();
                Some(Event::Reply(self.features()))
            }
            Command::Helo(name) => {
                self.greeted = Some(name);
                self.forget();
                Some(Event::Reply(Reply::plain(250, self.hostname.clone())))
            }
            Command::StartTls if self.secure => Some(self.error(out_of_order("TLS is up already"))),
            Command::StartTls => Some(Event::StartTls),
            Command::Mail(envelope, size) => Some(self.mail(envelope, size)),
            Command::Rcpt(recipient) => Some(self.rcpt(recipient)),
            Command::Data => Some(self.data()),
            Command::Bdat { octets, last } => {
                self.bdat(octets, last);
                None
            }
            Command::Rset => {
                self.forget();
                ok("Forgotten")
            }
            Command::Noop => ok("Still here"),
            Command::Vrfy => Some(Event::Reply(Reply::new(252, (2, 5, 2), "Send it and see"))),
            Command::Help => Some(Event::Reply(Reply::new(
                214,
                (2, 0, 0),
                "This host checks mail of Exchange Online; its operator knows more",
            ))),
            Command::Quit => Some(Event::Close(Reply::new(221, (2, 0, 0), "Goodbye"))),
        }
    }

    fn features(&self) -> Reply {
        let mut lines = vec![self.hostname.clone(), "PIPELINING".into(), format!("SIZE {}", self.octets_max)];
        lines.extend(["8BITMIME", "CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"].map(str::to_owned));
        if self.binarymime {
            lines.push("BINARYMIME".into());
        }
        if !self.secure {
            lines.push("STARTTLS".into());
        }
        Reply::plain(250, lines.join("\n"))
    }

    fn mail(&mut self, envelope: Envelope, size: usize) -> Event {
        if self.greeted.is_none() {
            return self.error(out_of_order("EHLO first"));
        }
        if self.envelope.is_some() {
            return self.error(out_of_order("One sender a message"));
        }
        if envelope.body == Some(Body::BinaryMime) && !self.binarymime {
            return self.error(Reply::new(555, (5, 5, 4), "BODY=BINARYMIME is not offered"));
        }
        if !envelope.sender.is_ascii() && !envelope.smtputf8 {
            return self.error(needs_smtputf8());
        }
        if size > self.octets_max {
            return Event::Reply(too_large(self.octets_max));
        }
        self.announced = size;
        self.waiting = Some(Waiting::Mail(envelope.clone()));
        Event::Mail(envelope, size)
    }

    fn rcpt(&mut self, recipient: Recipient) -> Event {
        match &self.envelope {
            None => self.error(out_of_order("MAIL first")),
            Some(_) if self.chunks.is_some() || self.broken => self.error(out_of_order("The message has begun")),
            Some(envelope) if envelope.recipients.len() >= limits::RECIPIENTS_MAX => {
                self.recipients_beyond += 1;
                if self.recipients_beyond > limits::RECIPIENTS_MAX {
                    return Event::Close(Reply::new(421, (4, 5, 3), "Too many recipients"));
                }
                Event::Reply(Reply::new(452, (4, 5, 3), "Too many recipients"))
            }
            Some(envelope) if !recipient.address.is_ascii() && !envelope.smtputf8 => self.error(needs_smtputf8()),
            Some(_) => {
                self.waiting = Some(Waiting::Rcpt(recipient.clone()));
                Event::Rcpt(recipient)
            }
        }
    }

    fn data(&mut self) -> Event {
        match &self.envelope {
            None => self.error(out_of_order("MAIL first")),
            Some(_) if self.chunks.is_some() || self.broken => self.error(out_of_order("DATA after BDAT")),
            Some(envelope) if envelope.recipients.is_empty() => {
                self.error(Reply::new(554, (5, 5, 1), "No valid recipients"))
            }
            // RFC 3030 §3
            Some(envelope) if envelope.body == Some(Body::BinaryMime) => {
                self.error(out_of_order("BODY=BINARYMIME needs BDAT"))
            }
            Some(_) => {
                self.mode = Mode::Data(DataReceiver::expecting(self.expected(), self.octets_max));
                Event::Reply(Reply::plain(354, "End data with <CR><LF>.<CR><LF>"))
            }
        }
    }

    /// The octets of a refused chunk come all the same and must not be read as commands.
    fn bdat(&mut self, octets: usize, last: bool) {
        let allowed = self.envelope.as_ref().is_some_and(|e| !e.recipients.is_empty()) && !self.broken;
        let so_far = self.chunks.as_ref().map_or(0, Vec::len);
        if allowed && so_far.saturating_add(octets) > self.octets_max {
            self.broken = true;
            self.chunks = None;
        }
        let wanted = allowed && !self.broken;
        if wanted {
            let room = self.expected();
            self.chunks.get_or_insert_with(|| Vec::with_capacity(room));
        }
        self.mode = Mode::Chunk { left: octets, last, wanted };
    }
}

fn out_of_order(text: &str) -> Reply {
    Reply::new(503, (5, 5, 1), text)
}

fn header_too_large(raw: &[u8]) -> bool {
    HeaderSection::of(raw).fields().any(|f| f.range.end > limits::HEADER_OCTETS_MAX)
}

/// RFC 6531 §3.5
fn needs_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "An address outside ASCII needs SMTPUTF8 in MAIL")
}

fn too_large(octets_max: usize) -> Reply {
    Reply::new(552, (5, 3, 4), format!("Message is larger than {octets_max} octets"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    /// Drives a session; senders and recipients that contain `no` are refused.
    fn talk(pieces: &[&[u8]]) -> String {
        let mut session = Session::new("gw.example", 1000, false);
        let mut log = String::new();
        for piece in pieces {
            session.feed(piece);
            while let Some(event) = session.next_event() {
                let judge = |text: &str| {
                    if text.contains("no") {
                        Reply::new(451, (4, 7, 1), "no")
                    } else {
                        Reply::new(250, (2, 1, 0), "yes")
                    }
                };
                let reply = match event {
                    Event::Reply(reply) => reply,
                    Event::Close(reply) => return log + &reply.wire() + "(closed)\r\n",
                    Event::StartTls => {
                        session.secured();
                        Reply::new(220, (2, 0, 0), "go")
                    }
                    Event::Mail(envelope, _) => {
                        let reply = judge(&envelope.sender);
                        session.answered(&reply);
                        reply
                    }
                    Event::Rcpt(recipient) => {
                        let reply = judge(&recipient.address);
                        session.answered(&reply);
                        reply
                    }
                    Event::Message(envelope, raw) => {
                        let to: Vec<_> = envelope.recipients.iter().map(|r| r.address.as_str()).collect();
                        let reply = Reply::new(
                            250,
                            (2, 6, 0),
                            format!("{:?} from {:?} to {to:?}", String::from_utf8_lossy(&raw), envelope.sender),
                        );
                        session.answered(&reply);
                        reply
                    }
                };
                log += &reply.wire();
            }
        }
        log
    }

    fn shown(wire: &str) -> String {
        talk(&[wire.replace('\n', "\r\n").as_bytes()]).replace("\r\n", "\n")
    }

    #[test]
    fn an_ordinary_session() {
        insta::assert_snapshot!(shown(
            "EHLO exo.example\nSTARTTLS\nEHLO exo.example\nMAIL FROM:<a@b.example> SIZE=5\nRCPT TO:<c@d.example>\nRCPT TO:<no@d.example>\nDATA\nhi\n..\n.\nMAIL FROM:<>\nRCPT TO:<e@f.example>\nBDAT 3\nabcBDAT 4 LAST\nd\n.QUIT\n"
        ));
    }

    #[test]
    fn order_limits_and_nonsense() {
        insta::assert_snapshot!(shown(
            "MAIL FROM:<a@b.example>\nEHLO x\nRCPT TO:<c@d.example>\nDATA\nMAIL FROM:<a@b.example> SIZE=1001\nMAIL FROM:<a@b.example>\nMAIL FROM:<a@b.example>\nDATA\nRCPT TO:<no@d.example>\nDATA\nBDAT 6 LAST\nQUIT\nRSET\nMAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\nBDAT 3\nabcDATA\nRCPT TO:<e@f.example>\nBDAT 0 LAST\nFROB\nVRFY x\nHELP\nNOOP\nQUIT\n"
        ));
    }

    #[test]
    fn a_chunk_that_is_too_large_is_swallowed() {
        let wire = [
            "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 1001 LAST\r\n",
            &"x".repeat(1001),
            "NOOP\r\n",
        ]
        .concat();
        let said = talk(&[wire.as_bytes()]);
        assert!(said.ends_with("552 5.3.4 Message is larger than 1000 octets\r\n250 2.0.0 Still here\r\n"), "{said}");
    }

    #[test]
    fn lines_end_in_crlf_and_only_so() {
        let said = talk(&[b"EHLO x\nNOOP\r\n"]);
        assert_eq!(said, "500 5.5.2 Lines end in CRLF\r\n250 2.0.0 Still here\r\n");
        assert!(talk(&[&[b'x'; 5000]]).ends_with("(closed)\r\n"));
        assert!(talk(&["FROB\r\n".repeat(30).as_bytes()]).ends_with("421 4.7.0 Too many errors\r\n(closed)\r\n"));
    }

    #[test]
    fn a_thousand_recipients_are_taken() {
        let mut wire = "EHLO x\r\nMAIL FROM:<a@b.example>\r\n".to_owned();
        (0..1000).for_each(|n| wire += &format!("RCPT TO:<user{n}@d.example>\r\n"));
        assert!(!talk(&[wire.as_bytes()]).contains("452"));
    }

    proptest! {
        #[test]
        fn octet_by_octet_is_all_at_once(choice in proptest::collection::vec(0usize..12, 0..30)) {
            let lines: [&[u8]; 12] = [b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b"text\r\n", b".\r\n", b"\r\n.\r\n", b"BDAT 4\r\n", b"BDAT 3 LAST\r\n", b"RSET\r\n", b"\n.\n", b"STARTTLS\r\n"];
            let wire: Vec<u8> = choice.iter().flat_map(|n| lines[*n]).copied().filter(|_| true).collect();
            // what follows STARTTLS in one piece is an injection and is dropped; in pieces it is not there yet
            prop_assume!(!choice.contains(&11));
            let slow: Vec<&[u8]> = wire.chunks(1).collect();
            prop_assert_eq!(talk(&[&wire]), talk(&slow));
        }
    }
}

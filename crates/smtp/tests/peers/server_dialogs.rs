//! The dialogs of `tests/dialogs/server`: we are the server.

use crate::authority::Authority;
use crate::dialog::{Dialog, Line, shown, spoken};
use crate::keeper::{judge_address, judge_message, serve, settings};
use mail::Envelope;
use smtp::{Event, Reply, ServerSettings, Session, tls};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn settings_of(dialog: &Dialog, authority: &Authority) -> ServerSettings {
    let mut settings = settings(&authority.issue("mx.example"));
    for (_, line) in &dialog.lines {
        match line {
            Line::Words(words) if words[0] == "octets_max" => settings.octets_max = words[1].parse().unwrap(),
            Line::Words(words) if words[0] == "binarymime" => settings.binarymime = true,
            Line::Words(words) => panic!("{}: {words:?} is no setting", dialog.file.display()),
            _ => {}
        }
    }
    settings
}

/// The message as the file shows it.
fn taken(envelope: &Envelope, raw: &[u8]) -> String {
    let mut said = format!("<{}>", envelope.sender);
    said += &envelope.body.map(|b| format!(" {b:?}")).unwrap_or_default();
    said += if envelope.smtputf8 { " SMTPUTF8" } else { "" };
    said += &envelope.ret.map(|r| format!(" {r:?}")).unwrap_or_default();
    said += &envelope.envid.as_ref().map(|e| format!(" ENVID={e}")).unwrap_or_default();
    if envelope.recipients.len() > 5 {
        said += &format!(" to {} recipients", envelope.recipients.len());
    } else {
        for recipient in &envelope.recipients {
            said += &format!(" to <{}>", recipient.address);
            said += &recipient.notify.as_ref().map(|n| format!(" NOTIFY={n}")).unwrap_or_default();
            said += &recipient.orcpt.as_ref().map(|o| format!(" ORCPT={o}")).unwrap_or_default();
        }
    }
    format!("{said}: {}", shown(raw))
}

/// What the session says to one piece, as it stands in a file; `None` in place of the rest once it is over.
fn answers(session: &mut Session, over: &mut bool) -> String {
    let (mut said, mut text) = (String::new(), String::new());
    while let Some(event) = session.next_event() {
        let reply = match event {
            Event::Reply(reply) => reply,
            Event::Close(reply) => {
                *over = true;
                said += &reply.wire();
                break;
            }
            // the driver says nothing more when octets wait that nobody may have sent under TLS
            Event::StartTls if session.has_pending_input() => {
                *over = true;
                break;
            }
            Event::StartTls => {
                said += &Reply::new(220, (2, 0, 0), "Ready").wire();
                break;
            }
            Event::Mail(envelope, _) => answer(session, judge_address(&envelope.sender)),
            Event::Rcpt(recipient) => answer(session, judge_address(&recipient.address)),
            Event::Message(envelope, raw) => {
                text += &spoken("S", std::mem::take(&mut said).as_bytes());
                text += &format!("= {}\n", taken(&envelope, &raw));
                answer(session, judge_message(&raw))
            }
        };
        said += &reply.wire();
    }
    text + &spoken("S", said.as_bytes()) + if *over { "(closed)\n" } else { "" }
}

fn answer(session: &mut Session, reply: Reply) -> Reply {
    session.answered(&reply);
    reply
}

#[test]
fn without_a_socket() {
    let authority = Authority::new();
    for dialog in Dialog::all("server") {
        let settings = settings_of(&dialog, &authority);
        let mut session = Session::new(settings.hostname.clone(), settings.octets_max, settings.binarymime);
        let (mut text, mut piece, mut over) = (String::new(), Vec::new(), false);
        let mut greeted = false;
        for (written, line) in dialog.lines.iter().chain([&(String::new(), Line::Piece)]) {
            let client = matches!(line, Line::Client(_));
            if !client && !piece.is_empty() && !over {
                session.feed(&std::mem::take(&mut piece));
                text += &answers(&mut session, &mut over);
            }
            match line {
                Line::Client(octets) => {
                    if !std::mem::replace(&mut greeted, true) {
                        text += &spoken("S", session.greeting().wire().as_bytes());
                    }
                    piece.extend_from_slice(octets);
                }
                Line::Tls => session.secured(),
                Line::Server(_) | Line::Outcome(_) | Line::Closed => continue,
                Line::Comment(_) | Line::Words(_) | Line::Piece => {}
            }
            text += &format!("{written}\n");
        }
        // the last piece of the loop was not in the file
        dialog.expect(text.strip_suffix('\n').unwrap());
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

#[tokio::test]
async fn over_a_socket() {
    let authority = Authority::new();
    for dialog in Dialog::all("server") {
        let (address, keeper) = serve(settings_of(&dialog, &authority)).await;
        let name = dialog.file.display();
        let mut wire: Box<dyn Wire> = Box::new(TcpStream::connect(address).await.unwrap());
        let mut outcomes = Vec::new();
        let mut piece = Vec::new();
        for (_, line) in dialog.lines.iter().chain([&(String::new(), Line::Piece)]) {
            if !matches!(line, Line::Client(_)) {
                // a server that has said goodbye may be gone before it has read the rest
                let _ = wire.write_all(&std::mem::take(&mut piece)).await;
                let _ = wire.flush().await;
            }
            match line {
                Line::Client(octets) => piece.extend_from_slice(octets),
                Line::Server(expected) => {
                    let mut heard = vec![0; expected.len()];
                    let read = wire.read_exact(&mut heard).await;
                    let (heard, expected) = (String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
                    assert!(
                        read.is_ok() && heard == expected,
                        "{name}: heard {heard:?} instead of {expected:?}: {read:?}"
                    );
                }
                Line::Tls => {
                    let connector = TlsConnector::from(tls::client_config(authority.roots.clone(), None).unwrap());
                    wire = Box::new(connector.connect("mx.example".try_into().unwrap(), wire).await.unwrap());
                }
                Line::Closed => {
                    let mut rest = Vec::new();
                    let _ = wire.read_to_end(&mut rest).await;
                    assert_eq!(String::from_utf8_lossy(&rest), "", "{name}");
                }
                Line::Outcome(outcome) => outcomes.push(outcome.clone()),
                Line::Comment(_) | Line::Words(_) | Line::Piece => {}
            }
        }
        let kept: Vec<String> = Arc::clone(&keeper.messages).lock().unwrap().iter().map(|(e, r)| taken(e, r)).collect();
        assert_eq!(kept, outcomes, "{name}");
    }
}

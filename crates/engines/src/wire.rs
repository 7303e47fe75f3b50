//! One question over one connection: written while its answer is read, since an engine that has seen enough says so and
//! closes.

use crate::{Fault, limits};
use bytes::Bytes;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Where a connection goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer<'a> {
    Tcp(&'a str),
    Unix(&'a Path),
}

/// What is asked, how long an answer may be, and when it is whole.
pub(crate) struct Question<'a> {
    pub pieces: Vec<Bytes>,
    pub answer_octets_max: usize,
    pub is_whole: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
}

/// The answer, or as much of it as came before the engine closed.
pub(crate) async fn exchange(peer: Peer<'_>, question: Question<'_>) -> Result<Vec<u8>, Fault> {
    let connecting = async {
        match peer {
            Peer::Tcp(at) => {
                let stream = TcpStream::connect(at).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Peer::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        }
    };
    let connected = tokio::time::timeout(limits::CONNECT_TIMEOUT, connecting).await;
    match connected.map_err(|_| Fault::Slow(limits::CONNECT_TIMEOUT))?? {
        Stream::Tcp(stream) => talk(stream, question).await,
        Stream::Unix(stream) => talk(stream, question).await,
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn talk(stream: impl AsyncRead + AsyncWrite, question: Question<'_>) -> Result<Vec<u8>, Fault> {
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        for piece in &question.pieces {
            write.write_all(piece).await?;
        }
        write.flush().await
    };
    let reading = async {
        let mut answer = Vec::new();
        loop {
            let n = match read.read_buf(&mut answer).await {
                Ok(n) => n,
                // closed before it had read everything: what it said before that still counts
                Err(_) if !answer.is_empty() => return Ok(answer),
                Err(e) => return Err(e.into()),
            };
            if n == 0 || (question.is_whole)(&answer) {
                return Ok(answer);
            }
            if answer.len() > question.answer_octets_max {
                return Err(Fault::Garbage(format!("more than {} octets", question.answer_octets_max)));
            }
        }
    };
    tokio::pin!(reading, writing);
    let mut written = None;
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut reading => break answer,
            done = &mut writing, if written.is_none() => written = Some(done),
        }
    };
    match (answer, written) {
        (Ok(answer), _) if !answer.is_empty() => Ok(answer),
        (Ok(_), Some(Err(error))) => Err(Fault::Down(format!("it closed while it was written to ({error})"))),
        (Ok(_), _) => Err(Fault::Down("it closed without an answer".into())),
        (Err(fault), _) => Err(fault),
    }
}

//! Lists from files and from a feed on this machine, which answers as feeds do: well, not at all, and with other things.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use engines::{FeedSettings, Feeds, Format, Source};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use verdict::{Listing, Severity};

/// What it answers from now on, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/list?key=secret", listener.local_addr().unwrap());
        let server = self.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") && socket.read_buf(&mut asked).await.is_ok_and(|n| n > 0) {}
                server.asked.lock().unwrap().push(String::from_utf8_lossy(&asked).to_lowercase());
                let answer = server.answer.lock().unwrap().clone();
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    fn says(&self, status: &str, fields: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n{body}");
    }

    fn last(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }
}

fn settings(source: Source) -> FeedSettings {
    FeedSettings {
        name: "bad".into(),
        of: Listing::Urls,
        source,
        format: Format::Lines,
        every: Duration::ZERO,
        severity: Severity::Malicious,
    }
}

fn feeds(source: Source, dir: &Path) -> Feeds {
    Feeds::new(vec![settings(source)], dir.to_owned())
}

fn entries(feeds: &Feeds) -> usize {
    feeds.lists().0.iter().map(|list| list.len()).sum()
}

#[tokio::test]
async fn a_feed_is_fetched_when_it_changed_and_kept_when_it_is_gone() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::default());
    let url = server.start().await;
    let source = || Source::Url(url.clone());
    let all = feeds(source(), dir.path());
    server.says("200 OK", "ETag: \"1\"\r\nLast-Modified: Wed, 25 Nov 2026 10:00:00 GMT\r\n", "a.example\nb.example\n");
    assert!(all.tend().await.is_empty());
    assert_eq!(entries(&all), 2);
    server.says("304 Not Modified", "", "");
    all.tend().await;
    let asked = server.last();
    assert!(asked.contains("if-none-match: \"1\"") && asked.contains("if-modified-since: wed, 25 nov"), "{asked}");
    assert_eq!((entries(&all), &all.status()[0].fault), (2, &None));
    // an error, a page, nothing: what there is stays, and it is told once
    let mut told = Vec::new();
    for (status, body) in [("503 No", "sorry"), ("200 OK", "<html>sorry</html>"), ("200 OK", ""), ("404 No", "")] {
        server.says(status, "", body);
        told.extend(all.tend().await);
        assert_eq!(entries(&all), 2, "{status} {body}");
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].is_down && told[0].text.contains("2 entries of before stay in use"), "{told:?}");
    assert!(!told[0].text.contains("secret") && !format!("{:?}", all.status()).contains("secret"));
    // a start without it
    let again = feeds(source(), dir.path());
    assert_eq!(entries(&again), 2);
    server.says("200 OK", "ETag: \"2\"\r\n", "a.example\nb.example\nc.example\n");
    again.tend().await;
    assert!(server.last().contains("if-none-match: \"1\""), "{}", server.last());
    assert_eq!(entries(&again), 3);
    let back = all.tend().await;
    assert!(back.len() == 1 && !back[0].is_down, "{back:?}");
    // under the same name, another feed is another
    let other = feeds(Source::Url(format!("{url}&other")), dir.path());
    assert_eq!(entries(&other), 0);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.txt");
    let all = feeds(Source::File(file.clone()), dir.path());
    all.tend().await;
    assert!(all.status()[0].fault.as_ref().unwrap().contains("No such file"), "{:?}", all.status());
    std::fs::write(&file, "a.example\n").unwrap();
    all.tend().await;
    assert_eq!(entries(&all), 1);
    std::fs::write(&file, "a.example\nb.example\nno entry\n").unwrap();
    all.tend().await;
    assert_eq!((entries(&all), all.status()[0].rejected), (2, 1));
    std::fs::remove_file(&file).unwrap();
    all.tend().await;
    assert_eq!(entries(&all), 2);
}

//! Rspamd over HTTP: `POST /checkv2` with the envelope in headers (rspamd.com/doc/architecture/protocol.html). Its score
//! is one finding among others; a proxy worker or a scanner, plain HTTP, on a network of one's own.

use crate::settings::{Address, Kind};
use crate::{Asked, Fault, found, limits, words};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use std::collections::BTreeMap;
use verdict::{Category, Finding, Severity};

pub(crate) struct Rspamd {
    http: Result<Client, String>,
    base: String,
}

#[derive(Deserialize)]
struct Checked {
    score: f64,
    required_score: f64,
    action: String,
    #[serde(default)]
    is_skipped: bool,
    #[serde(default)]
    symbols: BTreeMap<String, Symbol>,
}

#[derive(Deserialize)]
struct Symbol {
    score: f64,
    #[serde(default)]
    description: Option<String>,
}

impl Rspamd {
    pub fn new(address: &Address) -> Rspamd {
        // what an environment says of proxies is not for what stands beside us
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .build();
        Rspamd { http: http.map_err(|e| e.to_string()), base: address.to_string().trim_end_matches('/').to_owned() }
    }

    pub async fn ask(&self, asked: &Asked) -> Result<Vec<Finding>, Fault> {
        let request = self.http()?.post(format!("{}/checkv2", self.base)).body(asked.raw.clone());
        let answer = envelope(request, asked).send().await.map_err(|e| down(&e))?;
        let status = answer.status();
        let text = body(answer).await?;
        if !status.is_success() {
            return Err(Fault::Failed(format!("{status} {}", words(&String::from_utf8_lossy(&text)))));
        }
        read(&text)
    }

    pub async fn version(&self) -> Result<String, Fault> {
        let answer = self.http()?.get(format!("{}/ping", self.base)).send().await.map_err(|e| down(&e))?;
        let server = answer.headers().get("server").and_then(|v| v.to_str().ok());
        server.map(words).ok_or_else(|| Fault::Garbage("an answer without a Server field".into()))
    }

    fn http(&self) -> Result<&Client, Fault> {
        self.http.as_ref().map_err(|why| Fault::Down(why.clone()))
    }
}

/// What cannot stand in a header field is left out: it comes from strangers.
fn envelope(request: RequestBuilder, asked: &Asked) -> RequestBuilder {
    let one = |name: &'static str, value: &str| {
        Some((HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let client = asked.client.map(|ip| ip.to_string());
    let user = asked.is_outbound.then_some(asked.sender.as_str());
    let fields = [
        one("queue-id", &asked.id),
        one("from", &format!("<{}>", asked.sender)),
        client.and_then(|ip| one("ip", &ip)),
        asked.helo.as_ref().and_then(|helo| one("helo", helo)),
        // mail of an authenticated user is weighed otherwise
        user.and_then(|user| one("user", user)),
    ];
    let recipients = asked.recipients.iter().filter_map(|r| one("rcpt", &format!("<{r}>")));
    fields.into_iter().flatten().chain(recipients).fold(request, |request, (name, value)| request.header(name, value))
}

fn down(error: &reqwest::Error) -> Fault {
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    // the last one is the system's own word
    while let Some(error) = cause {
        (why, cause) = (error.to_string(), error.source());
    }
    Fault::Down(words(&why))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| down(&e))? {
        text.extend_from_slice(&piece);
        if text.len() > limits::RSPAMD_ANSWER_OCTETS_MAX {
            return Err(Fault::Garbage(format!("more than {} octets", limits::RSPAMD_ANSWER_OCTETS_MAX)));
        }
    }
    Ok(text)
}

/// Parts of the score from which Rspamd rejects, and the points that they are: below a quarter nothing is told.
const POINTS: [(f64, u32); 4] = [(0.8, 80), (0.6, 60), (0.4, 40), (0.25, 20)];

fn read(text: &[u8]) -> Result<Vec<Finding>, Fault> {
    let said: Checked = serde_json::from_slice(text)
        .map_err(|e| Fault::Garbage(format!("{e} in \"{}\"", words(&String::from_utf8_lossy(text)))))?;
    // by a rule of whoever runs it; what is rejected out of hand is called skipped, too
    if said.is_skipped && said.action != "reject" {
        return Ok(Vec::new());
    }
    // a threshold of none, or of nothing, would make everything spam
    if !(said.score.is_finite() && said.required_score.is_finite() && said.required_score > 0.0) {
        return Err(Fault::Garbage(format!("a score of {} of {}", said.score, said.required_score)));
    }
    let part = said.score / said.required_score;
    let (severity, points) = match POINTS.iter().find(|(from, _)| part >= *from) {
        _ if said.action == "reject" => (Severity::Suspicious, verdict::finding::HOLD_POINTS),
        Some((_, points)) => (Severity::Note, *points),
        None => return Ok(Vec::new()),
    };
    let mut strongest: Vec<(&String, &Symbol)> = said.symbols.iter().filter(|(_, s)| s.score > 0.0).collect();
    strongest.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let told = strongest.iter().take(limits::SYMBOLS_MAX).map(|(name, symbol)| {
        let why = symbol.description.as_deref().map(|d| format!(": {}", words(d))).unwrap_or_default();
        format!("{} {:+.1}{why}", words(name), symbol.score)
    });
    let summary =
        format!("Rspamd gives it {:.1} of the {:.1} points at which it rejects", said.score, said.required_score);
    Ok(vec![found(Kind::Rspamd, Category::Spam, severity, points, summary, told.collect())])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(score: &str, action: &str) -> String {
        let text = format!(
            r#"{{"is_skipped":false,"score":{score},"required_score":15.0,"action":"{action}","symbols":{{"FREEMAIL":{{"name":"FREEMAIL","score":0.0}},"PHISHING":{{"name":"PHISHING","score":4.5,"description":"Phished URL"}},"GOOD":{{"score":-1.0}}}},"messages":{{}}}}"#
        );
        match read(text.as_bytes()) {
            Ok(found) => {
                found.iter().map(|f| format!("{:?} {} {} {:?}", f.severity, f.points, f.summary, f.details)).collect()
            }
            Err(fault) => fault.kind().into(),
        }
    }

    #[test]
    fn scores_are_points_and_a_rejection_holds() {
        assert_eq!(said("-3.5", "no action"), "");
        assert_eq!(said("3.7", "no action"), "");
        assert_eq!(
            said("4.0", "greylist"),
            "Note 20 Rspamd gives it 4.0 of the 15.0 points at which it rejects [\"PHISHING +4.5: Phished URL\"]"
        );
        assert!(said("9.5", "add header").starts_with("Note 60 "));
        assert!(said("14.9", "add header").starts_with("Note 80 "));
        assert!(said("15.0", "reject").starts_with("Suspicious 100 "));
    }

    #[test]
    fn what_is_no_answer_is_not_clean() {
        assert_eq!(said("1e999", "no action"), "garbage");
        assert_eq!(said("\"high\"", "no action"), "garbage");
        for text in ["", "pong", "{}", r#"{"score":0,"required_score":0,"action":"reject"}"#] {
            assert_eq!(read(text.as_bytes()).unwrap_err().kind(), "garbage", "{text}");
        }
    }

    #[test]
    fn what_its_owner_has_skipped_is_told_only_when_it_is_rejected() {
        let skipped = |score: u32, action: &str| {
            let text = format!(
                r#"{{"is_skipped":true,"score":{score},"required_score":15,"action":"{action}","symbols":{{}}}}"#
            );
            read(text.as_bytes()).unwrap().len()
        };
        assert_eq!((skipped(0, "no action"), skipped(15, "reject")), (0, 1));
    }
}

//! The Office 365 Management Activity API (wire.md 9.1): who changed what in a tenant. Blobs come late, twice and in
//! any order; whoever reads remembers by the records' own ids.

use crate::http::{Asks, Client, send};
use crate::tokens::Identity;
use crate::{M365Error, Result, Service, limits};
use jiff::Timestamp;
use reqwest::{Method, Response, header::HeaderMap};
use serde_json::Value;

/// Where a handful of records lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub id: String,
    uri: String,
    pub created: Timestamp,
}

impl Client {
    /// Subscribes; being subscribed already is a success (AF20024, recorded).
    pub async fn activity_start(&self, who: &Identity, content_type: &str) -> Result<()> {
        let url = self.feed(who, &format!("subscriptions/start?contentType={content_type}"));
        match self.activity(who, Method::POST, &url).await {
            Err(M365Error::Activity { code, .. }) if code == "AF20024" => Ok(()),
            other => other.map(drop),
        }
    }

    pub async fn activity_stop(&self, who: &Identity, content_type: &str) -> Result<()> {
        let url = self.feed(who, &format!("subscriptions/stop?contentType={content_type}"));
        match self.activity(who, Method::POST, &url).await {
            // nothing was subscribed
            Err(M365Error::Activity { code, .. }) if code == "AF20022" => Ok(()),
            other => other.map(drop),
        }
    }

    /// Content types to which we are subscribed now.
    pub async fn activity_subscriptions(&self, who: &Identity) -> Result<Vec<String>> {
        let (_, list) = self.activity(who, Method::GET, &self.feed(who, "subscriptions/list?")).await?;
        let enabled = list.as_array().into_iter().flatten().filter(|s| s["status"] == "enabled");
        Ok(enabled.filter_map(|s| s["contentType"].as_str().map(str::to_owned)).collect())
    }

    /// Every blob that became available in a window of at most 24 hours.
    pub async fn activity_blobs(
        &self,
        who: &Identity,
        content_type: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Blob>> {
        let time = |t: Timestamp| t.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let window = format!("startTime={}&endTime={}", time(from), time(to));
        let mut url = self.feed(who, &format!("subscriptions/content?contentType={content_type}&{window}"));
        let mut blobs = Vec::new();
        for _ in 0..limits::PAGES_MAX {
            let (headers, list) = self.activity(who, Method::GET, &url).await?;
            for row in list.as_array().into_iter().flatten() {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                let created = text("contentCreated").parse().map_err(|_| M365Error::Unexpected {
                    service: "the activity feed",
                    what: format!("contentCreated is \"{}\"", text("contentCreated")),
                })?;
                blobs.push(Blob {
                    id: text("contentId"),
                    uri: self.own_feed_link("content", text("contentUri"))?,
                    created,
                });
            }
            match headers.get("NextPageUri").and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()) {
                Some(next) => url = self.own_feed_link("the list of content", next.to_owned())?,
                None => return Ok(blobs),
            }
        }
        let why = format!("it has more than {} pages", limits::PAGES_MAX);
        Err(M365Error::Truncated { what: "the list of content".into(), why })
    }

    pub async fn activity_records(&self, who: &Identity, blob: &Blob) -> Result<Vec<Value>> {
        match self.activity(who, Method::GET, &blob.uri).await?.1 {
            Value::Array(records) => Ok(records),
            _ => Err(M365Error::Unexpected { service: "the activity feed", what: "a blob that is no list".into() }),
        }
    }

    fn feed(&self, who: &Identity, rest: &str) -> String {
        let (base, tenant) = (&self.cloud.activity, who.tenant());
        // without a publisher of its own a caller shares its quota with everybody (wire.md 9.1)
        let join = if rest.ends_with('?') { "" } else { "&" };
        format!("{base}/api/v1.0/{tenant}/activity/feed/{rest}{join}PublisherIdentifier={tenant}")
    }

    /// A token must not follow a link to somebody else.
    fn own_feed_link(&self, what: &str, uri: String) -> Result<String> {
        if uri.starts_with(&format!("{}/", self.cloud.activity)) {
            return Ok(uri);
        }
        Err(M365Error::Truncated { what: what.to_owned(), why: "it is at another host".into() })
    }

    async fn activity(&self, who: &Identity, method: Method, url: &str) -> Result<(HeaderMap, Value)> {
        let token = self.token(who, Service::Activity).await?;
        // starting and stopping may be repeated: the second time changes nothing
        let request = self.http.request(method, url).bearer_auth(token.expose()).body("");
        let answer = send("the activity feed", Asks::Repeatable, request).await?;
        if answer.status() == 401 {
            // the next time with a new one
            self.forget_tokens(who);
        }
        let headers = answer.headers().clone();
        self.clock.learn(&headers);
        Ok((headers, read(answer).await?))
    }
}

async fn read(answer: Response) -> Result<Value> {
    let status = answer.status();
    let text = answer
        .text()
        .await
        .map_err(|e| M365Error::Unreachable { service: "the activity feed", why: e.without_url().to_string() })?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    match status.as_u16() {
        200..=299 => Ok(body),
        status @ (401 | 403) if body.is_null() => Err(M365Error::NotAuthorised { service: Service::Activity, status }),
        status => Err(M365Error::of_activity(status, &body)),
    }
}

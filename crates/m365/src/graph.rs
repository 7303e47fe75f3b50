//! Microsoft Graph: one object, one list, one change at a time (wire.md 2). Every change that we ask for may be asked for
//! twice: the second time it is refused as a duplicate, changes nothing, or finds nothing to delete. That is why a new
//! application is made by its unique name and not by POST.

use crate::http::{Asks, Client, send};
use crate::tokens::Identity;
use crate::{M365Error, Result, Service, limits};
use reqwest::{Method, Response, header};
use serde_json::Value;

/// A part of a list, and where it goes on.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Value>,
    pub next: Next,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more at this link.
    Page(String),
    /// This was all; what changes from now on is told at this link (wire.md 4.1).
    Delta(String),
    End,
}

impl Client {
    pub async fn graph_get(&self, who: &Identity, path: &str) -> Result<Value> {
        self.graph(who, Method::GET, path, None).await
    }
    pub async fn graph_post(&self, who: &Identity, path: &str, body: &Value) -> Result<Value> {
        self.graph(who, Method::POST, path, Some(body)).await
    }
    pub async fn graph_patch(&self, who: &Identity, path: &str, body: &Value) -> Result<Value> {
        self.graph(who, Method::PATCH, path, Some(body)).await
    }
    /// Creates or changes, by a name that only one object can have (Graph's "upsert"); `None` where Graph answers with
    /// nothing because it was there.
    pub async fn graph_upsert(&self, who: &Identity, path: &str, body: &Value) -> Result<Option<Value>> {
        let token = self.token(who, Service::Graph).await?;
        let request = self.http.patch(self.graph_url(path)).bearer_auth(token.expose());
        let request = request.header("Prefer", "create-if-missing").json(body);
        let answer = read(send("Microsoft Graph", Asks::Repeatable, request).await?).await?;
        Ok(Some(answer).filter(|a| !a.is_null()))
    }
    /// Deleting what is gone is a success.
    pub async fn graph_delete(&self, who: &Identity, path: &str) -> Result<()> {
        match self.graph(who, Method::DELETE, path, None).await {
            Err(e) if !e.is_absent() => Err(e),
            _ => Ok(()),
        }
    }

    /// Every item of a list; links to further pages are followed as they stand (wire.md 2.3).
    pub async fn graph_list(&self, who: &Identity, path: &str) -> Result<Vec<Value>> {
        let (mut items, mut at) = (Vec::new(), path.to_owned());
        for _ in 0..limits::PAGES_MAX {
            let page = self.graph_page(who, &at).await?;
            items.extend(page.items);
            match page.next {
                Next::Page(next) => at = next,
                Next::Delta(_) | Next::End => return Ok(items),
            }
        }
        Err(M365Error::Truncated {
            what: path.to_owned(),
            why: format!("it has more than {} pages", limits::PAGES_MAX),
        })
    }

    /// One page of a list, by its path or by the link of the page before.
    pub async fn graph_page(&self, who: &Identity, at: &str) -> Result<Page> {
        let url = if at.starts_with("https://") { at.to_owned() } else { self.graph_url(at) };
        self.own_link(at, &url)?;
        let mut page = self.graph_at(who, Method::GET, &url, None).await?;
        let Some(Value::Array(items)) = page.get_mut("value").map(Value::take) else {
            return Err(M365Error::Unexpected { service: "Microsoft Graph", what: format!("{at} is no list") });
        };
        let next = match (page["@odata.nextLink"].as_str(), page["@odata.deltaLink"].as_str()) {
            (Some(next), _) => Next::Page(next.to_owned()),
            (None, Some(delta)) => Next::Delta(delta.to_owned()),
            (None, None) => Next::End,
        };
        if let Next::Page(link) | Next::Delta(link) = &next {
            self.own_link(at, link)?;
        }
        Ok(Page { items, next })
    }

    /// A token must not follow a link to somebody else.
    fn own_link(&self, what: &str, link: &str) -> Result<()> {
        if self.is_own_link(link) {
            return Ok(());
        }
        Err(M365Error::Truncated { what: what.to_owned(), why: "its next page is at another host".into() })
    }

    /// A link that was kept may be of another Graph: the operator moved to another cloud, or address.
    pub fn is_own_link(&self, link: &str) -> bool {
        link.starts_with(&format!("{}/", self.cloud.graph))
    }

    fn graph_url(&self, path: &str) -> String {
        format!("{}/v1.0/{path}", self.cloud.graph)
    }

    async fn graph(&self, who: &Identity, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.graph_at(who, method, &self.graph_url(path), body).await
    }

    /// A token may end before its time; a new one is tried once.
    async fn graph_at(&self, who: &Identity, method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
        let first = self.graph_once(who, method.clone(), url, body).await;
        if !matches!(first, Err(M365Error::Graph { status: 401, .. })) {
            return first;
        }
        self.forget_tokens(who);
        self.graph_once(who, method, url, body).await
    }

    async fn graph_once(&self, who: &Identity, method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
        let token = self.token(who, Service::Graph).await?;
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(token.expose())
            .header("client-request-id", uuid::Uuid::new_v4().to_string());
        if let Some(body) = body {
            request = request.json(body);
        }
        read(send("Microsoft Graph", Asks::Repeatable, request).await?).await
    }
}

async fn read(answer: Response) -> Result<Value> {
    let status = answer.status();
    let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
    let text = answer
        .text()
        .await
        .map_err(|e| M365Error::Unreachable { service: "Microsoft Graph", why: e.without_url().to_string() })?;
    if text.trim().is_empty() && status.is_success() {
        return Ok(Value::Null);
    }
    let body: Value = match serde_json::from_str(&text) {
        Ok(body) => body,
        Err(_) if !status.is_success() => Value::Null,
        Err(e) => return Err(M365Error::Unexpected { service: "Microsoft Graph", what: e.to_string() }),
    };
    if status.is_success() { Ok(body) } else { Err(M365Error::of_graph(status.as_u16(), &body, location)) }
}

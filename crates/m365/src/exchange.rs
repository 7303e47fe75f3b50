//! The Exchange admin API: cmdlets over HTTPS (wire.md 7). A list that ends before its end is an error.

use crate::http::{Asks, Client, send};
use crate::tokens::Identity;
use crate::{M365Error, Result, Service, limits};
use reqwest::header;
use serde_json::{Map, Value, json};

/// One object, its annotations taken off.
pub type Row = Map<String, Value>;

/// What a cmdlet returned.
#[derive(Debug, Default)]
pub struct Answer {
    pub rows: Vec<Row>,
    pub warnings: Vec<String>,
    /// Exchange says that there is more, and not how to get it.
    pub more: bool,
}

/// One page of it.
#[derive(Debug)]
pub struct Part {
    pub rows: Vec<Row>,
    pub warnings: Vec<String>,
    /// Where it goes on; without it, this was the last page.
    pub next: Option<String>,
    /// The last page, and Exchange says that there is more: the list was cut off.
    pub more: bool,
}

/// The routing hint of an application (wire.md 7.1).
const ANCHOR: &str = "APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}";

impl Client {
    /// Runs one cmdlet. `parameters` is an object with PowerShell's names; lists replace, `null` clears.
    pub async fn exchange(&self, who: &Identity, cmdlet: &str, parameters: Value) -> Result<Answer> {
        let answer = self.exchange_part(who, cmdlet, parameters).await?;
        if answer.more {
            return Err(M365Error::Truncated {
                what: cmdlet.to_owned(),
                why: "Exchange says that there is more".into(),
            });
        }
        Ok(answer)
    }

    /// The same for a cmdlet whose list is gone through by its parameters (Get-MessageTraceV2, wire.md 8.10): a list
    /// that ends before its end says so in `more`, and whoever asks goes on.
    pub async fn exchange_part(&self, who: &Identity, cmdlet: &str, parameters: Value) -> Result<Answer> {
        let (mut answer, mut at) = (Answer::default(), None);
        for _ in 0..limits::PAGES_MAX {
            let page = self.exchange_page(who, cmdlet, &parameters, &[], at.as_deref()).await?;
            answer.rows.extend(page.rows);
            answer.more = page.more;
            answer.warnings.extend(page.warnings);
            at = page.next;
            if at.is_none() {
                return Ok(answer);
            }
        }
        Err(M365Error::Truncated {
            what: cmdlet.to_owned(),
            why: format!("it has more than {} pages", limits::PAGES_MAX),
        })
    }

    /// Exchange has passing troubles of its own, in the body of an ordinary refusal (wire.md 7.5), and may end a token
    /// before its time; a new one is tried once.
    async fn invoke_again(&self, who: &Identity, cmdlet: &str, url: &str, body: &Value) -> Result<Value> {
        let (mut pause, mut token_is_new) = (limits::BACKOFF_FIRST, false);
        for _ in 1..limits::TRIES_MAX {
            match self.invoke(who, cmdlet, url, body).await {
                Err(e) if e.did_nothing() => tokio::time::sleep(pause).await,
                Err(M365Error::NotAuthorised { status: 401, .. }) if !token_is_new => {
                    self.forget_tokens(who);
                    token_is_new = true;
                    continue;
                }
                other => return other,
            }
            pause = (pause * 2).min(limits::BACKOFF_MAX);
        }
        self.invoke(who, cmdlet, url, body).await
    }

    /// One page of what a cmdlet returns, so that a long list is never in memory as a whole: the first without `at`,
    /// each further one at the `next` of the one before. Of `select`, empty for all, only those properties come.
    pub async fn exchange_page(
        &self,
        who: &Identity,
        cmdlet: &str,
        parameters: &Value,
        select: &[&str],
        at: Option<&str>,
    ) -> Result<Part> {
        let first = format!("{}/adminapi/beta/{}/InvokeCommand", self.cloud.exchange, who.tenant());
        let url = match at {
            Some(link) => link.to_owned(),
            None if select.is_empty() => first,
            None => format!("{first}?$select={}", select.join(",")),
        };
        let truncated = |why: &str| M365Error::Truncated { what: cmdlet.to_owned(), why: why.to_owned() };
        let body = json!({"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}});
        let mut got = match self.invoke_again(who, cmdlet, &url, &body).await {
            // recorded: the link to the second page often leads to another backend, which knows nothing of it
            Err(M365Error::Exchange { text, .. }) if at.is_some() => return Err(truncated(&text)),
            other => other?,
        };
        if got["@adminapi.confirmationmessage"].as_str().is_some_and(|text| !text.is_empty()) {
            let what = format!("{cmdlet} asked for confirmation and did nothing");
            return Err(M365Error::Unexpected { service: "Exchange Online", what });
        }
        let told = got["@adminapi.warnings"].as_array().into_iter().flatten();
        let warnings: Vec<String> = told.filter_map(|w| w.as_str().map(str::to_owned)).collect();
        let next = match got["@odata.nextLink"].as_str() {
            Some(next) if next.starts_with('/') => Some(format!("{}{next}", self.cloud.exchange)),
            Some(next) if next.starts_with(&format!("{}/", self.cloud.exchange)) => Some(next.to_owned()),
            Some(_) => return Err(truncated("its next page is at another host")),
            None => None,
        };
        let rows = match got.get_mut("value").map(Value::take) {
            Some(Value::Array(rows)) => rows.into_iter().filter_map(plain).collect(),
            _ => Vec::new(),
        };
        // pages before the last one warn of the page that follows
        let more = next.is_none() && warnings.iter().any(|w| w.to_lowercase().contains("more results"));
        Ok(Part { rows, warnings, next, more })
    }

    async fn invoke(&self, who: &Identity, cmdlet: &str, url: &str, body: &Value) -> Result<Value> {
        let token = self.token(who, Service::Exchange).await?;
        let request = self
            .http
            .post(url)
            .bearer_auth(token.expose())
            .header(header::ACCEPT, "application/json")
            // without the charset, accented characters in a rule's text have made Exchange answer 500
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("Prefer", "odata.maxpagesize=1000")
            .header("X-CmdletName", cmdlet)
            .header("X-ResponseFormat", "json")
            .header("X-AnchorMailbox", format!("{ANCHOR}@{}", who.tenant()))
            .header("client-request-id", uuid::Uuid::new_v4().to_string())
            .body(body.to_string());
        // setting, switching and removing twice is as once; making is not
        let asks = if cmdlet.starts_with("New-") || cmdlet.starts_with("Add-") { Asks::Once } else { Asks::Repeatable };
        let answer = send("Exchange Online", asks, request).await?;
        let status = answer.status().as_u16();
        if status == 401 || status == 403 {
            // recorded: the body of a 403 may be 4 KiB of NUL
            return Err(M365Error::NotAuthorised { service: Service::Exchange, status });
        }
        let text = answer
            .text()
            .await
            .map_err(|e| M365Error::Unreachable { service: "Exchange Online", why: e.without_url().to_string() })?;
        let ok = (200..300).contains(&status);
        if ok && text.trim().is_empty() {
            return Ok(Value::Null);
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(body) if ok => Ok(body),
            Ok(body) => Err(M365Error::of_exchange(cmdlet, status, &body)),
            Err(_) => {
                let short: String = text.chars().filter(|c| !c.is_control()).take(limits::ERROR_TEXT_MAX).collect();
                Err(M365Error::Exchange { cmdlet: cmdlet.to_owned(), status, kind: String::new(), text: short })
            }
        }
    }
}

/// Keys that contain `@` annotate their neighbours (wire.md 7.3).
fn plain(row: Value) -> Option<Row> {
    match row {
        Value::Object(map) => Some(map.into_iter().filter(|(key, _)| !key.contains('@')).collect()),
        _ => None,
    }
}

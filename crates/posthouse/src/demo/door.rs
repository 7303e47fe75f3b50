//! The simulator's control door, spoken over HTTP as any scenario would.

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// A client of the control door.
#[derive(Clone)]
pub struct Door {
    base: String,
    http: reqwest::Client,
}

/// A message as it lies in a mailbox.
#[derive(Clone, Debug)]
pub struct Stored {
    pub sender: String,
    pub recipient: String,
    /// What the world tests tell messages apart by.
    #[allow(dead_code)]
    pub message_id: String,
    pub raw: Vec<u8>,
}

/// One copy of a message on the wire between Exchange Online and the gateway.
#[derive(Clone, Debug)]
pub struct WireCopy {
    /// `to_gateway` or `from_gateway`
    pub leg: String,
    pub sender: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

impl Door {
    pub fn new(control: &str) -> Door {
        Door { base: control.trim_end_matches('/').to_owned(), http: reqwest::Client::new() }
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.answer(self.http.post(format!("{}{path}", self.base)).json(&body))
            .await
            .with_context(|| format!("POST {path}"))
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        self.answer(self.http.patch(format!("{}{path}", self.base)).json(&body))
            .await
            .with_context(|| format!("PATCH {path}"))
    }

    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        self.answer(self.http.get(format!("{}{path}", self.base)).query(query))
            .await
            .with_context(|| format!("GET {path}"))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// As a user of the tenant, from her own mailbox.
    pub async fn submit(&self, tenant: &str, from: &str, to: &[String], raw: &[u8]) -> Result<()> {
        self.post("/submit", json!({"tenant": tenant, "from": from, "to": to, "raw_base64": STANDARD.encode(raw)}))
            .await
            .map(drop)
    }

    /// As an outside server, over real SMTP.
    pub async fn send_from_internet(&self, from: &str, to: &[String], raw: &[u8], smtputf8: bool) -> Result<Value> {
        self.post(
            "/internet/send",
            json!({"from": from, "to": to, "raw_base64": STANDARD.encode(raw), "smtputf8": smtputf8}),
        )
        .await
    }

    pub async fn idle(&self, timeout_secs: u64) -> Result<bool> {
        let answer = self.post("/queue/idle", json!({"timeout_secs": timeout_secs})).await?;
        Ok(answer.get("idle").and_then(Value::as_bool).unwrap_or(false))
    }

    /// What lies in a mailbox of the tenant or of the outside world.
    pub async fn mailbox(&self, address: &str, outside: bool) -> Result<Vec<Stored>> {
        let list = self.get(if outside { "/external" } else { "/mailbox" }, &[("address", address)]).await?;
        let list =
            list.as_array().or_else(|| list.get("messages").and_then(Value::as_array)).cloned().unwrap_or_default();
        list.iter()
            .map(|m| {
                Ok(Stored {
                    sender: text(m, "sender"),
                    recipient: text(m, "recipient"),
                    message_id: text(m, "message_id"),
                    raw: bytes(m)?,
                })
            })
            .collect()
    }

    /// Every copy that crossed the wire to or from the gateway since the world began.
    pub async fn wire(&self) -> Result<Vec<WireCopy>> {
        let list = self.get("/wire", &[]).await?;
        list.as_array()
            .cloned()
            .unwrap_or_default()
            .iter()
            .map(|m| {
                let recipients = m
                    .get("recipients")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                Ok(WireCopy { leg: text(m, "leg"), sender: text(m, "sender"), recipients, raw: bytes(m)? })
            })
            .collect()
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    STANDARD.decode(text(value, "raw_base64")).context("raw_base64")
}

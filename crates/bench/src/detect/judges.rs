//! The three that judge: the gateway, by whole journeys through the simulated Microsoft 365; SpamAssassin and Rspamd,
//! each asked as a mail server asks it. All get the same message with the same envelope from the same client.

use super::corpus::Prepared;
use crate::group::Group;
use crate::systems::{self, Rspamd, Spamd};
use crate::world::World;
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{JourneyFilter, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::{Category, Verdict, finding::HOLD_POINTS};

/// What a peer thinks of a message: its score, and the rules that made it.
pub type Said = (f64, Vec<String>);

/// The gateway's judgement as its journal has it.
#[derive(Clone, Debug)]
pub struct Ours {
    pub score: f64,
    pub held_as: Option<Category>,
}

/// A gateway before a simulated Microsoft 365 with one tenant, as `posthouse demo` puts them up.
pub struct House {
    door: String,
    http: reqwest::Client,
    store: Store,
    /// Mailboxes of the tenant; one message at a time for each, so that a journey is known by its recipient.
    pub recipients: Vec<String>,
    seen: HashSet<String>,
    _group: Group,
}

impl House {
    pub async fn start(posthouse: &Path, dir: &Path) -> Result<House> {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir)?;
        let (ready, log) = (dir.join("ready.json"), std::fs::File::create(dir.join("demo.log"))?);
        let mut command = Command::new(posthouse);
        command.args(["demo", "--without-scanners", "--ready-file"]).arg(&ready).env("TMPDIR", dir);
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        let mut group = Group::start("posthouse demo", &mut command)?;
        if let Err(e) = group.wait_for(|| ready.exists()) {
            eprintln!("{}", std::fs::read_to_string(dir.join("demo.log")).unwrap_or_default());
            return Err(e);
        }
        let said: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
        let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).with_context(|| pointer.to_owned());
        let store = Store::open(Path::new(text("/data_dir")?)).await?;
        let tenant = store.tenants().await?.into_iter().next().context("the demo has no tenant")?;
        let mailboxes = store.directory(tenant.id).await?.mailboxes.into_iter();
        let of_users = mailboxes.filter(|m| m.kind == "UserMailbox");
        let house = House {
            door: text("/endpoints/control")?.trim_end_matches('/').to_owned(),
            http: reqwest::Client::new(),
            store,
            recipients: of_users.map(|m| m.address).take(super::UNDER_WAY).collect(),
            seen: HashSet::new(),
            _group: group,
        };
        ensure!(!house.recipients.is_empty(), "the demo's tenant has no mailboxes");
        house.ask(reqwest::Method::PATCH, "/switches", json!({"record_wire": false})).await?;
        house.ask(reqwest::Method::DELETE, "/wire", json!({})).await?;
        Ok(house)
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Result<Value> {
        let answer = self.http.request(method, format!("{}{path}", self.door)).json(&body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Of as many messages as there are recipients at most, each to its own.
    pub async fn judge(&mut self, messages: &[Prepared]) -> Result<Vec<Option<Ours>>> {
        let send = async |m: &Prepared| {
            let body = json!({
                "from": m.sender, "to": [m.recipient], "raw_base64": STANDARD.encode(&m.raw), "client_ip": m.client,
                "helo": m.helo, "smtputf8": !m.sender.is_ascii(), "sign": false,
            });
            self.ask(reqwest::Method::POST, "/internet/send", body).await
        };
        for (sent, message) in join_all(messages.iter().map(send)).await.iter().zip(messages) {
            match sent {
                Ok(said) if said["data"].as_str().is_some_and(|d| d.starts_with('2')) => {}
                Ok(said) => eprintln!("bench: not taken from <{}>: {said}", message.sender),
                Err(e) => eprintln!("bench: not sent from <{}>: {e:#}", message.sender),
            }
        }
        let rest = self.ask(reqwest::Method::POST, "/queue/idle", json!({"timeout_secs": 120})).await?;
        ensure!(rest["idle"] == true, "the simulator did not come to rest");
        let filter = JourneyFilter { limit: 8 * super::UNDER_WAY as u32, ..JourneyFilter::default() };
        let mut journeys = self.store.journeys(&filter).await?;
        journeys.retain(|j| self.seen.insert(j.id.clone()));
        self.ask(reqwest::Method::DELETE, "/mailboxes", json!({})).await?;
        let of = |m: &Prepared| {
            let mut mine = journeys.iter().filter(|j| j.sender == m.sender && j.recipients.contains(&m.recipient));
            let journey = mine.find(|j| j.judged)?;
            let decision = journey.decision.as_ref()?;
            let held = decision.verdict == Verdict::Hold;
            let points = verdict::points(&journey.findings, &tenant::Policy::default());
            let points = if held { points.max(HOLD_POINTS) } else { points };
            Some(Ours { score: f64::from(points), held_as: held.then_some(decision.category) })
        };
        Ok(messages.iter().map(of).collect())
    }
}

pub struct Peers {
    spamd: Spamd,
    rspamd: Rspamd,
    http: reqwest::Client,
}

impl Peers {
    pub fn start(world: &World) -> Result<Peers> {
        Ok(Peers { spamd: systems::spamd(world)?, rspamd: systems::rspamd(world)?, http: reqwest::Client::new() })
    }

    /// The protocol of spamc; the fields on top are those of the mail server that asks, above which the client is.
    pub async fn spamassassin(&self, messages: &[Prepared]) -> Vec<Option<Said>> {
        let one = async |m: &Prepared| -> Result<Said> {
            let top = format!(
                "Return-Path: <{}>\r\nReceived: from {} ({} [{}])\r\n\tby mx.contoso.example (Postfix) with ESMTP id 4RQ0Bd5Ygr\r\n\tfor <{}>; {}\r\n",
                m.sender,
                m.helo,
                m.host_name().unwrap_or("unknown"),
                m.client,
                m.recipient,
                m.at
            );
            let mut connection = TcpStream::connect(("127.0.0.1", self.spamd.port)).await?;
            let octets = top.len() + m.raw.len();
            connection
                .write_all(format!("SYMBOLS SPAMC/1.5\r\nContent-length: {octets}\r\n\r\n{top}").as_bytes())
                .await?;
            connection.write_all(&m.raw).await?;
            connection.shutdown().await?;
            let mut said = String::new();
            connection.read_to_string(&mut said).await?;
            let spam = said.lines().find_map(|l| l.strip_prefix("Spam:")?.split(';').nth(1)?.split('/').next());
            let score = spam.with_context(|| said.clone())?.trim().parse()?;
            let rules = said.rsplit("\r\n\r\n").next().unwrap_or_default();
            Ok((score, rules.split([',', '\r', '\n']).filter(|r| !r.is_empty()).map(str::to_owned).collect()))
        };
        said("SpamAssassin", join_all(messages.iter().map(async |m| in_time(one(m)).await)).await)
    }

    pub async fn rspamd(&self, messages: &[Prepared]) -> Vec<Option<Said>> {
        let one = async |m: &Prepared| -> Result<Said> {
            let url = format!("http://127.0.0.1:{}/checkv2", self.rspamd.scan);
            let mut request = self.http.post(url).body(m.raw.clone());
            let from = format!("<{}>", m.sender);
            for (name, value) in [
                ("IP", m.client.to_string()),
                ("Helo", m.helo.clone()),
                ("From", from),
                ("Rcpt", m.recipient.clone()),
                ("Hostname", m.host_name().unwrap_or("unknown").to_owned()),
            ] {
                request = request.header(name, reqwest::header::HeaderValue::from_bytes(value.as_bytes())?);
            }
            let answer: Value = request.send().await?.error_for_status()?.json().await?;
            let Some(score) = answer["score"].as_f64() else { bail!("{answer}") };
            let rules = answer["symbols"].as_object().into_iter().flatten();
            let weighs = |rule: &Value| rule["score"].as_f64().filter(|s| *s != 0.0);
            Ok((score, rules.filter_map(|(name, rule)| weighs(rule).map(|s| format!("{name} {s:.1}"))).collect()))
        };
        said("Rspamd", join_all(messages.iter().map(async |m| in_time(one(m)).await)).await)
    }
}

async fn in_time(said: impl Future<Output = Result<Said>>) -> Result<Said> {
    const PATIENCE: Duration = Duration::from_secs(120);
    tokio::time::timeout(PATIENCE, said).await.context("no answer")?
}

fn said(who: &str, scores: Vec<Result<Said>>) -> Vec<Option<Said>> {
    let one = |score: Result<Said>| score.inspect_err(|e| eprintln!("bench: {who} gave no score: {e:#}")).ok();
    scores.into_iter().map(one).collect()
}

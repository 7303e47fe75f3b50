//! Every engine that is configured: asked side by side, each within its own budget, and looked after by the clock.

use crate::clamd::Clamd;
use crate::health::{Circuit, Health, News};
use crate::icap::Icap;
use crate::rspamd::Rspamd;
use crate::settings::{Address, Engine as Settings, Kind, OnFault};
use crate::{Asked, Fault, found, limits};
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use verdict::{Category, Finding, Severity};

/// By which an engine is tried when no mail is at hand; harmless to everybody.
const PROBE: &[u8] = b"From: <posthouse@posthouse.invalid>\r\nTo: <posthouse@posthouse.invalid>\r\nSubject: Is the scanner there?\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <scanner@posthouse.invalid>\r\n\r\nNothing but a question of Posthouse to its scanner.\r\n";

/// What one engine said of one message.
#[derive(Clone, Debug)]
pub struct Answer {
    pub engine: String,
    pub on_fault: OnFault,
    pub took: Duration,
    pub findings: Vec<Finding>,
    pub fault: Option<Fault>,
}

impl Answer {
    /// Why the judgement lacks something, if it does: a fault that the operator cares about and that a finding does not
    /// tell already.
    pub fn lacks(&self) -> Option<&Fault> {
        self.fault.as_ref().filter(|f| f.is_of_the_engine() && self.on_fault != OnFault::Ignore)
    }
}

/// News for people.
#[derive(Clone, Debug)]
pub struct Change {
    /// `scanner clamd`, `list phishing`
    pub what: String,
    pub is_down: bool,
    pub text: String,
}

/// An engine as `posthouse engines` shows it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Status {
    pub name: String,
    pub kind: String,
    pub address: String,
    pub budget_millis: u64,
    pub on_fault: String,
    #[serde(flatten)]
    pub health: Health,
    pub version: Option<String>,
}

enum Scanner {
    Clamd(Clamd),
    Rspamd(Rspamd),
    Icap(Icap),
    #[cfg(feature = "yara")]
    Yara(std::sync::Arc<crate::yara::Yara>),
}

struct Engine {
    settings: Settings,
    scanner: Scanner,
    circuit: Mutex<Circuit>,
    version: Mutex<Option<(Instant, String)>>,
}

/// All of them; none costs nothing.
pub struct Engines(Vec<Engine>);

impl Engines {
    pub fn new(settings: Vec<Settings>) -> Engines {
        Engines(settings.into_iter().map(Engine::new).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks each, side by side; nobody is waited for beyond `until`.
    pub async fn ask(&self, asked: &Asked, until: Instant) -> Vec<Answer> {
        join_all(self.0.iter().map(|engine| engine.answer(asked, until))).await
    }

    /// Has those that work by rules of the operator's read them again. `Err`: one sentence; then the former stay in use.
    pub fn reload(&self) -> Result<(), String> {
        self.0.iter().try_for_each(Engine::reload)
    }

    pub fn status(&self) -> Vec<Status> {
        self.0.iter().map(Engine::status).collect()
    }

    /// Tries each until it answers or is known not to.
    pub async fn try_all(&self) {
        for _ in 0..limits::FAULTS_IN_A_ROW {
            join_all(self.0.iter().filter(|e| !e.is_well()).map(Engine::probe)).await;
        }
        join_all(self.0.iter().map(Engine::ask_version)).await;
    }

    /// Tries what is due and asks for versions; returns what people should hear.
    pub async fn tend(&self) -> Vec<Change> {
        join_all(self.0.iter().map(Engine::tend)).await;
        let now = Instant::now();
        self.0.iter().filter_map(|engine| engine.change(now)).collect()
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    fn new(settings: Settings) -> Engine {
        let address: Address = settings.address.clone();
        let scanner = match settings.kind {
            Kind::Clamd => Scanner::Clamd(Clamd(address)),
            Kind::Rspamd => Scanner::Rspamd(Rspamd::new(&address)),
            Kind::Icap => Scanner::Icap(Icap(address)),
            #[cfg(feature = "yara")]
            Kind::Yara => {
                let Address::Folder(folder) = &address else { unreachable!("Address::read gives a folder") };
                Scanner::Yara(std::sync::Arc::new(crate::yara::Yara::new(folder)))
            }
        };
        Engine { settings, scanner, circuit: Mutex::default(), version: Mutex::default() }
    }

    fn reload(&self) -> Result<(), String> {
        match &self.scanner {
            #[cfg(feature = "yara")]
            Scanner::Yara(yara) => yara.reload().map_err(|why| format!("engine {}: {why}", self.settings.name)),
            Scanner::Clamd(_) | Scanner::Rspamd(_) | Scanner::Icap(_) => Ok(()),
        }
    }

    async fn answer(&self, asked: &Asked, until: Instant) -> Answer {
        let began = Instant::now();
        let circuit = open(&self.circuit).is_open();
        let said = match circuit {
            Ok(()) => self.ask(asked, until).await,
            Err(resting) => Err(resting),
        };
        let (findings, fault) = match said {
            Ok(findings) => (findings, None),
            Err(fault) if fault.is_of_the_engine() => (Vec::new(), Some(fault)),
            Err(fault) => (vec![self.unseen(&fault)], Some(fault)),
        };
        let Settings { name, on_fault, .. } = &self.settings;
        Answer { engine: name.clone(), on_fault: *on_fault, took: began.elapsed(), findings, fault }
    }

    /// Within the budget of this engine and what the message has left; only the former is its own fault.
    async fn ask(&self, asked: &Asked, until: Instant) -> Result<Vec<Finding>, Fault> {
        let (began, budget) = (Instant::now(), self.settings.budget);
        let by = until.min(began + budget);
        let asking = async {
            match &self.scanner {
                Scanner::Clamd(clamd) => clamd.ask(&asked.raw).await,
                Scanner::Rspamd(rspamd) => rspamd.ask(asked).await,
                Scanner::Icap(icap) => icap.ask(asked).await,
                #[cfg(feature = "yara")]
                Scanner::Yara(yara) => yara.ask(asked, by).await,
            }
        };
        let said = tokio::time::timeout_at(by.into(), asking).await;
        let now = Instant::now();
        let cut = said.is_err() && now < began + budget;
        let said = said.unwrap_or_else(|_| Err(Fault::Slow(now.duration_since(began))));
        let mut circuit = open(&self.circuit);
        match &said {
            Err(fault) if fault.is_of_the_engine() && !cut => circuit.failed(fault, now, jiff::Timestamp::now()),
            Err(_) if cut => {}
            _ => circuit.went_well(now),
        }
        said
    }

    /// Trying again would not help: where the engine is needed, a person decides.
    fn unseen(&self, fault: &Fault) -> Finding {
        let (severity, points) = match self.settings.on_fault {
            OnFault::Defer => (Severity::Suspicious, verdict::finding::HOLD_POINTS),
            OnFault::Pass | OnFault::Ignore => (Severity::Note, 0),
        };
        let summary =
            format!("the scanner \"{}\" did not look into the message, which is too large for it", self.settings.name);
        found(self.settings.kind, Category::Unscannable, severity, points, summary, vec![fault.to_string()])
    }

    async fn tend(&self) {
        let due = open(&self.circuit).is_due(Instant::now());
        if due {
            self.probe().await;
        }
        self.ask_version().await;
    }

    fn is_well(&self) -> bool {
        open(&self.circuit).is_well()
    }

    async fn probe(&self) {
        let probe = Asked {
            id: "probe".into(),
            raw: Bytes::from_static(PROBE),
            sender: "posthouse@posthouse.invalid".into(),
            recipients: vec!["posthouse@posthouse.invalid".into()],
            ..Asked::default()
        };
        let _ = self.ask(&probe, Instant::now() + self.settings.budget).await;
    }

    /// Of one that is well, now and then.
    async fn ask_version(&self) {
        let old = open(&self.version).as_ref().is_none_or(|(at, _)| at.elapsed() >= limits::VERSION_EVERY);
        if !(self.is_well() && old) {
            return;
        }
        let asking = async {
            match &self.scanner {
                Scanner::Clamd(clamd) => clamd.version().await,
                Scanner::Rspamd(rspamd) => rspamd.version().await,
                Scanner::Icap(icap) => icap.version().await,
                #[cfg(feature = "yara")]
                Scanner::Yara(yara) => yara.version().await,
            }
        };
        let said = tokio::time::timeout(self.settings.budget, asking).await;
        // one that does not say is asked again in its time, not at every look
        let version = said.ok().and_then(Result::ok).unwrap_or_else(|| "?".into());
        *open(&self.version) = Some((Instant::now(), version));
    }

    fn change(&self, now: Instant) -> Option<Change> {
        let name = &self.settings.name;
        let (is_down, text) = match open(&self.circuit).news(now)? {
            News::Down { since, why } => {
                let then = match self.settings.on_fault {
                    OnFault::Defer => "mail waits or passes unjudged, as each tenant chose",
                    OnFault::Pass => "mail passes, marked as unjudged",
                    OnFault::Ignore => "mail is judged without it",
                };
                (
                    true,
                    format!(
                        "the scanner {name} at {} {why} (since {since}); {then} until it answers again",
                        self.settings.address
                    ),
                )
            }
            News::Back { since } => (
                false,
                format!("the scanner {name} at {} answers again; it had failed since {since}", self.settings.address),
            ),
        };
        Some(Change { what: format!("scanner {name}"), is_down, text })
    }

    fn status(&self) -> Status {
        let Settings { name, kind, address, budget, on_fault } = &self.settings;
        Status {
            name: name.clone(),
            kind: kind.as_str().into(),
            address: address.to_string(),
            budget_millis: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
            on_fault: on_fault.as_str().into(),
            health: open(&self.circuit).health(),
            version: open(&self.version).as_ref().map(|(_, version)| version.clone()),
        }
    }
}

//! What Prometheus reads. Counting is atomics and nothing else, so that no journey waits for another.
//!
//! Labels are values of closed lists and labels of connected tenants. Nothing that a stranger, a sender or a message can
//! choose becomes one, or whoever sends the most nonsense would fill the operator's disk; nothing is an address of a
//! person. docs/operate.md has the table, written by the test below.

mod histogram;
mod outside;

use crate::faults::Fault;
use crate::log::Log;
use histogram::Histogram;
use outside::Outside;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use smtp::Reply;
use std::future::Future;
use std::time::{Duration, Instant};
use store::{AlertKind, Outcome};
use tenant::Direction;
use verdict::{Verdict, custom};

/// Steps of a journey as the journal names them.
const STEPS: [&str; 8] = ["receive", "attribute", "parse", "authenticate", "inspect", "decide", "act", "hand back"];

/// Enhanced codes of Microsoft that get a line of their own; whoever administers a tenant can make up others.
const RETURN_CODES: [(u8, u16, u16); 24] = [
    (2, 0, 0),
    (2, 1, 5),
    (2, 6, 0),
    (4, 3, 1),
    (4, 3, 2),
    (4, 4, 62),
    (4, 5, 3),
    (4, 7, 0),
    (4, 7, 5),
    (4, 7, 230),
    (4, 7, 500),
    (5, 0, 0),
    (5, 1, 1),
    (5, 1, 10),
    (5, 2, 2),
    (5, 3, 4),
    (5, 4, 1),
    (5, 4, 14),
    (5, 7, 1),
    (5, 7, 51),
    (5, 7, 64),
    (5, 7, 68),
    (5, 7, 705),
    (5, 7, 711),
];

/// What becomes of a click.
const CLICKS: [&str; 7] = ["passed", "warned", "continued", "blocked", "expired", "refused", "unavailable"];

/// What [`fault_kind`] returns.
const FAULTS: [&str; 8] =
    ["store", "inspection", "engine", "late", "panic", "dns", "return_unreachable", "return_configuration"];

pub(crate) fn fault_kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Store(_) => "store",
        Fault::Inspection(_) => "inspection",
        Fault::Engine { .. } => "engine",
        Fault::Late(_) => "late",
        Fault::Panic => "panic",
        Fault::Dns(_) => "dns",
        Fault::ReturnUnreachable(_) => "return_unreachable",
        Fault::ReturnConfiguration(_) => "return_configuration",
    }
}

fn alert_kind(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::UntrustedPeer => "untrusted_peer",
        AlertKind::NotAttributed => "not_attributed",
        AlertKind::Loop => "loop",
        AlertKind::ReturnConfiguration => "return_configuration",
        AlertKind::CertificateExpires => "certificate_expires",
        AlertKind::Tampered => "tampered",
        AlertKind::PermissionsLost => "permissions_lost",
        AlertKind::Skipped => "skipped",
        AlertKind::ProbeLost => "probe_lost",
        AlertKind::Healed => "healed",
        AlertKind::FailOpen => "fail_open",
        AlertKind::Engine => "engine",
        AlertKind::Policy => "policy",
        AlertKind::Test => "test",
        AlertKind::Other => "other",
    }
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JourneyLabels {
    tenant: String,
    direction: &'static str,
    outcome: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    detector: &'static str,
    severity: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    direction: &'static str,
    verdict: &'static str,
    category: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FromLabel {
    from: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplyLabels {
    class: &'static str,
    code: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantState {
    tenant: String,
    state: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What is asked of the store while a journey waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    Journal,
    Hold,
    Alert,
    Act,
}

impl Stored {
    fn as_str(self) -> &'static str {
        match self {
            Stored::Journal => "journal",
            Stored::Hold => "hold",
            Stored::Alert => "alert",
            Stored::Act => "act",
        }
    }
}

/// What is read off at the moment of asking.
#[derive(Debug, Default)]
pub(crate) struct Now {
    pub journeys: usize,
    pub octets: usize,
    /// Sessions of Exchange Online's addresses, and of others.
    pub sessions: (usize, usize),
    /// Tenant, connections in use, connections kept open.
    pub returns: Vec<(String, usize, usize)>,
    pub held: Vec<(String, u64)>,
    /// Each scanner, and its state.
    pub engines: Vec<(String, &'static str)>,
    /// Each list, its entries, and when it was last good.
    pub lists: Vec<(String, usize, i64)>,
    pub tenants: usize,
    pub certificate_end: i64,
    pub ready: bool,
    pub draining: bool,
}

/// Every number, and the registry that writes them down.
pub(crate) struct Metrics {
    registry: Registry,
    journeys: Family<JourneyLabels, Counter>,
    journey_seconds: Seconds<DirectionLabel>,
    steps: [Histogram; STEPS.len()],
    message_octets: Histogram,
    verdicts: Family<VerdictLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    faults: Family<KindLabel, Counter>,
    alerts: Family<KindLabel, Counter>,
    sessions: Family<FromLabel, Counter>,
    turned_away: Family<FromLabel, Counter>,
    tls: Family<VersionLabel, Counter>,
    tls_failures: Family<WhyLabel, Counter>,
    replies: Family<ReplyLabels, Counter>,
    opened: Family<TenantLabel, Counter>,
    store_seconds: Seconds<OperationLabel>,
    store_errors: Family<OperationLabel, Counter>,
    outside: Outside,
    reloads: Family<ResultLabel, Counter>,
    clicks: Family<ResultLabel, Counter>,
    now: Gauges,
}

#[derive(Default)]
struct Gauges {
    journeys: Gauge,
    octets: Gauge,
    sessions: Family<FromLabel, Gauge>,
    returns: Family<TenantState, Gauge>,
    held: Family<TenantLabel, Gauge>,
    tenants: Gauge,
    certificate_end: Gauge,
    ready: Gauge,
    draining: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("posthouse"),
            journeys: Family::default(),
            journey_seconds: Family::new_with_constructor(Histogram::seconds),
            steps: std::array::from_fn(|_| Histogram::seconds()),
            message_octets: Histogram::octets(),
            verdicts: Family::default(),
            findings: Family::default(),
            faults: Family::default(),
            alerts: Family::default(),
            sessions: Family::default(),
            turned_away: Family::default(),
            tls: Family::default(),
            tls_failures: Family::default(),
            replies: Family::default(),
            opened: Family::default(),
            store_seconds: Family::new_with_constructor(Histogram::seconds),
            store_errors: Family::default(),
            outside: Outside::new(),
            reloads: Family::default(),
            clicks: Family::default(),
            now: Gauges::default(),
        };
        metrics.register_journeys();
        metrics.register_doors();
        metrics.register_now();
        // what can only be counted up is there from the start, or its first count is no increase
        CLICKS.iter().for_each(|result| drop(metrics.clicks.get_or_create(&ResultLabel { result })));
        FAULTS.iter().for_each(|kind| drop(metrics.faults.get_or_create(&KindLabel { kind })));
        metrics
    }

    fn register_journeys(&mut self) {
        let r = &mut self.registry;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        r.register("build", "Which Posthouse this is", Info::new(version));
        r.register("journeys", "Journeys by how they ended; `none`: not attributed to a tenant", self.journeys.clone());
        r.register_with_unit(
            "journey_duration",
            "From the last octet of a message to our answer",
            Unit::Seconds,
            self.journey_seconds.clone(),
        );
        let steps: Seconds<StepLabel> = Family::new_with_constructor(Histogram::seconds);
        self.steps = std::array::from_fn(|n| steps.get_or_create_owned(&StepLabel { step: STEPS[n] }));
        r.register_with_unit(
            "step_duration",
            "Each step of a journey; `receive`: from MAIL to the last octet",
            Unit::Seconds,
            steps,
        );
        r.register_with_unit("message_size", "Messages whose journey began", Unit::Bytes, self.message_octets.clone());
        r.register("verdicts", "Decisions, by what the message is: pass, mark (passed with a tag or a banner), hold, reject, delete, watched (monitor-only: something would have been done), or unjudged where the inspection failed", self.verdicts.clone());
        r.register("findings", "What detectors found", self.findings.clone());
        r.register(
            "faults",
            "Journeys that met something of ours, or a way back, that does not work",
            self.faults.clone(),
        );
    }

    fn register_doors(&mut self) {
        let r = &mut self.registry;
        r.register("alerts", "Alerts raised by mail, repetitions counted", self.alerts.clone());
        r.register(
            "sessions_accepted",
            "SMTP sessions, by whether the address is of Microsoft's ranges",
            self.sessions.clone(),
        );
        r.register(
            "sessions_turned_away",
            "SMTP sessions answered 421 since there were too many",
            self.turned_away.clone(),
        );
        r.register("tls_handshakes", "TLS handshakes that came through, by version", self.tls.clone());
        r.register("tls_failures", "TLS handshakes that did not", self.tls_failures.clone());
        r.register(
            "return_replies",
            "Exchange Online's answers to recipients on the way back; `other`: a code of no importance to us",
            self.replies.clone(),
        );
        r.register("return_connections_opened", "Connections opened on the way back", self.opened.clone());
        r.register_with_unit(
            "store_duration",
            "What a journey waits for the store",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        r.register("store_errors", "What the store did not do", self.store_errors.clone());
        self.outside.register(r);
        r.register("clicks", "Clicks on rewritten links, and what became of them", self.clicks.clone());
        r.register("reloads", "Configurations read on SIGHUP", self.reloads.clone());
    }

    fn register_now(&mut self) {
        let (r, now) = (&mut self.registry, &self.now);
        r.register("journeys_under_way", "Messages between their last octet and our answer", now.journeys.clone());
        r.register_with_unit("under_way", "Octets announced and not yet answered", Unit::Bytes, now.octets.clone());
        r.register("sessions", "SMTP sessions that are open", now.sessions.clone());
        r.register("return_connections", "Connections on the way back: `busy` or kept `idle`", now.returns.clone());
        r.register("held", "Messages that wait here", now.held.clone());
        r.register("tenants", "Connected tenants", now.tenants.clone());
        r.register_with_unit(
            "certificate_end",
            "When the gateway's own certificate ends, since 1970",
            Unit::Seconds,
            now.certificate_end.clone(),
        );
        r.register("ready", "1 when /readyz says yes", now.ready.clone());
        r.register("draining", "1 after SIGTERM", now.draining.clone());
    }

    /// One journey is over. `tenant` is the label of a connected tenant.
    pub(crate) fn journey(&self, log: &Log, tenant: Option<String>, outcome: Outcome, whole: Duration) {
        let entry = &log.entry;
        let direction = direction(entry.direction);
        let tenant = tenant.unwrap_or_else(|| "none".into());
        self.journeys.get_or_create(&JourneyLabels { tenant, direction, outcome: name_of(outcome) }).inc();
        self.journey_seconds.get_or_create(&DirectionLabel { direction }).add(micros(whole));
        self.message_octets.add(entry.bytes);
        for took in &entry.steps {
            if let Some(n) = STEPS.iter().position(|step| *step == took.step) {
                self.steps[n].add(took.micros);
            }
        }
        if let Some(decision) = &entry.decision {
            let verdict = match decision.verdict {
                _ if !entry.judged => "unjudged",
                _ if decision.would.is_some() => "watched",
                Verdict::Pass if !decision.marks.is_none() => "mark",
                Verdict::Pass => "pass",
                Verdict::Redirect => "redirect",
                Verdict::Hold => "hold",
                Verdict::Reject => "reject",
                Verdict::Delete => "delete",
            };
            let category = decision.category.as_str();
            self.verdicts.get_or_create(&VerdictLabels { direction, verdict, category }).inc();
        }
        for finding in &entry.findings {
            let detectors = verdict::detectors::CATALOGUE.iter().map(|d| d.id);
            let mut known = detectors.chain(engines::KINDS.iter().map(|k| k.as_str()));
            let severity = match finding.severity {
                verdict::Severity::Note => "note",
                verdict::Severity::Suspicious => "suspicious",
                verdict::Severity::Malicious => "malicious",
            };
            // names of tenants' own rules are no labels: anybody makes as many as he likes
            let own =
                [(custom::ENABLED, "custom"), (custom::WATCHED, "custom_watched"), (custom::FAILED, "custom_failed")];
            let own = own.into_iter().find(|(prefix, _)| finding.detector.starts_with(prefix));
            let detector = known.find(|id| *id == finding.detector);
            let detector = detector.or(own.map(|(_, label)| label)).unwrap_or("other");
            self.findings.get_or_create(&FindingLabels { detector, severity }).inc();
        }
        if let Some(kind) = log.fault {
            self.faults.get_or_create(&KindLabel { kind }).inc();
        }
    }

    pub(crate) fn alert(&self, kind: AlertKind) {
        self.alerts.get_or_create(&KindLabel { kind: alert_kind(kind) }).inc();
    }

    pub(crate) fn session(&self, of_microsoft: bool, taken: bool) {
        let sessions = if taken { &self.sessions } else { &self.turned_away };
        sessions.get_or_create(&FromLabel { from: from(of_microsoft) }).inc();
    }

    pub(crate) fn tls(&self, protocol: &str) {
        let version = match protocol {
            "TLSv1_3" => "1.3",
            "TLSv1_2" => "1.2",
            _ => "other",
        };
        self.tls.get_or_create(&VersionLabel { version }).inc();
    }

    /// A session that ended with an error, if the error is one of TLS.
    pub(crate) fn session_failed(&self, error: &std::io::Error) {
        let Some(error) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else { return };
        let why = match error {
            rustls::Error::PeerIncompatible(_) => "nothing in common",
            rustls::Error::AlertReceived(_) => "the peer refused us",
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => "certificate",
            _ => "not TLS as it should be",
        };
        self.tls_failures.get_or_create(&WhyLabel { why }).inc();
    }

    /// Passes the answer on, so that it is counted where it is used.
    pub(crate) fn returned<'a>(&self, reply: &'a Reply) -> &'a Reply {
        let class = match reply.code / 100 {
            2 => "2xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        let known = reply.enhanced.filter(|e| RETURN_CODES.contains(e));
        let code = match (known, reply.enhanced) {
            (Some((a, b, c)), _) => format!("{a}.{b}.{c}"),
            (None, Some(_)) => "other".into(),
            (None, None) => "none".into(),
        };
        self.replies.get_or_create(&ReplyLabels { class, code }).inc();
        reply
    }

    pub(crate) fn return_opened(&self, tenant: &str) {
        self.opened.get_or_create(&TenantLabel { tenant: tenant.to_owned() }).inc();
    }

    /// Work of the store, with what it took.
    pub(crate) async fn stored<T, E>(&self, what: Stored, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let (label, began) = (OperationLabel { operation: what.as_str() }, Instant::now());
        let done = work.await;
        self.store_seconds.get_or_create(&label).add(micros(began.elapsed()));
        if done.is_err() {
            self.store_errors.get_or_create(&label).inc();
        }
        done
    }

    /// What one scanner answered.
    pub(crate) fn engine(&self, answer: &engines::Answer) {
        self.outside.answered(answer);
    }

    pub(crate) fn reloaded(&self, taken: bool) {
        self.reloads.get_or_create(&ResultLabel { result: if taken { "taken" } else { "refused" } }).inc();
    }

    /// A click on a rewritten link.
    pub(crate) fn click(&self, result: &'static str) {
        self.clicks.get_or_create(&ResultLabel { result }).inc();
    }

    /// The whole page, with what is so at this moment.
    pub(crate) fn page(&self, now: &Now) -> String {
        self.set(now);
        let mut page = String::new();
        // writing into a text cannot fail
        let _ = prometheus_client::encoding::text::encode(&mut page, &self.registry);
        page
    }

    fn set(&self, now: &Now) {
        self.now.journeys.set(count(now.journeys));
        self.now.octets.set(count(now.octets));
        for (of_microsoft, n) in [(true, now.sessions.0), (false, now.sessions.1)] {
            self.now.sessions.get_or_create(&FromLabel { from: from(of_microsoft) }).set(count(n));
        }
        // of a tenant that is gone nothing is said
        self.now.returns.clear();
        for (tenant, busy, idle) in &now.returns {
            for (state, n) in [("busy", *busy), ("idle", *idle)] {
                self.now.returns.get_or_create(&TenantState { tenant: tenant.clone(), state }).inc_by(count(n));
            }
        }
        self.now.held.clear();
        for (tenant, n) in &now.held {
            self.now
                .held
                .get_or_create(&TenantLabel { tenant: tenant.clone() })
                .set(i64::try_from(*n).unwrap_or(i64::MAX));
        }
        self.outside.set(now);
        self.now.tenants.set(count(now.tenants));
        self.now.certificate_end.set(now.certificate_end);
        self.now.ready.set(now.ready.into());
        self.now.draining.set(now.draining.into());
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn direction(direction: Option<Direction>) -> &'static str {
    direction.map_or("none", Direction::as_str)
}

fn from(of_microsoft: bool) -> &'static str {
    if of_microsoft { "microsoft" } else { "other" }
}

fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::HandedBack => "handed_back",
        Outcome::Held => "held",
        Outcome::PartlyHeld => "partly_held",
        Outcome::Deferred => "deferred",
        Outcome::Refused => "refused",
        Outcome::Swallowed => "swallowed",
        Outcome::Deleted => "deleted",
        Outcome::Redirected => "redirected",
    }
}

#[cfg(test)]
mod tests;

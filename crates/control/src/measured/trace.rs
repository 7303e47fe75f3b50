//! Reads Exchange Online's message trace for a window (wire.md 8.10), wholly or not at all: a list that ends before its
//! end says so by a warning only, and goes on from its last line; lines at the seam come twice.

use crate::limits;
use jiff::Timestamp;
use m365::{Answer, Client, Identity, M365Error, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One message to one recipient, in one pass through Exchange Online. A message that comes back from us is two.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRow {
    pub trace_id: String,
    /// Without angle brackets, as the journal has it.
    pub message_id: String,
    pub received: Timestamp,
    /// Both in lower case; the null sender is empty.
    pub sender: String,
    pub recipient: String,
    pub subject: String,
    pub status: String,
    /// Who handed it to Exchange Online, where the trace says so.
    pub from_ip: Option<IpAddr>,
}

/// Why a window could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// More lines than are read at once; a shorter window has fewer.
    TooMany,
    Because(String),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::TooMany => {
                let lines = limits::TRACE_PAGES_MAX * limits::TRACE_ROWS_A_PAGE;
                write!(f, "the message trace has more than {lines} lines")
            }
            Unread::Because(why) => f.write_str(why),
        }
    }
}

/// How questions follow one another. Who is in no hurry leaves room for others of the same tenant, and waits as long
/// as Microsoft asks within reason; `told` hears how long.
pub(crate) struct Pace<'t> {
    told: Option<&'t mut (dyn FnMut(Duration) + Send)>,
    asked: VecDeque<Instant>,
}

impl Pace<'_> {
    pub(crate) fn at_once() -> Pace<'static> {
        Pace { told: None, asked: VecDeque::new() }
    }

    pub(crate) fn patient(told: &mut (dyn FnMut(Duration) + Send)) -> Pace<'_> {
        Pace { told: Some(told), asked: VecDeque::new() }
    }

    async fn ask(&mut self, client: &Client, app: &Identity, question: Value) -> Result<Answer, Unread> {
        let mut waits = 0;
        loop {
            if let Some(told) = &mut self.told
                && let Some(wait) = pause(&mut self.asked, Instant::now())
            {
                told(wait);
                tokio::time::sleep(wait).await;
            }
            self.asked.push_back(Instant::now());
            match (client.exchange_part(app, "Get-MessageTraceV2", question.clone()).await, &mut self.told) {
                (Ok(answer), _) => return Ok(answer),
                (Err(M365Error::Throttled { after, .. }), Some(told))
                    if after <= limits::TRACE_WAIT_MAX && waits < limits::TRACE_WAITS_MAX =>
                {
                    waits += 1;
                    told(after);
                    tokio::time::sleep(after).await;
                }
                (Err(e), _) => return Err(Unread::Because(e.to_string())),
            }
        }
    }
}

/// How long to wait before the next question, when so many were asked lately; what is too old to count is forgotten.
fn pause(asked: &mut VecDeque<Instant>, now: Instant) -> Option<Duration> {
    while asked.front().is_some_and(|at| now.duration_since(*at) >= limits::TRACE_WINDOW) {
        asked.pop_front();
    }
    let oldest = asked.front().filter(|_| asked.len() >= limits::TRACE_PATIENT_MAX)?;
    Some((*oldest + limits::TRACE_WINDOW).duration_since(now))
}

/// Everything between the two, newest first; or why it is not known.
pub(crate) async fn read(
    client: &Client,
    app: &Identity,
    from: Timestamp,
    to: Timestamp,
    pace: &mut Pace<'_>,
) -> Result<Vec<TraceRow>, Unread> {
    Window::new(from, to).read(client, app, pace).await
}

/// The same of one message.
pub(crate) async fn read_one(
    client: &Client,
    app: &Identity,
    message_id: &str,
    (from, to): (Timestamp, Timestamp),
    pace: &mut Pace<'_>,
) -> Result<Vec<TraceRow>, Unread> {
    let window = Window { message_id: Some(message_id.to_owned()), ..Window::new(from, to) };
    let mut rows = window.read(client, app, pace).await?;
    rows.retain(|row| row.message_id == message_id);
    Ok(rows)
}

/// What is read of a window so far.
struct Window {
    from: Timestamp,
    to: Timestamp,
    message_id: Option<String>,
    rows: Vec<TraceRow>,
    seen: HashSet<(String, String)>,
    /// Time and recipient of the last line, from which it goes on.
    seam: Option<(String, String)>,
}

impl Window {
    fn new(from: Timestamp, to: Timestamp) -> Window {
        Window { from, to, message_id: None, rows: Vec::new(), seen: HashSet::new(), seam: None }
    }

    async fn read(mut self, client: &Client, app: &Identity, pace: &mut Pace<'_>) -> Result<Vec<TraceRow>, Unread> {
        for _ in 0..limits::TRACE_PAGES_MAX {
            let answer = pace.ask(client, app, self.question()).await?;
            if self.take(&answer).map_err(Unread::Because)? {
                return Ok(self.rows);
            }
        }
        Err(Unread::TooMany)
    }

    fn question(&self) -> Value {
        let mut asked =
            json!({"StartDate": date(self.from), "EndDate": date(self.to), "ResultSize": limits::TRACE_ROWS_A_PAGE});
        if let Some(id) = &self.message_id {
            asked["MessageId"] = json!(format!("<{id}>"));
        }
        if let Some((end, recipient)) = &self.seam {
            asked["EndDate"] = json!(end);
            asked["StartingRecipientAddress"] = json!(recipient);
        }
        asked
    }

    /// True at the end. What lies outside the window is left out, whoever sent it.
    fn take(&mut self, answer: &Answer) -> Result<bool, String> {
        let before = self.seen.len();
        for row in &answer.rows {
            let read = read_row(row).ok_or("a line of the message trace cannot be read")?;
            let new = self.seen.insert((read.trace_id.clone(), read.recipient.clone()));
            if new && (self.from..=self.to).contains(&read.received) {
                self.rows.push(read);
            }
        }
        if !answer.more {
            return Ok(true);
        }
        let last = answer.rows.last().filter(|_| self.seen.len() > before);
        let last = last.ok_or("the message trace says that there is more and does not go on")?;
        self.seam = Some((text(last, "Received").to_owned(), text(last, "RecipientAddress").to_owned()));
        Ok(false)
    }
}

/// The form in which Exchange's own module writes times.
fn date(at: Timestamp) -> String {
    format!("{at:.7}")
}

fn text<'r>(row: &'r Row, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Three forms are recorded; one has no zone and is UTC (wire.md 7.3).
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

pub(crate) fn read_row(row: &Row) -> Option<TraceRow> {
    Some(TraceRow {
        trace_id: text(row, "MessageTraceId").to_owned(),
        message_id: text(row, "MessageId").trim().trim_matches(['<', '>']).to_owned(),
        received: time(text(row, "Received"))?,
        sender: text(row, "SenderAddress").trim_matches(['<', '>']).to_lowercase(),
        recipient: text(row, "RecipientAddress").to_lowercase(),
        subject: text(row, "Subject").to_owned(),
        status: text(row, "Status").to_owned(),
        from_ip: text(row, "FromIP").parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Lines as Exchange has them: two a second, the newest first, recipients in order within the same time.
    fn line(n: i64) -> Row {
        let at = Timestamp::from_second(10_000 - n / 2).unwrap();
        let row = json!({"MessageTraceId": format!("t{n}"), "MessageId": format!("<m{n}@x>"), "Received": date(at), "SenderAddress": "Pat@acme.example", "RecipientAddress": format!("r{}@contoso.example", n % 2), "Subject": "s", "Status": "Delivered"});
        row.as_object().cloned().unwrap()
    }

    /// Pages of `size` out of `total` lines, by the parameters of the question.
    fn page(asked: &Value, total: i64, size: usize) -> Answer {
        let end = asked["EndDate"].as_str().unwrap();
        let starting = asked["StartingRecipientAddress"].as_str().unwrap_or_default();
        let after = |row: &Row| {
            let (at, to) = (text(row, "Received"), text(row, "RecipientAddress"));
            at < end || at == end && to >= starting
        };
        let mut rows: Vec<Row> = (0..total).map(line).filter(after).collect();
        let more = rows.len() > size;
        rows.truncate(size);
        Answer { rows, warnings: vec![], more }
    }

    fn window() -> Window {
        Window::new(Timestamp::from_second(0).unwrap(), Timestamp::from_second(20_000).unwrap())
    }

    #[test]
    fn a_trace_is_read_over_its_seams_each_line_once() {
        let (mut window, mut questions) = (window(), 1);
        while !window.take(&page(&window.question(), 101, 10)).unwrap() {
            questions += 1;
        }
        assert_eq!(window.rows.len(), 101);
        assert!(questions > 10, "the seam comes twice, and {questions} questions cannot have done that");
        assert!(window.rows.iter().enumerate().all(|(n, r)| r.trace_id == format!("t{n}")));
        let newest = &window.rows[0];
        assert_eq!((newest.message_id.as_str(), newest.sender.as_str()), ("m0@x", "pat@acme.example"));
    }

    #[test]
    fn a_trace_that_does_not_go_on_is_not_known_and_what_is_outside_is_left_out() {
        let stuck = Answer { rows: vec![line(1)], warnings: vec![], more: true };
        let mut asked = window();
        assert_eq!(asked.take(&stuck), Ok(false));
        assert!(asked.take(&stuck).unwrap_err().contains("does not go on"));
        let mut narrow = Window { from: Timestamp::from_second(9_998).unwrap(), ..window() };
        let all = Answer { rows: (0..10).map(line).collect(), warnings: vec![], more: false };
        assert_eq!((narrow.take(&all), narrow.rows.len()), (Ok(true), 6));
        let nonsense = Row::from_iter([("Received".to_owned(), json!("yesterday"))]);
        let nonsense = Answer { rows: vec![nonsense], warnings: vec![], more: false };
        assert!(window().take(&nonsense).is_err());
    }

    #[test]
    fn who_is_patient_leaves_half_of_the_questions_to_others() {
        let (mut asked, now) = (VecDeque::new(), Instant::now());
        for n in 0..limits::TRACE_PATIENT_MAX {
            assert_eq!(pause(&mut asked, now), None, "question {n}");
            asked.push_back(now);
        }
        let later = |secs| now + Duration::from_secs(secs);
        assert_eq!(pause(&mut asked, later(10)), Some(Duration::from_secs(290)));
        asked[0] = now - Duration::from_secs(5);
        assert_eq!(pause(&mut asked, later(10)), Some(Duration::from_secs(285)));
        assert_eq!(pause(&mut asked, later(295)), None, "the oldest is forgotten");
        assert_eq!(pause(&mut asked, later(300)), None);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_time_is_read_in_each_recorded_form() {
        for text in ["2026-03-02T09:00:12.0000000+00:00", "2026-03-02T09:00:12.0000000Z", "2026-03-02T09:00:12.0000000"]
        {
            assert_eq!(time(text).map(date).as_deref(), Some("2026-03-02T09:00:12.0000000Z"), "{text}");
        }
        assert_eq!(time("yesterday"), None);
    }
}

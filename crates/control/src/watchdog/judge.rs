//! Pure: what was seen in the last rounds, and what follows. Four signs, a closed set, each *well*, *quiet* (nothing to
//! see), *failing* or *unknown*. What is unknown never turns anything off: it breaks the row of failing rounds, and so
//! does a time in which nobody looked.

use crate::limits;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tenant::Direction;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    Well,
    /// No mail, no probe of late.
    Quiet,
    Failing(String),
    Unknown(String),
}

/// The newest probe one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSign {
    pub sign: Sign,
    pub sent: Option<Timestamp>,
}

/// What was seen of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub probe: ProbeSign,
    /// Journeys that were refused for a fault of ours.
    pub journal: Sign,
    /// Messages that wait for our connector, by Microsoft's trace.
    pub waiting: Sign,
}

/// One look at everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    pub at: Timestamp,
    /// The gateway's SMTP port, asked from outside its process.
    pub door: Sign,
    pub inbound: Way,
    pub outbound: Way,
}

impl Round {
    pub fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// What is known of the gateway, one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "gateway")]
pub enum Verdict {
    Healthy,
    Failing { since: Timestamp, why: String },
    Unknown { why: String },
}

/// What one round alone says.
enum Said<'r> {
    Healthy,
    /// From when on; `probe`: by a lost probe alone.
    Failing {
        from: Timestamp,
        why: &'r str,
        probe: bool,
    },
    Unknown(&'r str),
}

/// The port first: where nobody answers, nothing else can work. Then a probe, the only sign that goes the whole way: one
/// that came round shows that mail does, whatever a sender of broken messages makes of the other signs.
fn said(round: &Round, direction: Direction) -> Said<'_> {
    let way = round.way(direction);
    let failing = |why| Said::Failing { from: round.at, why, probe: false };
    match (&round.door, &way.probe.sign) {
        (Sign::Failing(why), _) => return failing(why),
        (_, Sign::Well) => return Said::Healthy,
        (_, Sign::Failing(why)) => {
            return Said::Failing { from: way.probe.sent.unwrap_or(round.at).min(round.at), why, probe: true };
        }
        _ => {}
    }
    for sign in [&way.journal, &way.waiting] {
        if let Sign::Failing(why) = sign {
            return failing(why);
        }
    }
    match (&round.door, &way.journal) {
        (Sign::Unknown(why), journal) if *journal != Sign::Well => Said::Unknown(why),
        _ => Said::Healthy,
    }
}

/// `gap`: rounds that are farther apart have a time between them of which nobody knows.
pub fn judge(history: &[Round], direction: Direction, gap: Duration) -> Verdict {
    let Some(newest) = history.last() else { return Verdict::Unknown { why: "nobody has looked yet".into() } };
    let why = match said(newest, direction) {
        Said::Healthy => return Verdict::Healthy,
        Said::Unknown(why) => return Verdict::Unknown { why: why.to_owned() },
        Said::Failing { why, .. } => why.to_owned(),
    };
    let gap = jiff::SignedDuration::try_from(gap).unwrap_or(jiff::SignedDuration::MAX);
    let (mut since, mut before, mut only_probes, mut lost) = (newest.at, newest.at, true, Vec::new());
    for round in history.iter().rev() {
        let Said::Failing { from, probe, .. } = said(round, direction) else { break };
        if before.duration_since(round.at) > gap {
            break;
        }
        (since, before) = (since.min(from), round.at);
        only_probes &= probe;
        lost.extend(round.way(direction).probe.sent.filter(|sent| probe && !lost.contains(sent)));
    }
    if only_probes && lost.len() < limits::PROBES_LOST {
        return Verdict::Unknown {
            why: format!("a probe was lost, and another has to show whether mail is, too ({why})"),
        };
    }
    Verdict::Failing { since, why }
}

/// Since when nothing has been known without a break.
pub fn unknown_since(history: &[Round], direction: Direction) -> Option<Timestamp> {
    history.iter().rev().take_while(|r| matches!(said(r, direction), Said::Unknown(_))).last().map(|r| r.at)
}

/// Since when the port has answered without a break; `None`: it does not now.
pub fn answers_since(history: &[Round], gap: Duration) -> Option<Timestamp> {
    let gap = jiff::SignedDuration::try_from(gap).unwrap_or(jiff::SignedDuration::MAX);
    let (mut since, mut before) = (None, history.last()?.at);
    for round in history.iter().rev() {
        if round.door != Sign::Well || before.duration_since(round.at) > gap {
            break;
        }
        (since, before) = (Some(round.at), round.at);
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap_or_default()
    }

    fn quiet(minute: i64) -> Round {
        let way =
            Way { probe: ProbeSign { sign: Sign::Quiet, sent: None }, journal: Sign::Quiet, waiting: Sign::Quiet };
        Round { at: at(minute), door: Sign::Well, inbound: way.clone(), outbound: way }
    }

    fn door(minute: i64, door: Sign) -> Round {
        Round { door, ..quiet(minute) }
    }

    fn inbound(minute: i64, change: impl Fn(&mut Way)) -> Round {
        let mut round = quiet(minute);
        change(&mut round.inbound);
        round
    }

    fn bad() -> Sign {
        Sign::Failing("bad".into())
    }

    fn dark() -> Sign {
        Sign::Unknown("dark".into())
    }

    fn probe(sign: Sign, sent: i64) -> ProbeSign {
        ProbeSign { sign, sent: Some(at(sent)) }
    }

    fn told(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Healthy => "healthy".into(),
            Verdict::Failing { since, .. } => format!("failing since minute {}", since.as_second() / 60),
            Verdict::Unknown { why } => format!("unknown: {why}"),
        }
    }

    #[test]
    fn what_follows_from_what_was_seen() {
        let lost = |minute, sent| inbound(minute, |way| way.probe = probe(bad(), sent));
        let stories: Vec<(&str, Vec<Round>)> = vec![
            ("nobody looked", vec![]),
            ("all quiet", vec![quiet(1), quiet(2)]),
            ("the port is silent", vec![quiet(1), door(2, bad()), door(3, bad()), door(4, bad())]),
            ("silent, and answers again", vec![door(2, bad()), door(3, bad()), quiet(4)]),
            ("silent, and then nobody knows", vec![door(2, bad()), door(3, dark())]),
            ("what is unknown between breaks the row", vec![door(2, bad()), door(3, dark()), door(4, bad())]),
            ("nobody looked for half an hour", vec![door(2, bad()), door(32, bad()), door(33, bad())]),
            ("nobody can ask the port", vec![door(2, dark()), door(3, dark())]),
            (
                "the port cannot be asked, and mail passes",
                vec![Round { door: dark(), ..inbound(2, |way| way.journal = Sign::Well) }],
            ),
            ("one probe lost", vec![lost(12, 2), lost(13, 2), lost(14, 2)]),
            ("two probes lost", vec![lost(12, 2), lost(13, 2), lost(16, 13)]),
            (
                "probes lost, and one comes round",
                vec![lost(12, 2), lost(16, 13), inbound(17, |w| w.probe = probe(Sign::Well, 16))],
            ),
            (
                "probes of the other direction",
                vec![
                    Round { outbound: lost(12, 2).inbound, ..quiet(12) },
                    Round { outbound: lost(13, 3).inbound, ..quiet(13) },
                ],
            ),
            (
                "all mail is refused for a fault of ours",
                vec![inbound(1, |w| w.journal = bad()), inbound(2, |w| w.journal = bad())],
            ),
            (
                "the same, and a probe comes round",
                vec![
                    inbound(1, |w| w.journal = bad()),
                    inbound(2, |w| (w.journal, w.probe) = (bad(), probe(Sign::Well, 2))),
                ],
            ),
            ("mail waits for us at Microsoft's", vec![inbound(1, |w| w.waiting = bad())]),
            ("a trace that cannot be read", vec![inbound(1, |w| w.waiting = dark())]),
            ("a probe that could not be sent", vec![inbound(1, |w| w.probe = probe(dark(), 1))]),
        ];
        let gap = Duration::from_secs(300);
        let page = stories.iter().fold(String::new(), |page, (name, history)| {
            page + &format!("{name}: {}\n", told(&judge(history, Direction::Inbound, gap)))
        });
        insta::assert_snapshot!(page);
    }

    #[test]
    fn the_port_answers_since_the_first_of_an_unbroken_row() {
        let gap = Duration::from_secs(300);
        let since = |history: &[Round]| answers_since(history, gap).map(|at| at.as_second() / 60);
        assert_eq!(since(&[door(1, bad()), quiet(2), quiet(3)]), Some(2));
        assert_eq!(since(&[quiet(1), quiet(30), quiet(31)]), Some(30));
        assert_eq!(since(&[quiet(1), door(2, dark())]), None);
        assert_eq!(since(&[]), None);
    }
}

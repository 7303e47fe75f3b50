//! The status as people read it.

use super::{Stages, Status};
use crate::measured::{Fact, Measured};
use std::fmt::{self, Display, Formatter};
use tenant::{Direction, Routing};

/// Messages that are named for one reason.
const EXAMPLES: usize = 2;

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}) at {:.0}", self.display_name, self.label, self.at)?;
        for direction in [Direction::Inbound, Direction::Outbound] {
            way(f, direction, &self.measured)?;
        }
        self.stages(f)?;
        self.set_up(f)?;
        self.watching(f)?;
        for probe in &self.probes {
            let became = match &probe.wrong {
                Some(wrong) => format!("FAILED: {wrong}"),
                None => format!("made the way in {:.1} s", probe.seconds),
            };
            writeln!(f, "  probe        {}bound, sent {:.0}: {became}", probe.direction.as_str(), probe.sent)?;
        }
        for alert in &self.alerts {
            writeln!(f, "  alert        {} ({:?}): {}", alert.id, alert.kind, alert.text)?;
        }
        writeln!(f, "  fail-open    {}", self.fail_open)?;
        writeln!(f, "  held         {} messages", self.held)?;
        let end = |end: Option<jiff::Timestamp>| end.map_or("unknown".into(), |e| format!("{e:.0}"));
        writeln!(
            f,
            "  certificate  the return certificate ends {}, the application's credential {}",
            end(self.certificate_ends),
            end(self.credential_ends)
        )?;
        self.verdict(f)
    }
}

/// One direction as it was measured.
fn way(f: &mut Formatter<'_>, direction: Direction, measured: &Fact<Measured>) -> fmt::Result {
    let name = format!("{}bound", direction.as_str());
    let measured = match measured {
        Fact::Seen(measured) => measured,
        Fact::Unknown { unknown_because } => return writeln!(f, "  {name:<12} unknown because {unknown_because}"),
    };
    let m = measured.of(direction);
    let under_way = match m.not_delivered {
        0 => String::new(),
        n => format!("; {n} are under way or were not delivered"),
    };
    match m.passed_percent {
        None => writeln!(f, "  {name:<12} no mail was delivered in the last hour{under_way}")?,
        Some(percent) => writeln!(
            f,
            "  {name:<12} {percent} % of the last hour's mail came by: {} of {} messages, {} of them held{under_way}",
            m.passed, m.messages, m.held
        )?,
    }
    for (reason, skips) in measured.reasons(direction) {
        writeln!(f, "               {} skipped: {reason}", skips.len())?;
        for skip in skips.iter().take(EXAMPLES) {
            writeln!(
                f,
                "                 <{}> from {} to {} at {:.0}",
                skip.message_id,
                if skip.sender.is_empty() { "nobody" } else { &skip.sender },
                skip.recipient,
                skip.received
            )?;
        }
    }
    Ok(())
}

impl Status {
    fn stages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let routing = match self.routing {
            Routing::Off => "no rule of ours routes mail",
            Routing::Probe => "only probes are routed",
            Routing::Proven => "proven",
        };
        writeln!(f, "  routing      {routing}")?;
        let wished = Stages { inbound: self.wished.inbound, outbound: self.wished.outbound };
        let applied = match &self.applied {
            Fact::Seen(applied) if *applied == wished => "and applied".into(),
            Fact::Seen(a) => format!("BUT APPLIED: inbound {:?}, outbound {:?}", a.inbound, a.outbound),
            Fact::Unknown { unknown_because } => format!("applied is unknown because {unknown_because}"),
        };
        writeln!(f, "  stages       wished: inbound {:?}, outbound {:?}; {applied}", wished.inbound, wished.outbound)?;
        for (what, groups) in [("pilot", &self.wished.pilot_groups), ("left out", &self.wished.excluded_groups)] {
            if !groups.is_empty() {
                writeln!(f, "               {what}: {}", groups.join(", "))?;
            }
        }
        Ok(())
    }

    fn set_up(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.set_up {
            Fact::Unknown { unknown_because } => writeln!(f, "  set-up       unknown because {unknown_because}"),
            Fact::Seen(look) => {
                let said = look.to_string();
                let mut lines = said.lines();
                let first = lines.next().unwrap_or_default();
                let first = first.strip_prefix(&format!("{}: ", self.display_name)).unwrap_or(first);
                writeln!(f, "  set-up       {first}")?;
                lines.try_for_each(|line| writeln!(f, "             {line}"))
            }
        }
    }

    fn watching(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let heal = if self.watch.self_heal { "on" } else { "off" };
        let look = match &self.watch.last_look {
            Some(l) => format!("last looked {:.0}: {} differ, {} unknown", l.at, l.drift, l.unknown),
            None => "has not looked yet (posthouse serve does)".into(),
        };
        let pause = match &self.watch.paused {
            Some(p) if p.why.is_empty() => format!("; PAUSED until {:.0}", p.until),
            Some(p) => format!("; PAUSED until {:.0}: {}", p.until, p.why),
            None => String::new(),
        };
        writeln!(f, "  watch        {look}; self-heal {heal}{pause}")
    }

    fn verdict(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrong.is_empty() && self.unknown.is_empty() {
            return write!(f, "all is as wished");
        }
        let wrong = self.wrong.iter().map(|w| format!("\n  not as wished: {w}"));
        let unknown = self.unknown.iter().map(|u| format!("\n  ?: {u}"));
        write!(f, "{}", wrong.chain(unknown).collect::<String>().trim_start_matches('\n'))
    }
}

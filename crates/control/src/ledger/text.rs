//! The check as people read it.

use super::{Checked, Entries, FinalState};
use std::fmt::{self, Display, Formatter};

/// Of each list so many are printed; `--json` names more.
const SHOWN: usize = 20;

/// `12,345`
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Checked {
    /// How many are in which final state.
    pub fn counted(&self) -> String {
        let states: Vec<_> = self.states.iter().map(|(state, n)| format!("{} {state}", thousands(*n))).collect();
        let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
        format!("{} messages entered{states}", thousands(self.entered))
    }

    fn others(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let returned: Vec<_> = self
            .returned
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(fate, n)| format!("{} {fate}", thousands(*n)))
            .collect();
        if !returned.is_empty() {
            writeln!(f, "  went back     {}", returned.join(", "))?;
        }
        for left in &self.left_out {
            writeln!(f, "  left out      {} delivered without us: {}", thousands(left.count), left.reason)?;
        }
        for (name, n, what) in [
            ("not with us", self.not_yet_with_us, "under way in Exchange Online and not with us yet"),
            ("stopped", self.stopped_before, "stopped or bounced by Exchange Online before they came to us"),
            ("too new", self.too_new, "lack their other half and are too new to tell; check again later"),
            ("probes", self.probes, "of our own"),
            ("not ours", self.not_ours, "within the tenant, or neither from nor to it"),
        ] {
            if n > 0 {
                writeln!(f, "  {name:<13} {} {what}", thousands(n))?;
            }
        }
        Ok(())
    }
}

impl Display for Checked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}) from {:.0} to {:.0}", self.display_name, self.label, self.from, self.to)?;
        self.others(f)?;
        for (name, entries) in
            [("MISSING HERE", &self.missing_here), ("MISSING THERE", &self.missing_there), ("DOUBLED", &self.doubled)]
        {
            list(f, name, entries)?;
        }
        for unknown in &self.unknown {
            writeln!(f, "?: {unknown}")?;
        }
        write!(
            f,
            "{}; trace: {}; missing here {}, missing there {}, doubled {}{}",
            self.counted(),
            thousands(self.traced),
            thousands(self.missing_here.count),
            thousands(self.missing_there.count),
            thousands(self.doubled.count),
            if self.unknown.is_empty() { "" } else { "; NOT ALL COULD BE CHECKED" }
        )
    }
}

fn list(f: &mut Formatter<'_>, name: &str, entries: &Entries) -> fmt::Result {
    if entries.count == 0 {
        return Ok(());
    }
    writeln!(f, "{name}: {}", thousands(entries.count))?;
    for entry in entries.listed.iter().take(SHOWN) {
        let sender = if entry.sender.is_empty() { "nobody" } else { &entry.sender };
        let state = entry.state.filter(|s| *s != FinalState::HandedBack).map_or(String::new(), |s| format!(" ({s})"));
        writeln!(f, "  <{}> from {sender} to {} at {:.0}{state}", entry.message_id, entry.recipient, entry.at)?;
        writeln!(f, "    {}", entry.text)?;
        for journey in entry.journeys.iter().take(3) {
            writeln!(f, "    posthouse explain {journey}")?;
        }
    }
    if entries.count > SHOWN as u64 {
        writeln!(f, "  and {} more; --json names them", thousands(entries.count - SHOWN as u64))?;
    }
    Ok(())
}

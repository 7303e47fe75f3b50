//! A plan as people read it; the same text in the command line, the console and the golden tests.

use super::{Action, Change, Plan};
use std::fmt;
use store::Severity;

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Change => "change",
        Action::Enable => "enable",
        Action::Disable => "disable",
        Action::Move => "put right",
        Action::Remove => "remove",
        Action::Restore => "put back",
        Action::Wait => "wait for",
    }
}

/// A change in one line.
pub(crate) fn text_of(change: &Change) -> String {
    format!("{} {}", word(change.action), change.object)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.display_name;
        match self.changes.len() {
            0 if self.unknown.is_empty() => writeln!(f, "{name}: nothing to do, all is as it should be")?,
            0 => writeln!(f, "{name}: nothing to do in what could be read")?,
            1 => writeln!(f, "{name}: 1 change")?,
            n => writeln!(f, "{name}: {n} changes")?,
        }
        for (n, change) in self.changes.iter().enumerate() {
            writeln!(f, "{:>3}. {}", n + 1, text_of(change))?;
            for value in &change.values {
                writeln!(f, "       {}: {} → {}", value.name, value.before, value.after)?;
            }
            writeln!(f, "     why    {}", change.why)?;
            writeln!(f, "     needs  {}", change.needs)?;
            writeln!(f, "     undo   {}", change.undo)?;
            if let Some(waits_for) = &change.waits_for {
                writeln!(f, "     waits  for {waits_for}")?;
            }
        }
        for unknown in &self.unknown {
            writeln!(f, "  ?  {}: unknown because {}", unknown.object, unknown.because)?;
        }
        for notice in &self.notices {
            let grade = match notice.severity {
                Some(Severity::High) => " (impairs protection: high)",
                Some(Severity::Medium) => " (impairs protection: medium)",
                _ => "",
            };
            writeln!(f, "  !  {}: {}{grade}", notice.object, notice.found)?;
            writeln!(f, "       {}", notice.advice)?;
        }
        Ok(())
    }
}

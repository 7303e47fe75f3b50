//! The proof after a removal: every object of ours, how it was looked for, and what was seen. What could not be
//! looked at is not gone.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Shown {
    Absent,
    StillThere { what: String },
    Unknown { why: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Looked {
    pub object: String,
    /// The call by which it was looked for.
    pub by: String,
    #[serde(flatten)]
    pub shown: Shown,
}

/// Complete only when everything was seen to be absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proof {
    pub looked: Vec<Looked>,
    /// Steps that failed on the way.
    pub failures: Vec<String>,
    /// What only an administrator can remove, as the cmdlets that do it; it gives nobody any right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl Proof {
    pub(crate) fn add(&mut self, object: &str, by: &str, shown: Shown) {
        self.looked.push(Looked { object: object.into(), by: by.into(), shown });
    }
    pub fn is_complete(&self) -> bool {
        !self.looked.is_empty() && self.looked.iter().all(|l| l.shown == Shown::Absent)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for l in &self.looked {
            let seen = match &l.shown {
                Shown::Absent => "gone".to_owned(),
                Shown::StillThere { what } => format!("STILL THERE: {what}"),
                Shown::Unknown { why } => format!("UNKNOWN: {why}"),
            };
            writeln!(f, "{:<52} {seen:<8} ({})", l.object, l.by)?;
        }
        for failure in &self.failures {
            writeln!(f, "failed on the way: {failure}")?;
        }
        for cmdlet in &self.left {
            writeln!(f, "left for an administrator of the tenant: {cmdlet}")?;
        }
        if self.is_complete() && self.left.is_empty() {
            write!(f, "nothing of Posthouse is left in the tenant")
        } else if self.is_complete() {
            write!(
                f,
                "nothing of Posthouse works in the tenant any more; what is listed last has no members and no rights"
            )
        } else {
            write!(
                f,
                "the tenant is not proven clean; an administrator of it must remove what is listed as still there or unknown, then run the command again"
            )
        }
    }
}

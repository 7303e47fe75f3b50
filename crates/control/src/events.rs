//! What is shown while a tenant is connected or disconnected, as it happens.

use serde::Serialize;
use std::fmt;

/// The seven steps of connecting, in order; disconnecting has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    SignIn,
    Directory,
    Application,
    Permissions,
    AcceptedDomain,
    Connectors,
    Rules,
    Probe,
    Disconnect,
}

impl Step {
    fn label(self) -> &'static str {
        match self {
            Step::SignIn => "a  sign-in",
            Step::Directory => "b  directory",
            Step::Application => "c  application",
            Step::Permissions => "d  permissions",
            Step::AcceptedDomain => "e  accepted domain",
            Step::Connectors => "f  connectors",
            Step::Rules => "g  mail flow rules",
            Step::Probe => "   round trip",
            Step::Disconnect => "   disconnect",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Doing,
    Done,
    /// It was so before; nothing was changed.
    Already,
    /// A person has to do something.
    Waiting,
    /// Worth knowing, changes nothing.
    Note,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub step: Step,
    pub state: State,
    pub text: String,
    /// To be entered at the page that the text names.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<String>,
}

impl Event {
    pub fn new(step: Step, state: State, text: impl Into<String>) -> Event {
        Event { step, state, text: text.into(), user_code: None }
    }
    pub(crate) fn with_code(mut self, code: &str) -> Event {
        self.user_code = Some(code.to_owned());
        self
    }
    pub fn user_code(&self) -> Option<&str> {
        self.user_code.as_deref()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.state {
            State::Doing => "…",
            State::Done => "✓",
            State::Already => "=",
            State::Waiting => "?",
            State::Note => "·",
        };
        write!(f, "{:<20} {sign} {}", self.step.label(), self.text)
    }
}

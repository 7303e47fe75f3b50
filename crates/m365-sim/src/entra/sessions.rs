//! What the sign-in service remembers between requests: codes, device codes, refresh tokens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// Somebody who signed in, through which client, for which scopes.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub tenant: Uuid,
    pub user: Uuid,
    pub client: Uuid,
    pub scope: String,
    pub nonce: Option<String>,
}

/// An authorization code: one use, ten minutes.
#[derive(Clone, Debug)]
pub struct Code {
    pub who: SignedIn,
    pub redirect_uri: String,
    pub challenge: Option<(String, String)>,
    pub expires: i64,
    pub used: bool,
}

#[derive(Clone, Debug)]
pub enum DeviceState {
    Pending,
    Declined,
    Approved(SignedIn),
}

#[derive(Clone, Debug)]
pub struct DeviceCode {
    pub user_code: String,
    pub client: Uuid,
    pub scope: String,
    /// The tenant in the URL it was asked at: only its users may approve.
    pub tenant: String,
    pub expires: i64,
    pub state: DeviceState,
}

#[derive(Default)]
pub struct Remembered {
    pub codes: HashMap<String, Code>,
    pub devices: HashMap<String, DeviceCode>,
    pub refresh: HashMap<String, SignedIn>,
}

#[derive(Default)]
pub struct Sessions(Mutex<Remembered>);

impl Sessions {
    pub fn open(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// An opaque value that nobody guesses.
pub fn opaque(prefix: &str) -> String {
    format!("{prefix}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

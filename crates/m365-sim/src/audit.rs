//! The one internal audit log of a tenant; every change through any door is written here.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One change: who, what, on what, with which parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditRecord {
    pub id: Uuid,
    /// Unix seconds.
    pub at: i64,
    /// `Exchange`, `AzureActiveDirectory` or `Control`
    pub workload: String,
    /// Cmdlet or directory activity name, e.g. `New-InboundConnector`, `Add service principal`.
    pub operation: String,
    pub object_id: String,
    /// User principal name, or the application's display name.
    pub user_id: String,
    pub app_id: Option<Uuid>,
    pub client_ip: String,
    pub succeeded: bool,
    pub parameters: Vec<(String, Value)>,
}

//! The host that takes a tenant's mail back is Microsoft's to move: it is read again every day (transport.md G19).

use crate::objects::accepted_domain;
use crate::{Result, plan};
use m365::Client;
use store::Store;
use tenant::TenantId;

/// What cannot be read changes nothing.
pub(crate) async fn refresh(id: TenantId, client: &Client, store: &Store) -> Result<()> {
    let (tenant, app) = plan::acting(id, store).await?;
    let organization = client.graph_list(&app, "organization?$select=verifiedDomains").await?;
    let domains = organization.iter().flat_map(|o| o["verifiedDomains"].as_array().into_iter().flatten());
    let default = domains.filter(|d| d["isDefault"] == true).find_map(|d| d["name"].as_str().map(str::to_lowercase));
    let default = default.unwrap_or_else(|| tenant.initial_domain.clone());
    let host = accepted_domain::return_host(client, &app, &default).await?;
    if host != tenant.return_host {
        store.change_tenant(id, |known| known.return_host.clone_from(&host)).await?;
        let detail =
            format!("mail goes back to {host}, before to {}: Microsoft says so for {default}", tenant.return_host);
        store.put_act("watch", "host moved", Some(id), &detail).await?;
        tracing::info!(tenant = %id, detail);
    }
    Ok(())
}

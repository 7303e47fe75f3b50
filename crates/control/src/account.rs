//! Step a: the administrator signs in and is proven to be Global Administrator of exactly this tenant. Until then
//! nothing is touched.

use crate::events::{Event, State, Step};
use crate::objects::Need;
use crate::work::Work;
use crate::{ControlError, Result, SignIn, consent};
use m365::Identity;
use serde_json::Value;

/// Directory role template of Global Administrator (wire.md Appendix A).
const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";

pub(crate) const NEEDS: &[Need] =
    &[Need { permission: "Organization.Read.All", reason: "reads the tenant's name and domains", cmdlets: &[] }];

/// Delegated permissions of the sign-in, each for one step; taken back when connecting has ended ([`consent`]).
pub const DELEGATED: &[(&str, &str)] = &[
    ("User.Read.All", "to read users and to see that you are Global Administrator"),
    ("Group.Read.All", "to read groups and their members"),
    ("Organization.Read.All", "to read the tenant's name and domains"),
    ("Application.ReadWrite.All", "to create the application Posthouse Mail Flow"),
    ("AppRoleAssignment.ReadWrite.All", "to grant that application its permissions, which you are shown first"),
    ("RoleManagement.ReadWrite.Directory", "to make that application Exchange Administrator"),
];

/// Who signed in, and for which tenant.
pub(crate) struct Administrator {
    pub identity: Identity,
    pub user_name: String,
}

/// Nothing but the one permission by which the sign-in lends itself the others ([`consent`]).
pub(crate) async fn sign_in(work: &mut Work<'_>) -> Result<Identity> {
    sign_in_for(work, &[consent::MANAGES]).await
}

/// As the audit log names her.
pub(crate) fn user_name(identity: &Identity) -> Result<String> {
    match identity {
        Identity::Admin(admin) => Ok(admin.user_name.clone()),
        Identity::App(_) => Err(ControlError::Refused("an application cannot sign in as an administrator".into())),
    }
}

/// With what connecting needs, and proven to be Global Administrator.
pub(crate) async fn administrator(work: &mut Work<'_>, identity: Identity) -> Result<Administrator> {
    if consent::lend(work, &identity).await? {
        return proven(work, identity).await;
    }
    let text = "several applications of your tenant may manage consents, so that nothing tells which of them you signed in through; sign in once more, and consent to all that connecting needs. That consent stays until you remove it in Entra under Enterprise applications";
    work.show(Event::new(Step::SignIn, State::Note, text));
    let permissions: Vec<&str> = DELEGATED.iter().map(|(name, _)| *name).collect();
    let again = sign_in_for(work, &permissions).await?;
    if again.tenant() != identity.tenant() {
        return Err(ControlError::Refused("the second sign-in was to another tenant, and nothing was touched".into()));
    }
    proven(work, again).await
}

/// What a look asks for: nothing that writes.
const TO_LOOK: &[&str] = &["User.Read.All", "Organization.Read.All", "RoleManagement.Read.Directory"];

pub(crate) async fn sign_in_to_look(work: &mut Work<'_>) -> Result<Administrator> {
    let identity = sign_in_for(work, TO_LOOK).await?;
    proven(work, identity).await
}

async fn sign_in_for(work: &mut Work<'_>, permissions: &[&str]) -> Result<Identity> {
    let tenant = work.wish.tenant.clone().unwrap_or_else(|| "organizations".into());
    let client_id = work.settings.public_client_id.clone();
    match work.wish.sign_in {
        SignIn::DeviceCode => {
            let code = work.client.device_code(&tenant, &client_id, permissions).await?;
            let text = format!("open {} and enter {}", code.verification_uri, code.user_code);
            work.show(Event::new(Step::SignIn, State::Waiting, text).with_code(&code.user_code));
            Ok(work.client.await_device(&code).await?)
        }
        SignIn::Browser => {
            let browser = work.client.browser(&tenant, &client_id, permissions).await?;
            work.show(Event::new(Step::SignIn, State::Waiting, format!("open {}", browser.url)));
            Ok(work.client.await_browser(browser).await?)
        }
    }
}

async fn proven(work: &mut Work<'_>, identity: Identity) -> Result<Administrator> {
    let Identity::Admin(admin) = &identity else {
        return Err(ControlError::Refused("an application cannot sign in as an administrator".into()));
    };
    let user_name = admin.user_name.clone();
    if !is_global_administrator(work, &identity).await? {
        return Err(ControlError::Refused(format!(
            "{user_name} is not Global Administrator of its tenant, and nothing was touched; sign in with an account that has this role"
        )));
    }
    work.show(Event::new(
        Step::SignIn,
        State::Done,
        format!("{user_name} is Global Administrator of tenant {}", identity.tenant()),
    ));
    Ok(Administrator { identity, user_name })
}

/// Asked of Graph: the id token names roles only where the public client is configured so (wire.md 1.7).
async fn is_global_administrator(work: &Work<'_>, identity: &Identity) -> Result<bool> {
    let roles = work
        .client
        .graph_list(identity, "me/transitiveMemberOf/microsoft.graph.directoryRole?$select=roleTemplateId,displayName")
        .await?;
    Ok(roles
        .iter()
        .any(|r| r["roleTemplateId"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(GLOBAL_ADMINISTRATOR))))
}

/// Name and initial domain of the tenant.
pub(crate) struct Organization {
    pub display_name: String,
    pub initial_domain: String,
    pub default_domain: String,
    /// Verified ones, in lower case.
    pub domains: Vec<String>,
}

pub(crate) async fn organization(work: &Work<'_>, identity: &Identity) -> Result<Organization> {
    let all = work.client.graph_list(identity, "organization").await?;
    let one = all.first().cloned().unwrap_or_default();
    if let Some(asked) = &work.wish.tenant {
        let verified = one["verifiedDomains"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str());
        let is_asked = |name: &str| name.eq_ignore_ascii_case(asked);
        if !is_asked(&identity.tenant().to_string()) && !verified.into_iter().any(is_asked) {
            return Err(ControlError::Refused(format!(
                "the account that signed in belongs to another tenant ({}) than {asked}, and nothing was touched; run the command again and sign in with an account of {asked}",
                one["displayName"].as_str().unwrap_or_default()
            )));
        }
    }
    let domain = |flag: &str| {
        let found = one["verifiedDomains"].as_array().into_iter().flatten().find(|d| d[flag] == Value::Bool(true));
        found.and_then(|d| d["name"].as_str()).map(str::to_lowercase)
    };
    let initial_domain = domain("isInitial").ok_or_else(|| {
        ControlError::Refused("Microsoft names no initial domain (…onmicrosoft.com) of this tenant".into())
    })?;
    let default_domain = domain("isDefault").unwrap_or_else(|| initial_domain.clone());
    let domains = one["verifiedDomains"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str());
    Ok(Organization {
        domains: domains.map(str::to_lowercase).collect(),
        display_name: one["displayName"].as_str().unwrap_or(&initial_domain).to_owned(),
        initial_domain,
        default_domain,
    })
}

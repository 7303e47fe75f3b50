//! Who lives in the world when it begins.

use crate::entra::{ACTIVITY, EXCHANGE, GLOBAL_ADMINISTRATOR, GRAPH, GRAPH_CLI};
use crate::mailbox::Mailbox;
use crate::server::{Options, SignIn, TenantEndpoint};
use crate::world::{
    AcceptedDomain, DirectoryRole, Domain, ExternalDomain, Group, ServicePrincipal, Tenant, User, World,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct TenantSeed {
    pub id: Uuid,
    pub name: &'static str,
    pub initial: &'static str,
    /// The default one first.
    pub domains: Vec<&'static str>,
    pub people: usize,
}

#[derive(Clone, Debug)]
pub struct ExternalSeed {
    pub name: &'static str,
    pub address: &'static str,
    pub signs: bool,
}

pub fn contoso() -> TenantSeed {
    TenantSeed {
        id: Uuid::from_u128(0x7f3a_52c1_0d4e_4b8e_9a61_2c5d_8e91_40b7),
        name: "Contoso",
        initial: "contoso.onmicrosoft.com",
        domains: vec!["contoso.example", "fabrikam.example"],
        people: 36,
    }
}

pub fn tailspin() -> TenantSeed {
    TenantSeed {
        id: Uuid::from_u128(0x1b9d_6bcd_bbfd_4b2d_9b5d_ab8d_fbbd_4bed),
        name: "Tailspin",
        initial: "tailspin.onmicrosoft.com",
        domains: vec!["tailspin.example"],
        people: 10,
    }
}

pub fn outside() -> Vec<ExternalSeed> {
    vec![
        ExternalSeed { name: "acme.example", address: "127.0.10.1", signs: true },
        ExternalSeed { name: "newsletter.example", address: "127.0.10.2", signs: true },
        ExternalSeed { name: "partner.example", address: "127.0.10.3", signs: false },
        ExternalSeed { name: "attacker.example", address: "127.0.10.66", signs: false },
    ]
}

const FIRST: [&str; 20] = [
    "Grace",
    "Alan",
    "Ada",
    "Edsger",
    "Barbara",
    "Donald",
    "Katherine",
    "Dennis",
    "Margaret",
    "Niklaus",
    "Frances",
    "Tony",
    "Radia",
    "Vint",
    "Adele",
    "Leslie",
    "Shafi",
    "Jürgen",
    "Sophie",
    "Noor",
];
const LAST: [&str; 18] = [
    "Hopper",
    "Turing",
    "Lovelace",
    "Dijkstra",
    "Liskov",
    "Knuth",
    "Johnson",
    "Ritchie",
    "Hamilton",
    "Wirth",
    "Allen",
    "Hoare",
    "Perlman",
    "Cerf",
    "Goldberg",
    "Lamport",
    "Goldwasser",
    "Müller",
];
const PASSWORD: &str = "correct-horse-battery-staple";

fn ascii(name: &str) -> String {
    name.to_lowercase().replace('ü', "ue").replace('ö', "oe").replace('ä', "ae").replace(' ', ".")
}

fn person(seed: &TenantSeed, n: usize) -> User {
    let name = format!("{} {}", FIRST[n % FIRST.len()], LAST[(n * 5 + n / FIRST.len()) % LAST.len()]);
    let address = format!("{}@{}", ascii(&name), seed.domains[n % seed.domains.len()]);
    User {
        id: stable(seed, &address),
        upn: address.clone(),
        display_name: name,
        password: PASSWORD.into(),
        addresses: vec![
            address.clone(),
            format!("{}@{}", ascii(address.split('@').next().unwrap_or_default()), seed.initial),
        ],
        enabled: true,
        mailbox_type: "UserMailbox".into(),
    }
}

/// The same object id in every run, so that a scenario may name it.
fn stable(seed: &TenantSeed, name: &str) -> Uuid {
    stable_id(seed.id, name)
}

/// The id of what is called `name` in a tenant.
pub fn stable_id(tenant: Uuid, name: &str) -> Uuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{tenant} {name}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn special(seed: &TenantSeed, name: &str, local: &str, kind: &str) -> User {
    let address = format!("{local}@{}", seed.domains[0]);
    User {
        id: stable(seed, &address),
        upn: address.clone(),
        display_name: name.into(),
        password: PASSWORD.into(),
        addresses: vec![address],
        enabled: kind == "UserMailbox",
        mailbox_type: kind.into(),
    }
}

fn groups(seed: &TenantSeed, users: &[User]) -> Vec<Group> {
    let group = |name: &str, local: Option<&str>, kind: &str, members: Vec<Uuid>| Group {
        id: stable(seed, name),
        display_name: name.into(),
        mail: local.map(|l| format!("{l}@{}", seed.domains[0])),
        kind: kind.into(),
        members,
    };
    let ids = |from: usize, to: usize| users.iter().skip(from).take(to - from).map(|u| u.id).collect::<Vec<_>>();
    let sales = group("Sales", Some("sales"), "distribution", ids(2, 8));
    let engineering = group("Engineering", Some("engineering"), "unified", ids(6, 10));
    let staff =
        group("All Staff", Some("all-staff"), "distribution", [vec![sales.id, engineering.id], ids(1, 3)].concat());
    vec![
        sales,
        engineering,
        staff,
        group("Wireless Users", None, "security", ids(0, 10)),
        group("Finance", Some("finance"), "mail_security", ids(8, 10)),
    ]
}

fn first_party(seed: &TenantSeed) -> Vec<ServicePrincipal> {
    let app = |app_id: Uuid, name: &str, roles: &[(&str, &str)], scopes: &[&str], names: &[&str]| ServicePrincipal {
        id: stable(seed, name),
        app_id,
        display_name: name.into(),
        account_enabled: true,
        app_roles: roles.iter().filter_map(|(id, value)| Some((id.parse().ok()?, (*value).to_owned()))).collect(),
        scopes: scopes.iter().map(|s| (stable(seed, s), (*s).to_owned())).collect(),
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        first_party: true,
        visible_from: 0,
    };
    let graph_roles = [
        ("df021288-bdef-4463-88db-98f22de89214", "User.Read.All"),
        ("5b567255-7703-4780-807c-7be8301ae99b", "Group.Read.All"),
        ("98830695-27a2-44f7-8c18-0c3ebc9698f6", "GroupMember.Read.All"),
        ("7ab1d382-f21e-4acd-a863-ba3e13f7da61", "Directory.Read.All"),
        ("19dbc75e-c2e2-444c-a770-ec69d8559fc7", "Directory.ReadWrite.All"),
        ("810c84a8-4a9e-49e6-bf7d-12d183f40d01", "Mail.Read"),
        ("6be147d2-ea4f-4b5a-a3fa-3eab6f3c140a", "Mail.ReadBasic"),
        ("693c5e45-0940-467d-9b8a-1022fb9d42ef", "Mail.ReadBasic.All"),
        ("e2a3a72e-5f79-4c64-b1b1-878b674786c9", "Mail.ReadWrite"),
        ("b633e1c5-b582-4048-a93e-9f11b44c7e96", "Mail.Send"),
        ("40f97065-369a-49f4-947c-6a255697ae91", "MailboxSettings.Read"),
        ("7e05723c-0bb0-42da-be95-ae9f08a6e53c", "Domain.ReadWrite.All"),
        ("dbb9058a-0e50-45d7-ae91-66909b5d4664", "Domain.Read.All"),
        ("498476ce-e0fe-48b0-b801-37ba7e2685c6", "Organization.Read.All"),
        ("9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8", "RoleManagement.ReadWrite.Directory"),
        ("483bed4a-2ad3-4361-a73b-c83ccdbdc53c", "RoleManagement.Read.Directory"),
        ("06b708a9-e830-4db3-a914-8e69da51d44f", "AppRoleAssignment.ReadWrite.All"),
        ("1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "Application.ReadWrite.All"),
        ("9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30", "Application.Read.All"),
        ("18a4783c-866b-4cc7-a460-3d5e5662c884", "Application.ReadWrite.OwnedBy"),
        ("b0afded3-3588-46d8-8b3d-9842eff778da", "AuditLog.Read.All"),
        ("8e8e4742-1d95-4f68-9d56-6ee75648c72a", "DelegatedPermissionGrant.ReadWrite.All"),
    ];
    let graph_scopes = [
        "User.Read",
        "User.Read.All",
        "Group.Read.All",
        "GroupMember.Read.All",
        "Directory.Read.All",
        "Directory.AccessAsUser.All",
        "Domain.ReadWrite.All",
        "Organization.Read.All",
        "RoleManagement.ReadWrite.Directory",
        "RoleManagement.Read.Directory",
        "AppRoleAssignment.ReadWrite.All",
        "Application.ReadWrite.All",
        "DelegatedPermissionGrant.ReadWrite.All",
    ];
    vec![
        app(
            GRAPH,
            "Microsoft Graph",
            &graph_roles,
            &graph_scopes,
            &["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"],
        ),
        app(
            EXCHANGE,
            "Office 365 Exchange Online",
            &[("dc50a0fb-09a3-484d-be87-e023b12c6440", "Exchange.ManageAsApp")],
            &["Exchange.Manage"],
            &["https://outlook.office365.com"],
        ),
        app(
            ACTIVITY,
            "Office 365 Management APIs",
            &[("594c1fb6-4f81-4475-ae41-0c394909246c", "ActivityFeed.Read")],
            &["ActivityFeed.Read"],
            &["https://manage.office.com"],
        ),
        app(GRAPH_CLI, "Microsoft Graph Command Line Tools", &[], &[], &["14d82eec-204b-4c2f-b7e8-296a70dab67e"]),
    ]
}

/// Puts everybody into the world and tells how to reach them.
pub fn plant(world: &World, options: &Options) -> Vec<TenantEndpoint> {
    let mut state = world.state();
    for seed in &options.external {
        state.external.push(ExternalDomain {
            name: seed.name.into(),
            address: seed.address.into(),
            mailboxes: Default::default(),
            dkim_key: seed.signs.then(|| world.pki.dkim_key.clone()),
        });
    }
    options
        .tenants
        .iter()
        .map(|seed| {
            let (tenant, endpoint) = tenant(world, seed);
            state.tenants.push(tenant);
            endpoint
        })
        .collect()
}

fn tenant(world: &World, seed: &TenantSeed) -> (Tenant, TenantEndpoint) {
    let admin = special(seed, &format!("{} Administrator", seed.name), "admin", "UserMailbox");
    let mut users = vec![admin.clone()];
    users.extend((0..seed.people).map(|n| person(seed, n)));
    users.push(special(seed, "Info Desk", "info", "SharedMailbox"));
    users.push(special(seed, "Meeting Room Babbage", "room.babbage", "RoomMailbox"));
    users.push(special(seed, "Postmaster", "postmaster", "SharedMailbox"));
    let ordinary = users[1].clone();
    let names: Vec<&str> = seed.domains.iter().copied().chain([seed.initial]).collect();
    let domain = |name: &&str| Domain {
        id: (*name).into(),
        is_verified: true,
        is_default: *name == seed.domains[0],
        is_initial: *name == seed.initial,
        proof: "MS=ms00000000".into(),
        supported_services: vec!["Email".into()],
    };
    let accepted = |name: &&str| AcceptedDomain {
        name: (*name).into(),
        domain_type: "Authoritative".into(),
        default: *name == seed.domains[0],
        initial: *name == seed.initial,
        visible_from: 0,
    };
    let endpoint = TenantEndpoint {
        id: seed.id.to_string(),
        initial_domain: seed.initial.into(),
        domains: names.iter().map(|n| (*n).to_owned()).collect(),
        admin: SignIn { user: admin.upn.clone(), username: admin.upn.clone(), password: PASSWORD.into() },
        user: SignIn { user: ordinary.upn.clone(), username: ordinary.upn, password: PASSWORD.into() },
    };
    let mailbox = |u: &User| Mailbox::new(seed.id, u.id, world.hub.clone());
    let tenant = Tenant {
        id: seed.id,
        display_name: seed.name.into(),
        initial_domain: seed.initial.into(),
        domains: names.iter().map(domain).collect(),
        groups: groups(seed, &users).into(),
        mailboxes: users.iter().filter_map(|u| Some((u.addresses.first()?.clone(), mailbox(u)))).collect(),
        hub: world.hub.clone(),
        habits: None,
        soft_deleted: Vec::new(),
        subscriptions: Vec::new(),
        subscriptions_gone: Vec::new(),
        users: users.into(),
        applications: Vec::new(),
        service_principals: first_party(seed),
        app_role_assignments: Vec::new(),
        permission_grants: Vec::new(),
        directory_roles: vec![DirectoryRole {
            id: stable(seed, "Global Administrator"),
            template: GLOBAL_ADMINISTRATOR,
            display_name: "Global Administrator".into(),
            members: vec![(admin.id, 0)],
        }],
        accepted_domains: names.iter().map(accepted).collect(),
        inbound_connectors: Vec::new(),
        outbound_connectors: Vec::new(),
        transport_rules: Vec::new(),
        organization_config: organization(seed),
        arc_trusted_sealers: Vec::new(),
        audit: Vec::new(),
        dkim_keys: names.iter().map(|n| ((*n).to_owned(), world.pki.dkim_key.clone())).collect(),
        onprem_connector_restricted: false,
        quarantine: Vec::new(),
        settings: crate::exchange::Settings::new(seed.id),
        feed: Default::default(),
        history: Default::default(),
        traces: Vec::new(),
        delta: Default::default(),
    };
    (tenant, endpoint)
}

fn organization(seed: &TenantSeed) -> Map<String, Value> {
    let config = json!({"Name": seed.initial, "Identity": seed.initial, "Guid": seed.id, "DisplayName": seed.name, "IsDehydrated": false, "AuditDisabled": false, "CustomerLockboxEnabled": false, "PublicFoldersEnabled": "Local", "MaskClientIpInReceivedHeadersEnabled": true, "IsMixedMode": false, "RejectDirectSend": false});
    config.as_object().cloned().unwrap_or_default()
}

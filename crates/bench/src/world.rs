//! What every system under test finds: certificates, one tenant, a name server, and a sink that takes its mail.

use crate::dns;
use crate::message::{Signer, Specimen};
use crate::sink::Sink;
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenant::{Direction, MarkSecrets, Policy, ReturnCertificate, Rollout, Routing, Secret, Tenant, TenantId};

pub const SENDER_DOMAIN: &str = "partner.example";
pub const CONTOSO: &str = "contoso.example";
pub const ZONE: &str = "connect.bench.example";
pub const GATEWAY_NAME: &str = "gw.bench.example";
pub const SINK_NAME: &str = "mx.bench.example";
pub const MICROSOFT: &str = "mail.protection.outlook.com";

pub fn tenant_id() -> TenantId {
    TenantId(uuid::Uuid::from_u128(7))
}

/// A root that all sides trust. P-256 keys throughout: the generator's own handshakes are then cheap for everybody.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub roots: Arc<rustls::RootCertStore>,
    pub root_pem: String,
    pub key_pem: String,
}

impl Authority {
    pub fn new() -> Result<Authority> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "bench root");
        let certificate = params.self_signed(&key)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let (root_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Ok(Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots), root_pem, key_pem })
    }

    /// Chain and key in PEM.
    pub fn issue(&self, name: &str) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

pub struct World {
    pub dir: PathBuf,
    pub tenant: Tenant,
    pub signer: Signer,
    pub sink: Sink,
    /// Chain and key of the sink, in PEM.
    pub sink_identity: (String, String),
    pub name_server: SocketAddr,
    /// As Exchange Online connects to a smart host: with its own certificate, verifying the host's.
    pub exchange_tls: Arc<rustls::ClientConfig>,
}

impl World {
    /// Files are put below `dir`, which others than we may enter: Postfix and Rspamd give up root.
    pub fn start(dir: &Path) -> Result<World> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
        let dir = &dir.canonicalize()?;
        let (authority, signer) = (Authority::new()?, Signer::new()?);
        let (chain, key) = authority.issue(SINK_NAME)?;
        let sink = Sink::start(&chain, &key)?;
        let sink_identity = (chain, key);
        let records = [
            dns::a(SINK_NAME, [127, 0, 0, 1]),
            dns::txt(&format!("s1._domainkey.{SENDER_DOMAIN}"), &signer.record),
            dns::txt(SENDER_DOMAIN, "v=spf1 ip4:127.0.0.0/8 -all"),
            dns::txt(&format!("_dmarc.{SENDER_DOMAIN}"), "v=DMARC1; p=none"),
            dns::a(SENDER_DOMAIN, [127, 0, 0, 1]),
            // as the simulator publishes of its tenant
            dns::txt(CONTOSO, "v=spf1 include:spf.protection.outlook.com -all"),
            dns::txt("spf.protection.outlook.com", "v=spf1 ip4:127.0.40.0/24 -all"),
            dns::txt(&format!("_dmarc.{CONTOSO}"), "v=DMARC1; p=none"),
        ];
        let name_server = dns::start(records.into_iter().collect())?;
        let (chain, key) = authority.issue(MICROSOFT)?;
        let exchange_tls = smtp::tls::client_config(authority.roots.clone(), Some((&chain, &key)))?;
        for (file, text) in [("root.pem", &authority.root_pem), ("root.key", &authority.key_pem)] {
            std::fs::write(dir.join(file), text)?;
        }
        let (chain, key) = authority.issue(GATEWAY_NAME)?;
        std::fs::write(dir.join("server.pem"), chain)?;
        std::fs::write(dir.join("server.key"), key)?;
        let tenant = contoso(&authority)?;
        Ok(World { dir: dir.to_owned(), tenant, signer, sink, sink_identity, name_server, exchange_tls })
    }

    pub fn specimen(&self, octets: usize) -> Result<Arc<Specimen>> {
        let route = self.tenant.route_token(Direction::Inbound);
        Ok(Arc::new(Specimen::new(octets, &self.signer, &route.to_string())?))
    }
}

fn contoso(authority: &Authority) -> Result<Tenant> {
    let connector_domain = format!("contoso.{ZONE}");
    let (chain_pem, key_pem) = authority.issue(&connector_domain)?;
    Ok(Tenant {
        id: tenant_id(),
        label: "contoso".into(),
        display_name: "Contoso".into(),
        initial_domain: "contoso.onmicrosoft.com".into(),
        domains: vec![CONTOSO.into()],
        connector_domain,
        return_host: SINK_NAME.into(),
        pass: MarkSecrets::new(Secret::new("a".repeat(64))),
        route: MarkSecrets::new(Secret::new("b".repeat(64))),
        certificate: ReturnCertificate { chain_pem, key_pem: Secret::new(key_pem) },
        policy: Policy::default(),
        routing: Routing::Proven,
        rollout: Rollout::default(),
        closed: Vec::new(),
    })
}

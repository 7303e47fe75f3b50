//! From configuration to running parts; nothing is decided here.

use crate::config::{Config, Issuer, NotifyTarget, NotifyWay, SECRET_CHARACTERS_MIN, SecretSource};
use anyhow::{Context, Result, anyhow, bail};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tenant::Tenant;

pub fn read(file: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{what} {}", file.display()))
}

/// Roots by which mail peers are judged: the operator's file, else the public ones.
pub fn mail_roots(config: &Config) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    match &config.trusted_roots {
        Some(file) => {
            let pem = read(file, "certificates.trusted_roots")?;
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.with_context(|| format!("{} is not PEM", file.display()))?)?;
            }
            if roots.is_empty() {
                bail!("{} holds no certificate; expected PEM blocks `BEGIN CERTIFICATE`", file.display());
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(Arc::new(roots))
}

pub fn issuer(config: &Config) -> Result<control::CertificateIssuer> {
    Ok(match &config.issuer {
        Issuer::Directory(directory) => control::CertificateIssuer::Directory(directory.clone()),
        Issuer::Authority { chain, key } => control::CertificateIssuer::Authority {
            chain_pem: read(chain, "certificates.authority_chain")?,
            key_pem: tenant::Secret::new(read(key, "certificates.authority_key")?),
        },
    })
}

pub fn gateway_settings(config: &Config) -> Result<gateway::Settings> {
    let (chain_pem, key_pem) = match &config.certificate {
        Some((chain, key)) => (read(chain, "gateway.certificate")?, tenant::Secret::new(read(key, "gateway.key")?)),
        None => {
            let issued = issuer(config)?
                .certificate_for(&config.hostname)
                .with_context(|| format!("certificate of the gateway itself, {}", config.hostname))?;
            (issued.chain_pem, issued.key_pem)
        }
    };
    Ok(gateway::Settings {
        listen: config.listen,
        hostname: config.hostname.clone(),
        chain_pem,
        key_pem,
        roots: mail_roots(config)?,
        microsoft_names: config.microsoft_names.clone(),
        microsoft_ranges: microsoft_ranges(config)?,
        resolver: config.resolver,
        return_port: config.return_port,
        binarymime: config.binarymime,
        egress_address: config.egress_address,
        public_address: config.public_address,
        zone: config.zone.clone(),
        dns_listen: config.zone_listen,
        budget: config.budget,
        arc: arc_settings(config)?,
        classifier: classifier(config)?.map(Arc::new),
        engines: config.engines.clone(),
        lists: config.lists.clone(),
        lists_dir: config.data_dir.join("lists"),
        web: config.web.clone(),
    })
}

/// The model that the operator trained, if he names one.
pub fn classifier(config: &Config) -> Result<Option<verdict::classifier::Model>> {
    let Some(file) = &config.classifier else { return Ok(None) };
    let octets = std::fs::read(file).with_context(|| format!("classifier.model {}", file.display()))?;
    let model = verdict::classifier::Model::read(&octets);
    Ok(Some(model.map_err(|e| anyhow!("classifier.model {} {e}", file.display()))?))
}

/// What is written and what stands in the file, together.
pub fn microsoft_ranges(config: &Config) -> Result<Vec<ipnet::IpNet>> {
    let mut ranges = config.microsoft_ranges.clone();
    if let Some(file) = &config.microsoft_ranges_file {
        ranges.extend(crate::ranges::read(file).context("gateway.microsoft_ranges_file")?);
    }
    Ok(ranges)
}

fn arc_settings(config: &Config) -> Result<Option<gateway::ArcSettings>> {
    let (Some(file), Some(domain)) = (&config.arc_key, &config.arc_sealer) else { return Ok(None) };
    Ok(Some(gateway::ArcSettings {
        key_pem: tenant::Secret::new(read(file, "gateway.arc_key")?),
        domain: domain.clone(),
        selector: config.arc_selector.clone(),
    }))
}

/// What seals edited messages, checked.
pub fn arc_key(config: &Config) -> Result<Option<gateway::ArcKey>> {
    let settings = arc_settings(config)?;
    settings.as_ref().map(gateway::ArcKey::new).transpose().map_err(|why| anyhow!("gateway.arc_key: {why}"))
}

/// Microsoft's addresses: those of the named cloud, each of which the operator may replace for rehearsals. The scopes
/// of tokens stay those of the cloud.
pub fn client(config: &Config) -> Result<m365::Client> {
    let section = &config.microsoft;
    let name = section.cloud.as_ref().map_or("global", |c| c.get_ref());
    let mut cloud = m365::Cloud::named(name)
        .ok_or_else(|| anyhow!("microsoft.cloud is \"{name}\"; expected global, us-gov-high, us-dod or china"))?;
    for (base, written) in [
        (&mut cloud.login, &section.login),
        (&mut cloud.graph, &section.graph),
        (&mut cloud.exchange, &section.exchange),
        (&mut cloud.activity, &section.activity),
    ] {
        if let Some(written) = written {
            *base = written.trim_end_matches('/').to_owned();
        }
    }
    let roots = section.roots.as_ref().map(|file| read(file, "microsoft.roots")).transpose()?;
    Ok(m365::Client::new(cloud, roots.as_deref())?)
}

pub fn control_settings(config: &Config) -> Result<control::Settings> {
    Ok(control::Settings {
        zone: config.zone.clone(),
        gateway_hostname: config.hostname.clone(),
        issuer: issuer(config)?,
        public_client_id: config.microsoft.public_client_id.clone().unwrap_or_else(|| m365::PUBLIC_CLIENT.to_owned()),
        resolver: config.resolver,
        roots: mail_roots(config)?,
        return_port: config.return_port,
        arc_sealer: config.arc_sealer.clone(),
        sending_infrastructure: config.sending_infrastructure.clone(),
        egress_address: config.egress_address,
    })
}

/// Where the gateway listens, as somebody on this machine reaches it.
pub fn gateway_door(config: &Config) -> SocketAddr {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(own);
    }
    address
}

/// Who is told of alerts, with the doors opened and the secrets read.
pub fn notify_targets(config: &Config) -> Result<Vec<control::notify::Target>> {
    config.notify.iter().map(|target| notify_target(config, target)).collect()
}

pub fn notify_target(config: &Config, target: &NotifyTarget) -> Result<control::notify::Target> {
    use control::notify::{MailTarget, SyslogTarget, Target, Way, WebhookTarget};
    let way = match &target.way {
        NotifyWay::Webhook { url, secret, roots } => {
            let roots = roots.as_ref().map(|file| read(file, "notify.webhook.roots")).transpose()?;
            let secret = secret_of(secret)?;
            let webhook = WebhookTarget::new(url.expose(), secret, roots.as_deref());
            Way::Webhook(webhook.map_err(|e| anyhow!("notify.webhook {}: {e}", target.name))?)
        }
        NotifyWay::Syslog { address, facility } => Way::Syslog(SyslogTarget {
            address: address.clone(),
            facility: *facility,
            hostname: config.hostname.clone(),
        }),
        NotifyWay::Mail { from, to, host, port } => Way::Mail(MailTarget {
            from: from.clone(),
            to: to.clone(),
            host: host.clone(),
            port: *port,
            helo: config.hostname.clone(),
            resolver: config.resolver,
            tls: smtp::tls::client_config(mail_roots(config)?, None)?,
        }),
    };
    Ok(Target { name: target.name.clone(), least: target.least, tenants: target.tenants.clone(), way })
}

fn secret_of(source: &SecretSource) -> Result<tenant::Secret> {
    let file = match source {
        SecretSource::Written(secret) => return Ok(secret.clone()),
        SecretSource::File(file) => file,
    };
    let secret = tenant::Secret::new(read(file, "notify.webhook.secret_file")?.trim());
    if secret.expose().chars().count() < SECRET_CHARACTERS_MIN {
        bail!(
            "{} holds fewer than {SECRET_CHARACTERS_MIN} characters; fill it with: openssl rand -hex 32",
            file.display()
        );
    }
    Ok(secret)
}

/// Finds a tenant by id, label or one of its domains.
pub async fn find_tenant(store: &Store, name: &str) -> Result<Tenant> {
    let tenants = store.tenants().await?;
    let wanted = name.to_lowercase();
    let found = tenants.into_iter().find(|t| {
        t.id.to_string() == wanted || t.label == wanted || t.domains.contains(&wanted) || t.initial_domain == wanted
    });
    found.ok_or_else(|| anyhow!("no tenant is called \"{name}\"; `posthouse tenant list` shows those that are"))
}

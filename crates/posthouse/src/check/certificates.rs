//! Certificates and keys: readable, belonging together, in time, of our name, with their chain. Exchange Online connects to
//! none that is not, and says so to nobody here.

use super::{Checked, unreadable};
use crate::config::{Config, Issuer};
use crate::wiring;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// Renewing takes a person a few days.
const WARNING_DAYS: i64 = 14;
const DAY_SECS: i64 = 24 * 3600;

pub(super) fn all(config: &Config) -> Vec<Checked> {
    let mut all = Vec::new();
    let roots = match wiring::mail_roots(config) {
        Ok(roots) => Some(roots),
        Err(e) => {
            let file = config.trusted_roots.as_deref().unwrap_or(Path::new(""));
            let text = match e.downcast_ref::<std::io::Error>() {
                Some(e) => unreadable(file, e),
                None => format!("{e:#}"),
            };
            all.push(Checked::problem("certificates.trusted_roots", text));
            None
        }
    };
    all.extend(match &config.certificate {
        Some((chain, key)) => pair(config, ("gateway.certificate", chain), ("gateway.key", key), roots.as_ref()),
        None => issued(config, roots.as_ref()),
    });
    if config.certificate.is_some() {
        all.extend(issuer(config));
    }
    all
}

fn text_of(key: &str, file: &Path) -> Result<String, Checked> {
    std::fs::read_to_string(file).map_err(|e| Checked::problem(key, unreadable(file, &e)))
}

fn pair(
    config: &Config,
    (chain_name, chain_file): (&str, &Path),
    (key_name, key_file): (&str, &Path),
    roots: Option<&Arc<RootCertStore>>,
) -> Vec<Checked> {
    match (text_of(chain_name, chain_file), text_of(key_name, key_file)) {
        (Ok(chain), Ok(key)) => {
            let mut all: Vec<Checked> =
                key_problem(key_file, &chain, &key).map(|p| Checked::problem(key_name, p)).into_iter().collect();
            all.extend(chain_of(chain_name, chain_file, &chain, &config.hostname, roots));
            if all.is_empty() {
                all.push(Checked::ok(chain_name, good(&chain, &config.hostname)));
            }
            all
        }
        (Ok(chain), Err(wrong)) => {
            [vec![wrong], chain_of(chain_name, chain_file, &chain, &config.hostname, roots)].concat()
        }
        (chain, key) => [chain.err(), key.err()].into_iter().flatten().collect(),
    }
}

fn good(chain: &str, hostname: &str) -> String {
    let end = smtp::tls::not_after(chain).and_then(|s| jiff::Timestamp::from_second(s).ok());
    format!("of {hostname}, good until {}", end.map(|e| e.to_string()).unwrap_or_default())
}

/// The gateway's own certificate where it comes from the issuer, as `serve` would get it.
fn issued(config: &Config, roots: Option<&Arc<RootCertStore>>) -> Vec<Checked> {
    let (name, hostname) = (issuer_name(config), &config.hostname);
    if let Issuer::Directory(directory) = &config.issuer {
        let file = |end: &str| directory.join(format!("{hostname}.{end}"));
        return pair(config, (name, &file("pem")), (name, &file("key")), roots);
    }
    match wiring::issuer(config).and_then(|i| Ok(i.certificate_for(hostname)?)) {
        Ok(issued) => {
            let problems = chain_of(name, Path::new("what it issues"), &issued.chain_pem, hostname, roots);
            if problems.is_empty() {
                vec![Checked::ok(name, format!("issues a certificate {}", good(&issued.chain_pem, hostname)))]
            } else {
                problems
            }
        }
        Err(_) => issuer(config),
    }
}

fn issuer_name(config: &Config) -> &'static str {
    match config.issuer {
        Issuer::Directory(_) => "certificates.directory",
        Issuer::Authority { .. } => "certificates.authority_chain",
    }
}

/// Where the tenants' certificates come from.
fn issuer(config: &Config) -> Vec<Checked> {
    let name = issuer_name(config);
    match &config.issuer {
        Issuer::Directory(directory) => vec![match std::fs::read_dir(directory) {
            Ok(_) => Checked::ok(name, format!("{} can be read", directory.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                Checked::problem(name, format!("{} is a file; expected a folder", directory.display()))
            }
            Err(e) => Checked::problem(name, unreadable(directory, &e)),
        }],
        Issuer::Authority { chain, key } => {
            let unread: Vec<Checked> = [text_of(name, chain), text_of("certificates.authority_key", key)]
                .into_iter()
                .filter_map(Result::err)
                .collect();
            if !unread.is_empty() {
                return unread;
            }
            let problem = |name: &str, text: String| vec![Checked::problem(name, text)];
            let (chain_pem, key_pem) = (wiring::read(chain, name), wiring::read(key, name));
            let (chain_pem, key_pem) = (chain_pem.unwrap_or_default(), key_pem.unwrap_or_default());
            if !chain_pem.contains("BEGIN CERTIFICATE") {
                return problem(name, no_certificate(chain));
            }
            if let Some(text) = key_problem(key, &chain_pem, &key_pem) {
                return problem("certificates.authority_key", text);
            }
            let made = wiring::issuer(config).and_then(|i| Ok(i.certificate_for(&config.hostname)?));
            vec![Checked::of(name, made.map(|_| "issues certificates").map_err(|e| format!("{e:#}")))]
        }
    }
}

/// What is wrong with the key, if anything.
fn key_problem(file: &Path, chain: &str, key: &str) -> Option<String> {
    let shown = file.display();
    if key.contains("BEGIN ENCRYPTED PRIVATE KEY") || key.contains("Proc-Type: 4,ENCRYPTED") {
        return Some(format!(
            "{shown} is locked with a passphrase; unlock it with: openssl pkey -in {shown} -out FILE"
        ));
    }
    match smtp::tls::server_config(chain, key) {
        Err(smtp::tls::TlsError::Key) => {
            Some(format!("{shown} holds no private key; expected a PEM block `BEGIN PRIVATE KEY`"))
        }
        Err(smtp::tls::TlsError::Rustls(rustls::Error::InconsistentKeys(_))) => {
            Some(format!("{shown} is the key of another certificate than the first one in the chain"))
        }
        Err(smtp::tls::TlsError::Rustls(e)) => Some(format!("{shown} cannot be used: {e}")),
        Ok(_) | Err(smtp::tls::TlsError::Certificate(_)) => None,
    }
}

/// What is wrong with the chain, and what soon will be.
fn chain_of(name: &str, file: &Path, chain: &str, hostname: &str, roots: Option<&Arc<RootCertStore>>) -> Vec<Checked> {
    let shown = file.display();
    let read: Result<Vec<CertificateDer<'_>>, _> =
        <CertificateDer<'_> as rustls_pki_types::pem::PemObject>::pem_slice_iter(chain.as_bytes()).collect();
    let certificates = read.unwrap_or_default();
    let Some((leaf, above)) = certificates.split_first() else {
        return vec![Checked::problem(name, no_certificate(file))];
    };
    let Ok((_, leaf_read)) = x509_parser::parse_x509_certificate(leaf) else {
        return vec![Checked::problem(name, format!("the first certificate in {shown} is damaged"))];
    };
    if leaf_read.is_ca() && !above.is_empty() {
        let text = format!(
            "the first certificate in {shown} is an authority's; ours comes first, then those above it in order"
        );
        return vec![Checked::problem(name, text)];
    }
    let mut all = validity(name, &shown.to_string(), &leaf_read);
    let names = names_of(&leaf_read);
    if !names.iter().any(|n| matches(n, hostname)) {
        let has = if names.is_empty() { "no name at all".into() } else { names.join(", ") };
        all.push(Checked::problem(
            name,
            format!("{shown} is of {has} and not of gateway.hostname, {hostname}; Exchange Online verifies that name"),
        ));
    }
    let in_time = !all.iter().any(|c| c.level == super::Level::Problem && c.text.contains("valid"));
    if let Some(roots) = roots.filter(|_| in_time)
        && let Some(problem) = path_problem(leaf, above, names.first().map_or(hostname, String::as_str), roots)
    {
        let self_signed = leaf_read.subject() == leaf_read.issuer();
        all.push(Checked::problem(name, match problem {
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) if self_signed => {
                format!("{shown} is signed by itself; Exchange Online takes certificates of public authorities only")
            }
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => format!(
                "{shown} leads to no trusted root; its issuer is {}: add the certificates between it and the root after ours",
                leaf_read.issuer()
            ),
            other => format!("{shown} is not trusted: {other}"),
        }));
    }
    all
}

fn no_certificate(file: &Path) -> String {
    format!("{} holds no certificate; expected PEM blocks `BEGIN CERTIFICATE`, ours first", file.display())
}

fn validity(name: &str, shown: &str, leaf: &X509Certificate<'_>) -> Vec<Checked> {
    let now = jiff::Timestamp::now().as_second();
    let (from, end) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let said = |seconds: i64| jiff::Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_default();
    if end <= now {
        return vec![Checked::problem(name, format!("{shown} was valid until {} and is expired; renew it", said(end)))];
    }
    if from > now {
        return vec![Checked::problem(
            name,
            format!("{shown} is valid only from {}; look at the clock of this machine too", said(from)),
        )];
    }
    if end - now < WARNING_DAYS * DAY_SECS {
        return vec![Checked::warning(name, format!("{shown} ends at {}; renew it and send SIGHUP", said(end)))];
    }
    Vec::new()
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(san)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = |n: &GeneralName<'_>| match n {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    san.value.general_names.iter().filter_map(dns).collect()
}

/// RFC 6125 §6.4.3: a star is one whole label.
fn matches(pattern: &str, hostname: &str) -> bool {
    let below = |parent: &str| hostname.split_once('.').is_some_and(|(_, rest)| rest == parent);
    pattern == hostname || pattern.strip_prefix("*.").is_some_and(below)
}

/// Whether a client would find a way to a root. The name has been looked at: here any that the certificate has will do.
fn path_problem(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    name: &str,
    roots: &Arc<RootCertStore>,
) -> Option<rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build().ok()?;
    let name = ServerName::try_from(name.replace('*', "any-name")).ok()?;
    let judged = verifier.verify_server_cert(leaf, above, &name, &[], UnixTime::now());
    let is_of_name = |e: &rustls::Error| {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        matches!(e, rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
    };
    judged.err().filter(|e| !is_of_name(e))
}

//! One table of bad inputs, each with the sentence that an operator reads. The tests may run as root, who may read and
//! write everything: what is unreadable is a folder in place of a file, what is unwritable the kernel's own /proc.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::Issuer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Signer, KeyPair};
use std::path::PathBuf;

const HOSTNAME: &str = "gw.posthouse.example";

/// A root, an authority below it, and a folder in which everything is right.
struct Right {
    dir: tempfile::TempDir,
    config: Config,
    intermediate: Signer<'static, KeyPair>,
    intermediate_pem: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

impl Right {
    fn new() -> Right {
        let dir = tempfile::tempdir().unwrap();
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = authority("Root").self_signed(&root_key).unwrap();
        let signer = Signer::new(authority("Root"), root_key);
        let below = authority("Below").signed_by(&key, &signer).unwrap();
        std::fs::write(dir.path().join("roots.pem"), root.pem()).unwrap();
        let text = crate::config::EXAMPLE
            .replace("/var/lib/posthouse", dir.path().join("data").to_str().unwrap())
            .replace("0.0.0.0:25", "127.0.0.1:0")
            .replace("0.0.0.0:53", "127.0.0.1:0")
            .replace("# listen = \"127.0.0.1:9464\"", "listen = \"127.0.0.1:0\"")
            .replace(
                "# certificate = \"/etc/posthouse/gw.pem\"",
                &format!("certificate = \"{}/gw.pem\"", dir.path().display()),
            )
            .replace("# key = \"/etc/posthouse/gw.key\"", &format!("key = \"{}/gw.key\"", dir.path().display()))
            .replace(
                "# trusted_roots = \"/etc/posthouse/roots.pem\"",
                &format!("trusted_roots = \"{}/roots.pem\"", dir.path().display()),
            )
            .replace("/etc/posthouse/tenants", dir.path().to_str().unwrap());
        let file = dir.path().join("posthouse.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        let right =
            Right { dir, config, intermediate: Signer::new(authority("Below"), key), intermediate_pem: below.pem() };
        let (leaf, key) = right.leaf(|_| {});
        right.put(&(leaf + &right.intermediate_pem), &key);
        right
    }

    fn leaf(&self, change: impl Fn(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![HOSTNAME.to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.intermediate).unwrap().pem(), key.serialize_pem())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, chain: &str, key: &str) {
        std::fs::write(self.file("gw.pem"), chain).unwrap();
        std::fs::write(self.file("gw.key"), key).unwrap();
    }

    async fn said(&self, what: &str, config: &Config) -> String {
        let said: String = everything(config)
            .await
            .iter()
            .filter(|c| c.level != Level::Ok)
            .fold(String::new(), |all, c| format!("{all}  {} {c}\n", format!("{:?}", c.level).to_lowercase()));
        let said = said.replace(self.dir.path().to_str().unwrap(), "DIR");
        format!("{what}:\n{}", if said.is_empty() { "  nothing\n".into() } else { said })
    }
}

fn year(year: i32) -> impl Fn(&mut CertificateParams) {
    move |params| {
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 2, 1);
    }
}

#[tokio::test]
async fn every_bad_certificate_is_told_in_a_sentence() {
    let right = Right::new();
    let mut text = right.said("everything right", &right.config).await;
    let (good, key) = right.leaf(|_| {});
    let whole = |leaf: &str| leaf.to_owned() + &right.intermediate_pem;
    let (expired, expired_key) = right.leaf(year(2020));
    let (early, early_key) = right.leaf(year(2090));
    let (other, other_key) =
        right.leaf(|p| p.subject_alt_names = vec![rcgen::SanType::DnsName("mx.other.example".try_into().unwrap())]);
    let (wild, wild_key) =
        right.leaf(|p| p.subject_alt_names = vec![rcgen::SanType::DnsName("*.posthouse.example".try_into().unwrap())]);
    let self_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![HOSTNAME.to_owned()]).unwrap().self_signed(&self_key).unwrap();
    let cases = [
        ("no certificate in the file", "nothing here\n".to_owned(), key.clone()),
        ("no key in the file", whole(&good), "nothing here\n".to_owned()),
        (
            "a key with a passphrase",
            whole(&good),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n".into(),
        ),
        ("the key of another", whole(&good), other_key.clone()),
        ("expired", whole(&expired), expired_key),
        ("not yet valid", whole(&early), early_key),
        ("another name", whole(&other), other_key),
        ("a star", whole(&wild), wild_key),
        ("the chain is incomplete", good.clone(), key.clone()),
        ("the chain is in the wrong order", right.intermediate_pem.clone() + &good, key.clone()),
        ("signed by itself", own.pem(), self_key.serialize_pem()),
    ];
    for (what, chain, key) in cases {
        right.put(&chain, &key);
        text += &right.said(what, &right.config).await;
    }
    std::fs::remove_file(right.file("gw.key")).unwrap();
    std::fs::write(right.file("gw.pem"), whole(&good)).unwrap();
    text += &right.said("the key is missing", &right.config).await;
    std::fs::create_dir(right.file("gw.key")).unwrap();
    text += &right.said("the key is a folder", &right.config).await;
    std::fs::remove_file(right.file("gw.pem")).unwrap();
    text += &right.said("both are missing", &right.config).await;
    // a serial number in a message would change with each run
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn every_other_bad_input_is_told_in_a_sentence() {
    let right = Right::new();
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = right.config.clone();
        change(&mut config);
        config
    };
    std::fs::write(right.file("file"), "x").unwrap();
    std::fs::create_dir(right.file("keyed")).unwrap();
    std::fs::write(right.file("keyed/secret.key"), [0u8; 32]).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(right.file("keyed/secret.key"), open).unwrap();
    std::fs::write(
        right.file("ranges.json"),
        "[{\"serviceArea\":\"Exchange\",\"ips\":[\"192.0.2.0/24\"],\"tcpPorts\":\"443\"}]",
    )
    .unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keep = std::net::TcpListener::bind(taken).unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let cases: Vec<(&str, Config)> = vec![
        ("data_dir is a file", with(&|c| c.data_dir = right.file("file"))),
        ("data_dir below a file", with(&|c| c.data_dir = right.file("file/data"))),
        ("data_dir where nobody can write", with(&|c| c.data_dir = "/proc/posthouse".into())),
        ("others can read the key file", with(&|c| c.data_dir = right.file("keyed"))),
        ("the port is taken", with(&|c| c.listen = taken)),
        ("the zone's port is taken", with(&|c| c.zone_listen = Some(udp.local_addr().unwrap()))),
        ("the address is not of this machine", with(&|c| c.listen = "192.0.2.1:25".parse().unwrap())),
        ("mail would go back from elsewhere", with(&|c| c.egress_address = Some("192.0.2.1".parse().unwrap()))),
        ("the page is open to others", with(&|c| c.status = Some("0.0.0.0:0".parse().unwrap()))),
        ("no file of ranges", with(&|c| c.microsoft_ranges_file = Some(right.file("absent")))),
        ("a file without ranges for mail", with(&|c| c.microsoft_ranges_file = Some(right.file("ranges.json")))),
        ("no roots", with(&|c| c.trusted_roots = Some(right.file("absent")))),
        ("roots that are none", with(&|c| c.trusted_roots = Some(right.file("file")))),
        ("no folder of certificates", with(&|c| c.issuer = Issuer::Directory(right.file("absent")))),
        ("a file in its place", with(&|c| c.issuer = Issuer::Directory(right.file("file")))),
        ("no certificate in the folder", with(&|c| c.certificate = None)),
        (
            "an authority that is none",
            with(&|c| c.issuer = Issuer::Authority { chain: right.file("file"), key: right.file("gw.key") }),
        ),
        (
            "no secret for a webhook",
            with(&|c| {
                c.notify = vec![crate::config::NotifyTarget {
                    name: "hook".into(),
                    least: store::Severity::Low,
                    tenants: Vec::new(),
                    way: NotifyWay::Webhook {
                        url: tenant::Secret::new("https://hooks.example.net/token".to_owned()),
                        secret: SecretSource::File(right.file("absent")),
                        roots: None,
                    },
                }];
            }),
        ),
    ];
    let mut text = String::new();
    for (what, config) in cases {
        text += &right.said(what, &config).await;
    }
    drop(keep);
    let text =
        text.replace(&taken.port().to_string(), "PORT").replace(&udp.local_addr().unwrap().port().to_string(), "PORT");
    insta::assert_snapshot!(text);
}

//! By what name Exchange Online's certificate is known in each cloud; `gateway.microsoft_names` says otherwise.
//! docs/quirks.md tells which of these were seen and which are assumed.

/// `*.name` is a certificate for every name directly below.
pub fn certificate_names(cloud: &str) -> Vec<String> {
    let names: &[&str] = match cloud {
        "us-gov-high" | "us-dod" => &["mail.protection.office365.us"],
        "china" => &["*.mail.protection.partner.outlook.cn", "mail.protection.partner.outlook.cn"],
        _ => &["mail.protection.outlook.com"],
    };
    names.iter().map(|n| (*n).to_owned()).collect()
}

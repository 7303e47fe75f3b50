//! `posthouse demo`: a tenant is connected and real messages make the whole journey, before your eyes.

pub mod door;
mod judge;
mod messages;
mod stage;

use crate::cli::DemoArgs;
use crate::{commands, show};
use anyhow::{Context, Result};
use judge::Report;
use messages::{Cast, Expected, Message};
use stage::Stage;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tenant::Direction;

/// Messages of a folder that are under way at the same time; more only queues for two cores.
const UNDER_WAY: usize = 8;
/// The longest that the world may take to come to rest after the last message.
const REST_SECS: u64 = 120;

pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    let dir = std::env::temp_dir().join(format!("posthouse-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    say("starting a simulated Microsoft 365, its outside world, and the gateway …");
    // Debian's rules without names to ask take a third of a second a message: too long for a folder of them
    let stage = Stage::start(&dir, args.mail.is_empty() && !args.without_scanners).await?;
    let report = perform(&stage, &args).await?;
    println!("\n{}", report.table());
    if let Some(file) = &args.report {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("report {}", file.display()))?;
    }
    if !args.exit {
        invite(&stage);
        if let Some(file) = &args.ready_file {
            let endpoints = &stage.simulator.endpoints;
            let (config, data) = (&stage.config.file, &stage.config.data_dir);
            commands::write_ready(
                file,
                &serde_json::json!({"endpoints": endpoints, "config": config, "data_dir": data}),
            )?;
        }
        commands::asked_to_end().await;
    }
    stage.gateway.shutdown().await;
    stage.simulator.shutdown().await;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The demo itself: connect, send, wait for rest, judge.
async fn perform(stage: &Stage, args: &DemoArgs) -> Result<Report> {
    let mut report = Report::default();
    say("connecting the tenant Contoso:");
    let tenant = connect(stage).await;
    report.check("tenant connected", tenant.is_ok());
    let tenant = tenant?;
    let mut messages = messages::all(&cast(stage, &tenant).await?);
    let own = messages.len();
    for dir in &args.mail {
        messages.extend(from_folder(dir, &messages[0])?);
    }
    say(&format!(
        "sending {own} messages of our own{} …",
        if messages.len() > own { format!(" and {} from folders", messages.len() - own) } else { String::new() }
    ));
    send_all(stage, &tenant, &messages).await?;
    report.check("the world came to rest", stage.door.idle(REST_SECS).await?);
    let seen = judge::Seen::look(stage, &messages).await?;
    for message in &messages {
        report.add(judge::judge(message, &seen));
    }
    report.check("no alert about an untrusted peer", stage.store.alerts().await?.is_empty());
    Ok(report)
}

/// Connects as an administrator would, and plays that administrator at the sign-in page.
async fn connect(stage: &Stage) -> Result<tenant::Tenant> {
    let endpoints = serde_json::to_value(&stage.simulator.endpoints)?;
    let admin = endpoints["tenants"][0]["admin"].clone();
    let client = crate::wiring::client(&stage.config)?;
    let settings = crate::wiring::control_settings(&stage.config)?;
    let login = endpoints["login"].as_str().unwrap_or_default().to_owned();
    let browser = reqwest::Client::builder().tls_certs_only(ca(&endpoints)?).build()?;
    let wish = control::Wish::new(None, control::SignIn::DeviceCode);
    let mut approve = |asked: control::Asked<'_>| {
        match asked {
            control::Asked::Permissions(all) => say(&format!("  the administrator grants {} permissions", all.len())),
            control::Asked::Plan(plan) => {
                say(&format!("  the administrator approves plan {} with {} changes", plan.id, plan.changes.len()));
            }
        }
        true
    };
    let mut show = |event: control::Event| {
        println!("  {event}");
        if let Some(code) = event.user_code() {
            let form = [
                ("user_code", code.to_owned()),
                ("username", admin["user"].as_str().unwrap_or_default().to_owned()),
                ("password", admin["password"].as_str().unwrap_or_default().to_owned()),
            ];
            let request = browser.post(format!("{login}/common/oauth2/deviceauth")).form(&form);
            tokio::spawn(request.send());
        }
    };
    let connected = control::connect(wish, &client, &stage.store, &settings, &mut approve, &mut show).await?;
    stage.store.tenant(connected.id).await?.context("the connected tenant is not in the store")
}

fn ca(endpoints: &serde_json::Value) -> Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(endpoints["ca_file"].as_str().unwrap_or_default())?;
    Ok(reqwest::Certificate::from_pem_bundle(&pem)?)
}

/// Who plays: mailboxes and a group as they were synchronised.
async fn cast(stage: &Stage, tenant: &tenant::Tenant) -> Result<Cast> {
    let directory = stage.store.directory(tenant.id).await?;
    let users: Vec<_> = directory
        .mailboxes
        .iter()
        .filter(|m| m.kind == "UserMailbox" && m.display_name.contains(' '))
        .map(|m| (m.display_name.clone(), m.address.clone()))
        .collect();
    let mailbox = |id: &String| directory.mailboxes.iter().find(|m| m.id == *id).map(|m| m.address.clone());
    let mut group = None;
    for found in directory.groups.iter().filter(|g| g.mail.is_some()) {
        let members: Option<Vec<String>> =
            stage.store.members(tenant.id, &found.id).await?.iter().map(mailbox).collect();
        if let Some(members) = members.filter(|m| (2..20).contains(&m.len())) {
            group = found.mail.clone().map(|mail| (mail, members));
            break;
        }
    }
    let (group, members) = group.context("the directory has no mail group of two to twenty mailboxes")?;
    anyhow::ensure!(users.len() >= 5, "the directory has {} users with mailboxes; five are needed", users.len());
    Ok(Cast { users, group, members, has_scanners: !stage.scanners.is_empty() })
}

/// Each file once inbound, as it is, and once outbound; bare line feeds of a stored file become the CRLF of mail.
fn from_folder(dir: &Path, like: &Message) -> Result<Vec<Message>> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("--mail {}", dir.display()))?
        .flatten()
        .map(|f| f.path())
        .filter(|f| f.is_file())
        .collect();
    files.sort();
    let mut messages = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let raw = crlf(&std::fs::read(file)?);
        let name = format!(
            "{}/{}",
            dir.file_name().unwrap_or_default().to_string_lossy(),
            file.file_name().unwrap_or_default().to_string_lossy()
        );
        let tag = format!("{}-{number:05}", dir.file_name().unwrap_or_default().to_string_lossy().to_lowercase());
        let (inside, outside) = (like.recipients[0].clone(), format!("{tag}@acme.example"));
        let as_sent = |direction, sender: &str, to: &str, raw: Vec<u8>| Message {
            name: name.clone(),
            direction,
            sender: sender.to_owned(),
            recipients: vec![to.to_owned()],
            mailboxes: vec![to.to_owned()],
            raw,
            smtputf8: false,
            expected: Expected::Either,
        };
        // a mailbox may not send as somebody else: outbound, the file goes under its sender's own name
        let own_name = [mail::Edit::add("From", format!("<{inside}>")), mail::Edit::remove_prefix("From")];
        let sent = mail::apply(&raw.clone().into(), &own_name).joined().to_vec();
        messages.push(as_sent(Direction::Outbound, &inside, &outside, sent));
        messages.push(as_sent(Direction::Inbound, &outside, &inside, raw));
    }
    Ok(messages)
}

fn crlf(raw: &[u8]) -> Vec<u8> {
    if raw.windows(2).any(|w| w == b"\r\n") {
        return raw.to_vec();
    }
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 40);
    for byte in raw {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

async fn send_all(stage: &Stage, tenant: &tenant::Tenant, messages: &[Message]) -> Result<()> {
    let (started, total) = (Instant::now(), messages.len());
    for (done, chunk) in messages.chunks(UNDER_WAY).enumerate() {
        let mut under_way = tokio::task::JoinSet::new();
        for message in chunk {
            let (door, tenant) = (stage.door.clone(), tenant.id.to_string());
            let (direction, from, to, raw, smtputf8) = (
                message.direction,
                message.sender.clone(),
                message.recipients.clone(),
                message.raw.clone(),
                message.smtputf8,
            );
            under_way.spawn(async move {
                match direction {
                    Direction::Inbound => door.send_from_internet(&from, &to, &raw, smtputf8).await.map(drop),
                    Direction::Outbound => door.submit(&tenant, &from, &to, &raw).await,
                }
            });
        }
        while let Some(sent) = under_way.join_next().await {
            sent??;
        }
        if total > 40 && (done + 1) % 10 == 0 {
            say(&format!("  {} of {total} sent, {:.0} s", (done + 1) * UNDER_WAY, started.elapsed().as_secs_f64()));
        }
    }
    Ok(())
}

fn say(text: &str) {
    println!("{text}");
}

fn invite(stage: &Stage) {
    let program = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_else(|_| "posthouse".into());
    let config = stage.config.file.display();
    println!("\nEverything keeps running. Try in a second terminal:");
    for what in ["trace", "held list", "explain ID", "held release ID", "tenant list", "alerts"] {
        println!("  {program} --config {config} {what}");
    }
    println!(
        "  curl {}          # the simulator's control door tells what it can do",
        show::safe(
            serde_json::to_value(&stage.simulator.endpoints).unwrap_or_default()["control"]
                .as_str()
                .unwrap_or_default()
        )
    );
    println!("Ctrl-C ends it.");
}

//! What is promised of connecting and disconnecting, each line proven against the real binary: cut off anywhere,
//! in bad weather, with bad input, with two at once, beside other people's configuration.

use crate::harness::{World, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

mod at_once;
mod drain;
mod foreign;
mod kills;
mod refusals;
mod rights;
mod weather;

/// Public client through which administrators sign in: Microsoft's own, known to every tenant.
const PUBLIC_CLIENT: &str = "14d82eec-204b-4c2f-b7e8-296a70dab67e";
/// Some of what is lent to it (docs/permissions.md, "The administrator's sign-in"), and one that is not.
const DELEGATED: [&str; 6] = [
    "User.Read.All",
    "Group.ReadWrite.All",
    "Organization.Read.All",
    "Application.ReadWrite.All",
    "AppRoleAssignment.ReadWrite.All",
    "RoleManagement.ReadWrite.Directory",
];
const CONNECT: &[&str] = &["tenant", "connect", "--yes"];

/// A command of the product while it runs; what it prints comes line by line.
struct Run {
    child: Child,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
    said: Vec<String>,
}

impl Run {
    fn start(world: &World, args: &[&str], answers: &str) -> Run {
        let mut child = world
            .command(&[&["--json"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answers.as_bytes()).unwrap();
        let (send, lines) = tokio::sync::mpsc::unbounded_channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let send = send.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
            });
        }
        Run { child, lines, said: Vec::new() }
    }

    /// What it printed next; at the sign-in, this test is the administrator.
    async fn next(&mut self, world: &World) -> Option<Value> {
        let line = self.lines.recv().await?;
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(code) = event["user_code"].as_str() {
            let admin = &world.endpoints["tenants"][0]["admin"];
            world.approve(code, admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap()).await;
        }
        println!("{line}");
        self.said.push(line);
        Some(event)
    }

    async fn end(mut self, world: &World) -> (bool, String) {
        while self.next(world).await.is_some() {}
        (self.child.wait().unwrap().success(), self.said.join("\n"))
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn run(world: &World, args: &[&str]) -> (bool, String) {
    Run::start(world, args, "").end(world).await
}

async fn connect(world: &World, more: &[&str]) -> String {
    let (ok, said) = run(world, &[CONNECT, more].concat()).await;
    assert!(ok, "connect failed:\n{said}");
    said
}

async fn disconnect(world: &World) -> String {
    let (ok, said) = run(world, &["tenant", "disconnect", "contoso"]).await;
    assert!(ok, "disconnect failed:\n{said}");
    assert_eq!(world.json(&["tenant", "list"]), json!([]));
    said
}

/// The exit code is 0, 1 or 2.
fn exit_code(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = world.command(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// The tenant's whole configuration as text.
async fn export(world: &World, tenant: usize) -> String {
    let id = world.tenant_id(tenant);
    let url = format!("{}/tenants/{id}/export", world.endpoints["control"].as_str().unwrap());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// Byte for byte, and the lines that differ where it is not.
fn assert_same(before: &str, after: &str) {
    let only = |a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    assert!(before == after, "gone: {:#?}\ncome: {:#?}", only(before, after), only(after, before));
}

async fn audit(world: &World, tenant: usize) -> Vec<Value> {
    let id = world.tenant_id(tenant);
    world.door.get("/audit", &[("tenant", &id)]).await.unwrap().as_array().unwrap().clone()
}

/// How often something was carried out.
fn times(audit: &[Value], operation: &str) -> usize {
    audit.iter().filter(|a| a["operation"] == operation && a["succeeded"] == true).count()
}

/// The administrator has used another tool with the same public client before, for more or less what connecting needs.
async fn sign_in_before(world: &World) {
    sign_in_for(world, &DELEGATED).await;
}

async fn sign_in_for(world: &World, permissions: &[&str]) {
    let admin = &world.endpoints["tenants"][0]["admin"];
    let (user, password) = (admin["user"].as_str().unwrap(), admin["password"].as_str().unwrap());
    let scopes: Vec<_> = permissions.iter().map(|name| format!("https://graph.microsoft.com/{name}")).collect();
    let scope = format!("openid profile offline_access {}", scopes.join(" "));
    let login = world.endpoints["login"].as_str().unwrap();
    let form = [("client_id", PUBLIC_CLIENT), ("scope", &scope)];
    let asked = world.browser().post(format!("{login}/organizations/oauth2/v2.0/devicecode")).form(&form);
    let code: Value = asked.send().await.unwrap().json().await.unwrap();
    world.approve(code["user_code"].as_str().unwrap(), user, password).await;
}

/// A gateway with a name for ARC and an address for the spoof list, so that those objects are made, too.
async fn with_optional_objects(world: &mut World) {
    let text = std::fs::read_to_string(&world.config).unwrap();
    let more = "arc_sealer = \"connect.posthouse.example\"\nsending_infrastructure = \"127.0.50.1\"\n[zone]";
    std::fs::write(&world.config, text.replacen("[zone]", more, 1)).unwrap();
    world.restart_gateway().await;
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
